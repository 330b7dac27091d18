"""The headers of a request to the centre (contract, Push to the centre).

The signature is the lower-case hexadecimal HMAC-SHA256, key = UTF-8 of the secret, over timestamp + "." + body. A retry
sends the same bytes under the same Idempotency-Key, with a new timestamp and so a new signature.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

__all__ = ["IDEMPOTENCY_KEY", "SIGNATURE", "TIMESTAMP", "headers", "is_signed", "sign"]

IDEMPOTENCY_KEY = "Idempotency-Key"
TIMESTAMP = "X-Huiyin-Timestamp"
SIGNATURE = "X-Huiyin-Signature"


def sign(secret: str, timestamp: int | str, body: bytes) -> str:
    """The signature. `timestamp` in Unix seconds."""
    return hmac.digest(secret.encode(), b"%b.%b" % (str(timestamp).encode(), body), sha256).hex()


def is_signed(secret: str, timestamp: str, body: bytes, signature: str) -> bool:
    """Whether a request's signature is right; in constant time."""
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())


def headers(secret: str, timestamp: int, body: bytes, idempotency_key: str | None) -> dict[str, str]:
    """The headers of one sending of a batch; without a key for a request that changes nothing."""
    made = {TIMESTAMP: str(timestamp), SIGNATURE: sign(secret, timestamp, body)}
    if idempotency_key is not None:
        made[IDEMPOTENCY_KEY] = idempotency_key
    return made
