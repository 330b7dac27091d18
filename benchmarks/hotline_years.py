"""Three years of a hotline, made by the database itself: what the console's measurements look at.

`python -m benchmarks.hotline_years URL FOLDER COUNT` makes an empty database of so many effective evaluations, with the
key in FOLDER. Beside them: their calls and cases, the registry, invitations, ratings, the rollups; calls that nobody
rated; defaults that a citizen's rating replaced; the newest part of the feed, of the SMS and of the audit; and work
that waits for a person.

Rules it keeps:
- Whatever a row holds follows from its number, by plain arithmetic, so the same count gives the same record on both
  databases. One staging table (`facts`, a row a call or case) is computed first; every other table is taken from it.
- Days end with today in Shanghai, whole, and so does each hour: boards have a day of figures at any hour. Ids sort by
  time, as real ones do.
- Numbers are real ones of the key, a hundred thousand citizens: lists, exports and tails meet what they would.
- The rollups are summed from the same staging table; `tests/scheduler/test_hotline_years.py` compares them with a full
  count of the record.
- Tables are filled without their indexes, which come after, with the definitions that they had.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from benchmarks.invitations import KEY
from models.clock import SHANGHAI
from models.database import Database, open_database
from models.privacy import Keyring
from models.tables import directory

__all__ = [
    "ABSENT_TAIL",
    "AGENTS",
    "AREAS",
    "DAYS",
    "DEPTS",
    "QUEUES",
    "RARE_AGENT",
    "RARE_AREA",
    "RARE_DEPT",
    "RARE_QUEUE",
    "Filled",
    "call_key",
    "case_no",
    "fill",
    "subject_kind",
]

DAYS = 1_090
"""Not quite `privacy.retention_days`: nothing of it is to be forgotten while it is measured."""
AGENTS = 240
QUEUES = ("12345", "政务服务", "营商环境", "English")
DEPTS = 120
AREAS = ("622900", "622901", "622921", "622922", "622923", "622924", "622925", "622926", "622927")
RARE_AGENT, RARE_QUEUE, RARE_DEPT, RARE_AREA = "9001", "9000", "11622900MB9001", "622999"
"""Of a hundred thousandth of the rows, two years ago."""
ABSENT_TAIL = "9999"
_HOTLINE_DEPT = "12622900MB1234567X"
_CITIZENS = 100_000
_NEWEST = 1_000_000
"""So many of the newest have their rows in the feed, the SMS and the audit."""
_PRIME = 2_147_483_647
_PARTS = (1_103_515_245, 1_664_525_033, 907_633_385, 1_812_433_253, 1_540_483_477, 1_220_703_125, 742_938_285)
"""Multipliers of the parts that a row's facts are taken from."""
_RARE = 100_003
_TABLES = (
    "facts",
    "calls",
    "call_keys",
    "cases",
    "case_keys",
    "ratings",
    "evaluations",
    "invitations",
    "invitation_members",
    "rollup_days",
    "rollup_hours",
    "rollup_reasons",
    "feed",
    "messages",
    "outbox",
    "audit",
)
_OPEN_REPLIES, _OPEN_FAILURES, _DEAD, _WAITING, _PROVISIONAL = 2_000, 3_000, 300, 2_000, 5_000


@dataclass(frozen=True, slots=True)
class Filled:
    """`count`: effective evaluations."""

    count: int
    seconds: float
    size_mb: float
    rows: int


def subject_kind(number: int) -> str:
    """Whether a number of the record is a call or a case: of eleven subjects six are calls, one of them unrated."""
    return "call" if number % 11 < 6 else "case"


def call_key(number: int) -> str:
    """The linkedid of a call."""
    return f"years-{number}.1"


def case_no(number: int) -> str:
    return f"LX{number:010d}"


@dataclass(frozen=True, slots=True)
class _Words:
    """How a database says it. `{n}`: a number of milliseconds since 1970; `{i}`, `{ms}`: columns of the facts."""

    source: str
    id: str
    moment: str
    day: str
    no: str
    yes: str
    padded: str
    staging: str


