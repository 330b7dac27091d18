"""Which link may carry a message, and when anything may be sent: pure.

Rules kept here:

1. A message goes over a link that serves its carrier; one whose carrier is not known goes over any.
2. Links that serve the same carrier share its messages: whichever has room takes the next. One that is down, or rests,
   has none.
3. After "no route" a message is tried once over a link of another carrier, if there is one.
4. What is sent of our own accord goes inside the sending hours of the day, Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from config.carriers import CARRIERS
from config.settings import SmsLink
from models.clock import SHANGHAI

__all__ = ["Routes", "SendingHours"]


@dataclass(frozen=True, slots=True)
class SendingHours:
    """From `first` to before `last`, each day."""

    first: time
    last: time

    def opening(self, moment: datetime) -> datetime:
        """The moment itself inside the hours, else when they begin next."""
        local = moment.astimezone(SHANGHAI)
        if self.first <= local.time() < self.last:
            return moment
        day = local.date() if local.time() < self.first else local.date() + timedelta(days=1)
        return datetime.combine(day, self.first, SHANGHAI)

    def closing(self, moment: datetime) -> datetime:
        """When the hours of the next sending moment end: an SMS is worth delivering until then."""
        day = self.opening(moment).astimezone(SHANGHAI).date()
        return datetime.combine(day, self.last, SHANGHAI)

    def next_day(self, moment: datetime) -> datetime:
        """When the next sending day begins: at night, before the hours of a day, that day's own."""
        local = moment.astimezone(SHANGHAI)
        day = local.date() if local.time() < self.first else local.date() + timedelta(days=1)
        return datetime.combine(day, self.first, SHANGHAI)


class Routes:
    """The links by whom they serve.

    Args:
        links: as in the configuration, filled in (`SmsSection.of_link`).
    """

    def __init__(self, links: Sequence[SmsLink]) -> None:
        self.links = tuple(links)
        self._by_name = {link.name: link for link in links}

    def served(self) -> tuple[str, ...]:
        """Carriers that some link serves."""
        return tuple(dict.fromkeys(carrier for link in self.links for carrier in link.carriers))

    def claims(self, name: str) -> tuple[str, ...]:
        """Under which carriers' names a link takes messages: its own, the unknown, and those that no link serves."""
        served = self.served()
        nobody = tuple(carrier for carrier in CARRIERS if carrier not in served)
        return (*self._by_name[name].carriers, "", *nobody)

    def extensions(self, carrier: str) -> bool:
        """Whether a message to this carrier carries a code: every link that may take it has extensions."""
        links = [link for link in self.links if carrier in self.claims(link.name)]
        return bool(links) and all(link.extension_digits for link in links)

    def partners(self, name: str) -> tuple[str, ...]:
        """The link itself and those with the same service number: a repeat or a receipt may come over any of them."""
        number = self._by_name[name].service_number
        return tuple(link.name for link in self.links if link.service_number == number)

    def group(self, name: str) -> str:
        """One name for a link and its partners."""
        return min(self.partners(name))

    def other_carrier(self, carrier: str, over: str) -> str | None:
        """Another carrier whose link is not this one, surest guess first; None: there is none."""
        tried = self._by_name.get(over)
        for link in self.links:
            if link.name == over:
                continue
            for other in link.carriers:
                if other != carrier and (tried is None or other not in tried.carriers):
                    return other
        return None
