"""The carrier's opt-out taken back by hand: a citizen has had his number taken off the carrier's blacklist.

No reply can say so, since the carrier, not the citizen, keeps the list; and nothing that is sent could show it, since
nothing is sent. So an operator who was told does it, and the audit says when.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, update

from models.ids import new_id
from models.tables import audit, opt_outs
from models.terms import Actor, AuditAction

__all__ = ["lift_carrier_opt_out"]


def lift_carrier_opt_out(connection: Connection, number_hash: bytes, now: datetime) -> bool:
    """Ends it from now on. False: there was none."""
    lifted = connection.execute(
        update(opt_outs)
        .where(opt_outs.c.number_hash == number_hash, opt_outs.c.origin == "carrier", opt_outs.c.ended_at.is_(None))
        .values(ended_at=now)
    ).rowcount
    if lifted:
        connection.execute(
            insert(audit).values(
                id=new_id(),
                at=now,
                actor=Actor.COMMAND_LINE.value,
                action=AuditAction.OPT_OUT_LIFTED.value,
                detail="carrier",
            )
        )
    return bool(lifted)
