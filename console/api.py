"""The HTTP API /api/v1: cases in, cases and evaluations out (docs/api.md).

Rules kept here:

* Handlers are plain `def`, on the server's threads; they wait for the door's futures, never longer than `PATIENCE`.
* Who asks is known before a body is read, and a body is read no further than BODY_BYTES
  and no longer than BODY_SECONDS.
* An answer is JSON, an error too: {"status", "error", "message", "fields"}. What was sent is not repeated in it.
* A database that is down is 503 with Retry-After. Posting again is safe: the same content changes nothing.
* No page that loads from elsewhere: the OpenAPI document is all there is.
"""

# No postponed annotations here: FastAPI evaluates those of the handlers, and some name what their function made.
import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from console.figures import By, Period, Sight, shown_row, statistics
from console.formulas import LEAST
from console.limits import BODY_BYTES, BODY_SECONDS, RateLimit, Strangers
from console.mounting import WholeMount
from console.openapi import REFUSED, UNREAD, body_of, document_of, operation, ref, responses
from console.reads import CursorGone, CursorUnreadable, Filters, evaluations_page, mask_words, read_case, shown
from console.schemas import (
    ANSWER_EXAMPLE,
    CASE_EXAMPLE,
    CASE_OUT_EXAMPLE,
    CENTRE_STATUS_EXAMPLE,
    CENTRE_STATUS_OUT_EXAMPLE,
    PAGE_EXAMPLE,
    PATCH_EXAMPLE,
    STATISTICS_EXAMPLE,
    WITHDRAWN_EXAMPLE,
    CaseAnswer,
    CaseIn,
    CaseOut,
    CasePatchIn,
    CentreStatusIn,
    CentreStatusOut,
    ErrorKind,
    EvaluationsPage,
    StatisticsOut,
)
from console.tokens import Scope, Token, find_token
from intake.cases import AT_ONCE, CaseDesk, CaseRules, Poster, Verdict
from intake.centre_word import CentreWord, Heard, StoreCentreWord
from intake.names import case_number, clean
from intake.posted import CaseRefused, PostedCase, Problem, field_shown, read_case_no, read_patch
from intake.posted import read_case as read_posted
from models.clock import SHANGHAI, Clock
from models.door import Door
from models.errors import StoreError
from models.privacy import Keyring
from models.terms import Channel, Origin, Satisfaction

__all__ = ["ITEMS", "PATIENCE", "PREFIX", "api_app", "mount_api"]

PREFIX = "/api"
ITEMS = 1000
"""Cases in one request."""
PATIENCE = 15.0
"""Seconds that a request waits for the database."""
_RETRY_AFTER = "5"
_ONE_PAGE, _LONGEST_PAGE = 100, 1000
_USUAL_DAYS, _MOST_DAYS = 30, 400
_CODE = 64

R = TypeVar("R")
log = structlog.get_logger(__name__)


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        status: int,
        message: str,
        problems: Iterable[Problem] = (),
        *,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error or ErrorKind.of(status).value
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        content = {"status": self.status, "error": self.error, "message": self.message, "fields": []}
        if self.problems:
            content["fields"] = _fields(self.problems)
        return JSONResponse(content, self.status, self.headers)


_MESSAGES = {
    404: "it is not known",
    405: "this address does not take this method",
    409: "it is known with another content",
    422: "a field cannot be taken",
}


def _fields(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"field": problem.field, "message": problem.sentence} for problem in problems]


def _unavailable(sentence: str) -> ApiError:
    return ApiError(503, sentence, headers={"Retry-After": _RETRY_AFTER})


# ── who asks, and for what ────────────────────────────────────────────────────────────────────────────────────────────


