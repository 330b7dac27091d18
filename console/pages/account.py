"""One's own password."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.pages.login import address_of
from console.pages.shell import ANYBODY, PASSWORD_PAGE, SESSION_COOKIE, Console, Form
from console.passwords import SHORTEST, TooBusy, password_fault
from console.sessions import Session, begin_attempt, change_password, clear_attempt, drop_attempt, note_failure
from models.door import Unit

__all__ = ["routes"]


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Me = Annotated[Session, Depends(console.signed_in(*ANYBODY, changing=True))]  # noqa: N806 (a type)
    MyForm = Annotated[Form, Depends(console.form(*ANYBODY, changing=True))]  # noqa: N806

    def _page(
        request: Request, session: Session, problem: str = "", *, status: int = 200, seconds: int = 0
    ) -> Response:
        return console.page(
            request,
            "password.html",
            status=status,
            here="account",
            problem=problem,
            shortest=SHORTEST,
            forced=session.user.must_change,
            done=request.query_params.get("done") == "1" and not problem,
            seconds=seconds,
        )

    @router.get(PASSWORD_PAGE)
    def password_page(request: Request, me: Me) -> Response:
        return _page(request, me)

    @router.post(PASSWORD_PAGE)
    def new_password(request: Request, me: Me, form: MyForm) -> Response:
        old, new = form.raw("old"), form.raw("new")
        if new != form.raw("again"):
            return _page(request, me, "differs", status=422)
        if fault := password_fault(new, me.user.name):
            return _page(request, me, fault.value, status=422)
        now, address = console.clock.now(), address_of(request)
        # A stolen session must not be a way to try passwords: it goes by the same slow-down.
        attempt = console.write(lambda unit: begin_attempt(unit, now, me.user.name, address))
        if attempt.id is None:
            return _page(request, me, "wait", status=429, seconds=int(attempt.wait.total_seconds()))
        attempt_id = attempt.id
        try:
            if not console.passwords.matches(me.user.password_hash, old):
                console.write(lambda unit: note_failure(unit, console.clock.now(), me.user, address))
                return _page(request, me, "wrong_old", status=422)
            if new == old:
                console.write(lambda unit: clear_attempt(unit, attempt_id))
                return _page(request, me, "same", status=422)
            hashed = console.passwords.hash(new)
        except TooBusy:
            console.write(lambda unit: drop_attempt(unit, attempt_id))
            return _page(request, me, "busy", status=503)

        def change(unit: Unit) -> str:
            clear_attempt(unit, attempt_id)
            return change_password(unit, console.clock.now(), me, hashed, console.rules)

        token = console.write(change)
        home = console.home_of(me.viewer) if me.user.must_change else f"{PASSWORD_PAGE}?done=1"
        response = RedirectResponse(home, 303)
        console.set_cookie(response, request, SESSION_COOKIE, token, None)
        return response

    return router
