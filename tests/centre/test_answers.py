"""What each answer of the centre means, as a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centre.answers import (
    RETRY_AFTER_MOST,
    Answer,
    Pause,
    Retry,
    Settle,
    Split,
    Word,
    ids_held,
    read_answer,
    retry_after,
)
from models.terms import Verdict
from tests.centre.rows import PLAIN

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
A, B = "0195c1d0a0007000800000000000000a", "0195c1d0a0007000800000000000000b"
ACCEPTED, DUPLICATE = Word(Verdict.ACCEPTED), Word(Verdict.DUPLICATE)


def read(status: int, body: Any = b"", members: tuple[str, ...] = (A, B), **headers: Any) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return read_answer(Answer(status, content, **headers), members, PLAIN.answer, NOW)


def result(evaluation_id: Any, status: Any, **more: Any) -> dict[str, Any]:
    return {"evaluationId": evaluation_id, "status": status, **more}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        pytest.param([result(A, "accepted"), result(B, "duplicate")], {A: ACCEPTED, B: DUPLICATE}, id="both done"),
        pytest.param([result(A, "accepted")], {A: ACCEPTED}, id="nothing said of one"),
        pytest.param([], {}, id="nothing said of any"),
        pytest.param(
            [result(A, "rejected", reason="缺少部门")], {A: Word(Verdict.REJECTED, "缺少部门")}, id="rejected"
        ),
        pytest.param([result(A, "rejected")], {A: Word(Verdict.REJECTED, "no reason given")}, id="without a reason"),
        pytest.param([result(A, "rejected", reason="评价数据不可重复!")], {A: DUPLICATE}, id="refused as held already"),
        pytest.param([result(A, " Accepted ")], {A: ACCEPTED}, id="capitals and spaces"),
        pytest.param([result(A.upper(), "accepted")], {A: ACCEPTED}, id="capital id"),
        pytest.param([result("0195c1d0-a000-7000-8000-00000000000a", "accepted")], {A: ACCEPTED}, id="hyphens"),
        pytest.param([result(A, "pending")], {}, id="unknown word"),
        pytest.param([result(A, None), result(B, 1)], {}, id="no word"),
        pytest.param(["x", None, 7, result(B, "accepted")], {B: ACCEPTED}, id="rubbish between"),
        pytest.param([result(A, "accepted"), result(A, "rejected")], {}, id="contradiction"),
        pytest.param([result(A, "rejected"), result(A, "accepted"), result(A, "accepted")], {}, id="contradicted once"),
        pytest.param([result(A, "accepted"), result(A, "duplicate")], {A: DUPLICATE}, id="twice done"),
    ],
)
def test_results(results: list[Any], words: dict[str, Word]) -> None:
    assert read(200, {"results": results}) == Settle(words)


def test_strangers_are_counted_and_believed_nothing() -> None:
    assert read(200, {"results": [result("someone", "accepted"), result(A, "accepted")]}) == Settle({A: ACCEPTED}, 1)


def test_a_long_reason_with_line_breaks_is_kept_as_one_short_line() -> None:
    decision = read(200, {"results": [result(A, "rejected", reason="a\nb\t\x00c" + "x" * 9999)]})
    reason = decision.words[A].reason
    assert reason.startswith("a b c")
    assert len(reason) == 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"\xff\xfe",
        b"[]",
        b'"results"',
        b"null",
        b"{}",
        b'{"results": {}}',
        b'{"results": null}',
        b"[" * 99999,
        b'{"results": ' + b"9" * 9999 + b"}",
    ],
    ids=lambda body: repr(body[:15]),
)
@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_broken_answer_settles_nothing(status: int, body: bytes) -> None:
    assert isinstance(read(status, body), Retry)


def test_a_byte_order_mark_breaks_nothing() -> None:
    assert read(200, b"\xef\xbb\xbf" + json.dumps({"results": [result(A, "accepted")]}).encode()) == Settle(
        {A: ACCEPTED}
    )


@pytest.mark.parametrize("status", [100, 204, 301, 302, 304, 408, 500, 502, 503, 504, 599, 600])
def test_the_same_bytes_go_again_after(status: int) -> None:
    decision = read(status, b"<html>")
    assert isinstance(decision, Retry)
    assert not decision.everyone


def test_429_holds_everyone_and_keeps_retry_after() -> None:
    decision = read(429, retry_after="17")
    assert (decision.after, decision.everyone) == (17.0, True)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_access_pauses(status: int) -> None:
    assert isinstance(read(status), Pause)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 415, 422, 431, 451, 499])
def test_any_other_4xx_splits_down_to_the_one_record(status: int) -> None:
    assert read(status, "坏") == Split(f"HTTP {status}")
    alone = read(status, "坏\n记录".encode(), members=(A,))
    assert alone == Settle({A: Word(Verdict.REJECTED, f"HTTP {status} 坏 记录")})


def test_a_4xx_that_says_the_rating_is_there_already_is_a_duplicate() -> None:
    assert read(409, "错误：评价数据不可重复".encode(), members=(A,)) == Settle({A: DUPLICATE})
    assert read(409, "错误：评价数据不可重复".encode()) == Split("HTTP 409")


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        (None, None, None),
        ("", None, None),
        ("0", None, 0.0),
        ("120", None, 120.0),
        (" 2.5 ", None, 2.5),
        ("-5", None, 0.0),
        ("999999999", None, RETRY_AFTER_MOST),
        ("inf", None, RETRY_AFTER_MOST),
        ("nan", None, None),
        ("soon", None, None),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), None, 30.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), None, 0.0),
        ("Sun, 01 Mar 2099 00:00:00 GMT", "Sun, 01 Mar 2099 00:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2099 00:00:40 GMT", "Sun, 01 Mar 2099 00:00:00 GMT", 40.0),
        ("Sun, 99 Foo 2099", None, None),
    ],
)
def test_retry_after(text: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after(Answer(503, retry_after=text, date=date), NOW) == seconds


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([A, B, "accepted", "rejected"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["results", "evaluationId", "status", "reason", "x"]), inner)
    ),
    max_leaves=20,
)


@given(
    st.integers(100, 999),
    json_values.map(lambda value: json.dumps(value).encode()) | st.binary(),
    st.none() | st.text(max_size=30),
    st.sampled_from([(A,), (A, B)]),
)
def test_no_answer_whatever_breaks_the_push(
    status: int, body: bytes, after: str | None, members: tuple[str, ...]
) -> None:
    decision = read_answer(Answer(status, body, after), members, PLAIN.answer, NOW)
    if isinstance(decision, Settle):
        assert set(decision.words) <= set(members)
        assert 200 <= status < 300 or (400 <= status < 500 and len(members) == 1)
    if isinstance(decision, Retry) and decision.after is not None:
        assert 0 <= decision.after <= RETRY_AFTER_MOST
    if isinstance(decision, Split):
        assert len(members) > 1


@given(st.lists(st.tuples(st.sampled_from([A, B, "x"]), st.sampled_from(["accepted", "duplicate", "rejected", "?"]))))
def test_a_member_is_done_only_if_the_centre_said_so_and_nothing_else(said: list[tuple[str, str]]) -> None:
    decision = read(200, {"results": [result(name, word) for name, word in said]})
    for member in (A, B):
        words = {word for name, word in said if name == member} - {"?"}
        told = decision.words.get(member)
        if not words or ("rejected" in words and len(words) > 1):
            assert told is None
        else:
            assert (told.verdict is Verdict.REJECTED) == (words == {"rejected"})


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"evaluationIds": [A, B]}, {A, B}),
        ({"evaluationIds": []}, set()),
        ([A.upper()], {A}),
        ({"ids": [A], "date": "2026-03-01"}, {A}),
        ({"evaluationIds": [A], "other": [B]}, {A}),
        ({"evaluations": [{"evaluationId": A, "satisfaction": 5}]}, {A}),
        ({"a": [A], "b": [B]}, None),
        ({}, None),
        ([1], None),
        ([{"id": A}], None),
    ],
)
def test_the_ids_that_the_centre_holds(body: Any, ids: set[str] | None) -> None:
    assert ids_held(json.dumps(body).encode(), "evaluationIds", "evaluationId") == ids
