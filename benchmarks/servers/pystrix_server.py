"""pystrix: its own FastAGI server, a new thread a call, no Twisted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from pystrix.agi import FastAGIServer, core  # type: ignore[import-not-found]  # in the cache, not here


class Server(FastAGIServer):  # type: ignore[misc]  # pystrix has no types
    """pystrix's server, which asks the program `sysctl` for what the kernel also tells in /proc."""

    @staticmethod
    def get_somaxconn() -> int:
        """The kernel's limit of waiting connections."""
        return int(Path("/proc/sys/net/core/somaxconn").read_text())


def rating(agi: Any, *_: Any) -> None:
    """The fixed dialogue (`benchmarks.scripts.FIXED`)."""
    agi.execute(core.Answer())
    agi.execute(core.StreamFile("rating-welcome"))
    digits, _timeout = agi.execute(core.GetData("rating-ask", timeout=8000, max_digits=1))
    agi.execute(core.SetVariable("RATING", digits))
    agi.execute(core.SetVariable("RATING_STATUS", "ok" if digits else "none"))
    agi.execute(core.StreamFile("rating-thanks"))
    agi.execute(core.Hangup())


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(interface="127.0.0.1", port=0)
    server.register_script_handler(None, rating)
    print(f"ready {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
