"""The benchmark's outcome as Markdown: what `make bench` prints and what docs/performance.md keeps.

Every figure says its unit and every target stands beside what was measured; what missed its target, or was not
measured at all, is said in so many words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contenders import BASELINE
from benchmarks.process import ROOT, percentile

if TYPE_CHECKING:
    from benchmarks.compare import Figures, Load
    from benchmarks.console import ConsoleFigures, ConsoleLoad
    from benchmarks.layers import Profile
    from benchmarks.push import Push
    from benchmarks.sms import Commits, Cost, OpenInvitations, Replies, SmsFigures, SmsLoad
    from benchmarks.sweeps import SweepFigures, SweepLoad
    from benchmarks.waiting import Waiting

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN = "<!-- bench: written by `make bench`, not by hand -->"
END = "<!-- bench: end -->"

KIB_PER_CALL_LIMIT = 12.0
P99_OVER_ECHO_LIMIT = 10.0
PUSH_LIMIT = 0.4
OPEN_LIMIT = 1.3
REPLIES_A_SECOND = {10: 500.0, 100: 3000.0}
REPLIES_P99 = {1: 40.0}
"""By how many may be unanswered; the second in ms."""
TICK_MS_LIMIT = 20.0
TICK_BUFFERS_LIMIT = 20
DUE_LIMIT = 0.3
MORE_RESIDENT_MIB_LIMIT = 16.0
FILL_MINUTES_LIMIT = 15.0
BOARDS_LIMIT = 0.10
"""Of a core."""
EXPORT_MS_LIMIT = 10.0


@dataclass(slots=True)
class Outcome:
    """All that a run measured; a part that was not run is empty."""

    when: datetime
    machine: str
    versions: Mapping[str, str]
    load: Load
    comparison: dict[str, Figures] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    push: list[Push] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    sms_load: SmsLoad | None = None
    sms: dict[str, SmsFigures] = field(default_factory=dict)
    open_invitations: OpenInvitations | None = None
    replies: list[Replies] = field(default_factory=list)
    commits: Commits | None = None
    sweep_load: SweepLoad | None = None
    sweeps: list[SweepFigures] = field(default_factory=list)
    console_load: ConsoleLoad | None = None
    console: list[ConsoleFigures] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table padded so that it also reads well in a terminal; the first `left` columns are text."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def padded(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "| " + " | ".join(cells) + " |"

    rule = "|".join(
        "-" * (width + 2) if column < left else "-" * (width + 1) + ":" for column, width in enumerate(widths)
    )
    return "\n".join([padded(lines[0]), f"|{rule}|", *(padded(line) for line in lines[1:])])


def verdict(value: float, limit: float, at_most: bool = True) -> str:
    """`met`, or how far it is missed."""
    good = value <= limit if at_most else value >= limit
    return "met" if good else f"missed by {abs(value - limit):.2f}"


def comparison(outcome: Outcome) -> str:
    """CPU per 1,000 calls of all contenders, the baseline first."""
    figures = outcome.comparison
    base = figures[BASELINE]
    ding_dong = figures.get("ding-dong")
    rows = []
    for one in figures.values():
        ratios = one.ratios(base)
        limit = one.contender.limit
        target, met = "", ""
        if limit is not None:
            target, met = f"{limit:.2f}", verdict(one.ratio(base), limit)
            if one.contender.not_above_ding_dong and ding_dong is not None:
                target += " and ding-dong"
                if one.ratio(base) > ding_dong.ratio(base):
                    met = "missed: above ding-dong"
        rows.append(
            (
                one.contender.title,
                f"{one.ratio(base):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                f"{median(one.cpu_ms):.0f}",
                f"{median(one.calls_per_second):,.0f}",
                target,
                met,
            )
        )
    return table(("Server", "CPU ratio", "rounds", "CPU ms per 1,000 calls", "calls/s", "at most", "target"), rows)


def waiting(outcome: Outcome) -> str:
    """Memory and lateness with thousands of calls at once."""
    rows = []
    for one in outcome.waiting:
        rows.append(
            (
                one.contender.title,
                f"{one.at_once:,}",
                f"{one.kib_per_call:.1f}",
                verdict(one.kib_per_call, KIB_PER_CALL_LIMIT),
                f"{one.p50:.2f}",
                f"{one.p99:.2f}",
                f"{one.echo_p99:.2f}",
                verdict(one.p99_over_echo, P99_OVER_ECHO_LIMIT),
                f"{one.slowest_command} {one.slowest_p99:.2f}",
            )
        )
    head = (
        "Server",
        "calls at once",
        "KiB a call",
        f"at most {KIB_PER_CALL_LIMIT:g}",
        "command p50 ms",
        "p99 ms",
        "echo p99 ms",
        f"at most {P99_OVER_ECHO_LIMIT:g} above",
        "slowest command, its p99 ms",
    )
    return table(head, rows)


def push(outcome: Outcome) -> str:
    """Huiyin's push beside the bare client."""
    rows = [
        (
            one.title,
            f"{one.evaluations:,}",
            f"{one.huiyin_per_second:,.0f}",
            f"{one.bare_per_second:,.0f}",
            f"{one.ratio:.2f}",
            verdict(one.ratio, PUSH_LIMIT, at_most=False),
        )
        for one in outcome.push
    ]
    return table(
        ("Push", "evaluations", "Huiyin a second", "bare client a second", "ratio", f"at least {PUSH_LIMIT:g}"), rows
    )


