"""Fault points, for tests alone: the process kills itself (SIGKILL) where a test says so.

`HUIYIN_FAULT=before-commit` dies at the first pass of that point, `HUIYIN_FAULT=before-commit:7` at the seventh.
Without the variable nothing happens. Nothing else reads it, and no configuration file can set it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final, NoReturn

from server.errors import CannotDo

__all__ = ["POINTS", "VARIABLE", "UnknownFault", "faults_from"]

VARIABLE: Final = "HUIYIN_FAULT"
_COMMANDS: Final = (
    "PostCase",
    "StoreAnswers",
    "NoteReceipts",
    "StoreInbound",
    "TakeReply",
    "RemindDue",
    "DefaultDue",
)
POINTS: Final = (
    "before-commit",
    "after-commit",
    "after-commit-before-thanks",
    "after-push-before-mark",
    "invited",
    "claimed",
    "answered",
    "receipt-stored",
    "reply-stored",
    "reply-read",
    "reminded",
    "defaulted",
    *(f"{point}-{kind}" for kind in _COMMANDS for point in ("before-commit", "after-commit")),
)
"""Before COMMIT of a group with calls; after it, before anybody is told; before the caller hears thanks; after the
centre's answer and before it is written down. Of an SMS: queued for an invitation; claimed and not yet given to the
link; answered by the SMSC, before that is stored. Of what comes in: stored, before the SMSC hears so; a reply read,
before what it means is stored. Of a sweep: reminders are queued, defaults are stored, and nobody has been told. With a
command's name: before and after the COMMIT of a group that holds one."""


class UnknownFault(CannotDo):
    """The variable names no point."""


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def faults_from(environ: Mapping[str, str], die: Callable[[], None] = _die) -> Callable[[str], None]:
    """What is called at each point with its name.

    Raises:
        UnknownFault: the variable names no point.
    """
    wanted = environ.get(VARIABLE, "")
    if not wanted:
        return lambda _point: None
    name, _, count = wanted.partition(":")
    if name not in POINTS or (count and not count.isdigit()):
        raise UnknownFault(f"{VARIABLE}={wanted} names no fault point; known are: {', '.join(POINTS)}")
    left = int(count or 1)
    lock = Lock()

    def pass_by(point: str) -> None:
        nonlocal left
        if point != name:
            return
        with lock:
            left -= 1
            if left == 0:
                die()

    return pass_by
