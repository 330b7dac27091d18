"""Delivery receipts: which segment each finds, what follows from each class; what comes early, late, twice, never."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from config.receipts import ReceiptClass
from intake.answers import Fate, GivenBack, Outcome
from intake.endings import Ending, end_invitations
from intake.receipts import ForgetReceipts, LookAgain, NoteReceipts
from models.clock import TurnedClock
from models.database import Database
from models.door import Unit
from models.tables import invitations, messages, number_routes, opt_outs, receipts
from models.terms import InvitationState, MessageKind, MessageState
from tests.intake.sending import DAY, HOUR, MINUTE, RULES, SERVICE, WAIT, Sending, next_day
from tests.moments import START

DELIVERED, LATER, NO_ROUTE = ReceiptClass.DELIVERED, ReceiptClass.LATER, ReceiptClass.NO_ROUTE
DEAD, BLACKLISTED, BLOCKED = ReceiptClass.DEAD_NUMBER, ReceiptClass.BLACKLISTED, ReceiptClass.BLOCKED
FAILED, INTERMEDIATE, UNKNOWN = ReceiptClass.FAILED, ReceiptClass.INTERMEDIATE, ReceiptClass.UNKNOWN


def state(sending: Sending, message: str) -> tuple[str, str | None]:
    row = sending.message(message)
    return row.state, row.reason


# ── each class ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "after", "segment", "undelivered"),
    [
        (DELIVERED, ("delivered", None), "delivered", False),
        (LATER, ("queued", "later"), "waiting", True),
        (NO_ROUTE, ("queued", "no_route"), "waiting", True),
        (DEAD, ("failed", "dead_number"), "failed", True),
        (BLACKLISTED, ("failed", "blacklisted"), "failed", True),
        (BLOCKED, ("failed", "blocked"), "failed", True),
        (FAILED, ("failed", "failed"), "failed", True),
        (INTERMEDIATE, ("sent", None), "accepted", False),
        (UNKNOWN, ("sent", None), "accepted", False),
    ],
)
def test_what_each_class_leads_to(
    sending: Sending, kind: ReceiptClass, after: tuple[str, str | None], segment: str, undelivered: bool
) -> None:
    message = sending.sent(1, "a1", not_after=START + 2 * DAY)
    noted = sending.receipt(kind, "a1", text="UNDELIV MK:0012")
    assert [(one.link, one.kind, one.message_kind, one.message_id) for one in noted.matched] == [
        ("m", kind, MessageKind.INVITATION, message)
    ]
    assert noted.kept == 0
    [row] = sending.segments(message)
    assert (state(sending, message), row.state) == (after, segment)
    assert (row.receipt, row.receipt_text, row.receipt_at) == (kind.value, "UNDELIV MK:0012", START)
    asked = sending.invitation_of(message)
    assert (asked.undelivered, asked.state) == (undelivered, "asked")
    assert sending.rows(receipts) == []


@pytest.mark.parametrize(
    ("kind", "message_kind", "undelivered"),
    [
        (LATER, MessageKind.CLARIFICATION, False),
        (NO_ROUTE, MessageKind.REASON, False),
        (FAILED, MessageKind.OPTED_OUT, False),
        (FAILED, MessageKind.REMINDER, True),
    ],
)
def test_an_answer_to_a_citizen_never_goes_again(
    sending: Sending, kind: ReceiptClass, message_kind: MessageKind, undelivered: bool
) -> None:
    message = sending.sent(1, "a1", kind=message_kind)
    sending.receipt(kind, "a1")
    assert state(sending, message) == ("failed", kind.value)
    assert sending.invitation_of(message).undelivered is undelivered


# ── later ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_later_goes_once_more_the_next_sending_day(sending: Sending) -> None:
    message = sending.sent(1, "a1", not_after=START + 5 * DAY)
    sending.receipt(LATER, "a1")
    row = sending.message(message)
    assert (row.not_before, row.settle_at, row.lease_owner) == (next_day(START), row.not_after, None)
    assert sending.claim() == []
    sending.clock.turn(DAY)
    sending.answer(sending.hand(message), "b2")
    assert (state(sending, message), sending.message(message).tries) == (("sent", "later"), 2)
    sending.receipt(LATER, "b2")
    assert state(sending, message) == ("failed", "later")
    assert sending.invitation_of(message).undelivered is True


def test_later_that_would_be_too_late_fails_now(sending: Sending) -> None:
    message = sending.sent(1, "a1", not_after=START + HOUR)
    sending.receipt(LATER, "a1")
    assert state(sending, message) == ("failed", "later")


def test_delivered_the_second_time_the_invitation_is_not_undelivered_any_more(sending: Sending) -> None:
    message = sending.sent(1, "a1", not_after=START + 5 * DAY)
    sending.receipt(LATER, "a1")
    sending.clock.turn(DAY)
    sending.answer(sending.hand(message), "b2")
    sending.receipt(DELIVERED, "b2")
    assert state(sending, message) == ("delivered", "later")
    assert sending.invitation_of(message).undelivered is False


@pytest.mark.parametrize("kind", [LATER, NO_ROUTE])
def test_delivered_while_it_is_queued_again_it_does_not_go_again(sending: Sending, kind: ReceiptClass) -> None:
    message = sending.sent(1, "a1", not_after=START + 5 * DAY)
    sending.receipt(kind, "a1")
    assert state(sending, message)[0] == "queued"
    assert [one.kind for one in sending.receipt(DELIVERED, "a1").matched] == [DELIVERED]
    assert (state(sending, message)[0], sending.message(message).settle_at) == ("delivered", None)
    assert sending.invitation_of(message).undelivered is False
    sending.clock.turn(DAY)
    assert sending.claim(carriers=("mobile", "unicom", "")) == []


@pytest.mark.parametrize("kind", [LATER, FAILED, INTERMEDIATE, UNKNOWN])
def test_what_is_said_of_a_message_that_goes_again_anyway_changes_nothing(sending: Sending, kind: ReceiptClass) -> None:
    message = sending.sent(1, "a1", not_after=START + 5 * DAY)
    sending.receipt(LATER, "a1")
    sending.receipt(kind, "a1")
    assert (state(sending, message), sending.states(message)) == (("queued", "later"), ["waiting"])


@pytest.mark.parametrize("kind", [BLACKLISTED, DEAD, BLOCKED])
def test_what_no_second_try_can_change_ends_one_that_was_to_go_again(sending: Sending, kind: ReceiptClass) -> None:
    """One segment said later, the other that the number takes nothing."""
    message = sending.sent(1, "a1", "a2", not_after=START + 5 * DAY)
    sending.receipt(LATER, "a1")
    sending.receipt(kind, "a2")
    assert state(sending, message) == ("failed", kind.value)
    sending.clock.turn(DAY)
    assert sending.claim() == []


# ── no route ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_route_goes_once_over_another_carrier_and_is_learnt_when_it_arrives(sending: Sending) -> None:
    message = sending.sent(1, "a1")
    sending.receipt(NO_ROUTE, "a1")
    row = sending.message(message)
    assert (row.carrier, row.not_before) == ("unicom", START)
    assert sending.claim("m") == []
    sending.answer(sending.hand(message, link="u", carriers=("unicom", "")), "u1")
    assert sending.rows(number_routes) == []
    sending.receipt(DELIVERED, "u1", links=("u",))
    assert state(sending, message) == ("delivered", "no_route")
    assert [(row.number_hash, row.carrier, row.learnt_at) for row in sending.rows(number_routes)] == [
        (sending.hash(), "unicom", START)
    ]
    assert sending.invitation_of(message).undelivered is False


def test_no_route_over_the_other_either_is_the_end(sending: Sending) -> None:
    message = sending.sent(1, "a1")
    sending.receipt(NO_ROUTE, "a1")
    sending.answer(sending.hand(message, link="u", carriers=("unicom", "")), "u1")
    sending.receipt(NO_ROUTE, "u1", links=("u",))
    assert state(sending, message) == ("failed", "no_route")
    assert sending.rows(number_routes) == []


def test_a_number_that_moved_again_is_learnt_anew(sending: Sending) -> None:
    for n, ids in enumerate((("a1", "u1"), ("a2", "u2"))):
        message = sending.sent(1, ids[0])
        sending.receipt(NO_ROUTE, ids[0])
        sending.answer(sending.hand(message, link="u", carriers=("unicom", "")), ids[1])
        sending.clock.turn(n * HOUR)
        sending.receipt(DELIVERED, ids[1], links=("u",))
    assert [row.learnt_at for row in sending.rows(number_routes)] == [START + HOUR]


def test_where_there_is_no_other_carrier_it_has_failed(sending: Sending) -> None:
    message = sending.queue(1)
    sending.answer(sending.hand(message, link="only"), "a1")
    sending.receipt(NO_ROUTE, "a1", links=("only",))
    assert state(sending, message) == ("failed", "no_route")


# ── the carrier's blacklist ───────────────────────────────────────────────────────────────────────────────────────────


def test_blacklisted_the_number_gets_nothing_more(sending: Sending) -> None:
    message = sending.sent(1, "a1")
    waiting = sending.invitation(1, due_at=START + HOUR, group_key="batch:1")
    queued, other = sending.queue(1, not_before=START + HOUR), sending.queue(2)
    reminder = sending.queue(1, MessageKind.REMINDER, not_before=START + HOUR)
    sending.receipt(BLACKLISTED, "a1")
    [row] = sending.rows(opt_outs)
    assert (row.number_hash, row.origin, row.at, row.ended_at) == (sending.hash(), "carrier", START, None)
    assert sending.keyring.open(row.number_sealed) == "+8613800000001"
    assert [state(sending, each) for each in (message, queued, reminder, other)] == [
        ("failed", "blacklisted"),
        ("cancelled", "carrier_opt_out"),
        ("cancelled", "carrier_opt_out"),
        ("queued", None),
    ]
    assert (sending.invitation_of(message).state, sending.invitation_of(message).muted) == ("asked", True)
    assert (sending.invitation_of(reminder).state, sending.invitation_of(reminder).muted) == ("asked", True)
    ended = sending.invitation_of(queued)
    assert (ended.state, ended.reason, ended.number_sealed) == ("impossible", "carrier_opt_out", None)
    [left] = [each for each in sending.rows(invitations) if each.id == waiting]
    assert (left.state, left.group_key, left.due_at) == ("impossible", None, None)
    assert (sending.invitation_of(other).state, sending.invitation_of(other).muted) == ("waiting", False)


def test_blacklisted_twice_is_one_opt_out(sending: Sending) -> None:
    for smsc_id in ("a1", "a2"):
        sending.sent(1, smsc_id)
    sending.receipts(sending.fact(BLACKLISTED, "a1"), sending.fact(BLACKLISTED, "a2"))
    assert len(sending.rows(opt_outs)) == 1


# ── which segment ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "stored", "forms", "options", "found"),
    [
        ("the same id", "a1", ("a1",), {}, True),
        ("hex answered, decimal reported", "1f4", ("500", "1f4"), {}, True),
        ("decimal answered, hex reported", "500", ("1f4", "500"), {}, True),
        ("in no form", "a1", ("b2", "c3"), {}, False),
        ("over a partner", "a1", ("a1",), {"links": ("n", "m")}, True),
        ("over another carrier's link", "a1", ("a1",), {"links": ("u",)}, False),
        ("of another number", "a1", ("a1",), {"n": 2}, False),
        ("that names no number", "a1", ("a1",), {"n": None}, True),
        ("without an id", "a1", (), {}, False),
    ],
)
def test_a_receipt_finds_its_segment_by_id(
    sending: Sending, label: str, stored: str, forms: tuple[str, ...], options: dict[str, Any], found: bool
) -> None:
    message = sending.sent(1, stored)
    noted = sending.receipt(DELIVERED, *forms, **options)
    assert (len(noted.matched), noted.kept) == ((1, 0) if found else (0, 1)), label
    assert state(sending, message)[0] == ("delivered" if found else "sent")
    assert len(sending.rows(receipts)) == (0 if found else 1)


def test_ids_that_are_each_others_other_form_are_told_apart_by_the_number(sending: Sending) -> None:
    """Message A has the id "10"; B was answered "a", and its receipt says 10."""
    a, b = sending.sent(1, "10"), sending.sent(2, "a")
    sending.receipt(DELIVERED, "10", "a", "16", n=2)
    assert (state(sending, a)[0], state(sending, b)[0]) == ("sent", "delivered")
    sending.receipt(DELIVERED, "10", "a", "16", n=1)
    assert state(sending, a)[0] == "delivered"


def test_an_id_given_anew_means_the_newest(sending: Sending) -> None:
    old = sending.sent(1, "1")
    sending.clock.turn(DAY)
    new = sending.sent(1, "1", not_after=START + 3 * DAY)
    sending.receipt(DELIVERED, "1")
    assert (state(sending, old)[0], state(sending, new)[0]) == ("sent", "delivered")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ((DELIVERED, DELIVERED), (("delivered", None), "delivered")),
        ((DELIVERED, FAILED), (("delivered", None), "delivered")),
        ((DELIVERED, INTERMEDIATE), (("delivered", None), "delivered")),
        ((INTERMEDIATE, DELIVERED), (("delivered", None), "delivered")),
        ((INTERMEDIATE, UNKNOWN, FAILED), (("failed", "failed"), "failed")),
        ((UNKNOWN, DELIVERED), (("delivered", None), "delivered")),
        ((FAILED, DELIVERED), (("delivered", "failed"), "delivered")),
        ((DEAD, FAILED), (("failed", "dead_number"), "failed")),
        ((FAILED, INTERMEDIATE), (("failed", "failed"), "failed")),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_of_several_receipts_the_truest_stands(
    sending: Sending, told: tuple[ReceiptClass, ...], kept: tuple[tuple[str, str | None], str], together: bool
) -> None:
    message = sending.sent(1, "a1")
    facts = [sending.fact(kind, "a1") for kind in told]
    if together:
        sending.receipts(*facts)
    else:
        for fact in facts:
            sending.receipts(fact)
    stands = state(sending, message)
    if together and kept[0] == ("delivered", "failed"):
        assert stands[0] == "delivered"  # it never was failed
    else:
        assert stands == kept[0]
    assert sending.states(message) == [kept[1]]
    assert sending.invitation_of(message).undelivered is (kept[1] == "failed")


def test_told_twice_is_counted_once_and_not_kept(sending: Sending) -> None:
    sending.sent(1, "a1")
    assert len(sending.receipt(DELIVERED, "a1").matched) == 1
    again = sending.receipt(DELIVERED, "a1")
    assert (again.matched, again.kept, sending.rows(receipts)) == ((), 0, [])


# ── several segments ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("together", [False, True])
def test_delivered_when_all_segments_are(sending: Sending, together: bool) -> None:
    message = sending.sent(1, "a1", "a2", "a3")
    facts = [sending.fact(DELIVERED, smsc_id) for smsc_id in ("a3", "a1", "a2")]
    if together:
        sending.receipts(*facts)
    else:
        for place, fact in enumerate(facts):
            assert state(sending, message)[0] == "sent", place
            sending.receipts(fact)
    assert (state(sending, message), sending.states(message)) == (("delivered", None), ["delivered"] * 3)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("order", [(DELIVERED, FAILED), (FAILED, DELIVERED)])
def test_one_segment_that_fails_fails_the_message(
    sending: Sending, order: tuple[ReceiptClass, ...], together: bool
) -> None:
    message = sending.sent(1, "a1", "a2")
    facts = [sending.fact(kind, smsc_id) for kind, smsc_id in zip(order, ("a1", "a2"), strict=True)]
    for batch in [facts] if together else [[fact] for fact in facts]:
        sending.receipts(*batch)
    assert state(sending, message) == ("failed", "failed")
    assert sorted(sending.states(message)) == ["delivered", "failed"]


def test_of_two_bad_receipts_the_graver_counts(sending: Sending) -> None:
    message = sending.sent(1, "a1", "a2", not_after=START + 5 * DAY)
    sending.receipts(sending.fact(BLACKLISTED, "a1"), sending.fact(LATER, "a2"))
    assert state(sending, message) == ("failed", "blacklisted")


def test_later_sends_only_what_was_not_delivered(sending: Sending) -> None:
    message = sending.sent(1, "a1", "a2", "a3", not_after=START + 5 * DAY)
    sending.receipt(DELIVERED, "a2")
    sending.receipt(LATER, "a1")
    sending.receipt(DELIVERED, "a3")
    sending.clock.turn(DAY)
    again = sending.hand(message)
    assert [segment.number for segment in again.segments] == [1]
    sending.answer(again, "b1")
    sending.receipt(DELIVERED, "b1")
    assert state(sending, message)[0] == "delivered"


@pytest.mark.parametrize(
    ("first", "after"),
    [
        (DELIVERED, ("sent", None)),
        (FAILED, ("failed", "failed")),
        (LATER, ("queued", "later")),
        (NO_ROUTE, ("queued", "no_route")),
        (INTERMEDIATE, ("sent", None)),
    ],
)
def test_nothing_is_decided_before_the_last_answer(
    sending: Sending, first: ReceiptClass, after: tuple[str, str | None]
) -> None:
    """The first segment's receipt comes while the second is still under way: no other link may get the message."""
    message = sending.queue(1, parts=2, not_after=START + 5 * DAY)
    claimed = sending.hand(message)
    sending.store([sending.segment_answer(claimed, 1, Fate.ACCEPTED, "a1")])
    sending.receipt(first, "a1")
    assert state(sending, message) == ("handed", None)
    sending.store(
        [sending.segment_answer(claimed, 2, Fate.ACCEPTED, "a2")],
        [Outcome(message, MessageState.SENT, None, None, sending.hash(), several=True)],
    )
    assert state(sending, message) == after


