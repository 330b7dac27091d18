"""The key map: which key (or SMS digit) means which level.

One map generates the voice prompt, the SMS text and the parser, and its `version` is stored with each rating, so that a
rating can be read years later whatever the map is by then. Two published standards number the levels in opposite
directions, which is why no number stands in code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from models.terms import Satisfaction

__all__ = ["KEY_ORDER", "KeyMap", "key_map_problems"]

KEY_ORDER = "1234567890"
"""Digits as they stand on a telephone; the order in which a prompt says them."""


def key_map_problems(keys: Mapping[str, int]) -> list[str]:
    """What is wrong with a key map, one plain clause each; empty: nothing."""
    problems = []
    for key, level in keys.items():
        if len(key) != 1 or key not in KEY_ORDER:
            problems.append(f"{key!r} is no key; use the digits 0 to 9")
        if level not in Satisfaction.__members__.values():
            problems.append(f"key {key} means {level}, which is no level; use 5 (非常满意) to 1 (非常不满意)")
    levels = list(keys.values())
    for level in sorted({level for level in levels if levels.count(level) > 1}, reverse=True):
        doubled = " and ".join(key for key, other in keys.items() if other == level)
        problems.append(f"keys {doubled} both mean {level}; give each level one key")
    if len(set(levels)) < 2:
        problems.append("fewer than two levels can be pressed; a rating needs a choice")
    return problems


@dataclass(frozen=True, slots=True)
class KeyMap:
    """A valid key map, in the order of the keys on a telephone (1 to 9, then 0).

    Raises:
        ValueError: with every problem, one a line, see `key_map_problems`.
    """

    pairs: tuple[tuple[str, Satisfaction], ...]

    def __post_init__(self) -> None:
        if problems := key_map_problems(dict(self.pairs)):
            raise ValueError("\n".join(problems))

    @classmethod
    def of(cls, keys: Mapping[str, int]) -> KeyMap:
        if problems := key_map_problems(keys):
            raise ValueError("\n".join(problems))
        return cls(tuple((key, Satisfaction(keys[key])) for key in KEY_ORDER if key in keys))

    @classmethod
    def parse(cls, version: str) -> KeyMap:
        """The map that a stored version names. A site has few in its life, and every SMS and reply names one."""
        return _parsed(version)

    @property
    def version(self) -> str:
        """The whole map in one short word, stored with each rating: `1=5,2=4,3=3,4=2,5=1`."""
        return ",".join(f"{key}={int(level)}" for key, level in self.pairs)

    def level_of(self, digit: str) -> Satisfaction | None:
        """What a pressed key means; None: nothing, the key is wrong."""
        return next((level for key, level in self.pairs if key == digit), None)

    def key_of(self, level: Satisfaction) -> str | None:
        """The key that means this level; None: it cannot be pressed."""
        return next((key for key, other in self.pairs if other is level), None)

    def items(self) -> Iterator[tuple[str, Satisfaction]]:
        return iter(self.pairs)

    def keys(self) -> tuple[str, ...]:
        return tuple(key for key, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


@lru_cache(maxsize=64)
def _parsed(version: str) -> KeyMap:
    return KeyMap.of({key: int(level) for key, _, level in (pair.partition("=") for pair in version.split(","))})
