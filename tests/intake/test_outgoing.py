"""The queue of what we send: in once, out in order, handed before a link has it, settled when nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import insert, update

from config.receipts import ReceiptClass
from intake.answers import Fate, GivenBack, Outcome
from intake.claims import Claimed
from intake.endings import Ending, end_invitations
from models.clock import TurnedClock
from models.ids import new_id
from models.privacy import Keyring
from models.tables import invitations, messages, opt_outs
from models.terms import InvitationState, MessageKind, MessageState
from tests.intake.sending import DAY, HOUR, MINUTE, OWNER, TERMS, WAIT, Sending
from tests.moments import START

on_postgresql = pytest.mark.parametrize("emptied", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)


def ids(claimed: list[Claimed]) -> list[str]:
    return [message.id for message in claimed]


# ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_queued_once_for_one_reason(sending: Sending) -> None:
    first = sending.new(once_key="remind:1")
    again = replace(sending.new(once_key="remind:1"), not_before=START + HOUR)
    other = sending.new(once_key="remind:2")
    assert sending.queued(first, again, other) == [True, False, True]
    assert sending.queued(first, again, other) == [False, False, False]
    assert {row.id for row in sending.rows(messages)} == {first.id, other.id}


def test_many_are_queued_in_one_go(sending: Sending) -> None:
    new = [sending.new(n, once_key=f"remind:{n}") for n in range(150)]
    assert sending.queued(*new) == [True] * 150
    assert sending.queued(*new) == [False] * 150


def test_a_queued_message_keeps_what_its_text_is_made_of(sending: Sending) -> None:
    new = sending.new(fields={"level": "1", "case_no": '工单"7"'}, answers_id=new_id())
    sending.queued(new)
    [row] = sending.rows(messages)
    assert row.fields == '{"level":"1","case_no":"工单\\"7\\""}'
    assert (row.direction, row.state, row.tries, row.settle_at) == ("out", "queued", 0, new.not_after)
    assert (row.number_hash, row.answers_id, row.carrier) == (sending.hash(), new.answers_id, "mobile")


def _at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Runs them at the same time."""
    barrier = Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def run(place: int) -> None:
        barrier.wait(WAIT)
        results[place] = functions[place]()

    threads = [Thread(target=run, args=(place,)) for place in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return results


@on_postgresql
def test_two_processes_queue_it_once(doors: Any, keyring: Keyring, clock: TurnedClock) -> None:
    one, other = (Sending(doors(), keyring, clock) for _ in range(2))
    results = []
    for n in range(20):
        mine, theirs = (each.new(once_key=f"remind:{n}") for each in (one, other))
        results.append(_at_once(partial(one.queued, mine), partial(other.queued, theirs)))
    assert len(one.rows(messages)) == 20
    assert all(sorted(each) == [[False], [True]] for each in results)


# ── which ones a link gets ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "carriers", "claims", "taken"),
    [
        ("its own", ["mobile", "unicom"], ("mobile",), [0]),
        ("its own and the unknown", ["mobile", "", "unicom"], ("mobile", ""), [0, 1]),
        ("nobody's", ["telecom", "broadcast", "unicom"], ("mobile", "", "telecom", "broadcast"), [0, 1]),
        ("another's alone", ["unicom"], ("mobile", ""), []),
        ("nothing queued", [], ("mobile", ""), []),
    ],
)
def test_a_link_gets_what_its_carriers_serve(
    sending: Sending, label: str, carriers: list[str], claims: tuple[str, ...], taken: list[int]
) -> None:
    queued = [sending.queue(n, carrier=carrier) for n, carrier in enumerate(carriers)]
    assert ids(sending.claim(carriers=claims)) == [queued[place] for place in taken], label


def test_only_what_is_due_the_oldest_first_and_no_more_than_asked_for(sending: Sending) -> None:
    late = sending.queue(1, not_before=START - MINUTE)
    early = sending.queue(2, not_before=START - 2 * MINUTE, carrier="")
    sending.queue(3, not_before=START + timedelta(seconds=1))
    last = sending.queue(4)
    assert ids(sending.claim(limit=2)) == [early, late]
    assert ids(sending.claim(limit=2)) == [last]
    assert sending.claim() == []


