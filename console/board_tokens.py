"""Tokens of wall screens: they show figures and no person, do not expire, and can be revoked.

The same rules as for the API's tokens (console/tokens.py): 32 random bytes, shown once, stored as their SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from console.auditing import Action, Executes, note
from console.viewer import ConsoleRole, Viewer, read_codes, stored_codes, told_codes
from models.errors import StoreError
from models.ids import new_id
from models.tables import board_tokens

__all__ = [
    "BoardToken",
    "BoardTokenExists",
    "add_board_token",
    "find_board_token",
    "list_board_tokens",
    "revoke_board_token",
]

_PREFIX = "hb_"


class BoardTokenExists(StoreError):
    """A wall screen of this name is in use."""


@dataclass(frozen=True, slots=True)
class BoardToken:
    name: str
    depts: tuple[str, ...]
    areas: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None

    @property
    def viewer(self) -> Viewer:
        """What the screen may show figures of."""
        return Viewer(self.name, ConsoleRole.BOARD, self.depts, self.areas)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def add_board_token(
    executes: Executes,
    now: datetime,
    name: str,
    *,
    depts: Sequence[str] = (),
    areas: Sequence[str] = (),
    actor: str,
) -> str:
    """Makes a token and returns its secret. A revoked name can be given again.

    Raises:
        BoardTokenExists: one of this name is in use.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    known = executes.execute(select(board_tokens).where(board_tokens.c.name == name)).first()
    if known is not None and known.revoked_at is None:
        raise BoardTokenExists(f"a wall screen named {name} is in use; revoke it first")
    values = {
        "secret_hash": _hash(secret),
        "depts": stored_codes(depts),
        "areas": stored_codes(areas),
        "created_at": now,
        "revoked_at": None,
    }
    if known is None:
        executes.execute(insert(board_tokens).values(id=new_id(), name=name, **values))
    else:
        executes.execute(update(board_tokens).where(board_tokens.c.id == known.id).values(**values))
    note(executes, now, actor, Action.BOARD_ADDED, detail=f"{name}{told_codes(depts, areas)}")
    return secret


def revoke_board_token(executes: Executes, now: datetime, name: str, *, actor: str) -> bool:
    """Ends a wall screen's token at once; False: none of this name is in use."""
    ended = executes.execute(
        update(board_tokens)
        .where(board_tokens.c.name == name, board_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if ended.rowcount == 0:
        return False
    note(executes, now, actor, Action.BOARD_REVOKED, detail=name)
    return True


def find_board_token(executes: Executes, secret: str) -> BoardToken | None:
    """The token with this secret that is not revoked."""
    if not secret.startswith(_PREFIX) or len(secret) > 100 or not secret.isascii():
        return None
    row = executes.execute(
        select(board_tokens).where(board_tokens.c.secret_hash == _hash(secret), board_tokens.c.revoked_at.is_(None))
    ).first()
    return None if row is None else _token(row)


def list_board_tokens(executes: Executes) -> list[BoardToken]:
    """Every token, those in use first."""
    rows = executes.execute(select(board_tokens).order_by(board_tokens.c.revoked_at.is_not(None), board_tokens.c.name))
    return [_token(row) for row in rows]


def _token(row: Any) -> BoardToken:
    return BoardToken(
        row.name,
        read_codes(row.depts),
        read_codes(row.areas),
        row.created_at,
        row.revoked_at,
    )
