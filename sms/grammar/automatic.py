"""Messages that no person wrote: absence notices, carriers' notices, codes, other senders' business messages.

They get no answer, so that two machines never keep a conversation going, and no level is read from them. The phrases
are whole ones (正在开会 with its 正在): a citizen who complains about a lost code is not to be taken for a machine.
"""

from __future__ import annotations

from sms.grammar.fold import fold
from sms.grammar.words import words

__all__ = ["folded_is_automatic", "is_automatic"]


def is_automatic(text: str) -> bool:
    """Whether a machine wrote this. Pure, linear in the text's length, never raises."""
    return folded_is_automatic(fold(text).text)


def folded_is_automatic(folded: str) -> bool:
    known = words()
    return any(phrase in folded for phrase in known.automatic) or known.codes.search(folded) is not None
