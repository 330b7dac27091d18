"""What the pages of waiting work need of the SMS channel and the push, put together for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from centre.outbox import retry
from config.keymap import KeyMap
from config.settings import Settings
from console.queues import QueueTools
from intake.conversation import Heard
from intake.decide import PushCalls
from models.door import Unit
from models.privacy import Keyring
from server.api import deadline_rules_of
from sms.decodings import body_of, every_decoding
from sms.inbox import hear
from sms.server import sending_rules, taking_rules

__all__ = ["queue_tools"]


def queue_tools(
    settings: Settings,
    keyring: Keyring,
    push_calls: PushCalls,
    *,
    wake_push: Callable[[], None],
    wake_sms: Callable[[], None],
) -> QueueTools:
    """What the configuration says about replies, asking and deadlines, with the grammar and the push."""
    return QueueTools(
        taking=taking_rules(settings, push_calls),
        sending=sending_rules(settings, keyring),
        deadlines=deadline_rules_of(settings),
        key_map=settings.rating.key_map.version,
        hear=_hear,
        body_of=body_of,
        decodings=every_decoding,
        retry=_retry,
        wake_push=wake_push,
        wake_sms=wake_sms,
    )


def _hear(text: str, key_map: str, incomplete: bool) -> Heard:
    return hear(text, KeyMap.parse(key_map), incomplete=incomplete)


def _retry(unit: Unit, now: datetime, actor: str, evaluation_ids: Sequence[str]) -> object:
    return retry(unit, now, actor=actor, evaluation_ids=evaluation_ids)
