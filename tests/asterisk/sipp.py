"""Callers and agents' phones by sipp: scenarios made from steps, one process a phone.

A scenario is a list of steps such as `[Wait(1.5), Press("5"), AwaitHangUp()]`; a caller's begins when the call is
answered, an agent's when the agent has answered. Keys go as RTP events (RFC 4733, what phones do) or as SIP INFO.
sipp sends RTP through a raw socket, so keys by RTP need root or CAP_NET_RAW; `can_send_rtp_keys` tells.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType

from tests.asterisk.rig import free_port, wait_until


class SippFailed(Exception):
    """The scenario did not run to its end; the sentence carries sipp's own words."""


class KeysBy(Enum):
    """How a key travels."""

    RTP = "rtp"
    INFO = "info"


def media_ports() -> int:
    """The first of four free UDP ports in a row (sipp: sound, its control, picture, its control).

    They lie below Asterisk's and below those that the system gives to whoever asks, so nobody takes one meanwhile.
    """
    for _ in range(200):
        first = 12_000 + 4 * secrets.randbelow(1_900)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + 4):
                    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise SippFailed("no four free UDP ports in a row between 12000 and 19600")


@dataclass(frozen=True)
class Wait:
    """Do nothing for `seconds`: a human's pause, not a test waiting for something."""

    seconds: float


@dataclass(frozen=True)
class Press:
    """Press one key (0-9 * #) and let it ring out."""

    key: str
    by: KeysBy = KeysBy.RTP


@dataclass(frozen=True)
class Dial:
    """Press several keys as fast as a practised hand, such as a feature code.

    An agent's phone presses by INFO here: sipp sends RTP events as payload type 96 alone, and who answers a call
    has to send those that the other side offered, which is 101.
    """

    keys: str
    by: KeysBy = KeysBy.INFO


@dataclass(frozen=True)
class HangUp:
    """End the call from this side."""


@dataclass(frozen=True)
class AwaitHangUp:
    """Wait until the other side ends the call; a failure after `seconds`."""

    seconds: float = 30.0


@dataclass(frozen=True)
class Refer:
    """As an agent's phone: transfer the other party blindly to `extension`, then hang up when told that it is done."""

    extension: str


class Reaction(Enum):
    """What an agent's phone does with a call."""

    ANSWER = "answer"
    RING = "ring until the caller gives up"
    BUSY = "busy"


Step = Wait | Press | Dial | HangUp | AwaitHangUp | Refer


def can_send_rtp_keys() -> bool:
    """Whether sipp may open the raw socket it sends RTP with."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return False
    return True


_SDP = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [auto_media_port] RTP/AVP 0 96
a=rtpmap:0 PCMU/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-16
a=ptime:20
a=sendrecv
"""


@dataclass(frozen=True)
class _Side:
    """The header lines that differ between the side that called and the side that answered."""

    own: str
    other: str


_CALLER = _Side(own="From: [name]<sip:[number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]", other="[last_To:]")
_AGENT = _Side(own="From: [$2];tag=[pid]a[call_number]", other="To: [$1]")

_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"


