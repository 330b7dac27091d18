"""The real Asterisk as fixtures: one for the tests with a recording FastAGI server, and a maker for any other.

`start_asterisk(agi="127.0.0.1:PORT")` gives an Asterisk whose dialplan asks whatever listens there, a real
`huiyin serve` for instance; `phones(asterisk)` gives the sipp phones against it. What the test's dialplan adds to
the samples of `dialplans/` is EXTENSIONS below.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.asterisk.agi_double import AgiDouble, rated
from tests.asterisk.rig import Asterisk, AsteriskMissing, Setup, find_asterisk, running
from tests.asterisk.sipp import Sipp, can_send_rtp_keys

EXTENSIONS = r"""
[from-callers]
include => huiyin-sample-in
; 100: a served caller goes straight to the rating, for tests of the dialogue itself
exten => 100,1,Answer()
 same => n,Set(HUIYIN_AGENT=PJSIP/1001)
 same => n,Set(HUIYIN_QUEUE=hotline)
 same => n,Gosub(huiyin-before,s,1)
 same => n,Gosub(huiyin-rate,s,1)
 same => n,Verbose(1,went on: ${HUIYIN_OUTCOME} ${HUIYIN_SATISFACTION} ${HUIYIN_EVALUATION})
 same => n,Hangup()
; 101: the same, and the rating is offered a second time in the call
exten => 101,1,Answer()
 same => n,Set(HUIYIN_AGENT=PJSIP/1001)
 same => n,Gosub(huiyin-before,s,1)
 same => n,Gosub(huiyin-rate,s,1)
 same => n,Gosub(huiyin-rate,s,1)
 same => n,Verbose(1,went on: ${HUIYIN_OUTCOME} ${HUIYIN_SATISFACTION} ${HUIYIN_EVALUATION})
 same => n,Hangup()
; 102: a case that was answered in this call
exten => 102,1,Set(HUIYIN_CASE=LX20260001)
 same => n,Set(HUIYIN_CLOSED=1)
 same => n,Set(HUIYIN_DEPT=11622900MB1234567X)
 same => n,Goto(100,1)
; 200: an agent behind a Local channel, as with hot desks; he talks for a second
exten => 200,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Queue(desks,c,,,20)
 same => n,Gosub(huiyin-after-queue,s,1)
 same => n,Hangup()
exten => 201,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Dial(Local/2001@desks/n,20,g)
 same => n,Gosub(huiyin-after-dial,s,1)
 same => n,Hangup()
; 202: a queue that nobody is asked after: an agent served, the rating was not offered
exten => 202,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Queue(desks,c,,,20)
 same => n,Hangup()
; 203: a queue that gives up after a second
exten => 203,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Queue(hotline,c,,,1)
 same => n,Gosub(huiyin-after-queue,s,1)
 same => n,Hangup()