@pytest.mark.parametrize(
    ("label", "earlier", "taken"),
    [
        ("queued and due", {}, [0]),
        ("with a link", {"state": "handed"}, []),
        ("postponed", {"not_before": START + HOUR}, [1]),
        ("sent", {"state": "sent"}, [1]),
        ("unknown", {"state": "unknown"}, [1]),
        ("for another carrier's link", {"carrier": "unicom"}, []),
    ],
)
def test_messages_to_one_number_keep_their_order(
    sending: Sending, label: str, earlier: dict[str, Any], taken: list[int]
) -> None:
    queued = [sending.queue(1, MessageKind.REMINDER) for _ in range(2)]
    first = messages.c.id == queued[0]
    if earlier:
        sending.change(update(messages).where(first).values(earlier))
    assert ids(sending.claim()) == [queued[place] for place in taken], label


def test_a_number_with_many_messages_keeps_nobody_else_waiting(sending: Sending) -> None:
    """Those behind the first one of a number do not use up the limit."""
    first, *_ = [sending.queue(1, MessageKind.REMINDER, not_before=START - HOUR) for _ in range(5)]
    other = sending.queue(2)
    assert ids(sending.claim(limit=2)) == [first, other]
    third = sending.queue(3)
    assert ids(sending.claim(limit=1)) == [third]


@on_postgresql
def test_two_claimers_never_take_one_message_twice(doors: Any, keyring: Keyring, clock: TurnedClock) -> None:
    one, other = (Sending(doors(), keyring, clock) for _ in range(2))
    queued = [one.queue(n % 20, MessageKind.REMINDER) for n in range(60)]
    taken: list[str] = []
    while len(taken) < 60:
        mine, theirs = _at_once(lambda: one.claim("m", limit=7), lambda: other.claim("n", limit=7))
        numbers = [message.number_hash for message in (*mine, *theirs)]
        assert len(set(numbers)) == len(numbers)  # no number has two under way
        taken += ids(mine) + ids(theirs)
        for place, message in enumerate((*mine, *theirs)):
            one.answer(message, f"{len(taken)}{place}", owner=OWNER)
        if not mine and not theirs:
            break
    assert sorted(taken) == sorted(queued)


# ── what is not sent ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        (MessageKind.INVITATION, False),
        (MessageKind.REMINDER, False),
        (MessageKind.BY_HAND, False),
        (MessageKind.CLARIFICATION, True),
        (MessageKind.REASON, True),
        (MessageKind.OPTED_OUT, True),
        (MessageKind.OPTED_IN, True),
    ],
)
def test_outside_the_sending_hours_only_answers_go(sending: Sending, kind: MessageKind, taken: bool) -> None:
    message = sending.queue(1, kind)
    opening = START + 10 * HOUR
    claimed = sending.claim(terms=replace(TERMS, opening=lambda _: opening))
    assert ids(claimed) == ([message] if taken else [])
    row = sending.message(message)
    assert (row.state, row.not_before) == (("handed", START) if taken else ("queued", opening))
    assert row.settle_at == (START + 2 * MINUTE if taken else START + 20 * HOUR)


@pytest.mark.parametrize(
    ("label", "values", "reason", "invitation"),
    [
        ("too late", {"not_after": START - timedelta(seconds=1)}, "too_late", ("impossible", "unsent")),
        ("no text", {"fields": {"never": "not_approved"}}, "not_approved", ("impossible", "not_approved")),
        ("a long reason", {"fields": {"never": "x" * 90}}, "x" * 64, ("impossible", "x" * 64)),
    ],
)
def test_what_cannot_be_sent_fails_and_its_invitation_is_impossible(
    sending: Sending, label: str, values: dict[str, Any], reason: str, invitation: tuple[str, str]
) -> None:
    message = sending.queue(1, **values)
    assert sending.claim() == [], label
    row, asked = sending.message(message), sending.invitation_of(message)
    assert (row.state, row.reason, row.settle_at) == ("failed", reason, None)
    assert (asked.state, asked.reason, asked.number_sealed, asked.ended_at) == (*invitation, None, START)


def test_a_reminder_that_cannot_be_sent_leaves_its_invitation_asked(sending: Sending) -> None:
    message = sending.queue(1, MessageKind.REMINDER, not_after=START - MINUTE)
    assert sending.claim() == []
    asked = sending.invitation_of(message)
    assert (sending.message(message).state, asked.state, asked.undelivered) == ("failed", "asked", True)


