"""The child process of console/exports.py: one line of JSON in, a file out on stdout, how it ended on stderr."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

from console.exports import ExportFormat
from console.pages.export_rows import Query, write_export
from console.ratings import read_filters
from console.viewer import ConsoleRole, Viewer
from models.database import open_database
from models.privacy import Keyring

__all__ = ["main"]

_NICE = 10


def main() -> int:
    """Exit code 0: whole, or at a limit that the file's last line tells; 1: not whole."""
    os.nice(_NICE)
    try:
        job: Any = json.loads(sys.stdin.buffer.readline())
        name, role, depts, areas = job["viewer"]
        filters, wrong = read_filters([(name, value) for name, value in job["pairs"]], date.fromisoformat(job["today"]))
        if wrong:
            raise ValueError("a filter cannot be used")  # noqa: TRY301 (told like everything else)
        query = Query(
            Viewer(name, ConsoleRole(role), tuple(depts), tuple(areas)),
            filters,
            bytes.fromhex(job["tail"]) or None,
            full=bool(job["full"]),
            rows=int(job["rows"]),
            seconds=float(job["seconds"]),
            reasons=job["reasons"],
        )
        keyring = Keyring.load(Path(job["key_file"]))
        database = open_database(job["url"], Path("/"), readers=1)
        try:
            done = write_export(
                database, keyring, query, ExportFormat(job["format"]), sys.stdout.buffer, folder=job["folder"]
            )
        finally:
            database.close()
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to tell it to
        return 1
    except Exception as error:  # noqa: BLE001 (told to the parent by its kind; a message could hold what a row holds)
        print(type(error).__name__, file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps({"rows": done.rows, "ended": done.ended}), file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
