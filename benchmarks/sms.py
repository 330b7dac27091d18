"""What an SMS costs its client, beside other clients; what many open invitations add; how fast replies are stored.

Rules it keeps:
- The client has the server's core, the SMSC (`benchmarks.smsc_peer`) the other; its CPU share is measured with the
  client's, and one that had nothing left to give is an error: then it was the SMSC that was measured.
- A round measures each client once, after a warm-up of its own; ratios are taken within a round.
- The SMSC looks at every text and counts; a message, a receipt or a response too few ends the measurement.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW
from benchmarks.contenders import NODE_SMPP, PYTHON_PACKAGES
from benchmarks.process import ROOT, BenchError, Cores, Server, cpu_seconds, pinned

LIMIT = 300.0
"""Seconds that one client may take for one round."""
SMSC_MOST = 0.95
"""Part of its core that the SMSC may need; above it the SMSC is the limit."""
QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class SmsClient:
    """One client of the comparison."""

    key: str
    title: str
    argv: tuple[str, ...]
    """`{port}`, `{warm}`, `{count}` and `{folder}`, an empty one, are filled in."""
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    """By another client's key: the ratio to it that this project wants it to stay under."""
    share: float = 1.0
    """Of the load's messages; the fast ones take more to run as long."""
    missing: Callable[[], str] = lambda: ""
    """Empty when it can run here, else why not and what to do."""


def _client(module: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.clients.{module}", "{port}", "{warm}", "{count}", *more)


def _missing_smpplib() -> str:
    return "" if (PYTHON_PACKAGES / "smpplib").is_dir() else "smpplib: not installed (tools/bench-programs.sh)"


def _missing_node() -> str:
    if shutil.which("node") is None:
        return "node's smpp: node is missing (Debian: apt-get install nodejs npm)"
    return "" if (NODE_SMPP / "smpp").is_dir() else "node's smpp: not installed (tools/bench-programs.sh)"


BASELINE = "aiosmpplib"
SMS_CLIENTS: tuple[SmsClient, ...] = (
    SmsClient(BASELINE, "aiosmpplib's ESME", _client("aiosmpplib_esme"), share=0.25),
    SmsClient(
        "smpplib",
        "smpplib, a thread to listen",
        _client("smpplib_threads"),
        env={"PYTHONPATH": str(PYTHON_PACKAGES)},
        missing=_missing_smpplib,
    ),
    SmsClient(
        "node",
        "smpp on Node",
        ("node", "benchmarks/node-smpp/client.js", "{port}", "{warm}", "{count}", SERVICE_NUMBER, TEXT, str(WINDOW)),
        env={"NODE_PATH": str(NODE_SMPP)},
        missing=_missing_node,
    ),
    SmsClient("raw", "ready bytes on asyncio, the floor", _client("raw"), share=4.0),
    SmsClient(
        "link", "Huiyin, the link alone", _client("huiyin_link"), limits={BASELINE: 1 / 6, "smpplib": 0.5}, share=2.0
    ),
    SmsClient(
        QUEUE,
        "Huiyin, from the invitation to the receipt, committed",
        _client("huiyin_sms", "{folder}", "1"),
        limits={BASELINE: 0.5},
        share=0.5,
    ),
)


@dataclass(frozen=True, slots=True)
class SmsLoad:
    """How long the measurements are."""

    rounds: int = 5
    messages: int = 12_000
    """Of a client with `share` 1."""
    warm: int = 1000
    few: int = 10_000
    many: int = 1_000_000
    """Open invitations in the database."""
    replies: Mapping[int, int] = field(default_factory=lambda: {1: 400, 10: 4000, 100: 12_000})
    """How many replies are sent with so many unanswered at once."""


@dataclass(slots=True)
class SmsFigures:
    """One client over all rounds, per message."""

    client: SmsClient
    cpu_us: list[float] = field(default_factory=list)
    wall_us: list[float] = field(default_factory=list)
    smsc_share: list[float] = field(default_factory=list)
    """Part of its core that the SMSC needed."""

    def ratios(self, other: SmsFigures) -> list[float]:
        """CPU relative to another client's of the same round."""
        return [own / base for own, base in zip(self.cpu_us, other.cpu_us, strict=True)]

    def ratio(self, other: SmsFigures) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios(other))