_POSTGRESQL = _Words(
    source="(SELECT i::bigint AS i FROM generate_series(0, {last}) AS g(i)) AS g",
    id="(lpad(to_hex({ms}), 12, '0') || '7{kind:03x}8' || lpad(to_hex({i}), 15, '0'))::uuid",
    moment="to_timestamp({n} / 1000.0)",
    day="(date '1970-01-01' + (({n} + 28800000) / 86400000)::int)",
    no="false",
    yes="true",
    padded="lpad({n}::text, {width}, '0')",
    staging="UNLOGGED",
)
_SQLITE = _Words(
    source=(
        "(WITH RECURSIVE g(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM g WHERE i < {last}) SELECT i FROM g) AS g"
    ),
    id="printf('%012x7{kind:03x}8%015x', {ms}, {i})",
    moment="(strftime('%Y-%m-%d %H:%M:%S', {n} / 1000, 'unixepoch') || '.000000')",
    day="date(({n} + 28800000) / 1000, 'unixepoch')",
    no="0",
    yes="1",
    padded="printf('%0{width}d', {n})",
    staging="TEMP",
)

_CALL, _RATING, _EVALUATION, _INVITATION, _MESSAGE, _REPLY, _AUDIT, _BEFORE = range(1, 9)


class _Sql:
    """The statements of one database, for one record."""

    def __init__(self, words: _Words, count: int, today: date) -> None:
        self.words = words
        self.count = count
        # One of eleven subjects is not rated.
        self.subjects = -(-count * 11 // 10)
        begin = datetime(today.year, today.month, today.day, tzinfo=SHANGHAI) - timedelta(days=DAYS - 1)
        self.first = int(begin.timestamp()) * 1000
        self._failing_still = f"i >= {self.subjects - _OPEN_FAILURES * 22}"

    # ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def id(self, kind: int, ms: str = "ms") -> str:
        return self.words.id.format(kind=kind, ms=ms, i="i")

    def at(self, ms: str) -> str:
        return self.words.moment.format(n=ms)

    def padded(self, number: str, width: int) -> str:
        return self.words.padded.format(n=number, width=width)

    @staticmethod
    def part(which: int) -> str:
        """A number of 0 to 2^31 that seems to come by chance."""
        return f"((i * {_PARTS[which]} + {which * 7919}) % {_PRIME})"

    @staticmethod
    def of(part: str, *shares: tuple[int, str], otherwise: str) -> str:
        """A value by shares of a thousand of a part."""
        whens, reached = [], 0
        for share, value in shares:
            reached += share
            whens.append(f"WHEN {part} % 1000 < {reached} THEN {value}")
        return f"CASE {' '.join(whens)} ELSE {otherwise} END"

    @staticmethod
    def skewed(part: str, count: int) -> str:
        """A number below a count, the first ones far more often than the last."""
        return f"(({part} / 1000 % 1000) * ({part} / 1000000 % 1000) * {count} / 1000000)"

    # ── the staging table ─────────────────────────────────────────────────────────────────────────────────────────────

    def facts(self) -> list[str]:
        """The staging table: what is known of each call and case. `kind` null of none; `rated` 0: nobody rated it."""
        last_day = self.first + DAYS * 86_400_000
        # A day's rows come one after the other; hours as callers have them: few at night, most in the morning.
        place = f"(i * {DAYS} % {self.subjects} * 100000 / {self.subjects})"
        hour = (
            "CASE WHEN place < 5000 THEN place * 28800 / 5000"
            " WHEN place < 50000 THEN 28800 + (place - 5000) * 14400 / 45000"
            " WHEN place < 92000 THEN 43200 + (place - 50000) * 25200 / 42000"
            " ELSE 68400 + (place - 92000) * 17999 / 8000 END"
        )
        numbers = (
            f"SELECT i, {place} AS place, {', '.join(f'{self.part(n)} AS p{n}' for n in range(len(_PARTS)))}"
            f" FROM {self.words.source.format(last=self.subjects - 1)}"
        )
        timed = (
            f"SELECT *, {self.first} + (i * {DAYS} / {self.subjects}) * 86400000 + ({hour}) * 1000 AS ms,"
            f" CASE WHEN i % 11 < 6 THEN 'call' ELSE 'case' END AS kind,"
            f" CASE WHEN i % 11 = 5 THEN 0 ELSE 1 END AS rated,"
            f" CASE WHEN i % {_RARE} = 0 AND i < {self.subjects // 3} THEN 1 ELSE 0 END AS rare FROM ({numbers}) AS a"
        )
        spoken, written = "'keypad'", "'sms'"
        due = "ms - (ms + 28800000) % 86400000 + 8 * 86400000 - 1000"
        ways = (
            f"SELECT *, CASE WHEN rated = 0 THEN NULL"
            f" WHEN kind = 'call' THEN {self.of('p0', (700, spoken), otherwise=written)}"
            f" WHEN p0 % 1000 < 350 AND {due} < {last_day} - 86400000 THEN 'system'"
            f" ELSE {self.of('p0', (450, spoken), otherwise=written)} END AS channel, {due} AS due"
            f" FROM ({timed}) AS b"
        )
        levels = self.of("p1", (720, "5"), (140, "4"), (80, "3"), (32, "2"), otherwise="1")
        level = f"CASE WHEN channel = 'system' THEN 3 ELSE {levels} END"
        answered = "ms + 300000 + (p2 % 1000) * (p2 % 997) * 60"
        rated_ms = (
            "CASE WHEN channel = 'system' THEN due WHEN channel = 'keypad' THEN ms + 20000"
            f" WHEN {answered} < {last_day} THEN {answered} ELSE ms + 60000 END"
        )
        agent_number = f"(1001 + {self.skewed('p3', AGENTS)})"
        agent = f"CASE WHEN rare = 1 THEN '{RARE_AGENT}' ELSE CAST({agent_number} AS varchar) END"
        queue = self.of(
            "p4", (800, f"'{QUEUES[0]}'"), (120, f"'{QUEUES[1]}'"), (60, f"'{QUEUES[2]}'"), otherwise="NULL"
        )
        queue = f"CASE WHEN rare = 1 THEN '{RARE_QUEUE}' WHEN p4 % 1000 > 994 THEN '{QUEUES[3]}' ELSE {queue} END"
        dept = f"'11622900MB' || {self.padded(self.skewed('p5', DEPTS), 4)}"
        areas = " ".join(f"WHEN {self.skewed('p6', len(AREAS))} = {n} THEN '{area}'" for n, area in enumerate(AREAS))
        of_two = self.of("p2", (250, "'209'"), (200, "'213'"), (150, "'214'"), (100, "'209,214'"), otherwise="NULL")
        of_one = self.of("p2", (400, "'110'"), (250, "'115'"), (50, "'110,115'"), otherwise="NULL")
        reason = (
            f"CASE WHEN channel <> 'system' AND level = 2 THEN {of_two}"
            f" WHEN channel <> 'system' AND level = 1 THEN {of_one} END"
        )
        rest = (
            f"SELECT i, ms, kind, rated, channel, level, {rated_ms} AS rated_ms, {reason} AS reasons,"
            " CASE WHEN channel = 'system' THEN 'default' ELSE 'citizen' END AS origin,"
            f" CASE WHEN kind = 'call' OR p3 % 10 < 7 THEN {agent} END AS agent,"
            f" CASE WHEN kind = 'call' THEN {queue} END AS queue,"
            f" CASE WHEN rare = 1 THEN '{RARE_DEPT}'"
            f" WHEN kind = 'call' THEN '{_HOTLINE_DEPT}' WHEN p5 % 50 = 0 THEN NULL ELSE {dept} END AS dept,"
            f" CASE WHEN rare = 1 THEN '{RARE_AREA}' WHEN kind = 'call' THEN '{AREAS[0]}'"
            f" ELSE CASE {areas} END END AS area,"
            f" CASE WHEN p2 % 97 = 0 AND channel <> 'system' AND level < 3 THEN 'not_adopted' END AS adoption,"
            f" p6 % {_CITIZENS} AS citizen, CASE WHEN p4 % 7 = 0 AND channel = 'sms' THEN 1 ELSE 0 END AS told,"
            f" CASE WHEN channel = 'system' THEN p4 % 10 < 8 END AS asked"
            f" FROM (SELECT *, CASE WHEN rated = 1 THEN {level} END AS level FROM ({ways}) AS c) AS d"
        )
        return [
            f"CREATE {self.words.staging} TABLE facts AS SELECT *, {self.id(_CALL)} AS subject FROM ({rest}) AS e",
        ]

    # ── the record ────────────────────────────────────────────────────────────────────────────────────────────────────

    def tables(self) -> dict[str, list[str]]:
        """For each table its statements, which need `facts` and `numbers` alone."""
        yes, no = self.words.yes, self.words.no
        at, rated = self.at("ms"), self.at("rated_ms")
        number = {
            "number_kind": "'mobile'",
            "number_sealed": "sealed",
            "number_hash": "hash",
            "number_tail": "tail",
            "number_key_id": "key_id",
        }
        numbered = "facts JOIN numbers ON numbers.citizen = facts.citizen"
        of_call, of_case = "kind = 'call'", "kind = 'case'"
        of_rated = "rated = 1"
        key, no_of_case = "('years-' || i || '.1')", f"('LX' || {self.padded('i', 10)})"
        outcome = (
            "CASE WHEN rated = 0 THEN CASE i % 3 WHEN 0 THEN 'hangup' WHEN 1 THEN 'no_input' ELSE 'not_offered' END"
        )
        outcome += " WHEN channel = 'keypad' THEN 'rated' ELSE 'no_input' END"
        newest = f"i >= {max(0, self.subjects - _NEWEST)}"
        evaluation = {
            "subject_id": "subject",
            "assess_number": f"CASE WHEN {self._again} THEN 2 ELSE 1 END",
            "id": self.id(_EVALUATION, "rated_ms"),
            "rating_id": self.id(_RATING, "rated_ms"),
            "subject_kind": "kind",
            "effective": yes,
            "satisfaction": "level",
            "origin": "origin",
            "channel": "channel",
            "reasons": "reasons",
            "comment": "CASE WHEN told = 1 THEN '等的时间有些长，希望以后快一点' END",
            "assess_time": rated,
            "project_no": f"CASE WHEN {of_call} THEN 'H' || {key} ELSE {no_of_case} END",
            "service_number": "1",
            "agent": "agent",
            "queue": "queue",
            "dept_code": "dept",
            "dept_name": f"CASE WHEN {of_case} THEN '临夏州某某局' END",
            "task_code": f"CASE WHEN {of_case} THEN '622900001' END",
            "service_name": "'临夏州12345政务服务便民热线'",
            "area_code": "area",
            "pushed_at": rated,
            "centre_status": "'accepted'",
            "created_at": rated,
            "asked": "asked",
            "adoption": "adoption",
        }
        before = evaluation | {
            "assess_number": "1",
            "id": self.id(_BEFORE),
            "rating_id": self.id(_BEFORE),
            "effective": no,
            "satisfaction": "3",
            "origin": "'default'",
            "channel": "'system'",
            "reasons": "NULL",
            "comment": "NULL",
            "assess_time": at,
            "asked": yes,
            "adoption": "NULL",
        }
        asked_by = "CASE WHEN kind = 'call' THEN 'voice' ELSE 'sms' END"
        responded = "rated = 1 AND origin = 'citizen'"
        return {
            "calls": [
                self._insert(
                    "calls",
                    {
                        "subject_id": "subject",
                        "call_key": key,
                        **number,
                        "agent": "agent",
                        "queue": "queue",
                        "dept": "dept",
                        "case_no": f"CASE WHEN i % 5 = 0 THEN 'LX' || {self.padded('(i + 1)', 10)} END",
                        "lang": "'zh'",
                        "outcome": outcome,
                        "source": "'ivr'",
                        "offered_at": at,
                        "ended_at": at,
                        "created_at": at,
                        "area_code": "area",
                    },
                    f"{numbered} WHERE {of_call}",
                )
            ],
            "call_keys": [
                self._insert("call_keys", {"call_key": key, "subject_id": "subject"}, f"facts WHERE {of_call}")
            ],
            "cases": [
                self._insert(
                    "cases",
                    {
                        "subject_id": "subject",
                        "case_no": no_of_case,
                        "service_number": "1",
                        "stub": no,
                        **number,
                        "title": "'路灯不亮'",
                        "task_code": "'622900001'",
                        "dept_code": "dept",
                        "dept_name": "'临夏州某某局'",
                        "agent": "agent",
                        "area_code": "area",
                        "lang": "'zh'",
                        "closed_at": at,
                        "deadline": self.at("due"),
                        "provisional": f"i % 11 = 9 AND i >= {self.subjects - _PROVISIONAL * 11}",
                        "created_at": at,
                    },
                    f"(SELECT facts.*, numbers.sealed, numbers.hash, numbers.tail, numbers.key_id,"
                    f" ms + 8 * 86400000 AS due FROM {numbered}) AS f WHERE {of_case}",
                )
            ],
            "case_keys": [
                self._insert(
                    "case_keys",
                    {"case_no": no_of_case, "service_number": "1", "subject_id": "subject"},
                    f"facts WHERE {of_case}",
                )
            ],
            "ratings": [
                self._insert(
                    "ratings",
                    {
                        "id": self.id(_RATING, "rated_ms"),
                        "invitation_id": self.id(_INVITATION),
                        "call_subject_id": "CASE WHEN kind = 'call' AND channel = 'keypad' THEN subject END",
                        "channel": "channel",
                        "origin": "origin",
                        "raw_input": "CAST(6 - level AS varchar)",
                        "key_map": "'1=5,2=4,3=3,4=2,5=1'",
                        "satisfaction": "level",
                        "reasons": "reasons",
                        "comment": "CASE WHEN told = 1 THEN '等的时间有些长，希望以后快一点' END",
                        "rated_at": rated,
                        "late": no,
                        "created_at": rated,
                    },
                    f"facts WHERE {of_rated}",
                )
            ],
            "evaluations": [
                self._insert("evaluations", evaluation, f"facts WHERE {of_rated}"),
                self._insert("evaluations", before, f"facts WHERE {of_rated} AND {self._again}"),
            ],
            "invitations": [
                self._insert(
                    "invitations",
                    {
                        "id": self.id(_INVITATION),
                        "kind": "kind",
                        "state": f"CASE WHEN {self._failing} AND {self._failing_still} THEN 'impossible'"
                        " WHEN rated = 0 THEN 'expired' WHEN channel = 'system' THEN 'defaulted'"
                        " ELSE 'rated' END",
                        **number,
                        "lang": "'zh'",
                        "key_map": "'1=5,2=4,3=3,4=2,5=1'",
                        "first_asked_at": f"CASE WHEN {self._asked} THEN {at} END",
                        "asked_by": f"CASE WHEN {self._asked} THEN {asked_by} END",
                        "created_at": at,
                        "changed_at": at,
                        "undelivered": no,
                        "muted": no,
                        "ended_at": at,
                        "rating_id": f"CASE WHEN {responded} THEN {self.id(_RATING, 'rated_ms')} END",
                        "responded_at": f"CASE WHEN {responded} THEN {rated} END",
                        "asked_kind": f"CASE WHEN {self._asked} THEN kind END",
                        "asked_agent": f"CASE WHEN {self._asked} AND kind = 'call' THEN agent END",
                        "asked_queue": f"CASE WHEN {self._asked} AND kind = 'call' THEN queue END",
                        "asked_dept": f"CASE WHEN {self._asked} THEN dept END",
                        "asked_area": f"CASE WHEN {self._asked} THEN area END",
                    },
                    numbered,
                )
            ],
            "invitation_members": [
                self._insert(
                    "invitation_members", {"invitation_id": self.id(_INVITATION), "subject_id": "subject"}, "facts"
                )
            ],
            "feed": [
                self._insert(
                    "feed",
                    {
                        "kind": "'evaluation'",
                        "subject_id": "subject",
                        "assess_number": evaluation["assess_number"],
                        "at": rated,
                    },
                    f"facts WHERE {of_rated} AND {newest} ORDER BY i",
                )
            ],
            "messages": self._messages(number, numbered, newest),
            "outbox": [
                self._insert(
                    "outbox",
                    {
                        "evaluation_id": self.id(_EVALUATION, "rated_ms"),
                        "subject_id": "subject",
                        "assess_number": evaluation["assess_number"],
                        "state": f"CASE WHEN i < {self.subjects - _WAITING} THEN 'dead' ELSE 'waiting' END",
                        "not_before": rated,
                        "tries": "1",
                        "reason": "'centre: assessNumber unknown'",
                        "created_at": rated,
                    },
                    f"facts WHERE {of_rated} AND i >= {self.subjects - _WAITING - _DEAD}",
                )
            ],
            "audit": [
                self._insert(
                    "audit",
                    {
                        "id": self.id(_AUDIT, "rated_ms"),
                        "at": rated,
                        "actor": "CASE WHEN i % 50 = 0 THEN 'user:ma' ELSE 'ivr' END",
                        "action": "'rating.stored'",
                        "subject_id": "subject",
                    },
                    f"facts WHERE {of_rated} AND {newest}",
                )
            ],
            "rollup_days": [self._rollup("rollup_days", hours=False)],
            "rollup_hours": [self._rollup("rollup_hours", hours=True)],
            "rollup_reasons": [self._reasons()],
        }

    _failing = "(rated = 0 AND i % 2 = 1)"
    """The SMS that asked did not reach its citizen."""
    _again = "(kind = 'case' AND origin = 'citizen' AND i % 200 < 11)"
    """A default came first."""
    _asked = "((kind = 'call' AND (rated = 1 OR i % 3 <> 2)) OR (kind = 'case' AND COALESCE(asked, rated = 1)))"

    def _insert(self, table: str, columns: dict[str, str], source: str) -> str:
        return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}"

    def _messages(self, number: dict[str, str], numbered: str, newest: str) -> list[str]:
        """The newest SMS, of which those of some calls failed, and replies that waited for a person. The newest still
        do."""
        at = self.at("ms")
        failing, waiting = self._failing, self._failing_still
        reasons = ("unmatched", "ambiguous", "unclear", "unreadable", "withdrawn", "mistaken", "too_late", "pressure")
        reason = " ".join(f"WHEN i / 20 % 8 = {n} THEN '{name}'" for n, name in enumerate(reasons))
        ours = {
            "id": self.id(_MESSAGE),
            "direction": "'out'",
            "kind": "'invitation'",
            "state": f"CASE WHEN {failing} THEN 'failed' ELSE 'delivered' END",
            "reason": f"CASE WHEN {failing} THEN CASE i / 22 % 3 WHEN 0 THEN 'absent' WHEN 1 THEN 'expired'"
            " ELSE 'rejected' END END",
            **number,
            "invitation_id": self.id(_INVITATION),
            "link": "'bench'",
            "our_number": "'1069123407'",
            "code": "'07'",
            "created_at": at,
            "changed_at": at,
            "lang": "'zh'",
            "tries": "1",
            "total": "1",
            "handed_at": at,
            "handled_at": f"CASE WHEN {failing} AND NOT {waiting} THEN {at} END",
            "handled_by": f"CASE WHEN {failing} AND NOT {waiting} THEN 'user:ma' END",
            "handled_as": f"CASE WHEN {failing} AND NOT {waiting} THEN 'noted' END",
        }
        still = f"i >= {self.subjects - _OPEN_REPLIES * 20}"
        theirs = {
            "id": self.id(_REPLY),
            "direction": "'in'",
            "kind": "'reply'",
            "state": "'read'",
            **number,
            "invitation_id": f"CASE WHEN i / 20 % 8 <> 0 THEN {self.id(_INVITATION)} END",
            "link": "'bench'",
            "our_number": "'1069123407'",
            "code": "'07'",
            "text": "'你们来了没有解决问题'",
            "created_at": at,
            "changed_at": at,
            "queue": f"CASE {reason} END",
            "handled_at": f"CASE WHEN NOT {still} THEN {at} END",
            "handled_by": f"CASE WHEN NOT {still} THEN 'user:ma' END",
            "handled_as": f"CASE WHEN NOT {still} THEN 'irrelevant' END",
        }
        return [
            self._insert("messages", ours, f"{numbered} WHERE {newest} AND (kind = 'case' OR rated = 0)"),
            self._insert("messages", theirs, f"{numbered} WHERE {newest} AND i % 20 = 3"),
        ]

    # ── the rollups ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _rollup(self, table: str, *, hours: bool) -> str:
        """Evaluations by the day of their rating, invitations by that of their asking, calls by that of their end."""
        of_call = "kind = 'call'"

        def keys(ms: str, channel: str) -> str:
            hour = f", ({ms} + 28800000) / 3600000 % 24 AS hour" if hours else ""
            whose = "" if hours else f", CASE WHEN {of_call} THEN COALESCE(agent, '') ELSE '' END AS agent"
            whose += "" if hours else f", CASE WHEN {of_call} THEN COALESCE(queue, '') ELSE '' END AS queue"
            day = self.words.day.format(n=ms)
            return (
                f"{day} AS day{hour}, kind, {channel} AS channel{whose}, COALESCE(dept, '') AS dept,"
                " COALESCE(area, '') AS area"
            )

        measures = (
            *(f"level_{level}" for level in (5, 4, 3, 2, 1)),
            *("not_adopted", "default_asked", "default_unasked", "asked", "responded", "calls", "offered", "answered"),
        )

        def counts(**told: str) -> str:
            return ", ".join(f"{told.get(name, '0')} AS {name}" for name in measures)

        def one(condition: str) -> str:
            return f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"

        real = "origin = 'citizen' AND adoption IS NULL"
        of_ratings = counts(
            **{f"level_{level}": one(f"{real} AND level = {level}") for level in (5, 4, 3, 2, 1)},
            not_adopted=one("adoption IS NOT NULL"),
            default_asked=one("origin = 'default' AND adoption IS NULL AND asked"),
            default_unasked=one("origin = 'default' AND adoption IS NULL AND NOT asked"),
        )
        of_asking = counts(asked="COUNT(*)", responded=one("rated = 1 AND origin = 'citizen'"))
        of_calls = counts(
            calls="COUNT(*)",
            offered=one("NOT (rated = 0 AND i % 3 = 2)"),
            answered=one("rated = 1 AND channel = 'keypad'"),
        )
        keypad = "'keypad'"
        asked_by = "CASE WHEN kind = 'call' THEN 'keypad' ELSE 'sms' END"
        names = "day, hour, kind, channel, dept, area" if hours else "day, kind, channel, agent, queue, dept, area"
        parts = [
            f"SELECT {keys('rated_ms', 'channel')}, {of_ratings} FROM facts WHERE rated = 1",
            f"SELECT {keys('ms', asked_by)}, {of_asking} FROM facts WHERE {self._asked}",
            f"SELECT {keys('ms', keypad)}, {of_calls} FROM facts WHERE {of_call}",
        ]
        places = ", ".join(str(n + 1) for n in range(len(names.split(", "))))
        union = " UNION ALL ".join(f"SELECT * FROM ({part} GROUP BY {places}) AS x" for part in parts)
        summed = ", ".join(f"SUM({name})" for name in measures)
        return (
            f"INSERT INTO {table} (writer, {names}, {', '.join(measures)})"
            f" SELECT 0, {names}, {summed} FROM ({union}) AS u GROUP BY {names}"
        )

    def _reasons(self) -> str:
        """One row a reason; a bad rating without one has the empty reason."""
        codes = ("209", "213", "214", "110", "115", "")
        listed = " UNION ALL ".join(f"SELECT '{code}' AS reason" for code in codes)
        day = self.words.day.format(n="rated_ms")
        return (
            "INSERT INTO rollup_reasons (writer, day, kind, channel, reason, agent, queue, dept, area, n)"
            f" SELECT 0, {day}, kind, channel, reason,"
            " CASE WHEN kind = 'call' THEN COALESCE(agent, '') ELSE '' END,"
            " CASE WHEN kind = 'call' THEN COALESCE(queue, '') ELSE '' END,"
            " COALESCE(dept, ''), COALESCE(area, ''), COUNT(*)"
            f" FROM facts JOIN ({listed}) AS listed ON (reason = '' AND reasons IS NULL)"
            " OR (reason <> '' AND ',' || reasons || ',' LIKE '%,' || reason || ',%')"
            " WHERE rated = 1 AND origin = 'citizen' AND level < 3 AND adoption IS NULL"
            " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"
        )


