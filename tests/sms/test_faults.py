"""Every fault of faults.toml, sent by a raw socket peer to a real link over loopback. How to read it stands there."""

from __future__ import annotations

import shlex
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.receipts import load_receipt_table
from sms import pdu
from sms.coding import decode
from sms.link import Delivery, SubmitResult
from sms.pdu import Command, Pdu, Status, Submit
from sms.reassembly import unpack
from sms.receipts import ReceiptReader
from sms.session import End
from tests.sms.link.rig import MESSAGE, Line, Peer, line, on_reactor, passed

OURS, THEIRS = MESSAGE.source, MESSAGE.destination
KEYS = {"name", "do", "answers", "results", "texts", "receipts", "noticed", "ends", "options"}


@dataclass(frozen=True)
class Fault:
    name: str
    do: list[str]
    answers: list[str]
    results: list[str]
    texts: list[str]
    receipts: list[str]
    noticed: list[str]
    ends: str
    options: Mapping[str, Any]


def load() -> dict[str, Fault]:
    sections = tomllib.loads((Path(__file__).parent / "faults.toml").read_text("utf-8"))
    found: dict[str, Fault] = {}
    for section, entries in sections.items():
        for entry in entries:
            assert set(entry) <= KEYS, f"{entry['name']}: {set(entry) - KEYS}"
            name = f"{section}: {entry.pop('name')}"
            assert name not in found, f"twice: {name}"
            defaults: dict[str, Any] = {key: [] for key in KEYS - {"name", "ends", "options"}}
            found[name] = Fault(name, **(defaults | {"ends": "", "options": {}} | entry))
    return found


FAULTS = load()


# ── what the SMSC sends ───────────────────────────────────────────────────────────────────────────────────────────────


def _number(text: str) -> int:
    return int(Status[text]) if text.startswith("ESME_") else int(text, 0)


def _text(given: dict[str, str]) -> bytes:
    for key, value in given.items():
        if key == "hex":
            return bytes.fromhex(value)
        if key == "text":
            return value.encode("latin-1")
        if key in ("utf-16-be", "utf-16-le", "gbk", "utf-8"):
            return value.encode(key)
    return b""


def _message(word: str, given: dict[str, str], tlvs: list[str]) -> bytes:
    """A deliver_sm or data_sm, spoilt as asked."""
    parts = [entry.partition(":") for entry in tlvs]
    message = Submit(
        given.get("source", THEIRS),
        given.get("destination", OURS),
        _text(given),
        data_coding=_number(given.get("coding", "0")),
        esm_class=_number(given.get("esm", "0")),
        tlvs=tuple((int(tag, 16), bytes.fromhex(value)) for tag, _, value in parts),
        source_ton=_number(given.get("ton", "1")),
        source_npi=_number(given.get("npi", "1")),
        service_type=given.get("service", ""),
    )
    write = pdu.deliver_sm if word == "deliver" else pdu.data_sm
    body = write(1, message)[16:]
    body += bytes.fromhex(given.get("tail", ""))
    if "smlen" in given:
        at = body.rindex(message.short_message) - 1
        body = body[:at] + bytes([_number(given["smlen"])]) + body[at + 1 :]
    body = body[: len(body) - _number(given.get("cut", "0"))]
    command = Command.DELIVER_SM if word == "deliver" else Command.DATA_SM
    return pdu.pdu(int(command), _number(given.get("status", "0")), _number(given.get("seq", "7")), body)


def _bytes(words: list[str], peer: Peer, answered: list[int]) -> bytes:
    word, *rest = words
    pairs = [each.partition("=") for each in rest]
    given = {key: value for key, equals, value in pairs if equals}
    if word == "raw":
        return bytes.fromhex("".join(rest))
    if word in ("deliver", "data"):
        return _message(word, given, [value for key, _, value in pairs if key == "tlv"])
    if word == "pdu":
        status, sequence = _number(given.get("status", "0")), _number(given.get("seq", "7"))
        return pdu.pdu(int(rest[0], 0), status, sequence, _text(given))
    assert word == "answer", word
    submits = [came.sequence for came in peer.submits() if came.sequence not in answered]
    sequence = _number(given["seq"]) if "seq" in given else submits[_number(given.get("nth", "0"))]
    answered.append(sequence)
    command = int(given.get("command", "0x80000004"), 0)
    if "id" in given:
        return pdu.submit_sm_resp(sequence, _number(given.get("status", "0")), given["id"])
    return pdu.pdu(command, _number(given.get("status", "0")), sequence, _text(given))


