"""The texts: fields, signature, length in segments, what a carrier approves, and every mistake with its key."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.keymap import KeyMap
from config.settings import Settings
from config.texts import FIELDS, INVITATIONS, TextKind, TextsInvalid, load_texts
from models.terms import Satisfaction
from sms.coding import Split
from sms.texts import (
    LETTERS,
    Length,
    Signature,
    SignatureAt,
    SignedBy,
    TextBook,
    digest_of,
    offered_reasons,
    text_problems,
)

SETTINGS = Settings()
DAY = date(2026, 11, 22)
OURS = Signature("临夏12345")
OPTIONS = "1非常满意 2满意 3基本满意 4不满意 5非常不满意"


def book(
    signature: Signature = OURS,
    *,
    directory: Path | None = None,
    languages: tuple[str, ...] = ("zh",),
    keys: dict[str, int] | None = None,
    reasons: dict[Satisfaction, tuple[str, ...]] | None = None,
    split: Split = Split.UDH8,
) -> TextBook:
    return TextBook(
        load_texts(languages, directory),
        hotline=SETTINGS.hotline.name,
        key_map=KeyMap.of(keys) if keys else SETTINGS.rating.key_map,
        reasons=SETTINGS.rating.reason_codes if reasons is None else reasons,
        signature=signature,
        split=split,
    )


def write(directory: Path, text: str, language: str = "zh") -> Path:
    (directory / f"{language}.toml").write_text(text, "utf-8")
    return directory


# ── the shipped texts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_invitation_says_the_levels_and_the_way_out() -> None:
    text = book().render(TextKind.INVITE_CALL, "zh", day=DAY)
    assert text == f"请对您11月22日来电的服务作出评价，回复数字：{OPTIONS}，拒收请回复R"


@pytest.mark.parametrize("kind", [*INVITATIONS, TextKind.REMINDER])
def test_invitations_and_the_reminder(kind: TextKind) -> None:
    text = book().render(kind, "zh", day=DAY, count=3, case_no="LX1")
    assert OPTIONS in text
    assert "拒收请回复R" in text


def test_the_options_are_the_key_maps() -> None:
    keys = {"5": 5, "4": 4, "3": 3, "2": 2, "1": 1}
    text = book(keys=keys).render(TextKind.CLARIFICATION, "zh")
    assert text.endswith("1非常不满意 2不满意 3基本满意 4满意 5非常满意")
    older = book().render(TextKind.CLARIFICATION, "zh", key_map=KeyMap.of({"9": 5, "0": 1}))
    assert older.endswith("：9非常满意 0非常不满意")


def test_the_reason_question_names_the_level_and_letters() -> None:
    text = book().render(TextKind.REASON, "zh", level=Satisfaction.DISSATISFIED)
    assert "您的评价为不满意" in text
    assert text.endswith("A未在承诺时间办结 B人员业务不熟练 C服务态度生硬")
    assert book().letters("zh", Satisfaction.DISSATISFIED) == {"A": "209", "B": "213", "C": "214"}


def test_a_level_without_reasons_is_asked_openly() -> None:
    text = book(reasons={}).render(TextKind.REASON, "zh", level=Satisfaction.VERY_DISSATISFIED)
    assert text == "您的评价为非常不满意，请回复文字说明原因"


def test_letters_and_words_never_shift() -> None:
    words = load_texts().of("zh")
    assert offered_reasons(words, ("999", "213")) == {"A": "213"}  # a code without words is not offered
    assert not set(LETTERS) & {"R", "T", "N"}  # they opt out


def test_reasons_without_words_are_told() -> None:
    problems = text_problems(load_texts(), {Satisfaction.DISSATISFIED: ("209", "299")})
    assert problems == [("zh.toml: reasons.299", "is missing; rating.reasons offers 299 after 不满意")]
    assert not text_problems(load_texts(), SETTINGS.rating.reason_codes)


def test_thanks_are_not_sent_by_default() -> None:
    assert book().render(TextKind.THANKS, "zh") == ""


def test_the_reminder_differs_from_every_invitation() -> None:
    templates = load_texts().of("zh").templates
    assert templates[TextKind.REMINDER] not in {templates[kind] for kind in INVITATIONS}


def test_a_missing_value_is_an_error_and_no_blank() -> None:
    with pytest.raises(ValueError, match=r"\{date\}, which is not known here"):
        book().render(TextKind.INVITE_CALL, "zh")
    with pytest.raises(ValueError, match=r"\{count\}"):
        book().render(TextKind.INVITE_BATCH, "zh", day=DAY)


def test_a_case_number_cannot_bring_a_signature_or_a_field(tmp_path: Path) -> None:
    own = write(tmp_path, '[texts]\ninvite_case = "{case_no}办结：{options}，拒收请回复R"')
    text = book(directory=own).render(TextKind.INVITE_CASE, "zh", case_no="【别家】{hotline}")
    assert text.startswith("[别家]{hotline}办结")


# ── signature and length ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("by", "at", "submitted", "shown"),
    [
        (SignedBy.US, SignatureAt.FRONT, "【临夏12345】好", "【临夏12345】好"),
        (SignedBy.US, SignatureAt.BACK, "好【临夏12345】", "好【临夏12345】"),
        (SignedBy.CARRIER, SignatureAt.FRONT, "好", "【临夏12345】好"),
        (SignedBy.CARRIER, SignatureAt.BACK, "好", "好【临夏12345】"),
    ],
)
def test_who_signs_and_where(by: SignedBy, at: SignatureAt, submitted: str, shown: str) -> None:
    signature = Signature("临夏12345", by, at)
    assert (signature.submitted("好"), signature.shown("好")) == (submitted, shown)
    assert book(signature).length("好") == Length(10, 1)


def test_no_signature() -> None:
    assert Signature("").shown("好") == "好"


@pytest.mark.parametrize("by", list(SignedBy))
@pytest.mark.parametrize("at", list(SignatureAt))
@pytest.mark.parametrize(("units", "count"), [(61, 1), (62, 2), (125, 2), (126, 3)])
def test_the_signature_counts_whoever_puts_it_on(by: SignedBy, at: SignatureAt, units: int, count: int) -> None:
    link = book(Signature("临夏12345", by, at))
    text = "好" * units
    assert link.length(text) == Length(units + 9, count)
    assert len(link.pieces(text, 1)) == count


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.sampled_from(Split), st.sampled_from(SignedBy))
def test_length_and_pieces_agree(text: str, split: Split, by: SignedBy) -> None:
    link = book(Signature("临夏12345", by), split=split)
    pieces = link.pieces(text, 1)
    assert len(pieces) == (1 if split is Split.PAYLOAD else link.length(text).segments)


def test_each_shipped_text_is_one_sms() -> None:
    for approval in book().approvals():
        assert approval.longest.segments == 1, approval


# ── what a carrier approves ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_for_the_carrier() -> None:
    listed = {(each.kind, each.level): each for each in book().approvals()}
    assert TextKind.THANKS not in {kind for kind, _ in listed}  # empty, not sent
    call = listed[TextKind.INVITE_CALL, None]
    assert call.text == f"【临夏12345】请对您{{date}}来电的服务作出评价，回复数字：{OPTIONS}，拒收请回复R"
    assert call.digest == digest_of(call.text)
    assert len(call.digest) == 12
    assert call.longest == Length(67, 1)
    assert {level for kind, level in listed if kind is TextKind.REASON} == {
        Satisfaction.DISSATISFIED,
        Satisfaction.VERY_DISSATISFIED,
    }
    assert TextKind.REASON_OPEN not in {kind for kind, _ in listed}


def test_the_open_question_is_listed_where_it_can_be_asked() -> None:
    listed = [(each.kind, each.level) for each in book(reasons={Satisfaction.DISSATISFIED: ("209",)}).approvals()]
    assert (TextKind.REASON, Satisfaction.DISSATISFIED) in listed
    assert (TextKind.REASON_OPEN, Satisfaction.VERY_DISSATISFIED) in listed
    assert (TextKind.REASON_OPEN, Satisfaction.DISSATISFIED) not in listed


def test_a_digest_stands_for_one_text(tmp_path: Path) -> None:
    approved = {each.digest for each in book().approvals()}
    assert len(approved) == len(book().approvals())
    assert book().is_approved(TextKind.INVITE_CALL, "zh", approved)
    assert book().is_approved(TextKind.REASON, "zh", approved, Satisfaction.DISSATISFIED)
    assert not book().is_approved(TextKind.INVITE_CALL, "zh", ())
    changed = {
        "another signature": book(Signature("临夏")),
        "the signature behind": book(Signature("临夏12345", at=SignatureAt.BACK)),
        "another key map": book(keys={"5": 5, "4": 4, "3": 3, "2": 2, "1": 1}),
        "another text": book(directory=write(tmp_path, '[texts]\ninvite_call = "{options}，拒收请回复R"')),
    }
    for what, other in changed.items():
        assert not other.is_approved(TextKind.INVITE_CALL, "zh", approved), what
    assert book(Signature("临夏12345", SignedBy.CARRIER)).is_approved(
        TextKind.INVITE_CALL, "zh", approved
    )  # reads alike


def test_an_older_key_map_makes_another_text() -> None:
    approved = {each.digest for each in book().approvals()}
    older = KeyMap.of({"5": 5, "4": 4, "3": 3, "2": 2, "1": 1})
    assert not book().is_approved(TextKind.CLARIFICATION, "zh", approved, key_map=older)
    assert book().is_approved(TextKind.CLARIFICATION, "zh", approved, key_map=SETTINGS.rating.key_map)
    both = approved | {each.digest for each in book(keys={key: int(key) for key in "54321"}).approvals()}
    assert book().is_approved(TextKind.CLARIFICATION, "zh", both, key_map=older)


def test_an_empty_text_needs_no_approval_and_has_none() -> None:
    assert not book().is_approved(TextKind.THANKS, "zh", {each.digest for each in book().approvals()})


# ── languages and a site's own texts ──────────────────────────────────────────────────────────────────────────────────


def test_a_language_may_leave_out_what_it_likes(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        '[texts]\nclarification = "Please answer with one digit: {options}"\n'
        '[levels]\n5 = "very good"\n4 = "good"\n3 = "fair"\n2 = "poor"\n1 = "very poor"\n'
        '[forms]\noption = "{key} {level}"\nbetween = ", "\n',
        "en",
    )
    link = book(directory=directory, languages=("zh", "en"))
    assert link.render(TextKind.CLARIFICATION, "en") == (
        "Please answer with one digit: 1 very good, 2 good, 3 fair, 4 poor, 5 very poor"
    )
    assert link.render(TextKind.OPTED_IN, "en") == link.render(TextKind.OPTED_IN, "zh")
    assert link.render(TextKind.CLARIFICATION, "ug") == link.render(TextKind.CLARIFICATION, "zh")
    assert {each.language for each in link.approvals()} == {"zh", "en"}


def test_a_sites_file_changes_only_what_it_names(tmp_path: Path) -> None:
    own = book(directory=write(tmp_path, '[texts]\nthanks = "感谢您的评价"\n[reasons]\n209 = "超时"\n'))
    assert own.render(TextKind.THANKS, "zh") == "感谢您的评价"
    assert own.render(TextKind.OPTED_IN, "zh") == book().render(TextKind.OPTED_IN, "zh")
    assert "A超时 B人员业务不熟练" in own.render(TextKind.REASON, "zh", level=Satisfaction.DISSATISFIED)


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ('[texts]\ninvite_call = "{titel}{options}拒收R"', "texts.invite_call", "unknown field {titel}"),
        ('[texts]\ninvite_call = "{level}{options}拒收R"', "texts.invite_call", "unknown field {level}"),
        ('[texts]\ninvite_call = "请评价，拒收R"', "texts.invite_call", "lacks the field {options}"),
        ('[texts]\nreason = "原因？{level}"', "texts.reason", "lacks the field {reasons}"),
        ('[texts]\nreason = "原因？{reasons}"', "texts.reason", "lacks the field {level}"),
        ('[texts]\ninvite_call = "请评价：{options}"', "texts.invite_call", "does not say how to opt out"),
        ('[texts]\nreminder = "请评价：{options}"', "texts.reminder", "does not say how to opt out"),
        ('[texts]\ninvite_call = ""', "texts.invite_call", "must not be empty"),
        ('[texts]\ninvite_call = "【临夏】{options}拒收R"', "texts.invite_call", "mark the signature"),
        ('[texts]\ninvite_call = "{options拒收R"', "texts.invite_call", "brace without its partner"),
        ('[texts]\ninvite_call = "{options.x}拒收R"', "texts.invite_call", "is no field"),
        ('[texts]\ninvite_call = "{options!r}拒收R"', "texts.invite_call", "is no field"),
        ('[texts]\ninvite_call = "{}{options}拒收R"', "texts.invite_call", "is no field"),
        ('[texts]\nthanks = "\\u0007"', "texts.thanks", "control character"),
        ("[texts]\nthanks = 3", "texts.thanks", "must be a text"),
        ('[texts]\nwelcome = "x"', "texts.welcome", "unknown text; known are invite_call"),
        ('[forms]\noption = "{key}"', "forms.option", "lacks the field {level}"),
        ('[forms]\nsign = "x"', "forms.sign", "unknown form"),
        ('[levels]\n6 = "x"', "levels.6", "no level"),
        ('[levels]\n5 = ""', "levels.5", "must not be empty"),
        ('[other]\nx = "y"', "other", "unknown"),
    ],
)
def test_every_mistake_has_its_key(tmp_path: Path, text: str, key: str, sentence: str) -> None:
    with pytest.raises(TextsInvalid) as caught:
        load_texts(("zh",), write(tmp_path, text))
    assert any(each == f"zh.toml: {key}" and sentence in said for each, said in caught.value.errors), (
        caught.value.errors
    )


def test_a_reminder_like_an_invitation(tmp_path: Path) -> None:
    same = "请评价：{options}，拒收请回复R"
    with pytest.raises(TextsInvalid, match="is the text of invite_case"):
        load_texts(("zh",), write(tmp_path, f'[texts]\ninvite_case = "{same}"\nreminder = "{same}"'))


def test_a_language_that_nobody_has_written(tmp_path: Path) -> None:
    texts = load_texts(("zh", "ug"), tmp_path)
    assert texts.unwritten == ("ug",)
    assert texts.of("ug") is texts.of("zh")
    with pytest.raises(TextsInvalid, match="is no folder"):
        load_texts(("zh",), tmp_path / "none")
    with pytest.raises(TextsInvalid, match="is no TOML"):
        load_texts(("zh",), write(tmp_path, "[texts"))


def test_every_kind_has_its_fields() -> None:
    assert set(FIELDS) == set(TextKind)
