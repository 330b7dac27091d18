"""Log-in, sessions, and the slow-down after failures.

Rules kept here:

* The browser holds 32 random bytes, the database their SHA-256. Each log-in makes new ones, whatever was sent before.
* A session ends after `idle` without use and after `life` in any case, with a log-out, a new password, and a disabled
  user; that and the role are looked up at each request. Looking at a live board is use: it is noted every few minutes.
* An attempt is stored as failed before the password is looked at, and as right only with the session. So a crash, or
  many attempts at once, cost the one who tries.
* After some failures within `WINDOW` the next attempt is refused unseen until a wait is over that doubles with each
  failure. Counted are those of a name from an address (`BY_PAIR`, strict), of a name from anywhere, and of an address
  under any name (`BY_NAME`, `BY_ADDRESS`: many are free, the waits are short), each since the last success. Nobody
  sleeps: a refusal says when. It says the same of names that nobody has.
* Who has logged in from an address within `KNOWN_FOR` is held up by their own failures there alone, so that nobody else
  can keep them out: not from elsewhere under their name, nor under other names behind the same router or proxy.
* An attempt whose password was not looked at does not count.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update

from console.auditing import Action, Executes, note
from console.people import User, find_user, user_of
from console.viewer import Viewer
from models.ids import new_id
from models.tables import login_attempts, sessions, users

__all__ = [
    "BY_ADDRESS",
    "BY_NAME",
    "BY_PAIR",
    "KNOWN_FOR",
    "Allowance",
    "Attempt",
    "Session",
    "SessionRules",
    "begin_attempt",
    "change_password",
    "clear_attempt",
    "drop_attempt",
    "end_session",
    "find_session",
    "note_failure",
    "open_session",
    "still_open",
    "touch",
    "wants_touch",
    "watching_touch",
]

WINDOW = timedelta(hours=1)
_successes = login_attempts.alias("successes")
KNOWN_FOR = timedelta(days=30)
_FIRST_WAIT = timedelta(seconds=2)
_KEPT = timedelta(days=1)
_TIDIED = 64
_TOUCH = timedelta(minutes=1)
_WATCHED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many failures cost nothing, and the longest wait after more."""

    free: int
    longest: timedelta

    def wait_after(self, failures: int) -> timedelta:
        """How long to wait after so many failures."""
        if failures < self.free:
            return timedelta(0)
        doubled: int = 2 ** min(failures - self.free, 20)
        return min(_FIRST_WAIT * doubled, self.longest)


