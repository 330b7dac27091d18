"""The HTTP API as the composition root serves it, beside /healthz on the console's address."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from config.settings import Settings
from console.api import mount_api
from intake.casebook import CaseRules
from intake.deadlines import DeadlineRules
from models.clock import Clock
from models.door import Door
from models.privacy import Keyring

__all__ = ["case_rules_of", "deadline_rules_of", "open_api"]


def deadline_rules_of(settings: Settings) -> DeadlineRules:
    """What deadlines need of the configuration, with a calendar that is read when it is first needed."""
    schedule = settings.schedule
    return DeadlineRules(
        schedule.default_after_working_days, settings.hotline.area_code, backlog=schedule.default_backlog
    )


def case_rules_of(settings: Settings) -> CaseRules:
    """What cases need of the configuration."""
    return CaseRules(
        key_map=settings.rating.key_map.version,
        area_code=settings.hotline.area_code,
        service_name=settings.hotline.service,
        max_age=settings.schedule.max_age,
        group_wait=settings.schedule.group_wait,
        reason_hold=settings.centre.reason_hold,
        reminder_after=settings.schedule.reminder_after,
        deadlines=deadline_rules_of(settings),
    )


def open_api(
    app: FastAPI, door: Door, keyring: Keyring, clock: Clock, settings: Settings, wake: Callable[[], None]
) -> None:
    """Serves the API under /api.

    Args:
        wake: tells whoever sends SMS that some are due; from the writer's thread.
    """
    mount_api(
        app, door, keyring, clock, case_rules_of(settings), wake=wake, satisfied_from=settings.rating.satisfied_from
    )
