"""The command line `huiyin`.

Rules kept here:

* Exit code 0: done; 1: could not; 2: wrong use.
* An error is one clear line on stderr (a configuration's: one each), without a traceback.
* What a command found goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from alembic.util import CommandError as AlembicError
from pydantic import TypeAdapter, ValidationError

from config.settings import LogSection
from config.values import Address, Listen
from models.clock import SHANGHAI, SystemClock
from models.database import open_database
from models.terms import Actor, OutboxState
from server.calendar_commands import calendar
from server.cases_commands import cases
from server.command_line import config_option as _config_option
from server.command_line import fail as _fail
from server.command_line import load_settings as _load
from server.command_line import opened as _database
from server.command_line import told as _told
from server.directory_commands import directory
from server.errors import CannotDo
from server.export_commands import export
from server.forget_command import forget
from server.logs import configure
from server.scheduler_commands import scheduler
from server.sms_commands import sms
from server.statistics_commands import statistics
from server.token_commands import token
from server.user_commands import user

__all__ = ["main"]


_LETTERS_AT_ONCE = 500
"""Dead letters in one transaction: a serving process that waits for the database behind it keeps its callers."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="huiyin", message="huiyin %(version)s")
def main() -> None:
    """Huiyin 回音: callers of a 12345 hotline rate the service, and no rating is lost."""


main.add_command(sms)
main.add_command(cases)
main.add_command(token)
main.add_command(scheduler)
main.add_command(calendar)
main.add_command(user)
main.add_command(statistics)
main.add_command(forget)
main.add_command(directory)
main.add_command(export)


# ── serving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Roles(click.ParamType[Any]):
    name = "ROLE,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from server.serve import Role

        roles = []
        for name in str(value).split(","):
            try:
                roles.append(Role(name.strip()))
            except ValueError:
                known = ", ".join(Role)
                self.fail(f"{name.strip()!r} is no role of this version; known are {known}", param, ctx)
        return tuple(roles)


@main.command()
@_config_option
@click.option("--only", "roles", type=_Roles(), help="Only these: ivr, sms, scheduler, push, console. Default: all.")
def serve(config: Path, roles: Any) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    with _told():
        settings = _load(config, quiet=False)
        from server.serve import Role
        from server.serve import serve as run

        run(settings, roles or tuple(Role))


@main.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the data here.")
@click.option("--calls", type=click.IntRange(1), help="End after so many calls.")
@click.option(
    "--speed",
    type=click.IntRange(60, 43_200),
    help="Simulated days, so many times as fast: one sees invitation, reminder and default rating. 1440 is a day a "
    "minute. 43200 at most, a day in two seconds: the program's own work takes real time, and may not outlast what "
    "it simulates.",
)
@click.option("--days", type=click.IntRange(9), help="With --speed: end after so many simulated days.")
def demo(folder: Path | None, calls: int | None, speed: int | None, days: int | None) -> None:
    """Show ratings arriving by keypad and SMS: made-up callers and citizens, stand-ins of SMSC and centre, this machine
    alone."""
    if speed is None and days is not None:
        raise click.UsageError("--days are simulated ones; say how fast with --speed, such as --speed 1440")
    if speed is not None and calls is not None:
        raise click.UsageError("--calls is without --speed; with it, --days says when to end")
    with _told():
        configure(LogSection(level="warning"))
        if speed is not None:
            from server.demo_days import run_days

            run_days(folder, speed, days)
            return
        from server.demo import run

        run(folder, calls)


# ── looking at an installation ────────────────────────────────────────────────────────────────────────────────────────


@main.command()
@_config_option
def check(config: Path) -> None:
    """Validate the configuration: every error at once, with its key; prompts, keys, texts, profile, calendar."""
    with _told():
        configure(LogSection(), quiet=True)
        from server.checks import NOTES, problems, report

        if found := problems(config):
            _fail(*found)
        click.echo(f"{config} is valid")
        for line in report(config):
            click.echo(line)
        for note in NOTES:
            click.echo(note)


@main.group()
def db() -> None:
    """The database."""


@db.command()
@_config_option
def upgrade(config: Path) -> None:
    """Bring the database to this version. Back it up first."""
    with _told():
        settings = _load(config)
        database = open_database(settings.database.connection_url, settings.directory)
        try:
            before = database.schema_state()
            if before.ready:
                click.echo(f"nothing to do: the database is at {before.head}")
                return
            database.take_serving_lock(exclusive=True)
            try:
                database.upgrade()
            except AlembicError:
                raise CannotDo("the database was made by a newer Huiyin; use that version") from None
            click.echo(f"the database is at {before.head} now (was: {before.current or 'empty'})")
        finally:
            database.close()


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def calls() -> None:
    """Calls that Huiyin did not hear of."""


