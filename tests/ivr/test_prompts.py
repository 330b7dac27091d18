"""Which file a prompt is, and what `huiyin check` finds missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.settings import SHIPPED_PROMPTS, IvrSection, RatingSection, Settings
from ivr.prompts import Prompts, found_prompts, missing_prompts, script_of


def settings(ivr: dict[str, Any] | None = None, rating: dict[str, Any] | None = None) -> Settings:
    return Settings(ivr=IvrSection(**(ivr or {})), rating=RatingSection(**(rating or {})))


def recorded(directory: Path, language: str, *names: str) -> Path:
    (directory / language).mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / language / f"{name}.wav").touch()
    return directory


def test_everything_shipped_is_enough_for_the_default() -> None:
    assert missing_prompts(Settings()) == []


def test_every_key_map_can_be_said_with_what_is_shipped() -> None:
    rating = {"keys": {"9": 5, "8": 4, "7": 3, "6": 2, "1": 1}}
    assert missing_prompts(settings(rating=rating)) == []


def test_a_missing_prompt_has_its_sentence(tmp_path: Path) -> None:
    names = [name for name in script_of(Settings()).prompts() if name != "press-4"]
    recorded(tmp_path, "zh", *names)
    [sentence] = missing_prompts(settings({"prompt_dir": tmp_path}))
    assert str(tmp_path / "zh" / "press-4.wav") in sentence


def test_a_reason_without_a_recording_is_found() -> None:
    [sentence] = missing_prompts(settings(rating={"reasons": {"1": ("999",)}}))
    assert "reason-999" in sentence
    assert missing_prompts(settings(rating={"reasons": {"1": ("999",)}, "ask_reason": False})) == []


def test_other_keys_than_the_recordings_say() -> None:
    [sentence] = missing_prompts(settings({"skip_key": ""}))
    assert sentence.startswith("ivr.repeat_keys, ivr.skip_key: ")


def test_recordings_of_ones_own_say_what_they_say(tmp_path: Path) -> None:
    recorded(tmp_path, "zh", *script_of(Settings()).prompts())
    assert missing_prompts(settings({"skip_key": "9", "prompt_dir": tmp_path})) == []


def test_no_folder_and_an_empty_language(tmp_path: Path) -> None:
    [sentence] = missing_prompts(settings({"prompt_dir": tmp_path / "none"}))
    assert "is no folder" in sentence
    recorded(tmp_path, "zh", *script_of(Settings()).prompts())
    [sentence] = missing_prompts(settings({"prompt_dir": tmp_path, "languages": ("zh", "bo")}))
    assert sentence.startswith("ivr.languages: ")


def test_a_prompt_missing_in_a_language_is_played_in_chinese(tmp_path: Path) -> None:
    recorded(tmp_path, "zh", "ask", "thanks")
    recorded(tmp_path, "bo", "ask")
    (tmp_path / "bo" / "thanks.txt").touch()
    prompts = Prompts("huiyin", ("zh", "bo"), found_prompts(tmp_path, ("zh", "bo")))
    assert prompts.files("bo", ("ask", "thanks")) == "huiyin/bo/ask&huiyin/zh/thanks"


@pytest.mark.parametrize(("wanted", "language"), [("", "zh"), ("zh", "zh"), ("bo", "bo"), ("xx", "zh"), ("../x", "zh")])
def test_the_language_of_a_call(wanted: str, language: str) -> None:
    assert Prompts("huiyin", ("zh", "bo"), None).language(wanted) == language


def test_where_the_folder_is_elsewhere_every_language_counts_as_whole(tmp_path: Path) -> None:
    assert found_prompts(tmp_path / "none", ("zh",)) is None
    assert Prompts("h", ("zh", "bo"), None).file("bo", "ask") == "h/bo/ask"


def test_formats_of_asterisk_count() -> None:
    found = found_prompts(SHIPPED_PROMPTS, ("zh",))
    assert found is not None
    assert "ask" in found["zh"]
