"""Passwords: argon2id, what is asked of one, and how many are worked on at once.

Rules kept here:

* A hash takes a tenth of a second of a core and 64 MiB on purpose. `AT_ONCE` are made at a time, so that calls do not
  feel it; a few wait; whoever comes then is sent away at once, and no page waits behind log-ins.
* A name that nobody has costs as much time as a wrong password.
* A password has `SHORTEST` characters or more, of several kinds or simply long, and is neither the name nor one of
  those that everybody tries first. Characters count as they are typed (NFKC), Chinese ones too.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

__all__ = ["AT_ONCE", "LONGEST", "SHORTEST", "Fault", "Passwords", "TooBusy", "password_fault"]

AT_ONCE = 2
_WAITING = 6
_PATIENCE = 5.0
SHORTEST, LONGEST = 10, 128
_SIMPLE_UP_TO = 15
_KINDS = 2
_DIFFERENT = 5
_FIRST_TRIED = (
    "1234567890",
    "0123456789",
    "0987654321",
    "qwertyuiop",
    "1qaz2wsx3edc",
    "qwerty12345",
    "password123",
    "password12345",
    "admin12345",
    "admin123456",
    "administrator",
    "huiyin12345",
    "linxia12345",
    "abc1234567",
    "abcd123456",
    "iloveyou1314",
    "woaini1314",
    "woaini520",
    "5201314520",
)


class TooBusy(Exception):
    """So many log in at this moment that this one has to try again."""


class Fault(StrEnum):
    """What is wrong with a password that somebody chose."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_SIMPLE = "too_simple"
    LIKE_NAME = "like_name"
    COMMON = "common"


def password_fault(password: str, name: str) -> Fault | None:
    """What is wrong with a new password; None: it will do."""
    typed = _normal(password)
    if len(typed) < SHORTEST:
        return Fault.TOO_SHORT
    if len(typed) > LONGEST:
        return Fault.TOO_LONG
    folded = typed.casefold()
    if len(name) > 2 and name.casefold() in folded and len(folded) < len(name) + SHORTEST:
        return Fault.LIKE_NAME
    if any(common in folded and len(folded) < len(common) + 4 for common in _FIRST_TRIED):
        return Fault.COMMON
    kinds = {_kind(character) for character in typed}
    if len(set(folded)) < _DIFFERENT or (len(kinds) < _KINDS and len(typed) <= _SIMPLE_UP_TO):
        return Fault.TOO_SIMPLE
    return None


def _kind(character: str) -> str:
    if character.islower() or character.isupper():
        return "lower" if character.islower() else "upper"
    return unicodedata.category(character)[0]  # L: letters without case, Chinese ones; N: digits; P, S: signs


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Makes and checks hashes, a few at a time.

    Args:
        hasher: a test brings a quick one.
    """

    def __init__(self, hasher: PasswordHasher | None = None, *, at_once: int = AT_ONCE) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
        self._places = threading.BoundedSemaphore(at_once)
        self._most = at_once + _WAITING
        self._inside = 0
        self._lock = threading.Lock()
        self._nobodys: str | None = None

    @contextmanager
    def _place(self) -> Iterator[None]:
        with self._lock:
            if self._inside >= self._most:
                raise TooBusy
            self._inside += 1
        try:
            if not self._places.acquire(timeout=_PATIENCE):
                raise TooBusy
            try:
                yield
            finally:
                self._places.release()
        finally:
            with self._lock:
                self._inside -= 1

    def hash(self, password: str) -> str:
        """A new hash.

        Raises:
            TooBusy: try again.
        """
        with self._place():
            return self._hasher.hash(_normal(password))

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one of this hash; None: of nobody's, in the same time.

        Raises:
            TooBusy: try again.
        """
        if len(password) > 4 * LONGEST:
            password = ""
        if self._nobodys is None:
            self._nobodys = self.hash("nobody has this password")
        with self._place():
            try:
                return self._hasher.verify(stored or self._nobodys, _normal(password)) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)
