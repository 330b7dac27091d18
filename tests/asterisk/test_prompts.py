"""The prompts' table and their files agree, and the files are what Asterisk plays."""

from __future__ import annotations

import array
import csv
import re
import sys
import wave
from pathlib import Path

import pytest

from tests.asterisk.agi_double import AgiDouble, Talk
from tests.asterisk.rig import DIALPLANS, Asterisk
from tests.asterisk.sipp import AwaitHangUp, Sipp

PROMPTS = DIALPLANS / "prompts"

# What the dialogue asks for by name; a prompt that is renamed is a caller who hears nothing.
NAMES = {
    "ask",
    *(f"level-{level}" for level in ("very-satisfied", "satisfied", "basically-satisfied")),
    *(f"level-{level}" for level in ("dissatisfied", "very-dissatisfied")),
    *(f"press-{key}" for key in range(10)),
    *("repeat-or-skip", "wrong-key", "no-key", "reason-ask", "other-skip"),
    *(f"reason-{code}" for code in (517, 413, 314, 209, 213, 214, 110, 115)),
    *("thanks", "already-rated", "goodbye", "sorry"),
}

LONGEST_SECONDS = 5.0
ALL_BYTES = 1_500_000


def table() -> dict[str, str]:
    """File below prompts/huiyin → text."""
    with (PROMPTS / "prompts.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    texts = {f"{row['language']}/{row['name']}.wav": row["text"] for row in rows}
    assert len(texts) == len(rows), "a file stands twice in the table"
    return texts


def test_the_table_has_every_name_and_nothing_else() -> None:
    assert set(table()) == {f"zh/{name}.wav" for name in NAMES}


def test_table_and_files_agree() -> None:
    files = {path.relative_to(PROMPTS / "huiyin").as_posix() for path in (PROMPTS / "huiyin").rglob("*.*")}
    assert files == set(table())


def test_texts_are_chinese_sentences() -> None:
    for file, text in table().items():
        assert re.fullmatch(r"[\u4e00-\u9fff，。]{2,20}", text), file


def test_the_question_leans_to_no_side() -> None:
    """自愿真实: neither the question nor the order of its words asks for a good rating."""
    question = table()["zh/ask.wav"] + table()["zh/repeat-or-skip.wav"]
    for word in ("好评", "满意", "支持", "五星", "务必"):
        assert word not in question


@pytest.mark.parametrize("file", sorted(table()))
def test_a_file_is_what_asterisk_plays(file: str) -> None:
    with wave.open(str(PROMPTS / "huiyin" / file), "rb") as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2)
        assert sound.getcomptype() == "NONE"
        seconds = sound.getnframes() / sound.getframerate()
        samples = array.array("h", sound.readframes(sound.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    assert 0.3 < seconds < LONGEST_SECONDS
    loudest = max(abs(sample) for sample in samples)
    assert 12_000 < loudest < 32_767, "silent, or cut off at the top"


def test_the_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in (PROMPTS / "huiyin").rglob("*.wav")) < ALL_BYTES


@pytest.mark.peer
@pytest.mark.slow
def test_asterisk_finds_every_prompt_whatever_the_channels_language(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp
) -> None:
    """`huiyin/zh/<name>` names the language itself; CHANNEL(language) neither helps nor hinders."""
    replies: dict[str, str] = {}

    def play(talk: Talk) -> None:
        if talk.request.path != "rate":
            return
        for language in ("", "en", "bo", "zh"):
            talk.command(f'SET VARIABLE CHANNEL(language) "{language}"')
            # The prompt is opened and its end is played: 0.1 s of it are enough to know that it is there.
            for file in table():
                name = f"huiyin/{file.removesuffix('.wav')}"
                frames = (Path(PROMPTS / "huiyin" / file).stat().st_size - 44) // 2
                replies[f"{language}:{name}"] = talk.command(f'STREAM FILE {name} "" {frames - 160}')
        talk.command("SET VARIABLE HUIYIN_OUTCOME rated")

    agi.script = play
    with sipp.caller("100", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert len(replies) == 4 * len(NAMES)
    missing = {name: reply for name, reply in replies.items() if not reply.startswith("200 result=0 endpos=")}
    assert missing == {}
    assert not [name for name, reply in replies.items() if reply.endswith("endpos=0")]
