"""Which file each prompt is, and which are missing.

A prompt is `<prefix>/<language>/<name>` in Asterisk's sounds. What a language lacks is played in `zh`, prompt by
prompt; what it has is read once, at the start, from the folder that the configuration names. Where that folder is not
on this machine nothing is known, and every configured language counts as whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from config.settings import Settings
from ivr.dialogue import Script

__all__ = ["FALLBACK", "Prompts", "found_prompts", "missing_prompts", "script_of"]

FALLBACK = "zh"
_FORMATS = frozenset(
    {"wav", "wav16", "ulaw", "alaw", "gsm", "g722", "g729", "sln", "sln16", "sln48", "opus", "mp3", "ogg", "pcm"}
)

_SAID_TO_REPEAT, _SAID_TO_SKIP = "*", "#"
"""What the shipped recordings say (dialplans/prompts/prompts.csv)."""


def script_of(settings: Settings) -> Script:
    """The dialogue's configured part."""
    ivr, rating = settings.ivr, settings.rating
    return Script(
        rating.key_map,
        tries=ivr.tries,
        repeat_keys=ivr.repeat_keys,
        skip_key=ivr.skip_key,
        reasons=rating.reason_codes if rating.ask_reason else {},
    )


def found_prompts(directory: Path, languages: Iterable[str]) -> dict[str, frozenset[str]] | None:
    """The names that are there, by language; None where the folder is not on this machine."""
    if not directory.is_dir():
        return None
    return {
        language: frozenset(
            file.name.removesuffix(file.suffix)
            for file in (directory / language).glob("*.*")
            if file.suffix[1:].lower() in _FORMATS
        )
        for language in languages
    }


class Prompts:
    """Names to Asterisk's files, in the language of the call."""

    def __init__(self, prefix: str, languages: Iterable[str], found: Mapping[str, frozenset[str]] | None) -> None:
        self._prefix = prefix
        self._found = {language: None if found is None else found.get(language, frozenset()) for language in languages}
        self._joined: dict[tuple[str, tuple[str, ...]], str] = {}

    @classmethod
    def of(cls, settings: Settings) -> Prompts:
        ivr = settings.ivr
        return cls(ivr.prompts, ivr.languages, found_prompts(ivr.prompt_directory, ivr.languages))

    def language(self, wanted: str) -> str:
        """The language of a call that asks for this one."""
        return wanted if wanted in self._found else FALLBACK

    def file(self, language: str, name: str) -> str:
        """Asterisk's name of a prompt."""
        found = self._found.get(language, frozenset())
        if found is not None and name not in found:
            language = FALLBACK
        return f"{self._prefix}/{language}/{name}"

    def files(self, language: str, names: tuple[str, ...]) -> str:
        """Several, joined as Asterisk plays them without a gap."""
        joined = self._joined.get((language, names))
        if joined is None:
            joined = self._joined[language, names] = "&".join(self.file(language, name) for name in names)
        return joined


def missing_prompts(settings: Settings) -> list[str]:
    """What `huiyin check` says about the prompts: one sentence for each thing that callers would not hear."""
    ivr = settings.ivr
    directory = ivr.prompt_directory
    found = found_prompts(directory, ivr.languages)
    if found is None:
        return [f"ivr.prompt_dir: {directory} is no folder; name the folder that holds {ivr.prompts}/<language>/"]
    needed = script_of(settings).prompts()
    sentences = [
        f"ivr.prompts: {directory / FALLBACK / name}.wav is missing; record it, or make it with tools/make-prompts.py"
        for name in needed
        if name not in found[FALLBACK]
    ]
    if ivr.prompt_dir is None and (set(_SAID_TO_REPEAT) - set(ivr.repeat_keys) or ivr.skip_key != _SAID_TO_SKIP):
        sentences.append(
            f"ivr.repeat_keys, ivr.skip_key: the shipped recordings say {_SAID_TO_REPEAT} for repeating and "
            f"{_SAID_TO_SKIP} for skipping; record repeat-or-skip and other-skip anew and name their folder in "
            "ivr.prompt_dir"
        )
    sentences += [
        f"ivr.languages: {directory / language} holds no prompt; callers who ask for {language!r} would hear zh alone"
        for language in ivr.languages
        if not found[language]
    ]
    return sentences
