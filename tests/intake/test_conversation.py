"""What a reply means, as tables: which invitation, what follows in each state of its life, and when we answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.conversation import (
    MOST_ANSWERS,
    Decision,
    GivenCode,
    Heard,
    Invited,
    Match,
    Outcome,
    Remark,
    RemarkKind,
    ReplyRules,
    Said,
    Situation,
    Standing,
    decide,
    which_invitation,
)
from models.terms import InvitationState, MessageKind, QueueReason, Satisfaction
from tests.intake.replying import AUTOMATIC, OPT_IN, OPT_OUT, UNREADABLE, level, words
from tests.moments import START

S = InvitationState
Q = QueueReason
K = MessageKind
RULES = ReplyRules({Satisfaction(2): ("209", "213", "214"), Satisfaction(1): ("110", "115")})
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WINDOW = RULES.late_window
ASKED = Invited(S.ASKED, open_members=True)
RATED = Invited(S.RATED, open_members=False, ended_at=START - HOUR, standing=Standing(Satisfaction(2)))


def at(invited: Invited | None = ASKED, **more: Any) -> Situation:
    """A reply that came and is decided on now."""
    return replace(Situation(START, START, Match.FOUND, invited), **more)


def asked(state: InvitationState, **more: Any) -> Invited:
    return replace(Invited(state, open_members=True), **more)


# ── which invitation ──────────────────────────────────────────────────────────────────────────────────────────────────


def code(digits: str, invitation: str, *, ended: timedelta | None = None) -> GivenCode:
    ended_at = None if ended is None else START - ended
    return GivenCode(digits, invitation, START - DAY, open=ended is None, ended_at=ended_at)


FOUND, AMBIGUOUS, UNMATCHED = Match.FOUND, Match.AMBIGUOUS, Match.UNMATCHED
MATCHES: list[tuple[str, str, list[GivenCode], tuple[Match, str | None]]] = [
    ("its code", "07", [code("07", "a"), code("08", "b")], (FOUND, "a")),
    ("its code, the invitation ended", "07", [code("07", "a", ended=DAY), code("08", "b")], (FOUND, "a")),
    ("its code, ended long ago", "07", [code("07", "a", ended=WINDOW + DAY)], (FOUND, "a")),
    ("no code, one open", "", [code("07", "a"), code("08", "b", ended=DAY)], (FOUND, "a")),
    ("no code, one open with two codes", "", [code("07", "a"), code("", "a")], (FOUND, "a")),
    ("no code, several open", "", [code("07", "a"), code("08", "b")], (AMBIGUOUS, None)),
    ("no code, one ended lately", "", [code("07", "a", ended=DAY)], (FOUND, "a")),
    ("no code, several ended lately", "", [code("07", "a", ended=DAY), code("08", "b", ended=DAY)], (AMBIGUOUS, None)),
    ("no code, all ended long ago", "", [code("07", "a", ended=WINDOW + DAY)], (FOUND, "a")),
    ("a code that this number never had", "09", [code("07", "a")], (UNMATCHED, None)),
    ("a number that we never wrote to", "07", [], (UNMATCHED, None)),
    ("a number that we never wrote to, no code", "", [], (UNMATCHED, None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("digits", "given_codes", "expected"), [row[1:] for row in MATCHES], ids=[r[0] for r in MATCHES]
)
def test_which_invitation_a_reply_means(
    digits: str, given_codes: list[GivenCode], expected: tuple[Match, str | None]
) -> None:
    assert which_invitation(digits, given_codes, START, WINDOW) == expected


def test_over_a_link_without_extensions_the_bare_number_is_a_code_like_another() -> None:
    mine = [code("", "slot"), code("07", "other")]
    assert which_invitation("", mine, START, WINDOW, bare_link=True) == (FOUND, "slot")
    assert which_invitation("", mine, START, WINDOW) == (AMBIGUOUS, None)
    ended = [code("", "slot", ended=DAY), code("07", "other")]
    assert which_invitation("", ended, START, WINDOW, bare_link=True) == (FOUND, "slot")


# ── an invitation's life ──────────────────────────────────────────────────────────────────────────────────────────────

LATELY, LONG_AGO = START - WINDOW, START - WINDOW - timedelta(seconds=1)
RATE = Decision(Outcome.RATED, rate=Satisfaction(4))
LATE = replace(RATE, late=True)


def queued(reason: QueueReason) -> Decision:
    return Decision(Outcome.QUEUED, reason)


AGAIN = Decision(Outcome.AGAIN, remark=Remark(RemarkKind.AGAIN, Satisfaction(4), "2"))
LIFE: list[tuple[str, Invited, Decision]] = [
    ("waiting: handed, but we do not know yet", asked(S.WAITING), RATE),
    ("asked", ASKED, RATE),
    ("asked, undelivered as far as we know", ASKED, RATE),
    ("asked and muted by an opt-out", replace(ASKED, muted=True), RATE),
    ("impossible: and yet it came", asked(S.IMPOSSIBLE, ended_at=LATELY), LATE),
    ("defaulted, inside the late window", asked(S.DEFAULTED, ended_at=LATELY), LATE),
    ("expired, inside the late window", asked(S.EXPIRED, ended_at=LATELY), LATE),
    ("superseded, inside the late window", asked(S.SUPERSEDED, ended_at=LATELY), LATE),
    ("defaulted, too late", asked(S.DEFAULTED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
    ("expired, too late", asked(S.EXPIRED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
    ("superseded, too late", asked(S.SUPERSEDED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
    ("withdrawn", Invited(S.WITHDRAWN, open_members=False, withdrawn=True, ended_at=LATELY), queued(Q.WITHDRAWN)),
    ("asked, all members withdrawn", Invited(S.ASKED, open_members=False, withdrawn=True), queued(Q.WITHDRAWN)),
    ("rated", RATED, AGAIN),
    ("rated by voice meanwhile", Invited(S.ASKED, False, standing=Standing(Satisfaction(5), by_sms=False)), AGAIN),
    ("rated, too late", replace(RATED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
]


@pytest.mark.parametrize(("invited", "expected"), [row[1:] for row in LIFE], ids=[row[0] for row in LIFE])
def test_a_level_in_each_state_of_an_invitations_life(invited: Invited, expected: Decision) -> None:
    assert decide(level(4), at(invited), RULES) == expected


@pytest.mark.parametrize("invited", [row[1] for row in LIFE], ids=[row[0] for row in LIFE])
def test_words_give_no_level_in_any_state(invited: Invited) -> None:
    decision = decide(words("小区还是没有水"), at(invited), RULES)
    assert decision.rate is None
    assert decision.answer is K.CLARIFICATION or decision.queue is not None or decision.remark is not None


def test_a_reply_that_means_no_invitation_goes_to_the_queue_and_is_not_answered() -> None:
    for heard in (level(5), words("谁？")):
        assert decide(heard, at(None, match=UNMATCHED), RULES) == queued(Q.UNMATCHED)
        assert decide(heard, at(None, match=AMBIGUOUS), RULES) == queued(Q.AMBIGUOUS)


# ── clarification ─────────────────────────────────────────────────────────────────────────────────────────────────────

CLARIFY = Decision(Outcome.UNCLEAR, answer=K.CLARIFICATION)
UNCLEAR = Decision(Outcome.UNCLEAR, Q.UNCLEAR)
SOON = START + timedelta(minutes=9, seconds=59)
LATER = START + timedelta(minutes=10)
UNCLEARS: list[tuple[str, Situation, Decision]] = [
    ("first", at(), CLARIFY),
    ("at the last moment", at(now=SOON), CLARIFY),
    ("read too late to answer", at(now=LATER), UNCLEAR),
    ("again", at(replace(ASKED, clarified_at=START - HOUR)), UNCLEAR),
    ("again, days later", at(replace(ASKED, clarified_at=START - 3 * DAY)), UNCLEAR),
    ("after the end, inside the late window", at(asked(S.EXPIRED, ended_at=LATELY)), CLARIFY),
    ("opted out", at(opted_out=True), UNCLEAR),
    ("muted", at(replace(ASKED, muted=True)), UNCLEAR),
    ("on the carrier's blacklist", at(carrier_out=True), UNCLEAR),
    ("the sender takes no SMS", at(reachable=False), UNCLEAR),
    ("answered too often today", at(answers=MOST_ANSWERS), UNCLEAR),
]


@pytest.mark.parametrize(("situation", "expected"), [row[1:] for row in UNCLEARS], ids=[row[0] for row in UNCLEARS])
def test_an_unclear_reply_is_asked_about_once_and_in_time_or_goes_to_the_queue(
    situation: Situation, expected: Decision
) -> None:
    assert decide(words("还行"), situation, RULES) == expected


def test_pressure_is_shown_to_supervisors_whatever_becomes_of_it() -> None:
    heard = words("让我选非常满意", pressure=True)
    assert decide(heard, at(), RULES) == replace(CLARIFY, queue=Q.PRESSURE)
    second = decide(heard, at(replace(ASKED, clarified_at=START - HOUR)), RULES)
    assert (second.queue, second.note) == (Q.PRESSURE, "unclear")
    assert decide(heard, at(None, match=UNMATCHED), RULES).queue is Q.PRESSURE
    # 退订，村干部让我选满意的: whoever wants nothing more has been pressed all the same.
    out = replace(OPT_OUT, pressure=True)
    assert decide(out, at(), RULES) == Decision(Outcome.OPTED_OUT, Q.PRESSURE, opt_out=True, answer=K.OPTED_OUT)
    beside = decide(replace(out, satisfaction=Satisfaction(1)), at(None, match=UNMATCHED), RULES)
    assert (beside.queue, beside.note, beside.opt_out) == (Q.PRESSURE, "unmatched", True)


# ── the reason of a bad rating ────────────────────────────────────────────────────────────────────────────────────────

BAD = Decision(Outcome.RATED, rate=Satisfaction(2))
ASK = replace(BAD, hold=True, answer=K.REASON, offered=("209", "213", "214"))
BADS: list[tuple[str, Heard, Situation, ReplyRules, Decision]] = [
    ("without words", level(2), at(), RULES, ASK),
    ("with words", level(2, "没人管"), at(), RULES, replace(BAD, comment="没人管")),
    ("good", level(4), at(), RULES, RATE),
    ("late", level(2), at(asked(S.EXPIRED, ended_at=LATELY)), RULES, replace(ASK, late=True)),
    ("after a clarification", level(2), at(replace(ASKED, clarified_at=START - HOUR)), RULES, ASK),
    ("switched off", level(2), at(), replace(RULES, ask_reason=False), BAD),
    ("no codes: an open question", level(2), at(), replace(RULES, reasons={}), replace(ASK, offered=())),
    ("read too late to ask", level(2), at(now=LATER), RULES, BAD),
    ("muted", level(2), at(replace(ASKED, muted=True)), RULES, BAD),
    ("opted out", level(2), at(opted_out=True), RULES, BAD),
    ("the sender takes no SMS", level(2), at(reachable=False), RULES, BAD),
    ("answered too often today", level(2), at(answers=MOST_ANSWERS), RULES, BAD),
]


@pytest.mark.parametrize(
    ("heard", "situation", "rules", "expected"), [row[1:] for row in BADS], ids=[row[0] for row in BADS]
)
def test_the_reason_of_a_bad_rating_is_asked_once_and_the_push_waits_for_it(
    heard: Heard, situation: Situation, rules: ReplyRules, expected: Decision
) -> None:
    assert decide(heard, situation, rules) == expected


TALK = replace(RATED, reason_asked_at=START - HOUR, reason_codes=("209", "213", "214"))
PUSHED = replace(TALK, standing=Standing(Satisfaction(2), pushed=True))
WITH_A = replace(TALK, standing=Standing(Satisfaction(2), reasons=("209",)))
WITH_WORDS = replace(TALK, standing=Standing(Satisfaction(2), comment=True))
AFTER_A_DAY = replace(TALK, reason_asked_at=START - DAY - timedelta(seconds=1))
CLARIFIED = replace(RATED, clarified_at=START - HOUR)


def letter(sign: str) -> Heard:
    return words(sign, letters=(sign,))


def again(text: str, satisfaction: int) -> Decision:
    return Decision(Outcome.AGAIN, remark=Remark(RemarkKind.AGAIN, Satisfaction(satisfaction), text))


def remarked(text: str) -> Decision:
    return Decision(Outcome.COMMENT, remark=Remark(RemarkKind.COMMENT, None, text))


def mistook(text: str, satisfaction: int | None = None) -> Decision:
    said = None if satisfaction is None else Satisfaction(satisfaction)
    return Decision(Outcome.MISTAKEN, Q.MISTAKEN, remark=Remark(RemarkKind.MISTAKEN, said, text))


BACK: list[tuple[str, Heard, Invited, Decision]] = [
    ("the same level: ignored", level(2), TALK, Decision(Outcome.SAME)),
    ("the same level with words: these", level(2, "没人管"), TALK, Decision(Outcome.COMMENT, comment="没人管")),
    ("another level", level(5), TALK, mistook("1", 5)),
    ("打错", words("打错了", mistaken=True), TALK, mistook("打错了")),
    ("a letter", letter("B"), TALK, Decision(Outcome.REASON, reasons=("213",))),
    ("a second letter", letter("C"), WITH_A, Decision(Outcome.REASON, reasons=("209", "214"))),
    ("the same letter", letter("A"), WITH_A, Decision(Outcome.REASON, reasons=("209",))),
    ("a letter after the push", letter("B"), PUSHED, Decision(Outcome.REASON, reasons=("213",))),
    ("a letter that was not offered", letter("D"), TALK, Decision(Outcome.COMMENT, comment="D")),
    ("words", words("没人管"), TALK, Decision(Outcome.COMMENT, comment="没人管")),
    ("words after the push", words("没人管"), PUSHED, remarked("没人管")),
    ("words after words", words("还有"), WITH_WORDS, remarked("还有")),
    ("a level after a day", level(5), AFTER_A_DAY, again("1", 5)),
    ("a letter after a day", letter("A"), AFTER_A_DAY, remarked("A")),
    ("打错 after a day", words("发错", mistaken=True), AFTER_A_DAY, mistook("发错")),
    ("the same level after a clarification", level(2), CLARIFIED, Decision(Outcome.SAME)),
    ("another level after a clarification", level(4), CLARIFIED, mistook("2", 4)),
    ("words after a clarification", words("谢谢"), CLARIFIED, remarked("谢谢")),
    ("a letter where none was offered", letter("A"), CLARIFIED, remarked("A")),
]  # fmt: skip


@pytest.mark.parametrize(("heard", "invited", "expected"), [row[1:] for row in BACK], ids=[row[0] for row in BACK])
def test_what_comes_back_is_read_in_the_documented_order(heard: Heard, invited: Invited, expected: Decision) -> None:
    assert decide(heard, at(invited), RULES) == expected


def test_a_day_of_conversation_is_not_cut_off_by_the_end_of_the_late_window() -> None:
    talk = replace(TALK, ended_at=LONG_AGO)
    assert decide(letter("A"), at(talk), RULES).reasons == ("209",)


# ── opt-out and back ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_opt_out_comes_before_everything_and_is_confirmed_once() -> None:
    out = Decision(Outcome.OPTED_OUT, opt_out=True, answer=K.OPTED_OUT)
    for situation in (at(), at(RATED), at(TALK), at(None, match=UNMATCHED), at(None, match=AMBIGUOUS)):
        assert decide(OPT_OUT, situation, RULES) == out
        assert decide(OPT_OUT, replace(situation, opted_out=True), RULES) == replace(out, answer=None)
    assert decide(OPT_OUT, at(answers=MOST_ANSWERS), RULES) == replace(out, answer=None)
    assert decide(OPT_OUT, at(reachable=False), RULES) == replace(out, answer=None)


def test_a_level_beside_an_opt_out_counts_and_nothing_more_is_asked() -> None:
    heard = replace(OPT_OUT, satisfaction=Satisfaction(1), text="5，退订")
    decision = decide(heard, at(), RULES)
    assert (decision.outcome, decision.rate, decision.opt_out) == (Outcome.OPTED_OUT, Satisfaction(1), True)
    assert (decision.hold, decision.answer) == (False, K.OPTED_OUT)
    lost = decide(heard, at(None, match=UNMATCHED), RULES)
    assert (lost.rate, lost.queue, lost.opt_out) == (None, Q.UNMATCHED, True)


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (at(opted_out=True), Decision(Outcome.OPTED_IN, opt_in=True, answer=K.OPTED_IN)),
        (at(None, match=UNMATCHED, opted_out=True), Decision(Outcome.OPTED_IN, opt_in=True, answer=K.OPTED_IN)),
        (at(carrier_out=True), Decision(Outcome.OPTED_IN, opt_in=True, answer=K.OPTED_IN)),
        (at(opted_out=True, now=LATER), Decision(Outcome.OPTED_IN, opt_in=True)),
        (at(), CLARIFY),
        (at(None, match=UNMATCHED), queued(Q.UNMATCHED)),
    ],
)
def test_a_number_comes_back_only_from_an_opt_out(situation: Situation, expected: Decision) -> None:
    assert decide(OPT_IN, situation, RULES) == expected


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

INVITEDS = st.sampled_from([*(row[1] for row in LIFE), TALK, PUSHED, WITH_A, WITH_WORDS, AFTER_A_DAY, CLARIFIED, None])
SITUATIONS = st.builds(
    Situation,
    st.just(START),
    st.sampled_from([START, SOON, LATER]),
    st.sampled_from(Match),
    INVITEDS,
    reachable=st.booleans(),
    opted_out=st.booleans(),
    carrier_out=st.booleans(),
    answers=st.integers(0, MOST_ANSWERS),
)
HEARD = st.one_of(
    st.sampled_from([OPT_OUT, OPT_IN, AUTOMATIC, UNREADABLE, letter("A"), words("打错", mistaken=True)]),
    st.builds(level, st.integers(1, 5), st.sampled_from(["", "好"])),
    st.builds(words, st.text(), pressure=st.booleans(), doubtful=st.booleans()),
)


@given(HEARD, SITUATIONS)
def test_whatever_comes_no_rule_is_broken(heard: Heard, situation: Situation) -> None:
    decision = decide(heard, situation, RULES)
    if decision.answer is not None:
        assert situation.reachable
        assert situation.now < situation.at + RULES.answer_within
        assert situation.answers < MOST_ANSWERS
    if decision.answer in (K.CLARIFICATION, K.REASON):
        assert not situation.opted_out
        assert not situation.carrier_out
        assert situation.invited is not None
        assert not situation.invited.muted
    if decision.rate is not None:
        assert decision.rate is heard.satisfaction
        assert situation.match is Match.FOUND
        assert situation.invited is not None
        assert situation.invited.open_members
    if heard.doubtful:
        assert decision.answer is None
        assert decision.queue is not None
    if heard.said in (Said.AUTOMATIC, Said.UNREADABLE):
        assert (decision.answer, decision.rate, decision.opt_out) == (None, None, False)


def test_an_automatic_reply_is_marked_and_answered_with_nothing() -> None:
    for invited in (ASKED, RATED, TALK):
        assert decide(AUTOMATIC, at(invited), RULES) == Decision(Outcome.AUTOMATIC)


MAYBE = words("我正在忙，等会儿再选", doubtful=True)


@pytest.mark.parametrize(
    ("invited", "expected"),
    [
        (ASKED, UNCLEAR),
        (replace(ASKED, clarified_at=START - HOUR), UNCLEAR),
        (asked(S.EXPIRED, ended_at=LATELY), UNCLEAR),
        (asked(S.EXPIRED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
        (replace(RATED, ended_at=LONG_AGO), queued(Q.TOO_LATE)),
        (RATED, replace(remarked(MAYBE.text or ""), queue=Q.UNCLEAR)),
        (TALK, replace(remarked(MAYBE.text or ""), queue=Q.UNCLEAR)),
    ],
)
def test_what_a_machine_may_have_written_is_seen_by_a_person_and_asked_nothing(
    invited: Invited, expected: Decision
) -> None:
    """In a conversation it is no reason either: an absence notice meets our question."""
    assert decide(MAYBE, at(invited), RULES) == expected


def test_a_level_that_a_machine_may_have_written_counts_and_no_reason_is_asked() -> None:
    assert decide(replace(level(2), doubtful=True), at(), RULES) == BAD
    assert decide(replace(MAYBE, mistaken=True), at(TALK), RULES).outcome is Outcome.MISTAKEN


def test_what_cannot_be_decoded_is_shown_to_supervisors() -> None:
    assert decide(UNREADABLE, at(), RULES) == Decision(Outcome.UNREADABLE, Q.UNREADABLE)
