"""What the kernel must grant before callers come."""

from __future__ import annotations

from pathlib import Path

from ivr.listener import BACKLOG
from server.errors import CannotDo

__all__ = ["BacklogTooSmall", "ensure_backlog"]

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


class BacklogTooSmall(CannotDo):
    """The kernel would drop callers who come in a burst."""


def ensure_backlog(max_calls: int, somaxconn: Path = _SOMAXCONN) -> None:
    """Sees to it that the queue of the port holds a burst: all of `max_calls`, or `BACKLOG` where that is less.

    The kernel cuts a longer queue to net.core.somaxconn without a word.

    Raises:
        BacklogTooSmall: with the command that helps.
    """
    needed = min(max_calls, BACKLOG)
    try:
        granted = int(somaxconn.read_text("ascii"))
    except (OSError, ValueError):
        return  # not to be seen here, for instance in a container without it: nothing is known, so nothing is refused
    if granted < needed:
        raise BacklogTooSmall(
            f"net.core.somaxconn is {granted}, and ivr.max_calls = {max_calls} needs {needed}: "
            f"run: sysctl -w net.core.somaxconn={needed}, or lower ivr.max_calls"
        )
