"""Names as long as there is no directory: codes stand for themselves, a department has the name that came with it."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Connection

__all__ = ["PLAIN", "Names", "names_of"]


class Names(Protocol):
    """What pages ask of a directory."""

    def agent(self, code: str | None) -> str:
        """姓名 (工号), or the code alone; empty: there is none."""
        ...

    def dept(self, code: str | None, told: str | None = None) -> str:
        """A department's name: the directory's, else `told`, else the code."""
        ...


class _Plain:
    def agent(self, code: str | None) -> str:
        return code or ""

    def dept(self, code: str | None, told: str | None = None) -> str:
        return told or code or ""


PLAIN: Names = _Plain()


def names_of(_connection: Connection) -> Names:
    """The names of now."""
    return PLAIN
