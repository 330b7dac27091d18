"""What comes back after a rating was read: the conversation after a clarification or the question for a reason.

Looked for in this order: an opt-out; a rating; 打错 or 发错; a letter of the options; otherwise it is the citizen's own
words. What each means for the rating already stored is the caller's to decide.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from config.keymap import KeyMap
from models.terms import Satisfaction
from sms.grammar.clauses import LONGEST, Kind, clauses_of, core_of
from sms.grammar.fold import fold
from sms.grammar.reading import Outcome, read
from sms.grammar.words import words

__all__ = ["FollowUp", "FollowUpKind", "read_follow_up"]


class FollowUpKind(StrEnum):
    OPT_OUT = "opt_out"
    RATING = "rating"
    MISTAKEN = "mistaken"
    """自称误评: the citizen says that the rating was sent by mistake."""
    LETTER = "letter"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """`satisfaction`: of a rating, and of an opt-out with a level beside it. `letter`: A, B, C… of a letter. `text`: of
    free text and of a mistake the whole message, of a rating its comment; else empty."""

    kind: FollowUpKind
    satisfaction: Satisfaction | None = None
    letter: str | None = None
    text: str = ""


def read_follow_up(text: str, keys: KeyMap, letters: Collection[str] = "ABC") -> FollowUp:
    """Reads a later message of a conversation. Pure; never raises.

    Args:
        keys: the key map stored with the invitation.
        letters: the options that were offered, capital; none: no question was asked.
    """
    reading = read(text, keys)
    if reading.outcome is Outcome.OPT_OUT:
        return FollowUp(FollowUpKind.OPT_OUT, reading.satisfaction, text=reading.comment)
    if reading.outcome is Outcome.RATING:
        return FollowUp(FollowUpKind.RATING, reading.satisfaction, text=reading.comment)
    folded = fold(text)
    if any(phrase in folded.text for phrase in words().mistaken):
        return FollowUp(FollowUpKind.MISTAKEN, text=text.strip())
    meant = [clause for clause in clauses_of(folded, keys) if clause.kind is not Kind.FILLER]
    if len(meant) == 1 and len(meant[0].text) <= LONGEST:
        letter = core_of(meant[0].text).upper()
        if len(letter) == 1 and letter in letters:
            return FollowUp(FollowUpKind.LETTER, letter=letter)
    return FollowUp(FollowUpKind.TEXT, text=text.strip())
