"""Alive, ready, degraded: over real HTTP, from the thread that serves it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from centre.outbox import Backlog
from centre.push import PushStatistics
from config.values import Address
from intake.calendars import CalendarReach
from ivr.listener import Refusal
from ivr.request import Path
from ivr.server import Statistics
from models.door import Door
from models.errors import CommandFailed
from models.terms import CallOutcome
from server.errors import CannotListen
from server.health import PULSE_LIMIT, WRITE_LIMIT, Condition, Health, HealthServer, State, health_app
from server.metrics import Metrics


class Hand:
    """Monotonic seconds that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def health(hand: Hand) -> Health:
    return Health(hand)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(health: Health, metrics: Metrics) -> Iterator[HealthServer]:
    made = HealthServer(health_app(health, metrics), Address("127.0.0.1", 0), "health.listen")
    made.start()
    yield made
    made.stop()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{server.address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ready(server: HealthServer) -> tuple[int, str, dict[str, Any]]:
    code, body = get(server, "/readyz")
    document = json.loads(body)
    return code, document["status"], document["checks"]


def test_alive_while_the_reactor_turns(server: HealthServer, health: Health, hand: Hand) -> None:
    assert get(server, "/healthz") == (200, '{"status":"alive","detail":""}')
    hand.now += PULSE_LIMIT
    assert get(server, "/healthz")[0] == 200
    hand.now += 1
    code, body = get(server, "/healthz")
    assert code == 503
    assert json.loads(body) == {
        "status": "stuck",
        "detail": "the event loop has not turned for 11 s; restart this process",
    }
    health.beat()
    assert get(server, "/healthz")[0] == 200


def test_ready_from_start_to_stop(server: HealthServer, health: Health) -> None:
    code, status, checks = ready(server)
    assert (code, status) == (503, "not ready")
    assert checks["process"] == {"status": "failed", "detail": "starting or stopping"}
    health.started()
    code, status, checks = ready(server)
    assert (code, status) == (200, "ready")
    assert {part["status"] for part in checks.values()} == {"ok"}
    health.started(False)
    assert ready(server)[0] == 503


def test_not_ready_while_the_database_takes_no_write(server: HealthServer, health: Health, hand: Hand) -> None:
    health.started()
    hand.now += WRITE_LIMIT + 5
    health.beat()
    code, status, checks = ready(server)
    assert (code, status) == (503, "not ready")
    assert checks["database"]["detail"] == "the database has taken no write for 35 s; see the log"
    health.written()
    assert ready(server)[:2] == (200, "ready")


def test_degraded_while_the_push_rests(server: HealthServer, health: Health) -> None:
    health.started()
    push = [Condition(State.DEGRADED, "the centre refuses our signature; check centre.secret")]
    health.watch("push", lambda: push[-1])
    code, status, checks = ready(server)
    assert (code, status) == (200, "degraded")
    assert checks["push"] == {"status": "degraded", "detail": "the centre refuses our signature; check centre.secret"}
    push.append(Condition(State.OK))
    assert ready(server)[:2] == (200, "ready")


def test_metrics(server: HealthServer, metrics: Metrics) -> None:
    calls, push = Statistics(), PushStatistics(sent=4, settled=3, accepted=3, in_flight=1, paused="401")
    for outcome in (CallOutcome.RATED, CallOutcome.RATED, CallOutcome.HANGUP):
        calls.call_ended(Path.RATE, outcome, 0.1)
    calls.refused(Refusal.NOT_ALLOWED)
    calls.store_failed("rate")
    metrics.watch_calls(calls, lambda: 4)
    metrics.watch_push(push)
    metrics.committed(5, 0.0031)
    metrics.outbox(Backlog(waiting=7, dead=1, oldest=timedelta(seconds=61.5)))
    metrics.calendar(CalendarReach("622900", date(2026, 12, 31), 33))
    code, text = get(server, "/metrics")
    assert code == 200
    lines = text.splitlines()
    for line in (
        'huiyin_calls_total{outcome="rated",path="rate"} 2.0',
        'huiyin_calls_total{outcome="hangup",path="rate"} 1.0',
        'huiyin_calls_refused_total{reason="not_allowed"} 1.0',
        'huiyin_call_store_failures_total{step="rate"} 1.0',
        "huiyin_call_prompt_failures_total 0.0",
        "huiyin_calls_in_progress 4.0",
        'huiyin_push_results_total{result="accepted"} 3.0',
        'huiyin_push_batches_total{what="sent"} 4.0',
        "huiyin_push_in_flight 1.0",
        "huiyin_push_paused 1.0",
        'huiyin_commit_group_size_bucket{le="4.0"} 0.0',
        'huiyin_commit_group_size_bucket{le="8.0"} 1.0',
        'huiyin_commit_seconds_bucket{le="0.005"} 1.0',
        "huiyin_outbox_waiting 7.0",
        "huiyin_outbox_oldest_seconds 61.5",
        "huiyin_outbox_dead 1.0",
        "huiyin_calendar_days_left 33.0",
    ):
        assert line in lines, text


def test_the_writer_s_metrics(server: HealthServer, metrics: Metrics, door: Door) -> None:
    metrics.watch_door(door)
    door.write(lambda unit: unit.execute(select(1)).scalar_one()).result(10)
    with pytest.raises(CommandFailed):
        door.write(lambda unit: 1 // 0).result(10)
    lines = get(server, "/metrics")[1].splitlines()
    for line in (
        "huiyin_writer_queue 0.0",
        "huiyin_writer_commands_total 1.0",
        "huiyin_writer_failed_groups_total 1.0",
        "huiyin_writer_failed_commands_total 1.0",
    ):
        assert line in lines


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/metrics/x"])
def test_nothing_else_is_served(server: HealthServer, path: str) -> None:
    assert get(server, path)[0] == 404


def test_a_port_in_use_is_a_sentence(health: Health, metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListen, match=rf"health.listen: cannot listen on 127\.0\.0\.1:{port}: Address already"
        ):
            HealthServer(health_app(health, metrics), Address("127.0.0.1", port), "health.listen")


def test_the_port_is_free_again_after_the_stop(health: Health, metrics: Metrics) -> None:
    server = HealthServer(health_app(health, metrics), Address("127.0.0.1", 0), "health.listen")
    server.start()
    server.stop()
    HealthServer(health_app(health, metrics), server.address, "health.listen").stop()