def test_both_segments_delivered_before_the_last_answer(sending: Sending) -> None:
    message = sending.queue(1, parts=2)
    claimed = sending.hand(message)
    sending.store([sending.segment_answer(claimed, 1, Fate.ACCEPTED, "a1")])
    sending.receipts(sending.fact(DELIVERED, "a1"), sending.fact(DELIVERED, "a2"))
    noted = sending.store(
        [sending.segment_answer(claimed, 2, Fate.ACCEPTED, "a2")],
        [Outcome(message, MessageState.SENT, None, None, sending.hash(), several=True)],
    )
    assert (len(noted.matched), noted.kept) == (1, -1)
    assert state(sending, message) == ("delivered", None)


def test_one_segment_failed_and_the_other_was_never_sent(sending: Sending) -> None:
    """A message given back in part, whose first segment turns out undeliverable: the second goes nowhere."""
    message = sending.queue(1, parts=2)
    claimed = sending.hand(message)
    sending.store(
        [
            sending.segment_answer(claimed, 1, Fate.ACCEPTED, "a1"),
            sending.segment_answer(claimed, 2, Fate.NOT_SENT),
        ],
        back=[GivenBack(message)],
    )
    sending.receipt(FAILED, "a1")
    assert state(sending, message) == ("failed", "failed")
    assert sending.claim() == []


