"""Which local days off an area is known to have, by name: the shipped table `local_days.toml`. It holds no dates."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

__all__ = ["local_day_names"]

_SHIPPED = Path(__file__).with_name("local_days.toml")


@cache
def local_day_names() -> Mapping[str, tuple[str, ...]]:
    """By 行政区划, as in the table."""
    areas = tomllib.loads(_SHIPPED.read_text("utf-8"))["areas"]
    return MappingProxyType({area: tuple(names) for area, names in areas.items()})
