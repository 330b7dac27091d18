"""Whatever column can hold a word of a citizen, or about one, loses it: when somebody is forgotten, and in time.

Every column of text or bytes that the schema has is either filled here, or named with why no word about a citizen can
stand in it. One that a migration brings is in neither list, and the first test says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, LargeBinary, String, update

from console.auditing import Action, note
from intake.centre_word import CentreWord, StoreCentreWord
from intake.forgetting import BlankAnswered
from intake.keeping import WALKS, KeepGroup
from models.clock import TurnedClock
from models.database import Database
from models.privacy import Keyring
from models.tables import audit, evaluations, metadata, outbox, push_members
from models.terms import TypedAction, Verdict
from tests.intake.replying import Replying, level
from tests.intake.test_forgetting import HIM, NUMBERED, WAIT, WORDS, Person, traces

OF_THE_HOTLINE = frozenset(
    {
        *("users", "sessions", "login_attempts", "api_tokens", "board_tokens"),  # its people and their keys
        *("calendar_days", "calendar_years", "directory", "meta"),  # what operators import, and words of ours
        *("rollup_days", "rollup_hours", "rollup_reasons"),  # counts
    }
)
"""Tables that have no row of a citizen."""
_NUMBER = {"number_kind", "number_sealed", "number_hash", "number_tail"}
_WHOSE = {"agent", "dept_code", "dept_name", "task_code", "task_name", "area_code"}
NO_WORDS: Mapping[str, set[str]] = {
    "call_keys": {"call_key"},
    "case_keys": {"case_no"},
    "calls": {"call_key", "agent", "queue", "dept", "case_no", "lang", "outcome", "source", "area_code"},
    "cases": {*_WHOSE, "case_no", "batch_id", "theme_id", "lang", "posted_by", "default_reason"},
    "invitations": {
        *("kind", "state", "reason", "lang", "key_map", "asked_by", "group_key", "reason_codes", "reminder"),
        *("asked_kind", "asked_agent", "asked_queue", "asked_dept", "asked_area"),
    },
    "ratings": {"channel", "origin", "key_map", "reasons"},
    "evaluations": {
        *_WHOSE,
        *(
            "queue",
            "service_name",
            "subject_kind",
            "origin",
            "channel",
            "reasons",
            "project_no",
            "centre_status",
            "adoption",
            "follow_up",
        ),
    },
    "outbox": {"state", "held_by"},
    # Its bytes go with the centre's answer, whoever they are about (tests/centre).
    "push_batches": {"state", "body", "lease_owner", "digest"},
    "push_members": {"verdict"},
    "remarks": {"kind"},
    "messages": {
        *("direction", "kind", "state", "reason", "link", "our_number", "code", "once_key", "lang", "carrier"),
        *("lease_owner", "assembly_key", "outcome", "why", "queue", "handled_by", "handled_as"),
    },
    "segments": {"state", "link", "smsc_id", "receipt", "receipt_text"},
    "receipts": {"links", "smsc_id", "forms", "our_number", "receipt", "receipt_text"},  # the whole row goes
    "parts": {"fingerprint", "link"},
    "codes": {"code"},
    "opt_outs": {"origin"},
    "number_routes": {"carrier"},
    "feed": {"kind"},
    "seen": {"seen_by", "noted_by"},
    "work_owners": {"kind", "owner"},
    "audit": {"actor", "action"},
}
"""Keys, codes, states and names of ours, and what a system tells of itself."""


def _is_text(column: Column[Any]) -> bool:
    return isinstance(column.type, (String, LargeBinary))


def wordy() -> list[Column[Any]]:
    """The columns that can hold words."""
    return [
        column
        for table in metadata.sorted_tables
        if table.name not in OF_THE_HOTLINE
        for column in table.columns
        if _is_text(column)
        and column.name not in NO_WORDS.get(table.name, set()) | (_NUMBER if table.name in NUMBERED else set())
        and (table.name, column.name) != ("receipts", "number_hash")
    ]


WORDY = wordy()
PLACES = [f"{column.table.name}.{column.name}" for column in WORDY]


@pytest.fixture
def person(doors: Any, emptied: Database, keyring: Keyring, clock: TurnedClock) -> Any:
    made = Person(Replying(doors(), emptied, keyring, clock))
    yield made
    made.record.write(metadata.tables["meta"].delete().where(metadata.tables["meta"].c.key.startswith("keeping.")))


def test_every_column_is_known_as_one_that_can_hold_words_or_one_that_cannot() -> None:
    """A new column fails here: say where its words go (intake/blanking.py), or why it has none."""
    assert PLACES == [
        "audit.detail",
        "cases.title",
        "evaluations.comment",
        "evaluations.centre_note",
        "messages.text",
        "messages.fields",
        "messages.queue_note",
        "messages.handled_note",
        "outbox.reason",
        "parts.body",
        "push_batches.last_error",
        "push_members.reason",
        "ratings.raw_input",
        "ratings.comment",
        "remarks.text",
        "seen.note",
    ]
    for name, columns in NO_WORDS.items():
        assert columns <= set(metadata.tables[name].columns.keys()), name
    assert set(metadata.tables) >= OF_THE_HOTLINE


def fill(person: Person, wanted: Column[Any]) -> None:
    """A row of his in every table, with words in this column and in no other."""
    person.leave_everything(HIM, "his")
    for column in WORDY:
        value: Any = WORDS if column is wanted else None if column.nullable else ""
        if isinstance(column.type, LargeBinary):
            value = value.encode("utf-16-be")
        change = update(column.table)
        if column.table is audit:  # what machines say holds no words: only what somebody typed is filled
            change = change.where(audit.c.action.in_([one.value for one in TypedAction]))
        if column.table is audit and column is wanted:
            continue  # as it was left: with a code before the words, where there is one
        person.record.write(change.values({column: value}))


@pytest.mark.parametrize("column", WORDY, ids=PLACES)
def test_words_in_one_column_alone_go_with_whom_they_are_about(
    person: Person, emptied: Database, keyring: Keyring, column: Column[Any]
) -> None:
    fill(person, column)
    place = f"{column.table.name}.{column.name}"
    assert f"{place}: in clear" in traces(emptied, keyring, HIM)
    person.forget()
    person.blank_answered()
    assert traces(emptied, keyring, HIM) == ["opt_outs.number_hash: hash"]


@pytest.mark.parametrize("column", WORDY, ids=PLACES)
def test_words_in_one_column_alone_go_when_their_time_is_over(
    person: Person, emptied: Database, keyring: Keyring, column: Column[Any]
) -> None:
    fill(person, column)
    person.clock.turn(timedelta(days=5000))
    for walk in WALKS:
        command = KeepGroup(walk, timedelta(days=1095), keyring.active_id, person.clock.now())
        while person.door.submit(command).result(WAIT):
            pass
    person.door.submit(BlankAnswered()).result(WAIT)
    left = {trace for trace in traces(emptied, keyring, HIM) if trace != "receipts.number_hash: hash"}
    assert left == {"opt_outs.number_hash: hash"}


# ── the ways by which they come ───────────────────────────────────────────────────────────────────────────────────────


def test_the_centres_note_goes_also_of_a_rating_without_words(person: Person) -> None:
    subject = person.rated_by_sms(heard=level(5))
    person.settle(person.take())
    word = CentreWord(note=WORDS)
    identity = person.evaluation(subject).id
    person.door.submit(StoreCentreWord(identity, word, "token:c", person.clock.now())).result(WAIT)
    assert person.evaluation(subject).centre_note == WORDS
    assert person.forget().evaluations == 1
    told = person.evaluation(subject)
    assert (told.centre_note, told.satisfaction, told.centre_status) == (None, 5, "accepted")


def test_a_refusal_that_comes_after_all_names_nobody(person: Person, emptied: Database, keyring: Keyring) -> None:
    """No words were given, and the centre's reason has them: it comes when the person has been forgotten."""
    person.rated_by_sms(heard=level(5))
    assert person.forget().waiting == 1
    person.settle(person.take(), Verdict.REJECTED, f"评价人{WORDS}不存在")
    assert WORDS in (person.record.one(outbox).reason or "")
    assert person.blank_answered() == 1
    assert traces(emptied, keyring, HIM) == []
    assert person.record.one(outbox).state == "dead"


