"""What the audit and the push have stored in English and in codes, told in the catalogue's words. Pure.

Rules kept here:

* A text that is none of those known here, perhaps of another version, is told as it is, with numbers masked.
* Of what people typed (a reason, a note, a name) nothing is changed: it was masked when it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from console.auditing import Action
from console.masking import mask_words
from console.pages.catalogue import Catalogue
from models.push_faults import read_fault
from models.terms import AuditAction

__all__ = ["told_detail", "told_fault"]


_AND, _CLAUSE = "、", "，"


def _of(what: str, words: str) -> str:
    return f"{what}：{words}"


def told_fault(texts: Catalogue, stored: str | None) -> str:
    """Why something has not reached the centre."""
    if not stored:
        return ""
    found = read_fault(stored)
    if found is None:
        return mask_words(stored) or ""
    fault, places = found
    return mask_words(texts(f"push_fault.{fault.name.lower()}", **places)) or ""


def told_detail(texts: Catalogue, action: str, detail: str | None) -> str:
    """The last column of a row of the audit."""
    if not detail:
        return ""
    teller = _TELLERS.get(action)
    told = teller(texts, detail) if teller is not None else None
    return told if told is not None else mask_words(detail) or ""


_Teller = Callable[[Catalogue, str], str | None]


def _matched(pattern: str, tell: Callable[[Catalogue, Mapping[str, str]], str | None]) -> _Teller:
    compiled = re.compile(pattern, re.DOTALL)

    def teller(texts: Catalogue, detail: str) -> str | None:
        found = compiled.fullmatch(detail)
        return tell(texts, found.groupdict()) if found is not None else None

    return teller


# ── people and tokens ─────────────────────────────────────────────────────────────────────────────────────────────────


def _user(texts: Catalogue, found: Mapping[str, str]) -> str:
    return _CLAUSE.join([_of(found["name"], texts.of("role", found["role"])), *_narrowed(texts, found["narrowed"])])


def _token(texts: Catalogue, found: Mapping[str, str]) -> str:
    return _CLAUSE.join([_of(found["name"], texts.of("scope", found["scope"])), *_narrowed(texts, found["narrowed"])])


def _board(texts: Catalogue, found: Mapping[str, str]) -> str:
    return _CLAUSE.join([found["name"], *_narrowed(texts, found["narrowed"])])


def _narrowed(texts: Catalogue, plain: str) -> list[str]:
    """The departments and areas that somebody is bound to (console/viewer.py, `told_codes`)."""
    told = []
    narrowed = [part.partition("=") for part in plain.split()]
    if depts := [code for kind, _, code in narrowed if kind == "dept"]:
        told.append(texts("told.user_depts", codes=_AND.join(depts)))
    if areas := [code for kind, _, code in narrowed if kind == "area"]:
        told.append(texts("told.user_areas", codes=_AND.join(areas)))
    return told


def _revealed(texts: Catalogue, found: Mapping[str, str | None]) -> str:
    kind, reason = texts.of("numbered", found["kind"] or ""), found["reason"]
    return _of(kind, reason) if reason else kind  # the reason goes with the citizen's words


# ── work ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _work(texts: Catalogue, found: Mapping[str, str]) -> str:
    return texts.of("work_kind", found["kind"])


def _assigned(texts: Catalogue, found: Mapping[str, str]) -> str:
    queue, outcome = texts.of("queue", found["queue"]), texts.of("reply_outcome", found["outcome"])
    return _of(queue, outcome)


def _asked(texts: Catalogue, found: Mapping[str, str]) -> str:
    return texts("told.queue_asked", queue=texts.of("queue", found["queue"]), id=found["id"])


def _dismissed(texts: Catalogue, found: Mapping[str, str | None]) -> str:
    how = texts.of("handled_as", found["how"])
    queue = found["queue"]
    return _of(texts.of("queue", queue), how) if queue else how


# ── exports ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_FIELD = re.compile(r"(?:^|(?<= ))(\w+)=")
_VALUE_TABLES = {"channel": "channel", "origin": "origin", "kind": "kind", "satisfaction": "level"}


def _form(texts: Catalogue, found: Mapping[str, str]) -> str:
    numbers = texts("told.export_full") if found["numbers"] == "full" else texts("told.export_masked")
    return _CLAUSE.join((texts.of("export_form", found["form"]), numbers))


def _exported(texts: Catalogue, found: Mapping[str, str | None]) -> str:
    told = [_form(texts, {name: value or "" for name, value in found.items()})]
    parts = (found["more"] or "").strip(" ·").split(" · ", 1)
    told += _filters(texts, parts[0])
    told += parts[1:]
    return _CLAUSE.join(told)


def _filters(texts: Catalogue, plain: str) -> list[str]:
    """`from=2026-11-01 to=2026-11-30`; what is none is a reason that somebody gave."""
    names = list(_FIELD.finditer(plain))
    if not names or names[0].start() != 0:
        return [plain] if plain else []
    ends = [name.start() - 1 for name in names[1:]] + [len(plain)]
    told = []
    for name, end in zip(names, ends, strict=True):
        value = plain[name.end() : end]
        if name[1] == "sort":
            continue
        if table := _VALUE_TABLES.get(name[1]):
            value = _AND.join(texts.of(table, one) for one in value.split(","))
        told.append(f"{texts.of('filter', name[1])} {value}")
    return told


def _export_ended(texts: Catalogue, found: Mapping[str, str | None]) -> str:
    told = [_form(texts, {name: value or "" for name, value in found.items()})]
    if found["rows"] is not None:
        told.append(texts("told.export_rows", rows=found["rows"]))
        if found["limit"] == "rows":
            told.append(texts("told.export_limit_rows"))
        elif found["limit"] == "time":
            told.append(texts("told.export_limit_time"))
    elif found["how"] == "busy":
        told.append(texts("told.export_busy"))
    elif found["how"] == "failed":
        told.append(texts("told.export_failed"))
    else:
        told.append(texts("told.export_broken"))
    return _CLAUSE.join(told)


# ── what machines did ─────────────────────────────────────────────────────────────────────────────────────────────────


def _evaluation(texts: Catalogue, detail: str) -> str | None:
    found = _object(detail)
    return texts("told.evaluation", id=found["evaluation"]) if found is not None and "evaluation" in found else None


def _forgotten(texts: Catalogue, detail: str) -> str | None:
    found = _object(detail)
    try:
        return texts("told.forgotten", **found) if found is not None else None
    except KeyError:
        return None


def _object(detail: str) -> dict[str, Any] | None:
    try:
        found = json.loads(detail)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _stored(texts: Catalogue, detail: str) -> str | None:
    match detail:
        case "case already rated":
            return texts("told.case_rated")
        case "too late for the case":
            return texts("told.case_too_late")
        case "case withdrawn":
            return texts("told.case_withdrawn")
        case "late":
            return texts("told.late")
    return None


def _posted(texts: Catalogue, detail: str) -> str:
    return texts("told.not_asked", why=texts.of("why", detail))


def _patched(texts: Catalogue, detail: str) -> str:
    fields = _AND.join(texts.of("case_field", name) for name in detail.split(", "))
    return texts("told.changed", fields=fields)


def _centre_word(texts: Catalogue, found: Mapping[str, str | None]) -> str | None:
    told = []
    if found["adoption"]:
        told.append(texts("told.adoption", word=texts.of("adoption", found["adoption"])))
    if found["follow_up"]:
        told.append(texts("told.follow_up", word=texts.of("follow_up", found["follow_up"])))
    return _CLAUSE.join(told) or None


def _jumped(texts: Catalogue, found: Mapping[str, str]) -> str:
    if found["how"] == "ahead":
        return texts("told.jumped", seconds=found["seconds"])
    return texts("told.unseen", seconds=found["seconds"])


_MESSAGE = _matched(r"message (?P<id>\w+)", lambda texts, found: texts("told.message", id=found["id"]))
_WORK = _matched(r"(?P<kind>\w+)", _work)
_DISMISSED = _matched(r"(?:(?P<queue>\w+) )?(?P<how>\w+)", _dismissed)
_COUNTS = r"(?P<added>\d+) added, (?P<changed>\d+) changed, (?P<removed>\d+)"
_FORM = r"(?P<form>\w+) (?P<numbers>masked|full)"

_NARROWED = r"(?P<narrowed>(?: (?:dept|area)=\S+)*)"

_AS_IT_IS = (
    *(Action.LOGGED_IN, Action.LOGIN_FAILED, Action.USER_DISABLED, Action.USER_ENABLED, Action.PASSWORD_SET),
    *(Action.TOKEN_REVOKED, Action.BOARD_REVOKED),
)
"""An address or a name of ours, which may have as many digits as a number."""

_TELLERS: dict[str, _Teller] = {
    **dict.fromkeys(_AS_IT_IS, lambda _texts, detail: detail),
    Action.USER_ADDED: _matched(rf"(?P<name>[^:]+): (?P<role>\w+){_NARROWED}", _user),
    Action.TOKEN_ADDED: _matched(rf"(?P<name>[^:]+): (?P<scope>\w+){_NARROWED}", _token),
    Action.BOARD_ADDED: _matched(rf"(?P<name>\S+){_NARROWED}", _board),
    Action.NUMBER_REVEALED: _matched(r"(?P<kind>\w+)(?: · (?P<reason>.+))?", _revealed),
    Action.WORK_TAKEN: _WORK,
    Action.WORK_RELEASED: _WORK,
    Action.REPLY_ASSIGNED: _matched(r"(?P<queue>\w+) (?P<outcome>\w+)", _assigned),
    Action.REPLY_ASKED: _matched(r"(?P<queue>\w+) (?P<id>\w+)", _asked),
    Action.REPLY_DISMISSED: _DISMISSED,
    Action.FAILURE_SEEN: _DISMISSED,
    Action.LETTER_RETRIED: _evaluation,
    Action.EXPORTED: _matched(rf"{_FORM}(?P<more>.*)", _exported),
    Action.EXPORT_ENDED: _matched(
        rf"{_FORM} (?:(?P<rows>\d+) rows(?:, limit of (?P<limit>\w+))?|(?P<how>busy|failed|broken off))", _export_ended
    ),
    Action.DIRECTORY_IMPORTED: _matched(rf"{_COUNTS} removed", lambda texts, found: texts("told.directory", **found)),
    AuditAction.RATING_STORED: _stored,
    AuditAction.CASE_POSTED: _posted,
    AuditAction.CASE_COMPLETED: _posted,
    AuditAction.CASE_PATCHED: _patched,
    AuditAction.OPT_OUT_STORED: _MESSAGE,
    AuditAction.OPT_OUT_ENDED: _MESSAGE,
    AuditAction.OPT_OUT_LIFTED: _matched("carrier", lambda texts, _found: texts("told.carrier")),
    AuditAction.PUSH_PUT_BACK: _evaluation,
    AuditAction.CENTRE_WORD: _matched(
        r"(?:adoption (?P<adoption>\w+))? ?(?:follow-up (?P<follow_up>\w+))?", _centre_word
    ),
    AuditAction.CALENDAR_IMPORTED: _matched(
        rf"version (?P<version>\d+): {_COUNTS} taken back; from (?P<since>\S+) on",
        lambda texts, found: texts("told.calendar", **found),
    ),
    AuditAction.CLOCK_JUMPED: _matched(r"(?P<seconds>\d+) s (?P<how>ahead|unseen); defaults are paused", _jumped),
    AuditAction.KEY_ROTATED: _matched(
        r"(?P<rows>\d+) rows now under key (?P<key>\d+)", lambda texts, found: texts("told.rotated", **found)
    ),
    AuditAction.PERSON_FORGOTTEN: _forgotten,
}
