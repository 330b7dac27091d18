"""A text that could not be decoded, in every coding that citizens' phones and SMSCs are known to use, for a person.

Nothing counts of what is shown here: a level is read only where the SMSC's own word about the coding held
(sms/coding.py, `decode`).
"""

from __future__ import annotations

from collections.abc import Sequence

from intake.unread import StoredPart
from sms.reassembly import unpack

__all__ = ["body_of", "every_decoding"]

_CODECS = {
    "GB18030": "gb18030",
    "UTF-8": "utf-8",
    "UCS2 (BE)": "utf-16-be",
    "UCS2 (LE)": "utf-16-le",
    "Big5": "big5",
    "Latin-1": "latin-1",
}


def body_of(parts: Sequence[StoredPart]) -> bytes:
    """The bytes of a reply behind their headers, in the order of its parts."""
    return b"".join(unpack(one.esm_class, one.data_coding, one.body, {}).body for one in parts)


def every_decoding(body: bytes) -> list[tuple[str, str]]:
    """Codings in which the bytes are text, most likely first; what is no sign is U+FFFD."""
    found = []
    for name, codec in _CODECS.items():
        try:
            text = body.decode(codec)
        except UnicodeDecodeError:
            continue
        shown = "".join(sign if sign.isprintable() or sign.isspace() else "\ufffd" for sign in text)
        if shown:
            found.append((name, shown))
    return found
