"""`huiyin user`: the first admin, and what an operator does beside a serving process."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from config.loading import load
from config.values import Address
from models.database import open_database
from models.tables import audit, users
from tests.console.browser import Browser
from tests.server.running import Huiyin, run_command, write_config

PASSWORD = "Klee+Blatt-7"


@pytest.mark.slow
def test_a_user_that_was_added_logs_in(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Huiyin(config, "--only", "console").ready() as server:
        made = run_command("user", "add", "ma", "--role", "supervisor", "-c", config, stdin=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr
        browser = Browser(Address("127.0.0.1", server.port("console")))
        assert browser.log_in("ma", PASSWORD).to == "/account/password"
        changed = browser.send(
            "/account/password", "/account/password", old=PASSWORD, new="New+Word-99", again="New+Word-99"
        )
        assert changed.to == "/"
        assert "今日看板" in browser.get("/").text
        assert run_command("user", "disable", "ma", "-c", config).returncode == 0
        assert browser.get("/").to == "/login"
        assert server.get("/healthz")[0] == 200
        assert server.get("/api/openapi.json")[0] == 200
        assert server.get("/docs")[0] == 404
        server.signal()
        assert server.ended() == 0
        log = "\n".join(server.lines)
    assert PASSWORD not in log
    assert "Traceback" not in log


def test_users_are_listed_and_changed(tmp_path: Path) -> None:
    config = write_config(tmp_path)

    def user(*words: str, stdin: str = "") -> tuple[int, str]:
        done = run_command("user", *words, "-c", config, stdin=stdin)
        return done.returncode, (done.stdout + done.stderr).strip()

    new = f"{PASSWORD}\n"
    assert user("add", "li", "--role", "admin", "--keep", stdin=new)[0] == 0
    assert user("add", "gongan", "--role", "department", "--dept", "A", "--dept", "B", stdin=new)[0] == 0
    assert user("add", "zhou", "--role", "supervisor", "--area", "622921", stdin=new)[0] == 0
    assert user("disable", "gongan")[1] == "gongan is disabled"
    assert user("disable", "gongan")[1] == "gongan was disabled already"
    listed = [line.split("\t") for line in user("list")[1].splitlines()]
    assert [(row[0], row[1], row[2]) for row in listed] == [
        ("li", "admin", ""),
        ("zhou", "supervisor", "area=622921"),
        ("gongan", "department", "dept=A,dept=B"),
    ]
    assert user("enable", "gongan")[0] == 0
    assert user("password", "gongan", stdin="New+Word-99\n")[0] == 0
    database = open_database(load(config, {}).database.connection_url, tmp_path)
    with database.read_engine.connect() as connection:
        changing = {row.name: row.must_change for row in connection.execute(select(users))}
        actions = [(row.actor, row.action) for row in connection.execute(select(audit).order_by(audit.c.id))]
    database.close()
    assert changing == {"li": False, "zhou": True, "gongan": True}
    assert {actor for actor, _ in actions} == {"command_line"}
    assert [action for _, action in actions][-3:] == ["user.disabled", "user.enabled", "user.password_set"]


@pytest.mark.parametrize(
    ("words", "stdin", "code", "told"),
    [
        (["add", "a b", "--role", "admin"], f"{PASSWORD}\n", 2, "a name has letters"),
        (["add", "li", "--role", "king"], f"{PASSWORD}\n", 2, "king"),
        (["add", "li", "--role", "department"], f"{PASSWORD}\n", 2, "needs --dept or --area"),
        (["add", "li", "--role", "admin", "--dept", "A"], f"{PASSWORD}\n", 2, "narrow a department user"),
        (["add", "li", "--role", "admin"], "", 1, "no password came on stdin"),
        (["add", "li", "--role", "admin"], "short\n", 1, "10 characters or more"),
        (["add", "li", "--role", "admin"], "1234567890\n", 1, "tried first"),
        (["password", "nobody"], f"{PASSWORD}\n", 1, "no user is named nobody"),
        (["disable", "nobody"], "", 1, "no user is named nobody"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, words: list[str], stdin: str, code: int, told: str) -> None:
    done = run_command("user", *words, "-c", write_config(tmp_path), stdin=stdin)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
