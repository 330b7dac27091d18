"""The table of replies: what people write, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from config.keymap import KeyMap
from sms.grammar import Outcome, Reading

__all__ = ["DEFAULT", "REPLIES", "Case", "shown"]

DEFAULT = KeyMap.of({"1": 5, "2": 4, "3": 3, "4": 2, "5": 1})
_TABLE = Path(__file__).with_name("replies.tsv")


@dataclass(frozen=True, slots=True)
class Case:
    """`meaning`: 5 to 1, `?`, `in`, `out`, or `out5` to `out1`. `comment`: None where the table does not say."""

    line: int
    section: str
    meaning: str
    text: str
    comment: str | None

    @property
    def is_clear(self) -> bool:
        return self.meaning != "?"


def shown(reading: Reading) -> str:
    """A reading in the table's words."""
    level = "" if reading.satisfaction is None else str(int(reading.satisfaction))
    return {
        Outcome.RATING: level,
        Outcome.UNCLEAR: "?" + level,
        Outcome.OPT_OUT: "out" + level,
        Outcome.OPT_IN: "in" + level,
    }[reading.outcome]


def _read_table() -> list[Case]:
    cases = []
    section = ""
    for number, line in enumerate(_TABLE.read_text("utf-8").split("\n"), start=1):
        if line.startswith("# "):
            section = line.removeprefix("# ")
        elif line:
            meaning, text, *comment = line.split("\t")
            cases.append(Case(number, section, meaning, text.replace("\\n", "\n"), comment[0] if comment else None))
    return cases


REPLIES = _read_table()
