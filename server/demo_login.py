"""The log-in of `huiyin demo`: a supervisor with a password of this start, in the demo's own database.

A kept database (`--dir`) keeps its supervisor; the password of the start before is over.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from console.passwords import Passwords
from console.people import add_user, enable_user, find_user, set_password
from console.viewer import ConsoleRole
from models.clock import SystemClock
from models.database import Database
from models.terms import Actor

__all__ = ["DemoLogin", "demo_login"]

_NAME = "demo"


@dataclass(frozen=True, slots=True)
class DemoLogin:
    name: str
    password: str = field(repr=False)


def demo_login(database: Database) -> DemoLogin:
    """Makes the demo's supervisor, or gives the one that is there a new password."""
    login = DemoLogin(_NAME, secrets.token_urlsafe(12))
    hashed = Passwords().hash(login.password)
    now, actor = SystemClock().now(), Actor.COMMAND_LINE.value
    with database.write_engine.begin() as connection:
        known = find_user(connection, login.name)
        if known is None:
            add_user(connection, now, login.name, ConsoleRole.SUPERVISOR, hashed, actor=actor)
        else:
            set_password(connection, now, login.name, hashed, must_change=False, actor=actor)
            if known.disabled_at is not None:
                enable_user(connection, now, login.name, actor=actor)
    return login
