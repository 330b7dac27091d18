"""What a change, a completion, a forgetting or a call does to a default that is due: none is lost, none too many.

Deadline 2026-11-25 23:59:59 in Asia/Shanghai, grace two hours.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from intake.cases import CaseDesk, Verdict
from intake.defaults import DefaultDue, Defaulted, DefaultRules
from intake.desk import Intake
from intake.posted import read_case, read_patch
from models.clock import TurnedClock
from models.door import Door
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import (
    audit,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    outbox,
    ratings,
    remarks,
)
from models.terms import Satisfaction
from tests.intake.counting import agree
from tests.intake.replying import KEYS, WAIT, Replying, level
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as CALLS
from tests.intake.test_cases import RULES, SYSTEM, posted
from tests.moments import START

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
GRACE = 2 * HOUR
DEADLINE = START.replace(hour=23, minute=59, second=59) + 7 * DAY
OURS = {"posted_by": SYSTEM.name}
DEFAULTS = DefaultRules(KEYS.version, "622900", "12345热线", GRACE)


class Office:
    """A case system, the clock, and the sweep of defaults."""

    def __init__(self, record: Replying, desk: CaseDesk, intake: Intake) -> None:
        self.record, self.desk, self.intake, self.clock = record, desk, intake, record.clock

    def post(self, *raws: dict[str, Any]) -> list[Verdict]:
        read = [read_case(raw, self.clock.now()) for raw in raws]
        return [future.result(WAIT) for future in self.desk.post(read, SYSTEM)]

    def patch(self, case_no: str = "GD-1", **changes: Any) -> Verdict:
        read = read_patch(changes, self.clock.now(), case_no=case_no)
        return self.desk.patch(case_no, None, read, SYSTEM).result(WAIT)

    def withdraw(self, case_no: str) -> None:
        assert self.desk.withdraw(case_no, None, SYSTEM).result(WAIT).status == 200

    def rate_in_a_call(self, satisfaction: int, case_no: str = "GD-1") -> None:
        """In the call that closes the case."""
        facts = replace(FACTS, case_no=case_no, closed=True, at=self.clock.now(), call_key=f"{self.clock.now()}")
        self.intake.rate(facts, Satisfaction(satisfaction), "", hold=False).result(WAIT)

    def batch(self, *apart: timedelta) -> str:
        """GD-1, GD-2, …, asked together by SMS; each due so long after the first one's deadline."""
        made = []
        for n, more in enumerate(apart, 1):
            made.append(self.record.case(f"GD-{n}", deadline=DEADLINE + more, default_at=DEADLINE + more, **OURS))
        return self.invite(*made)

    def invite(self, *subjects: str, **more: Any) -> str:
        """An asking that is in the figures."""
        invitation = self.record.invite(*subjects, due_at=None, **more)
        with self.record.database.write_engine.begin() as connection:
            rebuild(connection)
        return invitation

    def default(self, **changes: Any) -> Defaulted:
        command = DefaultDue(self.clock.now(), replace(DEFAULTS, **changes))
        return self.record.door.submit(command).result(WAIT)

    def until(self, after_the_deadline: timedelta) -> None:
        self.clock.turn(DEADLINE + after_the_deadline - self.clock.now())

    def case(self, case_no: str = "GD-1") -> Any:
        return self.record.one(cases, case_no=case_no)

    def levels(self) -> list[tuple[str, int, str, int, bool]]:
        """Of every evaluation: whose, its number, origin, level, whether it is effective."""
        names = {row.subject_id: row.case_no for row in self.record.rows(cases)}
        return sorted(
            (names.get(row.subject_id, "call"), row.assess_number, row.origin, row.satisfaction, bool(row.effective))
            for row in self.record.rows(evaluations)
        )


@pytest.fixture
def office(record: Replying, door: Door, keyring: Keyring, clock: TurnedClock) -> Office:
    return Office(record, CaseDesk(door, keyring, clock, RULES), Intake(door, keyring, clock, CALLS))


