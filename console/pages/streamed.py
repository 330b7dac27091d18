"""An answer whose body is made while it is sent, and whose maker ends with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["Streamed"]


class Streamed(StreamingResponse):
    """Closes the maker of its body, however the answer ends.

    Starlette's own lets go of it: where a browser is away while a part is being sent, the maker stands at a `yield`, is
    not cancelled, and ends whenever the interpreter finds that nobody holds it.
    """

    def __init__(self, body: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(body, media_type=media_type, headers=headers)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._body.aclose()
