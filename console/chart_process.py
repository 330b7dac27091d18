"""The child process of console/charts.py: one line of JSON in, one out, until its input ends.

It alone imports altair and vl-convert. What they make is passed through a list of elements and attributes: no style, no
script, no outside address, so that it stands in a page under a strict policy whatever version made it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any
from xml.etree import ElementTree

__all__ = ["clean_svg", "main", "make"]

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_OURS = "https://huiyin.invalid"
"""The library makes every address absolute; this beginning is taken off again."""
_ELEMENTS = frozenset({"svg", "g", "path", "rect", "line", "text", "a"})
_ATTRIBUTES = frozenset(
    {"viewBox", "width", "height", "transform", "d", "x", "y", "x2", "y2", "fill", "fill-opacity", "stroke"}
    | {"stroke-width", "stroke-dasharray", "stroke-miterlimit", "opacity", "text-anchor", "font-size", "font-weight"}
)
_USUAL = {"opacity": "1", "stroke-width": "1", "fill-opacity": "1", "font-weight": "normal", "text-anchor": "start"}
"""What holds where nothing is said."""
_INHERITED = ("fill", "stroke", "font-size", "font-weight", "text-anchor")
_DIGITS = re.compile(r"(\d+\.\d\d)\d+")
# Best first: from green to red, told apart in grey, too, and against white by 3 to 1 at least.
_LEVELS = ("#1b7837", "#5aae61", "#8c8c3c", "#d6604d", "#b2182b")
_PLAIN, _FAINT = "#2b6cb0", "#555555"


def main() -> None:
    for line in sys.stdin.buffer:
        try:
            answer = {"svg": make(json.loads(line))}
        except Exception as error:  # noqa: BLE001 (told to the parent, which logs it; the next one may be made)
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def make(chart: dict[str, Any]) -> str:
    """The SVG of a `console.charts.Chart`."""
    import vl_convert

    return clean_svg(vl_convert.vegalite_to_svg(_drawn(chart)), chart["title"])


def _drawn(chart: dict[str, Any]) -> dict[str, Any]:
    import altair

    bars = [one | {"href": _OURS + one["href"], "told": _told(one, chart["few"])} for one in chart["bars"]]
    labels = list(dict.fromkeys(one["label"] for one in bars))
    data: Any = {"values": bars}
    base = altair.Chart(data)
    height: Any = chart["height"]
    if chart["kind"] == "stacked":
        parts = chart["parts"]
        colours = altair.Scale(domain=parts, range=list(reversed(_LEVELS))[: len(parts)])
        drawn = base.mark_bar().encode(
            href="href:N",
            description="told:N",
            x=altair.X("label:N", sort=labels, title=None, axis=altair.Axis(labelAngle=-45, labelOverlap=True)),
            y=altair.Y("value:Q", title=None, axis=altair.Axis(tickMinStep=1)),
            color=altair.Color("part:N", scale=colours, sort=parts, legend=altair.Legend(title=None, orient="top")),
            order="place:Q",
        )
        for one in bars:
            one["place"] = parts.index(one["part"])
    else:
        height = max(60, 24 * len(labels))
        names = altair.Y("label:N", sort=labels, title=None, axis=altair.Axis(labelLimit=200))
        rates = chart["kind"] == "rates"
        axis = altair.Axis(format="%") if rates else altair.Axis(tickMinStep=1)
        scale = altair.Scale(domain=[0, 1]) if rates else altair.Undefined
        values = altair.X("value:Q", title=None, axis=axis, scale=scale)
        drawn = base.mark_bar(color=_PLAIN).encode(href="href:N", description="told:N", y=names, x=values)
        if rates:
            drawn += base.mark_rule(color="#111111", strokeWidth=2).encode(y=names, x="low:Q", x2="high:Q")
        for one in bars:
            one["count"] = f"n={one['n']}" if one["n"] is not None else f"{one['value']:g}"
            one["at"] = max(one["value"] or 0, one["high"] or 0)
        drawn += base.mark_text(align="left", dx=4, color=_FAINT).encode(y=names, x="at:Q", text="count:N")
    whole = drawn.properties(width=chart["width"], height=height, background="white").configure(font="sans-serif")
    made: dict[str, Any] = whole.configure_view(stroke=None).configure_axis(labelFontSize=12).to_dict(validate=False)
    return made


def _told(bar: dict[str, Any], few: str) -> str:
    """What a screen reader says of a bar."""
    value = bar["value"]
    rate = bar["low"] is not None
    shown = few if value is None else f"{value:.1%}" if rate else f"{value:g}"
    return " ".join(filter(None, (bar["label"], bar["part"], shown, f"n={bar['n']}" if bar["n"] is not None else "")))


def clean_svg(svg: str, title: str) -> str:
    """The SVG with what a chart needs, and nothing else.

    Raises:
        ValueError: it is no SVG.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 (made by our own library a moment ago)
    if root.tag != f"{{{_SVG}}}svg":
        raise ValueError("no SVG was made")
    ElementTree.register_namespace("", _SVG)
    _clean(root)
    _say_once(root)
    _let_clicks_through(root)
    root.set("role", "group")
    root.set("aria-label", title)
    root.set("font-family", "sans-serif")
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    link = element.get(_LINK) or element.get("href") or ""
    hidden = element.get("display") == "none"
    for name in list(element.attrib):
        if name not in _ATTRIBUTES or element.attrib[name] == _USUAL.get(name):
            del element.attrib[name]
        else:
            element.attrib[name] = _DIGITS.sub(r"\1", element.attrib[name])
    if hidden:
        element.set("visibility", "hidden")
    if element.tag == f"{{{_SVG}}}a" and link.startswith(f"{_OURS}/"):
        element.set("href", link.removeprefix(_OURS))
        element.set("aria-label", next((told for one in element if (told := one.get("aria-label"))), ""))
    for child in list(element):
        if child.tag.removeprefix(f"{{{_SVG}}}") not in _ELEMENTS:
            element.remove(child)
        else:
            _clean(child)


def _say_once(element: ElementTree.Element) -> None:
    """What all children say alike is said by their group: a page with its charts weighs little."""
    children = list(element)
    for child in children:
        _say_once(child)
    if element.tag != f"{{{_SVG}}}g" or len(children) < 2:
        return
    for name in _INHERITED:
        value = children[0].get(name)
        if value is not None and all(child.get(name) == value for child in children):
            element.set(name, value)
            for child in children:
                del child.attrib[name]


def _let_clicks_through(element: ElementTree.Element) -> None:
    """What lies over a bar and is no link (an interval, a number) takes no click from it."""
    linked = [child for child in element if child.find(f".//{{{_SVG}}}a") is not None]
    for child in linked:
        _let_clicks_through(child)
    for child in element:
        if linked and child not in linked and child.tag == f"{{{_SVG}}}g":
            child.set("pointer-events", "none")


if __name__ == "__main__":
    main()
