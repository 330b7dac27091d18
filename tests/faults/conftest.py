"""Processes for the fault tests, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import Centre, Server


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
