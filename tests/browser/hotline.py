"""A hotline at work for the tests in a browser: `huiyin serve` with every role, a stand-in centre and SMSC, people of
each role, and a day's record that came in the way it does in the field: callers over FastAGI, cases over the API,
replies by SMS, the centre's answers.

What is in it is said in the tables below, so that a test may count on it; what a test adds is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from console.passwords import Passwords
from console.people import add_user
from console.tokens import Scope, add_token
from console.viewer import ConsoleRole
from models.clock import SHANGHAI, SystemClock
from models.database import open_database
from tests.faults.processes import Centre, until
from tests.faults.sms import SERVICE, Smsc, SmsServer
from tests.faults.wallclock import WallClock
from tests.server.running import Caller

__all__ = ["BUILDING", "CALLS", "CASES", "PASSWORD", "PEOPLE", "WATER", "Call", "Case", "Hotline", "Person"]

PASSWORD = "Klee+Blatt-7"
BUILDING, WATER = "11622900MB0000001A", "11622900MB0000002B"
"""Departments, by their code."""
SCRIPTED = "<script>alert()</script>"
"""What somebody writes who would like a supervisor's browser to do something."""


@dataclass(frozen=True)
class Person:
    name: str
    role: ConsoleRole
    depts: tuple[str, ...] = ()


PEOPLE = {
    person.role: person
    for person in (
        Person("马班长", ConsoleRole.SUPERVISOR),
        Person("住建局", ConsoleRole.DEPARTMENT, (BUILDING,)),
        Person("审计", ConsoleRole.AUDITOR),
        Person("管理", ConsoleRole.ADMIN),
    )
}


@dataclass(frozen=True)
class Call:
    """`keys`: what the caller presses, question by question; none: silence. `number`: where it matters."""

    key: str
    agent: str
    keys: str
    queue: str = "zixun"
    dept: str = ""
    number: str = ""


CALLS = (
    Call("c01", "2001", "1"),
    Call("c02", "2001", "1"),
    Call("c03", "2001", "2"),
    Call("c04", "2001", "3"),
    Call("c05", "2001", "1"),
    # The agent with the most bad ratings: 115 服务态度差效率低 twice, 214 服务态度生硬 once.
    Call("c06", "2002", "52", "tousu", BUILDING, "13800002006"),
    Call("c07", "2002", "52", "tousu"),
    Call("c08", "2002", "43", "tousu"),
    Call("c09", "2002", "1", "tousu"),
    Call("c10", "2002", "2", "tousu"),
    Call("c11", "2003", "1"),
    Call("c12", "2003", "2"),
    Call("c13", "2003", "2"),
    Call("c14", "2003", "42"),
    Call("c15", "2003", "1"),
    Call("c16", "2001", ""),
    Call("c17", "2003", ""),
    Call("c18", "2003", ""),
)


@dataclass(frozen=True)
class Case:
    """`replies`: what its citizen writes, one after the other; `level`: what they mean by it, None: nothing clear."""

    no: str
    title: str
    dept: str
    dept_name: str
    number: str | None
    replies: tuple[str, ...] = ()
    level: int | None = None


_BUILDING, _WATER = (BUILDING, "临夏州住房和城乡建设局"), (WATER, "临夏州水务局")
CASES = (
    Case("LX0001", "小区路灯不亮", *_BUILDING, "13800003001", ("1",), 5),
    Case("LX0002", "道路积水", *_BUILDING, "13800003002", ("5", f"办理太慢{SCRIPTED}没人管"), 1),
    Case("LX0003", "自来水水压低", *_WATER, "13800003003", ("2",), 4),
    Case("LX0004", "水表读数有误", *_WATER, "13800003004", ("看情况吧", "再说吧")),
    Case("LX0005", "噪声扰民", *_BUILDING, "13800003005"),
    Case("LX0006", "匿名反映占道经营", *_BUILDING, None),
    Case("LX0007", "停水没有通知", *_WATER, "13800003007", ("4",), 2),
    Case("LX0008", "公租房申请", *_BUILDING, "13800003008", ("满意，谢谢",), 4),
)
REFUSED = "LX0003"
"""The case whose evaluation the centre refuses: a dead letter."""
STRANGER = ("13800003099", "不满意，没人管")
"""Somebody who was never written to."""


_BEHIND_A_PROXY = {"HUIYIN_CONSOLE__PROXIES": '["127.0.0.1"]'}
"""So that a test may come from an address of its own."""


LONGEST = timedelta(minutes=25)
"""What the tests in a browser may take together."""


def ahead(now: datetime) -> timedelta:
    """How far the hotline's clock is ahead: past midnight where that would come during the tests, which look at the
    record of one day."""
    here = now.astimezone(SHANGHAI)
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), SHANGHAI)
    left = midnight - here
    return left + timedelta(minutes=1) if left < LONGEST else timedelta(0)


