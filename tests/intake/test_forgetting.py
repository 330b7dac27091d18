"""A citizen asks to be forgotten: whatever table one looks into, nothing of him is left but the hash of an opt-out."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, insert, select, update

from centre.answers import Word
from centre.commands import Horizon, SettleBatch, TakeBatches, TakenBatch
from centre.retry import Backoff
from config.receipts import ReceiptClass
from intake import blanking, forgetting
from intake.answers import Fate, GivenBack
from intake.cases import CaseDesk, Poster
from intake.conversation import Heard
from intake.forgetting import BlankAnswered, ForgetGroup, Forgotten, NoteForgotten, tally
from intake.numbers import normalise_number
from intake.posted import read_case, read_patch
from models.clock import TurnedClock
from models.database import Database
from models.door import Bulk
from models.errors import KeyMismatch, KeyUnreadable
from models.ids import new_id
from models.privacy import Keyring
from models.rotation import rotate
from models.tables import (
    audit,
    calls,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    messages,
    metadata,
    number_routes,
    opt_outs,
    outbox,
    parts,
    push_batches,
    ratings,
    receipts,
    seen,
)
from models.tables import forgetting as forgetting_table
from models.terms import InvitationState, MessageKind, Verdict
from tests.centre.rows import MAPPER
from tests.intake.replying import OPT_IN, OPT_OUT, UNREADABLE, Replying, level, words
from tests.intake.sending import Sending
from tests.intake.test_cases import RULES as CASE_RULES
from tests.moments import START

HIM, HER = "13800004321", "13900005678"
WAIT = 10
DAY = timedelta(days=1)
WORDS = "我家楼下的路灯坏了三个月"
TITLE = "王小二反映路灯不亮"
HEARD = level(1, WORDS)
BACKOFF = Backoff(1.0, 300.0)
SYSTEM = Poster("gongdan", "token:gongdan")


class Person:
    """A record in which citizens leave all that can be left, and are forgotten."""

    def __init__(self, record: Replying) -> None:
        self.record = record
        self.door = record.door
        self.clock = record.clock

    def hashes(self, raw: str = HIM) -> tuple[bytes, ...]:
        value = normalise_number(raw).value
        assert value is not None
        return self.record.keyring.hashes(value)

    def group(self, raw: str = HIM) -> Forgotten:
        command = ForgetGroup(self.hashes(raw), self.record.keyring.active_id, self.clock.now())
        return self.door.submit(command).result(WAIT)

    def forget(self, raw: str = HIM) -> Forgotten:
        done = Forgotten()
        while group := self.group(raw):
            done += group
        self.door.submit(NoteForgotten.of(done, self.clock.now())).result(WAIT)
        return done

    def blank_answered(self) -> int:
        return self.door.submit(BlankAnswered()).result(WAIT)

    def evaluation(self, subject: str) -> Any:
        return self.record.one(evaluations, subject_id=subject)

    def take(self) -> TakenBatch:
        at = Horizon(self.clock.now(), timedelta(minutes=11), timedelta(hours=1), timedelta(minutes=2))
        command = TakeBatches("me", at, self.clock.now() + timedelta(minutes=1), 1, 1, 1, 100, (), MAPPER)
        [batch] = self.door.submit(command).result(WAIT).batches
        return batch

    def settle(self, batch: TakenBatch, verdict: Verdict = Verdict.ACCEPTED, why: str | None = None) -> None:
        told = dict.fromkeys(batch.members, Word(verdict, why))
        command = SettleBatch(batch.id, batch.members, told, self.clock.now(), BACKOFF, 1.0)
        self.door.submit(command).result(WAIT)

    def rated_by_sms(self, raw: str = HIM, heard: Heard = HEARD, *, name: str = "1", code: str = "07") -> str:
        """A case that was asked about by SMS and rated with words; the subject."""
        subject = self.record.case(f"GD-{name}", raw, title=TITLE, default_at=self.clock.now() + 7 * DAY)
        self.record.invite(subject, raw=raw, code=code, remind_at=self.clock.now() + DAY)
        self.record.reply(heard, raw=raw, code=code)
        return subject

    def leave_everything(self, raw: str, name: str) -> None:
        """A row of this citizen in every table that can have one."""
        record, now = self.record, self.clock.now()
        self.rated_by_sms(raw, name=f"{name}-rated")
        self.settle(self.take(), Verdict.REJECTED, WORDS)
        record.reply(level(5, WORDS), raw=raw)  # 追评
        self.record.write(update(messages).values(queue_note=WORDS).where(messages.c.queue_note.is_(None)))
        self.record.write(update(messages).values(handled_note=WORDS).where(messages.c.handled_note.is_(None)))
        open_case = record.case(f"GD-{name}-open", raw, title=TITLE, default_at=now + 7 * DAY)
        asked = record.invite(open_case, raw=raw, code="08", remind_at=now + DAY)
        waiting = record.case(f"GD-{name}-waiting", raw, title=TITLE)
        record.invite(waiting, raw=raw, code=None, state=InvitationState.WAITING)
        call = record.call(f"lx-{name}", raw)
        record.invite(call, raw=raw, code="09", kind="call")
        rating = record.rated(call, 2, kind="call")
        record.write(update(ratings).where(ratings.c.id == rating).values(comment=WORDS, raw_input=WORDS))
        record.write(update(ratings).where(ratings.c.id == rating).values(call_subject_id=call))
        record.write(insert(seen).values(rating_id=rating, seen_by="user:ma", seen_at=now, note=WORDS))
        told = update(evaluations).where(evaluations.c.rating_id == rating)
        record.write(told.values(comment=WORDS, centre_note=WORDS))
        typed = ("rating.noted", call, WORDS), ("number.revealed", call, f"call · {WORDS}"), ("call.rated", call, None)
        for action, item, detail in (*typed, ("number.revealed", open_case, f"case · {WORDS}")):
            record.write(
                insert(audit).values(
                    id=new_id(), at=now, actor="user:ma", action=action, subject_id=item, detail=detail
                )
            )
        record.reply(words(WORDS), raw=raw, code="08")
        record.reply(UNREADABLE, raw=raw, code="08")
        read = record.rows(messages, direction="in")[-1].id
        of_a_reply = {"action": "words.revealed", "subject_id": read, "detail": WORDS}
        record.write(insert(audit).values(id=new_id(), at=now, actor="user:ma", **of_a_reply))
        record.stored(WORDS, raw=raw, code="08")  # unread
        record.receive(record.part(WORDS, raw=raw, total=2, assembly_key=name.encode().ljust(16)))  # partial
        own = record.number(raw)
        number = dict(zip((f"number_{name}" for name in own._fields), own, strict=True))
        identity = new_id()
        record.write(
            insert(messages).values(
                id=identity, direction="out", kind="reminder", state="queued", invitation_id=asked, text=WORDS,
                fields=f'{{"title":"{TITLE}"}}', created_at=now, changed_at=now, settle_at=now + DAY, **number,
            ),
            insert(number_routes).values(id=new_id(), carrier="telecom", learnt_at=now, **number),
            insert(opt_outs).values(id=new_id(), origin="citizen", at=now, **number),
            insert(opt_outs).values(id=new_id(), origin="carrier", at=now, ended_at=now, **number),
            insert(receipts).values(
                id=new_id(), links="m", number_hash=own.hash, our_number="106", receipt="delivered", received_at=now
            ),
        )  # fmt: skip


@pytest.fixture
def person(doors: Any, emptied: Database, keyring: Keyring, clock: TurnedClock) -> Person:
    return Person(Replying(doors(), emptied, keyring, clock))


def everything(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.read_engine.connect() as connection:
        return {name: list(connection.execute(select(table))) for name, table in metadata.tables.items()}


def traces(database: Database, keyring: Keyring, raw: str) -> list[str]:
    """Where something of a citizen stands: his number in any form, his words, his cases' titles."""
    number = normalise_number(raw).value
    assert number is not None
    hidden = dict.fromkeys(keyring.hashes(number), "hash") | {keyring.tail(number): "tail"}
    told = [number, number.removeprefix("+86"), WORDS, TITLE]
    told_as_bytes = [text.encode(coding) for text in told for coding in ("utf-8", "utf-16-be", "gbk")]
    found = []
    for name, rows in everything(database).items():
        for row in rows:
            for column, value in row._mapping.items():
                place = f"{name}.{column}"
                if isinstance(value, str):
                    found += [f"{place}: in clear" for text in told if text in value]
                if isinstance(value, bytes):
                    found += [f"{place}: {what}" for what in [hidden.get(value)] if what]
                    found += [f"{place}: in clear" for text in told_as_bytes if text in value]
                    with suppress(KeyUnreadable):
                        found += [f"{place}: sealed"] if keyring.open(value) == number else []
    return found