def test_a_cancelled_message_is_not_sent_again_by_a_receipt(sending: Sending) -> None:
    message = sending.sent(1, "a1", "a2", not_after=START + 5 * DAY)
    sending.receipt(LATER, "a1")
    ending = Ending(sending.message(message).invitation_id, InvitationState.RATED, None, START)
    sending.write(partial(end_invitations, endings=[ending]))
    assert state(sending, message) == ("cancelled", "rated")
    sending.receipt(NO_ROUTE, "a2")
    assert state(sending, message) == ("cancelled", "rated")
    sending.receipts(sending.fact(DELIVERED, "a1"), sending.fact(DELIVERED, "a2"))
    assert state(sending, message)[0] == "delivered"


# ── before the answer ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "answered", "forms", "links"),
    [
        ("the same id", "a1", ("a1",), ("m",)),
        ("hex answered, decimal reported", "1f4", ("500", "1280", "500"), ("m",)),
        ("hex answered, decimal reported, of digits alone", "500", ("1280", "500"), ("m",)),
        ("decimal answered, hex reported", "500", ("1f4", "500"), ("m",)),
        ("by a partner", "a1", ("a1",), ("a", "m", "z")),
    ],
)
@pytest.mark.parametrize("n", [1, None])
def test_a_receipt_that_comes_before_the_answer_waits_for_it(
    sending: Sending, label: str, answered: str, forms: tuple[str, ...], links: tuple[str, ...], n: int | None
) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    forms = forms if answered in forms else (*forms, answered)
    noted = sending.receipt(DELIVERED, *forms, links=links, n=n)
    assert (noted.matched, noted.kept) == ((), 1)
    assert state(sending, message) == ("handed", None)
    noted = sending.answer(claimed, answered)
    assert ([one.kind for one in noted.matched], noted.kept) == ([DELIVERED], -1), label
    assert state(sending, message) == ("delivered", None)
    assert sending.rows(receipts) == []


