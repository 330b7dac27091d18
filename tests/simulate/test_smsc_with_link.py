"""The stand-in SMSC and the link together: over faults without end every segment has one fate, and no reply is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from simulate.smsc import Fault, FaultKind, IdForm, Moment, SmscOptions, StandInSmsc, Timing
from sms.link import Link, SubmitResult
from sms.pdu import Submit
from tests.sms.link.certificates import Authority
from tests.sms.link.rig import OPTIONS, Owner, on_reactor, reactor

NUMBER = "13800000001"
OURS = "10691234501"


def sms(number: int) -> Submit:
    return Submit(OURS, f"138{number:08}", f"第{number}条".encode("utf-16-be"), data_coding=8, registered_delivery=1)


class Sender(Owner):
    """Hands over `total` segments, as there is room."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total
        self.given = 0
        self.on_room = self.fill

    def up(self, link: Link) -> None:
        super().up(link)
        self.fill(link)

    def fill(self, link: Link) -> None:
        while self.given < self.total and link.room() > 0:
            self.given += 1
            link.submit(sms(self.given), self.given)


@on_reactor
async def test_faults_without_end() -> None:
    """Cuts, silence, throttling, nacks and garbage at random; replies meanwhile; each has exactly one end."""
    smsc = StandInSmsc(
        SmscOptions(
            ids=IdForm.HEX,
            timing={Timing.AFTER: 6, Timing.BEFORE: 2, Timing.TWICE: 1, Timing.NEVER: 1},
            receipt_delay=(0.0, 0.02),
            resend_after=0.3,
            error_resend=0.05,
            window=5,
        ),
        seed=4,
    )
    smsc.plan(
        Fault(FaultKind.CUT, chance=0.01, times=None),
        Fault(FaultKind.LOSE, chance=0.01, times=None),
        Fault(FaultKind.HALF, chance=0.005, times=None),
        Fault(FaultKind.STATUS, chance=0.01, times=1, status=0x58),  # each halves the link's pace
        Fault(FaultKind.NACK, chance=0.01, times=None, status=3),
        Fault(FaultKind.WRONG, chance=0.002, times=1),
        Fault(FaultKind.STRANGE, chance=0.02, times=None),
        Fault(FaultKind.GARBAGE, chance=0.002, times=None),
        Fault(FaultKind.CUT, on=Moment.RESPONSE, chance=0.005, times=None),
        Fault(FaultKind.DROP, on=Moment.RESPONSE, chance=0.01, times=None),
    )
    smsc.listen(reactor())
    owner = Sender(600)
    link = Link(replace(OPTIONS, port=smsc.port, response_seconds=1.0), reactor(), owner)
    link.start()
    await owner.waits.until(lambda: owner.ups == 1)
    chance = Random(1)
    replies = [
        smsc.send_reply(NUMBER, "好" * chance.choice([1, 40, 150]), "10691234501", system_id="huiyin")
        for _ in range(100)
    ]
    await owner.waits.until(lambda: len(owner.answers) == 600)
    smsc.plan()
    await smsc.until(lambda: all(reply.acknowledged for reply in replies) and smsc.waiting == 0)
    await link.stop(5.0)
    await smsc.stop()

    tokens = [token for token, _ in owner.answers]
    assert sorted(tokens) == list(range(1, 601)), "each segment has one fate, none two"  # type: ignore[type-var]
    results = Counter(answer.result for _, answer in owner.answers)
    assert results[SubmitResult.ACCEPTED] > 400
    assert results[SubmitResult.UNKNOWN] > 0
    taken = {submitted.message.destination for submitted in smsc.received}
    for token, answer in owner.answers:
        there = f"138{token:08}" in taken
        # What was accepted is with the SMSC; what was refused is not; of the rest nobody can say.
        assert answer.result is not SubmitResult.ACCEPTED or there
        assert answer.result not in (SubmitResult.THROTTLED, SubmitResult.NACKED, SubmitResult.NOT_SENT) or not there
    assert len(smsc.received) == len(taken), "nothing came twice"
    came = Counter(
        one.body for one in owner.deliveries if one.esm_class & 0x3C == 0 and one.destination == "10691234501"
    )
    assert sum(came.values()) >= sum(len(reply.parts) for reply in replies)
    assert smsc.counts["connections"] > 3


@pytest.mark.parametrize("name", ["127.0.0.1", "elsewhere.example"])
@on_reactor
async def test_over_tls(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    smsc = StandInSmsc()
    smsc.listen(reactor(), tls=authority.issue(name))
    owner = Sender(3)
    link = Link(
        replace(OPTIONS, port=smsc.port, tls=True, tls_ca=authority.path, tls_name="elsewhere.example"),
        reactor(),
        owner,
    )
    link.start()
    if name == "elsewhere.example":
        await owner.waits.until(lambda: len(owner.answers) == 3)
        assert smsc.counts["submits"] == 3
    else:
        await smsc.until(lambda: smsc.counts["connections"] >= 2)
        assert (owner.ups, smsc.counts["binds"]) == (0, 0)
    await link.stop(1.0)
    await smsc.stop()
