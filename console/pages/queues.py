"""待办: what waits for a person, and what people do with it. Works without a script; each list is one form.

Supervisors have all queues, departments the replies that belong to their own cases and calls, to take and to ask back.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.masking import bytes_hold_number, holds_number, mask_words
from console.outbox import OutboxView, outbox_count, outbox_page
from console.pages.shell import Console, Form, NavItem, Refused, Unavailable, query_string
from console.queues import (
    QueueTools,
    Reply,
    candidates,
    deadlines_page,
    failure_reasons,
    failures_page,
    person_of,
    queue_counts,
    read_reply,
    replies_page,
    send_again,
    settles,
    ticked_replies,
)
from console.sessions import Session
from console.viewer import ConsoleRole
from intake.assigning import ASSIGNABLE, AskByHand, AssignReply
from intake.numbers import NumberKind, normalise_number
from intake.queue_work import (
    LONGEST_NOTE,
    MOST_ITEMS,
    Did,
    Dismiss,
    Done,
    Refusal,
    TakeWork,
    Taking,
    needs_note,
    ways_of,
)
from models.terms import HandledAs, QueueReason, WorkKind

__all__ = ["NAV", "routes"]

_ROLES = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
_ALL = (ConsoleRole.SUPERVISOR,)
NAV = (NavItem("queues", "/queues", _ROLES, 40),)
_ROWS = 50
_OF_FAILURES = ways_of(WorkKind.FAILURE, None)
_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST_SOUGHT = 200
_REREADS = 3
_NOT_ASKED = frozenset({QueueReason.MISTAKEN})
_DEEDS = frozenset({*Taking, "retry", "dismiss", "assign", "ask"})
_WORK_ORDER = re.compile(r"[\w\-./#]{1,64}")
_LISTS = {
    WorkKind.REPLY: "/queues/replies",
    WorkKind.LETTER: "/queues/letters",
    WorkKind.DEADLINE: "/queues/deadlines",
    WorkKind.FAILURE: "/queues/failures",
}


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Worker = Annotated[Session, Depends(console.signed_in(*_ROLES))]  # noqa: N806 (types)
    WorkerForm = Annotated[Form, Depends(console.form(*_ROLES))]  # noqa: N806
    Supervisor = Annotated[Session, Depends(console.signed_in(*_ALL))]  # noqa: N806
    SupervisorForm = Annotated[Form, Depends(console.form(*_ALL))]  # noqa: N806

    def tools() -> QueueTools:
        if console.queues is None:
            raise Unavailable
        return console.queues

    # ── the lists ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @router.get("/queues")
    def overview(request: Request, me: Worker) -> Response:
        now = console.clock.now()
        counts, unsent = console.read(
            lambda connection: (
                queue_counts(connection, me.viewer, now),
                outbox_count(connection, me.viewer, OutboxView.ALL, now) if me.viewer.role in _ALL else None,
            )
        )
        return console.page(
            request,
            "queues.html",
            here="queues",
            counts=counts,
            unsent=unsent,
            all_queues=me.viewer.role in _ALL,
            actor=me.viewer.actor,
        )

    def replies_list(
        request: Request, me: Session, reason: QueueReason, results: Sequence[Done] = (), status: int = 200
    ) -> Response:
        now = console.clock.now()
        cursor = request.query_params.get("cursor")
        page, counts = console.read(
            lambda connection: (
                replies_page(connection, console.keyring, me.viewer, reason, cursor, _ROWS),
                queue_counts(connection, me.viewer, now),
            )
        )
        return listed(
            request,
            me,
            "queue_replies.html",
            page,
            results,
            status,
            reason=reason,
            counts=counts,
            ways=ways_of(WorkKind.REPLY, reason),
            assignable=reason in ASSIGNABLE,
            askable=reason is not QueueReason.MISTAKEN,
            all_queues=me.viewer.role in _ALL,
            settles=settles(me.viewer),
        )

    @router.get("/queues/replies")
    def replies(request: Request, me: Worker, kind: str = QueueReason.UNMATCHED.value) -> Response:
        return replies_list(request, me, _reason(kind))

    @router.get("/queues/letters")
    def letters(request: Request, me: Supervisor) -> Response:
        return letters_list(request, me)

    def letters_list(request: Request, me: Session, results: Sequence[Done] = (), status: int = 200) -> Response:
        now, cursor = console.clock.now(), request.query_params.get("cursor")
        page = console.read(lambda connection: outbox_page(connection, me.viewer, OutboxView.DEAD, now, cursor, _ROWS))
        return listed(request, me, "queue_letters.html", page, results, status)

    @router.get("/queues/outbox")
    def waiting(request: Request, me: Supervisor, view: str = OutboxView.ALL.value) -> Response:
        """待推送: nothing is done here; what a person can do something about is among the letters."""
        if view not in set(OutboxView) or view == OutboxView.DEAD:
            raise Refused(404)
        chosen, now = OutboxView(view), console.clock.now()
        cursor = request.query_params.get("cursor")
        page, counts = console.read(
            lambda connection: (
                outbox_page(connection, me.viewer, chosen, now, cursor, _ROWS),
                {one: outbox_count(connection, me.viewer, one, now) for one in OutboxView},
            )
        )
        return console.page(
            request,
            "queue_outbox.html",
            here="queues",
            view=chosen,
            counts=counts,
            rows=page.rows,
            cursor=page.cursor,
            onward=bool(cursor),
            names=console.read(console.directory.names),
        )

    @router.get("/queues/deadlines")
    def deadlines(request: Request, me: Supervisor) -> Response:
        return deadlines_list(request, me)

    def deadlines_list(request: Request, me: Session, results: Sequence[Done] = (), status: int = 200) -> Response:
        cursor = request.query_params.get("cursor")
        rules = console.queues.deadlines if console.queues is not None else None
        page = console.read(lambda connection: deadlines_page(connection, me.viewer, rules, cursor, _ROWS))
        return listed(request, me, "queue_deadlines.html", page, results, status)

    @router.get("/queues/failures")
    def failures(request: Request, me: Supervisor) -> Response:
        return failures_list(request, me)

    def failures_list(request: Request, me: Session, results: Sequence[Done] = (), status: int = 200) -> Response:
        now = console.clock.now()
        asked = request.query_params
        reason = asked.get("reason")
        page, reasons = console.read(
            lambda connection: (
                failures_page(connection, console.keyring, me.viewer, now, reason, asked.get("cursor"), _ROWS),
                failure_reasons(connection, me.viewer, now),
            )
        )
        return listed(
            request,
            me,
            "queue_failures.html",
            page,
            results,
            status,
            reasons=reasons,
            reason=reason,
            ways=ways_of(WorkKind.FAILURE, None),
        )

    def listed(
        request: Request,
        me: Session,
        template: str,
        page: Any,
        results: Sequence[Done],
        status: int,
        **more: Any,
    ) -> Response:
        return console.page(
            request,
            template,
            status=status,
            here="queues",
            rows=page.rows,
            cursor=page.cursor,
            begun=bool(request.query_params.get("cursor")),
            actor=me.viewer.actor,
            names=console.read(console.directory.names),
            **_told(request, results),
            **more,
        )

    # ── what is done to several ───────────────────────────────────────────────────────────────────────────────────────

    def act(kind: WorkKind, form: Form, me: Session) -> list[Done]:
        """What a list's form asks for."""
        ids = tuple(dict.fromkeys(form.all("id")))
        if not ids:
            raise _Nothing
        if len(ids) > MOST_ITEMS or not all(map(_ID.fullmatch, ids)):
            raise Refused(400)
        now, person, what = console.clock.now(), person_of(me.viewer), form["what"]
        if what in set(Taking):
            return console.submit(TakeWork(kind, ids, person, now, Taking(what)))
        if what == "retry" and kind is WorkKind.LETTER:
            retry = tools().retry
            sent = set(console.write(lambda unit: send_again(unit, now, me.viewer, ids, retry)))
            if sent:
                tools().wake_push()
            return [Done(one, Did.DONE if one in sent else Did.GONE) for one in ids]
        if what in ("assign", "ask") and kind is WorkKind.REPLY:
            return each_by_itself(me, ids, set(form.all("meant")), assign if what == "assign" else ask)
        if what == "dismiss" and kind in (WorkKind.REPLY, WorkKind.FAILURE) and form["how"] in set(HandledAs):
            how = HandledAs(form["how"])
            return console.submit(Dismiss(kind, ids, how, _words(kind, how, form["note"]), person, now))
        raise Refused(400)

    def each_by_itself(
        me: Session, ids: Sequence[str], meant: set[str], do: Callable[[Session, str, str], Done]
    ) -> list[Done]:
        """Replies are tied, or asked about, one after the other: each where exactly one invitation fits, and where that
        is the one that the page has shown. Each is a small transaction of its own, and may come twice."""
        found = console.read(lambda connection: ticked_replies(connection, me.viewer, ids))
        results = []
        for one in ids:
            reply = found.get(one)
            if reply is None:
                results.append(Done(one, Did.GONE))
            elif reply.handled_at is not None:
                results.append(Done(one, Did.STALE, reply.handled_by, reply.handled_at))
            elif reply.invitation_id is None or f"{one} {reply.invitation_id}" not in meant:
                results.append(Done(one, Did.REFUSED, why=Refusal.NOT_CLEAR))
            else:
                results.append(do(me, one, reply.invitation_id))
        return results

    def answered(kind: WorkKind, form: Form, me: Session, page: Any, query: dict[str, str]) -> Response:
        """The list again: after a redirect where all was done, else with what was not, and why."""
        try:
            results = act(kind, form, me)
        except _Nothing:
            return page(status=422, problem="nothing")  # type: ignore[no-any-return]
        except _BadNote as bad:
            return page(status=422, problem=bad.key)  # type: ignore[no-any-return]
        if all(one.did is Did.DONE for one in results):
            told = {"done": str(len(results)), "did": form["what"]}
            return RedirectResponse(f"{_LISTS[kind]}?{query_string({**query, **told})}", 303)
        return page(status=409, results=results)  # type: ignore[no-any-return]

    @router.post("/queues/replies")
    def do_replies(request: Request, form: WorkerForm) -> Response:
        me: Session = request.state.session
        reason = _reason(form["kind"])

        def page(status: int, results: Sequence[Done] = (), problem: str = "") -> Response:
            request.state.problem = problem
            return replies_list(request, me, reason, results, status)

        return answered(WorkKind.REPLY, form, me, page, {"kind": reason.value})

    def supervised(kind: WorkKind, listing: Any) -> Any:
        def do(request: Request, form: SupervisorForm) -> Response:
            me: Session = request.state.session

            def page(status: int, results: Sequence[Done] = (), problem: str = "") -> Response:
                request.state.problem = problem
                return listing(request, me, results, status)  # type: ignore[no-any-return]

            return answered(kind, form, me, page, {})

        return do

    for kind, listing in (
        (WorkKind.LETTER, letters_list),
        (WorkKind.DEADLINE, deadlines_list),
        (WorkKind.FAILURE, failures_list),
    ):
        router.add_api_route(_LISTS[kind], supervised(kind, listing), methods=["POST"])

    # ── one reply ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def undecoded(reply: Reply) -> tuple[bytes, list[tuple[str, str]]]:
        """The bytes of a reply without a text, and what they may mean."""
        if not reply.parts or console.queues is None:
            return b"", []
        body = console.queues.body_of(reply.parts)
        return body, console.queues.decodings(body)

    def reply_page(
        request: Request, me: Session, reply_id: str, result: Done | None = None, status: int = 200
    ) -> Response:
        if not _ID.fullmatch(reply_id):
            raise Refused(404)
        sought = request.query_params.get("case", "").strip()[:_LONGEST_SOUGHT]
        hear = console.queues.hear if console.queues is not None else None

        def read(connection: Any) -> tuple[Reply, list[Any]] | None:
            reply = read_reply(connection, console.keyring, me.viewer, reply_id)
            if reply is None:
                return None
            return reply, candidates(connection, me.viewer, reply, sought, hear)

        found = console.read(read)
        if found is None:
            raise Refused(404)
        reply, chosen = found
        body, decodings = undecoded(reply)
        hidden = bytes_hold_number(body) if body else reply.text != reply.plain
        if body and hidden:
            # What shows no number in one coding gives it away in another: only where it is seen can it be masked.
            decodings = [(name, mask_words(text) or "") for name, text in decodings if holds_number(text)]
        return console.page(
            request,
            "queue_reply.html",
            status=status,
            here="queues",
            reply=reply,
            candidates=chosen,
            names=console.read(console.directory.names),
            sought=sought,
            body=body.hex(" "),
            hidden=hidden,
            decodings=decodings,
            ways=ways_of(WorkKind.REPLY, reply.queue),
            needs_note=[how.value for how in ways_of(WorkKind.REPLY, reply.queue) if needs_note(WorkKind.REPLY, how)],
            settles=settles(me.viewer),
            mistaken=reply.queue is QueueReason.MISTAKEN,
            assignable=reply.queue in ASSIGNABLE and reply.plain is not None and settles(me.viewer),
            askable=reply.queue not in _NOT_ASKED and (settles(me.viewer) or reply.queue is not QueueReason.PRESSURE),
            actor=me.viewer.actor,
            result=result,
            problem=getattr(request.state, "problem", ""),
        )

    @router.get("/queues/replies/{reply_id}")
    def reply(request: Request, me: Worker, reply_id: str) -> Response:
        return reply_page(request, me, reply_id)

    @router.post("/queues/replies/{reply_id}")
    def do_reply(request: Request, form: WorkerForm, reply_id: str) -> Response:
        me: Session = request.state.session
        if not _ID.fullmatch(reply_id):
            raise Refused(404)
        what = form["what"]
        try:
            if what in ("assign", "ask"):
                if not _ID.fullmatch(form["invitation"]):
                    request.state.problem = "no_invitation"
                    return reply_page(request, me, reply_id, status=422)
                result = (assign if what == "assign" else ask)(me, reply_id, form["invitation"])
            else:
                [result] = act(WorkKind.REPLY, _one(form, reply_id), me)
        except _BadNote as bad:
            request.state.problem = bad.key
            return reply_page(request, me, reply_id, status=422)
        if result.did is Did.GONE:
            raise Refused(404)
        if result.did is Did.DONE:
            return RedirectResponse(f"/queues/replies/{reply_id}", 303)
        return reply_page(request, me, reply_id, result, 409)

    def assign(me: Session, reply_id: str, invitation_id: str) -> Done:
        """A reply is tied to an invitation, its stored text read with that one's key map."""
        own = tools()
        reply = console.read(lambda connection: read_reply(connection, console.keyring, me.viewer, reply_id))
        if reply is None:
            return Done(reply_id, Did.GONE)
        person, now = person_of(me.viewer), console.clock.now()
        key_map = own.key_map
        for _ in range(_REREADS):
            heard = own.hear(reply.plain or "", key_map, reply.incomplete)
            result = console.submit(AssignReply(reply_id, invitation_id, heard, person, now, own.taking))
            if result.key_map is None:
                break
            key_map = result.key_map
        if result.pushes:
            own.wake_push()
        return result

    def ask(me: Session, reply_id: str, invitation_id: str) -> Done:
        own = tools()
        now = console.clock.now()
        window = own.taking.replies.late_window
        command = AskByHand(reply_id, invitation_id, person_of(me.viewer), now, own.sending, window)
        result = console.submit(command)
        if result.did is Did.DONE:
            own.wake_sms()
        return result

    return router


