"""What must hold for any bytes that an SMSC can send.

`make fuzz` looks for bytes for which it does not. Those that were found, and the corpus that led there, are in
tests/sms/corpus and run with the other tests.
"""

from __future__ import annotations

from dataclasses import replace

from config.receipts import load_receipt_table
from sms import pdu
from sms.coding import decode
from sms.pdu import Command, Pdu, Reader, Submit, Unreadable
from sms.reassembly import unpack
from sms.receipts import ReceiptReader, id_forms
from sms.session import Answered, Delivered, Ended, Event, LinkOptions, Role, Session, State

__all__ = ["check"]

MOST = 4096
OPTIONS = LinkOptions(
    name="fuzz", host="", port=0, system_id="us", password="secret", window=4, max_pdu=MOST, most_unanswered=5
)
MESSAGE = Submit("1069012345", "8613900000001", b"text")
RECEIPTS = ReceiptReader(load_receipt_table())
KNOWN = frozenset(map(int, Command))


def check(data: bytes) -> None:
    """Raises where a rule does not hold. The first byte is how many bytes come at a time (0: all at once), the second
    says what the session is doing; the rest is what the SMSC sends.
    """
    if len(data) < 2:
        return
    step = data[0] or len(data)
    stream = data[2:]
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    came = _stream(stream, pieces)
    for each in came:
        _bodies(each.body)
    _session(pieces, data[1])


def _stream(stream: bytes, pieces: list[bytes]) -> list[Pdu]:
    """However it is cut, the same comes out; and nothing is lost or made up."""
    whole, cut = Reader(MOST), Reader(MOST)
    expected = whole.feed(stream)
    came: list[Pdu] = []
    for piece in pieces:
        came += cut.feed(piece)
        assert cut.kept < MOST
    assert came == expected
    assert (whole.kept, whole.broken) == (cut.kept, cut.broken)
    written = b"".join(pdu.pdu(*each) for each in came)
    assert stream.startswith(written)
    if whole.broken is None:
        assert whole.kept == len(stream) - len(written)
    else:
        assert whole.feed(stream) == []
    return came


def _bodies(body: bytes) -> None:
    """A body is read or Unreadable, and what is read of a message can be read on."""
    for read in (pdu.read_message, pdu.read_data):
        try:
            message = read(body)
        except Unreadable:
            continue
        assert len(message.body) <= len(body)
        receipt = RECEIPTS.read(message.esm_class, message.body, message.tlvs)
        if receipt is not None:
            for message_id in receipt.message_ids:
                id_forms(message_id)
        unpacked = unpack(message.esm_class, message.data_coding, message.body, message.tlvs)
        decode(unpacked.body, message.data_coding)
    for other in (pdu.read_bind, pdu.read_alert):
        try:
            other(body)
        except Unreadable:
            continue
    pdu.read_bind_response(body)
    pdu.read_message_id(body)


def _session(pieces: list[bytes], mode: int) -> None:
    """One answer a submit, never more unanswered than allowed, and what is written can be read by an SMSC."""
    session = Session(replace(OPTIONS, most_unanswered=1 + mode % 5), Role.TRANSCEIVER)
    session.start(0.0, 10.0)
    session.take()
    if mode & 0x80:
        session.receive(pdu.bind_response(int(Command.BIND_TRANSCEIVER), 1), 0.0)
        for token in range(4):
            session.submit(MESSAGE, token, 0.0)
        if mode & 0x40:
            session.take()
        if mode & 0x20:
            session.drain()
        if mode & 0x10:
            session.leave(0.0)
    waiting = session.in_flight
    events: list[Event] = []
    out = Reader(1 << 24)
    now = 0.0
    for piece in pieces:
        now += 0.5
        new = session.receive(piece, now) + session.tick(now)
        events += new
        assert session.unanswered <= 1 + mode % 5
        for event in new:
            if isinstance(event, Delivered) and mode & 1:
                session.respond(event.delivery, 0, now)
        for answer in out.feed(session.take()):
            assert answer.command in KNOWN or answer.command & pdu.RESPONSE
        assert out.broken is None
    ended = [event for event in events if isinstance(event, Ended)]
    assert len(ended) == (session.state is State.ENDED)
    events += session.lost()
    answered = [event.token for event in events if isinstance(event, Answered)]
    assert sorted(map(str, answered)) == [str(token) for token in range(waiting)]
    assert session.in_flight == 0
