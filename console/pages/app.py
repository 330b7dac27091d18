"""The pages put together: one ASGI application, mounted below the API and health.

A new page is a module with `routes(console)` and, where it stands in the navigation, `NAV`; its line is in `PAGES`.
"""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from console.mounting import WholeMount
from console.pages import (
    account,
    asked,
    audit,
    board,
    exports,
    login,
    people,
    queues,
    ratings,
    reports,
    reveal,
    story,
    trends,
    wall,
)
from console.pages.guard import Guard
from console.pages.shell import (
    PASSWORD_PAGE,
    Console,
    MustChangePassword,
    NotAllowed,
    NotSignedIn,
    Refused,
    Unavailable,
    by_script,
    login_redirect,
)

__all__ = ["PAGES", "mount_pages", "pages_app"]

PAGES = (login, account, board, wall, exports, ratings, asked, story, trends, reports, queues, reveal, audit, people)
_A_YEAR = "public, max-age=31536000, immutable"


def pages_app(console: Console) -> FastAPI:
    """The pages without their guard."""
    app = FastAPI(title="Huiyin 回音", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for page in PAGES:
        console.nav.extend(getattr(page, "NAV", ()))
        app.include_router(page.routes(console))

    @app.get("/static/{name}")
    async def static(name: str, request: Request) -> Response:
        asset = console.assets.find(name)
        if asset is None:
            return console.error_page(404, request)
        return Response(asset.content, media_type=asset.kind, headers={"Cache-Control": _A_YEAR})

    @app.get("/favicon.ico")
    async def favicon() -> Response:
        return RedirectResponse(console.assets.url("huiyin.svg"), 301)

    _tell_errors(app, console)
    return app


def _tell_errors(app: FastAPI, console: Console) -> None:
    @app.exception_handler(NotSignedIn)
    async def _not_signed_in(request: Request, _error: NotSignedIn) -> Response:
        if request.headers.get("accept", "").startswith("text/event-stream") or by_script(request):
            return Response(status_code=401)  # neither is led to a page; the browser's script goes there
        return login_redirect(request)

    @app.exception_handler(MustChangePassword)
    async def _must_change(_request: Request, _error: MustChangePassword) -> Response:
        return RedirectResponse(PASSWORD_PAGE, 303)

    @app.exception_handler(NotAllowed)
    async def _not_allowed(request: Request, _error: NotAllowed) -> Response:
        return console.error_page(403, request)

    @app.exception_handler(Refused)
    async def _refused(request: Request, error: Refused) -> Response:
        return console.error_page(error.status, request)

    @app.exception_handler(Unavailable)
    async def _unavailable(request: Request, _error: Unavailable) -> Response:
        response = console.error_page(503, request)
        response.headers["Retry-After"] = "5"
        return response

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, _error: RequestValidationError) -> Response:
        return console.error_page(400, request)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        response = console.error_page(error.status_code, request)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def _internal(_request: Request, _error: Exception) -> Response:
        return console.error_page(500)  # the guard writes it to the log


def mount_pages(app: FastAPI, console: Console) -> None:
    """Serves the pages under every address that nothing before them has; so it comes last."""
    app.router.routes.append(WholeMount("", Guard(pages_app(console), console.error_page)))