def belongs_to(rows: dict[str, list[Any]], keyring: Keyring, raw: str) -> dict[str, list[Any]]:
    """The rows with this citizen's number, and what hangs on his subjects and messages."""
    value = normalise_number(raw).value
    assert value is not None
    own = keyring.hash(value)
    ids = {row[0] for table in rows.values() for row in table if getattr(row, "number_hash", None) == own}
    ids |= {row.invitation_id for row in rows["invitation_members"] if row.subject_id in ids}
    ids |= {row.rating_id for row in rows["evaluations"] if row.subject_id in ids}
    names = ("id", "subject_id", "message_id", "invitation_id", "evaluation_id")
    return {
        name: [row for row in table if any(getattr(row, each, None) in ids for each in names)]
        for name, table in rows.items()
    }


# ── nothing is left ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_left_but_the_hash_of_an_opt_out_and_nobody_else_loses_anything(
    person: Person, emptied: Database, keyring: Keyring
) -> None:
    person.leave_everything(HER, "hers")
    person.record.write(update(opt_outs).values(ended_at=None))
    person.leave_everything(HIM, "his")
    hers = belongs_to(everything(emptied), keyring, HER)
    before = everything(emptied)
    places = {trace.partition(":")[0] for trace in traces(emptied, keyring, HIM)}
    # The test looks at something in every place where something can be.
    assert {
        *(f"{name}.number_{part}" for name in NUMBERED for part in ("sealed", "hash", "tail")),
        "cases.title", "ratings.comment", "ratings.raw_input", "evaluations.comment", "remarks.text", "messages.text",
        "messages.fields", "messages.queue_note", "parts.body", "receipts.number_hash", "outbox.reason",
        "push_members.reason", "evaluations.centre_note", "audit.detail", "seen.note", "messages.handled_note",
    } <= places  # fmt: skip

    done = person.forget()

    assert {done.calls, done.cases, done.waiting} == {1, 3, 0}
    left = [trace for trace in traces(emptied, keyring, HIM) if not trace.endswith("in clear")]
    assert left == ["opt_outs.number_hash: hash"]
    after = everything(emptied)
    assert belongs_to(after, keyring, HER) == hers
    # What is counted is there as before.
    for name in ("calls", "cases", "invitations", "messages", "ratings", "evaluations", "remarks", "outbox"):
        assert len(after[name]) == len(before[name]), name
    for name in ("ratings", "evaluations"):
        assert sorted(row.satisfaction for row in after[name]) == sorted(row.satisfaction for row in before[name])

    person.forget(HER)
    assert traces(emptied, keyring, HER) == ["opt_outs.number_hash: hash"] * 2
    assert traces(emptied, keyring, HIM) == ["opt_outs.number_hash: hash"]


