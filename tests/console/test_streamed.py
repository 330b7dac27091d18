"""What makes an answer's body ends with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

from console.pages.streamed import Streamed


def test_a_browser_that_goes_away_while_a_part_is_sent_ends_the_maker() -> None:
    ended: list[str] = []

    async def body() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
        finally:
            ended.append("maker")

    async def run() -> None:
        made = body()  # held here: nobody finds it forgotten
        part = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            await part.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                part.set()
                await asyncio.Event().wait()

        answer = Streamed(made, "text/plain", {})
        await asyncio.wait_for(answer({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send), 10)
        assert ended == ["maker"]
        del made

    asyncio.run(run())
