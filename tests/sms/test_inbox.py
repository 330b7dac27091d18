"""The inbox: stored before it is answered, read afterwards, and whatever breaks on the way; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from config.settings import Settings
from intake.conversation import Outcome, Said
from intake.inbound import INCOMPLETE, MIXED, HandOnPartial, Kept
from intake.replies import Taken, TakeReply
from intake.unread import StoredPart, Unread, load_unread
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.futures import Wakeups
from models.ids import new_id
from models.privacy import Keyring
from models.tables import evaluations, messages, parts, ratings
from models.terms import Satisfaction
from sms import grammar
from sms import inbox as inbox_module
from sms.coding import Alphabet, Split, segments
from sms.inbox import Inbox, ReplyLine, hear, reply_lines, text_of
from sms.numbers import DestinationForm
from sms.routing import Routes
from sms.session import Delivery
from tests.intake.replying import CITIZEN, KEYS, RULES, WINDOW, Replying
from tests.moments import START
from tests.sms.link.rig import on_reactor, reactor

OK, NOT_STORED = 0x00, 0x08
SERVICE = "10691234"


def line(name: str, **more: Any) -> ReplyLine:
    return replace(ReplyLine(name, "one", SERVICE, 2, DestinationForm.AUTO, Alphabet.GSM), **more)


LINES = {
    "mobile": line("mobile"),
    "partner": line("partner"),
    "other": line("other", group="other", service_number="95555"),
    "bare": line("bare", group="bare", service_number="95556", code_digits=0),
}


@dataclass(eq=False)
class FakeLink:
    """A link that notes what it is told, and what was on disk when it was told."""

    name: str
    stored: Callable[[], int]
    answers: list[tuple[int, int, int]] = field(default_factory=list)
    """Number of the delivery, status, parts on disk."""
    confirmed: set[int] = field(default_factory=set)
    _awaited: list[tuple[int, Deferred[None]]] = field(default_factory=list)

    def respond(self, delivery: Delivery, status: int) -> None:
        self.answers.append((delivery.number, status, self.stored()))
        for wanted in [one for one in self._awaited if len(self.answers) >= one[0]]:
            self._awaited.remove(wanted)
            reactor().callLater(0, wanted[1].callback, None)  # a link writes in the next turn, too

    def is_confirmed(self, delivery: Delivery) -> bool:
        return delivery.number in self.confirmed

    async def answered(self, count: int) -> list[int]:
        """The statuses, once there are so many."""
        if len(self.answers) < count:
            waiting: Deferred[None] = Deferred()
            self._awaited.append((count, waiting))
            await waiting
        return [status for _, status, _ in self.answers]


class Bench:
    """An inbox with fake links over a real database."""

    def __init__(self, record: Replying, door: Door | None = None) -> None:
        self.record = record
        self.door = door or record.door
        self.wakeups = Wakeups(reactor())
        self.taken: list[Taken] = []
        self._awaited: list[tuple[int, Deferred[None]]] = []
        self.links = {name: FakeLink(name, lambda: len(record.rows(parts))) for name in LINES}
        self.inbox = self.another()
        self._number = 0

    def another(self, lines: Mapping[str, ReplyLine] = LINES) -> Inbox:
        return Inbox(
            self.door,
            self.record.keyring,
            self.wakeups,
            self.record.clock,
            lines,
            RULES,
            key_map=KEYS,
            repeat_window=WINDOW,
            taken=self._take,
        )

    def _take(self, taken: Taken) -> None:
        self.taken.append(taken)
        for wanted in [one for one in self._awaited if len(self.taken) >= one[0]]:
            self._awaited.remove(wanted)
            wanted[1].callback(None)

    async def read(self, count: int) -> list[Outcome | None]:
        """What became of replies, once so many were taken."""
        if len(self.taken) < count:
            waiting: Deferred[None] = Deferred()
            self._awaited.append((count, waiting))
            await waiting
        return [taken.outcome for taken in self.taken]

    async def read_all(self) -> None:
        """Until the inbox has nothing more to read."""
        while self.inbox._reading is not None:
            waiting: Deferred[None] = Deferred()
            self.inbox._reading.addCallback(_pass_on, waiting)
            await waiting

    def delivery(self, text: str | bytes = "1", **more: Any) -> Delivery:
        self._number += 1
        fields: dict[str, Any] = {
            "session": 1, "sequence": self._number, "link": "mobile", "command": 5, "source": f"86{CITIZEN}",
            "source_ton": 1, "source_npi": 1, "destination": f"{SERVICE}07", "dest_ton": 0, "dest_npi": 1,
            "esm_class": 0, "data_coding": 8, "body": text if isinstance(text, bytes) else text.encode("utf-16-be"),
            "tlvs": {}, "protocol_id": 0, "service_type": "", "number": self._number,
        }  # fmt: skip
        return Delivery(**fields | more)

    def take(self, text: str | bytes = "1", *, link: str = "mobile", **more: Any) -> Delivery:
        delivery = self.delivery(text, **more)
        self.inbox.take(self.links[link], delivery)
        return delivery

    def long(self, text: str, split: Split, reference: int = 7) -> list[Delivery]:
        return [
            self.delivery(
                piece.short_message, esm_class=piece.esm_class, data_coding=piece.data_coding, tlvs=dict(piece.tlvs)
            )
            for piece in segments(text, split, reference)
        ]


def _pass_on(result: None, waiting: Deferred[None]) -> None:
    waiting.callback(result)


@pytest.fixture
def another_door(database: Database) -> Iterator[Callable[[], Door]]:
    """Doors of other processes to the same database."""
    with ExitStack() as stack:

        def make() -> Door:
            own = Database(database.url)
            stack.callback(own.close)
            door = Door(own)
            stack.callback(door.close)
            return door

        yield make


@pytest.fixture
def record(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Replying:
    return Replying(door, database, keyring, clock)


@pytest.fixture
def bench(record: Replying) -> Bench:
    return Bench(record)


# ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_reply_is_on_disk_when_the_smsc_hears_of_it_and_becomes_a_rating(
    bench: Bench, record: Replying
) -> None:
    record.invite(record.case())
    bench.take("１，谢谢")
    assert await bench.links["mobile"].answered(1) == [OK]
    assert bench.links["mobile"].answers == [(1, OK, 1)], "one part was on disk"
    assert await bench.read(1) == [Outcome.RATED]
    assert record.one(evaluations).satisfaction == 5
    assert record.one(messages).text == "１，谢谢"
    assert bench.inbox.statistics.kept == {Kept.WHOLE: 1}
    assert bench.inbox.statistics.outcomes == {Outcome.RATED: 1}
    assert bench.taken[0].pushes


FORMS = [f"{SERVICE}07", f"86{SERVICE}07", f"+86{SERVICE}07", f"{SERVICE[3:]}07", "07"]
SOURCES = [CITIZEN, f"86{CITIZEN}", f"+86{CITIZEN}", f"0{CITIZEN}", f"0086{CITIZEN}"]


@pytest.mark.parametrize(("source", "destination"), list(zip(SOURCES, FORMS, strict=True)))
@on_reactor
async def test_numbers_are_known_in_every_form_of_a_link(
    bench: Bench, record: Replying, source: str, destination: str
) -> None:
    record.invite(record.case())
    bench.take(source=source, destination=destination)
    assert await bench.read(1) == [Outcome.RATED]
    assert (record.one(messages).code, record.one(messages).our_number) == ("07", f"{SERVICE}07")


@on_reactor
async def test_what_is_not_stored_is_told_to_the_smsc_and_comes_again(
    bench: Bench, record: Replying, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dialect = record.database.write_engine.dialect
    commit = dialect.do_commit

    def full(_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(dialect, "do_commit", full)
    first = bench.take("绝密的话")
    assert await bench.links["mobile"].answered(1) == [NOT_STORED]
    assert record.rows(parts) == []
    monkeypatch.setattr(dialect, "do_commit", commit)
    bench.inbox.take(bench.links["mobile"], first)
    assert await bench.links["mobile"].answered(2) == [NOT_STORED, OK]
    assert await bench.read(1) == [Outcome.QUEUED]
    assert bench.inbox.statistics.refused == 1
    shown = capsys.readouterr()
    assert "told to send it again" in shown.out + shown.err
    assert CITIZEN not in shown.out + shown.err
    assert "绝密" not in shown.out + shown.err


@on_reactor
async def test_more_than_can_wait_is_refused_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MOST_WAITING", 2)
    for text in "123":
        bench.take(text)
    assert [(number, status) for number, status, _ in bench.links["mobile"].answers] == [(3, NOT_STORED)]
    assert sorted(await bench.links["mobile"].answered(3)) == [OK, OK, NOT_STORED]
    await bench.read(2)


# ── repeats ───────────────────────────────────────────────────────────────────────────────────────────────────────────

REPEATS: list[tuple[str, dict[str, Any], str, bool, Kept]] = [
    # what differs, the link it comes over, is the first one's response confirmed
    ("the same", {}, "mobile", False, Kept.REPEAT),
    ("over the partner, in another form", {"source": CITIZEN, "destination": FORMS[1]}, "partner", False, Kept.REPEAT),
    ("confirmed", {}, "mobile", True, Kept.WHOLE),
    ("over another carrier's link", {"destination": "9555507"}, "other", False, Kept.WHOLE),
    ("another source", {"source": "8613800000002"}, "mobile", False, Kept.WHOLE),
    ("another destination", {"destination": f"{SERVICE}08"}, "mobile", False, Kept.WHOLE),
    ("another esm_class", {"esm_class": 3}, "mobile", False, Kept.WHOLE),
    ("another coding", {"data_coding": 0}, "mobile", False, Kept.WHOLE),
    ("another body", {"body": b"\x00\x32"}, "mobile", False, Kept.WHOLE),
    ("another SAR part", {"tlvs": {0x20C: b"\0\1", 0x20E: b"\2", 0x20F: b"\2"}}, "mobile", False, Kept.PARTIAL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "link", "confirmed", "kept"), [row[1:] for row in REPEATS], ids=[row[0] for row in REPEATS]
)
@on_reactor
async def test_what_is_a_repeat(bench: Bench, more: dict[str, Any], link: str, confirmed: bool, kept: Kept) -> None:
    first = bench.take()
    await bench.links["mobile"].answered(1)
    if confirmed:
        bench.links["mobile"].confirmed.add(first.number)
    bench.take(link=link, **more)
    assert await bench.links[link].answered(2 if link == "mobile" else 1) == [OK] * (2 if link == "mobile" else 1)
    assert bench.inbox.statistics.kept == ({Kept.WHOLE: 2} if kept is Kept.WHOLE else {Kept.WHOLE: 1, kept: 1})
    await bench.inbox.stop()


@on_reactor
async def test_the_same_words_to_two_numbers_that_are_not_ours_are_two_messages(bench: Bench, record: Replying) -> None:
    """Nor are parts to the one and to the other joined."""
    bench.take(destination="12306")
    bench.take(destination="12307")
    first, *_, last = bench.long(LONG, Split.UDH8)
    bench.inbox.take(bench.links["mobile"], first._replace(destination="12306"))
    bench.inbox.take(bench.links["mobile"], last._replace(destination="12307"))
    assert await bench.links["mobile"].answered(4) == [OK] * 4
    assert bench.inbox.statistics.kept == {Kept.WHOLE: 2, Kept.PARTIAL: 2}
    assert len({part.message_id for part in record.rows(parts)}) == 4
    assert "12306" not in str(record.rows(messages))
    await bench.inbox.stop()


@on_reactor
async def test_a_repeat_sent_while_the_first_is_being_stored_is_one_message(bench: Bench, record: Replying) -> None:
    record.invite(record.case())
    for _ in range(3):
        bench.take()
    assert await bench.links["mobile"].answered(3) == [OK] * 3
    assert await bench.read(1) == [Outcome.RATED]
    assert len(record.rows(messages)) == 1


@on_reactor
async def test_a_later_life_of_the_process_takes_what_it_cannot_know_for_a_repeat(
    bench: Bench, record: Replying
) -> None:
    first = bench.take()
    await bench.links["mobile"].answered(1)
    await bench.inbox.stop()
    later = Bench(record)
    later.links["mobile"].confirmed.add(first.number)
    later.inbox.take(later.links["mobile"], first)
    assert await later.links["mobile"].answered(1) == [OK]
    assert later.inbox.statistics.kept == {Kept.REPEAT: 1}


@on_reactor
async def test_what_is_remembered_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MOST_REMEMBERED", 5)
    for number in range(20):
        bench.take(str(number))
    await bench.links["mobile"].answered(20)
    assert len(bench.inbox._remembered) == 5
    await bench.inbox.stop()


# ── long messages and codings ─────────────────────────────────────────────────────────────────────────────────────────

LONG = "5，" + "，".join(["小区停水没有人管"] * 24)


@pytest.mark.parametrize("split", [Split.UDH8, Split.UDH16, Split.SAR])
@on_reactor
async def test_a_long_reply_in_parts_out_of_order_over_a_restart(bench: Bench, record: Replying, split: Split) -> None:
    record.invite(record.case())
    first, second, third, fourth = bench.long(LONG, split)
    bench.inbox.take(bench.links["mobile"], third)
    bench.inbox.take(bench.links["mobile"], first)
    await bench.links["mobile"].answered(2)
    await bench.inbox.stop()
    later = Bench(record)
    later.inbox.take(later.links["partner"], fourth)
    later.inbox.take(later.links["mobile"], second)
    assert await later.read(1) == [Outcome.RATED]
    rating = record.one(ratings)
    assert (rating.satisfaction, rating.raw_input, rating.comment) == (1, LONG, LONG[2:])
    assert record.one(messages).text == LONG


@on_reactor
async def test_a_message_payload_is_a_message_of_its_own(bench: Bench, record: Replying) -> None:
    record.invite(record.case())
    bench.take(LONG)
    assert await bench.read(1) == [Outcome.RATED]
    assert record.one(ratings).comment == LONG[2:]


@on_reactor
async def test_without_all_its_parts_a_reply_is_handed_on_and_gives_no_level(
    bench: Bench, record: Replying, clock: TurnedClock
) -> None:
    record.invite(record.case())
    first, second, third, fourth = bench.long(LONG, Split.UDH8)
    for part in (first, second, fourth):
        bench.inbox.take(bench.links["mobile"], part)
    await bench.links["mobile"].answered(3)
    clock.turn(timedelta(minutes=5))
    await bench.wakeups.deferred(bench.door.submit(HandOnPartial(clock.now(), timedelta(minutes=5))))
    bench.inbox.wake()
    assert await bench.read(1) == [Outcome.UNCLEAR]
    message = record.one(messages, direction="in")
    assert (message.reason, message.why, record.rows(ratings)) == (INCOMPLETE, "incomplete", [])
    assert "〈缺第3段〉" in message.text
    bench.inbox.take(bench.links["mobile"], third)
    assert await bench.links["mobile"].answered(4) == [OK] * 4
    assert bench.inbox.statistics.kept[Kept.LATE] == 1
    assert len(record.rows(messages, direction="in")) == 1


@on_reactor
async def test_two_replies_with_one_reference_are_not_spliced_into_one_rating(
    bench: Bench, record: Replying, clock: TurnedClock
) -> None:
    """Of the first the second part never came; both are stored, and what may be mixed gives no level."""
    record.invite(record.case())
    angry = bench.long("5，没人管。" + "旧" * 80, Split.UDH8)
    pleased = bench.long("1，非常感谢，办得很好。" + "新" * 60, Split.UDH8)
    bench.inbox.take(bench.links["mobile"], angry[0])
    await bench.links["mobile"].answered(1)
    clock.turn(timedelta(minutes=2))
    for part in pleased:
        bench.inbox.take(bench.links["mobile"], part)
    assert await bench.links["mobile"].answered(3) == [OK] * 3
    assert len(record.rows(parts)) == 3
    bench.inbox.wake()
    await bench.read(2)
    shown = {row.reason: row.text for row in record.rows(messages, direction="in")}
    assert shown[INCOMPLETE].startswith("5，没人管。旧")
    assert shown[MIXED].startswith("1，非常感谢，办得很好。新")
    assert "旧" not in shown[MIXED]
    assert record.rows(ratings) == []


CODINGS: list[tuple[str, int, bytes, int]] = [
    ("default alphabet", 0x00, b"2", 4),
    ("ASCII", 0x01, b"2", 4),
    ("Latin-1", 0x03, b"2", 4),
    ("UCS2", 0x08, "满意".encode("utf-16-be"), 4),
    ("UCS2 with a mark", 0x08, b"\xfe\xff" + "满意".encode("utf-16-be"), 4),
    ("UCS2, little-endian with a mark", 0x08, b"\xff\xfe" + "满意".encode("utf-16-le"), 4),
    ("GBK on a vendor's coding", 0x0F, "满意".encode("gbk"), 4),
    ("8-bit, UTF-8 in it", 0x04, "满意".encode(), 4),
]


@pytest.mark.parametrize(("coding", "body", "expected"), [row[1:] for row in CODINGS], ids=[row[0] for row in CODINGS])
@on_reactor
async def test_codings(bench: Bench, record: Replying, coding: int, body: bytes, expected: int) -> None:
    record.invite(record.case())
    bench.take(body, data_coding=coding)
    assert await bench.read(1) == [Outcome.RATED]
    assert record.one(evaluations).satisfaction == expected


@on_reactor
async def test_what_cannot_be_decoded_is_kept_as_bytes(bench: Bench, record: Replying) -> None:
    bench.take(b"\x06\x05\x04\x0b\x84\x23\xf0\x01\x02", data_coding=0xF5, esm_class=0x40)
    bench.take(b"\x80\x81\xff", data_coding=0x04)
    assert await bench.read(2) == [Outcome.UNREADABLE] * 2
    assert {row.queue for row in record.rows(messages)} == {"unreadable"}
    assert record.rows(parts)[1].body == b"\x80\x81\xff"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_what_an_earlier_process_left_unread_is_taken_up_at_start_oldest_first(
    bench: Bench, record: Replying
) -> None:
    for number in range(100):
        citizen = f"138{number:08}"
        record.invite(record.case(f"GD-{number}", citizen), raw=citizen)
        record.stored("1", raw=citizen)
    bench.inbox.wake()
    assert await bench.read(100) == [Outcome.RATED] * 100
    assert [row.message_id for row in record.rows(ratings)] == [row.id for row in record.rows(messages)]
    assert len(record.rows(evaluations)) == 100


@on_reactor
async def test_two_processes_that_take_up_the_same_give_one_rating_each(
    bench: Bench, record: Replying, another_door: Callable[[], Door]
) -> None:
    other = Bench(record, another_door())
    for number in range(40):
        citizen = f"138{number:08}"
        record.invite(record.case(f"GD-{number}", citizen), raw=citizen)
        record.stored("4", raw=citizen)
    bench.inbox.wake()
    other.inbox.wake()
    await bench.read_all()
    await other.read_all()
    taken = [taken.outcome for taken in (*bench.taken, *other.taken) if taken.outcome is not None]
    assert taken == [Outcome.RATED] * 40
    assert len(record.rows(evaluations)) == 40
    assert len(record.rows(messages, kind="reason")) == 40


@on_reactor
async def test_replies_of_one_number_are_read_in_the_order_in_which_they_came(bench: Bench, record: Replying) -> None:
    record.invite(record.case())
    for text in ("5", "A", "５", "1"):
        bench.take(text)
    assert await bench.read(4) == [Outcome.RATED, Outcome.REASON, Outcome.SAME, Outcome.MISTAKEN]
    assert record.one(ratings).reasons == "110"


@on_reactor
async def test_the_digits_mean_what_they_meant_when_the_invitation_went(bench: Bench, record: Replying) -> None:
    record.invite(record.case(), key_map="1=1,2=2,3=3,4=4,5=5")
    bench.take("5")
    assert await bench.read(1) == [Outcome.RATED]
    assert (record.one(evaluations).satisfaction, record.one(ratings).key_map) == (5, "1=1,2=2,3=3,4=4,5=5")


@on_reactor
async def test_a_link_without_extensions(bench: Bench, record: Replying) -> None:
    record.invite(record.case("GD-1"), code="")
    record.invite(record.case("GD-2"), code="01")
    bench.take("1", link="bare", destination="95556")
    assert await bench.read(1) == [Outcome.RATED]


@on_reactor
async def test_a_database_that_fails_while_reading_loses_nothing(
    bench: Bench, record: Replying, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.invite(record.case())
    run = TakeReply.run

    def broken(unit: Any, commands: Any) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(TakeReply, "run", broken)
    bench.take()
    await bench.links["mobile"].answered(1)
    await bench.read_all()
    assert (bench.taken, record.one(messages).state) == ([], "unread")
    monkeypatch.setattr(TakeReply, "run", run)
    bench.inbox.wake()
    assert await bench.read(1) == [Outcome.RATED]


@on_reactor
async def test_reads_that_fail_lose_nothing(bench: Bench, record: Replying, monkeypatch: pytest.MonkeyPatch) -> None:
    record.invite(record.case())
    load = load_unread

    def broken(*_: Any) -> Any:
        monkeypatch.setattr(inbox_module, "load_unread", load)
        raise OSError("gone")

    monkeypatch.setattr(inbox_module, "load_unread", broken)
    bench.take()
    await bench.links["mobile"].answered(1)
    await bench.read_all()
    assert bench.taken == []
    bench.inbox.wake()
    assert await bench.read(1) == [Outcome.RATED]


@on_reactor
async def test_a_reply_on_which_our_code_fails_is_shown_and_stops_no_other(
    bench: Bench, record: Replying, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record.invite(record.case())
    read = grammar.read

    def fragile(text: str, keys: Any) -> Any:
        if text == "绝密的话":
            raise ValueError(text)
        return read(text, keys)

    monkeypatch.setattr(grammar, "read", fragile)
    bench.take("绝密的话", source="13800000002")
    bench.take("1")
    assert sorted(map(str, await bench.read(2))) == ["rated", "unreadable"]
    assert bench.inbox.statistics.broken == 1
    shown = capsys.readouterr()
    assert "a bug" in shown.out + shown.err
    assert "绝密" not in shown.out + shown.err


@on_reactor
async def test_whoever_hears_of_replies_may_raise(bench: Bench, record: Replying, twisted_errors: Any) -> None:
    def raises(_: Taken) -> None:
        bench._take(Taken(None))
        raise LookupError("a bug of somebody")

    bench.inbox._taken = raises
    for _ in range(2):
        bench.take()
        await bench.links["mobile"].answered(1)
    await bench.read(1)
    await bench.read_all()
    assert twisted_errors.expect(LookupError) >= 1


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_the_end_waits_for_what_is_being_stored_and_takes_nothing_more(bench: Bench, record: Replying) -> None:
    for number in range(10):
        bench.take(str(number))
    await bench.inbox.stop()
    assert [status for _, status, _ in bench.links["mobile"].answers] == [OK] * 10
    bench.take("more")
    assert bench.links["mobile"].answers[-1][1] == NOT_STORED
    assert len(record.rows(messages)) == 10


@on_reactor
async def test_a_door_that_is_closed_refuses(bench: Bench, record: Replying) -> None:
    record.door.close()
    bench.take()
    assert await bench.links["mobile"].answered(1) == [NOT_STORED]


# ── pure ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lines_of_a_configuration(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "sms": {
                "service_number": SERVICE,
                "signature": "临夏12345",
                "links": [
                    {"name": "a", "host": "127.0.0.1", "system_id": "x", "password": "p", "default_coding": "gbk"},
                    {"name": "b", "host": "127.0.0.1", "system_id": "x", "password": "p"},
                    {
                        "name": "c", "host": "127.0.0.1", "system_id": "x", "password": "p",
                        "service_number": "95556", "extension_digits": 0, "reply_destination": "full",
                    },
                ],
            }
        }
    )  # fmt: skip
    routes = Routes(tuple(settings.sms.of_link(link) for link in settings.sms.links))
    assert reply_lines(settings, routes) == {
        "a": ReplyLine("a", "a", SERVICE, 2, DestinationForm.AUTO, Alphabet.GBK),
        "b": ReplyLine("b", "a", SERVICE, 2, DestinationForm.AUTO, Alphabet.GSM),
        "c": ReplyLine("c", "c", "95556", 0, DestinationForm.FULL, Alphabet.GSM),
    }


HEARD: list[tuple[str, Said, int | None, str]] = [
    ("1", Said.RATING, 5, ""),
    ("5，没人管", Said.RATING, 1, "没人管"),
    ("TD", Said.OPT_OUT, None, ""),
    ("5，退订", Said.OPT_OUT, 1, ""),
    ("恢复", Said.OPT_IN, None, ""),
    ("还行", Said.UNCLEAR, None, ""),
    ("", Said.UNCLEAR, None, ""),
    ("【自动回复】我正在开会，稍后回复您", Said.AUTOMATIC, None, ""),
    ("id:7 stat:DELIVRD err:000", Said.AUTOMATIC, None, ""),
    ("不满意，说会尽快与您联系，到现在没人联系", Said.RATING, 2, "说会尽快与您联系，到现在没人联系"),
    ("非常满意，我正在开会", Said.RATING, 5, "我正在开会"),
    ("1，不方便接听", Said.UNCLEAR, None, ""),
    ("[自动回复]1", Said.UNCLEAR, None, ""),
    ("打电话总是提示您拨打的电话正忙", Said.UNCLEAR, None, ""),
    ("不要再发短信了，我正在开会", Said.OPT_OUT, None, ""),
    ("退订，我正在忙", Said.OPT_OUT, None, ""),
    ("退订，尊敬的客户", Said.OPT_OUT, None, ""),
]


@pytest.mark.parametrize(("text", "said", "satisfaction", "comment"), HEARD)
def test_what_is_heard(text: str, said: Said, satisfaction: int | None, comment: str) -> None:
    heard = hear(text, KEYS)
    assert (heard.said, heard.satisfaction, heard.comment) == (said, satisfaction, comment)
    assert (heard.text, heard.key_map) == (text, KEYS.version)


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("1，不方便接听", True),
        ("不满意，我正在开会", True),
        ("[自动回复]1", True),
        ("退订，我正在忙", False),
        ("还行", False),
        ("5，没人管", False),
    ],
)
def test_what_a_machine_may_have_written_is_marked(text: str, doubtful: bool) -> None:
    assert hear(text, KEYS).doubtful is doubtful
    assert hear(f"{text}，〈缺第2段〉", KEYS, incomplete=True).doubtful is doubtful


def test_a_phone_s_acknowledgement_is_not_answered_and_a_citizen_s_words_in_it_are_read() -> None:
    assert hear("", KEYS, acknowledgement=True).said is Said.AUTOMATIC
    assert hear("", KEYS).said is Said.UNCLEAR
    words, rating, out = (hear(text, KEYS, acknowledgement=True) for text in ("还行", "5，没人管", "TD"))
    assert (words.said, words.doubtful) == (Said.UNCLEAR, True)
    assert (rating.said, rating.satisfaction) == (Said.RATING, 1)
    assert out.said is Said.OPT_OUT


@pytest.mark.parametrize(("esm_class", "outcome"), [(0x00, Outcome.UNCLEAR), (0x10, Outcome.UNCLEAR)])
@on_reactor
async def test_an_unclear_message_is_asked_about(
    bench: Bench, record: Replying, esm_class: int, outcome: Outcome
) -> None:
    record.invite(record.case())
    bench.take("还行", esm_class=esm_class)
    assert await bench.read(1) == [outcome]
    assert len(record.rows(messages, kind="clarification")) == 1


@pytest.mark.parametrize(
    ("esm_class", "text", "outcome", "queue"),
    [
        (0x08, "还行", Outcome.UNCLEAR, "unclear"),
        (0x18, "还行", Outcome.UNCLEAR, "unclear"),
        (0x08, "", Outcome.AUTOMATIC, None),
        (0x00, "打电话总是提示您拨打的电话正忙", Outcome.UNCLEAR, "unclear"),
        (0x00, "id:7 stat:DELIVRD err:000", Outcome.AUTOMATIC, None),
        (0x00, "我正在开会，稍后回复您", Outcome.AUTOMATIC, None),
    ],
)
@on_reactor
async def test_what_a_machine_may_have_written_is_not_answered(
    bench: Bench, record: Replying, esm_class: int, text: str, outcome: Outcome, queue: str | None
) -> None:
    record.invite(record.case())
    bench.take(text, esm_class=esm_class)
    assert await bench.read(1) == [outcome]
    assert record.one(messages, direction="in").queue == queue
    assert record.rows(messages, kind="clarification") == []


def test_letters_mistakes_and_pressure_are_heard() -> None:
    assert hear("b", KEYS).letters == ("B",)
    assert hear("选C", KEYS).letters in ((), ("C",))
    assert hear("刚才打错了", KEYS).mistaken
    assert hear("他们让我选满意", KEYS).pressure
    assert hear(None, KEYS).said is Said.UNREADABLE


def test_no_level_is_heard_in_a_part_of_a_message_and_an_opt_out_is() -> None:
    assert hear("1", KEYS).satisfaction is Satisfaction(5)
    part = hear("1，〈缺第2段〉", KEYS, incomplete=True)
    assert (part.said, part.satisfaction) == (Said.UNCLEAR, None)
    out = hear("5，退订", KEYS, incomplete=True)
    assert (out.said, out.satisfaction) == (Said.OPT_OUT, None)


def unread(*stored: StoredPart) -> Unread:
    return Unread(new_id(), None, "mobile", False, None, stored)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255))
def test_no_bytes_break_the_reading(body: bytes, esm_class: int, coding: int) -> None:
    text = text_of(unread(StoredPart(esm_class, coding, body, 1, 1, START)), Alphabet.GSM)
    assert text is None or all(sign.isprintable() for sign in text)
    hear(text, KEYS)


def test_a_text_is_kept_without_control_characters_and_of_bounded_length() -> None:
    body = ("1\n谢谢\r\n\0\x07您" + "好" * 9000).encode("utf-16-be")
    text = text_of(unread(StoredPart(0, 8, body, 1, 1, START)), Alphabet.GSM)
    assert text is not None
    assert text.startswith("1 谢谢")
    assert len(text) <= inbox_module.LONGEST_TEXT
