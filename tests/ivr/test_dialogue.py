"""The dialogue's table: labelled paths, and every sequence of events that Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.keymap import KeyMap
from ivr.dialogue import (
    REASON_TRIES,
    REPEATS,
    TRANSITIONS,
    Action,
    Ask,
    Broken,
    Dialogue,
    DialogueError,
    EndCall,
    Event,
    Finish,
    HungUp,
    Input,
    Key,
    LookUp,
    NotRated,
    Play,
    Played,
    Rated,
    RatedBefore,
    ReasonStored,
    ReleaseHold,
    Script,
    SetVariables,
    Silence,
    State,
    Store,
    StoreFailed,
    StoreReason,
)
from models.terms import CallOutcome, Satisfaction

KEYS = KeyMap.of({"1": 5, "2": 4, "3": 3, "4": 2, "5": 1})
REASONS = {Satisfaction.DISSATISFIED: ("209", "213", "214"), Satisfaction.VERY_DISSATISFIED: ("110", "115")}


def script(tries: int = 2, skip_key: str = "#", reasons: dict[Satisfaction, tuple[str, ...]] = REASONS) -> Script:
    return Script(KEYS, tries=tries, repeat_keys=("0", "*"), skip_key=skip_key, reasons=reasons)


def played(*events: Event, by: Script | None = None) -> tuple[Dialogue, list[Action]]:
    """A dialogue after these events, and everything it did."""
    dialogue = Dialogue(by or script())
    done = list(dialogue.begin())
    for event in events:
        done += dialogue.feed(event)
    return dialogue, done


def presses(text: str) -> list[Event]:
    """`1` a key, `-` silence."""
    return [Silence() if sign == "-" else Key(sign) for sign in text]


ASKED = NotRated()
QUESTION = Ask(
    ("ask", "level-very-satisfied", "press-1", "level-satisfied", "press-2", "level-basically-satisfied", "press-3",
     "level-dissatisfied", "press-4", "level-very-dissatisfied", "press-5", "repeat-or-skip")
)  # fmt: skip


def test_the_question_is_composed_in_the_order_of_the_keys() -> None:
    _, done = played(ASKED)
    assert done == [LookUp(), QUESTION]


def test_the_reason_question_offers_the_codes_of_the_level() -> None:
    _, done = played(ASKED, Key("5"), Rated(Satisfaction.VERY_DISSATISFIED, "e"))
    assert done[-1] == Ask(("reason-ask", "reason-110", "press-1", "reason-115", "press-2", "other-skip"))


def test_without_a_skip_key_nothing_speaks_of_skipping() -> None:
    _, done = played(ASKED, Key("5"), Rated(Satisfaction.VERY_DISSATISFIED, "e"), by=script(skip_key=""))
    assert done[-1] == Ask(("reason-ask", "reason-110", "press-1", "reason-115", "press-2"))
    _, done = played(ASKED, Key("#"), by=script(skip_key=""))
    assert done[-1] == Ask(("wrong-key", *QUESTION.prompts)), "# is a key like any other then"


ENDS = {
    "wrong, wrong": ("77", CallOutcome.INVALID),
    "silence, silence": ("--", CallOutcome.NO_INPUT),
    "the last failure decides: silence": ("7-", CallOutcome.NO_INPUT),
    "the last failure decides: wrong": ("-7", CallOutcome.INVALID),
    "skip": ("#", CallOutcome.SKIPPED),
    "skip after a failure": ("7#", CallOutcome.SKIPPED),
    "a repeat costs no try": ("0*7-", CallOutcome.NO_INPUT),
    "repeats are bounded, then cost tries": ("0" * (REPEATS + 2), CallOutcome.INVALID),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_without_a_rating(name: str) -> None:
    keys, outcome = ENDS[name]
    dialogue, done = played(ASKED, *presses(keys))
    assert done[-3:] == [EndCall(outcome), SetVariables(outcome), Play("goodbye")]
    assert dialogue.outcome is outcome
    assert dialogue.feed(Played()) == (Finish(),)


@pytest.mark.parametrize("tries", [1, 2, 3, 9])
@pytest.mark.parametrize(("sign", "word"), [("7", "wrong-key"), ("-", "no-key")])
def test_the_question_is_asked_as_often_as_configured(tries: int, sign: str, word: str) -> None:
    _, done = played(ASKED, *presses(sign * tries), by=script(tries))
    asked = [action for action in done if isinstance(action, Ask)]
    assert asked == [QUESTION] + [Ask((word, *QUESTION.prompts))] * (tries - 1)


@pytest.mark.parametrize(("key", "level"), list(KEYS.items()))
def test_each_key_stores_its_level(key: str, level: Satisfaction) -> None:
    _, done = played(ASKED, Key(key))
    assert done[-1] == Store(level, key, hold=level.is_bad)


def test_a_bad_level_without_codes_is_not_held_and_not_asked() -> None:
    by = script(reasons={Satisfaction.VERY_DISSATISFIED: (), Satisfaction.DISSATISFIED: ("209",)})
    _, done = played(ASKED, Key("5"), Rated(Satisfaction.VERY_DISSATISFIED, "e"), by=by)
    assert Store(Satisfaction.VERY_DISSATISFIED, "5", hold=False) in done
    assert done[-1] == Play("thanks")


def test_a_good_level_is_never_asked_why() -> None:
    by = script(reasons={Satisfaction.VERY_SATISFIED: ("517",)})
    _, done = played(ASKED, Key("1"), Rated(Satisfaction.VERY_SATISFIED, "e"), by=by)
    assert done[-1] == Play("thanks")


BAD: tuple[Event, ...] = (ASKED, Key("4"), Rated(Satisfaction.DISSATISFIED, "e"))
UNREASONED = {
    "skip": "#",
    "silent": "-" * REASON_TRIES,
    "wrong": "9" * REASON_TRIES,
    "wrong, then silent": "9-",
}


@pytest.mark.parametrize("name", UNREASONED)
def test_a_bad_rating_without_a_reason_is_released_and_thanked(name: str) -> None:
    _, done = played(*BAD, *presses(UNREASONED[name]))
    assert done[-2:] == [ReleaseHold(), Play("thanks")]


def test_a_reason_has_tries_and_repeats_of_its_own() -> None:
    _, done = played(ASKED, *presses("0007"), *BAD[1:], *presses("00000-3"))
    assert done[-1] == StoreReason(("214",))


def test_thanks_waits_for_the_reason() -> None:
    dialogue, done = played(*BAD, Key("1"))
    assert done[-1] == StoreReason(("209",))
    assert dialogue.feed(ReasonStored()) == (Play("thanks"),)


def test_hanging_up_instead_of_a_reason_releases_the_rating() -> None:
    dialogue, done = played(*BAD, HungUp())
    assert done[-2:] == [ReleaseHold(), Finish()]
    assert dialogue.outcome is CallOutcome.RATED


@pytest.mark.parametrize("events", [(RatedBefore(Satisfaction.SATISFIED, "e"),),
                                    (ASKED, Key("5"), RatedBefore(Satisfaction.SATISFIED, "e"))])  # fmt: skip
def test_a_duplicate_keeps_its_rating(events: tuple[Event, ...]) -> None:
    _, done = played(*events)
    assert done[-2:] == [SetVariables(CallOutcome.DUPLICATE, Satisfaction.SATISFIED, "e"), Play("already-rated")]


@pytest.mark.parametrize("events", [(StoreFailed(),), (ASKED, Broken()), (ASKED, Key("1"), StoreFailed()),
                                    (ASKED, Key("4"), StoreFailed())])  # fmt: skip
def test_faults_of_ours_end_in_sorry(events: tuple[Event, ...]) -> None:
    _, done = played(*events)
    assert done[-3:] == [EndCall(CallOutcome.ERROR), SetVariables(CallOutcome.ERROR), Play("sorry")]


def test_a_broken_reason_prompt_takes_nothing_from_the_rating() -> None:
    _, done = played(*BAD, Broken())
    assert done[-2:] == [ReleaseHold(), Play("thanks")]


@pytest.mark.parametrize(("before", "event"), [
    ((), Key("1")), ((), Played()), ((ASKED,), NotRated()), ((ASKED,), Rated(Satisfaction.SATISFIED, "e")),
    ((ASKED, Key("1")), HungUp()), ((ASKED, Key("1")), Key("1")), ((ASKED, Key("#"), Played()), Played()),
])  # fmt: skip
def test_what_cannot_come_is_refused(before: tuple[Event, ...], event: Event) -> None:
    dialogue, _ = played(*before)
    with pytest.raises(DialogueError, match="cannot come while"):
        dialogue.feed(event)


# ── every sequence ────────────────────────────────────────────────────────────────────────────────────────────────────

_keys = st.sampled_from([Key(sign) for sign in "0123456789*#"])
_levels = st.sampled_from(Satisfaction)


def answers(action: Action) -> st.SearchStrategy[Event]:
    """What can come back for an action, as the table in the module's docstrings says."""
    match action:
        case LookUp():
            return st.one_of(
                st.just(NotRated()), st.builds(RatedBefore, _levels, st.just("e-old")), st.just(StoreFailed()),
                st.just(HungUp()),
            )  # fmt: skip
        case Ask():
            return st.one_of(_keys, st.just(Silence()), st.just(Broken()), st.just(HungUp()))
        case Store(satisfaction=level):
            return st.one_of(
                st.just(Rated(level, "e-new")), st.builds(RatedBefore, _levels, st.just("e-old")),
                st.just(StoreFailed()),
            )  # fmt: skip
        case StoreReason():
            return st.just(ReasonStored())
        case Play():
            return st.one_of(st.just(Played()), st.just(Broken()), st.just(HungUp()))
        case _:
            raise AssertionError(f"{action} is no question")


