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
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW
from benchmarks.contenders import NODE_SMPP, PYTHON_PACKAGES
from benchmarks.process import ROOT, BenchError, Cores, Server, cpu_seconds, pinned

LIMIT = 300.0
"""Seconds that one client may take for one round."""
RECEIPT_AFTER = 1.0
"""Seconds from the response to the receipt. Carriers take longer; what a client keeps meanwhile, it keeps here too."""
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
    receipt_after: float = RECEIPT_AFTER
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
    SmsClient(BASELINE, "aiosmpplib's ESME", _client("aiosmpplib_esme"), share=0.5),
    SmsClient(
        "at-once",
        "aiosmpplib's ESME, each receipt with the response",
        _client("aiosmpplib_esme"),
        receipt_after=0.0,
        share=0.5,
    ),
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


QUICK = SmsLoad(rounds=1, messages=2000, warm=300, few=1000, many=20_000, replies={1: 100, 10: 500, 100: 1000})


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
    peer = Server(
        (sys.executable, "-m", "benchmarks.smsc_peer", "receipts", str(client.receipt_after)), cores.generator
    )
    with peer:
        argv = _filled(client.argv, port=peer.port, warm=warm, count=count, folder=folder)
        with Client(argv, cores.server, peer, client.env) as process:
            process.expect("warm")
            began, own, smsc = perf_counter(), cpu_seconds(process.pid), cpu_seconds(peer.pid)
            process.go_on()
            process.expect("done")
            wall = perf_counter() - began - client.receipt_after
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


# ── many open invitations ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class OpenInvitations:
    """The cost of the same messages beside few and beside many open invitations of others."""

    few: int
    many: int
    beside_few: list[Cost] = field(default_factory=list)
    beside_many: list[Cost] = field(default_factory=list)
    file_mb: float = 0.0
    """Of the database with many."""

    def ratios(self, what: Callable[[Cost], float]) -> list[float]:
        """Round by round."""
        return [what(many) / what(few) for few, many in zip(self.beside_few, self.beside_many, strict=True)]


def _fill(folder: Path, count: int) -> None:
    argv = [sys.executable, "-m", "benchmarks.invitations", str(folder), str(count)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the database could not be filled:\n{done.stderr[-2000:]}")


def open_invitations(load: SmsLoad, cores: Cores, tell: Callable[[str], None]) -> OpenInvitations:
    """Send the same messages beside `load.few` and `load.many` open invitations, in turn.

    Both databases are filled once and keep what each round adds: the same for both.
    """
    [client] = (one for one in SMS_CLIENTS if one.key == QUEUE)
    count = round(load.messages * client.share)
    outcome = OpenInvitations(load.few, load.many)
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as temporary:
        folders = {name: Path(temporary, name) for name in ("few", "many")}
        for name, number in (("few", load.few), ("many", load.many)):
            folders[name].mkdir()
            began = perf_counter()
            _fill(folders[name], number)
            tell(f"filled with {number:,} open invitations in {perf_counter() - began:.0f} s")
        outcome.file_mb = (folders["many"] / "bench.db").stat().st_size / 1e6
        os.sync()  # the fill's own writing to the disk is not part of a round
        for number in range(1, load.rounds + 1):
            first = 1 + number * (load.warm + count)
            again = SmsClient(QUEUE, client.title, (*client.argv[:-1], str(first)))
            for name, costs in (("few", outcome.beside_few), ("many", outcome.beside_many)):
                costs.append(cost := run_client(again, count, load.warm, cores, folders[name]))
                tell(f"round {number}: beside {name}: {cost.cpu:.0f} µs CPU, {cost.wall:.0f} µs a message")
    return outcome


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Replies:
    """Replies with so many unanswered at once; `per_second` and `p99` (ms) until each is stored and answered."""

    unanswered: int
    count: int
    per_second: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rated_per_second: list[float] = field(default_factory=list)
    """Until the last of them has become a rating."""


@dataclass(slots=True)
class Commits:
    """A bare loop of INSERT and COMMIT on SQLite with synchronous=FULL: what the disk allows."""

    per_second: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    """Milliseconds."""


def _commit_loop(core: int, commits: int = 500) -> tuple[float, float]:
    """Commits a second, and the 99th percentile of one in ms."""
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder, pinned(core):
        raw = sqlite3.connect(f"{folder}/loop.db", isolation_level=None)
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        times = []
        for _ in range(commits):
            began = perf_counter()
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("INSERT INTO rows (body) VALUES (?)", (b"x" * 300,))
            raw.execute("COMMIT")
            times.append(perf_counter() - began)
        raw.close()
    times.sort()
    return commits / sum(times), times[commits * 99 // 100] * 1000


def replies(load: SmsLoad, cores: Cores, tell: Callable[[str], None]) -> tuple[list[Replies], Commits]:
    """Replies as fast as the number of unanswered ones allows, each of a citizen with an open invitation."""
    table = [Replies(unanswered, count) for unanswered, count in load.replies.items()]
    commits = Commits()
    for number in range(1, load.rounds + 1):
        per_second, p99 = _commit_loop(cores.server)
        commits.per_second.append(per_second)
        commits.p99.append(p99)
        tell(f"round {number}: bare commit loop: {per_second:,.0f} a second, p99 {p99:.1f} ms")
        for one in table:
            _reply_round(one, load, cores)
            tell(
                f"round {number}: {one.unanswered} unanswered: {one.per_second[-1]:,.0f} replies a second stored, "
                f"p99 {one.p99[-1]:.1f} ms; rated {one.rated_per_second[-1]:,.0f} a second"
            )
    return table, commits


def _reply_round(one: Replies, load: SmsLoad, cores: Cores) -> None:
    warm = min(load.warm, one.count // 4)
    fired = [str(number) for number in (one.unanswered, warm, one.count, 1)]
    peer = Server((sys.executable, "-m", "benchmarks.smsc_peer", "replies", *fired), cores.generator, talks=True)
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder, peer:
        argv = [sys.executable, "-m", "benchmarks.clients.huiyin_sms", str(peer.port), str(warm), str(one.count)]
        with Client([*argv, folder, "1", "replies"], cores.server, peer) as process:
            peer.wait_for("^warm$", LIMIT)
            peer.tell("")
            report = json.loads(peer.wait_for("^done (.*)$", LIMIT)[1])
            seconds = float(process.expect("rated"))
            process.end()
            peer.tell("")
    one.per_second.append(one.count / report["seconds"])
    one.p50.append(report["p50"])
    one.p99.append(report["p99"])
    one.rated_per_second.append((warm + one.count) / seconds)
