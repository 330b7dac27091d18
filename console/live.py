"""The live boards of a process: one poller, one body a sight, any number of streams that only wait.

Rules kept here:

1. Boards of one sight share what they get: it is read, rendered and encoded once, however many look.
2. A board gets one update in `SPACING` seconds at most. A commit of this process wakes the poller; what others commit
   it finds by itself, `LOOK` seconds later at most.
3. Each update carries the place in the feed up to which bad ratings were told. A stream that comes back with a place
   gets first what lies between it and the update it joins: no gap, whichever process it comes back to. What is told
   twice has the same id, and the page shows it once.
4. A place of before a restore, one too far back and one that nobody gave out are answered with `reload`: the whole page
   has everything.
5. Nothing here blocks the loop: reads run on the door's pool. A database that does not answer is told (`stalled`), not
   waited for in silence.
6. A stream ends with its session or token, within `CHECK` seconds.
7. A session has `OF_A_SESSION` streams at most: another one ends the oldest, which is told so (`crowded`) and does not
   come back by itself. Wall screens share a token and are not counted.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from console.bad_ratings import BadRating, told_between, visible_lines
from console.board_state import (
    BoardRules,
    Machinery,
    Sight,
    Work,
    read_figures,
    read_machinery,
    read_work,
    today,
)
from console.directory import Directory
from console.figures import Board
from console.plain_names import PLAIN, Names
from console.positions import (
    CursorGone,
    CursorUnreadable,
    Position,
    read_cursor,
    read_edge,
    read_epoch,
    write_cursor,
)
from intake.calendars import StoredCalendar
from models.clock import Clock
from models.door import Door
from models.errors import DoorClosed

__all__ = ["CHECK", "LOOK", "SLOW", "SPACING", "LiveBoards", "Render", "Shown", "read_shown"]

SPACING = 1.0
LOOK = 0.4
SLOW = 10.0
"""Seconds between two looks at what people look after."""
CHECK = 10.0
STALL = 5.0
"""Seconds without an answer of the database after which boards are told."""
KEEP_ALIVE = 15.0
OF_A_SESSION = 8
_KEPT = 64
"""Updates that a slow reader may be behind."""
RELOAD = b"event: reload\ndata: 1\n\n"
CROWDED = b"event: crowded\ndata: 1\n\n"
OVER = b"event: over\ndata: 1\n\n"
STALLED = b"event: stalled\ndata: 1\n\n"
_ALIVE = b":\n\n"

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the boards of one sight show at one moment, beside the bad ratings."""

    day: date
    figures: Board
    machinery: Machinery | None = None
    work: Work | None = None


def read_shown(connection: Connection, clock: Clock, sight: Sight, rules: BoardRules, days: StoredCalendar) -> Shown:
    """All of it, for a page."""
    now = clock.now()
    day = today(now)
    return Shown(
        day,
        read_figures(connection, day, sight),
        read_machinery(connection, now, rules, days) if sight.sees_machinery else None,
        None if sight.is_wall else read_work(connection, now, sight),
    )


class Render:
    """Makes parts of a page; the pages have one (console/pages/board.py)."""

    def parts(self, sight: Sight, shown: Shown) -> dict[str, str]:
        """Each part of the board by the id of its element."""
        raise NotImplementedError

    def line(self, sight: Sight, rating: BadRating, names: Names) -> str:
        """A bad rating."""
        raise NotImplementedError


StillOpen = Callable[[Connection], bool]


@dataclass(eq=False)
class _Stream:
    still_open: StillOpen
    over: bool = False
    crowded: bool = False


@dataclass(eq=False)
class _Channel:
    """The boards of one sight. `sequence` counts its updates, of which `kept` has the last ones."""

    sight: Sight
    shown: Shown | None = None
    parts: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    """Every part goes with the next update."""
    sequence: int = 0
    kept: deque[bytes] = field(default_factory=lambda: deque(maxlen=_KEPT))
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    streams: set[_Stream] = field(default_factory=set)

    def publish(self, body: bytes) -> None:
        self.kept.append(body)
        self.sequence += 1
        self.nudge()

    def nudge(self) -> None:
        """Whoever waits looks again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def since(self, sequence: int) -> list[bytes] | None:
        """The updates behind one; None: they are no longer kept."""
        behind = self.sequence - sequence
        if behind > len(self.kept):
            return None
        return list(self.kept)[len(self.kept) - behind :] if behind else []


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at the database found. `lines` None: too many to tell."""

    edge: Position
    lines: Mapping[Sight, Sequence[BadRating]] | None
    shown: Mapping[Sight, Shown]


