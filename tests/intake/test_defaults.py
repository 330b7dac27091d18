"""Default ratings: the decision as a table, and what is stored of it on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import insert, update

from intake.calendars import APPLIED, VERSION
from intake.defaults import GROUP, DefaultDue, Defaulted, DefaultRules, Situation, Verdict, decide
from intake.pauses import AcceptJump, Jump, PauseForJump, Trust, read_jump
from intake.replies import TakeReply
from models.clock import SHANGHAI, SystemClock
from models.tables import (
    audit,
    cases,
    codes,
    evaluations,
    feed,
    invitations,
    messages,
    meta,
    outbox,
    ratings,
    rollup_days,
)
from models.terms import InvitationState, MessageKind, MessageState
from tests.intake.replying import KEYS, WAIT, Replying, level
from tests.moments import START

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
GRACE = 2 * HOUR
DEADLINE = START.replace(hour=23, minute=59, second=59) + 7 * DAY
RULES = DefaultRules(KEYS.version, "622900", "12345热线", GRACE)

# ── the decision ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("known", [Situation(*flags) for flags in product([False, True], repeat=3)], ids=str)
@pytest.mark.parametrize("on", [True, False])
def test_what_follows_for_a_case_whose_time_is_over(known: Situation, on: bool) -> None:
    verdict = decide(known, switched_on=on)
    if known.evaluated:
        assert verdict is Verdict.RATED
    elif known.withdrawn:
        assert verdict is Verdict.WITHDRAWN
    elif not on:
        assert verdict is Verdict.SWITCHED_OFF
    else:
        assert verdict is (Verdict.WAIT if known.unread else Verdict.DEFAULT)


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def default(record: Replying) -> Callable[..., Defaulted]:
    def run(**changes: Any) -> Defaulted:
        return record.door.submit(DefaultDue(record.clock.now(), replace(RULES, **changes))).result(WAIT)

    return run


def due_case(record: Replying, n: int = 1, **more: Any) -> str:
    """A case whose deadline is seven days from now; the number is its own."""
    values = {"deadline": DEADLINE, "default_at": DEADLINE, **more}
    return record.case(f"GD-{n}", f"138{n:08d}", **values)


def over(record: Replying, more: timedelta = timedelta()) -> None:
    """Deadline and grace are over."""
    record.clock.turn(DEADLINE + GRACE + more - record.clock.now())


def case_row(record: Replying, subject: str) -> Any:
    return record.one(cases, subject_id=subject)


def test_an_unrated_case_counts_as_basically_satisfied(record: Replying, default: Callable[..., Defaulted]) -> None:
    subject = due_case(record)
    invitation = record.invite(subject)
    over(record)
    assert default() == Defaulted(defaulted=1)
    now = record.clock.now()
    rating, evaluation = record.one(ratings), record.one(evaluations)
    assert (rating.satisfaction, rating.origin, rating.channel, rating.raw_input) == (3, "default", "system", "")
    assert (rating.invitation_id, rating.rated_at, rating.late, rating.key_map) == (
        invitation,
        DEADLINE,
        False,
        KEYS.version,
    )
    assert (evaluation.subject_id, evaluation.assess_number, evaluation.effective) == (subject, 1, True)
    assert (evaluation.satisfaction, evaluation.origin, evaluation.channel) == (3, "default", "system")
    assert evaluation.assess_time.astimezone(SHANGHAI).strftime("%F %T") == "2026-11-25 23:59:59"
    assert (evaluation.project_no, evaluation.dept_code, evaluation.dept_name, evaluation.area_code) == (
        "GD-1",
        "X",
        "住建局",
        "622900",
    )
    pushed = record.one(outbox)
    assert (pushed.evaluation_id, pushed.state, pushed.not_before) == (evaluation.id, "waiting", now)
    assert [(row.kind, row.subject_id, row.assess_number) for row in record.rows(feed)] == [("default", subject, 1)]
    assert [(row.actor, row.action, row.subject_id) for row in record.rows(audit)] == [
        ("scheduler", "rating.defaulted", subject)
    ]
    ended = record.one(invitations)
    assert (ended.state, ended.ended_at, ended.number_sealed) == ("defaulted", now, None)
    assert record.one(codes).ended_at == now
    assert case_row(record, subject).default_at is None


@pytest.mark.parametrize("before", [GRACE, MINUTE, timedelta(seconds=1)])
def test_not_before_the_grace_is_over(record: Replying, default: Callable[..., Defaulted], before: timedelta) -> None:
    due_case(record)
    over(record, -before)
    assert default() == Defaulted()
    over(record)
    assert default() == Defaulted(defaulted=1)


def test_a_case_without_an_invitation_is_defaulted_too(record: Replying, default: Callable[..., Defaulted]) -> None:
    due_case(record)
    over(record)
    assert default() == Defaulted(defaulted=1)
    assert record.one(ratings).invitation_id is None


def test_in_the_figures_it_stands_apart_asked_or_never_asked(
    record: Replying, default: Callable[..., Defaulted]
) -> None:
    asked, waiting, rated = due_case(record), due_case(record, 2), due_case(record, 3)
    record.invite(asked)
    record.invite(waiting, state=InvitationState.WAITING, code="08", raw="13800000002")
    record.rated(rated, 5)
    over(record)
    assert default() == Defaulted(defaulted=2, skipped={"rated": 1})
    assert {row.subject_id: row.asked for row in record.rows(evaluations, origin="default")} == {
        asked: True,
        waiting: False,
    }
    days = record.rows(rollup_days)
    assert {row.day.isoformat() for row in days} == {"2026-11-25"}
    assert (sum(row.default_asked for row in days), sum(row.default_unasked for row in days)) == (1, 1)
    assert sum(row.level_3 + row.responded for row in days) == 0
    # A rating that comes later takes its place.
    assert record.reply(level(1), raw="13800000001").satisfaction == 1
    assert sum(row.default_asked for row in record.rows(rollup_days)) == 0
    assert sum(row.level_1 for row in record.rows(rollup_days)) == 1


@pytest.mark.parametrize(
    ("state", "then"),
    [
        (InvitationState.WAITING, "defaulted"),
        (InvitationState.ASKED, "defaulted"),
        (InvitationState.IMPOSSIBLE, "defaulted"),
        (InvitationState.SUPERSEDED, "superseded"),
        (InvitationState.EXPIRED, "expired"),
    ],
)
def test_reachable_or_not_the_case_is_defaulted(
    record: Replying, default: Callable[..., Defaulted], state: InvitationState, then: str
) -> None:
    reason = "landline" if state is InvitationState.IMPOSSIBLE else None
    invitation = record.invite(due_case(record), state=state, reason=reason)
    over(record)
    assert default() == Defaulted(defaulted=1)
    known = record.one(invitations, id=invitation)
    assert (known.state, known.reason) == (then, reason)


def test_who_was_rated_is_not_defaulted(record: Replying, default: Callable[..., Defaulted]) -> None:
    subject = due_case(record)
    record.rated(subject, 5)
    over(record)
    assert default() == Defaulted(skipped={"rated": 1})
    assert [row.satisfaction for row in record.rows(evaluations)] == [5]
    assert (case_row(record, subject).default_at, case_row(record, subject).default_reason) == (None, "rated")
    assert default() == Defaulted()


def test_a_withdrawn_case_is_not(record: Replying, default: Callable[..., Defaulted]) -> None:
    due_case(record, withdrawn_at=START)
    over(record)
    assert default() == Defaulted(skipped={"withdrawn": 1})


def test_a_deadline_that_passes_while_defaults_are_switched_off_never_makes_one(
    record: Replying, default: Callable[..., Defaulted]
) -> None:
    subject = due_case(record)
    over(record)
    assert default(switched_on=False) == Defaulted(skipped={"switched_off": 1})
    assert default() == Defaulted()
    assert case_row(record, subject).default_reason == "switched_off"


def test_it_waits_for_what_its_citizen_wrote_and_nobody_has_read(
    record: Replying, default: Callable[..., Defaulted]
) -> None:
    subject, other = due_case(record), due_case(record, 2)
    record.invite(subject)
    over(record)
    message = record.stored("1", raw="13800000001")
    assert default() == Defaulted(defaulted=1, waiting=1)
    assert record.one(evaluations).subject_id == other
    record.take(message, level(5))
    record.clock.turn(MINUTE)
    assert default() == Defaulted(skipped={"rated": 1})


@pytest.mark.parametrize("number_kind", [None, "anonymous", "mobile"], ids=["stub", "anonymous", "another's"])
@pytest.mark.parametrize("muted", [False, True])
def test_it_waits_for_who_was_asked_about_it_too(
    record: Replying, default: Callable[..., Defaulted], number_kind: str | None, muted: bool
) -> None:
    """The case of a call has no number, or another's: it is the caller who was asked, and who answers."""
    gone = {f"number_{part}": None for part in ("sealed", "hash", "tail", "key_id")}
    own = record.columns("13900000009") if number_kind == "mobile" else {"number_kind": number_kind, **gone}
    subject = due_case(record, stub=number_kind is None, **own)
    invitation = record.invite(record.call(), subject, kind="call", due_at=DEADLINE + DAY)
    if muted:
        record.change(invitations, invitation, muted=True, **gone)
    due_case(record, 2)
    over(record, -GRACE - MINUTE)
    message = record.stored("1")
    over(record)
    assert default() == Defaulted(defaulted=1, waiting=1)
    record.take(message, level(5))
    record.clock.turn(MINUTE)
    assert default() == Defaulted(skipped={"rated": 1})
    [evaluation] = record.rows(evaluations, subject_id=subject)
    assert (evaluation.origin, evaluation.assess_number) == ("citizen", 1)
    assert record.one(ratings, channel="sms").late is False


