"""Reminders: the decision as a table, and what is stored of it on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from json import loads
from typing import Any

import pytest
from sqlalchemy import insert, update

from intake.endings import Ending, end_invitations
from intake.manners import SendingRules
from intake.reminders import (
    APART,
    GROUP,
    REMIND,
    AskedCase,
    RemindDue,
    Reminded,
    ReminderRules,
    Situation,
    Sms,
    Standing,
    Verdict,
    decide,
)
from models.clock import SHANGHAI
from models.ids import new_id
from models.privacy import Keyring
from models.tables import cases, invitations, messages, opt_outs
from models.terms import InvitationState, MessageKind, MessageState
from tests.intake.replying import AUTOMATIC, CITIZEN, OPT_OUT, WAIT, Replying, level
from tests.intake.sending import Sending
from tests.moments import START

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CLOSED = START - DAY
DEADLINE = START + 6 * DAY

# ── the decision ──────────────────────────────────────────────────────────────────────────────────────────────────────


def situation(**changes: Any) -> Situation:
    """A case closed a day ago, asked by an SMS that went at once; its reminder is due now."""
    usual = Situation(
        state=InvitationState.ASKED,
        reason=None,
        muted=False,
        reachable=True,
        refusal=None,
        cases=(AskedCase(Standing.OPEN, CLOSED, DEADLINE),),
        sms=Sms(MessageState.DELIVERED, None, None, CLOSED + MINUTE),
        opening=START,
    )
    return replace(usual, **changes)


def of(standing: Standing, closed_at: datetime = CLOSED, deadline: datetime | None = DEADLINE) -> AskedCase:
    return AskedCase(standing, closed_at, deadline)


def sms(state: MessageState = MessageState.SENT, reason: str | None = None, **at: datetime) -> Sms:
    return Sms(state, reason, at.get("goes_at"), at.get("handed_at"))


NOW = Verdict(until=DEADLINE)
CASES: dict[str, tuple[Situation, Verdict]] = {
    "closed for a day, asked, unrated": (situation(), NOW),
    "not for a day yet": (situation(cases=(of(Standing.OPEN, CLOSED + HOUR),)), Verdict(when=START + HOUR)),
    "of two the older one counts": (
        situation(cases=(of(Standing.OPEN, CLOSED + 5 * HOUR), of(Standing.OPEN, CLOSED))),
        NOW,
    ),
    "the older one is rated: the other counts": (
        situation(cases=(of(Standing.RATED), of(Standing.OPEN, CLOSED + 5 * HOUR))),
        Verdict(when=START + 5 * HOUR),
    ),
    "rated": (situation(state=InvitationState.RATED, cases=(of(Standing.RATED),)), Verdict(why_not="rated")),
    "defaulted": (
        situation(state=InvitationState.DEFAULTED, cases=(of(Standing.DEFAULTED),)),
        Verdict(why_not="defaulted"),
    ),
    "withdrawn": (
        situation(state=InvitationState.WITHDRAWN, cases=(of(Standing.WITHDRAWN),)),
        Verdict(why_not="withdrawn"),
    ),
    "one withdrawn, one rated": (
        situation(cases=(of(Standing.WITHDRAWN), of(Standing.RATED))),
        Verdict(why_not="rated"),
    ),
    "only a call is left in it": (situation(cases=()), Verdict(why_not="no_case")),
    "a landline": (
        situation(state=InvitationState.IMPOSSIBLE, reason="landline", sms=None),
        Verdict(why_not="landline"),
    ),
    "never sent, and over": (
        situation(state=InvitationState.IMPOSSIBLE, reason="unsent", sms=None),
        Verdict(why_not="unsent"),
    ),
    "a landline whose case is not closed for a day": (
        situation(state=InvitationState.IMPOSSIBLE, reason="landline", cases=(of(Standing.OPEN, START),)),
        Verdict(when=START + DAY),
    ),
    "its slot was given to another": (
        situation(state=InvitationState.SUPERSEDED),
        Verdict(why_not="superseded"),
    ),
    "skipped in the call": (
        situation(state=InvitationState.EXPIRED, reason="skipped", sms=None),
        Verdict(why_not="skipped"),
    ),
    "opted out": (situation(refusal="opted_out"), Verdict(why_not="opted_out")),
    "muted, and the number is not known any more": (
        situation(muted=True, reachable=False),
        Verdict(why_not="opted_out"),
    ),
    "the carrier's blacklist": (situation(refusal="carrier_opt_out"), Verdict(why_not="carrier_opt_out")),
    "a dead number": (
        situation(sms=sms(MessageState.FAILED, "dead_number", handed_at=CLOSED)),
        Verdict(why_not="dead_number"),
    ),
    "not delivered for another reason": (
        situation(sms=sms(MessageState.FAILED, "no_route", handed_at=CLOSED)),
        NOW,
    ),
    "its number cannot be opened": (situation(reachable=False), Verdict(why_not="number_unreadable")),
    "the SMS went only two hours ago": (
        situation(sms=sms(handed_at=START - 2 * HOUR)),
        Verdict(when=START + 10 * HOUR),
    ),
    "the SMS went twelve hours ago": (situation(sms=sms(handed_at=START - APART)), NOW),
    "the SMS waits for tomorrow once more": (
        situation(sms=sms(MessageState.QUEUED, goes_at=START + 20 * HOUR, handed_at=CLOSED)),
        Verdict(when=START + 32 * HOUR),
    ),
    "never sent so far": (situation(state=InvitationState.WAITING, sms=None), Verdict(when=START + APART)),
    "a message that is not read yet": (situation(unread=True), Verdict(when=START + MINUTE)),
    "one that is not read yet, and the deadline comes first": (
        situation(unread=True, cases=(of(Standing.OPEN, deadline=START + timedelta(seconds=30)),)),
        Verdict(when=START + timedelta(seconds=31)),
    ),
    "the call is not over": (
        situation(state=InvitationState.ASKED_BY_VOICE, sms=None),
        Verdict(when=START + 10 * MINUTE),
    ),
    "at night": (situation(opening=START + 9 * HOUR), Verdict(when=START + 9 * HOUR)),
    "the cap is reached": (situation(capped_until=START + 14 * HOUR), Verdict(when=START + 14 * HOUR)),
    "the deadline is over": (
        situation(cases=(of(Standing.OPEN, deadline=START),)),
        Verdict(why_not="too_late"),
    ),
    "would come after the deadline: looked at then": (
        situation(cases=(of(Standing.OPEN, deadline=START + HOUR),), opening=START + 9 * HOUR),
        Verdict(when=START + HOUR + timedelta(seconds=1)),
    ),
    "a deadline that nobody knows": (
        situation(cases=(of(Standing.OPEN, deadline=None),)),
        Verdict(),
    ),
}


@pytest.mark.parametrize(("known", "verdict"), CASES.values(), ids=CASES)
def test_whether_and_when(known: Situation, verdict: Verdict) -> None:
    assert decide(known, START, DAY) == verdict


@pytest.mark.parametrize("instead", ["centre", "switched_off"])
@pytest.mark.parametrize("name", ["closed for a day, asked, unrated", "at night", "never sent so far", "a landline"])
def test_where_another_reminds_this_server_does_not(name: str, instead: str) -> None:
    assert decide(CASES[name][0], START, DAY, instead) == Verdict(why_not=instead)


def test_what_the_citizen_did_is_told_even_then() -> None:
    assert decide(CASES["rated"][0], START, DAY, "centre") == Verdict(why_not="rated")


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────


def hours(moment: datetime) -> datetime:
    """08:30 to 21:00."""
    local = moment.astimezone(SHANGHAI)
    first = local.replace(hour=8, minute=30, second=0, microsecond=0)
    if local < first:
        return first
    return moment if local.hour < 21 else first + DAY


@pytest.fixture
def rules(keyring: Keyring) -> ReminderRules:
    sending = SendingRules(
        opening=hours,
        daily_cap=2,
        code_digits=2,
        carrier_of=lambda number: "mobile" if number.startswith("+86138") else "",
        extensions=lambda _carrier: True,
        open_number=keyring.open,
    )
    return ReminderRules(DAY, sending)


@pytest.fixture
def remind(record: Replying, rules: ReminderRules) -> Callable[..., Reminded]:
    def run(**changes: Any) -> Reminded:
        return record.door.submit(RemindDue(record.clock.now(), replace(rules, **changes))).result(WAIT)

    return run


def asked(record: Replying, n: int = 1, *, raw: str | None = None, **more: Any) -> str:
    """A case closed now, whose invitation went at once; it is to be looked at in a day."""
    now = record.clock.now()
    number = raw or f"138{n:08d}"
    case = record.case(f"GD-{n}", number)
    invitation = record.invite(case, raw=number, code=f"{n % 100:02d}", due_at=None, **{"remind_at": now + DAY, **more})
    record.write(
        insert(messages).values(
            id=new_id(), direction="out", kind=MessageKind.INVITATION.value, state=MessageState.DELIVERED.value,
            invitation_id=invitation, once_key=f"invite:{invitation}", tries=1, handed_at=now, created_at=now,
            changed_at=now, not_before=now, **record.columns(number),
        )
    )  # fmt: skip
    return invitation


def reminders(record: Replying) -> list[Any]:
    return record.rows(messages, kind=MessageKind.REMINDER.value)


def of_invitation(record: Replying, invitation: str) -> Any:
    return record.one(invitations, id=invitation)


def test_a_day_after_the_closing_one_sms_is_queued(record: Replying, remind: Callable[..., Reminded]) -> None:
    invitation = asked(record)
    record.clock.turn(DAY - MINUTE)
    assert remind() == Reminded()
    record.clock.turn(MINUTE)
    assert remind() == Reminded(queued=1)
    [message] = reminders(record)
    known = of_invitation(record, invitation)
    assert (message.invitation_id, message.code, message.carrier, message.once_key) == (
        invitation,
        "01",
        "mobile",
        f"remind:{invitation}",
    )
    assert message.number_hash == record.number("13800000001").hash
    assert message.not_after == record.one(cases, case_no="GD-1").deadline
    assert loads(message.fields) == {
        "keys": known.key_map, "subject": "case", "count": "1", "case_no": "GD-1", "day": "2026-11-18",
    }  # fmt: skip
    assert (known.remind_at, known.reminder, known.reminded_at) == (None, "queued", record.clock.now())


def test_it_is_looked_at_once(record: Replying, remind: Callable[..., Reminded]) -> None:
    asked(record)
    record.clock.turn(DAY)
    assert remind().queued == 1
    record.clock.turn(DAY)
    assert remind() == Reminded()
    assert len(reminders(record)) == 1


def test_at_night_it_waits_for_the_morning(record: Replying, remind: Callable[..., Reminded]) -> None:
    invitation = asked(record)
    record.clock.turn(DAY + 12 * HOUR)  # 22:00
    assert remind() == Reminded(postponed=1)
    assert of_invitation(record, invitation).remind_at == START + 2 * DAY - 90 * MINUTE  # 08:30
    assert remind() == Reminded()
    record.clock.turn(10 * HOUR + 30 * MINUTE)
    assert remind() == Reminded(queued=1)


def test_the_cap_of_a_number_counts_over_its_invitations(record: Replying, remind: Callable[..., Reminded]) -> None:
    for n in range(1, 4):
        asked(record, n, raw=CITIZEN)
    record.clock.turn(DAY)
    assert remind() == Reminded(queued=2, postponed=1)
    tomorrow = record.clock.now().astimezone(SHANGHAI).replace(hour=0, minute=0) + DAY
    assert [row.remind_at for row in record.rows(invitations) if row.remind_at is not None] == [tomorrow]


@pytest.mark.parametrize(
    ("instead", "word"), [("centre", "centre"), ("switched_off", "switched_off")]
)  # fmt: skip
def test_where_another_reminds_it_is_written_down(
    record: Replying, remind: Callable[..., Reminded], instead: str, word: str
) -> None:
    invitation = asked(record)
    record.clock.turn(DAY)
    assert remind(instead=instead) == Reminded(skipped={word: 1})
    assert of_invitation(record, invitation).reminder == word
    assert reminders(record) == []


def test_a_number_that_opted_out_is_not_reminded(record: Replying, remind: Callable[..., Reminded]) -> None:
    asked(record)
    record.write(
        insert(opt_outs).values(id=new_id(), origin="citizen", at=START, **record.columns("13800000001"))
    )  # fmt: skip
    record.clock.turn(DAY)
    assert remind() == Reminded(skipped={"opted_out": 1})


def test_the_default_came_first(record: Replying, remind: Callable[..., Reminded]) -> None:
    invitation = asked(record)
    record.default(record.one(cases, case_no="GD-1").subject_id)
    record.clock.turn(DAY)
    assert remind() == Reminded(skipped={"defaulted": 1})
    assert of_invitation(record, invitation).reminder == "defaulted"


def test_an_invitation_that_never_went_gets_none_when_that_is_sure(
    record: Replying, remind: Callable[..., Reminded]
) -> None:
    case = record.case()
    invitation = record.invite(case, state=InvitationState.WAITING, remind_at=START + DAY)
    record.clock.turn(DAY)
    assert remind() == Reminded(postponed=1)
    record.door.write(
        lambda unit: end_invitations(
            unit, [Ending(invitation, InvitationState.IMPOSSIBLE, "unsent", record.clock.now())]
        )
    ).result(WAIT)
    record.clock.turn(APART)
    assert remind() == Reminded(skipped={"unsent": 1})


def test_a_key_that_is_gone_ends_one_and_no_other(
    record: Replying, remind: Callable[..., Reminded], keyring: Keyring
) -> None:
    broken, sound = asked(record, 1), asked(record, 2)
    other = Keyring.generate().seal("+8613800000001")
    record.write(update(invitations).where(invitations.c.id == broken).values(number_sealed=other.sealed))
    record.clock.turn(DAY)
    assert remind() == Reminded(queued=1, skipped={"number_unreadable": 1})
    assert of_invitation(record, sound).reminder == "queued"


def test_a_group_at_a_time_the_longest_overdue_first(record: Replying, remind: Callable[..., Reminded]) -> None:
    late = [asked(record, n, remind_at=START + DAY + n * MINUTE) for n in range(1, GROUP + 3)]
    record.clock.turn(2 * DAY)
    assert remind() == Reminded(queued=GROUP)
    left = {row.id for row in record.rows(invitations) if row.remind_at is not None}
    assert left == set(late[GROUP:])
    assert remind() == Reminded(queued=2)


@pytest.mark.parametrize(
    ("known", "word", "told", "then"),
    [
        (None, None, START, START),
        (START + HOUR, None, START, START),
        (START, None, START + HOUR, START),
        (None, "queued", START, None),
    ],
    ids=["the first case", "an older one", "a younger one", "it was reminded of"],
)
def test_a_case_that_comes_to_an_invitation_may_bring_its_look_forward(
    record: Replying, known: datetime | None, word: str | None, told: datetime, then: datetime | None
) -> None:
    invitation = record.invite(record.case(), remind_at=known, reminder=word)
    record.door.write(lambda unit: unit.many(REMIND, [(invitation, told)])).result(WAIT)
    assert of_invitation(record, invitation).remind_at == then


def test_two_processes_remind_nobody_twice(
    record: Replying, rules: ReminderRules, another_door: Callable[[], Any]
) -> None:
    for n in range(1, 101):
        asked(record, n)
    record.clock.turn(DAY)
    doors = [another_door(), another_door()]
    commands = [door.submit(RemindDue(record.clock.now(), rules)) for _ in range(8) for door in doors]
    queued = sum(future.result(WAIT).queued for future in commands)
    while (left := doors[0].submit(RemindDue(record.clock.now(), rules)).result(WAIT)).total:
        queued += left.queued
    assert queued == 100
    assert len({row.invitation_id for row in reminders(record)}) == len(reminders(record)) == 100


# ── what the citizen wrote, and nobody has read ───────────────────────────────────────────────────────────────────────


def test_a_message_that_is_not_read_is_read_before_the_citizen_is_reminded(
    record: Replying, remind: Callable[..., Reminded]
) -> None:
    invitation = asked(record)
    record.clock.turn(DAY - MINUTE)
    reply = record.stored("1", raw="13800000001", code="01")
    record.clock.turn(MINUTE)
    assert remind() == Reminded(postponed=1)
    assert of_invitation(record, invitation).remind_at == record.clock.now() + MINUTE
    record.take(reply, level(5))
    record.clock.turn(MINUTE)
    assert remind() == Reminded(skipped={"rated": 1})
    assert reminders(record) == []


@pytest.mark.parametrize("what", ["rating", "opt-out", "neither"])
def test_one_that_comes_behind_the_reminder_is_read_before_a_link_gets_it(
    record: Replying, remind: Callable[..., Reminded], keyring: Keyring, what: str
) -> None:
    asked(record)
    record.clock.turn(DAY)
    assert remind() == Reminded(queued=1)
    reply = record.stored("1", raw="13800000001", code="01")
    record.write(update(messages).where(messages.c.kind == "reminder").values(carrier="mobile"))
    sending = Sending(record.door, keyring, record.clock)
    assert sending.claim(carriers=("mobile",)) == []
    assert reminders(record)[0].not_before == record.clock.now() + MINUTE
    record.take(reply, {"rating": level(5), "opt-out": OPT_OUT, "neither": AUTOMATIC}[what])
    record.clock.turn(MINUTE)
    assert [one.kind for one in sending.claim(carriers=("mobile",))] == (["reminder"] if what == "neither" else [])
    [reminder] = reminders(record)
    assert reminder.state == ("handed" if what == "neither" else "cancelled")


def test_of_several_invitation_sms_the_one_that_went_counts(record: Replying, remind: Callable[..., Reminded]) -> None:
    """The case's text was made anew: the first one was cancelled, in whatever order the rows are found."""
    for n, cancelled in ((1, "older"), (2, "newer")):
        invitation = asked(record, n)
        [sent], second = record.rows(messages, invitation_id=invitation), new_id()
        gone, kept = (second, sent.id) if cancelled == "newer" else (sent.id, second)
        record.write(
            insert(messages).values(
                id=second, direction="out", kind=MessageKind.INVITATION.value, state=MessageState.DELIVERED.value,
                invitation_id=invitation, tries=1, created_at=START, changed_at=START,
                **record.columns(f"138{n:08d}"),
            ),
            update(messages).where(messages.c.id == kept).values(handed_at=START + DAY - 30 * MINUTE),
            update(messages).where(messages.c.id == gone).values(state="cancelled", reason="changed", handed_at=None),
        )  # fmt: skip
    record.clock.turn(DAY)
    assert remind() == Reminded(postponed=2)
    looks = {row.remind_at for row in record.rows(invitations)}
    assert looks == {START + DAY - 30 * MINUTE + APART}
