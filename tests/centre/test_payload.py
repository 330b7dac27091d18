"""From an evaluation to the exact bytes, as the contract and the profile say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config.profile
from centre.payload import EvaluationRow, Mapper, Site, Unmappable
from config.profile import load_profile
from models.clock import SHANGHAI
from tests.centre.rows import MAPPER, PLAIN, SITE, row


def fields(**changes: Any) -> dict[str, Any]:
    return record(MAPPER, row(**changes))


def record(mapper: Mapper, evaluation: EvaluationRow) -> dict[str, Any]:
    [made] = json.loads(mapper.body([evaluation]))["evaluations"]
    return dict(made)


def test_a_keypad_rating_as_the_contract_names_it() -> None:
    assert fields(evaluation_id="e1", assess_time=datetime(2026, 3, 1, 18, 30, 5, 999999, tzinfo=UTC)) == {
        "evaluationId": "e1",
        "projectNo": "Hlx-1763431200.1",
        "pf": 6,
        "satisfaction": 5,
        "assessTime": "2026-03-02 02:30:05",
        "assessNumber": 1,
        "isdefault": 0,
        "serviceNumber": 1,
        "serviceName": "临夏州12345热线",
        "areaCode": "622900",
        "dataSource": "LX",
        "proManager": "2001",
    }


def test_the_bytes_are_canonical() -> None:
    body = MAPPER.body([row(evaluation_id="e1"), row(evaluation_id="e2")])
    content = json.loads(body)
    assert [record["evaluationId"] for record in content["evaluations"]] == ["e1", "e2"]
    assert body == json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    assert "临夏州".encode() in body
    assert body == MAPPER.body([row(evaluation_id="e1"), row(evaluation_id="e2")])


@pytest.mark.parametrize(
    ("channel", "origin", "pf", "isdefault"),
    [("keypad", "citizen", 6, 0), ("sms", "citizen", 7, 0), ("system", "default", 7, 1)],
)
def test_the_channel_goes_by_the_profiles_table(channel: str, origin: str, pf: int, isdefault: int) -> None:
    made = fields(channel=channel, origin=origin, satisfaction=3)
    assert (made["pf"], made["isdefault"]) == (pf, isdefault)


@pytest.mark.parametrize(
    ("changes", "detail", "words"),
    [
        pytest.param({"satisfaction": 2}, None, "电话按键评价，评价人未说明原因", id="keypad, no reason"),
        pytest.param({"satisfaction": 1, "channel": "sms"}, None, "短信评价，评价人未说明原因", id="SMS, no reason"),
        pytest.param({"satisfaction": 1, "reasons": "110,115"}, "110,115", None, id="a reason needs no words"),
        pytest.param({"satisfaction": 2, "comment": "态度差"}, None, "态度差", id="the citizen's words"),
        pytest.param({"satisfaction": 2, "comment": " \n"}, None, "电话按键评价，评价人未说明原因", id="blank words"),
        pytest.param({"satisfaction": 2, "comment": "x", "reasons": "209"}, "209", "x", id="both"),
        pytest.param({"satisfaction": 3}, None, None, id="not bad"),
        pytest.param({"satisfaction": 5, "comment": "很好"}, None, "很好", id="praise"),
    ],
)
def test_a_bad_rating_never_goes_bare_and_never_with_an_invented_reason(
    changes: dict[str, Any], detail: str | None, words: str | None
) -> None:
    made = fields(**changes)
    assert made.get("evalDetail") == detail
    assert made.get("writingEvaluation") == words


def test_the_records_own_service_and_area_go_before_the_sites() -> None:
    made = fields(service_name="退休金查询", area_code="622921")
    assert (made["serviceName"], made["areaCode"]) == ("退休金查询", "622921")


def test_what_is_not_known_is_left_out_or_empty_as_the_profile_says() -> None:
    made = record(Mapper(PLAIN, Site("热线", "622900", "")), row(agent=None))
    assert made["dataSource"] == ""
    assert "proManager" not in made
    assert "taskCode" not in made


def test_no_field_can_come_from_the_citizens_person() -> None:
    assert not {"mobile", "userName", "certKey"} & set(PLAIN.fields)


@pytest.mark.parametrize("changes", [{"satisfaction": 9}, {"agent": "\udc80"}, {"assess_time": None}])
def test_one_unmappable_record_is_sorted_out_alone(changes: dict[str, Any]) -> None:
    rows = [row(evaluation_id="good"), row(evaluation_id="bad", **changes), row(evaluation_id="fine")]
    with pytest.raises(Unmappable):
        MAPPER.body(rows)
    good, bad = MAPPER.sort_out(rows)
    assert [found.evaluation_id for found in good] == ["good", "fine"]
    assert [found.evaluation_id for found, _ in bad] == ["bad"]


def test_a_sites_profile_changes_names_codes_and_forms(tmp_path: Path) -> None:
    text = (Path(config.profile.__file__).parent / "profiles" / "plain.toml").read_text("utf-8")
    text = text.replace(
        "codes = { keypad = 6, sms = 7, default = 7 }", "codes = { keypad = 'A', sms = 'B', default = 'C' }"
    )
    text = text.replace('satisfaction = "satisfaction"', 'myd = { from = "satisfaction", as = "text" }')
    text = text.replace('format = "%Y-%m-%d %H:%M:%S"', 'format = "%Y%m%d%H%M%S"')
    text = text.replace('proManager = { from = "agent", unknown = "omit" }', "effectivEvalua = { constant = 1 }")
    (tmp_path / "own.toml").write_text(text, "utf-8")
    made = record(Mapper(load_profile("own.toml", tmp_path), SITE), row())
    assert (made["pf"], made["myd"], made["effectivEvalua"], len(str(made["assessTime"]))) == ("A", "5", 1, 14)
    assert "satisfaction" not in made
    assert "proManager" not in made


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    row=st.builds(
        EvaluationRow,
        evaluation_id=st.uuids(version=4).map(lambda value: value.hex),
        project_no=words,
        assess_number=st.integers(1, 99),
        assess_time=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
        satisfaction=st.integers(1, 5),
        channel=st.sampled_from(["keypad", "sms"]),
        origin=st.just("citizen"),
        subject_kind=st.sampled_from(["call", "case"]),
        reasons=st.none() | st.just("209,213"),
        comment=st.none() | words,
        service_number=st.integers(1, 9),
        agent=st.none() | words,
        queue=st.none() | words,
        dept_code=st.none() | words,
        dept_name=st.none() | words,
        task_code=st.none() | words,
        task_name=st.none() | words,
        service_name=st.none() | words,
        area_code=st.none() | words,
    )
)
def test_whatever_the_record_holds_the_body_says_it(row: EvaluationRow) -> None:
    body = MAPPER.body([row, row])
    first, made = json.loads(body)["evaluations"]
    assert first == made
    assert body == json.dumps({"evaluations": [made, made]}, ensure_ascii=False, separators=(",", ":")).encode()
    assert (made["evaluationId"], made["projectNo"]) == (row.evaluation_id, row.project_no)
    assert (made["satisfaction"], made["assessNumber"]) == (row.satisfaction, row.assess_number)
    assert made["serviceNumber"] == row.service_number
    assert made["assessTime"] == row.assess_time.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    assert (made["pf"], made["isdefault"]) == ({"keypad": 6, "sms": 7}[row.channel], 0)
    assert made["serviceName"] == (row.service_name or SITE.service_name)
    assert made["areaCode"] == (row.area_code or SITE.area_code)
    left_out = {"taskCode": row.task_code, "taskName": row.task_name, "deptCode": row.dept_code}
    left_out |= {"proDepart": row.dept_name, "proManager": row.agent, "evalDetail": row.reasons}
    for name, value in left_out.items():
        assert made.get(name) == value
    if row.comment and row.comment.strip():
        assert made["writingEvaluation"] == row.comment
    if row.satisfaction <= 2:
        assert made.get("evalDetail") or made.get("writingEvaluation")


def test_an_empty_batch_is_an_empty_list() -> None:
    assert MAPPER.body([]) == b'{"evaluations":[]}'
