"""The bytes that fuzzing reached and found (tools/fuzz_pdu.py) keep the rules of any_bytes.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sms.any_bytes import check

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path.name for path in CORPUS.glob("found-*"))


def inputs() -> list[bytes]:
    """Everything in the corpus."""
    reached = (CORPUS / "reached.hex").read_text("ascii").split()
    return [*map(bytes.fromhex, reached), *((CORPUS / name).read_bytes() for name in FOUND)]


def test_what_was_reached_holds() -> None:
    reached = (CORPUS / "reached.hex").read_text("ascii").split()
    assert len(reached) > 200
    for line in reached:
        check(bytes.fromhex(line))


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_holds(name: str) -> None:
    check((CORPUS / name).read_bytes())
