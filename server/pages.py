"""The supervisors' pages as the composition root serves them, below the API and /healthz."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from config.settings import Settings
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.sessions import SessionRules
from intake.decide import PushCalls
from models.clock import Clock
from models.door import Door
from models.privacy import Keyring
from server.queue_tools import queue_tools

__all__ = ["open_pages"]


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
) -> None:
    """Serves the pages under every address that is left; after everything else of the application.

    Args:
        wake_push, wake_sms: something is due to go; told from a thread of the web server.
    """
    section = settings.console
    rules = SessionRules(section.session_idle, section.session_life)
    tools = queue_tools(settings, keyring, push_calls, wake_push=wake_push, wake_sms=wake_sms)
    mount_pages(app, Console(door, keyring, clock, rules, settings.hotline.name, queues=tools))
