"""Log-in, sessions and the slow-down, over real HTTP and on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import repeat
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from config.values import Address
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.passwords import Fault, Passwords, TooBusy, password_fault
from console.people import disable_user, find_user, set_password
from console.sessions import BY_ADDRESS, BY_NAME, BY_PAIR, KNOWN_FOR, Allowance, begin_attempt
from console.viewer import ConsoleRole
from models.clock import TurnedClock
from models.database import Database
from models.tables import login_attempts, sessions
from server.health import HealthServer
from tests.console.browser import Browser
from tests.console.site import PASSWORD, QUICK, Audited, MakeBrowser, MakeUser
from tests.moments import START

Rows = Callable[[Any], list[Any]]
WRONG = "wrong+Blatt-8"


def test_a_person_logs_in_sees_the_board_and_logs_out(browser: MakeBrowser, user: MakeUser, audited: Audited) -> None:
    someone = browser()
    user()
    assert (someone.get("/").status, someone.get("/").to) == (303, "/login")
    assert someone.log_in("ma", PASSWORD).to == "/"
    page = someone.get("/")
    assert page.status == 200
    assert "今日看板" in page.text
    assert someone.send("/logout", "/").to == "/login"
    assert someone.get("/").to == "/login"
    assert [row[:2] for row in audited()] == [
        ("command_line", "user.added"),
        ("user:ma", "login.succeeded"),
        ("user:ma", "login.ended"),
    ]


def test_the_log_in_leads_back_to_where_one_wanted_to_go(browser: MakeBrowser, user: MakeUser) -> None:
    user()
    someone = browser()
    assert someone.get("/reveal?kind=call&id=x").to == "/login?next=%2Freveal%3Fkind%3Dcall%26id%3Dx"
    assert someone.log_in("ma", PASSWORD, "/reveal?kind=call").to == "/reveal?kind=call"


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/\r\nX: y", "x"])
def test_it_leads_nowhere_else(browser: MakeBrowser, user: MakeUser, back: str) -> None:
    user()
    assert browser().log_in("ma", PASSWORD, back).to == "/"


# ── cookies and sessions ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cookie_is_no_scripts_and_no_other_sites(browser: MakeBrowser, user: MakeUser, rows: Rows) -> None:
    user()
    plain = browser()
    [cookie] = [one for one in plain.log_in("ma", PASSWORD).cookies if one.startswith("huiyin_session=")]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Max-Age" not in cookie
    token = plain.cookies["huiyin_session"]
    assert all(token.encode() not in bytes(row.token_hash) for row in rows(sessions))


def test_over_https_it_is_secure_and_no_other_hosts(browser: MakeBrowser, user: MakeUser) -> None:
    """A proxy that is believed says so."""
    user()
    proxied = browser()
    proxied.headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.9.9.9"}
    cookies = proxied.log_in("ma", PASSWORD).cookies
    assert any(one.startswith("__Host-huiyin_session=") and "; Secure" in one for one in cookies)
    assert proxied.get("/").status == 200


def test_a_proxy_that_nobody_named_is_told_of_once(
    console: Console, user: MakeUser, capsys: pytest.CaptureFixture[str]
) -> None:
    user()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        proxied = Browser(server.address)
        for said in ("http", "https", "https"):
            proxied.headers = {"X-Forwarded-Proto": said}
            cookies = proxied.log_in("ma", PASSWORD).cookies
            assert any(one.startswith("huiyin_session=") for one in cookies)
            proxied.cookies.clear()
    finally:
        server.stop()
    assert "".join(capsys.readouterr()).count("a proxy that console.proxies does not name") == 1


def test_a_session_is_a_new_one_with_each_log_in(browser: MakeBrowser, user: MakeUser) -> None:
    user()
    planted = browser()
    planted.cookies["huiyin_session"] = "planted-by-somebody"
    planted.log_in("ma", PASSWORD)
    first = planted.cookies["huiyin_session"]
    assert first != "planted-by-somebody"
    again = browser()
    again.log_in("ma", PASSWORD)
    assert again.cookies["huiyin_session"] != first


@pytest.mark.parametrize(
    ("steps", "open_still"),
    [
        pytest.param([timedelta(minutes=119)], True, id="used within the idle time"),
        pytest.param([timedelta(hours=2)], False, id="not used for the idle time"),
        pytest.param([timedelta(minutes=110)] * 6, True, id="used again and again"),
        pytest.param([timedelta(minutes=110)] * 7, False, id="over after its life, however much used"),
    ],
)
def test_a_session_ends(
    browser: MakeBrowser, clock: TurnedClock, console: Console, steps: list[timedelta], open_still: bool
) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    for step in steps:
        clock.turn(step)
        page = someone.get("/")
        console.write(lambda unit: None)  # behind the note of the use
    assert (page.status == 200) is open_still


def test_a_disabled_user_is_out_at_once(browser: MakeBrowser, database: Database) -> None:
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    with database.write_engine.begin() as connection:
        disable_user(connection, START, "ma", actor="command_line")
    assert someone.get("/").to == "/login"
    assert someone.log_in("ma", PASSWORD).status == 401


# ── CSRF ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_form_carries_the_sessions_secret(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.ADMIN, "ad")
    other = browser(ConsoleRole.ADMIN, "other")
    stolen = other.get("/people").hidden("csrf")
    for path in ("/logout", "/people", "/people/change", "/people/tokens", "/people/boards", "/account/password"):
        assert someone.post(path, {}).status == 403, path
        assert someone.post(path, {"csrf": stolen}).status == 403, path
    assert someone.get("/people").status == 200


def test_another_site_cannot_log_a_browser_in(browser: MakeBrowser, user: MakeUser) -> None:
    user()
    assert browser().post("/login", {"name": "ma", "password": PASSWORD}).status == 403
    victim = browser()
    victim.get("/login")
    assert victim.post("/login", {"name": "ma", "password": PASSWORD, "csrf": "guess"}).status == 403
    someone = browser()
    someone.headers = {"Sec-Fetch-Site": "cross-site"}
    assert someone.log_in("ma", PASSWORD).status == 403


# ── the slow-down ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_wait_doubles_up_to_its_longest() -> None:
    allowance = Allowance(5, timedelta(minutes=5))
    waits = [allowance.wait_after(failures).total_seconds() for failures in (0, 4, 5, 6, 7, 11, 13, 1000)]
    assert waits == [0, 0, 2, 4, 8, 128, 300, 300]


def test_after_failures_even_the_right_password_waits(
    browser: MakeBrowser, user: MakeUser, clock: TurnedClock, rows: Rows
) -> None:
    user()
    someone = browser()
    for _ in range(BY_PAIR.free):
        assert someone.log_in("ma", WRONG).status == 401
    refused = someone.log_in("ma", PASSWORD)
    assert (refused.status, refused.headers["retry-after"]) == (429, "2")
    assert "请在 2 秒后再试" in refused.text
    assert len(rows(login_attempts)) == BY_PAIR.free, "what is refused unseen does not count"
    clock.turn(timedelta(seconds=2))
    assert someone.log_in("ma", WRONG).status == 401
    assert someone.log_in("ma", PASSWORD).headers["retry-after"] == "4"
    clock.turn(timedelta(seconds=4))
    assert someone.log_in("ma", PASSWORD).status == 303
    for _ in range(BY_PAIR.free):  # the success has wiped out what was before it
        clock.turn(timedelta(seconds=1))
        assert browser().log_in("ma", WRONG).status == 401


def test_a_name_that_nobody_has_is_answered_the_same(browser: MakeBrowser, user: MakeUser) -> None:
    user()
    answers = []
    for name in ("ma", "nobody"):
        someone = browser()
        pages = [someone.log_in(name, WRONG) for _ in range(BY_PAIR.free + 1)]
        answers.append([(page.status, page.text.replace(f'value="{name}"', "").split("<form")[0]) for page in pages])
    assert answers[0] == answers[1]


def test_a_name_that_nobody_has_costs_as_much_time() -> None:
    hashes: list[str] = []

    class Counted(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            hashes.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Counted(time_cost=1, memory_cost=64, parallelism=1))
    assert not passwords.matches(None, PASSWORD)
    assert not passwords.matches(QUICK.hash(PASSWORD), WRONG)
    assert passwords.matches(QUICK.hash(PASSWORD), PASSWORD)
    assert len(hashes) == 3


HERE, ELSEWHERE = {"X-Forwarded-For": "10.0.0.7"}, {"X-Forwarded-For": "10.0.0.8"}


def fail(console: Console, names: Iterable[str], addresses: Iterable[str]) -> None:
    """Wrong passwords, as the log-in stores them."""
    for name, address in zip(names, addresses, strict=False):
        attempt = console.write(partial(begin_attempt, now=console.clock.now(), name=name, address=address))
        assert attempt.id is not None


def test_an_address_that_tries_many_names_waits_too(browser: MakeBrowser, user: MakeUser, console: Console) -> None:
    user()
    there, elsewhere = browser(), browser()
    there.headers, elsewhere.headers = HERE, ELSEWHERE
    fail(console, [f"name{place}" for place in range(BY_ADDRESS.free)], repeat("10.0.0.7"))
    assert there.log_in("ma", PASSWORD).status == 429
    assert elsewhere.log_in("ma", PASSWORD).status == 303


def test_who_logs_in_clears_their_address_of_their_own_failures_alone(
    browser: MakeBrowser, user: MakeUser, console: Console, clock: TurnedClock
) -> None:
    """With an account of one's own the passwords of others could else be tried without end."""
    user()
    mine, stranger = browser(), browser()
    mine.headers = stranger.headers = HERE
    fail(console, [f"name{place}" for place in range(BY_ADDRESS.free - 2)], repeat("10.0.0.7"))
    fail(console, ["ma"], ["10.0.0.7"])
    clock.turn(timedelta(seconds=1))
    assert mine.log_in("ma", PASSWORD).status == 303
    clock.turn(timedelta(seconds=1))
    fail(console, ["another"], ["10.0.0.7"])
    assert stranger.log_in("bai", WRONG).status == 401  # all but one of them are used up
    assert stranger.log_in("bai", WRONG).status == 429


