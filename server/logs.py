"""The log: one line an event on stderr, as text or JSON, from our code, the standard library and Twisted alike.

Rule kept here: no line shows a telephone number. Nobody logs one on purpose; `masked` is the net below, and it goes
through every value of every event, tracebacks included.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from twisted.logger import STDLibLogObserver, globalLogBeginner

from config.settings import LogSection

__all__ = ["MASK", "announce", "configure", "masked"]

MASK: Final = "[number]"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LOUD = ("apscheduler", "twisted", "alembic", "uvicorn", "asyncio")
"""Libraries whose every step is of no interest to an operator."""

_NUMBER = re.compile(
    r"""
    (?P<id>\b[0-9a-f]{32}\b)                            # ids of ours: digits by chance
    | (?<!\d)(?:
        (?:(?:\+|00|%2B)?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}      # a mobile, +86 or not, in groups or not
        | (?:(?:\+|00|%2B)?86[ -]?)?\(?0\d{2,3}\)?[ -]?\d{7,8}      # a landline with its area code
        | (?:\+|%2B)\d{7,15}                            # any other country's
        | \d{11,15}                                     # whatever else is as long
      )(?!\d)
    """,
    re.VERBOSE,
)


def _mask_text(text: str) -> str:
    return _NUMBER.sub(lambda match: match["id"] or MASK, text)


def _mask(value: Any) -> Any:
    if value is None or isinstance(value, bool | float | date | Enum):
        return value
    if isinstance(value, int):
        return MASK if abs(value) >= 10**10 else value
    if isinstance(value, str):
        return _mask_text(value)
    if isinstance(value, Mapping):
        return {_mask(key): _mask(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mask(item) for item in value]
    if isinstance(value, bytes):
        return _mask_text(value.decode("latin-1"))
    return _mask_text(str(value))


def masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: takes out of an event whatever looks like a telephone number."""
    return {key: value if key.startswith("_") else _mask(value) for key, value in event.items()}


def configure(section: LogSection, *, quiet: bool = False) -> None:
    """Sets up the log of this process. May be called again.

    Args:
        quiet: errors alone (for commands whose result is what they print).
    """
    level = logging.ERROR if quiet else _LEVELS[section.level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        masked,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if section.format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "huiyin", False):
            root.removeHandler(old)
    handler.huiyin = True  # type: ignore[attr-defined]  # so that a second call finds it
    root.addHandler(handler)
    root.setLevel(level)
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def bridge_twisted() -> None:
    """Sends Twisted's log, failures included, the same way. Once a process, before its reactor runs."""
    globalLogBeginner.beginLoggingTo([STDLibLogObserver(name="twisted")], redirectStandardIO=False)


def announce(sentence: str) -> None:
    """A line that an operator (and a test that waits for it) sees at every log level: what listens where."""
    logger = logging.getLogger("huiyin")
    logger.setLevel(logging.INFO)
    logger.info(sentence)
