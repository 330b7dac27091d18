"""What an export holds: one row an evaluation, for people (XLSX) or for machines (CSV, UTF-8 with its mark).

Rules kept here:

* The rows are those of the list with the same filters (console/ratings.py), read in pages, each in a transaction of its
  own; each row is in it once, whatever is stored meanwhile.
* A text is never a formula: in a sheet it is a string; in CSV an apostrophe stands before =, +, -, @, their full-width
  forms, which a Chinese spreadsheet takes for the same, tab and the ends of a line.
* Numbers are masked unless `full` says otherwise (whoever sets it has asked why); what citizens wrote always is.
* A limit that is reached is told in the last line.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

import xlsxwriter
from sqlalchemy import Connection, select

from console.directory import Directory, Names
from console.exports import Ended, ExportFormat
from console.masking import mask_words
from console.pages.catalogue import Catalogue
from console.ratings import Listed, RatingFilters, ratings_page
from console.viewer import Viewer, visible
from models.clock import SHANGHAI
from models.database import Database
from models.errors import KeyUnreadable
from models.privacy import Keyring, mask
from models.tables import calls, cases

__all__ = ["Done", "Query", "export_columns", "neutral", "write_export"]

_PAGE = 1000
_SCAN = 20_000
_LONGEST = 32_000
"""Characters in a cell; a sheet takes 32,767."""
_COPIED = 256 * 1024
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\u2212")
"""With the minus sign; those of full width, and small ones, are these after NFKC."""
_WIDTHS = {"number": 24, "title": 30, "comment": 40, "reasons": 24, "time": 20, "dept_name": 22, "id": 34}
Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Query:
    """`tail`: the keyed hash of `filters.tail`; `rows`, `seconds`: the limits."""

    viewer: Viewer
    filters: RatingFilters
    tail: bytes | None = None
    full: bool = False
    rows: int = 1_000_000
    seconds: float = 1800.0
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    rows: int
    ended: Ended


def neutral(text: str) -> str:
    """A text that no spreadsheet takes for a formula when it opens a CSV file."""
    begun = unicodedata.normalize("NFKC", text.lstrip()[:1])
    return f"'{text}" if text.startswith(_FORMULA) or begun.startswith(_FORMULA) else text


def export_columns(texts: Catalogue) -> dict[str, str]:
    """The columns and their headings."""
    return texts.table("column")


def write_export(
    database: Database,
    keyring: Keyring,
    query: Query,
    form: ExportFormat,
    out: BinaryIO,
    *,
    page: int = _PAGE,
    folder: str | None = None,
) -> Done:
    """Writes an export to `out`, which need not be seekable. `folder`: for a sheet's files while it is made."""
    texts = Catalogue.load()
    reader = _Reader(database, keyring, query, texts, page)
    if form is ExportFormat.CSV:
        _write_csv(reader, out)
    else:
        _write_xlsx(reader, out, folder)
    return Done(reader.rows, reader.ended)


