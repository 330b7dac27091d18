"""The word lists: in agreement with themselves, with the rules and with the published page."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from models.terms import Satisfaction
from sms.grammar import GrammarInvalid, Rule, read
from sms.grammar import words as words_module
from sms.grammar.source import read_toml
from sms.grammar.words import words
from tests.sms.grammar.replies import DEFAULT, REPLIES

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "sms-replies.md").read_text("utf-8")


def test_the_page_shows_the_lists_as_they_are() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "reply-words.py"))["page"]
    assert page(PAGE) == PAGE, "the lists have changed; run: python tools/reply-words.py"


def test_the_page_shows_every_list() -> None:
    shown = {(file, keys) for _, file, keys in runpy.run_path(str(ROOT / "tools" / "reply-words.py"))["SECTIONS"]}

    def lists(file: str, value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, tuple[str, ...]]]:
        if isinstance(value, list):
            return {(file, path)}
        if isinstance(value, dict):
            return {found for key, inner in value.items() for found in lists(file, inner, (*path, key))}
        return set()

    files = ("orders", "doubts", "automatic", "fillers", "clauses", "beside")
    assert {found for file in files for found in lists(file, read_toml(file))} == {
        entry for entry in shown if entry[0] in files
    }


def test_the_page_shows_the_table_of_levels_and_every_rule() -> None:
    for satisfaction in Satisfaction:
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {int(satisfaction)} | "))
        entries = [entry for entry, level in words().levels.items() if level is satisfaction]
        assert row == f"| {int(satisfaction)} | {' · '.join(entries)} |"
    assert [rule for rule in Rule if f"`{rule}`" not in PAGE] == []


@pytest.mark.parametrize("entry", words().levels)
def test_each_level_word_is_read_and_stands_in_the_table(entry: str) -> None:
    assert read(entry, DEFAULT).satisfaction is words().levels[entry]
    assert entry in {case.text for case in REPLIES}


def test_no_filler_takes_a_word_of_another_level_apart() -> None:
    known = words()
    for entry in known.levels:
        for pattern in (known.before, known.after):
            assert pattern.fullmatch(entry) is None
    harmful = "不没未无非否很太极"
    assert [sign for sign in harmful if known.before.match(sign) or known.after.search(sign)] == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"levels": {"very_satisfied": ["满意"], "satisfied": ["满意"]}}, "'满意' stands in two levels"),
        ({"levels": {"very_satisfied": ["滿意"]}}, "'滿意' can never be found; write it as '满意'"),
        ({"levels": {"very_satisfied": [""]}}, "'' can never be found"),
        ({"levels": {"very_satisfied": ["很满意", "很满意"]}}, "'很满意' stands there twice"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], sentence: str
) -> None:
    def changed_toml(name: str) -> dict[str, Any]:
        return {**read_toml(name), **changed.get(name, {})}

    monkeypatch.setattr(words_module, "read_toml", changed_toml)
    words.cache_clear()
    try:
        with pytest.raises(GrammarInvalid, match=sentence):
            words()
    finally:
        monkeypatch.undo()
        words.cache_clear()
        words()
