"""Charts: what stands in a page is SVG without style, script or outside address; a child that fails costs a table."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from console.chart_process import clean_svg
from console.charts import Bar, Chart, ChartFailed, ChartKind, Charts

SVG = "{http://www.w3.org/2000/svg}"
PARTS = ("非常不满意", "不满意", "基本满意", "满意", "非常满意")
STACKED = Chart(
    ChartKind.STACKED,
    "按日评价",
    tuple(
        Bar(f"11-{day:02}", day + place, f"/ratings?from=2026-11-{day:02}&satisfaction={place + 1}", part=part)
        for day in range(1, 31)
        for place, part in enumerate(PARTS)
    ),
    PARTS,
)
RATES = Chart(
    ChartKind.RATES,
    "满意率",
    (
        Bar("王 (2001)", 0.9, "/ratings?agent=2001", n=40, low=0.77, high=0.96),
        Bar("<script>alert(1)</script>", None, "/ratings?agent=%3C", n=4),
    ),
)
REASONS = Chart(ChartKind.BARS, "差评原因", (Bar("209 未在承诺时间办结", 3, "/ratings?reason=209"),))
ANSWERS = "import sys, json\nfor line in sys.stdin:\n print(json.dumps({'svg': '<svg/>'}), flush=True)"


@pytest.fixture(scope="module")
def charts() -> Iterator[Charts]:
    made = Charts(seconds=90)
    yield made
    made.close()


@pytest.fixture
def childish() -> Iterator[Callable[..., Charts]]:
    """Charts whose child is another program."""
    opened: list[Charts] = []

    def make(program: str, **options: Any) -> Charts:
        opened.append(Charts(command=(sys.executable, "-c", program), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("chart", [STACKED, RATES, REASONS], ids=["stacked", "rates", "bars"])
def test_each_bar_is_a_link_and_nothing_else_leads_or_acts(charts: Charts, chart: Chart) -> None:
    svg = charts.chart(chart)
    root = ElementTree.fromstring(svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "g",
        "path",
        "rect",
        "line",
        "text",
        "a",
    }
    names = {name for element in root.iter() for name in element.attrib}
    assert not names & {"style", "class", "id"}
    assert not [name for name in names if name.startswith(("on", "{"))]
    assert b"http" not in svg.replace(b"http://www.w3.org/2000/svg", b"")
    links = [element.get("href") for element in root.iter(f"{SVG}a")]
    assert sorted(filter(None, links)) == sorted(bar.href for bar in chart.bars if bar.value is not None)
    assert root.get("aria-label") == chart.title
    texts = "".join(element.text or "" for element in root.iter(f"{SVG}text"))
    assert chart.bars[0].label in texts
    assert len(svg) < 45_000, "three of them and the page stay under 150 KB"


@pytest.mark.slow
def test_a_rate_says_its_n_also_where_there_are_too_few_for_one(charts: Charts) -> None:
    svg = charts.chart(RATES).decode()
    assert "n=40" in svg
    assert "n=4<" in svg
    assert 'aria-label="王 (2001) 90.0% n=40"' in svg
    assert "&lt;script&gt;" in svg


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ('<path d="M0" style="fill:red"/>', '<path d="M0" />'),
        ("<script>alert(1)</script>", ""),
        ("<style>a{}</style>", ""),
        ('<foreignObject><p xmlns="x"/></foreignObject>', ""),
        ('<image href="https://elsewhere/x.png"/>', ""),
        ('<g onclick="x()"><rect width="1.23456"/></g>', '<g><rect width="1.23" /></g>'),
        ('<a xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="https://elsewhere/"/>', "<a />"),
        ('<a xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="javascript:x()"/>', "<a />"),
        (
            '<a xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="https://huiyin.invalid/r?a=1"><path/></a>',
            '<a href="/r?a=1" aria-label=""><path /></a>',
        ),
    ],
)
def test_what_a_chart_does_not_need_is_dropped(part: str, left: str) -> None:
    cleaned = clean_svg(f'<svg xmlns="http://www.w3.org/2000/svg">{part}</svg>', "x")
    assert cleaned.partition(">")[2].removesuffix("</svg>") == left or (not left and cleaned.endswith("/>"))


def test_a_chart_is_made_once(childish: Callable[..., Charts]) -> None:
    counting = (
        "import sys, json\nn = 0\nfor line in sys.stdin:\n n += 1\n print(json.dumps({'svg': str(n)}), flush=True)"
    )
    charts = childish(counting, keep=2)
    others = [replace(REASONS, title=str(place)) for place in range(3)]
    assert [charts.chart(one) for one in (others[0], others[0], others[1], others[0])] == [b"1", b"1", b"2", b"1"]
    assert charts.chart(others[2]) == b"3"
    assert charts.chart(others[0]) == b"1", "used last"
    assert charts.chart(others[1]) == b"4", "the one that was used longest ago has gone"


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit(1)",
        "import sys\nsys.stdin.readline()",
        "import sys\nsys.stdin.readline()\nprint('nonsense', flush=True)\nsys.stdin.read()",
        'import sys\nfor line in sys.stdin:\n print(\'{"error": "no"}\', flush=True)',
        "import sys\nfor line in sys.stdin:\n print('[]', flush=True)",
    ],
    ids=["ends at once", "ends in between", "nonsense", "an error", "another answer"],
)
def test_a_child_that_gives_none_is_said_so_and_asked_again(childish: Callable[..., Charts], program: str) -> None:
    charts = childish(program)
    for _ in range(2):
        with pytest.raises(ChartFailed):
            charts.chart(REASONS)


def test_a_child_that_says_nothing_has_its_time_and_is_ended(childish: Callable[..., Charts]) -> None:
    charts = childish("import sys, time\nsys.stdin.readline()\ntime.sleep(600)", seconds=0.3)
    with pytest.raises(ChartFailed):
        charts.chart(REASONS)
    assert charts._child is None


def test_a_child_that_died_is_followed_by_another(childish: Callable[..., Charts]) -> None:
    charts = childish(ANSWERS)
    assert charts.chart(REASONS) == b"<svg/>"
    first = charts._child
    assert first is not None
    first.kill()
    first.wait()
    assert charts.chart(replace(REASONS, title="another")) == b"<svg/>"


def test_a_request_longer_than_a_pipe_goes_through(childish: Callable[..., Charts]) -> None:
    charts = childish(ANSWERS)
    assert charts.chart(replace(REASONS, bars=REASONS.bars * 20_000)) == b"<svg/>"


def test_threads_share_the_child(childish: Callable[..., Charts]) -> None:
    charts = childish(ANSWERS)
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda name=name: made.append(charts.chart(replace(REASONS, title=str(name)))))
        for name in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert made == [b"<svg/>"] * 8


def test_after_the_end_there_are_none(childish: Callable[..., Charts]) -> None:
    charts = childish(ANSWERS)
    charts.close()
    with pytest.raises(ChartFailed):
        charts.chart(REASONS)
