"""Messages that no person wrote: absence notices, carriers' notices, codes, other senders' business messages.

They get no answer, so that two machines never keep a conversation going. Rules kept here:

* Nothing that a person may have written is taken for a machine's. 您拨打的电话 and 尽快与您联系 stand in complaints,
  too: such a phrase counts only where a message holds nothing else. What only machines write (尊敬的客户, 退订回T)
  counts anywhere, but not beside a level or a person's words.
* What then may be either is doubtful: it is not answered, and a person looks at it.
* No level is read beside what only machines write.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from config.keymap import KeyMap
from sms.grammar.clauses import Kind, clauses_of
from sms.grammar.fold import Folded, fold
from sms.grammar.words import Doubt, Part, Sign, words

__all__ = ["Machine", "folded_is_automatic", "is_automatic", "machine"]


class Machine(StrEnum):
    """Whether a machine wrote a message."""

    NO = "no"
    DOUBTFUL = "doubtful"
    """Both may be: it is not answered, and people look at it."""
    YES = "yes"


def machine(text: str) -> Machine:
    """Whether a machine wrote this. Pure, linear in the text's length, never raises."""
    folded = fold(text)
    if _is_receipt(folded.text) or _says_absence_alone(folded.text):
        return Machine.YES
    if _is_notice(folded.text):
        return Machine.DOUBTFUL if _a_person_speaks(folded) else Machine.YES
    return Machine.DOUBTFUL if words().absence.search(folded.text) else Machine.NO


def is_automatic(text: str) -> bool:
    """Whether a machine wrote this, and no person could have."""
    return machine(text) is Machine.YES


def folded_is_automatic(folded: str) -> bool:
    """Whether a level must not be read from a text for what a machine says in it."""
    return _is_receipt(folded) or _is_notice(folded) or _says_absence_alone(folded)


def _is_receipt(folded: str) -> bool:
    """A receipt of an SMSC that nobody knew for one (sms/receipts.py)."""
    return folded.startswith("id:") and "stat" in folded and folded.isascii()


def _is_notice(folded: str) -> bool:
    known = words()
    return known.notices.search(folded) is not None or known.codes.search(folded) is not None


def _says_absence_alone(folded: str) -> bool:
    known = words()
    rest, count = known.absence.subn(" ", folded)
    if not count:
        return False
    left = known.around_absence.sub("", rest)
    if any(sign.isalnum() for sign in left) or any(word in left for word in _complaints()):
        return False
    return not any(word in rest for word in (*known.people, *known.doubts[Doubt.IRONY]))


@cache
def _complaints() -> tuple[str, ...]:
    known = words()
    found = {word for word, sign in known.signs.items() if sign is Sign.COMPLAINT}
    found |= {word for word, parts in known.parts.items() if parts & {Part.ACCUSATION, Part.FINAL}}
    return tuple(word for word in found if len(word) > 1)


_OF_A_PERSON = (Doubt.PRESSURE, Doubt.IRONY, Doubt.QUESTION)
_ANY_MAP = KeyMap.parse("1=5,2=4,3=3,4=2,5=1")
"""Which level a digit means does not matter here."""
_LEVELS = frozenset({Kind.DIGIT, Kind.WORDS, Kind.STARS, Kind.SCORE, Kind.CONTRADICTION})


def _a_person_speaks(folded: Folded) -> bool:
    known = words()
    rest = known.absence.sub(" ", known.notices.sub(" ", folded.text))
    said = (*known.people, *_complaints(), *(word for doubt in _OF_A_PERSON for word in known.doubts[doubt]))
    if any(word in rest for word in said):
        return True
    return any(clause.kind in _LEVELS for clause in clauses_of(folded, _ANY_MAP))
