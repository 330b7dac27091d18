"""Rule R6: what a clause beside a level says, found by laying the whole clause out in closed lists.

Rules kept here:

* A clause says something only if words of the lists cover it from end to end. No word is looked for inside another, so
  暖气 is no praise for its 暖, and 没有推诿 no accusation for its 推诿. What cannot be laid out supports no level.
* Praise must end its clause: 处理很及时 is praise, 及时处理 asks for something, and so does 处理好 (处理得好 does not).
* Where a clause can be laid out in several ways, praise counts only if none of them accuses, and the other way round.
* A clause beside a level that is already bad in so many words, or that another clause supports, may be a complaint that
  no list covers. It must hold a word of complaint that nothing takes back, and no word of praise or of a turn.
* The cost is in proportion to the clause: at each place every word of the lists is one look into a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntFlag, auto
from functools import cache

from sms.grammar.clauses import LONGEST, core_of
from sms.grammar.words import Part, Sign, words

__all__ = ["Said", "said"]


class _Tone(IntFlag):
    """What the words of one layout say together."""

    NONE = 0
    PRAISE = auto()
    DONE = auto()
    MILD = auto()
    ACCUSATION = auto()
    GRUMBLE = auto()
    NEGATED = auto()
    """An accusation that is itself a negation."""

    @property
    def is_good(self) -> bool:
        return bool(self & (_Tone.PRAISE | _Tone.DONE))

    @property
    def is_bad(self) -> bool:
        return bool(self & (_Tone.MILD | _Tone.ACCUSATION))


class _Last(Enum):
    """What a layout's last word was."""

    START = auto()
    NOUN = auto()
    DEED = auto()
    ADVERB = auto()
    SOON = auto()
    """Only what is done may follow."""
    WHOLE = auto()
    """Praise, what is done, or a fault: the clause may end here."""
    THANKS = auto()
    FINAL = auto()
    """Only particles may follow."""


_OF = "的"

