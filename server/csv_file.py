"""A table of lines (CSV), as spreadsheets and other systems write them: what all files that are handed in share.

Rules kept here:

* The first line names the columns, in Chinese or in English; a column that means nothing here is refused, for whoever
  wrote it meant something.
* UTF-8 with or without its mark, GBK, or UTF-16 with its mark; commas, semicolons or tabs.
* Every line stands for itself. A quote that is never closed costs its own line alone.
* No sentence repeats what stands in a cell: it could be somebody's number.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.errors import CannotDo

__all__ = ["BadLine", "Table", "read_table"]

_LONGEST_RECORD: Final = 50
"""Lines in one quoted cell, after which its quote counts as forgotten."""


@dataclass(frozen=True, slots=True)
class BadLine:
    number: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Table:
    """`columns`: the field of each, empty for a column without a heading. `records`: each with the number of its first
    line; as many cells as there are columns, or a sentence that says why it cannot be read."""

    columns: Sequence[str]
    records: Iterator[tuple[int, Sequence[str] | str]]


def read_table(content: bytes, headings: Mapping[str, str], needed: Sequence[str], *, what: str, page: str) -> Table:
    """Reads a file.

    Args:
        headings: the field that a heading means.
        needed: fields without which nothing can be read.
        what: the thing that a line is, for sentences; `page`: where its columns are explained.

    Raises:
        CannotDo: the first line does not name the columns.
    """
    lines = _text(content).splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise CannotDo("the file is empty; its first line names the columns")
    delimiter = max(",\t;", key=lines[first].count)
    columns: list[str] = []
    for heading in next(csv.reader([lines[first]], delimiter=delimiter)):
        plain = heading.strip().lower().replace(" ", "_")
        field = headings.get(plain, "" if not plain else None)
        if field is None:
            raise CannotDo(f"column {heading.strip()[:40]!r} is no field of {what}; see {page}")
        if field and field in columns:
            raise CannotDo(f"two columns are {field}: {heading.strip()!r} is the second")
        columns.append(field)
    if missing := [name for name in needed if name not in columns]:
        raise CannotDo(f"the first line names no column for {', '.join(missing)}; see {page}")
    return Table(columns, _lines(lines, first + 1, delimiter, len(columns)))


def _lines(lines: Sequence[str], place: int, delimiter: str, columns: int) -> Iterator[tuple[int, Sequence[str] | str]]:
    for number, cells in _records(lines, place, delimiter):
        if cells is None:
            yield number, "a quote is not closed, or stands where none may"
            continue
        if not any(cell.strip() for cell in cells):
            continue
        while len(cells) > columns and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) != columns:
            yield number, f"has {len(cells)} cells, the first line has {columns}"
        elif any("\udc80" <= sign <= "\udcff" for cell in cells for sign in cell):
            yield number, "holds bytes that are no text in the file's encoding"
        else:
            yield number, [_plain(cell) for cell in cells]


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


def _plain(cell: str) -> str:
    """A cell without what spreadsheets put round digits to keep them text: ="0042", '0042."""
    text = cell.strip()
    if len(text) > 3 and text.startswith('="') and text.endswith('"'):
        text = text[2:-1].strip()
    return text.removeprefix("'")
