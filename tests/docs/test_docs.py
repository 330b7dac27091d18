"""The documents against the code: links lead somewhere; commands, metrics, tables and keys that they name exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import get_args

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from centre.push import PushStatistics
from config.settings import Section, Settings, SmsLink, SmsSection
from intake.decide import PushCalls
from intake.figures import SmsFigures
from intake.pauses import Unwatched
from ivr.server import Statistics
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.futures import Wakeups
from models.privacy import Keyring
from models.tables import metadata, number_tables
from models.terms import CallOutcome, InvitationState
from scheduler.ticker import Ticker
from server.cli import main
from server.faults import POINTS
from server.metrics import Metrics
from server.serve import Role
from server.sms_metrics import sms_source
from server.sweeps import Overdue, open_sweeps, sweeps_source
from sms.server import SmsServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("dialplans/**/*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"^ *(?:\w+=)?(?:\S*/)?huiyin ([a-z][a-z-]*(?: [a-z][a-z-]*)*)((?: +.*)?)$")
_TARGET = re.compile(r"(?:^ *|\()make ([a-z][a-z-]*)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-c)\b")
_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users)/")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code(page: Path) -> Iterator[str]:
    """The lines of a page's code blocks, and its code in running text."""
    text = page.read_text("utf-8")
    for block in _FENCE.finditer(text):
        yield from block[0].splitlines()[1:-1]
    yield from _SPAN.findall(_FENCE.sub("", text))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def anchors(page: Path) -> set[str]:
    """The anchors that a renderer makes of a page's headings."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def test_the_pages_that_readers_are_sent_to_exist() -> None:
    names = {page_id(page) for page in PAGES}
    wanted = {"README.md", "README.zh-CN.md"} | {
        f"docs/{name}.md"
        for name in (
            "api",
            "architecture",
            "asterisk",
            "data-model",
            "glossary",
            "operations",
            "performance",
            "rules",
            "smpp",
            "sms-replies",
            "testing",
        )
    }
    assert wanted <= names


@each_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_decision_record_is_in_the_index() -> None:
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")
    records = sorted(path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [link for link in _LINK.findall(index) if link[0].isdigit()] == records
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]


@each_page
def test_no_path_of_somebodys_machine(page: Path) -> None:
    assert _MACHINE.findall(page.read_text("utf-8")) == []


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


def named_commands() -> Iterator[tuple[str, str, str]]:
    for page in PAGES:
        for line in code(page):
            if match := _COMMAND.match(line):
                yield page_id(page), match[1], match[2]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these words lead to, and the words that are left."""
    command: click.Command = main
    while words and isinstance(command, click.Group):
        inner = command.commands.get(words[0])
        if inner is None:
            raise LookupError(" ".join(words))
        command, words = inner, words[1:]
    return command, words


def test_every_command_that_a_page_names_exists_with_its_options() -> None:
    wrong = []
    seen = 0
    for page, words, rest in named_commands():
        seen += 1
        try:
            command, left = resolve(words.split())
        except LookupError as unknown:
            wrong.append(f"{page}: huiyin {words}: no command {unknown}")
            continue
        if left and not any(isinstance(parameter, click.Argument) for parameter in command.params):
            wrong.append(f"{page}: huiyin {words}: what is {' '.join(left)}?")
        known = {name for parameter in command.params for name in parameter.opts}
        before_comment = rest.split("   ", 1)[0].split(" #", 1)[0]
        wrong += [f"{page}: huiyin {words}: {name}" for name in _OPTION.findall(before_comment) if name not in known]
    assert wrong == []
    assert seen > 20


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


def test_every_command_is_named_in_operations() -> None:
    named = [tuple(words.split()) for page, words, _ in named_commands() if page == "docs/operations.md"]
    unnamed = [" ".join(path) for path in leaves(main) if not any(words[: len(path)] == path for words in named)]
    assert unnamed == [], "say in docs/operations.md what it is for"


