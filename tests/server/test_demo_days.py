"""The demo in simulated days: what it shows, what it finds wrong, and how fast it may run."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from twisted.internet.task import Clock

from config.settings import Settings
from intake.decide import PushCalls
from intake.workdays import WorkingDays
from models.clock import SHANGHAI, TurnedClock
from models.door import Door
from models.futures import Wakeups
from models.privacy import Keyring
from models.terms import Origin, Satisfaction
from server import demo_days
from server.cli import demo
from server.demo import DemoFailed
from server.demo_days import FASTEST, FEWEST_DAYS, SLOWEST, Case, Days, Evaluated
from server.errors import CannotDo
from simulate.handset import Behaviour
from sms.server import SmsServer
from tests.server.running import run_command

DEADLINE = datetime(2026, 4, 7, 23, 59, 59, tzinfo=SHANGHAI)


@pytest.mark.slow
def test_the_demo_shows_invitation_reminder_and_default(tmp_path: Path) -> None:
    done = run_command("demo", "--speed", str(FASTEST), "--days", str(FEWEST_DAYS), "--dir", tmp_path / "demo")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    told: dict[str, list[str]] = defaultdict(list)
    for match in re.finditer(
        r"^(\d\d-\d\d \d\d:\d\d)　工单 (DEMO\d+)　138\*{4}\d{4}　(.*)$", done.stdout, re.MULTILINE
    ):
        told[match[2]].append(f"{match[1]} {match[3]}")
    held = [json.loads(line) for line in (tmp_path / "demo/centre.jsonl").read_text("utf-8").splitlines()]
    of_case = {case_no: [one for one in held if one["projectNo"] == case_no] for case_no in told}

    # Everybody is asked, and told of the deadline: behind 清明节, which is not counted.
    assert len(told) == 4
    for lines in told.values():
        assert lines[0].endswith("已办结，短信邀请评价，期限 4月7日（第5个工作日）")
        assert any("← 评价邀请　【临夏12345】您反映的事项已办结" in line for line in lines)
    assert "── 4月6日 周一　清明节放假，不计入期限" in done.stdout.splitlines()

    # One rates after the reminder; it comes a day later, inside the sending hours.
    reminders = {case_no: line for case_no, lines in told.items() for line in lines if "← 评价提醒" in line}
    assert len(reminders) >= 2
    for line in reminders.values():
        assert date(2026, int(line[:2]), int(line[3:5])) > date(2026, 3, 30)
        assert "【临夏12345】提醒：" in line
    after = [case_no for case_no, lines in told.items() if any("（提醒后）" in line for line in lines)]
    assert after
    assert set(after) <= set(reminders)

    # Who never answers is defaulted, once, at the end of the fifth working day; who has rated is not.
    defaulted = [case_no for case_no, lines in told.items() if any("默认评价 基本满意" in line for line in lines)]
    assert defaulted
    for case_no, records in of_case.items():
        (only,) = records
        assert str(only["isdefault"]) == str(int(case_no in defaulted))
        if case_no in defaulted:
            assert (str(only["satisfaction"]), only["assessTime"]) == ("3", "2026-04-07 23:59:59")
            assert not any("　评价 " in line for line in told[case_no])
    assert f"工单 4 个，短信邀请 4 个，提醒 {len(reminders)} 个；" in done.stdout
    assert f"其中默认评价 {len(defaulted)} 个。" in done.stdout
    assert not re.search(r"138\d{8}", done.stdout)


def test_a_folder_with_an_earlier_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "huiyin.db").touch()
    with pytest.raises(CannotDo, match="give --dir an empty folder"):
        demo_days.run_days(tmp_path, FASTEST, None)


def test_the_command_takes_what_the_demo_can() -> None:
    ranges = {one.name: one.type for one in demo.params if isinstance(one.type, click.IntRange)}
    assert (ranges["speed"].min, ranges["speed"].max) == (SLOWEST, FASTEST)
    assert (ranges["days"].min, ranges["days"].max) == (FEWEST_DAYS, None)


def test_a_citizen_can_still_be_answered_at_the_fastest() -> None:
    # Two seconds of real time: as long as may be configured.
    settings = Settings.model_validate({"sms": {"answer_within": "24h"}})
    assert settings.sms.answer_within.total_seconds() / FASTEST >= 2
    with pytest.raises(ValueError, match="answer_within"):
        Settings.model_validate({"sms": {"answer_within": "25h"}})


def test_the_fewest_days_are_just_enough_for_a_default() -> None:
    first = datetime.combine(demo_days._FIRST_DAY, demo_days._MORNING, SHANGHAI)
    deadline = WorkingDays().deadline(first, 5, "622900")
    assert (deadline.at, deadline.provisional) == (DEADLINE, False)
    over = deadline.at + demo_days._MUCH_LATER
    assert first + timedelta(days=FEWEST_DAYS - 1) < over < first + timedelta(days=FEWEST_DAYS)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_lease_of_an_sms_lasts_as_long_for_a_link_however_fast_the_clock(
    make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock
) -> None:
    from twisted.internet import reactor

    link: dict[str, Any] = {
        "name": "x",
        "host": "127.0.0.1",
        "system_id": "x",
        "password": "x",
        "response_timeout": "30s",
    }
    settings = Settings.model_validate({"sms": {"service_number": "1069", "signature": "x", "links": [link]}})
    leases = [
        SmsServer(
            settings,
            make_door(),
            keyring,
            Wakeups(cast("Any", reactor)),
            reactor,
            clock,
            owner="x/1",
            push_calls=PushCalls.NEVER,
            wake_push=lambda: None,
            speed=speed,
        ).sender._terms.lease
        for speed in (1, FASTEST)
    ]
    assert leases == [timedelta(seconds=150), timedelta(seconds=150) * FASTEST]


# ── a day begins ──────────────────────────────────────────────────────────────────────────────────────────────────────


def days_at(now: datetime, days: int | None = None) -> Days:
    """A demo at this moment, of which nothing but its clock and calendar is asked."""
    process = cast("Any", SimpleNamespace(settings=Settings(), listening={}))
    centre = cast("Any", SimpleNamespace(by_id={}, violations=[]))
    smsc = cast("Any", SimpleNamespace(violations=[]))
    nothing = cast("Any", None)
    chance = random.Random(1)
    return Days(process, TurnedClock(now), centre, smsc, nothing, nothing, Clock(), chance, speed=SLOWEST, days=days)


@pytest.mark.parametrize(
    ("day", "said", "cases"),
    [
        (date(2026, 3, 30), "── 3月30日 周一　工作日", True),
        (date(2026, 4, 4), "── 4月4日 周六　清明节放假，不计入期限", False),
        (date(2026, 4, 11), "── 4月11日 周六　周末，不计入期限", False),
        (date(2026, 5, 9), "── 5月9日 周六　调休上班，计入期限", True),
        (date(2035, 3, 5), "── 3月5日 周一　2035年的放假安排尚未公布", True),
        (date(2035, 3, 4), "── 3月4日 周日　2035年的放假安排尚未公布", False),
    ],
)
def test_a_day_is_told_as_the_calendar_knows_it(
    day: date, said: str, cases: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.combine(day, demo_days._MORNING, SHANGHAI)
    demo = days_at(now)
    demo._new_day(now)
    assert said in capsys.readouterr().out.splitlines()
    assert any(is_case for _, is_case in demo._plan) is cases


def test_a_provisional_deadline_is_not_run_into_silently(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2035, 12, 28, 8, 30, tzinfo=SHANGHAI)
    demo = days_at(now)  # 2035 and 2036 are unknown
    for _ in range(2):
        demo._new_day(now)
    assert capsys.readouterr().out.count("2036年的放假安排尚未公布，期限只是暂定，到期不作默认评价") == 1


def test_nobody_is_asked_too_late_for_a_default_before_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    demo = days_at(datetime.combine(demo_days._FIRST_DAY, demo_days._MORNING, SHANGHAI), FEWEST_DAYS)
    asked = []
    for later in range(FEWEST_DAYS):
        now = datetime.combine(demo_days._FIRST_DAY, demo_days._MORNING, SHANGHAI) + timedelta(days=later)
        demo._new_day(now)
        asked += [at.date() for at, is_case in demo._plan if is_case]
    assert set(asked) == {demo_days._FIRST_DAY}
    assert capsys.readouterr().out.count("此后不再有新工单") == 1


# ── what is wrong at the end ──────────────────────────────────────────────────────────────────────────────────────────


def evaluated(
    origin: Origin, level: Satisfaction = Satisfaction.BASICALLY_SATISFIED, at: datetime = DEADLINE
) -> Evaluated:
    return Evaluated("e1", "DEMO1", level, origin, (), at, at)


DEFAULT = evaluated(Origin.DEFAULT)
RATED = evaluated(Origin.CITIZEN, Satisfaction.SATISFIED)


@pytest.mark.parametrize(
    ("behaviour", "reminded", "rated_by", "isdefault", "wrong"),
    [
        (Behaviour.SILENT, True, [DEFAULT], 1, ""),
        (Behaviour.REMINDED, True, [RATED], 0, ""),
        (Behaviour.DIGIT, False, [RATED], 0, ""),
        (Behaviour.OPT_OUT, False, [DEFAULT], 1, ""),
        (Behaviour.SILENT, False, [DEFAULT], 1, "was not reminded of"),
        (Behaviour.REMINDED, True, [DEFAULT], 1, "is default, and its citizen"),
        (Behaviour.SILENT, True, [RATED], 0, "is citizen, and its citizen"),
        (Behaviour.SILENT, True, [], 0, "has 0 evaluations"),
        (Behaviour.DIGIT, False, [RATED, DEFAULT], 0, "has 2 evaluations"),
        (Behaviour.SILENT, True, [evaluated(Origin.DEFAULT, Satisfaction.SATISFIED)], 1, "another level or time"),
        (
            Behaviour.SILENT,
            True,
            [evaluated(Origin.DEFAULT, at=DEADLINE - timedelta(days=1))],
            1,
            "another level or time",
        ),
        (Behaviour.SILENT, True, [DEFAULT], 0, "another isdefault"),
    ],
)
def test_a_case_that_is_not_as_the_rules_say_fails_the_demo(
    behaviour: Behaviour, reminded: bool, rated_by: list[Evaluated], isdefault: int, wrong: str
) -> None:
    demo = days_at(DEADLINE + timedelta(days=30), FEWEST_DAYS)
    demo._centre.by_id["e1"] = {"isdefault": isdefault}
    demo._cases["DEMO1"] = Case("13800000001", behaviour, DEADLINE, False, True, reminded, rated_by)
    if not wrong:
        demo.sum_up()
        return
    with pytest.raises(DemoFailed, match=wrong):
        demo.sum_up()


def test_an_evaluation_that_the_centre_lacks_fails_the_demo() -> None:
    demo = days_at(DEADLINE + timedelta(days=30), FEWEST_DAYS)
    demo._cases["DEMO1"] = Case("13800000001", Behaviour.DIGIT, DEADLINE, False, asked=True, rated_by=[RATED])
    demo._not_there["e1"] = RATED
    with pytest.raises(DemoFailed, match="1 evaluations are not with the centre"):
        demo.sum_up()


@pytest.mark.parametrize(
    ("now", "wrong"),
    [(DEADLINE, "stopped before its last day"), (DEADLINE + timedelta(days=30), "no case was posted")],
)
def test_a_demo_that_shows_nothing_has_failed(now: datetime, wrong: str) -> None:
    with pytest.raises(DemoFailed, match=wrong):
        days_at(now, FEWEST_DAYS).sum_up()


def test_a_case_that_nobody_was_asked_about_fails_the_demo() -> None:
    demo = days_at(DEADLINE + timedelta(days=30), FEWEST_DAYS)
    demo._cases["DEMO1"] = Case("13800000001", Behaviour.DIGIT, DEADLINE, False, rated_by=[RATED])
    with pytest.raises(DemoFailed, match="DEMO1 was not asked"):
        demo.sum_up()


def test_without_an_end_a_demo_may_be_stopped_at_any_time() -> None:
    days_at(DEADLINE).sum_up()
