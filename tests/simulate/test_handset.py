"""Phones and their citizens: what they show is what was meant, and what they answer is read as it was meant."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.keymap import KeyMap
from models.terms import Satisfaction
from simulate.handset import Act, Behaviour, Handset, PartOf, Parts, Split, shown, take_apart, write
from sms.coding import Split as OurSplit
from sms.coding import decode, segments
from sms.grammar import Outcome, is_automatic, read
from sms.reassembly import Part, assemble, unpack
from tests.moments import START

KEYS = KeyMap.of({"1": 5, "2": 4, "3": 3, "4": 2, "5": 1})
INVITATION = "【临夏12345】您反映的事项已办结，请回复1至5评价。"
ASKS_REASON = "您评价为非常不满意，请告诉我们原因：A.无人联系；B.没有解决；C.态度不好，或直接回复文字。"
CONFIRMATION = "【临夏12345】已退订，不再向您发送。"
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=400)


@given(TEXTS, st.sampled_from(list(OurSplit)), st.integers(0, 65535), st.randoms())
def test_a_phone_shows_what_our_segments_say(text: str, split: OurSplit, reference: int, chance: object) -> None:
    pieces = list(segments(text, split, reference))
    chance.shuffle(pieces)  # type: ignore[attr-defined]
    parts = Parts()
    whole: bytes | None = None
    for piece in pieces:
        assert whole is None
        tlvs = dict(piece.tlvs)
        part, content = take_apart(piece.esm_class, piece.short_message or tlvs.get(0x0424, b""), tlvs)
        whole = content if part is None else parts.add("one", part, content)
    assert whole is not None
    assert shown(whole, 8) == text
    assert len(parts) == 0


@given(TEXTS, st.sampled_from(list(Split)), st.integers(0, 65535))
def test_our_side_reads_what_a_phone_writes(text: str, split: Split, reference: int) -> None:
    pieces = write(text, reference, split, coding=8)
    if len(pieces) == 1:
        tlvs = dict(pieces[0].tlvs)
        assert decode(pieces[0].text or tlvs.get(0x0424, b""), 8) is not None
        return
    parts = []
    for piece in pieces:
        there = unpack(piece.esm_class, piece.data_coding, piece.text, dict(piece.tlvs))
        assert there.concatenation is not None
        assert len(piece.text) <= 140
        parts.append(Part(there.concatenation, piece.data_coding, there.body, START))
    # NULs at the end and a byte order mark are no text for us; what a phone writes is the rest.
    assert assemble(parts).body.decode("utf-16-be") == text


@pytest.mark.parametrize("split", [Split.UDH8, Split.UDH16, Split.SAR])
def test_plain_letters_go_in_the_default_alphabet(split: Split) -> None:
    text = "x" * 200
    pieces = write(text, 9, split)
    assert [piece.data_coding for piece in pieces] == [0, 0]
    for order in permutations(pieces):
        parts = Parts()
        wholes = []
        for piece in order:
            part, content = take_apart(piece.esm_class, piece.text, dict(piece.tlvs))
            assert part is not None
            wholes.append(parts.add("one", part, content))
        assert wholes == [None, text.encode()]


def test_parts_count_once_and_do_not_mix() -> None:
    parts = Parts(most=2)
    assert parts.add("a", PartOf("udh8", 1, 2, 1), b"a1") is None
    assert parts.add("a", PartOf("udh8", 1, 2, 1), b"again") is None
    assert parts.add("b", PartOf("udh8", 1, 2, 2), b"b2") is None
    assert parts.add("a", PartOf("udh8", 1, 2, 2), b"a2") == b"a1a2"
    parts.add("c", PartOf("sar", 1, 2, 1), b"c1")
    parts.add("d", PartOf("sar", 1, 2, 1), b"d1")
    assert len(parts) == 2
    assert parts.add("b", PartOf("udh8", 1, 2, 1), b"b1") is None, "the oldest fell out"


# ── citizens ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(behaviour: Behaviour, *texts: str, level: Satisfaction = Satisfaction.VERY_DISSATISFIED) -> list[str]:
    handset = Handset(seed=3)
    handset.cast("1", behaviour, level)
    acts = [handset.react("1", text) for text in texts]
    return [act.text if act is not None else "" for act in acts]


@pytest.mark.parametrize("level", Satisfaction)
@pytest.mark.parametrize("behaviour", [Behaviour.DIGIT, Behaviour.FULL_WIDTH, Behaviour.WORDS, Behaviour.LONG])
def test_a_clear_answer_is_read_as_it_was_meant(behaviour: Behaviour, level: Satisfaction) -> None:
    for seed in range(30):
        handset = Handset(seed=seed)
        handset.cast("1", behaviour, level)
        act = handset.react("1", INVITATION)
        assert act is not None
        reading = read(act.text, KEYS)
        assert (reading.outcome, reading.satisfaction) == (Outcome.RATING, level), act.text
        assert handset.react("1", INVITATION) is None, "a reminder is not answered again"
        if behaviour is Behaviour.LONG:
            assert act.out_of_order
            assert len(write(act.text, 1)) == 3


def test_an_unclear_one_becomes_clear_when_asked_again() -> None:
    for seed in range(60):
        handset = Handset(seed=seed, behaviours={Behaviour.UNCLEAR: 1})
        level = handset.citizen("1").level
        first, second = handset.react("1", INVITATION), handset.react("1", "未能识别，请回复数字1至5。")
        assert first is not None
        assert second is not None
        assert read(first.text, KEYS).outcome is Outcome.UNCLEAR, first.text
        assert read(second.text, KEYS).satisfaction == level, second.text


@pytest.mark.parametrize(
    ("behaviour", "texts", "said"),
    [
        (Behaviour.SILENT, [INVITATION, INVITATION, ASKS_REASON], ["", "", ""]),
        (Behaviour.OPT_OUT, [INVITATION, CONFIRMATION, INVITATION], ["退订", "", ""]),
        (Behaviour.DIGIT, [INVITATION, CONFIRMATION, INVITATION], ["5", "", ""]),
        (Behaviour.REMINDED, [INVITATION, INVITATION, CONFIRMATION, INVITATION], ["", "5", "", ""]),
    ],
)
def test_who_says_what(behaviour: Behaviour, texts: list[str], said: list[str]) -> None:
    assert answers(behaviour, *texts) == said


def test_an_automatic_reply_answers_everything_and_is_known_as_one() -> None:
    said = answers(Behaviour.AUTOMATIC, INVITATION, CONFIRMATION, ASKS_REASON)
    assert len(set(said)) == 1
    assert is_automatic(said[0])
    assert read(said[0], KEYS).outcome is Outcome.UNCLEAR


def test_a_reason_is_given_once_or_not_at_all() -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        handset = Handset(seed=seed)
        handset.cast("1", Behaviour.DIGIT, Satisfaction.VERY_DISSATISFIED)
        handset.react("1", INVITATION)
        act = handset.react("1", ASKS_REASON)
        seen[act.text if act is not None else ""] += 1
        assert handset.react("1", ASKS_REASON) is None
    assert {"A", "B", "C", ""} < set(seen)


def test_only_letters_that_were_offered_are_said() -> None:
    for text, possible in [("原因是？A未办结 B态度差", {"A", "B"}), ("请回复文字说明原因", set())]:
        for seed in range(60):
            handset = Handset(seed=seed)
            handset.cast("1", Behaviour.DIGIT, Satisfaction.DISSATISFIED)
            handset.react("1", INVITATION)
            act = handset.react("1", text)
            assert act is None or len(act.text) > 1 or act.text in possible


def test_the_seed_makes_the_people_whatever_the_order() -> None:
    numbers = [f"138000000{number:02}" for number in range(40)]

    def acts(seed: int, order: list[str]) -> dict[str, Act | None]:
        handset = Handset(seed=seed)
        return {number: handset.react(number, INVITATION) for number in order}

    assert acts(1, numbers) == acts(1, numbers[::-1])
    assert acts(1, numbers) != acts(2, numbers)


def test_delays_are_in_bounds_and_scaled() -> None:
    handset = Handset(seed=1, behaviours={Behaviour.DIGIT: 1}, delay=(10, 20), speed=10)
    delays = [act.delay for number in range(50) if (act := handset.react(str(number), INVITATION)) is not None]
    assert len(delays) == 50
    assert 1.0 <= min(delays) < max(delays) <= 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"behaviours": {}},
        {"behaviours": {Behaviour.DIGIT: 0}},
        {"levels": {Satisfaction.SATISFIED: -1}},
        {"delay": (2, 1)},
    ],
)
def test_people_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"weights|delay"):
        Handset(**wrong)  # type: ignore[arg-type]