class _Scenario:
    """Writes the XML of one phone."""

    def __init__(self, side: _Side) -> None:
        self.side = side
        self.parts: list[str] = []
        self.sequence = 1
        self.labels = 0

    def send(self, message: str, attributes: str = "") -> None:
        self.parts.append(f"<send{attributes}><![CDATA[\n\n{message}\n]]></send>")

    def receive(self, attributes: str, inner: str = "") -> None:
        self.parts.append(f"<recv {attributes}>{inner}</recv>" if inner else f"<recv {attributes}/>")

    def request(self, method: str, rest: str = "Content-Length: 0\n") -> None:
        self.sequence += 1
        self.send(
            f"{method} [next_url] SIP/2.0\n{_VIA}\n{self.side.own}\n{self.side.other}\nCall-ID: [call_id]\n"
            f"CSeq: {self.sequence} {method}\nContact: <sip:phone@[local_ip]:[local_port]>\nMax-Forwards: 70\n{rest}",
            ' retrans="500"',
        )

    def answer_ok(self, attributes: str = "") -> None:
        last = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
        self.send(f"SIP/2.0 200 OK\n{last}Content-Length: 0\n", attributes)

    def pause(self, seconds: float) -> None:
        self.parts.append(f'<pause milliseconds="{round(seconds * 1000)}"/>')

    def step(self, step: Step) -> None:
        match step:
            case Wait(seconds):
                self.pause(seconds)
            case Press(key, KeysBy.RTP):
                self._rtp(key)
            case Press(key, KeysBy.INFO):
                self._info(key)
            case Dial(keys, KeysBy.RTP):
                self._rtp(keys)
            case Dial(keys, KeysBy.INFO):
                for at, key in enumerate(keys):
                    if at:
                        self.pause(0.25)
                    self._info(key)
            case HangUp():
                self.request("BYE")
                self.receive('response="200"')
            case AwaitHangUp(seconds):
                self.receive(f'request="BYE" timeout="{round(seconds * 1000)}"')
                self.answer_ok()
            case Refer(extension):
                self._refer(extension)

    def _info(self, key: str) -> None:
        body = f"Signal={key}\nDuration=160\n"
        self.request("INFO", f"Content-Type: application/dtmf-relay\nContent-Length: [len]\n\n{body}")
        self.receive('response="200"')

    def _rtp(self, keys: str) -> None:
        # sipp plays the events on a thread of its own: 160 ms a key and 40 ms between, so wait for them.
        self.parts.append(f'<nop><action><exec play_dtmf="{keys}"/></action></nop>')
        self.pause(0.25 * len(keys) + 0.1)

    def _refer(self, extension: str) -> None:
        target = f"<sip:{extension}@[local_ip]>"
        self.request("REFER", f"Refer-To: {target}\nContent-Length: 0\n")
        self.receive('response="202"')
        # NOTIFYs tell how the transfer goes; after the last one the phone hangs up, as phones do.
        again, last = self.labels + 1, self.labels + 2
        self.labels += 2
        self.parts.append(f'<label id="{again}"/>')
        self.receive(
            f'request="NOTIFY" timeout="20000" test="5" next="{last}"',
            '<action><ereg regexp="terminated" search_in="hdr" header="Subscription-State:" assign_to="5"/></action>',
        )
        self.answer_ok(f' next="{again}"')
        self.parts.append(f'<label id="{last}"/>')
        self.answer_ok()
        self.step(HangUp())

    def text(self) -> str:
        body = "\n".join(self.parts)
        return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="phone">\n{body}\n</scenario>\n'


def caller_scenario(steps: Sequence[Step], number: str, name: bytes) -> bytes:
    """The XML of a caller. `name` is the display name in whatever encoding the exchange sends."""
    scenario = _Scenario(_CALLER)
    scenario.send(
        f"INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n{_VIA}\n{_CALLER.own}\n"
        "To: <sip:[service]@[remote_ip]:[remote_port]>\nCall-ID: [call_id]\nCSeq: 1 INVITE\n"
        f"Contact: <sip:phone@[local_ip]:[local_port]>\nMax-Forwards: 70\n{_SDP}",
        ' retrans="500"',
    )
    for early in ("100", "180", "183"):
        scenario.receive(f'response="{early}" optional="true"')
    scenario.receive('response="200" rrs="true"')
    scenario.send(
        f"ACK [next_url] SIP/2.0\n{_VIA}\n{_CALLER.own}\n[last_To:]\nCall-ID: [call_id]\nCSeq: 1 ACK\n"
        "Max-Forwards: 70\nContent-Length: 0\n"
    )
    for step in steps:
        scenario.step(step)
    display = b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'" ' if name else b""
    return scenario.text().encode().replace(b"[name]", display).replace(b"[number]", number.encode())