@pytest.mark.parametrize("emptied", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)
def test_a_receipt_that_one_process_keeps_while_another_stores_its_answer(
    sending: Sending, emptied: Database, clock: TurnedClock
) -> None:
    """Neither sees what the other has not committed."""
    message = sending.queue(1)
    claimed = sending.hand(message)
    command = NoteReceipts((sending.fact(DELIVERED, "a1"),), clock.now(), RULES)
    with emptied.write_engine.begin() as other:
        assert NoteReceipts.run(Unit(other), [command])[0].kept == 1
        assert sending.answer(claimed, "a1").matched == ()
    assert state(sending, message) == ("sent", None)
    clock.turn(MINUTE - timedelta(seconds=1))
    noted = sending.door.submit(LookAgain(clock.now(), RULES)).result(WAIT)
    assert ([one.kind for one in noted.matched], noted.kept) == ([DELIVERED], -1)
    assert state(sending, message) == ("delivered", None)
    assert sending.rows(receipts) == []
    assert sending.door.submit(LookAgain(clock.now(), RULES)).result(WAIT).matched == ()


def test_what_is_nobodys_stays_kept_however_often_it_is_looked_at(sending: Sending) -> None:
    sending.queue(1)
    sending.receipt(DELIVERED, "strange", n=2)
    for _ in range(3):
        noted = sending.door.submit(LookAgain(START, RULES)).result(WAIT)
        assert (noted.matched, noted.kept) == ((), 0)
        assert len(sending.rows(receipts)) == 1