# ── a change in the grace ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"area_code": "622921"},
        {"closed_at": "2026-11-18T09:51:00"},
        {"closed_at": "2026-11-17T10:00:00"},
    ],
    ids=str,
)
def test_a_change_after_the_deadline_does_not_cost_the_default(office: Office, changes: dict[str, str]) -> None:
    """The case came in time: it is no backlog, whenever it is changed."""
    office.post(posted())
    office.until(HOUR)
    assert office.patch(**changes).status == 200
    assert (office.case().default_at, office.case().default_reason) == (office.case().deadline, None)
    office.until(GRACE)
    assert office.default() == Defaulted(defaulted=1)
    assert office.levels() == [("GD-1", 1, "default", 3, True)]


def test_a_post_that_completes_a_calls_case_after_its_deadline_does_not_either(office: Office) -> None:
    office.record.case(stub=True, deadline=DEADLINE, default_at=DEADLINE)
    office.until(HOUR)
    assert office.post(posted())[0].status == 201
    office.until(GRACE)
    assert office.default() == Defaulted(defaulted=1)
    assert office.levels() == [("GD-1", 1, "default", 3, True)]


def test_a_case_that_came_after_its_deadline_stays_backlog_when_it_is_changed(office: Office) -> None:
    office.until(HOUR)
    office.post(posted())
    assert office.case().default_reason == "backlog"
    office.patch(area_code="622921")
    assert (office.case().default_at, office.case().default_reason) == (None, "backlog")
    office.patch(closed_at="2026-11-25T10:00:00")
    assert (office.case().default_at, office.case().default_reason) == (office.case().deadline, None)


def test_a_deadline_that_passed_while_defaults_were_switched_off_makes_none_after_a_change(office: Office) -> None:
    office.post(posted())
    office.until(GRACE)
    assert office.default(switched_on=False) == Defaulted(skipped={"switched_off": 1})
    office.patch(area_code="622921")
    assert (office.case().default_at, office.case().default_reason) == (None, "switched_off")
    assert office.default() == Defaulted()
    office.patch(closed_at="2026-11-25T10:00:00")  # its deadline is still to come after all
    assert office.case().default_at == office.case().deadline


# ── a late rating of one of a batch ───────────────────────────────────────────────────────────────────────────────────

DEFAULTED, REPLACED = ("GD-1", 1, "default", 3, True), ("GD-1", 1, "default", 3, False)


@pytest.mark.parametrize("default_first", [True, False])
@pytest.mark.parametrize("other", ["withdrawn", "rated in its call"])
def test_a_late_rating_counts_whatever_became_of_the_others_and_when(
    office: Office, other: str, default_first: bool
) -> None:
    office.batch(timedelta(), DAY)

    def settle_the_other() -> None:
        if other == "withdrawn":
            office.withdraw("GD-2")
        else:
            office.rate_in_a_call(5, "GD-2")

    if not default_first:
        settle_the_other()
    office.until(GRACE)
    assert office.default() == Defaulted(defaulted=1)
    if default_first:
        settle_the_other()
    known = office.record.one(invitations, kind="case")
    assert (known.state, known.reason, known.number_hash) == ("defaulted", None, None)
    office.clock.turn(HOUR)
    assert office.record.reply(level(1)).outcome == "rated"
    assert office.levels()[:2] == [REPLACED, ("GD-1", 2, "citizen", 1, True)]
    assert [one for one in office.levels() if one[0] == "GD-2"] == (
        [] if other == "withdrawn" else [("GD-2", 1, "citizen", 5, True)]
    )
    assert office.record.one(ratings, channel="sms").late
    agree(office.record.database)


def test_a_case_rated_in_a_call_after_its_default_does_not_end_the_asking_of_the_others(office: Office) -> None:
    office.batch(timedelta(), DAY)
    office.until(GRACE)
    office.default()
    office.rate_in_a_call(1, "GD-1")
    assert office.record.one(invitations, kind="case").state == "asked"
    assert office.record.one(ratings, channel="keypad").late
    assert office.record.reply(level(5)).outcome == "rated"
    assert [one[1:] for one in office.levels() if one[0] == "GD-2"] == [(1, "citizen", 5, True)]
    agree(office.record.database)


