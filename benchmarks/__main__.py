"""`python -m benchmarks`: take the measurements, print them as one report, keep them in docs/performance.md.

What `--only` leaves out keeps the figures, and the day, it had there. `make bench` calls it after
tools/bench-programs.sh. A full run takes many minutes; `--quick` takes one round and
few calls, to see that everything still runs, and its figures are never kept.
"""

from __future__ import annotations

import argparse
import resource
import sys
from datetime import UTC, datetime

from benchmarks import compare, console, layers, push, report, sms, sweeps, waiting
from benchmarks.contenders import CONTENDERS, PROFILED, WAITING, machine, versions
from benchmarks.process import BenchError, choose_cores

PARTS = ("cpu", "waiting", "push", "sms", "open", "replies", "sweeps", "console", "profile")


def tell(line: str) -> None:
    """Progress goes to standard error, the report alone to standard output."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Exit code 0 when everything was measured (targets met or not), 1 when a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; the figures are not kept")
    parser.add_argument("--only", default=",".join(PARTS), help=f"comma-separated: {', '.join(PARTS)}")
    parser.add_argument(
        "--crowd",
        type=int,
        metavar="COUNT",
        help="open invitations beside which the sweeps are measured, and evaluations beside which the console is, at"
        " most (PostgreSQL; SQLite: a tenth)",
    )
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # thousands of calls; servers here inherit it
    cores = choose_cores()
    load = compare.Load(rounds=1, calls=1000) if options.quick else compare.Load()
    outcome = report.Outcome(datetime.now(UTC), machine(), versions(), load)
    if not cores.apart:
        outcome.left_out.append("This machine has one core: server and generator shared it, the figures are rough.")
    outcome.sms_load = sms_load = sms.QUICK if options.quick else sms.SmsLoad()
    outcome.sweep_load = sweep_load = sweeps.load_of(quick=options.quick, crowd=options.crowd)
    outcome.console_load = console_load = console.load_of(quick=options.quick, crowd=options.crowd)
    senders = []
    for client in sms.SMS_CLIENTS:
        if why := client.missing():
            outcome.left_out.append(why)
        else:
            senders.append(client)
    here = []
    for contender in CONTENDERS:
        if why := contender.missing():
            outcome.left_out.append(why)
        else:
            here.append(contender)
    try:
        if "cpu" in parts:
            outcome.comparison = compare.compare(here, load, cores, tell)
        if "waiting" in parts:
            for contender in here:
                if contender.key in WAITING:
                    tell(f"calls at once: {contender.title}")
                    at_once, think = (500, 1.0) if options.quick else (5000, 8.0)
                    outcome.waiting.append(waiting.measure(contender, at_once, think, cores))
        if "push" in parts:
            outcome.push = [push.measure(load.rounds, 2_000 if options.quick else 20_000, cores, tell)]
        if "sms" in parts:
            outcome.sms = sms.compare(senders, sms_load, cores, tell)
        if "open" in parts:
            outcome.open_invitations = sms.open_invitations(sms_load, cores, tell)
        if "replies" in parts:
            outcome.replies, outcome.commits = sms.replies(sms_load, cores, tell)
        if "sweeps" in parts:
            if lacking := sweeps.postgres_missing():
                outcome.left_out.append(f"sweeps on PostgreSQL: {lacking}")
            outcome.sweeps = sweeps.measure(sweep_load, cores, tell)
        if "console" in parts:
            if lacking := console.postgres_missing():
                outcome.left_out.append(f"the console on PostgreSQL: {lacking}")
            outcome.console = console.measure(console_load, cores, tell)
        if "profile" in parts:
            if why := layers.missing():
                outcome.left_out.append(why)
            else:
                for contender in here:
                    if contender.key in PROFILED:
                        tell(f"profile: {contender.title}")
                        outcome.profiles.append(layers.profile(contender, load.calls * 3, cores))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = report.render(outcome)
    print(text)
    if not options.quick and not options.no_write and options.crowd is None:
        report.write(text)
        tell("kept in docs/performance.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
