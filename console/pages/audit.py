"""审计: who did what, for auditors. No rating and no number stands here."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from console.audit_reads import AuditFilters, audit_page
from console.auditing import Action
from console.pages.dates import read_day
from console.pages.shell import Console, NavItem
from console.sessions import Session
from console.viewer import ConsoleRole
from models.terms import AuditAction

__all__ = ["NAV", "routes"]

NAV = (NavItem("audit", "/audit", (ConsoleRole.AUDITOR,), 80),)
_ROWS = 100
_LONGEST = 100


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    by_people = {action.value: console.texts.of("action", action) for action in (*Action, AuditAction.CLOCK_ACCEPTED)}
    by_all = by_people | {action.value: console.texts.of("action", action) for action in AuditAction}

    @router.get("/audit")
    def audit(request: Request, _me: Annotated[Session, Depends(console.signed_in(ConsoleRole.AUDITOR))]) -> Response:
        asked = {
            name: request.query_params.get(name, "").strip()[:_LONGEST]
            for name in ("from", "to", "actor", "action", "machines")
        }
        actor = asked["actor"]
        # People are named as the page shows them, without what tells them from programs.
        exact = actor if not actor or ":" in actor or asked["machines"] == "1" else f"user:{actor}"
        if actor == console.texts.of("actor", "command_line"):
            exact = "command_line"
        filters = AuditFilters(
            read_day(asked["from"]),
            read_day(asked["to"], end=True),
            exact,
            asked["action"],
            asked["machines"] == "1",
        )
        cursor = request.query_params.get("cursor")
        actions = by_all if filters.machines or filters.action in by_all.keys() - by_people.keys() else by_people
        page = console.read(lambda connection: audit_page(connection, filters, cursor, _ROWS))
        return console.page(
            request, "audit.html", here="audit", asked=asked, actions=actions, rows=page.rows, cursor=page.cursor
        )

    return router
