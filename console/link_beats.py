"""How the SMS links are, told through the database: only the process that holds a link knows.

Rules kept here:

* A process writes its own rows of `meta` (`link.NODE.NAME`) and nobody else's, each `BEAT_SECONDS`.
* A row that is not written any more is stale after `STALE`: its process has ended or hangs. After `FORGOTTEN` it is not
  shown.
* No number, no text of an SMS and no word of an SMSC stands in a row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from sqlalchemy import Connection, delete, insert, select, update

from models.door import Priority, Unit
from models.tables import meta

__all__ = [
    "BEAT_SECONDS",
    "FORGOTTEN",
    "STALE",
    "BeatLinks",
    "LinkBeat",
    "LinkWord",
    "Unreceipted",
    "link_key",
    "read_links",
]

BEAT_SECONDS = 10.0
STALE = timedelta(seconds=60)
FORGOTTEN = timedelta(days=2)
_START = "link."


class LinkWord(StrEnum):
    """What a supervisor reads of a link."""

    UP = "up"
    DOWN = "down"
    RESTS = "rests"
    """Bound, and given nothing for a while: the carrier blocked texts, or took too many wrongly."""
    SILENT = "silent"
    """Nothing was heard of its process for STALE."""


@dataclass(frozen=True, slots=True)
class LinkBeat:
    """One link as its process last told. `receipts`: it asks for receipts; `unreceipted`: what it was handed since the
    last one, and since when that is enough for an alarm."""

    node: str
    name: str
    word: LinkWord
    at: datetime
    receipts: bool = True
    unreceipted: int = 0
    unreceipted_since: datetime | None = None

    def as_of(self, now: datetime) -> LinkBeat:
        """The same, silent where it is stale."""
        if now - self.at < STALE:
            return self
        return LinkBeat(self.node, self.name, LinkWord.SILENT, self.at, self.receipts)


def link_key(node: str, name: str) -> str:
    """The row of a link of a process; a node's name may be longer than a key."""
    return f"{_START}{hashlib.sha256(node.encode()).hexdigest()[:16]}.{name}"


def _write(beat: LinkBeat) -> str:
    since = beat.unreceipted_since
    told = {
        "node": beat.node,
        "name": beat.name,
        "word": beat.word.value,
        "at": beat.at.isoformat(timespec="milliseconds"),
        "receipts": beat.receipts,
        "unreceipted": beat.unreceipted,
        "unreceipted_since": since.isoformat(timespec="milliseconds") if since is not None else None,
    }
    return json.dumps(told, ensure_ascii=False)


def _read(value: str) -> LinkBeat:
    told = json.loads(value)
    since = told["unreceipted_since"]
    return LinkBeat(
        told["node"],
        told["name"],
        LinkWord(told["word"]),
        datetime.fromisoformat(told["at"]),
        told["receipts"],
        told["unreceipted"],
        datetime.fromisoformat(since) if since is not None else None,
    )


def read_links(connection: Connection, now: datetime) -> list[LinkBeat]:
    """Every link of every process that was heard of lately, by name."""
    rows = connection.execute(select(meta.c.value).where(meta.c.key.startswith(_START, autoescape=True))).scalars()
    beats = [beat.as_of(now) for beat in map(_read, rows) if now - beat.at < FORGOTTEN]
    return sorted(beats, key=lambda beat: (beat.name, beat.node))


class Unreceipted:
    """Counts what a link was handed since its last receipt, out of two counters that only grow."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._receipts = 0
        self._handed_at_receipt = 0
        self.since: datetime | None = None
        self.count = 0

    def look(self, handed: int, receipts: int, now: datetime) -> None:
        """The counters as they are now."""
        if receipts != self._receipts:
            self._receipts, self._handed_at_receipt, self.since = receipts, handed, None
        self.count = handed - self._handed_at_receipt
        if self.since is None and self.count >= self._enough:
            self.since = now


@dataclass(frozen=True, slots=True)
class BeatLinks:
    """A process tells how its links are; rows of links that it has no more go."""

    node: str
    beats: tuple[LinkBeat, ...]
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[BeatLinks]) -> list[None]:
        for command in commands:
            command._beat(unit)
        return [None] * len(commands)

    def _beat(self, unit: Unit) -> None:
        mine = meta.c.key.startswith(link_key(self.node, ""), autoescape=True)
        known = set(unit.execute(select(meta.c.key).where(mine)).scalars())
        told = {link_key(self.node, beat.name): _write(beat) for beat in self.beats}
        for key, value in sorted(told.items()):
            if key in known:
                unit.execute(update(meta).where(meta.c.key == key).values(value=value))
            else:
                unit.execute(insert(meta).values(key=key, value=value))
        if gone := [key for key in known if key not in told]:
            unit.execute(delete(meta).where(meta.c.key.in_(gone)))
