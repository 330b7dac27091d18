"""A load generator that acts as Asterisk: many FastAGI calls at once, each checked, each with an id of its own.

Rules it keeps:
- Every call has a linkedid and a caller number that no other call of the run has: a repeated id would measure how
  fast a server refuses duplicates.
- It answers each command at once, as if no prompt had a length, except that the caller may think before the first
  key (`think` seconds). A prompt plays to its end and the key follows: that is one command more than a key that
  interrupts.
- A call counts only if its whole transcript is the script's; the rest is counted by reason. Zero failures is part of
  a valid measurement, and the caller of this module has to look.
- It is bounded in calls and in time and talks to loopback only.
- It is raw sockets on epoll, so that one core of generator keeps one core of any server here busy.

It runs as a process of its own (`python -m benchmarks.agi_load`), pinned to another core than the server, and
prints one JSON object (`Report`).
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import os
import re
import resource
import select
import socket
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.scripts import SCRIPTS, Script

VERBS: tuple[str, ...] = (
    "ANSWER",
    "STREAM FILE",
    "CONTROL STREAM FILE",
    "GET DATA",
    "GET OPTION",
    "GET VARIABLE",
    "GET FULL VARIABLE",
    "SET VARIABLE",
    "WAIT FOR DIGIT",
    "EXEC",
    "CHANNEL STATUS",
    "VERBOSE",
    "NOOP",
    "HANGUP",
)
"""The AGI commands that this Asterisk knows; anything else is answered 510 and fails the call."""

_BY_BYTES = {verb.encode(): verb for verb in VERBS}
_SET_VARIABLE = re.compile(rb'SET VARIABLE "?([^" ]+)"? "?(.*?)"?$')
_GET_VARIABLE = re.compile(rb'GET (?:FULL )?VARIABLE "?([^" ]+)"?')
_EXEC_READ = re.compile(rb'EXEC "?READ"? "?([^,"]+)', re.IGNORECASE)
_KNOWN_VARIABLES = {"BACKGROUNDSTATUS": "SUCCESS", "PLAYBACKSTATUS": "SUCCESS", "READSTATUS": "OK"}
"""What the applications leave behind here: every file is found."""

_ENVIRONMENT = (
    "agi_network: yes\nagi_network_script: {request}\nagi_request: agi://127.0.0.1:{port}/{request}\n"
    "agi_channel: PJSIP/trunk-{number:08x}\nagi_language: zh\nagi_type: PJSIP\nagi_uniqueid: {call}\n"
    "agi_version: 22.10.0\nagi_callerid: {phone}\nagi_calleridname: {phone}\nagi_callingpres: 0\n"
    "agi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\nagi_dnid: 12345\nagi_rdnis: unknown\n"
    "agi_context: huiyin-rate\nagi_extension: s\nagi_priority: 1\nagi_enhanced: 0.0\nagi_accountcode: \n"
    "agi_threadid: 140\n\n"
)
"""What Asterisk 22 sends first, names and order as seen on the wire."""


class LoadError(Exception):
    """The generator itself could not do its work; the sentence says what to change."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load, how long at most, against which server."""

    port: int
    script: Script
    calls: int
    at_once: int
    first: int = 0
    """Number of the first call: ids are made from it, so two runs on one database take ranges apart."""
    starts_per_second: float = 0.0
    """Calls started a second at most; 0: as fast as places become free."""
    think: float = 0.0
    """Seconds that the caller takes before the first key."""
    time_limit: float = 60.0
    """Seconds after which what is still open counts as a failure."""
    watch_pid: int = 0
    """Process whose resident memory is read while all `at_once` calls are open; 0: none."""
    echo_port: int = 0
    """A bare echo server to ask beside the calls; 0: none."""
    echo_per_second: float = 200.0


@dataclass(slots=True)
class Report:
    """What came out, times in milliseconds unless the name says otherwise."""

    calls: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    commands: int = 0
    most_at_once: int = 0
    latency: dict[str, float] = field(default_factory=dict)
    """p50, p99, max: from our reply to the server's next command."""
    latency_by_command: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same by the command that came, which shows where a server waits (say, for its disk)."""
    echo: dict[str, float] = field(default_factory=dict)
    """p50, p99, max of the bare echo in the same seconds."""
    resident_kib: list[int] = field(default_factory=list)
    """Resident memory of `watch_pid`, each half second while all calls were open."""
    first_transcript: list[str] = field(default_factory=list)
    """The first call's command lines, for the reader of a failure."""
    generator_cpu_seconds: float = 0.0


