"""Log-in and log-out.

The log-in's form has no session yet; its secret stands in a cookie of the log-in page and in the form (so that no other
site can log a browser in under its own name).
"""

import hmac
import secrets
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.pages.shell import (
    ANYBODY,
    PASSWORD_PAGE,
    SESSION_COOKIE,
    Console,
    Form,
    Refused,
    own_path,
    plain_form,
)
from console.passwords import TooBusy
from console.people import User
from console.sessions import begin_attempt, drop_attempt, end_session, note_failure, open_session

__all__ = ["routes"]

log = structlog.get_logger(__name__)

_COOKIE = "huiyin_login"
_LONGEST = 200
_COOKIE_SECONDS = 3600


class _Proxies:
    """Says once in the log that a proxy speaks of https and is not believed."""

    def __init__(self) -> None:
        self._told = False

    def look(self, request: Request) -> None:
        said = request.headers.get("x-forwarded-proto", "").lower()
        if said == "https" and request.url.scheme != "https" and not self._told:
            self._told = True
            log.warning(
                "a proxy that console.proxies does not name says that browsers come by https; until it is named, "
                "cookies lack Secure and all browsers are one address to the slow-down"
            )


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    proxies = _Proxies()

    @router.get("/login")
    def login_page(request: Request, next: str = "") -> Response:
        session = console.session_of(request)
        if session is not None:
            return RedirectResponse(console.home_of(session.viewer), 303)
        return _page(console, request, next)

    @router.post("/login")
    def login(request: Request, form: Annotated[Form, Depends(plain_form)]) -> Response:
        _same_browser(request, form)
        proxies.look(request)
        name, password, address = form["name"][:_LONGEST], form.raw("password"), address_of(request)
        now = console.clock.now()
        attempt = console.write(lambda unit: begin_attempt(unit, now, name, address))
        attempt_id = attempt.id
        if attempt_id is None:
            seconds = int(attempt.wait.total_seconds())
            answer = _page(console, request, form["next"], name, "wait", status=429, seconds=seconds)
            answer.headers["Retry-After"] = str(seconds)
            return answer
        user = attempt.user
        try:
            right = console.passwords.matches(user.password_hash if user else None, password)
        except TooBusy:
            console.write(lambda unit: drop_attempt(unit, attempt_id))
            return _page(console, request, form["next"], name, "busy", status=503)
        if user is None or not right or user.disabled_at is not None:
            console.write(lambda unit: note_failure(unit, console.clock.now(), user, address))
            return _page(console, request, form["next"], name, "wrong", status=401)
        return _admit(request, user, password, attempt_id, form["next"])

    def _admit(request: Request, user: User, password: str, attempt_id: str, back: str) -> Response:
        new_hash = _fresh_hash(console, user, password)
        address = address_of(request)
        token = console.write(
            lambda unit: open_session(
                unit,
                console.clock.now(),
                user,
                console.rules,
                address,
                attempt_id=attempt_id,
                new_hash=new_hash,
            )
        )
        target = PASSWORD_PAGE if user.must_change else own_path(back) or console.home_of(user.viewer)
        response = RedirectResponse(target, 303)
        console.set_cookie(response, request, SESSION_COOKIE, token, None)
        console.drop_cookie(response, request, _COOKIE)
        return response

    @router.post("/logout")
    def logout(request: Request, form: Annotated[Form, Depends(console.form(*ANYBODY, changing=True))]) -> Response:
        session = request.state.session
        console.write(lambda unit: end_session(unit, console.clock.now(), session))
        response = RedirectResponse("/login", 303)
        console.drop_cookie(response, request, SESSION_COOKIE)
        return response

    return router


def address_of(request: Request) -> str:
    """Where a browser is, as far as proxies that are believed say."""
    return request.client.host if request.client is not None else "?"


def _page(
    console: Console,
    request: Request,
    back: str,
    name: str = "",
    problem: str = "",
    *,
    status: int = 200,
    seconds: int = 0,
) -> Response:
    secret = request.cookies.get(_name(request), "") or secrets.token_urlsafe(24)
    page = console.page(
        request,
        "login.html",
        status=status,
        secret=secret,
        name=name,
        next=own_path(back) or "",
        problem=problem,
        seconds=seconds,
    )
    console.set_cookie(page, request, _COOKIE, secret, _COOKIE_SECONDS)
    return page


def _name(request: Request) -> str:
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


def _same_browser(request: Request, form: Form) -> None:
    kept = request.cookies.get(_name(request), "")
    if not kept or not hmac.compare_digest(kept.encode(), form.raw("csrf").encode()):
        raise Refused(403)


def _fresh_hash(console: Console, user: User, password: str) -> str | None:
    """The password under today's parameters, where the stored hash has older ones."""
    if not console.passwords.is_outdated(user.password_hash):
        return None
    try:
        return console.passwords.hash(password)
    except TooBusy:
        return None  # next time