# ── filling ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(
    database: Database,
    keyring: Keyring,
    count: int,
    today: date,
    tell: Callable[[str], None] = lambda _line: None,
) -> Filled:
    """Makes the record in an empty database that nobody uses. PostgreSQL works on two connections at once."""
    began = time.perf_counter()
    database.read_engine.dispose()
    sql = _Sql(_SQLITE if database.is_sqlite else _POSTGRESQL, count, today)
    citizens = _citizens(keyring)
    rows = (
        _fill_sqlite(database, sql, citizens) if database.is_sqlite else _fill_postgresql(database, sql, citizens, tell)
    )
    with database.write_engine.begin() as connection:
        names: list[dict[str, str | None]] = [
            {"kind": "agent", "code": str(1001 + n), "name": f"话务员{n}", "team": f"{n % 12 + 1}班"}
            for n in range(AGENTS)
        ]
        names += [
            {"kind": "dept", "code": f"11622900MB{n:04d}", "name": f"临夏州第{n}局", "team": None} for n in range(DEPTS)
        ]
        connection.execute(insert(directory), names)
    return Filled(count, time.perf_counter() - began, size_mb(database), rows)


def size_mb(database: Database) -> float:
    """On disk."""
    if database.is_sqlite:
        return Path(str(database.url.database)).stat().st_size / 1e6
    with database.read_engine.connect() as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return float(size) / 1e6