class _Nothing(Exception):
    """Nothing was chosen."""


class _BadNote(Exception):
    """What was typed in cannot be stored; `key`: what to say."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _words(kind: WorkKind, how: HandledAs, note: str) -> str:
    """The work order's number, or a word, without numbers of telephones."""
    if needs_note(kind, how) and not note:
        raise _BadNote("no_number" if how is HandledAs.WORK_ORDER else "no_note")
    if how is HandledAs.WORK_ORDER:
        if not _WORK_ORDER.fullmatch(note) or normalise_number(note).kind is NumberKind.MOBILE:
            raise _BadNote("bad_number")
        return note
    if len(note) > LONGEST_NOTE:
        raise _BadNote("long_note")
    return mask_words(note) or ""


def _one(form: Form, reply_id: str) -> Form:
    return Form({**{name: form.all(name) for name in form}, "id": [reply_id]})


def _reason(kind: str) -> QueueReason:
    if kind not in set(QueueReason):
        raise Refused(404)
    return QueueReason(kind)


def _told(request: Request, results: Sequence[Done]) -> dict[str, Any]:
    """What a list says of what has just been done."""
    asked = request.query_params
    done = asked.get("done", "")
    left = [one for one in results if one.did is not Did.DONE]
    counts = Counter((one.did.value, one.by or "", one.why.value if one.why is not None else "") for one in left)
    return {
        "problem": getattr(request.state, "problem", ""),
        "done": int(done) if done.isascii() and done.isdecimal() and len(done) < 4 else 0,
        "did": asked.get("did", "")
        if asked.get("did", "") in {*Taking, "retry", "dismiss", "assign", "ask"}
        else "dismiss",
        "was_done": len(results) - len(left),
        "left": [(*key, n) for key, n in counts.items()],
    }
