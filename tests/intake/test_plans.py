"""How both databases go about every statement of the sweeps, beside tens of thousands of open invitations.

What is due is found by an index, in the index's order, and nothing that a sweep asks or changes makes the database go
through a whole table. The statements are those that the sweeps really send, heard on their connection while each has
something to do; PostgreSQL is asked for its plan with the values and for the one without (the driver prepares what
returns, and PostgreSQL may then plan once for all values).

An index that goes missing is noticed: the same look complains.

`LookAgain` is said once a second by each process on PostgreSQL, and there alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, event, text, update

from benchmarks.crowd import CASES, INVITATIONS, asked, fill, identity
from benchmarks.invitations import START
from intake.defaults import DefaultDue, DefaultRules
from intake.invitations import ExpireInvitations, InviteDue
from intake.manners import SendingRules
from intake.pauses import Trust
from intake.receipts import LookAgain, ReceiptRules
from intake.reminders import RemindDue, ReminderRules
from models.database import Database, open_database
from models.door import Command, Door
from models.tables import cases, invitations
from server.sweeps import overdue

COUNT = 30_000
RECEIPTS, STRANGE = 20_000, 2
"""Kept ones, and how many of the newest are of no segment."""
WAIT = 30
SMALL = frozenset({"meta"})
"""Tables of a few rows, which every planner reads whole."""
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Sent:
    """A statement as it went to the driver, with the values of one row."""

    text: str
    values: Any

    @property
    def finds_what_is_due(self) -> bool:
        return " LIMIT " in self.text.replace("\n", " ") and "_at" in self.text


@dataclass
class Plan:
    """What is of interest of a plan: which indexes serve it, and what it should not do."""

    indexes: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)


# ── the databases, and what the sweeps say to them ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Heard:
    database: Database
    by_sweep: Mapping[str, Sequence[Sent]]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def heard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    """A crowd, and every statement of one group of each sweep beside it."""
    directory: Path = tmp_path_factory.mktemp("plans")
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.new_database(request.getfixturevalue("migrated_postgres"))
    else:
        url = "sqlite:///huiyin.db"
        copyfile(request.getfixturevalue("migrated_sqlite"), directory / "huiyin.db")
    database = open_database(url, directory)
    try:
        fill(database, COUNT)
        _fill_around(database)
        _make_due(database)
        yield Heard(database, _hear(database))
    finally:
        database.close()
        if request.param == "postgresql":
            server.drop(url)


def _fill_around(database: Database) -> None:
    """What else they look into: every second case is rated, each was a call's; opt-outs, learnt carriers, a queue."""
    fresh, of, some = ("lower(hex(randomblob(16)))", "randomblob(16)", "1")
    if not database.is_sqlite:
        fresh, of, some = ("gen_random_uuid()", "decode(md5(random()::text), 'hex')", "true")
    second = "substr(case_no, 15) IN ('1', '3', '5', '7', '9')"
    statements = (
        "INSERT INTO calls (subject_id, call_key, number_kind, number_sealed, number_hash, number_tail, number_key_id,"
        " agent, outcome, source, created_at) SELECT subject_id, case_no, number_kind, number_sealed, number_hash,"
        " number_tail, number_key_id, '2001', 'rated', 'ivr', created_at FROM cases",
        "INSERT INTO evaluations (subject_id, assess_number, id, rating_id, subject_kind, effective, satisfaction,"
        " origin, channel, assess_time, project_no, service_number, created_at)"
        f" SELECT subject_id, 1, {fresh}, {fresh}, 'call', {some}, 5, 'citizen', 'keypad', created_at, case_no, 1,"
        f" created_at FROM cases WHERE {second}",
        f"INSERT INTO opt_outs (id, number_hash, origin, at) SELECT {fresh}, {of}, 'reply', created_at FROM cases",
        "INSERT INTO number_routes (id, number_hash, carrier, learnt_at)"
        f" SELECT {fresh}, {of}, 'mobile', created_at FROM cases",
        "INSERT INTO messages (id, direction, kind, state, number_hash, invitation_id, code, carrier, not_before,"
        f" created_at, changed_at) SELECT {fresh}, 'out', 'reminder', 'queued', number_hash, id, '', '', created_at,"
        " created_at, created_at FROM invitations WHERE state = 'waiting'",
    )
    with database.write_engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        if not database.is_sqlite:
            _fill_receipts(connection)
        connection.exec_driver_sql("ANALYZE")


