"""Exports that are streamed from a child process, so that calls do not feel them.

Rules kept here:

* The child (console/export_process.py) has a read connection of its own, reads in pages of short transactions, and runs
  at a low priority. What it needs comes over its stdin, so that no password stands in a command line.
* At most `most` run at once, and one of each person, so that nobody holds all places; another one is refused with a
  word, not queued. Who does not read what comes loses the connection (server/health.py), and with it the place.
* An answer begins when the first bytes are there: what fails before is a page that says so. What fails later ends the
  connection, so that a browser knows that the file is not whole.
* The child is killed when whoever asked goes away or may no longer have it, also before its first byte (a sheet comes
  when it is complete, a rare row late), and when it takes too long. What it writes beside its answer (a
  sheet is put together in files) lies in a folder that is this process's to remove, for a killed child cannot.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog

__all__ = [
    "Ended",
    "Export",
    "ExportDesk",
    "ExportFailed",
    "ExportFormat",
    "ExportJob",
    "ExportUnderWay",
    "ExportUnwanted",
    "ExportsBusy",
]

COMMAND = (sys.executable, "-m", "console.export_process")
CHUNK = 64 * 1024
GRACE = 60.0
"""Seconds beyond its own limit, after which a child is killed."""
Until = Callable[[], Coroutine[Any, Any, None]]
"""Comes to its end when an export is no longer wanted, or no longer to be had."""
log = structlog.get_logger(__name__)


class ExportsBusy(Exception):
    """As many exports run as may."""


class ExportUnderWay(ExportsBusy):
    """This person has one running."""


class ExportFailed(Exception):
    """The child died, or did not come to its end."""


class ExportUnwanted(ExportFailed):
    """Nobody waits for it any more, or may."""


class ExportFormat(StrEnum):
    XLSX = "xlsx"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        if self is ExportFormat.CSV:
            return "text/csv; charset=utf-8"
        return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Ended(StrEnum):
    """How an export ended: whole, or at a limit, which its last line says."""

    WHOLE = "whole"
    ROWS = "rows"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What is to be exported.

    `pairs`: the filters as an address tells them; `tail`: the keyed hash of the last four digits, in hexadecimal;
    `viewer`: name, role, departments, areas; `full`: whole numbers.
    """

    pairs: Sequence[tuple[str, str]]
    today: str
    tail: str
    viewer: tuple[str, str, Sequence[str], Sequence[str]]
    format: ExportFormat
    full: bool = False


class Export:
    """An export under way."""

    def __init__(self, desk: ExportDesk, process: asyncio.subprocess.Process, first: bytes) -> None:
        self._desk = desk
        self._process = process
        self._first = first
        self.rows: int | None = None
        self.ended: Ended | None = None

    async def chunks(self, until: Until) -> AsyncGenerator[bytes, None]:
        """The file. Ends the child however this ends.

        Args:
            until: comes to its end when the file is no longer to be had.

        Raises:
            ExportFailed: the file is not whole.
        """
        process = self._process
        assert process.stdout is not None
        watch = self._desk.watch(process, until)
        try:
            yield self._first
            async with asyncio.timeout(self._desk.seconds + GRACE):
                while some := await process.stdout.read(CHUNK):
                    yield some
                if watch.done():
                    raise ExportUnwanted("it may no longer be had")
                await self._close()
        except TimeoutError:
            raise ExportFailed("it took too long") from None
        finally:
            watch.cancel()
            self._desk.end(process)

    async def _close(self) -> None:
        process = self._process
        assert process.stderr is not None
        told = await process.stderr.read(10_000)
        if await process.wait() != 0:
            log.warning("an export failed", cause=_last_line(told))
            raise ExportFailed("the child ended before the file")
        try:
            answer: Any = json.loads(_last_line(told))
            self.rows, self.ended = int(answer["rows"]), Ended(answer["ended"])
        except (ValueError, KeyError, TypeError):
            raise ExportFailed("the child did not say how it ended") from None


class ExportDesk:
    """Starts exports, `most` at once.

    Args:
        url: the database's, with its password. key_file: the privacy key's.
        rows, seconds: the limits of one export.
        reasons: words of the reason codes.
    """

    def __init__(
        self,
        url: str,
        key_file: str,
        *,
        most: int = 2,
        rows: int = 1_000_000,
        seconds: float = 1800.0,
        reasons: dict[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._source = {"url": url, "key_file": key_file, "reasons": reasons or {}}
        self.most = most
        self.rows = rows
        self.seconds = seconds
        self._command = tuple(command)
        self._running: dict[asyncio.subprocess.Process | object, str] = {}
        self._folders: dict[asyncio.subprocess.Process, str] = {}
        self._reaping: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        return len(self._running)

    async def start(self, job: ExportJob, until: Until) -> Export:
        """Starts an export and waits for its first bytes.

        Args:
            until: comes to its end when nobody waits for them any more.

        Raises:
            ExportUnderWay: this viewer has one running.
            ExportsBusy: as many run as may.
            ExportUnwanted: nobody waits.
            ExportFailed: nothing came.
        """
        name = job.viewer[0]
        if name in self._running.values():
            raise ExportUnderWay
        if len(self._running) >= self.most:
            raise ExportsBusy
        place = object()
        self._running[place] = name
        folder = tempfile.mkdtemp(prefix="huiyin-export-")
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            log.warning("no export", cause=type(error).__name__)
            raise ExportFailed("the child cannot be started") from error
        finally:
            del self._running[place]
        self._running[process] = name
        self._folders[process] = folder
        export: Export | None = None
        watch = self.watch(process, until)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            request = (
                asdict(job)
                | self._source
                | {
                    "rows": self.rows,
                    "seconds": self.seconds,
                    "folder": folder,
                }
            )
            with suppress(ConnectionError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                await process.stdin.drain()
                process.stdin.close()
            async with asyncio.timeout(self.seconds + GRACE):
                first = await process.stdout.read(CHUNK)
            if watch.done():
                raise ExportUnwanted("nobody waits for it")
            if not first:
                assert process.stderr is not None
                log.warning("an export failed", cause=_last_line(await process.stderr.read(10_000)))
                raise ExportFailed("the child ended before its first bytes")
            export = Export(self, process, first)
        except TimeoutError:
            raise ExportFailed("it took too long") from None
        finally:
            watch.cancel()
            if export is None:
                self.end(process)
        return export

    def watch(self, process: asyncio.subprocess.Process, until: Until) -> asyncio.Task[None]:
        """Ends a child as soon as it is not wanted, whether or not it has written anything."""
        watching = asyncio.get_running_loop().create_task(until())
        watching.add_done_callback(lambda done: None if done.cancelled() else self.end(process))
        return watching

    def end(self, process: asyncio.subprocess.Process) -> None:
        """Ends a child; twice is the same. Nothing is waited for: whoever went away is being cancelled."""
        self._running.pop(process, None)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        reaping = asyncio.get_running_loop().create_task(_reap(process, self._folders.pop(process, None)))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)


async def _reap(process: asyncio.subprocess.Process, folder: str | None) -> None:
    await process.wait()
    if folder is not None:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    # What was still in the pipe is not wanted; without this its descriptor stays open until it is read.
    transport: Any = process._transport  # type: ignore[attr-defined]
    transport.close()


def _last_line(told: bytes) -> str:
    lines = told.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
