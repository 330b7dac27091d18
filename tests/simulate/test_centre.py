"""The stand-in itself: it must catch what a pusher may never do, and misbehave only as told."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, cast

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor as _reactor
from twisted.web.client import Agent, ResponseFailed
from twisted.web.http_headers import Headers

from models.clock import TurnedClock
from simulate.centre import Fault, FaultKind, StandInCentre
from tests.moments import START

reactor: Any = _reactor
P = ParamSpec("P")
SECRET = "秘密"
STAMP = str(int(START.timestamp()))
RECORD: dict[str, Any] = {
    "evaluationId": "e1",
    "projectNo": "H1",
    "pf": 6,
    "satisfaction": 5,
    "assessTime": "2026-11-18 10:00:00",
    "assessNumber": 1,
    "isdefault": 0,
    "serviceName": "热线",
    "areaCode": "622900",
    "dataSource": "",
}


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def centre() -> AsyncIterator[StandInCentre]:
    made = StandInCentre(SECRET, clock=TurnedClock(START), skew=300)
    made.listen(reactor)
    yield made
    await made.stop()


class Poster:
    """Posts over connections that end with each request."""

    def __init__(self, centre: StandInCentre) -> None:
        self.url = centre.url
        self._treq = treq.client.HTTPClient(Agent(reactor))  # type: ignore[no-untyped-call]

    async def post(self, *records: dict[str, Any], key: str = "k1", **changes: Any) -> tuple[int, Any]:
        body = changes.get("body", json.dumps({"evaluations": records}, ensure_ascii=False).encode())
        stamp = changes.get("stamp", STAMP)
        signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
        headers = {
            "Idempotency-Key": key,
            "X-Huiyin-Timestamp": stamp,
            "X-Huiyin-Signature": changes.get("signature", signature),
        }
        return await self._ask("POST", "/evaluations", headers, body)

    async def get(self, path: str) -> tuple[int, Any]:
        signature = hmac.new(SECRET.encode(), STAMP.encode() + b".", sha256).hexdigest()
        return await self._ask("GET", path, {"X-Huiyin-Timestamp": STAMP, "X-Huiyin-Signature": signature}, None)

    async def control(self, method: str, content: Any = None) -> tuple[int, Any]:
        body = None if content is None else json.dumps(content).encode()
        return await self._ask(method, "/control", {}, body)

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any]:
        answer = await self._treq.request(
            method, self.url + path, headers=Headers({name: [value] for name, value in headers.items()}), data=body
        )
        text = await answer.content()
        try:
            return answer.code, json.loads(text)
        except ValueError:
            return answer.code, text


@pytest.fixture
def poster(centre: StandInCentre) -> Poster:
    return Poster(centre)


def statuses(answer: Any) -> list[str]:
    return [result["status"] for result in answer["results"]]


@on_reactor
async def test_a_record_is_in_effect_once(centre: StandInCentre, poster: Poster) -> None:
    assert await poster.post(RECORD) == (200, {"results": [{"evaluationId": "e1", "status": "accepted"}]})
    assert statuses((await poster.post(RECORD))[1]) == ["duplicate"]
    assert centre.received == {("H1", 1): RECORD}
    assert centre.violations == []


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": "0" * 64},
        {"signature": ""},
        {"stamp": "now"},
        {"stamp": str(int(STAMP) - 301)},
        {"stamp": str(int(STAMP) + 301)},
    ],
)
@on_reactor
async def test_a_wrong_signature_or_time_is_refused(
    centre: StandInCentre, poster: Poster, changes: dict[str, str]
) -> None:
    assert (await poster.post(RECORD, **changes))[0] == 401
    assert centre.by_id == {}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"serviceName": ""}, "serviceName"),
        ({"pf": None}, "pf"),
        ({"satisfaction": 6}, "satisfaction"),
        ({"satisfaction": 1}, "差评"),
        ({"assessNumber": 0}, "assessNumber"),
        ({"assessNumber": "1"}, "assessNumber"),
        ({"isdefault": 2}, "isdefault"),
        ({"assessTime": "2026-11-18T10:00:00Z"}, "assessTime"),
        ({"projectNo": "H" * 51}, "projectNo"),
    ],
)
@on_reactor
async def test_a_faulty_record_is_refused_with_its_field(
    centre: StandInCentre, poster: Poster, change: dict[str, Any], part: str
) -> None:
    _, answer = await poster.post({**RECORD, **change}, {**RECORD, "evaluationId": "e2", "projectNo": "H2"})
    assert statuses(answer) == ["rejected", "accepted"]
    assert part in answer["results"][0]["reason"]
    assert list(centre.by_id) == ["e2"]


@on_reactor
async def test_what_a_pusher_may_never_do_is_caught(centre: StandInCentre, poster: Poster) -> None:
    await poster.post(RECORD, key="k1")
    assert (await poster.post({**RECORD, "evaluationId": "e2"}, key="k1"))[0] == 409
    assert statuses((await poster.post({**RECORD, "evaluationId": "e2"}, key="k2"))[1]) == ["rejected"]
    assert statuses((await poster.post({**RECORD, "satisfaction": 4}, key="k3"))[1]) == ["duplicate"]
    assert statuses((await poster.post({**RECORD, "assessNumber": 2}, key="k4"))[1]) == ["accepted"]
    assert (await poster.post(RECORD, key=""))[0] == 400
    assert (await poster.post(body=b"[]", key="k5"))[0] == 400
    assert [violation.split()[0] for violation in centre.violations] == [
        "another",
        "two",
        "evaluation",
        "evaluation",
        "a",
        "a",
    ]


@on_reactor
async def test_the_ids_of_a_day(centre: StandInCentre, poster: Poster) -> None:
    await poster.post(RECORD, {**RECORD, "evaluationId": "e2", "projectNo": "H2", "assessTime": "2026-11-19 00:00:00"})
    assert await poster.get("/evaluations?date=2026-11-18") == (200, {"evaluationIds": ["e1"]})
    assert (await poster.get("/evaluations?date=yesterday"))[0] == 400
    centre.forget("e1")
    assert await poster.get("/evaluations?date=2026-11-18") == (200, {"evaluationIds": []})
    assert (await poster.get("/nothing"))[0] == 404


OTHER = {**RECORD, "evaluationId": "e2", "projectNo": "H2"}


@pytest.mark.parametrize(
    ("fault", "said", "held"),
    [
        (Fault(FaultKind.REFUSE, record="e1"), {"e1": "rejected", "e2": "accepted"}, {"e2"}),
        (Fault(FaultKind.REFUSE), {"e1": "rejected", "e2": "rejected"}, set()),
        (Fault(FaultKind.SILENT, record="H2"), {"e1": "accepted"}, {"e1"}),
        (Fault(FaultKind.DUPLICATE, record="H2"), {"e1": "accepted", "e2": "duplicate"}, {"e1", "e2"}),
        (Fault(FaultKind.REFUSE, record="e3"), {"e1": "accepted", "e2": "accepted"}, {"e1", "e2"}),
    ],
)
@on_reactor
async def test_faults_of_single_records(
    centre: StandInCentre, poster: Poster, fault: Fault, said: dict[str, str], held: set[str]
) -> None:
    centre.plan(fault)
    _, answer = await poster.post(RECORD, OTHER)
    assert {result["evaluationId"]: result["status"] for result in answer["results"]} == said
    assert set(centre.by_id) == held
    if fault.record != "e3":
        assert centre.planned == []


@on_reactor
async def test_several_records_can_fail_each_in_its_way(centre: StandInCentre, poster: Poster) -> None:
    centre.plan(Fault(FaultKind.REFUSE, record="e1", times=None), Fault(FaultKind.SILENT, record="e2", times=2))
    _, answer = await poster.post(RECORD, OTHER)
    assert statuses(answer) == ["rejected"]
    assert [fault.times for fault in centre.planned] == [None, 1]


@pytest.mark.parametrize(("kind", "held"), [(FaultKind.STATUS, 0), (FaultKind.GARBAGE, 1), (FaultKind.SLOW, 1)])
@on_reactor
async def test_faults_that_answer(centre: StandInCentre, poster: Poster, kind: FaultKind, held: int) -> None:
    centre.plan(Fault(kind, status=503, retry_after="5", seconds=0.05))
    status, answer = await poster.post(RECORD)
    assert len(centre.by_id) == held
    if kind is FaultKind.STATUS:
        assert status == 503
    if kind is FaultKind.GARBAGE:
        assert isinstance(answer, bytes)
    if kind is FaultKind.SLOW:
        assert statuses(answer) == ["accepted"]
    assert (await poster.post(RECORD))[0] == 200


@pytest.mark.parametrize("kind", [FaultKind.LOSE, FaultKind.TRUNCATE])
@on_reactor
async def test_faults_that_lose_the_answer_keep_the_record(
    centre: StandInCentre, poster: Poster, kind: FaultKind
) -> None:
    centre.plan(Fault(kind))
    with pytest.raises(ResponseFailed):
        await poster.post(RECORD)
    assert list(centre.by_id) == ["e1"]


@on_reactor
async def test_a_plan_over_http(centre: StandInCentre, poster: Poster) -> None:
    assert (await poster.control("POST", [{"kind": "status", "status": 500, "times": 2}]))[0] == 200
    assert (await poster.post(RECORD))[0] == 500
    _, state = await poster.control("GET")
    assert state["plan"] == [{"kind": "status", "record": None, "times": 1}]
    assert (state["requests"], state["received"]) == (1, 0)
    assert (await poster.control("DELETE"))[1]["plan"] == []
    assert (await poster.post(RECORD))[0] == 200
    assert (await poster.get("/received"))[1] == {"evaluations": [RECORD]}


@pytest.mark.parametrize("content", [[{"kind": "explode"}], ["x"], [{"kind": "slow", "colour": 1}]])
@on_reactor
async def test_a_plan_that_is_none_is_refused(centre: StandInCentre, poster: Poster, content: Any) -> None:
    status, answer = await poster.control("POST", content)
    assert status == 400
    assert "fault" in answer["error"]


@on_reactor
async def test_what_was_received_outlives_a_restart(tmp_path: Path) -> None:
    journal = tmp_path / "centre.jsonl"
    first = StandInCentre(SECRET, journal=journal)
    first.listen(reactor)
    await Poster(first).post(RECORD, OTHER)
    await first.stop()
    second = StandInCentre(SECRET, journal=journal)
    second.listen(reactor)
    assert set(second.by_id) == {"e1", "e2"}
    assert statuses((await Poster(second).post(RECORD))[1]) == ["duplicate"]
    await second.stop()
    assert len(journal.read_text("utf-8").splitlines()) == 2


def test_a_line_that_a_kill_cut_short_was_never_answered_for(tmp_path: Path) -> None:
    journal = tmp_path / "centre.jsonl"
    journal.write_text(json.dumps(RECORD) + "\n" + json.dumps(OTHER)[:40], "utf-8")
    assert set(StandInCentre(SECRET, journal=journal).by_id) == {"e1"}
    assert journal.read_text("utf-8") == json.dumps(RECORD) + "\n"