def test_a_rating_in_a_call_of_the_asking_itself_leaves_a_default_to_its_reply(office: Office) -> None:
    """The call was asked about together with a case that has its default, and that it does not close."""
    record = office.record
    subject = record.case("GD-1", deadline=DEADLINE, default_at=DEADLINE)
    other = record.case("GD-2", deadline=DEADLINE + DAY, default_at=DEADLINE + DAY, **OURS)
    call = record.call(FACTS.call_key)
    office.invite(call, subject, other, kind="call")
    office.until(GRACE)
    assert office.default() == Defaulted(defaulted=1)
    office.withdraw("GD-2")
    facts = replace(FACTS, case_no=None, closed=False, at=office.clock.now())
    office.intake.rate(facts, Satisfaction(5), "1", hold=False).result(WAIT)
    office.clock.turn(HOUR)
    assert record.reply(level(1)).outcome == "rated"
    assert office.levels()[:2] == [REPLACED, ("GD-1", 2, "citizen", 1, True)]
    agree(record.database)


# ── the late window ───────────────────────────────────────────────────────────────────────────────────────────────────

WINDOW = timedelta(days=30)


@pytest.mark.parametrize(("after", "counts"), [(WINDOW, True), (WINDOW + MINUTE, False), (200 * DAY, False)])
def test_in_a_call_a_default_gives_way_inside_the_late_window(office: Office, after: timedelta, counts: bool) -> None:
    office.batch(timedelta())
    office.until(GRACE)
    office.default()
    office.clock.turn(after)
    office.rate_in_a_call(1)
    late = ("GD-1", 2, "citizen", 1, True)
    assert [one for one in office.levels() if one[0] == "GD-1"] == ([REPLACED, late] if counts else [DEFAULTED])
    assert ("call", 1, "citizen", 1, True) in office.levels()
    assert office.record.one(ratings, channel="keypad").late is counts
    [word] = [row.detail for row in office.record.rows(audit) if row.action == "rating.stored"]
    assert word == (None if counts else "too late for the case")
    assert len(office.record.rows(outbox)) == 2  # the default, and the rating: of the case, else of the call
    agree(office.record.database)


@pytest.mark.parametrize(("after", "counts"), [(WINDOW, True), (WINDOW + MINUTE, False)])
def test_in_a_batch_each_default_has_its_own_late_window(office: Office, after: timedelta, counts: bool) -> None:
    """Another case keeps the asking open for longer."""
    office.batch(timedelta(), 60 * DAY)
    office.until(GRACE)
    office.default()
    office.clock.turn(after)
    assert office.record.reply(level(1)).outcome == "rated"
    first = [REPLACED, ("GD-1", 2, "citizen", 1, True)] if counts else [DEFAULTED]
    assert office.levels() == [*first, ("GD-2", 1, "citizen", 1, True)]
    assert office.record.one(ratings, channel="sms").late is counts
    agree(office.record.database)


def test_a_reply_to_nothing_but_an_old_default_is_seen_by_a_person(office: Office) -> None:
    """The asking ended with the other one's withdrawal, long after the default."""
    office.batch(timedelta(), 60 * DAY)
    office.until(GRACE)
    office.default()
    office.clock.turn(WINDOW + DAY)
    office.withdraw("GD-2")
    taken = office.record.reply(level(1))
    assert (taken.outcome, taken.queue) == ("queued", "too_late")
    assert office.levels() == [DEFAULTED]
    assert office.record.rows(remarks) == []


# ── a theme ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("group", "after", "counts"),
    [
        ("theme_id", DAY, True),
        ("theme_id", WINDOW, True),
        ("theme_id", WINDOW + MINUTE, False),
        ("batch_id", DAY, False),
    ],
)
def test_a_themes_rating_gives_way_to_the_cases_own_in_a_call(
    office: Office, group: str, after: timedelta, counts: bool
) -> None:
    made = [office.record.case(f"GD-{n}", **{group: "T"}) for n in (1, 2)]
    office.invite(*made)
    office.record.reply(level(5))
    office.clock.turn(after)
    office.rate_in_a_call(1)
    first = ("GD-1", 1, "citizen", 5, not counts)
    own = [("GD-1", 2, "citizen", 1, True)] if counts else []
    assert [one for one in office.levels() if one[0] != "call"] == [first, *own, ("GD-2", 1, "citizen", 5, True)]
    assert office.record.one(ratings, channel="keypad").late is False
    agree(office.record.database)
    office.clock.turn(HOUR)
    office.rate_in_a_call(2)  # an own rating gives way to nothing
    assert [one for one in office.levels() if one[0] != "call"] == [first, *own, ("GD-2", 1, "citizen", 5, True)]


