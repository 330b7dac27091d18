"""The API of the real program: a token made beside it, a case posted to it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from config.values import Address
from models.clock import SystemClock
from tests.console.conftest import Client
from tests.server.running import Huiyin, run_command, write_config


def test_a_case_is_posted_to_the_running_server_and_told_again(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Huiyin(config).ready() as server:
        assert server.get("/healthz")[0] == 200
        made = run_command("token", "add", "gongdan", "--scope", "intake", "-c", config)
        client = Client(Address("127.0.0.1", server.port("console")), made.stdout.strip())
        closed_at = (SystemClock().now() - timedelta(minutes=1)).isoformat()
        raw = {"case_no": "GD/1", "phone": 13812345678, "closed_at": closed_at}
        reply = client.post(raw)
        assert (reply.status, reply.body["invitation"]) == (201, "waiting"), reply.body
        assert client.post(raw).status == 200
        assert client.case("GD/1").body["phone"] == "138****5678"
        assert client.post({**raw, "phone": "x13812345678"}).status == 422
        status, document = server.get("/api/openapi.json")
        assert (status, "/api/v1/cases" in json.loads(document)["paths"]) == (200, True)
        assert run_command("token", "revoke", "gongdan", "-c", config).returncode == 0
        assert client.case("GD/1").status == 401
        server.signal()
        assert server.ended() == 0
        log = "\n".join(server.lines)
    assert "12345678" not in log
    assert "Traceback" not in log


def test_a_process_without_the_console_has_no_api(tmp_path: Path) -> None:
    with Huiyin(write_config(tmp_path), "--only", "scheduler").ready() as server:
        assert server.get("/api/openapi.json", "health")[0] == 404
