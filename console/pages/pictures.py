"""Charts in a page: the SVG as it stands there, or none where none can be made; the page then has its table."""

from markupsafe import Markup

from console.charts import Chart, ChartFailed
from console.pages.shell import Console

__all__ = ["drawn"]


def drawn(console: Console, chart: Chart) -> Markup | None:
    """The chart as it stands in a page; None: there is nothing to draw, or it cannot be made now."""
    if console.charts is None or not chart.bars:
        return None
    try:
        return Markup(console.charts.chart(chart).decode())  # noqa: S704 (console/chart_process.py lets nothing else by)
    except ChartFailed:
        return None