def test_the_check_of_commands_finds_what_is_wrong() -> None:
    assert _COMMAND.findall("huiyin outbox burn -c FILE") == [("outbox burn", " -c FILE")]
    assert _COMMAND.findall("ExecStart=/srv/.venv/bin/huiyin serve -c x") == [("serve", " -c x")]
    with pytest.raises(LookupError):
        resolve(["outbox", "burn"])


def test_roles_are_named_as_they_are() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    listed = re.search(r"roles ((?:`\w+`(?:, | and )?)+)", " ".join(text.split()))
    assert listed is not None
    assert set(re.findall(r"\w+", listed[1])) - {"and"} == {role.value for role in Role}


def test_make_targets_that_a_page_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {name for page in PAGES for line in code(page) for name in _TARGET.findall(line)}
    assert named
    assert named <= targets


# ── tables, metrics, configuration, words ─────────────────────────────────────────────────────────────────────────────

DATA_MODEL = (ROOT / "docs/data-model.md").read_text("utf-8")


def described() -> dict[str, str]:
    """The section of each table of the data model's page."""
    return dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", DATA_MODEL, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_the_data_model_names_every_table_and_column(table: str) -> None:
    section = described()[table]
    missing = [
        column.name
        for column in metadata.tables[table].columns
        if not column.name.startswith("number_") and f"`{column.name}`" not in section
    ]
    assert missing == []
    has_number = metadata.tables[table] in number_tables
    assert ("| number columns |" in section) is has_number


def test_the_data_model_names_no_table_and_column_that_is_not_there() -> None:
    for name, section in described().items():
        if name == "Number":
            continue
        table = metadata.tables[name]
        cells = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
        columns = [column for cell in cells for column in re.findall(r"`(\w+)`", cell)]
        assert [column for column in columns if column not in table.columns] == []


def test_the_data_model_names_the_number_columns_and_every_state() -> None:
    for column in number_tables[0].columns:
        if column.name.startswith("number_"):
            assert f"| `{column.name}` |" in DATA_MODEL
    for state in InvitationState:
        assert f"| `{state.value}` |" in DATA_MODEL
    for outcome in CallOutcome:
        assert f"`{outcome.value}`" in described()["calls"]


@pytest.fixture
def exposed(database: Database, make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock) -> set[str]:
    """Every metric, by the name under which Prometheus has it."""
    from twisted.internet import reactor

    metrics = Metrics()
    door = make_door()
    metrics.watch_door(door)
    link = {"name": "x", "host": "127.0.0.1", "system_id": "x", "password": "x"}
    section = {"service_number": "1069", "signature": "x", "links": [link]}
    settings = Settings(sms=SmsSection.model_validate(section))
    sms = SmsServer(
        settings,
        door,
        keyring,
        Wakeups(reactor),  # type: ignore[arg-type]
        reactor,
        clock,
        owner="x/1",
        push_calls=PushCalls.NEVER,
        wake_push=lambda: None,
    )
    metrics.watch(sms_source(sms, SmsFigures))
    ticker = Ticker(reactor, clock)  # type: ignore[arg-type]
    sweeps = open_sweeps(
        settings,
        door,
        keyring,
        Wakeups(reactor),  # type: ignore[arg-type]
        reactor,
        clock,
        Unwatched(clock),
        ticker,
        wake_sms=lambda: None,
        wake_push=lambda: None,
        fault=lambda _: None,
    )
    metrics.watch(sweeps_source(sweeps, Overdue))
    metrics.watch_calls(Statistics(), lambda: 0)
    metrics.watch_push(PushStatistics())
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(metrics.text().decode())
        if not family.name.endswith("_created")  # the client's own note of when a histogram began
    }


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_operations_names_every_metric_and_no_other(exposed: set[str]) -> None:
    """docs/operations.md, and docs/smpp.md for the SMS channel."""
    pages = [(ROOT / "docs" / name).read_text("utf-8") for name in ("operations.md", "smpp.md")]
    named = {name for text in pages for name in re.findall(r"\bhuiyin_\w+", text)} - {"huiyin_sms_"}
    assert named == exposed


