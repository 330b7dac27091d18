"""What a telephone number is: normalised form and kind, by the library `phonenumbers` (default region CN).

A number is kept whatever it is; its kind tells whether an SMS can reach it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType

__all__ = ["Number", "NumberKind", "normalise_number"]


class NumberKind(StrEnum):
    """What a number can do for us: only a mobile takes our SMS."""

    MOBILE = "mobile"
    LANDLINE = "landline"
    FOREIGN = "foreign"
    INTERNAL = "internal"
    SHORT = "short"
    INVALID = "invalid"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Number:
    """`value`: E.164 where it is a real number, else the digits as they came; None: anonymous."""

    kind: NumberKind
    value: str | None


ANONYMOUS = Number(NumberKind.ANONYMOUS, None)
_NO_NUMBER = frozenset(
    {"", "unknown", "anonymous", "private", "restricted", "unavailable", "withheld", "asterisk", "null", "none", "0"}
)
_PUNCTUATION = re.compile(r"[\s\-().·/]+")
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.PAGER}
_LONGEST = 32


def normalise_number(raw: str | None) -> Number:
    """Reads a number as Asterisk, a carrier or a case system writes it: `138…`, `+86…`, `0086…`, `013…`, `0930-…`.

    Never raises: what is no number at all is INVALID and kept as its digits (at most 32 characters).
    """
    text = (raw or "").strip()
    if text.isascii() and text.isdigit() and 4 < len(text) <= _LONGEST:  # what a PBX sends, nearly always
        return _normalise(text)
    if text.lower() in _NO_NUMBER:
        return ANONYMOUS
    # Full-width digits are digits; anything written between the digits is not.
    text = _PUNCTUATION.sub("", "".join(_digit(character) for character in text[:_LONGEST]))
    return _normalise(text)


def _digit(character: str) -> str:
    return str(int(character)) if character.isdecimal() else "+" if character == "＋" else character


_TELLING = 5
"""The digits by which the library tells a Chinese mobile number: the rest may be anything (a test holds it to that)."""


@lru_cache(maxsize=4096)
def _is_mobile(beginning: str) -> bool:
    """Whether eleven digits that begin so are a mobile number. Asked once a beginning, for the answer costs 30 µs."""
    try:
        number = phonenumbers.parse(beginning + "0" * (11 - _TELLING), "CN")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(number) in _MOBILE and number.country_code == 86


@lru_cache(maxsize=2048)
def _normalise(text: str) -> Number:
    plus = text.startswith("+")
    digits = text[1:] if plus else text
    if not digits.isascii() or not digits.isdigit():
        kept = "".join(character for character in digits if character.isascii() and character.isdigit())
        return Number(NumberKind.INVALID, kept) if kept else ANONYMOUS
    if not plus:
        if digits.startswith("00") and len(digits) > 10:
            digits, plus = digits[2:], True
        elif len(digits) == 12 and digits.startswith("01") and digits[2] in "3456789":
            digits = digits[1:]  # a trunk prefix before a mobile number of another city
        elif len(digits) == 13 and digits.startswith("861"):
            plus = True
        elif len(digits) <= 4:
            return Number(NumberKind.INTERNAL, digits)
        elif len(digits) <= 6 and digits.startswith(("1", "9")):
            return Number(NumberKind.SHORT, digits)
    national = digits[2:] if plus and digits.startswith("86") else "" if plus else digits
    if len(national) == 11 and national.startswith("1") and _is_mobile(national[:_TELLING]):
        return Number(NumberKind.MOBILE, f"+86{national}")
    try:
        parsed = phonenumbers.parse(f"+{digits}" if plus else digits, "CN")
    except phonenumbers.NumberParseException:
        return Number(NumberKind.INVALID, digits)
    kind = phonenumbers.number_type(parsed)
    if kind == PhoneNumberType.UNKNOWN:  # what is_valid_number() says, without its second look at the metadata
        return Number(NumberKind.INVALID, f"+{digits}" if plus else digits)
    value = f"+{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
    if parsed.country_code != 86:
        return Number(NumberKind.FOREIGN, value)
    return Number(NumberKind.MOBILE if kind in _MOBILE else NumberKind.LANDLINE, value)
