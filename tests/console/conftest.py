"""The API over real HTTP, on a turned clock."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from config.values import Address
from console.api import mount_api
from console.limits import RateLimit
from console.tokens import Scope, add_token
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from server.health import HealthServer
from tests.console.site import audited, browser, console, record, site, user  # noqa: F401 (fixtures)
from tests.intake.test_cases import RULES
from tests.moments import START


class Hand:
    """Monotonic seconds that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """Asks the API; `token` None: without one."""

    def __init__(self, address: Address, token: str | None) -> None:
        self.address = address
        self.token = token

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=20)
        try:
            connection.request(method, path, content, {**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, json.loads(text) if text else None)
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def post(self, body: Any) -> Reply:
        return self.ask("POST", "/api/v1/cases", body)

    def case(self, case_no: str, query: str = "") -> Reply:
        return self.get(f"/api/v1/cases/{quote(case_no, safe='')}{query}")

    def patch(self, case_no: str, changes: Any, query: str = "") -> Reply:
        return self.ask("PATCH", f"/api/v1/cases/{quote(case_no, safe='')}{query}", changes)

    def withdraw(self, case_no: str, query: str = "") -> Reply:
        return self.ask("POST", f"/api/v1/cases/{quote(case_no, safe='')}/withdraw{query}")


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def wakes() -> list[None]:
    return []


@pytest.fixture
def server(door: Door, keyring: Keyring, clock: TurnedClock, hand: Hand, wakes: list[None]) -> Iterator[HealthServer]:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_api(app, door, keyring, clock, RULES, wake=lambda: wakes.append(None), limit=RateLimit(seconds=hand))
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    made.start()
    yield made
    made.stop()


MakeToken = Callable[..., str]


@pytest.fixture
def token(database: Database) -> MakeToken:
    def make(name: str = "gongdan", scope: Scope = Scope.INTAKE, **narrowed: Any) -> str:
        with database.write_engine.begin() as connection:
            return add_token(connection, START, name, scope, **narrowed)

    return make


@pytest.fixture
def client(server: HealthServer, token: MakeToken) -> Client:
    """The case system."""
    return Client(server.address, token())


@pytest.fixture
def reader(server: HealthServer, token: MakeToken) -> Client:
    return Client(server.address, token("reader", Scope.READ))


@pytest.fixture
def rows(database: Database) -> Callable[[Any], list[Any]]:
    def read(table: Any) -> list[Any]:
        with database.read_engine.connect() as connection:
            return list(connection.execute(select(table).order_by(next(iter(table.primary_key.columns)))))

    return read
