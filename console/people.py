"""The people of the console as rows: made, disabled, given passwords. Each change stands in the audit.

Every function takes a connection or a command's unit of work, so that the command line and the pages do the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from console.auditing import Action, Executes, note
from console.viewer import ConsoleRole, Viewer, read_codes, stored_codes, told_codes
from models.errors import StoreError
from models.ids import new_id
from models.tables import sessions, users

__all__ = [
    "CODE",
    "NAME",
    "LastAdmin",
    "User",
    "UserExists",
    "UserInvalid",
    "UserUnknown",
    "add_user",
    "disable_user",
    "enable_user",
    "find_user",
    "list_users",
    "set_password",
    "user_problem",
]

NAME = re.compile(r"[^\W_][\w.-]{0,31}")
"""Letters (Chinese ones too), digits, dots, hyphens, underscores."""
CODE = re.compile(r"[0-9A-Za-z_-]{1,64}")
"""A department's code, or the beginning of an area's."""


class UserExists(StoreError):
    """A user of this name is there, or was."""


class UserUnknown(StoreError):
    """There is no user of this name."""


class UserInvalid(StoreError):
    """A user cannot be like this."""


class LastAdmin(StoreError):
    """Nobody could manage users any more."""


@dataclass(frozen=True, slots=True)
class User:
    """A person as the admin's pages show them."""

    id: str
    name: str
    role: ConsoleRole
    depts: tuple[str, ...]
    areas: tuple[str, ...]
    must_change: bool
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None
    password_hash: str

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.name, self.role, self.depts, self.areas)

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.role.value})"


def user_of(row: Any) -> User:
    """A user from a row with the columns of `users`."""
    return User(
        row.id,
        row.name,
        ConsoleRole(row.role),
        read_codes(row.depts),
        read_codes(row.areas),
        row.must_change,
        row.created_at,
        row.password_changed_at,
        row.disabled_at,
        row.password_hash,
    )


def find_user(executes: Executes, name: str) -> User | None:
    row = executes.execute(select(users).where(users.c.name == name)).first()
    return None if row is None else user_of(row)


def list_users(executes: Executes) -> list[User]:
    """Everybody, by name; the disabled last."""
    rows = executes.execute(select(users).order_by(users.c.disabled_at.is_not(None), users.c.name))
    return [user_of(row) for row in rows]


def user_problem(name: str, role: ConsoleRole, depts: Sequence[str], areas: Sequence[str]) -> str | None:
    """What is wrong with a user that is to be; None: nothing."""
    if not NAME.fullmatch(name):
        return "a name has letters, digits, dots, hyphens and underscores, 32 at most"
    if role is ConsoleRole.BOARD:
        return "a wall screen is no user; it has a token"
    if role is ConsoleRole.DEPARTMENT and not (depts or areas):
        return "a department user needs --dept or --area, or would see nothing"
    if (depts or areas) and role not in (ConsoleRole.DEPARTMENT, ConsoleRole.SUPERVISOR):
        return "--dept and --area narrow a department user or a supervisor"
    if not all(CODE.fullmatch(code) for code in (*depts, *areas)):
        return "a department's or area's code has letters, digits, hyphens and underscores, 64 at most"
    return None


def add_user(
    executes: Executes,
    now: datetime,
    name: str,
    role: ConsoleRole,
    password_hash: str,
    *,
    depts: Sequence[str] = (),
    areas: Sequence[str] = (),
    must_change: bool = False,
    actor: str,
) -> None:
    """Makes a user.

    Raises:
        UserInvalid: no such user can be.
        UserExists: the name is taken, or was.
    """
    if problem := user_problem(name, role, depts, areas):
        raise UserInvalid(problem)
    known = find_user(executes, name)
    if known is not None:
        how = "is disabled; enable it" if known.disabled_at else "is there already"
        raise UserExists(f"a user named {name} {how}; a name stands in the audit and is never given to somebody else")
    executes.execute(
        insert(users).values(
            id=new_id(),
            name=name,
            password_hash=password_hash,
            role=role.value,
            depts=stored_codes(depts),
            areas=stored_codes(areas),
            must_change=must_change,
            created_at=now,
            password_changed_at=now,
            disabled_at=None,
        )
    )
    note(executes, now, actor, Action.USER_ADDED, detail=f"{name}: {role.value}{told_codes(depts, areas)}")


def _known(executes: Executes, name: str) -> User:
    user = find_user(executes, name)
    if user is None:
        raise UserUnknown(f"no user is named {name}; see: huiyin user list -c FILE")
    return user


def disable_user(executes: Executes, now: datetime, name: str, *, actor: str) -> bool:
    """Locks a user out at once; False: they were.

    Raises:
        UserUnknown: there is none.
        LastAdmin: it is the only admin left.
    """
    user = _known(executes, name)
    if user.disabled_at is not None:
        return False
    if user.role is ConsoleRole.ADMIN:
        admins = executes.execute(
            select(func.count())
            .select_from(users)
            .where(users.c.role == ConsoleRole.ADMIN.value, users.c.disabled_at.is_(None))
        ).scalar_one()
        if admins < 2:
            raise LastAdmin(f"{name} is the last admin; make another one first: huiyin user add NAME --role admin")
    executes.execute(update(users).where(users.c.id == user.id).values(disabled_at=now))
    executes.execute(delete(sessions).where(sessions.c.user_id == user.id))
    note(executes, now, actor, Action.USER_DISABLED, detail=name)
    return True


def enable_user(executes: Executes, now: datetime, name: str, *, actor: str) -> bool:
    """Lets a disabled user in again; False: they were not disabled.

    Raises:
        UserUnknown: there is none.
    """
    user = _known(executes, name)
    if user.disabled_at is None:
        return False
    executes.execute(update(users).where(users.c.id == user.id).values(disabled_at=None))
    note(executes, now, actor, Action.USER_ENABLED, detail=name)
    return True


def set_password(
    executes: Executes, now: datetime, name: str, password_hash: str, *, must_change: bool, actor: str
) -> None:
    """Gives a password that somebody else chose, and ends the user's sessions.

    Raises:
        UserUnknown: there is none.
    """
    user = _known(executes, name)
    executes.execute(
        update(users)
        .where(users.c.id == user.id)
        .values(password_hash=password_hash, password_changed_at=now, must_change=must_change)
    )
    executes.execute(delete(sessions).where(sessions.c.user_id == user.id))
    note(executes, now, actor, Action.PASSWORD_SET, detail=name)