BY_PAIR = Allowance(5, timedelta(minutes=5))
BY_NAME = Allowance(30, timedelta(minutes=1))
BY_ADDRESS = Allowance(100, timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long a session lasts without use, and in any case."""

    idle: timedelta
    life: timedelta


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in."""

    token_hash: bytes
    user: User
    csrf: str
    seen_at: datetime

    @property
    def viewer(self) -> Viewer:
        return self.user.viewer

    def __repr__(self) -> str:
        return f"Session({self.user!r})"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A log-in that may go on (`id`), or has to wait (`wait`); `user`: whose name it is, if anybody's."""

    id: str | None
    wait: timedelta
    user: User | None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# ── attempts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def begin_attempt(executes: Executes, now: datetime, name: str, address: str) -> Attempt:
    """Stores an attempt, as failed so far; or says how long to wait, and stores nothing."""
    by_name, by_address = _sha256(name), _sha256(address)
    of_name, of_address = login_attempts.c.name_hash == by_name, login_attempts.c.address_hash == by_address
    wait = _left(executes, now, BY_PAIR, of_name, of_address)
    if not _is_known(executes, now, of_name, of_address):
        of_others = select(_successes.c.id).where(
            _successes.c.name_hash == login_attempts.c.name_hash,
            _successes.c.address_hash == by_address,
            _successes.c.failed.is_(False),
            _successes.c.at > login_attempts.c.at,
        )
        # A success forgives its own name: whoever may log in would else clear the address for the names of others.
        wait = max(
            wait,
            _left(executes, now, BY_NAME, of_name),
            _left(executes, now, BY_ADDRESS, of_address, ~of_others.exists(), forgiven=False),
        )
    if wait > timedelta(0):
        return Attempt(None, timedelta(seconds=ceil(wait.total_seconds())), None)
    old = (
        select(login_attempts.c.id)
        .where(
            login_attempts.c.at < now - _KEPT,
            or_(login_attempts.c.failed, login_attempts.c.at < now - KNOWN_FOR),
        )
        .limit(_TIDIED)
        .with_for_update(skip_locked=True)
    )
    executes.execute(delete(login_attempts).where(login_attempts.c.id.in_(old)))
    attempt_id = new_id()
    executes.execute(
        insert(login_attempts).values(id=attempt_id, name_hash=by_name, address_hash=by_address, at=now, failed=True)
    )
    return Attempt(attempt_id, timedelta(0), find_user(executes, name))


def _is_known(executes: Executes, now: datetime, *whose: ColumnElement[bool]) -> bool:
    """Whether this name has logged in from this address lately."""
    lately = (login_attempts.c.at > now - KNOWN_FOR, login_attempts.c.failed.is_(False))
    return executes.execute(select(login_attempts.c.id).where(*whose, *lately).limit(1)).first() is not None


def _left(
    executes: Executes, now: datetime, allowance: Allowance, *whose: ColumnElement[bool], forgiven: bool = True
) -> timedelta:
    """What is left of the wait after the failures; `forgiven`: those since the last success alone."""
    where = [*whose, login_attempts.c.at > now - WINDOW]
    if forgiven:
        last_success = executes.execute(
            select(func.max(login_attempts.c.at)).where(*where, login_attempts.c.failed.is_(False))
        ).scalar()
        if last_success is not None:
            where.append(login_attempts.c.at > last_success)
    row = executes.execute(
        select(func.count().label("failures"), func.max(login_attempts.c.at).label("last")).where(
            *where, login_attempts.c.failed
        )
    ).one()
    if row.last is None:
        return timedelta(0)
    last: datetime = row.last
    return max(timedelta(0), last + allowance.wait_after(row.failures) - now)


def clear_attempt(executes: Executes, attempt_id: str) -> None:
    """The password was right."""
    executes.execute(update(login_attempts).where(login_attempts.c.id == attempt_id).values(failed=False))


def drop_attempt(executes: Executes, attempt_id: str) -> None:
    """The password was not looked at: as if nobody had tried."""
    executes.execute(delete(login_attempts).where(login_attempts.c.id == attempt_id))


def note_failure(executes: Executes, now: datetime, user: User | None, address: str) -> None:
    """A wrong log-in in the audit. A name that nobody has is not written down: it may be a password."""
    actor = user.viewer.actor if user is not None else "user:"
    note(executes, now, actor, Action.LOGIN_FAILED, detail=address)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_session(
    executes: Executes,
    now: datetime,
    user: User,
    rules: SessionRules,
    address: str,
    *,
    attempt_id: str | None = None,
    new_hash: str | None = None,
) -> str:
    """Makes a session and returns what the browser gets.

    Args:
        attempt_id: the attempt that was right.
        new_hash: the same password under today's parameters.
    """
    token = secrets.token_urlsafe(32)
    if attempt_id is not None:
        clear_attempt(executes, attempt_id)
    if new_hash is not None:
        executes.execute(update(users).where(users.c.id == user.id).values(password_hash=new_hash))
    over = (
        select(sessions.c.token_hash).where(sessions.c.ends_at < now).limit(_TIDIED).with_for_update(skip_locked=True)
    )
    executes.execute(delete(sessions).where(sessions.c.token_hash.in_(over)))
    _insert_session(executes, now, user, rules, token)
    note(executes, now, user.viewer.actor, Action.LOGGED_IN, detail=address)
    return token


def _insert_session(executes: Executes, now: datetime, user: User, rules: SessionRules, token: str) -> None:
    executes.execute(
        insert(sessions).values(
            token_hash=_sha256(token),
            user_id=user.id,
            csrf=secrets.token_urlsafe(32),
            created_at=now,
            seen_at=now,
            ends_at=now + rules.life,
        )
    )


def find_session(executes: Executes, now: datetime, token: str, rules: SessionRules) -> Session | None:
    """The session of what a browser sent, unless it is over or its user disabled."""
    if not token.isascii() or len(token) > 100:
        return None
    return _session(executes, now, _sha256(token), rules)


def still_open(executes: Executes, now: datetime, session: Session, rules: SessionRules) -> Session | None:
    """The session as it is now, for what runs long (a stream); None: it is over."""
    return _session(executes, now, session.token_hash, rules)


def _session(executes: Executes, now: datetime, token_hash: bytes, rules: SessionRules) -> Session | None:
    row = executes.execute(
        select(users, sessions.c.csrf, sessions.c.seen_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.token_hash == token_hash,
            sessions.c.ends_at > now,
            sessions.c.seen_at > now - rules.idle,
            users.c.disabled_at.is_(None),
        )
    ).first()
    return None if row is None else Session(token_hash, user_of(row), row.csrf, row.seen_at)


def touch(executes: Executes, now: datetime, session: Session) -> None:
    """The session is in use."""
    executes.execute(update(sessions).where(sessions.c.token_hash == session.token_hash).values(seen_at=now))


def wants_touch(session: Session, now: datetime) -> bool:
    """Whether the last use that is stored is old enough to be written again."""
    return now - session.seen_at >= _TOUCH


def watching_touch(rules: SessionRules) -> timedelta:
    """How often a board that is only looked at is noted as use: seldom, and several times before `idle` is over."""
    return min(_WATCHED, rules.idle / 4)


def end_session(executes: Executes, now: datetime, session: Session) -> None:
    executes.execute(delete(sessions).where(sessions.c.token_hash == session.token_hash))
    note(executes, now, session.viewer.actor, Action.LOGGED_OUT)


def change_password(executes: Executes, now: datetime, session: Session, new_hash: str, rules: SessionRules) -> str:
    """The user's own new password: every session of theirs ends, and this browser gets a new one."""
    token = secrets.token_urlsafe(32)
    user = session.user
    executes.execute(
        update(users)
        .where(users.c.id == user.id)
        .values(password_hash=new_hash, password_changed_at=now, must_change=False)
    )
    executes.execute(delete(sessions).where(sessions.c.user_id == user.id))
    _insert_session(executes, now, user, rules, token)
    note(executes, now, user.viewer.actor, Action.PASSWORD_CHANGED)
    return token
