"""`huiyin demo`: the whole line at work on one machine, in plain sight.

The server is the real one, with an embedded database in a folder of its own; Asterisk with its callers and the centre
are the stand-ins. Everything listens on loopback, on free ports. What is printed is read from the database and from
what the centre holds, so that a line means what it says.
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
from server.errors import CannotDo
from server.logs import bridge_twisted
from server.serve import Ending, Process, Role, install_reactor, run_until_signal
from simulate.caller import Answer, CallReport, HangUp, Pace, Plan, Silent, place_call, request_line
from simulate.centre import StandInCentre

__all__ = ["DemoFailed", "run"]

_bugs = Logger()
_SECRET = "demo"  # noqa: S105 (a stand-in's, on loopback)
_PAUSE = (0.3, 2.0)  # seconds between two callers
_PACE = Pace(file=0.05, key=0.4, silence=0.5)
_ARRIVAL_SECONDS = 30.0
_FIRST_AGENT, _AGENTS = 1001, 8
_KEYS = {"1": 45, "2": 25, "3": 12, "4": 8, "5": 6}
"""How often made-up callers press each key; the rest press nothing or hang up."""
_REASON_ACTS: list[Answer] = ["1", "2", Silent.SILENT]
_OUTCOMES: dict[str, str] = {
    CallOutcome.NO_INPUT: "没有按键，未评价",
    CallOutcome.HANGUP: "挂机，未评价",
    CallOutcome.INVALID: "按键无效，未评价",
    CallOutcome.SKIPPED: "跳过评价",
    CallOutcome.ERROR: "系统故障，未评价",
}
_REASONS = {
    "110": "无理由超过法定时间",
    "115": "服务态度差效率低",
    "209": "未在承诺时间办结",
    "213": "人员业务不熟练",
    "214": "服务态度生硬",
}


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
        centre = StandInCentre(_SECRET, journal=folder / "centre.jsonl")
        centre.listen(reactor)
        process = Process(load(_configuration(folder, centre.url), {}), tuple(Role), reactor)
        process.open()
        demo = _Demo(process, centre, reactor, calls)
        try:
            reactor.callWhenRunning(demo.begin, folder)
            run_until_signal(reactor, demo.ending)
        finally:
            process.close()
    demo.sum_up()


def _configuration(folder: Path, url: str) -> Path:
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
[centre]
url = {json.dumps(url)}
secret = "{_SECRET}"
""",
        encoding="utf-8",
    )
    return file


@dataclass(frozen=True, slots=True)
class _Caller:
    """A made-up caller and what they will do."""

    number: str
    agent: int
    plan: Plan

    def __str__(self) -> str:
        return f"来电 {mask(self.number)}　坐席 {self.agent}"


class _Demo:
    def __init__(self, process: Process, centre: StandInCentre, reactor: Any, calls: int | None) -> None:
        self.ending = Ending(reactor, self._stop, say=lambda _sentence: None)
        self._process = process
        self._centre = centre
        self._reactor = reactor
        self._left = calls
        self._wakeups = Wakeups(reactor)
        self._chance = random.Random()  # noqa: S311 (made-up callers)
        self._started = 0
        self._over = 0
        self._failed = 0
        self._stopping = False
        self._levels: Counter[Satisfaction] = Counter()
        self._waiting: set[str] = set()
        self._next: Any = None
        self._run = self._chance.randrange(10**8)

    def begin(self, folder: Path) -> None:
        web = self._process.listening["console"]
        _say("回音演示：模拟来电者按键评价，评价落盘后推送到模拟的好差评平台。按 Ctrl-C 结束。")
        _say(f"数据目录 {folder}")
        _say(f"FastAGI {self._process.listening['ivr']}　好差评平台（模拟）{self._centre.url}")
        _say(f"健康 http://{web}/readyz　指标 http://{web}/metrics")
        _say("")
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

    async def _play(self, caller: _Caller) -> None:
        host, _, port = self._process.listening["ivr"].rpartition(":")
        got_through = False
        try:
            report = await place_call(self._reactor, caller.plan, host, int(port))
            evaluation_id = await self._tell(caller, report)
            if evaluation_id:
                self._waiting.add(evaluation_id)
                Deferred.fromCoroutine(self._follow(caller, evaluation_id))
            got_through = True
        except ConnectError:
            _say(f"{_time()}　{caller}　未接通")
        finally:
            # However a call went, it is over; one not counted would keep the demo from ending.
            self._over += 1
            self._failed += not got_through
            if self._over == self._left:
                Deferred.fromCoroutine(self._arrived())

    def _made_up(self) -> _Caller:
        chance = self._chance
        number = f"1380000{chance.randrange(10_000):04}"
        agent = _FIRST_AGENT + chance.randrange(_AGENTS)
        acts: list[Answer] = [*_KEYS, Silent.SILENT, HangUp.HANG_UP]
        first = chance.choices(acts, [*_KEYS.values(), 2, 2])[0]
        answers: list[Answer] = [first, first] if isinstance(first, Silent) else [first]
        if first in ("4", "5"):
            answers.append(chance.choice(_REASON_ACTS))
        call = f"demo-{self._run}.{self._started}"
        plan = Plan(
            request=request_line("rate", call=call, agent=f"PJSIP/{agent}", queue="12345"),
            answers=answers,
            number=number,
            unique_id=call,
            pace=_PACE,
        )
        return _Caller(number, agent, plan)

    async def _arrived(self) -> None:
        """All calls are over: waits for the last rating to be with the centre."""
        until = self._centre.until(lambda: not self._waiting)
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

    async def _tell(self, caller: _Caller, report: CallReport) -> str:
        """Says what the call came to; the evaluation's id, "" where there is none."""
        evaluation_id = report.variables.get("HUIYIN_EVALUATION", "")
        if not evaluation_id:
            _say(f"{_time()}　{caller}　{_OUTCOMES.get(report.outcome, '未评价')}")
            return ""
        door = self._process.door
        assert door is not None
        stored = await self._wakeups.deferred(door.read(lambda connection: _stored(connection, evaluation_id)))
        self._levels[stored.level] += 1
        reasons = "".join(f"　原因 {code} {_REASONS.get(code, '')}" for code in stored.reasons)
        _say(f"{_time(stored.at)}　{caller}　{stored.level.chinese}{reasons}")
        return evaluation_id

    async def _follow(self, caller: _Caller, evaluation_id: str) -> None:
        await self._centre.until(lambda: evaluation_id in self._centre.by_id)
        self._waiting.discard(evaluation_id)
        _say(f"{_time()}　{caller}　↳ 好差评平台已收到")

    def sum_up(self) -> None:
        """The last lines.

        Raises:
            DemoFailed: a rating is not with the centre, or a call was not served.
        """
        rated = self._levels.total()
        levels = "　".join(f"{level.chinese} {self._levels[level]}" for level in Satisfaction if self._levels[level])
        _say("")
        _say(
            f"共 {self._over} 个来电，{rated} 个评价（{levels or '无'}），平台已收到 {rated - len(self._waiting)} 个。"
        )
        if self._waiting and self._left is not None:
            raise DemoFailed(f"{len(self._waiting)} ratings are not with the centre after {_ARRIVAL_SECONDS:.0f} s")
        if self._failed and self._left is not None:
            raise DemoFailed(f"{self._failed} of {self._over} calls were not served; the log above says why")

    async def _stop(self) -> None:
        self._stopping = True
        if self._next is not None:
            self._next.cancel()
        await self._process.stop()
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