def test_one_that_cannot_be_sent_costs_the_others_nothing(sending: Sending) -> None:
    sending.queue(1, not_after=START - MINUTE)
    sending.queue(2, fields={"never": "no_text"})
    good = sending.queue(3)
    assert ids(sending.claim()) == [good]


_KINDS = MessageKind


@pytest.mark.parametrize(
    ("kind", "state", "muted", "reason"),
    [
        (_KINDS.INVITATION, "waiting", False, None),
        (_KINDS.INVITATION, "asked", False, None),
        (_KINDS.INVITATION, "rated", False, "rated"),
        (_KINDS.INVITATION, "withdrawn", False, "withdrawn"),
        (_KINDS.INVITATION, "superseded", False, "superseded"),
        (_KINDS.INVITATION, "asked", True, "opted_out"),
        (_KINDS.REMINDER, "asked", False, None),
        (_KINDS.REMINDER, "asked", True, "opted_out"),
        (_KINDS.REMINDER, "expired", False, "expired"),
        (_KINDS.REMINDER, "defaulted", False, "defaulted"),
        (_KINDS.BY_HAND, "asked", False, None),
        (_KINDS.BY_HAND, "expired", False, None),
        (_KINDS.BY_HAND, "rated", False, "rated"),
        (_KINDS.BY_HAND, "withdrawn", False, "withdrawn"),
        (_KINDS.CLARIFICATION, "expired", False, None),
        (_KINDS.CLARIFICATION, "asked", True, "opted_out"),
        (_KINDS.REASON, "rated", False, None),
        (_KINDS.REASON, "rated", True, "opted_out"),
        (_KINDS.OPTED_OUT, "asked", True, None),
        (_KINDS.OPTED_IN, "rated", True, None),
    ],
)
def test_what_is_no_longer_wanted_when_its_turn_comes_is_cancelled(
    sending: Sending, kind: MessageKind, state: str, muted: bool, reason: str | None
) -> None:
    """Rated on the other channel, withdrawn, opted out: between the queueing and the claim."""
    invitation = sending.invitation(1, state=state, muted=muted, due_at=None)
    message = sending.queue(1, kind, invitation_id=invitation)
    assert ids(sending.claim()) == ([message] if reason is None else [])
    row = sending.message(message)
    assert (row.state, row.reason) == (("handed", None) if reason is None else ("cancelled", reason))


def test_an_invitation_that_is_no_more_is_not_sent(sending: Sending) -> None:
    message = sending.queue(1, invitation_id=new_id())
    assert sending.claim() == []
    assert (sending.message(message).state, sending.message(message).reason) == ("cancelled", "no_invitation")