def sms(outcome: Outcome) -> str:
    """CPU a message of all SMS clients, the baseline first."""
    figures = outcome.sms
    base = next(iter(figures.values()))
    rows = []
    for one in figures.values():
        ratios = one.ratios(base)
        against = [(figures[key], limit) for key, limit in one.client.limits.items() if key in figures]
        rows.append(
            (
                one.client.title,
                f"{one.ratio(base):.3f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}",
                f"{median(one.cpu_us):.0f}",
                f"{1e6 / median(one.wall_us):,.0f}",
                f"{max(one.smsc_share):.0%}",
                "; ".join(f"{limit:.3f} of {other.client.key}" for other, limit in against),
                "; ".join(f"{one.ratio(other):.3f} {verdict(one.ratio(other), limit)}" for other, limit in against),
            )
        )
    head = (
        "SMS client",
        "CPU ratio",
        "rounds",
        "CPU µs a message",
        "messages/s",
        "SMSC's core, most",
        "at most",
        "target",
    )
    return table(head, rows)


def open_invitations(outcome: Outcome) -> str:
    """The same messages beside few and many open invitations."""
    one = outcome.open_invitations
    assert one is not None
    rows = []
    values: tuple[tuple[str, Callable[[Cost], float]], ...] = (
        ("CPU", lambda cost: cost.cpu),
        ("time", lambda cost: cost.wall),
    )
    for what, value in values:
        ratios = one.ratios(value)
        ratio = median(ratios)
        rows.append(
            (
                f"{what}, µs a message",
                f"{median(map(value, one.beside_few)):.0f}",
                f"{median(map(value, one.beside_many)):.0f}",
                f"{ratio:.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                verdict(ratio, OPEN_LIMIT),
            )
        )
    head = (
        "Huiyin, from the invitation to the receipt",
        f"beside {one.few:,}",
        f"beside {one.many:,}",
        "ratio",
        "rounds",
        f"at most {OPEN_LIMIT:g}",
    )
    return table(head, rows)


def replies(outcome: Outcome) -> str:
    """Replies stored before they are answered, the bare commit loop first."""
    rows = []
    if outcome.commits is not None:
        commits = outcome.commits
        rows.append(
            (
                "bare commit loop",
                "",
                f"{median(commits.per_second):,.0f}",
                "",
                f"{median(commits.p99):.1f}",
                "",
                "",
                "",
            )
        )
    for one in outcome.replies:
        per_second, p99 = median(one.per_second), median(one.p99)
        target, met = "", ""
        if (least := REPLIES_A_SECOND.get(one.unanswered)) is not None:
            target, met = f"{least:,.0f} a second", verdict(per_second, least, at_most=False)
        if (most := REPLIES_P99.get(one.unanswered)) is not None:
            target, met = f"p99 {most:g} ms", verdict(p99, most)
        rows.append(
            (
                f"{one.unanswered} unanswered",
                f"{one.count:,}",
                f"{per_second:,.0f}",
                f"{median(one.p50):.1f}",
                f"{p99:.1f}",
                f"{median(one.rated_per_second):,.0f}",
                target,
                met,
            )
        )
    head = ("Replies", "replies", "stored a second", "p50 ms", "p99 ms", "rated a second", "wanted", "target")
    return table(head, rows)


