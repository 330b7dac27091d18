"""Names for codes: agents as 姓名 (工号) with 班组, departments by name; imported from a file (`huiyin directory`).

Rules kept here:

* The record keeps codes alone; a name is looked up when it is shown, so a corrected one is right everywhere at once.
* A process keeps the whole directory in memory and reads it anew when its version in `meta` has moved.
* A code without a name is shown as itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, or_, select, update

from console.auditing import Action, note
from models.ids import new_id
from models.tables import directory, meta

__all__ = [
    "VERSION",
    "Directory",
    "Entry",
    "EntryKind",
    "Imported",
    "Names",
    "import_entries",
    "in_team",
    "team_agents",
]

VERSION = "directory.version"
"""The row of `meta` that moves with each import."""


class EntryKind(StrEnum):
    AGENT = "agent"
    DEPT = "dept"


@dataclass(frozen=True, slots=True)
class Entry:
    """`team`: of an agent, the 班组; None: not told."""

    kind: EntryKind
    code: str
    name: str
    team: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The directory as it is at one moment."""

    version: str = ""
    agents: Mapping[str, Entry] = field(default_factory=dict)
    depts: Mapping[str, Entry] = field(default_factory=dict)

    def agent(self, code: str | None) -> str:
        """姓名 (工号), or the code alone; empty: there is none."""
        if not code:
            return ""
        entry = self.agents.get(code)
        return code if entry is None else f"{entry.name} ({code})"

    def agent_name(self, code: str | None) -> str:
        """The name alone; empty: not known."""
        entry = self.agents.get(code or "")
        return "" if entry is None else entry.name

    def team(self, code: str | None) -> str:
        """The 班组 of an agent; empty: not known."""
        entry = self.agents.get(code or "")
        return (entry.team or "") if entry is not None else ""

    def dept(self, code: str | None, told: str | None = None) -> str:
        """A department's name: the directory's, else the one that came with the record, else the code."""
        entry = self.depts.get(code or "")
        return entry.name if entry is not None else told or code or ""

    def agents_named(self, codes: Iterable[str]) -> dict[str, str]:
        """`agent` of many codes at once."""
        return {code: self.agent(code) for code in codes}

    def depts_named(self, codes: Iterable[str]) -> dict[str, str]:
        """`dept` of many codes at once."""
        return {code: self.dept(code) for code in codes}

    @property
    def teams(self) -> list[str]:
        return sorted({entry.team for entry in self.agents.values() if entry.team})


class Directory:
    """The directory of a process. Any thread may ask."""

    def __init__(self) -> None:
        self._names = Names()
        self._lock = threading.Lock()

    def names(self, connection: Connection) -> Names:
        """The names of now: one small read, and the whole directory where it has changed since."""
        version = connection.execute(select(meta.c.value).where(meta.c.key == VERSION)).scalar_one_or_none() or ""
        known = self._names
        if known.version == version:
            return known
        read = _read(connection, version)
        with self._lock:
            self._names = read
        return read


def _read(connection: Connection, version: str) -> Names:
    found: dict[str, dict[str, Entry]] = {kind.value: {} for kind in EntryKind}
    for row in connection.execute(select(directory)):
        if row.kind in found:
            found[row.kind][row.code] = Entry(EntryKind(row.kind), row.code, row.name, row.team)
    return Names(version, found[EntryKind.AGENT], found[EntryKind.DEPT])


def in_team(agent: ColumnElement[Any], team: str) -> ColumnElement[bool]:
    """The condition of a column's agent being in a 班组; in an empty one: in none."""
    if team:
        return agent.in_(_of_team(team))
    return or_(agent.is_(None), agent.not_in(_of_team(team)))


def team_agents(connection: Connection, team: str) -> list[str]:
    """The agents of a 班组."""
    return list(connection.execute(_of_team(team)).scalars())


def _of_team(team: str) -> Select[Any]:
    """The agents of a 班组; of an empty one: all that have one."""
    of = directory.c
    in_it = of.team == team if team else of.team != ""
    return select(of.code).where(of.kind == EntryKind.AGENT.value, in_it)


@dataclass(frozen=True, slots=True)
class Imported:
    added: int
    changed: int
    removed: int


def import_entries(
    connection: Connection, now: datetime, entries: Sequence[Entry], *, replace: bool, actor: str
) -> Imported:
    """Takes entries in, in the caller's transaction.

    Args:
        replace: entries that are not among these are removed.
    """
    known = {(row.kind, row.code): (row.name, row.team) for row in connection.execute(select(directory))}
    given = {(entry.kind.value, entry.code): (entry.name, entry.team) for entry in entries}
    new: list[dict[str, Any]] = []
    changed = 0
    for (kind, code), (name, team) in given.items():
        there = known.get((kind, code))
        if there is None:
            new.append({"kind": kind, "code": code, "name": name, "team": team})
        elif there != (name, team):
            connection.execute(
                update(directory).where(directory.c.kind == kind, directory.c.code == code).values(name=name, team=team)
            )
            changed += 1
    gone = [key for key in known if key not in given] if replace else []
    for kind, code in gone:
        connection.execute(delete(directory).where(directory.c.kind == kind, directory.c.code == code))
    if new:
        connection.execute(insert(directory), new)
    version = new_id()
    if connection.execute(update(meta).where(meta.c.key == VERSION).values(value=version)).rowcount == 0:
        connection.execute(insert(meta).values(key=VERSION, value=version))
    done = Imported(len(new), changed, len(gone))
    detail = f"{done.added} added, {done.changed} changed, {done.removed} removed"
    note(connection, now, actor, Action.DIRECTORY_IMPORTED, detail=detail)
    return done
