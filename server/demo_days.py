"""`huiyin demo --speed N`: days in minutes, so that one sees what time makes happen.

Asked by SMS, silent, reminded 评价提醒 after 24 hours; then rated, or 默认评价 at the end of the fifth working day. The
server is the real one with its usual rules; only its clock is another (models/clock.ScaledClock).

Rules kept here:

* What the program does takes real time, what it waits for simulated time. Where a wait would end while the program
  still works (an answer's patience, a hold, the wait for a receipt), the configuration has it long enough; leases are
  stretched by the speed (server/serve.py). `FASTEST` is where that ends.
* The first day is one that the working-day calendar knows, with a weekend and a holiday behind it. A case whose
  deadline is provisional is said to be.
* What is printed is read from the database, from the phones and from what the centre holds.
* With `days` there is an end: whoever is asked is asked early enough for a default before it. Then every case has to be
  rated or defaulted as its citizen behaved, and the centre has to have it.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.logger import Logger

from config.loading import load
from config.settings import Settings
from intake.workdays import DayKind, WorkingDays
from models.clock import SHANGHAI, Clock, ScaledClock
from models.database import open_database
from models.futures import Wakeups
from models.privacy import Keyring, mask
from models.tables import evaluations, messages
from models.terms import MessageKind, Origin, Satisfaction
from server.demo import OUTCOMES, REASONS, SECRET, DemoFailed, Timing, configuration, made_up_caller
from server.demo_sms import BEHAVIOURS, INVITATIONS, CaseDesk, demo_token, made_up_case, short
from server.errors import CannotDo
from server.logs import bridge_twisted
from server.serve import Ending, Process, Role, install_reactor, run_until_signal
from simulate.caller import Pace, place_call
from simulate.centre import StandInCentre
from simulate.handset import Behaviour, Handset
from simulate.smsc import Reply, Shown, SmscOptions, StandInSmsc

__all__ = ["FASTEST", "FEWEST_DAYS", "SLOWEST", "run_days"]

SLOWEST, FASTEST = 60, 43_200
"""A minute in a second; a day in two seconds. A citizen is answered within 24 hours (the most that can be configured)
or not at all, so two seconds are what the program may then take."""
FEWEST_DAYS = 9
"""From the first case to its default, with the weekend and the holiday between."""
_FIRST_DAY = date(2026, 3, 30)
"""A Monday. 清明节 makes the weekend behind it three days long, and the year goes on for long enough."""
_DAWN, _MORNING = time(7, 30), time(8, 30)
_START_SECONDS = 1.5
"""Real seconds that the server may take to start; the first day begins after them."""
_OFFICE_HOURS = time(9), time(17, 30)
_EVENING = time(21)

_LOOK_SECONDS = 0.1
_SWEEP_EACH = 5
"""Looks from one start of the sweeps to the next: their own ticks of two seconds are half an hour and more here."""
_LOOK_BACK_SECONDS = 10.0
_PATIENCE_SECONDS = 20.0
"""How long the end may take, in real seconds: what is held back for a reason still has to go."""
_CASES_A_DAY, _CALLS_A_DAY = 4, 2
_ANSWERS_AFTER = (300.0, 3 * 3600.0)  # simulated seconds
_MUCH_LATER = timedelta(hours=4)
"""Between a deadline and its default at the centre, with the grace of two hours."""
_TIMING = Timing(
    sms='answer_within = "24h"\nunknown_after = "7d"\nassembly_wait = "24h"\nconversation = "7d"\n',
    schedule='sending_hours = ["08:30", "21:00"]\n',
    centre='keypad_reason_hold = "1h"\nreason_hold = "4h"\n',
)
_CAST = (Behaviour.SILENT, Behaviour.REMINDED, Behaviour.DIGIT)
"""Who is there each day; the others as it comes."""
_NEVER_RATES = {Behaviour.SILENT, Behaviour.OPT_OUT}
_IS_REMINDED = {Behaviour.SILENT, Behaviour.REMINDED}

_WEEKDAYS = "一二三四五六日"
_HOLIDAYS = {
    "New Year's Day": "元旦",
    "Spring Festival": "春节",
    "Tomb-sweeping Day": "清明节",
    "Labour Day": "劳动节",
    "Dragon Boat Festival": "端午节",
    "Mid-autumn Festival": "中秋节",
    "National Day": "国庆节",
}
_KINDS = {
    MessageKind.INVITATION: "评价邀请",
    MessageKind.REMINDER: "评价提醒",
    MessageKind.CLARIFICATION: "请对方写清楚",
    MessageKind.REASON: "询问原因",
    MessageKind.OPTED_OUT: "退订确认",
}
_bugs = Logger()


def run_days(folder: Path | None, speed: int, days: int | None) -> None:
    """Runs simulated days until Ctrl-C, or until so many of them are over.

    Args:
        folder: keeps the database; an earlier demo's is refused. None: a temporary one.
        speed: simulated seconds in a real one, `SLOWEST` to `FASTEST`.
        days: `FEWEST_DAYS` at least.

    Raises:
        CannotDo: the folder holds an earlier run's data, whose days would be another time's.
        DemoFailed: at the end a case is neither rated nor defaulted as it should, or the centre lacks something.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huiyin-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "huiyin.db").exists():
            raise CannotDo(f"{folder} holds the data of an earlier demo; with --speed give --dir an empty folder")
        reactor = install_reactor()
        bridge_twisted()
        chance = random.Random()  # noqa: S311 (made-up people)
        seed = chance.randrange(10**6)
        centre = StandInCentre(SECRET, journal=folder / "centre.jsonl")
        centre.listen(reactor)
        smsc = StandInSmsc(
            SmscOptions(password=SECRET, receipt_delay=(0.02, 0.1)),
            handset=Handset(seed, BEHAVIOURS, delay=_ANSWERS_AFTER, speed=speed),
            seed=seed,
        )
        smsc.listen(reactor)
        settings = load(configuration(folder, centre.url, smsc.port, _TIMING), {})
        _make_database(settings)  # before the clock begins: at the fastest a second of it would be half a day
        clock = ScaledClock(
            datetime.combine(_FIRST_DAY, _DAWN, SHANGHAI) - timedelta(seconds=_START_SECONDS * speed), speed
        )
        process = Process(settings, tuple(Role), reactor, clock=clock, speed=speed)
        process.open()
        assert process.database is not None
        demo = Days(
            process,
            clock,
            centre,
            smsc,
            CaseDesk(process, demo_token(process.database), reactor),
            process.database.open_keyring(settings.privacy.key_file),
            reactor,
            chance,
            speed=speed,
            days=days,
        )
        try:
            reactor.callWhenRunning(demo.begin, folder)
            run_until_signal(reactor, demo.ending)
        finally:
            process.close()
    demo.sum_up()


