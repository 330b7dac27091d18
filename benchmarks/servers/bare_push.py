"""The bare client that Huiyin's push is measured against: treq posts ready bodies, reads the answers, and no more.

No database, no retry, no verdicts; the signatures, which the stand-in insists on, are made before the clock runs.
`python -m benchmarks.servers.bare_push BODIES URL SECRET IN_FLIGHT`, where BODIES holds one request body a line. It
says `ready 0`, posts everything when a line comes on standard input, and says `done SECONDS REQUESTS` when the last
answer has been read; any answer but 200 ends it with a sentence.
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

from centre.signing import headers

Signed = tuple[bytes, Headers]


def signed(bodies: list[bytes], secret: str) -> list[Signed]:
    """The bodies with the headers that they go with."""
    now = int(time.time())
    return [
        (
            body,
            Headers(
                {
                    "Content-Type": ["application/json; charset=utf-8"],
                    **{name: [value] for name, value in headers(secret, now, body, f"bare-{number}").items()},
                }
            ),
        )
        for number, body in enumerate(bodies)
    ]


async def _post_some(url: str, requests: list[Signed], pool: Any, reactor: Any) -> int:
    """Take requests from the shared list until it is empty, one at a time."""
    count = 0
    while requests:
        body, head = requests.pop()
        answer = await treq.post(url, body, headers=head, pool=pool, reactor=reactor)
        text = await answer.content()
        if answer.code != 200:
            raise RuntimeError(f"the stand-in answered {answer.code}: {text[:200]!r}")
        count += 1
    return count


async def run(reactor: Any, path: str, url: str, secret: str, in_flight: int) -> None:
    """Post all bodies, `in_flight` at a time, over as many kept connections."""
    requests = signed(Path(path).read_bytes().splitlines(), secret)
    requests.reverse()  # they are popped from the end, so that the order is Huiyin's
    pool: Any = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
    pool.maxPersistentPerHost = in_flight
    print("ready 0", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    workers: list[Deferred[int]] = [
        Deferred.fromCoroutine(_post_some(f"{url}/evaluations", requests, pool, reactor)) for _ in range(in_flight)
    ]
    counts = await gatherResults(workers, consumeErrors=True)
    print(f"done {time.perf_counter() - begin:.6f} {sum(counts)}", flush=True)
    await pool.closeCachedConnections()


if __name__ == "__main__":
    _, bodies, url, secret, in_flight = sys.argv
    react(lambda reactor: ensureDeferred(run(reactor, bodies, url, secret, int(in_flight))))