@calls.command("import")
@_config_option
@click.option(
    "--queue-log", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Asterisk's queue_log."
)
def import_(config: Path, queue_log: Path) -> None:
    """Bring in calls that ended while Huiyin was down. What is known stays as it is, so a whole file may be given."""
    with _told():
        settings = _load(config)
        from config.profile import load_profile
        from intake.desk import Intake
        from models.door import Door
        from server.queue_log import hand_in, read_queue_log
        from server.serve import rules_of

        rules = rules_of(settings, load_profile(settings.centre.profile, settings.directory))
        with queue_log.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            reading = read_queue_log(lines)
        with _database(settings) as database:
            database.take_writing_lock()
            keyring = database.open_keyring(settings.privacy.key_file)
            door = Door(database)
            try:
                imported = hand_in(Intake(door, keyring, SystemClock(), rules), reading.calls)
            finally:
                door.close()
        click.echo(
            f"{imported.handed_in} calls handed in, {imported.invited} of them to be asked by SMS; what was known stays"
        )
        if bad := [*reading.bad, *imported.failed]:
            _fail(*(f"{queue_log}: {line}" for line in sorted(bad, key=lambda line: line.number)))


# ── the privacy key ───────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def key() -> None:
    """The privacy key."""


@key.command()
@_config_option
def rotate(config: Path) -> None:
    """Make a new privacy key and seal every stored number with it. Stop the server first."""
    with _told():
        settings = _load(config)
        from models.rotation import rotate as run

        with _database(settings) as database:
            database.take_serving_lock(exclusive=True)
            moved = run(database, settings.privacy.key_file, SystemClock())
        click.echo(f"{moved} numbers are sealed with the new key")
        click.echo(
            f"back up {settings.privacy.key_file} now; older backups of the database need the key file kept with them"
        )


# ── the outbox ────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def outbox() -> None:
    """What has not reached the centre."""


@outbox.command("list")
@_config_option
@click.option("--state", type=click.Choice([state.value for state in OutboxState]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Lines at most.")
def list_(config: Path, state: str | None, limit: int) -> None:
    """List what waits for the centre and why, dead letters first."""
    with _told():
        settings = _load(config)
        from centre.outbox import backlog, outbox_list

        with _database(settings) as database, database.read_engine.connect() as connection:
            counts = backlog(connection, SystemClock().now())
            entries = outbox_list(connection, limit=limit, state=OutboxState(state) if state else None)
        for entry in entries:
            word = "held" if entry.held and entry.state is OutboxState.WAITING else entry.state.value
            click.echo(
                "\t".join(
                    (
                        entry.evaluation_id,
                        word,
                        _shown(entry.created_at),
                        _shown(entry.not_before),
                        f"{entry.tries} tries",
                        entry.why or "",
                    )
                )
            )
        click.echo(f"{counts.waiting} waiting, {counts.dead} dead letters", err=True)


@outbox.command()
@_config_option
@click.argument("evaluations", nargs=-1, metavar="[EVALUATION]…")
def retry(config: Path, evaluations: tuple[str, ...]) -> None:
    """Send again: the dead letters (all, or these) and whatever waits for its next try."""
    with _told():
        settings = _load(config)
        from centre.outbox import retry as run

        now = SystemClock().now()
        letters = batches = 0
        with _database(settings) as database:
            while True:
                with database.write_engine.begin() as connection:
                    done = run(
                        connection,
                        now,
                        actor=Actor.COMMAND_LINE.value,
                        evaluation_ids=evaluations or None,
                        limit=_LETTERS_AT_ONCE,
                    )
                letters += done.letters
                batches += done.batches
                if done.letters < _LETTERS_AT_ONCE:
                    break
        if evaluations and letters < len(set(evaluations)):
            raise CannotDo(
                f"{letters} of {len(set(evaluations))} are dead letters and go again; see: huiyin outbox list"
            )
        click.echo(f"{letters} dead letters and {batches} waiting batches go again")


@outbox.command()
@_config_option
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="The day of the ratings; default: yesterday.")
def reconcile(config: Path, day: datetime | None) -> None:
    """Compare a day with what the centre holds; what it lacks goes again."""
    with _told():
        settings = _load(config)
        from centre.reconcile import ReconcileFailed
        from centre.reconcile import reconcile as run
        from config.profile import load_profile
        from models.door import Door
        from server.serve import install_reactor, run_to_end

        profile = load_profile(settings.centre.profile, settings.directory)
        clock = SystemClock()
        compared = day.date() if day else clock.now().astimezone(SHANGHAI).date() - timedelta(days=1)
        with _database(settings) as database:
            door = Door(database)
            reactor = install_reactor()
            actor = Actor.COMMAND_LINE.value
            try:
                report = run_to_end(
                    reactor, lambda: run(door, settings.centre, profile, reactor, clock, compared, actor=actor)
                )
            except ReconcileFailed as error:
                raise CannotDo(str(error)) from error
            finally:
                door.close()
        for evaluation in report.put_back:
            click.echo(f"{evaluation}\tgoes again: the centre said once that it has it, and lacks it")
        for evaluation in report.unknown:
            click.echo(f"{evaluation}\tis held by the centre and unknown here")
        click.echo(
            f"{report.day}: {report.ours} sent, {report.held} held by the centre, {len(report.put_back)} go again, "
            f"{len(report.unknown)} unknown here",
            err=True,
        )


# ── stand-ins ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def simulate() -> None:
    """The stand-ins alone, on this machine."""


class _HostPort(click.ParamType[Address]):
    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return TypeAdapter(Listen).validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is no address and port such as 127.0.0.1:9000", param, ctx)


@simulate.command("centre")
@click.option("--listen", type=_HostPort(), default="127.0.0.1:9000", show_default=True, help="Where.")
@click.option("--secret", envvar="HUIYIN_SIMULATE_SECRET", required=True, help="The shared secret (centre.secret).")
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), help="Keep what arrives in this file.")
def simulate_centre(listen: Address, secret: str, journal: Path | None) -> None:
    """A centre that takes every evaluation, until Ctrl-C. It can be told over HTTP to misbehave (…/control)."""
    with _told():
        configure(LogSection(level="warning"))
        from server.stand_ins import run_centre

        run_centre(listen, secret, journal)