class Hotline:
    """See the module.

    Args:
        directory: for the database, its key and the configuration.
    """

    def __init__(self, directory: Path) -> None:
        self.centre = Centre(directory)
        self._closing: list[Any] = [self.centre]
        try:
            self.smsc = Smsc(behaviours=("silent=1",))
            self._closing.append(self.smsc)
            self.server, self.department_token = _prepared(directory, self.centre, self.smsc)
            self._closing.append(self.server)
            started = datetime.now(UTC)
            self.ahead = ahead(started)
            clock = WallClock(directory, started + self.ahead).env if self.ahead else {}
            self.server.start(env={**_BEHIND_A_PROXY, **clock})
        except BaseException:
            self.close()
            raise

    @property
    def web(self) -> str:
        return self.server.web

    def close(self) -> None:
        for one in reversed(self._closing):
            one.close()

    # ── what happens at a hotline ─────────────────────────────────────────────────────────────────────────────────────

    def answer(self, call: Call) -> Caller:
        """A call whose caller hears the question and has not pressed yet."""
        values = {"call": call.key, "agent": f"PJSIP/{call.agent}", "queue": call.queue, "dept": call.dept}
        caller = Caller(
            self.server.port,
            number=call.number or f"1390000{sum(map(ord, call.key)) % 10_000:04}",
            **{name: value for name, value in values.items() if value},
        )
        assert caller.until("EXEC"), "the caller was not asked"
        return caller

    def take(self, call: Call) -> None:
        """A whole call."""
        caller = self.answer(call)
        for place, key in enumerate(call.keys):
            assert place == 0 or caller.until("EXEC"), "the caller was not asked again"
            caller.press(key)
        if not call.keys:
            caller.silent()
        caller.finish()
        assert caller.variables["HUIYIN_OUTCOME"] == ("rated" if call.keys else "no_input"), caller.variables

    def post(self, cases: Sequence[Case]) -> None:
        """The case system's word that these cases are closed."""
        now = (datetime.now(UTC) + self.ahead).isoformat(timespec="seconds")
        bodies: list[Mapping[str, Any]] = [
            {
                "case_no": case.no,
                "title": case.title,
                "phone": case.number,
                "closed_at": now,
                "dept_code": case.dept,
                "dept_name": case.dept_name,
            }
            for case in cases
        ]
        assert self.server.post(bodies) == [201] * len(cases)

    def asked(self, number: str, times: int = 1) -> list[str]:
        """What a phone shows, once so many SMS are on it."""
        shown: list[str] = until(
            f"{times} SMS on a phone",
            lambda: found if len(found := self._shown(number)) >= times else None,
        )
        return shown

    def _shown(self, number: str) -> list[str]:
        return [one["text"] for one in self.smsc.shown() if one["number"] == number]

    def write(self, number: str, text: str, *, to: str = "") -> None:
        """A citizen's SMS; returns once it has been read. `to`: by default what last wrote to them."""
        read = "SELECT count(*) FROM messages WHERE direction = 'in' AND state NOT IN ('unread', 'partial')"
        before = self.server.number(read)
        self.smsc.ask("POST", "replies", {"number": number, "text": text, **({"to": to} if to else {})})
        until("a reply to be read", lambda: self.server.number(read) > before)

    def refuse(self, *case_numbers: str) -> None:
        """Whose evaluations the centre refuses from now on."""
        self.centre.plan(*({"kind": "refuse", "record": number, "times": None} for number in case_numbers))

    def subject(self, case_no: str) -> str:
        """The subject's id of a case."""
        return str(self.server.rows(f"SELECT subject_id FROM cases WHERE case_no = '{case_no}'")[0][0])

    def waiting_reply(self, reason: str) -> str:
        """The id of a reply that waits for a person, for this reason."""
        return str(self.server.rows(f"SELECT id FROM messages WHERE queue = '{reason}' ORDER BY id")[0][0])

    def evaluation(self, case_no: str) -> str:
        """The id of a case's evaluation in effect."""
        statement = "SELECT e.id FROM evaluations e JOIN cases c USING (subject_id) WHERE e.effective AND c.case_no = "
        return str(self.server.rows(f"{statement}'{case_no}'")[0][0])

    # ── the day ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def fill(self, calls: Sequence[Call] = CALLS, cases: Sequence[Case] = CASES) -> None:
        """All these calls and cases, with their replies, until nothing is under way any more."""
        self.refuse(REFUSED)
        for call in calls:
            self.take(call)
        self.post(cases)
        written: dict[str, int] = {}
        for case in cases:
            for reply in case.replies:
                assert case.number is not None
                written[case.number] = written.get(case.number, 0) + 1
                self.asked(case.number, written[case.number])
                self.write(case.number, reply)
        self.write(*STRANGER, to=SERVICE)
        levels = dict(
            self.server.rows("SELECT c.case_no, e.satisfaction FROM evaluations e JOIN cases c USING (subject_id)")
        )
        assert levels == {case.no: case.level for case in cases if case.level is not None}
        until("one dead letter, and nothing else on its way to the centre", self._pushed)

    def _pushed(self) -> bool:
        return [row[0] for row in self.server.rows("SELECT state FROM outbox")] == ["dead"]


def _prepared(directory: Path, centre: Centre, smsc: Smsc) -> tuple[SmsServer, str]:
    """A server that was never started, with its people and an intake token; and a department's token to read."""
    (directory / "var").mkdir()
    database = open_database("sqlite:///var/huiyin.db", directory)
    database.ensure_schema()
    database.open_keyring(directory / "var" / "privacy.key")
    now, hashed = SystemClock().now(), Passwords().hash(PASSWORD)
    with database.write_engine.begin() as connection:
        token = add_token(connection, now, "case-system", Scope.INTAKE)
        reader = add_token(connection, now, "zhujian", Scope.READ, depts=(BUILDING,))
        for person in PEOPLE.values():
            add_user(connection, now, person.name, person.role, hashed, depts=person.depts, actor="command_line")
    database.close()
    server = SmsServer(
        directory,
        centre,
        smsc_port=smsc.port,
        token=token,
        more=('invite_after = "1s"',),
    )
    return server, reader
