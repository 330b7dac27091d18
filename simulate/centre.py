"""A stand-in for the central 好差评 system, as the contract describes it: for the demo, for tests, for drills.

Rules kept here:

* It shares no code with the push: signature, fields and answers are read from the contract a second time.
* What it holds is in effect once: by (projectNo, assessNumber), the centre's key, and by evaluationId.
* It believes nothing: signature, timestamp, required fields and their values are checked, and whatever a pusher must
  never do (another body under a used Idempotency-Key, another record under a used id) is kept in `violations`.
* It misbehaves only as told, by `plan` or over HTTP at `…/control`.
"""

from __future__ import annotations

import hmac
import json
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IPullProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from models.clock import Clock, SystemClock

__all__ = ["Delivery", "Fault", "FaultKind", "StandInCentre"]

Request = Any
"""twisted.web's Request, whose methods have no types."""

_REQUIRED = (
    "evaluationId",
    "projectNo",
    "pf",
    "satisfaction",
    "assessTime",
    "assessNumber",
    "isdefault",
    "serviceName",
    "areaCode",
    "dataSource",
)
_MAY_BE_EMPTY = {"dataSource"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_MOST_RECORDS = 100
_HISTORY = 10_000
_PIECE = b" " * 65536


class FaultKind(StrEnum):
    """What can go wrong at a centre. Those of the second group concern single records, the others a whole request."""

    STATUS = "status"  # answers `status` (with Retry-After), stores nothing
    SLOW = "slow"  # stores at once, answers `seconds` late
    STALL = "stall"  # takes the request and never answers, stores nothing
    LOSE = "lose"  # stores, then closes the connection without an answer
    GARBAGE = "garbage"  # stores, answers 200 with something else than JSON
    TRUNCATE = "truncate"  # stores, closes in the middle of its answer
    DRIP = "drip"  # sends headers without end, a byte at a time
    ENDLESS = "endless"  # sends a body without end

    REFUSE = "refuse"  # rejects the record
    DUPLICATE = "duplicate"  # says that it has the record already (and has it)
    SILENT = "silent"  # says nothing of the record, and does not store it

    @property
    def of_records(self) -> bool:
        return self in {FaultKind.REFUSE, FaultKind.DUPLICATE, FaultKind.SILENT}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do wrong.

    Attributes:
        record: a projectNo or evaluationId; only a request that holds it (or only that record) is concerned.
        times: how many requests; None: until the plan changes.
        retry_after: the header's text.
        seconds: of SLOW.
    """

    kind: FaultKind
    record: str | None = None
    times: int | None = 1
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0
    reason: str = "不予接收"

    @classmethod
    def read(cls, content: Any) -> Fault:
        """From the control path's JSON.

        Raises:
            ValueError: not a fault; says what is wrong.
        """
        if not isinstance(content, dict) or content.get("kind") not in set(FaultKind):
            raise ValueError(f"a fault is an object whose kind is one of {', '.join(FaultKind)}")
        try:
            return cls(**{**content, "kind": FaultKind(content["kind"])})
        except TypeError as error:
            raise ValueError(f"not a fault: {error}") from error


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came. `at`: Unix seconds; `signed`: rightly."""

    key: str
    timestamp: str
    body: bytes
    at: float
    signed: bool

    @property
    def records(self) -> list[dict[str, Any]]:
        return list(json.loads(self.body)["evaluations"])


@dataclass(slots=True)
class _Planned:
    fault: Fault
    left: int | None


@dataclass(slots=True)
class _Watch:
    condition: Callable[[], bool]
    deferred: Deferred[None] = field(default_factory=Deferred)


class StandInCentre:
    """A centre on one port.

    Args:
        secret: the shared one.
        skew: seconds by which a timestamp may differ from our clock; None: any.
        journal: a file that gets each record in effect as one JSON line; an earlier run's are read from it.
    """

    def __init__(
        self, secret: str, *, clock: Clock | None = None, skew: float | None = None, journal: Path | None = None
    ) -> None:
        self.secret = secret
        self._clock = clock or SystemClock()
        self._skew = skew
        self._journal = journal
        self.received: dict[tuple[str, int], dict[str, Any]] = {}
        self.by_id: dict[str, dict[str, Any]] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=_HISTORY)
        self.requests = 0
        self.asked = 0
        self.violations: list[str] = []
        self._bodies: dict[str, bytes] = {}
        self._plan: list[_Planned] = []
        self._watches: list[_Watch] = []
        self._hanging: set[Request] = set()
        self._port: Any = None
        self._reactor: Any = None
        if journal is not None and journal.exists():
            whole, _, cut_short = journal.read_bytes().rpartition(b"\n")
            for line in whole.splitlines():
                self._keep(json.loads(line), write=False)
            if cut_short:
                journal.write_bytes(whole + b"\n" if whole else b"")

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, reactor: Any, host: str = "127.0.0.1", port: int = 0) -> IListeningPort:
        """Starts; port 0 takes a free one (see `url`)."""
        self._reactor = reactor
        self._port = reactor.listenTCP(port, _site(self), interface=host)
        listening: IListeningPort = self._port
        return listening

    @property
    def port(self) -> int:
        return int(self._port.getHost().port)

    @property
    def url(self) -> str:
        """The base to configure as `centre.url`."""
        host = self._port.getHost()
        return f"http://{host.host}:{host.port}/api"

    async def stop(self) -> None:
        """Closes the port and whatever hangs."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        for request in list(self._hanging):
            _abort(request)

    # ── for tests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, *faults: Fault) -> None:
        """Replaces what is to go wrong from now on; without faults: nothing."""
        self._plan = [_Planned(fault, fault.times) for fault in faults]

    @property
    def planned(self) -> list[Fault]:
        return [replace(planned.fault, times=planned.left) for planned in self._plan]

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when the condition holds; looked at whenever a request came."""
        watch = _Watch(condition)
        self._watches.append(watch)
        self._look()
        return watch.deferred

    def holds(self, count: int) -> Deferred[None]:
        """Fires when so many records are in effect."""
        return self.until(lambda: len(self.by_id) >= count)

    def forget(self, evaluation_id: str) -> None:
        """Loses a record that it had accepted; for the reconciliation."""
        record = self.by_id.pop(evaluation_id)
        del self.received[(record["projectNo"], record["assessNumber"])]

    def _look(self) -> None:
        for watch in [watch for watch in self._watches if watch.condition()]:
            self._watches.remove(watch)
            watch.deferred.callback(None)

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, request: Request) -> Any:
        """POST …/evaluations"""
        body = request.content.read() if request.content is not None else b""
        self.requests += 1
        signed = self._signed(request, body)
        key = request.getHeader("Idempotency-Key") or ""
        self.deliveries.append(
            Delivery(
                key, request.getHeader("X-Huiyin-Timestamp") or "", body, self._clock.now().timestamp(), bool(signed)
            )
        )
        try:
            return self._post(request, body, key, signed)
        finally:
            self._look()

    def _post(self, request: Request, body: bytes, key: str, signed: bool) -> Any:
        if not signed:
            return _answer(request, 401, {"error": "signature"})
        if not key:
            self.violations.append("a push without Idempotency-Key")
            return _answer(request, 400, {"error": "Idempotency-Key"})
        if self._bodies.setdefault(key, body) != body:
            self.violations.append(f"another body under Idempotency-Key {key}")
            return _answer(request, 409, {"error": "Idempotency-Key"})
        records = _records(body)
        if records is None:
            self.violations.append("a body that is no batch")
            return _answer(request, 400, {"error": "body"})
        names = {str(record.get(name)) for record in records for name in ("projectNo", "evaluationId")}
        fault = self._next(names, of_records=False)
        if fault is not None and fault.kind in {FaultKind.STATUS, FaultKind.STALL, FaultKind.DRIP, FaultKind.ENDLESS}:
            return self._misbehave(request, fault, b"")
        results = self._results(records, names)
        answer = json.dumps({"results": results}, ensure_ascii=False).encode()
        if fault is not None:
            return self._misbehave(request, fault, answer)
        return _answer(request, 200, answer)

    def get(self, request: Request) -> Any:
        """GET …/evaluations?date=YYYY-MM-DD"""
        self.asked += 1
        if not self._signed(request, b""):
            return _answer(request, 401, {"error": "signature"})
        fault = self._next(set(), of_records=False)
        args: dict[bytes, list[bytes]] = request.args or {}
        day = args.get(b"date", [b""])[0].decode("latin-1")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            return _answer(request, 400, {"error": "date"})
        held = [name for name, record in self.by_id.items() if record["assessTime"].startswith(day)]
        answer = json.dumps({"evaluationIds": held}).encode()
        return self._misbehave(request, fault, answer) if fault is not None else _answer(request, 200, answer)

    def _signed(self, request: Request, body: bytes) -> bool:
        stamp = request.getHeader("X-Huiyin-Timestamp") or ""
        given = request.getHeader("X-Huiyin-Signature") or ""
        if not re.fullmatch(r"\d{1,12}", stamp):
            return False
        if self._skew is not None and abs(self._clock.now().timestamp() - int(stamp)) > self._skew:
            return False
        right = hmac.new(self.secret.encode("utf-8"), stamp.encode() + b"." + body, sha256).hexdigest()
        return hmac.compare_digest(right.encode(), given.encode())

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _results(self, records: Iterable[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
        faults: dict[str | None, Fault] = {}
        while (fault := self._next(names, of_records=True, not_these=set(faults))) is not None:
            faults[fault.record] = fault
        results = []
        for record in records:
            fault = faults.get(record.get("projectNo")) or faults.get(record.get("evaluationId")) or faults.get(None)
            result = self._result(record, fault)
            if result is not None:
                results.append({"evaluationId": record.get("evaluationId"), **result})
        return results

    def _result(self, record: dict[str, Any], fault: Fault | None) -> dict[str, Any] | None:
        if fault is not None and fault.kind is FaultKind.SILENT:
            return None
        if fault is not None and fault.kind is FaultKind.REFUSE:
            return {"status": "rejected", "reason": fault.reason}
        if problem := _problem(record):
            return {"status": "rejected", "reason": problem}
        held = self.received.get((record["projectNo"], record["assessNumber"]))
        if held is not None and held["evaluationId"] != record["evaluationId"]:
            self.violations.append(f"two evaluations of {record['projectNo']}, number {record['assessNumber']}")
            return {"status": "rejected", "reason": "评价数据不可重复"}
        if held is not None:
            if held != record:
                self.violations.append(f"evaluation {record['evaluationId']} came with another content")
            return {"status": "duplicate"}
        if record["evaluationId"] in self.by_id:
            self.violations.append(f"evaluation {record['evaluationId']} came under two numbers")
        self._keep(record, write=True)
        return {"status": "duplicate" if fault is not None else "accepted"}

    def _keep(self, record: dict[str, Any], *, write: bool) -> None:
        self.received[(record["projectNo"], record["assessNumber"])] = record
        self.by_id[record["evaluationId"]] = record
        if write and self._journal is not None:
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    # ── misbehaving ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _next(self, names: set[str], *, of_records: bool, not_these: Iterable[str | None] = ()) -> Fault | None:
        """The first planned fault that fits, used up by one."""
        for planned in self._plan:
            fault = planned.fault
            if fault.kind.of_records != of_records or (fault.record is not None and fault.record not in names):
                continue
            if of_records and fault.record in not_these:
                continue
            if planned.left is not None:
                planned.left -= 1
                if planned.left <= 0:
                    self._plan.remove(planned)
            return fault
        return None

    def _misbehave(self, request: Request, fault: Fault, answer: bytes) -> Any:
        match fault.kind:
            case FaultKind.STATUS:
                if fault.retry_after is not None:
                    request.setHeader("Retry-After", fault.retry_after)
                return _answer(request, fault.status, {"error": fault.reason})
            case FaultKind.GARBAGE:
                return _answer(request, 200, b"<html>\xff\xfe 502 Bad Gateway")
            case FaultKind.LOSE:
                _abort(request)
            case FaultKind.TRUNCATE:
                request.setHeader("Content-Length", str(len(answer)))
                request.write(answer[: len(answer) // 2])
                request.loseConnection()
            case FaultKind.SLOW:
                self._hang(request)
                self._reactor.callLater(fault.seconds, self._late, request, answer)
            case FaultKind.DRIP:
                self._hang(request)
                request.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip(request)
            case FaultKind.ENDLESS:
                self._hang(request)
                request.setHeader("Content-Type", "application/json")
                request.registerProducer(_Endless(request), False)
            case _:
                self._hang(request)
        return NOT_DONE_YET

    def _hang(self, request: Request) -> None:
        self._hanging.add(request)
        request.notifyFinish().addBoth(lambda _: self._hanging.discard(request))

    def _late(self, request: Request, answer: bytes) -> None:
        if request in self._hanging:
            _write(request, 200, answer)
            request.finish()

    def _drip(self, request: Request) -> None:
        if request in self._hanging:
            request.transport.write(b"x")
            self._reactor.callLater(0.02, self._drip, request)

    # ── the control path ──────────────────────────────────────────────────────────────────────────────────────────────

    def control(self, request: Request) -> Any:
        """GET: counts (`requests`: pushes, `asked`: reconciliations) and plan. POST `[fault, …]`, DELETE: another."""
        if request.method == b"DELETE":
            self.plan()
        elif request.method == b"POST":
            try:
                content = json.loads(request.content.read() if request.content is not None else b"")
                self.plan(*map(Fault.read, content if isinstance(content, list) else [content]))
            except ValueError as error:
                return _answer(request, 400, {"error": str(error)})
        return _answer(
            request,
            200,
            {
                "requests": self.requests,
                "asked": self.asked,
                "received": len(self.by_id),
                "violations": self.violations,
                "plan": [{"kind": fault.kind, "record": fault.record, "times": fault.times} for fault in self.planned],
            },
        )

    def show(self, request: Request) -> Any:
        """GET …/received: every record in effect."""
        return _answer(request, 200, {"evaluations": list(self.by_id.values())})


class _Paths(Resource):
    """Whatever base the URL has, the last part of the path decides."""

    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, centre: StandInCentre) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._centre = centre

    def render(self, request: Request) -> Any:
        name = request.path.rsplit(b"/", 1)[-1]
        centre = self._centre
        handler = {
            (b"evaluations", b"POST"): centre.post,
            (b"evaluations", b"GET"): centre.get,
            (b"control", b"GET"): centre.control,
            (b"control", b"POST"): centre.control,
            (b"control", b"DELETE"): centre.control,
            (b"received", b"GET"): centre.show,
        }.get((name, request.method))
        return handler(request) if handler is not None else _answer(request, 404, {"error": "path"})


class _QuietSite(Site):
    def log(self, request: Request) -> None:
        """No access log."""


def _site(centre: StandInCentre) -> Site:
    return _QuietSite(_Paths(centre))  # type: ignore[no-untyped-call]


@implementer(IPullProducer)
class _Endless:
    def __init__(self, request: Request) -> None:
        self._request = request

    def resumeProducing(self) -> None:  # noqa: N802
        self._request.write(_PIECE)

    def stopProducing(self) -> None:  # noqa: N802
        return None


def _records(body: bytes) -> list[dict[str, Any]] | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    records = content.get("evaluations") if isinstance(content, dict) else None
    if not isinstance(records, list) or not 1 <= len(records) <= _MOST_RECORDS:
        return None
    return records if all(isinstance(record, dict) for record in records) else None


def _problem(record: dict[str, Any]) -> str | None:
    """What is wrong with a record, as a centre says it; None: nothing."""
    for name in _REQUIRED:
        value = record.get(name)
        if value is None or (value == "" and name not in _MAY_BE_EMPTY):
            return f"{name} 不能为空"
    if str(record["satisfaction"]) not in {"1", "2", "3", "4", "5"}:
        return "satisfaction 取值错误"
    if str(record["isdefault"]) not in {"0", "1"}:
        return "isdefault 取值错误"
    if not isinstance(record["assessNumber"], int) or record["assessNumber"] < 1:
        return "assessNumber 取值错误"
    if not _TIME.fullmatch(str(record["assessTime"])):
        return "assessTime 格式错误"
    if len(str(record["projectNo"])) > 50:
        return "projectNo 超长"
    if str(record["satisfaction"]) in {"1", "2"} and not (record.get("evalDetail") or record.get("writingEvaluation")):
        return "差评必须勾选详情或填写文字评价"
    return None


def _answer(request: Request, status: int, content: bytes | dict[str, Any]) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json; charset=utf-8")
    return body


def _write(request: Request, status: int, body: bytes) -> None:
    _answer(request, status, body)
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)


def _abort(request: Request) -> None:
    if request.channel is not None:
        request.channel.transport.abortConnection()