class Client:
    """A client process, to be entered; it says words on its output and waits for lines on its input.

    It ends with its SMSC, whose last words then say why.
    """

    def __init__(self, argv: Sequence[str], core: int, peer: Server, env: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.core = core
        self.peer = peer
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}

    def __enter__(self) -> Client:
        self._errors = tempfile.TemporaryFile("w+")
        with pinned(self.core):
            self._process = subprocess.Popen(
                self.argv,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        self._late = threading.Timer(LIMIT, self._process.kill)
        self._late.start()
        threading.Thread(target=self._end_with_peer, daemon=True).start()
        return self

    def _end_with_peer(self) -> None:
        assert self.peer.process is not None
        self.peer.process.wait()
        self._process.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, word: str) -> str:
        """The rest of the line that begins with the word; BenchError when the client ends before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said, _, rest = line.strip().partition(" ")
            if said == word:
                return rest
        self._process.wait()
        raise BenchError(f"{self.argv[:4]} ended before it said {word}:\n{self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        return f"{self._errors.read()[-3000:]}\n{self.peer.said()[-500:]}"

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Waits until it has ended by itself."""
        if code := self._process.wait():
            raise BenchError(f"{self.argv[:4]} ended with {code}:\n{self._last_words()}")

    def __exit__(self, *_: object) -> None:
        self._late.cancel()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._errors.close()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, per message in microseconds."""

    cpu: float
    wall: float
    smsc_share: float


def _filled(argv: Sequence[str], **values: object) -> list[str]:
    return [re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), word) for word in argv]


def run_client(client: SmsClient, count: int, warm: int, cores: Cores, folder: Path) -> Cost:
    """One client, once; BenchError when it fails, loses a message, or the SMSC was the limit."""
    peer = Server((sys.executable, "-m", "benchmarks.smsc_peer", "receipts"), cores.generator)
    with peer:
        argv = _filled(client.argv, port=peer.port, warm=warm, count=count, folder=folder)
        with Client(argv, cores.server, peer, client.env) as process:
            process.expect("warm")
            began, own, smsc = perf_counter(), cpu_seconds(process.pid), cpu_seconds(peer.pid)
            process.go_on()
            process.expect("done")
            wall = perf_counter() - began
            own, smsc = cpu_seconds(process.pid) - own, cpu_seconds(peer.pid) - smsc
            process.go_on()
            process.end()
        told = peer.wait_for(r"^closed (\d+) (\d+)$")
    if (submits := int(told[1])) != warm + count:
        raise BenchError(f"{client.title}: {submits} messages arrived instead of {warm + count}")
    # The last answers may still have been in the process when it was told to end.
    if (answered := int(told[2])) < warm + count - WINDOW:
        raise BenchError(f"{client.title}: only {answered} of {warm + count} receipts were answered")
    if (share := smsc / wall) > SMSC_MOST and client.key != "raw":
        raise BenchError(f"{client.title}: the SMSC was the limit, with {share:.0%} of its core")
    return Cost(own * 1e6 / count, wall * 1e6 / count, share)


def compare(
    clients: Sequence[SmsClient], load: SmsLoad, cores: Cores, tell: Callable[[str], None]
) -> dict[str, SmsFigures]:
    """Measure all of them, `load.rounds` times, interleaved; the baseline has to be among them."""
    table = {client.key: SmsFigures(client) for client in clients}
    assert BASELINE in table
    for number in range(1, load.rounds + 1):
        for figures in table.values():
            client = figures.client
            with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder:
                cost = run_client(client, round(load.messages * client.share), load.warm, cores, Path(folder))
            figures.cpu_us.append(cost.cpu)
            figures.wall_us.append(cost.wall)
            figures.smsc_share.append(cost.smsc_share)
            tell(
                f"round {number}: {client.title}: {cost.cpu:.0f} µs CPU, {cost.wall:.0f} µs a message; "
                f"SMSC {cost.smsc_share:.0%} of its core"
            )
    return table