class _Weight(click.ParamType[tuple[str, float]]):
    """NAME=WEIGHT; a name alone weighs 1."""

    name = "NAME[=WEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, weight = str(value).rpartition("=") if "=" in str(value) else (str(value), "", "1")
        try:
            return name, float(weight)
        except ValueError:
            self.fail(f"{value!r} is no name and weight such as digit=45", param, ctx)


@simulate.command("smsc")
@click.option("--port", default=2775, show_default=True, help="Where, on 127.0.0.1; 0 takes a free port.")
@click.option(
    "--control", "control_port", default=2776, show_default=True, help="Its control over HTTP; 0: a free port."
)
@click.option("--password", envvar="HUIYIN_SIMULATE_PASSWORD", help="Of every system_id (sms.links.password); any.")
@click.option("--behaviour", type=_Weight(), multiple=True, help="How citizens answer, several times: digit=45.")
@click.option("--delay", nargs=2, type=float, default=(5.0, 60.0), show_default=True, help="Seconds until they answer.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Divides these delays.")
@click.option("--receipts", default="text", show_default=True, help="Their form: text, tlv, both or none.")
@click.option("--receipt-delay", nargs=2, type=float, default=(0.5, 3.0), show_default=True, help="Seconds.")
@click.option("--timing", type=_Weight(), multiple=True, help="When they come, several times: after=9, before=1.")
@click.option(
    "--outcome", type=_Weight(), multiple=True, help="What they say, several times: DELIVRD=97, UNDELIV/069=3."
)
@click.option("--ids", default="decimal", show_default=True, help="Message ids: decimal, hex, padded, uuid…")
@click.option("--receipt-ids", default=None, help="The same in receipts; as --ids by default.")
@click.option("--rate", type=float, default=None, help="Submits a second above which it throttles.")
@click.option("--window", default=10, show_default=True, help="Unanswered deliver_sm a session.")
@click.option("--seed", type=int, default=None, help="Makes everything left to chance; told at the start.")
def simulate_smsc(port: int, control_port: int, **given: Any) -> None:
    """An SMSC whose citizens answer, until Ctrl-C. It can be told over HTTP to misbehave (…/control)."""
    with _told():
        configure(LogSection(level="warning"))
        from server.stand_ins import SmscOrder, run_smsc

        try:
            order = SmscOrder.read(**given)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        run_smsc(port, control_port, order)


@simulate.command("call")
@click.option("--to", "address", type=_HostPort(), default="127.0.0.1:4573", show_default=True, help="The server.")
@click.option(
    "--press", "keys", default="1", show_default=True, help="The key at each question: 1, or 5,2; - for none."
)
@click.option("--number", default="13800000000", show_default=True, help="The caller.")
@click.option("--agent", default="PJSIP/1001", show_default=True, help="Who served.")
@click.option("--queue", default="12345", show_default=True, help="The queue.")
@click.option("--case", "case_no", default="", help="The case number, with closed=1.")
@click.option("--call", "call_key", default=None, help="The call's id; a new one by default.")
def simulate_call(
    address: Address, keys: str, number: str, agent: str, queue: str, case_no: str, call_key: str | None
) -> None:
    """One caller, as Asterisk would bring them; prints what was played and the channel variables."""
    with _told():
        configure(LogSection(level="warning"))
        from server.stand_ins import CallOrder, run_call

        report = run_call(address, CallOrder(keys.split(","), number, agent, queue, case_no, call_key))
        for name in report.played:
            click.echo(f"played {name}")
        for name, value in sorted(report.variables.items()):
            if name.startswith("HUIYIN_"):
                click.echo(f"{name}={value}")
        if report.outcome in {"", "error"}:
            raise CannotDo("the call was not served; see the server's log")


def _shown(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).isoformat(sep=" ", timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