def test_a_name_that_is_tried_from_many_addresses_waits_too(
    browser: MakeBrowser, user: MakeUser, console: Console
) -> None:
    user()
    fail(console, repeat("ma"), [f"10.1.0.{place}" for place in range(BY_NAME.free)])
    assert browser().log_in("ma", PASSWORD).headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("names", "addresses", "stranger"),
    [
        pytest.param(
            [f"name{place}" for place in range(BY_ADDRESS.free)],
            repeat("10.0.0.7"),
            ("bai", "10.0.0.7"),
            id="under other names behind the same router",
        ),
        pytest.param(
            repeat("ma"),
            [f"10.1.0.{place}" for place in range(BY_NAME.free)],
            ("ma", "10.0.0.9"),
            id="under this name, elsewhere",
        ),
    ],
)
def test_who_has_logged_in_from_there_is_not_kept_out_by_others(
    browser: MakeBrowser,
    user: MakeUser,
    console: Console,
    clock: TurnedClock,
    names: Iterable[str],
    addresses: Iterable[str],
    stranger: tuple[str, str],
) -> None:
    """One wrong try each time the wait is over would keep everybody out for ever."""
    user()
    first = browser()
    first.headers = HERE
    assert first.log_in("ma", PASSWORD).status == 303
    clock.turn(KNOWN_FOR - timedelta(days=1))
    fail(console, names, addresses)
    name, address = stranger
    unknown, known = browser(), browser()
    unknown.headers, known.headers = {"X-Forwarded-For": address}, HERE
    assert unknown.log_in(name, PASSWORD).status == 429
    assert known.log_in("ma", PASSWORD).status == 303