def _fill_receipts(connection: Connection) -> None:
    """Each delivered SMS went as one segment; receipts are kept, the newest of which have found their segments by now
    but two, which have a number and no segment."""
    connection.exec_driver_sql(
        "INSERT INTO segments (message_id, number, state, link, smsc_id, submitted_at)"
        " SELECT id, 1, 'accepted', 'mobile', 's' || row_number() OVER (ORDER BY id), created_at"
        " FROM messages WHERE state = 'delivered'"
    )
    connection.execute(
        text(
            "INSERT INTO receipts (id, links, smsc_id, forms, number_hash, our_number, receipt, received_at)"
            " SELECT ('0192' || lpad(to_hex(i), 28, '0'))::uuid, 'mobile', of, of, number_hash, '10690000',"
            " 'delivered', :start - make_interval(secs => (:all - i) * 0.5) FROM (SELECT i,"
            " CASE WHEN i > :all - :found THEN 's' ELSE 'x' END || i AS of,"
            " CASE WHEN i <= :all - :found THEN decode(md5('' || i), 'hex') END AS number_hash"
            " FROM generate_series(1, :all) AS i) AS kept"
        ),
        {"start": START, "all": RECEIPTS, "found": 64 - STRANGE},
    )


def _make_due(database: Database) -> None:
    """Sixty-four for each sweep, in the midst of the crowd, unrated."""
    then = START - MINUTE

    def some(column: Any, kind: int, first: int) -> Any:
        return column.in_([identity(kind, first + 2 * place) for place in range(64)])

    of = invitations.c.id
    middle = asked(COUNT) // 2
    changes = (
        update(invitations).where(some(of, INVITATIONS, middle)).values(remind_at=then),
        update(invitations).where(some(of, INVITATIONS, middle + 200)).values(due_at=then),
        update(invitations).where(some(of, INVITATIONS, (asked(COUNT) + COUNT) // 2)).values(due_at=then),
        update(cases)
        .where(some(cases.c.subject_id, CASES, middle + 400))
        .values(deadline=START - timedelta(hours=3), default_at=START - timedelta(hours=3)),
    )
    with database.write_engine.begin() as connection:
        for change in changes:
            connection.execute(change)


def _hear(database: Database) -> dict[str, list[Sent]]:
    sending = SendingRules(
        opening=lambda moment: moment,
        daily_cap=3,
        code_digits=2,
        carrier_of=lambda _number: "mobile",
        extensions=lambda _carrier: True,
        open_number=lambda _sealed: "",
    )
    defaults = DefaultRules("1=5", "622900", "12345热线", trust=Trust(database_clock=True))
    commands: dict[str, tuple[Command[Any], Any]] = {
        "reminders": (RemindDue(START, ReminderRules(timedelta(hours=24), sending)), lambda done: done.queued),
        "defaults": (DefaultDue(START, defaults), lambda done: done.defaulted),
        "invitations": (InviteDue(START, sending), lambda done: done.queued),
        "expiry": (ExpireInvitations(START), lambda done: done),
    }
    if not database.is_sqlite:
        rules = ReceiptRules(lambda moment: moment, lambda _carrier, _over: None)
        commands["receipts"] = (LookAgain(START, rules), lambda done: len(done.matched) + STRANGE)
    by_sweep: dict[str, list[Sent]] = {}
    door = Door(database)
    try:
        for name, (command, whole) in commands.items():
            with _listening(database.write_engine) as by_sweep[name]:
                done = door.submit(command).result(WAIT)
            assert whole(done) == 64, f"{name} had too little to do: {done}"
        with _listening(database.read_engine) as by_sweep["overdue"]:
            door.read(lambda connection: overdue(connection, START, timedelta())).result(WAIT)
    finally:
        door.close()
    return by_sweep


@contextmanager
def _listening(engine: Engine) -> Iterator[list[Sent]]:
    """Every statement but INSERTs, for which nothing is looked for; each kind once."""
    sent: dict[str, Sent] = {}

    def hear(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            sent.setdefault(statement, Sent(statement, values[0] if isinstance(values, list) and values else values))

    found: list[Sent] = []
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", hear)
        found += sent.values()


# ── the look ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def plans(connection: Connection, sent: Sent) -> list[Plan]:
    """The plans that a database has for a statement: SQLite one, PostgreSQL one with the values and one without."""
    if connection.dialect.name == "sqlite":
        return [_of_sqlite(connection, sent)]
    return [_of_postgresql(connection, sent, mode) for mode in ("force_custom_plan", "force_generic_plan")]


_looks = count()


def _of_sqlite(connection: Connection, sent: Sent) -> Plan:
    plan = Plan()
    # Each look another text: an EXPLAIN that the driver has kept says what it said before.
    explain = f"EXPLAIN QUERY PLAN {sent.text} -- look {next(_looks)}"
    for row in connection.exec_driver_sql(explain, sent.values or None):
        line: str = row.detail
        index = re.search(r"USING (?:COVERING )?INDEX (\w+)", line)
        if index is not None:
            plan.indexes.add(index[1])
        table = re.match(r"SCAN (\w+)", line)
        if table is not None and table[1] not in SMALL:
            plan.complaints.append(line)
        if sent.finds_what_is_due and "TEMP B-TREE" in line:
            plan.complaints.append(line)
    return plan


_TYPES = ((datetime, "timestamptz"), (bytes, "bytea"), (bool, "boolean"), (int, "integer"))


def _of_postgresql(connection: Connection, sent: Sent, mode: str) -> Plan:
    raw: Any = connection.connection.dbapi_connection
    values = sent.values or {}
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sent.text)))
    prepared = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", sent.text)
    types = [next((name for kind, name in _TYPES if isinstance(values[one], kind)), "unknown") for one in names]
    given = ", ".join(sql.Literal(values[one]).as_string(raw) for one in names)
    takes, given = (f"({', '.join(types)})", f"({given})") if names else ("", "")
    connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
    raw.execute(f"PREPARE looked {takes} AS {prepared}")
    try:
        [[explained]] = raw.execute(f"EXPLAIN (FORMAT JSON) EXECUTE looked {given}").fetchall()
    finally:
        raw.execute("DEALLOCATE looked")
    plan = Plan()
    _walk(explained[0]["Plan"], sent, plan)
    return plan