class _Reader:
    """The rows, and afterwards how many there were and why they ended."""

    def __init__(self, database: Database, keyring: Keyring, query: Query, texts: Catalogue, page: int) -> None:
        self._database = database
        self._keyring = keyring
        self._query = query
        self._page = page
        self._directory = Directory()
        self.texts = texts
        self.columns = export_columns(texts)
        self.rows = 0
        self.ended = Ended.WHOLE

    def pages(self) -> Iterator[list[list[Cell]]]:
        """Cells in the order of the columns; a last line tells a limit."""
        query = self._query
        end = time.monotonic() + query.seconds
        cursor: str | None = None
        while True:
            most = min(self._page, query.rows - self.rows)
            if most == 0:
                self.ended = Ended.ROWS
                yield [[self.texts("export.limit_rows", rows=query.rows)]]
                return
            with self._database.read_engine.connect() as connection:
                page = ratings_page(connection, query.viewer, query.filters, cursor, most, tail=query.tail, scan=_SCAN)
                names = self._directory.names(connection)
                numbers = self._numbers(connection, page.rows)
            self.rows += len(page.rows)
            yield [self._cells(one, names, numbers) for one in page.rows]
            cursor = page.cursor
            if cursor is None:
                return
            if time.monotonic() > end:
                self.ended = Ended.TIME
                yield [[self.texts("export.limit_time")]]
                return

    def _numbers(self, connection: Connection, rows: Sequence[Listed]) -> dict[str, str]:
        ids = sorted({one.row.subject_id for one in rows})
        found: dict[str, str] = {}
        for table in (calls, cases):
            statement = select(table.c.subject_id, table.c.number_sealed).where(
                table.c.subject_id.in_(ids), table.c.number_sealed.is_not(None), visible(self._query.viewer, table)
            )
            for row in connection.execute(statement):
                try:
                    number = self._keyring.open(bytes(row.number_sealed))
                except KeyUnreadable:
                    found[row.subject_id] = self.texts("export.unreadable")
                    continue
                found[row.subject_id] = number.removeprefix("+86") if self._query.full else mask(number)
        return found

    def _cells(self, one: Listed, names: Names, numbers: Mapping[str, str]) -> list[Cell]:
        row, texts = one.row, self.texts
        reasons = [code for code in (row.reasons or "").split(",") if code]
        values: dict[str, Cell] = {
            "time": _moment(row.assess_time),
            "satisfaction": int(row.satisfaction),
            "level": texts.of("level", row.satisfaction),
            "kind": texts.of("kind", row.subject_kind),
            "number": one.number,
            "title": mask_words(one.title),
            "channel": texts.of("channel", row.channel),
            "origin": texts.of("origin", row.origin),
            "effective": texts.of("yes", "yes" if row.effective else "no"),
            "reasons": "；".join(self._query.reasons.get(code, code) for code in reasons),
            "reason_codes": ",".join(reasons),
            "comment": mask_words(row.comment),
            "agent": row.agent,
            "agent_name": names.agent_name(row.agent),
            "team": names.team(row.agent),
            "queue": row.queue,
            "dept": row.dept_code,
            "dept_name": names.dept(row.dept_code, row.dept_name),
            "task_code": row.task_code,
            "task_name": row.task_name,
            "area": row.area_code,
            "phone": numbers.get(row.subject_id),
            "service_number": int(row.service_number),
            "assess_number": int(row.assess_number),
            "asked": "" if row.asked is None else texts.of("yes", "yes" if row.asked else "no"),
            "pushed_at": _moment(row.pushed_at),
            "verdict": texts.of("verdict", row.centre_status) if row.centre_status else "",
            "adoption": texts.of("adoption", row.adoption) if row.adoption else "",
            "follow_up": texts.of("follow_up", row.follow_up) if row.follow_up else "",
            "project_no": row.project_no,
            "id": row.id,
        }
        return [values[name] for name in self.columns]


def _moment(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _write_csv(reader: _Reader, out: BinaryIO) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # \r\n after each line, quotes where they are needed
    writer.writerow(reader.columns.values())
    out.write(b"\xef\xbb\xbf")
    for page in reader.pages():
        writer.writerows([neutral(cell) if isinstance(cell, str) else cell for cell in row] for row in page)
        out.write(buffer.getvalue().encode("utf-8", "replace"))
        buffer.seek(0)
        buffer.truncate()
    out.write(buffer.getvalue().encode("utf-8", "replace"))


def _write_xlsx(reader: _Reader, out: BinaryIO, within: str | None) -> None:
    # The sheet's rows go to a file of their own as they come; the whole is put together at the end.
    with tempfile.TemporaryDirectory(prefix="huiyin-export-", dir=within) as folder:
        path = f"{folder}/export.xlsx"
        book = xlsxwriter.Workbook(
            path,
            {
                "constant_memory": True,
                "tmpdir": folder,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        sheet = book.add_worksheet(reader.texts("export.sheet"))
        bold = book.add_format({"bold": True})
        for place, (name, heading) in enumerate(reader.columns.items()):
            sheet.set_column(place, place, _WIDTHS.get(name, 12))
            sheet.write_string(0, place, heading, bold)
        sheet.freeze_panes(1, 0)
        line = 0
        for page in reader.pages():
            for row in page:
                line += 1
                for place, cell in enumerate(row):
                    if isinstance(cell, int):
                        sheet.write_number(line, place, cell)
                    elif cell:
                        sheet.write_string(line, place, cell[:_LONGEST])
        if line:
            sheet.autofilter(0, 0, line, len(reader.columns) - 1)
        book.close()
        with open(path, "rb") as file:
            while some := file.read(_COPIED):
                out.write(some)
