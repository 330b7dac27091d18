"""Logs set up by a test do not reach the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    for name in ("apscheduler", "twisted", "alembic", "uvicorn", "asyncio", "huiyin"):
        logging.getLogger(name).setLevel(logging.NOTSET)
