"""Our address with its code, a reply's destination in every form, the citizen's number, and validity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.numbers import Number, NumberKind
from sms.numbers import (
    CitizenForm,
    DestinationForm,
    ValidityForm,
    citizen_number,
    link_number,
    reply_code,
    source_address,
    ton_npi,
    validity_period,
)

OURS = "106912345"


def test_the_source_is_service_number_and_code() -> None:
    assert source_address(OURS, "07") == "10691234507"
    assert source_address(OURS, "") == OURS


@pytest.mark.parametrize(("number", "code"), [(OURS, "x"), ("", "07"), ("1" * 19, "07"), ("１０６", "07"), (OURS, "٣")])
def test_a_source_that_no_carrier_takes(number: str, code: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        source_address(number, code)


@pytest.mark.parametrize(
    ("destination", "digits", "form", "code"),
    [
        ("10691234507", 2, DestinationForm.AUTO, "07"),
        ("8610691234507", 2, DestinationForm.AUTO, "07"),
        ("+8610691234507", 2, DestinationForm.AUTO, "07"),
        ("008610691234507", 2, DestinationForm.AUTO, "07"),
        ("010691234507", 2, DestinationForm.AUTO, "07"),
        ("+10691234507", 2, DestinationForm.AUTO, "07"),
        ("10691234507\0", 2, DestinationForm.AUTO, "07"),
        ("07", 2, DestinationForm.AUTO, "07"),
        ("1234507", 2, DestinationForm.AUTO, "07"),  # without 1069
        ("507", 2, DestinationForm.AUTO, "07"),
        (OURS, 2, DestinationForm.AUTO, ""),
        ("86" + OURS, 2, DestinationForm.AUTO, ""),
        ("12345", 2, DestinationForm.AUTO, ""),
        (OURS, 0, DestinationForm.AUTO, ""),
        ("86" + OURS, 0, DestinationForm.AUTO, ""),
        ("1069123450", 2, DestinationForm.AUTO, None),  # half a code
        ("106912345078", 2, DestinationForm.AUTO, None),  # more than a code
        ("10698888807", 2, DestinationForm.AUTO, None),
        ("13800138000", 2, DestinationForm.AUTO, None),
        ("7", 2, DestinationForm.AUTO, None),
        ("", 2, DestinationForm.AUTO, None),
        ("", 0, DestinationForm.AUTO, None),
        ("abc", 2, DestinationForm.AUTO, None),
        ("1069123450x", 2, DestinationForm.AUTO, None),
        ("１０６９１２３４５０７", 2, DestinationForm.AUTO, None),
        ("07", 2, DestinationForm.FULL, None),
        ("1234507", 2, DestinationForm.FULL, None),
        ("10691234507", 2, DestinationForm.FULL, "07"),
        ("07", 2, DestinationForm.CODE, "07"),
        ("10691234507", 2, DestinationForm.CODE, None),
        ("1234507", 2, DestinationForm.WITHOUT_PREFIX, "07"),
        ("07", 2, DestinationForm.WITHOUT_PREFIX, None),
    ],
)
def test_a_replys_destination(destination: str, digits: int, form: DestinationForm, code: str | None) -> None:
    assert reply_code(destination, OURS, digits, form) == code


@given(
    st.from_regex(r"10[0-9]{4,12}", fullmatch=True),
    st.integers(1, 6).flatmap(lambda digits: st.from_regex(rf"[0-9]{{{digits}}}", fullmatch=True)),
    st.sampled_from(["", "86", "+86", "0086", "0"]),
)
def test_what_we_send_comes_back(service_number: str, code: str, prefix: str) -> None:
    assert reply_code(prefix + source_address(service_number, code), service_number, len(code)) == code


@given(st.text(max_size=25), st.integers(0, 6), st.sampled_from(DestinationForm))
def test_no_destination_raises_and_a_code_has_its_digits(text: str, digits: int, form: DestinationForm) -> None:
    code = reply_code(text, OURS, digits, form)
    assert code in (None, "") or (len(code or "") == digits and (code or "").isdigit())


@pytest.mark.parametrize(
    ("form", "written", "types"),
    [
        (CitizenForm.PLAIN, "13800138000", (0, 1)),
        (CitizenForm.COUNTRY, "8613800138000", (1, 1)),
        (CitizenForm.PLUS, "+8613800138000", (1, 1)),
        (CitizenForm.TRUNK, "013800138000", (0, 1)),
    ],
)
def test_the_citizens_number_there_and_back(form: CitizenForm, written: str, types: tuple[int, int]) -> None:
    assert link_number("+8613800138000", form) == written
    assert citizen_number(written) == Number(NumberKind.MOBILE, "+8613800138000")
    assert citizen_number(written + "\0") == Number(NumberKind.MOBILE, "+8613800138000")
    assert ton_npi(form) == types


def test_no_sms_goes_abroad() -> None:
    with pytest.raises(ValueError, match="foreign"):
        link_number("+85212345678", CitizenForm.PLAIN)


NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)  # 18:00 in Shanghai


@pytest.mark.parametrize(
    ("form", "left", "written"),
    [
        (ValidityForm.RELATIVE, timedelta(hours=3), "000000030000000R"),
        (ValidityForm.RELATIVE, timedelta(hours=2, minutes=5, seconds=9.7), "000000020509000R"),
        (ValidityForm.RELATIVE, timedelta(days=1, hours=1), "000001010000000R"),
        (ValidityForm.RELATIVE, timedelta(days=90), "000030000000000R"),
        (ValidityForm.RELATIVE, timedelta(milliseconds=1), "000000000001000R"),
        (ValidityForm.ABSOLUTE, timedelta(hours=3), "261122210000032+"),
        (ValidityForm.ABSOLUTE, timedelta(hours=7), "261123010000032+"),
        (ValidityForm.NONE, timedelta(hours=3), ""),
    ],
)
def test_validity(form: ValidityForm, left: timedelta, written: str) -> None:
    assert validity_period(form, NOW, NOW + left) == written
    assert len(written) in (0, 16)


@pytest.mark.parametrize("form", list(ValidityForm))
def test_a_validity_that_is_over_is_not_sent(form: ValidityForm) -> None:
    with pytest.raises(ValueError, match="next sending hours"):
        validity_period(form, NOW, NOW)
