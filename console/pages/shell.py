"""What every page stands on: the database with patience, the texts, the templates, who is logged in.

How a page is made (docs/console.md): a module with `routes(console) -> APIRouter`, and a line in
`console/pages/app.py`; a `NavItem` there puts it into the navigation. Its handlers are plain `def`; the first argument
is `Annotated[Session, Depends(console.signed_in(role, …))]`, forms come by `Depends(console.form(role, …))`.

Rules kept here:

* Who asks is known before a body is read. A page without a session leads to /login and back; a page of another role is
  403. Somebody whose password an admin has set gets nothing but the page to change it.
* Every form carries the session's CSRF secret; a form without it is refused.
* The cookie is HttpOnly and SameSite=Strict; over https it is Secure and named `__Host-…`, which no other host of the
  domain can set.
* Templates escape everything, and an unknown name in one is an error.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, quote, urlencode

import jinja2
import structlog
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from console.board_state import BoardRules
from console.board_tokens import BoardToken, find_board_token
from console.charts import Charts
from console.directory import Directory
from console.live import LiveBoards
from console.pages.assets import Assets
from console.pages.audit_words import told_detail, told_fault
from console.pages.board_parts import BoardParts
from console.pages.catalogue import Catalogue
from console.pages.options import RatingsOptions
from console.pages.sms_words import told_why
from console.passwords import Passwords
from console.queues import QueueTools
from console.sessions import Session, SessionRules, find_session, touch, wants_touch
from console.viewer import ConsoleRole, Viewer
from models.clock import SHANGHAI, Clock
from models.door import Command, Door, Unit
from models.errors import CommandFailed, StoreError
from models.privacy import Keyring
from models.terms import Satisfaction

__all__ = [
    "ANYBODY",
    "BOARD_COOKIE",
    "PATIENCE",
    "Console",
    "Form",
    "NavItem",
    "NotAllowed",
    "NotSignedIn",
    "Refused",
    "Unavailable",
]

PATIENCE = 15.0
"""Seconds that a page waits for the database."""
TEMPLATES = Path(__file__).with_name("templates")
SESSION_COOKIE = "huiyin_session"
BOARD_COOKIE = "huiyin_board"
_FIELDS = 200
ANYBODY = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT, ConsoleRole.AUDITOR, ConsoleRole.ADMIN)
_HOMES = {ConsoleRole.ADMIN: "/people", ConsoleRole.AUDITOR: "/audit"}
PASSWORD_PAGE = "/account/password"  # noqa: S105 (an address)

R = TypeVar("R")
log = structlog.get_logger(__name__)


class NotSignedIn(Exception):
    """The browser is led to the log-in and back."""


class NotAllowed(Exception):
    """The page is another role's."""


class MustChangePassword(Exception):
    """Somebody else set the password; it is changed first."""


class Unavailable(Exception):
    """The database does not answer."""


