"""The words of the grammar, read once from `config/grammar/`, checked, and made ready to be looked for.

Rules kept here:

* A word stands in the files as the grammar sees a text (folded, sms/grammar/fold.py): another form would never be
  found, so it is refused.
* A word stands once in a list, a level's words in one level.
* Looking for a word costs time in proportion to the text, whatever the text: plain search, no backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache

from models.terms import Satisfaction
from sms.grammar.fold import HAN, fold
from sms.grammar.source import read_toml

__all__ = ["COVER", "Doubt", "GrammarInvalid", "Part", "Sign", "Words", "cover", "longest_first", "words"]

COVER = "\x00"
"""Stands where a word was covered; no folded text holds it."""


class GrammarInvalid(Exception):
    """The shipped word lists contradict themselves; mend the file and entry that the sentence names."""


class Doubt(StrEnum):
    """The lists of rule R3, in the order in which they are asked."""

    PRESSURE = "pressure"
    IRONY = "irony"
    CONDITION = "condition"
    QUESTION = "question"
    DOUBT = "doubt"


class Part(Enum):
    """What a word beside a level does for its clause; each part is a list of `beside.toml`."""

    NOUN = "nouns"
    DEED = "deeds"
    TIME = "times"
    ADVERB = "adverbs"
    SOON = "soon"
    GRUMBLE = "grumbles"
    PARTICLE = "particles"
    PRAISE = "praise"
    QUALITY = "qualities"
    THANKS = "thanks"
    THANKED = "thanked"
    DONE = "done"
    MILD = "mild"
    ACCUSATION = "accusations"
    FINAL = "final_accusations"


class Sign(Enum):
    """What a word says of a clause that cannot be laid out."""

    COMPLAINT = auto()
    PRAISE = auto()
    TURN = auto()
    """Things may have turned good, or somebody asks for something."""


@dataclass(frozen=True, slots=True)
class Words:
    """Every list, as the rules use it."""

    levels: Mapping[str, Satisfaction]
    numerals: Mapping[str, str]
    doubts: Mapping[Doubt, tuple[str, ...]]
    harmless: tuple[str, ...]
    made_me: re.Pattern[str]
    """让我 before what nobody rates by, with the clause's rest."""
    rating: tuple[str, ...]
    before: re.Pattern[str]
    after: re.Pattern[str]
    alone: frozenset[str]
    negation: frozenset[str]
    unfinished: tuple[str, ...]
    topics: frozenset[str]
    topic_beginnings: tuple[str, ...]
    limits: tuple[str, ...]
    how_often: tuple[str, ...]
    once: tuple[str, ...]
    thanks_in_fillers: tuple[str, ...]
    units: frozenset[str]
    touching: frozenset[str]
    touching_not: tuple[str, ...]
    touching_praise: frozenset[str]
    begins_measure: tuple[str, ...]
    begins_none: tuple[str, ...]
    parts: Mapping[str, frozenset[Part]]
    part_lengths: tuple[int, ...]
    asides: frozenset[str]
    only_named: re.Pattern[str]
    signs: Mapping[str, Sign]
    """What a clause that cannot be laid out is looked through for."""
    sign_lengths: tuple[int, ...]
    negators: tuple[str, ...]
    praise_alone: frozenset[str]
    good_faces: tuple[str, ...]
    bad_faces: tuple[str, ...]
    listed_faces: frozenset[str]
    plain_signs: frozenset[str]
    """One character each: the faces of the lists, and signs that say nothing."""
    opt_out_whole: re.Pattern[str]
    opt_out_clause: re.Pattern[str]
    opt_out_letters: frozenset[str]
    opt_out_refusals: tuple[str, ...]
    opt_out_sending: tuple[str, ...]
    opt_out_annoyed: tuple[str, ...]
    messages: tuple[str, ...]
    speakers: tuple[str, ...]
    opt_in: frozenset[str]
    mistaken: tuple[str, ...]
    star: str
    other_stars: frozenset[str]
    two: str
    star_clause: re.Pattern[str]
    good_star_words: frozenset[str]
    bad_star_words: frozenset[str]
    score: str
    counting: tuple[str, ...]
    notices: re.Pattern[str]
    absence: re.Pattern[str]
    around_absence: re.Pattern[str]
    people: tuple[str, ...]
    codes: re.Pattern[str]


