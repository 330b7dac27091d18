"""What an admin manages, and what an auditor reads."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import insert, select

from console.audit_reads import AuditFilters, audit_page, id_floor
from console.auditing import Action
from console.pages.people import new_password
from console.passwords import password_fault
from console.people import LastAdmin, disable_user
from console.tokens import find_token
from console.viewer import ConsoleRole
from models.database import Database
from models.tables import BY_PEOPLE, audit, board_tokens, users
from tests.console.browser import Browser, Page
from tests.console.site import PASSWORD, Audited, MakeBrowser, MakeUser, Record
from tests.moments import START


def secret_of(page: Page) -> str:
    found = re.search(r'id="secret">([^<]+)<', page.text)
    assert found is not None, page.text
    return unescape(found[1])


def test_an_admin_makes_a_user_who_changes_the_password_first(browser: MakeBrowser, audited: Audited) -> None:
    admin = browser(ConsoleRole.ADMIN, "ad")
    made = admin.send("/people", "/people", name="公安", role="department", depts="11622900A，11622900B", areas="6229")
    assert made.status == 200
    password = secret_of(made)
    assert password not in admin.get("/people").text
    someone = browser()
    assert someone.log_in("公安", password).to == "/account/password"
    assert ("user:ad", "user.added", "公安: department dept=11622900A dept=11622900B area=6229") in audited()
    assert not [row for row in audited() if password in (row[2] or "")]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"name": "a b", "role": "admin"}, 422, "用户名不符合要求"),
        ({"name": "x" * 33, "role": "admin"}, 422, "用户名不符合要求"),
        ({"name": "li", "role": "board"}, 422, "请选择角色"),
        ({"name": "li", "role": "department"}, 422, "部门用户须填"),
        ({"name": "li", "role": "auditor", "depts": "A"}, 422, "部门用户须填"),
        ({"name": "li", "role": "department", "depts": "A%"}, 422, "编码只能含"),
        ({"name": "ad", "role": "admin"}, 409, "已有人使用"),
    ],
)
def test_a_user_who_cannot_be(browser: MakeBrowser, fields: dict[str, str], status: int, words: str) -> None:
    page = browser(ConsoleRole.ADMIN, "ad").send("/people", "/people", **fields)
    assert (page.status, words in page.text) == (status, True)


def test_an_admin_disables_enables_and_resets(browser: MakeBrowser, user: MakeUser, audited: Audited) -> None:
    admin = browser(ConsoleRole.ADMIN, "ad")
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    assert admin.send("/people/change", "/people", name="ma", what="disable").to == "/people"
    assert "已停用" in admin.get("/people").text
    assert someone.get("/").to == "/login"
    admin.send("/people/change", "/people", name="ma", what="enable")
    assert someone.log_in("ma", PASSWORD).to == "/"
    password = secret_of(admin.send("/people/change", "/people", name="ma", what="password"))
    assert someone.get("/").to == "/login"
    assert someone.log_in("ma", PASSWORD).status == 401
    assert someone.log_in("ma", password).to == "/account/password"
    assert [action for actor, action, detail in audited() if (actor, detail) == ("user:ad", "ma")] == [
        "user.disabled",
        "user.enabled",
        "user.password_set",
    ]
    assert admin.send("/people/change", "/people", name="nobody", what="disable").status == 404
    assert admin.send("/people/change", "/people", name="ma", what="delete").status == 400


def test_the_last_admin_stays(browser: MakeBrowser, user: MakeUser, database: Database) -> None:
    admin = browser(ConsoleRole.ADMIN, "ad")
    page = admin.send("/people/change", "/people", name="ad", what="disable")
    assert (page.status, "最后一位管理员" in page.text) == (409, True)
    user("other", ConsoleRole.ADMIN)
    assert admin.send("/people/change", "/people", name="ad", what="disable").status == 303
    with database.write_engine.begin() as connection, pytest.raises(LastAdmin):
        disable_user(connection, START, "other", actor="command_line")


def test_a_made_password_would_do() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert {password_fault(password, "ma") for password in made} == {None}


def test_an_admin_makes_and_revokes_the_apis_tokens(browser: MakeBrowser, database: Database, audited: Audited) -> None:
    admin = browser(ConsoleRole.ADMIN, "ad")
    page = "/people/tokens"
    secret = secret_of(admin.send(page, page, name="report", scope="read", depts="A B", what="add"))
    with database.read_engine.connect() as connection:
        token = find_token(connection, secret)
    assert token is not None
    assert token.depts == ("A", "B")
    assert admin.send(page, page, name="report", scope="read", what="add").status == 409
    assert admin.send(page, page, name="x", scope="intake", depts="A", what="add").status == 422
    assert admin.send(page, page, name="x", scope="all", what="add").status == 422
    assert admin.send(page, page, name="report", what="revoke").to == page
    with database.read_engine.connect() as connection:
        assert find_token(connection, secret) is None
    added = ("user:ad", "token.added", "report: read dept=A dept=B")
    assert audited()[-2:] == [added, ("user:ad", "token.revoked", "report")]
    secret_of(admin.send(page, page, name="whole", scope="read", what="add"))
    assert audited()[-1] == ("user:ad", "token.added", "whole: read")
    told = browser(ConsoleRole.AUDITOR, "sj").get("/audit").text
    assert "report：读取评价，部门 A、B<" in told
    assert "whole：读取评价<" in told


def test_the_audit_tells_what_a_wall_screen_is_bound_to(browser: MakeBrowser, audited: Audited) -> None:
    admin = browser(ConsoleRole.ADMIN, "ad")
    page = "/people/boards"
    secret_of(admin.send(page, page, name="大厅", depts="A", areas="6229 6230", what="add"))
    secret_of(admin.send(page, page, name="中心", what="add"))
    assert [row[1:] for row in audited()[-2:]] == [
        ("board.added", "大厅 dept=A area=6229 area=6230"),
        ("board.added", "中心"),
    ]
    told = browser(ConsoleRole.AUDITOR, "sj").get("/audit").text
    assert "大厅，部门 A，区划 6229、6230<" in told
    assert ">中心<" in told
    secret_of(admin.send(page, page, name="多", depts=" ".join(f"11622900MB{n:08}" for n in range(60)), what="add"))
    assert (audited()[-1][2] or "").endswith("…"), "what the audit has no room for is told to be missing"


def test_a_wall_screen_shows_figures_of_its_own_and_no_person_until_it_is_revoked(
    browser: MakeBrowser, record: Record, database: Database
) -> None:
    record.case("A", 5, number="+8613800001234")
    record.case("B", 1)
    record.count()
    admin = browser(ConsoleRole.ADMIN, "ad")
    page = "/people/boards"
    url = secret_of(admin.send(page, page, name="大厅", depts="A", what="add"))
    address, _, token = url.partition("#")
    assert address.endswith("/wall"), "what stands behind # is never sent, and so never in a proxy's log"
    wall = browser()
    assert 'data-fragment="token"' in wall.get("/wall").text
    assert wall.get("/wall?token=hb_guess").status == 403
    assert wall.post("/wall", {"token": "hb_guess"}).status == 403
    assert wall.post("/wall", {}).status == 403
    assert wall.post("/wall", {"token": token}).to == "/wall"
    by_query = browser()
    assert by_query.get(f"/wall?token={token}").to == "/wall", "the token leaves the address"
    assert "评价 1 件" in by_query.get("/wall").text
    shown = wall.get("/wall")
    assert "评价 1 件" in shown.text
    assert "评价 2 件" not in shown.text
    assert "001234" not in shown.text
    assert "Max-Age=34473600" in " ".join(shown.cookies)
    for other in ("/", "/people", "/audit", "/reveal"):
        assert wall.get(other).to.startswith("/login"), other
    with database.read_engine.connect() as connection:
        assert all(
            token[-20:].encode() not in bytes(row.secret_hash) for row in connection.execute(select(board_tokens))
        )
    admin.send(page, page, name="大厅", what="revoke")
    door = wall.get("/wall")
    assert (door.status, 'data-fragment="token"' in door.text) == (403, True)
    again = secret_of(admin.send(page, page, name="大厅", what="add")).partition("#")[2]
    assert wall.post("/wall", {"token": again}).to == "/wall"
    assert wall.get("/wall").status == 200


# ── the audit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(database: Database, count: int) -> None:
    """A row a minute, by a person, by a machine, in turn."""
    with database.write_engine.begin() as connection:
        for place in range(count):
            at = START + timedelta(minutes=place)
            person = place % 2 == 0
            connection.execute(
                insert(audit).values(
                    id=id_floor(at)[:12] + f"{place:020x}",
                    at=at,
                    actor="user:ma" if person else "ivr",
                    action=Action.LOGGED_IN.value if person else "rating.stored",
                    detail=f"row {place}",
                )
            )


def test_an_auditor_reads_what_people_did_page_by_page(browser: MakeBrowser, database: Database) -> None:
    auditor = browser(ConsoleRole.AUDITOR)
    fill(database, 450)
    path, seen = "/audit?actor=ma", []
    for _ in range(3):
        page = auditor.get(path)
        seen += [int(row) for row in re.findall(r"row (\d+)<", page.text)]
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = unescape(following[1]) if following else ""
    assert path == ""
    assert seen == list(range(448, -1, -2))


def test_the_audit_is_filtered(database: Database) -> None:
    fill(database, 10)

    def found(**filters: object) -> list[str]:
        with database.read_engine.connect() as connection:
            page = audit_page(connection, AuditFilters(**filters), None, 100)  # type: ignore[arg-type]
        return [row.detail for row in page.rows]

    assert found() == ["row 8", "row 6", "row 4", "row 2", "row 0"]
    assert found(machines=True, action="rating.stored", start=START + timedelta(minutes=5)) == [
        "row 9",
        "row 7",
        "row 5",
    ]
    assert found(machines=True, end=START + timedelta(minutes=2)) == ["row 1", "row 0"]
    assert found(actor="user:nobody") == []


def test_a_page_of_the_audit_looks_at_so_many_rows_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.audit_reads.SCAN", 3)
    fill(database, 10)
    wanted = AuditFilters(machines=True, action="rating.stored")
    cursor, found, looks = None, [], 0
    with database.read_engine.connect() as connection:
        while True:
            page = audit_page(connection, wanted, cursor, 100)
            found += [row.detail for row in page.rows]
            cursor, looks = page.cursor, looks + 1
            if cursor is None:
                break
    assert found == [f"row {place}" for place in (9, 7, 5, 3, 1)]
    assert looks == 4


@pytest.mark.parametrize("query", ["from=x&to=y", "cursor=%27--", "from=9999-12-31&to=9999-12-31", "machines=2"])
def test_a_filter_that_is_none_is_no_fault(browser: MakeBrowser, query: str) -> None:
    assert browser(ConsoleRole.AUDITOR).get(f"/audit?{query}").status == 200


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_people_did_is_found_by_its_index(database: Database) -> None:
    """On SQLite: PostgreSQL plans by the table's size."""
    with database.read_engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT * FROM audit WHERE ({BY_PEOPLE}) ORDER BY id DESC LIMIT 10"
        ).fetchall()
    assert "ix_audit_people" in str(plan)


def test_nobody_stays_behind(browser: MakeBrowser, database: Database) -> None:
    """No page deletes a user: the audit's names stay somebody's."""
    admin: Browser = browser(ConsoleRole.ADMIN, "ad")
    admin.send("/people", "/people", name="li", role="auditor")
    admin.send("/people/change", "/people", name="li", what="disable")
    assert admin.send("/people", "/people", name="li", role="admin").status == 409
    with database.read_engine.connect() as connection:
        assert {row.name for row in connection.execute(select(users))} == {"ad", "li"}
