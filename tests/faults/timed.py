"""What time makes happen, in the fault tests: cases that come to their reminders and defaults by a turned wall clock,
citizens who say nothing, and what must hold at the end whatever happened on the way.

The days are of a November without days off, long past on any machine: PostgreSQL keeps the machine's time, and a server
whose clock is ahead of its database makes no defaults.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from console.tokens import Scope, add_token
from models.clock import SHANGHAI, SystemClock
from models.database import open_database
from tests.faults.processes import HUIYIN, until
from tests.faults.sms import SIGNATURE, Smsc, SmsServer, Stage, case
from tests.faults.wallclock import WallClock

__all__ = ["BEFORE", "DUE", "FIRST", "LATER", "Once", "Timed"]

CLOSED = datetime(2025, 11, 18, 10, 0, tzinfo=SHANGHAI)
"""A Tuesday: the deadline is the end of the 25th, the default is due at 02:00 on the 26th."""
DEADLINE = "2025-11-25 23:59:59"
FIRST = CLOSED + timedelta(minutes=1)
LATER = datetime(2025, 11, 25, 1, 45, tzinfo=SHANGHAI)
"""A case closed five minutes before is to be reminded of at 01:40 on the 26th."""
BEFORE = datetime(2025, 11, 26, 1, 20, tzinfo=SHANGHAI)
"""Nothing is due yet, and everything is fifty minutes later: no jump that a person has to confirm."""
DUE = BEFORE + timedelta(minutes=50)
_LEASES = timedelta(minutes=5)
"""What a dead process had in hand is nobody's after that."""


@dataclass
class Once:
    """What `Timed.assert_once` saw, for further assertions."""

    again: Counter[str] = field(default_factory=Counter)
    """SMS handed to a link twice, by kind."""
    twice: int = 0
    """SMS that a phone showed twice."""
    given_up: int = 0
    """SMS that were with a link at two deaths, and are stored as failed: nobody knows of them."""
    unseen: int = 0
    """Those of them that no phone showed."""


