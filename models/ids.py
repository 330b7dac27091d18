"""Ids: UUIDv7 in the 32 hexadecimal digits that both databases take as a plain value.

They sort by time of making, so a table can be partitioned by ranges of them; they are made before the commit and are
therefore no safe position in a feed (data model, Followers).
"""

from __future__ import annotations

from uuid_utils import uuid7

__all__ = ["new_id"]


def new_id() -> str:
    """A new UUIDv7 as 32 lower-case hexadecimal digits."""
    return uuid7().hex