def idle_ticks(outcome: Outcome) -> str:
    """Ticks that find nothing, before the due work and after it."""
    rows = []
    for kind in outcome.sweeps:
        for beside in (kind.few, kind.many):
            for when, times, buffers in (
                ("", beside.idle, beside.buffers),
                (", after the due work", beside.idle_after, beside.buffers_after),
            ):
                for name, values in times.items():
                    p99 = percentile(values, 99)
                    rows.append(
                        (
                            f"{kind.title}, {name}{when}",
                            f"{beside.count:,}",
                            f"{percentile(values, 50):.1f}",
                            f"{p99:.1f}",
                            verdict(p99, TICK_MS_LIMIT),
                            str(buffers[name]) if buffers else "",
                            verdict(buffers[name], TICK_BUFFERS_LIMIT) if buffers else "",
                        )
                    )
    head = (
        "Nothing due",
        "open invitations",
        "p50 ms",
        "p99 ms",
        f"at most {TICK_MS_LIMIT:g} ms",
        "buffers",
        f"at most {TICK_BUFFERS_LIMIT}",
    )
    return table(head, rows)


def due_work(outcome: Outcome) -> str:
    """The sweeps beside the bare SQL."""
    rows = []
    for kind in outcome.sweeps:
        for beside in (kind.few, kind.many):
            for name, due in beside.due.items():
                ratio = median(due.ratios)
                rows.append(
                    (
                        f"{kind.title}, {name}",
                        f"{beside.count:,}",
                        f"{median(due.own):,.0f}",
                        f"{median(due.bare):,.0f}",
                        f"{ratio:.2f}",
                        f"{min(due.ratios):.2f} to {max(due.ratios):.2f}",
                        verdict(ratio, DUE_LIMIT, at_most=False),
                    )
                )
    head = (
        "Due work",
        "open invitations",
        "sweep, rows/s",
        "bare SQL, rows/s",
        "ratio",
        "rounds",
        f"at least {DUE_LIMIT:g}",
    )
    return table(head, rows)


def resident(outcome: Outcome) -> str:
    """Memory of the sweeping process."""
    rows = [
        (
            kind.title,
            f"{kind.few.resident_kib / 1024:.1f}",
            f"{kind.many.resident_kib / 1024:.1f}",
            f"{kind.more_resident_mib:.1f}",
            verdict(kind.more_resident_mib, MORE_RESIDENT_MIB_LIMIT),
        )
        for kind in outcome.sweeps
    ]
    head = ("Resident, the most", "few, MiB", "many, MiB", "more, MiB", f"at most {MORE_RESIDENT_MIB_LIMIT:g}")
    return table(head, rows)


def console_fill(outcome: Outcome) -> str:
    """How long it takes to make the record, and how large it is."""
    rows = []
    for kind in outcome.console:
        minutes = kind.filled.seconds / 60
        rows.append(
            (
                kind.title,
                f"{kind.filled.count:,}",
                f"{kind.filled.rows:,}",
                f"{minutes:.1f}",
                verdict(minutes, FILL_MINUTES_LIMIT),
                f"{kind.filled.size_mb:,.0f}",
            )
        )
    head = ("Record", "evaluations", "rows in all", "minutes", f"at most {FILL_MINUTES_LIMIT:g}", "MB")
    return table(head, rows)


def console_pages(kind: ConsoleFigures) -> str:
    """What a page takes, of each filter the slowest value."""
    rows = []
    for one in kind.pages:
        limit = f"{one.limit:g}" if one.limit else ""
        met = verdict(one.p95, one.limit) if one.limit else ""
        rows.append(
            (one.title, f"`{one.slowest}`", f"{one.addresses:,}", f"{one.p50:.0f}", f"{one.p95:.0f}", limit, met)
        )
    head = (f"{kind.title}: page", "the slowest", "of addresses", "p50 ms", "p95 ms", "at most", "target")
    return table(head, rows, left=2)


