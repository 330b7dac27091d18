"""The texts of the SMS channel: `config/texts/<language>.toml`, a site's own files before them.

Rules kept here:

* A text names its fields in braces; a field that its kind does not have is an error with the text's key, and so is a
  missing field without which the text says nothing ({options} in an invitation).
* Invitations and the reminder say how to opt out; the reminder's text differs from every invitation's.
* zh has every text. Another language may leave out what it likes: zh fills it. A site's file changes only what it
  names.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from config.errors import ConfigurationError
from models.terms import Satisfaction

__all__ = ["FIELDS", "INVITATIONS", "Language", "TextKind", "Texts", "TextsInvalid", "load_texts", "template_fields"]

SHIPPED = Path(__file__).parent
FALLBACK = "zh"


class TextKind(StrEnum):
    """What an SMS of ours is for."""

    INVITE_CALL = "invite_call"
    INVITE_CASE = "invite_case"
    INVITE_BATCH = "invite_batch"
    REMINDER = "reminder"
    CLARIFICATION = "clarification"
    REASON = "reason"
    REASON_OPEN = "reason_open"
    """Asks for the reason where the level has none to choose from."""
    THANKS = "thanks"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    OPTED_IN_CARRIER = "opted_in_carrier"
    """恢复 from a number that the carrier blocks."""


INVITATIONS = (TextKind.INVITE_CALL, TextKind.INVITE_CASE, TextKind.INVITE_BATCH)
_MAY_BE_EMPTY = {TextKind.THANKS, TextKind.OPTED_OUT, TextKind.OPTED_IN, TextKind.OPTED_IN_CARRIER}
_OPT_OUT_WORDS = ("退订", "拒收")

FIELDS: Mapping[TextKind, frozenset[str]] = MappingProxyType(
    {
        TextKind.INVITE_CALL: frozenset({"hotline", "options", "date"}),
        TextKind.INVITE_CASE: frozenset({"hotline", "options", "date", "case_no"}),
        TextKind.INVITE_BATCH: frozenset({"hotline", "options", "date", "count"}),
        TextKind.REMINDER: frozenset({"hotline", "options", "date", "case_no"}),
        TextKind.CLARIFICATION: frozenset({"hotline", "options"}),
        TextKind.REASON: frozenset({"hotline", "level", "reasons"}),
        TextKind.REASON_OPEN: frozenset({"hotline", "level"}),
        TextKind.THANKS: frozenset({"hotline"}),
        TextKind.OPTED_OUT: frozenset({"hotline"}),
        TextKind.OPTED_IN: frozenset({"hotline"}),
        TextKind.OPTED_IN_CARRIER: frozenset({"hotline"}),
    }
)
"""The fields that a text may use."""
_NEEDED = ("options", "level", "reasons")
_FORMS = {
    "option": frozenset({"key", "level"}),
    "reason": frozenset({"letter", "reason"}),
    "between": frozenset[str](),
    "date": frozenset({"month", "day"}),
}
_LONGEST = 500


class TextsInvalid(ConfigurationError):
    """The texts cannot be used. `errors`: the file's name and key, and a sentence, of each."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language, zh filled in. `templates` holds every kind."""

    name: str
    templates: Mapping[TextKind, str]
    forms: Mapping[str, str]
    levels: Mapping[Satisfaction, str]
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Texts:
    """All languages that were asked for, zh among them. `unwritten`: those that nobody has written, so zh stands in."""

    languages: Mapping[str, Language]
    unwritten: tuple[str, ...] = ()

    def of(self, name: str) -> Language:
        """A language, or zh for one that nobody has written."""
        return self.languages.get(name) or self.languages[FALLBACK]