class Timed:
    """A database with its servers, a centre, an SMSC whose citizens say nothing, and one wall clock for all servers.

    Args:
        make: makes a server (tests/faults/conftest.py).
        postgres: the URL; "": SQLite.
    """

    def __init__(
        self, stage: Stage, smsc: Smsc, make: Callable[..., SmsServer], wall: WallClock, postgres: str = "", **more: Any
    ) -> None:
        self.stage, self.smsc, self.wall, self.postgres = stage, smsc, wall, postgres
        self._make, self._more = make, more
        self.defaulted: list[str] = []
        """Case numbers of those that are to have a default in the end; `asked`, `reminded` in the same way."""
        self.asked: list[str] = []
        self.reminded: list[str] = []
        self.phones: dict[str, str] = {}
        self.server = self.another("one")
        if postgres:
            database = open_database(postgres, self.server.directory)
            database.ensure_schema()
            database.open_keyring(self.server.key_path)
            with database.write_engine.begin() as connection:
                self.server.token = add_token(connection, SystemClock().now(), "cases", Scope.INTAKE)
            database.close()

    def another(self, name: str) -> SmsServer:
        """One more server on the same database."""
        options: dict[str, Any] = {"smsc_port": self.smsc.port, "postgres": self.postgres, "env": self.wall.env}
        if first := getattr(self, "server", None):
            options |= {"key_file": first.key_path, "system_id": first.system_id, "token": first.token}
        return self._make(name, **options, **self._more)

    def start(self, at: datetime | None = None, fault: str = "") -> None:
        """Starts the one server, by default so much later that nothing of an earlier life is leased any more."""
        if at is None:
            self.wall.turn(_LEASES)
        else:
            self.wall.turn_to(at)
        self.server.start(fault)

    # ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, count: int, *closed: datetime) -> list[str]:
        """The numbers of so many new cases, each of a citizen of its own; closed at one moment, or each at its own."""
        moments = closed * count if len(closed) == 1 else closed
        numbers = self.stage.numbers(count)
        cases = [case(number, closed_at=at.isoformat()) for number, at in zip(numbers, moments, strict=True)]
        assert set(self.server.post(cases)) == {201}
        self.phones |= {one["case_no"]: one["phone"] for one in cases}
        return [one["case_no"] for one in cases]

    def post_late(self, count: int) -> None:
        """Cases that their case system tells of a week after they were closed: nobody is asked, all are defaulted."""
        self.defaulted += self.post(count, CLOSED)

    def post_fresh(self, count: int, spread: timedelta = timedelta()) -> None:
        """Cases closed five minutes ago: asked at once, and in a day reminded of. `spread`: the oldest were closed so
        much earlier."""
        closed = self.wall.now() - timedelta(minutes=5)
        fresh = self.post(count, *(closed - spread * place / count for place in range(count)))
        self.asked += fresh
        self.reminded += fresh

    def grow_old(self, count: int) -> None:
        """Cases that were asked a week ago and reminded of since, at the server's first life; `LATER` is reached."""
        self.start(FIRST)
        old = self.post(count, CLOSED)
        self.asked += old
        self.reminded += old
        self.defaulted += old
        self.finish(defaulted=0, reminded=0)
        self.server.running.kill()
        self.start(LATER)
        self.finish(defaulted=0)

    # ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────

    def defaults(self) -> int:
        return self.server.number("SELECT count(*) FROM evaluations WHERE origin = 'default'")

    def reminders(self) -> int:
        return self.server.number("SELECT count(*) FROM messages WHERE kind = 'reminder'")

    def progress(self) -> int:
        """How far everything is: grows with every default, every reminder, and every one of which the SMSC said so."""
        said = "state IN ('sent', 'delivered')"
        sent = self.server.number(f"SELECT count(*) FROM messages WHERE kind = 'reminder' AND {said}")
        return self.defaults() + self.reminders() + sent

    def goes_on(self, before: int) -> bool:
        """Something was done since, or nothing is left to do."""
        return self.progress() > before or not self.under_way()

    def under_way(self) -> str:
        """What is not over yet, in words; "": nothing."""
        server = self.server
        rows = server.rows(
            "SELECT kind, state, count(*) FROM messages"
            " WHERE state IN ('queued', 'handed', 'unknown', 'sent') GROUP BY kind, state"  # a receipt always comes
        )
        if rows:
            return f"messages under way: {rows}"
        now = f"'{self.wall.now():%Y-%m-%d %H:%M:%S}{'+00' if self.postgres else ''}'"
        if server.any(f"invitations WHERE remind_at <= {now} OR state = 'waiting'"):
            return "invitations wait, or are to be looked at"
        if waiting := server.waiting():
            return f"{waiting} wait for the centre"
        return f"{waiting} deliveries wait at the SMSC" if (waiting := self.smsc.state()["waiting"]) else ""

    def finish(self, *, defaulted: int | None = None, reminded: int | None = None, seconds: float = 60.0) -> None:
        """Waits until so many (None: all that are to be) are defaulted and reminded of, and nothing is under way."""
        wanted = (
            len(self.defaulted) if defaulted is None else defaulted,
            len(self.reminded) if reminded is None else reminded,
        )
        left = ""

        def over() -> bool:
            nonlocal left
            found = self.defaults(), self.reminders()
            left = self.under_way() if found == wanted else f"{found} of {wanted} defaulted and reminded of"
            return not left

        try:
            until("everything to be over", over, seconds, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {left}\n{''.join(self.server.running.lines[-20:])}") from None

    def done_but_for(self, dead: str) -> bool:
        """Everything is decided, and of its SMS only those are under way that a dead process had in hand."""
        return (self.defaults(), self.reminders()) == (
            len(self.defaulted),
            len(self.reminded),
        ) and not self.server.any(
            f"messages WHERE state IN ('queued', 'unknown') OR (state = 'handed' AND lease_owner NOT LIKE '{dead}/%')"
        )

    # ── what must hold ────────────────────────────────────────────────────────────────────────────────────────────────

    def assert_once(self, *, again: int = 0) -> Once:
        """Each default once, down to the centre; each invitation and each reminder once, up to the phone. All is over.

        Args:
            again: so many SMS at most may have gone twice, and are stored so: nobody could know of them.
        """
        self._assert_defaults()
        found = self._assert_sms(again)
        assert self.stage.centre.violations() == []
        assert self.smsc.state()["violations"] == []
        return found

    def _assert_defaults(self) -> None:
        server = self.server
        evaluations = server.rows(
            "SELECT c.case_no, e.assess_number, e.satisfaction, e.origin, e.channel, e.effective, e.id"
            " FROM evaluations e JOIN cases c USING (subject_id)"
        )
        assert sorted(tuple(row[:5]) for row in evaluations) == sorted(
            (case_no, 1, 3, "default", "system") for case_no in self.defaulted
        )
        assert all(row[5] for row in evaluations)
        assert server.number("SELECT count(*) FROM ratings") == len(self.defaulted)
        told = "SELECT count(*) FROM audit WHERE action = 'rating.defaulted'"
        assert server.number(told) == len(self.defaulted)
        received = [one for one in self.stage.centre.received().values() if one["projectNo"] in self.phones]
        assert sorted((one["projectNo"], one["evaluationId"]) for one in received) == sorted(
            (row[0], str(row[6]).replace("-", "")) for row in evaluations
        )
        assert {(str(one["isdefault"]), str(one["satisfaction"])) for one in received} <= {("1", "3")}

    def _assert_sms(self, again: int) -> Once:
        found = Once()
        rows = self.server.rows(
            "SELECT c.case_no, s.kind, s.text, s.tries, s.reason, s.state FROM messages s"
            " JOIN invitation_members m USING (invitation_id) JOIN cases c USING (subject_id)"
        )
        assert Counter((row[0], row[1]) for row in rows) == Counter(
            [(case_no, "invitation") for case_no in self.asked] + [(case_no, "reminder") for case_no in self.reminded]
        )
        mine = set(self.phones.values())
        shown = Counter(
            (one["number"], one["text"].removeprefix(SIGNATURE)) for one in self.smsc.shown() if one["number"] in mine
        )
        assert set(shown) <= {(self.phones[row[0]], row[2]) for row in rows}
        for case_no, kind, text, tries, reason, state in rows:
            times = shown[self.phones[case_no], text]
            assert times <= tries <= 2, f"{kind} ({state}, {tries} tries) shown {times} times"
            if (state, reason, tries) == ("failed", "unknown", 2):
                found.given_up += 1
                found.unseen += times == 0
                found.again[kind] += 1
                continue
            assert (state, times >= 1) == ("delivered", True), f"{kind} is {state}: {reason}"
            if tries == 2:
                found.again[kind] += 1
            found.twice += times == 2
        assert found.again.total() <= again, found
        words = self.server.rows(
            "SELECT c.case_no, i.reminder FROM invitations i JOIN invitation_members m ON m.invitation_id = i.id"
            " JOIN cases c USING (subject_id) WHERE i.reminder = 'queued' AND i.remind_at IS NULL"
        )
        assert sorted(row[0] for row in words) == sorted(self.reminded)
        return found

    # ── by the way ────────────────────────────────────────────────────────────────────────────────────────────────────

    def accept_jump(self) -> str:
        """`huiyin scheduler accept-jump`, beside the running server; what it said."""
        command = [HUIYIN, "scheduler", "accept-jump", "--yes", "-c", str(self.server.configuration)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **self.wall.env})
        return done.stdout

    def check(self) -> str:
        """What `huiyin check` says."""
        command = [HUIYIN, "check", "-c", str(self.server.configuration)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **self.wall.env})
        return done.stdout + done.stderr

    def metric(self, name: str) -> float:
        lines = self.server.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    @staticmethod
    def pause(chance: random.Random, most: float) -> None:
        """Lets some time pass: the moment after it is meant to be any."""
        time.sleep(chance.uniform(0, most))


def in_groups(rows: Sequence[tuple[Any, Any]]) -> Iterator[list[Any]]:
    """The first values of the rows, gathered by the second, in the order of the second."""
    groups: dict[Any, list[Any]] = {}
    for value, moment in rows:
        groups.setdefault(moment, []).append(value)
    for moment in sorted(groups):
        yield groups[moment]
