"""`kill -9`, at named points and at random under load: what a caller was thanked for is kept, and pushed once."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.caller import Calls, Heard, call
from tests.faults.processes import Centre, Server, until

pytestmark = pytest.mark.slow

LEVEL = {"1": 5, "2": 4, "3": 3, "4": 2, "5": 1}
KEYS = (("1",), ("2",), ("3",), ("4", "1"), ("5", ""), ("9", "2"))


def assert_nothing_lost(server: Server, centre: Centre, heard: list[Heard]) -> None:
    """Every thanked rating is in the database once with its level, and at the centre once in effect."""
    until("the outbox to be empty", lambda: server.waiting() == 0)
    stored = server.ratings()
    for one in heard:
        if one.thanked:
            assert len(stored.get(one.call, [])) == 1, one
    by_call = {one.call: one for one in heard}
    for name, evaluations in stored.items():
        assert len(evaluations) == 1
        pressed = [key for key in by_call[name].keys if key in LEVEL]
        assert evaluations[0][1] == LEVEL[pressed[0]]
    received = centre.received()
    assert set(received) == {evaluations[0][0] for evaluations in stored.values()}
    projects = [record["projectNo"] for record in received.values()]
    assert len(projects) == len(set(projects))
    assert centre.violations() == []


@pytest.mark.parametrize(
    ("point", "stored_before"),
    [
        ("before-commit", False),
        ("after-commit", True),
        ("after-commit-before-thanks", True),
        ("after-push-before-mark", True),
    ],
)
def test_killed_at_a_named_point(
    make_server: Callable[..., Server], centre: Centre, point: str, stored_before: bool
) -> None:
    server = make_server(centre)
    server.start()  # once in peace: the schema, the key, a first rating
    heard = [call(server.port, Heard("c-0", "13800000000", ["1"]))]
    assert heard[0].thanked
    until("the first rating at the centre", lambda: len(centre.received()) == 1)
    assert server.running.terminate() == 0
    # The first group of calls is the release of old holds at start; the second is the caller's.
    server.start(fault=f"{point}:2" if point in {"before-commit", "after-commit"} else point)
    heard.append(call(server.port, Heard("c-1", "13800000001", ["2"])))
    assert server.running.wait(30) == -9
    pushed_only = point == "after-push-before-mark"
    assert heard[1].thanked is pushed_only
    assert ("c-1" in server.ratings()) is stored_before
    assert (len(centre.received()) == 2) is pushed_only
    server.start()
    assert_nothing_lost(server, centre, heard)
    assert ("c-1" in server.ratings()) is stored_before
    if pushed_only:
        assert centre.requests() >= 3  # the same bytes went a second time
    assert server.running.terminate() == 0


@pytest.mark.timeout(600)
def test_killed_twenty_times_at_random_under_load(make_server: Callable[..., Server], centre: Centre) -> None:
    """A kill counts where a write was in flight: a caller had pressed and not yet heard thanks."""
    random.seed(12345)
    server = make_server(centre)
    heard: list[Heard] = []
    in_flight = 0
    for kill in range(20):
        server.start()
        calls = Calls(server.port, 16, KEYS, f"k{kill}")
        calls.start()
        calls.wait_until_thanked(20)
        in_flight += calls.at_random_moment(random.uniform(0, 0.3), server.running.kill)
        heard += calls.stop()
    assert in_flight >= 15
    server.start()
    assert_nothing_lost(server, centre, heard)
    assert sum(one.thanked for one in heard) >= 400
    assert server.running.terminate() == 0


@pytest.mark.peer
def test_the_wal_is_on_disk_before_thanks_is_said(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A kill does not empty the page cache, so strace looks: the WAL's sync returned before thanks was written."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing (Debian: apt-get install strace)")
    trace = tmp_path / "trace"
    strace = (
        "strace",
        "-f",
        "-y",
        "-s",
        "200",
        "-o",
        str(trace),
        "-e",
        "trace=fsync,fdatasync,sendto,write,sendmsg,recvfrom,read",
    )
    server = make_server(prefix=strace)
    server.start()
    calls = [call(server.port, Heard(f"c-{n}", f"138{n:08}", [str(n % 3 + 1)])) for n in range(50)]
    assert all(one.thanked for one in calls)
    server.running.terminate_child()
    server.running.wait()
    order = events(trace.read_text(errors="replace"))
    assert order.count("key") == order.count("thanks") == 50
    assert thanked_too_early(order) == 0


def thanked_too_early(order: list[str]) -> int:
    """How many callers, one after the other, were thanked without a sync since their key came in."""
    early, synced = 0, False
    for event in order:
        if event == "key":
            synced = False
        elif event == "sync":
            synced = True
        elif not synced:
            early += 1
    return early


def events(trace: str) -> list[str]:
    """`key` where a caller's key came in, `sync` where a sync of the WAL returned, `thanks` where the command that
    plays it began to be written."""
    found: list[str] = []
    pending: dict[str, bool] = {}
    for line in trace.splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if match := re.match(r"(?:fsync|fdatasync)\(\d+<(.*?)>", rest):
            of_wal = match[1].endswith("-wal")
            if "<unfinished" in rest:
                pending[pid] = of_wal
            elif of_wal and rest.endswith("= 0"):
                found.append("sync")
        elif re.match(r"<\.\.\. (?:fsync|fdatasync) resumed", rest):
            if pending.pop(pid, False) and rest.endswith("= 0"):
                found.append("sync")
        elif re.match(r"(?:sendto|write|sendmsg)\(", rest) and "STREAM FILE" in rest and "/thanks" in rest:
            found.append("thanks")
        elif re.search(r'"200 result=(?:49|50|51)\\n"', rest):
            found.append("key")
    return found


def test_the_reader_of_the_trace_sees_a_missing_sync() -> None:
    trace = "\n".join(
        [
            "7 fdatasync(5</x/huiyin.db-wal> <unfinished ...>",
            '6 sendto(9<socket:[1]>, "STREAM FILE \\"huiyin/zh/thanks\\"\\n", 9, 0, NULL, 0) = 9',
            "7 <... fdatasync resumed>) = 0",
            '6 sendto(9<socket:[1]>, "STREAM FILE \\"huiyin/zh/thanks\\"\\n", 9, 0, NULL, 0) = 9',
            "7 fdatasync(5</x/huiyin.db>) = 0",
        ]
    )
    assert events(trace) == ["thanks", "sync", "thanks"]
    assert events('6 recvfrom(9<socket:[1]>, "200 result=49\\n", 65536, 0, NULL, NULL) = 14') == ["key"]
    assert thanked_too_early(["sync", "key", "sync", "thanks", "key", "sync", "thanks"]) == 0
    assert thanked_too_early(["sync", "key", "thanks", "sync", "key", "thanks", "sync"]) == 2
