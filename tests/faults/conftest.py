"""Processes for the fault tests, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import Centre, Server
from tests.faults.sms import STANDING, Smsc, SmsServer, Stage
from tests.faults.timed import FIRST, Timed
from tests.faults.wallclock import WallClock, faketime_missing


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """A stand-in centre that is up before and after the server."""
    opened = Centre(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(centre: Centre | None = None, **options: Any) -> Server:
        made.append(Server(tmp_path, centre, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("sms"))
    yield made
    made.close()


@pytest.fixture
def stage(standing: Stage) -> Iterator[Stage]:
    """A stand-in centre and a stand-in SMSC that are up before and after the server, and do nothing wrong yet."""
    yield standing
    standing.reset()


@pytest.fixture
def make_sms_server(stage: Stage, tmp_path: Path) -> Iterator[Callable[..., SmsServer]]:
    """A server with a link to the SMSC, not started; `name`: of its directory, for a second one."""
    made: list[SmsServer] = []

    def make(name: str = "server", **options: Any) -> SmsServer:
        made.append(stage.server(tmp_path / name, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def standing_silence() -> Iterator[Smsc]:
    made = Smsc(behaviours=("silent",))
    yield made
    made.close()


@pytest.fixture
def silence(standing_silence: Smsc) -> Iterator[Smsc]:
    """A stand-in SMSC whose citizens say nothing."""
    yield standing_silence
    standing_silence.ask("POST", "options", STANDING)


@pytest.fixture
def make_timed(
    stage: Stage, silence: Smsc, make_sms_server: Callable[..., SmsServer], tmp_path: Path
) -> Callable[..., Timed]:
    """A record under a turned wall clock; `postgres`: its URL, else it is on SQLite."""
    if missing := faketime_missing():
        pytest.skip(missing)

    def make(postgres: str = "", *more: str, **options: Any) -> Timed:
        wall = WallClock(tmp_path, FIRST)
        return Timed(stage, silence, make_sms_server, wall, postgres, more=more, **options)

    return make
