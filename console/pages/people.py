"""用户与令牌: what an admin manages: users, the API's tokens, wall screens. No rating and no number stands here.

A secret is shown once, on the page that made it. A password that an admin sets is made by us, shown once, and changed
by its user with the first log-in.
"""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.board_tokens import BoardTokenExists, add_board_token, list_board_tokens, revoke_board_token
from console.pages.shell import Console, Form, NavItem, Refused
from console.passwords import TooBusy
from console.people import (
    CODE,
    NAME,
    LastAdmin,
    UserExists,
    UserUnknown,
    add_user,
    disable_user,
    enable_user,
    list_users,
    set_password,
    user_problem,
)
from console.sessions import Session
from console.tokens import NAME as TOKEN_NAME
from console.tokens import Scope, TokenExists, add_token, list_tokens, revoke_token
from console.viewer import ConsoleRole

__all__ = ["NAV", "routes"]

_ADMIN = (ConsoleRole.ADMIN,)
NAV = (
    NavItem("people", "/people", _ADMIN, 90),
    NavItem("tokens", "/people/tokens", _ADMIN, 91),
    NavItem("boards", "/people/boards", _ADMIN, 92),
)
# Without what is mistaken for something else when it is read aloud or copied by hand.
_SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"


def new_password() -> str:
    """Four groups of four signs: 79 bits, and readable over a telephone."""
    return "-".join("".join(secrets.choice(_SIGNS) for _ in range(4)) for _ in range(4))


def _codes(form: Form, name: str) -> list[str]:
    """Codes as people type them: with commas, spaces or lines between."""
    return form[name].replace("，", " ").replace(",", " ").replace("、", " ").split()


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Admin = Annotated[Session, Depends(console.signed_in(*_ADMIN))]  # noqa: N806 (types)
    AdminForm = Annotated[Form, Depends(console.form(*_ADMIN))]  # noqa: N806

    # ── users ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def users_page(request: Request, status: int = 200, **told: str) -> Response:
        return console.page(
            request,
            "people.html",
            status=status,
            here="people",
            users=console.read(list_users),
            **{"problem": "", "secret": "", "name": "", **told},
        )

    @router.get("/people")
    def users(request: Request, _me: Admin) -> Response:
        return users_page(request)

    @router.post("/people")
    def add(request: Request, me: Admin, form: AdminForm) -> Response:
        name, role = form["name"], form["role"]
        depts, areas = _codes(form, "depts"), _codes(form, "areas")
        if not NAME.fullmatch(name):
            return users_page(request, 422, problem="bad_name", name=name)
        if role not in console.texts.table("role"):
            return users_page(request, 422, problem="bad_role", name=name)
        if not all(CODE.fullmatch(code) for code in (*depts, *areas)):
            return users_page(request, 422, problem="bad_code", name=name)
        if user_problem(name, ConsoleRole(role), depts, areas):
            return users_page(request, 422, problem="bad_scope", name=name)
        password = new_password()
        try:
            hashed = console.passwords.hash(password)
            console.write(
                lambda unit: add_user(
                    unit,
                    console.clock.now(),
                    name,
                    ConsoleRole(role),
                    hashed,
                    depts=depts,
                    areas=areas,
                    must_change=True,
                    actor=me.viewer.actor,
                )
            )
        except TooBusy:
            return users_page(request, 503, problem="busy", name=name)
        except UserExists:
            return users_page(request, 409, problem="exists", name=name)
        return users_page(request, secret=password, name=name)

    @router.post("/people/change")
    def change(request: Request, me: Admin, form: AdminForm) -> Response:
        name, what, actor = form["name"], form["what"], me.viewer.actor
        try:
            if what == "disable":
                console.write(lambda unit: disable_user(unit, console.clock.now(), name, actor=actor))
            elif what == "enable":
                console.write(lambda unit: enable_user(unit, console.clock.now(), name, actor=actor))
            elif what == "password":
                password = new_password()
                hashed = console.passwords.hash(password)
                console.write(
                    lambda unit: set_password(unit, console.clock.now(), name, hashed, must_change=True, actor=actor)
                )
                if name != me.user.name:  # their own sessions are over with it, too
                    return users_page(request, secret=password, name=name)
                return console.page(request, "secret.html", secret=password, name=name)
            else:
                raise Refused(400)
        except LastAdmin:
            return users_page(request, 409, problem="last_admin", name=name)
        except UserUnknown:
            raise Refused(404) from None
        except TooBusy:
            return users_page(request, 503, problem="busy", name=name)
        return RedirectResponse("/people", 303)

    # ── the API's tokens ──────────────────────────────────────────────────────────────────────────────────────────────

    def tokens_page(request: Request, status: int = 200, **told: str) -> Response:
        return console.page(
            request,
            "tokens.html",
            status=status,
            here="tokens",
            tokens=console.read(list_tokens),
            **{"problem": "", "secret": "", "name": "", **told},
        )

    @router.get("/people/tokens")
    def tokens(request: Request, _me: Admin) -> Response:
        return tokens_page(request)

    @router.post("/people/tokens")
    def token(request: Request, me: Admin, form: AdminForm) -> Response:
        name, actor = form["name"], me.viewer.actor
        if form["what"] == "revoke":
            console.write(lambda unit: revoke_token(unit, console.clock.now(), name, actor=actor))
            return RedirectResponse("/people/tokens", 303)
        depts, areas = _codes(form, "depts"), _codes(form, "areas")
        if not TOKEN_NAME.fullmatch(name):
            return tokens_page(request, 422, problem="bad_name", name=name)
        if form["scope"] not in set(Scope):
            return tokens_page(request, 422, problem="bad_scope", name=name)
        scope = Scope(form["scope"])
        if (depts or areas) and (scope is not Scope.READ or not all(map(CODE.fullmatch, (*depts, *areas)))):
            return tokens_page(request, 422, problem="bad_code", name=name)
        try:
            secret = console.write(
                lambda unit: add_token(unit, console.clock.now(), name, scope, depts=depts, areas=areas, actor=actor)
            )
        except TokenExists:
            return tokens_page(request, 409, problem="exists", name=name)
        return tokens_page(request, secret=secret, name=name)

    # ── wall screens ──────────────────────────────────────────────────────────────────────────────────────────────────

    def boards_page(request: Request, status: int = 200, **told: str) -> Response:
        return console.page(
            request,
            "boards.html",
            status=status,
            here="boards",
            boards=console.read(list_board_tokens),
            **{"problem": "", "secret": "", "name": "", **told},
        )

    @router.get("/people/boards")
    def boards(request: Request, _me: Admin) -> Response:
        return boards_page(request)

    @router.post("/people/boards")
    def board(request: Request, me: Admin, form: AdminForm) -> Response:
        name, actor = form["name"], me.viewer.actor
        if form["what"] == "revoke":
            console.write(lambda unit: revoke_board_token(unit, console.clock.now(), name, actor=actor))
            return RedirectResponse("/people/boards", 303)
        depts, areas = _codes(form, "depts"), _codes(form, "areas")
        if not NAME.fullmatch(name):
            return boards_page(request, 422, problem="bad_name", name=name)
        if not all(CODE.fullmatch(code) for code in (*depts, *areas)):
            return boards_page(request, 422, problem="bad_code", name=name)
        try:
            secret = console.write(
                lambda unit: add_board_token(unit, console.clock.now(), name, depts=depts, areas=areas, actor=actor)
            )
        except BoardTokenExists:
            return boards_page(request, 409, problem="exists", name=name)
        return boards_page(request, secret=f"{request.base_url}wall#{secret}", name=name)

    return router
