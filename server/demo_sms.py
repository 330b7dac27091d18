"""The demo's SMS half: cases that are posted as a case system does, and citizens who answer on a stand-in's phones.

Whoever was asked by SMS and is somebody who answers is waited for until their rating is in the database; what is said
of it is read there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from console.tokens import Scope, add_token, revoke_token
from models.clock import SHANGHAI, SystemClock
from models.database import Database
from models.futures import Wakeups
from models.privacy import mask
from models.tables import evaluations
from models.terms import Channel
from server.errors import CannotDo
from server.serve import Process
from simulate.handset import Behaviour, Handset
from simulate.smsc import Reply, Shown, SmscOptions, StandInSmsc

__all__ = [
    "BEHAVIOURS",
    "INVITATIONS",
    "CaseDesk",
    "SmsHalf",
    "demo_smsc",
    "demo_token",
    "made_up_case",
    "short",
]

_bugs = Logger()
_PAUSE = (1.5, 4.0)  # seconds between two cases
_LOOK_SECONDS = 0.5
_DELAY = (0.5, 2.5)  # seconds until a citizen answers
BEHAVIOURS = {
    Behaviour.DIGIT: 40.0,
    Behaviour.FULL_WIDTH: 8.0,
    Behaviour.WORDS: 20.0,
    Behaviour.LONG: 8.0,
    Behaviour.UNCLEAR: 8.0,
    Behaviour.OPT_OUT: 4.0,
    Behaviour.SILENT: 12.0,
}
_NO_RATING = {Behaviour.SILENT, Behaviour.OPT_OUT, Behaviour.AUTOMATIC}
_TITLES = ("小区路灯不亮", "自来水水压低", "道路积水", "医保缴费咨询", "公交线路建议", "噪声扰民")
_DEPARTMENTS = (
    ("11622900MB0000001A", "临夏州住房和城乡建设局"),
    ("11622900MB0000002B", "临夏州水务局"),
    ("11622900MB0000003C", "临夏州医疗保障局"),
)
_SHOWN_SIGNS = 40
_STRANGER_EACH = 12
_STRANGERS_SAY = ("没人管，不满意", "你们是哪个单位的", "非常满意")


def demo_smsc(reactor: Any, password: str, seed: int) -> StandInSmsc:
    """An SMSC with citizens, listening on a free port of loopback."""
    smsc = StandInSmsc(
        SmscOptions(password=password, receipt_delay=(0.1, 0.5)),
        handset=Handset(seed, BEHAVIOURS, delay=_DELAY),
        seed=seed,
    )
    smsc.listen(reactor)
    return smsc


def demo_token(database: Database) -> str:
    """A token to post cases with; the one of an earlier run ends."""
    now = SystemClock().now()
    with database.write_engine.begin() as connection:
        revoke_token(connection, now, "demo")
        return add_token(connection, now, "demo", Scope.INTAKE)


@dataclass(frozen=True, slots=True)
class _Rated:
    """A rating by SMS as it is on disk."""

    evaluation_id: str
    project_no: str
    satisfaction: int
    at: datetime


def made_up_case(chance: random.Random, case_no: str, number: str, closed_at: datetime) -> dict[str, Any]:
    """A case as a case system posts it."""
    code, name = chance.choice(_DEPARTMENTS)
    return {
        "case_no": case_no,
        "phone": number,
        "closed_at": closed_at.astimezone(SHANGHAI).isoformat(timespec="seconds"),
        "title": chance.choice(_TITLES),
        "dept_code": code,
        "dept_name": name,
    }


class CaseDesk:
    """A case system: posts to the process's own API."""

    def __init__(self, process: Process, token: str, reactor: Any) -> None:
        self._process = process
        self._token = token
        self._agent = Agent(reactor)  # type: ignore[no-untyped-call]

    async def post(self, case: dict[str, Any]) -> dict[str, Any]:
        """What was answered.

        Raises:
            CannotDo: the case was not taken.
        """
        url = f"http://{self._process.listening['console']}/api/v1/cases"
        body = FileBodyProducer(BytesIO(json.dumps(case).encode()))  # type: ignore[no-untyped-call]
        headers = Headers({"Authorization": [f"Bearer {self._token}"], "Content-Type": ["application/json"]})
        answer = await self._agent.request(b"POST", url.encode(), headers, body)
        said: dict[str, Any] = json.loads(await readBody(answer))
        if answer.code != 201:
            raise CannotDo(f"a case of the demo was answered {answer.code}")
        return said