class _Gate:
    """Knows tokens and counts their requests."""

    def __init__(self, door: Door, limit: RateLimit) -> None:
        self._door = door
        self._limit = limit
        self._strangers = Strangers()

    def admitted(self, request: Request, scopes: Sequence[Scope]) -> Token:
        """The token of a request.

        Raises:
            ApiError: 401, 429, 403; 422 for a name in the query that is not asked for.
        """
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise ApiError(
                401,
                "an API token is needed: Authorization: Bearer …; huiyin token add makes one",
                headers={"WWW-Authenticate": 'Bearer realm="huiyin"'},
            )
        secret = secret.strip()
        address = request.client.host if request.client is not None else ""
        if seconds := self._strangers.wait(address, secret):
            raise ApiError(429, "too many unknown tokens from this address", headers={"Retry-After": str(seconds)})
        token = _read(self._door, lambda connection: find_token(connection, secret))
        self._strangers.looked_up(address, secret, good=token is not None)
        if token is None:
            raise ApiError(
                401,
                "this token is not known, or was revoked",
                headers={"WWW-Authenticate": 'Bearer realm="huiyin", error="invalid_token"'},
            )
        if seconds := self._limit.take(token.id):
            raise ApiError(429, "600 requests a minute are the limit of a token", headers={"Retry-After": str(seconds)})
        if token.scope not in scopes:
            raise ApiError(
                403,
                f"a token of scope {token.scope.value} may not do this",
                headers={"WWW-Authenticate": 'Bearer realm="huiyin", error="insufficient_scope"'},
            )
        _refuse_unknown(request)
        return token


def _read(door: Door, function: Callable[[Any], R]) -> R:
    try:
        return door.read(function).result(PATIENCE)
    except (StoreError, SQLAlchemyError, FutureTimeout, OSError) as error:
        log.warning("a request could not be read for", cause=type(error).__name__)
        raise _unavailable("the database does not answer; try again") from error


async def _body(request: Request) -> bytes:
    """The body, no further than the limit."""
    too_large = ApiError(413, f"a body has {BODY_BYTES // 1024 // 1024} MiB at most; post fewer cases at a time")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_BYTES:
        raise too_large
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                read += chunk
                if len(read) > BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None
    return bytes(read)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON text in UTF-8") from None


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _answer(verdict: Verdict) -> dict[str, Any]:
    content: dict[str, Any] = {
        "status": verdict.status,
        "case_no": verdict.case_no,
        "service_number": verdict.service_number,
        "invitation": verdict.invited.value,
        "reason": verdict.reason,
        "deadline": shown(verdict.deadline),
        "provisional": verdict.provisional,
    }
    if not verdict.taken:
        content |= _why(verdict.status, verdict.problems)
    return content


def _why(status: int, problems: Iterable[Problem], message: str | None = None) -> dict[str, Any]:
    return {
        "error": ErrorKind.of(status).value,
        "message": message or _MESSAGES.get(status, HTTPStatus(status).phrase),
        "fields": _fields(problems),
    }


def _not_taken(raw: Any, status: int, problems: Iterable[Problem] = (), message: str | None = None) -> dict[str, Any]:
    """An item that never came to the desk."""
    named = raw.get("case_no") if isinstance(raw, Mapping) else None
    return {
        "status": status,
        "case_no": read_case_no(named) if isinstance(named, str) else None,
        "service_number": None,
        "invitation": "none",
        "reason": None,
        "deadline": None,
        "provisional": False,
        **_why(status, problems, message),
    }