def percentiles(nanoseconds: array[int]) -> dict[str, float]:
    """p50, p99 and max in milliseconds, with the number of samples; empty for no samples."""
    if not nanoseconds:
        return {}
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1
    return {
        "n": float(len(ordered)),
        "p50": ordered[last // 2] / 1e6,
        "p99": ordered[round(last * 0.99)] / 1e6,
        "max": ordered[last] / 1e6,
    }


def resident_kib(pid: int) -> int:
    """Resident memory of a process in KiB (proc(5), statm's second field)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


class Call:
    """One caller's side of one call."""

    __slots__ = ("buffer", "keys", "lines", "number", "replied", "sock", "thought", "variables", "verbs")

    def __init__(self, sock: socket.socket, number: int, keep_lines: bool) -> None:
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.keys = 0
        self.replied = 0
        self.thought = False
        self.verbs: list[str] = []
        self.variables: dict[str, str] = {}
        self.lines: list[str] | None = [] if keep_lines else None


def verb_of(line: bytes) -> str:
    """The AGI command that a line gives, or the empty string for none that we know."""
    words = line.split(b" ", 3)
    for count in (3, 2, 1):
        verb = _BY_BYTES.get(b" ".join(words[:count]).upper())
        if verb is not None:
            return verb
    return ""


class Generator:
    """Drives a plan to its end; one use."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.script = plan.script
        self.report = Report()
        self.poll = select.epoll()
        self.open: dict[int, Call] = {}
        self.thinking: list[tuple[int, int, int, bytes]] = []
        self.started = 0
        self.failures: Counter[str] = Counter()
        self.latency: dict[str, array[int]] = {verb: array("Q") for verb in VERBS}
        self.echo_latency: array[int] = array("Q")
        self.echo: socket.socket | None = None
        self.echo_sent = 0
        self.echo_due = 0
        self.verb_cache: dict[bytes, str] = {}
        self.expected = list(plan.script.verbs)
        self.patterns = {name: re.compile(text) for name, text in plan.script.variables.items()}

    def run(self) -> Report:
        """Make all the calls of the plan, or as many as the time limit allows."""
        plan = self.plan
        self._raise_file_limit()
        if plan.echo_port:
            self.echo = socket.create_connection(("127.0.0.1", plan.echo_port), timeout=5)
            self.echo.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.echo.setblocking(False)
            self.poll.register(self.echo.fileno(), select.EPOLLIN)
        gc.disable()  # a collection among 5,000 sockets would show as the server's latency
        begin = time.perf_counter_ns()
        deadline = begin + int(plan.time_limit * 1e9)
        next_sample = begin
        gap = int(1e9 / plan.starts_per_second) if plan.starts_per_second else 0
        next_start = begin
        while True:
            now = time.perf_counter_ns()
            if now >= deadline:
                break
            while self.started < plan.calls and len(self.open) < plan.at_once and now >= next_start:
                self._start()
                next_start += gap
            if not self.open and self.started >= plan.calls:
                break
            while self.thinking and self.thinking[0][0] <= now:
                _, number, fd, reply = heapq.heappop(self.thinking)
                call = self.open.get(fd)
                if call is not None and call.number == number:
                    self._reply(call, reply)
            if self.echo is not None and not self.echo_sent and now >= self.echo_due:
                self.echo_due = now + int(1e9 / plan.echo_per_second)
                self.echo_sent = time.perf_counter_ns()
                self.echo.send(b"STREAM FILE\n")
            if plan.watch_pid and now >= next_sample and len(self.open) == plan.at_once:
                next_sample = now + 500_000_000
                self.report.resident_kib.append(resident_kib(plan.watch_pid))
            self._poll_once(self._wait(now, next_start, deadline))
        self._finish(begin)
        return self.report

    def _wait(self, now: int, next_start: int, deadline: int) -> float:
        """Seconds that nothing of ours falls due in."""
        until = deadline
        if self.started < self.plan.calls and len(self.open) < self.plan.at_once:
            until = min(until, next_start)
        if self.thinking:
            until = min(until, self.thinking[0][0])
        if self.echo is not None and not self.echo_sent:
            until = min(until, self.echo_due)
        return max(0.0, (until - now) / 1e9)

    def _raise_file_limit(self) -> None:
        wanted = self.plan.at_once + 64
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft >= wanted:
            return
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise LoadError(
                f"{self.plan.at_once} calls at once need {wanted} open files, the hard limit is {hard}: "
                f"raise it (ulimit -Hn) or ask for fewer calls"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def _start(self) -> None:
        number = self.plan.first + self.started
        self.started += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(("127.0.0.1", self.plan.port))
        call = Call(sock, number, keep_lines=self.started == 1)
        self.open[sock.fileno()] = call
        self.report.most_at_once = max(self.report.most_at_once, len(self.open))
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def _poll_once(self, wait: float) -> None:
        for fd, events in self.poll.poll(wait):
            call = self.open.get(fd)
            if call is None:
                self._echoed()
            elif events & select.EPOLLOUT:
                self._connected(fd, call)
            else:
                self._received(fd, call)

    def _connected(self, fd: int, call: Call) -> None:
        error = call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._end(fd, call, f"connection: {os.strerror(error)}")
            return
        linkedid = f"bench-1760000000.{call.number}"
        request = self.script.request.format(call=linkedid)
        head = _ENVIRONMENT.format(
            request=request,
            port=self.plan.port,
            number=call.number,
            call=linkedid,
            phone=f"139{call.number % 100_000_000:08d}",
        )
        self.poll.modify(fd, select.EPOLLIN)
        call.sock.send(head.encode())
        call.replied = time.perf_counter_ns()

    def _echoed(self) -> None:
        assert self.echo is not None
        if not self.echo.recv(4096):
            raise LoadError("the echo server closed its connection: look at its output")
        if self.echo_sent:
            self.echo_latency.append(time.perf_counter_ns() - self.echo_sent)
            self.echo_sent = 0

    def _received(self, fd: int, call: Call) -> None:
        came = time.perf_counter_ns()
        try:
            data = call.sock.recv(65536)
        except OSError as error:
            self._end(fd, call, f"connection: {error.strerror}")
            return
        if not data:
            self._end(fd, call, self._verdict(call))
            return
        call.buffer += data
        while True:
            line, end, rest = call.buffer.partition(b"\n")
            if not end:
                return
            call.buffer = rest
            self._command(fd, call, line, came)

    def _command(self, fd: int, call: Call, line: bytes, came: int) -> None:
        if line.startswith(b"SET VARIABLE "):
            verb = "SET VARIABLE"  # the values differ from call to call, the cache is for what repeats
        else:
            known = self.verb_cache.get(line)
            if known is None:
                known = verb_of(line)
                if len(self.verb_cache) < 4096:
                    self.verb_cache[line] = known
            verb = known
        call.verbs.append(verb)
        if call.lines is not None:
            call.lines.append(line.decode("utf-8", "replace"))
        if not verb:
            self._reply(call, b"510 Invalid or unknown command\n")
            return
        self.latency[verb].append(came - call.replied)
        reply, asks = self._answer(call, verb, line)
        if asks and self.plan.think and not call.thought:
            call.thought = True
            heapq.heappush(self.thinking, (came + int(self.plan.think * 1e9), call.number, fd, reply))
        else:
            self._reply(call, reply)

    def _answer(self, call: Call, verb: str, line: bytes) -> tuple[bytes, bool]:
        """Asterisk's reply to a command, and whether the caller had to press a key for it."""
        match verb:
            case "STREAM FILE" | "CONTROL STREAM FILE":
                return b"200 result=0 endpos=800\n", False
            case "GET DATA":
                key = self._key(call)
                return (f"200 result={key}\n" if key else "200 result= (timeout)\n").encode(), True
            case "GET OPTION":
                key = self._key(call)
                return f"200 result={ord(key) if key else 0} endpos=800\n".encode(), True
            case "WAIT FOR DIGIT":
                key = self._key(call)
                return f"200 result={ord(key) if key else 0}\n".encode(), True
            case "SET VARIABLE":
                found = _SET_VARIABLE.match(line)
                if found:
                    call.variables[found[1].decode("utf-8", "replace")] = found[2].decode("utf-8", "replace")
                return b"200 result=1\n", False
            case "GET VARIABLE" | "GET FULL VARIABLE":
                found = _GET_VARIABLE.match(line)
                name = found[1].decode("utf-8", "replace") if found else ""
                value = call.variables.get(name, _KNOWN_VARIABLES.get(name))
                return (b"200 result=0\n" if value is None else f"200 result=1 ({value})\n".encode()), False
            case "EXEC":
                found = _EXEC_READ.match(line)
                if found:
                    call.variables[found[1].decode("utf-8", "replace")] = self._key(call)
                    return b"200 result=0\n", True
                return b"200 result=0\n", False  # Background, played to its end: the key comes when it is waited for
            case "CHANNEL STATUS":
                return b"200 result=6\n", False
            case "ANSWER" | "NOOP":
                return b"200 result=0\n", False
            case _:
                return b"200 result=1\n", False

    def _key(self, call: Call) -> str:
        key = self.script.keys[call.keys] if call.keys < len(self.script.keys) else ""
        call.keys += 1
        return key

    def _reply(self, call: Call, reply: bytes) -> None:
        try:
            call.sock.send(reply)
        except OSError:
            return  # the server has closed: its end of file follows and ends the call by its transcript
        call.replied = time.perf_counter_ns()

    def _verdict(self, call: Call) -> str:
        """Empty when the transcript is the script's, else what differs."""
        if call.verbs != self.expected:
            return f"commands: {' / '.join(call.verbs) or 'none'}"
        for name, pattern in self.patterns.items():
            value = call.variables.get(name)
            if value is None or not pattern.fullmatch(value):
                return f"variable {name}: {value!r}"
        return ""

    def _end(self, fd: int, call: Call, failure: str) -> None:
        self.poll.unregister(fd)
        call.sock.close()
        del self.open[fd]
        if failure:
            self.failures[failure] += 1
        else:
            self.report.calls += 1
        if call.lines is not None:
            self.report.first_transcript = call.lines

    def _finish(self, begin: int) -> None:
        report = self.report
        report.seconds = (time.perf_counter_ns() - begin) / 1e9
        for fd, call in list(self.open.items()):
            self._end(fd, call, f"unfinished after {self.plan.time_limit:g} s: {' / '.join(call.verbs) or 'none'}")
        not_started = self.plan.calls - self.started
        if not_started:
            self.failures["not started"] += not_started
        report.failures = dict(self.failures.most_common(20))
        everything: array[int] = array("Q")
        for verb, samples in self.latency.items():
            if samples:
                everything.extend(samples)
                report.latency_by_command[verb] = percentiles(samples)
        report.commands = len(everything)
        report.latency = percentiles(everything)
        report.echo = percentiles(self.echo_latency)
        report.generator_cpu_seconds = time.process_time()
        if self.echo is not None:
            self.echo.close()
        self.poll.close()


def main(arguments: list[str] | None = None) -> int:
    """Command line: one run, one JSON object on standard output; 1 when a call failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agi_load", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", choices=sorted(SCRIPTS), default="fixed")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--starts-per-second", type=float, default=0.0)
    parser.add_argument("--think", type=float, default=0.0)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--watch-pid", type=int, default=0)
    parser.add_argument("--echo-port", type=int, default=0)
    parser.add_argument("--core", type=int, default=-1, help="run on this core alone")
    options = vars(parser.parse_args(arguments))
    core = options.pop("core")
    if core >= 0:
        os.sched_setaffinity(0, {core})
    plan = Plan(**{**options, "script": SCRIPTS[options["script"]]})
    try:
        report = Generator(plan).run()
    except (LoadError, OSError) as error:
        print(f"agi_load: {error}", file=sys.stderr)
        return 1
    json.dump(asdict(report), sys.stdout, ensure_ascii=False)
    print()
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
