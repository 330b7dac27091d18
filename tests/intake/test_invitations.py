"""Invitations that are due: who gets an SMS, with which code, who does not and why, and when a life is over."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from json import loads
from threading import Event
from typing import Any

import pytest
from sqlalchemy import insert, update

from config.receipts import ReceiptClass
from intake.endings import Ending, end_invitations
from intake.invitations import GROUP, ExpireInvitations, Invited, InviteDue
from intake.manners import SendingRules
from models.clock import SHANGHAI, TurnedClock
from models.door import Bulk, Unit
from models.errors import KeyUnreadable
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    messages,
    number_routes,
    opt_outs,
)
from models.terms import InvitationState, MessageKind
from tests.intake.sending import DAY, HOUR, KEYS, MINUTE, WAIT, Sending, next_day
from tests.moments import START

on_postgresql = pytest.mark.parametrize("emptied", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)


def hours(moment: datetime) -> datetime:
    """08:30 to 21:00."""
    local = moment.astimezone(SHANGHAI)
    first = local.replace(hour=8, minute=30, second=0, microsecond=0)
    if local < first:
        return first
    return moment if local.hour < 21 else first + DAY


@pytest.fixture
def rules(keyring: Keyring) -> SendingRules:
    return SendingRules(
        opening=hours,
        daily_cap=3,
        code_digits=2,
        carrier_of=lambda number: "mobile" if number.startswith("+86138") else "",
        extensions=lambda _carrier: True,
        open_number=keyring.open,
    )


@pytest.fixture
def invite(sending: Sending, rules: SendingRules) -> Callable[..., Invited]:
    def run(**changes: Any) -> Invited:
        return sending.door.submit(InviteDue(sending.clock.now(), replace(rules, **changes))).result(WAIT)

    return run


def of(sending: Sending, invitation: str) -> Any:
    [row] = [row for row in sending.rows(invitations) if row.id == invitation]
    return row


def message_of(sending: Sending, invitation: str) -> Any:
    [row] = [row for row in sending.rows(messages) if row.invitation_id == invitation]
    return row


def number_values(sending: Sending, n: int) -> dict[str, Any]:
    return {f"number_{name}": value for name, value in sending.number(n)._asdict().items()}


# ── one SMS ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_due_invitation_becomes_one_sms(sending: Sending, invite: Callable[..., Invited]) -> None:
    invitation = sending.invitation(1)
    assert invite() == Invited(queued=1)
    row = message_of(sending, invitation)
    assert (row.kind, row.state, row.once_key, row.carrier) == (
        "invitation",
        "queued",
        f"invite:{invitation}",
        "mobile",
    )
    assert (row.code, row.lang, row.not_before, row.not_after) == ("00", "zh", START, START + 20 * HOUR)
    assert (row.number_hash, sending.keyring.open(row.number_sealed)) == (sending.hash(), "+8613800000001")
    [code] = sending.rows(codes)
    assert (code.code, code.invitation_id, code.given_at, code.ended_at) == ("00", invitation, START, None)
    waits = of(sending, invitation)
    assert (waits.state, waits.due_at, waits.first_asked_at) == ("waiting", None, None)
    assert invite() == Invited()
    assert len(sending.rows(messages)) == 1


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("not due yet", {"due_at": START + timedelta(seconds=1)}),
        ("nothing to be done", {"due_at": None}),
        ("asked", {"state": "asked"}),
        ("rated", {"state": "rated"}),
    ],
)
def test_what_is_not_due_is_left_alone(
    sending: Sending, invite: Callable[..., Invited], label: str, values: dict[str, Any]
) -> None:
    before = of(sending, sending.invitation(1, **values))
    assert invite() == Invited(), label
    assert (sending.rows(messages), of(sending, before.id)) == ([], before)


@pytest.mark.parametrize(
    ("label", "n", "values", "reason"),
    [
        ("a landline", 1, {"number_kind": "landline"}, "landline"),
        ("a landline, its number not kept", None, {"number_kind": "landline"}, "landline"),
        ("foreign", None, {"number_kind": "foreign"}, "foreign"),
        ("too short", None, {"number_kind": "short"}, "short"),
        ("withheld", None, {}, "anonymous"),
        ("anonymous", None, {"number_kind": "anonymous"}, "anonymous"),
        ("a mobile that was not kept", None, {"number_kind": "mobile"}, "anonymous"),
        ("too old", 1, {"not_after": START - timedelta(seconds=1)}, "unsent"),
        ("too old and a landline", None, {"number_kind": "landline", "not_after": START - HOUR}, "landline"),
    ],
)
def test_who_cannot_be_asked_is_recorded_with_why(
    sending: Sending, invite: Callable[..., Invited], label: str, n: int | None, values: dict[str, Any], reason: str
) -> None:
    invitation = sending.invitation(n, group_key="batch:1", **values)
    assert invite() == Invited(impossible=1), label
    row = of(sending, invitation)
    assert (row.state, row.reason, row.ended_at) == ("impossible", reason, START)
    assert (row.due_at, row.number_sealed, row.number_hash, row.group_key) == (None, None, None, None)
    assert (sending.rows(messages), sending.rows(codes)) == ([], [])


@pytest.mark.parametrize(
    ("origins", "ended", "reason"),
    [
        (["citizen"], None, "opted_out"),
        (["carrier"], None, "carrier_opt_out"),
        (["carrier", "citizen"], None, "carrier_opt_out"),
        (["citizen"], START - HOUR, None),
    ],
)
def test_who_opted_out_is_not_asked(
    sending: Sending, invite: Callable[..., Invited], origins: list[str], ended: datetime | None, reason: str | None
) -> None:
    invitation, other = sending.invitation(1), sending.invitation(2)
    for origin in origins:
        row = {"id": new_id(), "origin": origin, "at": START - DAY, "ended_at": ended, **number_values(sending, 1)}
        sending.change(insert(opt_outs).values(**row))
    invite()
    row = of(sending, invitation)
    assert (row.state, row.reason) == (("impossible", reason) if reason else ("waiting", None))
    assert message_of(sending, other).state == "queued"


def test_a_number_that_cannot_be_opened_keeps_nobody_else_waiting(
    sending: Sending, invite: Callable[..., Invited]
) -> None:
    damaged, good = sending.invitation(1), sending.invitation(2)

    def open_number(sealed: bytes) -> str:
        number = sending.keyring.open(sealed)
        if number.endswith("1"):
            raise KeyUnreadable("damaged")
        return number

    assert invite(open_number=open_number) == Invited(queued=1, impossible=1)
    assert (of(sending, damaged).reason, of(sending, good).state) == ("number_unreadable", "waiting")


# ── what the text is made of ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "case_nos", "fields"),
    [
        ("a call", [], {"subject": "call", "count": "0", "day": "2026-11-18"}),
        ("a case", ["GD-7"], {"subject": "case", "count": "1", "day": "2026-11-17", "case_no": "GD-7"}),
        ("a batch", ["A", "B", "C"], {"subject": "batch", "count": "3", "day": "2026-11-17", "case_no": "C"}),
    ],
)
def test_the_facts_of_the_text(
    sending: Sending, invite: Callable[..., Invited], label: str, case_nos: list[str], fields: dict[str, str]
) -> None:
    invitation = sending.invitation(1, case_nos=case_nos)
    invite()
    assert loads(message_of(sending, invitation).fields) == {"keys": KEYS, **fields}, label


def test_of_a_call_and_its_case_the_case_is_named(sending: Sending, invite: Callable[..., Invited]) -> None:
    invitation = sending.invitation(1)
    case = new_id()
    row = {"subject_id": case, "case_no": "GD-7", "service_number": 1, "stub": True, "created_at": START}
    sending.change(insert(cases).values(closed_at=START - 3 * DAY, **row))
    sending.change(insert(invitation_members).values(invitation_id=invitation, subject_id=case))
    invite()
    fields = loads(message_of(sending, invitation).fields)
    assert (fields["subject"], fields["case_no"], fields["day"]) == ("case", "GD-7", "2026-11-15")


@pytest.mark.parametrize(
    ("label", "origin", "fields"),
    [
        ("withdrawn", None, ("case", "1", "A")),
        ("rated in a call", "citizen", ("case", "1", "A")),
        ("with a default", "default", ("batch", "2", "B")),
    ],
)
def test_a_case_that_dropped_out_is_not_counted(
    sending: Sending, invite: Callable[..., Invited], label: str, origin: str | None, fields: tuple[str, str, str]
) -> None:
    invitation = sending.invitation(1, case_nos=["A", "B"])
    [b] = [row.subject_id for row in sending.rows(cases) if row.case_no == "B"]
    if origin is None:
        sending.change(update(cases).where(cases.c.subject_id == b).values(withdrawn_at=START))
    else:
        row = {
            "subject_id": b,
            "assess_number": 1,
            "id": new_id(),
            "rating_id": new_id(),
            "subject_kind": "case",
            "effective": True,
            "satisfaction": 5,
            "origin": origin,
            "channel": "keypad",
            "assess_time": START,
            "project_no": "B",
            "service_number": 1,
            "created_at": START,
        }
        sending.change(insert(evaluations).values(**row))
    invite()
    found = loads(message_of(sending, invitation).fields)
    assert (found["subject"], found["count"], found["case_no"]) == fields, label


# ── whose number ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_receipts_taught_comes_before_the_prefix(sending: Sending, invite: Callable[..., Invited]) -> None:
    learnt, other = sending.invitation(1), sending.invitation(2)
    row = {"id": new_id(), "carrier": "telecom", "learnt_at": START - DAY, **number_values(sending, 1)}
    sending.change(insert(number_routes).values(**row))
    invite()
    assert [message_of(sending, each).carrier for each in (learnt, other)] == ["telecom", "mobile"]


def test_a_number_of_no_known_prefix_is_nobodys(sending: Sending, invite: Callable[..., Invited]) -> None:
    invitation = sending.invitation(1)
    assert invite(carrier_of=lambda _: "") == Invited(queued=1)
    assert message_of(sending, invitation).carrier == ""


# ── hours and cap ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cap_of_a_day_counts_what_is_queued(sending: Sending, invite: Callable[..., Invited]) -> None:
    asked = [sending.invitation(1, not_after=START + 3 * DAY) for _ in range(5)]
    other = sending.invitation(2)
    assert invite() == Invited(queued=4, postponed=2)
    assert [of(sending, each).due_at for each in asked] == [None] * 3 + [next_day(START)] * 2
    assert message_of(sending, other).state == "queued"


@pytest.mark.parametrize(
    ("label", "values", "counts"),
    [
        ("sent today", {"state": "sent", "handed_at": START - HOUR}, True),
        ("just after midnight", {"state": "delivered", "handed_at": START.replace(hour=0)}, True),
        ("just before it", {"state": "sent", "handed_at": START.replace(hour=0) - timedelta(seconds=1)}, False),
        ("yesterday by UTC, today by Shanghai", {"state": "sent", "handed_at": START.replace(hour=5)}, True),
        ("failed today", {"state": "failed", "handed_at": START - HOUR}, True),
        ("never handed", {"state": "failed", "handed_at": None}, False),
        ("cancelled", {"state": "cancelled", "handed_at": None}, False),
        ("queued since yesterday", {"state": "queued", "created_at": START - DAY}, True),
        (
            "yesterday, and today once more",
            {"state": "sent", "handed_at": START - DAY, "tries": 2, "changed_at": START - HOUR},
            True,
        ),
        (
            "yesterday, and waits to go once more",
            {"state": "queued", "handed_at": START - DAY, "tries": 1, "not_before": START + HOUR},
            True,
        ),
    ],
)
def test_what_counts_for_the_cap(
    sending: Sending, invite: Callable[..., Invited], label: str, values: dict[str, Any], counts: bool
) -> None:
    """By the day of Asia/Shanghai."""
    message = sending.queue(1, MessageKind.REMINDER)
    sending.change(update(messages).where(messages.c.id == message).values(values))
    sending.invitation(1)
    assert invite(daily_cap=1) == (Invited(postponed=1) if counts else Invited(queued=1)), label


def test_answers_to_a_citizen_do_not_count(sending: Sending, invite: Callable[..., Invited]) -> None:
    for kind in (MessageKind.CLARIFICATION, MessageKind.REASON, MessageKind.OPTED_IN):
        sending.queue(1, kind)
    sending.invitation(1)
    assert invite(daily_cap=1) == Invited(queued=1)


def test_a_postponed_one_is_looked_at_again_when_it_has_to_end(
    sending: Sending, invite: Callable[..., Invited]
) -> None:
    """The cap ends nothing; the time does."""
    sending.queue(1, MessageKind.REMINDER)
    invitation = sending.invitation(1, not_after=START + HOUR)
    assert invite(daily_cap=1) == Invited(postponed=1)
    assert of(sending, invitation).due_at == START + HOUR + timedelta(seconds=1)
    sending.clock.turn(HOUR + MINUTE)
    assert invite(daily_cap=1) == Invited(impossible=1)
    assert of(sending, invitation).reason == "unsent"


def test_the_next_day_it_goes(sending: Sending, invite: Callable[..., Invited]) -> None:
    sending.sent(1, "a1", kind=MessageKind.REMINDER)
    invitation = sending.invitation(1, not_after=START + 3 * DAY)
    assert invite(daily_cap=1) == Invited(postponed=1)
    sending.clock.turn(next_day(START) - START)
    assert invite(daily_cap=1) == Invited(queued=1)
    assert message_of(sending, invitation).not_before == next_day(START)


# ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_open_invitation_of_a_number_has_a_code_of_its_own(
    sending: Sending, invite: Callable[..., Invited]
) -> None:
    mine = [sending.invitation(1) for _ in range(3)]
    other = sending.invitation(2)
    invite()
    assert [message_of(sending, each).code for each in mine] == ["00", "01", "02"]
    assert message_of(sending, other).code == "00"


def _codes(sending: Sending, n: int, ended: dict[str, datetime | None]) -> None:
    number = sending.number(n)
    rows = [(new_id(), *number, code, new_id(), START - 90 * DAY, end) for code, end in ended.items()]
    sending.write(lambda unit: unit.insert(Bulk(codes), rows))


def test_a_code_ended_longest_ago_is_given_anew(sending: Sending, invite: Callable[..., Invited]) -> None:
    ended: dict[str, datetime | None] = {f"{n}": START - (n + 1) * DAY for n in range(10)}
    _codes(sending, 1, {**ended, "3": None})
    _codes(sending, 2, {**ended, "9": START - 90 * DAY})
    first, second = sending.invitation(1), sending.invitation(1)
    invite(code_digits=1)
    assert [message_of(sending, each).code for each in (first, second)] == ["9", "8"]
    mine = {row.code: row for row in sending.rows(codes) if row.number_hash == sending.hash(1)}
    assert (mine["9"].invitation_id, mine["9"].given_at, mine["9"].ended_at) == (first, START, None)
    assert mine["7"].ended_at == ended["7"]
    theirs = {row.code: row for row in sending.rows(codes) if row.number_hash == sending.hash(2)}
    assert theirs["9"].ended_at == START - 90 * DAY  # another number's are its own


def test_where_every_code_is_open_the_invitation_waits(sending: Sending, invite: Callable[..., Invited]) -> None:
    _codes(sending, 1, {f"{n}": None for n in range(10)})
    invitation = sending.invitation(1)
    assert invite(code_digits=1) == Invited(postponed=1)
    assert (of(sending, invitation).due_at, sending.rows(messages)) == (START + HOUR, [])
    sending.change(update(codes).where(codes.c.code == "4").values(ended_at=START))
    sending.clock.turn(HOUR)
    assert invite(code_digits=1) == Invited(queued=1)
    assert message_of(sending, invitation).code == "4"


def test_the_end_of_an_invitation_frees_its_code(sending: Sending, invite: Callable[..., Invited]) -> None:
    invitation = sending.invitation(1)
    invite()
    sending.write(lambda unit: end_invitations(unit, [Ending(invitation, InvitationState.RATED, None, START + HOUR)]))
    [code] = sending.rows(codes)
    assert (code.ended_at, message_of(sending, invitation).state) == (START + HOUR, "cancelled")


# ── links without extensions ──────────────────────────────────────────────────────────────────────────────────────────


def bare(_carrier: str) -> bool:
    return False


def test_without_extensions_one_is_open_at_a_time(sending: Sending, invite: Callable[..., Invited]) -> None:
    first, second = sending.invitation(1, due_at=START - HOUR), sending.invitation(1)
    other = sending.invitation(2)
    assert invite(extensions=bare) == Invited(queued=2, postponed=1)
    assert (message_of(sending, first).code, message_of(sending, other).code) == ("", "")
    assert (of(sending, second).state, of(sending, second).due_at) == ("waiting", START + 10 * MINUTE)
    sending.claim()
    sending.clock.turn(10 * MINUTE)
    assert invite(extensions=bare) == Invited(postponed=1)


def test_the_next_goes_when_the_first_is_answered(sending: Sending, invite: Callable[..., Invited]) -> None:
    first, second = sending.invitation(1, due_at=START - HOUR), sending.invitation(1)
    invite(extensions=bare)
    sending.claim()
    sending.write(lambda unit: end_invitations(unit, [Ending(first, InvitationState.RATED, None, START)]))
    sending.clock.turn(10 * MINUTE)
    assert invite(extensions=bare) == Invited(queued=1)
    assert message_of(sending, second).code == ""
    [code] = sending.rows(codes)
    assert (code.invitation_id, code.given_at, code.ended_at) == (second, sending.clock.now(), None)


def test_a_day_old_while_another_waits_it_is_superseded(sending: Sending, invite: Callable[..., Invited]) -> None:
    late = START + 9 * DAY
    first = sending.invitation(1, due_at=START - HOUR, not_after=late)
    second, third = (sending.invitation(1, not_after=late) for _ in range(2))
    invite(extensions=bare)
    sending.claim()
    sending.clock.turn(DAY)
    assert invite(extensions=bare) == Invited(queued=1, postponed=1)
    assert [of(sending, each).state for each in (first, second, third)] == ["superseded", "waiting", "waiting"]
    assert of(sending, first).ended_at == START + DAY
    assert message_of(sending, second).state == "queued"
    [code] = sending.rows(codes)
    assert (code.invitation_id, code.ended_at) == (second, None)


def test_a_day_old_while_nobody_waits_it_stays(sending: Sending, invite: Callable[..., Invited]) -> None:
    first = sending.invitation(1)
    invite(extensions=bare)
    sending.claim()
    sending.clock.turn(DAY)
    assert invite(extensions=bare) == Invited()
    assert of(sending, first).state == "asked"


@pytest.mark.parametrize("digits", [0, 2])
def test_codes_of_no_digits_are_no_codes(sending: Sending, invite: Callable[..., Invited], digits: int) -> None:
    invitation = sending.invitation(1)
    invite(code_digits=digits)
    assert message_of(sending, invitation).code == ("00" if digits else "")


# ── many, and many processes ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_oldest_first_in_groups(sending: Sending, invite: Callable[..., Invited]) -> None:
    made = [sending.invitation(n, due_at=START - timedelta(seconds=n + 1)) for n in range(70)]
    assert invite() == Invited(queued=GROUP)
    assert {row.invitation_id for row in sending.rows(messages)} == set(made[-GROUP:])
    assert invite() == Invited(queued=6)
    assert invite() == Invited()


@on_postgresql
def test_two_processes_ask_once_with_different_codes_and_one_cap(
    doors: Any, keyring: Keyring, clock: TurnedClock, rules: SendingRules
) -> None:
    one, other = (Sending(doors(), keyring, clock) for _ in range(2))
    for n in range(100):
        one.invitation(n % 25, not_after=START + 9 * DAY)
    total = 0
    with ThreadPoolExecutor(2) as pool:
        while total < 100:
            asked = [
                pool.submit(lambda door: door.submit(InviteDue(START, rules)).result(WAIT), each.door)
                for each in (one, other)
            ]
            total += sum(each.result(WAIT).total for each in asked)
    sent = [(row.number_hash, row.code) for row in one.rows(messages)]
    assert len(sent) == len(set(sent)) == 75  # three a number
    assert {row.code for row in one.rows(codes)} == {"00", "01", "02"}
    assert len({row.invitation_id for row in one.rows(codes)}) == 75


@on_postgresql
def test_while_one_process_decides_another_leaves_it_alone(
    doors: Any, keyring: Keyring, clock: TurnedClock, rules: SendingRules
) -> None:
    """Both would give the code that ended longest ago to an invitation of the same number."""
    one, other = (Sending(doors(), keyring, clock) for _ in range(2))
    _codes(one, 1, {f"{n}": START - (n + 1) * DAY for n in range(10)})
    first, second = one.invitation(1), one.invitation(1, due_at=START + MINUTE)
    rules = replace(rules, code_digits=1)
    decided, go_on = Event(), Event()

    def decide(unit: Unit) -> None:
        assert InviteDue.run(unit, [InviteDue(START, rules)]) == [Invited(queued=1)]
        decided.set()
        assert go_on.wait(WAIT)

    deciding = one.door.write(decide)
    assert decided.wait(WAIT)
    try:
        assert other.door.submit(InviteDue(START + MINUTE, rules)).result(WAIT) == Invited()
    finally:
        go_on.set()
    deciding.result(WAIT)
    assert other.door.submit(InviteDue(START + MINUTE, rules)).result(WAIT) == Invited(queued=1)
    assert [message_of(one, each).code for each in (first, second)] == ["9", "8"]


def test_asked_and_never_delivered_is_still_asked(sending: Sending, invite: Callable[..., Invited]) -> None:
    """From the first look to the last receipt."""
    invitation = sending.invitation(1)
    invite()
    [claimed] = sending.claim()
    sending.answer(claimed, "a1")
    sending.receipt(ReceiptClass.FAILED, "a1", our_number=claimed.our_number)
    row = of(sending, invitation)
    assert (row.state, row.undelivered, row.due_at) == ("asked", True, START + 7 * DAY)


# ── the end of a life ─────────────────────────────────────────────────────────────────────────────────────────────────


def expire(sending: Sending) -> int:
    return sending.door.submit(ExpireInvitations(sending.clock.now())).result(WAIT)


def test_a_calls_invitation_expires_and_a_cases_does_not(sending: Sending, invite: Callable[..., Invited]) -> None:
    call, case = sending.invitation(1), sending.invitation(2, case_nos=["GD-7"])
    invite()
    sending.claim()
    sending.clock.turn(7 * DAY - timedelta(seconds=1))
    assert expire(sending) == 0
    sending.clock.turn(timedelta(seconds=1))
    assert expire(sending) == 1
    assert [of(sending, each).state for each in (call, case)] == ["expired", "asked"]
    ended = of(sending, call)
    assert (ended.ended_at, ended.number_sealed, ended.due_at) == (START + 7 * DAY, None, None)
    assert {row.invitation_id: row.ended_at for row in sending.rows(codes)} == {call: START + 7 * DAY, case: None}


def test_what_waits_does_not_expire(sending: Sending) -> None:
    invitation = sending.invitation(1)
    sending.clock.turn(30 * DAY)
    assert expire(sending) == 0
    assert of(sending, invitation).state == "waiting"


def test_expiry_goes_in_groups(sending: Sending) -> None:
    for n in range(70):
        sending.invitation(n, state="asked")
    assert [expire(sending) for _ in range(3)] == [GROUP, 6, 0]
