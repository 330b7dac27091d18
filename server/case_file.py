"""A file of closed cases (CSV), as case systems and spreadsheets write them.

Rules kept here:

* The first line names the columns, in Chinese or as the API names its fields; a column that no case has is refused, for
  whoever wrote it meant something.
* UTF-8 with or without its mark, GBK, or UTF-16 with its mark; commas, semicolons or tabs.
* Every line stands for itself: one that cannot be read is named with its number and why, and the others count. A quote
  that is never closed costs its own line alone.
* No sentence repeats what stands in a cell: it could be somebody's number.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from intake.posted import CASE_FIELDS, CaseRefused, PostedCase, read_case
from server.errors import CannotDo

__all__ = ["BadLine", "CaseLine", "read_cases"]

_HEADINGS: Final[Mapping[str, str]] = {
    **{name: name for name in CASE_FIELDS},
    **dict.fromkeys(("工单编号", "工单号", "办件编号", "案件编号", "编号"), "case_no"),
    **dict.fromkeys(("电话", "电话号码", "手机", "手机号", "手机号码", "联系电话", "来电号码"), "phone"),
    **dict.fromkeys(("办结时间", "结案时间", "关闭时间", "完成时间"), "closed_at"),
    **dict.fromkeys(("标题", "工单标题"), "title"),
    **dict.fromkeys(("事项编码", "实施编码"), "task_code"),
    "事项名称": "task_name",
    **dict.fromkeys(("部门编码", "部门代码", "承办单位编码", "承办单位代码", "统一社会信用代码"), "dept_code"),
    **dict.fromkeys(("部门", "部门名称", "承办单位", "承办单位名称"), "dept_name"),
    **dict.fromkeys(("坐席", "坐席工号", "工号", "话务员工号"), "agent"),
    **dict.fromkeys(("行政区划", "行政区划代码", "区划代码"), "area_code"),
    **dict.fromkeys(("办理次数", "服务次数"), "service_number"),
    **dict.fromkeys(("批次号", "批次编号"), "batch_id"),
    **dict.fromkeys(("主题编号", "一件事编号"), "theme_id"),
    **dict.fromkeys(("件数", "批量件数"), "group_size"),
    **dict.fromkeys(("是否同意", "同意提供信息"), "consent"),
    "语言": "lang",
}
_NEEDED: Final = ("case_no", "phone", "closed_at")
_YES: Final = frozenset({"是", "同意", "true", "yes", "y", "1"})
_NO: Final = frozenset({"否", "不同意", "false", "no", "n", "0"})
_TIME: Final = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[ T]+(\d{1,2}):(\d{2})"
    r"(?::(\d{2}(?:\.\d+)?))?\s*([Zz]|[+-]\d{2}:?\d{2})?"
)
_LONGEST_RECORD: Final = 50
"""Lines in one quoted cell, after which its quote counts as forgotten."""


@dataclass(frozen=True, slots=True)
class BadLine:
    number: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class CaseLine:
    """A case, and the line on which it begins."""

    case: PostedCase
    number: int


def read_cases(content: bytes, now: datetime) -> Iterator[CaseLine | BadLine]:
    """The cases of a file, line by line.

    Raises:
        CannotDo: the first line does not name a case's columns.
    """
    lines = _text(content).splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise CannotDo("the file is empty; its first line names the columns")
    delimiter = max(",\t;", key=lines[first].count)
    columns = _columns(next(csv.reader([lines[first]], delimiter=delimiter)))
    for number, cells in _records(lines, first + 1, delimiter):
        if cells is None:
            yield BadLine(number, "a quote is not closed, or stands where none may")
        elif any(cell.strip() for cell in cells):
            yield _case(number, cells, columns, now)


def _text(content: bytes) -> str:
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    content = content.removeprefix(codecs.BOM_UTF8)
    # The headings tell the encoding, so that one broken byte further down does not turn the whole file into another.
    heading = content.lstrip().partition(b"\n")[0]
    for sample in (heading, content):
        if sample.isascii():
            continue
        try:
            sample.decode("utf-8")
        except UnicodeDecodeError:
            return content.decode("gb18030", "surrogateescape")
        else:
            break
    return content.decode("utf-8", "surrogateescape")


def _columns(headings: Sequence[str]) -> list[str]:
    """The field of each column; empty for a column without a heading."""
    columns = []
    for heading in headings:
        plain = heading.strip().lower().replace(" ", "_")
        field = _HEADINGS.get(plain, "" if not plain else None)
        if field is None:
            raise CannotDo(f"column {heading.strip()[:40]!r} is no field of a case; see docs/api.md")
        if field and field in columns:
            raise CannotDo(f"two columns are {field}: {heading.strip()!r} is the second")
        columns.append(field)
    if missing := [name for name in _NEEDED if name not in columns]:
        raise CannotDo(f"the first line names no column for {', '.join(missing)}; see docs/api.md")
    return columns


def _records(lines: Sequence[str], place: int, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Each record with the number of its first line; None: it cannot be read."""
    while place < len(lines):
        end, record = place + 1, lines[place]
        while record.count('"') % 2 and end < len(lines) and end - place < _LONGEST_RECORD:
            record += lines[end]
            end += 1
        cells = _cells(record, delimiter)
        if cells is None and end > place + 1:  # the quote was a sign in a cell, or is never closed
            end = place + 1
            cells = _cells(lines[place], delimiter)
        yield place + 1, cells
        place = end


def _cells(record: str, delimiter: str) -> list[str] | None:
    try:
        found = list(csv.reader([record], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else [] if not found else None


def _case(number: int, cells: list[str], columns: Sequence[str], now: datetime) -> CaseLine | BadLine:
    while len(cells) > len(columns) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) != len(columns):
        return BadLine(number, f"has {len(cells)} cells, the first line has {len(columns)}")
    if any("\udc80" <= sign <= "\udcff" for cell in cells for sign in cell):
        return BadLine(number, "holds bytes that are no text in the file's encoding")
    raw: dict[str, Any] = {"phone": None}
    for field, cell in zip(columns, cells, strict=True):
        text = _plain(cell)
        if field and text:
            raw[field] = _MADE.get(field, str)(text)
    try:
        return CaseLine(read_case(raw, now), number)
    except CaseRefused as refused:
        return BadLine(number, "; ".join(f"{one.field}: {one.sentence}" for one in refused.problems))


def _plain(cell: str) -> str:
    """A cell without what spreadsheets put round digits to keep them text: ="0042", '0042."""
    text = cell.strip()
    if len(text) > 3 and text.startswith('="') and text.endswith('"'):
        text = text[2:-1].strip()
    return text.removeprefix("'")


def _time(text: str) -> str:
    """A time as a spreadsheet writes it, as RFC 3339; what is none stays as it is, and is refused by its field."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    year, month, day, hour, minute, second, offset = found.groups()
    if offset and offset not in "Zz" and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    return f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute}:{second or '00'}{offset or ''}"


def _whole(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _yes_or_no(text: str) -> Any:
    word = text.lower()
    return True if word in _YES else False if word in _NO else text


_MADE: Final[Mapping[str, Callable[[str], Any]]] = {
    "closed_at": _time,
    "service_number": _whole,
    "group_size": _whole,
    "consent": _yes_or_no,
}