@pytest.mark.parametrize(
    ("origins", "ended", "reason"),
    [
        (["citizen"], None, "opted_out"),
        (["carrier"], None, "carrier_opt_out"),
        (["citizen", "carrier"], None, "carrier_opt_out"),
        (["citizen"], START, None),
    ],
)
def test_a_number_that_opted_out_after_the_queueing_gets_nothing(
    sending: Sending, origins: list[str], ended: datetime | None, reason: str | None
) -> None:
    message = sending.queue(1)
    confirmation = sending.queue(1, _KINDS.OPTED_OUT, not_before=START + MINUTE)
    for origin in origins:
        number = sending.number(1)
        row = {"id": new_id(), "origin": origin, "at": START, "ended_at": ended}
        row |= {f"number_{name}": value for name, value in number._asdict().items()}
        sending.change(insert(opt_outs).values(**row))
    assert ids(sending.claim()) == ([message] if reason is None else [])
    if reason is not None:
        asked = sending.invitation_of(message)
        assert (sending.message(message).state, sending.message(message).reason) == ("cancelled", reason)
        assert (asked.state, asked.reason) == ("impossible", reason)
        sending.clock.turn(MINUTE)
        assert ids(sending.claim()) == [confirmation]


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "values", "first_asked_at", "asked_by", "due_at"),
    [
        ("a call", {}, START, "sms", START + 7 * DAY),
        ("a case", {"kind": "case"}, START, "sms", None),
        (
            "a call that was asked by voice",
            {"first_asked_at": START - HOUR, "asked_by": "voice"},
            START - HOUR,
            "voice",
            START + 7 * DAY,
        ),
    ],
)
def test_with_its_first_segment_an_invitation_is_asked(
    sending: Sending, label: str, values: dict[str, Any], first_asked_at: datetime, asked_by: str, due_at: Any
) -> None:
    invitation = sending.invitation(1, **{"due_at": None, **values})
    message = sending.queue(1, invitation_id=invitation)
    [claimed] = sending.claim()
    row, asked = sending.message(message), sending.invitation_of(message)
    assert (asked.state, asked.first_asked_at, asked.asked_by, asked.due_at, asked.not_after) == (
        "asked",
        first_asked_at,
        asked_by,
        due_at,
        None,
    ), label
    assert (row.state, row.link, row.our_number, row.total) == ("handed", "m", claimed.our_number, 1)
    assert (row.lease_owner, row.settle_at, row.handed_at, row.tries) == (OWNER, START + 2 * MINUTE, START, 1)
    assert (row.text, row.reference) == ("text of invitation", 7)
    assert sending.states(message) == ["handed"]


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "fates", "state", "segments", "undelivered"),
    [
        ("accepted", [Fate.ACCEPTED], ("sent", None), ["accepted"], False),
        ("all of three", [Fate.ACCEPTED] * 3, ("sent", None), ["accepted"] * 3, False),
        ("failed", [Fate.FAILED], ("failed", "ESME_RINVDSTADR"), ["failed"], True),
        ("the last of two failed", [Fate.ACCEPTED, Fate.FAILED], ("failed", "ESME_RINVDSTADR"), None, True),
        ("unknown", [Fate.UNKNOWN], ("unknown", None), ["unknown"], False),
        ("one of two unknown", [Fate.ACCEPTED, Fate.UNKNOWN], ("unknown", None), ["accepted", "unknown"], False),
    ],
)
def test_answers(
    sending: Sending,
    label: str,
    fates: list[Fate],
    state: tuple[str, str | None],
    segments: list[str] | None,
    undelivered: bool,
) -> None:
    message = sending.queue(1, parts=len(fates))
    sending.answer(sending.hand(message), "a1", "b2", "c3", fates=fates)
    row = sending.message(message)
    assert (row.state, row.reason, row.lease_owner) == (*state, None), label
    assert row.settle_at == (START + 10 * MINUTE if state[0] == "unknown" else None)
    assert sending.states(message) == (segments or ["accepted", "failed"])
    assert sending.invitation_of(message).undelivered is undelivered


def test_the_message_is_handed_until_its_last_segment_has_its_answer(sending: Sending) -> None:
    message = sending.queue(1, parts=2)
    claimed = sending.hand(message)
    sending.store([sending.segment_answer(claimed, 1, Fate.ACCEPTED, "a1")])
    assert (sending.message(message).state, sending.states(message)) == ("handed", ["accepted", "handed"])
    sending.store(
        [sending.segment_answer(claimed, 2, Fate.ACCEPTED, "a2")],
        [Outcome(message, MessageState.SENT, None, None, several=True)],
    )
    assert (sending.message(message).state, sending.states(message)) == ("sent", ["accepted", "accepted"])
    assert [row.smsc_id for row in sending.segments(message)] == ["a1", "a2"]


def test_a_failed_answer_to_a_conversation_says_nothing_of_the_invitation(sending: Sending) -> None:
    message = sending.queue(1, MessageKind.CLARIFICATION)
    sending.answer(sending.hand(message), fates=[Fate.FAILED])
    assert sending.invitation_of(message).undelivered is False


