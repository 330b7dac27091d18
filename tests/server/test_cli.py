"""The command line: exit codes, one line an error, and what each command does to an installation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, func, select

from centre.outbox import Retried, retry
from models.clock import SHANGHAI
from models.database import open_database
from models.door import Door
from models.privacy import Keyring
from models.tables import calls, evaluations, metadata, outbox
from server.cli import main
from server.serve import Role
from tests.centre.rows import add
from tests.server.running import COMMAND, Caller, Huiyin, Program, run_command, write_config

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, restored_logs: None) -> Run:
    for name in ("HUIYIN_CENTRE__URL", "HUIYIN_FAULT"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


# ── use ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("serve",),
        ("serve", "-c"),
        ("serve", "-c", "x", "--only", "fax"),
        ("serve", "-c", "x", "--only", "ivr,,push"),
        ("check",),
        ("calls", "import", "-c", "x"),
        ("outbox", "list", "-c", "x", "--state", "lost"),
        ("outbox", "nosuch", "-c", "x"),
        ("simulate", "call", "--to", "somewhere"),
        ("simulate", "centre"),
        ("demo", "--calls", "0"),
        ("demo", "--speed", "59"),
        ("demo", "--speed", "43201"),
        ("demo", "--speed", "1440", "--days", "8"),
        ("demo", "--speed", "1440", "--calls", "2"),
        ("demo", "--days", "10"),
    ],
)
def test_wrong_use_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("check",),
        ("db", "upgrade"),
        ("calls", "import", "--queue-log", "x"),
        ("key", "rotate"),
        ("outbox", "list"),
        ("outbox", "retry"),
        ("outbox", "reconcile"),
    ],
)
def test_a_configuration_that_is_not_there_is_1_and_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "-c", "nosuch.toml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "huiyin: nosuch.toml does not exist; see config/huiyin.example.toml for one\n"


def test_serve_names_every_role(run: Run) -> None:
    shown = " ".join(run("serve", "--help").stdout.split())
    assert f"Only these: {', '.join(sorted(Role, key=shown.index))}." in shown


def test_every_command_explains_itself(run: Run) -> None:
    shown = run("--help").output
    for name in ("serve", "demo", "check", "db", "calls", "key", "outbox", "simulate"):
        assert re.search(rf"^  {name} +\S", shown, re.MULTILINE)


def test_a_bug_is_one_line_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> list[str]:
        raise KeyError("a bug")

    monkeypatch.setattr("server.checks.problems", broken)
    result = run("check", "-c", tmp_path / "x")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"huiyin: internal error: KeyError at test_cli\.py:\d+: 'a bug'; please report it\n", result.stderr
    )


# ── check ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_says_what_is_valid_and_what_it_cannot_see(run: Run, tmp_path: Path) -> None:
    result = run("check", "-c", write_config(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'huiyin.toml'} is valid\n")
    assert "systemname" in result.stdout


def test_check_prints_every_error_with_its_key(run: Run, tmp_path: Path) -> None:
    result = run("check", "-c", write_config(tmp_path, '[ivr]\ntries = 0\nlisten = "x"\n[log]\nlevel = "loud"\n'))
    assert result.exit_code == 1
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "ivr.listen",
        "ivr.tries",
        "log.level",
    ]


def test_check_goes_on_to_prompts_profile_and_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sounds" / "zh").mkdir(parents=True)
    (tmp_path / "sounds" / "zh" / "ask.wav").touch()
    (tmp_path / "my.toml").write_text("protocol = 3")
    (tmp_path / "p.key").write_text("x")
    text = """
[ivr]
prompt_dir = "sounds"
[centre]
profile = "./my.toml"
[privacy]
key_file = "p.key"
"""
    result = run("check", "-c", write_config(tmp_path, text))
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert any(line.startswith("huiyin: centre.profile: ") for line in lines)
    assert any("/zh/thanks.wav is missing" in line for line in lines)
    assert not any("/zh/ask.wav is missing" in line for line in lines)
    assert any("privacy.key_file: " in line and "chmod 600" in line for line in lines)


def test_check_writes_nothing(run: Run, tmp_path: Path) -> None:
    run("check", "-c", write_config(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["huiyin.toml"]


# ── the database and its key ──────────────────────────────────────────────────────────────────────────────────────────


def test_upgrade(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    first, second = run("db", "upgrade", "-c", config), run("db", "upgrade", "-c", config)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert re.fullmatch(r"the database is at \w+ now \(was: empty\)\n", first.stdout)
    assert re.fullmatch(r"nothing to do: the database is at \w+\n", second.stdout)


def test_upgrade_of_a_newer_database(run: Run, tmp_path: Path) -> None:
    database = open_database("sqlite:///var/huiyin.db", tmp_path)
    with database.write_engine.begin() as connection:
        metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('9999')")
    database.close()
    result = run("db", "upgrade", "-c", write_config(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == "huiyin: the database was made by a newer Huiyin; use that version\n"


ENDED = int(time.time()) - 3600
"""An hour ago: a call that ended long before would be stored and not asked any more."""
LOG = f"""\
{ENDED - 99}|ast1-1.1|12345|NONE|ENTERQUEUE||13800000001|1
{ENDED}|ast1-1.1|12345|PJSIP/1002|COMPLETEAGENT|9|90|1
"""


def numbers(config: Path) -> list[str]:
    """The callers' numbers, opened with the key as it is."""
    keyring = Keyring.load(config.parent / "var/privacy.key")
    database = open_database("sqlite:///var/huiyin.db", config.parent)
    try:
        with database.read_engine.connect() as connection:
            return [keyring.open(sealed) for sealed in connection.execute(select(calls.c.number_sealed)).scalars()]
    finally:
        database.close()


