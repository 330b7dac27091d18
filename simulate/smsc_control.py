"""The stand-in SMSC's other port: what it has seen, and what it is to do, over HTTP and JSON. Loopback only.

* `GET /control`: counts, sessions, options, plan, violations. `POST`: a fault or a list of them, the plan from now on.
  `DELETE`: no faults.
* `GET /options`: the options. `POST`: some of them, to change.
* `GET /received`: the messages on phones, `?number=` of one.
* `GET /replies`: replies, and whether they were acknowledged. `POST {"number", "text", "to"?, "split"?, "order"?,
  "coding"?, "system_id"?}`: a citizen writes.
* `POST /raw {"hex", "system_id"?}`: bytes to every session.
* `GET /sessions`: the bound ones. `POST {"system_id"?}`: unbinds them. `DELETE` (`?system_id=`): cuts them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site

from simulate.handset import Split
from simulate.smsc import Fault, Reply, SmscOptions, StandInSmsc

__all__ = ["SmscControl"]

Request = Any
"""twisted.web's Request, whose methods have no types."""

_MOST_BODY = 1 << 20
_bugs = Logger()


class SmscControl:
    """The control port of one SMSC. It shows numbers and texts: it is a stand-in's, on loopback."""

    def __init__(self, smsc: StandInSmsc) -> None:
        self._smsc = smsc
        self._port: Any = None

    def listen(self, reactor: Any, host: str = "127.0.0.1", port: int = 0) -> IListeningPort:
        """Starts; port 0 takes a free one (see `url`)."""
        self._port = reactor.listenTCP(port, _QuietSite(_Paths(self)), interface=host)  # type: ignore[no-untyped-call]
        listening: IListeningPort = self._port
        return listening

    @property
    def url(self) -> str:
        host = self._port.getHost()
        return f"http://{host.host}:{host.port}"

    async def stop(self) -> None:
        """Closes the port."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()

    # ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, method: bytes, path: bytes, query: Mapping[bytes, list[bytes]], body: bytes) -> tuple[int, Any]:
        """Status and content for a request."""
        act = self._ACTS.get((method, path.rsplit(b"/", 1)[-1]))
        if act is None:
            return 404, {"error": "path"}
        try:
            content = json.loads(body) if body else None
            return 200, act(self, content, {name.decode(): values[-1].decode() for name, values in query.items()})
        except ValueError as error:
            return 400, {"error": str(error)}

    def _state(self, content: Any, query: Mapping[str, str]) -> Any:
        smsc = self._smsc
        return {
            "counts": dict(smsc.counts),
            "sessions": self._sessions(content, query),
            "waiting": smsc.waiting,
            "options": self._options(content, query),
            "plan": [asdict(fault) for fault in smsc.planned],
            "violations": smsc.violations,
        }

    def _plan(self, content: Any, query: Mapping[str, str]) -> Any:
        self._smsc.plan(*map(Fault.read, content if isinstance(content, list) else [content]))
        return self._state(content, query)

    def _no_plan(self, content: Any, query: Mapping[str, str]) -> Any:
        self._smsc.plan()
        return self._state(content, query)

    def _options(self, content: Any, query: Mapping[str, str]) -> Any:
        return {**asdict(self._smsc.options), "password": None if self._smsc.options.password is None else "…"}

    def _change(self, content: Any, query: Mapping[str, str]) -> Any:
        self._smsc.options = SmscOptions.changed(self._smsc.options, content)
        return self._options(content, query)

    def _received(self, content: Any, query: Mapping[str, str]) -> Any:
        smsc = self._smsc
        found = smsc.to(query["number"]) if "number" in query else list(smsc.messages)
        return {"messages": [asdict(message) for message in found]}

    def _replies(self, content: Any, query: Mapping[str, str]) -> Any:
        return {"replies": [_told(reply) for reply in self._smsc.replies]}

    def _reply(self, content: Any, query: Mapping[str, str]) -> Any:
        fields = _object(content, {"number", "text"}, {"to", "split", "order", "coding", "system_id"})
        number, text = str(fields.pop("number")), str(fields.pop("text"))
        fields["split"] = Split(fields.get("split", Split.UDH8))
        try:
            return _told(self._smsc.send_reply(number, text, **fields))
        except (TypeError, IndexError) as error:
            raise ValueError(f"not a reply: {error}") from error

    def _raw(self, content: Any, query: Mapping[str, str]) -> Any:
        fields = _object(content, {"hex"}, {"system_id"})
        return {"sessions": self._smsc.send_raw(bytes.fromhex(str(fields["hex"])), fields.get("system_id"))}

    def _sessions(self, content: Any, query: Mapping[str, str]) -> Any:
        return [
            {"number": number, "system_id": system_id, "kind": kind} for number, system_id, kind in self._smsc.sessions
        ]

    def _unbind(self, content: Any, query: Mapping[str, str]) -> Any:
        fields = _object(content or {}, set(), {"system_id"})
        told = len(self._smsc.sessions)
        Deferred.fromCoroutine(self._smsc.unbind(fields.get("system_id"))).addErrback(
            lambda failure: _bugs.failure("an unbind of the stand-in SMSC broke", failure)
        )
        return {"sessions": told}

    def _cut(self, content: Any, query: Mapping[str, str]) -> Any:
        return {"sessions": self._smsc.cut(query.get("system_id"))}

    _ACTS: Mapping[tuple[bytes, bytes], Callable[[SmscControl, Any, Mapping[str, str]], Any]] = {
        (b"GET", b"control"): _state,
        (b"POST", b"control"): _plan,
        (b"DELETE", b"control"): _no_plan,
        (b"GET", b"options"): _options,
        (b"POST", b"options"): _change,
        (b"GET", b"received"): _received,
        (b"GET", b"replies"): _replies,
        (b"POST", b"replies"): _reply,
        (b"POST", b"raw"): _raw,
        (b"GET", b"sessions"): _sessions,
        (b"POST", b"sessions"): _unbind,
        (b"DELETE", b"sessions"): _cut,
    }


def _object(content: Any, needed: set[str], possible: set[str]) -> dict[str, Any]:
    """Raises ValueError: not an object with these keys."""
    if not isinstance(content, dict) or not needed <= set(content) <= needed | possible:
        raise ValueError(f"must be an object with {', '.join(sorted(needed | possible))}")
    return dict(content)


def _told(reply: Reply) -> dict[str, Any]:
    return {
        "number": reply.number,
        "to": reply.to,
        "text": reply.text,
        "acknowledged": reply.acknowledged,
        "parts": [
            {"tries": part.tries, "statuses": part.statuses, "acknowledged": part.acknowledged} for part in reply.parts
        ],
    }


class _Paths(Resource):
    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, control: SmscControl) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._control = control

    def render(self, request: Request) -> bytes:
        body = request.content.read(_MOST_BODY) if request.content is not None else b""
        status, content = self._control.answer(request.method, request.path, request.args or {}, body)
        request.setResponseCode(status)
        request.setHeader("Content-Type", "application/json; charset=utf-8")
        return json.dumps(content, ensure_ascii=False).encode()


class _QuietSite(Site):
    def log(self, request: Request) -> None:
        """No access log: the paths hold numbers."""
