"""The SMS channel's own parts of the fault tests: the stand-in SMSC as a process, a server with a link to it, cases
posted over HTTP, and what must hold at the end whatever happened on the way.

What an SMSC or a citizen knows comes from the stand-in's control port, what is stored from the database read with a
connection of its own, what was pushed from the stand-in centre: none of it from the server under test.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import unicodedata
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from console.tokens import Scope, add_token
from models.clock import SystemClock
from models.database import open_database
from models.privacy import Keyring
from tests.faults.processes import HUIYIN, Centre, Process, Server, until

__all__ = ["Poster", "SmsServer", "Smsc", "Stage", "assert_whole", "case", "level_of", "settled"]

SERVICE = "106912345"
PASSWORD = "a-password"
STANDING: dict[str, Any] = {
    "error_resend": 0.2,
    "resend_after": 3.0,
    "receipts": "text",
    "timing": {"after": 1},
    "rate": None,
    "latency": 0.0,
    "window": 10,
}
"""What kind of SMSC it is where a test does not say otherwise."""
SIGNATURE = "【临夏12345】"
_PATIENCE = 90.0
_WORDS = {
    "非常不满意": 1,
    "很不满意": 1,
    "不满意": 2,
    "不太满意": 2,
    "一般": 3,
    "基本满意": 3,
    "满意": 4,
    "非常满意": 5,
    "很满意": 5,
    "十分满意": 5,
}
"""How the stand-in's citizens write a level (simulate/handset.py), said a second time."""


def level_of(text: str) -> int | None:
    """The level that a citizen meant with a reply; None: it is no rating (a reason, an opt-out)."""
    plain = unicodedata.normalize("NFKC", text)
    if plain in {"1", "2", "3", "4", "5"}:
        return 6 - int(plain)
    fitting = [word for word in _WORDS if plain.startswith(word)]
    return _WORDS[max(fitting, key=len)] if fitting else None


