"""Where the grammar's words come from: the TOML files of `config/grammar/`, shipped with the package."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["read_toml"]


@cache
def read_toml(name: str) -> dict[str, Any]:
    """The parsed file `name`.toml. A shipped file that is missing or broken is a broken installation: it raises."""
    return tomllib.loads(files("config.grammar").joinpath(f"{name}.toml").read_text("utf-8"))
