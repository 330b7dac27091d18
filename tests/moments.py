"""The moment at which turned clocks start: a working day, in sending hours, in Linxia."""

from __future__ import annotations

from datetime import datetime

from models.clock import SHANGHAI

START = datetime(2026, 11, 18, 10, 0, tzinfo=SHANGHAI)
