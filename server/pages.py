"""The supervisors' pages as the composition root serves them, below the API and /healthz."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from config.settings import Settings
from config.texts import FALLBACK, load_texts
from console.board_state import BoardRules
from console.charts import Charts
from console.exports import ExportDesk
from console.pages.app import mount_pages
from console.pages.options import RatingsOptions
from console.pages.shell import Console
from console.sessions import SessionRules
from intake.decide import PushCalls
from models.clock import Clock
from models.database import parse_url
from models.door import Door
from models.privacy import Keyring
from server.queue_tools import queue_tools

__all__ = ["board_rules_of", "database_url", "open_pages", "ratings_options", "reason_words"]


def open_pages(
    app: FastAPI,
    door: Door,
    keyring: Keyring,
    clock: Clock,
    settings: Settings,
    push_calls: PushCalls,
    *,
    wake_push: Callable[[], None],
    wake_sms: Callable[[], None],
) -> Callable[[], None]:
    """Serves the pages under every address that is left; after everything else of the application.

    Args:
        wake_push, wake_sms: something is due to go; told from a thread of the web server.

    Returns: to be called after each commit of this process, by whichever thread: live boards then look.
    """
    section = settings.console
    rules = SessionRules(section.session_idle, section.session_life)
    charts = Charts()
    door.at_close(charts.close)
    console = Console(
        door,
        keyring,
        clock,
        rules,
        settings.hotline.name,
        board_rules=board_rules_of(settings),
        charts=charts,
        ratings=ratings_options(settings),
        queues=queue_tools(settings, keyring, push_calls, wake_push=wake_push, wake_sms=wake_sms),
    )
    mount_pages(app, console)
    return console.live.wake


def board_rules_of(settings: Settings) -> BoardRules:
    """What boards and trends need of the configuration."""
    return BoardRules(
        settings.rating.satisfied_from,
        settings.alarm.silence,
        settings.hotline.area_code,
        settings.schedule.calendar_warning,
        reason_words(settings),
    )


def reason_words(settings: Settings) -> dict[str, str]:
    """The Chinese words of the reason codes."""
    own = settings.directory / settings.sms.texts if settings.sms.texts else None
    return dict(load_texts(directory=own).of(FALLBACK).reasons)


def ratings_options(settings: Settings) -> RatingsOptions:
    """What the pages of ratings take from the configuration."""
    section = settings.console
    reasons = reason_words(settings)
    return RatingsOptions(
        recording_url=section.recording_url,
        case_url=section.case_url,
        satisfied_from=settings.rating.satisfied_from,
        reasons=reasons,
        exports=ExportDesk(
            database_url(settings),
            str(settings.privacy.key_file.absolute()),
            most=section.exports,
            rows=section.export_rows,
            seconds=section.export_time.total_seconds(),
            reasons=reasons,
        ),
    )


def database_url(settings: Settings) -> str:
    """The database's whole address, for a child process. Holds the password: never print it."""
    url = parse_url(settings.database.connection_url, settings.directory)
    return url.render_as_string(hide_password=False)
