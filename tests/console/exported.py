"""Exports read back, and what stands of them in the audit."""

from __future__ import annotations

import csv
import io
from typing import Any

import openpyxl
from sqlalchemy import select

from console.pages.catalogue import Catalogue
from models.database import Database
from models.tables import audit

__all__ = ["in_the_audit", "read_csv", "read_xlsx"]

HEADINGS = Catalogue.load().table("column")
BOM = b"\xef\xbb\xbf"


def read_csv(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(BOM)
    lines = list(csv.reader(io.StringIO(content.removeprefix(BOM).decode(), newline="")))
    assert lines[0] == list(HEADINGS.values())
    return [dict(zip(HEADINGS, line, strict=False)) for line in lines[1:]]


def read_xlsx(content: bytes) -> list[dict[str, Any]]:
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
    lines = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    assert list(lines[0]) == list(HEADINGS.values())
    return [dict(zip(HEADINGS, line, strict=False)) for line in lines[1:]]


def in_the_audit(database: Database) -> list[tuple[str, str]]:
    """What stands there of exports; the last row is written after the answer, on the writer's thread."""
    with database.read_engine.connect() as connection:
        statement = select(audit).where(audit.c.action.like("ratings.%")).order_by(audit.c.id)
        return [(row.action, row.detail) for row in connection.execute(statement)]
