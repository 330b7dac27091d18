"""The console's pages over real HTTP on a turned clock, and people who use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import insert, select

from config.values import Address
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.passwords import Passwords
from console.people import add_user
from console.sessions import SessionRules
from console.viewer import ConsoleRole
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import audit, calls, cases, evaluations
from server.health import HealthServer
from tests.console.browser import Browser
from tests.moments import START

__all__ = ["PASSWORD", "QUICK", "RULES", "Audited", "MakeBrowser", "MakeUser", "Record"]

PASSWORD = "Klee+Blatt-7"
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
RULES = SessionRules(idle=timedelta(hours=2), life=timedelta(hours=12))
HASHED = QUICK.hash(PASSWORD)

MakeUser = Callable[..., str]
MakeBrowser = Callable[..., Browser]
Audited = Callable[[], list[tuple[str, str, str | None]]]


@pytest.fixture
def console(door: Door, keyring: Keyring, clock: TurnedClock) -> Console:
    return Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK))


@pytest.fixture
def site(console: Console) -> Iterator[HealthServer]:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    proxies = [IPv4Network("127.0.0.1/32")]
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen", proxies=proxies)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def user(database: Database) -> MakeUser:
    def make(name: str = "ma", role: ConsoleRole = ConsoleRole.SUPERVISOR, **more: Any) -> str:
        with database.write_engine.begin() as connection:
            add_user(connection, START, name, role, HASHED, actor="command_line", **more)
        return name

    return make


@pytest.fixture
def browser(site: HealthServer, user: MakeUser) -> MakeBrowser:
    """A browser; with a role, one that is logged in with a new user of it."""

    def make(role: ConsoleRole | None = None, name: str | None = None, **more: Any) -> Browser:
        made = Browser(site.address)
        if role is not None:
            who = user(name or role.value, role, **more)
            assert made.log_in(who, PASSWORD).status == 303
        return made

    return make


@pytest.fixture
def audited(database: Database) -> Audited:
    def read() -> list[tuple[str, str, str | None]]:
        with database.read_engine.connect() as connection:
            return [
                (row.actor, row.action, row.detail) for row in connection.execute(select(audit).order_by(audit.c.id))
            ]

    return read


class Record:
    """Puts calls and cases with their evaluations into the database."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def count(self) -> None:
        """The figures are counted anew: what is put here goes by no command that notes them."""
        with self._database.write_engine.begin() as connection:
            rebuild(connection)

    def call(self, dept: str | None = None, level: int = 5, *, area: str = "622900", number: str = "") -> str:
        subject = new_id()
        with self._database.write_engine.begin() as connection:
            connection.execute(
                insert(calls).values(
                    subject_id=subject,
                    call_key=subject,
                    dept=dept,
                    area_code=area,
                    outcome="rated",
                    source="ivr",
                    ended_at=START,
                    created_at=START,
                    **self._number(number),
                )
            )
            self._evaluation(connection, subject, "call", dept, area, level)
        return subject

    def case(self, dept: str | None = None, level: int = 5, *, area: str = "622900", number: str = "") -> str:
        subject = new_id()
        with self._database.write_engine.begin() as connection:
            connection.execute(
                insert(cases).values(
                    subject_id=subject,
                    case_no=subject,
                    service_number=1,
                    stub=False,
                    dept_code=dept,
                    area_code=area,
                    created_at=START,
                    **self._number(number),
                )
            )
            self._evaluation(connection, subject, "case", dept, area, level)
        return subject

    def _number(self, number: str) -> dict[str, Any]:
        if not number:
            return {}
        sealed = self._keyring.seal(number)
        return {
            "number_kind": "mobile",
            "number_sealed": sealed.sealed,
            "number_hash": sealed.hash,
            "number_tail": sealed.tail,
            "number_key_id": sealed.key_id,
        }

    @staticmethod
    def _evaluation(connection: Any, subject: str, kind: str, dept: str | None, area: str, level: int) -> None:
        connection.execute(
            insert(evaluations).values(
                subject_id=subject,
                assess_number=1,
                id=new_id(),
                rating_id=new_id(),
                subject_kind=kind,
                effective=True,
                satisfaction=level,
                origin="citizen",
                channel="keypad",
                assess_time=START,
                project_no=subject,
                service_number=1,
                dept_code=dept,
                area_code=area,
                created_at=START,
            )
        )


@pytest.fixture
def record(database: Database, keyring: Keyring) -> Record:
    return Record(database, keyring)
