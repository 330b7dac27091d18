"""Two and a half months, hour by hour: 2026-12-15 to 2027-02-28, over New Year, 春节 and a year that nobody knows until
it is imported. What became of each case is compared with a few lines that know nothing of the code under test.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from intake.calendars import DayLine, ImportCalendar, YearLine
from intake.casebook import CaseRules
from intake.cases import CaseDesk, Poster
from intake.deadlines import DeadlineRules
from intake.defaults import GROUP, DefaultDue, DefaultRules
from intake.invitations import ExpireInvitations, InviteDue
from intake.manners import SendingRules
from intake.posted import read_case
from intake.recompute import RecomputeDeadlines
from intake.reminders import RemindDue, ReminderRules
from intake.workdays import DayEntry, YearEntry
from models.clock import SHANGHAI, TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import cases, evaluations, invitation_members, invitations, messages, outbox, ratings
from tests.intake.replying import KEYS, WAIT, Replying, level
from tests.intake.sending import Sending

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = datetime(2026, 12, 15, 0, 0, tzinfo=SHANGHAI)
LAST = datetime(2027, 2, 28, 23, 0, tzinfo=SHANGHAI)
IMPORTED = datetime(2027, 1, 7, 15, 0, tzinfo=SHANGHAI)
"""When 2027 becomes known: later than some of its deadlines."""
CASES_A_DAY = 4
SYSTEM = Poster("gongdan", "token:gongdan")

OFF = {
    date(2027, 1, 1): "元旦",
    date(2027, 2, 5): "春节",
    date(2027, 2, 8): "春节",
    date(2027, 2, 9): "春节",
    date(2027, 2, 10): "春节",
    date(2027, 2, 11): "春节",
    date(2027, 2, 12): "春节",
}
MADE_UP = {date(2027, 1, 31): "春节调休", date(2027, 2, 20): "春节调休"}

# ── what is to come of a case ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Citizen:
    """`answers`: so many hours after the SMS invitation; `withdrawn`: the case is, so many hours after its post."""

    case_no: str
    phone: str
    closed: datetime
    answers: int | None = None
    withdrawn: int | None = None

    @property
    def mobile(self) -> bool:
        return self.phone.startswith("138")

    @property
    def posted(self) -> datetime:
        return self.closed.replace(minute=0) + HOUR


@dataclass(frozen=True)
class Fate:
    """`reminded`: when, or why not (None: not looked at yet); `levels`: origin and when, of every evaluation."""

    deadline: datetime | None
    reminded: datetime | str | None
    levels: tuple[tuple[str, datetime], ...]


def works(day: date) -> bool:
    return day in MADE_UP or (day.weekday() < 5 and day not in OFF)


def deadline_of(closed: datetime) -> datetime:
    day, left = closed.date(), 5
    while left:
        day += DAY
        left -= works(day)
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=SHANGHAI)


def next_hour(moment: datetime) -> datetime:
    whole = moment.replace(minute=0, second=0)
    return whole if whole == moment else whole + HOUR


def in_hours(moment: datetime) -> datetime:
    """The first whole hour from then on at which SMS may go."""
    while not 9 <= moment.hour <= 20:
        moment += HOUR
    return moment


def expected(citizen: Citizen) -> Fate:
    """By the rules, in plain words (docs/rules.md)."""
    deadline = deadline_of(citizen.closed)
    due = next_hour(deadline + 2 * HOUR)
    if deadline.year == 2027:  # provisional, as long as nobody had said what 2027 is
        due = max(due, IMPORTED)
    defaulted: datetime | None = due
    withdrawn = citizen.posted + citizen.withdrawn * HOUR if citizen.withdrawn is not None else None
    if withdrawn is not None and withdrawn <= due:
        defaulted = None
    sent = in_hours(citizen.posted) if citizen.mobile else None
    if sent is not None and withdrawn is not None and withdrawn <= sent:
        sent = None
    answered = sent + citizen.answers * HOUR if sent is not None and citizen.answers is not None else None
    if answered is not None and withdrawn is not None and withdrawn <= answered:
        answered = None
    levels = []
    if answered is not None and answered <= due:
        defaulted = None
    for origin, at in (("default", defaulted), ("citizen", answered)):
        if at is not None and at <= LAST:
            levels.append((origin, at))
    return Fate(
        None if withdrawn is not None and withdrawn <= LAST else deadline,
        _reminded(citizen, sent, answered, withdrawn),
        tuple(levels),
    )


def _reminded(
    citizen: Citizen, sent: datetime | None, answered: datetime | None, withdrawn: datetime | None
) -> datetime | str | None:
    due = next_hour(citizen.closed + DAY)
    ended = [(at, why) for at, why in ((answered, "rated"), (withdrawn, "withdrawn")) if at is not None]
    if sent is not None and (not ended or min(ended)[0] > in_hours(max(due, sent + 12 * HOUR))):
        at = in_hours(max(due, sent + 12 * HOUR))
        return at if at <= LAST else None
    looked = max(due, min(ended)[0]) if ended and sent is not None else due
    if looked > LAST:
        return None
    return min(ended)[1] if ended and min(ended)[0] <= looked else "landline"


# ── what comes of it ──────────────────────────────────────────────────────────────────────────────────────────────────


def opening(moment: datetime) -> datetime:
    """08:30 to 21:00."""
    local = moment.astimezone(SHANGHAI)
    first = local.replace(hour=8, minute=30, second=0, microsecond=0)
    if local < first:
        return first
    return moment if local.hour < 21 else first + DAY


class Hotline:
    """A process whose clock is turned, its carrier and its citizens."""

    def __init__(self, door: Door, database: Database, keyring: Keyring, citizens: list[Citizen]) -> None:
        self.clock = clock = TurnedClock(FIRST)
        self.door, self.database = door, database
        self.deadlines = DeadlineRules(5, "622900")
        rules = CaseRules(
            key_map=KEYS.version,
            area_code="622900",
            service_name="12345热线",
            max_age=DAY,
            group_wait=HOUR,
            reason_hold=HOUR,
            deadlines=self.deadlines,
        )
        self.sending_rules = SendingRules(opening, 3, 2, lambda _: "mobile", lambda _: True, keyring.open)
        self.reminders = ReminderRules(DAY, self.sending_rules)
        self.defaults = DefaultRules(KEYS.version, "622900", "12345热线")
        self.desk = CaseDesk(door, keyring, clock, rules)
        self.sending = Sending(door, keyring, clock)
        self.record = Replying(door, database, keyring, clock)
        self.citizens = citizens
        self.by_hash = {keyring.hash(f"+86{one.phone}"): one for one in citizens}
        self.posts: dict[datetime, list[Citizen]] = {}
        self.withdrawals: dict[datetime, list[Citizen]] = {}
        for one in citizens:
            self.posts.setdefault(one.posted, []).append(one)
            if one.withdrawn is not None:
                self.withdrawals.setdefault(one.posted + one.withdrawn * HOUR, []).append(one)
        self.answers: dict[datetime, list[tuple[Citizen, str]]] = {}
        self.shown: dict[tuple[str, str], list[datetime]] = {}
        self.paused: set[str] = set()

    @property
    def now(self) -> datetime:
        return self.clock.now().astimezone(SHANGHAI)

    def run(self) -> None:
        while self.now <= LAST:
            self.hour()
            self.clock.turn(HOUR)

    def hour(self) -> None:
        """Everything that happens at a whole hour, in the order in which `expected` thinks of it."""
        now = self.now
        for one in self.withdrawals.get(now, ()):
            assert self.desk.withdraw(one.case_no, None, SYSTEM).result(WAIT).status == 200
        for one, code in self.answers.pop(now, ()):
            self.record.reply(level(5), raw=one.phone, code=code)
        raw = [
            {"case_no": one.case_no, "phone": one.phone, "closed_at": one.closed.isoformat()}
            for one in self.posts.get(now, ())
        ]
        for future in self.desk.post([read_case(one, now) for one in raw], SYSTEM):
            assert future.result(WAIT).status == 201
        if now == IMPORTED:
            self.learn_the_year()
        if opening(now) <= now and self.work_off(lambda: InviteDue(now, self.sending_rules)):
            self.carry()
        if self.work_off(lambda: RemindDue(now, self.reminders)):
            self.carry()
        self.work_off(lambda: DefaultDue(now, self.defaults))
        if now.hour == 0:
            self.door.submit(ExpireInvitations(now)).result(WAIT)
            self.carry()

    def work_off(self, command: Callable[[], Any]) -> int:
        """How many rows it held."""
        rows = 0
        while True:
            done = self.door.submit(command()).result(WAIT)
            if (why := getattr(done, "paused", None)) is not None:
                self.paused.add(why)
            group = int(done.total)
            rows += group
            if group < GROUP:
                return rows

    def learn_the_year(self) -> None:
        days = [DayLine("", day, DayEntry(works, name, "国办通知", True))
                for known, works in ((OFF, False), (MADE_UP, True)) for day, name in known.items()]  # fmt: skip
        years = (YearLine("", 2027, YearEntry("国办通知", True)),)
        self.door.submit(ImportCalendar(tuple(days), years, self.now, new_id())).result(WAIT)
        # No default on a deadline that is still to be computed anew.
        self.work_off(lambda: DefaultDue(self.now, self.defaults))
        assert self.paused == {"deadlines_pending"}
        while self.door.submit(RecomputeDeadlines(self.deadlines)).result(WAIT).left:
            pass

    def carry(self) -> None:
        """The carrier takes what is due, and citizens read it."""
        while claimed := self.sending.claim():
            for message in claimed:
                self.sending.answer(message, new_id())
                one = self.by_hash[message.number_hash]
                self.shown.setdefault((one.case_no, message.kind), []).append(self.now)
                if message.kind == "invitation" and one.answers is not None:
                    code = message.our_number.removeprefix("106912345")
                    self.answers.setdefault(self.now + one.answers * HOUR, []).append((one, code))

    # ── how it stands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def found(self) -> dict[str, Fate]:
        rows = self.record.rows
        subjects = {row.case_no: row for row in rows(cases)}
        asked = {row.id: row for row in rows(invitations)}
        words = {row.subject_id: asked[row.invitation_id].reminder for row in rows(invitation_members)}
        levels: dict[str, list[tuple[str, datetime]]] = {}
        for row in rows(evaluations):
            levels.setdefault(row.subject_id, []).append((row.origin, row.created_at.astimezone(SHANGHAI)))
        fates = {}
        for one in self.citizens:
            row = subjects[one.case_no]
            reminder = words.get(row.subject_id)
            fates[one.case_no] = Fate(
                row.deadline and row.deadline.astimezone(SHANGHAI),
                self.shown.get((one.case_no, "reminder"), [None])[0] if reminder == "queued" else reminder,
                tuple(levels.get(row.subject_id, ())),
            )
        return fates


def a_quarter_of(chance: random.Random) -> list[Citizen]:
    """Cases of every day and hour, and what their citizens will do."""
    made: list[Citizen] = []
    day = FIRST
    while day < LAST - 2 * DAY:
        for _ in range(CASES_A_DAY):
            n = len(made) + 1
            closed = day + timedelta(minutes=chance.randrange(1, 24 * 60 - 60))
            closed += timedelta(minutes=closed.minute == 0)
            phone = f"138{n:08d}" if chance.random() < 0.85 else f"0930{6_000_000 + n}"
            answers = chance.choice([None, None, None, 1, 5, 23, 30, 60, 200, 400])
            withdrawn = chance.choice([None] * 9 + [chance.randrange(1, 200)])
            made.append(Citizen(f"GD-{n}", phone, closed, answers, withdrawn))
        day += DAY
    return made


@pytest.mark.slow
def test_what_became_of_each_case_is_what_the_rules_say(
    emptied: Database, doors: Callable[[], Door], keyring: Keyring
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    for key in ("calendar.version", "calendar.applied", "calendar.progress"):
        emptied.write_meta(key, None)
    citizens = a_quarter_of(random.Random(seed))
    hotline = Hotline(doors(), emptied, keyring, citizens)
    hotline.run()
    found = hotline.found()
    assert len(found) == len(citizens) > 280
    wrong = {one.case_no: (one, expected(one), found[one.case_no]) for one in citizens
             if expected(one) != found[one.case_no]}  # fmt: skip
    assert not wrong, "\n".join(map(str, list(wrong.values())[:5]))

    # Nobody was asked or reminded twice, and each default is the deadline's last second, pushed once.
    assert {len(times) for (_, kind), times in hotline.shown.items() if kind in ("invitation", "reminder")} == {1}
    made = [row for row in hotline.record.rows(ratings) if row.origin == "default"]
    fates = [fate for fate in found.values() if fate.levels]
    assert len(made) == sum(fate.levels[0][0] == "default" for fate in fates)
    times = {row.rated_at.astimezone(SHANGHAI) for row in made}
    assert {f"{at:%H:%M:%S}" for at in times} == {"23:59:59"}
    assert times <= {deadline_of(one.closed) for one in citizens}
    assert all(works(at.date()) for at in times)
    assert len(hotline.record.rows(outbox)) == sum(len(fate.levels) for fate in fates)
    assert not [row for row in hotline.record.rows(messages) if row.state in ("queued", "handed")]
    # The months held what they are there for.
    assert any(at.year == 2027 and at < IMPORTED for at in times)
    assert any(len(fate.levels) == 2 for fate in fates)
    assert any(date(2027, 2, 13) < at.date() < date(2027, 2, 21) for at in times)


# The golden days of the oracle itself, by hand.
@pytest.mark.parametrize(
    ("closed", "due"),
    [
        ("2026-12-18", "2026-12-25"),
        ("2026-12-24", "2026-12-31"),
        ("2026-12-25", "2027-01-04"),
        ("2026-12-31", "2027-01-08"),
        ("2027-01-29", "2027-02-04"),
        ("2027-02-04", "2027-02-19"),
        ("2027-02-15", "2027-02-20"),
    ],
)
def test_the_few_lines_know_the_calendar(closed: str, due: str) -> None:
    assert deadline_of(datetime.fromisoformat(f"{closed}T10:00:00").replace(tzinfo=SHANGHAI)).date().isoformat() == due
