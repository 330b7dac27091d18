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

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from intake.posted import CASE_FIELDS, CaseRefused, PostedCase, read_case
from server.csv_file import BadLine, read_table

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
    table = read_table(content, _HEADINGS, _NEEDED, what="a case", page="docs/api.md")
    for number, cells in table.records:
        if isinstance(cells, str):
            yield BadLine(number, cells)
        else:
            yield _case(number, cells, table.columns, now)


def _case(number: int, cells: Sequence[str], columns: Sequence[str], now: datetime) -> CaseLine | BadLine:
    raw: dict[str, Any] = {"phone": None}
    for field, cell in zip(columns, cells, strict=True):
        if field and cell:
            raw[field] = _MADE.get(field, str)(cell)
    try:
        return CaseLine(read_case(raw, now), number)
    except CaseRefused as refused:
        return BadLine(number, "; ".join(f"{one.field}: {one.sentence}" for one in refused.problems))


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