def agent_scenario(steps: Sequence[Step], reaction: Reaction = Reaction.ANSWER) -> bytes:
    """The XML of an agent's phone; the steps are for one that answers."""
    scenario = _Scenario(_AGENT)
    kept = {1: "From:", 2: "To:", 3: "Via:", 4: "CSeq:"}
    saves = (f'<ereg regexp=".*" search_in="hdr" header="{name}" assign_to="{at}"/>' for at, name in kept.items())
    scenario.receive('request="INVITE" rrs="true"', f"<action>{''.join(saves)}</action>")
    head = (
        "Via: [$3]\nFrom: [$1]\nTo: [$2];tag=[pid]a[call_number]\nCall-ID: [call_id]\nCSeq: [$4]\n"
        "Contact: <sip:phone@[local_ip]:[local_port]>\n"
    )
    match reaction:
        case Reaction.ANSWER:
            scenario.send(f"SIP/2.0 180 Ringing\n{head}Content-Length: 0\n")
            scenario.send(f"SIP/2.0 200 OK\n{head}{_SDP}", ' retrans="500"')
        case Reaction.RING:
            scenario.send(f"SIP/2.0 180 Ringing\n{head}Content-Length: 0\n")
            scenario.receive('request="CANCEL"')
            scenario.answer_ok()
            scenario.send(f"SIP/2.0 487 Request Terminated\n{head}Content-Length: 0\n", ' retrans="500"')
        case Reaction.BUSY:
            scenario.send(f"SIP/2.0 486 Busy Here\n{head}Content-Length: 0\n", ' retrans="500"')
    scenario.receive('request="ACK"')
    for step in steps:
        scenario.step(step)
    # Used in every branch or not: sipp refuses a scenario whose variables are set and never read.
    scenario.parts.append('<Reference variables="1,2,3,4"/>')
    return scenario.text().encode()


@dataclass
class Phone:
    """A running sipp. `finish()` returns when its scenario has ended, or raises SippFailed."""

    process: subprocess.Popen[bytes]
    where: Path
    seconds: float
    done: bool = field(default=False)

    def finish(self) -> None:
        """Wait for the scenario's end. Raises SippFailed with sipp's words when it went another way."""
        try:
            code = self.process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise SippFailed(f"{self.where.name}: still running after {self.seconds:g} s\n{self._words()}") from None
        self.done = True
        if code != 0:
            raise SippFailed(f"{self.where.name}: sipp ended with {code}\n{self._words()}")

    def stop(self) -> None:
        """End the process whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _words(self) -> str:
        texts = [self.where / "errors", self.where / "messages"]
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in texts if path.exists())

    def __enter__(self) -> Phone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass
class Sipp:
    """Starts phones against one Asterisk on 127.0.0.1:`sip_port`; their files lie under `home`."""

    home: Path
    sip_port: int
    count: int = 0

    def caller(
        self,
        extension: str,
        steps: Sequence[Step],
        *,
        number: str = "13800138000",
        name: bytes = b"",
        seconds: float = 30.0,
        calls: int = 1,
    ) -> Phone:
        """Call `extension` now; the steps run from the answer on. `calls` callers at once, same steps."""
        arguments = [f"127.0.0.1:{self.sip_port}", "-s", extension, "-m", str(calls), "-l", str(calls), "-r", "50"]
        return self._start(caller_scenario(steps, number, name), arguments, free_port(socket.SOCK_DGRAM), seconds)

    def agent(
        self, port: int, steps: Sequence[Step] = (), *, reaction: Reaction = Reaction.ANSWER, seconds: float = 30.0
    ) -> Phone:
        """An agent's phone on UDP `port` that takes one call; returns once it listens."""
        phone = self._start(agent_scenario(steps, reaction), ["-m", "1"], port, seconds)
        _wait_udp(port, phone)
        return phone

    def _start(self, scenario: bytes, arguments: list[str], port: int, seconds: float) -> Phone:
        program = shutil.which("sipp")
        if program is None:
            raise SippFailed("no sipp on PATH; tools/test-programs.sh installs it")
        self.count += 1
        where = self.home / f"sipp-{self.count}"
        where.mkdir(parents=True)
        (where / "scenario.xml").write_bytes(scenario)
        command = [
            program,
            *arguments,
            *("-sf", "scenario.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(port)),
            *("-mp", str(media_ports()), "-timeout", f"{seconds:g}s", "-timeout_error", "-nostdin"),
            *("-trace_err", "-error_file", "errors", "-trace_msg", "-message_file", "messages"),
        ]
        with (where / "screen").open("wb") as screen:
            process = subprocess.Popen(
                command,
                cwd=where,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "dumb"},
            )
        return Phone(process, where, seconds + 5)


def _wait_udp(port: int, phone: Phone) -> None:
    """Until a process listens on the UDP port: Linux lists bound sockets in /proc/net/udp."""
    bound = f":{port:04X} "

    def listens() -> bool:
        if phone.process.poll() is not None:
            raise SippFailed(f"{phone.where.name}: ended before it listened\n{phone._words()}")
        return any(bound in line.split(": ", 1)[1][:20] for line in Path("/proc/net/udp").read_text().splitlines()[1:])

    wait_until(f"sipp listening on {port}", listens, 10.0)
