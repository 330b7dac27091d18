"""`huiyin demo`: the whole line at work on one machine, in plain sight.

The server is the real one, with an embedded database in a folder of its own; Asterisk with its callers, the carrier's
SMSC with its phones, the case system and the centre are the stand-ins. Everything listens on loopback, on free ports.
What is printed is read from the database, from the phones and from what the centre holds, so that a line means what it
says.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, select
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.logger import Logger

from config.loading import load
from models.clock import SHANGHAI
from models.futures import Wakeups
from models.privacy import mask
from models.tables import evaluations
from models.terms import CallOutcome, Satisfaction
from server.demo_login import DemoLogin, demo_login
from server.demo_sms import SmsHalf, demo_smsc, demo_token
from server.errors import CannotDo
from server.logs import bridge_twisted
from server.serve import Ending, Process, Role, install_reactor, run_until_signal
from simulate.caller import Answer, CallReport, HangUp, Pace, Plan, Silent, place_call, request_line
from simulate.centre import StandInCentre
from simulate.smsc import StandInSmsc

__all__ = [
    "OUTCOMES",
    "REASONS",
    "SECRET",
    "DemoFailed",
    "MadeUpCaller",
    "Timing",
    "configuration",
    "made_up_caller",
    "run",
]

_bugs = Logger()
SECRET = "demo"  # noqa: S105 (a stand-in's, on loopback)
_PAUSE = (0.3, 2.0)  # seconds between two callers
_PACE = Pace(file=0.05, key=0.4, silence=0.5)
_ARRIVAL_SECONDS = 30.0
_FIRST_AGENT, _AGENTS = 1001, 8
_KEYS = {"1": 45, "2": 25, "3": 12, "4": 8, "5": 6}
"""How often made-up callers press each key."""
_NO_KEY = (10, 8)
"""How often they press nothing, or hang up; an SMS asks them."""
_ASKED_BY_SMS = {CallOutcome.NO_INPUT, CallOutcome.HANGUP, CallOutcome.INVALID}
_REASON_ACTS: list[Answer] = ["1", "2", Silent.SILENT]
OUTCOMES: dict[str, str] = {
    CallOutcome.NO_INPUT: "没有按键，未评价",
    CallOutcome.HANGUP: "挂机，未评价",
    CallOutcome.INVALID: "按键无效，未评价",
    CallOutcome.SKIPPED: "跳过评价",
    CallOutcome.ERROR: "系统故障，未评价",
}
REASONS = {
    "110": "无理由超过法定时间",
    "115": "服务态度差效率低",
    "209": "未在承诺时间办结",
    "213": "人员业务不熟练",
    "214": "服务态度生硬",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Lines of the configuration's sections that say when things happen."""

    sms: str
    schedule: str
    centre: str


AT_ONCE = Timing(
    sms="",
    schedule='invite_after = "1s"\nsending_hours = ["00:00", "23:59"]\n',
    centre='reason_hold = "5s"\n',
)


class DemoFailed(CannotDo):
    """A rating did not arrive."""


def run(folder: Path | None, calls: int | None) -> None:
    """Runs the demo until Ctrl-C, or until `calls` calls are over and their ratings have arrived.

    Args:
        folder: keeps the database; None: a temporary one that goes with the demo.

    Raises:
        DemoFailed: not every call was served and every rating is with the centre at the end.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huiyin-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        reactor = install_reactor()
        bridge_twisted()
        centre = StandInCentre(SECRET, journal=folder / "centre.jsonl")
        centre.listen(reactor)
        chance = random.Random()  # noqa: S311 (made-up callers)
        smsc = demo_smsc(reactor, SECRET, chance.randrange(10**6))
        process = Process(load(configuration(folder, centre.url, smsc.port), {}), tuple(Role), reactor)
        process.open()
        demo = _Demo(process, centre, reactor, calls, chance)
        assert process.database is not None
        demo.by_sms(smsc, demo_token(process.database))
        login = demo_login(process.database)
        try:
            reactor.callWhenRunning(demo.begin, folder, login)
            run_until_signal(reactor, demo.ending)
        finally:
            process.close()
    demo.sum_up()


def configuration(folder: Path, url: str, smsc_port: int, timing: Timing = AT_ONCE) -> Path:
    """A configuration as an operator would write it, beside the data."""
    file = folder / "demo.toml"
    file.write_text(
        f"""\