def test_configuration_keys_that_a_page_names_exist() -> None:
    sections = {name: field.annotation.model_fields for name, field in Settings.model_fields.items()}  # type: ignore[union-attr]
    audited = {"rating.stored", "rating.defaulted"}  # words of the audit, which look the same
    wrong = []
    for page in PAGES:
        for line in code(page):
            match = re.fullmatch(r"([a-z]+)\.([a-z_]+)(?: = .*)?", line)
            if match is None or match[1] not in sections or match[0] in audited:
                continue
            if not {match[2], match[2].removesuffix("_file")} & set(sections[match[1]]):
                wrong.append(f"{page_id(page)}: {line}")
    assert wrong == []


def _key_tables(page: str) -> list[dict[str, tuple[str, str]]]:
    """Of each table of keys: default and sentence of a key."""
    tables = re.findall(r"^\| Key \| Default \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) ?\|$", table, re.MULTILINE) for table in tables]
    return [{key: (default, sentence) for key, default, sentence in table} for table in rows]


@pytest.mark.parametrize(("place", "model"), [(0, SmsLink), (1, SmsSection)])
def test_the_smpp_page_has_every_option_its_default_and_its_values(place: int, model: type[Section]) -> None:
    table = _key_tables((ROOT / "docs/smpp.md").read_text("utf-8"))[place]
    assert list(table) == list(model.model_fields)
    needed = {"name": "x", "host": "x", "system_id": "x", "password": "x"} if model is SmsLink else {}
    told = {
        key: tomllib.loads(f"it = {default[1:-1]}")["it"]
        for key, (default, _) in table.items()
        if default.startswith("`") and default not in ("`[sms]`", "`host`")
    }
    assert model(**needed, **told) == model(**needed)
    for key, (default, sentence) in table.items():
        field = model.model_fields[key]
        assert field.is_required() == (default == "must be given"), key
        assert (key in SmsSection.model_fields and model is SmsLink) == (default == "`[sms]`"), key
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        values = {str(value) for kind in kinds if issubclass(kind, StrEnum) for value in kind}
        assert values <= set(re.findall(r'"([^"]*)"', default + sentence)), key


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readmes_configuration_is_valid(name: str, tmp_path: Path) -> None:
    from config.loading import load

    block = re.search(r"```toml\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    assert block is not None
    tomllib.loads(block[1])
    (tmp_path / "centre.secret").write_text("secret\n")
    file = tmp_path / "huiyin.toml"
    file.write_text(block[1], encoding="utf-8")
    assert load(file, {}).centre.url == "https://centre.example/api"


def test_fault_points_are_those_of_the_code() -> None:
    text = (ROOT / "docs/testing.md").read_text("utf-8")
    section = text.split("## Fault points", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `([A-Za-z-]+)` \|", section, re.MULTILINE) == list(POINTS)


def test_log_lines_and_errors_that_operations_quotes_are_in_the_code() -> None:
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    log = text.split("## The log", 1)[1].split("\n## ", 1)[0]
    first_cells = re.findall(r"^\| ([^|]*) \|", log, re.MULTILINE)
    quoted = [line for cell in first_cells for line in _SPAN.findall(cell)]
    quoted += re.findall(r"\*\*`([^`]+)`\*\*", text)
    source = "\n".join(
        file.read_text("utf-8")
        for folder in ("models", "config", "intake", "ivr", "scheduler", "centre", "server")
        for file in sorted((ROOT / folder).rglob("*.py"))
    )
    assert len(quoted) > 8
    assert [line for line in quoted if not all(part.strip() in source for part in line.split("…"))] == []
