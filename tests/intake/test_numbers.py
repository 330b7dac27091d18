"""Numbers as callers, carriers and case systems write them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.numbers import NumberKind, normalise_number

K = NumberKind


@pytest.mark.parametrize(
    ("raw", "kind", "value"),
    [
        # mobiles, in every form
        ("13800138000", K.MOBILE, "+8613800138000"),
        ("+8613800138000", K.MOBILE, "+8613800138000"),
        ("8613800138000", K.MOBILE, "+8613800138000"),
        ("008613800138000", K.MOBILE, "+8613800138000"),
        ("013800138000", K.MOBILE, "+8613800138000"),
        ("138 0013 8000", K.MOBILE, "+8613800138000"),
        ("138-0013-8000", K.MOBILE, "+8613800138000"),
        ("１３８００１３８０００", K.MOBILE, "+8613800138000"),
        ("19912345678", K.MOBILE, "+8619912345678"),
        ("17012345678", K.MOBILE, "+8617012345678"),
        # landlines with area code (0930: Linxia)
        ("09306212345", K.LANDLINE, "+869306212345"),
        ("0930-6212345", K.LANDLINE, "+869306212345"),
        ("(0930)6212345", K.LANDLINE, "+869306212345"),
        ("01012345678", K.LANDLINE, "+861012345678"),
        ("+869306212345", K.LANDLINE, "+869306212345"),
        # no SMS reaches these
        ("+85291234567", K.FOREIGN, "+85291234567"),
        ("0085291234567", K.FOREIGN, "+85291234567"),
        ("+12025550123", K.FOREIGN, "+12025550123"),
        ("8001", K.INTERNAL, "8001"),
        ("801", K.INTERNAL, "801"),
        ("12345", K.SHORT, "12345"),
        ("10086", K.SHORT, "10086"),
        ("95588", K.SHORT, "95588"),
        ("6212345", K.INVALID, "6212345"),
        ("1380013", K.INVALID, "1380013"),
        ("138001380001234", K.INVALID, "138001380001234"),
        ("abc123def", K.INVALID, "123"),
        # withheld
        (None, K.ANONYMOUS, None),
        ("", K.ANONYMOUS, None),
        ("  ", K.ANONYMOUS, None),
        ("unknown", K.ANONYMOUS, None),
        ("Anonymous", K.ANONYMOUS, None),
        ("匿名", K.ANONYMOUS, None),
        ("0", K.ANONYMOUS, None),
    ],
)
def test_forms(raw: str | None, kind: NumberKind, value: str | None) -> None:
    number = normalise_number(raw)
    assert (number.kind, number.value) == (kind, value)


@given(st.text(max_size=80))
def test_no_text_raises_and_what_is_kept_is_digits(text: str) -> None:
    number = normalise_number(text)
    assert (number.value is None) is (number.kind is K.ANONYMOUS)
    if number.value is not None:
        assert number.value.removeprefix("+").isascii()
        assert number.value.removeprefix("+").isdigit()
        assert len(number.value) <= 33


@given(st.from_regex(r"1(3[0-9]|5[0-35-9]|8[0-9])[0-9]{8}", fullmatch=True))
def test_every_form_of_a_mobile_is_the_same_citizen(mobile: str) -> None:
    forms = [
        mobile,
        f"+86{mobile}",
        f"86{mobile}",
        f"0086{mobile}",
        f"0{mobile}",
        f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}",
    ]
    assert {normalise_number(form).value for form in forms} == {f"+86{mobile}"}
    assert normalise_number(normalise_number(mobile).value).value == f"+86{mobile}"


@given(st.from_regex(r"1[0-9]{10}", fullmatch=True))
def test_eleven_digits_are_what_the_library_says(digits: str) -> None:
    """Most are told by their first five digits; the library is asked for each of them here."""
    try:
        asked = phonenumbers.parse(digits, "CN")
    except phonenumbers.NumberParseException:
        assert normalise_number(digits).kind is K.INVALID
        return
    mobile = phonenumbers.number_type(asked) == phonenumbers.PhoneNumberType.MOBILE and asked.country_code == 86
    for raw in (digits, f"+86{digits}", f"86{digits}"):
        found = normalise_number(raw)
        assert (found.kind is K.MOBILE) is mobile
        if mobile:
            assert found.value == f"+86{digits}"
