"""The bare client that Huiyin's push is measured against: treq posts ready bodies, reads the answers, and no more.

No signature, no database, no retry. `python -m benchmarks.servers.bare_push URL BODIES IN_FLIGHT`, where BODIES holds
one request body a line. It says `ready 0`, posts everything when a line comes on standard input, and says
`done SECONDS REQUESTS` when the last answer has been read; any answer but 200 ends it with a sentence.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import treq
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import react
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers


async def _post_some(url: str, bodies: list[bytes], pool: Any, reactor: Any) -> int:
    """Take bodies from the shared list until it is empty, one request at a time."""
    count = 0
    while bodies:
        body = bodies.pop()
        answer = await treq.post(
            url, body, headers=Headers({"Content-Type": ["application/json"]}), pool=pool, reactor=reactor
        )
        text = await answer.content()
        if answer.code != 200:
            raise RuntimeError(f"the stand-in answered {answer.code}: {text[:200]!r}")
        count += 1
    return count


async def run(reactor: Any, url: str, path: str, in_flight: int) -> None:
    """Post all bodies, `in_flight` at a time, over as many kept connections."""
    bodies = Path(path).read_bytes().splitlines()
    bodies.reverse()  # they are popped from the end, so that the order is Huiyin's
    pool: Any = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
    pool.maxPersistentPerHost = in_flight
    print("ready 0", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    workers: list[Deferred[int]] = [
        Deferred.fromCoroutine(_post_some(url, bodies, pool, reactor)) for _ in range(in_flight)
    ]
    counts = await gatherResults(workers, consumeErrors=True)
    print(f"done {time.perf_counter() - begin:.6f} {sum(counts)}", flush=True)
    await pool.closeCachedConnections()


if __name__ == "__main__":
    react(lambda reactor: ensureDeferred(run(reactor, sys.argv[1], sys.argv[2], int(sys.argv[3]))))