; 204: values that would break a request that is not encoded
exten => 204,1,Answer()
 same => n,Set(HUIYIN_DEPT=1162 29&agent=9999#,"x")
 same => n,Set(HUIYIN_CASE=LX/2026?&closed=1\;工单%20+)
 same => n,Goto(200,2)
; 205: after the rating the dialplan goes on
exten => 205,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Dial(Local/2001@desks/n,20,g)
 same => n,Gosub(huiyin-after-dial,s,1)
 same => n,Verbose(1,went on: ${HUIYIN_OUTCOME} ${HUIYIN_SATISFACTION} ${HUIYIN_EVALUATION})
 same => n,Hangup()
; 206: who was served once and is sent to a second agent who does not answer
exten => 206,1,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Dial(Local/2001@desks/n,20,g)
 same => n,Gosub(huiyin-before,s,1)
 same => n,Dial(PJSIP/1002,2,g)
 same => n,Gosub(huiyin-after-dial,s,1)
 same => n,Hangup()
; 207: a case that was answered in the call
exten => 207,1,Set(HUIYIN_CASE=LX20260001)
 same => n,Set(HUIYIN_CLOSED=1)
 same => n,Set(HUIYIN_LANG=bo)
 same => n,Goto(201,1)
; 208: a site with a feature of its own
exten => 208,1,Set(__DYNAMIC_FEATURES=record)
 same => n,Answer()
 same => n,Gosub(huiyin-before,s,1)
 same => n,Gosub(huiyin-before,s,1)
 same => n,Verbose(1,features: ${DYNAMIC_FEATURES})
 same => n,Set(HUIYIN_ARMED=)
 same => n,Set(HUIYIN_FEATURE=)
 same => n,Set(__DYNAMIC_FEATURES=record)
 same => n,Gosub(huiyin-before,s,1)
 same => n,Verbose(1,without: ${DYNAMIC_FEATURES})
 same => n,Hangup()

[from-agents]
include => huiyin-sample-agents
; an agent's transfer to a colleague
exten => 1002,1,Gosub(huiyin-before,s,1)
 same => n,Dial(PJSIP/1002,20,g)
 same => n,Gosub(huiyin-after-dial,s,1)
 same => n,Hangup()

[desks]
exten => _2XXX,1,Answer()
 same => n,Wait(1)
 same => n,Hangup()
"""

QUEUES = """
[desks](huiyin-queue)
strategy = ringall
timeout = 10
retry = 1
ringinuse = yes
member => Local/2001@desks/n,0,Li Lei
"""

StartAsterisk = Callable[..., Asterisk]
MakePhones = Callable[[Asterisk], Sipp]


def _peers_or_skip() -> None:
    if shutil.which("sipp") is None:
        pytest.skip("no sipp: tools/test-programs.sh installs it, as root")
    if not can_send_rtp_keys():
        pytest.skip("sipp may not send RTP: run as root or with CAP_NET_RAW")
    try:
        find_asterisk()
    except AsteriskMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def start_asterisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartAsterisk]:
    """Starts an Asterisk whose dialplan asks the FastAGI server at `agi`; stopped at the session's end."""
    _peers_or_skip()
    with contextlib.ExitStack() as stack:

        def start(agi: str, **choices: object) -> Asterisk:
            options = {"extensions": EXTENSIONS, "queues": QUEUES, **choices}
            home = tmp_path_factory.mktemp("asterisk") / "a"
            asterisk = stack.enter_context(running(home, Setup(agi=agi, **options)))  # type: ignore[arg-type]
            # The sample queue has two members and rings them in turn; the tests' agent is the first.
            assert "paused" in asterisk.cli("queue pause member PJSIP/1002 queue hotline")
            return asterisk

        yield start


@pytest.fixture
def phones(tmp_path: Path) -> MakePhones:
    """Makes the sipp phones for an Asterisk."""
    return lambda asterisk: Sipp(tmp_path / "phones", asterisk.sip_port)


@pytest.fixture(scope="session")
def recorder() -> Iterator[AgiDouble]:
    """The recording FastAGI server; tests use `agi`, which empties it first."""
    with AgiDouble() as double:
        yield double


@pytest.fixture
def agi(recorder: AgiDouble) -> Iterator[AgiDouble]:
    """The recording FastAGI server that `asterisk` asks, empty and answering `rated`."""
    recorder.clear()
    recorder.script = rated
    yield recorder
    assert recorder.errors == []


@pytest.fixture(scope="session")
def asterisk(start_asterisk: StartAsterisk, recorder: AgiDouble) -> Asterisk:
    """An Asterisk that asks the recording FastAGI server."""
    return start_asterisk(agi=f"127.0.0.1:{recorder.port}")


@pytest.fixture
def sipp(asterisk: Asterisk, phones: MakePhones) -> Iterator[Sipp]:
    """Phones of `asterisk`; a call that a failed test left behind is ended."""
    yield phones(asterisk)
    if asterisk.active_channels():
        asterisk.cli("channel request hangup all")
        asterisk.wait_idle()
