"""How much one token may ask: 600 requests in any minute, and how large and slow a request may be; how many tokens that
nobody has an address may try.

Requests are counted in the memory of one process; several processes count each for itself.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["BODY_BYTES", "BODY_SECONDS", "PERIOD", "REQUESTS", "STRANGERS", "RateLimit", "Strangers"]

REQUESTS = 600
STRANGERS = 60
"""Tokens that nobody has, by address in a period."""
PERIOD = 60.0
_ADDRESSES = 10_000
"""Addresses that are remembered."""
BODY_BYTES = 8 * 1024 * 1024
"""The largest body: 1,000 cases with every field at its longest fit, in ASCII escapes too for most."""
BODY_SECONDS = 60.0
"""How long a body may take to come."""


class RateLimit:
    """Counts requests by token, in a window that slides: at most `most` in any `period` seconds."""

    def __init__(
        self, most: int = REQUESTS, period: float = PERIOD, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._period = period
        self._seconds = seconds
        self._lock = threading.Lock()
        self._taken: dict[str, deque[float]] = {}

    def take(self, token_id: str) -> int:
        """Counts one request. 0: it may go on; else the whole seconds after which the next one may come."""
        now = self._seconds()
        with self._lock:
            taken = self._taken.setdefault(token_id, deque())
            while taken and taken[0] <= now - self._period:
                taken.popleft()
            if len(taken) < self._most:
                taken.append(now)
                return 0
            return max(1, math.ceil(taken[0] + self._period - now))


class Strangers:
    """Tokens that nobody has, counted by address, so that guessing costs no look into the database.

    A token that was good before is always looked up: whoever guesses from the same address, or behind the same proxy,
    does not shut out those who have one.
    """

    def __init__(
        self, most: int = STRANGERS, period: float = PERIOD, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._period = period
        self._seconds = seconds
        self._lock = threading.Lock()
        self._tried: dict[str, deque[float]] = {}
        self._good: set[bytes] = set()

    def wait(self, address: str, secret: str) -> int:
        """0: the token may be looked up; else the whole seconds after which it may."""
        with self._lock:
            tried = self._tried.get(address)
            if tried is None or _digest(secret) in self._good:
                return 0
            now = self._seconds()
            while tried and tried[0] <= now - self._period:
                tried.popleft()
            if not tried:
                del self._tried[address]
                return 0
            return 0 if len(tried) < self._most else max(1, math.ceil(tried[0] + self._period - now))

    def looked_up(self, address: str, secret: str, *, good: bool) -> None:
        """What came of it."""
        digest = _digest(secret)
        with self._lock:
            if good:
                self._good.add(digest)
                return
            self._good.discard(digest)
            if address not in self._tried and len(self._tried) >= _ADDRESSES:
                self._tried.pop(next(iter(self._tried)))  # the one that began longest ago
            self._tried.setdefault(address, deque(maxlen=self._most)).append(self._seconds())


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
