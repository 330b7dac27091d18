"""`huiyin check` of the wall clock: a jump that waits for a word, a time that nobody has seen for long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from config.settings import Settings
from intake.pauses import AcceptJump, Jump, PauseForJump, SeeTime
from models.database import open_database
from models.door import Door
from server.clock_checks import clock_report
from tests.moments import START

DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings()
    settings._directory = tmp_path
    return settings


def test_it_says_what_waits_and_what_will(settings: Settings) -> None:
    assert clock_report(settings, START) == []  # no database yet
    database = open_database(settings.database.connection_url, settings.directory)
    database.ensure_schema()
    assert clock_report(settings, START) == []
    door = Door(database)
    try:
        door.submit(SeeTime(START, timedelta(0), "here")).result(10)
        assert clock_report(settings, START + 3 * DAY) == []
        [line] = clock_report(settings, START + 4 * DAY)
        assert "no server has seen the time since 2026-11-18 10:00" in line
        [line] = clock_report(settings, START - DAY)
        assert "see which clock is wrong" in line
        for jump in (Jump(START, DAY, "here"), Jump(START, DAY, "here", unseen=True)):
            door.submit(PauseForJump(jump)).result(10)
            [line] = clock_report(settings, START)
            assert line.startswith("warning: here: ")
            assert ("nobody saw the time for 1 day" in line) is jump.unseen
            assert "huiyin scheduler accept-jump" in line
            door.submit(AcceptJump("command_line", START)).result(10)
        assert clock_report(settings, START) == []
    finally:
        door.close()
        database.close()
