"""Tells the consoles, through the database, how the SMS links of this process are."""

from __future__ import annotations

from console.link_beats import BeatLinks, LinkBeat, LinkWord, Unreceipted
from console.silence import ENOUGH, Silence
from models.clock import Clock
from sms.lanes import Lane
from sms.link import LinkState, SubmitResult
from sms.server import SmsServer

__all__ = ["LinkBeats"]


class LinkBeats:
    """Looks at the links and gives the command that tells how they are."""

    def __init__(self, sms: SmsServer, node: str, clock: Clock) -> None:
        self._sms = sms
        self._node = node
        self._clock = clock
        self._counting = {link.name: Unreceipted(ENOUGH[Silence.RECEIPTS]) for link in sms.links}

    def look(self) -> BeatLinks:
        return BeatLinks(self._node, tuple(self._beat(lane) for lane in self._sms.sender.lanes.values()))

    def _beat(self, lane: Lane) -> LinkBeat:
        now = self._clock.now()
        counting = self._counting[lane.name]
        counting.look(lane.link.statistics.submits[SubmitResult.ACCEPTED], lane.receipts, now)
        if lane.link.state is not LinkState.UP:
            word = LinkWord.DOWN
        else:
            word = LinkWord.RESTS if lane.rests_until is not None else LinkWord.UP
        return LinkBeat(self._node, lane.name, word, now, lane.settings.receipts, counting.count, counting.since)
