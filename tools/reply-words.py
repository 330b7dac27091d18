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
    ("R1 What names messages", "orders", ("opt_out", "messages")),
    ("R1 Orders that count only with these", "orders", ("opt_out", "refusals")),
    ("R1 Orders of sending", "orders", ("opt_out", "sending")),
    ("R1 Orders of the angry", "orders", ("opt_out", "annoyed")),
    ("R1 Who says more than a topic", "orders", ("opt_out", "speakers")),
    ("R1 Opt-in", "orders", ("opt_in", "words")),
    ("R3 Pressure", "doubts", ("pressure",)),
    ("R3 Irony", "doubts", ("irony",)),
    ("R3 Condition", "doubts", ("condition",)),
    ("R3 Question", "doubts", ("question",)),
    ("R3 Doubt", "doubts", ("doubt",)),
    ("R3 Harmless words that hold one of these", "doubts", ("harmless",)),
    ("R3 Whom somebody makes do or feel something", "doubts", ("made_whom",)),
    ("R3 … and what is no pressure", "doubts", ("made",)),
    ("R3 … unless one of these follows", "doubts", ("rating",)),
    ("R3 Automatic messages: what only machines write", "automatic", ("notices",)),
    ("R3 Automatic messages: the same, at the head of a clause", "automatic", ("marks",)),
    ("R3 Automatic messages: phrases that count alone", "automatic", ("phrases",)),
    ("R3 Automatic messages: what may stand around these", "automatic", ("around",)),
    ("R3 Automatic messages: a person's words", "automatic", ("people",)),
    ("R3 Automatic messages, beside a code", "automatic", ("codes",)),
    ("R4 Fillers before", "fillers", ("before",)),
    ("R4 Fillers after", "fillers", ("after",)),
    ("R4 Fillers that are a whole clause", "fillers", ("alone",)),
    ("R6 Thanks in fillers", "fillers", ("thanks",)),
    ("R4 Negations that are a whole clause", "clauses", ("negation",)),
    ("R4 Ends of a clause that has not ended", "clauses", ("unfinished",)),
    ("R4 Clauses that name a part or another time", "clauses", ("topics",)),
    ("R4 Beginnings of such clauses", "clauses", ("topic_beginnings",)),
    ("R4 Beginnings of a clause that limits the level before it", "clauses", ("limits",)),
    ("R4 Beginnings that make an adverb of 一般", "clauses", ("how_often",)),
    ("R4 … and signs that its clause tells of no habit", "clauses", ("once",)),
    ("R6 What a clause is about", "beside", ("nouns",)),
    ("R6 What is done or to be done", "beside", ("deeds",)),
    ("R6 When and how long", "beside", ("times",)),
    ("R6 How much and how", "beside", ("adverbs",)),
    ("R6 How soon, before what is done", "beside", ("soon",)),
    ("R6 Small words of complaints", "beside", ("grumbles",)),
    ("R6 Ends of a clause", "beside", ("particles",)),
    ("R6 Praise", "beside", ("praise",)),
    ("R6 Praise only behind a noun or an adverb", "beside", ("qualities",)),
    ("R6 Thanks", "beside", ("thanks",)),
    ("R6 What thanks may be for", "beside", ("thanked",)),
    ("R6 It is done", "beside", ("done",)),
    ("R6 Clauses that say nothing for either half", "beside", ("asides",)),
    ("R6 What troubles people: only named and thanked for, it says nothing", "beside", ("matters",)),
    ("R6 … and who is thanked there", "beside", ("named_thanks",)),
    ("R6 Mild faults", "beside", ("mild",)),
    ("R6 Things not done", "beside", ("undone",)),
    ("R6 What makes an accusation of them", "beside", ("undone_before",)),
    ("R6 Accusations", "beside", ("accusations",)),
    ("R6 Accusations only at a clause's end", "beside", ("final_accusations",)),
    ("R6 Signs of a complaint", "beside", ("complaints",)),
    ("R6 Signs of a turn to the good", "beside", ("turns",)),
    ("R6 What takes a sign of a complaint back", "beside", ("negators",)),
    ("R6 Signs of a request", "beside", ("requests",)),
    ("R6 Fillers that praise", "beside", ("praise_alone",)),
    ("R6 Faces of praise", "beside", ("good_faces",)),
    ("R6 Faces of complaint", "beside", ("bad_faces",)),
    ("R6 Signs that are no faces", "beside", ("plain_signs",)),
    ("R7 What a digit before a stop counts", "characters", ("measures", "begins")),
    ("R7 … unless the clause begins so", "characters", ("measures", "begins_none")),
    ("R6 What may touch a digit, besides what praises and accuses", "characters", ("measures", "touching")),
    ("R6 What may not", "characters", ("measures", "touching_not")),
    ("R6 What may touch a good digit alone", "characters", ("measures", "touching_praise")),
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
