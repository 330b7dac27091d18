"""API tokens: who may ask the HTTP API for what.

Rules kept here:

* A token is 32 random bytes, shown once; the database has its SHA-256 alone. So many random bytes need no salt and no
  slow hash.
* A token has one scope; none reveals a number. `read` can be narrowed to departments and areas.
* A revoked name can be given again: the new token of a system reads what its old one posted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from console.auditing import Action, Executes, note
from console.viewer import read_codes, stored_codes, told_codes
from models.errors import StoreError
from models.ids import new_id
from models.tables import api_tokens
from models.terms import Actor

__all__ = ["NAME", "Scope", "Token", "TokenExists", "add_token", "find_token", "list_tokens", "revoke_token"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,55}")
"""A token's name stands in the audit and with its cases."""
_PREFIX = "hy_"
_LONGEST = 128


class Scope(StrEnum):
    """What a token may do."""

    INTAKE = "intake"
    READ = "read"
    CENTRE = "centre"


class TokenExists(StoreError):
    """A token of this name is in use."""


@dataclass(frozen=True, slots=True)
class Token:
    """`depts`, `areas`: what a `read` token may see (an area is a prefix of the area code); empty: all."""

    id: str
    name: str
    scope: Scope
    depts: tuple[str, ...]
    areas: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def find_token(connection: Connection, secret: str) -> Token | None:
    """The token with this secret that is not revoked."""
    if not secret.startswith(_PREFIX) or len(secret) > _LONGEST or not secret.isascii():
        return None
    hashed = _hash(secret)
    row = connection.execute(select(api_tokens).where(api_tokens.c.secret_hash == hashed)).first()
    # The index has compared already, by a hash that tells nothing of the secret; this compares the whole of it.
    if row is None or not hmac.compare_digest(bytes(row.secret_hash), hashed) or row.revoked_at is not None:
        return None
    return _token(row)


def add_token(
    connection: Executes,
    now: datetime,
    name: str,
    scope: Scope,
    *,
    depts: Sequence[str] = (),
    areas: Sequence[str] = (),
    actor: str = Actor.COMMAND_LINE.value,
) -> str:
    """Makes a token and returns its secret, which nobody can show again.

    Raises:
        TokenExists: one of this name is in use.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    known = connection.execute(select(api_tokens).where(api_tokens.c.name == name)).first()
    if known is not None and known.revoked_at is None:
        raise TokenExists(f"a token named {name} is in use; revoke it first: huiyin token revoke {name} -c FILE")
    values = {
        "scope": scope.value,
        "secret_hash": _hash(secret),
        "depts": stored_codes(depts),
        "areas": stored_codes(areas),
        "created_at": now,
        "revoked_at": None,
    }
    if known is None:
        connection.execute(insert(api_tokens).values(id=new_id(), name=name, **values))
    else:
        connection.execute(update(api_tokens).where(api_tokens.c.id == known.id).values(**values))
    note(connection, now, actor, Action.TOKEN_ADDED, detail=f"{name}: {scope.value}{told_codes(depts, areas)}")
    return secret


def revoke_token(connection: Executes, now: datetime, name: str, *, actor: str = Actor.COMMAND_LINE.value) -> bool:
    """Ends a token at once; False: none of this name is in use."""
    ended = connection.execute(
        update(api_tokens).where(api_tokens.c.name == name, api_tokens.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    if ended.rowcount == 0:
        return False
    note(connection, now, actor, Action.TOKEN_REVOKED, detail=name)
    return True


def list_tokens(connection: Connection) -> list[Token]:
    """Every token, by name."""
    return [_token(row) for row in connection.execute(select(api_tokens).order_by(api_tokens.c.name))]


def _token(row: object) -> Token:
    values = row._mapping  # type: ignore[attr-defined]
    return Token(
        values["id"],
        values["name"],
        Scope(values["scope"]),
        read_codes(values["depts"]),
        read_codes(values["areas"]),
        values["created_at"],
        values["revoked_at"],
    )
