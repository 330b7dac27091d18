"""What holds for every answer of the pages, whatever became of the request; a plain ASGI wrapper around them.

Rules kept here:

* Each answer has the security headers. The policy allows our own files and nothing else: no inline script, no inline
  style, no frame, no other host.
* A page is not kept by browsers or proxies (`no-store`); only files under a hashed name are.
* A body is read no further than `BODY_BYTES` and no longer than `BODY_SECONDS`.
* An address with a NUL, which no column can hold, is refused.
* A browser's form from another site (`Sec-Fetch-Site`) is refused before anything of it is read.
* An error of ours is logged by its kind and place, without what a traceback or a statement's parameters may show.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BODY_BYTES", "BODY_SECONDS", "HEADERS", "POLICY", "Guard"]

BODY_BYTES = 64 * 1024
BODY_SECONDS = 15.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOREIGN = {"cross-site", "same-site"}
_SAFE = {"GET", "HEAD", "OPTIONS"}

log = structlog.get_logger(__name__)
ErrorPage = Callable[[int], Response]


class Guard:
    """Wraps the pages.

    Args:
        error_page: makes the page of an error that the pages could not make themselves.
    """

    def __init__(self, app: ASGIApp, error_page: ErrorPage, *, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._error_page = error_page
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        async def refuse(status: int) -> None:
            if not started:
                await self._error_page(status)(scope, receive, guarded_send)

        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            await refuse(413)
            return
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            await refuse(400)
            return
        if scope["method"] not in _SAFE and headers.get("sec-fetch-site") in _FOREIGN:
            await refuse(403)
            return
        try:
            await self._app(scope, self._bounded(receive), guarded_send)
        except Exception as error:  # noqa: BLE001 (the last resort of a request: told, and the next one is served)
            log.error("a page failed", cause=type(error).__name__, at=_place(error))
            await refuse(500)

    def _bounded(self, receive: Receive) -> Receive:
        """Receives a body within its bounds; what comes behind it (the end of a stream) takes what time it takes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._body_seconds
        read = 0
        whole = False

        async def bounded() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - loop.time(), 0.001))
            except TimeoutError:
                raise HTTPException(408) from None
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if read > BODY_BYTES:
                    raise HTTPException(413)
            return message

        return bounded


def _place(error: BaseException) -> str:
    steps = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(step.filename).name}:{step.lineno}" for step in reversed(steps[-3:]))