def _citizens(keyring: Keyring) -> list[tuple[int, bytes, bytes, bytes, int]]:
    """Numbers as they are stored; none ends in ABSENT_TAIL."""
    rows = []
    for number in range(_CITIZENS):
        tail = number % 9_999
        sealed = keyring.seal(f"+86138{number // 9_999:04d}{tail:04d}")
        rows.append((number, sealed.sealed, sealed.hash, sealed.tail, sealed.key_id))
    return rows


def _fill_sqlite(database: Database, sql: _Sql, citizens: Sequence[tuple[Any, ...]]) -> int:
    with database.write_engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
            raw.execute(f"PRAGMA {pragma}")
        places = ", ".join("?" * len(_TABLES))
        indexes = raw.execute(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({places})",
            _TABLES,
        ).fetchall()
        raw.execute("CREATE TEMP TABLE numbers (citizen INTEGER PRIMARY KEY, sealed, hash, tail, key_id)")
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany("INSERT INTO numbers VALUES (?, ?, ?, ?, ?)", citizens)
        for name, _ in indexes:
            raw.execute(f"DROP INDEX {name}")
        rows = 0
        for statement in sql.facts():
            raw.execute(statement)
        for statements in sql.tables().values():
            for statement in statements:
                rows += raw.execute(statement).rowcount
        for _, statement in indexes:
            raw.execute(statement)
        raw.execute("COMMIT")
        raw.execute("DROP TABLE facts")
        raw.execute("DROP TABLE numbers")
        raw.execute("ANALYZE")
        connection.invalidate()  # nobody goes on with these settings
    return rows