# ── the handlers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Api:
    """What the handlers do, apart from HTTP."""

    desk: CaseDesk
    keyring: Keyring
    clock: Clock

    def post(self, items: Sequence[Any], poster: Poster) -> list[dict[str, Any]]:
        """One answer an item, in their order. Once the database does not answer, the rest is not tried."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(items), AT_ONCE):
            chunk = items[start : start + AT_ONCE]
            answers += self._post_chunk(chunk, poster)
            if any(answer["status"] == 503 for answer in answers[start:]):
                rest = items[start + AT_ONCE :]
                answers += [_not_taken(raw, 503, message="not tried: the database does not answer") for raw in rest]
                break
        return answers

    def _post_chunk(self, chunk: Sequence[Any], poster: Poster) -> list[dict[str, Any]]:
        now = self.clock.now()
        answers: list[dict[str, Any] | None] = [None] * len(chunk)
        taken: list[tuple[int, PostedCase]] = []
        for place, raw in enumerate(chunk):
            try:
                taken.append((place, read_posted(raw, now)))
            except CaseRefused as refused:
                answers[place] = _not_taken(raw, 422, refused.problems)
        futures = self.desk.post([case for _, case in taken], poster)
        wait(futures, PATIENCE)
        for (place, _), future in zip(taken, futures, strict=True):
            verdict = _outcome(future)
            answers[place] = _answer(verdict) if verdict else _not_taken(chunk[place], 503, message=_NOT_WRITTEN)
        return [answer for answer in answers if answer is not None]


_NOT_WRITTEN = "the database did not take it; post it again, which changes nothing where it did"


def _outcome(future: Future[Verdict]) -> Verdict | None:
    """What became of a command; None: it failed, or is not known to have been written."""
    if not future.done():
        future.cancel()
        return None
    try:
        return future.result()
    except StoreError as error:
        log.warning("a case could not be stored", cause=type(error).__name__)
        return None


def api_app(desk: CaseDesk, keyring: Keyring, *, satisfied_from: int = 3, limit: RateLimit | None = None) -> FastAPI:
    """The ASGI application, for the address `PREFIX`.

    Args:
        satisfied_from: the lowest level that counts as satisfied (`rating.satisfied_from`).
        limit: counts requests; a test brings its own.
    """
    door = desk.door
    api = _Api(desk, keyring, desk.clock)
    gate = _Gate(door, limit or RateLimit())
    app = FastAPI(
        title="Huiyin 回音", docs_url=None, redoc_url=None, openapi_url="/openapi.json", redirect_slashes=False
    )
    _tell_errors(app)

    def intake_token(request: Request) -> Token:
        return gate.admitted(request, (Scope.INTAKE,))

    def case_token(request: Request) -> Token:
        return gate.admitted(request, (Scope.INTAKE, Scope.READ))

    def read_token(request: Request) -> Token:
        return gate.admitted(request, (Scope.READ,))

    def centre_token(request: Request) -> Token:
        return gate.admitted(request, (Scope.CENTRE,))

    async def centre_body(request: Request, _token: Annotated[Token, Depends(centre_token)]) -> bytes:
        return await _body(request)

    async def intake_body(request: Request, _token: Annotated[Token, Depends(intake_token)]) -> bytes:
        return await _body(request)

    IntakeToken = Annotated[Token, Depends(intake_token)]  # noqa: N806 (types)
    CaseToken = Annotated[Token, Depends(case_token)]  # noqa: N806
    ReadToken = Annotated[Token, Depends(read_token)]  # noqa: N806
    Body = Annotated[bytes, Depends(intake_body)]  # noqa: N806
    CentreToken = Annotated[Token, Depends(centre_token)]  # noqa: N806
    CentreBody = Annotated[bytes, Depends(centre_body)]  # noqa: N806

    @app.post(
        "/v1/cases",
        summary="Hand in a closed case, or up to 1,000",
        response_model=None,
        responses=responses(
            {
                200: ("Known with the same content", ref(CaseAnswer), {**ANSWER_EXAMPLE, "status": 200}),
                201: ("New", ref(CaseAnswer), ANSWER_EXAMPLE),
                207: (
                    "One answer an item, in their order",
                    {"type": "array", "items": ref(CaseAnswer), "maxItems": ITEMS},
                    [ANSWER_EXAMPLE],
                ),
            },
            *UNREAD,
            *(409, 422),
            of_case=True,
        ),
        openapi_extra=operation(
            Scope.INTAKE,
            body=body_of(
                {"oneOf": [ref(CaseIn), {"type": "array", "items": ref(CaseIn), "maxItems": ITEMS}]},
                {"one": CASE_EXAMPLE, "list": [CASE_EXAMPLE]},
            ),
        ),
    )
    def post_cases(token: IntakeToken, body: Body) -> JSONResponse:
        document = _parsed(body)
        many = isinstance(document, list)
        items = document if many else [document]
        if len(items) > ITEMS:
            raise ApiError(422, f"a list has {ITEMS} cases at most")
        answers = api.post(items, _poster(token))
        if many:
            return JSONResponse(answers, 207)
        [answer] = answers
        headers = {"Retry-After": _RETRY_AFTER} if answer["status"] == 503 else None
        return JSONResponse(answer, answer["status"], headers)

    @app.patch(
        "/v1/cases/{case_no:path}",
        summary="Change a case",
        response_model=None,
        responses=responses(
            {200: ("Changed", ref(CaseAnswer), {**ANSWER_EXAMPLE, "status": 200})}, *UNREAD, *REFUSED, of_case=True
        ),
        openapi_extra=operation(Scope.INTAKE, body=body_of(ref(CasePatchIn), {"department": PATCH_EXAMPLE})),
    )
    def patch_case(
        token: IntakeToken, body: Body, case_no: CaseNo, service_number: ServiceNumber = None
    ) -> JSONResponse:
        name = _known(case_no)
        raw = _parsed(body)
        try:
            patch = read_patch(raw, desk.clock.now(), case_no=name)
        except CaseRefused as refused:
            raise ApiError(422, _MESSAGES[422], refused.problems) from None
        return _written(desk.patch(name, service_number, patch, _poster(token)))

    @app.post(
        "/v1/cases/{case_no:path}/withdraw",
        summary="Take a case back: its invitation and its deadline end",
        response_model=None,
        responses=responses(
            {200: ("Withdrawn, now or before", ref(CaseAnswer), WITHDRAWN_EXAMPLE)}, *(404, 422), of_case=True
        ),
        openapi_extra=operation(Scope.INTAKE),
    )
    def withdraw_case(token: IntakeToken, case_no: CaseNo, service_number: ServiceNumber = None) -> JSONResponse:
        return _written(desk.withdraw(_known(case_no), service_number, _poster(token)))

    @app.get(
        "/v1/cases/{case_no:path}",
        summary="A case, its invitations, its evaluations",
        response_model=None,
        responses=responses({200: ("The case", ref(CaseOut), CASE_OUT_EXAMPLE)}, 404, 422),
        openapi_extra=operation(Scope.INTAKE, Scope.READ),
    )
    def get_case(token: CaseToken, case_no: CaseNo, service_number: ServiceNumber = None) -> JSONResponse:
        name = _known(case_no)
        found = _read(door, lambda connection: read_case(connection, keyring, token, name, service_number))
        if found is None:
            raise ApiError(404, _MESSAGES[404])
        return JSONResponse(found)

    @app.get(
        "/v1/evaluations",
        summary="Evaluations in the order of their commit",
        response_model=None,
        responses=responses({200: ("A page", ref(EvaluationsPage), PAGE_EXAMPLE)}, 410, 422),
        openapi_extra=operation(Scope.READ),
    )
    def get_evaluations(
        token: ReadToken,
        from_: Annotated[
            str | None, Query(alias="from", description="Time of the rating from: RFC 3339 or a date.")
        ] = None,
        to: Annotated[str | None, Query(description="Until before this time; a date counts whole.")] = None,
        satisfaction: Annotated[list[Level] | None, Query(description="5 … 1; may be repeated.")] = None,
        channel: Annotated[Channel | None, Query()] = None,
        agent: Annotated[str | None, Query(max_length=_CODE)] = None,
        dept: Annotated[str | None, Query(max_length=_CODE)] = None,
        origin: Annotated[Origin | None, Query()] = None,
        case_no: Annotated[str | None, Query(max_length=200)] = None,
        cursor: Annotated[str | None, Query(description="Of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=_LONGEST_PAGE)] = _ONE_PAGE,
    ) -> JSONResponse:
        filters = Filters(
            _moment("from", from_, end=False),
            _moment("to", to, end=True),
            tuple(Satisfaction(level) for level in satisfaction or ()),
            channel,
            _words(agent),
            _words(dept),
            origin,
            None if case_no is None else case_number(case_no) or "",
        )
        try:
            page = _read(door, lambda connection: evaluations_page(connection, token, filters, cursor, limit))
        except CursorUnreadable:
            raise ApiError(422, _MESSAGES[422], [Problem("cursor", "is none that this server gave")]) from None
        except CursorGone:
            raise ApiError(410, "the database was restored since; begin again without a cursor") from None
        return JSONResponse(page)

    @app.get(
        "/v1/statistics",
        summary="Counts, response and satisfaction rates of a period",
        response_model=None,
        responses=responses({200: ("The figures", ref(StatisticsOut), STATISTICS_EXAMPLE)}, 422),
        openapi_extra=operation(Scope.READ),
    )
    def get_statistics(
        token: ReadToken,
        from_: Annotated[
            str | None, Query(alias="from", description="The first day; default: 29 days before the last.")
        ] = None,
        to: Annotated[str | None, Query(description="The last day, which is in; default: today.")] = None,
        by: By = By.DAY,
    ) -> JSONResponse:
        period = _period(from_, to, desk.clock.now())
        sight = Sight(token.depts, token.areas)
        rows = _read(door, lambda connection: statistics(connection, period, by, sight))
        return JSONResponse(
            {
                "from": period.first.isoformat(),
                "to": period.last.isoformat(),
                "by": by.value,
                "satisfied_from": satisfied_from,
                "least_n": LEAST,
                "rows": [shown_row(row, by, satisfied_from) for row in rows],
            }
        )

    @app.post(
        "/v1/centre/status",
        summary="The centre's word on an evaluation: adopted or not, and how its follow-up goes",
        response_model=None,
        responses=responses(
            {200: ("Taken, now or before", ref(CentreStatusOut), CENTRE_STATUS_OUT_EXAMPLE)}, *UNREAD, *(404, 422)
        ),
        openapi_extra=operation(
            Scope.CENTRE, body=body_of(ref(CentreStatusIn), {"not adopted": CENTRE_STATUS_EXAMPLE})
        ),
    )
    def post_centre_status(token: CentreToken, body: CentreBody) -> JSONResponse:
        try:
            said = CentreStatusIn.model_validate(_parsed(body))
        except ValidationError as error:
            problems = [Problem(_named(one["loc"]), str(one["msg"])) for one in error.errors()]
            raise ApiError(422, _MESSAGES[422], problems) from None
        if said.status is None and said.follow_up is None:
            raise ApiError(422, _MESSAGES[422], [Problem("status", "or follow_up has to be told")])
        identity = said.evaluation_id.replace("-", "").lower()
        word = CentreWord(said.status, said.follow_up, clean(said.note, 500))
        command = StoreCentreWord(identity, word, f"token:{token.name}", desk.clock.now())
        known = _committed(door.submit(command))
        if known is None:
            raise ApiError(404, _MESSAGES[404])
        return JSONResponse(
            {
                "evaluation_id": identity,
                "changed": known.heard is Heard.NEW,
                "status": known.adoption,
                "follow_up": known.follow_up,
                "note": mask_words(known.note),
                "at": shown(known.at),
            }
        )

    app.openapi = lambda: document_of(app, PREFIX)  # type: ignore[method-assign]
    return app


CaseNo = Annotated[
    str,
    Path(
        description="Percent-encoded; any characters.",
        examples=[CASE_EXAMPLE["case_no"]],
        json_schema_extra={"minLength": 1, "maxLength": 200},
    ),
]
Level = Annotated[int, Field(ge=1, le=5)]
ServiceNumber = Annotated[int | None, Query(ge=1, le=10_000, description="Default: the latest closing.")]


def _words(text: str | None) -> str | None:
    """A filter's words without controls, which no column holds; what is then empty matches nothing."""
    return None if text is None else clean(text, _CODE) or ""


