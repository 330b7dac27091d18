"""The parts of a board as text: what the page shows at first, and what its stream sends later.

Rules kept here:

* Page and stream render the same templates (`templates/board/`): a part never looks different after an update.
* What a stream sends belongs to a sight, not to a person: a form in it has an empty secret, and the page's script puts
  in its own.
* A wall screen has templates of its own that hold no person: no number, no case, no agent, no words of anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.asked import What, asked_address
from console.bad_ratings import BadRating
from console.board_state import BoardRules, Sight
from console.figures import WHOLE, Figures, Period, Slice, ratings_query
from console.formulas import Counts, Rate
from console.live import Render, Shown
from console.plain_names import Names
from console.queues import MOST
from console.viewer import ConsoleRole
from models.terms import Channel, Origin, Satisfaction, SubjectKind

if TYPE_CHECKING:
    from console.pages.shell import Console

__all__ = ["BoardParts", "values_of"]

_KINDS = (SubjectKind.CALL, SubjectKind.CASE)
_CHANNELS = (Channel.KEYPAD, Channel.SMS)
_CHART_HEIGHT = 100
_LEAST_HIGH = 5
"""Ratings that the highest column of the hours stands for, at the least."""


@dataclass(frozen=True, slots=True)
class Column:
    """One hour and kind in the chart of the hours: a bar with its bad part lowest; `x` of 24 × 20."""

    hour: int
    kind: SubjectKind
    x: float
    height: float
    bad: float
    counts: Counts
    url: str


def _today(shown: Shown) -> Period:
    return Period(shown.day, shown.day)


def _columns(shown: Shown) -> list[Column]:
    highest = max((figures.of(kind).rated for figures in shown.figures.hours.values() for kind in _KINDS), default=0)
    scale = _CHART_HEIGHT / max(highest, _LEAST_HIGH)
    return [
        Column(
            hour,
            kind,
            hour * 20 + 2 + place * 8,
            counts.rated * scale,
            counts.bad * scale,
            counts,
            _url(shown, kind=kind.value, origin=Origin.CITIZEN.value, hour=hour),
        )
        for hour, figures in shown.figures.hours.items()
        for place, kind in enumerate(_KINDS)
        for counts in (figures.of(kind),)
        if counts.rated
    ]


def _url(shown: Shown, *, counted: bool | None = True, **more: str | int) -> str:
    return f"/ratings?{ratings_query(_today(shown), WHOLE, counted=counted, **more)}"


def _unseen_url(shown: Shown) -> str:
    if shown.unseen is None:
        return ""
    # All of them: what the centre did not adopt was said all the same, and somebody is to see it.
    return f"/ratings?{ratings_query(Period(shown.unseen.since, shown.day), WHOLE, counted=None, unseen=1)}"


def values_of(shown: Shown, rules: BoardRules) -> dict[str, Any]:
    """What the templates of the parts are given."""
    whole = shown.figures.whole
    rated = {kind: whole.of(kind).rated for kind in _KINDS}

    def url(*, counted: bool | None = True, **more: str | int) -> str:
        return _url(shown, counted=counted, **more)

    def asked(what: str, channel: Channel | None = None, **more: str | int) -> str:
        return asked_address(What(what), _today(shown), Slice(channel), **more)

    def share(level: Satisfaction, kind: SubjectKind) -> float:
        """Of a bar as long as 100."""
        return round(100 * whole.of(kind).levels[level] / rated[kind], 1) if rated[kind] else 0

    def satisfaction(counts: Counts) -> Rate:
        return counts.satisfaction(rules.satisfied_from)

    both = whole.call + whole.case
    return {
        "day": shown.day,
        "whole": whole,
        "both": both,
        "kinds": _KINDS,
        "channels": [(channel, shown.figures.channels.get(channel, Figures())) for channel in _CHANNELS],
        "hours": shown.figures.hours,
        "columns": _columns(shown),
        "machinery": shown.machinery,
        "work": shown.work,
        "most": MOST,
        "unseen": shown.unseen,
        "unseen_url": _unseen_url(shown),
        "url": url,
        "asked": asked,
        "share": share,
        "satisfaction": satisfaction,
        "origin": Origin,
    }


class BoardParts(Render):
    """Renders with the console's templates and texts."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def parts(self, sight: Sight, shown: Shown, csrf: str = "") -> dict[str, str]:
        values = values_of(shown, self._console.board_rules)
        names = ["top", "levels", "channels", "hours"]
        if shown.machinery is not None:
            names.append("machinery")
        if shown.work is not None:
            names.append("work")
        if shown.unseen is not None:
            names.append("unseen")
        folder = "wall" if sight.is_wall else "board"
        supervises = sight.role is ConsoleRole.SUPERVISOR
        return {
            name: self._console.render(f"{folder}/{name}.html", csrf=csrf, supervises=supervises, **values)
            for name in names
            if not (sight.is_wall and name == "channels")
        }

    def line(self, sight: Sight, rating: BadRating, names: Names, csrf: str = "") -> str:
        console = self._console
        reasons = [console.board_rules.reasons.get(code, code) for code in rating.reasons]
        folder = "wall" if sight.is_wall else "board"
        return console.render(
            f"{folder}/line.html",
            one=rating,
            reasons=reasons,
            agent=names.agent(rating.agent),
            dept=names.dept(rating.dept_code, rating.dept_name),
            csrf=csrf,
        )
