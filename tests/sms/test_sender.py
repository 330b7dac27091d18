"""The sender between a real queue and a link that does as told: what goes out, comes back, rests and is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, cast

import pytest
from sqlalchemy import update
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as ReactorClock

from config.receipts import ReceiptClass
from config.settings import Settings
from intake.answers import StoreAnswers
from intake.claims import Claimed, ClaimMessages, HandedSegment, ToSend
from intake.figures import sms_figures
from intake.receipts import NoteReceipts
from models.clock import TurnedClock
from models.door import Command, Door
from models.errors import CommandFailed
from models.futures import Wakeups
from models.privacy import Keyring
from models.tables import messages
from models.terms import MessageKind
from sms.lanes import Lane, Writer
from sms.link import Answer, Delivery, Link, LinkState, Submit, SubmitResult
from sms.pdu import Status, UnfitField
from sms.refusals import REFUSALS
from sms.sender import BLOCKED, HOLD, REST_AFTER, Sender
from tests.intake.sending import HOUR, MINUTE, RULES, SERVICE, TERMS, WAIT, Sending
from tests.moments import START

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

ACCEPTED, THROTTLED, QUEUE_FULL = SubmitResult.ACCEPTED, SubmitResult.THROTTLED, SubmitResult.QUEUE_FULL
REJECTED, NACKED = SubmitResult.REJECTED, SubmitResult.NACKED
UNKNOWN, NOT_SENT = SubmitResult.UNKNOWN, SubmitResult.NOT_SENT


class Reactor(ReactorClock):
    """Time that stands still until it is turned; calls from other threads wait until they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., None], *args: Any) -> None:  # noqa: N802
        self.from_threads.put(lambda: function(*args))


class FakeLink:
    """Keeps what it gets. `free`: how much it takes; told of no room it remembers that it was asked."""

    def __init__(self, name: str, sender: Callable[[], Sender]) -> None:
        self.name = name
        self.state = LinkState.UP
        self.problem = ""
        self.rate = 50.0
        self.free = 10
        self.asked_in_vain = False
        self.unfit: set[str] = set()
        self.got: list[tuple[Submit, Any]] = []
        self.responses: list[tuple[int, int]] = []
        self._sender = sender

    def room(self) -> int:
        if self.state is not LinkState.UP or self.free <= 0:
            self.asked_in_vain = True
            return 0
        return self.free

    def submit(self, submit: Submit, token: object) -> None:
        assert self.state is LinkState.UP
        assert self.free > 0
        if submit.validity in self.unfit:
            raise UnfitField("no field holds it")
        self.free -= 1
        self.got.append((submit, token))

    def respond(self, delivery: Delivery, status: int) -> None:
        self.responses.append((delivery.sequence, status))

    # ── what a test tells it to do ────────────────────────────────────────────────────────────────────────────────────

    @property
    def texts(self) -> list[str]:
        return [submit.validity for submit, _ in self.got]

    def answer(self, result: SubmitResult, message_id: str = "", status: int = 0, *, frees: bool = True) -> None:
        """Answers the oldest submit."""
        _, token = self.got.pop(0)
        self.free += frees
        self._sender().answered(cast("Link", self), token, Answer(result, status, message_id))
        if self.asked_in_vain and self.free > 0 and self.state is LinkState.UP:
            self.give_room(self.free)

    def give_room(self, free: int) -> None:
        self.free = free
        self.asked_in_vain = False
        self._sender().room(cast("Link", self))

    def go_down(self) -> None:
        """As the real one: what is in flight is unknown, then it is down."""
        self.state, self.problem = LinkState.CONNECTING, "lost"
        while self.got:
            self.answer(UNKNOWN)
        self._sender().down(cast("Link", self))

    def come_up(self, free: int = 10) -> None:
        self.state, self.problem, self.free = LinkState.UP, "", free
        self._sender().up(cast("Link", self))


