"""The schema: made for an empty database, refused when it does not fit, and the same as the tables say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from models.database import Database, open_database, parse_url
from models.door import Bulk, Door
from models.errors import DatabaseNotReady, StoreError
from models.ids import new_id
from models.tables import audit, calls, cases, evaluations, feed, invitation_members, invitations, metadata
from tests.intake.counting import agree
from tests.moments import START

WAIT = 10


def test_the_migrations_make_the_tables(database: Database) -> None:
    with database.read_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_an_empty_database_is_made_and_a_ready_one_left_alone(database_url: str, tmp_path: Path) -> None:
    database = open_database(database_url, tmp_path)
    assert database.schema_state().empty
    database.ensure_schema()
    assert database.schema_state().ready
    epoch = database.read_meta("epoch")
    database.ensure_schema()
    database.upgrade()
    assert database.read_meta("epoch") == epoch
    database.close()


def test_an_older_database_with_data_is_refused_with_the_commands_name(database: Database) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(DatabaseNotReady, match="huiyin db upgrade"):
        database.ensure_schema()


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseNotReady, match="newer"):
        database.ensure_schema()


@pytest.mark.parametrize(
    "url", ["", "huiyin.db", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///x.db"]
)
def test_urls_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sqlite:///var"):
        parse_url(url, tmp_path)


def test_a_relative_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    assert parse_url("sqlite:///var/x.db", tmp_path).database == str(tmp_path / "var" / "x.db")
    assert parse_url(f"sqlite:///{tmp_path}/y.db", Path("/elsewhere")).database == str(tmp_path / "y.db")


def test_a_database_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        open_database(f"postgresql+psycopg://nobody@/none?host={tmp_path}", tmp_path)
    assert "\n" not in str(caught.value)


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), hours=st.integers(-12, 14))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_come_back_as_the_same_moment_by_both_ways_of_writing(
    database: Database, moment: datetime, hours: int
) -> None:
    moment = moment.replace(tzinfo=UTC) - timedelta(hours=hours)
    first, second = new_id(), new_id()
    values = {"at": moment, "actor": "t", "action": "t"}
    door = Door(database)
    rows = Bulk(audit, ("id", "at", "actor", "action"))
    door.write(lambda unit: unit.insert(rows, [(first, moment, "t", "t")])).result(WAIT)
    door.write(lambda unit: unit.execute(insert(audit).values(id=second, **values))).result(WAIT)
    with database.read_engine.connect() as connection:
        found = {row.id: row.at for row in connection.execute(select(audit))}
    door.close()
    assert found[first] == found[second] == moment


def test_a_time_without_offset_is_refused(database: Database) -> None:
    door = Door(database)
    naive = START.replace(tzinfo=None)
    rows = Bulk(audit, ("id", "at", "actor", "action"))
    assert door.write(lambda unit: unit.insert(rows, [(new_id(), naive, "t", "t")])).exception(WAIT) is not None
    door.close()


def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    database = open_database("sqlite:///var/x.db", tmp_path)
    database.ensure_schema()
    door = Door(database)
    assert door.write(lambda unit: None).exception(WAIT) is None
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "var").iterdir()}
    assert set(modes) >= {"x.db", "x.db-wal"}
    assert set(modes.values()) == {0o600}
    door.close()
    database.close()


def test_a_record_of_the_keypad_line_alone_is_brought_up(tmp_path: Path) -> None:
    """What was rated stands in the feed; a call left unrated long ago is not asked weeks later."""
    database = open_database("sqlite:///old.db", tmp_path)
    _as_of_0001(database)
    with pytest.raises(DatabaseNotReady, match="huiyin db upgrade"):
        database.ensure_schema()
    database.upgrade()
    _is_brought_up(database)


@pytest.mark.peer
def test_a_record_of_the_keypad_line_alone_is_brought_up_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    database = open_database(postgres_url, tmp_path)
    _as_of_0001(database)
    database.upgrade()
    _is_brought_up(database)


def _as_of_0001(database: Database) -> None:
    config = database._alembic()
    ago = START - timedelta(days=20)
    with database.write_engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic_command.upgrade(config, "0001")
        connection.execute(
            insert(evaluations).values(
                subject_id="a" * 32,
                assess_number=1,
                id="b" * 32,
                rating_id="c" * 32,
                subject_kind="call",
                effective=True,
                satisfaction=5,
                origin="citizen",
                channel="keypad",
                assess_time=ago,
                project_no="H1",
                service_number=1,
                created_at=ago,
            )
        )
        connection.execute(
            insert(invitations).values(
                id="d" * 32, kind="call", state="waiting", key_map="1=5", due_at=ago, created_at=ago, changed_at=ago
            )
        )
        connection.execute(
            insert(invitations).values(
                id="e" * 32,
                kind="call",
                state="rated",
                key_map="1=5",
                first_asked_at=ago,
                asked_by="voice",
                created_at=ago,
                changed_at=ago,
            )
        )
        connection.execute(insert(invitation_members).values(invitation_id="e" * 32, subject_id="f" * 32))
        connection.execute(
            insert(calls).values(
                subject_id="f" * 32,
                call_key="c",
                agent="2001",
                dept="11",
                outcome="rated",
                source="ivr",
                ended_at=ago,
                created_at=ago,
            )
        )
        connection.execute(
            insert(evaluations).values(
                subject_id="f" * 32,
                assess_number=1,
                id="2" * 32,
                rating_id="3" * 32,
                subject_kind="call",
                effective=True,
                satisfaction=1,
                origin="citizen",
                channel="keypad",
                reasons="110,115",
                agent="2001",
                dept_code="11",
                area_code="622901",
                assess_time=ago - timedelta(days=1),
                project_no="H1",
                service_number=1,
                created_at=ago,
            )
        )


def _is_brought_up(database: Database) -> None:
    with database.read_engine.connect() as connection:
        fed = connection.execute(select(feed.c.kind, feed.c.subject_id, feed.c.assess_number)).all()
        invitation, asked = connection.execute(select(invitations).order_by(invitations.c.id)).all()
    assert len(fed) == 2
    assert (asked.asked_kind, asked.asked_agent, asked.asked_area) == ("call", "2001", "622901")
    [row] = [one for one in fed if one.subject_id == "a" * 32]
    assert row == ("evaluation", "a" * 32, 1)
    assert invitation.not_after == invitation.due_at + timedelta(hours=24)
    assert (invitation.undelivered, invitation.muted) == (False, False)
    assert len(agree(database)["rollup_days"]) == 3
    database.close()


def test_a_record_without_defaults_and_reminders_is_brought_up(tmp_path: Path) -> None:
    """What was due before anything could make it happen is left alone; what is still to come will happen."""
    database = open_database("sqlite:///old.db", tmp_path)
    _as_of_0002(database)
    database.upgrade()
    _has_what_is_due(database)


@pytest.mark.peer
def test_a_record_without_defaults_and_reminders_is_brought_up_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    database = open_database(postgres_url, tmp_path)
    _as_of_0002(database)
    database.upgrade()
    _has_what_is_due(database)


_SOON, _PAST = timedelta(hours=3), timedelta(days=-3)
_OLD_CASES = {
    # case number: (deadline from now, provisional, withdrawn, closed from now)
    "open": (_SOON, False, False, -timedelta(hours=2)),
    "passed": (_PAST, False, False, -timedelta(days=10)),
    "provisional": (_SOON, True, False, -timedelta(hours=30)),
    "provisional, passed": (_PAST, True, False, -timedelta(days=10)),
    "withdrawn": (None, False, True, -timedelta(hours=2)),
    "stub": (None, None, False, -timedelta(hours=2)),
}
_OLD_STATES = {"open": "waiting", "passed": "asked", "provisional": "asked", "withdrawn": "waiting", "stub": "rated"}


def _as_of_0002(database: Database) -> None:
    config = database._alembic()
    now = datetime.now(UTC)  # the migration goes by the database's own clock
    with database.write_engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic_command.upgrade(config, "0002")
        for place, (case_no, (due, provisional, withdrawn, closed)) in enumerate(_OLD_CASES.items(), 1):
            subject, invitation = f"{place:032x}", f"{place + 100:032x}"
            connection.execute(
                insert(cases).values(
                    subject_id=subject,
                    case_no=case_no,
                    service_number=1,
                    stub=case_no == "stub",
                    closed_at=now + closed,
                    created_at=now + closed,
                    deadline=None if due is None else now + due,
                    provisional=provisional,
                    withdrawn_at=now if withdrawn else None,
                )
            )
            if case_no in _OLD_STATES:
                connection.execute(
                    insert(invitations).values(
                        id=invitation,
                        kind="case",
                        state=_OLD_STATES[case_no],
                        key_map="1=5",
                        created_at=now + closed,
                        changed_at=now + closed,
                    )
                )
                connection.execute(insert(invitation_members).values(invitation_id=invitation, subject_id=subject))


def _has_what_is_due(database: Database) -> None:
    with database.read_engine.connect() as connection:
        rows = {row.case_no: row for row in connection.execute(select(cases))}
        asked = {
            row.case_no: row
            for row in connection.execute(
                select(cases.c.case_no, cases.c.closed_at, invitations.c.remind_at, invitations.c.reminder)
                .join(invitation_members, invitation_members.c.subject_id == cases.c.subject_id)
                .join(invitations, invitations.c.id == invitation_members.c.invitation_id)
            )
        }
    database.close()
    assert {case_no: row.default_at for case_no, row in rows.items()} == {
        case_no: row.deadline if case_no == "open" else None for case_no, row in rows.items()
    }
    assert {case_no: row.default_reason for case_no, row in rows.items() if row.default_reason} == {"passed": "backlog"}
    reminders = {case_no: row.reminder for case_no, row in asked.items()}
    assert reminders == {
        "open": None,
        "passed": "too_late",
        "provisional": "too_late",
        "withdrawn": None,
        "stub": None,
    }
    due = asked["open"]
    # SQLite's own clock counts in thousandths.
    assert abs(due.remind_at - due.closed_at - timedelta(hours=24)) < timedelta(milliseconds=2)
    assert {row.remind_at for case_no, row in asked.items() if case_no != "open"} == {None}


def test_ratings_that_were_parted_from_their_cases_are_brought_together(database_url: str, tmp_path: Path) -> None:
    """What a case did not take from its call, what did not follow a case, and what lay in no area."""
    database = open_database(database_url, tmp_path)
    config = database._alembic()
    # name: (the case's department and area, the evaluation's; None: unrated), both afterwards
    parted = {
        "told by its call alone": ((None, None), ("A", "622900"), ("A", "622900")),
        "completed after the rating": (("B", "622921"), (None, "622900"), ("B", "622921")),
        "without an area": (("A", None), ("A", "622901"), ("A", "622901")),
        "as it should be": (("A", "622900"), ("A", "622900"), ("A", "622900")),
        "unrated": (("A", None), None, ("A", "622900")),
    }
    subjects = {name: f"{place:032x}" for place, name in enumerate(parted, 1)}
    with database.write_engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic_command.upgrade(config, "0008")
        for place, area in enumerate(("622900", None)):
            connection.execute(
                insert(calls).values(
                    subject_id=f"{place + 100:032x}",
                    call_key=f"c{place}",
                    outcome="no_input",
                    source="ivr",
                    area_code=area,
                    created_at=START,
                )
            )
        for name, ((dept, area), rated, _) in parted.items():
            connection.execute(
                insert(cases).values(
                    subject_id=subjects[name],
                    case_no=name,
                    service_number=1,
                    stub=False,
                    dept_code=dept,
                    area_code=area,
                    created_at=START,
                )
            )
            if rated is not None:
                connection.execute(
                    insert(evaluations).values(
                        subject_id=subjects[name],
                        assess_number=1,
                        id=new_id(),
                        rating_id=new_id(),
                        subject_kind="case",
                        effective=True,
                        satisfaction=1,
                        origin="citizen",
                        channel="keypad",
                        assess_time=START,
                        project_no="P",
                        service_number=1,
                        dept_code=rated[0],
                        area_code=rated[1],
                        created_at=START,
                    )
                )
        for place, (member, counted) in enumerate((("completed after the rating", "A"), ("unrated", "A")), 1):
            asking = f"{place:032x}"
            connection.execute(
                insert(invitations).values(
                    id=asking,
                    kind="sms",
                    state="asked",
                    key_map="{}",
                    created_at=START,
                    changed_at=START,
                    first_asked_at=START,
                    asked_kind="case",
                    asked_dept=counted,
                    asked_area="622900",
                )
            )
            connection.execute(insert(invitation_members).values(invitation_id=asking, subject_id=subjects[member]))
    database.upgrade()
    with database.read_engine.connect() as connection:
        asked = select(invitations.c.asked_dept, invitations.c.asked_area).order_by(invitations.c.id)
        assert [tuple(row) for row in connection.execute(asked)] == [("B", "622921"), ("A", "622900")]
        for table in (cases, evaluations):
            found = connection.execute(select(table.c.subject_id, table.c.dept_code, table.c.area_code))
            for subject, *said in found:
                assert tuple(said) == next(after for name, (*_, after) in parted.items() if subjects[name] == subject)
        assert set(connection.execute(select(calls.c.area_code)).scalars()) == {"622900"}
        assert list(connection.execute(select(feed.c.subject_id)).scalars()) == [subjects["completed after the rating"]]
    assert len(agree(database)["rollup_days"]) == 4
    assert database.read_meta("figures.recount") is None
    database.close()
