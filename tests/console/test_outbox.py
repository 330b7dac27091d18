"""待推送: what has not reached the centre, where it stands and why; by real HTTP on both databases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from console.outbox import LOOK, OutboxView, Stage, outbox_count, outbox_page
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.ids import new_id
from models.tables import evaluations, outbox, push_batches
from models.terms import OutboxState
from tests.console.site import MakeBrowser, Record
from tests.moments import START

MINUTE = timedelta(minutes=1)
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
NARROW = Viewer("bai", ConsoleRole.SUPERVISOR, depts=("X",))


class Backlog:
    """Evaluations that the centre has not answered for."""

    def __init__(self, database: Database, record: Record) -> None:
        self.database = database
        self._record = record

    def batch(self, tries: int = 0, error: str | None = None, again: datetime = START, state: str = "open") -> str:
        batch = new_id()
        with self.database.write_engine.begin() as connection:
            connection.execute(
                insert(push_batches).values(
                    id=batch, state=state, body=b"{}", records=1, tries=tries, not_before=again, last_error=error,
                    created_at=START,
                )
            )  # fmt: skip
        return batch

    def waits(self, dept: str | None = "X", *, level: int = 5, **row: Any) -> str:
        subject = self._record.case(dept, level)
        with self.database.write_engine.begin() as connection:
            own: str = connection.execute(
                select(evaluations.c.id).where(evaluations.c.subject_id == subject)
            ).scalar_one()
            put(connection, [own], [subject], **row)
        return own

    def page(self, viewer: Viewer, view: OutboxView, cursor: str | None = None, limit: int = 50) -> Any:
        with self.database.read_engine.connect() as connection:
            return outbox_page(connection, viewer, view, START, cursor, limit)

    def all_pages(self, viewer: Viewer, view: OutboxView, limit: int) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = self.page(viewer, view, cursor, limit)
            assert len(page.rows) <= limit
            found += [row.evaluation_id for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                return found

    def counts(self, viewer: Viewer) -> dict[OutboxView, tuple[int, bool]]:
        with self.database.read_engine.connect() as connection:
            found = {view: outbox_count(connection, viewer, view, START) for view in OutboxView}
            return {view: (one.n, one.more) for view, one in found.items()}


def put(connection: Connection, ids: Sequence[str], subjects: Sequence[str], **row: Any) -> None:
    given = {"state": OutboxState.WAITING.value, "not_before": START, "tries": 0, "created_at": START} | row
    connection.execute(
        insert(outbox),
        [
            {"evaluation_id": one, "subject_id": subject, "assess_number": 1, **given}
            for one, subject in zip(ids, subjects, strict=True)
        ],
    )


@pytest.fixture
def backlog(database: Database, record: Record) -> Backlog:
    return Backlog(database, record)


# ── where a row stands ────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_row_tells_its_stage_its_failures_and_when_it_goes(backlog: Backlog) -> None:
    later, sooner = START + 10 * MINUTE, START + MINUTE
    failed = backlog.batch(3, "HTTP 503", later)
    rows = {
        "due": backlog.waits(created_at=START - 9 * MINUTE),
        "held": backlog.waits(level=1, not_before=sooner, held_by="a/1", created_at=START - 8 * MINUTE),
        "returned": backlog.waits(tries=2, not_before=later, created_at=START - 7 * MINUTE),
        "sending": backlog.waits(batch_id=backlog.batch(), created_at=START - 6 * MINUTE),
        "retried": backlog.waits(batch_id=failed, tries=1, created_at=START - 5 * MINUTE),
    }
    backlog.waits(state=OutboxState.DEAD.value, reason="无此编号")
    page = backlog.page(SUPERVISOR, OutboxView.ALL)
    assert [(row.evaluation_id, row.stage) for row in page.rows] == [(own, Stage(stage)) for stage, own in rows.items()]
    told = {row.stage: (row.tries, row.next_at) for row in page.rows}
    assert told == {
        Stage.DUE: (0, None),
        Stage.HELD: (0, sooner),
        Stage.RETURNED: (2, later),
        Stage.SENDING: (0, None),
        Stage.RETRIED: (4, later),
    }
    errors = [row.error for row in page.rows if row.error is not None]
    assert errors == ["HTTP 503"]
    held = backlog.page(SUPERVISOR, OutboxView.HELD).rows
    assert [row.evaluation_id for row in held] == [rows["held"], rows["returned"]]
    assert [row.evaluation_id for row in backlog.page(SUPERVISOR, OutboxView.RETRIED).rows] == [rows["retried"]]
    assert backlog.counts(SUPERVISOR) == {
        OutboxView.ALL: (5, False),
        OutboxView.HELD: (2, False),
        OutboxView.RETRIED: (1, False),
        OutboxView.DEAD: (1, False),
    }
    [letter] = backlog.page(SUPERVISOR, OutboxView.DEAD).rows
    assert letter.stage is Stage.DEAD
    assert letter.error == "无此编号"


def test_a_row_whose_record_is_lost_is_shown_to_who_sees_everything(backlog: Backlog, database: Database) -> None:
    lost = new_id()
    with database.write_engine.begin() as connection:
        put(connection, [lost], [new_id()])
    [row] = backlog.page(SUPERVISOR, OutboxView.ALL).rows
    assert (row.evaluation_id, row.project_no) == (lost, None)
    assert backlog.page(NARROW, OutboxView.ALL).rows == []


# ── who sees what, page by page ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("view", list(OutboxView))
def test_pages_go_on_behind_their_last_row_and_nothing_comes_twice(backlog: Backlog, view: OutboxView) -> None:
    shape: dict[str, Any] = {}
    if view is OutboxView.HELD:
        shape = {"not_before": START + MINUTE}
    batches = [backlog.batch(1), backlog.batch(2)]
    own = []
    for place in range(9):
        if view is OutboxView.DEAD:
            shape = {"state": OutboxState.DEAD.value}
        elif view is OutboxView.RETRIED:
            shape = {"batch_id": batches[place // 5]}
        created = START - (9 - place) // 3 * MINUTE  # several at one moment
        own.append(backlog.waits("X" if place % 3 else "Y", created_at=created, **shape))
    everything = backlog.all_pages(SUPERVISOR, view, 2)
    assert sorted(everything) == sorted(own)
    assert len(everything) == len(set(everything))
    mine = {one for place, one in enumerate(own) if place % 3}
    assert backlog.all_pages(NARROW, view, 2) == [one for one in everything if one in mine]
    assert backlog.counts(NARROW)[view] == (6, False)
    other = next(one for one in OutboxView if one is not view)
    strange = backlog.page(SUPERVISOR, view, limit=2).cursor
    assert strange is not None
    with backlog.database.read_engine.connect() as connection:
        beginning = outbox_page(connection, SUPERVISOR, other, START, None, 50)
        for nonsense in (strange, "x", "eHx8", strange[:-3]):
            assert outbox_page(connection, SUPERVISOR, other, START, nonsense, 50) == beginning


def test_who_sees_little_looks_at_so_many_rows_and_is_led_on(backlog: Backlog, database: Database) -> None:
    ids = [new_id() for _ in range(2 * LOOK + 20)]
    with database.write_engine.begin() as connection:
        put(connection, ids, ids, created_at=START - MINUTE)
    mine = backlog.waits("X")
    first = backlog.page(NARROW, OutboxView.ALL)
    assert (first.rows, first.cursor is not None) == ([], True)
    assert backlog.all_pages(NARROW, OutboxView.ALL, 50) == [mine]
    assert backlog.counts(NARROW)[OutboxView.ALL] == (0, True)
    nobody = Viewer("ji", ConsoleRole.AUDITOR)
    assert backlog.page(nobody, OutboxView.ALL).rows == []
    assert backlog.counts(nobody)[OutboxView.ALL] == (0, False)


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_tells_in_chinese_what_waits_and_why(browser: MakeBrowser, backlog: Backlog) -> None:
    backlog.waits(batch_id=backlog.batch(2, "no answer within 10 s", START + 5 * MINUTE))
    backlog.waits(level=1, held_by="a/1", not_before=START + MINUTE)
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    text = ma.get("/queues/outbox").text
    for told in ("推送出错，等待重试", "好差评系统 10 秒内没有答复", "等待差评原因", "全部待推送 2", "推送失败 0"):
        assert told in text
    assert "no answer" not in text
    assert '<a href="/queues/outbox" aria-label="待推送好差评系统 2">2</a>' in ma.get("/").text
    assert 'href="/queues/outbox"' in ma.get("/queues").text
    assert "好差评系统 10 秒内没有答复" in ma.get("/queues/outbox?view=retried").text
    held = ma.get("/queues/outbox?view=held").text
    assert ("等待差评原因" in held, "10 秒" in held) == (True, False)
    assert ma.get("/queues/outbox?view=nonsense").status == 404
    assert ma.get("/queues/outbox?view=dead").status == 404


def test_the_page_goes_on_and_an_empty_one_says_so(browser: MakeBrowser, backlog: Backlog, database: Database) -> None:
    ma = browser(ConsoleRole.SUPERVISOR)
    assert "没有等待推送的评价" in ma.get("/queues/outbox").text
    ids = [new_id() for _ in range(53)]
    with database.write_engine.begin() as connection:
        put(connection, ids, ids)
    first = ma.get("/queues/outbox").text
    onward = re.search(r'<a rel="next" href="([^"]+)"', first)
    assert onward is not None
    second = ma.get(onward[1].replace("&amp;", "&")).text
    assert [len(re.findall("记录缺失 [0-9a-f]{32}", text)) for text in (first, second)] == [50, 3]
    assert "第一页" in second


@pytest.mark.parametrize(
    ("role", "status"),
    [(ConsoleRole.DEPARTMENT, 403), (ConsoleRole.ADMIN, 403), (ConsoleRole.AUDITOR, 403)],
)
def test_it_is_for_supervisors(browser: MakeBrowser, role: ConsoleRole, status: int) -> None:
    more = {"depts": ("X",)} if role is ConsoleRole.DEPARTMENT else {}
    assert browser(role, **more).get("/queues/outbox").status == status
    assert browser().get("/queues/outbox").to.startswith("/login")
