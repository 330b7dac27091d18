"""A profile is validated whole, and every mistake is told at once with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

import config.profile
from config.profile import ProfileInvalid, Source, load_profile, shipped_profiles
from config.settings import PushCalls

SHIPPED = (Path(config.profile.__file__).parent / "profiles" / "plain.toml").read_text("utf-8")


def problems(text: str, folder: Path) -> dict[str, str]:
    (folder / "own.toml").write_text(text, "utf-8")
    with pytest.raises(ProfileInvalid) as caught:
        load_profile("own.toml", folder)
    return dict(caught.value.errors)


def test_the_shipped_profile_is_valid_and_keeps_its_order() -> None:
    assert "plain" in shipped_profiles()
    profile = load_profile("plain", Path())
    assert list(profile.fields)[:4] == ["evaluationId", "projectNo", "pf", "satisfaction"]
    assert profile.push_calls is PushCalls.WITHOUT_CASE
    needed = "evaluationId projectNo pf satisfaction assessTime assessNumber isdefault serviceName areaCode dataSource"
    assert set(needed.split()) <= set(profile.fields)


def test_every_source_is_told_in_the_shipped_file() -> None:
    assert [source for source in Source if source not in SHIPPED] == []


@pytest.mark.parametrize(
    ("old", "new", "key", "part"),
    [
        pytest.param("sms = 7, ", "", "fields.pf", "no entry for sms", id="code missing"),
        pytest.param("default = 7 }", "default = 7, fax = 9 }", "fields.pf", "fax", id="code too many"),
        pytest.param('"data_source"', '"mobile"', "fields.dataSource.from", "agent", id="unknown source"),
        pytest.param('sms = "短信评价，评价人未说明原因"', "", "bad_without_reason.sms", "required", id="no true text"),
        pytest.param('"%Y-%m-%d %H:%M:%S"', '"%Y-%m-%d"', "time.format", "seconds", id="coarse time"),
        pytest.param('"Asia/Shanghai"', '"Asia/Lanzhou"', "time.zone", "time zone", id="no such zone"),
        pytest.param('"json-hmac"', '"sm2"', "protocol", "json-hmac", id="protocol"),
        pytest.param('push_calls = "without_case"', 'push_calls = "yes"', "push_calls", "never", id="push_calls"),
        pytest.param('list = "results"', 'lists = "results"', "answer.list", "required", id="misspelt key"),
        pytest.param('duplicate = ["duplicate"]', 'duplicate = ["Accepted"]', "answer", "two", id="ambiguous word"),
        pytest.param('accepted = ["accepted"]', "accepted = []", "answer.accepted", "1", id="nothing accepted"),
        pytest.param('path = "/evaluations"', 'path = "evaluations"', "request.path", "match", id="path"),
        pytest.param(
            'evaluationId = "evaluation_id"', 'evaluationId = { constant = "x" }', "fields", "evaluation_id", id="no id"
        ),
        pytest.param(
            'areaCode = "area_code"', 'areaCode = { from = "area_code", constant = 1 }', "fields.areaCode", "either"
        ),
        pytest.param(
            'areaCode = "area_code"', 'areaCode = { from = "area_code", codes = { a = 1 } }', "fields.areaCode", "codes"
        ),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, old: str, new: str, key: str, part: str) -> None:
    changed = SHIPPED.replace(old, new)
    assert changed != SHIPPED
    assert part in problems(changed, tmp_path)[key]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = SHIPPED.replace("sms = 7, ", "").replace("json-hmac", "soap").replace('"%Y-%m-%d %H:%M:%S"', '"%Y"')
    assert set(problems(text + "\nextra = 1\n", tmp_path)) == {
        "fields.pf",
        "protocol",
        "time.format",
        "reconcile.extra",
    }


@pytest.mark.parametrize(
    ("name", "part"), [("fancy", "plain"), ("none.toml", "cannot be read"), ("./x/none.toml", "cannot be read")]
)
def test_a_profile_that_is_not_there(tmp_path: Path, name: str, part: str) -> None:
    with pytest.raises(ProfileInvalid, match=part) as caught:
        load_profile(name, tmp_path)
    assert [key for key, _ in caught.value.errors] == ["centre.profile"]


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    assert "not TOML" in problems("fields = [", tmp_path)["centre.profile"]