def test_what_was_typed_goes_and_who_did_what_stays(person: Person) -> None:
    now, call, case = person.clock.now(), person.record.call(raw=HIM), person.record.case(raw=HIM)
    message = person.record.stored("1", raw=HIM)
    other = person.record.call("lx-2", "13900005678")

    def type_it(unit: Any) -> None:
        for action, item, code in (
            (Action.NUMBER_REVEALED, call, "call"),
            (Action.NUMBER_REVEALED, case, "case"),
            (Action.WORDS_REVEALED, message, None),
            (Action.NUMBER_REVEALED, other, "call"),
        ):
            note(unit, now, "user:ma", action, subject_id=item, detail=code, words=f"{WORDS} · 再说")

    person.record.write(audit.delete())
    person.door.write(type_it).result(WAIT)
    person.forget()
    told = {(row.subject_id, row.actor, row.action, row.at): row.detail for row in person.record.rows(audit)}
    assert told[call, "user:ma", "number.revealed", now] == "call"
    assert told[case, "user:ma", "number.revealed", now] == "case"
    assert told[message, "user:ma", "words.revealed", now] is None
    assert told[other, "user:ma", "number.revealed", now] == f"call · {WORDS} · 再说"


def test_a_reason_for_an_export_goes_in_time(person: Person) -> None:
    def type_it(unit: Any) -> None:
        note(
            unit, person.clock.now(), "user:ma", Action.EXPORTED, detail="csv full", words=f"from=2026-11-01 · {WORDS}"
        )

    person.door.write(type_it).result(WAIT)
    person.clock.turn(timedelta(days=1095))
    command = KeepGroup("acts", timedelta(days=1095), person.record.keyring.active_id, person.clock.now())
    assert person.door.submit(command).result(WAIT) >= 1
    assert person.record.one(audit, action="ratings.exported").detail == "csv full"


def test_words_under_another_action_are_refused(person: Person) -> None:
    """Nobody would take them away again."""
    written = person.door.write(
        lambda unit: note(unit, person.clock.now(), "user:ma", Action.RATING_SEEN, words="王小二")
    )
    assert isinstance(written.exception(WAIT), Exception)
    assert person.record.rows(audit, action="rating.seen") == []


def test_what_is_answered_is_looked_at_once(person: Person) -> None:
    subject = person.rated_by_sms()
    person.settle(person.take())
    assert person.forget().evaluations == 1
    assert person.forget().evaluations == 0
    assert person.evaluation(subject).comment is None
    assert {row.reason for row in person.record.rows(push_members)} == {None}
    assert {row.comment for row in person.record.rows(evaluations)} == {None}