class Gate:
    """The door, some of whose commands fail, or wait until they are let through."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.fails: set[type] = set()
        self.holds: set[type] = set()
        self.held: list[Callable[[], None]] = []
        self.open: list[Future[Any]] = []
        self.passed: list[Command[Any]] = []

    def submit(self, command: Command[Any]) -> Future[Any]:
        outer: Future[Any] = Future()
        if type(command) in self.fails:
            outer.set_exception(CommandFailed("the database is away"))
            return outer

        def start() -> None:
            self.passed.append(command)
            inner = self._door.submit(command)
            self.open.append(inner)
            inner.add_done_callback(lambda done: outer.set_result(done.result()))

        if type(command) in self.holds:
            self.held.append(start)
        else:
            start()
        return outer

    def let_through(self) -> None:
        held, self.held = self.held, []
        self.holds.clear()
        for start in held:
            start()


class Pen:
    """Writes messages as their ids, so that a test sees which one went; two segments where `parts` says so."""

    def write(self, message: ToSend, now: datetime) -> Claimed:
        parts = int(message.fields.get("parts", "1"))
        return Claimed(
            "text",
            SERVICE + message.code,
            7,
            tuple(
                HandedSegment(number, Submit("", "", b"", validity=f"{message.id}.{number}"))
                for number in range(1, parts + 1)
            ),
        )


class Rig:
    """Sender, queue and links."""

    def __init__(self, sending: Sending, clock: TurnedClock) -> None:
        self.sending = sending
        self.clock = clock
        self.reactor = Reactor()
        self.gate = Gate(sending.door)
        self.sender = Sender(
            cast("Door", self.gate),
            Wakeups(self.reactor),
            self.reactor,
            clock,
            terms=TERMS,
            rules=RULES,
            unknown_after=10 * MINUTE,
            blocked_pause=1800.0,
            words=lambda _, delivery: self.words.append(delivery),
        )
        self.links: dict[str, FakeLink] = {}
        self.words: list[Delivery] = []
        self.m = self.add("m")

    def kept(self) -> int:
        """Receipts that found no message yet."""
        return self.sending.door.read(lambda connection: sms_figures(connection, self.clock.now())).result(5).receipts

    def add(self, name: str, carriers: tuple[str, ...] = ("mobile", ""), window: int = 10) -> FakeLink:
        link = self.links[name] = FakeLink(name, lambda: self.sender)
        section = {"name": name, "host": "h", "system_id": "s", "password": "p", "window": window}
        sms = {"service_number": SERVICE, "signature": "临夏12345", "links": [section]}
        [settings] = Settings.model_validate({"sms": sms}).sms.links
        self.sender.add(
            Lane(cast("Link", link), settings, cast("Writer", Pen()), carriers, (name,)),
        )
        return link

    def lane(self, name: str = "m") -> Lane:
        return self.sender.lanes[name]

    def run(self, seconds: float = 0.0) -> None:
        """Lets time pass, then everything happen that can."""
        self.reactor.advance(seconds)
        quiet = False
        while not quiet:
            quiet = True
            open_futures, self.gate.open = self.gate.open, []
            for future in open_futures:
                future.result(WAIT)
                quiet = False
            try:
                while True:
                    self.reactor.from_threads.get_nowait()()
                    quiet = False
            except Empty:
                pass
            if any(call.getTime() <= self.reactor.seconds() for call in self.reactor.getDelayedCalls()):
                self.reactor.advance(0)
                quiet = False

    def wake(self) -> None:
        self.sender.wake()
        self.run()

    def queue(self, n: int = 1, **values: Any) -> str:
        return self.sending.queue(n, MessageKind.REMINDER, **values)

    def state(self, message: str) -> str:
        return str(self.sending.message(message).state)

    def receipt(
        self,
        kind: ReceiptClass,
        smsc_id: str,
        n: int | None = None,
        link: str = "m",
        sequence: int = 1,
        *,
        sure: bool = True,
    ) -> None:
        delivery = Delivery(1, sequence, link, 5, "", 0, 0, "", 0, 0, 4, 0, b"", {}, 0, "", 1)
        fact = replace(self.sending.fact(kind, smsc_id, n=n), sure=sure)
        self.sender.receipt(cast("Link", self.links[link]), delivery, fact)


@pytest.fixture
def rig(door: Door, keyring: Keyring, clock: TurnedClock) -> Iterator[Rig]:
    rig = Rig(Sending(door, keyring, clock), clock)
    yield rig
    rig.sender.stop_claiming()
    stored = Deferred.fromCoroutine(rig.sender.stored())
    rig.run()
    assert stored.called
    assert rig.reactor.getDelayedCalls() == []


# ── there and back ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_the_queue_to_the_receipt(rig: Rig) -> None:
    message = rig.queue()
    rig.wake()
    assert rig.m.texts == [f"{message}.1"]
    assert rig.state(message) == "handed"
    rig.m.answer(ACCEPTED, "00A1")
    rig.run()
    assert (rig.state(message), rig.sending.segments(message)[0].smsc_id) == ("sent", "a1")
    rig.receipt(ReceiptClass.DELIVERED, "a1")
    rig.run()
    assert (rig.state(message), rig.m.responses) == ("delivered", [(1, 0)])
    counts = rig.sender.statistics
    assert (counts.claimed, dict(counts.messages), dict(counts.receipts)) == (
        1,
        {("reminder", "sent"): 1},
        {"delivered": 1},
    )


def test_nothing_is_handed_before_it_is_stored(rig: Rig) -> None:
    rig.gate.holds.add(ClaimMessages)
    rig.queue()
    rig.wake()
    assert rig.m.got == []
    rig.gate.let_through()
    rig.run()
    assert len(rig.m.got) == 1


@pytest.mark.parametrize(
    ("label", "result", "status", "state", "reason", "statistics"),
    [
        ("refused", REJECTED, int(Status.ESME_RINVDSTADR), "failed", "ESME_RINVDSTADR", "failed"),
        ("refused in a vendor's way", REJECTED, 0x8000_0401, "failed", "0x80000401", "failed"),
        ("generic_nack", NACKED, 3, "failed", "generic_nack", "failed"),
        ("no answer", UNKNOWN, 0, "unknown", None, "unknown"),
        ("never written", NOT_SENT, 0, "queued", None, "put_back"),
        ("refused for now", REJECTED, int(Status.ESME_RSYSERR), "queued", None, "put_back"),
        ("our set-up is wrong", REJECTED, int(Status.ESME_RINVSRCADR), "queued", None, "put_back"),
    ],
)
def test_what_a_link_answers(
    rig: Rig, label: str, result: SubmitResult, status: int, state: str, reason: str | None, statistics: str
) -> None:
    message = rig.queue()
    rig.wake()
    rig.m.free = 0
    rig.m.answer(result, status=status, frees=False)
    rig.run()
    row = rig.sending.message(message)
    assert (row.state, row.reason) == (state, reason), label
    assert dict(rig.sender.statistics.messages) == {("reminder", statistics): 1}
    if reason is not None:
        assert dict(rig.sender.statistics.failures) == {reason: 1}


RSYSERR, RINVSRCADR, RINVBNDSTS, RINVDSTADR = map(
    int, (Status.ESME_RSYSERR, Status.ESME_RINVSRCADR, Status.ESME_RINVBNDSTS, Status.ESME_RINVDSTADR)
)


def test_an_smsc_in_trouble_for_two_minutes_behind_a_live_bind_costs_no_message(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(5)]
    for _ in range(6):
        rig.wake()
        while rig.m.got:
            rig.m.answer(REJECTED, status=RSYSERR)
            rig.run()
        rig.clock.turn(MINUTE / 2)
    assert [rig.state(each) for each in queued] == ["queued"] * 5
    assert rig.lane().rests_until is None, "that is no matter of a person"
    rig.clock.turn(2 * MINUTE)
    rig.wake()
    while rig.m.got:
        rig.m.answer(ACCEPTED, rig.m.texts[0])
        rig.run()
    assert [rig.state(each) for each in queued] == ["sent"] * 5
    assert [rig.sending.message(each).tries for each in queued] == [1] * 5


def test_refused_again_and_again_it_waits_longer_each_time(rig: Rig) -> None:
    message = rig.queue()
    waits = []
    for _ in range(6):
        rig.wake()
        assert len(rig.m.got) == 1
        rig.m.answer(REJECTED, status=RSYSERR)
        rig.run()
        wait = rig.sending.message(message).not_before - rig.clock.now()
        waits.append(wait / MINUTE)
        rig.clock.turn(wait - timedelta(seconds=1))
        rig.wake()
        assert rig.m.got == []
        rig.clock.turn(timedelta(seconds=1))
    assert waits == [1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize("status", [RSYSERR, RINVSRCADR])
def test_refused_again_and_again_while_others_are_accepted_it_fails_for_its_own_sake(rig: Rig, status: int) -> None:
    message = rig.queue()
    for turn in range(REFUSALS + 1):
        assert rig.state(message) == "queued", turn
        rig.wake()
        rig.m.answer(REJECTED, status=status)
        rig.run()
        rig.queue(turn + 2)
        rig.wake()
        rig.m.answer(ACCEPTED, f"a{turn}")
        rig.run()
        rig.clock.turn(15 * MINUTE)
    assert rig.state(message) == "failed"
    assert rig.sending.message(message).reason == ("ESME_RSYSERR" if status == RSYSERR else "ESME_RINVSRCADR")
    assert len(rig.sender._refusals) == 0


def test_of_a_message_that_is_refused_no_other_segment_goes_out_now(rig: Rig) -> None:
    message, other = rig.queue(1, parts=3), rig.queue(2)
    rig.m.free = 1
    rig.wake()
    rig.m.answer(REJECTED, status=RSYSERR)
    rig.m.give_room(5)
    rig.run()
    assert rig.m.texts == [f"{other}.1"]
    assert (rig.state(message), rig.sending.states(message)) == ("queued", ["waiting"] * 3)


def test_a_field_that_no_pdu_holds_fails_the_message_and_nothing_else(rig: Rig) -> None:
    bad, good = rig.queue(1), rig.queue(2)
    rig.m.unfit.add(f"{bad}.1")
    rig.wake()
    assert rig.m.texts == [f"{good}.1"]
    assert (rig.state(bad), rig.sending.message(bad).reason) == ("failed", "no_pdu_holds_it")


# ── several segments ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_sent_when_its_last_segment_is(rig: Rig) -> None:
    message = rig.queue(parts=2)
    rig.wake()
    assert rig.m.texts == [f"{message}.1", f"{message}.2"]
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    assert rig.state(message) == "handed"
    rig.m.answer(ACCEPTED, "a2")
    rig.run()
    assert rig.state(message) == "sent"


def test_of_a_message_that_failed_no_other_segment_goes_out(rig: Rig) -> None:
    message, other = rig.queue(1, parts=3), rig.queue(2)
    rig.m.free = 1
    rig.wake()
    rig.m.answer(REJECTED, status=int(Status.ESME_RINVDSTADR))
    rig.m.give_room(5)
    rig.run()
    assert rig.m.texts == [f"{other}.1"]
    assert (rig.state(message), rig.sending.states(message)) == ("failed", ["failed", "waiting", "waiting"])


def test_accepted_in_part_only_the_rest_goes_again(rig: Rig) -> None:
    message = rig.queue(parts=2)
    rig.wake()
    rig.m.answer(ACCEPTED, "a1")
    rig.m.state = LinkState.CONNECTING
    rig.m.answer(NOT_SENT)
    rig.run()
    assert rig.state(message) == "queued"
    rig.m.come_up()
    rig.run()
    assert rig.m.texts == [f"{message}.2"]
    rig.m.answer(ACCEPTED, "b2")
    rig.run()
    assert [row.smsc_id for row in rig.sending.segments(message)] == ["a1", "b2"]


# ── the SMSC is too busy ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("result", [THROTTLED, QUEUE_FULL])
def test_throttled_it_goes_again_in_front(rig: Rig, result: SubmitResult) -> None:
    first, second, third = (rig.queue(n) for n in range(3))
    rig.m.free = 2
    rig.wake()
    rig.m.answer(result, frees=False)
    assert rig.m.asked_in_vain  # so the link tells of room
    rig.m.give_room(2)
    assert rig.m.texts == [f"{second}.1", f"{first}.1", f"{third}.1"]
    rig.run(1)
    assert [rig.state(each) for each in (first, second, third)] == ["handed"] * 3
    assert rig.sending.message(first).tries == 1


def test_throttled_for_too_long_it_goes_back_and_no_try_is_counted(rig: Rig) -> None:
    message = rig.queue()
    rig.m.free = 1
    rig.wake()
    for _ in range(5):
        rig.m.answer(THROTTLED, frees=False)
        rig.run(HOLD / 5)
        rig.m.give_room(1)
    rig.m.answer(THROTTLED, frees=False)
    rig.run()
    row = rig.sending.message(message)
    assert (row.state, row.tries, row.not_before) == ("queued", 0, START)
    assert (rig.m.got, len(rig.lane().queue)) == ([], 0)


def test_what_was_not_submitted_in_time_goes_back_too(rig: Rig) -> None:
    """A link that has become slow keeps nothing for longer than a lease lasts."""
    queued = [rig.queue(n) for n in range(5)]
    rig.m.free = 2
    rig.wake()
    assert [rig.state(each) for each in queued] == ["handed"] * 5
    rig.run(HOLD + 1)
    rig.m.rate = 1.0
    rig.m.give_room(1)
    assert len(rig.lane().queue) == 0
    rig.run()
    states = [rig.state(each) for each in queued]
    assert states == ["handed", "handed", "handed", "handed", "queued"]  # two were claimed anew, for two seconds
    assert rig.m.texts[2:] == [f"{queued[2]}.1"]
    assert [submit.validity for _, _, submit in rig.lane().queue] == [f"{queued[3]}.1"]


@pytest.mark.parametrize("throttled", [False, True])
def test_what_was_claimed_before_the_hours_ended_and_has_not_gone_waits_for_the_morning(
    rig: Rig, throttled: bool
) -> None:
    """Over a slow link, or one that is told to wait; an answer to a citizen goes at any hour, and a text as a whole."""
    night, morning = START + timedelta(seconds=5), START + 11 * HOUR
    rig.sender._terms = replace(TERMS, opening=lambda at: morning if night <= at < morning else at)
    first = rig.queue(1, parts=2)
    second = rig.queue(2)
    answer = rig.sending.queue(3, MessageKind.REASON)
    rig.m.free = 1
    rig.wake()
    assert rig.m.texts == [f"{first}.1"]
    rig.clock.turn(timedelta(seconds=6))
    rig.m.answer(SubmitResult.ACCEPTED, "a")
    rig.run()
    assert rig.m.texts == [f"{first}.2"]  # a handset shows no half of a text
    if throttled:
        rig.m.answer(SubmitResult.THROTTLED)
        rig.run()
    rig.m.answer(SubmitResult.ACCEPTED, "b")
    rig.run()
    assert rig.m.texts == [f"{answer}.1"]
    rig.m.answer(SubmitResult.ACCEPTED, "c")
    rig.run()
    rig.wake()
    assert [rig.state(one) for one in (first, second, answer)] == ["sent", "queued", "sent"]
    row = rig.sending.message(second)
    assert (row.not_before, row.handed_at) == (morning, None)
    rig.clock.turn(11 * HOUR)
    rig.wake()
    assert rig.m.texts == [f"{second}.1"]


def test_a_throttled_one_does_not_go_when_the_hours_have_ended(rig: Rig) -> None:
    night, morning = START + timedelta(seconds=5), START + 11 * HOUR
    rig.sender._terms = replace(TERMS, opening=lambda at: morning if night <= at < morning else at)
    message = rig.queue()
    rig.m.free = 1
    rig.wake()
    rig.clock.turn(timedelta(seconds=6))
    rig.m.answer(SubmitResult.THROTTLED, frees=False)
    rig.run()
    rig.m.give_room(1)
    rig.run()
    rig.wake()
    assert (rig.m.texts, rig.state(message)) == ([], "queued")
    assert rig.sending.message(message).not_before == morning


def test_a_partner_takes_what_went_back(rig: Rig) -> None:
    other = rig.add("n")
    other.free = 0
    message = rig.queue()
    rig.wake()
    rig.run(HOLD)
    other.free = 1
    rig.m.free = 0
    rig.m.answer(THROTTLED, frees=False)
    rig.run()
    assert other.texts == [f"{message}.1"]
    assert rig.sending.message(message).link == "n"


def test_links_of_one_carrier_share_its_messages_and_the_one_that_is_up_takes_the_rest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rig.add("n")
    went: list[str] = []
    for link in (rig.m, other):

        def submit(submit: Submit, token: object, link: FakeLink = link) -> None:
            went.append(submit.validity)
            FakeLink.submit(link, submit, token)

        monkeypatch.setattr(link, "submit", submit)
    queued = [rig.queue(n) for n in range(60)]
    rig.wake()
    in_flight = set(rig.m.texts)
    assert (len(in_flight), len(other.got)) == (10, 10)
    rig.m.go_down()
    rig.run()
    while other.got:
        other.answer(ACCEPTED, "1")
        rig.run()
    assert sorted(went) == sorted(f"{each}.1" for each in queued)  # each once
    assert {f"{each}.1" for each in queued if rig.state(each) == "unknown"} == in_flight
    assert [rig.state(each) for each in queued].count("sent") == 50


# ── up and down ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_without_room_claims_nothing(rig: Rig) -> None:
    message = rig.queue()
    rig.m.free = 0
    rig.wake()
    assert (rig.state(message), rig.gate.passed) == ("queued", [])
    rig.m.give_room(1)
    rig.run()
    assert rig.state(message) == "handed"


def test_a_link_that_is_down_claims_nothing_until_it_is_up(rig: Rig) -> None:
    message = rig.queue()
    rig.m.state = LinkState.CONNECTING
    rig.wake()
    assert rig.state(message) == "queued"
    rig.m.come_up()
    rig.run()
    assert rig.state(message) == "handed"


def test_a_link_that_goes_down_gives_everything_back(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(4)]
    rig.m.free = 1
    rig.wake()
    assert [rig.state(each) for each in queued] == ["handed"] * 4
    rig.m.go_down()
    rig.run()
    assert [rig.state(each) for each in queued] == ["unknown", "queued", "queued", "queued"]
    rig.m.come_up()
    rig.run()
    assert rig.m.texts == [f"{each}.1" for each in queued[1:]]


@pytest.mark.parametrize("why", ["down", "resting", "stopping"])
def test_a_claim_that_comes_back_too_late_is_given_back(rig: Rig, why: str) -> None:
    message = rig.queue()
    rig.gate.holds.add(ClaimMessages)
    rig.wake()
    if why == "down":
        rig.m.go_down()
    elif why == "resting":
        rig.sender.rest(rig.lane(), 60.0, "tried")
    else:
        rig.sender.stop_claiming()
    rig.gate.let_through()
    rig.run()
    assert (rig.m.got, rig.state(message), rig.sending.message(message).tries) == ([], "queued", 0)


def test_what_becomes_due_during_a_claim_is_claimed_after_it(rig: Rig) -> None:
    rig.gate.holds.add(ClaimMessages)
    rig.wake()
    rig.gate.let_through()
    message = rig.queue()  # seen by the first claim or not: the wake is not lost
    rig.sender.wake()
    rig.run()
    assert rig.state(message) == "handed"


def test_a_wake_that_finds_the_lane_claiming_is_not_lost(rig: Rig) -> None:
    rig.gate.holds.add(ClaimMessages)
    rig.sender.wake()
    [first] = rig.gate.held
    rig.gate.held.clear()
    rig.gate.holds.clear()
    first()
    for future in rig.gate.open:
        future.result(WAIT)  # it has read the empty queue
    message = rig.queue()
    rig.sender.wake()
    rig.run()
    assert rig.state(message) == "handed"


def test_no_more_is_claimed_than_the_link_can_soon_send(rig: Rig) -> None:
    for n in range(30):
        rig.queue(n)
    rig.m.free, rig.m.rate = 1, 2.0
    rig.wake()
    assert len(rig.m.got) + len(rig.lane().queue) <= 8
    assert rig.sender.statistics.claimed <= 8


def test_many_go_through_in_the_end(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(60)]
    rig.wake()
    serial = 0
    while rig.m.got:
        serial += 1
        rig.m.answer(ACCEPTED, f"{serial:x}")
        rig.run()
    assert serial == 60
    assert {rig.state(each) for each in queued} == {"sent"}


def test_a_claim_that_fails_is_tried_again_at_the_next_wake(rig: Rig) -> None:
    message = rig.queue()
    rig.gate.fails.add(ClaimMessages)
    rig.wake()
    assert rig.state(message) == "queued"
    rig.gate.fails.clear()
    rig.wake()
    assert rig.state(message) == "handed"


def test_the_next_message_of_a_number_goes_when_the_first_has_its_answer(rig: Rig) -> None:
    first, second = rig.queue(1), rig.queue(1)
    rig.wake()
    assert rig.m.texts == [f"{first}.1"]
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    assert rig.m.texts == [f"{second}.1"]


# ── resting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sent(rig: Rig, count: int, parts: int = 1) -> list[str]:
    """Messages sent over the link; their ids are their receipts' ids."""
    sent = [rig.queue(n, parts=parts) for n in range(count)]
    rig.m.free = 1000
    rig.wake()
    while rig.m.got:
        rig.m.answer(ACCEPTED, rig.m.texts[0].replace(".", "x"))
        rig.run()
    return sent


