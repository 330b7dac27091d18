"""The key map: valid maps and their versions, and each way to be invalid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.keymap import KEY_ORDER, KeyMap, key_map_problems
from models.terms import Satisfaction

DEFAULT = {"1": 5, "2": 4, "3": 3, "4": 2, "5": 1}


def test_the_default_map() -> None:
    key_map = KeyMap.of(DEFAULT)
    assert key_map.version == "1=5,2=4,3=3,4=2,5=1"
    assert key_map.level_of("1") is Satisfaction.VERY_SATISFIED
    assert key_map.level_of("5") is Satisfaction.VERY_DISSATISFIED
    assert key_map.level_of("6") is None
    assert key_map.level_of("") is None
    assert key_map.key_of(Satisfaction.DISSATISFIED) == "4"


def test_keys_come_in_the_order_of_a_telephone() -> None:
    key_map = KeyMap.of({"0": 1, "9": 2, "2": 5})
    assert key_map.keys() == ("2", "9", "0")
    assert list(key_map.items()) == [
        ("2", Satisfaction.VERY_SATISFIED),
        ("9", Satisfaction.DISSATISFIED),
        ("0", Satisfaction.VERY_DISSATISFIED),
    ]
    assert key_map.key_of(Satisfaction.SATISFIED) is None


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"1": 5, "2": 5}, "keys 1 and 2 both mean 5"),
        ({"1": 5}, "fewer than two levels"),
        ({}, "fewer than two levels"),
        ({"1": 5, "2": 0}, "key 2 means 0"),
        ({"1": 5, "2": 6}, "key 2 means 6"),
        ({"1": 5, "*": 4}, "'*' is no key"),
        ({"1": 5, "12": 4}, "'12' is no key"),
        ({"1": 5, "": 4}, "'' is no key"),
        ({"1": 5, "１": 4}, "'１' is no key"),
    ],
)
def test_what_a_map_must_not_be(keys: dict[str, int], problem: str) -> None:
    assert any(problem in found for found in key_map_problems(keys))
    with pytest.raises(ValueError, match=r".+"):
        KeyMap.of(keys)


@given(
    st.lists(st.sampled_from(list(Satisfaction)), min_size=2, max_size=5, unique=True).flatmap(
        lambda levels: st.permutations(KEY_ORDER).map(lambda keys: dict(zip(keys, levels, strict=False)))
    )
)
def test_a_version_says_the_whole_map(keys: dict[str, int]) -> None:
    key_map = KeyMap.of(keys)
    assert KeyMap.parse(key_map.version) == key_map
    assert {key: int(level) for key, level in key_map.items()} == {key: int(level) for key, level in keys.items()}
    assert all(key_map.key_of(level) == key for key, level in key_map.items())
