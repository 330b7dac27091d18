"""The stand-in SMSC over HTTP: everything that a drill needs, and a clear refusal of what is none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec, cast

import pytest
import pytest_twisted
import treq
from twisted.web.client import Agent

from simulate.handset import Handset
from simulate.smsc import SmscOptions, StandInSmsc
from simulate.smsc_control import SmscControl
from sms import pdu as smpp
from tests.simulate.esme import Esme, connect, reactor, submit

P = ParamSpec("P")
NUMBER = "13800000001"


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


class Desk:
    """An SMSC with a client bound to it, and a drill's hand on its control port."""

    def __init__(self) -> None:
        self.smsc = StandInSmsc(SmscOptions(password="secret"), handset=Handset(seed=1))
        self.control = SmscControl(self.smsc)
        self.client = Esme()

    async def start(self) -> None:
        self.smsc.listen(reactor)
        self.control.listen(reactor)
        self.client = await connect(self.smsc)
        assert await self.client.bind(password="secret") == 0

    async def stop(self) -> None:
        await self.client.close()
        await self.control.stop()
        await self.smsc.stop()

    async def ask(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        client = treq.client.HTTPClient(Agent(reactor))  # type: ignore[no-untyped-call]
        data = None if content is None else json.dumps(content).encode()
        answer = await client.request(method, self.control.url + path, data=data)
        return answer.code, json.loads(await answer.content())


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.start()
    yield made
    await made.stop()


@on_reactor
async def test_the_state_has_counts_sessions_plan_and_no_password(desk: Desk) -> None:
    await desk.client.submit(submit())
    status, state = await desk.ask("GET", "/control")
    assert status == 200
    assert state["counts"]["submits"] == 1
    assert [session["kind"] for session in state["sessions"]] == ["transceiver"]
    assert state["options"]["password"] == "…"
    assert (state["plan"], state["violations"]) == ([], [])


@on_reactor
async def test_faults_are_planned_and_taken_back(desk: Desk) -> None:
    status, state = await desk.ask(
        "POST", "/control", [{"kind": "status", "status": 0x58, "times": 2}, {"kind": "nack"}]
    )
    assert status == 200
    assert [fault["kind"] for fault in state["plan"]] == ["status", "nack"]
    assert (await desk.client.submit(submit())).status == 0x58
    assert (await desk.ask("GET", "/control"))[1]["plan"][0]["times"] == 1
    assert (await desk.ask("DELETE", "/control"))[1]["plan"] == []
    assert (await desk.client.submit(submit())).status == 0


@on_reactor
async def test_options_change_while_it_runs(desk: Desk) -> None:
    status, options = await desk.ask("POST", "/options", {"ids": "hex", "receipts": "none", "window": 1})
    assert (status, options["ids"], options["window"]) == (200, "hex", 1)
    answer = await desk.client.submit(submit())
    assert int(smpp.read_message_id(answer.body), 16) == desk.smsc.received[0].number
    assert (await desk.ask("GET", "/options"))[1]["receipts"] == "none"
    assert desk.smsc.options.password == "secret"


@on_reactor
async def test_messages_and_replies(desk: Desk) -> None:
    await desk.client.submit(submit(registered_delivery=0))
    _, everything = await desk.ask("GET", "/received")
    _, one = await desk.ask("GET", f"/received?number={NUMBER}")
    _, none = await desk.ask("GET", "/received?number=13800000002")
    assert [message["text"] for message in everything["messages"]] == ["请评价"]
    assert (one, none) == (everything, {"messages": []})
    status, reply = await desk.ask("POST", "/replies", {"number": NUMBER, "text": "5"})
    assert (status, reply["to"]) == (200, "10691234501")
    await desk.smsc.until(lambda: desk.smsc.replies[0].acknowledged)
    _, replies = await desk.ask("GET", "/replies")
    assert [(reply["text"], reply["acknowledged"]) for reply in replies["replies"]] == [("5", True)]


@on_reactor
async def test_raw_bytes_unbind_and_cut(desk: Desk) -> None:
    raw = smpp.pdu(0x4242, 0, 9)
    assert await desk.ask("POST", "/raw", {"hex": raw.hex()}) == (200, {"sessions": 1})
    await desk.client.until(lambda: desk.client.came[-1].command == 0x4242)
    assert await desk.ask("POST", "/sessions", {}) == (200, {"sessions": 1})
    await desk.client.closed
    second = await connect(desk.smsc)
    await second.bind(password="secret")
    assert len((await desk.ask("GET", "/sessions"))[1]) == 1
    assert await desk.ask("DELETE", "/sessions?system_id=nobody") == (200, {"sessions": 0})
    assert await desk.ask("DELETE", "/sessions") == (200, {"sessions": 1})
    await second.closed


@pytest.mark.parametrize(
    ("method", "path", "content", "part"),
    [
        ("POST", "/control", [{"kind": "explode"}], "fault"),
        ("POST", "/control", [{"kind": "slow", "colour": 1}], "fault"),
        ("POST", "/control", [{"kind": "garbage", "data": "xyz"}], "fault"),
        ("POST", "/control", [{"kind": "slow", "on": "sunday"}], "fault"),
        ("POST", "/options", {"window": "wide"}, "window"),
        ("POST", "/options", {"outcomes": {}}, "outcomes"),
        ("POST", "/replies", {"number": NUMBER}, "object"),
        ("POST", "/replies", {"number": NUMBER, "text": "5"}, "nobody wrote"),
        ("POST", "/replies", {"number": NUMBER, "text": "5", "to": "1069", "order": [7]}, "reply"),
        ("POST", "/replies", {"number": NUMBER, "text": "5", "to": "1069", "split": "knife"}, "knife"),
        ("POST", "/raw", {"hex": "0g"}, "hexadecimal"),
    ],
)
@on_reactor
async def test_what_is_none_is_refused(desk: Desk, method: str, path: str, content: Any, part: str) -> None:
    status, answer = await desk.ask(method, path, content)
    assert status == 400
    assert part in answer["error"]
    assert (desk.smsc.planned, len(desk.smsc.replies)) == ([], 0)


@on_reactor
async def test_a_path_that_is_none(desk: Desk) -> None:
    assert (await desk.ask("GET", "/nothing"))[0] == 404
    assert (await desk.ask("DELETE", "/replies"))[0] == 404
