"""How a reply is read: the rules R1 to R7 of docs/sms-replies.md, put together.

A level is read only where a rule names it; whatever else comes is unclear. A rule that gives a wrong level on a
plausible reply is wrong, and is mended with a line in tests/sms/grammar/replies.tsv.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from config.keymap import KeyMap
from models.terms import Satisfaction
from sms.grammar.automatic import folded_is_automatic
from sms.grammar.beside import Said, said
from sms.grammar.clauses import LONGEST, Clause, Gap, Kind, Level, clauses_of, core_of, has_strange_face
from sms.grammar.fold import Folded, fold
from sms.grammar.words import COVER, Doubt, Part, cover, words

__all__ = ["Outcome", "Reading", "Rule", "read"]


class Outcome(StrEnum):
    """What a reply is."""

    RATING = "rating"
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    UNCLEAR = "unclear"


class Rule(StrEnum):
    """Why a reply was read as it was; the numbers are the rules'."""

    OPT_OUT = "R1-opt-out"
    OPT_IN = "R1-opt-in"
    NOTHING = "R2-nothing"
    PRESSURE = "R3-pressure"
    IRONY = "R3-irony"
    CONDITION = "R3-condition"
    QUESTION = "R3-question"
    DOUBT = "R3-doubt"
    AUTOMATIC = "R3-automatic"
    NEGATION = "R4-negation"
    COLON = "R4-colon"
    EMBEDDED = "R4-embedded"
    UNFINISHED = "R4-unfinished"
    LIMITED = "R4-limited"
    NO_LEVEL = "R4-no-level"
    DIFFERENT = "R5-different"
    DIGIT = "R6-digit"
    NO_SUCH_DIGIT = "R6-no-such-digit"
    TWICE = "R6-twice"
    LIST = "R6-list"
    LOOSE = "R6-loose"
    FACE = "R6-face"
    OPPOSITE = "R6-opposite"
    UNSUPPORTED = "R6-unsupported"
    SPOILED = "R7-spoiled"
    SCORE = "R7-score"
    STARS = "R7-stars"
    WORDS = "words"


