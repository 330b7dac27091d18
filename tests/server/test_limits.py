"""What the kernel must grant before callers come."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.limits import BacklogTooSmall, ensure_backlog


@pytest.mark.parametrize(("granted", "max_calls"), [("4096", 6000), ("4096", 100), ("128", 128), ("65535", 60000)])
def test_a_queue_that_holds_a_burst(tmp_path: Path, granted: str, max_calls: int) -> None:
    file = tmp_path / "somaxconn"
    file.write_text(granted + "\n")
    ensure_backlog(max_calls, file)


@pytest.mark.parametrize(
    ("granted", "max_calls", "needed"), [("128", 6000, 4096), ("128", 129, 129), ("4095", 6000, 4096)]
)
def test_a_queue_that_the_kernel_would_cut(tmp_path: Path, granted: str, max_calls: int, needed: int) -> None:
    file = tmp_path / "somaxconn"
    file.write_text(granted + "\n")
    with pytest.raises(
        BacklogTooSmall, match=rf"run: sysctl -w net\.core\.somaxconn={needed}, or lower ivr\.max_calls"
    ):
        ensure_backlog(max_calls, file)


@pytest.mark.parametrize("content", [None, "", "many"])
def test_where_nothing_is_known_nothing_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "somaxconn"
    if content is not None:
        file.write_text(content)
    ensure_backlog(6000, file)
