"""Asterisk's `queue_log`: which served calls ended, so that those which ended while Huiyin was down are not forgotten.

Rules kept here:

* Our dialplan writes HUIYINENDED where it could not reach Huiyin (dialplans/huiyin.conf, huiyin-hangup), with all that
  `/ended` would have said. Asterisk itself writes how a served call left its queue (COMPLETECALLER, COMPLETEAGENT,
  BLINDTRANSFER, ATTENDEDTRANSFER); of a call that has both, ours counts.
* Either becomes a call that ended without the offer. Where it was rated or reported before, the record stands: handing
  in a whole file, or the same file twice, changes nothing that is known (intake/calls.py, EndCall).
* A call's key is the `callid` of the log: the unique id of the caller's channel, which is the linkedid of a call that
  the caller's channel began. `systemname` must be set where there are several Asterisk hosts, as everywhere.
* A line that cannot be read is named with its number and sentence; the others count.

Format (Asterisk, "Queue Logs"): `epoch|callid|queue|agent|event|data1|data2|…`, one event a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from unicodedata import category
from urllib.parse import unquote_to_bytes

from intake.desk import Intake
from intake.names import CALL_KEY_LENGTH, normalise_agent
from intake.record import CallFacts
from models.errors import StoreError
from models.terms import CallOutcome

__all__ = ["BadLine", "Imported", "QueueCall", "Reading", "hand_in", "read_queue_log"]

SOURCE = "queue_log"
OURS = "HUIYINENDED"
"""Its data: caller, dept, case, closed and lang, each percent-encoded, as are its queue and agent."""
_ENDED = frozenset({OURS, "COMPLETECALLER", "COMPLETEAGENT", "BLINDTRANSFER", "ATTENDEDTRANSFER", "TRANSFER"})
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # 2000 and 2100, epoch seconds
_LINE_LENGTH = 4096
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class QueueCall:
    """A served call that is over, and the line that says so."""

    facts: CallFacts
    line: int


@dataclass(frozen=True, slots=True)
class BadLine:
    number: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says. Calls in the order in which they ended; of a call in several queues the last."""

    calls: tuple[QueueCall, ...]
    bad: tuple[BadLine, ...]


def read_queue_log(lines: Iterable[str]) -> Reading:
    """Reads a queue_log. Events that say nothing of a served call's end are passed over."""
    ended: dict[str, QueueCall] = {}
    ours: set[str] = set()
    numbers: dict[str, str] = {}
    bad: list[BadLine] = []
    for place, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line:
            continue
        try:
            event = _parse(line)
        except ValueError as error:
            bad.append(BadLine(place, str(error)))
            continue
        if event.name == "ENTERQUEUE" and len(event.data) > 1:
            numbers[event.call_key] = event.data[1]
        elif event.name == OURS:
            ours.add(event.call_key)
            ended.pop(event.call_key, None)  # so that the order is that of the last end
            ended[event.call_key] = QueueCall(_told(event), place)
        elif event.name in _ENDED and event.call_key not in ours:
            ended.pop(event.call_key, None)
            ended[event.call_key] = QueueCall(_seen(event, numbers.get(event.call_key)), place)
    return Reading(tuple(ended.values()), tuple(bad))


@dataclass(frozen=True, slots=True)
class _Event:
    at: datetime
    call_key: str
    queue: str
    agent: str
    name: str
    data: list[str]


def _parse(line: str) -> _Event:
    """One line.

    Raises:
        ValueError: with what is wrong.
    """
    if len(line) > _LINE_LENGTH:
        raise ValueError(f"has {len(line)} characters; no event is as long")
    if not line.isprintable() and not all(map(_is_text, line)):
        raise ValueError("holds control characters")
    parts = line.split("|")
    if len(parts) < 5:
        raise ValueError("has fewer than five fields (time|callid|queue|agent|event)")
    moment, call_key, queue, agent, name, *data = parts
    if not (len(moment) <= 12 and moment.isascii() and moment.isdigit() and _EARLIEST <= int(moment) <= _LATEST):
        raise ValueError("does not begin with a time in seconds since 1970")
    if not name:
        raise ValueError("names no event")
    if name in _ENDED or name == "ENTERQUEUE":
        if call_key in {"", "NONE"}:
            raise ValueError(f"{name} without a callid")
        if len(call_key) > CALL_KEY_LENGTH:
            raise ValueError(f"its callid has {len(call_key)} characters; Asterisk makes none as long")
    if name in _ENDED and agent in {"", "NONE"}:
        raise ValueError(f"{name} without an agent")
    return _Event(datetime.fromtimestamp(int(moment), UTC), call_key, queue, agent, name, data)


def _is_text(sign: str) -> bool:
    """Whether a name may hold it: all but controls, line ends, and halves of characters that stand for no byte."""
    return "\udc80" <= sign <= "\udcff" or category(sign) not in {"Cc", "Zl", "Zp", "Cs"}


def _told(event: _Event) -> CallFacts:
    """What our dialplan says of a call."""
    number, dept, case_no, closed, lang, *_ = [_decoded(value) for value in (*event.data, "", "", "", "", "")]
    return CallFacts(
        call_key=event.call_key,
        number=number or None,
        agent=normalise_agent(_decoded(event.agent)),
        queue=None if event.queue == "NONE" else _decoded(event.queue),
        dept=dept or None,
        case_no=case_no or None,
        closed=closed == "1",
        lang=lang or "zh",
        at=event.at,
    )


def _seen(event: _Event, number: str | None) -> CallFacts:
    """What Asterisk says of a call that left its queue."""
    return CallFacts(
        call_key=event.call_key,
        number=number or None,
        agent=normalise_agent(event.agent),
        queue=event.queue,
        dept=None,
        case_no=None,
        closed=False,
        lang="zh",
        at=event.at,
    )


def _decoded(value: str) -> str:
    """A percent-encoded value, read as in a request (ivr/request.py): UTF-8, else GB 18030."""
    raw = unquote_to_bytes(value.encode("utf-8", "surrogateescape"))
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


@dataclass(slots=True)
class Imported:
    """What became of a reading. `invited`: calls for which an SMS invitation waits now."""

    handed_in: int = 0
    invited: int = 0
    failed: list[BadLine] = field(default_factory=list)


def hand_in(intake: Intake, calls: Iterable[QueueCall]) -> Imported:
    """Stores the calls through the intake; blocks until all are committed or have failed."""
    imported = Imported()
    waiting: list[tuple[QueueCall, Future[bool]]] = []

    def settle() -> None:
        for call, future in waiting:
            try:
                imported.invited += future.result()
                imported.handed_in += 1
            except StoreError as error:
                imported.failed.append(BadLine(call.line, f"the call could not be stored: {error}"))
        waiting.clear()

    for call in calls:
        end = intake.end_call(call.facts, CallOutcome.NOT_OFFERED, source=SOURCE)
        waiting.append((call, end))
        if len(waiting) >= _AT_ONCE:
            settle()
    settle()
    return imported