NUMBERED = ("calls", "cases", "invitations", "messages", "codes", "opt_outs", "number_routes")


def test_the_test_of_traces_looks_at_every_table_that_has_a_number() -> None:
    hashed = {
        table.name
        for table in metadata.tables.values()
        for column in table.columns
        if column.name == "number_hash" and isinstance(column.type, LargeBinary)
    }
    assert hashed == {*NUMBERED, "receipts"}


def test_the_audit_says_how_much_and_of_whom_nothing(person: Person) -> None:
    person.rated_by_sms()
    person.forget()
    person.forget()
    lines = person.record.rows(audit, action="person.forgotten")
    assert [(line.actor, line.subject_id) for line in lines] == [("command_line", None)] * 2
    assert '"cases": 1' in lines[0].detail
    assert '"messages": 1' in lines[0].detail
    assert lines[1].detail == (
        '{"invitations": 0, "calls": 0, "cases": 0, "messages": 0, "evaluations": 0, "waiting": 0, "others": 0}'
    )


def test_what_is_there_is_counted_before_it_goes(person: Person, emptied: Database) -> None:
    person.leave_everything(HIM, "his")
    with emptied.read_engine.connect() as connection:
        found = tally(connection, person.hashes())
        nobody = tally(connection, person.hashes("13700000000"))
    assert (found.calls, found.cases, found.opted_out) == (1, 3, True)
    assert (nobody.calls, nobody.cases, nobody.messages, nobody.opted_out) == (0, 0, 0, False)


