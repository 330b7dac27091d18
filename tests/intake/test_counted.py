"""The figures' rollups are at any commit what a full count of the record finds, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from intake.answers import Fate
from intake.decide import PushCalls
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import MEASURES, rollup_days
from models.terms import CallOutcome, InvitationState, Satisfaction
from tests.intake.counting import agree, in_rollups
from tests.intake.replying import Replying, level, words
from tests.intake.sending import Sending
from tests.intake.test_calls import FACTS, RULES
from tests.moments import START

WAIT = 10
DAY = date(2026, 11, 18)


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, replace(RULES, push_calls=PushCalls.ALWAYS))


def total(database: Database, **only: Any) -> dict[str, int]:
    """The measures of all days, those of zero left out; `only`: of rows with these keys."""
    names = [column.name for column in rollup_days.columns if column.primary_key and column.name != "writer"]
    sums = dict.fromkeys(MEASURES, 0)
    for key, counts in agree(database)["rollup_days"].items():
        if all(dict(zip(names, key, strict=True))[name] == value for name, value in only.items()):
            for measure, count in zip(MEASURES, counts, strict=True):
                sums[measure] += count
    return {name: count for name, count in sums.items() if count}


def test_a_rated_call_is_one_of_each(intake: Intake, database: Database) -> None:
    intake.rate(FACTS, Satisfaction.SATISFIED, "2", hold=False).result(WAIT)
    assert total(database) == {"level_4": 1, "asked": 1, "responded": 1, "calls": 1, "offered": 1, "answered": 1}
    counts = in_rollups(database)
    [day] = counts["rollup_days"]
    assert day == (DAY, "call", "keypad", "2001", "support", "11622900", "622900")
    [hour] = counts["rollup_hours"]
    assert hour == (DAY, 10, "call", "keypad", "11622900", "622900")
    assert counts["rollup_reasons"] == {}


def test_a_rating_of_call_and_case_counts_in_each_and_was_asked_once(intake: Intake, database: Database) -> None:
    intake.rate(replace(FACTS, case_no="GD-1", closed=True), Satisfaction(5), "1", hold=False).result(WAIT)
    assert total(database, kind="call") == {
        "level_5": 1, "asked": 1, "responded": 1, "calls": 1, "offered": 1, "answered": 1,
    }  # fmt: skip
    assert total(database, kind="case") == {"level_5": 1}
    assert total(database, kind="case", agent="", queue="", dept="11622900") == {"level_5": 1}


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (CallOutcome.NOT_OFFERED, {"calls": 1}),
        (CallOutcome.NO_INPUT, {"calls": 1, "offered": 1, "asked": 1}),
        (CallOutcome.SKIPPED, {"calls": 1, "offered": 1, "asked": 1}),
        (CallOutcome.HANGUP, {"calls": 1, "offered": 1, "asked": 1}),
    ],
)
def test_a_call_that_ends_unrated(
    intake: Intake, database: Database, outcome: CallOutcome, counted: dict[str, int]
) -> None:
    intake.end_call(FACTS, outcome).result(WAIT)
    assert total(database) == counted


def test_a_call_told_of_twice_moves(intake: Intake, database: Database, clock: TurnedClock) -> None:
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    clock.turn(timedelta(hours=20))
    later = replace(FACTS, at=clock.now())
    intake.end_call(later, CallOutcome.NO_INPUT).result(WAIT)
    assert total(database) == {"calls": 1, "offered": 1, "asked": 1}
    assert total(database, day=DAY) == {}
    intake.rate(later, Satisfaction(1), "5", hold=False).result(WAIT)
    assert total(database) == {"level_1": 1, "asked": 1, "responded": 1, "calls": 1, "offered": 1, "answered": 1}


def test_a_second_rating_counts_nothing(intake: Intake, database: Database) -> None:
    for satisfaction in (5, 1):
        intake.rate(FACTS, Satisfaction(satisfaction), "1", hold=False).result(WAIT)
    assert total(database) == {"level_5": 1, "asked": 1, "responded": 1, "calls": 1, "offered": 1, "answered": 1}


def test_a_reason_that_comes_later_takes_the_place_of_none(intake: Intake, database: Database) -> None:
    def reasons() -> dict[str, int]:
        return {key[3]: count for key, (count,) in agree(database)["rollup_reasons"].items()}

    stored = intake.rate(FACTS, Satisfaction.DISSATISFIED, "4", hold=True).result(WAIT)
    assert reasons() == {"": 1}
    for _ in range(2):
        intake.give_reason(stored, ("209", "214")).result(WAIT)
        assert reasons() == {"209": 1, "214": 1}


def test_a_day_ends_at_midnight_in_shanghai(intake: Intake, database: Database, clock: TurnedClock) -> None:
    clock.turn(timedelta(hours=13, minutes=59, seconds=59))
    intake.rate(replace(FACTS, call_key="a", at=clock.now()), Satisfaction(5), "1", hold=False).result(WAIT)
    clock.turn(timedelta(seconds=1))
    intake.rate(replace(FACTS, call_key="b", at=clock.now()), Satisfaction(5), "1", hold=False).result(WAIT)
    assert total(database, day=DAY)["calls"] == 1
    assert total(database, day=DAY + timedelta(days=1))["calls"] == 1


def test_a_group_that_fails_and_runs_again_counts_once(
    keyring: Keyring, clock: TurnedClock, database: Database, make_door: Callable[..., Door]
) -> None:
    failing = [True]

    def fault(point: str) -> None:
        if point == "before-commit" and failing:
            failing.clear()
            raise OSError("made to fail")

    intake = Intake(make_door(fault=fault), keyring, clock, RULES)
    intake.rate(FACTS, Satisfaction(5), "1", hold=False).result(WAIT)
    assert not failing
    assert total(database)["level_5"] == 1


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_anew(database: Database) -> None:
    """What a test wrote into the tables by hand is counted, as a migration does."""
    with database.write_engine.begin() as connection:
        rebuild(connection)


def moved(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    return {name: change for name, change in changes.items() if change}


def test_a_reply_answers_what_was_asked_on_the_day_of_the_asking(
    record: Replying, database: Database, clock: TurnedClock
) -> None:
    record.invite(record.call(), record.case(), kind="call")
    count_anew(database)
    clock.turn(timedelta(days=2))
    record.reply(level(4))
    rated = DAY + timedelta(days=2)
    assert total(database, day=DAY, channel="sms") == {"asked": 1, "responded": 1}
    assert total(database, day=rated, kind="call") == {"level_4": 1}
    assert total(database, day=rated, kind="case") == {"level_4": 1}


def test_a_reply_to_what_was_not_known_as_asked_asks_and_answers(record: Replying, database: Database) -> None:
    record.invite(record.case(area_code="622901"), state=InvitationState.WAITING)
    count_anew(database)
    record.reply(level(5))
    assert total(database, kind="case", dept="X", area="622901") == {"asked": 1, "responded": 1, "level_5": 1}


def test_a_real_rating_takes_the_place_of_a_default(record: Replying, database: Database) -> None:
    case = record.case()
    record.default(case)
    record.invite(case, state=InvitationState.DEFAULTED, ended=timedelta(days=3))
    count_anew(database)
    assert total(database) == {"default_unasked": 1, "asked": 1}
    record.reply(level(1))
    assert total(database) == {"level_1": 1, "asked": 1, "responded": 1}


def test_what_a_citizen_says_again_changes_no_figure(record: Replying, database: Database) -> None:
    record.invite(record.case())
    record.reply(level(2))
    count_anew(database)
    before = total(database)
    record.reply(level(5))
    assert moved(before, total(database)) == {}
    assert [key[3] for key in agree(database)["rollup_reasons"]] == [""]


def test_a_reason_by_sms_takes_the_place_of_none(record: Replying, database: Database) -> None:
    record.invite(record.case())
    count_anew(database)
    record.reply(level(2))
    record.reply(words("C", letters=("C",)))
    assert [key[3] for key in agree(database)["rollup_reasons"]] == ["214"]


# ── the SMS itself ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_invitation_is_asked_when_a_link_has_it_and_not_when_it_gives_it_back(
    sending: Sending, emptied: Database
) -> None:
    identity = sending.queue()
    count_anew(emptied)
    handed = sending.hand(identity)
    assert total(emptied, channel="sms") == {"asked": 1}
    sending.answer(handed, fates=[Fate.NOT_SENT])
    assert sending.invitation_of(identity).state == "waiting"
    assert total(emptied, channel="sms") == {}
    sending.hand(identity)
    assert total(emptied, channel="sms") == {"asked": 1}


def test_what_was_asked_by_voice_is_not_asked_again_by_sms(sending: Sending, emptied: Database) -> None:
    invitation = sending.invitation(first_asked_at=START, asked_by="voice", due_at=None)
    identity = sending.queue(invitation_id=invitation)
    count_anew(emptied)
    sending.hand(identity)
    assert total(emptied, channel="sms") == {}
    assert total(emptied, channel="keypad")["asked"] == 1


# ── two processes ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)
def test_two_processes_that_write_at_once_count_what_a_full_count_finds(
    database: Database, another_door: Callable[[], Door], keyring: Keyring, clock: TurnedClock
) -> None:
    """Each with its own number; they tell of the same calls and cases, now and then of the same one at once."""
    writers = [Intake(another_door(), keyring, clock, RULES) for _ in range(2)]
    futures: list[Future[Any]] = []
    for place in range(300):
        for turn, intake in enumerate(writers):
            facts = replace(
                FACTS,
                call_key=f"c{place}" if place % 7 == 0 else f"c{place}-{turn}",
                agent=f"{2001 + place % 5}",
                case_no=f"GD-{place}-{turn}",
                closed=place % 3 == 0,
            )
            if place % 4 == turn:
                futures.append(intake.end_call(facts, CallOutcome.NO_INPUT))
            else:
                level_ = Satisfaction(1 + place % 5)
                futures.append(intake.rate(facts, level_, "1", hold=False))
        if place % 50 == 49:
            clock.turn(timedelta(hours=3))
    failed = [future for future in futures if future.exception(60) is not None]
    assert len(failed) < len(futures) / 10
    counts = total(database)
    assert counts["calls"] > 500
    with database.read_engine.connect() as connection:
        numbers = set(connection.execute(select(rollup_days.c.writer)).scalars())
    assert numbers == {1, 2}


def test_what_is_there_can_be_counted_anew(intake: Intake, database: Database) -> None:
    for place in range(3):
        intake.rate(replace(FACTS, call_key=f"c{place}"), Satisfaction(1), "5", hold=False).result(WAIT)
    before = agree(database)
    with database.write_engine.begin() as connection:
        connection.execute(rollup_days.update().values(calls=99))
    with database.write_engine.begin() as connection:
        rebuild(connection)
    assert agree(database) == before
