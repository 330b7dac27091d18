"""`huiyin check`: what is wrong with an installation before it serves, every error at once, each with its key."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from config.errors import ConfigurationError
from config.loading import load
from config.profile import load_profile
from config.settings import Settings
from ivr.prompts import missing_prompts
from models.clock import SystemClock
from models.errors import KeyUnreadable
from models.privacy import Keyring
from server.calendar_checks import calendar_report
from server.clock_checks import clock_report
from server.sms_checks import sms_problems, sms_report

__all__ = ["NOTES", "problems", "report"]

NOTES = (
    "note: set systemname in asterisk.conf, another on each Asterisk host: without it two calls may have one id",
    "note: the prompts were looked for on this machine; Asterisk needs them in its own sounds folder",
)
"""What no program can see from here."""


def problems(path: Path) -> list[str]:
    """One line an error; empty: the configuration can be served."""
    try:
        settings = load(path)
    except ConfigurationError as error:
        return error.lines()
    return [*_profile(settings), *missing_prompts(settings), *_key(settings), *sms_problems(settings)]


def report(path: Path) -> list[str]:
    """What is not in a valid file itself: the texts of the SMS, the calendar, the clock."""
    settings = load(path)
    now = SystemClock().now()
    return [*sms_report(settings), *calendar_report(settings, now), *clock_report(settings, now), *_console(settings)]


def _console(settings: Settings) -> list[str]:
    """Cookies are marked for https, and failures counted by a browser's address, only behind a proxy that is named."""
    section = settings.console
    if section.proxies:
        return []
    if not ip_address(section.listen.host).is_loopback:
        return [
            f"warning: console.listen {section.listen} is reached from elsewhere without TLS, passwords too: listen on "
            "127.0.0.1, put a TLS proxy before it, and name the proxy in console.proxies"
        ]
    return [
        "note: console.proxies is empty: if browsers come through a TLS proxy, name it there; until then cookies lack "
        "Secure, and all browsers are one address to the log-in's slow-down"
    ]


def _profile(settings: Settings) -> list[str]:
    try:
        load_profile(settings.centre.profile, settings.directory)
    except ConfigurationError as error:
        return [line if line.startswith("centre.profile") else f"centre.profile: {line}" for line in error.lines()]
    return []


def _key(settings: Settings) -> list[str]:
    """A key file that is there must be readable; one that is not is made for an empty database."""
    if not settings.privacy.key_file.exists():
        return []
    try:
        Keyring.load(settings.privacy.key_file)
    except KeyUnreadable as error:
        return [f"privacy.key_file: {error}"]
    return []
