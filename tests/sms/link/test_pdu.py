"""The codec: what it writes is what aiosmpplib writes, and it reads whatever comes, in whatever pieces."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from aiosmpplib import protocol as classes  # type: ignore[import-untyped]
from aiosmpplib.state import NPI, TON, OptionalParam, PhoneNumber  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from sms import pdu
from sms.pdu import Command, Flaw, Pdu, Reader, Status, Submit, UnfitField, Unreadable

SOURCE, DESTINATION = "1069012345", "8613900000001"
TEXT = "您对本次服务满意吗？"
MOST = 4096


def body_of(written: bytes) -> bytes:
    return written[16:]


def only(written: bytes) -> Pdu:
    (read,) = Reader(1 << 20).feed(written)
    return read


# ── beside aiosmpplib ─────────────────────────────────────────────────────────────────────────────────────────────────


def theirs(kind: Any, **more: Any) -> bytes:
    written: bytes = kind(
        sequence_num=7,
        short_message=TEXT,
        source=PhoneNumber(SOURCE),
        destination=PhoneNumber(DESTINATION, TON.INTERNATIONAL, NPI.ISDN),
        encoding="ucs2",
        **more,
    ).pdu()
    return written


def ours(**more: Any) -> Submit:
    values: dict[str, Any] = {"data_coding": 8, "dest_ton": 1, "dest_npi": 1, "registered_delivery": 1} | more
    return Submit(SOURCE, DESTINATION, TEXT.encode("utf-16-be"), **values)


SAME_AS_AIOSMPPLIB = {
    "submit_sm": (pdu.submit_sm(7, ours()), theirs(classes.SubmitSm)),
    "deliver_sm": (pdu.deliver_sm(7, ours()), theirs(classes.DeliverSm)),
    "service, priority, class": (
        pdu.submit_sm(7, ours(service_type="WAP", priority=2, esm_class=3, protocol_id=5)),
        theirs(classes.SubmitSm, service_type="WAP", priority_flag=2, esm_class=3, protocol_id=5),
    ),
    "TLVs": (
        pdu.submit_sm(7, ours(tlvs=((pdu.SAR_MSG_REF_NUM, b"\x01\x02"), (pdu.SAR_TOTAL_SEGMENTS, b"\x02")))),
        theirs(
            classes.SubmitSm,
            optional_params=[OptionalParam(pdu.SAR_MSG_REF_NUM, 258), OptionalParam(pdu.SAR_TOTAL_SEGMENTS, 2)],
        ),
    ),
    "submit_sm_resp": (pdu.submit_sm_resp(7, 0, "abc"), classes.SubmitSmResp(7, message_id="abc").pdu()),
    "deliver_sm_resp": (pdu.deliver_sm_resp(7), classes.DeliverSmResp(7).pdu()),
    "enquire_link": (pdu.enquire_link(7), classes.EnquireLink(7).pdu()),
    "enquire_link_resp": (pdu.enquire_link_resp(7), classes.EnquireLinkResp(7).pdu()),
    "unbind": (pdu.unbind(7), classes.Unbind(7).pdu()),
    "unbind_resp": (pdu.unbind_resp(7), classes.UnbindResp(7).pdu()),
    "generic_nack": (
        pdu.generic_nack(7, int(Status.ESME_RINVCMDID)),
        classes.GenericNack(7, Status.ESME_RINVCMDID).pdu(),
    ),
    "bind": (
        pdu.bind(int(Command.BIND_TRANSCEIVER), 7, system_id="us", password="secret", system_type="x"),
        classes.BindTransceiver(7, system_id="us", password="secret", system_type="x").pdu(),
    ),
    "bind response": (
        pdu.bind_response(int(Command.BIND_RECEIVER), 7, 0, "smsc"),
        classes.BindReceiverResp(7, system_id="smsc", sc_interface_version=0x34).pdu(),
    ),
}


@pytest.mark.parametrize("case", SAME_AS_AIOSMPPLIB)
def test_bytes_are_those_of_aiosmpplib(case: str) -> None:
    mine, its = SAME_AS_AIOSMPPLIB[case]
    assert mine == its


# ── there and back ────────────────────────────────────────────────────────────────────────────────────────────────────

octet = st.integers(0, 255)
string = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=25)
messages = st.builds(
    Submit,
    string,
    string,
    st.binary(max_size=pdu.SHORT_MESSAGE_MOST),
    octet,
    octet,
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4, unique_by=lambda t: t[0]).map(
        tuple
    ),
    octet,
    string,
    octet,
    octet,
    octet,
    octet,
    string,
    octet,
    octet,
    string,
)


def fields(message: Submit) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Submit.__slots__}


@given(messages, st.sampled_from([pdu.submit_sm, pdu.deliver_sm]), st.integers(0, 0xFFFF_FFFF))
def test_a_message_reads_as_it_was_written(message: Submit, write: Any, sequence: int) -> None:
    came = only(write(sequence, message))
    assert came.sequence == sequence
    read = pdu.read_message(came.body)
    expected = fields(message) | {"tlvs": dict(message.tlvs)}
    assert {name: getattr(read, name) for name in expected} == expected
    too_long = len(message.source) > 20 or len(message.destination) > 20
    assert read.flaws == ((Flaw.FIELD_TOO_LONG,) if too_long else ())


@given(messages)
def test_a_data_sm_reads_as_it_was_written(message: Submit) -> None:
    tlvs = tuple((tag, value) for tag, value in message.tlvs if tag != pdu.MESSAGE_PAYLOAD)
    message.tlvs = tlvs
    read = pdu.read_data(body_of(pdu.data_sm(1, message)))
    assert (read.source, read.destination, read.esm_class) == (message.source, message.destination, message.esm_class)
    assert read.body == message.short_message
    assert {tag: value for tag, value in read.tlvs.items() if tag != pdu.MESSAGE_PAYLOAD} == dict(tlvs)


def test_binds_read_as_they_were_written() -> None:
    written = pdu.bind(int(Command.BIND_RECEIVER), 7, system_id="us", password="longer-than-eight", system_type="t")
    read = pdu.read_bind(body_of(written))
    assert read[:4] == ("us", "longer-than-eight", "t", 0x34)
    response = pdu.bind_response(int(Command.BIND_RECEIVER), 7, 0, "smsc")
    assert only(response).command == Command.BIND_RECEIVER_RESP
    assert pdu.read_bind_response(body_of(response)) == ("smsc", {pdu.SC_INTERFACE_VERSION: b"\x34"}, ())
    assert only(pdu.bind_response(int(Command.BIND_RECEIVER), 7, 0xE)).status == 0xE


def test_nothing_shows_numbers_text_or_password() -> None:
    message = ours(tlvs=((pdu.MESSAGE_PAYLOAD, b"payload"),))
    read = pdu.read_message(body_of(pdu.deliver_sm(1, message)))
    bind = pdu.read_bind(body_of(pdu.bind(9, 1, system_id="us", password="a-secret")))
    for shown in (repr(message), repr(read), repr(bind)):
        assert SOURCE not in shown
        assert DESTINATION not in shown
        assert "payload" not in shown
        assert "a-secret" not in shown


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "a NUL in a number": ({"source": "1\0002"}, "source"),
    "no ASCII": ({"destination": "１３"}, "destination"),
    "a NUL in the service": ({"service_type": "\0"}, "service_type"),
    "a byte of 256": ({"esm_class": 256}, "esm_class"),
    "a negative byte": ({"data_coding": -1}, "data_coding"),
    "a long text": ({"short_message": b"x" * 255}, "short_message"),
    "a long TLV": ({"tlvs": ((1, b"x" * 65_536),)}, "TLV"),
    "a tag of three bytes": ({"tlvs": ((0x10000, b""),)}, "TLV"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_no_pdu_can_hold_is_not_written(case: str) -> None:
    changes, names = UNFIT[case]
    values: dict[str, Any] = {"source": SOURCE, "destination": DESTINATION, "short_message": b"x"} | changes
    with pytest.raises(UnfitField, match=names) as told:
        pdu.submit_sm(1, Submit(**values))
    assert DESTINATION not in str(told.value)


# ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────────────

pdus = st.lists(
    st.builds(
        Pdu, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=80)
    ),
    max_size=8,
)
tails = st.one_of(st.just(b""), st.binary(max_size=40))


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(pdus, tails, st.lists(st.integers(0, 900), max_size=30))
def test_any_cut_of_the_stream_gives_the_same_pdus(sent: list[Pdu], tail: bytes, cuts: list[int]) -> None:
    stream = b"".join(pdu.pdu(*each) for each in sent) + tail
    whole = Reader(MOST)
    expected = whole.feed(stream)
    assert expected[: len(sent)] == sent
    reader = Reader(MOST)
    assert [came for piece in in_pieces(stream, cuts) for came in reader.feed(piece)] == expected
    assert (reader.broken, reader.kept) == (whole.broken, whole.kept)


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=20))
@example(b"\0\0\0\x0f" + b"x" * 40, [])
@example(struct.pack(">I", MOST + 1) + b"x" * 40, [2, 15, 16])
def test_no_bytes_raise_and_little_is_kept(stream: bytes, cuts: list[int]) -> None:
    reader = Reader(MOST)
    for piece in in_pieces(stream, cuts):
        for came in reader.feed(piece):
            assert len(came.body) <= MOST - 16
        assert reader.kept < MOST
        if reader.broken is not None:
            assert reader.kept == 0
            assert reader.feed(pdu.enquire_link(1)) == []


@pytest.mark.parametrize("length", [0, 1, 15, MOST + 1, 2**31, 2**32 - 1])
def test_a_length_that_cannot_be_ends_the_stream(length: int) -> None:
    reader = Reader(MOST)
    stream = pdu.enquire_link(1) + struct.pack(">IIII", length, 4, 0, 9) + pdu.enquire_link(2)
    assert reader.feed(stream) == [Pdu(int(Command.ENQUIRE_LINK), 0, 1, b"")]
    assert reader.broken == Pdu(4, 0, 9, b"")


def test_the_longest_pdu_allowed_is_read() -> None:
    written = pdu.pdu(5, 0, 1, b"x" * (MOST - 16))
    reader = Reader(MOST)
    assert [reader.feed(written[at : at + 1]) for at in range(len(written))][-1] == [only(written)]


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────────────────────

READERS: list[Callable[[bytes], object]] = [pdu.read_message, pdu.read_data, pdu.read_bind, pdu.read_alert]
TOTAL_READERS: list[Callable[[bytes], object]] = [pdu.read_bind_response, pdu.read_message_id]
written_body = messages.map(lambda message: body_of(pdu.deliver_sm(1, message)))
cut_body = st.tuples(written_body, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])


@given(st.one_of(st.binary(max_size=300), cut_body))
def test_a_body_is_read_or_unreadable(body: bytes) -> None:
    for read in READERS:
        with suppress(Unreadable):
            read(body)
    for read in TOTAL_READERS:
        read(body)


PLAIN = body_of(pdu.deliver_sm(1, Submit(SOURCE, DESTINATION, b"abc")))
REF = pdu.tlv(pdu.USER_MESSAGE_REFERENCE, b"\0\7")
LENIENT = {
    "nothing after the text": (PLAIN, {}, ()),
    "a TLV": (PLAIN + REF, {0x204: b"\0\7"}, ()),
    "a TLV of length 0": (PLAIN + pdu.tlv(0x1400, b""), {0x1400: b""}, ()),
    "a vendor's TLV": (PLAIN + pdu.tlv(0x3FFF, b"abc"), {0x3FFF: b"abc"}, ()),
    "a TLV without its value": (PLAIN + REF[:4], {0x204: b""}, (Flaw.TLV_TRUNCATED,)),
    "a TLV with half its value": (PLAIN + REF[:5], {0x204: b"\0"}, (Flaw.TLV_TRUNCATED,)),
    "a TLV whose length counts its header": (PLAIN + b"\x02\x04\0\6\0\7", {0x204: b"\0\7"}, (Flaw.TLV_TRUNCATED,)),
    "half a TLV header": (PLAIN + REF + b"\x02\x04", {0x204: b"\0\7"}, (Flaw.JUNK_AT_END,)),
    "a TLV twice": (PLAIN + REF + pdu.tlv(0x204, b"\0\x09"), {0x204: b"\0\7"}, (Flaw.TLV_REPEATED,)),
}


@pytest.mark.parametrize("case", LENIENT)
def test_what_is_there_is_kept(case: str) -> None:
    body, tlvs, flaws = LENIENT[case]
    read = pdu.read_message(body)
    assert (read.short_message, dict(read.tlvs), read.flaws) == (b"abc", tlvs, flaws)


def test_every_cut_inside_the_fields_is_unreadable() -> None:
    for end in range(len(PLAIN)):
        with pytest.raises(Unreadable) as told:
            pdu.read_message(PLAIN[:end])
        in_text = end >= len(PLAIN) - 3
        assert told.value.status == (Status.ESME_RINVMSGLEN if in_text else Status.ESME_RINVCMDLEN)


IDS = {b"abc\0": "abc", b"abc": "abc", b"\0": "", b"": "", b"a\0junk": "a", b"\xe4\0": "ä", b"x" * 70 + b"\0": "x" * 70}


@pytest.mark.parametrize("body", IDS)
def test_message_ids_are_read_as_far_as_they_go(body: bytes) -> None:
    assert pdu.read_message_id(body) == IDS[body]


def test_numbers_that_no_table_has_are_shown_as_such() -> None:
    assert pdu.command_name(0x8000_0004) == "submit_sm_resp"
    assert pdu.command_name(0x0001_0200) == "0x00010200"
    assert pdu.status_name(0x58) == "ESME_RTHROTTLED"
    assert pdu.status_name(0x0451) == "0x00000451"