def _walk(node: Mapping[str, Any], sent: Sent, plan: Plan) -> None:
    kind = node["Node Type"]
    if "Index Name" in node:
        plan.indexes.add(node["Index Name"])
        if "Index Cond" not in node and not sent.finds_what_is_due:
            plan.complaints.append(f"the whole of {node['Index Name']}")
    if kind == "Seq Scan" and node["Relation Name"] not in SMALL:
        plan.complaints.append(f"Seq Scan on {node['Relation Name']}")
    if sent.finds_what_is_due and "Sort" in kind:
        plan.complaints.append(f"{kind} by {node['Sort Key']}")
    for below in node.get("Plans", ()):
        _walk(below, sent, plan)


def complaints(connection: Connection, sweep: Sequence[Sent]) -> list[str]:
    """What is wrong with the plans of a sweep's statements."""
    return [f"{said}: {sent.text}" for sent in sweep for plan in plans(connection, sent) for said in plan.complaints]


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SWEEPS = ("reminders", "defaults", "invitations", "expiry", "overdue")


@pytest.mark.parametrize("sweep", SWEEPS)
def test_no_statement_of_a_sweep_goes_through_a_whole_table(heard: Heard, sweep: str) -> None:
    assert heard.by_sweep[sweep]
    with heard.database.write_engine.begin() as connection:
        assert complaints(connection, heard.by_sweep[sweep]) == []


