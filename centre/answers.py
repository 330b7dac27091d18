"""What the centre's answer to a batch means: a decision, made without I/O.

The table (contract, Push to the centre):

| Answer | Decision |
|---|---|
| 2xx with a list of results | `Settle`: each member's verdict; who has none goes to a new batch |
| 2xx with anything else | `Retry`: a broken answer |
| 401, 403 | `Pause` |
| 408, 5xx, 1xx, 3xx, no answer | `Retry`; 503's Retry-After is kept |
| 429 | `Retry` that holds every batch until Retry-After |
| any other 4xx, several members | `Split` |
| any other 4xx, one member | `Settle`: this one is refused, or held already where the text says so |

A member's verdict counts only where the centre named it and did not contradict itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from config.profile import AnswerRule
from models.push_faults import PushFault
from models.terms import Verdict

__all__ = [
    "RETRY_AFTER_MOST",
    "Answer",
    "Decision",
    "Pause",
    "Retry",
    "Settle",
    "Split",
    "Word",
    "ids_held",
    "plain_id",
    "read_answer",
    "retry_after",
]

RETRY_AFTER_MOST = 3600.0
"""Seconds. A centre that asks for more is asked again hourly: the notice wants the data in real time (实时全量上报)."""

_REASON_MOST = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `retry_after` and `date` are those headers' texts."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """The centre's word on one evaluation."""

    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """The batch is answered. Members that are not in `words` go to a new batch."""

    words: Mapping[str, Word]
    strangers: int = 0
    """Results for evaluations that were not in the batch."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The same bytes again later. `error` names the cause without a word of the answer's text.

    Attributes:
        after: seconds that the centre asked for.
        everyone: it asked so for all requests, not for this batch.
    """

    error: str
    after: float | None = None
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Refused as a whole, with several members: two halves as batches of their own."""

    error: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The centre does not know us: every push waits, and somebody has to be told."""

    error: str


_ACCEPTED = Word(Verdict.ACCEPTED)

Decision = Settle | Retry | Split | Pause


@dataclass(slots=True)
class _Findings:
    words: dict[str, Word] = field(default_factory=dict)
    contradicted: set[str] = field(default_factory=set)
    strangers: int = 0


def read_answer(answer: Answer, members: Sequence[str], rule: AnswerRule, now: datetime) -> Decision:
    """The decision for a batch of these evaluation ids. `now` serves a Retry-After date where no Date came."""
    status = answer.status
    if 200 <= status < 300:
        return _read_results(answer.body, members, rule)
    if status in (401, 403):
        return Pause(PushFault.NO_ACCESS.told(status=status))
    if status == 429:
        return Retry(PushFault.ASKS_FOR_LESS.told(status=status), retry_after(answer, now), everyone=True)
    if status == 408 or status >= 500:
        return Retry(PushFault.HTTP.told(status=status), retry_after(answer, now))
    if 400 <= status < 500:
        if len(members) > 1:
            return Split(PushFault.HTTP.told(status=status))
        return Settle({members[0]: _refusal(answer, rule)})
    return Retry(PushFault.NO_CENTRE.told(status=status))


def _refusal(answer: Answer, rule: AnswerRule) -> Word:
    """The word on a record that was refused alone, by a 4xx."""
    text = _clean(answer.body.decode("utf-8", "replace"))
    if any(mark in text for mark in rule.duplicate_reasons):
        return Word(Verdict.DUPLICATE)
    fault = PushFault.RECORD_REFUSED if text else PushFault.HTTP
    return Word(Verdict.REJECTED, fault.told(status=answer.status, words=text))


def _read_results(body: bytes, members: Sequence[str], rule: AnswerRule) -> Settle | Retry:
    content = _json(body)
    results = content.get(rule.list) if isinstance(content, dict) else None
    if not isinstance(results, list):
        return Retry(PushFault.NO_RESULTS.told())
    exactly = frozenset(members)
    loosely: dict[str, str] | None = None
    verdicts = _verdicts(rule)
    found = _Findings()
    for result in results:
        if not isinstance(result, dict):
            continue
        member = result.get(rule.id)
        if not isinstance(member, str) or member not in exactly:
            loosely = loosely or {plain_id(known): known for known in members}
            member = loosely.get(plain_id(member))
            if member is None:
                found.strangers += 1
                continue
        status = result.get(rule.status)
        verdict = verdicts.get(status) if isinstance(status, str) else None
        if verdict is None and (verdict := verdicts.get(str(status).strip().casefold())) is None:
            continue
        if verdict is Verdict.ACCEPTED and member not in found.words:
            found.words[member] = _ACCEPTED
        else:
            _note(found, member, verdict, result.get(rule.reason), rule)
    for member in found.contradicted:
        found.words.pop(member, None)
    return Settle(found.words, found.strangers)


def _note(found: _Findings, member: str, verdict: Verdict, reason: Any, rule: AnswerRule) -> None:
    text = _clean(reason) if isinstance(reason, str) else None
    if verdict is Verdict.REJECTED and text and any(mark in text for mark in rule.duplicate_reasons):
        verdict = Verdict.DUPLICATE
    said = found.words.get(member)
    if said is not None and (said.verdict is Verdict.REJECTED) != (verdict is Verdict.REJECTED):
        found.contradicted.add(member)
    found.words[member] = Word(verdict, (text or PushFault.NO_REASON.told()) if verdict is Verdict.REJECTED else None)


def _verdicts(rule: AnswerRule) -> dict[str, Verdict]:
    return {
        word.casefold(): verdict
        for verdict, words in (
            (Verdict.ACCEPTED, rule.accepted),
            (Verdict.DUPLICATE, rule.duplicate),
            (Verdict.REJECTED, rule.rejected),
        )
        for word in words
    }


def plain_id(value: Any) -> str:
    """An id as we write it, though a centre may have put hyphens or capitals into it."""
    return str(value).strip().replace("-", "").lower()


def ids_held(body: bytes, list_name: str, id_name: str) -> frozenset[str] | None:
    """The ids in a reconciliation's answer; None: it cannot be read.

    A bare list is taken too, and the only list of an object where the profile's name is not in it; its entries may be
    ids or objects with one.
    """
    content = _json(body)
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = content.get(list_name, lists[0] if len(lists) == 1 else None)
    if not isinstance(content, list):
        return None
    ids: set[str] = set()
    for entry in content:
        value = entry.get(id_name) if isinstance(entry, dict) else entry
        if not isinstance(value, str):
            return None
        ids.add(plain_id(value))
    return frozenset(ids)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Seconds to wait by Retry-After (RFC 9110 10.2.3: seconds or a date), 0 to RETRY_AFTER_MOST; None: not asked for.

    A date is held against the answer's own Date, so that two clocks that differ do no harm.
    """
    text = (answer.retry_after or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        when = _date(text)
        if when is None:
            return None
        seconds = (when - (_date(answer.date or "") or now)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MOST)


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _clean(text: str) -> str:
    """The centre's text as one line that can be stored and shown."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_REASON_MOST]
