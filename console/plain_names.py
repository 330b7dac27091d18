"""What boards and trends ask of a directory (console/directory.py), and one that knows no names."""

from __future__ import annotations

from typing import Protocol

__all__ = ["PLAIN", "Names"]


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
