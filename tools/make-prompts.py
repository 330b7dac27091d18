#!/usr/bin/env python3
"""Speaks the voice prompts of `dialplans/prompts/prompts.csv` into WAV files that Asterisk plays.

    tools/make-prompts.py             speak every prompt again
    tools/make-prompts.py NAME…       only these, e.g. after one text was changed
    tools/make-prompts.py --missing   only those that have no file; a studio's recordings stay untouched

Needs espeak-ng and sox (tools/test-programs.sh installs them). The files go to
`dialplans/prompts/huiyin/<language>/<name>.wav`: 8 kHz, mono, 16 bit, silence cut off at both ends and a breath of
0.12 s behind, for Huiyin plays several of them as one sentence. The same table gives the same bytes.

Exit: 0 done, 1 a program failed, 2 wrong use, 3 a program is missing.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).resolve().parents[1] / "dialplans" / "prompts"
TABLE = PROMPTS / "prompts.csv"
VOICES = {"zh": "cmn"}
WORDS_PER_MINUTE = 230


@dataclass(frozen=True)
class Prompt:
    """One line of the table: which file says what."""

    language: str
    name: str
    text: str

    @property
    def file(self) -> Path:
        """Where its recording lies."""
        return PROMPTS / "huiyin" / self.language / f"{self.name}.wav"


def read_table(table: Path = TABLE) -> list[Prompt]:
    """The prompts of the table, in its order."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [Prompt(row["language"], row["name"], row["text"]) for row in csv.DictReader(lines)]


def speak(prompt: Prompt, espeak: str, sox: str) -> None:
    """Write the prompt's file. Raises CalledProcessError, with the program's words printed, when one fails."""
    prompt.file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        spoken, done = Path(work) / "spoken.wav", Path(work) / "done.wav"
        voice = VOICES[prompt.language]
        run([espeak, "-v", voice, "-s", str(WORDS_PER_MINUTE), "-w", str(spoken), prompt.text])
        cut = ["silence", "1", "0.01", "0.5%"]
        # -R and -D: no random dither, so that a file changes only when its text does.
        form = ["-r", "8000", "-c", "1", "-b", "16", "-e", "signed-integer"]
        effects = ["gain", "-n", "-3", "rate", "8000", *cut, "reverse", *cut, "reverse", "pad", "0.02", "0.12"]
        run([sox, "-R", "-D", str(spoken), *form, str(done), *effects])
        shutil.copyfile(done, prompt.file)


def run(command: list[str]) -> None:
    """Run a program that must succeed, and pass on what it says when it doesn't."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr.strip() or f"{command[0]} failed", file=sys.stderr)
        done.check_returncode()


def main(arguments: list[str]) -> int:
    """Run the command line; the exit code."""
    prompts = read_table()
    if arguments == ["--missing"]:
        wanted = [prompt for prompt in prompts if not prompt.file.exists()]
    elif unknown := set(arguments) - {prompt.name for prompt in prompts}:
        print(f"make-prompts: not in {TABLE.name}: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    else:
        wanted = [prompt for prompt in prompts if not arguments or prompt.name in arguments]
    espeak, sox = shutil.which("espeak-ng"), shutil.which("sox")
    if espeak is None or sox is None:
        print("make-prompts: needs espeak-ng and sox; tools/test-programs.sh --prompts installs them", file=sys.stderr)
        return 3
    for prompt in wanted:
        try:
            speak(prompt, espeak, sox)
        except subprocess.CalledProcessError as error:
            print(f"make-prompts: {prompt.name}: {Path(error.cmd[0]).name} failed", file=sys.stderr)
            return 1
    print(f"{len(wanted)} prompts")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
