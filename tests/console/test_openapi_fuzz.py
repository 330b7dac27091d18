"""The API against its own OpenAPI document: Schemathesis asks a real server, with a token of each scope.

What it makes up is seeded and bounded, from the document alone: its examples, the borders of every schema, and some
draws of what fits and what does not. The database is filled with what the examples name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from config.values import Address
from console.api import mount_api
from console.limits import RateLimit
from console.openapi import UNREAD
from console.schemas import CASE_EXAMPLE, CENTRE_STATUS_EXAMPLE
from console.tokens import Scope
from intake.desk import Intake
from models.clock import TurnedClock
from models.door import Door
from models.privacy import Keyring
from models.terms import Satisfaction
from server.health import HealthServer
from tests.console.conftest import Client, MakeToken
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as CALL_RULES
from tests.intake.test_cases import RULES

WAIT = 10
SEED = 12345
DRAWS = 25
"""What is made up for each operation and scope beyond examples and borders."""
LEAST_REACHED = 0.8
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "ignored_auth",
)
MAY = {
    Scope.INTAKE: {
        "POST /api/v1/cases",
        "PATCH /api/v1/cases/{case_no}",
        "POST /api/v1/cases/{case_no}/withdraw",
        "GET /api/v1/cases/{case_no}",
    },
    Scope.READ: {"GET /api/v1/cases/{case_no}", "GET /api/v1/evaluations", "GET /api/v1/statistics"},
    Scope.CENTRE: {"POST /api/v1/centre/status"},
}


@pytest.fixture
def server(door: Door, keyring: Keyring, clock: TurnedClock) -> Iterator[HealthServer]:
    """Without the limit of 600 requests a minute, which would answer most of what is made up."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_api(app, door, keyring, clock, RULES, limit=RateLimit(most=10**6))
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def document(client: Client, door: Door, keyring: Keyring, clock: TurnedClock) -> dict[str, Any]:
    """The document over a filled database; the evaluation that its examples name is one that is there."""
    intake = Intake(door, keyring, clock, CALL_RULES)
    for place in range(40):
        facts = replace(FACTS, call_key=f"c{place}", agent=f"{2001 + place % 4}", at=clock.now())
        told = intake.rate(facts, Satisfaction(1 + place % 5), "x", hold=False).result(WAIT)
    assert (
        client.post([CASE_EXAMPLE, *[CASE_EXAMPLE | {"case_no": f"GD-{place}"} for place in range(20)]]).status == 207
    )
    text = json.dumps(client.get("/api/openapi.json").body)
    assert CENTRE_STATUS_EXAMPLE["evaluation_id"] in text
    found: dict[str, Any] = json.loads(text.replace(CENTRE_STATUS_EXAMPLE["evaluation_id"], told.evaluation_id))
    return found


