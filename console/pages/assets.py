"""Our own style sheet, script and pictures: read once from the package, served under a name that holds their hash.

A browser keeps them for a year; a changed file has another name. Nothing else can be asked for, so no path leads out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Asset", "Assets"]

FOLDER = Path(__file__).with_name("static")
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    kind: str


class Assets:
    """The files of `static`, by their hashed names."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._by_hashed: dict[str, Asset] = {}
        self._hashed: dict[str, str] = {}
        for file in sorted(folder.iterdir()):
            if file.suffix not in _KINDS:
                continue
            content = file.read_bytes()
            hashed = f"{file.stem}.{hashlib.sha256(content).hexdigest()[:16]}{file.suffix}"
            self._hashed[file.name] = hashed
            self._by_hashed[hashed] = Asset(content, _KINDS[file.suffix])

    def url(self, name: str) -> str:
        """The address of a file.

        Raises:
            KeyError: there is none of this name.
        """
        return f"/static/{self._hashed[name]}"

    def find(self, hashed: str) -> Asset | None:
        return self._by_hashed.get(hashed)
