"""Errors of the store that have a name. Each sentence says what to do next."""

from __future__ import annotations

__all__ = [
    "CommandFailed",
    "DatabaseBusy",
    "DatabaseNotReady",
    "DoorClosed",
    "KeyMismatch",
    "KeyUnreadable",
    "StoreError",
    "TransactionLost",
]


class StoreError(Exception):
    """Something the store could not do."""


class DatabaseBusy(StoreError):
    """Another process serves this database."""


class DatabaseNotReady(StoreError):
    """The schema is missing, older or newer than this program."""


class KeyMismatch(StoreError):
    """The privacy key is not the one the database was written with."""


class KeyUnreadable(StoreError):
    """The privacy key file is missing, damaged or open to others."""


class TransactionLost(StoreError):
    """The database left the transaction by itself (a full disk does that): nothing of the group may be believed."""


class DoorClosed(StoreError):
    """The process is ending; nothing more is written."""


class CommandFailed(StoreError):
    """A command failed in its group and again alone; the cause is chained."""
