"""What an SMSC's refusal of a submit says, and about whom: pure.

Rules kept here:

1. A status of the SMSC's own trouble (`FOR_NOW`) or of our set-up (`SET_UP`) says nothing against the message: it goes
   again later. `SLOW_AFTER` of the former running slow the link down, since one or two are a matter of their messages.
2. Everything else is final for its message: a wrong number, a vendor's own status. Of those nobody knows what is meant,
   and to send again what was blocked for its content costs the service number.
3. The same status of `rest_after` messages running, whichever but the SMSC's own trouble, is no matter of the messages:
   the link rests (sms/sender.py). After that it is given one message at a time: one more refused and it rests again,
   one accepted and it goes on.
4. A message that is refused again and again while the link takes others is refused for its own sake: after `REFUSALS`
   such times it has failed. While the link takes nothing at all, that is no sign.

Sources: SMPP 3.4, 5.1.3. ESME_RSYSERR and ESME_RSUBMITFAIL are what SMSCs answer whose store or network is away; some
give them for single messages too, hence the counting.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from sms.pdu import Status

__all__ = ["REFUSALS", "SLOW_AFTER", "Refusal", "Refusals", "Running", "refusal", "wait_after"]

SLOW_AFTER = 3
"""Refusals of the SMSC's own trouble running, before the link slows down for them."""
REFUSALS = 5
"""Times that a message is refused although the link took others since the time before."""
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(minutes=15)
_REMEMBERED = 10_000


class Refusal(StrEnum):
    """About whom a status speaks."""

    FOR_NOW = "for_now"
    """The SMSC: it cannot at the moment."""
    SET_UP = "set_up"
    """Our set-up of the link: every message would be answered so."""
    FINAL = "final"
    """The message, or nobody knows."""


_OF = {
    **dict.fromkeys(
        (Status.ESME_RSYSERR, Status.ESME_RSUBMITFAIL, Status.ESME_RX_T_APPN, Status.ESME_RX_R_APPN), Refusal.FOR_NOW
    ),
    **dict.fromkeys(
        (
            Status.ESME_RINVCMDID,
            Status.ESME_RINVBNDSTS,
            Status.ESME_RALYBND,
            Status.ESME_RINVPRTFLG,
            Status.ESME_RINVREGDLVFLG,
            Status.ESME_RINVSRCADR,
            Status.ESME_RBINDFAIL,
            Status.ESME_RINVPASWD,
            Status.ESME_RINVSYSID,
            Status.ESME_RINVSERTYP,
            Status.ESME_RINVESMCLASS,
            Status.ESME_RINVSRCTON,
            Status.ESME_RINVSRCNPI,
            Status.ESME_RINVDSTTON,
            Status.ESME_RINVDSTNPI,
            Status.ESME_RINVSYSTYP,
            Status.ESME_RINVSCHED,
            Status.ESME_RINVEXPIRY,
            Status.ESME_RINVOPTPARSTREAM,
            Status.ESME_ROPTPARNOTALLWD,
            Status.ESME_RINVPARLEN,
            Status.ESME_RMISSINGOPTPARAM,
            Status.ESME_RINVOPTPARAMVAL,
        ),
        Refusal.SET_UP,
    ),
}
_BY_STATUS = {int(status): refusal for status, refusal in _OF.items()}


def refusal(status: int) -> Refusal:
    """What a command_status other than ESME_ROK, throttled and queue full says."""
    return _BY_STATUS.get(status, Refusal.FINAL)


def wait_after(times: int) -> timedelta:
    """How long a message waits after it was refused for so many times: twice as long each time."""
    return min(FIRST_WAIT * (1 << min(times - 1, 10)), LONGEST_WAIT)


@dataclass(slots=True)
class Running:
    """Refusals of a link with nothing accepted between (rule 3)."""

    times: dict[str, int] = field(default_factory=dict)
    """By the name of the status."""

    def refused(self, status: str, rest_after: int) -> bool:
        """A message was refused. True: the link is to rest."""
        times = self.times[status] = self.times.get(status, 0) + 1
        if times < rest_after:
            return False
        self.times[status] = rest_after - 1
        return True

    def is_trial(self, rest_after: int) -> bool:
        """One more refusal makes the link rest."""
        return any(times >= rest_after - 1 for times in self.times.values())

    def accepted(self) -> None:
        self.times.clear()


@dataclass(slots=True)
class _Refused:
    times: int
    link: str
    accepted: int
    against: int = 0


class Refusals:
    """Messages that were refused for no reason of theirs, as far as one could tell. In memory: after a restart they are
    counted anew, and their own end in time (`not_after`) bounds them still."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Refused] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def refused(self, message_id: str, link: str, accepted: int) -> timedelta | None:
        """A message was refused over a link that has accepted so many segments by now.

        Returns:
            How long it waits; None: it was refused for its own sake (rule 4).
        """
        one = self._known.get(message_id)
        if one is None:
            while len(self._known) >= _REMEMBERED:
                self._known.popitem(last=False)
            self._known[message_id] = _Refused(1, link, accepted)
            return wait_after(1)
        one.times += 1
        if one.link == link and accepted > one.accepted:
            one.against += 1
        one.link, one.accepted = link, accepted
        if one.against >= REFUSALS:
            del self._known[message_id]
            return None
        return wait_after(one.times)

    def over(self, message_id: str) -> None:
        """The message was sent, or has failed."""
        self._known.pop(message_id, None)
