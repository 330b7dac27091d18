"""The kinds of value a configuration holds beside plain text and numbers, and how each is read.

Each reader raises ValueError with a sentence that says what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

__all__ = ["Address", "DayTime", "Duration", "Listen", "Network", "Seconds", "between"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_LONGEST = 100 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0: any free one (tests)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _seconds(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(  # noqa: TRY004 (pydantic collects ValueError alone)
            'must be a duration such as "90s", "10m", "24h" or "30d", or a number of seconds'
        )
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError('is no duration; write "90s", "10m", "24h", "30d" or a number of seconds')
        value = float(match[1]) * _UNITS[match[2] or "s"]
    if not 0 <= value <= _LONGEST:
        raise ValueError("must be a duration between 0 and 100 years")
    return float(value)


def _duration(value: Any) -> timedelta:
    return timedelta(seconds=_seconds(value))


def between(least: str, most: str) -> AfterValidator:
    """Bounds of a duration, both included, written as in the file."""
    low, high = _duration(least), _duration(most)

    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise ValueError(f"must be between {least} and {most}")
        return value

    return AfterValidator(check)


def _listen(value: Any) -> Any:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError('must be an address and a port such as "127.0.0.1:4573"')  # noqa: TRY004
    host, colon, port = value.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError('write an IPv6 address in brackets, such as "[::1]:4573"')
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError('must be an address and a port such as "127.0.0.1:4573"')
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(f'{host!r} is no IP address; write one such as "127.0.0.1:{port}"') from None
    return Address(host, int(port))


def _network(value: Any) -> Any:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError('must be an address or a network such as "10.0.0.5" or "10.0.0.0/24"')  # noqa: TRY004
    try:
        return ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(f'{value!r} is no address or network; write "10.0.0.5" or "10.0.0.0/24"') from None


def _day_time(value: Any) -> Any:
    if isinstance(value, time):
        return value
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a time of day such as "03:30"')
    return time(int(match[1]), int(match[2]))


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
"""Seconds as a number, for what counts in tenths; written as a number or as a duration."""
Listen = Annotated[Address, BeforeValidator(_listen)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
DayTime = Annotated[time, BeforeValidator(_day_time)]
"""A time of day in Asia/Shanghai."""
