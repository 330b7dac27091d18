"""What holds for every page: headers, bounds, escaping, the catalogue, the style sheet's contrast."""

from __future__ import annotations

import ast
import re
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest
from fastapi import APIRouter, FastAPI, Request

from config.values import Address
from console.auditing import Action, note
from console.pages import app as pages
from console.pages.catalogue import CATALOGUE, Catalogue
from console.pages.guard import BODY_BYTES, HEADERS, POLICY, Guard
from console.pages.shell import TEMPLATES, Console, query_string
from console.viewer import ConsoleRole
from models.database import Database, open_database
from server.health import HealthServer
from tests.console.browser import Browser
from tests.console.site import MakeBrowser
from tests.moments import START

FOLDER = CATALOGUE.parent
CSS = (FOLDER / "static" / "huiyin.css").read_text("utf-8")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """One kind of database is enough for what does not depend on it."""
    copyfile(migrated_sqlite, tmp_path / "huiyin.db")
    opened = open_database("sqlite:///huiyin.db", tmp_path)
    yield opened
    opened.close()


# ── headers and bounds ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/login", "/", "/nothing", "/static/../zh.toml", "/favicon.ico", "/wall"])
def test_every_answer_has_the_headers(browser: MakeBrowser, path: str) -> None:
    page = browser().get(path)
    assert {name: page.headers[name.lower()] for name in HEADERS} == HEADERS
    assert page.headers["cache-control"] == "no-store"


