"""What a case system may post, field by field."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.names import case_number
from intake.numbers import NumberKind
from intake.posted import CASE_FIELDS, CaseRefused, PostedCase, Problem, read_case, read_case_no, read_patch
from tests.moments import START

CASE: dict[str, Any] = {"case_no": "GD-1", "phone": "13800000001", "closed_at": "2026-11-18T10:00:00"}


def read(**more: Any) -> PostedCase:
    return read_case({**CASE, **more}, START)


def refused(**more: Any) -> dict[str, str]:
    with pytest.raises(CaseRefused) as caught:
        read(**more)
    return {problem.field: problem.sentence for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("phone", "kind", "value"),
    [
        ("13800000001", "mobile", "+8613800000001"),
        (13800000001, "mobile", "+8613800000001"),
        (13800000001.0, "mobile", "+8613800000001"),
        ("13800000001.0", "mobile", "+8613800000001"),
        (" 13800000001.0 ", "mobile", "+8613800000001"),
        ("138.0000.0001", "mobile", "+8613800000001"),
        ("10086.0", "short", "10086"),
        ("+86 138-0000-0001", "mobile", "+8613800000001"),
        ("008613800000001", "mobile", "+8613800000001"),
        ("１３８０００００００１", "mobile", "+8613800000001"),
        ("0930-6212345", "landline", "+869306212345"),
        ("0930-6212345转801", "landline", "+869306212345"),
        ("0930-6212345 ext. 801", "landline", "+869306212345"),
        ("+12125552368", "foreign", "+12125552368"),
        ("10086", "short", "10086"),
        (8001, "internal", "8001"),
        ("1380000000112", "invalid", "1380000000112"),
        ("13800000001、13900000002", "invalid", "1380000000113900000002"),
        ("0", "invalid", "0"),
        (None, "anonymous", None),
        ("", "anonymous", None),
        (" anonymous ", "anonymous", None),
    ],
)
def test_a_number_is_taken_whatever_it_is(phone: Any, kind: str, value: str | None) -> None:
    number = read(phone=phone).number
    assert (number.kind, number.value) == (NumberKind(kind), value)


@pytest.mark.parametrize(
    "phone",
    ["abc", "张三", "12ab", "1380000000l", "-", "+", "tel", True, [], {}, -1, 1.5, 1e300, "1" * 41, "١x", "1.38E+10"],
)
def test_text_that_is_no_number_is_refused_with_the_field(phone: Any) -> None:
    assert list(refused(phone=phone)) == ["phone"]


@pytest.mark.parametrize(
    ("closed_at", "utc"),
    [
        ("2026-11-18T10:00:00", "2026-11-18T02:00:00"),
        ("2026-11-18 10:00:00", "2026-11-18T02:00:00"),
        ("2026-11-18T10:00:00+08:00", "2026-11-18T02:00:00"),
        ("2026-11-18T02:00:00Z", "2026-11-18T02:00:00"),
        ("2026-11-18t02:00:00z", "2026-11-18T02:00:00"),
        ("2026-11-17T20:30:00.25-05:30", "2026-11-18T02:00:00.250000"),
        ("2026-11-18T10:05:00", "2026-11-18T02:05:00"),
    ],
)
def test_times_are_rfc_3339_and_shanghai_where_they_do_not_say(closed_at: str, utc: str) -> None:
    assert read(closed_at=closed_at).content.closed_at == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "closed_at",
    [
        "2026-11-18",
        "20261118T100000",
        "2026-W47-3T10:00:00",
        "2026-11-31T10:00:00",
        "2026-11-18T25:00:00",
        "2026-11-18T10:00",
        "2026-11-18T10:05:01",
        "1999-12-31T10:00:00Z",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-08:00",
        "yesterday",
        "",
        1763431200,
        True,
    ],
)
def test_what_is_no_time_or_lies_ahead_is_refused(closed_at: Any) -> None:
    assert list(refused(closed_at=closed_at)) == ["closed_at"]


@pytest.mark.parametrize(
    ("case_no", "sentence"),
    [
        (" \u3000", "is empty"),
        ("\ud800", "holds half a character (a surrogate without its partner)"),
        ("GD\udc007", "holds half a character (a surrogate without its partner)"),
        ("\x00", "holds control characters"),
        ("GD\u20287", "holds control characters"),
        ("a" * 201, "has more than 200 characters"),
    ],
)
def test_a_case_number_that_cannot_be_is_refused_with_what_is_wrong(case_no: str, sentence: str) -> None:
    assert refused(case_no=case_no) == {"case_no": sentence}


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("agent", "0042", "0042"),
        ("agent", 42, "42"),
        ("agent", "PJSIP/1001", "1001"),
        ("dept_code", " 11622900MB1234567X ", "11622900MB1234567X"),
        ("title", "路灯\n不亮\x00", "路灯不亮"),
        ("title", "", None),
        ("title", None, None),
        ("lang", None, "zh"),
        ("consent", False, False),
        ("batch_id", "B/1", "B/1"),
    ],
)
def test_a_field_is_normalised(field: str, given: Any, kept: Any) -> None:
    assert getattr(read(**{field: given}).content, field) == kept


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("case_no", ""),
        ("case_no", "  "),
        ("case_no", None),
        ("case_no", 17),
        ("case_no", "a\x00b"),
        ("case_no", "a\nb"),
        ("case_no", "a" * 201),
        ("agent", 4.2),
        ("agent", True),
        ("agent", "4" * 65),
        ("title", 5),
        ("title", "长" * 501),
        ("task_code", ["x"]),
        ("service_number", 0),
        ("service_number", "1"),
        ("service_number", True),
        ("service_number", 1.0),
        ("group_size", 3),
        ("consent", "yes"),
        ("consent", 1),
        ("lang", "chinese please"),
        ("phone_number", "13800000001"),
    ],
)
def test_what_a_field_cannot_take_is_refused_with_its_name(field: str, given: Any) -> None:
    assert list(refused(**{field: given})) == [field]


@pytest.mark.parametrize("case_no", ["GD/7 甲", "%2F", "a?b#c&d=e", "..", "GD\u30007", "👍", "a" * 200, "'; DROP--"])
def test_a_case_number_may_hold_any_characters(case_no: str) -> None:
    assert read(case_no=case_no).case_no == case_no
    assert read_case_no(case_no) == case_no
    assert case_number(case_no) == case_no, "a call's case and a posted one find each other"


def test_every_problem_is_named_at_once_in_the_order_of_the_fields() -> None:
    with pytest.raises(CaseRefused) as caught:
        read_case({"x": 1, "agent": [], "title": 3, "phone": "abc"}, START)
    assert [problem.field for problem in caught.value.problems] == [
        "case_no",
        "phone",
        "closed_at",
        "title",
        "agent",
        "x",
    ]


@pytest.mark.parametrize("raw", [None, [], "GD-1", 7, True])
def test_what_is_no_object_is_no_case(raw: Any) -> None:
    with pytest.raises(CaseRefused):
        read_case(raw, START)


def test_the_phone_must_be_there_or_null() -> None:
    with pytest.raises(CaseRefused) as caught:
        read_case({name: value for name, value in CASE.items() if name != "phone"}, START)
    assert [problem.field for problem in caught.value.problems] == ["phone"]


def test_no_sentence_repeats_what_was_posted() -> None:
    number = "13812345678"
    with pytest.raises(CaseRefused) as caught:
        read_case({**dict.fromkeys(CASE_FIELDS, f"{number}\x00x"), number: 1, f"f{number}": 2}, START)
    assert number not in str(caught.value)
    assert number not in repr(read(phone=number)), "nor does a log that shows the whole"


def test_a_patch_names_what_is_to_change() -> None:
    patch = read_patch({"title": "井盖", "consent": None, "agent": 7}, START, case_no="GD-1")
    assert (dict(patch.changes), patch.number) == ({"consent": None, "title": "井盖", "agent": "7"}, None)
    assert read_patch({"phone": None}, START, case_no="GD-1").number is not None
    assert read_patch({"lang": None}, START, case_no="GD-1").changes == {"lang": "zh"}
    assert read_patch({"case_no": "GD-1"}, START, case_no="GD-1").changes == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"case_no": "GD-2"}, "case_no"),
        ({"service_number": 2}, "service_number"),
        ({"closed_at": None}, "closed_at"),
        ({"closed_at": "2026-11-19T10:00:00"}, "closed_at"),
        ({"colour": "red"}, "colour"),
        ({"phone": "abc"}, "phone"),
    ],
)
def test_a_patch_refuses_what_cannot_change(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(CaseRefused) as caught:
        read_patch(changes, START, case_no="GD-1")
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_patch_that_makes_no_sense_with_the_rest_is_refused() -> None:
    content = read(batch_id="B1", group_size=2).content
    with pytest.raises(CaseRefused):
        read_patch({"batch_id": None}, START, case_no="GD-1").applied(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(CASE_FIELDS) | st.text(max_size=12), json_values, max_size=8) | json_values)
def test_whatever_is_posted_is_taken_or_refused_by_name(raw: Any) -> None:
    problems: tuple[Problem, ...] = ()
    case = None
    try:
        case = read_case(raw, START)
    except CaseRefused as refusal:
        problems = refusal.problems
    assert (case is None) is bool(problems)
    if case is not None:
        assert case.case_no == case_number(case.case_no)
        assert case.content.closed_at <= START + timedelta(minutes=5)


@given(st.text(max_size=60) | st.integers(-10, 10**20))
def test_normalising_a_phone_twice_is_normalising_it_once(phone: Any) -> None:
    try:
        number = read(phone=phone).number
    except CaseRefused:
        return
    if number.value is not None:
        again = read(phone=number.value).number
        assert again == number


def test_what_json_makes_of_a_case_is_read_the_same() -> None:
    raw = json.loads(json.dumps({**CASE, "phone": 13800000001, "agent": 42, "title": "路灯"}))
    assert read_case(raw, START) == read(phone="13800000001", agent="42", title="路灯")
