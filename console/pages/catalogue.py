"""Every word that a page shows, in one file: `zh.toml`, tables of texts with named fields.

Rules kept here:

* A page names a text by its dotted key, `texts("login.title")`; the words of an enum stand in a table by its values,
  `texts.of("role", role)`. A key that is not there is an error, and a test looks for keys that are missing or unused.
* Fields stand in braces. A field that is not given is an error, never an empty place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["CATALOGUE", "Catalogue"]

CATALOGUE = Path(__file__).with_name("zh.toml")


class Catalogue:
    """The texts of a language, by dotted keys."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    @classmethod
    @cache
    def load(cls, path: Path = CATALOGUE) -> Catalogue:
        """Read once in a process."""
        return cls(dict(_flat(tomllib.loads(path.read_text("utf-8")))))

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._texts)

    def __call__(self, key: str, /, **fields: Any) -> str:
        """The text of a key.

        Raises:
            KeyError: there is none, or a field is not given.
        """
        return self._texts[key].format_map(fields)

    def of(self, table: str, value: Any) -> str:
        """The word for a value of an enum; where there is none the value itself, for a record may hold newer ones."""
        plain = str(value.value if isinstance(value, Enum) else value)
        return self._texts.get(f"{table}.{plain}", plain)

    def word(self, table: str, value: str) -> str | None:
        """The word for a value; None: the table has none."""
        return self._texts.get(f"{table}.{value}")

    def table(self, table: str) -> dict[str, str]:
        """The words of a table by value, in the order of the file; for choices in a form."""
        start = f"{table}."
        return {
            key.removeprefix(start): text
            for key, text in self._texts.items()
            if key.startswith(start) and "." not in key.removeprefix(start)
        }


def _flat(table: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        elif isinstance(value, str):
            yield start + key, value
        else:
            raise TypeError(f"{start}{key} in {CATALOGUE.name} is no text")