def test_the_policy_allows_nothing_inline_and_no_other_host() -> None:
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_pages_ask_for_our_own_files_alone_and_browsers_keep_those(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.ADMIN)
    found: set[str] = set()
    for path in ("/login", "/people", "/people/tokens", "/people/boards", "/account/password"):
        text = someone.get(path).text if path != "/login" else browser().get(path).text
        found |= set(re.findall(r'(?:src|href|action)="([^"#]+)', text))
        assert not re.search(r"<[^>]* (?:style|on\w+)=", text), path
        assert not re.search(r"<script(?! src)|<style", text), path
        assert len(text.encode()) < 30_000
    assert all(url.startswith("/") and not url.startswith("//") for url in found)
    files = {url for url in found if url.startswith("/static/")}
    assert len(files) == 3
    for url in files:
        page = browser().get(url)
        assert (page.status, page.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert not re.search(r"url\(|@import|https?:", CSS)


@pytest.mark.parametrize("name", ["huiyin.css", "..%2fzh.toml", "%2e%2e/zh.toml", "huiyin.0000000000000000.css"])
def test_no_other_file_can_be_had(browser: MakeBrowser, name: str) -> None:
    assert browser().get(f"/static/{name}").status == 404


def test_a_body_too_large_is_refused_told_or_not(site: HealthServer, browser: MakeBrowser) -> None:
    someone = browser()
    assert someone.ask("POST", "/login", b"x" * (BODY_BYTES + 1)).status == 413
    with socket.create_connection((site.address.host, site.address.port), timeout=20) as raw:
        raw.sendall(
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(20):
                raw.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_length_that_is_none_is_refused(site: HealthServer, length: str) -> None:
    with socket.create_connection((site.address.host, site.address.port), timeout=20) as raw:
        raw.sendall(f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 4\d\d", raw.recv(100))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(300))),
        ("application/x-www-form-urlencoded", b"csrf=%ff%fe"),
        ("application/x-www-form-urlencoded", b"\xff"),
    ],
)
def test_a_form_that_is_none_is_refused(browser: MakeBrowser, kind: str, body: bytes) -> None:
    someone = browser()
    someone.get("/login")
    assert someone.ask("POST", "/login", body, {"Content-Type": kind}).status == 400


def test_a_body_that_does_not_come_is_not_waited_for(console: Console) -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("", Guard(pages.pages_app(console), console.error_page, body_seconds=0.2))
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        with socket.create_connection((server.address.host, server.address.port), timeout=20) as raw:
            raw.sendall(
                b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                b"Content-Length: 100\r\n\r\ncsrf="
            )
            assert raw.recv(100).startswith(b"HTTP/1.1 408")
    finally:
        server.stop()


def test_a_head_that_does_not_come_is_not_waited_for(site: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.health.HEAD_SECONDS", 0.2)
    for sent in (b"", b"GET / HT", b"GET /login HTTP/1.1\r\nHost: x\r\n\r\nGET /lo"):
        with socket.create_connection((site.address.host, site.address.port), timeout=20) as raw:
            raw.sendall(sent)
            while raw.recv(10_000):
                pass  # until it is closed from there; the time-out of the socket fails the test


def test_a_fault_of_ours_is_a_page_and_one_line_of_the_log(
    console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        @staticmethod
        def routes(_console: Console) -> APIRouter:
            router = APIRouter()

            @router.get("/broken")
            def broken(request: Request) -> None:
                raise RuntimeError("13800001234")

            return router

    monkeypatch.setattr(pages, "PAGES", (Broken,))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages.mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        page = Browser(server.address).get("/broken")
    finally:
        server.stop()
    assert page.status == 500
    assert "系统出错" in page.text
    assert page.headers["content-security-policy"] == POLICY
    told = "".join(capsys.readouterr())
    assert "RuntimeError" in told
    assert "13800001234" not in told + page.text


# ── escaping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_text_is_text(browser: MakeBrowser, database: Database) -> None:
    with database.write_engine.begin() as connection:
        note(connection, START, f"user:{HOSTILE}", Action.USER_ADDED, detail=HOSTILE)
    auditor = browser(ConsoleRole.AUDITOR)
    admin = browser(ConsoleRole.ADMIN)
    texts = [
        browser().log_in(HOSTILE, "x").text,
        browser().get("/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E").text,
        auditor.get("/audit").text,
        auditor.get("/audit?actor=%22%3E%3Cscript%3Ealert(1)&from=%3Cscript%3E&action=%3Cscript%3E").text,
        admin.send("/people", "/people", name=HOSTILE, role="admin").text,
        admin.send("/people/tokens", "/people/tokens", name=HOSTILE, scope="read").text,
    ]
    for text in texts:
        assert "<script>" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text
    assert HOSTILE.startswith("<script>")


def test_an_address_is_made_of_values_escaped() -> None:
    assert query_string({"a": "甲&b=1", "none": None, "empty": "", "many": ["1", "2"]}, cursor="x y") == (
        "a=%E7%94%B2%26b%3D1&many=1&many=2&cursor=x+y"
    )


def test_templates_escape_everything() -> None:
    for file in TEMPLATES.rglob("*.html"):
        text = file.read_text("utf-8")
        assert not re.search(r"\|\s*safe|autoescape|Markup", text), file.name
        assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", text), file.name


# ── the catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────────


def used_keys() -> tuple[set[str], set[str]]:
    """Keys that templates and pages name whole, and beginnings that they go on with a value."""
    whole: set[str] = set()
    begun: set[str] = set()
    sources = [file.read_text("utf-8") for file in [*TEMPLATES.rglob("*.html"), *FOLDER.parent.rglob("*.py")]]
    for text in sources:
        calls = r"\b(?:t|texts)\(\s*"
        for quote in "\"'":
            whole |= set(re.findall(rf"{calls}{quote}([\w.]+){quote}\s*[,)]", text))
            begun |= set(re.findall(rf"{calls}{quote}([\w.]+){quote} ~", text))
            begun |= set(re.findall(rf"{calls}f{quote}([\w.]+)\{{", text))
            begun |= {
                f"{table}." for table in re.findall(rf"\b(?:words|of|word|choices|table)\({quote}(\w+){quote}", text)
            }
    return whole, begun


def test_every_text_that_a_page_names_is_there_and_none_is_left_over() -> None:
    keys = Catalogue.load().keys
    whole, begun = used_keys()
    assert len(whole) > 40
    assert sorted(whole - keys) == []
    assert [start for start in begun if not any(key.startswith(start) for key in keys)] == []
    errors = {key for key in keys if re.match(r"error\.\w+\.", key)}  # of the statuses that can be
    unused = {key for key in keys - whole - errors if not any(key.startswith(start) for start in begun)}
    assert sorted(unused) == []


def test_every_action_and_role_has_its_word() -> None:
    texts = Catalogue.load()
    assert all(texts.of("action", action) != action.value for action in Action)
    assert set(texts.table("role")) == {role.value for role in ConsoleRole} - {"board"}


@pytest.mark.parametrize("table", ["ratings", "filter", "column", "fact", "by", "view_of", "part"])
def test_one_thing_has_one_word_on_every_page(table: str) -> None:
    """The glossary's words (docs/glossary.md)."""
    texts = Catalogue.load()
    assert texts(f"{table}.queue") == "技能组"
    assert texts("view.queue") == "按技能组"
    assert texts(f"{table}.agent").startswith("坐席")


NOT_FOR_PAGES = {
    "api.py": "the API's name",
    "openapi.py": "the API's name",
    "app.py": "the name of an application, which nobody sees",
    "schemas.py": "the API's document is English, with the domain's words beside it",
    "reads.py": "a level's name in the API's answers, which is the record's",
    "masking.py": "Chinese digits, by which a number is known",
}
"""Files with Chinese texts that no page shows, and what they are."""


def test_no_chinese_text_stands_outside_the_catalogue() -> None:
    found: set[str] = set()
    for file in FOLDER.parent.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # texts about the code
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
                if re.search(r"[\u3400-\u9fff]", node.value):
                    found.add(f"{file.name}:{node.lineno}")
            elif isinstance(node, ast.Attribute) and node.attr == "chinese":
                found.add(f"{file.name}:{node.lineno}")
    assert {one for one in found if one.partition(":")[0] not in NOT_FOR_PAGES} == set()
    assert {one.partition(":")[0] for one in found} == set(NOT_FOR_PAGES)


def test_no_template_has_a_chinese_text_of_its_own() -> None:
    for file in TEMPLATES.rglob("*.html"):
        text = re.sub(r"\{#.*?#\}", "", file.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"[\u3400-\u9fff]", text), file.name


def test_the_texts_are_chinese_and_a_field_that_is_not_given_is_an_error() -> None:
    texts = Catalogue.load()
    for key in texts.keys:
        fields = {name: "1" for _, name, _, _ in string.Formatter().parse(texts._texts[key]) if name}
        assert re.search(r"[\u4e00-\u9fff]", texts(key, **fields)), key
    with pytest.raises(KeyError):
        texts("login.wait")
    with pytest.raises(KeyError):
        texts("login.nothing")


# ── the style sheet ───────────────────────────────────────────────────────────────────────────────────────────────────


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))


LIGHT = colours(CSS.split(":root {", 1)[1].split("}", 1)[0])
WALL = LIGHT | colours(next(line for line in CSS.splitlines() if line.startswith(".wall {")))
PAIRS = re.findall(r"contrast: (--[\w-]+) (--[\w-]+) ([\d.]+)", CSS)


@pytest.mark.parametrize("theme", [LIGHT, WALL], ids=["light", "wall"])
def test_every_pair_of_colours_has_the_contrast_that_it_needs(theme: dict[str, str]) -> None:
    low = [
        f"{ink} on {paper}: {found:.2f} < {least}"
        for ink, paper, least in PAIRS
        if (found := contrast(theme[ink], theme[paper])) < float(least)
    ]
    assert len(PAIRS) > 15
    assert low == []
    assert contrast("#ffffff", "#000000") == pytest.approx(21)


def test_no_rule_pairs_colours_below_the_contrast_of_text() -> None:
    low = []
    for rule in re.findall(r"\{([^{}]*)\}", CSS.split(":root {", 1)[1]):
        ink = re.search(r"(?<![\w-])color: var\((--[\w-]+)\)", rule)
        paper = re.search(r"background(?:-color)?: var\((--[\w-]+)\)", rule)
        if ink and paper and contrast(LIGHT[ink[1]], LIGHT[paper[1]]) < 4.5:
            low.append(rule)
    assert low == []


def test_colours_stand_in_one_place() -> None:
    outside = re.sub(r"(?s):root \{.*?\}|/\*.*?\*/", "", CSS)
    outside = "\n".join(line for line in outside.splitlines() if not line.startswith(".wall {"))
    assert re.findall(r"#[0-9a-f]{3,8}\b", outside) == []


@pytest.mark.parametrize("template", sorted(file.name for file in TEMPLATES.glob("*.html")))
def test_what_a_template_calls_a_class_is_in_the_style_sheet(template: str) -> None:
    text = re.sub(r"\{[{%].*?[%}]\}", " ", (TEMPLATES / template).read_text("utf-8"))
    names = {name for value in re.findall(r'class="([^"]*)"', text) for name in value.split()}
    known = set(re.findall(r"\.([a-z][\w-]*)", CSS))
    assert sorted(name for name in names - known if not name.endswith("-")) == []


def test_every_field_has_its_label(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.ADMIN)
    auditor = browser(ConsoleRole.AUDITOR)
    for text in (someone.get("/people").text, someone.get("/people/tokens").text, auditor.get("/audit").text):
        for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", text):
            if 'type="hidden"' in tag or 'type="checkbox"' in tag:
                continue
            named = re.search(r'id="([^"]+)"', tag)
            assert named is not None, tag
            assert f'<label for="{named[1]}"' in text, tag
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert text.count("<h1") == 1
        assert '<a class="skip" href="#main">' in text


def test_the_catalogue_and_templates_are_in_the_package() -> None:
    text = (Path(__file__).parents[2] / "setup.cfg").read_text("utf-8")
    assert "console.pages = templates/**/*.html, static/*" in text