def test_those_that_wait_hold_up_nobody(record: Replying, default: Callable[..., Defaulted]) -> None:
    for n in range(1, GROUP + 2):
        due_case(record, n, default_at=DEADLINE - (GROUP + 2 - n) * MINUTE)
    for n in range(1, GROUP + 1):
        record.stored("1", raw=f"138{n:08d}")
    over(record)
    assert default() == Defaulted(waiting=GROUP)
    assert default() == Defaulted(defaulted=1)


def test_a_rating_that_comes_later_takes_the_next_number(record: Replying, default: Callable[..., Defaulted]) -> None:
    subject = due_case(record)
    record.invite(subject, raw="13800000001")
    over(record)
    default()
    record.clock.turn(DAY)
    assert record.reply(level(1), raw="13800000001").satisfaction == 1
    first, second = record.rows(evaluations)
    assert (first.origin, first.effective, first.satisfaction) == ("default", False, 3)
    assert (second.origin, second.effective, second.assess_number) == ("citizen", True, 2)
    assert record.one(ratings, origin="citizen").late
    assert len(record.rows(outbox)) == 2


def test_each_case_of_a_batch_at_its_own_deadline(record: Replying, default: Callable[..., Defaulted]) -> None:
    first, later = due_case(record), due_case(record, 2, deadline=DEADLINE + DAY, default_at=DEADLINE + DAY)
    invitation = record.invite(first, later)
    over(record)
    assert default() == Defaulted(defaulted=1)
    assert record.one(invitations, id=invitation).state == "asked"
    over(record, DAY)
    assert default() == Defaulted(defaulted=1)
    assert record.one(invitations, id=invitation).state == "defaulted"
    assert [row.assess_time for row in sorted(record.rows(evaluations), key=lambda row: row.assess_time)] == [
        DEADLINE,
        DEADLINE + DAY,
    ]


