"""Charts as the pages show them: frozen descriptions in, SVG out, made by a child process (ADR 0030).

Rules kept here:

1. A chart is plain data: bars with labels, counts, an interval, and where a click leads. The same data is the table.
2. `Charts.chart` blocks its thread for `seconds` at most; it is for the web server's threads, never for the reactor.
3. A child that dies, answers late or answers nonsense is ended, and the next chart starts another. It is asked one
   thing at a time.
4. The last `keep` charts are kept by their content. A failure is not kept.
5. The SVG has no style, no script, no outside address (console/chart_process.py keeps that).
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog

__all__ = ["Bar", "Chart", "ChartFailed", "ChartKind", "Charts"]

COMMAND = (sys.executable, "-m", "console.chart_process")
SECONDS = 20.0
"""A child's first chart takes some seconds of a busy machine, each further one a twentieth of one."""
KEEP = 256
_LONGEST = 4 * 1024 * 1024
log = structlog.get_logger(__name__)


class ChartFailed(Exception):
    """There is no chart now; the page shows its table."""


class ChartKind(StrEnum):
    """How the bars stand: parts on one another, by time; each for itself, by name; a rate with its interval."""

    STACKED = "stacked"
    BARS = "bars"
    RATES = "rates"


@dataclass(frozen=True, slots=True)
class Bar:
    """`value`: a count, or a rate between 0 and 1 (None: too few for one); `n`: beside it; `part`: which of a stack.

    `href`: an address of ours, beginning with a slash; `low`, `high`: the interval of a rate.
    """

    label: str
    value: float | None
    href: str
    n: int | None = None
    part: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """`parts`: the names of a stack's parts, lowest first; their colours go by their places. `few`: said instead of a
    rate where there is none.
    """

    kind: ChartKind
    title: str
    bars: tuple[Bar, ...]
    parts: tuple[str, ...] = ()
    few: str = ""
    width: int = 640
    height: int = 220

    @property
    def request(self) -> bytes:
        """The line that a child is asked with."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class Charts:
    """The child process and the charts it has made. Any thread may ask.

    Args:
        seconds: how long one chart may take, waiting for others included.
        keep: how many are kept.
    """

    def __init__(self, *, seconds: float = SECONDS, keep: int = KEEP, command: Sequence[str] = COMMAND) -> None:
        self._seconds = seconds
        self._keep = keep
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def chart(self, chart: Chart) -> bytes:
        """The SVG, in UTF-8, to stand in a page as it is.

        Raises:
            ChartFailed: the child died, was too slow, or cannot make this one.
        """
        request = chart.request
        with self._kept_lock:
            if (known := self._kept.get(request)) is not None:
                self._kept.move_to_end(request)
                return known
        end = time.monotonic() + self._seconds
        if not self._lock.acquire(timeout=self._seconds):
            raise ChartFailed("other charts take too long")
        try:
            made = self._ask(request, end)
        finally:
            self._lock.release()
        with self._kept_lock:
            self._kept[request] = made
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return made

    def close(self) -> None:
        """Ends the child. Whoever waits for a chart gets none."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._end()

    def _ask(self, request: bytes, end: float) -> bytes:
        if self._closed:
            raise ChartFailed("the server stops")
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = subprocess.Popen(  # noqa: S603 (our own module)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            answer: Any = json.loads(_exchange(self._child, request, end))
            made: Any = answer["svg"] if isinstance(answer, dict) and "svg" in answer else None
        except (OSError, ValueError, ChartFailed) as error:
            self._end()
            log.warning("no chart", cause=f"{type(error).__name__}: {error}"[:200])
            raise ChartFailed("the chart's process died or was too slow") from error
        if not isinstance(made, str):
            cause = str(answer.get("error", "?"))[:200] if isinstance(answer, dict) else "?"
            log.warning("no chart", cause=cause)
            raise ChartFailed("this chart cannot be made")
        return made.encode()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was still to be written to a dead child
                    pipe.close()


def _exchange(child: subprocess.Popen[bytes], request: bytes, end: float) -> bytes:
    """Writes one line and reads one, until `end`."""
    assert child.stdin is not None
    assert child.stdout is not None
    into, out = child.stdin.fileno(), child.stdout.fileno()
    os.set_blocking(into, False)
    os.set_blocking(out, False)
    left = memoryview(request)
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(into, selectors.EVENT_WRITE)
        selector.register(out, selectors.EVENT_READ)
        while not answer.endswith(b"\n"):
            patience = end - time.monotonic()
            if patience <= 0:
                raise ChartFailed("too slow")
            for key, _ in selector.select(patience):
                if key.fd == into:
                    left = left[os.write(into, left) :]
                    if not left:
                        selector.unregister(into)
                else:
                    some = os.read(out, 65536)
                    if not some:
                        raise ChartFailed("the child has ended")
                    answer += some
                    if len(answer) > _LONGEST:
                        raise ChartFailed("its answer has no end")
    return bytes(answer)
