"""The command group `huiyin sms`: the SMS channel's small tools, beside a running server or without one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.errors import ConfigurationError
from config.keymap import KeyMap
from config.loading import load
from config.settings import RatingSection
from models.clock import SystemClock
from server.command_line import config_option, load_settings, opened, told
from server.errors import CannotDo

if TYPE_CHECKING:
    from sms.grammar import Reading

__all__ = ["sms"]


@click.group()
def sms() -> None:
    """Replies, how they are read and which wait for a person; numbers that a carrier no longer blocks."""


@sms.command()
@click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration whose rating.keys count. Default: 1 非常满意 to 5 非常不满意.",
)
def parse(config: Path | None) -> None:
    """Read replies as the server would: one a line on stdin, one JSON object a line on stdout.

    Lines are UTF-8; a byte that is not becomes U+FFFD. Each answer is written before the next line is read.
    """
    from sms.grammar import read

    keys = _keys(config)
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        reply = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
        out.write(json.dumps(_as_json(read(reply, keys)), ensure_ascii=False).encode() + b"\n")
        out.flush()


@sms.command()
@config_option
def allow(config: Path) -> None:
    """Lift a carrier's opt-out: the carrier says that the number takes our SMS again. Asks for the number.

    What a citizen wrote himself (退订) stays: only his 恢复 lifts that.
    """
    from intake.numbers import NumberKind, normalise_number
    from intake.opt_outs import lift_carrier_opt_out

    with told():
        settings = load_settings(config)
        raw = sys.stdin.readline() if not sys.stdin.isatty() else click.prompt("number", err=True)
        number = normalise_number(raw)
        if number.kind is not NumberKind.MOBILE or number.value is None:
            raise CannotDo("that is no mobile number")
        with opened(settings) as database:
            hash_ = database.open_keyring(settings.privacy.key_file).hash(number.value)
            with database.write_engine.begin() as connection:
                lifted = lift_carrier_opt_out(connection, hash_, SystemClock().now())
        if not lifted:
            raise CannotDo("no carrier's opt-out is known of this number")
        click.echo("lifted: what comes from now on is asked again")


@sms.command()
@config_option
@click.option("--text", "with_text", is_flag=True, help="Also what the citizens wrote, whatever they wrote.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Lines at most.")
def queue(config: Path, with_text: bool, limit: int) -> None:
    """List the replies that wait for a person: id, why, since when, number (masked), who has it; oldest first.

    The console's page 待办 handles them; without the role `console` this is how to see them.
    """
    from intake.waiting import count_waiting, waiting_replies
    from models.clock import SHANGHAI
    from models.errors import KeyUnreadable
    from models.privacy import mask

    with told():
        settings = load_settings(config)
        with opened(settings) as database:
            keyring = database.open_keyring(settings.privacy.key_file)
            with database.read_engine.connect() as connection:
                waiting = waiting_replies(connection, limit)
                counts = count_waiting(connection)
        for reply in waiting:
            try:
                number = mask(keyring.open(reply.number_sealed)) if reply.number_sealed is not None else "-"
            except KeyUnreadable:
                number = "?"
            shown = [
                reply.id,
                reply.queue.value,
                reply.at.astimezone(SHANGHAI).isoformat(sep=" ", timespec="seconds"),
                number,
                reply.owner or "-",
            ]
            if with_text:
                shown.append("(undecodable)" if reply.text is None else reply.text)
            click.echo("\t".join(shown))
        told_counts = ", ".join(f"{n} {reason.value}" for reason, n in counts.items())
        click.echo(told_counts or "no reply waits for a person", err=True)


def _keys(config: Path | None) -> KeyMap:
    if config is None:
        return RatingSection().key_map
    try:
        return load(config).rating.key_map
    except ConfigurationError as error:
        for line in error.lines():
            click.echo(f"huiyin: {line}", err=True)
        raise SystemExit(1) from None


def _as_json(reading: Reading) -> dict[str, str | int | None]:
    return {
        "outcome": reading.outcome.value,
        "satisfaction": None if reading.satisfaction is None else int(reading.satisfaction),
        "comment": reading.comment,
        "why": reading.why,
    }
