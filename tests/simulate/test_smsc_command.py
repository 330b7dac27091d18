"""`huiyin simulate smsc` as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.request

import pytest

from sms import pdu as smpp
from sms.pdu import Command, Reader
from tests.server.running import Program, run_command
from tests.simulate.esme import submit


def test_it_serves_answers_and_says_what_happened() -> None:
    with Program(
        *("simulate", "smsc", "--port", "0", "--control", "0", "--password", "secret", "--seed", "7"),
        *("--behaviour", "digit=1", "--delay", "0", "0", "--receipt-delay", "0", "0", "--receipts", "tlv"),
    ) as program:
        control = program.wait_for(r"control at (\S+), seed 7")[1]
        port = int(program.wait_for(r"ready: an SMSC at 127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            reader = Reader(1 << 16)
            came: list[smpp.Pdu] = []
            client.sendall(smpp.bind(Command.BIND_TRANSCEIVER, 1, system_id="huiyin", password="secret"))
            client.sendall(smpp.submit_sm(2, submit("请回复1至5评价")))
            while sum(pdu.command == Command.DELIVER_SM for pdu in came) < 2:
                came += reader.feed(client.recv(65536))
            for pdu in came:
                if pdu.command == Command.DELIVER_SM:
                    client.sendall(smpp.deliver_sm_resp(pdu.sequence))
            client.sendall(smpp.unbind(3))
            while came[-1].command != Command.UNBIND_RESP:
                came += reader.feed(client.recv(65536))
        with urllib.request.urlopen(control, timeout=20) as answer:
            state = json.loads(answer.read())
        assert (state["counts"]["submits"], state["counts"]["acknowledged"], state["violations"]) == (1, 2, [])
        program.signal(signal.SIGINT)
        assert program.ended() == 0
    assert [pdu.command for pdu in came][:2] == [Command.BIND_TRANSCEIVER_RESP, Command.SUBMIT_SM_RESP]
    said = "\n".join(program.lines)
    assert "1 submits, 0 throttled, 1 receipts, 1 replies, 2 acknowledged" in said
    assert "0 deliveries were not acknowledged, 0 violations" in said
    without_times = re.sub(r"\d\S+Z ", "", said)
    assert not re.search(r"1380|请|secret", without_times)


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("--behaviour", "shouting=1", "no behaviour; there are digit"),
        ("--behaviour", "digit=often", "no name and weight"),
        ("--receipts", "smoke", "not options"),
        ("--timing", "soon", "not options"),
        ("--outcome", "DELIVRD=0", "outcomes need weights"),
    ],
)
def test_a_wrong_word_is_a_wrong_use(option: str, value: str, part: str) -> None:
    done = run_command("simulate", "smsc", option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("simulate", "smsc", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"huiyin: --port: cannot listen on 127.0.0.1:{port}: Address already in use\n"
