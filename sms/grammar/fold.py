"""Rule R2: a text as the other rules see it, with the way back to what was written.

Rules kept here:

* Compatibility forms become plain ones (NFKC), capitals small, traditional characters simplified, digits in circles and
  on keycaps plain digits; what is invisible (joiners, variation selectors, control characters) falls out.
* Spaces between Chinese characters drop, and so do spaces between a digit and a word that measures (5 分钟).
* Every character knows where it stood in the source, so a comment is the citizen's own words, unfolded.
* One character at a time: the cost is linear, and folding twice is folding once.

Traditional characters: OpenCC's table `t2s`, asked once for each single character. Its phrases are left out: they would
make a character's reading hang on its neighbours and may change lengths, and what they add (which of two simplified
characters a word wants) changes none of the grammar's words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from opencc import OpenCC

from sms.grammar.source import read_toml

__all__ = ["HAN", "Folded", "fold"]

HAN = "\u3400-\u9fff\u3007\U00020000-\U000323af"
"""Chinese characters, for a character class of a regular expression."""

_SPACES_BETWEEN_HAN = re.compile(f"(?<=[{HAN}]) +(?=[{HAN}])")
_BREAKS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_KEYCAP = "\u20e3"
_LONGEST_FORM = 4
"""Characters that one may become, as ⑽ does; the few that would become a sentence (ﷺ) stay, lest texts swell."""
_REMEMBERED = 8192
"""Characters whose folded form is remembered; far more than a hotline's texts hold."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text. `origin[i]`: where in `source` the character `text[i]` comes from."""

    text: str
    origin: list[int]
    source: str

    def original(self, start: int, end: int) -> str:
        """What was written where the folded text has `start` to `end`."""
        return self.source[self.origin[start] : self.origin[end - 1] + 1] if start < end else ""


@cache
def _same() -> Mapping[str, str]:
    same: Mapping[str, str] = read_toml("characters")["same"]
    return same


@cache
def _simplified() -> Mapping[str, str]:
    """Each traditional character's simplified one, from OpenCC, followed to its end (薴 → 苧 → 苎)."""
    blocks = (range(0x3400, 0xA000), range(0xF900, 0xFB00), range(0x20000, 0x323B0))
    before = [chr(code) for block in blocks for code in block]
    after = OpenCC("t2s").convert("\n".join(before)).split("\n")
    table = {old: new for old, new in zip(before, after, strict=True) if old != new}
    return {old: table.get(new, new) for old, new in table.items()}


@cache
def _spaces_before_measure() -> re.Pattern[str]:
    units: str = read_toml("characters")["measures"]["units"]
    return re.compile(f"(?<=[0-9]) +(?=[{re.escape(units)}])")


@lru_cache(_REMEMBERED)
def _folded(character: str) -> str:
    """What one character becomes: none, one, or the several of a ligature such as ㊣ or ⒈."""
    character = _same().get(character, character)
    if character in _BREAKS:
        return "\n"
    form = unicodedata.normalize("NFKC", character).lower()
    if len(form) > _LONGEST_FORM:
        return character
    folded = []
    for plain in form:
        category = unicodedata.category(plain)
        if category == "Zs" or plain == "\t":
            folded.append(" ")
        elif category not in {"Cc", "Cf"} and plain != _KEYCAP and not "\ufe00" <= plain <= "\ufe0f":
            simple = _simplified().get(plain, plain)
            folded.append(_same().get(simple, simple))
    return "".join(folded)


def _without(spaces: re.Pattern[str], text: str, origin: list[int]) -> tuple[str, list[int]]:
    kept_text: list[str] = []
    kept_origin: list[int] = []
    start = 0
    for match in spaces.finditer(text):
        kept_text.append(text[start : match.start()])
        kept_origin += origin[start : match.start()]
        start = match.end()
    if not start:
        return text, origin
    return "".join(kept_text) + text[start:], kept_origin + origin[start:]


def fold(text: str) -> Folded:
    """Folds a text of any kind; never raises."""
    parts: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        part = _folded(character)
        parts.append(part)
        if len(part) == 1:
            origin.append(index)
        else:
            origin += [index] * len(part)
    folded = "".join(parts)
    for spaces in (_SPACES_BETWEEN_HAN, _spaces_before_measure()):
        folded, origin = _without(spaces, folded, origin)
    return Folded(folded, origin, text)