_OF_DOUBT = {
    Doubt.PRESSURE: Rule.PRESSURE,
    Doubt.IRONY: Rule.IRONY,
    Doubt.CONDITION: Rule.CONDITION,
    Doubt.QUESTION: Rule.QUESTION,
    Doubt.DOUBT: Rule.DOUBT,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says.

    `satisfaction` may stand beside an opt-out. `comment`: the rest of a rating, in the citizen's own characters; empty
    where no level was read. `why`: the rule. `pressure`: somebody else may have chosen; supervisors are told.
    """

    outcome: Outcome
    satisfaction: Satisfaction | None
    comment: str
    why: str
    pressure: bool = False


def read(text: str, keys: KeyMap) -> Reading:
    """Reads a reply with the key map of its invitation.

    Pure; never raises; linear in the text's length. OPT_IN counts only from a number that had opted out: the caller
    knows.
    """
    folded = fold(text)
    clauses = _with_touching_digit(clauses_of(folded, keys), keys)
    doubt = _doubt(folded.text)
    pressure = doubt is Doubt.PRESSURE
    opt_out = _opt_out(folded.text, clauses)
    rest = [clause for clause in clauses if clause.start not in opt_out] if opt_out else clauses
    if not opt_out and _is_opt_in(clauses):
        return Reading(Outcome.OPT_IN, None, "", Rule.OPT_IN)
    satisfaction: Satisfaction | None = None
    if not folded.text.strip():
        why = Rule.NOTHING
    elif doubt is not None:
        why = _OF_DOUBT[doubt]
    elif folded_is_automatic(folded.text):
        why = Rule.AUTOMATIC
    else:
        satisfaction, why = _level(folded, rest, keys)
    comment = _comment(folded, clauses, opt_out) if satisfaction else ""
    if opt_out:
        return Reading(Outcome.OPT_OUT, satisfaction, comment, Rule.OPT_OUT, pressure)
    outcome = Outcome.RATING if satisfaction else Outcome.UNCLEAR
    return Reading(outcome, satisfaction, comment, why, pressure)


# ── R1: orders ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _opt_out(text: str, clauses: Sequence[Clause]) -> frozenset[int]:
    """Where the clauses begin that ask for no more messages; none: the message does not ask for it."""
    known = words()
    others = [clause for clause in clauses if not clause.is_level and clause.kind is not Kind.FILLER]
    if others and len("".join(clause.text for clause in others)) <= LONGEST:
        letters = [clause for clause in others if known.opt_out_whole.match(clause.text)]
        spelt = known.opt_out_whole.match("".join(clause.text for clause in others))
        if len(letters) == len(others) or (spelt and len(others) == len(clauses)):
            return frozenset(clause.start for clause in others)
    meant = [clause for clause in clauses if clause.kind is not Kind.FILLER]
    if len(meant) > 1 and meant[1].is_level and meant[0].text in known.opt_out_letters:
        return frozenset({meant[0].start})  # TD 5，没人管
    asked = [clause for clause in others if len(clause.text) <= LONGEST and known.opt_out_clause.match(clause.text)]
    if any(clause.level and clause.level.satisfaction in _GOOD for clause in clauses):
        asked = [clause for clause in asked if not any(word in clause.text for word in known.opt_out_annoyed)]
    if not asked:
        return frozenset()
    if known.notices.search(text) or known.absence.search(text):
        return frozenset(clause.start for clause in asked)
    starts = {clause.start for clause in asked}
    besides = [
        clause
        for clause in others
        if clause.start not in starts and not any(name in clause.text for name in known.messages)
    ]
    sending = all(_leaves_an_order(clause, is_sending=True) for clause in besides)
    any_order = sending and all(_leaves_an_order(clause, is_sending=False) for clause in besides)

    def is_of_messages(order: str) -> bool:
        """别再发了 is of something else only behind a bare topic (工资，别发了); 退订, 拒收 and 别再骚扰 stand in
        complaints about others (联通乱扣费，我要退订), so what stands beside them must be laid out or of messages."""
        if any(name in order for name in known.messages):
            return True
        if any(word in order for word in known.opt_out_refusals):
            return not besides
        return sending if any(word in order for word in known.opt_out_sending) else any_order

    return frozenset(clause.start for clause in asked if is_of_messages(clause.text))


_GOOD = frozenset({Satisfaction.VERY_SATISFIED, Satisfaction.SATISFIED})


def _leaves_an_order(clause: Clause, *, is_sending: bool) -> bool:
    """Whether a clause beside an order does not say that the order is for something else than our messages."""
    known = words()
    if clause.kind is not Kind.TEXT or (is_sending and any(who in clause.text for who in known.speakers)):
        return True
    if any(word in clause.text for word in (*known.mistaken, *known.doubts[Doubt.PRESSURE])):
        return True
    spoken = said(clause.text)
    return spoken.is_laid_out or spoken.aside or (is_sending and spoken.complains)


def _is_opt_in(clauses: Sequence[Clause]) -> bool:
    meant = [clause for clause in clauses if clause.kind is not Kind.FILLER]
    return len(meant) == 1 and len(meant[0].text) <= LONGEST and core_of(meant[0].text) in words().opt_in


# ── R3: doubt ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _covered(match: re.Match[str]) -> str:
    """物业让我们自己修: who makes somebody feel or do that asks for no level; 让我等着选1 does, it stays."""
    return match[0] if any(sign in match["rest"] for sign in words().rating) else COVER + match[0][1:]


def _doubt(text: str) -> Doubt | None:
    known = words()
    text = known.made_me.sub(_covered, cover(text, known.harmless))
    signs = set(text)  # most entries begin with a sign that is not there: it saves looking through the text
    for doubt, entries in known.doubts.items():
        if any(entry[0] in signs and entry in text for entry in entries):
            return doubt
    return None


# ── R4 to R7: the level ───────────────────────────────────────────────────────────────────────────────────────────────


def _level(folded: Folded, clauses: Sequence[Clause], keys: KeyMap) -> tuple[Satisfaction | None, Rule]:
    kinds = {clause.kind for clause in clauses}
    if Kind.NEGATION in kinds:
        return None, Rule.NEGATION
    if Kind.SCORE in kinds:
        return None, Rule.SCORE
    if Kind.CONTRADICTION in kinds:
        return None, Rule.DIFFERENT
    found = [clause.level for clause in clauses if clause.level]
    drawn, stars_stand = _drawn_stars(folded.text)
    if not stars_stand:
        return None, Rule.STARS
    if drawn:
        found.append(Level(drawn))
    if not found:
        return None, Rule.NO_LEVEL
    if problem := _surroundings(clauses):
        return None, problem
    if len({level.satisfaction for level in found}) > 1:
        return None, Rule.DIFFERENT
    satisfaction = found[0].satisfaction
    if satisfaction is None:
        return None, Rule.NO_SUCH_DIGIT
    if drawn or kinds & {Kind.WORDS, Kind.STARS}:
        if problem := _words_problem(satisfaction, _beside(folded.text, clauses)):
            return None, problem
        return satisfaction, Rule.WORDS if Kind.WORDS in kinds else Rule.STARS
    if problem := _digit_problem(satisfaction, folded.text, clauses):
        return None, problem
    return satisfaction, Rule.DIGIT


_DIGITS = re.compile("[0-9]")
_ASCII_DIGITS = frozenset("0123456789")


def _drawn_stars(text: str) -> tuple[Satisfaction | None, bool]:
    """The level that two to five ⭐ in one row give, and whether the stars of the text leave any level standing."""
    star = words().star
    if star not in text:
        return None, True
    count = text.count(star)
    if count == 1:
        return None, True
    in_a_row = star * count in text.replace(" ", "")
    if count > 5 or not in_a_row or not words().other_stars.isdisjoint(text):
        return None, False
    return Satisfaction(count), True


_USUALLY = "一般"
"""A level's word that is also an adverb."""


def _surroundings(clauses: Sequence[Clause]) -> Rule | None:
    """R4: what stands around the clauses with a level, and may make it somebody's word, or of a part, or nothing."""
    known = words()
    for before, clause in zip([None, *clauses], clauses, strict=False):
        if before is None:
            continue
        gap = clause.left
        if gap.has_colon:
            if clause.is_level and before.kind not in {Kind.FILLER, Kind.DIGIT}:
                return Rule.COLON
            if before.is_level and before.kind is not Kind.DIGIT:
                return Rule.COLON
        if clause.is_level and before.kind is Kind.TEXT:
            if gap.opens:
                return Rule.EMBEDDED
            if gap.only_spaces and clause.kind is not Kind.DIGIT:
                return Rule.EMBEDDED
            if before.text.endswith(known.unfinished):
                return Rule.UNFINISHED
            if before.text in known.topics:
                return Rule.UNFINISHED
            if before.text.startswith(known.topic_beginnings) and said(before.text) == Said():
                return Rule.UNFINISHED
        if before.is_level and clause.kind is Kind.TEXT:
            if clause.text in known.topics or clause.text.startswith(known.limits):
                return Rule.LIMITED
            if core_of(before.text) == _USUALLY and _says_how_often(clause.text):
                return Rule.UNFINISHED
            if gap.closes:
                return Rule.EMBEDDED
            if gap.only_spaces and before.kind is not Kind.DIGIT:
                return Rule.EMBEDDED
    return None


def _says_how_often(text: str) -> bool:
    """一般，领导不来: usually they do not come. What has happened, or how it was, is no habit (一般，没解决)."""
    known = words()
    if text.startswith(known.how_often):
        return True
    return said(text).accuses and not any(sign in text for sign in known.once)


# ── R6: praise and complaint beside a level ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Beside:
    """What stands beside the level, in the whole message: what its clauses say, and what stands between them."""

    said: tuple[Said, ...]
    praising_face: bool
    complaining_face: bool
    strange_face: bool
    """One that stands in no list: 🐶, [旺柴] and what comes next year may turn praise round."""
    length: int
    praising_filler: bool
    """好 and its like, which may praise, and may only say that a message came."""

    def contradicts(self, satisfaction: Satisfaction) -> bool:
        """Whether something of the other half stands there; 3 has no other half."""
        if satisfaction.is_bad:
            return self.praising_face or self.praising_filler or any(clause.good for clause in self.said)
        if satisfaction is Satisfaction.BASICALLY_SATISFIED:
            return False
        return self.complaining_face or any(clause.bad or clause.accuses or clause.complains for clause in self.said)


def _beside(text: str, clauses: Sequence[Clause]) -> _Beside:
    known = words()
    apart = [clause for clause in clauses if clause.kind is Kind.TEXT]
    faces = cover(text, {clause.text for clause in clauses if clause.is_level})
    return _Beside(
        tuple(said(clause.text) for clause in apart),
        any(face in faces for face in known.good_faces),
        any(face in faces for face in known.bad_faces),
        has_strange_face(faces),
        sum(len(clause.text) for clause in apart),
        any(clause.kind is Kind.FILLER and clause.text in known.praise_alone for clause in clauses),
    )


def _fits(clause: Said, satisfaction: Satisfaction) -> bool:
    """Whether a clause speaks for the level of a digit."""
    if satisfaction is Satisfaction.BASICALLY_SATISFIED:
        return clause.mild
    return clause.bad if satisfaction.is_bad else clause.good


def _is_supported(satisfaction: Satisfaction, beside: _Beside) -> bool:
    """Whether all the text beside a digit may be its comment, and some of it speaks for the level."""
    if not beside.said:
        return True
    if satisfaction.is_bad:
        return all(clause.bad or clause.complains or clause.aside for clause in beside.said) and any(
            clause.bad for clause in beside.said
        )
    if not all(_fits(clause, satisfaction) or clause.aside for clause in beside.said):
        return False
    return satisfaction is Satisfaction.BASICALLY_SATISFIED or any(clause.good for clause in beside.said)


def _is_told(satisfaction: Satisfaction, beside: _Beside) -> bool:
    """Whether a story sounds like the level's half, and nowhere like the other."""
    good = beside.praising_face or any(clause.good or clause.done or clause.sounds_good for clause in beside.said)
    bad = beside.complaining_face or any(
        clause.bad or clause.accuses or clause.sounds_bad or (clause.mild and not clause.good) for clause in beside.said
    )
    return good != bad if satisfaction is Satisfaction.BASICALLY_SATISFIED else bad and not good


_STORY = 40
"""Characters beside a level's words; a denial, a topic or a name is shorter."""


def _words_problem(satisfaction: Satisfaction, beside: _Beside) -> Rule | None:
    """Why a level's words or stars are none. They are plainer than a digit: beside them a clause may also say nothing
    for either half, beside 一般 it may accuse, beside 不满意 praise may stand before a complaint, and a story that no
    list covers may be told, if it sounds like one half alone; beside the good half none is."""
    is_good = satisfaction > Satisfaction.BASICALLY_SATISFIED
    if beside.length >= _STORY and not is_good and _is_told(satisfaction, beside):
        return None
    if not satisfaction.is_bad:
        if beside.contradicts(satisfaction):
            return Rule.OPPOSITE
        if is_good and beside.strange_face:
            return Rule.FACE
        if satisfaction is Satisfaction.BASICALLY_SATISFIED:
            fits = all(clause.good or clause.bad or clause.mild or clause.aside for clause in beside.said)
        else:
            fits = all(clause.good or clause.aside for clause in beside.said)
        return None if fits else Rule.UNSUPPORTED
    conceded = bool(beside.said) and (beside.said[-1].bad or beside.said[-1].complains)
    if beside.praising_face or any(clause.done or (clause.good and not conceded) for clause in beside.said):
        return Rule.OPPOSITE
    if all(clause.bad or clause.complains or clause.aside or clause.good for clause in beside.said):
        return None
    return Rule.UNSUPPORTED


def _with_touching_digit(clauses: list[Clause], keys: KeyMap) -> list[Clause]:
    """5没人管, 1很好: a digit at the message's head that touches a clause of its own half, in two clauses."""
    place = next((place for place, clause in enumerate(clauses) if clause.kind is not Kind.FILLER), None)
    if place is None:
        return clauses
    whole = clauses[place]
    digit, rest = whole.text[:1], whole.text[1:]
    satisfaction = keys.level_of(digit) if whole.kind is Kind.TEXT and digit in _ASCII_DIGITS else None
    if satisfaction is None or len(rest) > LONGEST or not _may_touch(rest):
        return clauses
    is_short_praise = rest in words().touching_praise and satisfaction > Satisfaction.BASICALLY_SATISFIED
    if not is_short_praise and not (_fits(said(rest), satisfaction) and not _TIMES.search(rest)):
        return clauses
    touching = Gap("", "")
    kind = Kind.FILLER if is_short_praise else Kind.TEXT
    cut = whole.start + 1
    return [
        *clauses[:place],
        Clause(digit, whole.start, cut, Kind.DIGIT, Level(satisfaction), whole.left, touching),
        Clause(rest, cut, whole.end, kind, None, touching, whole.right),
        *clauses[place + 1 :],
    ]


def _may_touch(rest: str) -> bool:
    """Whether what touches a digit can be neither its measure nor a name with it (5社没人管, 1小区修好了)."""
    known = words()
    if rest in known.touching_praise:
        return True
    if not rest.startswith(known.begins_none) and (rest[:1] in known.units or rest.startswith(known.begins_measure)):
        return False
    if rest.startswith(known.touching_not):
        return False
    return any(
        rest.startswith(word) and (word in known.touching or known.parts[word] & _OF_A_COMMENT)
        for length in known.part_lengths
        if (word := rest[:length]) in known.parts
    )


_OF_A_COMMENT = frozenset({Part.DEED, Part.PRAISE, Part.THANKS, Part.DONE, Part.MILD, Part.ACCUSATION, Part.FINAL})


# ── R6 and R7: digits ─────────────────────────────────────────────────────────────────────────────────────────────────


def _digit_problem(satisfaction: Satisfaction, text: str, clauses: Sequence[Clause]) -> Rule | None:
    """Why a digit is no level; None: it is one."""
    known = words()
    places = [place for place, clause in enumerate(clauses) if clause.kind is Kind.DIGIT]
    others = [clause for clause in clauses if clause.kind not in {Kind.DIGIT, Kind.FILLER}]
    if len(places) > 1 and (others or len(places) > 2):
        return Rule.TWICE
    inside = sum(len(_DIGITS.findall(clauses[place].text)) for place in places)
    head = next(clause for clause in clauses if clause.kind is not Kind.FILLER)
    inside += sum(
        len(_DIGITS.findall(clause.text))
        for clause in others
        if said(clause.text).is_laid_out and (not _TIMES.search(clause.text) or _tells_how_often(head, clause))
    )
    if len(_DIGITS.findall(text)) > inside or known.star in text or not known.other_stars.isdisjoint(text):
        return Rule.SPOILED
    for place in places:
        clause = clauses[place]
        after = clauses[place + 1] if place + 1 < len(clauses) else None
        before = clauses[place - 1] if place else None
        if after is not None and after.kind is Kind.TEXT:
            if clause.right.marks_a_list:
                return Rule.LIST
            if _counts_on(clause, after, clause.right):
                return Rule.SPOILED
            if not clause.right.is_loose and _begins_with_a_measure(after.text):
                return Rule.SPOILED
            if clause.right.is_loose and not _fits(said(after.text), satisfaction):
                return Rule.LOOSE
        if (
            before is not None
            and before.kind is Kind.TEXT
            and clause.left.only_spaces
            and (before.text.endswith(known.counting) or not _fits(said(before.text), satisfaction))
        ):
            return Rule.LOOSE
    beside = _beside(text, clauses)
    if beside.contradicts(satisfaction):
        return Rule.OPPOSITE
    if beside.strange_face and satisfaction > Satisfaction.BASICALLY_SATISFIED:
        return Rule.FACE
    if (
        satisfaction.is_bad
        and not (beside.said or beside.complaining_face)
        and any(thanks in clause.text for clause in clauses for thanks in known.thanks_in_fillers)
    ):
        return Rule.OPPOSITE
    return None if _is_supported(satisfaction, beside) else Rule.UNSUPPORTED


_TIMES = re.compile("[0-9](?:次|遍|趟|天|个月|年|周|个星期|个小时|小时|分钟)")
_PASSED = re.compile("[0-9]+(?:天|个月|年|周|个星期|个小时|小时|分钟)(?:了|就)")
_STOPS = frozenset(",.!;\n")


def _tells_how_often(head: Clause, clause: Clause) -> bool:
    """5，打了3次电话没人管; 5，3个月了没人管: a number of a clause of its own, told after the message's first digit.

    At the clause's head it must say what time has passed, for 2，3天没人来 may be one number, and 5，6天了 is."""
    if head.kind is not Kind.DIGIT or not _STOPS.issuperset(head.right.text.strip(" ")) or head.right.only_spaces:
        return False
    if clause.text[:1] not in _ASCII_DIGITS:
        return True
    number = _DIGITS_AT_HEAD.match(clause.text)
    return (
        number is not None
        and _PASSED.match(clause.text) is not None
        and head.text in _ASCII_DIGITS
        and int(number[0]) != int(head.text) + 1
    )


_DIGITS_AT_HEAD = re.compile("[0-9]+")


def _begins_with_a_measure(text: str) -> bool:
    """5，楼没水: the clause begins with what the digit counts, and with no word that only begins alike (楼道)."""
    known = words()
    return text.startswith(known.begins_measure) and not text.startswith(known.begins_none)


def _counts_on(clause: Clause, after: Clause, gap: Gap) -> bool:
    """5，六天: two numbers in a row, as one says about how many."""
    numerals = words().numerals
    follows = numerals.get(after.text[:1])
    digit = next((numerals.get(character, character) for character in clause.text if _is_number(character)), None)
    if follows is None or digit is None or gap.text.strip() not in {",", "", "、"}:
        return False
    return int(follows) == int(digit) + 1 or (digit, follows) == ("3", "5")


def _is_number(character: str) -> bool:
    return character in "0123456789" or character in words().numerals


# ── the comment ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _comment(folded: Folded, clauses: Sequence[Clause], orders: frozenset[int]) -> str:
    """What is left of a rating: the runs of clauses between its levels, as written, without fillers at their ends."""
    runs: list[list[Clause]] = [[]]
    for clause in clauses:
        if clause.is_level or clause.start in orders:
            runs.append([])
        elif clause.kind is not Kind.FILLER or runs[-1]:
            runs[-1].append(clause)
    parts = []
    for run in runs:
        while run and run[-1].kind is Kind.FILLER:
            run.pop()
        if run:
            parts.append(folded.original(run[0].start, run[-1].end))
    return "，".join(parts)
