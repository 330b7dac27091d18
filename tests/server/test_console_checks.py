"""`huiyin check` of the console: where its cookies lack Secure, and passwords go in clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.checks import report


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "note: console.proxies is empty"),
        ('[console]\nlisten = "[::1]:8345"\n', "note: console.proxies is empty"),
        ('[console]\nlisten = "0.0.0.0:8345"\n', "warning: console.listen 0.0.0.0:8345 is reached from elsewhere"),
        ('[console]\nlisten = "10.1.1.1:8345"\n', "warning: console.listen 10.1.1.1:8345 is reached from elsewhere"),
        ('[console]\nproxies = ["127.0.0.1"]\n', None),
        ('[console]\nlisten = "0.0.0.0:8345"\nproxies = ["10.1.1.2"]\n', None),
    ],
)
def test_what_is_said_of_the_console(tmp_path: Path, text: str, said: str | None) -> None:
    file = tmp_path / "huiyin.toml"
    file.write_text(text, encoding="utf-8")
    lines = [line for line in report(file) if "console." in line]
    assert (len(lines), bool(lines) and lines[0].startswith(said or "")) == ((1, True) if said else (0, False))
