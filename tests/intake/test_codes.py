"""Extension codes: never used, longest free, the one ended longest ago, none."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.codes import Choice, GivenCode, choose_code
from tests.moments import START


def had(*codes: tuple[str, int | None]) -> list[GivenCode]:
    """Codes with the hour at which each one's invitation ended; None: it is open."""
    return [
        GivenCode(code, f"of {code}", None if hour is None else START + timedelta(hours=hour)) for code, hour in codes
    ]


ALL = [(f"{n}", n) for n in range(10)]


@pytest.mark.parametrize(
    ("label", "given_codes", "digits", "choice"),
    [
        ("the first one", had(), 2, Choice("00", taken=False)),
        ("of one digit", had(), 1, Choice("0", taken=False)),
        ("of six", had(), 6, Choice("000000", taken=False)),
        ("the next", had(("00", None), ("01", None)), 2, Choice("02", taken=False)),
        ("never used goes before long free", had(("00", 0)), 2, Choice("01", taken=False)),
        ("a gap", had(("00", None), ("02", None)), 2, Choice("01", taken=False)),
        ("the longest free", had(*ALL), 1, Choice("0", taken=True)),
        ("whatever its place", had(*ALL[1:], ("0", 40)), 1, Choice("1", taken=True)),
        ("not an open one", had(("0", None), ("1", None), *ALL[2:]), 1, Choice("2", taken=True)),
        ("all open", had(*((code, None) for code, _ in ALL)), 1, None),
        ("only the last digit free", had(*((code, None) for code, _ in ALL[:9])), 1, Choice("9", taken=False)),
        ("codes of another length are no codes", had(("0", None), ("", None), ("000", 1)), 2, Choice("00", False)),
        ("nor are they taken anew", had(*((c, None) for c, _ in ALL), ("00", 0), ("", 0)), 1, None),
    ],
)
def test_the_next_code(label: str, given_codes: list[GivenCode], digits: int, choice: Choice | None) -> None:
    assert choose_code(given_codes, digits) == choice, label


_ENDS = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(
    lambda t: t.replace(tzinfo=START.tzinfo)
)


@given(
    st.dictionaries(st.integers(0, 9).map(str) | st.integers(0, 99).map("{:02}".format), _ENDS), st.sampled_from([1, 2])
)
def test_whatever_was_given_the_order_holds(ends: dict[str, datetime | None], digits: int) -> None:
    given_codes = [GivenCode(code, code, end) for code, end in ends.items()]
    choice = choose_code(given_codes, digits)
    fitting = {code: end for code, end in ends.items() if len(code) == digits}
    if choice is None:
        assert len(fitting) == 10**digits
        assert all(end is None for end in fitting.values())
        return
    assert len(choice.code) == digits
    assert choice.code.isdigit()
    assert choice.taken is (choice.code in fitting)
    if choice.taken:
        assert len(fitting) == 10**digits
        ended = [end for end in fitting.values() if end is not None]
        assert fitting[choice.code] == min(ended)


@given(st.lists(st.booleans(), max_size=40))
def test_open_codes_of_a_number_are_always_different(endings: list[bool]) -> None:
    """Invitations come and end in any order; no two that are open share a code."""
    codes: dict[str, GivenCode] = {}
    moment = START
    for ends in endings:
        moment += timedelta(minutes=1)
        choice = choose_code(list(codes.values()), 1)
        still_open = {code for code, one in codes.items() if one.ended_at is None}
        if choice is None:
            assert len(still_open) == 10
        else:
            assert choice.code not in still_open
            codes[choice.code] = GivenCode(choice.code, "", None)
        if ends and (oldest := min((c for c, one in codes.items() if one.ended_at is None), default=None)) is not None:
            codes[oldest] = GivenCode(oldest, "", moment)