# ── what was still to happen ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [InvitationState.WAITING, InvitationState.ASKED])
@pytest.mark.parametrize("muted", [False, True])
def test_an_open_invitation_ends_without_a_default(person: Person, state: InvitationState, muted: bool) -> None:
    record, due = person.record, START + 7 * DAY
    subject = record.case("GD-1", HIM, default_at=due)
    invited = record.invite(subject, raw=HIM, state=state, remind_at=START + DAY)
    if muted:
        gone = {f"number_{part}": None for part in ("sealed", "hash", "tail", "key_id")}
        record.change(invitations, invited, muted=True, **gone)
    record.queue(MessageKind.REMINDER, "again", invited)
    record.write(update(messages).values(**record.columns(HIM)))
    person.forget()
    invitation, case = record.one(invitations), record.one(cases)
    assert (invitation.state, invitation.reason, invitation.ended_at) == ("withdrawn", "forgotten", START)
    assert (invitation.due_at, invitation.remind_at, invitation.reminder) == (None, None, "forgotten")
    assert (case.default_at, case.default_reason, case.withdrawn_at) == (None, "forgotten", None)
    assert (record.one(messages).state, record.one(messages).reason) == ("cancelled", "forgotten")
    assert record.one(codes).ended_at == START


def test_a_provisional_case_gets_no_default_when_its_calendar_comes(person: Person) -> None:
    person.record.case("GD-1", HIM, provisional=True)
    person.record.case("GD-2", HIM)
    person.forget()
    assert [row.default_reason for row in person.record.rows(cases)] == ["forgotten", None]


@pytest.mark.parametrize("provisional", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(None, id="that the call alone named"),
        pytest.param("anonymous", id="posted without a phone"),
    ],
)
def test_the_case_of_his_call_goes_with_it_though_it_has_no_number(
    person: Person, kind: str | None, provisional: bool
) -> None:
    record, due = person.record, None if provisional else START + 7 * DAY
    gone = {f"number_{part}": None for part in ("sealed", "hash", "tail", "key_id")}
    subjects = {}
    for name, raw in (("his", HIM), ("hers", HER)):
        call = record.call(name, raw)
        more: dict[str, Any] = {**gone, "number_kind": kind, "default_at": due, "provisional": provisional}
        subjects[name] = record.case(name, raw, title=TITLE, **more)
        record.invite(call, subjects[name], kind="call", raw=raw, code=None)
    other = record.case("other", HER, title=TITLE, default_at=due)  # hers, though he called about it
    record.invite(record.call("for-her", HIM), other, kind="call", raw=HIM, code=None)
    done = person.forget()
    assert (done.calls, done.cases) == (2, 1)
    case = record.one(cases, subject_id=subjects["his"])
    assert (case.title, case.default_at, case.default_reason) == (None, None, "forgotten")
    for left in (subjects["hers"], other):
        case = record.one(cases, subject_id=left)
        assert (case.title, case.default_at, case.default_reason) == (TITLE, due, None)