SCRIPTS = st.builds(
    script,
    tries=st.integers(1, 4),
    skip_key=st.sampled_from(["#", "", "9"]),
    reasons=st.sampled_from([REASONS, {}, {Satisfaction.DISSATISFIED: ("209",)}]),
)


def check(done: Sequence[Action], events: Sequence[Event], dialogue: Dialogue) -> None:
    """The rules of the module's header, on one whole dialogue."""
    assert isinstance(done[-1], Finish)
    assert sum(isinstance(action, Finish) for action in done) == 1
    [told] = [action for action in done if isinstance(action, SetVariables)]
    assert told.outcome is dialogue.outcome
    at = done.index(told)
    closings = [place for place, action in enumerate(done) if isinstance(action, Play)]
    assert len(closings) <= 1
    assert all(at < place for place in closings), "the variables come before the closing prompt"
    stored = [event for event in events if isinstance(event, Rated)]
    ended = [action.outcome for action in done if isinstance(action, EndCall)]
    said = [action.prompt for action in done if isinstance(action, Play)]
    if stored:
        assert told == SetVariables(CallOutcome.RATED, stored[0].satisfaction, stored[0].evaluation_id)
        assert said in ([], ["thanks"])
        assert not ended
    else:
        assert "thanks" not in said, "thanks only once it is on disk"
        if told.outcome is CallOutcome.DUPLICATE:
            assert told.evaluation_id == "e-old"
            assert not ended
        else:
            assert ended == [told.outcome], "a call that ends unrated is told to the store, once"
            assert told.satisfaction is None
            assert told.evaluation_id == ""
    held = [action for action in done if isinstance(action, Store) and action.hold]
    freed = [action for action in done if isinstance(action, ReleaseHold | StoreReason)]
    assert len(freed) == (1 if held and stored else 0), "a hold ends exactly once, however the call does"
    assert sum(isinstance(action, Store) for action in done) <= 1