@dataclass
class Found:
    """What became of a run: status by operation, and what was wrong, without what was sent."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)

    def reached(self) -> set[str]:
        return {name for name, statuses in self.answers.items() if any(200 <= status < 300 for status in statuses)}

    def take(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.FatalError | events.Interrupted):
            self.wrong.add(f"the run broke: {event}")
        if isinstance(event, events.NonFatalError):
            self.wrong.add(f"{event.label}: {type(event.value).__name__}: {event.value}")
        if not isinstance(event, events.ScenarioFinished) or event.label is None:
            return
        for case_id, node in event.recorder.cases.items():
            answer = event.recorder.find_response(case_id=case_id)
            # A check asks again in other ways (another method, no token): that is not this operation.
            if answer is not None and f"{node.value.method} {node.value.operation.path}" == event.label:
                self.answers.setdefault(event.label, Counter())[answer.status_code] += 1
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.status is not Status.SUCCESS:
                    failure = check.failure_info.failure if check.failure_info else None
                    self.wrong.add(f"{event.label}: {check.name}: {failure.title if failure else 'it broke'}")


def asked(document: dict[str, Any], address: Address, token: str, names: Collection[str], *, whole: bool) -> Found:
    """What Schemathesis makes of these operations, with one token; not `whole`: of their examples alone."""
    others = sorted({f"{m.upper()} {path}" for path, item in document["paths"].items() for m in item} - set(names))
    configuration = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": f"http://{address}",
            "headers": {"Authorization": f"Bearer {token}"},
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 20,
            "cache": {"enabled": False},
            "generation": {"max-examples": DRAWS, "database": "none", "deterministic": True, "no-shrink": True},
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
                # A bad item of a list does not stop the others: 207, with 422 for the item.
                "negative_data_rejection": {"enabled": True, "expected-statuses": ["4xx", "207"]},
            },
            # A case's number may end so: PATCH and GET mean that case.
            "operations": [
                {"include-path-regex": "/withdraw$", "checks": {"unsupported_method": {"enabled": False}}},
                *({"include-name": name, "enabled": False} for name in others),
            ],
            # In the document's order: a case is changed before it is withdrawn.
            "phases": {
                "examples": {"fill-missing": True, "operation-ordering": "none"},
                "coverage": {"enabled": whole, "operation-ordering": "none"},
                "fuzzing": {"enabled": whole, "operation-ordering": "none"},
                "stateful": {"enabled": False},
            },
        }
    )
    found = Found()
    schema = schemathesis.openapi.from_dict(document, config=configuration)
    for event in from_schema(schema).execute():
        found.take(event)
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_made_of_the_document_is_answered_as_it_says(
    document: dict[str, Any], server: HealthServer, client: Client, token: MakeToken
) -> None:
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert set.union(*MAY.values()) == operations
    reached: set[str] = set()
    for scope in Scope:
        secret = client.token if scope is Scope.INTAKE else token(scope.value, scope)
        assert secret is not None
        mine = MAY[scope]
        found = asked(document, server.address, secret, mine, whole=True)
        assert sorted(found.wrong) == [], f"with a token of scope {scope.value}"
        assert set(found.answers) == mine
        assert all(403 not in statuses for statuses in found.answers.values())
        reached |= found.reached()
        others = asked(document, server.address, secret, operations - mine, whole=False)
        assert sorted(others.wrong) == [], f"with a token of scope {scope.value}"
        assert all(set(statuses) == {403} for statuses in others.answers.values())
        assert set(others.answers) == operations - mine
    assert len(reached) >= LEAST_REACHED * len(operations), f"never answered 2xx: {sorted(operations - reached)}"


# ── the document by itself ────────────────────────────────────────────────────────────────────────────────────────────


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def bodies_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body in and out."""
    for name, operation in operations_of(document):
        if "requestBody" in operation:
            yield f"{name} in", operation["requestBody"]["content"]["application/json"]
        for status, response in operation["responses"].items():
            assert list(response["content"]) == ["application/json"], name
            yield f"{name} {status}", response["content"]["application/json"]


def faults(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    return [error.message for error in Draft202012Validator(whole, validate_formats=True).iter_errors(value)]


def test_every_body_has_examples_that_its_schema_takes(client: Client) -> None:
    document = client.get("/api/openapi.json").body
    bodies = dict(bodies_of(document))
    assert len(bodies) > 50
    for name, body in bodies.items():
        assert body["schema"], name
        assert body["examples"], name
        for example in body["examples"].values():
            assert faults(document, body["schema"], example["value"]) == [], name
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            assert faults(document, schema, example) == [], name
    assert faults(document, bodies["POST /api/v1/cases in"]["schema"], CASE_EXAMPLE | {"colour": "red"}), "can fail"


def test_every_operation_says_what_it_is_for_and_what_can_come(client: Client) -> None:
    document = client.get("/api/openapi.json").body
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for name, operation in operations_of(document):
        statuses = {int(status) for status in operation["responses"]}
        assert operation["summary"], name
        assert statuses >= {200, 401, 403, 422, 429, 503}, name
        if "requestBody" in operation:
            assert statuses >= set(UNREAD), name
        scopes = {scope for one in operation["security"] for scope in one["token"]}
        assert scopes == {scope.value for scope, names in MAY.items() if name in names}, name
        for status, response in operation["responses"].items():
            assert response["description"] != "Successful Response", f"{name} {status}"