# Written by `huiyin demo` at each start.
[database]
url = "sqlite:///huiyin.db"
[privacy]
key_file = "privacy.key"
[ivr]
listen = "127.0.0.1:0"
max_calls = 100
[console]
listen = "127.0.0.1:0"
[sms]
service_number = "106912345"
signature = "临夏12345"
{timing.sms}[[sms.links]]
name = "demo"
host = "127.0.0.1"
port = {smsc_port}
system_id = "demo"
password = "{SECRET}"
[schedule]
calendar_warning = "0s"
{timing.schedule}[centre]
url = {json.dumps(url)}
secret = "{SECRET}"
{timing.centre}""",
        encoding="utf-8",
    )
    return file


@dataclass(frozen=True, slots=True)
class MadeUpCaller:
    """A made-up caller and what they will do."""

    number: str
    agent: int
    plan: Plan

    def __str__(self) -> str:
        return f"来电 {mask(self.number)}　坐席 {self.agent}"


def made_up_caller(chance: random.Random, number: str, call: str, pace: Pace) -> MadeUpCaller:
    """Somebody who was served by an agent and is asked; `call` is unique."""
    agent = _FIRST_AGENT + chance.randrange(_AGENTS)
    acts: list[Answer] = [*_KEYS, Silent.SILENT, HangUp.HANG_UP]
    first = chance.choices(acts, [*_KEYS.values(), *_NO_KEY])[0]
    answers: list[Answer] = [first, first] if isinstance(first, Silent) else [first]
    if first in ("4", "5"):
        answers.append(chance.choice(_REASON_ACTS))
    plan = Plan(
        request=request_line("rate", call=call, agent=f"PJSIP/{agent}", queue="12345"),
        answers=answers,
        number=number,
        unique_id=call,
        pace=pace,
    )
    return MadeUpCaller(number, agent, plan)


class _Demo:
    def __init__(
        self,
        process: Process,
        centre: StandInCentre,
        reactor: Any,
        calls: int | None,
        chance: random.Random | None = None,
    ) -> None:
        self.ending = Ending(reactor, self._stop, say=lambda _sentence: None)
        self._process = process
        self._centre = centre
        self._reactor = reactor
        self._left = calls
        self._wakeups = Wakeups(reactor)
        self._chance = chance or random.Random()  # noqa: S311 (made-up callers)
        self._sms: SmsHalf | None = None
        self._smsc: StandInSmsc | None = None
        self._started = 0
        self._over = 0
        self._failed = 0
        self._stopping = False
        self._levels: Counter[Satisfaction] = Counter()
        self._waiting: set[str] = set()
        self._next: Any = None
        self._ending = False
        self._patience: Any = None
        self._run = self._chance.randrange(10**8)

    def by_sms(self, smsc: StandInSmsc, token: str) -> None:
        """Lets citizens rate by SMS too: half as many cases as calls."""
        self._smsc = smsc
        self._sms = SmsHalf(
            self._process,
            smsc,
            token,
            self._reactor,
            self._chance,
            cases=None if self._left is None else (self._left + 1) // 2,
            say=lambda line: _say(f"{_time()}　{line}"),
            rated=self._rated_by_sms,
            changed=self._look_for_end,
        )

    def begin(self, folder: Path, login: DemoLogin) -> None:
        web = self._process.listening["console"]
        _say("回音演示：模拟来电者按键评价、市民回复短信评价，评价落盘后推送到模拟的好差评系统。按 Ctrl-C 结束。")
        _say(f"数据目录 {folder}")
        link = self._process.listening.get("link demo", "无")
        _say(f"FastAGI {self._process.listening['ivr']}　短信网关（模拟）{link}　好差评系统（模拟）{self._centre.url}")
        _say(f"控制台 http://{web}/　用户名 {login.name}　密码 {login.password}")
        _say(f"健康 http://{web}/readyz　指标 http://{web}/metrics")
        _say("")
        if self._sms is not None:
            self._sms.start()
        self._call()

    # ── callers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self) -> None:
        self._next = None
        self._started += 1
        Deferred.fromCoroutine(self._play(self._made_up())).addErrback(
            lambda failure: _bugs.failure("a call of the demo broke", failure)
        )
        if self._left is None or self._started < self._left:
            self._next = self._reactor.callLater(self._chance.uniform(*_PAUSE), self._call)

    async def _play(self, caller: MadeUpCaller) -> None:
        host, _, port = self._process.listening["ivr"].rpartition(":")
        got_through = False
        try:
            report = await place_call(self._reactor, caller.plan, host, int(port))
            evaluation_id = await self._tell(caller, report)
            if evaluation_id:
                self._waiting.add(evaluation_id)
                Deferred.fromCoroutine(self._follow(str(caller), evaluation_id))
            elif self._sms is not None and report.outcome in _ASKED_BY_SMS:
                self._sms.asked(caller.number, f"H{caller.plan.unique_id}")
            got_through = True
        except ConnectError:
            _say(f"{_time()}　{caller}　未接通")
        finally:
            # However a call went, it is over; one not counted would keep the demo from ending.
            self._over += 1
            self._failed += not got_through
            self._look_for_end()

    def _made_up(self) -> MadeUpCaller:
        chance = self._chance
        number = self._sms.new_number() if self._sms is not None else f"1380000{chance.randrange(10_000):04}"
        return made_up_caller(chance, number, f"demo-{self._run}.{self._started}", _PACE)

    def _look_for_end(self) -> None:
        """Once all calls are over and nobody is left to rate by SMS, only the centre is waited for."""
        if self._over != self._left or self._ending:
            return
        if self._sms is not None and self._sms.waiting:
            if self._patience is None:
                self._patience = self._reactor.callLater(_ARRIVAL_SECONDS, self._end)
            return
        self._end()

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            if self._patience is not None and self._patience.active():
                self._patience.cancel()
            Deferred.fromCoroutine(self._arrived())

    async def _arrived(self) -> None:
        """All calls are over: waits for the last rating to be with the centre."""
        # Asked of the centre, not whether everybody has been told: that comes just after, with no request to look at.
        until = self._centre.until(lambda: self._waiting <= self._centre.by_id.keys())
        timer = self._reactor.callLater(_ARRIVAL_SECONDS, until.cancel)
        try:
            await until
        except CancelledError:
            pass  # sum_up says what is missing
        else:
            timer.cancel()
        if not self._stopping:  # asked again it would stop at once
            self.ending.asked()

    # ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell(self, caller: MadeUpCaller, report: CallReport) -> str:
        """Says what the call came to; the evaluation's id, "" where there is none."""
        evaluation_id = report.variables.get("HUIYIN_EVALUATION", "")
        if not evaluation_id:
            _say(f"{_time()}　{caller}　{OUTCOMES.get(report.outcome, '未评价')}")
            return ""
        door = self._process.door
        assert door is not None
        stored = await self._wakeups.deferred(door.read(lambda connection: _stored(connection, evaluation_id)))
        self._levels[stored.level] += 1
        reasons = "".join(f"　原因 {code} {REASONS.get(code, '')}" for code in stored.reasons)
        _say(f"{_time(stored.at)}　{caller}　{stored.level.chinese}{reasons}")
        return evaluation_id

    def _rated_by_sms(self, who: str, evaluation_id: str, satisfaction: int, at: datetime) -> None:
        level = Satisfaction(satisfaction)
        self._levels[level] += 1
        self._waiting.add(evaluation_id)
        _say(f"{_time(at)}　{who}　{level.chinese}")
        Deferred.fromCoroutine(self._follow(who, evaluation_id))

    async def _follow(self, who: str, evaluation_id: str) -> None:
        await self._centre.until(lambda: evaluation_id in self._centre.by_id)
        self._waiting.discard(evaluation_id)
        _say(f"{_time()}　{who}　↳ 好差评系统已收到")

    def sum_up(self) -> None:
        """The last lines.

        Raises:
            DemoFailed: a rating is not with the centre, or a call was not served.
        """
        rated = self._levels.total()
        levels = "　".join(f"{level.chinese} {self._levels[level]}" for level in Satisfaction if self._levels[level])
        _say("")
        _say(
            f"共 {self._over} 个来电，{rated} 个评价（{levels or '无'}），好差评系统已收到 {rated - len(self._waiting)} 个。"
        )
        if self._sms is not None:
            sms = self._sms
            _say(f"短信：手机收到 {sms.received} 条，市民回复 {sms.replies} 条，其中评价 {sms.ratings} 个。")
            if sms.waiting and self._left is not None:
                raise DemoFailed(f"{sms.waiting} cases or ratings by SMS did not come within {_ARRIVAL_SECONDS:.0f} s")
        if self._waiting and self._left is not None:
            raise DemoFailed(f"{len(self._waiting)} ratings are not with the centre after {_ARRIVAL_SECONDS:.0f} s")
        if self._failed and self._left is not None:
            raise DemoFailed(f"{self._failed} of {self._over} calls were not served; the log above says why")

    async def _stop(self) -> None:
        self._stopping = True
        if self._next is not None:
            self._next.cancel()
        if self._sms is not None:
            self._sms.stop()
        await self._process.stop()
        if self._smsc is not None:
            await self._smsc.stop()
        await self._centre.stop()


@dataclass(frozen=True, slots=True)
class _Stored:
    level: Satisfaction
    reasons: tuple[str, ...]
    at: datetime


def _stored(connection: Connection, evaluation_id: str) -> _Stored:
    """The evaluation as it is on disk."""
    columns = evaluations.c
    row = connection.execute(
        select(columns.satisfaction, columns.reasons, columns.assess_time).where(columns.id == evaluation_id)
    ).one()
    return _Stored(Satisfaction(row.satisfaction), tuple(filter(None, (row.reasons or "").split(","))), row.assess_time)


def _time(moment: datetime | None = None) -> str:
    return (moment or datetime.now(SHANGHAI)).astimezone(SHANGHAI).strftime("%H:%M:%S")


def _say(line: str) -> None:
    click.echo(line)
