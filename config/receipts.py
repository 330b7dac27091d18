"""The table of receipt codes: `receipts.toml` and a site's own rules before it.

Rules kept here:

* One code, one class: a code that stands in two rules of one file is an error, and so is a rule without a reason.
* Codes are compared in one form (`canonical`), because gateways write one code in several ways.
* An exact code goes before any pattern, a site's file before the shipped one, an earlier rule before a later one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

from config.errors import ConfigurationError

__all__ = ["ReceiptClass", "ReceiptRule", "ReceiptTable", "ReceiptTableInvalid", "canonical", "load_receipt_table"]

SHIPPED = Path(__file__).with_name("receipts.toml")


class ReceiptClass(StrEnum):
    """What a receipt means for the message and for the number; `receipts.toml` says what the server does."""

    DELIVERED = "delivered"
    LATER = "later"
    NO_ROUTE = "no_route"
    DEAD_NUMBER = "dead_number"
    BLACKLISTED = "blacklisted"
    BLOCKED = "blocked"
    FAILED = "failed"
    INTERMEDIATE = "intermediate"
    UNKNOWN = "unknown"


class ReceiptTableInvalid(ConfigurationError):
    """The table of receipt codes cannot be used. `errors`: the file's key and a sentence, of each."""


_SPELLED = re.compile(r"([A-Z]{2,8})[:_\- ]?0*(\d{1,9})")
_FAMILIES = {"CMPPERR": "CMPP", "SGIPERR": "SGIP", "SMGPERR": "SMGP"}


def canonical(code: str) -> str:
    """One form of a code: `mk0012` and `MK_12` are `MK:12`; what has another form is only in capitals."""
    code = code.strip().upper().replace("：", ":")
    match = _SPELLED.fullmatch(code)
    if match is None:
        return code
    return f"{_FAMILIES.get(match[1], match[1])}:{match[2]}"


@dataclass(frozen=True, slots=True)
class ReceiptRule:
    """`reason`: a few Chinese words for supervisors."""

    class_: ReceiptClass
    reason: str


class ReceiptTable:
    """Codes and what they mean."""

    def __init__(self, exact: dict[str, ReceiptRule], patterns: Sequence[tuple[str, ReceiptRule]]) -> None:
        """`exact`: by canonical code; `patterns`: canonical codes with `*`, in their order."""
        self._exact = exact
        self._patterns = tuple((re.compile(translate(pattern)), rule) for pattern, rule in patterns)

    def find(self, code: str) -> ReceiptRule | None:
        """The rule for a code as it came; None: nobody has said what it means."""
        code = canonical(code)
        rule = self._exact.get(code)
        if rule is not None:
            return rule
        return next((rule for pattern, rule in self._patterns if pattern.fullmatch(code)), None)

    def __len__(self) -> int:
        return len(self._exact) + len(self._patterns)


@cache
def load_receipt_table(extra: Path | None = None) -> ReceiptTable:
    """The shipped table, with a site's rules (`extra`) before it.

    Raises:
        ReceiptTableInvalid: with every problem, each led by its key.
    """
    exact: dict[str, ReceiptRule] = {}
    patterns: list[tuple[str, ReceiptRule]] = []
    for path in (SHIPPED,) if extra is None else (extra, SHIPPED):
        own_exact, own_patterns = _read(path)
        for code, rule in own_exact.items():
            # A site's pattern, too, goes before the shipped file's exact codes.
            if not any(re.fullmatch(translate(pattern), code) for pattern, _ in patterns):
                exact.setdefault(code, rule)
        patterns += own_patterns
    return ReceiptTable(exact, patterns)


def _read(path: Path) -> tuple[dict[str, ReceiptRule], list[tuple[str, ReceiptRule]]]:
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ReceiptTableInvalid([("sms.receipt_table", f"{path} cannot be read: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReceiptTableInvalid([("sms.receipt_table", f"{path} is no TOML in UTF-8: {error}")]) from error
    errors = [(key, "unknown key; the file holds [[rule]] tables only") for key in document if key != "rule"]
    rules = document.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ReceiptTableInvalid([("rule", "must be [[rule]] tables")])
    exact: dict[str, ReceiptRule] = {}
    patterns: list[tuple[str, ReceiptRule]] = []
    seen: dict[str, int] = {}
    for place, table in enumerate(rules):
        rule, codes = _rule(table, f"rule[{place}]", errors)
        for code in codes:
            form = canonical(code)
            if form in seen:
                errors.append((f"rule[{place}].codes", f"{code} also stands in rule[{seen[form]}]; leave one out"))
                continue
            seen[form] = place
            if "*" in form:
                patterns.append((form, rule))
            else:
                exact[form] = rule
    if errors:
        raise ReceiptTableInvalid(errors)
    return exact, patterns


def _rule(table: dict[str, Any], key: str, errors: list[tuple[str, str]]) -> tuple[ReceiptRule, list[str]]:
    errors += [
        (f"{key}.{name}", "unknown key; known are class, reason and codes")
        for name in table
        if name not in {"class", "reason", "codes"}
    ]
    word, reason, codes = table.get("class"), table.get("reason"), table.get("codes")
    kind = next((each for each in ReceiptClass if each == word), None)
    if kind is None:
        kind = ReceiptClass.UNKNOWN
        errors.append((f"{key}.class", f"must be one of {', '.join(ReceiptClass)}"))
    if not isinstance(reason, str) or not reason.strip() or len(reason) > 100:
        errors.append((f"{key}.reason", "must be a few words that supervisors read, 100 characters at most"))
        reason = ""
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) and code.strip() for code in codes):
        errors.append((f"{key}.codes", 'must be a list of codes: ["MK:0001", "NP:*"]'))
        codes = []
    return ReceiptRule(kind, reason), codes
