"""Words of people, with whatever may be a telephone number masked, however it is written.

Rules kept here:

* A number is seven digits or more with at most four signs between one digit and the next that are neither letters nor
  digits: blanks, dashes, dots, brackets of any script, or nothing. Digits and signs are compared after NFKC, so that
  those of full width, in circles or of another script are the same; seven Chinese digits are a number too.
* A mobile number written in one is masked by itself; what stands beside it is judged by itself.
* What is certainly none stays: a date, with a time of day or without, and a case number that is a date and a serial
  number in one (`20261118000123`). Beside a date the rest is judged by itself, unless it is too short to be known.
* Masking what is masked changes nothing. In doubt it is masked: the page behind the reason (console/reveal.py) has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from models.privacy import mask

__all__ = ["bytes_hold_number", "holds_number", "mask_words"]

_FEWEST = 7
_BETWEEN = r"[\W_]{0,4}"
_SPELT = "[〇零一二三四五六七八九幺]"
_MASKED = r"\d{3}\*{4,}\d{4}(?!\d)"
_DIGIT = rf"(?!{_MASKED})\d"
_RUN = re.compile(
    rf"(?<!\d)(?P<masked>{_MASKED})"
    rf"|(?P<run>{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{{_FEWEST - 1},}})"
    rf"|(?P<spelt>{_SPELT}(?:{_BETWEEN}{_SPELT}){{{_FEWEST - 1},}})"
)
_DATE = r"20\d\d(?P<between>[-/.])(?:0?[1-9]|1[0-2])(?P=between)(?:0?[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?"
_HOURS = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d\W(?:[01]\d|2[0-3]):[0-5]\d")
_SERIAL = re.compile(r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{4,6}")
_KNOWN = re.compile(rf"(?<!\d)(?:(?P<mobile>1[3-9]\d{{9}})(?!\d)|{_DATE}(?!\d)(?:\s{{1,2}}{_CLOCK}(?!\d))?)")
_COUNTRY = re.compile(r"(?:00)?86(?=1\d{10}$)")


def mask_words(words: str | None) -> str | None:
    """Words in which whatever may be a telephone number is masked."""
    if words is None:
        return None
    folded, origin = _folded(words)
    told: list[str] = []
    done = 0
    for start, end in _numbers(folded):
        first, last = origin[start], origin[end - 1] + 1
        told += (words[done:first], mask(_COUNTRY.sub("", _digits(folded[start:end]))))
        done = last
    return "".join(told) + words[done:]


def holds_number(words: str) -> bool:
    """Whether `mask_words` masks something."""
    return mask_words(words) != words


def bytes_hold_number(body: bytes) -> bool:
    """Whether somebody could read a number out of bytes of an unknown coding, damaged ones too."""
    codings = [(codec, body) for codec in ("gb18030", "utf-8", "big5", "latin-1")]
    codings += [(codec, part) for codec in ("utf-16-be", "utf-16-le") for part in (body, body[1:])]
    return any(holds_number(part.decode(codec, "replace")) for codec, part in codings)


def _folded(words: str) -> tuple[str, list[int]]:
    """The words after NFKC sign by sign, and for each sign the place that it comes from."""
    if words.isascii():
        return words, list(range(len(words)))
    signs: list[str] = []
    origin: list[int] = []
    for place, sign in enumerate(words):
        folded = sign if sign.isascii() else unicodedata.normalize("NFKC", sign)
        # A sign that falls apart into signs stays one, so that it counts as one between digits.
        for one in folded if any(part.isalnum() for part in folded) else sign:
            signs.append(str(unicodedata.decimal(one)) if one.isdecimal() else one)
            origin.append(place)
    return "".join(signs), origin


def _digits(run: str) -> str:
    spelt = run.translate(str.maketrans("〇零一二三四五六七八九幺", "001234567891"))
    return "".join(sign for sign in spelt if sign.isdigit())


def _numbers(folded: str) -> Iterator[tuple[int, int]]:
    """Where numbers begin and end."""
    for found in _RUN.finditer(folded):
        if found["run"] is not None:
            yield from _in_run(folded, *found.span("run"))
        elif found["spelt"] is not None:
            yield found.span("spelt")


def _in_run(folded: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of a run of digits is to be masked."""
    at = start
    for known in _KNOWN.finditer(folded, start, end):
        before = sum(sign.isdigit() for sign in folded[at : known.start()])
        # A few digits before what looks like a date may be the beginning of a number: 138 2026-11-18.
        if known["mobile"] is None and 0 < before < _FEWEST:
            continue
        yield from _between(folded, at, known.start())
        if known["mobile"] is not None:
            yield known.span()
        at = known.end()
    yield from _between(folded, at, end)


def _between(folded: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What stands between what is known, if it is long enough and not certainly something else."""
    places = [place for place in range(start, end) if folded[place].isdigit()]
    if len(places) < _FEWEST:
        return
    first, last = places[0], places[-1] + 1
    if not _HOURS.fullmatch(folded, first, last) and not _SERIAL.fullmatch(folded, first, last):
        yield first, last