@given(st.data(), SCRIPTS)
@settings(max_examples=400)
def test_every_dialogue_ends_as_the_rules_say(data: st.DataObject, by: Script) -> None:
    dialogue = Dialogue(by)
    done = list(dialogue.begin())
    events: list[Event] = []
    while not isinstance(done[-1], Finish):
        event = data.draw(answers(done[-1]))
        events.append(event)
        done += dialogue.feed(event)
        assert len(events) < 40, "a dialogue is bounded"
    check(done, events, dialogue)
    assert dialogue.state is State.FINISHED


@given(st.data(), SCRIPTS, st.integers(0, 8))
@settings(max_examples=400)
def test_a_bug_at_any_moment_still_ends_the_dialogue(data: st.DataObject, by: Script, after: int) -> None:
    dialogue = Dialogue(by)
    done = list(dialogue.begin())
    events: list[Event] = []
    for _ in range(after):
        if isinstance(done[-1], Finish):
            break
        events.append(data.draw(answers(done[-1])))
        done += dialogue.feed(events[-1])
    if not isinstance(done[-1], Finish):
        closing = isinstance(done[-1], Play)
        done += dialogue.fail()
        if not closing:
            assert isinstance(done[-1], Play), "the caller still hears how it ended"
            done += dialogue.feed(Played())
    if not any(isinstance(action, StoreReason) for action in done):
        check(done, events, dialogue)


def test_every_input_is_in_the_table_and_every_state_leads_on() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.FINISHED}
    assert {what for _, what in TRANSITIONS} == set(Input)
    assert {after for after, _ in TRANSITIONS.values()} == set(State) - {State.OPENING}
    reached = {State.OPENING}
    for _ in State:
        reached |= {after for (before, _), (after, _) in TRANSITIONS.items() if before in reached}
    assert reached == set(State)