def test_calls_come_in_from_queue_log_and_the_key_turns(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    log = tmp_path / "queue_log"
    log.write_text(LOG)
    for _ in range(2):
        result = run("calls", "import", "--queue-log", log, "-c", config)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "1 calls handed in, 1 of them to be asked by SMS; what was known stays\n"
    assert numbers(config) == ["+8613800000001"]
    before = (tmp_path / "var/privacy.key").read_bytes()
    result = run("key", "rotate", "-c", config)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("2 numbers are sealed with the new key\n")  # the call's and its invitation's
    assert (tmp_path / "var/privacy.key").read_bytes() != before
    assert numbers(config) == ["+8613800000001"]


def test_bad_lines_of_queue_log_are_named_and_the_good_ones_kept(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    log = tmp_path / "queue_log"
    log.write_bytes(b"garbage\n" + LOG.encode() + b"1772409700|c|q|\xc0\xc0|COMPLETEAGENT\n1|c|q|a|X\n")
    result = run("calls", "import", "--queue-log", log, "-c", config)
    assert result.exit_code == 1
    assert result.stdout.startswith("2 calls handed in, 1 of them")
    assert result.stderr.splitlines() == [
        f"huiyin: {log}: line 1: has fewer than five fields (time|callid|queue|agent|event)",
        f"huiyin: {log}: line 5: does not begin with a time in seconds since 1970",
    ]
    assert run("calls", "import", "--queue-log", tmp_path / "nosuch", "-c", config).exit_code == 1


def test_the_key_cannot_turn_while_somebody_serves(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Huiyin(config) as server:
        server.ready()
        done = run_command("key", "rotate", "-c", config)
        assert done.returncode == 1
        assert "serves" in done.stderr
        assert run_command("calls", "import", "--queue-log", "/dev/null", "-c", config).returncode == 0
        server.signal()
        assert server.ended() == 0
    assert run_command("key", "rotate", "-c", config).returncode == 0


# ── the outbox ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_outbox_is_listed_and_sent_again(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Huiyin(config) as server:  # without a centre: everything waits
        caller = Caller(server.ready().port("ivr"), call="c-1", agent="1001")
        caller.until("WAIT FOR DIGIT")
        caller.press("1")
        caller.finish()
        listed = run_command("outbox", "list", "-c", config)  # beside the serving process
        assert listed.returncode == 0
        evaluation, state, *_ = listed.stdout.split("\t")
        assert (evaluation, state) == (caller.variables["HUIYIN_EVALUATION"], "waiting")
        assert listed.stderr == "1 waiting, 0 dead letters\n"
        server.signal()
        assert server.ended() == 0
    database = open_database("sqlite:///var/huiyin.db", tmp_path)
    door = Door(database)
    door.write(lambda unit: unit.execute(outbox.update().values(state="dead", reason="不予接收"))).result(10)
    door.close()
    database.close()
    listed = run_command("outbox", "list", "--state", "dead", "-c", config)
    assert listed.stdout.rstrip("\n").endswith("\t不予接收")
    unknown = run_command("outbox", "retry", "-c", config, "0" * 32)
    assert unknown.returncode == 1
    assert "0 of 1 are dead letters" in unknown.stderr
    again = run_command("outbox", "retry", "-c", config)
    assert again.returncode == 0
    assert again.stdout == "1 dead letters and 0 waiting batches go again\n"
    assert run_command("outbox", "list", "--state", "dead", "-c", config).stdout == ""


def test_many_dead_letters_go_again_in_transactions_of_their_own(run: Run, tmp_path: Path) -> None:
    """A serving process waits for no more than one of them, and no letter goes twice."""
    config = write_config(tmp_path)
    assert run("db", "upgrade", "-c", config).exit_code == 0
    database = open_database("sqlite:///var/huiyin.db", tmp_path)
    ids = add(database.write_engine, 1001, now=datetime.now(UTC))
    with database.write_engine.begin() as connection:
        connection.execute(outbox.update().values(state="dead", reason="不予接收"))
    taken: list[int] = []

    def count(connection: Connection, now: datetime, **options: Any) -> Retried:
        done = retry(connection, now, **options)
        taken.append(done.letters)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("centre.outbox.retry", count)
        done = run("outbox", "retry", "-c", config)
    assert (done.exit_code, done.output) == (0, "1001 dead letters and 0 waiting batches go again\n")
    assert taken == [500, 500, 1]
    with database.read_engine.connect() as connection:
        assert connection.execute(select(func.count()).where(outbox.c.state == "waiting")).scalar_one() == len(ids)
    database.close()


def test_a_day_is_compared_with_the_centre(tmp_path: Path) -> None:
    """A centre that has lost what it had: another, empty one in its place."""

    def centre() -> Program:
        return Program("simulate", "centre", "--listen", "127.0.0.1:0", "--secret", "shared")

    def config(url: str) -> Path:
        return write_config(tmp_path, f'[centre]\nurl = "{url}"\nsecret = "shared"\n')

    with centre() as first, Huiyin(config(first.wait_for(r"a centre at (\S+)")[1])) as server:
        caller = Caller(server.ready().port("ivr"), call="c-1", agent="1001")
        caller.until("WAIT FOR DIGIT")
        caller.press("1")
        caller.finish()
        day, marked = pushed(tmp_path)
        server.signal()
        assert server.ended() == 0
        same = run_command("outbox", "reconcile", "--date", day, "-c", tmp_path / "huiyin.toml")
        assert (same.returncode, same.stdout) == (0, "")
        assert same.stderr == f"{day}: 1 sent, 1 held by the centre, 0 go again, 0 unknown here\n"
    with centre() as second:
        path = config(second.wait_for(r"a centre at (\S+)")[1])
        lost = run_command("outbox", "reconcile", "--date", day, "-c", path)
        assert lost.returncode == 0
        assert lost.stdout == f"{marked}\tgoes again: the centre said once that it has it, and lacks it\n"
        assert run_command("outbox", "list", "-c", path).stdout.startswith(f"{marked}\twaiting\t")
    gone = run_command("outbox", "reconcile", "-c", path)
    assert gone.returncode == 1
    assert gone.stderr.startswith("huiyin: the centre gave no answer")
    none = run_command("outbox", "reconcile", "-c", write_config(tmp_path))
    assert none.returncode == 1
    assert none.stderr == "huiyin: no centre is configured; set centre.url and centre.secret\n"


def pushed(folder: Path) -> tuple[str, str]:
    """The day and the id of the one evaluation, once the centre has it."""
    database = open_database("sqlite:///var/huiyin.db", folder)
    end = time.monotonic() + 30
    query = select(evaluations.c.assess_time, evaluations.c.id, evaluations.c.pushed_at)
    try:
        with database.read_engine.connect() as connection:
            while (row := connection.execute(query).one()).pushed_at is None:
                connection.rollback()
                assert time.monotonic() < end, "nothing was pushed"
                time.sleep(0.05)
            return row.assess_time.astimezone(SHANGHAI).date().isoformat(), row.id
    finally:
        database.close()


# ── stand-ins and the demo ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_simulated_call(tmp_path: Path) -> None:
    with Huiyin(write_config(tmp_path)) as server:
        port = server.ready().port("ivr")
        done = run_command("simulate", "call", "--to", f"127.0.0.1:{port}", "--press", "5,2", "--case", "GD-1")
        assert done.returncode == 0, done.stderr
        assert "HUIYIN_OUTCOME=rated\nHUIYIN_SATISFACTION=1\n" in done.stdout
        assert "played huiyin/zh/thanks\n" in done.stdout
        server.signal()
        assert server.ended() == 0
    nobody = run_command("simulate", "call", "--to", f"127.0.0.1:{port}")
    assert nobody.returncode == 1
    assert nobody.stderr == f"huiyin: nothing answers at 127.0.0.1:{port}; start: huiyin serve -c FILE\n"


def test_the_demo_shows_ratings_arriving(tmp_path: Path) -> None:
    done = run_command("demo", "--calls", "6", "--dir", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(
        re.fullmatch(r"健康 http://127\.0\.0\.1:\d+/readyz　指标 http://127\.0\.0\.1:\d+/metrics", line)
        for line in lines
    )
    told = re.search(r"^共 6 个来电，(\d) 个评价（.*），好差评系统已收到 (\d) 个。$", done.stdout, re.MULTILINE)
    assert told is not None
    assert told[1] == told[2] == str(sum("↳ 好差评系统已收到" in line for line in lines))
    assert re.search(r"来电 138\*\*\*\*\d{4}　坐席 100\d", done.stdout)
    assert not re.search(r"1380000\d{4}", done.stdout)
    journal = [json.loads(line) for line in (tmp_path / "demo/centre.jsonl").read_text("utf-8").splitlines()]
    assert len(journal) == int(told[1])
    database = open_database("sqlite:///huiyin.db", tmp_path / "demo")
    with database.read_engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(outbox)).scalar_one() == 0
    database.close()


def test_the_demo_ends_with_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--dir", str(tmp_path / "demo")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "↳" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "个来电" in rest