class Refused(Exception):
    """A request that cannot be taken, with the status of its page."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class NavItem:
    """A page in the navigation: `key` is its text nav.KEY and what the page passes as `here`; `place` its order."""

    key: str
    url: str
    roles: tuple[ConsoleRole, ...]
    place: int


class Form(Mapping[str, str]):
    """What a form sent: of a name the first value, trimmed, or "" where it is missing; `all` gives every one."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        values = self._fields.get(name)
        return values[0].strip() if values else ""

    def raw(self, name: str) -> str:
        """Untrimmed, for passwords."""
        values = self._fields.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        return [value.strip() for value in self._fields.get(name, ()) if value.strip()]

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def _read_form(body: bytes) -> Form:
    """A form as browsers send it.

    Raises:
        Refused: it is none.
    """
    if b"%00" in body or b"\x00" in body:
        raise Refused(400)  # no column can hold a NUL
    try:
        return Form(parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"))
    except ValueError:
        raise Refused(400) from None


@dataclass(frozen=True)
class Console:
    """Everything that a page needs. One for the process; `nav` is filled when the pages are put together."""

    door: Door
    keyring: Keyring
    clock: Clock
    rules: SessionRules
    hotline: str
    passwords: Passwords = field(default_factory=Passwords)
    texts: Catalogue = field(default_factory=Catalogue.load)
    assets: Assets = field(default_factory=Assets)
    nav: list[NavItem] = field(default_factory=list)
    board_rules: BoardRules = field(default_factory=BoardRules)
    charts: Charts | None = None
    parts: BoardParts = field(init=False)
    live: LiveBoards = field(init=False)
    queues: QueueTools | None = None
    """What people do with what waits for them; None: they can look."""
    ratings: RatingsOptions = field(default_factory=RatingsOptions)
    directory: Directory = field(default_factory=Directory)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_templates", _environment(self))
        object.__setattr__(self, "parts", BoardParts(self))
        object.__setattr__(
            self, "live", LiveBoards(self.door, self.clock, self.board_rules, self.parts, self.directory)
        )

    # ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, function: Callable[[Connection], R]) -> R:
        """Runs a read on the door's pool.

        Raises:
            Unavailable: the database does not answer.
        """
        return self._result(self.door.read(function))

    def write(self, function: Callable[[Unit], R]) -> R:
        """Writes through the one writer and waits for the COMMIT; the function may run twice.

        Raises:
            Unavailable: the database does not answer.
            StoreError: what the function raised.
        """
        return self._result(self.door.write(function))

    def submit(self, command: Command[R]) -> R:
        """Writes by a command, and waits for the COMMIT.

        Raises:
            Unavailable: the database does not answer.
        """
        return self._result(self.door.submit(command))

    def _result(self, future: Future[R]) -> R:
        try:
            return future.result(PATIENCE)
        except CommandFailed as failed:
            cause = failed.__cause__
            if isinstance(cause, Exception) and not isinstance(cause, SQLAlchemyError | OSError):
                raise cause from None  # what the function itself had to say
            raise self._unavailable(failed) from failed
        except (StoreError, SQLAlchemyError, FutureTimeout, OSError) as error:
            future.cancel()
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> Unavailable:
        log.warning("a page could not be served", cause=type(error).__name__)
        return Unavailable()

    # ── who asks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def session_of(self, request: Request) -> Session | None:
        """Whoever is logged in, whatever their role. Notes the use, once a minute."""
        token = request.cookies.get(_cookie_name(request, SESSION_COOKIE))
        if not token:
            return None
        now = self.clock.now()
        session = self.read(lambda connection: find_session(connection, now, token, self.rules))
        if session is not None and wants_touch(session, now):
            used = session
            self.door.write(lambda unit: touch(unit, now, used))
        return session

    def signed_in(self, *roles: ConsoleRole, changing: bool = False) -> Callable[[Request], Session]:
        """A dependency: the session of one who has one of these roles (none named: anybody who is logged in).

        Args:
            changing: also who has to change their password first.
        """
        wanted = roles or ANYBODY

        def session(request: Request) -> Session:
            found = self.session_of(request)
            if found is None:
                raise NotSignedIn
            if found.user.must_change and not changing:
                raise MustChangePassword
            request.state.session = found
            if found.viewer.role not in wanted:
                raise NotAllowed
            return found

        return session

    def form(self, *roles: ConsoleRole, changing: bool = False) -> Callable[..., Any]:
        """A dependency: a form of one who has one of these roles, its CSRF secret looked at.

        Its session is `request.state.session`, and what `signed_in` of the same roles gives.
        """
        gate = self.signed_in(*roles, changing=changing)

        async def form(request: Request, session: Annotated[Session, Depends(gate)]) -> Form:
            found = await plain_form(request)
            sent = found.raw("csrf") or request.headers.get("x-csrf-token", "")
            if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
                raise Refused(403)
            return found

        return form

    def board(self, request: Request) -> Viewer:
        """A dependency: a wall screen, by its token's cookie."""
        secret = self.board_secret(request)
        token: BoardToken | None = None
        if secret:
            token = self.read(lambda connection: find_board_token(connection, secret))
        if token is None:
            raise NotSignedIn
        return token.viewer

    @staticmethod
    def board_secret(request: Request) -> str:
        """What a wall screen's cookie holds."""
        return request.cookies.get(_cookie_name(request, BOARD_COOKIE), "")

    def set_cookie(self, response: Response, request: Request, name: str, value: str, max_age: int | None) -> None:
        """A cookie of ours; `max_age` None: until the browser closes."""
        response.set_cookie(
            _cookie_name(request, name),
            value,
            max_age=max_age,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def drop_cookie(self, response: Response, request: Request, name: str) -> None:
        response.delete_cookie(
            _cookie_name(request, name),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    # ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

    def page(
        self, request: Request, template: str, *, status: int = 200, here: str = "", **values: Any
    ) -> HTMLResponse:
        """A page. Its template gets `session` (or None), `viewer`, `here` (its NavItem's key) and the values."""
        session: Session | None = getattr(request.state, "session", None)
        viewer = session.viewer if session is not None else None
        return HTMLResponse(
            self.render(
                template,
                session=session,
                viewer=viewer,
                csrf=session.csrf if session is not None else "",
                nav=self.nav_of(viewer) if session is not None and not session.user.must_change else [],
                here=here,
                **values,
            ),
            status,
        )

    def render(self, template: str, **values: Any) -> str:
        """A template, or a part of a page, as text."""
        environment: jinja2.Environment = self._templates  # type: ignore[attr-defined]
        return environment.get_template(template).render(now=self.clock.now(), **values)

    def nav_of(self, viewer: Viewer | None) -> list[NavItem]:
        return [item for item in sorted(self.nav, key=lambda item: item.place) if viewer and viewer.role in item.roles]

    @staticmethod
    def home_of(viewer: Viewer) -> str:
        """Where somebody begins."""
        return _HOMES.get(viewer.role, "/")

    def error_page(self, status: int, request: Request | None = None) -> Response:
        """The page of an error, in words that say what to do."""
        known = f"error.{status}.title" in self.texts.keys
        key = str(status) if known else "other"
        values: dict[str, Any] = {"code": status, "key": key}
        if request is not None:
            return self.page(request, "error.html", status=status, **values)
        text = self.render("error.html", session=None, viewer=None, csrf="", nav=[], here="", **values)
        return HTMLResponse(text, status)


async def plain_form(request: Request) -> Form:
    """A form without a session's secret (the log-in's). Handlers behind it are plain `def`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if body and kind != "application/x-www-form-urlencoded":
        raise Refused(400)
    return _read_form(body)


def login_redirect(request: Request) -> Response:
    """To the log-in, and from there back to where a browser wanted to go."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = f"?next={quote(back, safe='')}" if request.method == "GET" and back != "/" else ""
    return RedirectResponse(f"/login{query}", 303)


def by_script(request: Request) -> bool:
    """Whether a script of ours asks (`X-Requested-With: fetch`): it is answered with a status, never led to a page."""
    return request.headers.get("x-requested-with") == "fetch"


def own_path(path: str) -> str | None:
    """A path of ours to go on to; None: it would lead elsewhere."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or any(ord(sign) < 32 for sign in path):
        return None
    return path if "\\" not in path else None


def _cookie_name(request: Request, name: str) -> str:
    return f"__Host-{name}" if request.url.scheme == "https" else name


# ── templates ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _environment(console: Console) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        t=console.texts,
        words=console.texts.of,
        choices=console.texts.table,
        asset=console.assets.url,
        hotline=console.hotline,
        levels=tuple(sorted(Satisfaction, reverse=True)),
        query=query_string,
        told_detail=partial(told_detail, console.texts),
        told_fault=partial(told_fault, console.texts),
        told_why=partial(told_why, console.texts),
    )
    environment.filters.update(moment=_moment, clock=_clock_time, day=_day, number=_number, percent=_percent)
    return environment


def query_string(values: Mapping[str, Any], **changed: Any) -> str:
    """A query with some values changed; None and "" leave a name out: `href="?{{ query(filters, cursor=next) }}"`."""
    merged = {**values, **changed}
    return urlencode({name: value for name, value in merged.items() if value not in (None, "", (), [])}, doseq=True)


def _moment(value: datetime | None) -> str:
    return value.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S") if value is not None else "—"


def _clock_time(value: datetime | None) -> str:
    return value.astimezone(SHANGHAI).strftime("%H:%M") if value is not None else "—"


def _day(value: datetime | None) -> str:
    return value.astimezone(SHANGHAI).strftime("%Y-%m-%d") if value is not None else "—"


def _number(value: float | None) -> str:
    return f"{value:,}" if value is not None else "—"


def _percent(value: float | None) -> str:
    """A share of one; None: too few for a rate."""
    return f"{value * 100:.1f}%" if value is not None else "—"
