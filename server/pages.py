"""The supervisors' pages as the composition root serves them, below the API and /healthz."""

from __future__ import annotations

from fastapi import FastAPI

from config.settings import Settings
from config.texts import FALLBACK, load_texts
from console.exports import ExportDesk
from console.pages.app import mount_pages
from console.pages.options import RatingsOptions
from console.pages.shell import Console
from console.sessions import SessionRules
from models.clock import Clock
from models.database import parse_url
from models.door import Door
from models.privacy import Keyring

__all__ = ["database_url", "open_pages", "ratings_options", "reason_words"]


def open_pages(app: FastAPI, door: Door, keyring: Keyring, clock: Clock, settings: Settings) -> None:
    """Serves the pages under every address that is left; after everything else of the application."""
    section = settings.console
    rules = SessionRules(section.session_idle, section.session_life)
    console = Console(door, keyring, clock, rules, settings.hotline.name, ratings=ratings_options(settings))
    mount_pages(app, console)


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