def test_a_case_that_its_call_names_while_he_is_being_forgotten_goes_too(person: Person) -> None:
    """A command of one group may come between two of these; what it adds is found before the call's number goes."""
    record = person.record
    invitation = record.invite(record.call("his", HIM), kind="call", raw=HIM, code=None)
    assert person.group() == Forgotten(invitations=1)
    gone: dict[str, Any] = {f"number_{part}": None for part in ("kind", "sealed", "hash", "tail", "key_id")}
    subject = record.case("GD-1", stub=True, default_at=START + DAY, **gone)
    record.write(insert(invitation_members).values(invitation_id=invitation, subject_id=subject))
    person.forget()
    assert record.one(cases).default_reason == "forgotten"


def test_a_forgotten_case_gets_no_default_when_it_is_changed_or_completed(person: Person) -> None:
    record = person.record
    assert post(person).status == 201
    record.case("GD-2", HIM, stub=True, posted_by=None, default_at=START + 7 * DAY)
    person.forget()
    desk = CaseDesk(person.door, record.keyring, person.clock, CASE_RULES)
    changed = read_patch({"area_code": "622921"}, START, case_no="GD-1")
    assert desk.patch("GD-1", None, changed, SYSTEM).result(WAIT).status == 200
    assert post(person, case_no="GD-2").status == 201
    assert [(row.default_at, row.default_reason) for row in record.rows(cases)] == [(None, "forgotten")] * 2


def test_a_reply_that_nobody_has_read_is_read_by_nobody(person: Person) -> None:
    record = person.record
    record.invite(record.case(raw=HIM), raw=HIM)
    unread = record.stored("1", raw=HIM)
    person.forget()
    assert record.take(unread, HEARD).outcome is None
    assert (record.one(messages).state, record.one(messages).outcome) == ("read", "forgotten")
    assert record.rows(ratings) == record.rows(parts) == []


def test_what_waits_for_a_person_waits_no_longer(person: Person) -> None:
    person.record.reply(words(WORDS), raw=HIM)
    assert person.record.one(messages).queue is not None
    person.forget()
    assert (person.record.one(messages).handled_at, person.record.one(messages).handled_by) == (START, "command_line")


# ── what the centre has not answered for ──────────────────────────────────────────────────────────────────────────────


def test_what_the_centre_has_not_answered_for_goes_first(person: Person, emptied: Database, keyring: Keyring) -> None:
    subject = person.rated_by_sms(heard=level(1, ""))
    person.record.reply(words(WORDS), raw=HIM)  # the reason, in words
    person.record.write(update(outbox).values(not_before=START + DAY, held_by="here"))
    assert person.forget().waiting == 1
    held = person.record.one(outbox)
    assert (held.not_before, held.held_by) == (START, None)
    assert person.evaluation(subject).comment == WORDS
    assert (person.blank_answered(), person.group()) == (0, Forgotten())
    batch = person.take()
    assert WORDS.encode() in batch.body or WORDS.encode("unicode-escape") in batch.body
    assert person.blank_answered() == 0  # it is on its way
    person.settle(batch)
    assert (person.blank_answered(), person.blank_answered()) == (1, 0)
    assert (person.evaluation(subject).comment, person.evaluation(subject).satisfaction) == (None, 1)
    assert person.record.rows(forgetting_table) == traces(emptied, keyring, HIM) == []
    stored = person.record.one(push_batches)
    assert (stored.body, len(stored.digest)) == (None, 32)


def test_a_batch_under_way_goes_as_it_is(person: Person) -> None:
    subject = person.rated_by_sms()
    batch = person.take()
    assert person.forget().waiting == 1
    assert person.record.one(push_batches).body == batch.body
    person.settle(batch)
    assert person.blank_answered() == 1
    assert person.evaluation(subject).comment is None