@pytest.mark.parametrize(
    ("sweep", "indexes"),
    [
        ("reminders", ["ix_invitations_remind"]),
        ("defaults", ["ix_cases_default"]),
        ("invitations", ["ix_invitations_due"]),
        ("expiry", ["ix_invitations_due"]),
        ("overdue", ["ix_invitations_remind", "ix_cases_default"]),
    ],
)
def test_what_is_due_is_found_by_its_partial_index(heard: Heard, sweep: str, indexes: list[str]) -> None:
    looking = [sent for sent in heard.by_sweep[sweep] if sent.finds_what_is_due]
    assert len(looking) == len(indexes)
    with heard.database.write_engine.begin() as connection:
        for sent, index in zip(looking, indexes, strict=True):
            for plan in plans(connection, sent):
                assert plan.indexes == {index}


@pytest.mark.parametrize(
    ("index", "sweep"),
    [
        ("ix_invitations_remind", "reminders"),
        ("ix_invitations_remind", "overdue"),
        ("ix_cases_default", "defaults"),
        ("ix_cases_default", "overdue"),
        ("ix_invitations_due", "invitations"),
        ("ix_invitations_due", "expiry"),
        ("ix_messages_invitation", "reminders"),
        ("ix_messages_number", "reminders"),
        ("ix_messages_number", "defaults"),
        ("ix_invitation_members_subject_id", "defaults"),
        ("ix_codes_invitation_id", "reminders"),
        ("ix_codes_invitation_id", "defaults"),
        ("ix_codes_invitation_id", "expiry"),
    ],
)
def test_a_lost_index_is_noticed(heard: Heard, index: str, sweep: str) -> None:
    """Dropped for this look alone: both databases take it back."""
    with heard.database.write_engine.connect() as connection:
        connection.exec_driver_sql(f"DROP INDEX {index}")
        try:
            assert complaints(connection, heard.by_sweep[sweep]) != []
        finally:
            connection.rollback()


ON_POSTGRESQL = pytest.mark.parametrize("heard", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)


@ON_POSTGRESQL
def test_kept_receipts_are_looked_at_again_by_their_keys(heard: Heard) -> None:
    """Once a second, in each process: the newest by the key, their segments by the SMSC's ids and the numbers."""
    said = heard.by_sweep["receipts"]
    [newest] = [sent for sent in said if sent.finds_what_is_due and "FROM receipts" in sent.text]
    [again] = [sent for sent in said if "FROM receipts" in sent.text and "SKIP LOCKED" in sent.text]
    of_segments = [sent for sent in said if "FROM segments" in sent.text]
    assert len(of_segments) >= 2
    with heard.database.write_engine.begin() as connection:
        assert complaints(connection, said) == []
        for sent in (newest, again):
            assert [plan.indexes for plan in plans(connection, sent)] == [{"pk_receipts"}] * 2
        used = {name for sent in of_segments for plan in plans(connection, sent) for name in plan.indexes}
    assert {"ix_segments_smsc_id", "ix_messages_number"} <= used


@ON_POSTGRESQL
@pytest.mark.parametrize(
    "lost",
    [
        "ALTER TABLE receipts DROP CONSTRAINT pk_receipts",
        "DROP INDEX ix_segments_smsc_id",
        "DROP INDEX ix_messages_number",
    ],
)
def test_an_index_that_the_receipts_lose_is_noticed(heard: Heard, lost: str) -> None:
    with heard.database.write_engine.connect() as connection:
        connection.exec_driver_sql(lost)
        try:
            assert complaints(connection, heard.by_sweep["receipts"]) != []
        finally:
            connection.rollback()


@ON_POSTGRESQL
@pytest.mark.parametrize("table", ["cases", "invitations"])
def test_dead_entries_do_not_gather_where_a_tick_looks_first(heard: Heard, table: str) -> None:
    """Each due row that is done leaves one at the front of its index; only a VACUUM of the index takes it away."""
    with heard.database.read_engine.connect() as connection:
        options = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = :table"), {"table": table})
        assert set(options.scalar_one()) == {"autovacuum_vacuum_scale_factor=0.01", "vacuum_index_cleanup=on"}
