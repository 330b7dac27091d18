"""What the callers of a benchmark do, and what a server must have said to them by the end of the call.

A script is both: the keys that the made-up caller presses and the transcript that counts as right. A call that
differs from its script is a failure, so a server cannot be fast by leaving something out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REQUEST = "rate?call={call}&agent=1001&queue=q12345&dept=12622900MB1234567X&lang=zh"
"""Path and query of the AGI request, as `dialplans/` composes it; `{call}` is the call's own linkedid."""


@dataclass(frozen=True, slots=True)
class Script:
    """One kind of call."""

    name: str
    keys: tuple[str, ...]
    """The keys for the first, second, … question; a question beyond them gets the empty answer of a time-out."""
    verbs: tuple[str, ...]
    """The AGI commands that make up a right transcript, in order (see `agi_load.VERBS`)."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Channel variable → regular expression that its last value must match wholly."""
    request: str = REQUEST


FIXED = Script(
    name="fixed",
    keys=("1",),
    verbs=("ANSWER", "STREAM FILE", "GET DATA", "SET VARIABLE", "SET VARIABLE", "STREAM FILE", "HANGUP"),
    variables={"RATING": "1", "RATING_STATUS": "ok"},
)
"""The dialogue that every contender speaks: seven commands, one key."""

RATING = Script(
    name="rating",
    keys=("5", "1"),
    verbs=(
        "ANSWER",
        "EXEC",  # Background: the question
        "GET VARIABLE",  # whether all of it could be played
        "WAIT FOR DIGIT",
        "SET VARIABLE",
        "SET VARIABLE",
        "SET VARIABLE",
        "EXEC",  # Background: the question for the reason
        "GET VARIABLE",
        "WAIT FOR DIGIT",
        "STREAM FILE",
    ),
    variables={"HUIYIN_OUTCOME": "rated", "HUIYIN_SATISFACTION": "1", "HUIYIN_EVALUATION": "[0-9a-f-]{32,36}"},
)
"""Huiyin's real dialogue at its longest without a mistake: 非常不满意, then the first reason."""

GOOD = Script(
    name="good",
    keys=("1",),
    verbs=(
        "ANSWER",
        "EXEC",
        "GET VARIABLE",
        "WAIT FOR DIGIT",
        "SET VARIABLE",
        "SET VARIABLE",
        "SET VARIABLE",
        "STREAM FILE",
    ),
    variables={"HUIYIN_OUTCOME": "rated", "HUIYIN_SATISFACTION": "5", "HUIYIN_EVALUATION": "[0-9a-f-]{32,36}"},
)
"""The same where the caller is content: 非常满意, and nobody asks why."""

SCRIPTS: dict[str, Script] = {script.name: script for script in (FIXED, RATING, GOOD)}
