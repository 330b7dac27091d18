"""What keeps a command from doing its work, in one sentence that says what to do next."""

from __future__ import annotations

__all__ = ["CannotDo", "CannotListen"]


class CannotDo(Exception):
    """A command cannot do what it was asked; the sentence is all that the operator sees, and enough."""


class CannotListen(CannotDo):
    """An address that cannot be listened on."""
