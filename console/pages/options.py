"""What the pages of ratings, exports and reports take from the configuration; all of it has a default that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from console.exports import ExportDesk

__all__ = ["RatingsOptions"]


@dataclass(frozen=True)
class RatingsOptions:
    """`recording_url`, `case_url`: templates (console/links.py). `reasons`: words of the reason codes.

    `exports`: who makes exports; None: nothing can be exported.
    """

    recording_url: str = ""
    case_url: str = ""
    satisfied_from: int = 3
    reasons: Mapping[str, str] = field(default_factory=dict)
    exports: ExportDesk | None = None