def console_boards(outcome: Outcome) -> str:
    """What open boards cost the serving process."""
    rows = []
    for kind in outcome.console:
        for one in kind.boards:
            rows.append(
                (
                    f"{kind.title}, {one.boards} boards, {one.ratings:g} ratings/s, {one.title}",
                    f"{median(one.beside):.1%}",
                    f"{median(one.without):.1%}",
                    f"{one.more:.1%}",
                    verdict(one.more, BOARDS_LIMIT),
                    f"{median(one.updates):.2f}",
                    f"{median(one.kib):,.0f}",
                )
            )
    head = (
        "Live boards",
        "of a core with",
        "without",
        "more",
        f"at most {BOARDS_LIMIT:.0%}",
        "updates/s a board",
        "KiB/s of all",
    )
    return table(head, rows)


def console_exports(outcome: Outcome) -> str:
    """What a call feels of an export."""
    rows = []
    for kind in outcome.console:
        for one in kind.exports:
            rows.append(
                (
                    f"{kind.title}, {one.form}",
                    f"{median(one.beside):.1f}",
                    f"{median(one.without):.1f}",
                    f"{one.more:.1f}",
                    verdict(one.more, EXPORT_MS_LIMIT),
                    f"{one.seconds:.0f}",
                    f"{one.megabytes:,.0f}",
                )
            )
    head = (
        "Export",
        "a call's p99 ms with",
        "without",
        "more",
        f"at most {EXPORT_MS_LIMIT:g}",
        "seconds of the export",
        "MB",
    )
    return table(head, rows)


def profiles(outcome: Outcome) -> str:
    """Where the time goes, a table by layer and one by function for each profiled server."""
    parts = []
    for one in outcome.profiles:
        parts.append(f"#### {one.contender.title}\n\n{one.samples:,} samples.\n")
        parts.append(
            table(
                ("Layer", "part of the CPU time"),
                ((name, f"{share:.1%}") for name, share in one.by_layer if share >= 0.005),
            )
            + "\n"
        )
        parts.append(
            table(
                ("Function, its own time", "part"),
                ((f"`{name}`", f"{share:.1%}") for name, share in one.by_function),
            )
            + "\n"
        )
    return "\n".join(parts).rstrip()