def template_fields(template: str) -> list[str]:
    """The fields a template names, in order.

    Raises:
        ValueError: with what is wrong with it.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("has a brace without its partner; write {{ or }} for a brace in the text") from None
    names = []
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{{{name}}} is no field; write a name alone in braces, and {{{{ for a brace")
        names.append(name)
    return names


def load_texts(languages: Sequence[str] = (FALLBACK,), directory: Path | None = None) -> Texts:
    """The texts of some languages.

    Args:
        languages: those that calls and cases may name (ivr.languages); one without a file is zh.
        directory: a site's own `<language>.toml` files, each going before the shipped file of its name.

    Raises:
        TextsInvalid: with every problem, each led by its file and key.
    """
    errors: list[tuple[str, str]] = []
    merged: dict[str, dict[str, dict[str, str]]] = {}
    unwritten: list[str] = []
    if directory is not None and not directory.is_dir():
        raise TextsInvalid([("sms.texts", f"{directory} is no folder; make it and put zh.toml into it")])
    for name in dict.fromkeys((FALLBACK, *languages)):
        files = [SHIPPED / f"{name}.toml"]
        if directory is not None:
            files.append(directory / f"{name}.toml")
        tables: dict[str, dict[str, str]] = {table: dict(merged.get(FALLBACK, {}).get(table, {})) for table in _TABLES}
        found = [file for file in files if file.is_file()]
        if not found:
            unwritten.append(name)
            continue
        for file in found:
            for table, entries in _read(file, errors).items():
                tables[table] |= entries
        merged[name] = tables
        errors += _differences(name, tables["texts"])
    if errors:
        raise TextsInvalid(list(dict.fromkeys(errors)))
    written = {name: _language(name, tables) for name, tables in merged.items()}
    return Texts(MappingProxyType(written), tuple(unwritten))


_TABLES = ("texts", "forms", "levels", "reasons")


def _language(name: str, tables: Mapping[str, Mapping[str, str]]) -> Language:
    return Language(
        name,
        MappingProxyType({kind: tables["texts"][kind] for kind in TextKind}),
        MappingProxyType(dict(tables["forms"])),
        MappingProxyType({level: tables["levels"][str(level.value)] for level in Satisfaction}),
        MappingProxyType(dict(tables["reasons"])),
    )


def _read(path: Path, errors: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        errors.append(("sms.texts", f"{path} cannot be read: {error.strerror}"))
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.append(("sms.texts", f"{path} is no TOML in UTF-8: {error}"))
        return {}
    result: dict[str, dict[str, str]] = {}
    for table, entries in document.items():
        where = f"{path.name}: {table}"
        if table not in _TABLES or not isinstance(entries, dict):
            errors.append((where, f"unknown; known are the tables {', '.join(_TABLES)}"))
            continue
        result[table] = {}
        for key, value in entries.items():
            if sentence := _problem(table, key, value):
                errors.append((f"{where}.{key}", sentence))
            else:
                result[table][key] = value
    return result


def _problem(table: str, key: str, value: Any) -> str | None:
    """What is wrong with one entry."""
    if not isinstance(value, str):
        return 'must be a text in quotes: "…"'
    if not value.replace("\n", "").isprintable():
        return "holds a control character; write plain text"
    if len(value) > _LONGEST:
        return f"must have at most {_LONGEST} characters"
    if table == "texts":
        return _text_problem(key, value)
    if table == "forms":
        if key not in _FORMS:
            return f"unknown form; known are {', '.join(_FORMS)}"
        return _field_problem(value, _FORMS[key], _FORMS[key])
    if table == "levels" and key not in {str(level.value) for level in Satisfaction}:
        return "no level; use 5 (非常满意) to 1 (非常不满意)"
    return None if value.strip() else "must not be empty"


def _text_problem(key: str, value: str) -> str | None:
    if key not in TextKind.__members__.values():
        return f"unknown text; known are {', '.join(TextKind)}"
    kind = TextKind(key)
    if not value.strip():
        return None if kind in _MAY_BE_EMPTY else "must not be empty"
    if "【" in value or "】" in value:
        return "holds 【 or 】, which mark the signature; it is put on by sms.signature"
    if problem := _field_problem(value, FIELDS[kind], {name for name in _NEEDED if name in FIELDS[kind]}):
        return problem
    if kind in (*INVITATIONS, TextKind.REMINDER) and not any(word in value for word in _OPT_OUT_WORDS):
        return "does not say how to opt out; add for instance 拒收请回复R"
    return None


def _field_problem(value: str, known: frozenset[str], needed: frozenset[str] | set[str]) -> str | None:
    try:
        names = template_fields(value)
    except ValueError as error:
        return str(error)
    if unknown := [name for name in names if name not in known]:
        return f"unknown field {{{unknown[0]}}}; known here are {', '.join(f'{{{name}}}' for name in sorted(known))}"
    if missing := sorted(set(needed) - set(names)):
        return f"lacks the field {{{missing[0]}}}"
    return None


def _differences(language: str, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    reminder = texts.get(TextKind.REMINDER)
    return [
        (f"{language}.toml: texts.reminder", f"is the text of {kind}; carriers drop repeats, write another")
        for kind in INVITATIONS
        if reminder is not None and texts.get(kind) == reminder
    ]