def longest_first(entries: Iterable[str]) -> str:
    """A regular expression of alternatives; of two that begin alike the longer one is tried first."""
    return "|".join(re.escape(entry) for entry in sorted(entries, key=len, reverse=True))


def cover(text: str, hidden: Iterable[str]) -> str:
    """The text with these words covered; its length stays."""
    for word in hidden:
        if word in text:
            text = text.replace(word, COVER * len(word))
    return text


def _list(file: str, *keys: str) -> tuple[str, ...]:
    value = read_toml(file)
    for key in keys:
        value = value[key]
    entries = tuple(value)
    where = f"config/grammar/{file}.toml: {'.'.join(keys)}"
    if len(set(entries)) < len(entries):
        twice = next(entry for entry in entries if entries.count(entry) > 1)
        raise GrammarInvalid(f"{where}: {twice!r} stands there twice; take one out")
    for entry in entries:
        if not entry or fold(entry).text != entry:
            raise GrammarInvalid(f"{where}: {entry!r} can never be found; write it as {fold(entry).text!r}")
    return entries


def _levels() -> dict[str, Satisfaction]:
    levels: dict[str, Satisfaction] = {}
    for satisfaction in Satisfaction:
        for word in _list("levels", satisfaction.name.lower()):
            if word in levels:
                raise GrammarInvalid(f"config/grammar/levels.toml: {word!r} stands in two levels; take one out")
            levels[word] = satisfaction
    return levels


def _parts() -> dict[str, frozenset[Part]]:
    """Each word that may stand beside a level, and what it may be there."""
    parts: dict[str, set[Part]] = {}
    for part in Part:
        for word in _list("beside", part.value):
            parts.setdefault(word, set()).add(part)
    for before in _list("beside", "undone_before"):
        for deed in _list("beside", "undone"):
            parts.setdefault(before + deed, set()).add(Part.ACCUSATION)
    return {word: frozenset(found) for word, found in parts.items()}


def _signs(parts: Mapping[str, frozenset[Part]]) -> dict[str, Sign]:
    """Words of complaint over words of a turn over words of praise; of one place the longest is taken."""
    good = {Part.PRAISE, Part.QUALITY, Part.THANKS, Part.DONE}
    bad = {Part.MILD, Part.ACCUSATION, Part.FINAL}
    long = {word: found for word, found in parts.items() if len(word) > 1}
    return (
        {word: Sign.PRAISE for word, found in long.items() if found & good}
        | dict.fromkeys((*_list("beside", "turns"), *_list("beside", "requests")), Sign.TURN)
        | {word: Sign.COMPLAINT for word, found in long.items() if found & bad and not found & good}
        | dict.fromkeys(_list("beside", "complaints"), Sign.COMPLAINT)
    )


def _lengths(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({len(entry) for entry in entries}))


