"""What the push reads of the settings, so that it can be given more than the configuration file's own section."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from pydantic import SecretStr

__all__ = ["PushSettings"]


class PushSettings(Protocol):
    """The part of `[centre]` that the pusher reads (config/settings.py, CentreSection)."""

    @property
    def url(self) -> str: ...
    @property
    def secret(self) -> SecretStr | None: ...
    @property
    def batch(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def timeout(self) -> timedelta: ...
    @property
    def keypad_reason_hold(self) -> timedelta: ...
    @property
    def reason_hold(self) -> timedelta: ...
    @property
    def retry_first(self) -> timedelta: ...
    @property
    def retry_most(self) -> timedelta: ...
    @property
    def pause(self) -> timedelta: ...