async def carry_out(fault: Fault, at: Line, peer: Peer) -> None:
    answered: list[int] = []
    last = b""
    piece = 0
    held: bytes | None = None
    for step in fault.do:
        words = shlex.split(step)
        word = words[0]
        if word == "submit":
            before = len(peer.submits())
            count = int(words[1]) if len(words) > 1 else 1
            for number in range(count):
                at.link.submit(MESSAGE, before + number)
            await at.smsc.waits.until(lambda wanted=before + count: len(peer.submits()) == wanted)  # type: ignore[misc]
        elif word == "pieces":
            piece = int(words[1])
        elif word == "hold":
            held = b""
        elif word == "mute":
            at.smsc.enquiries = False
        elif word == "close":
            peer.transport.loseConnection()
        elif word == "reset":
            peer.transport.abortConnection()
        elif word == "seconds":
            await passed(float(words[1]))
        else:
            data = last if word == "again" else _bytes(words, peer, answered)
            only = [int(each[5:]) for each in words if each.startswith("only=")]
            last = data[: only[0]] if only else data
            if held is not None:
                held += last
            elif piece:
                for start in range(0, len(last), piece):
                    peer.send(last[start : start + piece])
                    await passed(0)
            else:
                peer.send(last)
    if held is not None:
        peer.send(held)


# ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────────────

READER = ReceiptReader(load_receipt_table())
NOT_ANSWERS = frozenset({int(Command.BIND_TRANSCEIVER), int(Command.SUBMIT_SM), int(Command.ENQUIRE_LINK)})


def shown_answer(came: Pdu) -> str:
    return f"{pdu.command_name(came.command)} {came.sequence} {pdu.status_name(came.status).removeprefix('ESME_')}"


def shown_result(answer: Any) -> str:
    words = [answer.result.value, answer.message_id]
    if answer.result is SubmitResult.REJECTED or answer.result is SubmitResult.NACKED:
        words.insert(1, pdu.status_name(answer.status).removeprefix("ESME_"))
    return " ".join(word for word in words if word)


def shown_delivery(delivery: Delivery) -> tuple[str, bool]:
    """A receipt as `class ids done`, a message as its text; and whether it is a receipt."""
    receipt = READER.read(delivery.esm_class, delivery.body, delivery.tlvs)
    if receipt is not None:
        done = receipt.done_at.strftime("%Y-%m-%dT%H:%M:%SZ") if receipt.done_at else "-"
        return f"{receipt.class_.value} {','.join(receipt.message_ids) or '-'} {done}", True
    unpacked = unpack(delivery.esm_class, delivery.data_coding, delivery.body, delivery.tlvs)
    text = decode(unpacked.body, delivery.data_coding)
    shown = f"bytes {unpacked.body.hex()}" if text is None else text
    part = unpacked.concatenation
    return (f"{part.number}/{part.total} {shown}" if part else shown), False


@pytest.mark.parametrize("name", FAULTS)
@on_reactor
async def test_fault(name: str) -> None:
    fault = FAULTS[name]
    async with line(**({"window": 10} | dict(fault.options))) as at:
        peer = await at.up()
        await carry_out(fault, at, peer)
        await at.owner.waits.until(lambda: len(at.owner.answers) >= len(fault.results))
        if fault.ends:
            await at.owner.waits.until(lambda: bool(at.owner.downs))
            await at.smsc.waits.until(lambda: peer.closed)
            at.smsc.enquiries = True
        else:
            await peer.everything_read()
        answers = [
            shown_answer(came)
            for came in peer.received
            if came.command not in NOT_ANSWERS and not Peer._last_word(came)
        ]
        shown = [shown_delivery(delivery) for delivery in at.owner.deliveries]
        noticed = [f"{kind} {what}" for (kind, what), count in at.link.statistics.noticed.items() for _ in range(count)]
        assert {
            "answers": answers,
            "results": [shown_result(answer) for _, answer in at.owner.answers],
            "texts": [text for text, is_receipt in shown if not is_receipt],
            "receipts": [text for text, is_receipt in shown if is_receipt],
            "noticed": sorted(noticed),
            "ends": at.owner.downs,
        } == {
            "answers": fault.answers,
            "results": fault.results,
            "texts": fault.texts,
            "receipts": fault.receipts,
            "noticed": sorted(fault.noticed),
            "ends": [fault.ends] if fault.ends else [],
        }
        # Whatever it was, a message goes through afterwards: in the same session, or in the next one.
        peer = await at.up(2) if fault.ends else peer
        at.smsc.submit_status = 0
        done = len(at.owner.answers)
        at.link.submit(MESSAGE, "afterwards")
        await at.owner.waits.until(lambda: len(at.owner.answers) > done)
        token, answer = at.owner.answers[-1]
        assert (token, answer.result) == ("afterwards", SubmitResult.ACCEPTED)
        assert not peer.closed


def test_there_are_at_least_a_hundred() -> None:
    assert len(FAULTS) >= 100
    assert {fault.ends for fault in FAULTS.values() if fault.ends} - {"ConnectionLost", "closed by the SMSC"} <= set(
        map(str, End)
    )
    assert struct.calcsize(">IIII") == pdu.HEADER_LENGTH
