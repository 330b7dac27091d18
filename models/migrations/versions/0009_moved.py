"""Cases say what their evaluations say: departments and areas of before are brought together, and counted anew.

A case took nothing from the call in which it was rated, and its evaluations did; a case that was completed or changed
later left its evaluations behind; one that named no area, and a call of before 0005, lay in none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TOLD = {"dept_code": "dept", "agent": "agent"}
_COPIED = ("agent", "dept_code", "dept_name", "task_code", "task_name", "area_code")


def upgrade() -> None:
    connection = op.get_bind()
    for name, of_call in _TOLD.items():
        rated = f"SELECT max(e.{name}) FROM evaluations e WHERE e.subject_id = cases.subject_id AND e.effective"  # noqa: S608
        asked = (
            f"SELECT max(c.{of_call}) FROM invitation_members m"  # noqa: S608
            " JOIN invitation_members o ON o.invitation_id = m.invitation_id"
            " JOIN calls c ON c.subject_id = o.subject_id"
            " WHERE m.subject_id = cases.subject_id AND cases.batch_id IS NULL AND cases.theme_id IS NULL"
        )
        op.execute(f"UPDATE cases SET {name} = coalesce(({rated}), ({asked})) WHERE {name} IS NULL")  # noqa: S608
    op.execute(
        "UPDATE cases SET area_code = (SELECT max(e.area_code) FROM evaluations e"
        " WHERE e.subject_id = cases.subject_id AND e.effective) WHERE area_code IS NULL"
    )
    # A call lies in the hotline's area; the newest says which that is.
    newest = "SELECT area_code FROM calls WHERE area_code IS NOT NULL ORDER BY created_at DESC LIMIT 1"
    area = connection.execute(sa.text(newest)).scalar()
    changed = 0
    if area is not None:
        for table in ("cases", "calls"):
            filled = sa.text(f"UPDATE {table} SET area_code = :area WHERE area_code IS NULL")  # noqa: S608
            changed += connection.execute(filled, {"area": area}).rowcount * (table == "calls")
    # An invitation that asked about cases alone counts for the first of them.
    of_call = (
        "EXISTS (SELECT 1 FROM invitation_members m JOIN calls c ON c.subject_id = m.subject_id"
        " WHERE m.invitation_id = invitations.id)"
    )
    first = (
        "FROM invitation_members m JOIN cases c ON c.subject_id = m.subject_id"
        " WHERE m.invitation_id = invitations.id ORDER BY m.subject_id LIMIT 1"
    )
    said = {name: f"(SELECT c.{name} {first})" for name in ("dept_code", "area_code")}
    moved = (
        f"UPDATE invitations SET asked_dept = {said['dept_code']}, asked_area = {said['area_code']}"  # noqa: S608
        f" WHERE first_asked_at IS NOT NULL AND NOT {of_call}"
        f" AND (coalesce(asked_dept, '') <> coalesce({said['dept_code']}, '')"
        f" OR coalesce(asked_area, '') <> coalesce({said['area_code']}, ''))"
    )
    changed += connection.execute(sa.text(moved)).rowcount
    differs = " OR ".join(f"coalesce(c.{name}, '') <> coalesce(evaluations.{name}, '')" for name in _COPIED)
    behind = f"c.subject_id = evaluations.subject_id AND ({differs})"
    # Who follows the record has read them as they were.
    op.execute(
        "INSERT INTO feed (kind, subject_id, assess_number, at)"  # noqa: S608
        " SELECT 'evaluation', evaluations.subject_id, assess_number, CURRENT_TIMESTAMP FROM evaluations, cases c"
        f" WHERE {behind} ORDER BY evaluations.subject_id, assess_number"
    )
    taken = ", ".join(f"{name} = c.{name}" for name in _COPIED)
    changed += connection.execute(
        sa.text(f"UPDATE evaluations SET {taken} FROM cases c WHERE {behind}")  # noqa: S608
    ).rowcount
    if changed:  # `Database.upgrade` counts once the schema is whole
        op.execute("DELETE FROM meta WHERE key = 'figures.recount'")
        op.execute("INSERT INTO meta (key, value) VALUES ('figures.recount', '0009')")
