"""Words of people, with whatever is as long as a telephone number masked."""

from __future__ import annotations

import re

from models.privacy import mask

__all__ = ["mask_words"]

_LIKE_A_NUMBER = re.compile(
    r"\d{7,}"  # written in one
    r"|1[3-9]\d[ \-]\d{4}[ \-]\d{4}|0\d{2,3}[ \-]\d{7,8}"  # or in groups; a date is none
)


def mask_words(words: str | None) -> str | None:
    """Words in which whatever is as long as a telephone number is masked."""
    if words is None:
        return None
    return _LIKE_A_NUMBER.sub(lambda found: mask(re.sub(r"[ \-]", "", found[0])), words)
