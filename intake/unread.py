"""Replies that were stored and not read yet, with all that reading them needs: their parts, and the key map of the
invitation they seem to mean.

Only looks; whether it is still so is decided in the transaction that takes the reply (intake/replies.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select

from intake.conversation import GivenCode, which_invitation
from intake.inbound import NO_LEVEL
from models.tables import UtcTime, codes, invitations, messages, parts
from models.terms import InvitationState, MessageState

__all__ = ["Given", "StoredPart", "Unread", "load_given", "load_unread", "unread_ids"]

_OPEN = frozenset({InvitationState.WAITING, InvitationState.ASKED})


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A deliver_sm as it was stored; `body` with its header."""

    esm_class: int
    data_coding: int
    body: bytes
    number: int
    total: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """A reply to be read. `key_map`: of the invitation it seems to mean; None: of none, any map will do.

    `sender`: the same for all replies of one number; `incomplete`: parts of it never came, or
    may be another's.
    """

    message_id: str
    sender: bytes | None
    link: str
    incomplete: bool
    key_map: str | None
    parts: tuple[StoredPart, ...]


def unread_ids(connection: Any, after: str, limit: int) -> list[str]:
    """Unread replies, oldest first, from those after the id `after` on ("" for all)."""
    query = select(messages.c.id).where(messages.c.state == MessageState.UNREAD.value)
    if after:
        query = query.where(messages.c.id > after)
    return list(connection.execute(query.order_by(messages.c.id).limit(limit)).scalars())


def load_unread(
    connection: Any, ids: Sequence[str], late_window: timedelta, bare_links: Collection[str]
) -> list[Unread]:
    """Those of the messages that are still unread, in the order given, with all that reading them needs.

    Args:
        bare_links: the links without extension codes.
    """
    rows = connection.execute(
        select(
            messages.c.id,
            messages.c.number_hash,
            messages.c.link,
            messages.c.code,
            messages.c.reason,
            messages.c.created_at,
        ).where(messages.c.id.in_(ids), messages.c.state == MessageState.UNREAD.value)
    ).all()
    if not rows:
        return []
    known = {row.id: row for row in rows}
    bodies: dict[str, list[StoredPart]] = {}
    for part in connection.execute(select(parts).where(parts.c.message_id.in_(list(known))).order_by(parts.c.number)):
        bodies.setdefault(part.message_id, []).append(
            StoredPart(part.esm_class, part.data_coding, part.body, part.number, part.total, part.received_at)
        )
    given = load_given(connection, {row.number_hash for row in rows if row.number_hash is not None})
    found = []
    for identity in ids:
        row = known.pop(identity, None)
        if row is None:
            continue
        ours = given.get(row.number_hash, [])
        _, invitation = which_invitation(
            row.code or "",
            [one.plain for one in ours],
            row.created_at,
            late_window,
            bare_link=row.code is not None and row.link in bare_links,
        )
        key_map = next((one.key_map for one in ours if one.plain.invitation_id == invitation), None)
        found.append(
            Unread(
                identity,
                row.number_hash,
                row.link or "",
                row.reason in NO_LEVEL,
                key_map,
                tuple(bodies.get(identity, ())),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Given:
    """A code of a number, with the key map of its invitation."""

    plain: GivenCode
    key_map: str


_GIVEN = (
    select(
        codes.c.number_hash,
        codes.c.code,
        codes.c.invitation_id,
        codes.c.given_at,
        invitations.c.state,
        func.coalesce(invitations.c.ended_at, invitations.c.changed_at, type_=UtcTime()).label("ended_at"),
        invitations.c.key_map,
    )
    .select_from(codes)
    .join(invitations, invitations.c.id == codes.c.invitation_id)
    .where(codes.c.number_hash.in_(bindparam("hashes", expanding=True)))
)


def load_given(connection: Any, hashes: Collection[bytes]) -> dict[bytes, list[Given]]:
    """The codes of each number with the invitations they stand for."""
    found: dict[bytes, list[Given]] = {}
    if hashes:
        for row in connection.execute(_GIVEN, {"hashes": list(hashes)}):
            is_open = InvitationState(row.state) in _OPEN
            ended_at = None if is_open else row.ended_at
            plain = GivenCode(row.code, row.invitation_id, row.given_at, open=is_open, ended_at=ended_at)
            found.setdefault(row.number_hash, []).append(Given(plain, row.key_map))
    return found
