"""From a file and the environment to `Settings`, or to every error at once.

Rules kept here:

* A value in the environment (`HUIYIN_IVR__TRIES=3`, section and key in capitals, two underscores between) goes before
  the one in the file. Lists and tables are written there as in TOML: `HUIYIN_IVR__ALLOW=["10.0.0.5"]`.
* A secret stands in the file, in the environment, or in a file that `<key>_file` names. A secret file that is missing
  or empty is an error, and so are two places for one secret in the same file.
* Relative paths start at the configuration file's directory, wherever the process was started.
* No value of a secret is ever part of an error.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from config.errors import ConfigurationError
from config.settings import NameOrPath, Section, Settings, SmsLink, disagreements

__all__ = ["PREFIX", "load"]

PREFIX = "HUIYIN_"
_FILE = "_file"

Errors = list[tuple[str, str]]
Table = dict[str, Any]


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads a configuration.

    Args:
        path: the TOML file; None: an empty one in the current directory.
        environ: the environment, `os.environ` by default.

    Raises:
        ConfigurationError: with every error.
    """
    environ = os.environ if environ is None else environ
    directory = (path.parent if path else Path()).absolute()
    errors: Errors = []
    document = _read(path) if path else {}
    _merge(document, environ, errors)
    for name, section in Settings.model_fields.items():
        if isinstance(table := document.setdefault(name, {}), dict):
            _prepare(table, _model(section), name, directory, errors)
    settings = _validate(document, errors)
    settings._directory = directory
    return settings


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError([("", f"{path} does not exist; see config/huiyin.example.toml for one")]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([("", f"{path} is not UTF-8; save it as UTF-8")]) from None
    except OSError as error:
        raise ConfigurationError([("", f"{path} cannot be read: {error.strerror}")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([("", f"{path} is no TOML: {error}")]) from None


# ── the environment ───────────────────────────────────────────────────────────────────────────────────────────────────


def _merge(document: Table, environ: Mapping[str, str], errors: Errors) -> None:
    """Puts the environment's values over the file's."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not separator:  # no setting: HUIYIN_FAULT (server/faults.py), or somebody else's
            continue
        field = Settings.model_fields.get(section)
        if field is None:
            errors.append(
                (variable, f"the environment names an unknown section{_guess(section, Settings.model_fields)}")
            )
            continue
        table = document.setdefault(section, {})
        if not isinstance(table, dict):
            continue
        fields = _model(field).model_fields
        table.pop(key, None)
        secret = key.removesuffix(_FILE)
        if secret in fields and _is_secret(fields[secret]):
            table.pop(secret, None)
            if f"{PREFIX}{section}__{secret}".upper() not in environ or key == secret:
                table.pop(secret + _FILE, None)
        try:
            table[key] = _environment_value(fields.get(key), environ[variable])
        except tomllib.TOMLDecodeError:
            errors.append((variable, 'is no TOML value; write lists and tables as in the file, such as ["10.0.0.5"]'))


def _environment_value(field: FieldInfo | None, text: str) -> Any:
    if field is not None and get_origin(field.annotation) in {tuple, dict}:
        return tomllib.loads(f"value = {text}")["value"]
    return text


# ── secrets and paths ─────────────────────────────────────────────────────────────────────────────────────────────────


def _prepare(table: Table, model: type[Section], where: str, directory: Path, errors: Errors) -> None:
    """Brings in the secrets that stand in files, and makes paths absolute."""
    for name, field in model.model_fields.items():
        if _is_secret(field):
            _bring_secret(table, name, where, directory, errors)
        elif _is_path(field):
            value = table.get(name, field.default)
            if isinstance(value, str | Path) and str(value):
                table[name] = directory / Path(value).expanduser()
        elif any(isinstance(mark, NameOrPath) for mark in field.metadata):
            value = table.get(name)
            if isinstance(value, str) and ("/" in value or value.endswith(".toml")):
                table[name] = str(directory / Path(value).expanduser())
        elif field.annotation == tuple[SmsLink, ...] and isinstance(table.get(name), list):
            for place, link in enumerate(table[name]):
                if isinstance(link, dict):
                    _prepare(link, SmsLink, f"{where}.{name}[{place}]", directory, errors)


def _bring_secret(table: Table, name: str, where: str, directory: Path, errors: Errors) -> None:
    """Replaces `<name>_file` by what stands in that file."""
    key = f"{where}.{name}"
    if name + _FILE in table:
        file = table.pop(name + _FILE)
        if name in table:
            errors.append((f"{key}{_FILE}", f"the secret is also in {key}; leave one of them out"))
        elif not isinstance(file, str) or not file:
            errors.append((f"{key}{_FILE}", "must be the path of a file that holds the secret"))
        else:
            try:
                secret = (directory / Path(file).expanduser()).read_text("utf-8").strip()
            except FileNotFoundError:
                errors.append((f"{key}{_FILE}", f"{file} does not exist"))
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                errors.append((f"{key}{_FILE}", f"{file} cannot be read: {reason}"))
            else:
                if not secret:
                    errors.append((f"{key}{_FILE}", f"{file} is empty; put the secret into it"))
                table[name] = secret or "unusable"
                return
        table.setdefault(name, "unusable")
    elif table.get(name) == "":
        errors.append((key, "is empty; write the secret, or leave the key out"))
        table[name] = "unusable"


def _model(field: FieldInfo) -> type[Section]:
    model = field.annotation
    assert isinstance(model, type)
    assert issubclass(model, Section)
    return model


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _is_path(field: FieldInfo) -> bool:
    return Path in (field.annotation, *get_args(field.annotation))


# ── validation ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _validate(document: Table, errors: Errors) -> Settings:
    """Validates each section apart, so that what sections must agree on is looked at even beside other errors."""
    sections: dict[str, Section] = {}
    for name in document:
        if name not in Settings.model_fields:
            errors.append((name, f"unknown section{_guess(name, Settings.model_fields)}"))
    for name, field in Settings.model_fields.items():
        model = _model(field)
        if not isinstance(document[name], dict):
            errors.append((name, f"must be a table; write [{name}] and its keys below"))
            continue
        try:
            sections[name] = model.model_validate(document[name])
        except ValidationError as failure:
            errors += _sentences(failure, name, model)
    errors += disagreements(sections)
    if errors:
        raise ConfigurationError(list(dict.fromkeys(errors)))
    return Settings.model_validate(sections)


def _sentences(failure: ValidationError, where: str, model: type[Section]) -> Iterator[tuple[str, str]]:
    found = failure.errors(include_url=False, include_input=False)
    for error in found:
        if error["type"] == "too_short" and any(other["loc"][:-1] == error["loc"] for other in found):
            continue  # not empty: its entries are wrong
        key = where
        fields: Mapping[str, Any] = model.model_fields
        for part in error["loc"]:
            key += f"[{part}]" if isinstance(part, int) else f".{part}"
            if part == "links":
                fields = SmsLink.model_fields
        kind, context = error["type"], error.get("ctx", {})
        if kind == "extra_forbidden":
            yield key, f"unknown key{_guess(str(error['loc'][-1]), fields)}"
        elif kind == "value_error":
            for sentence in str(context["error"]).split("\n"):
                yield key, sentence
        else:
            yield key, _SENTENCES.get(kind, "{message}").format(message=_lowered(error["msg"]), **_readable(context))


_SENTENCES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": 'must be a text in quotes: "…"',
    "tuple_type": 'must be a list: ["…", "…"]',
    "dict_type": "must be a table: { … = … }",
    "model_type": "must be a table",
    "path_type": "must be a path in quotes",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the right form ({pattern})",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def _readable(context: Mapping[str, Any]) -> dict[str, Any]:
    return {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _guess(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(known)}"