def test_the_softer_waits_are_short() -> None:
    assert BY_PAIR.free < BY_NAME.free < BY_ADDRESS.free
    assert BY_PAIR.longest > BY_NAME.longest > BY_ADDRESS.longest


def test_an_attempt_that_was_sent_away_does_not_count(
    browser: MakeBrowser, user: MakeUser, console: Console, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> bool:
        raise TooBusy

    user()
    someone = browser(ConsoleRole.ADMIN, "ad")
    before = len(rows(login_attempts))
    monkeypatch.setattr(console.passwords, "matches", busy)
    assert browser().log_in("ma", PASSWORD).status == 503
    page = "/account/password"
    assert someone.send(page, page, old=PASSWORD, new="New+Word-99", again="New+Word-99").status == 503
    assert len(rows(login_attempts)) == before


def test_old_attempts_go_and_successes_stay_as_long_as_they_make_somebody_known(
    user: MakeUser, browser: MakeBrowser, console: Console, clock: TurnedClock, rows: Rows
) -> None:
    user()
    browser().log_in("ma", PASSWORD)
    browser().log_in("ma", WRONG)
    clock.turn(timedelta(days=2))
    fail(console, ["x"], ["10.0.0.7"])
    assert [row.failed for row in rows(login_attempts)] == [False, True]
    clock.turn(KNOWN_FOR)
    fail(console, ["x"], ["10.0.0.7"])
    assert [row.failed for row in rows(login_attempts)] == [True]


def test_failures_count_in_another_process_too(
    site: HealthServer, browser: MakeBrowser, user: MakeUser, make_door: Any, console: Console
) -> None:
    """Another door of the same database knows them: they are rows."""
    user()
    for _ in range(BY_PAIR.free):
        browser().log_in("ma", WRONG)
    other = make_door()
    attempt = other.write(lambda unit: begin_attempt(unit, console.clock.now(), "ma", "127.0.0.1")).result(10)
    assert attempt.id is None


def test_a_failure_is_audited_and_a_name_that_nobody_has_is_not_written_down(
    browser: MakeBrowser, user: MakeUser, audited: Audited
) -> None:
    user()
    browser().log_in("ma", WRONG)
    browser().log_in("MySecretPassword!", "")
    assert audited()[1:] == [("user:ma", "login.failed", "127.0.0.1"), ("user:", "login.failed", "127.0.0.1")]


# ── passwords ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("Ab1+short", Fault.TOO_SHORT),
        ("x" * 129, Fault.TOO_LONG),
        ("aaaaaaaaaa1", Fault.TOO_SIMPLE),
        ("abcdefghijk", Fault.TOO_SIMPLE),
        ("73519284605", Fault.TOO_SIMPLE),
        ("1234567890a", Fault.COMMON),
        ("Password123!", Fault.COMMON),
        ("mayulin-2026", Fault.LIKE_NAME),
        ("Klee+Blatt-7", None),
        ("correct horse battery", None),
        ("thisisverylongbutlower", None),
        ("热线评价热情服务好评如潮甲乙", Fault.TOO_SIMPLE),
        ("热线评价热情服务好评如潮甲乙丙丁", None),
        ("热线评价2026春夏秋", None),
    ],
)
def test_what_is_asked_of_a_password(password: str, fault: Fault | None) -> None:
    assert password_fault(password, "mayulin") is fault