def _blocked(rig: Rig, *sent: str, kind: ReceiptClass = ReceiptClass.BLOCKED) -> None:
    for message in sent:
        rig.receipt(kind, f"{message}x1")
    rig.run()


def test_ten_blocked_running_and_the_link_rests(rig: Rig) -> None:
    sent = _sent(rig, BLOCKED)
    _blocked(rig, *sent[:-1])
    assert rig.lane().rests_until is None
    _blocked(rig, sent[-1])
    assert rig.lane().rests_until == rig.reactor.seconds() + 1800.0
    assert "blocked" in rig.lane().rests_because
    message = rig.queue(50)
    rig.wake()
    assert (rig.state(message), rig.sender.statistics.rests) == ("queued", 1)
    rig.run(1799.0)
    rig.wake()
    assert rig.state(message) == "queued"
    rig.run(1.0)
    rig.wake()
    assert (rig.state(message), rig.lane().rests_until, rig.lane().rests_because) == ("handed", None, "")


@pytest.mark.parametrize("kind", [ReceiptClass.DELIVERED, ReceiptClass.FAILED, ReceiptClass.LATER])
def test_any_other_final_receipt_begins_the_count_anew(rig: Rig, kind: ReceiptClass) -> None:
    sent = _sent(rig, BLOCKED + 1)
    _blocked(rig, *sent[: BLOCKED - 1])
    _blocked(rig, sent[BLOCKED - 1], kind=kind)
    _blocked(rig, sent[BLOCKED])
    assert rig.lane().rests_until is None


