"""Whose number it is: the shipped table of prefixes (`carriers.toml`) under a site's own file.

The file has lines `prefix or number,carrier`; `#` begins a comment. Its word comes before the shipped table, and in
each the longest prefix counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from config.errors import ConfigurationError

__all__ = ["CARRIERS", "Carriers", "CarriersInvalid", "load_carriers"]

SHIPPED = Path(__file__).with_name("carriers.toml")
CARRIERS = ("mobile", "unicom", "telecom", "broadcast")


class CarriersInvalid(ConfigurationError):
    """The carriers' file cannot be used. `errors`: the line and a sentence, of each."""


class Carriers:
    """Looks numbers up. Prefixes are national digits (`138…`); a number may begin with +86.

    Args:
        tables: the first that knows a prefix of the number decides.
    """

    def __init__(self, *tables: dict[str, str]) -> None:
        self._tables = [(table, sorted({len(prefix) for prefix in table}, reverse=True)) for table in tables if table]

    def of(self, number: str) -> str:
        """The carrier of a number, "" where no table knows it."""
        digits = number.removeprefix("+86")
        for table, lengths in self._tables:
            for length in lengths:
                carrier = table.get(digits[:length])
                if carrier is not None:
                    return carrier
        return ""


@cache
def _shipped() -> dict[str, str]:
    document = tomllib.loads(SHIPPED.read_text("utf-8"))
    return {prefix: carrier for carrier in CARRIERS for prefix in document[carrier]}


def load_carriers(file: Path | None = None) -> Carriers:
    """The shipped table, under a site's file where there is one.

    Raises:
        CarriersInvalid: with every bad line.
    """
    if file is None:
        return Carriers(_shipped())
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CarriersInvalid([("sms.carriers_file", f"{file} cannot be read: {error}")]) from error
    return Carriers(_read(lines), _shipped())


def _read(lines: Iterable[str]) -> dict[str, str]:
    table: dict[str, str] = {}
    errors = []
    for place, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        prefix, comma, carrier = (part.strip() for part in content.partition(","))
        prefix = prefix.removeprefix("+86")
        where = f"sms.carriers_file, line {place}"
        if not comma or not (prefix.isascii() and prefix.isdigit()):
            errors.append((where, 'must be "prefix or number,carrier"'))
        elif carrier not in CARRIERS:
            errors.append((where, f"{carrier!r} is no carrier; use {', '.join(CARRIERS)}"))
        else:
            table[prefix] = carrier
    if errors:
        raise CarriersInvalid(errors)
    return table
