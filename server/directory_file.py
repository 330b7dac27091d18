"""A file of names (CSV): who an agent number is, in which 班组, and what a department code is called.

| Column | |
|---|---|
| 类型, kind | 坐席 or agent; 部门 or dept. May be left out where the file has 工号 or 部门编码 instead of 编码 |
| 编码, code (or 工号, 部门编码) | the agent number, or the department code |
| 名称, name (or 姓名, 部门名称) | |
| 班组, team | of an agent; may be empty |

Every bad line is named, and nothing is imported where there is one. The file's form: server/csv_file.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from console.directory import Entry, EntryKind
from intake.names import clean, normalise_agent
from server.csv_file import BadLine, read_table
from server.errors import CannotDo

__all__ = ["DirectoryFile", "read_directory_file"]

_HEADINGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("kind", "type", "类型", "类别"), "kind"),
    **dict.fromkeys(("code", "编码", "代码", "编号"), "code"),
    **dict.fromkeys(("agent", "工号", "坐席工号", "坐席编号"), "agent"),
    **dict.fromkeys(("dept", "dept_code", "部门编码", "部门代码"), "dept"),
    **dict.fromkeys(("name", "名称", "姓名", "坐席姓名", "部门名称", "部门"), "name"),
    **dict.fromkeys(("team", "班组", "组", "小组"), "team"),
}
_KINDS: Final[Mapping[str, EntryKind]] = {
    **dict.fromkeys(("agent", "坐席", "话务员", "人员"), EntryKind.AGENT),
    **dict.fromkeys(("dept", "department", "部门", "单位"), EntryKind.DEPT),
}
_LONGEST_CODE, _LONGEST_NAME = 64, 200
_MOST_LINES: Final = 50_000


@dataclass(slots=True)
class DirectoryFile:
    """What a file says; `bad`: the lines that cannot be taken, with why."""

    entries: list[Entry] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)


def read_directory_file(content: bytes) -> DirectoryFile:
    """The lines of a file.

    Raises:
        CannotDo: the first line does not name the columns, or the file is too long for one transaction.
    """
    table = read_table(content, _HEADINGS, ("name",), what="a directory", page="docs/console.md")
    if not {"code", "agent", "dept"} & set(table.columns):
        raise CannotDo("the first line names no column for code (编码, 工号 or 部门编码); see docs/console.md")
    if "code" in table.columns and "kind" not in table.columns:
        raise CannotDo("the first line names no column for kind (类型: 坐席 or 部门); see docs/console.md")
    found = DirectoryFile()
    seen: dict[tuple[EntryKind, str], int] = {}
    for number, cells in table.records:
        line = cells if isinstance(cells, str) else _line(table.columns, cells)
        if isinstance(line, str):
            found.bad.append(BadLine(number, line))
            continue
        key = (line.kind, line.code)
        if key in seen:
            found.bad.append(BadLine(number, f"code: stands in line {seen[key]} already"))
            continue
        seen[key] = number
        found.entries.append(line)
        if len(seen) > _MOST_LINES:
            raise CannotDo(f"the file has more than {_MOST_LINES} lines; split it")
    return found


def _line(columns: Sequence[str], cells: Sequence[str]) -> Entry | str:
    raw = dict.fromkeys(("kind", "code", "agent", "dept", "name", "team"), "")
    raw |= {name: cell for name, cell in zip(columns, cells, strict=True) if name}
    codes = [(EntryKind(kind), raw[kind]) for kind in ("agent", "dept") if raw[kind]]
    if raw["code"]:
        kind = _KINDS.get(raw["kind"].lower())
        if kind is None:
            return "kind: is neither 坐席 (agent) nor 部门 (dept)"
        codes.append((kind, raw["code"]))
    elif raw["kind"] and codes and _KINDS.get(raw["kind"].lower()) is not codes[0][0]:
        return "kind: is another than the code's column"
    if len(codes) != 1:
        return "code: is empty" if not codes else "code: has both an agent and a department"
    kind, code = codes[0]
    plain = normalise_agent(code) if kind is EntryKind.AGENT else clean(code, _LONGEST_CODE)
    if plain is None or len(code) > _LONGEST_CODE:
        return f"code: must have 1 to {_LONGEST_CODE} characters"
    name = clean(raw["name"], _LONGEST_NAME)
    if name is None:
        return "name: is empty"
    return Entry(kind, plain, name, clean(raw["team"], _LONGEST_NAME) if kind is EntryKind.AGENT else None)
