"""Reads of the writer's hot commands: a SELECT compiled once, its rows as plain named tuples.

SQLAlchemy expands a list into the statement's text at each execution and builds a row out of processors; for 64 short
rows that costs more than the database does. Here a list has a fixed number of places, filled up with its last value,
and ids and times are converted by the one function each that they need.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Dialect, LargeBinary, Select, bindparam

from models.tables import Id, UtcTime

if TYPE_CHECKING:
    from models.door import Unit

__all__ = ["PLACES", "Read", "any_of", "one_of"]

_WORD = re.compile(r"[a-z_]+")
PLACES = 64
"""In a list of a `Read`; as many as a group has commands (models/door.py)."""


def any_of(column: Column[Any]) -> ColumnElement[bool]:
    """The column's value is one of the read's list."""
    return column.in_([bindparam(f"_place_{place}", type_=column.type) for place in range(PLACES)])


def one_of(column: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """The column's value is one of a few that are always the same (`in_` would leave them to be expanded)."""
    return column.in_([bindparam(None, value, type_=column.type) for value in values])


class Read:
    """A SELECT with `bindparam`s, and at most one list of values (`any_of`).

    Args:
        names: the order in which `rows` gets the parameters.
    """

    def __init__(self, statement: Select[Any], names: Sequence[str] = (), *, listed: bool = False) -> None:
        self.statement = statement
        self.names = tuple(names)
        self._listed = listed
        self._ready: dict[str, _Ready] = {}

    def rows(self, unit: Unit, parameters: Sequence[Any] = (), values: Sequence[Any] = ()) -> list[Any]:
        """The rows, as named tuples. Of a long list the rows of each PLACES values follow one another."""
        ready = self._ready.get(unit.dialect.name)
        if ready is None:
            ready = self._ready[unit.dialect.name] = _Ready(self.statement, self.names, unit.dialect)
        if not self._listed:
            return ready.make(unit.fetch(ready.text, ready.parameters(parameters, ())))
        found: list[Any] = []
        for start in range(0, len(values), PLACES):
            places = list(values[start : start + PLACES])
            places += places[-1:] * (PLACES - len(places))
            found += ready.make(unit.fetch(ready.text, ready.parameters(parameters, places)))
        return found


class _Ready:
    """A read compiled for one kind of database."""

    def __init__(self, statement: Select[Any], names: Sequence[str], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        self._positional = bool(compiled.positional)
        # Of each parameter of the statement: its name, where our value of it is, its conversion.
        self._slots: list[tuple[str, int, Any, Callable[[Any], Any] | None]] = []
        for name in compiled.positiontup if self._positional else compiled.params:
            kind = compiled.binds[name].type
            process = compiled._bind_processors.get(name)
            if isinstance(kind, LargeBinary | Id):
                process = None
            if name.startswith("_place_"):
                self._slots.append((name, len(names) + int(name.removeprefix("_place_")), None, process))
            elif name in names:
                self._slots.append((name, names.index(name), None, process))
            else:
                fixed = compiled.params[name]
                self._slots.append((name, -1, fixed if process is None or fixed is None else process(fixed), None))
        self._inline()
        entries = compiled._result_columns
        self._make: Any = _row_of([entry.keyname for entry in entries])._make
        self._conversions = [
            (place, conversion)
            for place, entry in enumerate(entries)
            if (conversion := _conversion(entry.type, dialect)) is not None
        ]

    def _inline(self) -> None:
        """Writes the statement's own words (states, kinds) into its text.

        A partial index serves a condition that the database can see when it plans: PostgreSQL's generic plan cannot
        look into a parameter, and SQLite does, but plans anew at each execution, which costs more than the read.
        """
        kept = []
        for slot in self._slots:
            name, at, fixed, _ = slot
            mark = f"%({name})s" if not self._positional else "?"
            word = isinstance(fixed, str) and _WORD.fullmatch(fixed) is not None
            if at < 0 and word:
                # A mark that stays is hidden meanwhile, so that the first mark is always this slot's.
                self.text = self.text.replace(mark, f"'{fixed}'", 1 if self._positional else -1)
            else:
                kept.append(slot)
                if self._positional:
                    self.text = self.text.replace(mark, "\0", 1)
        self.text = self.text.replace("\0", "?")
        self._slots = kept

    def parameters(self, given: Sequence[Any], places: Sequence[Any]) -> Any:
        values = (*given, *places)
        filled = [
            fixed if at < 0 else values[at] if process is None or values[at] is None else process(values[at])
            for _, at, fixed, process in self._slots
        ]
        if self._positional:
            return tuple(filled)
        return {name: value for (name, *_), value in zip(self._slots, filled, strict=True)}

    def make(self, rows: Sequence[Any]) -> list[Any]:
        make, conversions = self._make, self._conversions
        if not conversions:
            return [make(row) for row in rows]
        made = []
        for row in rows:
            values = list(row)
            for place, convert in conversions:
                if (value := values[place]) is not None:
                    values[place] = convert(value)
            made.append(make(values))
        return made


def _row_of(names: Sequence[str]) -> Any:
    return namedtuple("Row", names)


def _conversion(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    """From the driver's value to ours; None: they are the same."""
    sqlite = dialect.name == "sqlite"
    if isinstance(kind, Id):
        return None if sqlite else _hex
    if isinstance(kind, UtcTime):
        return _sqlite_moment if sqlite else _in_utc
    if isinstance(kind, LargeBinary):
        return None if sqlite else bytes
    processor: Callable[[Any], Any] | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return processor


def _hex(value: Any) -> str:
    return str(value).replace("-", "")


def _sqlite_moment(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)
