"""Names as they come from Asterisk, made into the ones the record keeps."""

from __future__ import annotations

import hashlib
import re
from unicodedata import category

__all__ = [
    "CALL_KEY_LENGTH",
    "CASE_NO_LENGTH",
    "case_number",
    "clean",
    "normalise_agent",
    "project_no",
    "project_no_of_call",
]

CALL_KEY_LENGTH = 200
CASE_NO_LENGTH = 200
_PROJECT_NO_LENGTH = 50  # projectNo at the centre is an..50
_TECHNOLOGY = re.compile(r"^[A-Za-z][A-Za-z0-9_]*/")
_CHANNEL_SUFFIX = re.compile(r"-[0-9a-fA-F]{8}(;[12])?$")


def clean(text: str | None, length: int) -> str | None:
    """Text without control characters and lone surrogates, at most `length` characters; empty becomes None."""
    if not text:
        return None
    if len(text) <= length and text.isprintable() and text.isascii() and " " not in text:
        return text
    kept = "".join(character for character in text if character.isprintable())
    return kept.strip()[:length].strip() or None


def case_number(text: str | None) -> str | None:
    """A case number by which a call and a posted case find each other: any characters but controls, 200 at most."""
    if not text:
        return None
    if not text.isprintable():  # that says no to many signs which a number may hold, such as a wide space
        text = "".join(sign for sign in text if category(sign) not in {"Cc", "Cs", "Zl", "Zp"})
    return text.strip()[:CASE_NO_LENGTH].strip() or None


def normalise_agent(interface: str | None) -> str | None:
    """The agent number 工号 of an interface: `PJSIP/1001`, `Local/2001@agents/n`, `1001` → the number.

    Leading zeros are kept: agent codes are strings.
    """
    text = clean(interface, 200)
    if text is None:
        return None
    text = _CHANNEL_SUFFIX.sub("", _TECHNOLOGY.sub("", text))
    return text.split("@", 1)[0].split("/", 1)[0].strip()[:64] or None


def project_no(text: str) -> str:
    """`projectNo` at the centre, at most 50 characters: longer ones become a hash, always the same."""
    if len(text) <= _PROJECT_NO_LENGTH:
        return text
    return text[0] + hashlib.sha256(text.encode()).hexdigest()[: _PROJECT_NO_LENGTH - 1]


def project_no_of_call(call_key: str) -> str:
    """`projectNo` of a call: `H` + call key."""
    return project_no(f"H{call_key}")
