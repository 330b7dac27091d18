"""Silences as a table, what is counted for them, and how the links' state comes through the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from console.link_beats import (
    FORGOTTEN,
    STALE,
    BeatLinks,
    LinkBeat,
    LinkWord,
    Unreceipted,
    link_key,
    read_links,
)
from console.silence import ENOUGH, Alarm, Heard, Silence, heard_of_calls, silences
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.tables import calls, meta
from tests.moments import START

WAIT = 10
HALF_AN_HOUR = timedelta(minutes=30)
MINUTE = timedelta(minutes=1)
UP = LinkBeat("node-1", "mobile", LinkWord.UP, START)
QUIET = Heard(0, 0, 0)


def handed(n: int, ago: timedelta, *, receipts: bool = True) -> list[LinkBeat]:
    return [replace(UP, receipts=receipts, unreceipted=n, unreceipted_since=START - ago)]


@pytest.mark.parametrize(
    ("heard", "links", "alarms"),
    [
        pytest.param(QUIET, [], [], id="a quiet night"),
        pytest.param(Heard(5, 10, 1), [UP], [], id="all is well"),
        pytest.param(Heard(4, 0, 0), [], [], id="few calls, none offered: chance"),
        pytest.param(Heard(5, 0, 0), [], [Alarm(Silence.OFFERS, 5)], id="calls and no offer"),
        pytest.param(Heard(5, 1, 0), [], [], id="one offer breaks the silence"),
        pytest.param(Heard(5, 9, 0), [], [], id="few offers, no rating: chance"),
        pytest.param(Heard(5, 10, 0), [], [Alarm(Silence.RATINGS, 10)], id="offers and no rating"),
        pytest.param(QUIET, handed(5, HALF_AN_HOUR), [Alarm(Silence.RECEIPTS, 5, "mobile")], id="SMS and no receipt"),
        pytest.param(QUIET, handed(5, HALF_AN_HOUR - MINUTE), [], id="not for long enough"),
        pytest.param(QUIET, handed(5, HALF_AN_HOUR, receipts=False), [], id="a link that asks for no receipts"),
        pytest.param(QUIET, [UP], [], id="SMS with receipts"),
        pytest.param(
            Heard(5, 0, 0),
            handed(9, HALF_AN_HOUR),
            [Alarm(Silence.OFFERS, 5), Alarm(Silence.RECEIPTS, 9, "mobile")],
            id="two at once",
        ),
    ],
)
def test_what_is_a_silence(heard: Heard, links: list[LinkBeat], alarms: list[Alarm]) -> None:
    assert silences(heard, links, START, HALF_AN_HOUR) == alarms


def test_calls_are_counted_within_the_silence_and_up_to_what_is_enough(database: Database) -> None:
    def call(outcome: str, ended: timedelta, stored: timedelta | None = None) -> dict[str, Any]:
        return {
            "subject_id": new_id(),
            "call_key": new_id(),
            "outcome": outcome,
            "source": "ivr",
            "ended_at": START - ended,
            "created_at": START - (ended if stored is None else stored),
        }

    def heard() -> Heard:
        with database.read_engine.connect() as connection:
            return heard_of_calls(connection, START, HALF_AN_HOUR)

    with database.write_engine.begin() as connection:
        connection.execute(
            insert(calls),
            [
                *(call("not_offered", MINUTE * place) for place in range(8)),
                call("rated", MINUTE * 31),
                # brought in from a log just now: nothing of today
                call("rated", timedelta(days=1), stored=MINUTE),
            ],
        )
    assert heard() == Heard(ENOUGH[Silence.OFFERS], 0, 0)
    with database.write_engine.begin() as connection:
        connection.execute(insert(calls), [call("no_input", MINUTE), call("rated", MINUTE)])
    assert heard() == Heard(ENOUGH[Silence.OFFERS], 2, 1)


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_tells_its_links_and_no_other_s(database: Database, make_door: Callable[..., Door]) -> None:
    first, second = make_door(), make_door()
    other = replace(UP, node="node-2", word=LinkWord.DOWN)
    resting = replace(UP, name="unicom", word=LinkWord.RESTS, unreceipted=6, unreceipted_since=START)
    first.submit(BeatLinks("node-1", (UP, resting))).result(WAIT)
    second.submit(BeatLinks("node-2", (other,))).result(WAIT)
    later = replace(UP, at=START + MINUTE / 2)
    first.submit(BeatLinks("node-1", (later,))).result(WAIT)  # unicom is configured no more
    first.submit(BeatLinks("node-1", (later,))).result(WAIT)  # and once more, as a command may run
    with database.read_engine.connect() as connection:
        assert read_links(connection, later.at) == [later, other]


def test_a_link_of_which_nothing_is_heard_is_silent_and_one_day_gone(database: Database, door: Door) -> None:
    door.submit(BeatLinks("node-1", (UP,))).result(WAIT)
    with database.read_engine.connect() as connection:
        assert [beat.word for beat in read_links(connection, START + STALE - MINUTE / 60)] == [LinkWord.UP]
        assert [beat.word for beat in read_links(connection, START + STALE)] == [LinkWord.SILENT]
        assert read_links(connection, START + FORGOTTEN) == []


def test_a_key_fits_however_long_the_names_are(database: Database, door: Door) -> None:
    assert len(link_key("n" * 500, "m" * 32)) <= 64
    door.submit(BeatLinks("n" * 500, (replace(UP, name="m" * 32),))).result(WAIT)
    with database.read_engine.connect() as connection:
        assert connection.execute(select(meta.c.key).where(meta.c.key.startswith("link."))).scalars().all() == [
            link_key("n" * 500, "m" * 32)
        ]


def test_what_was_handed_since_the_last_receipt_counts_from_when_it_is_enough() -> None:
    counting = Unreceipted(5)
    seen = []
    for minute, handed_so_far, receipts in ((0, 3, 0), (1, 5, 0), (2, 9, 0), (3, 9, 1), (4, 13, 1), (5, 14, 1)):
        counting.look(handed_so_far, receipts, START + minute * MINUTE)
        seen.append((counting.count, None if counting.since is None else (counting.since - START) // MINUTE))
    assert seen == [(3, None), (5, 1), (9, 1), (0, None), (4, None), (5, 5)]
