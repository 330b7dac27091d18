"""The real process: what it says on start, that calls finish on its way out, and what keeps it from starting."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from models.database import open_database
from models.privacy import Keyring
from models.tables import calls, evaluations, metadata, outbox
from tests.server.running import Caller, Huiyin, Program, run_command, write_config


def stored(folder: Path) -> list[tuple[str, int]]:
    """Evaluations on disk: call key and level."""
    database = open_database("sqlite:///var/huiyin.db", folder)
    try:
        with database.read_engine.connect() as connection:
            rows = connection.execute(
                select(calls.c.call_key, evaluations.c.satisfaction)
                .join(evaluations, evaluations.c.subject_id == calls.c.subject_id)
                .order_by(calls.c.call_key)
            )
            return [(row.call_key, row.satisfaction) for row in rows]
    finally:
        database.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Huiyin]:
    with Huiyin(write_config(tmp_path)) as started:
        yield started.ready()


# ── up ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_says_what_listens_where_and_serves(server: Huiyin, tmp_path: Path) -> None:
    assert server.port("ivr") > 0
    assert server.get("/healthz") == (200, '{"status":"alive","detail":""}')
    assert server.readiness()["status"] == "ready"
    caller = Caller(server.port("ivr"), call="c-1", agent="PJSIP/1001", queue="12345")
    caller.until("WAIT FOR DIGIT")
    assert "huiyin_calls_in_progress 1.0" in server.get("/metrics")[1]
    caller.press("2")
    caller.finish()
    assert caller.variables["HUIYIN_OUTCOME"] == "rated"
    assert caller.variables["HUIYIN_SATISFACTION"] == "4"
    assert caller.heard[-1] == "huiyin/zh/thanks"
    assert 'huiyin_calls_total{outcome="rated",path="rate"} 1.0' in server.get("/metrics")[1]
    assert stored(tmp_path) == [("c-1", 4)]
    server.signal()
    assert server.ended() == 0
    assert server.lines[-1].endswith("stopped")
    assert not [line for line in server.lines if "13800000001" in line]


def test_it_says_how_far_the_calendar_reaches(tmp_path: Path) -> None:
    """A far-ahead warning makes it a warning whatever day it is today."""
    with Huiyin(write_config(tmp_path, '[schedule]\ncalendar_warning = "1000d"\n')) as server:
        server.ready()
        server.wait_for(r"\[warning *\] working-day calendar +area=622900 days_left=\d+ until=")
        assert "\nhuiyin_calendar_days_left " in server.get("/metrics")[1]


def test_json_logs_announce_too(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[log]\nformat = "json"\nlevel = "error"\n')
    with Huiyin(config) as server:
        server.wait_for(r'\{"event": "ready: console, ivr, push, scheduler, sms"')
        server.signal(signal.SIGINT)
        assert server.ended() == 0


def test_only_some_roles(tmp_path: Path) -> None:
    with Huiyin(write_config(tmp_path), "--only", "push,scheduler") as server:
        server.ready()
        assert server.readiness("health")["status"] == "ready"
        for part in ("ivr", "console"):
            with pytest.raises(AssertionError, match="does not listen"):
                server.port(part)
        server.signal()
        assert server.ended() == 0


def test_holds_of_a_killed_process_are_released_at_the_next_start(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[ivr]\nnode = "n"\nlisten = "127.0.0.1:0"\n')
    with Huiyin(config) as server:
        caller = Caller(server.ready().port("ivr"), call="held", agent="1001")
        caller.until("WAIT FOR DIGIT")
        caller.press("5")
        caller.until("WAIT FOR DIGIT")  # asked for the reason: the rating is on disk, its push is held
        server.signal(signal.SIGKILL)
        server.ended()
        caller.close()
    assert stored(tmp_path) == [("held", 1)]
    assert held(tmp_path) == 1
    with Huiyin(config) as server:
        server.ready()
        assert held(tmp_path) == 0


def held(folder: Path) -> int:
    database = open_database("sqlite:///var/huiyin.db", folder)
    try:
        with database.read_engine.connect() as connection:
            query = select(func.count()).select_from(outbox).where(outbox.c.held_by.is_not(None))
            return connection.execute(query).scalar_one()
    finally:
        database.close()


# ── towards the centre ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def centre() -> Iterator[Program]:
    with Program("simulate", "centre", "--listen", "127.0.0.1:0", "--secret", "shared") as started:
        yield started


def rated(server: Huiyin, call: str) -> None:
    caller = Caller(server.port("ivr"), call=call, agent="1001")
    caller.until("WAIT FOR DIGIT")
    caller.press("1")
    caller.finish()
    assert caller.variables["HUIYIN_OUTCOME"] == "rated"


def test_a_centre_that_refuses_us_degrades_and_loses_nothing(centre: Program, tmp_path: Path) -> None:
    url = centre.wait_for(r"a centre at (\S+)")[1]
    section = f'[centre]\nurl = "{url}"\npause = "1h"\nretry_first = "50ms"\nsecret = '
    with Huiyin(write_config(tmp_path, section + '"wrong"\n')) as server:
        server.ready()
        rated(server, "c-1")
        degraded = server.becomes("degraded")
        assert degraded["checks"]["push"]["detail"].startswith("the centre refuses us; check centre.secret")
        assert server.get("/readyz")[0] == 200
        assert "huiyin_push_paused 1.0" in server.get("/metrics")[1]
        server.signal()
        assert server.ended() == 0
    with Huiyin(write_config(tmp_path, section + '"shared"\n')) as server:
        server.ready()
        rated(server, "c-2")
        listed = run_command("outbox", "retry", "-c", tmp_path / "huiyin.toml")
        assert listed.returncode == 0, listed.stderr
        emptied(tmp_path)
        assert server.readiness()["status"] == "ready"
        server.signal()
        assert server.ended() == 0
    centre.signal()
    assert centre.ended() == 0
    assert any("2 evaluations in effect, 0 violations" in line for line in centre.lines)


def emptied(folder: Path) -> None:
    """Waits until nothing is in the outbox any more."""
    database = open_database("sqlite:///var/huiyin.db", folder)
    end = time.monotonic() + 30
    try:
        with database.read_engine.connect() as connection:
            while connection.execute(select(func.count()).select_from(outbox)).scalar_one():
                connection.rollback()
                assert time.monotonic() < end, "the outbox did not empty"
                time.sleep(0.05)
    finally:
        database.close()


# ── down ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_in_progress_may_finish(server: Huiyin, tmp_path: Path) -> None:
    caller = Caller(server.port("ivr"), call="c-1", agent="1001")
    caller.until("WAIT FOR DIGIT")
    server.signal()
    server.wait_for("stopping")
    with pytest.raises(ConnectionRefusedError):
        refused_within(server.port("ivr"), 10)
    assert server.readiness()["status"] == "not ready"
    caller.press("1")
    caller.finish()
    assert caller.variables["HUIYIN_OUTCOME"] == "rated"
    assert caller.heard[-1] == "huiyin/zh/thanks"
    assert server.ended() == 0
    assert stored(tmp_path) == [("c-1", 5)]


def refused_within(port: int, seconds: float) -> None:
    """Connects until it is refused: the port closes a moment after the line that says so.

    What is in its queue at that moment is reset, and not yet refused.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(ConnectionResetError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_call_that_outlasts_the_grace_is_cut_off(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[ivr]\nlisten = "127.0.0.1:0"\nstop_grace = "500ms"\n')
    with Huiyin(config) as server:
        caller = Caller(server.ready().port("ivr"), call="c-1", agent="1001")
        caller.until("WAIT FOR DIGIT")
        server.signal()
        assert server.ended() == 0
        caller.finish()
        assert caller.variables["HUIYIN_OUTCOME"] == "error"
        assert any("calls cut off" in line for line in server.lines)


def test_a_second_signal_does_not_wait(server: Huiyin) -> None:
    caller = Caller(server.port("ivr"), call="c-1", agent="1001")
    caller.until("WAIT FOR DIGIT")
    server.signal()
    server.wait_for("stopping: calls")
    server.signal()
    server.wait_for("stopping now")
    assert server.ended() == 0
    caller.close()


# ── what keeps it from starting ───────────────────────────────────────────────────────────────────────────────────────


def refusal(config: Path, *arguments: str, environ: dict[str, str] | None = None) -> str:
    """The one line that a serve which cannot start says."""
    done = run_command("serve", "-c", config, *arguments, environ=environ)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("huiyin: ")]
    return line


@pytest.mark.parametrize("part", ["ivr", "console"])
def test_a_port_in_use(tmp_path: Path, part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(write_config(tmp_path, f'[{part}]\nlisten = "127.0.0.1:{port}"\n'))
    assert f"{part}.listen: cannot listen on 127.0.0.1" in line
    assert "Address already in use" in line
    with Huiyin(write_config(tmp_path)) as server:  # and nothing was left behind that keeps the next from starting
        server.ready()


def test_another_process_on_the_same_embedded_database(server: Huiyin, tmp_path: Path) -> None:
    line = refusal(tmp_path / "huiyin.toml")
    assert "another Huiyin process serves" in line
    assert "PostgreSQL" in line
    assert server.readiness()["status"] == "ready"


def test_another_privacy_key(server: Huiyin, tmp_path: Path) -> None:
    caller = Caller(server.port("ivr"), call="c-1", agent="1001")
    caller.until("WAIT FOR DIGIT")
    caller.press("1")
    caller.finish()
    server.signal()
    assert server.ended() == 0
    key = tmp_path / "var/privacy.key"
    Keyring.generate().save(key)
    assert "is not the key of this database" in refusal(tmp_path / "huiyin.toml")
    key.unlink()
    assert "privacy.key is missing; restore it" in refusal(tmp_path / "huiyin.toml")


def test_an_older_database_with_data(tmp_path: Path) -> None:
    database = open_database("sqlite:///var/huiyin.db", tmp_path)
    with database.write_engine.begin() as connection:
        metadata.create_all(connection)
    database.close()
    assert "run: huiyin db upgrade" in refusal(write_config(tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ivr]\ntrys = 3\n", "ivr.trys: unknown key; did you mean tries?"),
        ('[centre]\nprofile = "nosuch"\n', "nosuch does not come with Huiyin"),
        ('[database]\nurl = "postgresql://127.0.0.1:1/none"\n', "the database cannot be opened"),
    ],
)
def test_a_configuration_that_cannot_be(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(write_config(tmp_path, text))


def test_a_fault_point_that_is_none(tmp_path: Path) -> None:
    assert "names no fault point" in refusal(write_config(tmp_path), environ={"HUIYIN_FAULT": "nowhere"})


def test_too_few_files_allowed(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[ivr]\nlisten = "127.0.0.1:0"\nmax_calls = 5000\n')
    limited = ["prlimit", "--nofile=1000:1000"]
    with Huiyin(config, prefix=limited) as server:
        assert server.ended() == 1
    [line] = [line for line in server.lines if line.startswith("huiyin: ")]
    assert "ivr.max_calls = 5000 needs" in line
    assert "LimitNOFILE=" in line


def test_the_file_limit_is_raised_where_it_may_be(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config = write_config(tmp_path, '[ivr]\nlisten = "127.0.0.1:0"\nmax_calls = 3000\n')
    with Huiyin(config, prefix=["prlimit", f"--nofile=1024:{hard}"]) as server:
        server.ready()
        shown = subprocess.run(
            ["prlimit", "--pid", str(server.process.pid), "--nofile", "--output=SOFT", "--noheadings"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(shown.stdout) >= 3000


def test_a_process_that_dies_at_a_fault_point_has_the_rating_on_disk(tmp_path: Path) -> None:
    """The fault points themselves; what must survive them is in tests/faults."""
    config = write_config(tmp_path)
    with Huiyin(config, environ={"HUIYIN_FAULT": "after-commit-before-thanks"}) as server:
        caller = Caller(server.ready().port("ivr"), call="c-1", agent="1001")
        caller.until("WAIT FOR DIGIT")
        caller.press("3")
        assert server.ended() == -signal.SIGKILL
        caller.close()
    assert stored(tmp_path) == [("c-1", 3)]
    assert "HUIYIN_OUTCOME" not in caller.variables


@pytest.mark.peer
def test_two_processes_with_their_roles_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    url = f'[database]\nurl = "{postgres_url}"\n'
    config = write_config(tmp_path, url)
    with Huiyin(config, "--only", "ivr") as telephone, Huiyin(config, "--only", "push,scheduler") as push:
        telephone.ready()
        push.ready()
        caller = Caller(telephone.port("ivr"), call="c-1", agent="1001")
        caller.until("WAIT FOR DIGIT")
        caller.press("1")
        caller.finish()
        assert caller.variables["HUIYIN_OUTCOME"] == "rated"
        for process in (telephone, push):
            assert process.readiness("health")["status"] == "ready"
            process.signal()
            assert process.ended() == 0
