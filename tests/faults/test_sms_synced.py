"""A kill does not empty the page cache, so strace looks: a reply is acknowledged after its sync, and never before."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sms.pdu import Command, deliver_sm
from sms.pdu import Submit as Message
from tests.faults.processes import until
from tests.faults.sms import SmsServer, Stage, case, settled

pytestmark = pytest.mark.slow

REPLIES = 15
DELIVER, ACKNOWLEDGED = int(Command.DELIVER_SM), int(Command.DELIVER_SM_RESP)


@dataclass(frozen=True)
class Seen:
    """What a trace shows, in its order: `what` is deliver, begun, synced or acknowledged; `sequence` of the PDU."""

    what: str
    sequence: int = 0


@pytest.mark.peer
def test_the_wal_is_on_disk_before_a_reply_is_acknowledged(
    make_sms_server: Callable[..., SmsServer], stage: Stage, tmp_path: Path
) -> None:
    """One reply after the other, each when all that the one before has led to is stored: the sync between a deliver_sm
    and its answer is of nothing but that reply."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing (Debian: apt-get install strace)")
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,sendto,write,sendmsg,writev,recvfrom,read"
    server = make_sms_server(prefix=("strace", "-f", "-y", "-xx", "-s", "4096", "-o", str(trace), "-e", calls))
    server.start()
    posted = [case(number) for number in stage.numbers(2)]
    assert server.post(posted) == [201, 201]
    settled(server, stage.smsc, rated=2)
    began = trace.stat().st_size
    for number in range(REPLIES):
        stage.smsc.ask("POST", "replies", {"number": posted[0]["phone"], "text": f"谢谢，第{number}次"})
        read = f"SELECT count(*) FROM messages WHERE state = 'read' AND text LIKE '谢谢，第{number}次'"
        until("the reply to be read", partial(server.number, read))
        until("it to be acknowledged", lambda: stage.smsc.state()["waiting"] == 0)
    server.running.terminate_child()
    server.running.wait()
    with trace.open(errors="replace") as lines:
        lines.seek(began)
        order = list(events(lines))
    assert sum(one.what == "deliver" for one in order) == REPLIES
    assert sum(one.what == "acknowledged" for one in order) == REPLIES
    assert acknowledged_too_early(order) == 0


def acknowledged_too_early(order: list[Seen]) -> int:
    """How many were acknowledged without a sync of the WAL that began after they came and had returned before."""
    early = 0
    came: dict[int, int] = {}
    begun: list[int] = []
    synced = -1
    for place, one in enumerate(order):
        if one.what == "deliver":
            came[one.sequence] = place
        elif one.what == "begun":
            begun.append(place)
        elif one.what == "synced":
            synced = max(synced, begun.pop())
        else:
            early += synced < came.pop(one.sequence)
    return early


_SYNC = re.compile(r"(?:fsync|fdatasync)\(\d+<(.*?)>")
_HEX = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
_OUT = ("sendto(", "write(", "sendmsg(", "writev(")


def events(lines: Iterator[str] | list[str]) -> Iterator[Seen]:
    """What is seen in the lines of `strace -f -y -xx`; what came in is seen when the call returned, what goes out when
    it began."""
    pending: dict[str, bool] = {}
    for line in lines:
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if match := _SYNC.match(rest):
            of_wal = _path(match[1]).endswith("-wal")
            if of_wal:
                yield Seen("begun")
            if "<unfinished" in rest:
                pending[pid] = of_wal
            elif of_wal:
                assert rest.endswith("= 0"), rest
                yield Seen("synced")
        elif re.match(r"<\.\.\. (?:fsync|fdatasync) resumed", rest):
            if pending.pop(pid, False):
                assert rest.endswith("= 0"), rest
                yield Seen("synced")
        elif rest.startswith(("recvfrom(", "read(", "<... recvfrom resumed", "<... read resumed")):
            yield from (Seen("deliver", sequence) for sequence in _pdus(rest, DELIVER))
        elif rest.startswith(_OUT):
            yield from (Seen("acknowledged", sequence) for sequence in _pdus(rest, ACKNOWLEDGED))


def _path(text: str) -> str:
    """A path, which -xx may have written in hexadecimal."""
    if not text.startswith("\\x"):
        return text
    return bytes.fromhex(text.replace("\\x", "")).decode()


def _pdus(line: str, command: int) -> Iterator[int]:
    """The sequence numbers of the PDUs of one command in the strings of a line; the text of a string may be no SMPP."""
    for match in _HEX.finditer(line):
        data = bytes.fromhex(match[1].replace("\\x", ""))
        while len(data) >= 16:
            length = int.from_bytes(data[:4], "big")
            if not 16 <= length <= 4096:
                break
            if int.from_bytes(data[4:8], "big") == command:
                yield int.from_bytes(data[12:16], "big")
            data = data[length:]


def test_the_reader_of_the_trace_sees_what_is_missing() -> None:
    came = _strace(deliver_sm(7, Message(source="1", destination="2", short_message=b"5")))
    answer = bytes.fromhex("0000001180000005000000000000000700")
    wal = _strace(b"/x/huiyin.db-wal")
    lines = [
        f'6 recvfrom(9<socket:[1]>, "{came}", 65536, 0, NULL, NULL) = 60',
        f"7 fdatasync(5<{wal}> <unfinished ...>",
        f'6 sendto(9<socket:[1]>, "{_strace(answer)}{_strace(answer)}", 34, 0, NULL, 0) = 34',
        "7 <... fdatasync resumed>) = 0",
        f"7 fdatasync(5<{_strace(b'/x/huiyin.db')}>) = 0",
        "7 fdatasync(5</x/huiyin.db-wal>) = 0",
    ]
    assert list(events(lines)) == [
        Seen("deliver", 7),
        Seen("begun"),
        Seen("acknowledged", 7),
        Seen("acknowledged", 7),
        Seen("synced"),
        Seen("begun"),
        Seen("synced"),
    ]
    came_, begun, synced, told = Seen("deliver", 7), Seen("begun"), Seen("synced"), Seen("acknowledged", 7)
    assert acknowledged_too_early([came_, begun, synced, told]) == 0
    assert acknowledged_too_early([came_, begun, told, synced]) == 1
    assert acknowledged_too_early([begun, came_, synced, told]) == 1  # that sync may be of what came before
    assert acknowledged_too_early([begun, synced, came_, told]) == 1


def _strace(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)
