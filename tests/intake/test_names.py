"""Agent numbers, case numbers and texts as they come from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.names import clean, normalise_agent, project_no, project_no_of_call


@pytest.mark.parametrize(
    ("interface", "agent"),
    [
        ("PJSIP/1001", "1001"),
        ("SIP/1001", "1001"),
        ("SIP/1001-0000002a", "1001"),
        ("PJSIP/1001-00000001;2", "1001"),
        ("Local/2001@agents/n", "2001"),
        ("Local/2001@agents-00000003;1", "2001"),
        ("2001@agents/n", "2001"),
        ("Agent/0007", "0007"),
        ("2001", "2001"),
        ("0012", "0012"),
        ("Li Lei (2001)", "Li Lei (2001)"),
        ("工号2001", "工号2001"),
        ("", None),
        (None, None),
        ("   ", None),
    ],
)
def test_agents(interface: str | None, agent: str | None) -> None:
    assert normalise_agent(interface) == agent


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\r\nSET VARIABLE x", "aSET VARIABLE x"),
        ("x\x00y\x1b[31m", "xy[31m"),
        ("\ud800caller\udcff", "caller"),
        ("  按键  ", "按键"),
        ("\u202eevil", "evil"),
        (None, None),
        ("\n", None),
    ],
)
def test_clean(text: str | None, kept: str | None) -> None:
    assert clean(text, 50) == kept


@given(st.text(), st.integers(1, 60))
def test_clean_text_is_short_printable_and_stays_clean(text: str, length: int) -> None:
    kept = clean(text, length)
    if kept is not None:
        assert 0 < len(kept) <= length
        assert kept.isprintable()
        assert clean(kept, length) == kept
        kept.encode()


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
def test_a_project_number_fits_and_is_stable(text: str) -> None:
    number = project_no(text)
    assert 1 <= len(number) <= 50
    assert number == project_no(text)
    assert (number == text) is (len(text) <= 50)


def test_long_call_keys_stay_apart() -> None:
    assert project_no_of_call("lx-1763431200.1") == "Hlx-1763431200.1"
    one, two = (project_no_of_call("x" * 60 + end) for end in "12")
    assert one != two
    assert one.startswith("H")
    assert len(one) == 50
