"""Our faults stay ours: a full disk, a locked database, a broken centre, a clock set back. The caller goes on."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.caller import Calls, Heard, call
from tests.faults.processes import Centre, Server, until
from tests.faults.wallclock import WallClock, faketime_missing

pytestmark = pytest.mark.slow

PATIENCE = 1.5
"""Seconds that a caller waits for our database at most (contract)."""


def assert_error(heard: Heard) -> None:
    assert heard.variables["HUIYIN_OUTCOME"] == "error"
    assert heard.variables["HUIYIN_EVALUATION"] == ""
    assert not heard.thanked
    assert heard.prompts[-1].endswith("/sorry")


def test_a_database_locked_for_ten_seconds(make_server: Callable[..., Server], centre: Centre) -> None:
    server = make_server(centre)
    server.start()
    assert call(server.port, Heard("c-0", "13800000000", ["1"])).thanked
    with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = time.monotonic()
        failed: list[Heard] = []
        while time.monotonic() < locked + 10:
            began = time.monotonic()
            failed.append(call(server.port, Heard(f"l-{len(failed)}", "13800000001", ["2"])))
            assert time.monotonic() - began < PATIENCE + 1.5
        other.execute("ROLLBACK")
    assert len(failed) >= 4
    for heard in failed:
        assert_error(heard)
    after = call(server.port, Heard("c-1", "13800000002", ["3"]))
    assert after.thanked
    stored = server.ratings()
    assert set(stored) >= {"c-0", "c-1"}
    # A write that had started when the caller's patience ended may stand; nobody was thanked for it.
    assert all(len(evaluations) == 1 for evaluations in stored.values())
    until("everything at the centre", lambda: set(centre.received()) == {e[0][0] for e in server.ratings().values()})
    assert server.running.terminate() == 0


def test_a_full_disk(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A file system of its own, filled under the running server, then given room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own needs root and mount (a container may forbid it)")
    try:
        server = make_server(extra=f'[database]\nurl = "sqlite:///{disk}/huiyin.db"\n')
        server.start()
        assert call(server.port, Heard("c-0", "13800000000", ["1"])).thanked
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
        assert shutil.disk_usage(disk).free == 0
        failed = [call(server.port, Heard(f"f-{n}", f"1380000{n:04}", ["2"])) for n in range(60)]
        assert_error(failed[-1])
        thanked = {heard.call for heard in failed if heard.thanked}
        filler.unlink()
        after = call(server.port, Heard("c-1", "13800000002", ["3"]))
        assert after.thanked
        with closing(sqlite3.connect(disk / "huiyin.db")) as connection:
            stored = {
                name
                for (name,) in connection.execute(
                    "SELECT k.call_key FROM call_keys k JOIN evaluations USING (subject_id)"
                )
            }
        assert stored >= thanked | {"c-0", "c-1"}
        assert {heard.call for heard in failed if not heard.thanked} & stored == set()
        assert server.running.terminate() == 0
        server.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


CENTRE_FAULTS: dict[str, list[dict[str, Any]]] = {
    "down": [{"kind": "status", "status": 503, "times": 5}],
    "slow": [{"kind": "slow", "seconds": 1.0, "times": 3}],
    "garbage": [{"kind": "garbage", "times": 3}],
    "truncated answers": [{"kind": "truncate", "times": 3}],
    "losing its answers": [{"kind": "lose", "times": 3}],
    "busy": [{"kind": "status", "status": 429, "retry_after": "1", "times": 2}],
    "saying nothing of a record": [{"kind": "silent", "times": 3}],
    "duplicate": [{"kind": "duplicate", "times": 3}],
}


@pytest.mark.parametrize("fault", CENTRE_FAULTS)
def test_a_centre_that_misbehaves_costs_no_caller_and_no_rating(
    make_server: Callable[..., Server], centre: Centre, fault: str
) -> None:
    server = make_server(centre)
    server.start()
    centre.plan(*CENTRE_FAULTS[fault])
    calls = Calls(server.port, 4, (("1",), ("2",)), "c")
    calls.start()
    until("thirty callers that are thanked", lambda: calls.thanked() >= 30)
    heard = calls.stop()
    assert all(one.thanked for one in heard)
    until("the outbox to be empty", lambda: server.waiting() == 0)
    stored = server.ratings()
    assert set(centre.received()) == {evaluations[0][0] for evaluations in stored.values()}
    assert len(stored) == len(heard)
    assert centre.violations() == []
    assert server.running.terminate() == 0


@pytest.mark.parametrize("kind", ["refuse", "status"])
def test_one_record_that_the_centre_refuses_holds_up_no_other(
    make_server: Callable[..., Server], centre: Centre, kind: str
) -> None:
    """Refused by its own verdict, or by a 400 for every batch that holds it."""
    server = make_server(centre)
    server.start()
    centre.plan({"kind": kind, "status": 400, "record": "Hbad-1", "times": None})
    heard = [call(server.port, Heard(name, "13800000001", ["2"])) for name in ("c-1", "bad-1", "c-2", "c-3")]
    assert all(one.thanked for one in heard)
    dead = until("a dead letter", lambda: server.rows("SELECT evaluation_id, reason FROM outbox WHERE state = 'dead'"))
    until("the others at the centre", lambda: len(centre.received()) == 3)
    [(identity, reason)] = dead
    assert identity == server.ratings()["bad-1"][0][0]
    assert reason
    until("what the centre said of them to be stored", lambda: server.waiting() == 1)
    assert server.running.terminate() == 0


def test_a_centre_that_is_gone_for_a_while(make_server: Callable[..., Server], tmp_path: Path) -> None:
    first = Centre(tmp_path)
    server = make_server(first)
    server.start()
    address = first.url
    first.close()
    heard = [call(server.port, Heard(f"c-{n}", "13800000001", ["2"])) for n in range(5)]
    assert all(one.thanked for one in heard)
    assert server.waiting() == 5
    assert server.running.terminate() == 0
    assert server.waiting() == 5
    second = Centre(tmp_path)
    server.centre = second
    assert second.url != address
    server.start()
    until("everything at the centre", lambda: len(second.received()) == 5)
    assert server.running.terminate() == 0
    second.close()


@pytest.mark.peer
def test_the_wall_clock_set_back_a_day(make_server: Callable[..., Server], centre: Centre, tmp_path: Path) -> None:
    """Calls time out, pushes retry and ticks tick as before; durations never look at the wall clock."""
    if missing := faketime_missing():
        pytest.skip(missing)
    clock = WallClock(tmp_path)
    server = make_server(centre, extra='[log]\nformat = "json"\n', env=clock.env)
    server.start()
    assert call(server.port, Heard("before", "13800000001", ["1"])).thanked
    until("the first at the centre", lambda: len(centre.received()) == 1)
    centre.plan({"kind": "status", "status": 503, "times": 4})
    assert call(server.port, Heard("across", "13800000002", ["2"])).thanked
    until("a refused push", lambda: centre.requests() >= 2)
    clock.turn(-timedelta(days=1))
    # a retry that was planned under the other clock goes all the same
    until("the push that was being retried", lambda: len(centre.received()) == 2)
    # a call times out: its caller says nothing at all and keeps the line; its bad rating's hold ends with the call
    bad = call(server.port, Heard("bad", "13800000003", ["5", ""]))
    assert bad.thanked
    until("the bad rating at the centre", lambda: len(centre.received()) == 3)
    days = {record["assessTime"][:10] for record in centre.received().values()}
    assert len(days) == 2  # the clock was really set back
    # a database that is locked: the patience of 1.5 s is measured as ever
    with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert_error(call(server.port, Heard("locked", "13800000004", ["2"])))
        assert time.monotonic() - began < PATIENCE + 1.5
        other.execute("ROLLBACK")

    # ticks go on: the figures of the outbox are counted anew (every 10 s)
    def figure() -> float:
        lines = server.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("huiyin_outbox_waiting"))

    centre.plan({"kind": "status", "status": 503, "times": None})
    call(server.port, Heard("counted", "13800000005", ["3"]))
    until("a tick that counts the outbox", lambda: figure() >= 1, 40)
    centre.plan()
    until("everything at the centre", lambda: server.waiting() == 0)
    assert server.running.terminate() == 0


def test_no_number_in_the_log_at_any_level(make_server: Callable[..., Server], centre: Centre) -> None:
    server = make_server(centre, extra='[log]\nlevel = "debug"\nformat = "json"\n')
    server.start()
    numbers = [f"1391234{n:04}" for n in range(10)]
    for n, number in enumerate(numbers):
        call(server.port, Heard(f"c-{n}", number, ["45"[n % 2], ""]))
    call(server.port, Heard("e-1", numbers[0], []), path="ended")
    until("everything at the centre", lambda: server.waiting() == 0)
    assert server.running.terminate() == 0
    for line in server.running.lines:
        assert not any(number in line for number in numbers)
        if line:
            json.loads(line)
