"""The dialogue with a caller, as a pure state machine: events in, actions out; no I/O, no clock.

Rules kept here (the contract's, unless a line says otherwise):

1. Every dialogue ends in one outcome, and the channel variables are set once, as soon as it is known and before the
   closing prompt. A call that runs out of time may be told twice: it cannot wait to hear whether the first was heard.
2. "Thank you" is said only after the store has said that the rating is on disk.
3. A key interrupts. A repeat key plays the question again and costs no try, `REPEATS` times (ours); after that it is a
   wrong key like any other.
4. The question is asked `tries` times. A wrong key is told so, silence too; the last failure decides between `invalid`
   and `no_input`.
5. The skip key ends the question: `skipped`, or a bad rating without a reason.
6. A call that is rated already is not asked. It hears so, keeps its rating, and nothing is stored.
7. After a bad level for which reasons are configured, the rating is stored with its push held and the variables are
   set, then the reason is asked, `REASON_TRIES` times (ours). However that ends, the hold ends with it.
8. A fault of ours (store, prompt) ends in `error` and "sorry". Once the rating is on disk no fault changes its outcome.
9. A call that ends unrated is told to the store, for the invitation by SMS, before anything waits for Asterisk again.

`feed` takes the answer to the last action and gives the next ones. Only the last action of an answer asks for
something; those before it are done and forgotten. After `Finish` there is nothing to feed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import TypeAlias

from config.keymap import KeyMap
from models.terms import CallOutcome, Satisfaction

__all__ = [
    "REASON_TRIES",
    "REPEATS",
    "TRANSITIONS",
    "Action",
    "Ask",
    "Broken",
    "Dialogue",
    "DialogueError",
    "EndCall",
    "Event",
    "Finish",
    "HungUp",
    "Input",
    "Key",
    "LookUp",
    "NotRated",
    "Play",
    "Played",
    "Rated",
    "RatedBefore",
    "ReasonStored",
    "ReleaseHold",
    "Script",
    "SetVariables",
    "Silence",
    "State",
    "Store",
    "StoreFailed",
    "StoreReason",
]

REPEATS = 5
REASON_TRIES = 2


# ── events: what happened ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NotRated:
    """Answer to LookUp: the call has no rating, and the channel is up."""


@dataclass(frozen=True, slots=True)
class RatedBefore:
    """Answer to LookUp or Store: the call has a rating."""

    satisfaction: Satisfaction
    evaluation_id: str


@dataclass(frozen=True, slots=True)
class Key:
    """Answer to Ask: a key, one of 0–9, `*`, `#`."""

    key: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Answer to Ask: no key within the time."""


@dataclass(frozen=True, slots=True)
class Played:
    """Answer to Play."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Answer to Ask or Play: Asterisk could not play it."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """Answer to LookUp, Ask or Play: the caller is gone."""


@dataclass(frozen=True, slots=True)
class Rated:
    """Answer to Store: the rating is on disk."""

    satisfaction: Satisfaction
    evaluation_id: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """Answer to LookUp or Store: it failed, took too long, or nobody knows."""


@dataclass(frozen=True, slots=True)
class ReasonStored:
    """Answer to StoreReason, also where it failed: the rating stands, and its hold runs out by itself."""


Event: TypeAlias = (
    NotRated | RatedBefore | Key | Silence | Played | Broken | HungUp | Rated | StoreFailed | ReasonStored
)


# ── actions: what to do ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LookUp:
    """Answer the channel and find out whether the call is rated already."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Play these prompts one after the other, then wait; a key ends both."""

    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Play:
    """Play one prompt; keys do nothing."""

    prompt: str


@dataclass(frozen=True, slots=True)
class Store:
    """Store the rating. `hold`: its push waits for the reason."""

    satisfaction: Satisfaction
    key: str
    hold: bool


@dataclass(frozen=True, slots=True)
class SetVariables:
    """Tell the dialplan what came of it. No answer."""

    outcome: CallOutcome
    satisfaction: Satisfaction | None = None
    evaluation_id: str = ""


@dataclass(frozen=True, slots=True)
class StoreReason:
    """Store the reason and end the hold."""

    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """No reason comes: the push may go. No answer."""