def test_a_batch_whose_last_open_case_is_defaulted_is_over(record: Replying, default: Callable[..., Defaulted]) -> None:
    """Who of it was rated or withdrawn is not waited for, nor is the call in which one of them was closed."""
    open_, rated, withdrawn = due_case(record), due_case(record, 2), due_case(record, 3, withdrawn_at=START)
    record.rated(rated, 4)
    invitation = record.invite(open_, rated, withdrawn, record.call(), kind="call")
    over(record)
    assert default() == Defaulted(defaulted=1, skipped={"rated": 1, "withdrawn": 1})
    assert record.one(invitations, id=invitation).state == "defaulted"


def test_what_was_still_queued_is_not_sent_any_more(record: Replying, default: Callable[..., Defaulted]) -> None:
    invitation = record.invite(due_case(record))
    record.queue(MessageKind.REMINDER, "remind:x", invitation)
    over(record)
    default()
    assert [(row.state, row.reason) for row in record.rows(messages)] == [(MessageState.CANCELLED.value, "defaulted")]


def test_a_group_at_a_time_the_longest_overdue_first(record: Replying, default: Callable[..., Defaulted]) -> None:
    subjects = [due_case(record, n, default_at=DEADLINE - n * MINUTE) for n in range(1, GROUP + 4)]
    over(record)
    assert default() == Defaulted(defaulted=GROUP)
    left = {row.subject_id for row in record.rows(cases) if row.default_at is not None}
    assert left == set(subjects[:3])
    assert default() == Defaulted(defaulted=3)
    assert default() == Defaulted()


def test_several_processes_make_one_default_each(record: Replying, another_door: Callable[[], Any]) -> None:
    for n in range(1, 201):
        record.invite(due_case(record, n), code=None)
    over(record)
    doors = [another_door() for _ in range(3)]
    command = DefaultDue(record.clock.now(), RULES)
    futures = [door.submit(command) for _ in range(8) for door in doors]
    made = sum(future.result(WAIT).defaulted for future in futures)
    while (more := doors[0].submit(command).result(WAIT)).total:
        made += more.defaulted
    assert made == 200
    found = record.rows(evaluations)
    assert len(found) == len({row.subject_id for row in found}) == len(record.rows(outbox)) == 200
    assert {row.state for row in record.rows(invitations)} == {"defaulted"}