def test_ones_own_new_password_ends_the_other_sessions(
    browser: MakeBrowser, user: MakeUser, audited: Audited, database: Database
) -> None:
    user()
    here, there = browser(), browser()
    here.log_in("ma", PASSWORD)
    there.log_in("ma", PASSWORD)
    page = "/account/password"
    for fields, words in (
        ({"old": WRONG, "new": "New+Word-99", "again": "New+Word-99"}, "当前密码不正确"),
        ({"old": PASSWORD, "new": "New+Word-99", "again": "New+Word-98"}, "不一致"),
        ({"old": PASSWORD, "new": "short", "again": "short"}, "太短"),
        ({"old": PASSWORD, "new": PASSWORD, "again": PASSWORD}, "不能与当前密码相同"),
    ):
        refused = here.send(page, page, **fields)
        assert (refused.status, words in refused.text) == (422, True), words
    before = here.cookies["huiyin_session"]
    assert here.send(page, page, old=PASSWORD, new="New+Word-99", again="New+Word-99").to == f"{page}?done=1"
    assert here.cookies["huiyin_session"] != before
    assert here.get("/").status == 200
    assert there.get("/").to == "/login"
    assert browser().log_in("ma", "New+Word-99").status == 303
    assert ("user:ma", "user.password_changed", None) in audited()


def test_a_password_that_somebody_else_set_is_changed_first(browser: MakeBrowser, user: MakeUser) -> None:
    user("ma", must_change=True)
    someone = browser()
    page = "/account/password"
    assert someone.log_in("ma", PASSWORD).to == page
    assert someone.get("/").to == page
    assert "请先改为自己的密码" in someone.get(page).text
    assert someone.send(page, page, old=PASSWORD, new="New+Word-99", again="New+Word-99").to == "/"
    assert someone.get("/").status == 200


def test_an_old_hash_is_made_anew_at_the_log_in(browser: MakeBrowser, user: MakeUser, database: Database) -> None:
    user()
    older = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash(PASSWORD)
    with database.write_engine.begin() as connection:
        set_password(connection, START, "ma", older, must_change=False, actor="command_line")
    assert browser().log_in("ma", PASSWORD).status == 303
    with database.read_engine.connect() as connection:
        found = find_user(connection, "ma")
    assert found is not None
    assert not QUICK.check_needs_rehash(found.password_hash)


def test_log_ins_at_once_are_few_and_the_rest_are_sent_away() -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            entered.release()
            leave.wait(10)
            return "hash"

    passwords = Passwords(Slow(), at_once=1)
    threads = [threading.Thread(target=passwords.hash, args=("x",)) for _ in range(7)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=10)
    while passwords._inside < 7:
        threading.Event().wait(0.001)
    with pytest.raises(TooBusy):
        passwords.hash("x")
    assert not entered.acquire(blocking=False), "one at a time"
    leave.set()
    for thread in threads:
        thread.join(10)
    assert passwords.hash("x") == "hash"


def test_a_browser_without_a_name_is_not_a_person(site: HealthServer) -> None:
    hostile = Browser(site.address, cookies={"huiyin_session": "x" * 5000})
    assert hostile.get("/").to == "/login"
