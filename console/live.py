"""The live boards of a process: one poller, one body a sight, any number of streams that only wait.

Rules kept here:

1. Boards of one sight share what they get: it is read, rendered and encoded once, however many look.
2. A board gets one update in `SPACING` seconds at most. A commit of this process wakes the poller; what others commit
   it finds by itself, `LOOK` seconds later at most.
3. Each update carries the place in the feed up to which bad ratings were told. A stream that comes back with a place
   gets first what lies between it and the update it joins: no gap, whichever process it comes back to. What is told
   twice has the same id, and the page shows it once.
4. A place of before a restore, one too far back and one that nobody gave out are answered with `reload`: the whole page
   has everything. Where more comes between two looks than can be told one by one, open boards get their whole list,
   made once as any update: hundreds of pages at the same moment would be felt by calls.
5. Nothing here blocks the loop: reads run on the door's pool. A database that does not answer is told (`stalled`), not
   waited for in silence; what boards show stays, and all of it is told again once the database answers, changed or not.
6. A bad rating whose case was moved goes from the boards that see it no more. They are told only what they had: of the
   ratings of others a board hears nothing. A stream that comes back, and may have shown one, is answered with `reload`.
7. A stream ends with its session or token, within `CHECK` seconds. Whether it may go on is asked as often, and that
   notes that the session is in use: a stream is open only while its page is in sight (static/board.js).
8. A session has `OF_A_SESSION` streams at most: another one ends the oldest, which is told so (`crowded`) and does not
   come back by itself. Wall screens share a token and are not counted.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from console.bad_ratings import (
    SHOWN,
    BadRating,
    Lines,
    Told,
    Unseen,
    lines_of_board,
    moved_away,
    told_between,
    visible_lines,
)
from console.board_state import (
    BoardRules,
    Machinery,
    Sight,
    Work,
    read_figures,
    read_machinery,
    read_unseen,
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
    unseen: Unseen | None = None


def read_shown(connection: Connection, clock: Clock, sight: Sight, rules: BoardRules, days: StoredCalendar) -> Shown:
    """All of it, for a page."""
    now = clock.now()
    day = today(now)
    return Shown(
        day,
        read_figures(connection, day, sight),
        sight.shown_of(read_machinery(connection, now, rules, days)) if sight.sees_machinery else None,
        None if sight.is_wall else read_work(connection, now, sight),
        None if sight.is_wall else read_unseen(connection, day, sight),
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
    stalled: bool = False
    """The boards were told that the database does not answer; the next look is told them whole, changed or not."""
    sequence: int = 0
    kept: deque[bytes] = field(default_factory=lambda: deque(maxlen=_KEPT))
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    streams: set[_Stream] = field(default_factory=set)
    told: dict[str, None] = field(default_factory=dict)
    """The ratings that its boards may show, those told last behind the others."""
    known: bool = False
    """What its pages begin with is among these."""

    def note(self, ids: Iterable[str]) -> None:
        for one in ids:
            self.told.pop(one, None)
            self.told[one] = None
        for one in list(self.told)[: -_KEPT - SHOWN]:
            del self.told[one]

    @property
    def day(self) -> str:
        """The day of what was shown last."""
        return self.shown.day.isoformat() if self.shown is not None else ""

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
    """What one look at the database found. `whole`: too much has come to tell each; `lines` are all that a board shows.

    `gone`: what is of others since; `there`: what the pages of a new sight have.
    """

    epoch: str
    edge: Position
    whole: bool
    lines: Mapping[Sight, Lines]
    shown: Mapping[Sight, Shown]
    gone: Mapping[Sight, frozenset[str]]
    there: Mapping[Sight, Sequence[str]]


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
        self._unseen: dict[Sight, Unseen] = {}
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
    ) -> AsyncGenerator[bytes, None]:
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
            told = False
            while not channel.parts:
                waiting = channel.changed
                if channel.stalled and not told:
                    told = True
                    yield STALLED
                if me.over or me.crowded:
                    yield OVER if me.over else CROWDED
                    return
                if self._poller is None or self._poller.done():
                    return
                await waiting.wait()
            # From here to the first await nothing else runs: what is told below and what follows meet without a gap.
            sequence, at, parts = channel.sequence, self._at, dict(channel.parts)
            epoch, day = self._epoch, channel.day
            assert at is not None
            stalled = channel.stalled  # said again to who joins meanwhile: its update is behind `sequence`
            try:
                lines = await self._between(sight, cursor, at)
            except (CursorGone, CursorUnreadable):
                lines = None
            except DoorClosed:
                return
            except Exception as error:  # noqa: BLE001 (told to the board, which comes back from where it was)
                log.warning("a live board could not be told what it missed", cause=type(error).__name__)
                yield STALLED
                return
            if lines is None:
                yield RELOAD
                return
            yield self._body(epoch, at, day, parts, self._told(sight, lines))
            if stalled:
                yield STALLED
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

    async def _between(self, sight: Sight, cursor: str | None, at: Position) -> Lines | None:
        """What a board that was told up to its cursor has missed up to `at`; None: too much."""
        if not cursor:
            return Lines()

        def read(connection: Connection) -> Lines | None:
            after = read_cursor(cursor, read_epoch(connection))
            if after > at:  # the page is newer than our last look
                if after > read_edge(connection):
                    raise CursorGone
                return Lines()
            told = told_between(connection, after, at)
            if told is None or moved_away(told, sight.viewer):
                return None
            return self._lines(told, sight, today(self._clock.now()))

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
            new = tuple(channel.sight for channel in self._channels.values() if not channel.known)
            found = await self._answered(lambda connection: self._look(connection, sights, new, look_slowly))  # noqa: B023
            if found is not None:
                if look_slowly:
                    slow = began
                if self._tell(found):
                    published = loop.time()
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
            if not channel.stalled:
                channel.stalled = True
                channel.publish(STALLED)

    def _look(self, connection: Connection, sights: Sequence[Sight], new: Sequence[Sight], slowly: bool) -> _Look:
        """One look, on the door's pool. The edge first: what is told with it was committed before."""
        epoch = read_epoch(connection)
        edge = read_edge(connection)
        at = self._at if epoch == self._epoch else None
        told = told_between(connection, at, edge) if at is not None and edge > at else []
        self._names = self._directory.names(connection)
        now = self._clock.now()
        if slowly:
            self._machinery = read_machinery(connection, now, self._rules, self._days)
            self._work = {sight: read_work(connection, now, sight) for sight in sights if not sight.is_wall}
        day = today(now)
        if slowly or told or told is None:
            self._unseen = {sight: read_unseen(connection, day, sight) for sight in sights if not sight.is_wall}
        return _Look(
            epoch,
            edge,
            told is None,
            {
                sight: self._whole(connection, sight, day) if told is None else self._lines(told, sight, day)
                for sight in sights
            },
            {
                sight: Shown(
                    day,
                    read_figures(connection, day, sight),
                    sight.shown_of(self._machinery) if self._machinery is not None else None,
                    self._work.get(sight),
                    self._unseen.get(sight),
                )
                for sight in sights
            },
            {sight: moved_away(told or (), sight.viewer) for sight in sights},
            {sight: self._there(connection, sight, day) for sight in new},
        )

    @staticmethod
    def _lines(told: Iterable[Told], sight: Sight, day: date) -> Lines:
        return visible_lines(told, sight.viewer, day, today_alone=sight.is_wall)

    @staticmethod
    def _whole(connection: Connection, sight: Sight, day: date) -> Lines:
        """What a page of now begins with."""
        return Lines(lines_of_board(connection, sight.viewer, day, today_alone=sight.is_wall))

    @classmethod
    def _there(cls, connection: Connection, sight: Sight, day: date) -> list[str]:
        """The same by its ids, the newest last."""
        return [one.id for one in reversed(cls._whole(connection, sight, day).standing)]

    def _tell(self, found: _Look) -> bool:
        """Tells the boards what has changed; whether there was anything."""
        # Another database stands behind the address, or an older one was restored there.
        went_back = self._at is not None and (found.edge < self._at or found.epoch != self._epoch)
        self._at, self._epoch = found.edge, found.epoch
        told = False
        for sight, shown in found.shown.items():
            channel = self._channels.get(sight)
            if channel is None:
                continue
            parts = channel.parts if shown == channel.shown else self._render.parts(sight, shown)
            new = {name: text for name, text in parts.items() if channel.stalled or channel.parts.get(name) != text}
            first = not channel.parts
            channel.shown, channel.parts, channel.stalled = shown, parts, False
            if went_back:
                channel.publish(RELOAD)
                channel.known = False
                told = True
                continue
            lines = found.lines.get(sight, Lines())
            if found.whole and channel.known:
                lines = replace(lines, new=frozenset(one.id for one in lines.standing) - channel.told.keys())
            moved = found.gone.get(sight, frozenset()) & channel.told.keys()
            for one in moved:
                del channel.told[one]
            channel.known = channel.known or sight in found.there
            channel.note([*found.there.get(sight, ()), *(one.id for one in reversed(lines.standing))])
            if first:
                channel.nudge()
            elif new or lines or moved or found.whole:
                whole = {"whole": True} if found.whole else {}
                told_lines = self._told(sight, lines, moved) | whole
                channel.publish(self._body(found.epoch, found.edge, channel.day, new, told_lines))
                told = True
        return told

    def _told(self, sight: Sight, lines: Lines, moved: Iterable[str] = ()) -> dict[str, Any]:
        return {
            "lines": [
                {
                    "id": one.id,
                    "at": int(one.at.timestamp() * 1000),
                    "seen": one.seen is not None,
                    "new": one.id in lines.new,
                    "kept": one.id in lines.kept,
                    "html": self._render.line(sight, one, self._names),
                }
                for one in lines.standing
            ],
            "gone": sorted({*lines.gone, *moved}),
        }

    def _body(self, epoch: str, at: Position, day: str, parts: Mapping[str, str], told: Mapping[str, Any]) -> bytes:
        self.rendered += 1
        data = json.dumps({"day": day, "parts": parts, **told}, ensure_ascii=False, separators=(",", ":"))
        return f"id: {write_cursor(epoch, at)}\nevent: board\ndata: {data}\n\n".encode()

    async def _end_those_over(self) -> None:
        streams = [stream for channel in self._channels.values() for stream in channel.streams]

        def look(connection: Connection) -> list[_Stream]:
            return [stream for stream in streams if not stream.still_open(connection)]

        for stream in await self._answered(look) or ():
            stream.over = True
        for channel in self._channels.values():
            if any(stream.over for stream in channel.streams):
                channel.nudge()
