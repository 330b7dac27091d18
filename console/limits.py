"""How much one token may ask: 600 requests in any minute, and how large and slow a request may be.

Requests are counted in the memory of one process; several processes count each for itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["BODY_BYTES", "BODY_SECONDS", "PERIOD", "REQUESTS", "RateLimit"]

REQUESTS = 600
PERIOD = 60.0
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
