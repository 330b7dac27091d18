"""Rule R4: a folded text in clauses, what stands between them, and what each clause is.

Rules kept here:

* Punctuation, emoji and bracketed faces separate; `+ - . / ~` before or between digits do not (`+1`, `1.5`, `1-5` are
  words, `1.` is a digit and a full stop). Spaces separate too, where folding left them, but weakly.
* A clause is judged alone: fillers, a negation, a digit, a level's words, stars, a score, or just text.
* A clause longer than `LONGEST` holds no level, so judging one has a bounded cost.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from config.keymap import KeyMap
from models.terms import Satisfaction
from sms.grammar.fold import Folded
from sms.grammar.words import COVER, words

__all__ = ["LONGEST", "Clause", "Gap", "Kind", "Level", "clauses_of", "core_of", "has_strange_face"]

LONGEST = 40
"""Characters; 我的评价是：您好非常非常不满意谢谢你们辛苦了 has half of it."""

_JOINERS = r"[-+./~⁄‐‑‒–−]"
_JOINER_BEFORE_DIGIT = re.compile(f"{_JOINERS} *(?=[0-9])")
_JOINER_BETWEEN_DIGITS = re.compile(r"(?<=[0-9]) *[-+./~⁄‐‑‒–−—―:=*×·'^] *(?=[0-9])")
_FACE = re.compile(r"\[[^\[\]\s0-9]{1,8}\]")
_QUOTES = frozenset("\"'‘’‚‛“”„‟「」『』«»‹›〝〞〟")
_LIKE_LETTERS = frozenset("#%&*@_$^`+×÷±°‰′″\ufffd")
_COLONS = frozenset(":=：∶")

_WORD, _SPACE, _BREAK, _OPEN, _CLOSE, _QUOTE, _COLON = "w", " ", ",", "(", ")", "q", ":"


class Kind(Enum):
    TEXT = auto()
    FILLER = auto()
    NEGATION = auto()
    DIGIT = auto()
    """One digit of the scale, or one that no scale has."""
    WORDS = auto()
    """A level's words, perhaps with their own digit."""
    STARS = auto()
    SCORE = auto()
    CONTRADICTION = auto()
    """A digit and the words of another level in one clause."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a clause says. `satisfaction` is None for a digit that the key map does not have."""

    satisfaction: Satisfaction | None


class Gap(NamedTuple):
    """What stands between two clauses, or before the first, or after the last."""

    text: str
    classes: str

    @property
    def only_spaces(self) -> bool:
        return not self.classes.strip(_SPACE)

    @property
    def has_colon(self) -> bool:
        return _COLON in self.classes

    @property
    def opens(self) -> bool:
        """Only quotation marks and opening brackets: what follows is said inside of what came before."""
        bare = self.classes.replace(_SPACE, "")
        return bool(bare) and not bare.strip(_QUOTE + _OPEN)

    @property
    def closes(self) -> bool:
        """Only quotation marks and closing brackets."""
        bare = self.classes.replace(_SPACE, "")
        return bool(bare) and not bare.strip(_QUOTE + _CLOSE)

    @property
    def marks_a_list(self) -> bool:
        """The mark after a number at the head of a list item: 1、 1. 1) but not 1……"""
        bare = self.text.lstrip(" ")
        return bare[:1] in {"、", ".", ")", "]", "}", "】", "〕"} and not bare.startswith("..")

    @property
    def is_loose(self) -> bool:
        """Only spaces, or a colon, a dash, an arrow: what follows may or may not belong to what came before."""
        return self.only_spaces or self.has_colon or self.text.strip(" ")[:1] in {"-", "—", "–", "·", ">", "→", "/"}


class Clause(NamedTuple):
    """One clause: its place in the folded text, what it is, and the gaps on its two sides."""

    text: str
    start: int
    end: int
    kind: Kind
    level: Level | None
    left: Gap
    right: Gap

    @property
    def is_level(self) -> bool:
        return self.level is not None


@lru_cache(8192)
def _class_of(character: str) -> str:
    if character == " ":
        return _SPACE
    if character in _QUOTES:
        return _QUOTE
    if character in _COLONS:
        return _COLON
    if character in _LIKE_LETTERS:
        return _WORD
    category = unicodedata.category(character)
    if category == "Ps":
        return _OPEN
    if category == "Pe":
        return _CLOSE
    if category in {"Pi", "Pf"}:
        return _QUOTE
    # Letters, numbers, marks (a digit struck out is none), currency (an amount), lone surrogates (broken bytes).
    return _WORD if category[0] in "LNM" or category in {"Sc", "Cs"} else _BREAK


def _is_face(inside: str) -> bool:
    """[微笑] is a face; [满意] is a word in brackets."""
    known = words()
    return inside not in known.levels and inside not in known.numerals and known.opt_out_whole.match(inside) is None