def test_a_dead_letter_was_answered(person: Person, emptied: Database, keyring: Keyring) -> None:
    person.rated_by_sms()
    person.settle(person.take(), Verdict.REJECTED, f"evalDetail {WORDS} is too long")
    assert (person.forget().waiting, person.record.rows(forgetting_table)) == (0, [])
    assert traces(emptied, keyring, HIM) == []
    assert person.record.one(outbox).state == "dead"


def test_one_that_is_refused_after_all_is_blanked_as_a_dead_letter(
    person: Person, emptied: Database, keyring: Keyring
) -> None:
    person.rated_by_sms()
    person.forget()
    person.settle(person.take(), Verdict.REJECTED, f"evalDetail {WORDS} is too long")
    assert person.blank_answered() == 1
    assert traces(emptied, keyring, HIM) == []


def test_words_go_wherever_an_evaluation_carries_them(person: Person) -> None:
    """A call and the case it closed share a rating; the case has another phone."""
    record = person.record
    call, case = record.call(raw=HIM), record.case(raw=HER, title=TITLE)
    record.invite(call, case, raw=HIM, kind="call")
    record.reply(HEARD, raw=HIM)
    record.write(outbox.delete())
    person.forget()
    assert [(row.comment, row.satisfaction) for row in record.rows(evaluations)] == [(None, 1)] * 2
    assert (record.one(ratings).comment, record.one(ratings).raw_input) == (None, "")
    hers = record.one(cases)
    assert (hers.title, hers.number_hash) == (TITLE, record.number(HER).hash)


# ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def many_calls(person: Person, count: int) -> None:
    now = person.clock.now()
    rows = [
        (new_id(), f"lx-{place}", *person.record.number(HIM), "no_input", "ivr", now, now) for place in range(count)
    ]
    names = ("subject_id", "call_key", *(f"number_{part}" for part in ("kind", "sealed", "hash", "tail", "key_id")))
    bulk = Bulk(calls, (*names, "outcome", "source", "ended_at", "created_at"))
    person.door.write(lambda unit: unit.insert(bulk, rows)).result(WAIT)


def test_a_group_has_64_rows_at_most(person: Person) -> None:
    many_calls(person, 150)
    assert [person.group().calls for _ in range(4)] == [64, 64, 22, 0]


