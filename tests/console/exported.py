"""Exports read back, and what stands of them in the audit."""

from __future__ import annotations

import csv
import http.client
import io
from typing import Any
from urllib.parse import urlencode

import openpyxl
from sqlalchemy import select

from console.pages.catalogue import Catalogue
from models.database import Database
from models.tables import audit
from tests.console.browser import Browser

__all__ = ["ask", "in_the_audit", "read_csv", "read_xlsx"]

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


def ask(someone: Browser, query: str = "", **fields: str) -> tuple[int, dict[str, str], bytes]:
    """The export's form, and whatever came."""
    csrf = someone.get("/ratings").hidden("csrf")
    body = urlencode({"csrf": csrf, "query": query, "format": "csv", **fields}).encode()
    connection = http.client.HTTPConnection(someone.address.host, someone.address.port, timeout=60)
    try:
        cookies = "; ".join(f"{name}={value}" for name, value in someone.cookies.items())
        kind = "application/x-www-form-urlencoded"
        connection.request("POST", "/ratings/export", body, {"Cookie": cookies, "Content-Type": kind})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()
    finally:
        connection.close()