@pytest.mark.parametrize("kind", [ReceiptClass.INTERMEDIATE, ReceiptClass.UNKNOWN])
def test_one_that_says_nothing_does_not(rig: Rig, kind: ReceiptClass) -> None:
    sent = _sent(rig, BLOCKED + 1)
    _blocked(rig, *sent[: BLOCKED - 1])
    _blocked(rig, sent[BLOCKED - 1], kind=kind)
    _blocked(rig, sent[BLOCKED])
    assert rig.lane().rests_until is not None


def test_the_segments_of_one_text_are_one_text(rig: Rig) -> None:
    sent = _sent(rig, BLOCKED // 2 + 1, parts=2)
    for message in sent:
        rig.receipt(ReceiptClass.BLOCKED, f"{message}x1")
        rig.receipt(ReceiptClass.BLOCKED, f"{message}x2")
    rig.run()
    assert rig.lane().rests_until is None


def _refuse_all(rig: Rig, status: int, result: SubmitResult = REJECTED) -> None:
    while rig.m.got:
        rig.m.answer(result, status=status)
        rig.run()


@pytest.mark.parametrize(
    ("label", "result", "status", "state"),
    [
        ("the service number is not registered", REJECTED, RINVSRCADR, "queued"),
        ("we are not bound", REJECTED, RINVBNDSTS, "queued"),
        ("the service type", REJECTED, int(Status.ESME_RINVSERTYP), "queued"),
        ("numbers in another form", REJECTED, RINVDSTADR, "failed"),
        ("the vendor's own", REJECTED, 0x400, "failed"),
        ("it does not read what we write", NACKED, 3, "failed"),
    ],
)
def test_ten_refused_alike_running_and_the_link_rests(
    rig: Rig, label: str, result: SubmitResult, status: int, state: str
) -> None:
    queued = [rig.queue(n) for n in range(30)]
    rig.m.free = 10
    rig.wake()
    _refuse_all(rig, status, result)
    assert rig.lane().rests_until == rig.reactor.seconds() + 1800.0
    assert rig.lane().rests_because.startswith(f"{REST_AFTER} messages refused with ")
    states = [rig.state(each) for each in queued]
    failed = states.count("failed")
    assert failed == 0 if state == "queued" else REST_AFTER <= failed < REST_AFTER + 10, "those in flight, too"
    assert states.count("queued") == 30 - failed, label


def test_after_its_rest_a_link_is_tried_with_one_message(rig: Rig) -> None:
    for n in range(60):
        rig.queue(n)
    rig.wake()
    _refuse_all(rig, RINVDSTADR)
    rig.run(1800.0)
    rig.wake()
    rig.wake()
    assert len(rig.m.got) == 1
    rig.m.answer(REJECTED, status=RINVDSTADR)
    rig.run()
    assert (rig.m.got, rig.sender.statistics.rests) == ([], 2)
    rig.run(1800.0)
    rig.wake()
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    assert len(rig.m.got) == 10


@pytest.mark.parametrize("between", [ACCEPTED, None], ids=["an accepted one", "another status"])
def test_what_comes_between_refusals(rig: Rig, between: SubmitResult | None) -> None:
    """An accepted one begins the count anew; another status has a count of its own."""
    for n in range(REST_AFTER + 1):
        rig.queue(n)
    rig.m.free = REST_AFTER + 1
    rig.lane().queue.clear()
    rig.wake()
    for _ in range(REST_AFTER - 1):
        rig.m.answer(REJECTED, status=RINVSRCADR)
    if between is ACCEPTED:
        rig.m.answer(ACCEPTED, "a1")
    else:
        rig.m.answer(REJECTED, status=RSYSERR)
    rig.run()
    rig.wake()
    rig.m.answer(REJECTED, status=RINVSRCADR)
    rig.run()
    assert (rig.lane().rests_until is None) is (between is ACCEPTED)


def test_the_refused_segments_of_one_text_count_once(rig: Rig) -> None:
    for n in range(REST_AFTER // 2):
        rig.queue(n, parts=2)
    rig.wake()
    _refuse_all(rig, RINVDSTADR)
    assert rig.lane().rests_until is None


def test_a_partner_takes_what_a_link_that_came_to_rest_gave_back(rig: Rig) -> None:
    other = rig.add("n")
    other.free = 0
    queued = [rig.queue(n) for n in range(REST_AFTER)]
    rig.wake()
    _refuse_all(rig, RINVSRCADR)
    assert rig.lane().rests_until is not None
    rig.clock.turn(MINUTE)
    other.free = 20
    rig.wake()
    assert sorted(other.texts) == sorted(f"{each}.1" for each in queued)


def test_other_links_go_on_while_one_rests(rig: Rig) -> None:
    other = rig.add("n")
    rig.sender.rest(rig.lane(), None, "texts not approved")
    message = rig.queue()
    rig.wake()
    assert (rig.m.got, other.texts) == ([], [f"{message}.1"])
    rig.run(10_000_000.0)
    rig.wake()
    assert rig.lane().rests_until == float("inf")


def test_resting_it_gives_back_what_it_had_and_what_is_throttled(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(3)]
    rig.m.free = 1
    rig.wake()
    rig.sender.rest(rig.lane(), 60.0, "tried")
    rig.run()
    assert [rig.state(each) for each in queued] == ["handed", "queued", "queued"]
    rig.m.answer(THROTTLED)
    rig.m.give_room(5)
    rig.run()
    assert ([rig.state(each) for each in queued], rig.m.got) == (["queued"] * 3, [])


# ── receipts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_receipt_is_answered_once_it_is_stored_and_not_before(rig: Rig) -> None:
    rig.gate.holds.add(NoteReceipts)
    rig.receipt(ReceiptClass.DELIVERED, "a1")
    rig.run()
    assert rig.m.responses == []
    rig.gate.let_through()
    rig.run()
    assert rig.m.responses == [(1, 0)]
    assert rig.kept() == 1


def test_what_only_reads_like_a_receipt_counts_where_it_finds_its_message_and_may_be_words_elsewhere(rig: Rig) -> None:
    message = rig.queue()
    rig.wake()
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.receipt(ReceiptClass.DELIVERED, "a1", sure=False, sequence=1)
    rig.receipt(ReceiptClass.DELIVERED, "zz", sure=False, sequence=2)
    rig.run()
    assert rig.state(message) == "delivered"
    assert rig.m.responses == [(1, 0)]
    assert [one.sequence for one in rig.words] == [2], "who stores the words answers for them"
    assert rig.kept() == 1, "and it is kept as a receipt"


def test_what_only_reads_like_a_receipt_finds_its_message_when_the_answer_comes_after_it(rig: Rig) -> None:
    message = rig.queue()
    rig.wake()
    rig.receipt(ReceiptClass.DELIVERED, "a1", sure=False)
    rig.run()
    assert len(rig.words) == 1
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    assert (rig.state(message), rig.kept()) == ("delivered", 0)


def test_a_receipt_that_is_not_stored_is_asked_for_again(rig: Rig) -> None:
    rig.gate.fails.add(NoteReceipts)
    rig.receipt(ReceiptClass.DELIVERED, "a1")
    rig.run()
    assert rig.m.responses == [(1, int(Status.ESME_RSYSERR))]
    assert rig.kept() == 0


def test_receipts_of_a_turn_are_stored_together_and_many_at_once(rig: Rig) -> None:
    for n in range(100):
        rig.receipt(ReceiptClass.DELIVERED, f"a{n}", sequence=n)
    rig.run()
    assert [len(command.receipts) for command in rig.gate.passed if isinstance(command, NoteReceipts)] == [64, 36]
    assert sorted(rig.m.responses) == [(n, 0) for n in range(100)]


def test_a_receipt_before_the_answer_is_counted_when_it_is_matched(rig: Rig) -> None:
    message = rig.queue()
    rig.wake()
    rig.receipt(ReceiptClass.DELIVERED, "a1", n=1)
    rig.run()
    assert rig.kept() == 1
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    assert (rig.state(message), rig.kept()) == ("delivered", 0)
    assert dict(rig.sender.statistics.receipts) == {"delivered": 1}


def test_after_no_route_the_other_link_takes_it_at_once(rig: Rig) -> None:
    unicom = rig.add("u", ("unicom",))
    message = rig.queue()
    rig.wake()
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.receipt(ReceiptClass.NO_ROUTE, "a1")
    rig.run()
    assert unicom.texts == [f"{message}.1"]


# ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_answers_are_stored_again_after_the_database_failed(rig: Rig) -> None:
    messages = [rig.queue(n) for n in range(2)]
    rig.wake()
    rig.gate.fails.add(StoreAnswers)
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.m.answer(UNKNOWN)
    rig.run()
    rig.run(1.0)
    assert [rig.state(each) for each in messages] == ["handed"] * 2
    rig.gate.fails.clear()
    rig.run(0.9)
    assert [rig.state(each) for each in messages] == ["handed"] * 2
    rig.run(0.1)
    assert [rig.state(each) for each in messages] == ["sent", "unknown"]


def test_answers_are_stored_in_their_order(rig: Rig) -> None:
    """The message's outcome is never stored before its segment's answer is."""
    message = rig.queue(parts=2)
    rig.wake()
    rig.gate.holds.add(StoreAnswers)
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.m.answer(ACCEPTED, "a2")
    rig.run()
    assert len(rig.gate.held) == 1
    rig.gate.let_through()
    rig.run()
    assert [len(c.answers) for c in rig.gate.passed if isinstance(c, StoreAnswers)] == [1, 1]
    assert (rig.state(message), rig.sending.states(message)) == ("sent", ["accepted"] * 2)


def test_answers_of_one_turn_are_stored_together(rig: Rig) -> None:
    for n in range(5):
        rig.queue(n)
    rig.wake()
    for n in range(5):
        rig.m.answer(ACCEPTED, f"a{n}")
    rig.run()
    assert [len(command.answers) for command in rig.gate.passed if isinstance(command, StoreAnswers)] == [5]


def test_one_whose_segments_are_all_answered_is_sent_without_a_submit(rig: Rig) -> None:
    message = rig.queue()
    rig.wake()
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.sending.change(update(messages).where(messages.c.id == message).values(state="queued"))
    rig.wake()
    assert (rig.m.got, rig.state(message)) == ([], "sent")


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stopping_it_gives_back_and_stores(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(4)]
    rig.m.free = 2
    rig.wake()
    rig.sender.stop_claiming()
    rig.m.answer(ACCEPTED, "a1")
    rig.m.answer(THROTTLED)
    done = Deferred.fromCoroutine(rig.sender.stored())
    rig.run()
    assert done.called
    assert [rig.state(each) for each in queued] == ["sent", "queued", "queued", "queued"]
    rig.wake()
    assert rig.m.got == []


def test_the_end_waits_for_a_claim_under_way_and_gives_it_back(rig: Rig) -> None:
    message = rig.queue()
    rig.gate.holds.add(ClaimMessages)
    rig.wake()
    rig.sender.stop_claiming()
    done = Deferred.fromCoroutine(rig.sender.stored())
    rig.run()
    assert [done.called] == [False]
    rig.gate.let_through()
    rig.run()
    assert done.called
    assert rig.state(message) == "queued"


def test_the_end_tries_once_more_to_store_and_does_not_wait_for_ever(rig: Rig) -> None:
    queued = [rig.queue(n) for n in range(2)]
    rig.wake()
    rig.gate.fails.add(StoreAnswers)
    rig.m.answer(ACCEPTED, "a1")
    rig.run()
    rig.sender.stop_claiming()
    done = Deferred.fromCoroutine(rig.sender.stored())
    rig.run()
    assert done.called
    assert [rig.state(each) for each in queued] == ["handed"] * 2
    assert rig.reactor.getDelayedCalls() == []


def test_nothing_to_store_the_end_comes_at_once(rig: Rig) -> None:
    rig.sender.stop_claiming()
    assert Deferred.fromCoroutine(rig.sender.stored()).called


def test_the_log_has_no_number_and_no_text(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    message = rig.queue()
    rig.gate.fails.update({StoreAnswers, NoteReceipts})
    rig.wake()
    rig.receipt(ReceiptClass.DELIVERED, "a1", n=1)
    rig.m.answer(REJECTED, status=int(Status.ESME_RINVDSTADR))
    rig.sender.rest(rig.lane(), 1.0, "tried")
    rig.run()
    said = "".join(capsys.readouterr())
    assert "link rests" in said
    assert "answers were not stored" in said
    for secret in ("13800000001", "138****", SERVICE, message, "text"):
        assert secret not in said.replace("texts", "")
    rig.gate.fails.clear()
    rig.run(1.0)
