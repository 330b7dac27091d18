"""一条评价、一件工单、一通来电: its whole story as a time line."""

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from console.bad_ratings import LONGEST_NOTE, is_bad, read_seen
from console.links import link
from console.masking import mask_words
from console.pages.ratings import READERS
from console.pages.shell import Console, Refused
from console.sessions import Session
from console.story import Story, evaluation_subject, read_story
from models.clock import SHANGHAI
from models.terms import SubjectKind

__all__ = ["routes"]

_ID = re.compile(r"[0-9a-f]{32}")


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Reader = Annotated[Session, Depends(console.signed_in(*READERS))]  # noqa: N806 (a type)

    def page(request: Request, me: Session, subject_id: str, evaluation_id: str = "") -> Response:
        story = console.read(lambda connection: read_story(connection, me.viewer, console.keyring, subject_id))
        if story is None:
            raise Refused(404)
        chosen = next((one for one in story.evaluations if one.id == evaluation_id), None)
        if evaluation_id and chosen is None:
            raise Refused(404)
        shown = chosen or story.effective
        seen = console.read(lambda connection: read_seen(connection, shown.rating_id)) if shown is not None else None
        names = console.read(console.directory.names)
        return console.page(
            request,
            "story.html",
            here="ratings",
            story=story,
            chosen=shown,
            may_mark=shown is not None and is_bad(shown),
            seen=seen,
            longest=LONGEST_NOTE,
            names=names,
            reasons=console.ratings.reasons,
            words_of=mask_words,
            is_time=lambda value: isinstance(value, datetime),
            **_links(console, story, shown),
        )

    @router.get("/ratings/{evaluation_id}")
    def rating(request: Request, me: Reader, evaluation_id: str) -> Response:
        if not _ID.fullmatch(evaluation_id):
            raise Refused(404)
        subject_id = console.read(lambda connection: evaluation_subject(connection, me.viewer, evaluation_id))
        if subject_id is None:
            raise Refused(404)
        return page(request, me, subject_id, evaluation_id)

    @router.get("/cases/{subject_id}")
    def case(request: Request, me: Reader, subject_id: str) -> Response:
        if not _ID.fullmatch(subject_id):
            raise Refused(404)
        return page(request, me, subject_id)

    return router


def _links(console: Console, story: Story, evaluation: Any) -> dict[str, Any]:
    """Where the recording and the work order are, of a call and of a case alike."""
    options = console.ratings
    subject = story.subject
    is_call = story.kind is SubjectKind.CALL
    call = subject if is_call else next(iter(reversed(list(story.calls_about))), None)
    call_key = call.call_key if call is not None else None
    if call_key is None:
        call_key = next((one.number for one in story.members if one.kind is SubjectKind.CALL), None)
    named = story.named
    case_no = (named.case_no if named is not None else None) if is_call else subject.case_no
    service_number = (named.service_number if named is not None else None) if is_call else subject.service_number
    if case_no is None:
        case_no = next((one.number for one in story.members if one.kind is SubjectKind.CASE), None)
    began = (call.offered_at or call.ended_at or call.created_at) if call is not None else None
    fields = {
        "call": call_key,
        "call_start": began.astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S") if began is not None else None,
        "case_no": case_no,
        "service_number": str(service_number or 1),
        "agent": (call.agent if call is not None else None) or subject.agent,
        "queue": call.queue if call is not None else None,
        "dept": subject.dept if is_call else subject.dept_code,
        "area": subject.area_code,
        "date": _day(evaluation.assess_time if evaluation is not None else began),
    }
    return {"recording": link(options.recording_url, fields), "work_order": link(options.case_url, fields)}


def _day(moment: datetime | None) -> str | None:
    return moment.astimezone(SHANGHAI).date().isoformat() if moment is not None else None