def _make_database(settings: Settings) -> None:
    database = open_database(settings.database.connection_url, settings.directory)
    try:
        database.ensure_schema()
    finally:
        database.close()


@dataclass(slots=True)
class Case:
    """A case that was posted, and what became of it."""

    number: str
    behaviour: Behaviour
    deadline: datetime
    provisional: bool
    asked: bool = False
    reminded: bool = False
    rated_by: list[Evaluated] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation as it is on disk."""

    id: str
    project_no: str
    level: Satisfaction
    origin: Origin
    reasons: tuple[str, ...]
    assess_time: datetime
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Evaluated:
        return cls(
            row.id,
            row.project_no,
            Satisfaction(row.satisfaction),
            Origin(row.origin),
            tuple(filter(None, (row.reasons or "").split(","))),
            row.assess_time,
            row.created_at,
        )

    @property
    def is_default(self) -> bool:
        return self.origin is Origin.DEFAULT


class Days:
    """See the module."""

    def __init__(
        self,
        process: Process,
        clock: Clock,
        centre: StandInCentre,
        smsc: StandInSmsc,
        desk: CaseDesk,
        keyring: Keyring,
        reactor: Any,
        chance: random.Random,
        *,
        speed: int,
        days: int | None,
    ) -> None:
        self.ending = Ending(reactor, self._stop, say=lambda _sentence: None)
        self._process = process
        self._clock = clock
        self._centre = centre
        self._smsc = smsc
        self._desk = desk
        self._keyring = keyring
        self._reactor = reactor
        self._chance = chance
        self._speed = speed
        self._days = days
        morning = datetime.combine(_FIRST_DAY, _MORNING, SHANGHAI)
        self._end = None if days is None else morning + timedelta(days=days)
        self._pace = Pace(*(min(most, of / speed) for most, of in ((0.05, 60), (0.4, 600), (0.5, 900))))
        self._wakeups = Wakeups(reactor)
        self._calendar = WorkingDays()
        self._working_days = process.settings.schedule.default_after_working_days
        self._area = process.settings.hotline.area_code
        self._who: dict[str, str] = {}
        """How somebody is told of, by number and by project_no."""
        self._cases: dict[str, Case] = {}
        self._by_number: dict[str, Case] = {}
        self._asked: set[str] = set()
        """Numbers whose phone has shown an invitation."""
        self._evaluated: dict[str, Evaluated] = {}
        self._not_there: dict[str, Evaluated] = {}
        """Evaluations that the centre does not have yet."""
        self._on_phones: list[tuple[datetime, Shown | Reply]] = []
        self._lines: list[tuple[datetime, str]] = []
        """What is to be told at the end of a look, in the order of its time."""
        self._plan: list[tuple[datetime, bool]] = []
        """What is still to come today: when, and whether it is a case."""
        self._day: date | None = None
        self._night_told: date | None = None
        self._unknown_told = False
        self._last_told = False
        self._looked_at = self._told_at = clock.now()
        self._looks = 0
        self._counts: Counter[str] = Counter()
        self._patient_since: float | None = None
        self._timer: Any = None
        self._looking: Deferred[None] | None = None
        self._stopping = False
        smsc.on_shown = lambda message: self._on_phones.append((clock.now(), message))
        smsc.on_reply = lambda reply: self._on_phones.append((clock.now(), reply))

    def begin(self, folder: Path) -> None:
        rate = f"一天约 {86400 / self._speed:.0f} 秒"
        until = f"模拟 {self._days} 天后结束，按 Ctrl-C 可提前结束" if self._days is not None else "按 Ctrl-C 结束"
        _say(f"回音演示（模拟时间，{self._speed} 倍速，{rate}）：邀请评价 → 24小时未评价则提醒 → 第5个工作日结束仍未")
        _say(f"评价则默认为基本满意。每行开头是模拟的日期和时间（{_FIRST_DAY.year}年）。{until}。")
        _say(f"数据目录 {folder}　指标 http://{self._process.listening['console']}/metrics")
        self._look()

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        self._timer = None
        self._looking = Deferred.fromCoroutine(self._look_once())
        self._looking.addErrback(self._broken)
        self._looking.addCallback(self._look_again)

    def _look_again(self, _: object) -> None:
        self._looking = None
        if not self._stopping:
            self._timer = self._reactor.callLater(_LOOK_SECONDS, self._look)

    def _broken(self, failure: Any) -> None:
        _bugs.failure("the demo broke", failure)
        self._counts["broken"] += 1
        if not self._stopping:
            self.ending.asked()

    async def _look_once(self) -> None:
        now = self._clock.now().astimezone(SHANGHAI)
        if now.date() != self._day:
            self._new_day(now)
        while self._plan and self._plan[0][0] <= now:
            _, is_case = self._plan.pop(0)
            self._safely(self._case() if is_case else self._call())
        self._looks += 1
        if self._looks % _SWEEP_EACH == 0 and (ticker := self._process.ticker) is not None:
            ticker.run("reminders")
            ticker.run("defaults")
        await self._read()
        for evaluation in [one for one in self._not_there.values() if one.id in self._centre.by_id]:
            self._arrived(evaluation)
        if now.time() >= _EVENING and self._night_told != now.date():
            self._night_told = now.date()
            self._lines.append((now, "夜间不发短信，次日 08:30 继续"))
        self._tell()
        if self._end is not None and now >= self._end:
            self._look_for_end()

    def _look_for_end(self) -> None:
        if self._patient_since is None:
            self._patient_since = self._reactor.seconds()
        waited = self._reactor.seconds() - self._patient_since
        if (not self._not_there or waited > _PATIENCE_SECONDS) and not self._stopping:
            self.ending.asked()

    async def _read(self) -> None:
        """What is new on the phones and on disk."""
        door = self._process.door
        assert door is not None
        on_phones, self._on_phones = self._on_phones, []
        numbers = {self._keyring.hash(f"+86{one.number}") for _, one in on_phones if isinstance(one, Shown)}
        since = self._looked_at - timedelta(seconds=_LOOK_BACK_SECONDS * self._speed)
        self._looked_at = self._clock.now()
        sent, found = await self._wakeups.deferred(door.read(partial(_news, numbers=list(numbers), since=since)))
        for at, one in on_phones:
            self._shown(at, one, sent) if isinstance(one, Shown) else self._replied(at, one)
        for evaluation in found:
            if evaluation.id not in self._evaluated:
                self._rated(evaluation)

    def _tell(self) -> None:
        lines, self._lines = self._lines, []
        for at, line in sorted(lines, key=lambda pair: pair[0]):
            # What was seen a look late is told with the time of the line before it: no line goes back in time.
            self._told_at = max(at, self._told_at)
            _say(f"{self._told_at.astimezone(SHANGHAI):%m-%d %H:%M}　{line}")

    def _safely(self, coroutine: Any) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(self._broken)

    # ── what happens by day ───────────────────────────────────────────────────────────────────────────────────────────

    def _new_day(self, now: datetime) -> None:
        self._tell()
        self._day = today = now.date()
        answer = self._calendar.day(today, self._area)
        weekend = today.weekday() >= 5
        holiday = _HOLIDAYS.get(answer.name or "")
        kind = {
            DayKind.WORKS: "调休上班，计入期限" if weekend else "工作日",
            DayKind.OFF: f"{holiday}放假，不计入期限" if holiday else "周末，不计入期限",
            DayKind.UNKNOWN: f"{today.year}年的放假安排尚未公布",
        }[answer.kind]
        due = sum(
            not case.rated_by and case.deadline.astimezone(SHANGHAI).date() == today for case in self._cases.values()
        )
        waiting = f"　{due} 个未评价的工单今天 24:00 到期" if due else ""
        _say("")
        _say(f"── {today.month}月{today.day}日 周{_WEEKDAYS[today.weekday()]}　{kind}{waiting}")
        self._plan = []
        if answer.kind is DayKind.OFF or (answer.kind is DayKind.UNKNOWN and weekend):
            return
        opens, closes = (datetime.combine(today, at, SHANGHAI) for at in _OFFICE_HOURS)
        opens = max(opens, now)
        deadline = self._calendar.deadline(now, self._working_days, self._area)
        if deadline.provisional:
            self._say_unknown(deadline.at.astimezone(SHANGHAI).year)
        in_time = self._end is None or deadline.at + _MUCH_LATER < self._end
        if not in_time and not self._last_told:
            self._last_told = True
            _say("   此后不再有新工单，好让已有工单的期限都在演示结束前到期")
        kinds = [True] * _CASES_A_DAY * in_time
        if self._end is None or closes + timedelta(days=1) < self._end:
            kinds += [False] * _CALLS_A_DAY
        if opens < closes:
            self._plan = sorted((opens + self._chance.random() * (closes - opens), kind) for kind in kinds)

    def _say_unknown(self, year: int) -> None:
        if not self._unknown_told:
            self._unknown_told = True
            _say(f"   注意：{year}年的放假安排尚未公布，期限只是暂定，到期不作默认评价（导入：huiyin calendar import）")

    def _new_number(self) -> str:
        while (number := f"13800{self._chance.randrange(10**6):06}") in self._who:
            pass
        return number

    async def _case(self) -> None:
        handset = self._smsc.handset
        assert handset is not None
        now = self._clock.now()
        number = self._new_number()
        self._counts["cases"] += 1
        place = (self._counts["cases"] - 1) % _CASES_A_DAY
        case_no = f"DEMO{now.astimezone(SHANGHAI):%m%d}{place + 1:02}"
        if place < len(_CAST):
            level = self._chance.choices(list(handset.levels), list(handset.levels.values()))[0]
            handset.cast(number, _CAST[place], level)
        who = self._who[number] = self._who[case_no] = f"工单 {case_no}　{mask(number)}"
        said = await self._desk.post(made_up_case(self._chance, case_no, number, now))
        deadline = datetime.fromisoformat(said["deadline"])
        case = Case(number, handset.citizen(number).behaviour, deadline, said["provisional"])
        case.asked = number in self._asked  # the SMS may be there before the answer to the post is
        self._cases[case_no] = self._by_number[number] = case
        due = f"{deadline.month}月{deadline.day}日"
        what = "暂定，到期不作默认评价" if case.provisional else f"第{self._working_days}个工作日"
        invited = INVITATIONS.get(said["invitation"], "不邀请评价")
        self._lines.append((now, f"{who}　已办结，{invited}，期限 {due}（{what}）"))

    async def _call(self) -> None:
        self._counts["calls"] += 1
        number = self._new_number()
        call = f"demo-{self._counts['calls']}.1"
        caller = made_up_caller(self._chance, number, call, self._pace)
        who = self._who[number] = self._who[f"H{call}"] = str(caller)
        host, _, port = self._process.listening["ivr"].rpartition(":")
        try:
            report = await place_call(self._reactor, caller.plan, host, int(port))
        except ConnectError:
            self._counts["unserved"] += 1
            self._lines.append((self._clock.now(), f"{who}　未接通"))
            return
        if not report.variables.get("HUIYIN_EVALUATION"):
            self._lines.append((self._clock.now(), f"{who}　{OUTCOMES.get(report.outcome, '未评价')}"))

    # ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _shown(self, at: datetime, message: Shown, sent: Sequence[Any]) -> None:
        kinds = [MessageKind(row.kind) for row in sent if row.text and message.text.endswith(row.text)]
        kind = kinds[-1] if kinds else None
        if kind is MessageKind.INVITATION:
            self._asked.add(message.number)
        if (case := self._by_number.get(message.number)) is not None:
            case.asked = case.asked or kind is MessageKind.INVITATION
            case.reminded = case.reminded or kind is MessageKind.REMINDER
        self._counts["received"] += 1
        name = _KINDS[kind] if kind is not None and kind in _KINDS else "短信"
        self._lines.append((at, f"{self._who[message.number]}　← {name}　{short(message.text)}"))

    def _replied(self, at: datetime, reply: Reply) -> None:
        self._counts["replies"] += 1
        self._lines.append((at, f"{self._who[reply.number]}　→ {short(reply.text)}"))

    def _rated(self, evaluation: Evaluated) -> None:
        self._evaluated[evaluation.id] = self._not_there[evaluation.id] = evaluation
        case = self._cases.get(evaluation.project_no)
        if case is not None:
            case.rated_by.append(evaluation)
        who = self._who.get(evaluation.project_no, evaluation.project_no)
        reasons = "".join(f"　原因 {code} {REASONS.get(code, '')}" for code in evaluation.reasons)
        if evaluation.is_default:
            day = evaluation.assess_time.astimezone(SHANGHAI)
            until = f"{day.month}月{day.day}日 24:00"
            line = f"{who}　默认评价 {evaluation.level.chinese}（到 {until} 未评价，宽限2小时后记入）"
        else:
            line = f"{who}　评价 {evaluation.level.chinese}{reasons}"
            if case is not None and case.reminded:
                line += "（提醒后）"
                self._counts["rated after the reminder"] += 1
        self._lines.append((evaluation.created_at, line))

    def _arrived(self, evaluation: Evaluated) -> None:
        del self._not_there[evaluation.id]
        held = self._centre.by_id[evaluation.id]
        line = f"{self._who.get(evaluation.project_no, evaluation.project_no)}　↳ 好差评系统已收到"
        if str(held["isdefault"]) == "1":
            self._counts["defaults at the centre"] += 1
            line += f"（默认评价 isdefault={held['isdefault']}，评价时间 {held['assessTime']}）"
        elif not evaluation.reasons and (codes := str(held.get("evalDetail") or "")):
            line += f"（原因 {'、'.join(f'{code} {REASONS.get(code, str())}' for code in codes.split(','))}）"
        self._lines.append((self._clock.now(), line))

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def sum_up(self) -> None:
        """The last lines.

        Raises:
            DemoFailed: with `days`: something is not as the rules say; says what.
        """
        cases = self._cases.values()
        counts = self._counts
        defaulted = sum(any(one.is_default for one in case.rated_by) for case in cases)
        rated = sum(bool(case.rated_by) for case in cases) - defaulted
        calls = sum(one.project_no not in self._cases for one in self._evaluated.values())
        there = len(self._evaluated) - len(self._not_there)
        _say("")
        _say(
            f"工单 {len(cases)} 个，短信邀请 {sum(case.asked for case in cases)} 个，"
            f"提醒 {sum(case.reminded for case in cases)} 个；"
            f"市民评价 {rated} 个（提醒后 {counts['rated after the reminder']} 个），默认评价 {defaulted} 个。"
        )
        _say(
            f"来电 {counts['calls']} 个，评价 {calls} 个。"
            f"手机收到短信 {counts['received']} 条，市民回复 {counts['replies']} 条。"
        )
        _say(
            f"好差评系统已收到 {there} 个评价（共 {len(self._evaluated)} 个），"
            f"其中默认评价 {counts['defaults at the centre']} 个。"
        )
        if self._end is not None and (wrong := self._wrong()):
            raise DemoFailed("; ".join(wrong))

    def _wrong(self) -> list[str]:
        counts = self._counts
        if self._end is not None and self._clock.now() < self._end and not counts["broken"]:
            return ["stopped before its last day"]
        wrong = [sentence for case_no, case in self._cases.items() for sentence in self._wrong_with(case_no, case)]
        wrong += [f"{counts[what]} {said}" for what, said in _COUNTED_AS_WRONG.items() if counts[what]]
        if self._not_there:
            wrong.append(f"{len(self._not_there)} evaluations are not with the centre")
        if not self._cases:
            wrong.append("no case was posted: stopped too early, or too slow a machine for this --speed")
        return [*wrong, *self._centre.violations, *self._smsc.violations]

    def _wrong_with(self, case_no: str, case: Case) -> list[str]:
        """What is not as the rules and this citizen's behaviour would have it."""
        wrong = [] if case.asked else [f"{case_no} was not asked"]
        if case.behaviour in _IS_REMINDED and not case.reminded:
            wrong.append(f"{case_no} was not reminded of")
        if case.provisional:
            return wrong
        if len(case.rated_by) != 1:
            return [*wrong, f"{case_no} has {len(case.rated_by)} evaluations, not one"]
        (only,) = case.rated_by
        held = self._centre.by_id.get(only.id, {})
        if only.is_default != (case.behaviour in _NEVER_RATES):
            wrong.append(f"{case_no} is {only.origin}, and its citizen is one who answers as: {case.behaviour}")
        if only.is_default and (
            only.assess_time != case.deadline or only.level is not Satisfaction.BASICALLY_SATISFIED
        ):
            wrong.append(f"{case_no} has a default of another level or time than its deadline's")
        if held and str(held["isdefault"]) != str(int(only.is_default)):
            wrong.append(f"{case_no} has another isdefault with the centre")
        return wrong

    async def _stop(self) -> None:
        self._stopping = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._process.stop()
        await self._smsc.stop()
        await self._centre.stop()


_COUNTED_AS_WRONG = {"unserved": "calls were not served", "broken": "parts of the demo broke; the log above says why"}


def _news(
    connection: Connection, *, numbers: Sequence[bytes], since: datetime
) -> tuple[Sequence[Any], list[Evaluated]]:
    """What was sent to these numbers, oldest first, and the evaluations stored since."""
    sent = connection.execute(
        select(messages.c.kind, messages.c.text)
        .where(messages.c.number_hash.in_(numbers), messages.c.direction == "out", messages.c.handed_at.is_not(None))
        .order_by(messages.c.id)
    ).all()
    columns = evaluations.c
    rows = connection.execute(
        select(
            columns.id,
            columns.project_no,
            columns.satisfaction,
            columns.origin,
            columns.reasons,
            columns.assess_time,
            columns.created_at,
        )
        .where(columns.created_at >= since)
        .order_by(columns.created_at)
    )
    return sent, [Evaluated.of(row) for row in rows]


def _say(line: str) -> None:
    click.echo(line)
