"""Why an SMS failed or was not sent, and why an invitation ended, in the catalogue's words. Pure.

Rules kept here:

* One table, `why`, for `messages.reason` and `invitations.reason`: what ends the one is stored with the other. Beside
  names of ours the first holds what the SMSC answered to a submit (sms/pdu.py, `status_name`): `sms_status` has words
  for SMPP's, and the code stands behind them, for it is what the carrier asks for.
* Nobody reads a bare code: one that nobody has given a word, perhaps a vendor's or of another version, is told as such.
"""

from __future__ import annotations

import re

from console.pages.catalogue import Catalogue

__all__ = ["told_why"]

_STATUS = re.compile(r"ESME_\w+|0x[0-9a-f]{8}", re.ASCII)


def told_why(texts: Catalogue, stored: str | None) -> str:
    """The words for a stored reason; empty: none is stored."""
    if not stored:
        return ""
    if (word := texts.word("why", stored)) is not None:
        return word
    if (word := texts.word("sms_status", stored)) is not None:
        return texts("why_else.status", word=word, code=stored)
    if _STATUS.fullmatch(stored):
        return texts("why_else.code", code=stored)
    return texts("why_else.other", code=stored)
