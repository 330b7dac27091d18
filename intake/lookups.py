"""Was this call rated already? Every caller asks that first, so the questions are gathered.

One thread reads for all: those that ask while a read runs, or within `GATHER` seconds of the first, share the next.
Asterisk is answering the channel meanwhile; nobody waits for this. A read never waits for the writer (WAL, MVCC), so a
slow disk does not delay the question.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

import structlog
from sqlalchemy import Connection

from intake.record import Stored, effective_of_calls
from models.database import Database
from models.errors import CommandFailed, DoorClosed

__all__ = ["LookUps"]

GATHER = 0.003
_MOST = 256

log = structlog.get_logger(__name__)


class LookUps:
    """Look-ups of calls by their key, on a thread and a connection of their own, from the first on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._condition = threading.Condition()
        self._asked: list[tuple[str, Future[Stored | None]]] = []
        self._idle = False
        self._closing = False
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def ask(self, call_key: str) -> Future[Stored | None]:
        """The effective rating of a call, None where it has none."""
        future: Future[Stored | None] = Future()
        with self._condition:
            if self._closing:
                future.set_exception(DoorClosed("Huiyin is stopping; nothing more is read"))
                return future
            self._asked.append((call_key, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="huiyin-look-up", daemon=True)
                self._thread.start()
            elif self._idle:
                self._idle = False
                self._condition.notify()
        return future

    def close(self) -> None:
        """Answers what was asked, then ends the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while asked := self._gather():
            waiting = [(key, future) for key, future in asked if future.set_running_or_notify_cancel()]
            if waiting:
                self._answer(waiting)
        self._drop_connection()

    def _gather(self) -> list[tuple[str, Future[Stored | None]]]:
        with self._condition:
            while not self._asked and not self._closing:
                self._idle = True
                self._condition.wait()
                self._idle = False
            if len(self._asked) < _MOST and not self._closing:
                self._condition.wait(GATHER)  # only `close` ends it early: `ask` tells nobody who is not idle
            asked, self._asked = self._asked[:_MOST], self._asked[_MOST:]
            return asked

    def _answer(self, asked: list[tuple[str, Future[Stored | None]]]) -> None:
        keys = {key for key, _ in asked}
        try:
            found = self._read(keys)
        except Exception:  # noqa: BLE001 (a connection that died while it was kept; a new one may do)
            self._drop_connection()
            try:
                found = self._read(keys)
            except Exception as error:  # noqa: BLE001 (it goes to the waiters, by its kind)
                self._drop_connection()
                log.warning("look-up failed", calls=len(asked), cause=type(error).__name__)
                for _, future in asked:
                    future.set_exception(CommandFailed(f"the look-up failed: {type(error).__name__}"))
                return
        for key, future in asked:
            future.set_result(found.get(key))

    def _read(self, keys: set[str]) -> dict[str, Stored]:
        if self._connection is None:
            self._connection = self._database.read_engine.connect()
        found = effective_of_calls(self._connection, keys)
        self._connection.rollback()  # the next read begins with what is committed by then
        return found

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception as error:  # noqa: BLE001 (a broken connection may fail to close, too)
                log.warning("connection did not close", cause=type(error).__name__)