@cache
def words() -> Words:
    """The lists, loaded at the first call.

    Raises:
        GrammarInvalid: a shipped list contradicts itself.
    """
    characters = read_toml("characters")
    numerals: dict[str, str] = characters["numerals"]
    two: str = characters["stars"]["two"]
    letters = longest_first(_list("orders", "opt_out", "letters"))
    opt_out = longest_first(_list("orders", "opt_out", "words"))
    order_before = longest_first({*_list("orders", "opt_out", "before"), *_list("fillers", "before")})
    order_after = longest_first({*_list("orders", "opt_out", "after"), *_list("fillers", "after")})
    clauses = longest_first(_list("orders", "opt_out", "clauses"))
    clause_before = longest_first(_list("orders", "opt_out", "before"))
    clause_after = longest_first(_list("orders", "opt_out", "after"))
    good, bad, neutral = (_list("characters", "stars", key) for key in ("good", "bad", "neutral"))
    stars: Mapping[str, str] = characters["stars"]
    good_faces, bad_faces = _list("beside", "good_faces"), _list("beside", "bad_faces")
    code_words = longest_first(_list("automatic", "codes"))
    parts = _parts()
    signs = _signs(parts)
    return Words(
        levels=_levels(),
        numerals=numerals,
        doubts={doubt: _list("doubts", doubt.value) for doubt in Doubt},
        harmless=_list("doubts", "harmless"),
        made_me=re.compile(
            f"[让叫](?=(?:{longest_first(_list('doubts', 'made_whom'))})"
            f"(?:{longest_first(_list('doubts', 'made'))})(?P<rest>[{HAN}0-9a-z]{{0,20}}))"
        ),
        rating=_list("doubts", "rating"),
        before=re.compile(longest_first(_list("fillers", "before"))),
        after=re.compile(f"(?:{longest_first(_list('fillers', 'after'))})\\Z"),
        alone=frozenset(_list("fillers", "alone")),
        negation=frozenset(_list("clauses", "negation")),
        unfinished=_list("clauses", "unfinished"),
        topics=frozenset(_list("clauses", "topics")),
        topic_beginnings=_list("clauses", "topic_beginnings"),
        limits=_list("clauses", "limits"),
        how_often=_list("clauses", "how_often"),
        once=_list("clauses", "once"),
        thanks_in_fillers=_list("fillers", "thanks"),
        units=frozenset(characters["measures"]["units"]),
        touching=frozenset(_list("characters", "measures", "touching")),
        touching_not=_list("characters", "measures", "touching_not"),
        touching_praise=frozenset(_list("characters", "measures", "touching_praise")),
        begins_measure=_list("characters", "measures", "begins"),
        begins_none=_list("characters", "measures", "begins_none"),
        parts=parts,
        part_lengths=_lengths(parts),
        only_named=re.compile(
            f"(?:{longest_first(_list('beside', 'matters'))})(?:谢谢|感谢|多谢)"
            f"(?:{longest_first({*_list('beside', 'named_thanks'), *_list('beside', 'thanked')})})?\\Z"
        ),
        asides=frozenset(_list("beside", "asides")),
        signs=signs,
        sign_lengths=_lengths(signs),
        negators=_list("beside", "negators"),
        praise_alone=frozenset(_list("beside", "praise_alone")),
        good_faces=good_faces,
        bad_faces=bad_faces,
        listed_faces=frozenset((*good_faces, *bad_faces)),
        plain_signs=frozenset(
            (*good_faces, *bad_faces, *_list("beside", "plain_signs"), *stars["others"], stars["sign"])
        ),
        opt_out_whole=re.compile(
            f"(?:(?:{order_before})*+(?:{letters}|{opt_out})|(?:{letters})(?:{opt_out})|(?:{opt_out})(?:{letters}))"
            f"(?:{order_after})*+\\Z"
        ),
        opt_out_clause=re.compile(f"(?:{clause_before})*+[0-9]?(?:{clauses})(?:{clause_after})*+\\Z"),
        opt_out_letters=frozenset(_list("orders", "opt_out", "letters")),
        opt_out_refusals=_list("orders", "opt_out", "refusals"),
        opt_out_annoyed=_list("orders", "opt_out", "annoyed"),
        opt_out_sending=_list("orders", "opt_out", "sending"),
        messages=_list("orders", "opt_out", "messages"),
        speakers=_list("orders", "opt_out", "speakers"),
        opt_in=frozenset(_list("orders", "opt_in", "words")),
        mistaken=_list("orders", "mistaken", "phrases"),
        star=characters["stars"]["sign"],
        other_stars=frozenset(characters["stars"]["others"]),
        two=two,
        star_clause=re.compile(
            f"(?:{longest_first(_list('characters', 'stars', 'before'))})*+([0-9{''.join(numerals)}{two}])"
            f"(?:{longest_first(_list('characters', 'stars', 'units'))})({longest_first((*good, *bad, *neutral))})?\\Z"
        ),
        good_star_words=frozenset(good),
        bad_star_words=frozenset(bad),
        score=characters["measures"]["score"],
        counting=_list("characters", "measures", "counting"),
        notices=re.compile(
            f"{longest_first(_list('automatic', 'notices'))}"
            f"|(?:\\A|(?<=[^0-9a-z\u3400-\u9fff]))(?:{longest_first(_list('automatic', 'marks'))})"
        ),
        absence=re.compile(longest_first(_list("automatic", "phrases"))),
        around_absence=re.compile(
            longest_first(
                {
                    *_list("automatic", "around"),
                    *(word for place in ("before", "after", "alone") for word in _list("fillers", place)),
                }
            )
            + r"|(?<![0-9])(?:1[0-9]{10}|0[0-9]{2,3}-?[0-9]{7,8})(?![0-9])"
        ),
        people=_list("automatic", "people"),
        codes=re.compile(
            f"(?:{code_words}).{{0,8}}?(?<![0-9a-z])[0-9a-z-]{{4,10}}(?![0-9a-z])"
            f"|(?<![0-9a-z])[0-9]{{4,8}}(?![0-9a-z]).{{0,8}}?(?:{code_words})"
        ),
    )