def _refuse_unknown(request: Request) -> None:
    """A filter or number that is misspelt must not be as if it were not there: withdrawing means the latest closing."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        raise ApiError(422, _MESSAGES[422], [Problem(field_shown(name), "is not asked for here") for name in unknown])


def _poster(token: Token) -> Poster:
    return Poster(token.name, f"token:{token.name}")


def _known(case_no: str) -> str:
    name = read_case_no(case_no)
    if name is None:
        raise ApiError(404, _MESSAGES[404])
    return name


def _written(future: Future[Verdict]) -> JSONResponse:
    wait([future], PATIENCE)
    verdict = _outcome(future)
    if verdict is None:
        raise _unavailable("the database did not take it; ask again, which changes nothing where it did")
    return JSONResponse(_answer(verdict), verdict.status)


def _named(path: Sequence[Any]) -> str:
    """The field that an error is about: of a list the last step is a place in it."""
    return next((str(step) for step in reversed(path) if isinstance(step, str)), "")[:64]


def _committed(future: Future[R]) -> R:
    """The result of a command, or 503."""
    wait([future], PATIENCE)
    if not future.done():
        future.cancel()
    try:
        return future.result(0)
    except (StoreError, FutureTimeout, CancelledError) as error:
        log.warning("a word of the centre could not be stored", cause=type(error).__name__)
        raise _unavailable("the database did not take it; tell it again, which changes nothing where it did") from None


def _period(first: str | None, last: str | None, now: datetime) -> Period:
    """The days of a question for figures."""
    end = _day("to", last) or now.astimezone(SHANGHAI).date()
    begin = _day("from", first) or max(date.min + timedelta(days=_USUAL_DAYS), end) - timedelta(days=_USUAL_DAYS - 1)
    if end < begin:
        raise ApiError(422, _MESSAGES[422], [Problem("to", "is before from")])
    if (end - begin).days >= _MOST_DAYS:
        raise ApiError(422, _MESSAGES[422], [Problem("from", f"{_MOST_DAYS} days are the most at once")])
    return Period(begin, end)


def _day(field: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        # The other forms of ISO 8601 (20261118, 2026-W47-3) are nobody's.
        return date.fromisoformat(text if len(text) == len("2026-11-18") else "")
    except ValueError:
        raise ApiError(422, _MESSAGES[422], [Problem(field, 'must be a day such as "2026-11-18"')]) from None


def _moment(field: str, text: str | None, *, end: bool) -> datetime | None:
    """A time of a filter; a date is its midnight in Asia/Shanghai, as an end the next one's."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-18"):
            midnight = datetime.combine(date.fromisoformat(text), time(), SHANGHAI)
            return (midnight + timedelta(days=end)).astimezone(UTC)
        # A plus sign that was not percent-encoded has become a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+", 1) if "T" in text else text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=SHANGHAI)).astimezone(UTC)
    except (ValueError, OverflowError):
        sentence = 'must be a date or a time such as "2026-11-18" or "2026-11-18T10:00:00+08:00"'
        raise ApiError(422, _MESSAGES[422], [Problem(field, sentence)]) from None


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def _api_error(_request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [Problem(_named(one["loc"]), str(one["msg"])) for one in error.errors()]
        return ApiError(422, _MESSAGES[422], problems).response()

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status = error.status_code
        headers = {"Allow": _allowed(app, request)} if status == 405 else error.headers
        return ApiError(status, _MESSAGES.get(status, HTTPStatus(status).phrase), headers=headers).response()

    @app.exception_handler(Exception)
    async def _internal(_request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", cause=type(error).__name__)
        return ApiError(500, "an error of the server; it is in its log").response()


def _allowed(app: FastAPI, request: Request) -> str:
    """The methods of an address; Starlette would name those of the first of its routes alone."""
    found = [
        route for route in app.routes if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE
    ]
    return ", ".join(sorted({method for route in found for method in route.methods or ()}))


class _Headers:
    """Every answer is for its asker alone, and what it says it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, with_headers)


def mount_api(
    app: FastAPI,
    door: Door,
    keyring: Keyring,
    clock: Clock,
    rules: CaseRules,
    *,
    wake: Callable[[], None] | None = None,
    satisfied_from: int = 3,
    limit: RateLimit | None = None,
) -> CaseDesk:
    """Serves the API under /api of an application; returns the desk at which it hands in.

    Args:
        wake: called when a post has made an SMS due at once.
    """
    desk = CaseDesk(door, keyring, clock, rules, wake=wake)
    app.router.routes.append(
        WholeMount(PREFIX, _Headers(api_app(desk, keyring, satisfied_from=satisfied_from, limit=limit)))
    )
    return desk