@dataclass(frozen=True, slots=True)
class EndCall:
    """Store the call that ends unrated. No answer."""

    outcome: CallOutcome


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over; the dialplan goes on."""


Action: TypeAlias = LookUp | Ask | Play | Store | SetVariables | StoreReason | ReleaseHold | EndCall | Finish


# ── the configured part ───────────────────────────────────────────────────────────────────────────────────────────────


class Script:
    """What is said and what each key means, from the configuration; made once, shared by all calls.

    Args:
        tries: how often the question is asked in all.
        repeat_keys, skip_key: as in the configuration; "" for no skip key.
        reasons: the codes offered after a bad level, in the order of the keys 1, 2, 3…; after a level without codes
            nothing is asked.
    """

    __slots__ = ("_meanings", "question", "reason_questions", "reasons", "tries")

    def __init__(
        self,
        key_map: KeyMap,
        *,
        tries: int,
        repeat_keys: tuple[str, ...],
        skip_key: str,
        reasons: Mapping[Satisfaction, tuple[str, ...]],
    ) -> None:
        self.tries = tries
        self.reasons = {level: codes for level, codes in reasons.items() if codes and level.is_bad}
        common: dict[str, Satisfaction | str | Input] = dict.fromkeys(repeat_keys, Input.REPEAT)
        if skip_key:
            common[skip_key] = Input.SKIP
        self._meanings: dict[Satisfaction | None, dict[str, Satisfaction | str | Input]] = {
            None: common | dict(key_map.items())
        }
        for level, codes in self.reasons.items():
            self._meanings[level] = common | {str(place): code for place, code in enumerate(codes, 1)}
        self.question = _Question(question_prompts(key_map, said_keys=bool(common)))
        self.reason_questions = {
            level: _Question(reason_prompts(codes, skip=bool(skip_key))) for level, codes in self.reasons.items()
        }

    def meaning(self, level: Satisfaction | None, key: str) -> Satisfaction | str | Input:
        """What a key means, in the question (None) or the reason question after a level: a level, a code, REPEAT, SKIP,
        or WRONG."""
        return self._meanings[level].get(key, Input.WRONG)

    def prompts(self) -> tuple[str, ...]:
        """Every prompt that a dialogue may play, each once."""
        names = [*self.question.first.prompts, *CLOSINGS, WRONG_KEY, NO_KEY]
        for question in self.reason_questions.values():
            names += question.first.prompts
        return tuple(dict.fromkeys(names))


ASK, REPEAT_OR_SKIP, WRONG_KEY, NO_KEY = "ask", "repeat-or-skip", "wrong-key", "no-key"
REASON_ASK, OTHER_SKIP = "reason-ask", "other-skip"
THANKS, ALREADY_RATED, GOODBYE, SORRY = CLOSINGS = ("thanks", "already-rated", "goodbye", "sorry")


def question_prompts(key_map: KeyMap, *, said_keys: bool) -> tuple[str, ...]:
    """The question, composed from the key map, so that a changed map needs no recording."""
    names = [ASK]
    for key, level in key_map.items():
        names += (f"level-{level.slug}", f"press-{key}")
    return (*names, REPEAT_OR_SKIP) if said_keys else tuple(names)


def reason_prompts(codes: tuple[str, ...], *, skip: bool) -> tuple[str, ...]:
    """The question for the reason, composed from the configured codes."""
    names = [REASON_ASK]
    for place, code in enumerate(codes, 1):
        names += (f"reason-{code}", f"press-{place}")
    return (*names, OTHER_SKIP) if skip else tuple(names)


class _Question:
    """A question as it is asked first, after a wrong key, and after silence."""

    __slots__ = ("after_silence", "after_wrong", "first")

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self.first = Ask(prompts)
        self.after_wrong = Ask((WRONG_KEY, *prompts))
        self.after_silence = Ask((NO_KEY, *prompts))


# ── the machine ───────────────────────────────────────────────────────────────────────────────────────────────────────


class State(IntEnum):
    # An IntEnum for its hash, which the table looks up for every event.
    OPENING = auto()
    """Answering, and looking whether the call is rated already."""
    ASKING = auto()
    STORING = auto()
    ASKING_REASON = auto()
    STORING_REASON = auto()
    CLOSING = auto()
    """The last prompt is playing; everything is decided."""
    FINISHED = auto()


class Input(IntEnum):
    """An event as the table knows it: keys by their meaning, failures by whether a try is left."""

    NOT_RATED = auto()
    RATED_BEFORE = auto()
    LEVEL = auto()
    REASON = auto()
    REPEAT = auto()
    SKIP = auto()
    WRONG = auto()
    WRONG_LAST = auto()
    SILENT = auto()
    SILENT_LAST = auto()
    STORED = auto()
    STORED_HELD = auto()
    STORE_FAILED = auto()
    REASON_STORED = auto()
    PLAYED = auto()
    BROKEN = auto()
    HUNG_UP = auto()


class DialogueError(Exception):
    """An event that cannot come in this state: a bug of whoever drives the dialogue."""


_FINISH = Finish()
_INPUTS: dict[type, Input] = {
    NotRated: Input.NOT_RATED,
    RatedBefore: Input.RATED_BEFORE,
    StoreFailed: Input.STORE_FAILED,
    ReasonStored: Input.REASON_STORED,
    Played: Input.PLAYED,
    Broken: Input.BROKEN,
    HungUp: Input.HUNG_UP,
}


class Dialogue:
    """One caller's dialogue. `outcome` is None until it is known."""

    __slots__ = ("_choice", "_known", "_repeats", "_script", "_tries", "outcome", "state")

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tries = script.tries
        self._repeats = REPEATS
        self._choice: tuple[Satisfaction | None, str] = (None, "")
        """The level chosen, and the key or the reason's code."""
        self._known: Rated | RatedBefore | None = None
        self.outcome: CallOutcome | None = None
        self.state = State.OPENING

    def begin(self) -> tuple[Action, ...]:
        """The first action."""
        return (LookUp(),)

    def feed(self, event: Event) -> tuple[Action, ...]:
        """Takes the answer to the last action, gives the next actions.

        Raises:
            DialogueError: the event cannot come now.
        """
        what = self._read(event)
        try:
            self.state, act = TRANSITIONS[self.state, what]
        except KeyError:
            raise DialogueError(f"{type(event).__name__} ({what.name}) cannot come while {self.state.name}") from None
        return act(self)

    def fail(self) -> tuple[Action, ...]:
        """Something of ours broke outside the table: the actions that end the call as well as can be."""
        if self.state in (State.CLOSING, State.FINISHED):
            self.state = State.FINISHED
            return (_FINISH,)
        self.state = State.CLOSING
        if self.outcome is CallOutcome.RATED:
            return self._close_unreasoned()
        return self._end_error()

    def out_of_time(self) -> tuple[Action, ...]:
        """Nothing can be waited for any more: what is not handed in yet, and the variables, maybe once more."""
        held = self.state is State.ASKING_REASON
        self.state = State.FINISHED
        if self.outcome is None:
            return self._unrated(CallOutcome.ERROR, _FINISH)
        told = self._tell(self.outcome)
        return (ReleaseHold(), told, _FINISH) if held else (told, _FINISH)

    def _read(self, event: Event) -> Input:
        kind = type(event)
        if kind is Key:
            return self._read_key(event.key)  # type: ignore[union-attr]  # by its kind
        if kind is Silence:
            self._tries -= 1
            return Input.SILENT if self._tries else Input.SILENT_LAST
        if kind is Rated:
            self._known = event  # type: ignore[assignment]  # by its kind
            return Input.STORED_HELD if self._choice[0] in self._script.reasons else Input.STORED
        if kind is RatedBefore:
            self._known = event  # type: ignore[assignment]  # by its kind
        return _INPUTS[kind]

    def _read_key(self, key: str) -> Input:
        level = self._choice[0] if self.state is State.ASKING_REASON else None
        meaning = self._script.meaning(level, key)
        if meaning is Input.REPEAT:
            if self._repeats:
                self._repeats -= 1
                return Input.REPEAT
            meaning = Input.WRONG
        if meaning is Input.WRONG:
            self._tries -= 1
            return Input.WRONG if self._tries else Input.WRONG_LAST
        if isinstance(meaning, Satisfaction):
            self._choice = (meaning, key)
            return Input.LEVEL
        if isinstance(meaning, Input):
            return meaning
        self._choice = (level, meaning)
        return Input.REASON

    # ── what the table names ──────────────────────────────────────────────────────────────────────────────────────────

    def _question(self) -> _Question:
        level = self._choice[0]
        return self._script.question if level is None else self._script.reason_questions[level]

    def _ask(self) -> tuple[Action, ...]:
        return (self._question().first,)

    def _ask_after_wrong(self) -> tuple[Action, ...]:
        return (self._question().after_wrong,)

    def _ask_after_silence(self) -> tuple[Action, ...]:
        return (self._question().after_silence,)

    def _store(self) -> tuple[Action, ...]:
        level, key = self._choice
        assert level is not None
        return (Store(level, key, hold=level in self._script.reasons),)

    def _rated(self) -> tuple[Action, ...]:
        return (self._tell(CallOutcome.RATED), Play(THANKS))

    def _rated_ask_reason(self) -> tuple[Action, ...]:
        self._tries, self._repeats = REASON_TRIES, REPEATS
        return (self._tell(CallOutcome.RATED), self._question().first)

    def _store_reason(self) -> tuple[Action, ...]:
        return (StoreReason((self._choice[1],)),)

    def _close_unreasoned(self) -> tuple[Action, ...]:
        return (ReleaseHold(), Play(THANKS))

    def _leave_unreasoned(self) -> tuple[Action, ...]:
        return (ReleaseHold(), _FINISH)

    def _thank(self) -> tuple[Action, ...]:
        return (Play(THANKS),)

    def _duplicate(self) -> tuple[Action, ...]:
        return (self._tell(CallOutcome.DUPLICATE), Play(ALREADY_RATED))

    def _end_no_input(self) -> tuple[Action, ...]:
        return self._unrated(CallOutcome.NO_INPUT, Play(GOODBYE))

    def _end_invalid(self) -> tuple[Action, ...]:
        return self._unrated(CallOutcome.INVALID, Play(GOODBYE))

    def _end_skipped(self) -> tuple[Action, ...]:
        return self._unrated(CallOutcome.SKIPPED, Play(GOODBYE))

    def _end_error(self) -> tuple[Action, ...]:
        return self._unrated(CallOutcome.ERROR, Play(SORRY))

    def _end_hangup(self) -> tuple[Action, ...]:
        return self._unrated(CallOutcome.HANGUP, _FINISH)

    def _finish(self) -> tuple[Action, ...]:
        return (_FINISH,)

    def _unrated(self, outcome: CallOutcome, last: Action) -> tuple[Action, ...]:
        # The end first: setting variables waits for Asterisk, and a call may run out of time there.
        return (EndCall(outcome), self._tell(outcome), last)

    def _tell(self, outcome: CallOutcome) -> SetVariables:
        self.outcome = outcome
        if self._known is None or outcome not in (CallOutcome.RATED, CallOutcome.DUPLICATE):
            return SetVariables(outcome)
        return SetVariables(outcome, self._known.satisfaction, self._known.evaluation_id)