class _Postgres:
    """One connection of its own for a share of the tables."""

    def __init__(self, database: Database) -> None:
        self._connection = database.write_engine.connect()
        # The driver itself: a statement without parameters may hold a %.
        raw: Any = self._connection.connection.dbapi_connection
        self.raw = raw
        for setting in (
            "statement_timeout = 0",
            "lock_timeout = 0",
            "maintenance_work_mem = '1GB'",
            "work_mem = '1GB'",
            "max_parallel_maintenance_workers = 1",
        ):
            raw.execute(f"SET {setting}")
        raw.commit()

    def close(self) -> None:
        self._connection.invalidate()
        self._connection.close()


def _fill_postgresql(
    database: Database, sql: _Sql, citizens: Sequence[tuple[Any, ...]], tell: Callable[[str], None]
) -> int:
    first = _Postgres(database)
    began = time.perf_counter()
    with first.raw.cursor() as cursor:
        cursor.execute(
            "CREATE UNLOGGED TABLE numbers (citizen bigint, sealed bytea, hash bytea, tail bytea, key_id smallint)"
        )
        with cursor.copy("COPY numbers FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "bytea", "bytea", "bytea", "int2"])
            for row in citizens:
                copy.write_row(row)
        for statement in sql.facts():
            cursor.execute(statement)
    first.raw.commit()
    first.raw.execute("ANALYZE numbers")
    first.raw.execute("ANALYZE facts")
    first.raw.commit()
    tell(f"PostgreSQL: the facts in {time.perf_counter() - began:.0f} s")
    waiting = [name for name in _ORDER if name in sql.tables()]
    lock, counted = threading.Lock(), [0]
    failed: list[Exception] = []

    def work(own: _Postgres) -> None:
        while True:
            with lock:
                if failed or not waiting:
                    return
                name = waiting.pop(0)
            table_began = time.perf_counter()
            try:
                rows = _fill_table(own.raw, name, sql.tables()[name])
            except Exception as error:  # noqa: BLE001 (raised again below, by the thread that waits)
                failed.append(error)
                return
            with lock:
                counted[0] += rows
            tell(f"PostgreSQL: {name}: {rows:,} rows and their indexes in {time.perf_counter() - table_began:.0f} s")

    second = _Postgres(database)
    helper = threading.Thread(target=work, args=(second,))
    helper.start()
    work(first)
    helper.join()
    for error in failed:
        raise error
    first.raw.execute("DROP TABLE facts, numbers")
    first.raw.commit()
    second.close()
    first.close()
    return counted[0]


_ORDER = (
    "evaluations",
    "invitations",
    "calls",
    "cases",
    "ratings",
    "rollup_hours",
    "rollup_days",
    "invitation_members",
    "call_keys",
    "case_keys",
    "messages",
    "feed",
    "audit",
    "rollup_reasons",
    "outbox",
)
"""The longest work first."""


def _fill_table(raw: Any, name: str, statements: Collection[str]) -> int:
    """One table in one transaction: emptied in it, so that with wal_level=minimal nothing goes through the log."""
    keys = raw.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE contype IN ('p', 'u') AND conrelid = '{name}'::regclass"
    ).fetchall()
    indexes = raw.execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{name}'"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    ).fetchall()
    raw.execute(f"TRUNCATE {name}")
    for key, _ in keys:
        raw.execute(f"ALTER TABLE {name} DROP CONSTRAINT {key}")
    for index, _ in indexes:
        raw.execute(f"DROP INDEX {index}")
    rows = sum(raw.execute(statement).rowcount for statement in statements)
    for key, definition in keys:
        raw.execute(f"ALTER TABLE {name} ADD CONSTRAINT {key} {definition}")
    for _, definition in indexes:
        raw.execute(definition)
    raw.commit()
    raw.autocommit = True
    try:
        raw.execute(f"VACUUM (ANALYZE) {name}")
    finally:
        raw.autocommit = False
    return int(rows)


def main(url: str, folder: Path, count: int) -> None:
    database = open_database(url, folder)
    try:
        database.ensure_schema()
        keyring = database.open_keyring(folder / KEY)
        today = datetime.now(UTC).astimezone(SHANGHAI).date()
        filled = fill(database, keyring, count, today, lambda line: print(line, flush=True))
        print(
            f"{filled.count:,} evaluations ({filled.rows:,} rows) in {filled.seconds:.0f} s, {filled.size_mb:,.0f} MB"
        )
    finally:
        with suppress(Exception):
            database.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
