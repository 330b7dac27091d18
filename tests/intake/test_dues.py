"""What a change, a completion, a forgetting or a call does to a default that is due: none is lost, none too many.

Deadline 2026-11-25 23:59:59 in Asia/Shanghai, grace two hours.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from intake.cases import CaseDesk, Verdict
from intake.defaults import DefaultDue, Defaulted, DefaultRules
from intake.posted import read_case, read_patch
from models.clock import TurnedClock
from models.door import Door
from models.privacy import Keyring
from models.tables import cases, evaluations
from tests.intake.replying import KEYS, WAIT, Replying
from tests.intake.test_cases import RULES, SYSTEM, posted
from tests.moments import START

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
GRACE = 2 * HOUR
DEADLINE = START.replace(hour=23, minute=59, second=59) + 7 * DAY
DEFAULTS = DefaultRules(KEYS.version, "622900", "12345热线", GRACE)


class Office:
    """A case system, the clock, and the sweep of defaults."""

    def __init__(self, record: Replying, desk: CaseDesk) -> None:
        self.record, self.desk, self.clock = record, desk, record.clock

    def post(self, *raws: dict[str, Any]) -> list[Verdict]:
        read = [read_case(raw, self.clock.now()) for raw in raws]
        return [future.result(WAIT) for future in self.desk.post(read, SYSTEM)]

    def patch(self, case_no: str = "GD-1", **changes: Any) -> Verdict:
        read = read_patch(changes, self.clock.now(), case_no=case_no)
        return self.desk.patch(case_no, None, read, SYSTEM).result(WAIT)

    def withdraw(self, case_no: str) -> Verdict:
        return self.desk.withdraw(case_no, None, SYSTEM).result(WAIT)

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
    return Office(record, CaseDesk(door, keyring, clock, RULES))


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
