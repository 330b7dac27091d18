"""config/huiyin.example.toml documents every key of the model with its default, and nothing else."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from config.loading import load
from config.settings import Section, Settings, SmsLink

EXAMPLE = Path(__file__).parents[2] / "config" / "huiyin.example.toml"


def model_of(section: str) -> type[Section]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, Section)
    return model


def is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation) or field.annotation is SecretStr


def parts(text: str) -> dict[str, str]:
    """The text below each section's heading."""
    found = re.split(r"(?m)^\[(\w+)\]$", text)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_the_example_is_valid_and_says_the_defaults(tmp_path: Path) -> None:
    copy = tmp_path / "huiyin.toml"
    copy.write_text(EXAMPLE.read_text("utf-8"), encoding="utf-8")
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert load(copy, {}) == load(empty, {})


def test_the_example_has_every_section_and_key() -> None:
    text = EXAMPLE.read_text("utf-8")
    document: dict[str, Any] = tomllib.loads(text)
    assert list(document) == list(Settings.model_fields)
    missing = []
    for section, below in parts(text).items():
        for key, field in model_of(section).model_fields.items():
            shown = [key, f"{key}_file"] if is_secret(field) else [key]
            if key == "links":
                missing += [f"sms.links.{name}" for name in SmsLink.model_fields if f"\n# {name} = " not in below]
                continue
            if field.default is None:
                missing += [f"{section}.{name}" for name in shown if f"\n# {name} = " not in below]
            elif key not in document[section]:
                missing.append(f"{section}.{key}")
    assert missing == []


def test_each_key_is_explained() -> None:
    """A comment stands above each key, or above the group of keys it belongs to."""
    lines = EXAMPLE.read_text("utf-8").splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if re.match(r"\w+ = ", line) and (not before or before.startswith("["))
    ]
    assert bare == []


def test_the_links_shown_are_valid(tmp_path: Path) -> None:
    """What stands in comments about links works once the comment signs are gone, and says the defaults."""
    text = EXAMPLE.read_text("utf-8")
    start = text.index("# [[sms.links]]")
    block = text[start : text.index("\n\n", start)].replace("# ", "", 1).replace("\n# ", "\n")
    file = tmp_path / "huiyin.toml"
    file.write_text(f'[sms]\nsignature = "临夏12345"\n{block}', encoding="utf-8")
    [link] = load(file, {}).sms.links
    for name, field in SmsLink.model_fields.items():
        if not field.is_required() and field.default is not None:
            assert getattr(link, name) == field.default, name