TRANSITIONS: dict[tuple[State, Input], tuple[State, Callable[[Dialogue], tuple[Action, ...]]]] = {
    (State.OPENING, Input.NOT_RATED): (State.ASKING, Dialogue._ask),
    (State.OPENING, Input.RATED_BEFORE): (State.CLOSING, Dialogue._duplicate),
    (State.OPENING, Input.STORE_FAILED): (State.CLOSING, Dialogue._end_error),
    (State.OPENING, Input.HUNG_UP): (State.FINISHED, Dialogue._end_hangup),
    #
    (State.ASKING, Input.LEVEL): (State.STORING, Dialogue._store),
    (State.ASKING, Input.REPEAT): (State.ASKING, Dialogue._ask),
    (State.ASKING, Input.WRONG): (State.ASKING, Dialogue._ask_after_wrong),
    (State.ASKING, Input.SILENT): (State.ASKING, Dialogue._ask_after_silence),
    (State.ASKING, Input.WRONG_LAST): (State.CLOSING, Dialogue._end_invalid),
    (State.ASKING, Input.SILENT_LAST): (State.CLOSING, Dialogue._end_no_input),
    (State.ASKING, Input.SKIP): (State.CLOSING, Dialogue._end_skipped),
    (State.ASKING, Input.BROKEN): (State.CLOSING, Dialogue._end_error),
    (State.ASKING, Input.HUNG_UP): (State.FINISHED, Dialogue._end_hangup),
    # A caller who hangs up here has rated all the same: it shows at the next question or prompt.
    (State.STORING, Input.STORED): (State.CLOSING, Dialogue._rated),
    (State.STORING, Input.STORED_HELD): (State.ASKING_REASON, Dialogue._rated_ask_reason),
    (State.STORING, Input.RATED_BEFORE): (State.CLOSING, Dialogue._duplicate),
    (State.STORING, Input.STORE_FAILED): (State.CLOSING, Dialogue._end_error),
    #
    (State.ASKING_REASON, Input.REASON): (State.STORING_REASON, Dialogue._store_reason),
    (State.ASKING_REASON, Input.REPEAT): (State.ASKING_REASON, Dialogue._ask),
    (State.ASKING_REASON, Input.WRONG): (State.ASKING_REASON, Dialogue._ask_after_wrong),
    (State.ASKING_REASON, Input.SILENT): (State.ASKING_REASON, Dialogue._ask_after_silence),
    (State.ASKING_REASON, Input.WRONG_LAST): (State.CLOSING, Dialogue._close_unreasoned),
    (State.ASKING_REASON, Input.SILENT_LAST): (State.CLOSING, Dialogue._close_unreasoned),
    (State.ASKING_REASON, Input.SKIP): (State.CLOSING, Dialogue._close_unreasoned),
    (State.ASKING_REASON, Input.BROKEN): (State.CLOSING, Dialogue._close_unreasoned),
    (State.ASKING_REASON, Input.HUNG_UP): (State.FINISHED, Dialogue._leave_unreasoned),
    #
    (State.STORING_REASON, Input.REASON_STORED): (State.CLOSING, Dialogue._thank),
    #
    (State.CLOSING, Input.PLAYED): (State.FINISHED, Dialogue._finish),
    (State.CLOSING, Input.BROKEN): (State.FINISHED, Dialogue._finish),
    (State.CLOSING, Input.HUNG_UP): (State.FINISHED, Dialogue._finish),
}
"""What follows what. A pair that is not here cannot come."""