def test_an_early_receipt_of_another_carriers_link_stays_where_it_is(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    sending.receipt(DELIVERED, "a1", links=("u",))
    assert sending.answer(claimed, "a1").matched == ()
    assert (state(sending, message)[0], len(sending.rows(receipts))) == ("sent", 1)


def test_early_receipts_are_read_in_their_order(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    sending.receipt(INTERMEDIATE, "a1", at=START)
    sending.receipt(DELIVERED, "a1", at=START + timedelta(seconds=1))
    noted = sending.answer(claimed, "a1")
    assert [one.kind for one in noted.matched] == [INTERMEDIATE, DELIVERED]
    assert state(sending, message) == ("delivered", None)


def test_an_early_bad_receipt_has_its_consequences(sending: Sending) -> None:
    message = sending.queue(1, not_after=START + 5 * DAY)
    claimed = sending.hand(message)
    sending.receipt(LATER, "a1")
    sending.answer(claimed, "a1")
    assert (state(sending, message), sending.message(message).not_before) == (("queued", "later"), next_day(START))


def test_the_answer_stored_twice_does_not_undo_the_receipt(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    sending.receipt(DELIVERED, "a1")
    for _ in range(2):
        sending.answer(claimed, "a1")
    assert (state(sending, message)[0], sending.states(message)) == ("delivered", ["delivered"])


# ── where the answer was lost ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "options", "found"),
    [
        ("the pair of numbers", {}, True),
        ("another number", {"n": 2}, False),
        ("another code of ours", {"our_number": SERVICE + "08"}, False),
        ("our number without the code", {"our_number": SERVICE}, False),
        ("no number", {"n": None}, False),
        ("over a partner", {"links": ("a", "m")}, True),
        ("another carrier's link", {"links": ("u",)}, False),
        ("long before it was sent", {"at": START - HOUR}, False),
    ],
)
def test_a_lost_answer_is_made_up_for_by_the_pair_of_numbers(
    sending: Sending, label: str, options: dict[str, Any], found: bool
) -> None:
    message = sending.lose()
    noted = sending.receipt(DELIVERED, "zz9", **options)
    assert len(noted.matched) == found, label
    assert state(sending, message)[0] == ("delivered" if found else "unknown")
    assert sending.settle() == 0
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == (0 if found else 1)


@pytest.mark.parametrize("kind", [INTERMEDIATE, UNKNOWN])
def test_any_receipt_proves_that_the_smsc_had_it(sending: Sending, kind: ReceiptClass) -> None:
    """It does not go again, and the final receipt is found by the id that this one told."""
    message = sending.lose()
    sending.receipt(kind, "zz9")
    assert (state(sending, message), sending.message(message).settle_at) == (("sent", None), None)
    assert [(row.state, row.smsc_id) for row in sending.segments(message)] == [("accepted", "zz9")]
    sending.receipt(DELIVERED, "zz9", n=None)
    assert state(sending, message)[0] == "delivered"


@pytest.mark.parametrize(("kind", "after"), [(FAILED, ("failed", "failed")), (LATER, ("queued", "later"))])
def test_a_lost_answers_bad_receipt_has_its_consequences(sending: Sending, kind: ReceiptClass, after: Any) -> None:
    message = sending.lose(not_after=START + 5 * DAY)
    sending.receipt(kind, "zz9")
    assert state(sending, message) == after


def test_the_pair_is_not_asked_while_an_answer_is_still_awaited(sending: Sending) -> None:
    """The receipt may be the awaited one's, come before its answer."""
    lost = sending.lose()
    other = sending.queue(1, MessageKind.REMINDER, invitation_id=sending.message(lost).invitation_id)
    claimed = sending.hand(other)
    assert sending.receipt(DELIVERED, "b2").matched == ()
    noted = sending.answer(claimed, "b2")
    assert [one.message_id for one in noted.matched] == [other]
    assert (state(sending, lost)[0], state(sending, other)[0]) == ("unknown", "delivered")


def test_a_receipt_kept_for_an_awaited_answer_is_looked_at_again_when_it_was_for_another(sending: Sending) -> None:
    lost = sending.lose()
    other = sending.queue(1, MessageKind.REMINDER, invitation_id=sending.message(lost).invitation_id)
    claimed = sending.hand(other)
    sending.receipt(DELIVERED, "zz9")
    noted = sending.answer(claimed, "b2")
    assert [one.message_id for one in noted.matched] == [lost]
    assert (state(sending, lost)[0], state(sending, other)[0]) == ("delivered", "sent")


def test_of_two_lost_ones_the_echoed_reference_tells_which(sending: Sending) -> None:
    first = sending.lose()
    asked = sending.message(first).invitation_id
    second = sending.queue(1, MessageKind.REMINDER, invitation_id=asked)
    claimed = sending.hand(second)
    sending.answer(claimed, fates=[Fate.UNKNOWN])
    sending.change(messages.update().where(messages.c.id == second).values(reference=4711))
    sending.receipt(DELIVERED, "zz9", reference=4711)
    assert (state(sending, first)[0], state(sending, second)[0]) == ("unknown", "delivered")
    sending.receipt(DELIVERED, "zz8", reference=None)
    assert state(sending, first)[0] == "delivered"


@pytest.mark.parametrize("together", [False, True])
def test_each_lost_segment_is_found_once(sending: Sending, together: bool) -> None:
    message = sending.lose(parts=2)
    facts = [sending.fact(DELIVERED, smsc_id) for smsc_id in ("y1", "y2")]
    for batch in [facts] if together else [[fact] for fact in facts]:
        sending.receipts(*batch)
    assert (state(sending, message)[0], sending.states(message)) == ("delivered", ["delivered"] * 2)


def test_a_receipt_that_came_before_the_answer_was_given_up(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    assert sending.receipt(DELIVERED, "zz9").kept == 1
    noted = sending.answer(claimed, fates=[Fate.UNKNOWN])
    assert ([one.kind for one in noted.matched], noted.kept) == ([DELIVERED], -1)
    assert (state(sending, message)[0], sending.rows(receipts)) == ("delivered", [])


@pytest.mark.parametrize("restarted", [False, True])
def test_a_receipt_that_came_before_the_process_died(sending: Sending, restarted: bool) -> None:
    message = sending.queue(1)
    sending.hand(message)
    sending.receipt(DELIVERED, "zz9")
    sending.clock.turn(2 * MINUTE)
    assert sending.settle(restarted=restarted, owner="here/b2") == 1
    assert (state(sending, message)[0], sending.rows(receipts)) == ("delivered", [])


def test_a_segment_never_given_to_the_link_still_goes(sending: Sending) -> None:
    """The first one's answer was lost with the link, the second had not been sent: the receipt settles one of them."""
    message = sending.queue(1, parts=2)
    sending.answer(sending.hand(message), fates=[Fate.UNKNOWN, Fate.NOT_SENT])
    assert state(sending, message)[0] == "unknown"
    sending.receipt(DELIVERED, "zz9")
    assert state(sending, message) == ("queued", "sent_again")
    again = sending.hand(message)
    assert [segment.number for segment in again.segments] == [2]
    sending.answer(again, "b2")
    sending.receipt(DELIVERED, "b2")
    assert state(sending, message)[0] == "delivered"


def test_delivered_though_it_was_queued_once_more(sending: Sending) -> None:
    message = sending.lose(not_after=START + 5 * DAY)
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    assert state(sending, message) == ("queued", "sent_again")
    sending.receipt(DELIVERED, "zz9")
    assert state(sending, message)[0] == "delivered"
    assert sending.claim() == []


def test_heard_of_while_it_was_queued_once_more_it_does_not_go(sending: Sending) -> None:
    message = sending.lose(not_after=START + 5 * DAY)
    sending.clock.turn(10 * MINUTE)
    sending.settle()
    sending.receipt(INTERMEDIATE, "zz9")
    assert state(sending, message)[0] == "sent"
    assert sending.claim() == []


def test_delivered_though_it_was_given_up(sending: Sending) -> None:
    message = sending.lose(not_after=START + 5 * DAY)
    sending.clock.turn(10 * MINUTE)
    sending.settle()
    sending.answer(sending.hand(message), fates=[Fate.UNKNOWN])
    sending.clock.turn(10 * MINUTE)
    sending.settle()
    assert state(sending, message) == ("failed", "unknown")
    assert sending.invitation_of(message).undelivered is True
    sending.receipt(DELIVERED, "zz9")
    assert state(sending, message)[0] == "delivered"
    assert sending.invitation_of(message).undelivered is False


# ── what cannot be stored, and what is kept too long ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("a NUL in the text", {"text": "UNDELIV\0\0 err"}),
        ("a long text", {"text": "X" * 500}),
        ("a long address", {"our_number": "1" * 200}),
        ("a reference of 32 bits", {"reference": 0xFFFF_FFFF}),
    ],
)
@pytest.mark.parametrize("smsc_id", ["a1", "unheard-of", "nul\0inside", "y" * 200])
def test_whatever_a_receipt_holds_it_is_stored(
    sending: Sending, label: str, values: dict[str, Any], smsc_id: str
) -> None:
    """One that could not be stored would be sent again for ever."""
    sending.sent(1, "a1")
    noted = sending.receipt(FAILED, smsc_id, **values)
    assert (len(noted.matched), noted.kept) == ((1, 0) if smsc_id == "a1" else (0, 1)), label


def test_receipts_that_found_nothing_are_forgotten_after_days(sending: Sending) -> None:
    facts = [replace(sending.fact(DELIVERED, f"x{n}"), at=START + n * MINUTE) for n in range(100)]
    sending.receipts(*facts)

    def forget(now: datetime) -> int:
        return sending.door.submit(ForgetReceipts(now)).result(WAIT)

    assert [forget(START + 3 * DAY) for _ in range(2)] == [0, 0]
    assert [forget(START + 3 * DAY + 98.5 * MINUTE) for _ in range(3)] == [64, 35, 0]
    assert [row.smsc_id for row in sending.rows(receipts)] == ["x99"]


def test_a_hundred_receipts_in_one_go(sending: Sending) -> None:
    sent = {n: sending.sent(n, f"{n + 1000:x}") for n in range(100)}
    noted = sending.receipts(*(sending.fact(DELIVERED, f"{n + 1000}", f"{n + 1000:x}", n=n) for n in range(100)))
    assert (len(noted.matched), noted.kept) == (100, 0)
    assert {state(sending, message)[0] for message in sent.values()} == {"delivered"}
