"""The link against an SMSC that is not ours (npm's `smpp`): its reading and writing of SMPP share nothing with sms/."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from config.receipts import ReceiptClass, load_receipt_table
from sms.coding import Split, decode, segments
from sms.link import Link, LinkState, SubmitResult
from sms.pdu import Submit
from sms.reassembly import Part, assemble, unpack
from sms.receipts import ReceiptReader
from tests.moments import START
from tests.sms.link.rig import OPTIONS, Owner, on_reactor, reactor
from tests.sms.node.peer import NodeSmsc

pytestmark = pytest.mark.peer

CITIZEN = "13800000001"
OURS = "10691234507"
TEXT = (
    "【临夏12345】尊敬的市民您好，您近日通过12345政务服务便民热线所反映的事项已经办结，现请您对本次办理结果作出评价，"
    "请回复数字：1非常满意，2满意，3基本满意，4不满意，5非常不满意，也可回复文字说明您的意见，本条短信免费，感谢支持！"
)
LONG_REPLY = "非常满意，" + "社区的师傅当天就到现场，把坏掉的路灯全部换成了新的，走的时候还把地上收拾得很干净。" * 4


@asynccontextmanager
async def linked(peer: NodeSmsc, **changes: Any) -> AsyncIterator[tuple[Link, Owner]]:
    """A link on the peer, up; stopped at the end."""
    owner = Owner()
    link = Link(replace(OPTIONS, port=peer.port, **changes), reactor(), owner)
    link.start()
    try:
        await owner.waits.until(lambda: owner.ups == 1)
        yield link, owner
    finally:
        await link.stop(5.0)


def send(link: Link, text: str, split: Split, reference: int = 7, receipt: int = 0) -> int:
    """Hands the segments of a text to the link; how many."""
    pieces = segments(text, split, reference)
    for piece in pieces:
        message = Submit(
            source=OURS,
            destination=CITIZEN,
            short_message=piece.short_message,
            data_coding=piece.data_coding,
            esm_class=piece.esm_class,
            tlvs=piece.tlvs,
            registered_delivery=receipt,
        )
        link.submit(message, piece.number)
    return len(pieces)


@pytest.mark.parametrize(
    ("bind", "kinds"),
    [("transceiver", {"bind_transceiver"}), ("pair", {"bind_transmitter", "bind_receiver"})],
)
@on_reactor
async def test_a_bind(node_smsc: NodeSmsc, bind: str, kinds: set[str]) -> None:
    async with linked(node_smsc, bind=bind):
        await node_smsc.came("bound", len(kinds))
        bound = node_smsc.seen("bound")
        assert {one["kind"] for one in bound} == kinds
        assert {(one["system_id"], one["interface_version"]) for one in bound} == {("huiyin", 0x34)}
    await node_smsc.came("unbinding", len(kinds))


@on_reactor
async def test_a_wrong_password(make_node_smsc: Callable[..., NodeSmsc]) -> None:
    peer = make_node_smsc(password="another")
    link = Link(replace(OPTIONS, port=peer.port), reactor(), Owner())
    link.start()
    await peer.came("refused")
    assert link.state is LinkState.CONNECTING
    await link.stop(0)


@pytest.mark.parametrize(
    ("split", "kind", "reference"),
    [(Split.UDH8, "udh8", 7), (Split.UDH16, "udh16", 0x0107), (Split.SAR, "sar", 0x0107)],
)
@on_reactor
async def test_120_characters_arrive_as_two_segments_and_are_joined(
    node_smsc: NodeSmsc, split: Split, kind: str, reference: int
) -> None:
    assert len(TEXT) == 120
    async with linked(node_smsc) as (link, owner):
        assert send(link, TEXT, split, 0x0107) == 2
        message = await node_smsc.came("message")
        await owner.waits.until(lambda: len(owner.answers) == 2)
    assert message == {"event": "message", "source": OURS, "destination": CITIZEN, "text": TEXT, "segments": 2}
    first, second = node_smsc.seen("submit")
    assert [one["part"] for one in (first, second)] == [
        {"kind": kind, "reference": reference, "total": 2, "number": number} for number in (1, 2)
    ]
    assert {one["data_coding"] for one in (first, second)} == {8}
    assert {one["esm_class"] for one in (first, second)} == {0 if split is Split.SAR else 0x40}
    assert first["text"] + second["text"] == TEXT
    assert len(first["text"]) <= 67
    # Each segment of the text was answered with the id that the peer gave to it.
    assert {token: (answer.result, answer.message_id) for token, answer in owner.answers} == {
        number: (SubmitResult.ACCEPTED, one["id"]) for number, one in ((1, first), (2, second))
    }


@on_reactor
async def test_120_characters_arrive_as_one_payload(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (link, _):
        assert send(link, TEXT, Split.PAYLOAD) == 1
        await node_smsc.came("message")
    (one,) = node_smsc.seen("submit")
    assert (one["payload"], one["text"], one["part"], one["esm_class"]) == (True, TEXT, None, 0)


@on_reactor
async def test_70_characters_are_one_segment_and_emoji_stay_whole(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (link, _):
        send(link, TEXT[:70], Split.UDH8)
        send(link, "好" * 66 + "😀" * 10, Split.UDH8, reference=8)
        await node_smsc.came("message", 2)
    assert node_smsc.messages(CITIZEN) == [TEXT[:70], "好" * 66 + "😀" * 10]
    assert [len(one["text"]) for one in node_smsc.seen("submit")][1] == 66


@pytest.mark.parametrize("form", ["text", "tlv"])
@on_reactor
async def test_receipts(make_node_smsc: Callable[..., NodeSmsc], form: str) -> None:
    peer = make_node_smsc(receipts=form)
    async with linked(peer) as (link, owner):
        send(link, TEXT, Split.UDH8, receipt=1)
        await owner.waits.until(lambda: len(owner.deliveries) == 2)
        await peer.came("answered", 2, status=0)
    reader = ReceiptReader(load_receipt_table())
    receipts = [reader.read(one.esm_class, one.body, one.tlvs) for one in owner.deliveries]
    assert [receipt.class_ for receipt in receipts if receipt is not None] == [ReceiptClass.DELIVERED] * 2
    ids = [answer.message_id for _, answer in owner.answers]
    assert [id_ in receipt.message_ids for id_, receipt in zip(ids, receipts, strict=True) if receipt] == [True] * 2
    assert {(one.source, one.destination) for one in owner.deliveries} == {(CITIZEN, OURS)}


@pytest.mark.parametrize("text", ["5", "５", "非常满意", "满意，谢谢😀"])
@on_reactor
async def test_a_reply(node_smsc: NodeSmsc, text: str) -> None:
    async with linked(node_smsc) as (_, owner):
        node_smsc.reply(CITIZEN, OURS, text)
        await owner.waits.until(lambda: len(owner.deliveries) == 1)
        assert (await node_smsc.came("answered"))["status"] == 0
    (one,) = owner.deliveries
    assert (one.source, one.destination) == (CITIZEN, OURS)
    assert decode(one.body, one.data_coding) == text


@on_reactor
async def test_a_long_reply_in_three_parts_out_of_order(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (_, owner):
        node_smsc.reply(CITIZEN, OURS, LONG_REPLY, order=[3, 1, 2], reference=200)
        await owner.waits.until(lambda: len(owner.deliveries) == 3)
    parts = []
    for one in owner.deliveries:
        there = unpack(one.esm_class, one.data_coding, one.body, one.tlvs)
        assert there.concatenation is not None
        parts.append(Part(there.concatenation, one.data_coding, there.body, START))
    assert [part.concatenation.number for part in parts] == [3, 1, 2]
    whole = assemble(parts)
    assert (whole.text, whole.complete) == (LONG_REPLY, True)


@on_reactor
async def test_a_reply_that_was_not_stored_is_answered_so(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (_, owner):
        owner.respond = 0x08
        node_smsc.reply(CITIZEN, OURS, "5")
        assert (await node_smsc.came("answered"))["status"] == 0x08


@on_reactor
async def test_the_peer_asks_whether_we_are_there(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc):
        node_smsc.do("enquire")
        assert (await node_smsc.came("enquired"))["status"] == 0


@on_reactor
async def test_the_peer_unbinds_and_the_link_comes_back(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (link, owner):
        node_smsc.do("unbind")
        assert (await node_smsc.came("unbound"))["status"] == 0
        await owner.waits.until(lambda: owner.ups == 2)
        assert len(owner.downs) == 1
        send(link, "您好", Split.UDH8)
        await node_smsc.came("message")


@on_reactor
async def test_a_killed_peer_leaves_what_was_unanswered_unknown_and_the_link_comes_back(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (link, owner):
        send(link, "您好", Split.UDH8)
        await owner.waits.until(lambda: len(owner.answers) == 1)
        node_smsc.do("set", answers=False)
        await node_smsc.came("set")
        send(link, "还在吗", Split.UDH8)
        await node_smsc.came("message", 2)
        node_smsc.kill()
        await owner.waits.until(lambda: len(owner.downs) == 1 and len(owner.answers) == 2)
        assert link.room() == 0
        node_smsc.start()
        await owner.waits.until(lambda: owner.ups == 2)
        send(link, "再次您好", Split.UDH8)
        await owner.waits.until(lambda: len(owner.answers) == 3)
        await node_smsc.came("message", 3)
    results = [answer.result for _, answer in owner.answers]
    assert results == [SubmitResult.ACCEPTED, SubmitResult.UNKNOWN, SubmitResult.ACCEPTED]
    assert node_smsc.messages(CITIZEN) == ["您好", "还在吗", "再次您好"]


@on_reactor
async def test_a_peer_that_cuts_the_connection(node_smsc: NodeSmsc) -> None:
    async with linked(node_smsc) as (_, owner):
        for times in (1, 2, 3):
            node_smsc.do("cut")
            await owner.waits.until(lambda times=times: owner.ups == times + 1)  # type: ignore[misc]
        assert len(owner.downs) == 3