class SmsHalf:
    """See the module.

    Args:
        cases: how many are posted; None: one after the other until `stop`.
        say: prints a line, with the time before it.
        rated: told of each rating by SMS: who (as it may be shown), and the evaluation's id, level and time.
        changed: told when a case was posted or somebody waited for has rated.
    """

    def __init__(
        self,
        process: Process,
        smsc: StandInSmsc,
        token: str,
        reactor: Any,
        chance: random.Random,
        *,
        cases: int | None,
        say: Callable[[str], None],
        rated: Callable[[str, str, int, datetime], None],
        changed: Callable[[], None],
    ) -> None:
        self.received = 0
        self.replies = 0
        self.ratings = 0
        self._process = process
        self._smsc = smsc
        self._reactor = reactor
        self._chance = chance
        self._left = cases
        self._posted = 0
        self._say = say
        self._rated = rated
        self._changed = changed
        self._wakeups = Wakeups(reactor)
        self._desk = CaseDesk(process, token, reactor)
        self._run = chance.randrange(10**8)
        self._numbers: set[str] = set()
        self._asked_from: str | None = None
        self._expected: dict[str, str] = {}
        """Number by project_no of those who will rate."""
        self._next: Any = None
        self._looking: Any = None
        self._stopped = False
        smsc.on_shown = self._shown
        smsc.on_reply = self._replied

    @property
    def waiting(self) -> int:
        """How many cases are still to be posted, and people to rate."""
        return len(self._expected) + (0 if self._left is None else self._left - self._posted)

    def new_number(self) -> str:
        """A number that nobody in this run has."""
        while (number := f"13800{self._chance.randrange(10**6):06}") in self._numbers:
            pass
        self._numbers.add(number)
        return number

    def start(self) -> None:
        """The first case is posted."""
        self._post()
        self._look()

    def stop(self) -> None:
        """No more cases."""
        self._stopped = True
        for timer in (self._next, self._looking):
            if timer is not None and timer.active():
                timer.cancel()

    def asked(self, number: str, project_no: str) -> None:
        """An SMS will go to this citizen for this subject."""
        assert self._smsc.handset is not None
        if self._smsc.handset.citizen(number).behaviour not in _NO_RATING:
            self._expected[project_no] = number

    # ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _post(self) -> None:
        self._next = None
        if self._left is not None and self._posted >= self._left:
            return
        number = self.new_number()
        case_no = f"DEMO{self._run:08}{self._posted + 1:04}"
        case = made_up_case(self._chance, case_no, number, datetime.now(SHANGHAI))
        self.asked(number, case_no)
        self._posted += 1
        if self._posted % _STRANGER_EACH == 4:
            self._stranger()
        self._safely(self._send(case_no, number, case))
        self._next = self._reactor.callLater(self._chance.uniform(*_PAUSE), self._post)

    def _stranger(self) -> None:
        """Somebody whom nobody asked writes to where another was asked from: a reply that waits for a person."""
        if (to := self._asked_from) is not None:
            self._smsc.send_reply(self.new_number(), self._chance.choice(_STRANGERS_SAY), to)

    async def _send(self, case_no: str, number: str, case: dict[str, Any]) -> None:
        try:
            said = await self._desk.post(case)
        except CannotDo:
            self._expected.pop(case_no, None)
            raise
        self._say(f"工单 {case_no}　{mask(number)}　已办结，{INVITATIONS.get(said['invitation'], '不邀请评价')}")
        self._changed()

    def _safely(self, coroutine: Awaitable[None]) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(  # type: ignore[arg-type]
            lambda failure: _bugs.failure("the SMS half of the demo broke", failure)
        )

    # ── phones ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _shown(self, message: Shown) -> None:
        self.received += 1
        self._asked_from = self._asked_from or message.source
        self._say(f"短信 {mask(message.number)}　← {short(message.text)}")

    def _replied(self, reply: Reply) -> None:
        self.replies += 1
        segments = f"（{len(reply.parts)}条，乱序）" if len(reply.parts) > 1 else ""
        self._say(f"短信 {mask(reply.number)}　→ {short(reply.text)}{segments}")

    # ── ratings ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        self._looking = None
        self._safely(self._find())

    async def _find(self) -> None:
        door = self._process.door
        assert door is not None
        try:
            if self._expected:
                wanted = list(self._expected)
                found = await self._wakeups.deferred(door.read(lambda connection: _ratings(connection, wanted)))
                for one in found:
                    number = self._expected.pop(one.project_no)
                    self.ratings += 1
                    self._rated(f"短信 {mask(number)}", one.evaluation_id, one.satisfaction, one.at)
                if found:
                    self._changed()
        finally:
            if not self._stopped:
                self._looking = self._reactor.callLater(_LOOK_SECONDS, self._look)


INVITATIONS = {"waiting": "短信邀请评价", "joined": "与来电合并评价"}


def short(text: str) -> str:
    return text if len(text) <= _SHOWN_SIGNS else f"{text[:_SHOWN_SIGNS]}…"


def _ratings(connection: Connection, project_numbers: list[str]) -> list[_Rated]:
    columns = evaluations.c
    rows = connection.execute(
        select(columns.id, columns.project_no, columns.satisfaction, columns.assess_time).where(
            columns.channel == Channel.SMS.value, columns.project_no.in_(project_numbers)
        )
    )
    return [_Rated(row.id, row.project_no, row.satisfaction, row.assess_time) for row in rows]