def test_what_was_rated_in_a_call_of_a_themes_asking_is_the_cases_own(office: Office) -> None:
    """The call has joined the asking; its rating is about the case closed in it, not about the theme."""
    made = [office.record.case(f"GD-{n}", theme_id="T") for n in (1, 2)]
    call = office.record.call(FACTS.call_key)
    office.invite(*made, call)
    facts = replace(FACTS, case_no="GD-1", closed=True, at=office.clock.now())
    office.intake.rate(facts, Satisfaction(5), "1", hold=False).result(WAIT)
    office.clock.turn(HOUR)
    office.rate_in_a_call(1)
    assert [one for one in office.levels() if one[0] == "GD-1"] == [("GD-1", 1, "citizen", 5, True)]


# ── the end of an asking ──────────────────────────────────────────────────────────────────────────────────────────────


def test_where_no_defaults_are_made_an_asking_ends_with_its_cases_time(office: Office) -> None:
    record = office.record
    office.batch(timedelta(), DAY)
    office.until(GRACE)
    assert office.default(switched_on=False) == Defaulted(skipped={"switched_off": 1})
    assert record.one(invitations).state == "asked"
    office.until(DAY + GRACE)
    assert office.default(switched_on=False) == Defaulted(skipped={"switched_off": 1})
    known = record.one(invitations)
    assert (known.state, known.reason, known.ended_at, known.number_hash) == ("expired", None, office.clock.now(), None)
    assert record.one(codes).ended_at == office.clock.now()
    assert office.levels() == []
    office.clock.turn(WINDOW)
    assert record.reply(level(4)).outcome == "rated"
    assert record.one(ratings).late
    agree(record.database)


def test_a_reply_after_that_and_the_late_window_counts_no_more(office: Office) -> None:
    office.batch(timedelta())
    office.until(GRACE)
    office.default(switched_on=False)
    office.clock.turn(WINDOW + MINUTE)
    assert office.record.reply(level(4)).queue == "too_late"
    assert office.levels() == []


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("provisional", [True, False])
def test_who_has_no_time_left_keeps_no_asking_open(office: Office, on: bool, provisional: bool) -> None:
    """One of the batch came after its deadline: backlog. A provisional one has its time still."""
    backlog = None if provisional else "backlog"
    made = [
        office.record.case("GD-1", deadline=DEADLINE, default_at=DEADLINE),
        office.record.case("GD-2", deadline=DEADLINE - DAY, default_reason=backlog, provisional=provisional),
    ]
    office.invite(*made)
    office.until(GRACE)
    office.default(switched_on=on)
    ended = "defaulted" if on else "expired"
    assert office.record.one(invitations).state == ("asked" if provisional else ended)


def test_where_a_default_stands_it_is_defaulted_though_defaults_were_switched_off_since(office: Office) -> None:
    office.batch(timedelta(), DAY)
    office.until(GRACE)
    office.default()
    office.until(DAY + GRACE)
    office.default(switched_on=False)
    assert office.record.one(invitations).state == "defaulted"


@pytest.mark.parametrize(("kind", "state"), [("case", "expired"), ("call", "asked")])
def test_an_asking_whose_cases_are_rated_elsewhere_ends_with_them_but_a_calls(
    office: Office, kind: str, state: str
) -> None:
    subject = office.record.case("GD-1", deadline=DEADLINE, default_at=DEADLINE)
    office.invite(office.record.call(), subject, kind=kind)
    office.record.rated(subject, 5)
    office.until(GRACE)
    assert office.default() == Defaulted(skipped={"rated": 1})
    assert office.record.one(invitations).state == state