@pytest.mark.parametrize("status", [0x58, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_any_status_and_any_id_can_be_stored(sending: Sending, status: int) -> None:
    """A vendor's status has 32 bits; an id of an unknown length must not keep other answers from being stored."""
    message = sending.queue(1)
    claimed = sending.hand(message)
    answer = replace(sending.segment_answer(claimed, 1, Fate.FAILED, "x" * 300), status=status)
    sending.store([answer], [Outcome(message, MessageState.FAILED, "y" * 300, None)])
    [segment] = sending.segments(message)
    assert (segment.status, len(segment.smsc_id), len(sending.message(message).reason)) == (status, 80, 64)


def test_an_answer_stored_twice_is_stored_once(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    for _ in range(2):
        sending.answer(claimed, "a1")
    assert (sending.message(message).state, sending.states(message)) == ("sent", ["accepted"])


# ── given back ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_not_sent_goes_back_to_its_place_as_if_nothing_had_been(sending: Sending) -> None:
    message = sending.queue(1, not_before=START - HOUR)
    before, invited = sending.message(message), sending.invitation_of(message)
    for _ in range(3):
        sending.answer(sending.hand(message), fates=[Fate.NOT_SENT])
        row, asked = sending.message(message), sending.invitation_of(message)
        assert (row.state, row.tries, row.not_before, row.handed_at) == ("queued", 0, START - HOUR, None)
        assert (row.lease_owner, row.settle_at) == (None, before.settle_at)
        assert (asked.state, asked.first_asked_at, asked.asked_by, asked.due_at) == ("waiting", None, None, None)
        assert asked.not_after == invited.not_after
        assert sending.states(message) == ["waiting"]
    sending.answer(sending.hand(message), "a1")
    assert (sending.message(message).state, sending.message(message).tries) == ("sent", 1)
    assert sending.invitation_of(message).state == "asked"


def test_one_asked_by_voice_and_then_not_sent_was_asked_by_voice(sending: Sending) -> None:
    invitation = sending.invitation(1, due_at=None, first_asked_at=START - HOUR, asked_by="voice")
    message = sending.queue(1, invitation_id=invitation)
    sending.answer(sending.hand(message), fates=[Fate.NOT_SENT])
    asked = sending.invitation_of(message)
    assert (asked.state, asked.first_asked_at, asked.asked_by) == ("waiting", START - HOUR, "voice")


def test_one_never_sent_is_impossible_when_it_is_too_late(sending: Sending) -> None:
    """A link that took it and gave it back has asked nobody."""
    message = sending.queue(1, not_after=START + HOUR)
    sending.answer(sending.hand(message), fates=[Fate.NOT_SENT])
    sending.clock.turn(HOUR + MINUTE)
    assert sending.settle() == 1
    asked = sending.invitation_of(message)
    assert (asked.state, asked.reason, asked.first_asked_at) == ("impossible", "unsent", None)


def _refuse(sending: Sending, message: str, wait: timedelta) -> Any:
    claimed = sending.hand(message)
    sending.store(
        [sending.segment_answer(claimed, 1, Fate.NOT_SENT)],
        back=[GivenBack(message, sending.clock.now() + wait, "ESME_RSYSERR")],
    )
    return sending.message(message)


def test_a_message_refused_for_no_reason_of_its_own_goes_again_and_no_try_is_counted(sending: Sending) -> None:
    message = sending.queue(1)
    for turn in range(5):
        row = _refuse(sending, message, MINUTE)
        assert (row.state, row.tries, row.not_before) == ("queued", 0, sending.clock.now() + MINUTE), turn
        asked = sending.invitation_of(message)
        assert (asked.state, asked.first_asked_at) == ("waiting", None), turn
        assert sending.claim() == []
        sending.clock.turn(MINUTE)
    sending.answer(sending.hand(message), "a1")
    assert (sending.message(message).state, sending.invitation_of(message).state) == ("sent", "asked")


def test_refused_until_it_is_too_late_it_fails_as_one_that_was_never_sent(sending: Sending) -> None:
    """The waits grow no longer than half of what is left, so that the last try is near the end."""
    message = sending.queue(1, not_after=START + 10 * MINUTE)
    waits = []
    while (left := sending.message(message).not_after - sending.clock.now()) >= MINUTE:
        row = _refuse(sending, message, HOUR)
        waits.append((row.not_before - sending.clock.now()) / left)
        sending.clock.turn(row.not_before - sending.clock.now())
        assert sending.settle() == 0
    assert waits == [0.5] * 4
    row = _refuse(sending, message, MINUTE)
    assert row.not_before == START + 10 * MINUTE, "no try is left"
    sending.clock.turn(MINUTE)
    assert sending.claim() == []
    assert (sending.message(message).state, sending.message(message).reason) == ("failed", "too_late")
    asked = sending.invitation_of(message)
    assert (asked.state, asked.reason, asked.first_asked_at) == ("impossible", "unsent", None)


def test_one_that_is_never_too_late_is_not_refused_for_ever(sending: Sending) -> None:
    message = sending.queue(1, not_after=None)
    assert _refuse(sending, message, HOUR).state == "queued"
    sending.clock.turn(DAY)
    row = _refuse(sending, message, HOUR)
    assert (row.state, row.reason, row.settle_at) == ("failed", "ESME_RSYSERR", None)
    assert sending.invitation_of(message).undelivered is True


@pytest.mark.parametrize("later", [None, START + MINUTE])
def test_a_partly_accepted_message_sends_only_what_was_not(sending: Sending, later: datetime | None) -> None:
    message = sending.queue(1, parts=3)
    claimed = sending.hand(message)
    fates = (Fate.ACCEPTED, Fate.NOT_SENT, Fate.NOT_SENT)
    answers = [
        sending.segment_answer(claimed, number, fate, "a1" if fate is Fate.ACCEPTED else None)
        for number, fate in enumerate(fates, start=1)
    ]
    sending.store(answers, back=[GivenBack(message, later)])
    row = sending.message(message)
    assert (row.state, row.handed_at) == ("queued", START)
    assert sending.invitation_of(message).state == "asked"  # a segment has gone
    assert sending.states(message) == ["accepted", "waiting", "waiting"]
    sending.clock.turn(MINUTE)
    again = sending.hand(message)
    assert [segment.number for segment in again.segments] == [2, 3]
    assert (again.text, again.reference, again.total) == (claimed.text, claimed.reference, 3)
    assert sending.message(message).handed_at == START
    sending.answer(again, "a2", "a3")
    assert sending.states(message) == ["accepted"] * 3
    assert [row.smsc_id for row in sending.segments(message)] == ["a1", "a2", "a3"]


@pytest.mark.parametrize(
    ("label", "options", "numbers"),
    [
        ("the same link", {}, [2]),
        ("another that cuts alike", {"link": "n"}, [2]),
        ("another with another number", {"link": "n", "service": "10690000"}, [1, 2]),
        ("another that cuts otherwise", {"link": "n", "segmented": 1}, [1]),
    ],
)
def test_over_a_link_whose_parts_do_not_join_the_whole_text_goes_again(
    sending: Sending, label: str, options: dict[str, Any], numbers: list[int]
) -> None:
    message = sending.queue(1, parts=2, carrier="")
    sending.answer(sending.hand(message), "a1", fates=[Fate.ACCEPTED, Fate.NOT_SENT])
    again = sending.hand(message, **{"carriers": ("unicom", ""), **options})
    assert [segment.number for segment in again.segments] == numbers, label
    ids = [f"b{number}" for number in numbers]
    sending.answer(again, *ids)
    assert [row.smsc_id for row in sending.segments(message)][-len(ids) :] == ids
    assert set(sending.states(message)) == {"accepted"}


# ── nobody answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_kill_nothing_is_sent_blindly(sending: Sending) -> None:
    """Handed by a process that is no more: unknown, then once more, then failed; each after its time."""
    message = sending.queue(1, not_after=START + 30 * DAY)
    sending.hand(message)
    dead = "there/b9"
    assert sending.settle(owner=dead) == 0  # its lease is not over
    sending.clock.turn(2 * MINUTE)
    assert sending.settle(owner=dead) == 1
    assert (sending.message(message).state, sending.states(message)) == ("unknown", ["unknown"])
    assert sending.claim() == []
    assert sending.settle() == 0
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    row = sending.message(message)
    assert (row.state, row.reason, row.not_before) == ("queued", "sent_again", sending.clock.now())
    again = sending.hand(message)
    assert (len(again.segments), sending.message(message).tries) == (1, 2)
    assert sending.invitation_of(message).first_asked_at == START
    sending.answer(again, fates=[Fate.UNKNOWN])
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    row = sending.message(message)
    assert (row.state, row.reason, row.settle_at) == ("failed", "unknown", None)
    assert sending.invitation_of(message).undelivered is True
    assert sending.settle() == 0


@pytest.mark.parametrize(
    ("label", "handed_by", "settled"),
    [
        ("an earlier process of this node", "here/b0", 1),
        ("this one", "here/b1", 0),
        ("another node's", "there/b0", 0),
        ("a node of a longer name", "here2/b0", 0),
    ],
)
def test_at_the_start_what_an_earlier_process_was_about_is_unknown(
    sending: Sending, label: str, handed_by: str, settled: int
) -> None:
    message = sending.queue(1)
    sending.hand(message, terms=replace(TERMS, owner=handed_by))
    assert sending.settle(restarted=True) == settled, label
    assert sending.message(message).state == ("unknown" if settled else "handed")


def test_own_live_messages_are_left_alone(sending: Sending) -> None:
    message = sending.queue(1)
    claimed = sending.hand(message)
    sending.clock.turn(2 * MINUTE - timedelta(seconds=1))
    assert sending.settle() == 0
    sending.answer(claimed, "a1")
    sending.clock.turn(HOUR)
    assert sending.settle() == 0
    assert sending.message(message).state == "sent"


def test_a_late_answer_is_still_true(sending: Sending) -> None:
    """A process that stood still longer than its lease: what it was answered is known all the same."""
    message = sending.queue(1)
    claimed = sending.hand(message)
    sending.clock.turn(2 * MINUTE)
    assert sending.settle(owner="there/b9") == 1
    sending.answer(claimed, "a1")
    assert (sending.message(message).state, sending.message(message).settle_at) == ("sent", None)
    assert sending.states(message) == ["accepted"]


def test_a_late_answer_keeps_a_queued_message_from_going_again(sending: Sending) -> None:
    message = sending.lose()
    claimed = Claimed("", "", 7, (), message, sending.hash())
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    assert sending.message(message).state == "queued"
    sending.store(
        [sending.segment_answer(claimed, 1, Fate.ACCEPTED, "a1")], [Outcome(message, MessageState.SENT, None, None)]
    )
    again = sending.hand(message)
    assert again.segments == ()  # the sender tells so at once
    sending.answer(again)
    assert sending.message(message).state == "sent"


def test_another_owners_word_does_not_touch_what_was_taken_over(sending: Sending) -> None:
    message = sending.queue(1)
    mine = sending.hand(message, terms=replace(TERMS, owner="there/b9"))
    sending.store(back=[GivenBack(message)], owner=OWNER)
    sending.answer(mine, "a1", owner=OWNER)
    row = sending.message(message)
    assert (row.state, row.lease_owner) == ("handed", "there/b9")


def test_of_an_unknown_message_only_segments_not_delivered_go_again(sending: Sending) -> None:
    message = sending.queue(1, parts=3)
    sending.answer(sending.hand(message), "a1", fates=[Fate.ACCEPTED, Fate.UNKNOWN, Fate.UNKNOWN])
    sending.receipt(ReceiptClass.DELIVERED, "a1")
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    assert [segment.number for segment in sending.hand(message).segments] == [2, 3]


def test_queued_until_it_is_too_late_it_fails(sending: Sending) -> None:
    invited = sending.queue(1, not_after=START + HOUR, carrier="nobody")
    answer = sending.queue(2, MessageKind.CLARIFICATION, not_after=START + 10 * MINUTE, carrier="nobody")
    for_ever = sending.queue(3, MessageKind.OPTED_OUT, not_after=None, carrier="nobody")
    sending.clock.turn(10 * MINUTE)
    assert sending.settle() == 1
    sending.clock.turn(HOUR)
    assert sending.settle() == 1
    assert [(sending.message(each).state, sending.message(each).reason) for each in (invited, answer, for_ever)] == [
        ("failed", "too_late"),
        ("failed", "too_late"),
        ("queued", None),
    ]
    asked = sending.invitation_of(invited)
    assert (asked.state, asked.reason) == ("impossible", "unsent")


def test_settling_goes_in_groups(sending: Sending) -> None:
    new = [sending.new(n, not_after=START + MINUTE) for n in range(100)]
    sending.queued(*new)
    sending.clock.turn(2 * MINUTE)
    assert [sending.settle() for _ in range(3)] == [64, 36, 0]
    assert {row.state for row in sending.rows(messages)} == {"failed"}


def test_a_message_of_an_invitation_that_ends_is_cancelled_unless_a_link_has_it(sending: Sending) -> None:
    queued, handed = sending.queue(1, not_before=START + HOUR), sending.queue(2)
    sending.claim()
    for message in (queued, handed):
        ending = Ending(sending.message(message).invitation_id, InvitationState.RATED, None, START)
        sending.write(partial(end_invitations, endings=[ending]))
    assert [sending.message(each).state for each in (queued, handed)] == ["cancelled", "handed"]
    assert {row.state for row in sending.rows(invitations)} == {"rated"}