def render(outcome: Outcome) -> str:
    """The whole outcome."""
    load = outcome.load
    parts = [
        f"Taken {outcome.when:%Y-%m-%d} on {outcome.machine}; "
        + ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
        + "."
    ]
    if outcome.comparison:
        parts.append(
            "### CPU a call\n\n"
            f"Median of {load.rounds} interleaved rounds of {load.calls:,} calls, {load.at_once} at once, the server "
            "on one core and the generator on the other; ratios are taken within each round. The baseline is 1; lower "
            "is better.\n\n" + comparison(outcome)
        )
    if outcome.waiting:
        parts.append(
            "### Thousands of calls at once\n\n"
            f"Callers that think {outcome.waiting[0].think:g} s before the key, arriving evenly, each replaced when it "
            "ends. Memory is resident, over the warmed-up idle process, the most seen while all calls were open.\n\n"
            + waiting(outcome)
        )
    if outcome.push:
        parts.append("### Push to the centre\n\n" + push(outcome))
    load_of_sms = outcome.sms_load
    if outcome.sms and load_of_sms is not None:
        parts.append(
            "### CPU an SMS\n\n"
            f"Median of {load_of_sms.rounds} interleaved rounds of {load_of_sms.messages:,} messages (half to "
            "four times as many, so that each runs for seconds), 67 characters each, window 50, the client on one "
            "core and the SMSC on the other; ratios are taken within each round. The baseline is 1; lower is better."
            "\n\n" + sms(outcome)
        )
    if outcome.open_invitations is not None:
        parts.append(
            "### Many open invitations\n\n"
            f"Medians of {len(outcome.open_invitations.beside_few)} rounds in turn; the larger database is a file of "
            f"{outcome.open_invitations.file_mb:,.0f} MB.\n\n" + open_invitations(outcome)
        )
    if outcome.replies:
        parts.append(
            "### Replies stored before they are answered\n\n"
            f"Medians of {len(outcome.replies[0].per_second)} rounds; the commit loop stands before each of them.\n\n"
            + replies(outcome)
        )
    sweep_load = outcome.sweep_load
    if outcome.sweeps and sweep_load is not None:
        sizes = "; ".join(
            f"{kind.title} with {kind.many.count:,} is {kind.many.size_mb:,.0f} MB, filled in "
            f"{kind.many.fill_seconds:.0f} s"
            for kind in outcome.sweeps
        )
        parts.append(
            "### What time makes happen\n\n"
            f"{sweep_load.ticks} ticks of each sweep; {sweep_load.rounds} rounds of {sweep_load.due:,} due rows of "
            f"each kind, sweep and bare SQL in turn. {sizes}.\n\n"
            + "\n\n".join((idle_ticks(outcome), due_work(outcome), resident(outcome)))
        )
    console_load = outcome.console_load
    if outcome.console and console_load is not None:
        parts.append(
            "### The console\n\n"
            f"p95 of {console_load.requests} requests, of a pair of filters {console_load.pair_requests}, of the "
            f"slowest of the addresses; {console_load.rounds} rounds of {console_load.seconds:g} s with and without "
            f"boards; as many before an export of {console_load.rows:,} rows and while it runs.\n\n"
            + "\n\n".join(
                (
                    console_fill(outcome),
                    *(console_pages(kind) for kind in outcome.console),
                    console_boards(outcome),
                    console_exports(outcome),
                )
            )
        )
    if outcome.profiles:
        parts.append("### Where the time goes\n\n" + profiles(outcome))
    if outcome.left_out:
        parts.append("### Not measured\n\n" + "\n".join(f"- {line}" for line in outcome.left_out))
    taken = f"Taken {outcome.when:%Y-%m-%d} on {outcome.machine.partition(',')[0]}."
    return "\n\n".join([parts[0], *(_stamped(part, taken) for part in parts[1:])]) + "\n"


def _stamped(section: str, taken: str) -> str:
    """A section with the day and the processor of its figures under its heading."""
    heading, _, rest = section.partition("\n\n")
    return f"{heading}\n\n{taken}\n\n{rest}"


_TITLES = (
    "CPU a call",
    "Thousands of calls at once",
    "Push to the centre",
    "CPU an SMS",
    "Many open invitations",
    "Replies stored before they are answered",
    "What time makes happen",
    "The console",
    "Where the time goes",
    "Not measured",
)
"""In the document's order."""


def merged(old: str, new: str) -> str:
    """The old figures with the new ones in their places: what was not measured this time keeps its figures and its day.

    Args:
        old, new: what `render` gives; the old may be empty.
    """
    kept, fresh = _sections(old), _sections(new)
    sections = {**kept, **fresh}
    if "Not measured" not in fresh:
        sections.pop("Not measured", None)
    head = new.partition("\n\n")[0].strip()
    ordered = [sections[title] for title in _TITLES if title in sections]
    return "\n\n".join([head, *ordered]) + "\n"


def _sections(text: str) -> dict[str, str]:
    """By title. A section without a day of its own has that of the head."""
    head, *parts = re.split(r"^### ", text.strip(), flags=re.MULTILINE)
    day = re.search(r"Taken (\d{4}-\d\d-\d\d)", head)
    found = {}
    for part in parts:
        title, _, body = part.strip().partition("\n")
        section = f"### {title}\n\n{body.strip()}"
        if day is not None and not body.strip().startswith("Taken "):
            section = _stamped(section, f"Taken {day[1]}.")
        found[title] = section
    return found


def write(text: str, document: Path = DOCUMENT) -> None:
    """Put the outcome between the markers of the document, in the place of what it measured anew.

    Raises:
        ValueError: the markers are gone.
    """
    old = document.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + r"\n?(.*?)" + re.escape(END), re.DOTALL)
    known = pattern.search(old)
    if known is None:
        raise ValueError(f"{document.name} has lost its markers; put {BEGIN} and {END} back where the figures belong")
    figures = merged(known[1], text)
    document.write_text(pattern.sub(lambda _: f"{BEGIN}\n{figures}{END}", old), encoding="utf-8")
