"""The figures' formulas, pure: counts in, rates out (docs/data-model.md, Figures).

Rules kept here:

* A rate always comes with its n. Under LEAST there is none, only counts.
* Satisfaction is real, effective, adopted evaluations at or above a level ÷ all of them. Defaults and what the centre
  did not adopt stand beside it and are in neither part.
* Calls and cases are never summed: `Counts` of the two are kept apart by whoever reads them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from models.terms import Satisfaction

__all__ = ["LEAST", "Counts", "Interval", "Measure", "Rate", "wilson"]

LEAST = 5
"""The smallest n that has a rate."""
_Z = 1.959964
"""95 % of a normal distribution lie within so many standard deviations."""


class Measure(StrEnum):
    """What a chart or column shows."""

    SATISFACTION = "satisfaction"
    RESPONSE = "response"
    LEVELS = "levels"


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true rate lies, with 95 % confidence; both between 0 and 1."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `n`."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The rate, between 0 and 1; None: too few for one."""
        return self.hits / self.n if self.n >= LEAST else None

    @property
    def interval(self) -> Interval | None:
        """Its Wilson interval; None: too few for a rate."""
        return wilson(self.hits, self.n) if self.n >= LEAST else None


def wilson(hits: int, n: int) -> Interval:
    """The score interval of E. B. Wilson (1927): stays within 0 and 1, and is honest for small n.

    Raises:
        ValueError: no part of a whole.
    """
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} of {n} is no rate")
    rate, square = hits / n, _Z * _Z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return Interval(0.0 if hits == 0 else max(0.0, middle - half), 1.0 if hits == n else min(1.0, middle + half))


@dataclass(frozen=True, slots=True)
class Counts:
    """What the rollups hold of something, summed. The names are their columns (models/tables.py, MEASURES)."""

    level_5: int = 0
    level_4: int = 0
    level_3: int = 0
    level_2: int = 0
    level_1: int = 0
    not_adopted: int = 0
    default_asked: int = 0
    default_unasked: int = 0
    asked: int = 0
    responded: int = 0
    calls: int = 0
    offered: int = 0
    answered: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts)))

    @classmethod
    def sum(cls, counts: Iterable[Counts]) -> Counts:
        whole = cls()
        for one in counts:
            whole += one
        return whole

    @property
    def levels(self) -> Mapping[Satisfaction, int]:
        """Best first."""
        return {level: int(getattr(self, f"level_{level.value}")) for level in Satisfaction}

    @property
    def rated(self) -> int:
        """The n of satisfaction."""
        return self.level_5 + self.level_4 + self.level_3 + self.level_2 + self.level_1

    @property
    def bad(self) -> int:
        return sum(count for level, count in self.levels.items() if level.is_bad)

    @property
    def defaults(self) -> int:
        return self.default_asked + self.default_unasked

    def satisfaction(self, satisfied_from: int) -> Rate:
        """满意率. `satisfied_from`: the lowest level that counts as satisfied (`rating.satisfied_from`)."""
        return Rate(sum(count for level, count in self.levels.items() if level >= satisfied_from), self.rated)

    @property
    def response(self) -> Rate:
        """参评率."""
        return Rate(self.responded, self.asked)

    @property
    def offers(self) -> Rate:
        """邀评率: calls in which the rating was offered."""
        return Rate(self.offered, self.calls)
