"""The supervisors' pages as the composition root serves them, below the API and /healthz."""

from __future__ import annotations

from fastapi import FastAPI

from config.settings import Settings
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.sessions import SessionRules
from models.clock import Clock
from models.door import Door
from models.privacy import Keyring

__all__ = ["open_pages"]


def open_pages(app: FastAPI, door: Door, keyring: Keyring, clock: Clock, settings: Settings) -> None:
    """Serves the pages under every address that is left; after everything else of the application."""
    section = settings.console
    rules = SessionRules(section.session_idle, section.session_life)
    mount_pages(app, Console(door, keyring, clock, rules, settings.hotline.name))
