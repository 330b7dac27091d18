"""A file of working days and days off (CSV), as it is written down from the notice of a government.

| Column | |
|---|---|
| 日期, date | a day; or a year, where the line says that the year is whole |
| 类型, kind | 休 or off; 班 or works; 全年 or year: the year is here whole; 撤销 or remove: take an entry back |
| 名称, name | what is celebrated, or made up for; may be empty |
| 行政区划, area | for which it holds; empty: everywhere |
| 来源, source | the notice |
| 确认, confirmed | 是 or yes; 否 or no: it is expected and nobody has decided it |

Every bad line is named, and nothing is imported where there is one. The file's form: server/csv_file.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from intake.calendars import DayLine, YearLine
from intake.names import clean
from intake.workdays import DayEntry, YearEntry, area_of
from server.csv_file import BadLine, read_table
from server.errors import CannotDo

__all__ = ["CalendarFile", "LineKind", "read_calendar_file"]


class LineKind(StrEnum):
    OFF = "off"
    WORKS = "works"
    YEAR = "year"
    REMOVE = "remove"


_HEADINGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("date", "day", "日期", "年份", "日期或年份"), "date"),
    **dict.fromkeys(("kind", "type", "类型", "类别", "休或班"), "kind"),
    **dict.fromkeys(("name", "名称", "节日", "节日名称", "说明"), "name"),
    **dict.fromkeys(("area", "area_code", "行政区划", "行政区划代码", "区划代码"), "area"),
    **dict.fromkeys(("source", "来源", "依据", "文件", "文号"), "source"),
    **dict.fromkeys(("confirmed", "确认", "已确认", "是否确认"), "confirmed"),
}
_NEEDED: Final = ("date", "kind", "source", "confirmed")
_KINDS: Final[Mapping[str, LineKind]] = {
    **dict.fromkeys(("off", "holiday", "休", "休息", "放假", "节假日"), LineKind.OFF),
    **dict.fromkeys(("works", "work", "workday", "班", "上班", "补班", "工作日", "调休上班"), LineKind.WORKS),
    **dict.fromkeys(("year", "whole", "全年"), LineKind.YEAR),
    **dict.fromkeys(("remove", "撤销", "删除", "取消"), LineKind.REMOVE),
}
_YES: Final = frozenset({"是", "已确认", "true", "yes", "y", "1"})
_NO: Final = frozenset({"否", "未确认", "false", "no", "n", "0"})
_DATE: Final = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{4})(\d\d)(\d\d)", re.A)
_YEAR: Final = re.compile(r"(\d{4})年?", re.A)
_FIRST_YEAR, _LAST_YEAR = 2004, 2199
_LONGEST: Final = 200
_MOST_LINES: Final = 20_000


@dataclass(slots=True)
class CalendarFile:
    """What a file says; `bad`: the lines that cannot be taken, with why."""

    days: list[DayLine] = field(default_factory=list)
    years: list[YearLine] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)


def read_calendar_file(content: bytes) -> CalendarFile:
    """The lines of a file.

    Raises:
        CannotDo: the first line does not name the columns, or the file is too long for one transaction.
    """
    table = read_table(content, _HEADINGS, _NEEDED, what="a calendar", page="docs/operations.md")
    found = CalendarFile()
    seen: dict[tuple[str, date | int], int] = {}
    for number, cells in table.records:
        if isinstance(cells, str):
            found.bad.append(BadLine(number, cells))
            continue
        line = _line(number, table.columns, cells)
        if isinstance(line, BadLine):
            found.bad.append(line)
            continue
        key = (line.area, line.day) if isinstance(line, DayLine) else (line.area, line.year)
        if key in seen:
            found.bad.append(BadLine(number, f"date: stands in line {seen[key]} already, for the same area"))
            continue
        seen[key] = number
        if isinstance(line, DayLine):
            found.days.append(line)
        else:
            found.years.append(line)
        if len(seen) > _MOST_LINES:
            raise CannotDo(f"the file has more than {_MOST_LINES} lines; split it by year")
    return found


def _line(number: int, columns: Sequence[str], cells: Sequence[str]) -> DayLine | YearLine | BadLine:
    raw = dict.fromkeys(("date", "kind", "name", "area", "source", "confirmed"), "")
    raw |= {name: cell for name, cell in zip(columns, cells, strict=True) if name}
    problems: list[str] = []
    kind = _KINDS.get(raw["kind"].lower())
    if kind is None:
        problems.append("kind: is none of 休 (off), 班 (works), 全年 (year), 撤销 (remove)")
    when = _when(raw["date"])
    if when is None:
        problems.append("date: is no day such as 2027-01-01, and no year such as 2027")
    elif isinstance(when, int) and kind in {LineKind.OFF, LineKind.WORKS}:
        problems.append("date: is a year, and this kind of line wants a day")
    elif isinstance(when, date) and kind is LineKind.YEAR:
        problems.append("date: is a day, and 全年 (year) wants a year such as 2027")
    area = area_of(raw["area"])
    if area is None:
        problems.append("area: is no 行政区划 of 6 or 12 digits such as 622900; empty means the whole country")
    source, name = clean(raw["source"], _LONGEST), clean(raw["name"], _LONGEST)
    confirmed = None
    if kind is not LineKind.REMOVE:
        if source is None:
            problems.append("source: is empty; name the notice, so that others can look it up")
        word = raw["confirmed"].lower()
        confirmed = True if word in _YES else False if word in _NO else None
        if confirmed is None:
            problems.append("confirmed: is neither 是 (yes) nor 否 (no)")
    if problems or when is None or area is None:
        return BadLine(number, "; ".join(problems))
    if isinstance(when, int):
        whole = YearEntry(source, confirmed) if source is not None and confirmed is not None else None
        return YearLine(area, when, whole if kind is not LineKind.REMOVE else None)
    entry = None
    if kind is not LineKind.REMOVE and source is not None and confirmed is not None:
        entry = DayEntry(kind is LineKind.WORKS, name, source, confirmed)
    return DayLine(area, when, entry)


def _when(text: str) -> date | int | None:
    """A day, or a year; None: neither."""
    if (match := _YEAR.fullmatch(text)) is not None:
        year = int(match[1])
        return year if _FIRST_YEAR <= year <= _LAST_YEAR else None
    if (match := _DATE.fullmatch(text)) is None:
        return None
    year, month, day = (int(one) for one in match.groups() if one is not None)
    try:
        found = date(year, month, day)
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