class LiveBoards:
    """See the module. Streams belong to one event loop; `wake` may come from any thread."""

    def __init__(
        self, door: Door, clock: Clock, rules: BoardRules, render: Render, directory: Directory | None = None
    ) -> None:
        self._door = door
        self._directory = directory or Directory()
        self._clock = clock
        self._rules = rules
        self._render = render
        self._days = StoredCalendar()
        self._channels: dict[Sight, _Channel] = {}
        self._of_session: dict[bytes, list[_Stream]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._asked = False
        self._lock = threading.Lock()
        self._epoch = ""
        self._at: Position | None = None
        self._names: Names = PLAIN
        self._machinery: Machinery | None = None
        self._work: dict[Sight, Work] = {}
        self.rendered = 0
        """Bodies made since the start."""

    # ── for everybody ─────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Something was committed in this process. From any thread, and cheap where nobody looks."""
        with self._lock:
            loop = self._loop
            if loop is None or self._asked:
                return
            self._asked = True
        with suppress(RuntimeError):  # the loop has ended, and with it every stream
            loop.call_soon_threadsafe(self._woken.set)

    @property
    def streams(self) -> int:
        return sum(len(channel.streams) for channel in self._channels.values())

    async def stream(
        self, sight: Sight, cursor: str | None, still_open: StillOpen, session: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """The events of one board, for as long as it is looked at.

        Args:
            cursor: up to where it was told (Last-Event-ID, or the page's own); None: from now on.
            still_open: whether who looks still may; asked on the door's pool.
            session: whose streams are counted together; None: not counted.
        """
        me = _Stream(still_open)
        channel = self._channels.get(sight)
        if channel is None:
            channel = self._channels[sight] = _Channel(sight)
        channel.streams.add(me)
        self._start()
        try:
            if session is not None:
                self._make_room(session, me)
            yield b"retry: 2000\n\n"
            while not channel.parts:
                waiting = channel.changed
                if self._poller is None or self._poller.done():
                    return
                await waiting.wait()
            # From here to the first await nothing else runs: what is told below and what follows meet without a gap.
            sequence, at, parts = channel.sequence, self._at, dict(channel.parts)
            assert at is not None
            try:
                lines = await self._between(sight, cursor, at)
            except (CursorGone, CursorUnreadable):
                lines = None
            except DoorClosed:
                return
            if lines is None:
                yield RELOAD
                return
            yield self._body(at, parts, self._lines(sight, lines))
            while True:
                updates = channel.since(sequence)
                if updates is None:
                    yield RELOAD
                    return
                sequence = channel.sequence
                for update in updates:
                    yield update
                if me.over or me.crowded:
                    yield OVER if me.over else CROWDED
                    return
                if self._poller is None or self._poller.done():
                    return
                if sequence == channel.sequence:
                    await channel.changed.wait()
        finally:
            channel.streams.discard(me)
            if session is not None:
                self._leave(session, me)
            if not channel.streams and self._channels.get(sight) is channel:
                del self._channels[sight]

    def _make_room(self, session: bytes, me: _Stream) -> None:
        """Counts a stream of a session; where there are too many, the oldest ends."""
        own = self._of_session.setdefault(session, [])
        own.append(me)
        while len(own) > OF_A_SESSION:
            oldest = own.pop(0)
            oldest.crowded = True
            for channel in self._channels.values():
                if oldest in channel.streams:
                    channel.nudge()

    def _leave(self, session: bytes, me: _Stream) -> None:
        own = self._of_session.get(session, [])
        if me in own:
            own.remove(me)
        if not own:
            self._of_session.pop(session, None)

    async def _between(self, sight: Sight, cursor: str | None, at: Position) -> Sequence[BadRating] | None:
        """What a board that was told up to its cursor has missed up to `at`; None: too much."""
        if not cursor:
            return []

        def read(connection: Connection) -> Sequence[BadRating] | None:
            after = read_cursor(cursor, read_epoch(connection))
            if after > at:  # the page is newer than our last look
                if after > read_edge(connection):
                    raise CursorGone
                return []
            told = told_between(connection, after, at)
            return None if told is None else visible_lines(told, sight.viewer)

        return await asyncio.wrap_future(self._door.read(read))

    # ── the poller ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        if self._poller is not None and not self._poller.done():
            self._woken.set()
            return
        loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        with self._lock:
            self._loop, self._asked = loop, False
        self._at = None
        self._poller = loop.create_task(self._poll())

    async def _poll(self) -> None:
        try:
            await self._follow()
        except DoorClosed:
            pass  # the server stops
        except Exception as error:
            log.error("live boards failed; each begins anew", cause=type(error).__name__)
            raise
        finally:
            with self._lock:
                self._loop = None
            self._poller = None
            for channel in self._channels.values():
                channel.nudge()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        published = slow = checked = alive = float("-inf")
        checked = alive = loop.time()
        while self._channels:
            began = loop.time()
            look_slowly = began - slow >= SLOW or any(
                channel.sight not in self._work for channel in self._channels.values() if not channel.sight.is_wall
            )
            sights = tuple(self._channels)
            found = await self._answered(lambda connection: self._look(connection, sights, look_slowly))  # noqa: B023
            if found is not None:
                if look_slowly:
                    slow = began
                if self._tell(found):
                    published = began
            if began - checked >= CHECK:
                checked = began
                await self._end_those_over()
            if began - alive >= KEEP_ALIVE:
                alive = began
                for channel in self._channels.values():
                    channel.publish(_ALIVE)
            await self._pause(loop, max(published + SPACING - loop.time(), 0.0), LOOK)

    async def _pause(self, loop: asyncio.AbstractEventLoop, least: float, most: float) -> None:
        """Waits `least`, and then until something is committed here, `most` altogether at the least."""
        if least > 0:
            await asyncio.sleep(least)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), max(most - least, 0.001))
        self._woken.clear()
        with self._lock:
            self._asked = False

    async def _answered(self, read: Callable[[Connection], T]) -> T | None:
        """What a read found; None: it failed. Boards are told where it takes long."""
        future = asyncio.wrap_future(self._door.read(read))
        done, _ = await asyncio.wait({future}, timeout=STALL)
        if not done:
            self._stalled()
            await asyncio.wait({future})
        try:
            return future.result()
        except DoorClosed:
            raise
        except Exception as error:  # noqa: BLE001 (told to every board and the log; the next look tries again)
            log.warning("live boards could not be read", cause=type(error).__name__)
            self._stalled()
            return None

    def _stalled(self) -> None:
        for channel in self._channels.values():
            if channel.kept and channel.kept[-1] is STALLED:
                continue
            channel.publish(STALLED)
            channel.parts = dict.fromkeys(channel.parts, "")  # the next look is told whole

    def _look(self, connection: Connection, sights: Sequence[Sight], slowly: bool) -> _Look:
        """One look, on the door's pool. The edge first: what is told with it was committed before."""
        if not self._epoch:
            self._epoch = read_epoch(connection)
        edge = read_edge(connection)
        at = self._at
        told = told_between(connection, at, edge) if at is not None and edge > at else []
        self._names = self._directory.names(connection)
        now = self._clock.now()
        if slowly:
            self._machinery = read_machinery(connection, now, self._rules, self._days)
            self._work = {sight: read_work(connection, now, sight) for sight in sights if not sight.is_wall}
        day = today(now)
        return _Look(
            edge,
            None if told is None else {sight: visible_lines(told, sight.viewer) for sight in sights},
            {
                sight: Shown(
                    day,
                    read_figures(connection, day, sight),
                    self._machinery if sight.sees_machinery else None,
                    self._work.get(sight),
                )
                for sight in sights
            },
        )

    def _tell(self, found: _Look) -> bool:
        """Tells the boards what has changed; whether there was anything."""
        went_back = self._at is not None and found.edge < self._at  # another database stands behind the address
        self._at = found.edge
        told = False
        for sight, shown in found.shown.items():
            channel = self._channels.get(sight)
            if channel is None:
                continue
            parts = channel.parts if shown == channel.shown else self._render.parts(sight, shown)
            new = {name: text for name, text in parts.items() if channel.whole or channel.parts.get(name) != text}
            first = not channel.parts
            channel.shown, channel.parts, channel.whole = shown, parts, False
            if found.lines is None or went_back:
                channel.publish(RELOAD)
                told = True
                continue
            lines = found.lines.get(sight, ())
            if first:
                channel.nudge()
            elif new or lines:
                channel.publish(self._body(found.edge, new, self._lines(sight, lines)))
                told = True
        return told

    def _lines(self, sight: Sight, lines: Sequence[BadRating]) -> list[dict[str, Any]]:
        return [
            {
                "id": one.id,
                "at": int(one.at.timestamp() * 1000),
                "seen": one.seen is not None,
                "html": self._render.line(sight, one, self._names),
            }
            for one in lines
        ]

    def _body(self, at: Position, parts: Mapping[str, str], lines: Sequence[Mapping[str, Any]]) -> bytes:
        self.rendered += 1
        data = json.dumps({"parts": parts, "lines": lines}, ensure_ascii=False, separators=(",", ":"))
        return f"id: {write_cursor(self._epoch, at)}\nevent: board\ndata: {data}\n\n".encode()

    async def _end_those_over(self) -> None:
        streams = [stream for channel in self._channels.values() for stream in channel.streams]

        def look(connection: Connection) -> list[_Stream]:
            return [stream for stream in streams if not stream.still_open(connection)]

        for stream in await self._answered(look) or ():
            stream.over = True
        for channel in self._channels.values():
            if any(stream.over for stream in channel.streams):
                channel.nudge()
