"""The API's cases over real HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from console.limits import BODY_BYTES
from console.schemas import CaseAnswer, CaseOut, ErrorOut
from console.tokens import Scope, TokenExists, revoke_token
from intake.cases import PostCase, WithdrawCase
from intake.posted import CASE_FIELDS, read_case
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.tables import api_tokens, cases, invitations, messages, segments
from server.health import HealthServer
from tests.console.conftest import Client, Hand, MakeToken
from tests.moments import START


def posted(case_no: str = "GD-1", **more: Any) -> dict[str, Any]:
    return {"case_no": case_no, "phone": "13800000001", "closed_at": "2026-11-18T09:50:00", **more}


def test_a_posted_case_waits_for_its_sms(client: Client, rows: Any, wakes: list[None]) -> None:
    reply = client.post(posted())
    assert (reply.status, reply.body) == (
        201,
        {
            "status": 201,
            "case_no": "GD-1",
            "service_number": 1,
            "invitation": "waiting",
            "reason": None,
            "deadline": "2026-11-25T23:59:59+08:00",
            "provisional": False,
        },
    )
    assert [row.case_no for row in rows(cases)] == ["GD-1"]
    assert [row.state for row in rows(invitations)] == ["waiting"]
    assert len(wakes) == 1
    assert client.post(posted()).status == 200
    conflict = client.post(posted(agent=7))
    assert (conflict.status, conflict.body["fields"][0]["field"]) == (409, "agent")


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_answered_item_by_item(client: Client, rows: Any) -> None:
    reply = client.post(
        [
            posted("GD-1"),
            posted("GD-2", phone="abc"),
            posted("GD-1"),
            "GD-3",
            posted("GD-1", agent=7),
            {"case_no": "GD-4", "colour": "red"},
            posted("GD-5", phone="0930-6212345"),
        ]
    )
    assert reply.status == 207
    assert [(item["status"], item["case_no"], item["invitation"]) for item in reply.body] == [
        (201, "GD-1", "waiting"),
        (422, "GD-2", "none"),
        (200, "GD-1", "waiting"),
        (422, None, "none"),
        (409, "GD-1", "none"),
        (422, "GD-4", "none"),
        (201, "GD-5", "none"),
    ]
    assert [[field["field"] for field in item.get("fields", [])] for item in reply.body] == [
        [],
        ["phone"],
        [],
        [""],
        ["agent"],
        ["phone", "closed_at", "colour"],
        [],
    ]
    assert reply.body[6]["reason"] == "landline"
    assert len(rows(cases)) == 2
    assert client.post([]).body == []


def test_a_thousand_cases_come_in_one_request_and_no_more(client: Client, rows: Any) -> None:
    reply = client.post([posted(f"GD-{place}", phone=13800000000 + place) for place in range(1000)])
    assert (reply.status, {item["status"] for item in reply.body}) == (207, {201})
    assert [item["case_no"] for item in reply.body] == [f"GD-{place}" for place in range(1000)]
    assert len(rows(invitations)) == 1000
    assert client.post([posted()] * 1001).status == 422


# ── changes and paths ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case_no", ["GD/7 甲", "a%2Fb", "..", "x/withdraw", "a?b#c", "GD\u30007", "+ &", "a//b/"])
def test_a_case_number_of_any_characters_is_found_again(client: Client, case_no: str) -> None:
    assert client.post(posted(case_no)).status == 201
    assert client.case(case_no).body["case_no"] == case_no
    assert client.patch(case_no, {"title": "井盖"}).status == 200
    assert client.case(case_no).body["title"] == "井盖"
    assert client.withdraw(case_no).body["reason"] == "withdrawn"
    assert client.withdraw(case_no).status == 200
    assert client.case(case_no).body["withdrawn_at"] == "2026-11-18T10:00:00+08:00"


def test_a_case_is_changed_and_taken_back(client: Client) -> None:
    client.post(posted())
    client.post(posted(service_number=2))
    changed = client.patch("GD-1", {"closed_at": "2026-11-17T12:00:00"}, "?service_number=1")
    assert (changed.status, changed.body["deadline"]) == (200, "2026-11-24T23:59:59+08:00")
    assert client.case("GD-1").body["deadline"] == "2026-11-25T23:59:59+08:00", "the latest closing"
    withdrawn = client.withdraw("GD-1")
    assert (withdrawn.status, withdrawn.body["service_number"], withdrawn.body["deadline"]) == (200, 2, None)
    assert client.patch("GD-1", {"title": "x"}).body["error"] == "conflict"
    for reply in (client.withdraw("GD-9"), client.patch("GD-9", {}), client.case("GD-9")):
        assert (reply.status, reply.body["error"]) == (404, "unknown")
    wrong = client.patch("GD-1", {"phone": "abc", "colour": 1}, "?service_number=1")
    assert (wrong.status, [field["field"] for field in wrong.body["fields"]]) == (422, ["phone", "colour"])
    assert client.patch("GD-1", [1]).status == 422
    assert client.case("GD-1", "?service_number=x").body["fields"][0]["field"] == "service_number"


def test_a_case_is_told_with_its_number_masked(client: Client) -> None:
    client.post(posted(title="回电 138 0000 0001 或 09306212345", agent="0042", consent=False))
    body = client.case("GD-1").body
    assert (body["phone"], body["phone_kind"], body["agent"], body["consent"]) == (
        "138****0001",
        "mobile",
        "0042",
        False,
    )
    assert body["title"] == "回电 138****0001 或 093****2345"
    assert body["closings"] == [1]
    [invitation] = body["invitations"]
    assert (invitation["state"], invitation["due_at"]) == ("waiting", "2026-11-18T10:00:00+08:00")
    assert body["evaluations"] == []
    CaseOut.model_validate(body)


def test_a_message_that_failed_shows_why(client: Client, reader: Client, database: Database, rows: Any) -> None:
    client.post(posted())
    [invitation] = rows(invitations)
    common = {"direction": "out", "invitation_id": invitation.id, "changed_at": START, "handed_at": START}
    failed, refused = new_id(), new_id()
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(messages),
            [
                {**common, "id": failed, "kind": "invitation", "state": "failed", "reason": "dead_number"}
                | {"text": "请评价", "our_number": "10691234507", "created_at": START},
                {**common, "id": refused, "kind": "reminder", "state": "failed", "reason": "ESME_RINVDSTADR"}
                | {"text": "请评价", "our_number": "10691234507", "created_at": START + timedelta(hours=1)},
                {**common, "id": new_id(), "kind": "reply", "state": "read", "direction": "in", "reason": None}
                | {"text": "5", "our_number": "10691234507", "created_at": START},
            ],
        )
        sent = {"message_id": failed, "link": "mobile", "submitted_at": START}
        for number, state, kind, words, at in (
            (1, "failed", "dead_number", "UNDELIV MK:0001, 13800000001", START + timedelta(seconds=5)),
            (2, "delivered", "delivered", "DELIVRD", START + timedelta(seconds=9)),
        ):
            receipt = {"receipt": kind, "receipt_text": words, "receipt_at": at}
            connection.execute(insert(segments).values(number=number, state=state, **sent, **receipt))
    for who in (client, reader):
        body = who.case("GD-1").body
        assert body["invitations"][0]["messages"] == [
            {
                "kind": "invitation",
                "state": "failed",
                "reason": "dead_number",
                "receipt": "dead_number",
                "receipt_text": "UNDELIV MK:0001, 138****0001",
                "receipt_at": "2026-11-18T10:00:05+08:00",
                "created_at": "2026-11-18T10:00:00+08:00",
                "handed_at": "2026-11-18T10:00:00+08:00",
                "changed_at": "2026-11-18T10:00:00+08:00",
            },
            {
                "kind": "reminder",
                "state": "failed",
                "reason": "ESME_RINVDSTADR",
                "receipt": None,
                "receipt_text": None,
                "receipt_at": None,
                "created_at": "2026-11-18T11:00:00+08:00",
                "handed_at": "2026-11-18T10:00:00+08:00",
                "changed_at": "2026-11-18T10:00:00+08:00",
            },
        ]
        CaseOut.model_validate(body)


# ── who may what ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic eDp5", "Bearer hy_wrong", "Bearer \u00e9\u00e9"]
)
def test_without_a_good_token_nothing_is_told(server: HealthServer, header: str | None) -> None:
    nobody = Client(server.address, None)
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("POST", "/api/v1/cases"),
        ("GET", "/api/v1/cases/GD-1"),
        ("PATCH", "/api/v1/cases/GD-1"),
        ("POST", "/api/v1/cases/GD-1/withdraw"),
        ("GET", "/api/v1/evaluations"),
    ):
        reply = nobody.ask(method, path, headers=headers)
        assert (reply.status, reply.body["error"]) == (401, "unauthorised")
        assert reply.headers["www-authenticate"].startswith("Bearer ")


def test_a_scope_allows_its_own_calls_alone(server: HealthServer, token: MakeToken) -> None:
    allowed = {
        Scope.INTAKE: {"post", "patch", "withdraw", "case"},
        Scope.READ: {"case", "evaluations"},
        Scope.CENTRE: set[str](),
    }
    for scope, calls in allowed.items():
        client = Client(server.address, token(scope.value, scope))
        replies = {
            "post": client.post(posted(scope.value)),
            "patch": client.patch("GD-9", {}),
            "withdraw": client.withdraw("GD-9"),
            "case": client.case("GD-9"),
            "evaluations": client.get("/api/v1/evaluations"),
        }
        assert {name for name, reply in replies.items() if reply.status != 403} == calls


def test_a_system_sees_its_own_cases_and_a_reader_what_it_may(
    client: Client, server: HealthServer, token: MakeToken
) -> None:
    client.post(posted(dept_code="A1", area_code="622901"))
    other = Client(server.address, token("other"))
    assert other.case("GD-1").status == 404
    assert other.patch("GD-1", {"title": "x"}).status == 404
    assert other.withdraw("GD-1").status == 404
    for narrowed, status in (
        ({}, 200),
        ({"depts": ["A1", "A2"]}, 200),
        ({"depts": ["A"]}, 404),
        ({"areas": ["6229"]}, 200),
        ({"areas": ["62_9"]}, 404),
        ({"depts": ["A1"], "areas": ["6230"]}, 404),
    ):
        reader = Client(server.address, token(f"r{len(str(narrowed))}-{status}", Scope.READ, **narrowed))
        assert reader.case("GD-1").status == status, narrowed


def test_a_revoked_token_is_refused_at_once_and_its_name_can_be_given_again(
    client: Client, server: HealthServer, token: MakeToken, database: Database
) -> None:
    client.post(posted())
    with database.write_engine.begin() as connection:
        assert revoke_token(connection, START, "gongdan")
        assert not revoke_token(connection, START, "gongdan")
    assert client.case("GD-1").status == 401
    again = Client(server.address, token())
    assert again.case("GD-1").status == 200, "the name owns what was posted"
    assert client.case("GD-1").status == 401
    with pytest.raises(TokenExists):
        token()


def test_a_token_is_stored_as_its_hash_alone(token: MakeToken, rows: Any) -> None:
    secret = token(scope=Scope.READ, depts=["A1"])
    [row] = rows(api_tokens)
    assert row.secret_hash == hashlib.sha256(secret.encode()).digest()
    assert len(secret) > 40
    assert secret not in repr(row)


def test_600_requests_a_minute_are_the_limit_of_a_token(client: Client, reader: Client, hand: Hand) -> None:
    for _ in range(600):
        assert client.case("GD-1").status == 404
    hand.now += 59.5
    refused = client.case("GD-1")
    assert (refused.status, refused.body["error"], refused.headers["retry-after"]) == (429, "too_many", "1")
    assert reader.case("GD-1").status == 404, "each token has its own"
    hand.now += 0.5
    assert client.case("GD-1").status == 404


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe\xfd", b'{"a": NaN}', b"[" * 100_000, b'"\xd5\xc5"', b"9" * 5000],
    ids=["empty", "open", "bytes", "nan", "deep", "gbk", "long"],
)
def test_what_is_no_json_is_400(client: Client, raw: bytes) -> None:
    reply = client.ask("POST", "/api/v1/cases", raw=raw)
    assert (reply.status, reply.body["error"]) == (400, "not_json")


def test_a_body_has_a_limit_whether_it_tells_its_length_or_not(client: Client) -> None:
    large = b" " * (BODY_BYTES + 1)
    assert client.ask("POST", "/api/v1/cases", raw=large).status == 413
    connection = http.client.HTTPConnection(client.address.host, client.address.port, timeout=20)
    try:
        connection.putrequest("POST", "/api/v1/cases")
        connection.putheader("Authorization", f"Bearer {client.token}")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for _ in range(BODY_BYTES // 65536 + 1):
            connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 413
    finally:
        connection.close()


def test_other_addresses_and_methods_are_answered_in_json(client: Client) -> None:
    assert client.get("/api/v2/cases").body["error"] == "unknown"
    wrong = client.ask("DELETE", "/api/v1/cases/GD-1")
    assert (wrong.status, wrong.body["error"]) == (405, "method")
    assert client.get("/api/docs").status == 404


def test_a_number_stands_in_no_error(client: Client) -> None:
    number = "13812345678"
    for reply in (
        client.post({number: 1, "case_no": number, "phone": f"{number}x", "closed_at": number, "agent": [number]}),
        client.get(f"/api/v1/evaluations?{number}=1&satisfaction={number}&from={number}"),
    ):
        assert number not in json.dumps({**reply.body, "case_no": None})


def test_a_database_that_does_not_answer_is_503(
    client: Client, reader: Client, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_command: Any) -> Any:
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(PostCase, "run", classmethod(lambda _cls, _unit, _commands: refuse(None)))
    monkeypatch.setattr(WithdrawCase, "run", classmethod(lambda _cls, _unit, _commands: refuse(None)))
    one = client.post(posted())
    assert (one.status, one.body["error"], one.headers["retry-after"]) == (503, "unavailable", "5")
    many = client.post([posted("GD-1"), posted("GD-2", phone="abc"), *[posted("GD-3")] * 100])
    assert many.status == 207
    assert [item["status"] for item in many.body] == [503, 422, *[503] * 100]
    withdrawn = client.withdraw("GD-1")
    assert (withdrawn.status, withdrawn.headers["retry-after"]) == (503, "5")
    monkeypatch.undo()
    assert client.post(posted()).status == 201
    monkeypatch.setattr(door.database.read_engine, "connect", lambda: refuse(None))
    read = reader.get("/api/v1/evaluations")
    assert (read.status, read.body["error"]) == (503, "unavailable")


# ── the document ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_openapi_document_names_every_call_with_examples(client: Client) -> None:
    document = client.get("/api/openapi.json").body
    assert {path: set(item) for path, item in document["paths"].items()} == {
        "/api/v1/cases": {"post"},
        "/api/v1/cases/{case_no}": {"get", "patch"},
        "/api/v1/cases/{case_no}/withdraw": {"post"},
        "/api/v1/evaluations": {"get"},
        "/api/v1/statistics": {"get"},
        "/api/v1/centre/status": {"post"},
    }
    schemas = document["components"]["schemas"]
    case = schemas["CaseIn"]
    assert case["additionalProperties"] is False
    assert set(case["properties"]) == set(CASE_FIELDS)
    assert set(schemas["CasePatchIn"]["properties"]) == set(CASE_FIELDS) - {"service_number"}
    example = case["examples"][0]
    assert read_case(example, datetime.fromisoformat(example["closed_at"])).case_no == example["case_no"]
    assert "http" not in json.dumps(document).replace('"type": "http"', ""), "nothing is loaded from elsewhere"
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert named <= set(schemas)
    parameters = document["paths"]["/api/v1/evaluations"]["get"]["parameters"]
    assert {one["name"] for one in parameters} == {
        "from",
        "to",
        "satisfaction",
        "channel",
        "agent",
        "dept",
        "origin",
        "case_no",
        "cursor",
        "limit",
    }


def test_what_is_answered_is_what_the_document_says(client: Client) -> None:
    for raw in (posted(), posted(), posted(agent=1), {"case_no": "x"}):
        CaseAnswer.model_validate(client.post(raw).body)
    ErrorOut.model_validate(client.get("/api/v1/evaluations").body)
