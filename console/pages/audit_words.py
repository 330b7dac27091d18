"""What stands beside an act in the audit, in the words of the page: the record keeps codes of ours, in English.

Rules kept here: only what has exactly the form that our own code writes is put into words; whatever else stands there,
and whatever a person typed, is shown as it is.
"""

from __future__ import annotations

import re

from console.auditing import Action
from console.pages.catalogue import Catalogue

__all__ = ["audit_words"]

_NAMED = re.compile(r"(?P<name>[^:]+): (?P<code>[a-z]+)(?P<more>(?: (?:dept|area)=\S+)*)")
_IMPORTED = re.compile(r"(?P<added>\d+) added, (?P<changed>\d+) changed, (?P<removed>\d+) removed")
_EXPORT = re.compile(r"(?P<form>csv|xlsx) (?P<how>masked|full)(?P<more>.*)", re.S)
_ROWS = re.compile(r" (?P<rows>\d+) rows(?:, limit of (?P<limit>rows|time))?")
_ENDED = {" busy": "busy", " failed": "failed", " broken off": "broken_off"}


def audit_words(texts: Catalogue, action: str, detail: str | None) -> str:
    """The words; empty: there is nothing beside the act."""
    if not detail:
        return ""
    table = {Action.USER_ADDED.value: "role", Action.TOKEN_ADDED.value: "scope"}.get(action)
    if table is not None and (found := _NAMED.fullmatch(detail)) is not None:
        return _named(texts, table, found)
    if action == Action.DIRECTORY_IMPORTED.value and (found := _IMPORTED.fullmatch(detail)) is not None:
        return texts("told.imported", **found.groupdict())
    if action in (Action.EXPORTED.value, Action.EXPORT_ENDED.value):
        found = _EXPORT.fullmatch(detail)
        return detail if found is None else _export(texts, action, found)
    return detail


def _named(texts: Catalogue, table: str, found: re.Match[str]) -> str:
    told = f"{found['name']}：{texts.of(table, found['code'])}"
    for code in found["more"].split():
        kind, _, value = code.partition("=")
        told += f"，{texts.of('told_scope', kind)} {value}"
    return told


def _export(texts: Catalogue, action: str, found: re.Match[str]) -> str:
    told, more = f"{found['form'].upper()} {texts.of('told_numbers', found['how'])}", found["more"]
    if action == Action.EXPORTED.value:
        return told + more
    if more in _ENDED:
        return f"{told}，{texts.of('told_ended', _ENDED[more])}"
    ended = _ROWS.fullmatch(more)
    if ended is None:
        return told + more
    rows = texts("told.rows", rows=ended["rows"])
    limit = f"，{texts.of('told_limit', ended['limit'])}" if ended["limit"] else ""
    return f"{told}，{rows}{limit}"
