"""The form that asks why a number is wanted, and the page that shows it once.

Other pages put the form beside a masked number with the macro `reveal` of `_parts.html`.
"""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from console.pages.shell import Console, Form, Refused
from console.reveal import LONGEST_REASON, SHORTEST_REASON, Numbered, take_number
from console.sessions import Session
from console.viewer import ConsoleRole

__all__ = ["routes"]

_ROLES = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
_ID = re.compile(r"[0-9a-f]{32}")


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/reveal")
    def ask(
        request: Request, _me: Annotated[Session, Depends(console.signed_in(*_ROLES))], kind: str = "", id: str = ""
    ) -> Response:
        numbered, row_id = _named(kind, id)
        return console.page(
            request, "reveal.html", numbered=numbered, row_id=row_id, number=None, problem="", shortest=SHORTEST_REASON
        )

    @router.post("/reveal")
    def show(request: Request, form: Annotated[Form, Depends(console.form(*_ROLES))]) -> Response:
        session: Session = request.state.session
        numbered, row_id = _named(form["kind"], form["id"])
        reason = form["reason"]
        if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
            return console.page(
                request,
                "reveal.html",
                status=422,
                numbered=numbered,
                row_id=row_id,
                number=None,
                problem="short" if len(reason) < SHORTEST_REASON else "long",
                shortest=SHORTEST_REASON,
            )
        now = console.clock.now()
        sealed = console.write(lambda unit: take_number(unit, now, session.viewer, numbered, row_id, reason))
        if sealed is None:
            raise Refused(404)
        number = console.keyring.open(sealed).removeprefix("+86")
        return console.page(
            request,
            "reveal.html",
            numbered=numbered,
            row_id=row_id,
            number=number,
            problem="",
            shortest=SHORTEST_REASON,
        )

    return router


def _named(kind: str, row_id: str) -> tuple[Numbered, str]:
    if kind not in set(Numbered) or not _ID.fullmatch(row_id):
        raise Refused(404)
    return Numbered(kind), row_id
