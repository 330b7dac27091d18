"""Who sees what: one condition, on both databases, and pages that ask it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import insert, select

from console.reveal import Numbered, may_reveal
from console.viewer import ConsoleRole, Viewer, may_see, visible
from models.database import Database
from models.ids import new_id
from models.tables import calls, cases, evaluations, invitation_members, invitations, messages, outbox
from tests.console.site import Audited, MakeBrowser, Record
from tests.moments import START

NUMBER = "+8613800001234"
A, B = "11622900A", "11622900B"
SUPERVISOR = Viewer("s", ConsoleRole.SUPERVISOR)
VIEWERS = {
    "supervisor": (SUPERVISOR, {"call A", "call B", "case A", "case B"}),
    "supervisor of an area": (Viewer("s", ConsoleRole.SUPERVISOR, (), ("622921",)), {"call B", "case B"}),
    "department A": (Viewer("d", ConsoleRole.DEPARTMENT, (A,)), {"call A", "case A"}),
    "departments A and B": (Viewer("d", ConsoleRole.DEPARTMENT, (A, B)), {"call A", "call B", "case A", "case B"}),
    "department A in B's area": (Viewer("d", ConsoleRole.DEPARTMENT, (A,), ("622921",)), set[str]()),
    "department of nothing": (Viewer("d", ConsoleRole.DEPARTMENT), set[str]()),
    "an area with a sign of LIKE": (Viewer("d", ConsoleRole.DEPARTMENT, (), ("6229%",)), set[str]()),
    "admin": (Viewer("a", ConsoleRole.ADMIN), set[str]()),
    "auditor": (Viewer("u", ConsoleRole.AUDITOR), set[str]()),
    "wall screen": (Viewer("w", ConsoleRole.BOARD, (B,)), {"call B", "case B"}),
}


@pytest.fixture
def names(database: Database, record: Record) -> dict[str, str]:
    """Subject ids and their names; each has an invitation with an SMS, whose ids are named the same."""
    found = {
        record.call(A): "call A",
        record.call(B, area="622921"): "call B",
        record.case(A): "case A",
        record.case(B, area="622921"): "case B",
    }
    with database.write_engine.begin() as connection:
        for subject, name in list(found.items()):
            invitation, message = new_id(), new_id()
            connection.execute(
                insert(invitations).values(
                    id=invitation, kind="call", state="asked", key_map="k", created_at=START, changed_at=START
                )
            )
            connection.execute(insert(invitation_members).values(invitation_id=invitation, subject_id=subject))
            connection.execute(
                insert(messages).values(
                    id=message,
                    direction="out",
                    kind="invitation",
                    state="sent",
                    invitation_id=invitation,
                    created_at=START,
                    changed_at=START,
                )
            )
            found |= {invitation: name, message: name}
    return found


@pytest.mark.parametrize("who", VIEWERS)
def test_each_viewer_sees_what_is_theirs(who: str, names: dict[str, str], database: Database) -> None:
    viewer, expected = VIEWERS[who]
    found: dict[str, set[str]] = {}
    with database.read_engine.connect() as connection:
        for table in (evaluations, cases, calls, invitations, messages):
            key: Any = table.c.id if table in (invitations, messages) else table.c.subject_id
            found[table.name] = {
                names[row] for row in connection.execute(select(key).where(visible(viewer, table))).scalars()
            }
        in_memory = {
            names[row.subject_id]
            for row in connection.execute(select(evaluations))
            if may_see(viewer, row.dept_code, row.area_code)
        }
    assert found["evaluations"] == found["invitations"] == found["messages"] == in_memory == expected
    assert found["calls"] | found["cases"] == expected


def test_an_sms_that_belongs_to_nothing_is_seen_by_who_sees_all(database: Database) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(messages).values(
                id=new_id(), direction="in", kind="reply", state="read", created_at=START, changed_at=START
            )
        )
    with database.read_engine.connect() as connection:
        for viewer, seen in ((SUPERVISOR, 1), (Viewer("d", ConsoleRole.DEPARTMENT, (A,)), 0)):
            assert len(list(connection.execute(select(messages).where(visible(viewer, messages))))) == seen


def test_a_table_that_nobody_has_thought_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"viewer\.py"):
        visible(SUPERVISOR, outbox)


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

PAGES: dict[str, set[ConsoleRole]] = {
    "/": {ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT},
    "/audit": {ConsoleRole.AUDITOR},
    "/people": {ConsoleRole.ADMIN},
    "/people/tokens": {ConsoleRole.ADMIN},
    "/people/boards": {ConsoleRole.ADMIN},
    "/account/password": {role for role in ConsoleRole if role is not ConsoleRole.BOARD},
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", [role for role in ConsoleRole if role is not ConsoleRole.BOARD])
def test_each_role_gets_its_pages_by_link_and_by_address(browser: MakeBrowser, role: ConsoleRole) -> None:
    someone = browser(role, depts=(A,) if role is ConsoleRole.DEPARTMENT else ())
    home = someone.get("/")
    start = someone.get(home.to) if home.status == 303 else home
    for path, roles in PAGES.items():
        status = someone.get(path).status
        if path == "/" and role not in roles:
            assert (status, home.to in PAGES) == (303, True)
        else:
            assert status == (200 if role in roles else 403), path
        if path != "/account/password":
            assert (f'<li><a href="{path}"' in start.text) == (role in roles), path


def test_the_boards_count_is_the_departments(browser: MakeBrowser, record: Record) -> None:
    record.case(A, 5)
    record.case(B, 1)
    record.call(A, 2)
    record.count()

    def told(page: str) -> set[str]:
        return set(re.findall(r"(?:来电|工单)评价 \d+ 件", page))

    page = browser(ConsoleRole.DEPARTMENT, "dept", depts=(A,)).get("/").text
    assert told(page) == {"来电评价 1 件", "工单评价 1 件"}
    assert told(browser(ConsoleRole.SUPERVISOR).get("/").text) == {"来电评价 1 件", "工单评价 2 件"}


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(someone: Any, kind: str, row_id: str, reason: str = "回访核实办理情况") -> Any:
    return someone.send("/reveal", "/account/password", kind=kind, id=row_id, reason=reason)


def test_a_supervisor_gets_a_number_for_a_reason_and_the_audit_has_no_number(
    browser: MakeBrowser, record: Record, audited: Audited
) -> None:
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    case = record.case(A, number=NUMBER)
    before = someone.get(f"/reveal?kind=case&id={case}")
    assert (before.status, "13800001234" in before.text) == (200, False)
    for reason in ("", "   ", "查", "x" * 201):
        refused = ask(someone, "case", case, reason)
        assert (refused.status, "13800001234" in refused.text) == (422, False)
    assert not [row for row in audited() if row[1] == "number.revealed"]
    shown = ask(someone, "case", case, "市民来电 138 0000 1234 催办，13800001234")
    assert shown.status == 200
    assert "13800001234" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    [row] = [row for row in audited() if row[1] == "number.revealed"]
    assert row[0] == "user:ma"
    assert row[2] is not None
    assert "催办" in row[2]
    assert "0000" not in row[2]


@pytest.mark.parametrize(
    ("role", "dept", "level", "allowed"),
    [
        (ConsoleRole.DEPARTMENT, A, 2, True),
        (ConsoleRole.DEPARTMENT, A, 1, True),
        (ConsoleRole.DEPARTMENT, A, 3, False),
        (ConsoleRole.DEPARTMENT, B, 1, False),
        (ConsoleRole.SUPERVISOR, B, 5, True),
    ],
)
@pytest.mark.parametrize("kind", ["call", "case"])
def test_a_department_gets_numbers_of_its_own_bad_ratings_alone(
    browser: MakeBrowser,
    record: Record,
    audited: Audited,
    kind: str,
    role: ConsoleRole,
    dept: str,
    level: int,
    allowed: bool,
) -> None:
    someone = browser(role, depts=(A,) if role is ConsoleRole.DEPARTMENT else ())
    subject = getattr(record, kind)(dept, level, number=NUMBER)
    page = ask(someone, kind, subject)
    assert (page.status, "13800001234" in page.text) == ((200, True) if allowed else (404, False))
    assert ("number.revealed" in [row[1] for row in audited()]) is allowed


@pytest.mark.parametrize("role", [ConsoleRole.ADMIN, ConsoleRole.AUDITOR])
def test_admins_and_auditors_get_no_number(browser: MakeBrowser, record: Record, role: ConsoleRole) -> None:
    subject = record.case(A, 1, number=NUMBER)
    assert ask(browser(role), "case", subject).status == 403


@pytest.mark.parametrize("table", [calls, cases, messages])
def test_the_condition_of_a_reveal_is_never_wider_than_what_is_seen(
    names: dict[str, str], database: Database, table: Any
) -> None:
    with database.read_engine.connect() as connection:
        for viewer, _ in VIEWERS.values():
            seen = {tuple(row) for row in connection.execute(select(table).where(visible(viewer, table)))}
            revealed = {tuple(row) for row in connection.execute(select(table).where(may_reveal(viewer, table)))}
            assert revealed <= seen
            if viewer.role in {ConsoleRole.ADMIN, ConsoleRole.AUDITOR, ConsoleRole.BOARD}:
                assert not revealed


@pytest.mark.parametrize("path", ["/reveal?kind=case&id=..%2Fx", "/reveal?kind=users&id=" + "a" * 32, "/reveal"])
def test_a_guess_is_no_page(browser: MakeBrowser, path: str) -> None:
    assert browser(ConsoleRole.SUPERVISOR).get(path).status == 404


def test_what_has_no_number_is_not_there(browser: MakeBrowser, record: Record, audited: Audited) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    assert ask(someone, Numbered.CALL.value, record.call(A)).status == 404
    assert "number.revealed" not in [row[1] for row in audited()]
