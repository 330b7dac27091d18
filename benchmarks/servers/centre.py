"""The stand-in centre of `simulate/` on a port of its own, for the push.

Its secret is the first argument; the second, where there is one, names a file that gets the bodies as they came, one a
line, when the stand-in ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from simulate.centre import StandInCentre


def main() -> None:
    """Serve until SIGTERM."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    centre = StandInCentre(sys.argv[1])
    centre.listen(reactor)
    print(f"ready {centre.port}", flush=True)
    reactor.run()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_bytes(b"".join(delivery.body + b"\n" for delivery in centre.deliveries))


if __name__ == "__main__":
    main()
