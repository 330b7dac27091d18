"""A process's wall clock, turned by a test while the process runs; monotonic time stays the machine's (libfaketime)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

__all__ = ["WallClock", "faketime_missing"]

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def faketime_missing() -> str | None:
    """Why no wall clock can be turned here, in one line; None: it can."""
    if not _LIBRARIES or shutil.which("faketime") is None:
        return "libfaketime is missing (Debian: apt-get install faketime)"
    return None


class WallClock:
    """Give its `env` to the processes whose clock it is. `start`: what they read first; None: the machine's time."""

    def __init__(self, directory: Path, start: datetime | None = None) -> None:
        self._file = directory / "wall-clock"
        self.turn_to(start or datetime.now(UTC))

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def turn_to(self, moment: datetime) -> None:
        self._set(round((moment - datetime.now(UTC)).total_seconds()))

    def turn(self, by: timedelta) -> None:
        self._set(self._offset + round(by.total_seconds()))

    def _set(self, offset: int) -> None:
        self._offset = offset
        # Read at every look at the clock: half a file would be another time.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset:+d}\n")
        os.replace(fresh, self._file)
