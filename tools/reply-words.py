#!/usr/bin/env python3
"""Writes the word lists of `config/grammar/` into docs/sms-replies.md, below its last heading.

tests/sms/grammar/test_words.py fails when they differ and names this command: `python tools/reply-words.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sms.grammar.source import read_toml  # noqa: E402 (found beside this file, installed or not)

PAGE = ROOT / "docs" / "sms-replies.md"
HEADING = "## The lists\n"

SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("R1 Opt-out: letters", "orders", ("opt_out", "letters")),
    ("R1 Opt-out: words", "orders", ("opt_out", "words")),
    ("R1 Opt-out: clauses", "orders", ("opt_out", "clauses")),
    ("R1 What may stand before them", "orders", ("opt_out", "before")),
    ("R1 What may stand after them", "orders", ("opt_out", "after")),
    ("R1 Opt-in", "orders", ("opt_in", "words")),
    ("R3 Pressure", "doubts", ("pressure",)),
    ("R3 Irony", "doubts", ("irony",)),
    ("R3 Condition", "doubts", ("condition",)),
    ("R3 Question", "doubts", ("question",)),
    ("R3 Doubt", "doubts", ("doubt",)),
    ("R3 Harmless words that hold one of these", "doubts", ("harmless",)),
    ("R3 Automatic messages: what only machines write", "automatic", ("notices",)),
    ("R3 Automatic messages: the same, at the head of a clause", "automatic", ("marks",)),
    ("R3 Automatic messages: phrases that count alone", "automatic", ("phrases",)),
    ("R3 Automatic messages: what may stand around these", "automatic", ("around",)),
    ("R3 Automatic messages: a person's words", "automatic", ("people",)),
    ("R3 Automatic messages, beside a code", "automatic", ("codes",)),
    ("R4 Fillers before", "fillers", ("before",)),
    ("R4 Fillers after", "fillers", ("after",)),
    ("R4 Fillers that are a whole clause", "fillers", ("alone",)),
    ("R4 Negations that are a whole clause", "clauses", ("negation",)),
    ("R4 Ends of a clause that has not ended", "clauses", ("unfinished",)),
    ("R4 Clauses that name a part or another time", "clauses", ("topics",)),
    ("R4 Beginnings of such clauses", "clauses", ("topic_beginnings",)),
    ("R4 Beginnings of a clause that limits the level before it", "clauses", ("limits",)),
    ("R6 Praise", "beside", ("praise",)),
    ("R6 Praise that is a whole clause", "beside", ("praise_alone",)),
    ("R6 Thanks, praise unless a complaint stands beside", "beside", ("thanks",)),
    ("R6 Complaint", "beside", ("complaint",)),
    ("R6 Matters, complaints where no praise stands beside", "beside", ("matters",)),
    ("R6 Requests, beside 5 and 4 a complaint where no praise stands", "beside", ("requests",)),
    ("R6 Accusation", "beside", ("accusation",)),
    ("R6 Praise that holds a piece of a complaint", "beside", ("benign",)),
    ("R6 Harmless words that hold a piece of a complaint", "beside", ("innocent",)),
    ("R6 Praise and complaint at once", "beside", ("ambiguous",)),
    ("R6 Praise, at a clause's end", "beside", ("done",)),
    ("R6 Plausible beside 5 and 4", "beside", ("favour",)),
    ("R6 Negators", "beside", ("negators",)),
    ("R6 Wishes", "beside", ("wishes",)),
    ("R6 What counts on over a space", "characters", ("measures", "counting")),
    ("Conversation: a mistake", "orders", ("mistaken", "phrases")),
)


def lists() -> str:
    """The lists as a page shows them, each entry as code."""
    parts = []
    for title, file, keys in SECTIONS:
        value = read_toml(file)
        for key in keys:
            value = value[key]
        entries = " ".join(f"``{entry}``" if "`" in entry else f"`{entry}`" for entry in value)
        parts.append(f"**{title}** (`config/grammar/{file}.toml`)\n\n{entries}\n")
    return "\n".join(parts)


def page(before: str) -> str:
    """The page with today's lists."""
    head, heading, _ = before.partition(HEADING)
    return f"{head}{heading}\n{lists()}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
