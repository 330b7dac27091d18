"""An SMSC that cuts the line, is mute or too busy, and a database that others hold: nothing is lost or doubled."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from tests.faults.processes import until
from tests.faults.sms import Poster, SmsServer, Stage, assert_whole, case, settled

pytestmark = pytest.mark.slow

SHORT = ('response_timeout = "1s"', 'enquire_link = "1s"')
"""A link that does not wait long for an SMSC."""
FAULTS: dict[str, list[dict[str, Any]]] = {
    "takes what it does not answer": [{"kind": "silent", "times": 5}],
    "as if nothing had come": [{"kind": "drop", "times": 5}],
    "reads nothing for a while": [{"kind": "stall", "seconds": 2.5}],
    "answers too late": [{"kind": "slow", "seconds": 2.0, "times": 5}],
    "answers under another number": [{"kind": "wrong", "times": 5}],
    "sends junk behind an answer": [{"kind": "garbage", "times": 2}],
    "sends what nobody knows": [{"kind": "strange", "times": 5}],
    "full": [{"kind": "status", "status": 0x14, "times": 5}],
    "mute when asked whether it lives": [{"kind": "drop", "on": "enquire", "times": 3}],
}


def test_an_smsc_that_misbehaves(make_sms_server: Callable[..., SmsServer], stage: Stage) -> None:
    """One fault after the other, with citizens of its own each; the next comes when all is well again."""
    server = make_sms_server(link=SHORT)
    server.start()
    posted: list[dict[str, Any]] = []
    for name, faults in FAULTS.items():
        stage.smsc.plan(*faults)
        group = [case(number) for number in stage.numbers(5)]
        assert server.post(group) == [201] * 5, name
        posted += group
        try:
            settled(server, stage.smsc, rated=len(posted))
        except AssertionError as error:
            raise AssertionError(f"an SMSC that {name}: {error}") from None
        if name.startswith("mute"):
            until("the faults to have happened", lambda: not stage.smsc.state()["plan"])
        assert stage.smsc.state()["plan"] == [], name
        stage.smsc.plan()
    found = assert_whole(server, stage, posted)
    # Taken without an answer, a receipt settles it; what never came went a second time, and none a third.
    assert found.twice == 0
    assert found.tries[2] >= 5
    assert server.running.terminate() == 0


@pytest.mark.timeout(300)
def test_an_smsc_that_cuts_the_connection_at_random(make_sms_server: Callable[..., SmsServer], stage: Stage) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = make_sms_server(link=SHORT, unknown_after="3s")
    server.start()
    stage.smsc.ask("POST", "options", {"latency": 0.02})
    stage.smsc.plan(
        {"kind": "cut", "chance": 0.03, "times": None},
        {"kind": "lose", "chance": 0.03, "times": None},
        {"kind": "half", "chance": 0.03, "times": None},
        {"kind": "lose", "on": "response", "chance": 0.03, "times": None},
        {"kind": "cut", "on": "response", "chance": 0.03, "times": None},
        {"kind": "cut", "on": "bind", "chance": 0.1, "times": None},
    )
    before = stage.smsc.count("faults")
    poster = Poster(server, stage.numbers(100), group=5, every=0.2).start()
    cuts = 0
    while not poster.done:
        poster.pause(chance.uniform(0, 0.8))
        cuts += stage.smsc.cut()
    posted = poster.join()
    stage.smsc.plan()
    faults = stage.smsc.count("faults") - before
    settled(server, stage.smsc, rated=len(posted))
    found = assert_whole(server, stage, posted)
    print(f"{cuts} cuts, {faults} faults, {found}")
    assert cuts + faults >= 10
    # Cut twice in the middle of it an SMS has failed and says so; it was not asked a third time.
    assert found.given_up <= 10
    assert server.running.terminate() == 0


def test_an_smsc_that_throttles(make_sms_server: Callable[..., SmsServer], stage: Stage) -> None:
    """The link slows down; what is refused for the pace goes again, once in effect, and is no second try."""
    server = make_sms_server()
    server.start()
    stage.smsc.ask("POST", "options", {"rate": 20.0})
    before = stage.smsc.count("throttled")
    posted = [case(number) for number in stage.numbers(60)]
    assert server.post(posted) == [201] * 60
    settled(server, stage.smsc, rated=60, seconds=60)
    assert stage.smsc.count("throttled") - before >= 3
    found = assert_whole(server, stage, posted, again=False)
    assert found.twice == 0
    assert server.running.terminate() == 0


@contextmanager
def held(server: SmsServer) -> Iterator[None]:
    """Another process writes and does not end: nobody else can."""
    if server.postgres:
        with psycopg.connect(server.postgres.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE messages, segments, cases")
            yield
    else:
        with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def test_a_database_that_another_holds_for_seconds(
    make_sms_server: Callable[..., SmsServer], stage: Stage, request: pytest.FixtureRequest, kind: str
) -> None:
    """Meanwhile the SMSC is told to send again what citizens write, cases are posted again, nothing is forgotten."""
    server = make_sms_server(postgres=request.getfixturevalue("postgres_url") if kind == "postgresql" else "")
    server.start()
    if server.postgres:
        server.make_token()
    numbers = stage.numbers(25)
    posted = [case(number) for number in numbers[:15]]
    assert server.post(posted) == [201] * 15
    settled(server, stage.smsc, rated=15)
    refused = stage.smsc.count("refused")
    with held(server):
        locked = time.monotonic()
        for one in posted:  # after the rating; their words are kept beside it
            stage.smsc.ask("POST", "replies", {"number": one["phone"], "text": "谢谢，辛苦了"})
        poster = Poster(server, numbers[15:]).start()
        until("refused deliveries", lambda: stage.smsc.count("refused") - refused >= 15)
        until("a few seconds", lambda: time.monotonic() > locked + 4)
        phones = {one["phone"] for one in posted}
        said = [one for one in stage.smsc.replies() if one["number"] in phones and one["text"].startswith("谢谢")]
        assert len(said) == 15
        assert not any(one["acknowledged"] for one in said)
        assert all(set(part["statuses"]) == {8} for one in said for part in one["parts"])  # ESME_RSYSERR
    posted += poster.join()
    settled(server, stage.smsc, rated=25)
    found = assert_whole(server, stage, posted)
    assert found.twice == 0
    assert server.number("SELECT count(*) FROM messages WHERE direction = 'in' AND text LIKE '谢谢%'") == 15
    assert server.running.terminate() == 0


@pytest.mark.timeout(300)
def test_an_smsc_in_trouble_and_a_number_that_is_not_registered_yet(
    make_sms_server: Callable[..., SmsServer], stage: Stage
) -> None:
    """Behind a live bind every submit is refused for a while; each SMS goes a minute later, and none has failed."""
    server = make_sms_server(sms=('blocked_pause = "1s"',))
    server.start()
    posted = [case(number) for number in stage.numbers(20)]
    stage.smsc.plan(
        {"kind": "status", "status": 0x04, "times": 1},  # it has forgotten the bind
        {"kind": "status", "status": 0x08, "times": 5},
        {"kind": "status", "status": 0x0A, "times": 12},
    )
    assert server.post(posted) == [201] * 20
    settled(server, stage.smsc, rated=20, seconds=150)
    assert stage.smsc.state()["plan"] == []
    said = "".join(server.running.lines)
    assert "10 messages refused with ESME_RINVSRCADR in a row" in said
    assert "the SMSC does not know of our bind any more" in said
    found = assert_whole(server, stage, posted, again=False)
    assert (found.twice, found.given_up) == (0, 0)
    assert server.running.terminate() == 0