_Layout = tuple[_Last, _Tone]
_START: _Layout = (_Last.START, _Tone.NONE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a clause says.

    `good`, `bad`: it is wholly praise, or wholly complaint. `mild`: wholly either, and it accuses nobody; such a clause
    fits the middle. `done`: that the matter is done. `accuses`: it may be laid out as an accusation. `aside`: it says
    nothing for either half. The others are of a clause that is none of these: `complains`, it holds words of complaint,
    not taken back, and none of praise or of a turn; `sounds_bad`, `sounds_good`: it holds any word of the kind.
    """

    good: bool = False
    bad: bool = False
    mild: bool = False
    done: bool = False
    accuses: bool = False
    aside: bool = False
    complains: bool = False
    sounds_bad: bool = False
    sounds_good: bool = False

    @property
    def is_laid_out(self) -> bool:
        """Whether the lists cover it; a number in it is one of their own words, 12345."""
        return self.good or self.bad or self.mild


def _next(layout: _Layout, part: Part, word: str) -> _Layout | None:
    """The layout with one more word; None: the word cannot stand there."""
    last, tone = layout
    if last is _Last.FINAL and part is not Part.PARTICLE:
        return None
    if last is _Last.SOON and part is not Part.DONE:
        return None
    if tone.is_bad and (part is Part.DEED or (part is Part.NOUN and word.startswith(_OF))):
        return None  # 没解决的问题解决了 says what became of what was not done.
    match part:
        case Part.NOUN if tone.is_bad and last is not _Last.WHOLE:
            return (_Last.THANKS if last is _Last.THANKS else _Last.ADVERB), tone  # 老赖还钱了
        case Part.NOUN:
            return (_Last.THANKS if last is _Last.THANKS else _Last.NOUN), tone
        case Part.DEED:
            return _Last.DEED, tone
        case Part.THANKED:
            return (_Last.THANKS, tone) if last is _Last.THANKS else None
        case Part.TIME:
            return None if tone.is_bad else (_Last.ADVERB, tone | _Tone.GRUMBLE)
        case Part.GRUMBLE:
            return _Last.ADVERB, tone | _Tone.GRUMBLE
        case Part.SOON:
            return _Last.SOON, tone
        case Part.ADVERB:
            return (_Last.THANKS if last is _Last.THANKS else _Last.ADVERB), tone
        case Part.PARTICLE:
            if last is _Last.START:
                return None
            return (_Last.FINAL if tone.is_bad else last), tone
        case Part.PRAISE | Part.QUALITY:
            if part is Part.QUALITY and last is _Last.START:
                return None
            if len(word) == 1 and last is _Last.DEED:
                return None
            return (_Last.THANKS if last is _Last.THANKS else _Last.WHOLE), tone | _Tone.PRAISE
        case Part.THANKS:
            return _Last.THANKS, tone | _Tone.PRAISE
        case Part.DONE:
            return _Last.WHOLE, tone | _Tone.PRAISE | _Tone.DONE
        case _:
            if len(word) == 1 and last not in {_Last.NOUN, _Last.DEED, _Last.ADVERB}:
                return None
            fault = _Tone.MILD if part is Part.MILD else _Tone.ACCUSATION
            negated = word.startswith(words().negators)
            if tone & _Tone.NEGATED:
                return None  # 不解决不行, 没有处理太慢: the negation may be of what follows.
            if negated:
                fault |= _Tone.NEGATED
            return (_Last.FINAL if part is Part.FINAL else _Last.WHOLE), tone | fault


def _layouts(text: str) -> set[_Layout]:
    """Every way in which the lists cover a clause from end to end."""
    known = words()
    reached: list[set[_Layout]] = [set() for _ in range(len(text) + 1)]
    reached[0].add(_START)
    for start, layouts in enumerate(reached[:-1]):
        if not layouts:
            continue
        for length in known.part_lengths:
            if start + length > len(text):
                break
            word = text[start : start + length]
            for part in known.parts.get(word, ()):
                reached[start + length].update(
                    after for layout in layouts if (after := _next(layout, part, word)) is not None
                )
    return reached[-1]


def _from_layouts(layouts: set[_Layout]) -> Said:
    ends = [(last, tone) for last, tone in layouts if tone.is_good or tone.is_bad]
    may_praise = any(tone.is_good and not tone.is_bad for _, tone in ends)
    may_fault = any(tone.is_bad for _, tone in ends)
    accuses = any(tone & _Tone.ACCUSATION for _, tone in ends)
    may_end = {_Last.WHOLE, _Last.THANKS}
    return Said(
        good=not may_fault and any(last in may_end and not tone & _Tone.GRUMBLE for last, tone in ends),
        bad=not may_praise
        and any(last in {_Last.WHOLE, _Last.NOUN, _Last.DEED, _Last.FINAL} and not tone.is_good for last, tone in ends),
        mild=not accuses and any(last in may_end or last is _Last.FINAL for last, _ in ends),
        done=any(tone & _Tone.DONE for _, tone in ends),
        accuses=accuses,
    )


_NEGATED_WITHIN = 4


def _signs(text: str) -> tuple[set[Sign], bool]:
    """The signs in a clause, and whether a negator stands before one of complaint; of one place the longest counts."""
    known = words()
    found: set[Sign] = set()
    taken_back = False
    covered = 0
    for start in range(len(text)):
        if start < covered:
            continue
        for length in reversed(known.sign_lengths):
            sign = known.signs.get(text[start : start + length]) if start + length <= len(text) else None
            if sign is None:
                continue
            found.add(sign)
            if sign is Sign.COMPLAINT:
                before = text[max(0, start - _NEGATED_WITHIN) : start]
                taken_back = taken_back or any(negator in before for negator in known.negators)
            covered = start + length
            break
    return found, taken_back


_NUMBER = re.compile("[0-9]+")
_TIMES = re.compile("(?<![0-9])[1-9][0-9]?(?=(?:次|遍|趟|天|个月|年|周|个星期|个小时|小时|分钟)(?![0-9]))")
"""How often and how long, in digits; the lists say it with 三: 打了5次电话 is laid out as 打了三次电话."""


@cache
def _asides() -> Mapping[str, bool]:
    return dict.fromkeys(words().asides, True)


def said(text: str) -> Said:
    """What one clause of text says. Pure; a clause longer than `LONGEST` is only looked through for complaints."""
    if len(text) <= LONGEST and not words().only_named.search(text):
        if _NUMBER.sub("#", text) in _asides():
            return Said(aside=True)
        written = _TIMES.sub("三", text)
        for form in (written, core_of(written)):
            if len(form) > 1 and (layouts := _layouts(form)):
                laid_out = _from_layouts(layouts)
                if laid_out != Said():
                    return laid_out
    found, taken_back = _signs(text)
    return Said(
        complains=found == {Sign.COMPLAINT} and not taken_back,
        sounds_bad=Sign.COMPLAINT in found,
        sounds_good=Sign.PRAISE in found,
    )