def test_a_rating_and_a_default_at_the_same_moment(record: Replying, another_door: Callable[[], Any]) -> None:
    """Whichever commits second finds the first: one effective evaluation, and it is the citizen's."""
    replies: list[tuple[str, str]] = []
    for n in range(1, 41):
        number = f"138{n:08d}"
        subject = due_case(record, n)
        record.invite(subject, raw=number)
        replies.append((subject, number))
    over(record)
    other = another_door()
    default = DefaultDue(record.clock.now(), RULES)
    stored = [record.stored("1", raw=number) for _, number in replies]
    # Read, so that no default waits for them; what they mean is decided while the defaults are made.
    record.write(update(messages).where(messages.c.id.in_(stored)).values(number_hash=None))
    hashes = [record.number(number).hash for _, number in replies]

    def take(place: int) -> None:
        record.write(update(messages).where(messages.c.id == stored[place]).values(number_hash=hashes[place]))
        command = TakeReply(stored[place], level(5), False, record.clock.now(), record.rules)
        record.door.submit(command).result(WAIT)

    with ThreadPoolExecutor(8) as pool:
        taken = [pool.submit(take, place) for place in range(20)]
        made = [pool.submit(lambda: other.submit(default).result(WAIT)) for _ in range(4)]
        taken += [pool.submit(take, place) for place in range(20, 40)]
        for one in (*taken, *made):
            one.result(WAIT)
    effective = [row for row in record.rows(evaluations) if row.effective]
    assert {row.subject_id for row in effective} == {subject for subject, _ in replies}
    assert {row.satisfaction for row in effective} == {5}
    for row in record.rows(evaluations):
        assert row.effective or row.origin == "default"
        assert row.assess_number == 1 or row.effective


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_jump_nothing_is_defaulted_until_it_is_accepted(
    record: Replying, default: Callable[..., Defaulted], another_door: Callable[[], Any]
) -> None:
    due_case(record)
    over(record)
    jump = Jump(record.clock.now(), 3 * HOUR, "here")
    assert record.door.submit(PauseForJump(jump)).result(WAIT) is True
    assert record.door.submit(PauseForJump(replace(jump, node="there"))).result(WAIT) is False
    assert default() == Defaulted(paused="clock_jumped")
    # The pause is the database's: it holds for another process as well.
    other = another_door()
    assert other.submit(DefaultDue(record.clock.now(), RULES)).result(WAIT).paused == "clock_jumped"
    with record.database.read_engine.connect() as connection:
        assert read_jump(connection) == jump
    assert other.submit(AcceptJump("班长", record.clock.now())).result(WAIT) == jump
    assert other.submit(AcceptJump("班长", record.clock.now())).result(WAIT) is None
    assert default() == Defaulted(defaulted=1)
    actions = [(row.actor, row.action) for row in record.rows(audit)]
    assert actions[:2] == [("scheduler", "clock.jumped"), ("班长", "clock.jump_accepted")]
    assert not record.rows(meta, key="scheduler.jump")


def test_while_deadlines_are_computed_anew_nothing_is_defaulted(
    record: Replying, default: Callable[..., Defaulted]
) -> None:
    due_case(record)
    over(record)
    record.write(insert(meta).values(key=VERSION, value="1:x"))
    assert default() == Defaulted(paused="deadlines_pending")
    record.write(insert(meta).values(key=APPLIED, value="1:x"))
    assert default() == Defaulted(defaulted=1)


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)
def test_a_machine_that_is_ahead_of_the_databases_clock_makes_none(
    record: Replying, default: Callable[..., Defaulted]
) -> None:
    now = SystemClock().now()
    record.clock.turn(now - record.clock.now())
    due_case(record, deadline=now - DAY, default_at=now - DAY)
    record.clock.turn(HOUR + MINUTE)
    assert default(trust=Trust(database_clock=True)) == Defaulted(paused="clock_ahead_of_database")
    record.clock.turn(-2 * MINUTE)
    assert default(trust=Trust(database_clock=True)) == Defaulted(defaulted=1)


def test_an_old_default_does_not_hide_a_new_case(record: Replying, default: Callable[..., Defaulted]) -> None:
    """Reopened and closed again: a subject of its own."""
    due_case(record)
    over(record)
    default()
    record.write(
        insert(cases).values(
            subject_id="f" * 32, case_no="GD-1", service_number=2, stub=False, deadline=DEADLINE + DAY,
            default_at=DEADLINE + DAY, created_at=START,
        )
    )  # fmt: skip
    over(record, DAY)
    assert default() == Defaulted(defaulted=1)
    assert {(row.subject_id == "f" * 32, row.service_number) for row in record.rows(evaluations)} == {
        (False, 1),
        (True, 2),
    }
