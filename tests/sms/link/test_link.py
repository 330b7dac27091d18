"""The link over real TCP and TLS: it binds, keeps its pace, answers for every submit, and comes back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from sms import pdu
from sms.link import KINDS_KEPT, Answer, Link, LinkState, NoRoom, SubmitResult, UnusableTrust
from sms.pdu import Command, Status, UnfitField
from tests.sms.link.certificates import Authority
from tests.sms.link.rig import MESSAGE, OPTIONS, Owner, Smsc, line, on_reactor, passed, reactor

ACCEPTED, UNKNOWN, NOT_SENT = SubmitResult.ACCEPTED, SubmitResult.UNKNOWN, SubmitResult.NOT_SENT


def results(owner: Owner) -> list[tuple[object, SubmitResult]]:
    return [(token, answer.result) for token, answer in owner.answers]


# ── up, a message, down ───────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_message_its_receipt_and_a_reply() -> None:
    async with line() as at:
        peer = await at.up()
        assert peer.bind is not None
        assert peer.bind[:2] == (OPTIONS.system_id, OPTIONS.password)
        at.link.submit(MESSAGE, "token")
        await at.smsc.waits.until(lambda: len(peer.submits()) == 1)
        (sent,) = peer.submits()
        assert pdu.read_message(sent.body)[3:7] == (MESSAGE.source, 0, 0, MESSAGE.destination)
        peer.send(pdu.submit_sm_resp(sent.sequence, 0, "17"))
        await at.owner.waits.until(lambda: len(at.owner.answers) == 1)
        assert at.owner.answers == [("token", Answer(ACCEPTED, 0, "17"))]
        peer.send(pdu.deliver_sm(5, pdu.Submit(MESSAGE.destination, MESSAGE.source, b"id:17", esm_class=4)))
        peer.send(pdu.deliver_sm(6, pdu.Submit(MESSAGE.destination, MESSAGE.source, b"5")))
        await peer.everything_read()
        assert [(d.link, d.sequence, d.body) for d in at.owner.deliveries] == [("test", 5, b"id:17"), ("test", 6, b"5")]
        assert [(came.sequence, came.status) for came in peer.of(Command.DELIVER_SM_RESP)] == [(5, 0), (6, 0)]
    assert at.link.state is LinkState.STOPPED
    assert [came.command for came in peer.received][-1] == Command.UNBIND
    assert at.owner.downs == ["stopped"]
    counted = at.link.statistics
    assert (counted.submits[ACCEPTED], counted.deliveries, counted.binds, counted.connections) == (1, 2, 1, 1)
    assert counted.bytes_out == sum(16 + len(came.body) for came in peer.received)


@on_reactor
async def test_a_pair_is_up_when_both_are_bound_and_down_when_one_is_gone() -> None:
    async with line(bind="pair") as at:
        await at.up()
        transmitter, receiver = sorted(at.smsc.peers, key=lambda peer: -peer.received[0].command)
        assert transmitter.received[0].command == Command.BIND_TRANSMITTER
        assert receiver.received[0].command == Command.BIND_RECEIVER
        at.smsc.submit_status = 0
        at.link.submit(MESSAGE, 1)
        receiver.send(pdu.deliver_sm(9, MESSAGE))
        await receiver.everything_read()
        await at.owner.waits.until(lambda: len(at.owner.answers) == 1)
        assert len(transmitter.submits()) == 1
        assert [came.sequence for came in receiver.of(Command.DELIVER_SM_RESP)] == [9]
        receiver.transport.abortConnection()
        await at.owner.waits.until(lambda: len(at.owner.downs) == 1)
        assert at.link.room() == 0
        await at.up(2)
        assert not transmitter.closed
        assert at.link.room() > 0


@on_reactor
async def test_many_submits_and_answers_go_in_few_writes() -> None:
    async with line(window=100) as at:
        peer = await at.up()
        chunks: list[int] = []
        inner = peer.dataReceived
        peer.dataReceived = lambda data: (chunks.append(len(data)), inner(data))[-1]  # type: ignore[method-assign,func-returns-value]
        at.smsc.submit_status = 0
        for token in range(100):
            at.link.submit(MESSAGE, token)
        await at.owner.waits.until(lambda: len(at.owner.answers) == 100)
        assert results(at.owner) == [(token, ACCEPTED) for token in range(100)]
        assert len(chunks) <= 3


@on_reactor
async def test_room_is_told_once_there_is_some_again() -> None:
    async with line(window=2) as at:
        await at.up()
        at.link.submit(MESSAGE, 1)
        at.link.submit(MESSAGE, 2)
        assert at.link.room() == 0
        with pytest.raises(NoRoom):
            at.link.submit(MESSAGE, 3)
        peer = at.smsc.peers[0]
        await at.smsc.waits.until(lambda: len(peer.submits()) == 2)
        assert at.owner.rooms == 0
        peer.send(pdu.submit_sm_resp(peer.submits()[0].sequence))
        await at.owner.waits.until(lambda: at.owner.rooms == 1)
        assert at.owner.order[-2:] == ["answered 1", "room"]
        assert at.link.room() == 1


@on_reactor
async def test_a_field_that_does_not_fit_takes_no_place() -> None:
    async with line(window=1) as at:
        await at.up()
        with pytest.raises(UnfitField, match="source"):
            at.link.submit(replace(MESSAGE, source="１"), "token")
        assert at.link.room() == 1
        assert at.link.in_flight == 0


# ── what is cut ───────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_cut_leaves_written_submits_unknown_and_the_link_comes_back() -> None:
    async with line() as at:
        peer = await at.up()
        at.link.submit(MESSAGE, "written")
        await at.smsc.waits.until(lambda: len(peer.submits()) == 1)
        peer.transport.abortConnection()
        await at.owner.waits.until(lambda: bool(at.owner.downs))
        assert at.owner.order == ["up", "answered written", "down"]
        assert results(at.owner) == [("written", UNKNOWN)]
        await at.up(2)
        assert at.link.room() == OPTIONS.window
        assert at.link.problem == ""


@on_reactor
async def test_there_is_no_room_in_a_session_that_has_just_ended() -> None:
    rooms: list[int] = []

    class LastMoment(Owner):
        def delivered(self, link: Link, delivery: Any) -> None:
            rooms.append(link.room())
            super().delivered(link, delivery)

    async with line(LastMoment()) as at:
        peer = await at.up()
        peer.send(pdu.deliver_sm(1, MESSAGE) + pdu.unbind(2))
        await at.owner.waits.until(lambda: bool(at.owner.downs))
        await at.smsc.waits.until(lambda: peer.closed)
        assert rooms == [0]
        assert at.owner.downs == ["unbound by the SMSC"]
        assert [came.command for came in peer.received][1:] == [Command.UNBIND_RESP]
        await at.up(2)


@on_reactor
async def test_a_silent_smsc_is_left() -> None:
    smsc = Smsc()
    smsc.enquiries = False
    async with line(smsc=smsc, enquire_link_seconds=0.05, response_seconds=0.1) as at:
        await at.up()
        await at.owner.waits.until(lambda: bool(at.owner.downs))
        assert at.owner.downs == ["no answer to enquire_link"]
        await at.up(2)


@on_reactor
async def test_an_answer_that_does_not_come_is_unknown() -> None:
    async with line(response_seconds=0.1) as at:
        await at.up()
        at.link.submit(MESSAGE, 1)
        await at.owner.waits.until(lambda: bool(at.owner.answers))
        assert results(at.owner) == [(1, UNKNOWN)]
        assert at.link.state is LinkState.UP


# ── trying again ──────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_refused_bind_waits_long_and_is_told_once() -> None:
    smsc = Smsc()
    smsc.bind_status = int(Status.ESME_RINVPASWD)
    waits: list[float] = []
    with capture_logs() as logs:
        async with line(smsc=smsc, reconnect_first=0.01, reconnect_most=0.2) as at:
            times: list[float] = []
            for number in (1, 2, 3):
                await smsc.waits.until(lambda number=number: len(smsc.peers) >= number)  # type: ignore[misc]
                times.append(reactor().seconds())
            waits = [later - earlier for earlier, later in pairwise(times)]
            assert at.link.problem == "bind refused: ESME_RINVPASWD"
            assert at.link.statistics.refusals[0xE] >= 2
            assert at.owner.ups == 0
            assert at.owner.downs == []
            smsc.bind_status = 0
            await at.up()
    assert min(waits) >= 0.1
    told = [entry for entry in logs if entry["log_level"] in ("warning", "error")]
    assert [entry["reason"] for entry in told] == ["bind refused: ESME_RINVPASWD"]
    assert OPTIONS.password not in repr(logs)


@on_reactor
async def test_a_bind_without_an_answer_is_tried_again() -> None:
    smsc = Smsc()
    smsc.bind_status = None
    async with line(smsc=smsc, bind_seconds=0.1) as at:
        await smsc.waits.until(lambda: len(smsc.peers) >= 2)
        assert at.link.problem == "no answer to the bind"
        smsc.bind_status = 0
        await at.up()


@on_reactor
async def test_connections_that_are_closed_at_once_come_slower_and_slower() -> None:
    smsc = Smsc()
    times: list[float] = []

    def close(peer: Any) -> Any:
        times.append(reactor().seconds())
        peer.transport.abortConnection()

    original = Smsc.answer
    try:
        Smsc.answer = lambda self, peer, came: close(peer)  # type: ignore[method-assign]
        async with line(smsc=smsc, reconnect_first=0.01, reconnect_most=10.0):
            await smsc.waits.until(lambda: len(times) >= 5)
    finally:
        Smsc.answer = original  # type: ignore[method-assign]
    assert times[-1] - times[0] >= 4 * 0.01


@on_reactor
async def test_no_smsc_there_and_then_there() -> None:
    smsc = Smsc()
    port = smsc.listen()
    await smsc._port.stopListening()
    owner = Owner()
    link = Link(replace(OPTIONS, port=port), reactor(), owner)
    link.start()
    tries = Deferred()  # type: ignore[var-annotated]

    def look() -> None:
        if link.statistics.connections >= 3:
            tries.callback(None)
        else:
            reactor().callLater(0.01, look)

    look()
    await tries
    assert link.problem == "no connection: ConnectionRefusedError"
    await link.stop(0)
    assert link.state is LinkState.STOPPED


# ── pace ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_the_rate_of_the_carrier_is_kept_without_being_asked() -> None:
    smsc = Smsc()
    smsc.submit_status = 0
    left = list(range(40))

    def feed(link: Link) -> None:
        for _ in range(min(link.room(), len(left))):
            link.submit(MESSAGE, left.pop())

    owner = Owner()
    owner.on_room = feed
    async with line(owner, smsc, segments_per_second=200, window=100) as at:
        await at.up()
        began = reactor().seconds()
        feed(at.link)
        await owner.waits.until(lambda: len(owner.answers) == 40)
        took = reactor().seconds() - began
    assert took >= (40 - 200 / 50 - 1) / 200
    assert took < 2


BUSY = {"throttled": (0x58, SubmitResult.THROTTLED), "queue full": (0x14, SubmitResult.QUEUE_FULL)}


@pytest.mark.parametrize("case", BUSY)
@on_reactor
async def test_a_busy_smsc_slows_the_whole_link_once_and_nothing_is_lost(case: str) -> None:
    status, result = BUSY[case]
    smsc = Smsc()
    smsc.submit_status = status
    async with line(smsc=smsc, window=5) as at:
        await at.up()
        for token in range(5):
            at.link.submit(MESSAGE, token)
        await at.owner.waits.until(lambda: len(at.owner.answers) == 5)
        assert results(at.owner) == [(token, result) for token in range(5)]
        assert at.link.statistics.slowdowns == 1
        assert at.link.slowed
        assert at.link.room() == 0
        smsc.submit_status = 0
        await at.owner.waits.until(lambda: at.owner.rooms == 1)
        at.link.submit(MESSAGE, "again")
        await at.owner.waits.until(lambda: len(at.owner.answers) == 6)
        assert at.owner.answers[-1][1].result is ACCEPTED


@on_reactor
async def test_an_smsc_in_trouble_slows_the_link_once_it_refuses_several_running() -> None:
    """One or two may be about their messages: some SMSCs answer so for a single number."""
    smsc = Smsc()
    async with line(smsc=smsc, window=5) as at:
        await at.up()
        for statuses in ([8, 8, 0], [8, 0x45, 8]):
            for status in statuses:
                assert (at.link.slowed, at.link.trouble) == (False, "")
                smsc.submit_status = status
                at.owner.answers.clear()
                at.link.submit(MESSAGE, status)
                await at.owner.waits.until(lambda: len(at.owner.answers) == 1)
        assert (at.link.slowed, at.link.trouble) == (True, "ESME_RSYSERR")
        assert (at.link.statistics.slowdowns, at.link.room()) == (1, 0)
        smsc.submit_status = 0
        await at.owner.waits.until(lambda: at.owner.rooms == 1)
        at.link.submit(MESSAGE, "again")
        await at.owner.waits.until(lambda: len(at.owner.answers) == 2)
        assert at.owner.answers[-1][1].result is ACCEPTED
        assert at.link.trouble == ""


@pytest.mark.parametrize("bind", ["transceiver", "pair"])
@on_reactor
async def test_an_smsc_that_has_forgotten_the_bind_is_bound_anew(bind: str) -> None:
    smsc = Smsc()
    async with line(smsc=smsc, window=3, bind=bind) as at:
        await at.up()
        [peer] = [each for each in smsc.peers if each.received[0].command != Command.BIND_RECEIVER]
        for token in (1, 2, 3):
            at.link.submit(MESSAGE, token)
        await smsc.waits.until(lambda: len(peer.submits()) == 3)
        first, *_ = peer.submits()
        peer.send(pdu.submit_sm_resp(first.sequence, int(Status.ESME_RINVBNDSTS)))
        await at.owner.waits.until(lambda: len(at.owner.answers) == 1)
        assert at.link.room() == 0
        await at.up(2)
        assert [answer.status for _, answer in at.owner.answers][:1] == [int(Status.ESME_RINVBNDSTS)]
        assert results(at.owner)[1:] == [(2, UNKNOWN), (3, UNKNOWN)], "they were written"
        assert [came.command for came in peer.received][-1] == Command.UNBIND
        assert at.owner.downs == ["the SMSC does not know of our bind any more"]
        assert at.link.statistics.binds == (2 if bind == "transceiver" else 3)
        smsc.submit_status = 0
        at.link.submit(MESSAGE, 4)
        await at.owner.waits.until(lambda: len(at.owner.answers) == 4)
        assert results(at.owner)[3] == (4, ACCEPTED)


@on_reactor
async def test_answers_that_come_before_the_unbind_is_answered_count() -> None:
    smsc = Smsc()
    smsc.submit_status = int(Status.ESME_RINVBNDSTS)
    async with line(smsc=smsc, window=3) as at:
        await at.up()
        for token in (1, 2, 3):
            at.link.submit(MESSAGE, token)
        await at.up(2)
        assert results(at.owner) == [(token, SubmitResult.REJECTED) for token in (1, 2, 3)]


@on_reactor
async def test_an_smsc_that_does_not_read_is_not_written_to_without_end() -> None:
    async with line(window=1000) as at:
        peer = await at.up()
        wire = at.link._sender._wire
        assert wire is not None
        # Small buffers of the kernel's, so that a few hundred KiB fill them.
        wire.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.transport.pauseProducing()
        asked = answered = 0
        while not at.link._sender.choked:
            peer.send(b"".join(pdu.enquire_link(asked + number) for number in range(1000)))
            asked += 1000
            await passed(0)
        assert at.link.room() == 0
        peer.transport.resumeProducing()
        await at.owner.waits.until(lambda: at.owner.rooms == 1)
        await peer.everything_read()
        answered = len(peer.of(Command.ENQUIRE_LINK_RESP)) - 1
        assert answered == asked
        assert at.owner.downs == []


@on_reactor
async def test_a_flood_of_nonsense_fills_neither_the_log_nor_the_counters() -> None:
    with capture_logs() as logs:
        async with line() as at:
            peer = await at.up()
            for command in range(0x1000, 0x1000 + 2 * KINDS_KEPT):
                peer.send(pdu.pdu(command, 0, 1) * 3)
            await peer.everything_read()
            assert len(peer.of(Command.GENERIC_NACK)) == 6 * KINDS_KEPT
            counted = at.link.statistics.noticed
            assert sum(counted.values()) == 6 * KINDS_KEPT
            assert len(counted) == KINDS_KEPT + 1
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 20


def test_a_password_that_no_bind_can_hold_is_told_at_once() -> None:
    with pytest.raises(UnfitField, match="password") as told:
        Link(replace(OPTIONS, password="密码"), reactor(), Owner())
    assert "密码" not in str(told.value)


# ── the owner's faults ────────────────────────────────────────────────────────────────────────────────────────────────


class Broken(Owner):
    """An owner whose callbacks raise."""

    def answered(self, link: Link, token: object, answer: Answer) -> None:
        super().answered(link, token, answer)
        raise ValueError("13900000001")

    def delivered(self, link: Link, delivery: Any) -> None:
        self.deliveries.append(delivery)
        raise ValueError("13900000001")

    def up(self, link: Link) -> None:
        super().up(link)
        raise ValueError("up")


@on_reactor
async def test_an_owner_that_raises_costs_the_link_nothing_and_the_smsc_sends_again() -> None:
    smsc = Smsc()
    smsc.submit_status = 0
    with capture_logs() as logs:
        async with line(Broken(), smsc) as at:
            peer = await at.up()
            at.link.submit(MESSAGE, 1)
            at.link.submit(MESSAGE, 2)
            peer.send(pdu.deliver_sm(9, MESSAGE))
            await at.owner.waits.until(lambda: len(at.owner.answers) == 2)
            await peer.everything_read()
            assert [(came.sequence, came.status) for came in peer.of(Command.DELIVER_SM_RESP)] == [(9, 0x08)]
            assert at.link.state is LinkState.UP
    assert len([entry for entry in logs if entry["log_level"] == "error"]) == 4


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_stop_waits_for_what_is_under_way_and_unbinds() -> None:
    owner = Owner()
    owner.respond = None
    async with line(owner) as at:
        peer = await at.up()
        at.link.submit(MESSAGE, 1)
        peer.send(pdu.deliver_sm(9, MESSAGE))
        await peer.everything_read()
        stopping = Deferred.fromCoroutine(at.link.stop(30))
        assert at.link.room() == 0
        with pytest.raises(NoRoom):
            at.link.submit(MESSAGE, 2)
        peer.send(pdu.submit_sm_resp(peer.submits()[0].sequence, 0, "x"))
        await peer.everything_read()
        assert peer.of(Command.UNBIND) == []
        at.link.respond(owner.deliveries[0], 0)
        await stopping
        assert results(owner) == [(1, ACCEPTED)]
        assert owner.order[-1] == "down"
        kinds = [came.command for came in peer.received if came.command != Command.ENQUIRE_LINK_RESP]
        assert kinds[-2:] == [Command.DELIVER_SM_RESP, Command.UNBIND]


@on_reactor
async def test_stop_does_not_wait_longer_than_its_grace() -> None:
    async with line() as at:
        await at.up()
        at.link.submit(MESSAGE, 1)
        await at.link.stop(0.05)
        assert results(at.owner) == [(1, UNKNOWN)]
        assert at.smsc.peers[0].of(Command.UNBIND) != []


@on_reactor
async def test_stop_does_not_wait_for_an_smsc_that_does_not_unbind() -> None:
    smsc = Smsc()
    smsc.unbinds = False
    async with line(smsc=smsc, unbind_seconds=0.05) as at:
        await at.up()
        await at.link.stop(0)
        assert at.link.state is LinkState.STOPPED


@on_reactor
async def test_stop_before_start_and_twice_and_while_it_waits() -> None:
    unstarted = Link(replace(OPTIONS, port=1), reactor(), Owner())
    await unstarted.stop(1)
    await unstarted.stop(1)
    waiting = Link(replace(OPTIONS, port=1, reconnect_first=60.0, reconnect_most=60.0), reactor(), Owner())
    waiting.start()
    with pytest.raises(RuntimeError, match="once"):
        waiting.start()
    await passed(0.05)
    await waiting.stop(1)
    assert waiting.state is LinkState.STOPPED


# ── what is confirmed ─────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_what_was_confirmed_stays_so_after_the_session() -> None:
    owner = Owner()
    owner.respond = None
    async with line(owner, confirm_seconds=0.05) as at:
        peer = await at.up()
        peer.send(pdu.deliver_sm(1, MESSAGE) + pdu.deliver_sm(2, MESSAGE))
        await peer.everything_read()
        first, second = owner.deliveries
        at.link.respond(first, 0)
        assert not at.link.is_confirmed(first)
        await at.smsc.waits.until(lambda: bool(peer.of(Command.ENQUIRE_LINK)))
        await peer.everything_read()
        assert at.link.is_confirmed(first)
        at.link.respond(second, 0)
        peer.transport.abortConnection()
        await at.up(2)
        assert at.link.is_confirmed(first)
        assert not at.link.is_confirmed(second)
        at.link.respond(second, 0)
        assert not at.link.is_confirmed(first._replace(session=0))


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def secured(
    certificate: DefaultOpenSSLContextFactory,
    trusted: Path | None,
    check: Callable[[Link, Owner, Smsc], Any],
    **changes: Any,
) -> None:
    smsc, owner = Smsc(), Owner()
    port = smsc.listen(certificate)
    link = Link(replace(OPTIONS, port=port, tls=True, tls_ca=trusted, **changes), reactor(), owner)
    link.start()
    try:
        await check(link, owner, smsc)
    finally:
        await link.stop(0)
        await smsc.close()


async def comes_up(link: Link, owner: Owner, smsc: Smsc) -> None:
    smsc.submit_status = 0
    await owner.waits.until(lambda: owner.ups == 1)
    link.submit(MESSAGE, 1)
    await owner.waits.until(lambda: len(owner.answers) == 1)
    assert results(owner) == [(1, ACCEPTED)]


async def stays_down(link: Link, owner: Owner, smsc: Smsc) -> None:
    await smsc.waits.until(lambda: len([peer for peer in smsc.peers if peer.closed]) >= 2)
    assert owner.ups == 0
    assert not any(peer.received for peer in smsc.peers), "the bind, with its password, must not leave"
    assert "TLS" in link.problem


@on_reactor
async def test_tls_with_a_certificate_of_the_authority_and_the_name(authority: Authority) -> None:
    certificate = authority.issue("smsc.example", "127.0.0.1")
    await secured(certificate, authority.path, comes_up)
    await secured(certificate, authority.path, comes_up, tls_name="smsc.example")


@on_reactor
async def test_tls_refuses_another_name_and_another_authority(authority: Authority, tmp_path: Path) -> None:
    certificate = authority.issue("smsc.example")
    await secured(certificate, authority.path, stays_down, tls_name="other.example")
    await secured(certificate, Authority(tmp_path).path, stays_down, tls_name="smsc.example")
    await secured(certificate, None, stays_down, tls_name="smsc.example")


def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        Link(replace(OPTIONS, tls=True, tls_ca=path), reactor(), Owner())

    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for path in (tmp_path / "missing.pem", empty, broken):
        with pytest.raises(UnusableTrust, match="tls_ca of link 'test'"):
            make(path)


def test_the_password_is_not_shown() -> None:
    assert OPTIONS.password not in repr(OPTIONS)
