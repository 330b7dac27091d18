"""Mounts an application under every address below a prefix, also one with a line break in it.

Starlette's patterns do not match a line break, and so such an address would get past the headers and errors of whatever
is mounted there.
"""

from __future__ import annotations

from starlette.routing import Match, Mount
from starlette.types import Scope

__all__ = ["WholeMount"]


class WholeMount(Mount):
    """A `Mount` without a gap."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if "path" not in scope:
            return super().matches(scope)
        return super().matches({**scope, "path": scope["path"].replace("\n", " ")})