def theme_asked_apart(office: Office, **more: Any) -> tuple[str, str]:
    """GD-1 of a theme is asked about with its call, GD-2 by the theme's own asking; the codes are 07 and 08."""
    first = office.record.case("GD-1", deadline=DEADLINE, default_at=DEADLINE, **{"theme_id": "T", **more})
    office.invite(office.record.call(), first, kind="call")
    second = office.record.case("GD-2", theme_id="T", deadline=DEADLINE, default_at=DEADLINE)
    office.invite(second, code="08")
    return first, second


def test_a_themes_rating_covers_the_case_that_its_call_asks_about(office: Office) -> None:
    record = office.record
    theme_asked_apart(office)
    assert record.reply(level(5), code="08").outcome == "rated"
    assert office.levels() == [("GD-1", 1, "citizen", 5, True), ("GD-2", 1, "citizen", 5, True)]
    assert len(record.rows(outbox)) == 2
    assert len(record.rows(ratings)) == 1
    assert [(row.kind, row.state) for row in record.rows(invitations)] == [("call", "asked"), ("case", "rated")]
    agree(record.database)
    office.until(GRACE)
    assert office.default() == Defaulted(skipped={"rated": 2})
    # 也可分别评价: it gives way to the case's own.
    assert record.reply(level(1), code="07").outcome == "rated"
    assert [one for one in office.levels() if one[0] != "call"] == [
        ("GD-1", 1, "citizen", 5, False),
        ("GD-1", 2, "citizen", 1, True),
        ("GD-2", 1, "citizen", 5, True),
    ]
    agree(record.database)


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("of a batch", {"batch_id": "B"}),
        ("asked about without a call of its own", {}),
    ],
)
def test_whatever_asks_about_a_case_of_the_theme(office: Office, what: str, more: dict[str, Any]) -> None:
    theme_asked_apart(office, **more)
    if what != "of a batch":
        office.record.write(delete(invitation_members).where(invitation_members.c.invitation_id.in_(
            select(invitations.c.id).where(invitations.c.kind == "call"))))  # fmt: skip
    office.record.reply(level(5), code="08")
    assert office.levels() == [("GD-1", 1, "citizen", 5, True), ("GD-2", 1, "citizen", 5, True)]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"theme_id": "another"}, []),
        ({"number_hash": b"0" * 16}, []),
        ({"withdrawn_at": START}, []),
    ],
    ids=["of another theme", "of another citizen", "withdrawn"],
)
def test_a_themes_rating_covers_nothing_else(office: Office, more: dict[str, Any], kept: list[Any]) -> None:
    theme_asked_apart(office, **more)
    office.record.reply(level(5), code="08")
    assert office.levels() == [*kept, ("GD-2", 1, "citizen", 5, True)]


def test_nor_a_case_with_a_rating_of_its_own(office: Office) -> None:
    first, _ = theme_asked_apart(office)
    office.record.rated(first, 1)
    office.record.reply(level(5), code="08")
    assert office.levels() == [("GD-1", 1, "citizen", 1, True), ("GD-2", 1, "citizen", 5, True)]


def test_what_is_said_of_one_case_of_a_theme_with_its_call_is_about_that_alone(office: Office) -> None:
    theme_asked_apart(office)
    office.record.reply(level(1), code="07")
    assert [one for one in office.levels() if one[0] != "call"] == [("GD-1", 1, "citizen", 1, True)]


def test_a_calls_case_that_is_posted_after_its_themes_rating_takes_a_copy(office: Office) -> None:
    record = office.record
    stub = record.case("GD-1", stub=True, deadline=DEADLINE, default_at=DEADLINE, theme_id=None)
    office.invite(record.call(), stub, kind="call")
    office.invite(record.case("GD-2", theme_id="T"), code="08")
    record.reply(level(5), code="08")
    assert office.post(posted("GD-1", theme_id="T"))[0].reason == "rated"
    assert office.levels() == [("GD-1", 1, "citizen", 5, True), ("GD-2", 1, "citizen", 5, True)]
    agree(record.database)