# ── the SMSC ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Smsc:
    """`huiyin simulate smsc`, which outlives the server under test.

    Args:
        behaviours: of the citizens; they answer within `delay` seconds.
        options: of the stand-in, as its control port takes them.
    """

    def __init__(
        self,
        *,
        behaviours: Sequence[str] = ("digit=3", "full_width=1", "words=1", "long=1"),
        delay: float = 0.0,
        seed: int = 1,
        **options: Any,
    ) -> None:
        command = [HUIYIN, "simulate", "smsc", "--port", "0", "--control", "0", "--password", PASSWORD]
        command += ["--seed", str(seed), "--delay", "0", str(delay), "--receipt-delay", "0", "0.05"]
        for behaviour in behaviours:
            command += ["--behaviour", behaviour]
        self._process = Process(command)
        address = re.search(r"http://[\d.:]+", self._process.wait_for("control at"))
        assert address is not None
        self.control = address[0]
        self.port = int(self._process.wait_for("ready: an SMSC at").rsplit(":", 1)[1])
        self.ask("POST", "options", {**STANDING, **options})

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.control}/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def plan(self, *faults: Mapping[str, Any]) -> None:
        """What goes wrong from now on (simulate/smsc_options.py, Fault); nothing: nothing."""
        self.ask("POST", "control", list(faults))

    def state(self) -> dict[str, Any]:
        return dict(self.ask("GET", "control"))

    def count(self, name: str) -> int:
        return int(self.state()["counts"].get(name, 0))

    def counts(self, name: str, least: int) -> bool:
        return self.count(name) >= least

    def cut(self) -> int:
        return int(self.ask("DELETE", "sessions")["sessions"])

    def shown(self) -> list[dict[str, Any]]:
        """Whole messages on phones."""
        return list(self.ask("GET", "received")["messages"])

    def replies(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "replies")["replies"])

    def close(self) -> None:
        self._process.close()


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class SmsServer(Server):
    """A `huiyin serve` with one link; on PostgreSQL where `postgres` is a URL.

    `link`, `sms`, `more`: further lines of the link, of `[sms]`, and of the file.
    """

    smsc_port: int = 0
    postgres: str = ""
    link: tuple[str, ...] = ()
    sms: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    unknown_after: str = "1s"
    segments_per_second: float = 1000.0
    key_file: Path | None = None
    system_id: str = "huiyin"
    token: str = field(default="", repr=False)

    def _configuration(self) -> Path:
        path = self.directory / "huiyin.toml"
        lines = ["[ivr]", 'listen = "127.0.0.1:0"', f'node = "{self.directory.name}"']
        lines += ["[console]", 'listen = "127.0.0.1:0"']
        lines += ["[centre]", 'retry_most = "2s"', 'retry_first = "50ms"', 'reason_hold = "2s"', 'timeout = "2s"']
        if self.centre is not None:
            lines += [f'url = "{self.centre.url}"', f'secret = "{self.centre.secret}"']
        if self.postgres:
            lines += ["[database]", f'url = "{self.postgres}"']
        if self.key_file is not None:
            lines += ["[privacy]", f'key_file = "{self.key_file}"']
        lines += ["[schedule]", 'sending_hours = ["00:00", "23:59"]', *self.more]
        if not any(line.startswith("longest_downtime") for line in self.more):
            lines.append('longest_downtime = "30d"')  # lives of one server may lie days apart
        lines += ["[sms]", f'service_number = "{SERVICE}"', f'signature = "{SIGNATURE[1:-1]}"']
        lines += [f'unknown_after = "{self.unknown_after}"', 'stop_grace = "2s"', *self.sms]
        lines += ["[[sms.links]]", 'name = "one"', 'host = "127.0.0.1"', f"port = {self.smsc_port}"]
        lines += [
            f'system_id = "{self.system_id}"',
            f'password = "{PASSWORD}"',
            f"segments_per_second = {self.segments_per_second}",
        ]
        lines += ['reconnect_first = "50ms"', 'reconnect_most = "500ms"', 'bind_timeout = "5s"', *self.link]
        path.write_text("\n".join(lines) + "\n")
        return path

    @property
    def configuration(self) -> Path:
        return self.directory / "huiyin.toml"

    @property
    def key_path(self) -> Path:
        return self.key_file or self.directory / "var" / "privacy.key"

    @property
    def keyring(self) -> Keyring:
        return Keyring.load(self.key_path)

    def close(self) -> None:
        process = self.process
        if self.prefix and process is not None and process.popen.poll() is None:
            process.terminate_child()  # a tracer that is killed leaves its child behind
            process.wait()
        super().close()

    def make_token(self) -> None:
        """An intake token, as an administrator makes it."""
        command = [HUIYIN, "token", "add", "case-system", "--scope", "intake", "-c", str(self.configuration)]
        self.token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def post(self, cases: Sequence[Mapping[str, Any]]) -> list[int]:
        """The statuses of the cases of one request.

        Raises:
            OSError, http.client.HTTPException: the server went away, or is not there.
        """
        address = urlsplit(self.web)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request("POST", "/api/v1/cases", json.dumps(list(cases)).encode(), headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 207:
            return [answer.status] * len(cases)
        return [int(one["status"]) for one in content]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if not self.postgres:
            # A migration or recovery under way may hold the file for a moment.
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(self.postgres.replace("+psycopg", "")) as connection:
            return connection.execute(statement).fetchall()

    def number(self, statement: str) -> int:
        return int(self.rows(statement)[0][0])

    def any(self, table: str) -> bool:
        """Whether a table holds a row; `table`: a condition may follow its name."""
        return bool(self.rows(f"SELECT 1 FROM {table} LIMIT 1"))

    def given_up(self) -> set[str]:
        """Cases whose citizen never got the SMS: it was unknown twice, and no receipt came."""
        rows = self.rows(
            "SELECT c.case_no FROM messages s JOIN invitations i ON i.id = s.invitation_id"
            " JOIN invitation_members m ON m.invitation_id = i.id JOIN cases c USING (subject_id)"
            " WHERE s.kind = 'invitation' AND s.state = 'failed' AND s.reason = 'unknown' AND s.tries = 2"
            " AND i.state = 'asked' AND i.undelivered"
        )
        return {row[0] for row in rows}

    def rests(self) -> bool:
        """Nothing of ours is under way: no SMS, no reply, no push."""
        return not (
            self.any("outbox")
            or self.any("messages WHERE state IN ('queued', 'handed', 'unknown', 'unread', 'partial')")
        )


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stage:
    """A centre and an SMSC that stand for many tests, and what a new server begins with: starting each costs seconds.

    Every test has a server with a database and a system_id of its own, and citizens of its own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._template = directory / "template"
        (self._template / "var").mkdir(parents=True)
        database = open_database("sqlite:///var/huiyin.db", self._template)
        database.ensure_schema()
        database.open_keyring(self._template / "var" / "privacy.key")
        with database.write_engine.begin() as connection:
            self.token = add_token(connection, SystemClock().now(), "cases", Scope.INTAKE)
        database.close()
        self.centre = Centre(directory)
        try:
            self.smsc = Smsc()
        except BaseException:
            self.centre.close()
            raise
        self._numbers = itertools.count(1)
        self._servers = itertools.count(1)

    def numbers(self, count: int) -> list[int]:
        """Of citizens that no other test has."""
        return [next(self._numbers) for _ in range(count)]

    def server(self, directory: Path, **options: Any) -> SmsServer:
        """A server on SQLite that has never run, with a token."""
        shutil.copytree(self._template, directory, dirs_exist_ok=True)
        given = {"smsc_port": self.smsc.port, "system_id": f"esme-{next(self._servers)}", "token": self.token}
        return SmsServer(directory, self.centre, **{**given, **options})

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        self.smsc.plan()
        self.smsc.ask("POST", "options", STANDING)
        self.centre.plan()

    def close(self) -> None:
        self.smsc.close()
        self.centre.close()


def case(number: int, **fields: Any) -> dict[str, Any]:
    """A case as it is posted, closed now, of a citizen of its own."""
    closed = datetime.now(UTC).isoformat(timespec="seconds")
    return {"case_no": f"GD-{number}", "phone": f"138{number:08}", "closed_at": closed, **fields}


class Poster:
    """Posts cases in groups, one after the other, each until it is answered: a case system that does not give up."""

    def __init__(self, server: SmsServer, numbers: Iterable[int], group: int = 5, every: float = 0.0) -> None:
        self.posted: list[dict[str, Any]] = []
        self.posting: list[dict[str, Any]] = []
        """Those tried at least once."""
        self.failed = 0
        self._server = server
        self._numbers = list(numbers)
        self._group = group
        self._every = every
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Poster:
        self._thread.start()
        return self

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def join(self, seconds: float = 60) -> list[dict[str, Any]]:
        """Everything posted, once it is."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{len(self.posted)} of {len(self._numbers)} cases posted in {seconds:g} s"
        if self._error is not None:
            raise self._error
        return self.posted

    @staticmethod
    def pause(seconds: float) -> None:
        """Lets so much time pass: the moment after it is meant to be any."""
        time.sleep(seconds)

    def _run(self) -> None:
        try:
            for place in range(0, len(self._numbers), self._group):
                group = [case(number) for number in self._numbers[place : place + self._group]]
                self.posting += group
                self._post(group)
                self.posted += group
                time.sleep(self._every)  # a pace, nothing is waited for
        except BaseException as error:  # noqa: BLE001 (raised again by join)
            self._error = error

    def _post(self, group: Sequence[Mapping[str, Any]]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                statuses = self._server.post(group)
            except (OSError, http.client.HTTPException):
                statuses = []
            if statuses and all(status in {200, 201} for status in statuses):
                return
            assert not set(statuses) & {400, 401, 403, 409, 422}, statuses
            self.failed += 1
            time.sleep(0.05)  # as a client that tries again does
        raise AssertionError(f"a server took no cases for {_PATIENCE:g} s")


# ── what must hold ────────────────────────────────────────────────────────────────────────────────────────────────────


def settled(server: SmsServer, smsc: Smsc, rated: int, seconds: float = 40.0, quiet: float = 0.0) -> None:
    """Waits until so many invitations are rated and nothing is under way any more, on either side.

    Args:
        quiet: seconds that a citizen may still think over an answer; so long it has to stay so.
    """
    since: float | None = None

    def still() -> str:
        found = server.number("SELECT count(*) FROM invitations WHERE state = 'rated'") + len(server.given_up())
        if found < rated:
            return f"{found} of {rated} rated"
        rows = server.rows(
            "SELECT direction, kind, state, count(*) FROM messages"
            " WHERE state IN ('queued', 'handed', 'unknown', 'unread', 'partial') GROUP BY direction, kind, state"
        )
        if rows:
            return f"messages under way: {rows}"
        if server.waiting():
            return f"{server.waiting()} wait for the centre"
        return f"{waiting} deliveries wait at the SMSC" if (waiting := smsc.state()["waiting"]) else ""

    last = ""

    def over() -> bool:
        nonlocal since, last
        last = still()
        if last:
            since = None
            return False
        since = since or time.monotonic()
        return time.monotonic() - since >= quiet

    try:
        until("everything to be settled", over, seconds)
    except AssertionError as error:
        said = "".join(server.running.lines[-20:])
        raise AssertionError(f"{error}; {last}\n{said}") from None


@dataclass
class Found:
    """What `assert_whole` saw, for further assertions."""

    tries: Counter[int] = field(default_factory=Counter)
    """Our messages by how often they were handed to a link."""
    shown: int = 0
    twice: int = 0
    """Messages that a phone showed more than once."""
    replies: int = 0
    given_up: int = 0
    """Invitations that were unknown twice and have failed, as stored and as their phones say."""


def assert_whole(
    server: SmsServer,
    stage: Stage,
    posted: Sequence[Mapping[str, Any]],
    *,
    again: bool = True,
    smsc: Smsc | None = None,
) -> Found:
    """Nothing lost and nothing doubled, from the case to the centre. Every citizen has answered, and all is settled.

    Args:
        again: a message may have gone twice, where its fate was unknown and it is stored as tried twice.
        smsc: another than the stage's.
    """
    found, smsc, centre = Found(), smsc or stage.smsc, stage.centre
    keyring = server.keyring
    number_of = {keyring.hash(f"+86{one['phone']}"): one["phone"] for one in posted}

    # Every case is there once, with one invitation of one SMS.
    cases = server.rows("SELECT case_no, subject_id FROM cases")
    assert sorted(row[0] for row in cases) == sorted(one["case_no"] for one in posted)
    members = server.rows("SELECT c.case_no, m.invitation_id FROM invitation_members m JOIN cases c USING (subject_id)")
    assert Counter(row[0] for row in members) == Counter(one["case_no"] for one in posted)
    asked = server.rows("SELECT invitation_id FROM messages WHERE kind = 'invitation'")
    assert Counter(row[0] for row in asked) == Counter(row[1] for row in members)

    # What phones show is what was sent, each once; twice only what was unknown and is stored as sent again.
    phones = set(number_of.values())
    texts = [(one["number"], one["text"].removeprefix(SIGNATURE)) for one in smsc.shown()]
    shown = Counter(one for one in texts if one[0] in phones)
    out = server.rows("SELECT number_hash, text, tries, state, kind FROM messages WHERE direction = 'out'")
    stored = Counter((number_of[bytes(row[0])], row[1]) for row in out)
    given_up = server.given_up()
    found.given_up = len(given_up)
    without = {one["phone"] for one in posted if one["case_no"] in given_up}
    assert set(shown) == {one for one in stored if one[0] not in without}, "phones do not show what is stored"
    for hash_, text, tries, state, kind in out:
        key = number_of[bytes(hash_)], text
        if key[0] in without:
            continue
        assert stored[key] == 1, f"two messages of one text to one number: {kind}"
        assert tries <= (2 if again else 1), f"{kind} handed over {tries} times"
        assert 1 <= shown[key] <= tries, f"{kind} ({state}, {tries} tries) shown {shown[key]} times"
        found.tries[tries] += 1
        found.shown += shown[key]
        found.twice += shown[key] > 1

    # Every reply that was acknowledged is stored, once and whole; and all were, in the end.
    replies = [one for one in smsc.replies() if one["number"] in phones]
    found.replies = len(replies)
    assert all(one["acknowledged"] for one in replies)
    said: dict[str, list[str]] = defaultdict(list)
    for one in replies:
        said[one["number"]].append(one["text"])
    read: dict[str, list[str]] = defaultdict(list)
    for hash_, text in server.rows("SELECT number_hash, text FROM messages WHERE direction = 'in' ORDER BY id"):
        read[number_of[bytes(hash_)]].append(text)
    for phone in phones:
        assert sorted(read[phone]) == sorted(said[phone])

    # Each citizen's level, once: one rating, one evaluation, one record at the centre.
    asked_cases = [one for one in posted if one["case_no"] not in given_up]
    meant = {one["case_no"]: next(filter(None, map(level_of, said[one["phone"]]))) for one in asked_cases}
    evaluations = server.rows(
        "SELECT c.case_no, e.id, e.satisfaction, e.assess_number FROM evaluations e JOIN cases c USING (subject_id)"
    )
    assert sorted((row[0], row[2], row[3]) for row in evaluations) == sorted((no, x, 1) for no, x in meant.items())
    assert server.number("SELECT count(*) FROM ratings") == len(asked_cases)
    mine = {one["case_no"] for one in posted}
    received = [one for one in centre.received().values() if one["projectNo"] in mine]
    assert sorted((one["projectNo"], one["evaluationId"], int(one["satisfaction"])) for one in received) == sorted(
        (row[0], str(row[1]).replace("-", ""), row[2]) for row in evaluations
    )
    assert centre.violations() == []
    assert smsc.state()["violations"] == []
    return found
