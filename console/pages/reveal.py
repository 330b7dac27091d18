"""The form that asks why a number is wanted, or the words of a reply that hold one, and the page that shows it once.

Other pages put the form beside what is masked with the macro `reveal` of `_parts.html`.
"""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from console.pages.shell import Console, Form, Refused
from console.queues import read_reply
from console.reveal import LONGEST_REASON, SHORTEST_REASON, Numbered, take_number, take_words
from console.sessions import Session
from console.viewer import ConsoleRole

__all__ = ["routes"]

_ROLES = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
_ID = re.compile(r"[0-9a-f]{32}")


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    def page(request: Request, numbered: Numbered, row_id: str, *, status: int = 200, **shown: Any) -> Response:
        fields = {"number": None, "original": None, "problem": "", "shortest": SHORTEST_REASON, **shown}
        return console.page(request, "reveal.html", status=status, numbered=numbered, row_id=row_id, **fields)

    @router.get("/reveal")
    def ask(
        request: Request, _me: Annotated[Session, Depends(console.signed_in(*_ROLES))], kind: str = "", id: str = ""
    ) -> Response:
        return page(request, *_named(kind, id))

    @router.post("/reveal")
    def show(request: Request, form: Annotated[Form, Depends(console.form(*_ROLES))]) -> Response:
        session: Session = request.state.session
        numbered, row_id = _named(form["kind"], form["id"])
        reason = form["reason"]
        if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
            problem = "short" if len(reason) < SHORTEST_REASON else "long"
            return page(request, numbered, row_id, status=422, problem=problem)
        if numbered is Numbered.WORDS:
            return page(request, numbered, row_id, original=words_of(session, row_id, reason))
        now = console.clock.now()
        sealed = console.write(lambda unit: take_number(unit, now, session.viewer, numbered, row_id, reason))
        if sealed is None:
            raise Refused(404)
        return page(request, numbered, row_id, number=console.keyring.open(sealed).removeprefix("+86"))

    def words_of(session: Session, reply_id: str, reason: str) -> dict[str, Any]:
        """A reply as it came: its text, or its bytes and what they may mean."""
        now = console.clock.now()
        if not console.write(lambda unit: take_words(unit, now, session.viewer, reply_id, reason)):
            raise Refused(404)
        reply = console.read(lambda connection: read_reply(connection, console.keyring, session.viewer, reply_id))
        if reply is None:
            raise Refused(404)
        if not reply.parts or console.queues is None:
            return {"text": reply.plain, "bytes": "", "decodings": []}
        body = console.queues.body_of(reply.parts)
        return {"text": None, "bytes": body.hex(" "), "decodings": console.queues.decodings(body)}

    return router


def _named(kind: str, row_id: str) -> tuple[Numbered, str]:
    if kind not in set(Numbered) or not _ID.fullmatch(row_id):
        raise Refused(404)
    return Numbered(kind), row_id
