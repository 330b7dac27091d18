"""What stands in the bars of the trends' charts, and where a click on each leads."""

from __future__ import annotations

from datetime import date

from console.charts import Bar
from console.figures import By, Figures, Period, Reason, Row, Slice
from console.formulas import Counts, wilson
from console.trend_charts import levels_by_day, levels_by_hour, reasons_given, responses, satisfactions
from models.terms import SubjectKind

DAY = date(2026, 11, 18)
PERIOD = Period(date(2026, 11, 1), DAY)
SOME = Figures(call=Counts(30, 5, 2, 2, 1, asked=50, responded=40), case=Counts(1, 0, 0, 0, 0))


def test_the_levels_of_a_day_stand_on_one_another_the_bad_ones_lowest() -> None:
    chart = levels_by_day([Row("2026-11-18", SOME)], SubjectKind.CALL)
    assert [(bar.part, bar.value) for bar in chart.bars] == [
        ("非常不满意", 1), ("不满意", 2), ("基本满意", 2), ("满意", 5), ("非常满意", 30),
    ]  # fmt: skip
    assert (
        chart.bars[0].href
        == "/ratings?from=2026-11-18&to=2026-11-18&satisfaction=1&origin=citizen&kind=call&counted=yes"
    )
    assert chart.parts == tuple(bar.part for bar in chart.bars)


def test_the_hours_of_a_day_are_all_there_and_each_leads_to_its_ratings() -> None:
    chart = levels_by_hour({9: SOME, 11: Figures(call=Counts(1)), 20: Figures(case=Counts(1))}, SubjectKind.CALL, DAY)
    assert list(dict.fromkeys(bar.label for bar in chart.bars)) == ["9时", "10时", "11时"]
    assert [bar.value for bar in chart.bars[:6]] == [1, 2, 2, 5, 30, 0]
    assert chart.bars[0].href.startswith("/ratings?from=2026-11-18&to=2026-11-18&hour=9&satisfaction=1&")
    assert levels_by_hour({}, SubjectKind.CALL, DAY).bars == ()


def test_satisfaction_has_its_interval_and_few_have_no_rate() -> None:
    rows = [Row("2001", SOME), Row("", Figures(call=Counts(4)))]
    chart = satisfactions(rows, PERIOD, By.AGENT, SubjectKind.CALL, 3, named=lambda key: f"王 ({key})")
    interval = wilson(37, 40)
    address = "/ratings?from=2026-11-01&to=2026-11-18&agent="
    assert chart.bars == (
        Bar(
            "王 (2001)",
            37 / 40,
            f"{address}2001&origin=citizen&kind=call&counted=yes",
            40,
            "",
            interval.low,
            interval.high,
        ),
        Bar("未注明", None, f"{address}&origin=citizen&kind=call&counted=yes", 4),
    )


def test_the_response_rate_beside_it_keeps_the_part_that_is_looked_at() -> None:
    rows = [Row("sms", SOME)]
    [bar] = responses(rows, PERIOD, By.CHANNEL, part=Slice(dept="X")).bars
    assert bar.href == "/asked?what=asked&from=2026-11-01&to=2026-11-18&channel=sms&dept=X"
    [of_calls] = responses(rows, PERIOD, "team", kind=SubjectKind.CALL).bars
    assert of_calls.href == "/asked?what=asked&from=2026-11-01&to=2026-11-18&team=sms&kind=call"
    assert (of_calls.value, of_calls.n) == (0.8, 50)
    assert [bar.label for bar in responses([Row("", SOME)], PERIOD, "team").bars] == ["未分班组"]
    assert (bar.value, bar.n) == (0.8, 50)


def test_reasons_are_named_and_none_is_said_so() -> None:
    words = {"209": "未在承诺时间办结"}.__getitem__
    chart = reasons_given([Reason("209", 3), Reason("", 1)], PERIOD, SubjectKind.CALL, named=words)
    assert [(bar.label, bar.value) for bar in chart.bars] == [("未在承诺时间办结", 3), ("未说明原因", 1)]
    address = "/ratings?from=2026-11-01&to=2026-11-18&origin=citizen&kind=call&reason="
    assert [bar.href for bar in chart.bars] == [
        f"{address}209&counted=yes",
        f"{address}-&satisfaction=1%2C2&counted=yes",
    ]


def test_a_bar_of_a_span_of_days_leads_to_all_of_them() -> None:
    bar = levels_by_day([Row("2026-11-16/2026-11-22", SOME)], SubjectKind.CALL).bars[0]
    assert (bar.label, bar.href[:41]) == ("11-16~11-22", "/ratings?from=2026-11-16&to=2026-11-22&sa")
