"""`huiyin simulate`: a stand-in by itself, on a reactor of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError, ConnectError

from config.values import Address
from server.errors import CannotDo, CannotListen
from server.logs import announce, bridge_twisted
from server.serve import Ending, install_reactor, run_to_end, run_until_signal
from simulate.caller import Answer, CallReport, Plan, Silent, place_call, request_line
from simulate.centre import StandInCentre
from simulate.handset import Behaviour, Handset
from simulate.smsc import SmscOptions, StandInSmsc
from simulate.smsc_control import SmscControl

__all__ = ["CallOrder", "NobodyThere", "SmscOrder", "run_call", "run_centre", "run_smsc"]


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
class SmscOrder:
    """An SMSC to be made up, and the citizens behind it."""

    options: SmscOptions
    handset: Handset
    seed: int

    @classmethod
    def read(
        cls,
        *,
        behaviour: Sequence[tuple[str, float]],
        timing: Sequence[tuple[str, float]],
        outcome: Sequence[tuple[str, float]],
        delay: tuple[float, float],
        speed: float,
        seed: int | None,
        **options: Any,
    ) -> SmscOrder:
        """From the command line; `options` are SmscOptions', with the words as they were written.

        Raises:
            ValueError: a word that is none; says which there are.
        """
        options |= {name: dict(given) for name, given in (("timing", timing), ("outcomes", outcome)) if given}
        wrong = [name for name, _ in behaviour if name not in set(Behaviour)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no behaviour; there are {', '.join(Behaviour)}")
        seed = time.time_ns() % 10**6 if seed is None else seed
        behaviours = {Behaviour(name): weight for name, weight in behaviour} or Handset().behaviours
        return cls(
            options=SmscOptions.changed(SmscOptions(), options),
            handset=Handset(seed, behaviours, delay=delay, speed=speed),
            seed=seed,
        )


def run_smsc(port: int, control_port: int, order: SmscOrder) -> None:
    """A stand-in SMSC with its phones until SIGTERM or SIGINT; says what happens, a line an event.

    Raises:
        CannotListen: a port cannot be had.
    """
    reactor = install_reactor()
    bridge_twisted()
    smsc = StandInSmsc(order.options, handset=order.handset, seed=order.seed, on_event=announce)
    control = SmscControl(smsc)
    for option, listen, wanted in (("--port", smsc.listen, port), ("--control", control.listen, control_port)):
        try:
            listen(reactor, port=wanted)
        except CannotListenError as error:
            raise CannotListen(
                f"{option}: cannot listen on 127.0.0.1:{wanted}: {error.socketError.strerror}"
            ) from error
    announce(f"control at {control.url}/control, seed {order.seed}")
    reactor.callWhenRunning(announce, f"ready: an SMSC at 127.0.0.1:{smsc.port}")

    async def stop() -> None:
        await control.stop()
        await smsc.stop()

    run_until_signal(reactor, Ending(reactor, stop))
    told = ("submits", "throttled", "receipts", "replies", "acknowledged", "resent", "refused")
    announce(", ".join(f"{smsc.counts[name]} {name}" for name in told))
    announce(f"{smsc.waiting} deliveries were not acknowledged, {smsc.counts['violations']} violations of SMPP 3.4")
    for violation in smsc.violations:
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