def test_a_batch_of_many_cases_goes_a_group_at_a_time(person: Person) -> None:
    record = person.record
    subjects = [record.case(f"GD-{place}", HER) for place in range(70)]
    record.invite(*subjects, raw=HIM)
    record.reply(HEARD, raw=HIM)
    record.write(outbox.delete())
    groups = []
    while group := person.group():
        groups.append(group)
    assert max(group.evaluations for group in groups) == 64
    assert sum((group for group in groups), Forgotten()).evaluations == 70
    assert {row.comment for row in record.rows(evaluations)} == {None}


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8, 13])
def test_killed_between_two_groups_it_is_finished_by_the_next_run(
    person: Person, emptied: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    monkeypatch.setattr(forgetting, "GROUP", 1)
    monkeypatch.setattr(blanking, "GROUP", 1)
    person.leave_everything(HIM, "his")
    for _ in range(groups):
        assert person.group()
    person.forget()
    # He alone was here, and every word and title is his.
    assert traces(emptied, keyring, HIM) == ["opt_outs.number_hash: hash"]
    assert person.group() == Forgotten()


def test_two_that_forget_one_person_at_once_do_no_harm(
    person: Person, doors: Any, emptied: Database, keyring: Keyring
) -> None:
    many_calls(person, 150)
    person.rated_by_sms()
    other = doors()
    command = ForgetGroup(person.hashes(), keyring.active_id, START)
    done = Forgotten()
    while True:
        both = [door.submit(command) for door in (person.door, other)]
        results = [future.result(WAIT) for future in both]
        done += results[0] + results[1]
        if not any(results):
            break
    assert (done.calls, done.cases) == (150, 1)


# ── SMS under way ─────────────────────────────────────────────────────────────────────────────────────────────────────


def forget_at(sending: Sending, n: int = 1) -> None:
    command = ForgetGroup((sending.hash(n),), sending.keyring.active_id, sending.clock.now())
    while sending.door.submit(command).result(WAIT):
        pass


def test_an_sms_with_a_link_is_left_to_its_answer(sending: Sending) -> None:
    identity = sending.queue()
    claimed = sending.hand(identity)
    forget_at(sending)
    assert (sending.message(identity).state, sending.message(identity).text) == ("handed", None)
    sending.answer(claimed, "77")
    assert sending.message(identity).state == "sent"
    # The receipt names the number, and is not kept for it.
    assert sending.receipt(ReceiptClass.DELIVERED, "77").kept == 0
    assert sending.message(identity).state == "delivered"
    assert sending.rows(receipts) == []
    assert sending.invitation_of(identity).state == "withdrawn"


@pytest.mark.parametrize("kind", [MessageKind.INVITATION, MessageKind.OPTED_OUT, MessageKind.REASON])
def test_one_that_comes_back_from_its_link_is_cancelled(sending: Sending, kind: MessageKind) -> None:
    identity = sending.queue(kind=kind)
    claimed = sending.hand(identity)
    forget_at(sending)
    sending.store([sending.segment_answer(claimed, 1, Fate.NOT_SENT)], back=[GivenBack(identity)])
    assert sending.claim() == []
    assert (sending.message(identity).state, sending.message(identity).reason) == ("cancelled", "forgotten")


def test_one_whose_answer_was_lost_does_not_go_again(sending: Sending) -> None:
    identity = sending.lose()
    forget_at(sending)
    sending.clock.turn(timedelta(minutes=11))
    assert sending.settle() == 1
    assert sending.claim() == []
    assert sending.message(identity).state == "cancelled"


@pytest.mark.parametrize("kind", [ReceiptClass.BLACKLISTED, ReceiptClass.LATER, ReceiptClass.NO_ROUTE])
def test_a_bad_receipt_of_somebody_forgotten_touches_nobody_else(sending: Sending, kind: ReceiptClass) -> None:
    """Rows without a number are many: a receipt of one must not be taken for all of them."""
    identity = sending.sent(1, "77")
    stranger = sending.queue(2)
    muted = sending.invitation(None, state="asked")
    forget_at(sending)
    sending.receipt(kind, "77")
    sending.claim("other", ("unicom",))
    assert sending.rows(opt_outs) == sending.rows(number_routes) == []
    assert sending.message(stranger).state == "queued"
    assert {row.id: row.muted for row in sending.rows(invitations)}[muted] is False
    sending.clock.turn(DAY)
    assert identity not in {claimed.id for claimed in sending.claim("u", ("mobile", "unicom", ""))}
    assert sending.message(identity).number_hash is None


def test_an_id_that_the_smsc_gives_again_does_not_mean_somebody_forgotten(sending: Sending) -> None:
    identity = sending.sent(1, "77")
    forget_at(sending)
    sending.clock.turn(400 * DAY)
    assert sending.receipt(ReceiptClass.DELIVERED, "77", n=2).kept == 1
    assert sending.message(identity).state == "sent"


# ── afterwards ────────────────────────────────────────────────────────────────────────────────────────────────────────


def post(person: Person, **more: Any) -> Any:
    desk = CaseDesk(person.door, person.record.keyring, person.clock, CASE_RULES)
    raw = {"case_no": "GD-1", "phone": HIM, "closed_at": "2026-11-18T09:50:00", "title": TITLE, **more}
    [future] = desk.post([read_case(raw, person.clock.now())], SYSTEM)
    return future.result(WAIT)


def test_a_later_case_of_the_number_begins_anew(person: Person) -> None:
    person.rated_by_sms()
    person.forget()
    verdict = post(person, case_no="GD-9")
    assert (verdict.status, verdict.invited.value) == (201, "waiting")
    assert person.forget().cases == 1


def test_an_opt_out_is_known_again(person: Person) -> None:
    person.record.reply(OPT_OUT, raw=HIM)
    person.forget()
    kept = person.record.one(opt_outs)
    assert (kept.number_sealed, kept.number_tail, kept.ended_at) == (None, None, None)
    assert post(person, case_no="GD-9").reason == "opted_out"
    person.record.reply(OPT_IN, raw=HIM)
    assert post(person, case_no="GD-10").reason is None


def test_an_opt_out_that_was_taken_back_is_forgotten_too(person: Person) -> None:
    person.record.reply(OPT_OUT, raw=HIM)
    person.record.reply(OPT_IN, raw=HIM)
    person.forget()
    assert person.record.rows(opt_outs) == []


def test_the_case_that_is_posted_again_is_known(person: Person) -> None:
    assert post(person).status == 201
    person.forget()
    assert post(person).status == 200
    assert post(person, dept_code="other").status == 409
    assert person.record.one(cases).number_hash is None


def test_a_batch_takes_a_later_case_of_a_forgotten_citizen(person: Person) -> None:
    assert post(person, batch_id="B1").status == 201
    assert post(person, case_no="GD-2", batch_id="B1", phone=HER).status == 409
    person.forget()
    assert post(person, case_no="GD-2", batch_id="B1").status == 201


def test_a_patch_of_a_forgotten_case_asks_nobody(person: Person) -> None:
    assert post(person).status == 201
    person.forget()
    desk = CaseDesk(person.door, person.record.keyring, person.clock, CASE_RULES)
    assert (
        desk.patch("GD-1", None, read_patch({"dept_code": "other"}, START, case_no="GD-1"), SYSTEM).result(WAIT).status
        == 200
    )
    assert person.record.one(invitations).state == "withdrawn"


# ── and a new key ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_rotated_afterwards_and_the_opt_out_is_known_for_ever(
    doors: Any, emptied: Database, clock: TurnedClock, tmp_path: Path
) -> None:
    path = tmp_path / "own.key"
    emptied.write_meta("privacy.fingerprint", None)
    person = Person(Replying(doors(), emptied, emptied.open_keyring(path), clock))
    person.leave_everything(HIM, "his")
    person.rated_by_sms(HER, name="hers", code="11")
    person.forget()
    [kept] = person.record.rows(opt_outs)
    for turn in range(1, 4):
        rotate(emptied, path, clock)
        keyring = emptied.open_keyring(path)
        person = Person(Replying(person.door, emptied, keyring, clock))
        assert (keyring.active_id, min(keyring.ids)) == (turn + 1, 1)  # the key that made the hash stays
        assert person.record.number(HIM).hash == kept.number_hash
        assert post(person, case_no=f"GD-{turn}").reason == "opted_out"
        hers = person.record.one(cases, case_no="GD-hers")
        assert (hers.number_hash, hers.number_key_id) == (
            person.hashes(HER)[-1],
            turn + 1,
        )
    # Forgotten once more, under the hash that has stayed.
    assert person.forget().cases == 3
    left = traces(emptied, person.record.keyring, HIM)
    assert [trace for trace in left if not trace.endswith("in clear")] == ["opt_outs.number_hash: hash"]
    rotate(emptied, path, clock)
    assert emptied.open_keyring(path).hash(normalise_number(HIM).value or "") == kept.number_hash


def test_a_key_file_without_the_key_of_a_kept_opt_out_is_refused(
    doors: Any, emptied: Database, clock: TurnedClock, tmp_path: Path
) -> None:
    path = tmp_path / "own.key"
    emptied.write_meta("privacy.fingerprint", None)
    person = Person(Replying(doors(), emptied, emptied.open_keyring(path), clock))
    person.record.reply(OPT_OUT, raw=HIM)
    person.forget()
    rotate(emptied, path, clock)
    keyring = Keyring.load(path)
    keyring.without_older(keyring.active_id).save(path)
    with pytest.raises(KeyMismatch, match="lacks key 1"):
        emptied.open_keyring(path)
