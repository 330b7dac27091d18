"""SMS clients that the benchmark measures, and what they have in common: the message, and how they talk to it.

A client is a process: `python -m benchmarks.clients.X PORT WARM COUNT …`. It binds to the SMSC on PORT, sends WARM
messages, says `warm` when each has its response and its receipt has been answered, waits for a line, sends COUNT, says
`done` likewise, waits for a line, unbinds and ends. Its CPU is read from outside between the two words.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["CODE", "SERVICE_NUMBER", "SIGNATURE", "TEXT", "WINDOW", "citizen", "fail", "go_on", "hear", "say"]

WINDOW = 50
"""Submits without a response at once."""
SERVICE_NUMBER = "1069012345001"
CODE = "00"
"""The extension code that a citizen's first invitation has."""
SIGNATURE = "市民服务台"
TEXT = (
    f"【{SIGNATURE}】您反映的事项已办结，请对办理结果作出评价，"
    "回复数字：1非常满意 2满意 3基本满意 4不满意 5非常不满意，拒收请回复R"
)
"""67 characters, one SMS: Huiyin's own text for one case, which the queue renders; the others are given it."""
assert len(TEXT) == 67


def citizen(number: int) -> str:
    """The number of the nth citizen, with its country code and without +."""
    return f"86138{number:08d}"


def say(word: str) -> None:
    print(word, flush=True)


def hear() -> None:
    """Waits for a line; the end of input does too, for then nobody measures any more."""
    sys.stdin.readline()


def go_on(word: str) -> None:
    """Says a word and waits for a line."""
    say(word)
    hear()


def fail(sentence: str) -> NoReturn:
    """Ends the process at once, from under any callback: what it measures is not what it should be."""
    print(sentence, file=sys.stderr, flush=True)
    os._exit(1)
