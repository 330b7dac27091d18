"""`huiyin simulate`: a stand-in by itself, on a reactor of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.error import CannotListenError, ConnectError

from config.values import Address
from server.errors import CannotDo, CannotListen
from server.logs import announce, bridge_twisted
from server.serve import Ending, install_reactor, run_to_end, run_until_signal
from simulate.caller import Answer, CallReport, Plan, Silent, place_call, request_line
from simulate.centre import StandInCentre

__all__ = ["CallOrder", "NobodyThere", "run_call", "run_centre"]


class NobodyThere(CannotDo):
    """Nothing listens at the address."""


def run_centre(address: Address, secret: str, journal: Path | None) -> None:
    """A stand-in centre until SIGTERM or SIGINT.

    Raises:
        CannotListen: the address cannot be had.
    """
    reactor = install_reactor()
    bridge_twisted()
    centre = StandInCentre(secret, journal=journal)
    try:
        centre.listen(reactor, address.host, address.port)
    except CannotListenError as error:
        raise CannotListen(f"--listen: cannot listen on {address}: {error.socketError.strerror}") from error
    reactor.callWhenRunning(announce, f"ready: a centre at {centre.url}")
    run_until_signal(reactor, Ending(reactor, centre.stop))
    announce(f"{len(centre.by_id)} evaluations in effect, {len(centre.violations)} violations of the contract")
    for violation in centre.violations:
        announce(violation)


@dataclass(frozen=True, slots=True)
class CallOrder:
    """A caller to be made up. `keys`: at each question; `-` or nothing: none. `call_key` None: a new one."""

    keys: Sequence[str]
    number: str
    agent: str
    queue: str
    case_no: str
    call_key: str | None


def run_call(address: Address, order: CallOrder) -> CallReport:
    """One call, to its end.

    Raises:
        NobodyThere: nothing listens there.
    """
    reactor = install_reactor()
    bridge_twisted()
    call = order.call_key or f"simulated-{time.time_ns() / 1e9:.6f}"
    values = {"call": call, "agent": order.agent, "queue": order.queue}
    if order.case_no:
        values |= {"case": order.case_no, "closed": "1"}
    answers: list[Answer] = [Silent.SILENT if key in {"-", ""} else key for key in order.keys]
    plan = Plan(request_line("rate", **values), answers=answers, number=order.number, unique_id=call)

    async def play() -> CallReport:
        return await place_call(reactor, plan, address.host, address.port)

    try:
        return run_to_end(reactor, play)
    except ConnectError as error:
        raise NobodyThere(f"nothing answers at {address}; start: huiyin serve -c FILE") from error