_PICTURES = frozenset({"So", "Cn", "Co"})
"""Emoji, those newer than our tables, and those of old telephones."""


def has_strange_face(text: str) -> bool:
    """Whether an emoji or a bracketed face stands there that is none of praise or complaint, nor a plain sign (★)."""
    known = words()
    for sign in set(text):
        if not sign.isascii() and sign not in known.plain_signs and unicodedata.category(sign) in _PICTURES:
            return True
    return "[" in text and any(
        match[0] not in known.listed_faces and COVER not in match[0] and _is_face(match[0][1:-1])
        for match in _FACE.finditer(text)
    )


def _classes(text: str) -> str:
    classes = "".join(map(_class_of, text))
    changes = [
        (match.start(), match.end(), _WORD)
        for pattern in (_JOINER_BEFORE_DIGIT, _JOINER_BETWEEN_DIGITS)
        for match in pattern.finditer(text)
    ]
    if "[" in text:
        changes += [
            (match.start(), match.end(), _BREAK)
            for match in _FACE.finditer(text)
            if _is_face(text[match.start() + 1 : match.end() - 1])
        ]
    if not changes:
        return classes
    changed = list(classes)
    for start, end, kind in changes:
        changed[start:end] = kind * (end - start)
    return "".join(changed)


def core_of(text: str) -> str:
    """A clause without the fillers around it; what is in the table of levels stays as it is."""
    known = words()
    while text:
        if text in known.levels:
            return text
        if match := known.before.match(text):
            text = text[match.end() :]
        elif match := known.after.search(text):
            text = text[: match.start()]
        else:
            return text
    return ""


def _said_twice(text: str) -> str:
    """满意 of 满意满意, which folding makes of 满意 满意; nothing of any other text."""
    half, odd = divmod(len(text), 2)
    return text[:half] if not odd and text[:half] == text[half:] else ""


def _digit(text: str) -> str | None:
    if len(text) != 1:
        return None
    return text if text in "0123456789" else words().numerals.get(text)


def _judge(text: str, keys: KeyMap) -> tuple[Kind, Level | None]:
    known = words()
    if len(text) > LONGEST:
        return Kind.TEXT, None
    if satisfaction := known.levels.get(text):
        return Kind.WORDS, Level(satisfaction)
    if digit := _digit(text):
        return Kind.DIGIT, Level(keys.level_of(digit))
    if text in known.alone:
        return Kind.FILLER, None
    core = core_of(text)
    if not core or core in known.alone:
        return Kind.FILLER, None
    if core in known.negation:
        return Kind.NEGATION, None
    if satisfaction := known.levels.get(core) or known.levels.get(_said_twice(core)):
        return Kind.WORDS, Level(satisfaction)
    if digit := _digit(core):
        return Kind.DIGIT, Level(keys.level_of(digit))
    if match := known.star_clause.match(core):
        return _stars(match[1], match[2] or "")
    if core[-1:] == known.score and _digit(core[:-1]):
        return Kind.SCORE, None
    for sign, rest in ((core[0], core[1:]), (core[-1], core[:-1])):
        if (digit := _digit(sign)) and (satisfaction := known.levels.get(core_of(rest))):
            agree = keys.level_of(digit) is satisfaction
            return (Kind.WORDS, Level(satisfaction)) if agree else (Kind.CONTRADICTION, None)
    return Kind.TEXT, None


def _stars(number: str, word: str) -> tuple[Kind, Level | None]:
    known = words()
    count = 2 if number == known.two else int(known.numerals.get(number, number))
    if not 1 <= count <= 5:
        return Kind.CONTRADICTION, None
    satisfaction = Satisfaction(count)
    if (word in known.good_star_words and count < 4) or (word in known.bad_star_words and not satisfaction.is_bad):
        return Kind.CONTRADICTION, None
    return Kind.STARS, Level(satisfaction)


def clauses_of(folded: Folded, keys: KeyMap) -> list[Clause]:
    """The clauses of a text, in order."""
    text = folded.text
    classes = _classes(text)
    spans = [match.span() for match in re.finditer(f"{_WORD}+", classes)]
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    gaps = [
        Gap(text[edges[place] : edges[place + 1]], classes[edges[place] : edges[place + 1]])
        for place in range(0, len(edges), 2)
    ]
    judged: dict[str, tuple[Kind, Level | None]] = {}
    clauses = []
    for place, (start, end) in enumerate(spans):
        clause = text[start:end]
        if clause not in judged:
            judged[clause] = _judge(clause, keys)
        clauses.append(Clause(clause, start, end, *judged[clause], gaps[place], gaps[place + 1]))
    return clauses
