"""Fault points: off by default, at the named point, at the named pass."""

from __future__ import annotations

import pytest

from server.faults import POINTS, UnknownFault, faults_from


@pytest.mark.parametrize(
    ("variable", "passes_until_death"),
    [("before-commit", 1), ("before-commit:1", 1), ("before-commit:7", 7)],
)
def test_the_process_dies_at_the_named_pass(variable: str, passes_until_death: int) -> None:
    died: list[int] = []
    fault = faults_from({"HUIYIN_FAULT": variable}, lambda: died.append(1))
    for _ in range(passes_until_death - 1):
        fault("before-commit")
        fault("after-commit")
    assert died == []
    fault("before-commit")
    assert died == [1]
    fault("before-commit")
    assert died == [1]


def test_without_the_variable_nothing_happens() -> None:
    died: list[int] = []
    fault = faults_from({}, lambda: died.append(1))
    for point in POINTS:
        fault(point)
    assert died == []


@pytest.mark.parametrize("variable", ["nowhere", "before-commit:x", ":3"])
def test_a_name_that_is_no_point_is_refused(variable: str) -> None:
    with pytest.raises(UnknownFault, match="known are: before-commit"):
        faults_from({"HUIYIN_FAULT": variable})
