"""What a case system posts, read into a case: pure, one sentence for each field that cannot be taken.

Rules kept here (the contract's words):

* Unknown fields are refused. null is the same as leaving the field out.
* Phones and agents may be JSON numbers; everything else has the type that is documented. Agent codes are text, so their
  leading zeros stay.
* Case numbers may hold any characters but controls.
* Times are RFC 3339; without an offset they are Asia/Shanghai. A closing more than five minutes ahead is refused.
* Text that is no number at all is refused; a number that no SMS can reach is taken, and its kind says why.
* A sentence never repeats what was posted: it could be somebody's number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unicodedata import category

from intake.names import CASE_NO_LENGTH, case_number, clean, normalise_agent
from intake.numbers import Number, NumberKind, normalise_number
from models.clock import SHANGHAI

__all__ = [
    "CASE_FIELDS",
    "CaseContent",
    "CasePatch",
    "CaseRefused",
    "PostedCase",
    "Problem",
    "field_shown",
    "read_case",
    "read_case_no",
    "read_patch",
]

AHEAD: Final = timedelta(minutes=5)
"""A clock may be so far ahead of ours."""
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_SERVICES: Final = 10_000
_MOST_MEMBERS: Final = 10_000
_DEFAULT_LANG: Final = "zh"
_CODE: Final = 64
_WORDS: Final = 500
_PHONE: Final = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field. `field` empty: with the whole."""

    field: str
    sentence: str


class CaseRefused(ValueError):
    """A posted case cannot be taken. `problems`: every one, in the order of the fields as documented."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{one.field}: {one.sentence}" if one.field else one.sentence for one in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class CaseContent:
    """A case without its key and its citizen's number. Names are those of the columns and of the API."""

    closed_at: datetime
    title: str | None = None
    task_code: str | None = None
    task_name: str | None = None
    dept_code: str | None = None
    dept_name: str | None = None
    agent: str | None = None
    area_code: str | None = None
    batch_id: str | None = None
    theme_id: str | None = None
    group_size: int | None = None
    consent: bool | None = None
    lang: str = _DEFAULT_LANG

    @property
    def group_key(self) -> str | None:
        """The batch 批量 or theme 主题 that is asked once for all its cases; a batch comes before a theme."""
        return next(iter(self.group_keys), None)

    @property
    def group_keys(self) -> tuple[str, ...]:
        """All that it names, the one that counts first."""
        named = (("batch", self.batch_id), ("theme", self.theme_id))
        return tuple(f"{kind}:{identity}" for kind, identity in named if identity is not None)


@dataclass(frozen=True, slots=True)
class PostedCase:
    """A case as posted, normalised."""

    case_no: str
    service_number: int
    number: Number = field(repr=False)
    content: CaseContent


@dataclass(frozen=True, slots=True)
class CasePatch:
    """What is to be changed. `number` None: not the phone (an anonymous one is a `Number`, too)."""

    changes: Mapping[str, Any]
    number: Number | None = field(default=None, repr=False)

    def applied(self, content: CaseContent) -> CaseContent:
        """The content with the changes.

        Raises:
            CaseRefused: together they make no sense.
        """
        changed = replace(content, **self.changes)
        if problems := _disagreements(changed):
            raise CaseRefused(*problems)
        return changed


# ── one field ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Unfit(ValueError):
    """A value that its field cannot take; the sentence goes on after the field's name."""


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}([_-][A-Za-z0-9]{2,8})?")
_NUMBER_SIGNS = re.compile(r"[\s\-().·/,，、;；]+")
_AS_FLOAT = re.compile(r"\d+\.0", re.ASCII)
"""A number that went through a spreadsheet or a data frame: 13800000001.0."""
_EXTENSION = re.compile(r"(转|分机|ext\.?|x|#)\d{1,8}", re.IGNORECASE)
_WITHHELD = frozenset({"", "unknown", "anonymous", "private", "restricted", "unavailable", "withheld"})


def _text(most: int) -> Callable[[object], str | None]:
    def read(value: object) -> str | None:
        if not isinstance(value, str):
            raise _Unfit("must be text")
        if len(value) > most:
            raise _Unfit(f"has more than {most} characters")
        return clean(value, most)

    return read


def _case_no(value: object) -> str:
    if not isinstance(value, str):
        raise _Unfit("must be text")
    given = value.strip()
    if not given:
        raise _Unfit("is empty")
    if len(given) > CASE_NO_LENGTH:
        raise _Unfit(f"has more than {CASE_NO_LENGTH} characters")
    if any(category(sign) == "Cs" for sign in given):
        raise _Unfit("holds half a character (a surrogate without its partner)")
    if case_number(value) != given:
        raise _Unfit("holds control characters")
    return given


def _phone(value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unfit("must be a telephone number, as text or digits, or null for an anonymous citizen")
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= 1e15:
            raise _Unfit("is no telephone number")
        value = int(value)
    if isinstance(value, int) and not 0 <= value < 10**_PHONE:
        raise _Unfit("is no telephone number")
    text = str(value).strip()
    if _AS_FLOAT.fullmatch(text):
        text = text.removesuffix(".0")
    if text.lower() in _WITHHELD:
        return Number(NumberKind.ANONYMOUS, None)
    if len(text) > _PHONE:
        raise _Unfit("is too long for a telephone number")
    digits = _NUMBER_SIGNS.sub("", text)
    main = _EXTENSION.split(digits, maxsplit=1)[0] if _EXTENSION.search(digits) else digits
    if not main.removeprefix("+").removeprefix("＋").isdecimal():
        raise _Unfit("is no telephone number")
    number = normalise_number(main)
    # "0" is how a switch writes that it knows no number; here somebody typed it.
    return number if number.value is not None else Number(NumberKind.INVALID, "0")


def _agent(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unfit("must be an agent number, as text or digits")
    if isinstance(value, int) and not 0 <= value < 10**_CODE:
        raise _Unfit("is no agent number")
    if isinstance(value, str) and len(value) > _CODE:
        raise _Unfit(f"has more than {_CODE} characters")
    return normalise_agent(str(value))


def _time(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value.strip()):
        raise _Unfit('must be a time such as "2026-11-18T10:00:00+08:00"; without offset it is Asia/Shanghai')
    try:
        moment = datetime.fromisoformat(value.strip().upper())
        moment = (moment.replace(tzinfo=SHANGHAI) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Unfit("is no time that exists") from None
    if moment < _EARLIEST:
        raise _Unfit("is before the year 2000")
    return moment


def _whole(most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise _Unfit(f"must be a whole number from 1 to {most}")
        return value

    return read


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("must be true or false")
    return value


def _lang(value: object) -> str:
    if not isinstance(value, str) or not _LANGUAGE.fullmatch(value):
        raise _Unfit('must be a language such as "zh"')
    return value


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "case_no": _case_no,
    "phone": _phone,
    "closed_at": _time,
    "title": _text(_WORDS),
    "task_code": _text(_CODE),
    "task_name": _text(_WORDS),
    "dept_code": _text(_CODE),
    "dept_name": _text(_WORDS),
    "agent": _agent,
    "area_code": _text(16),
    "service_number": _whole(_MOST_SERVICES),
    "batch_id": _text(200),
    "theme_id": _text(200),
    "group_size": _whole(_MOST_MEMBERS),
    "consent": _yes_or_no,
    "lang": _lang,
}
CASE_FIELDS: Final = tuple(_READERS)
"""Every field of a posted case, in the order in which they are documented."""
_CONTENT: Final = tuple(one.name for one in fields(CaseContent))


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_case_no(text: str) -> str | None:
    """A case number as it stands in a path; None: no case can have it."""
    try:
        return _case_no(text)
    except _Unfit:
        return None


def read_case(raw: object, now: datetime) -> PostedCase:
    """A posted case.

    Raises:
        CaseRefused: with every problem.
    """
    values, problems = _read(raw, now)
    missing = [name for name in ("case_no", "closed_at") if name not in values and not _named(problems, name)]
    problems += [Problem(name, "is missing") for name in missing]
    if "phone" not in values and not _named(problems, "phone"):
        assert isinstance(raw, Mapping)
        if "phone" not in raw:
            problems.append(Problem("phone", "is missing; null stands for an anonymous citizen"))
    if problems:
        raise CaseRefused(*_in_order(problems))
    content = CaseContent(**{name: values[name] for name in _CONTENT if name in values})
    if problems := _disagreements(content):
        raise CaseRefused(*problems)
    number = values.get("phone", Number(NumberKind.ANONYMOUS, None))
    return PostedCase(values["case_no"], values.get("service_number", 1), number, content)


def read_patch(raw: object, now: datetime, *, case_no: str) -> CasePatch:
    """Changes to a posted case; null takes a word away. The case's number may stand in it, and is not changed.

    Raises:
        CaseRefused: with every problem.
    """
    values, problems = _read(raw, now)
    assert isinstance(raw, Mapping)
    if values.get("case_no", case_no) != case_no:
        problems.append(Problem("case_no", "cannot be changed; withdraw the case and post another"))
    if "service_number" in raw:
        problems.append(Problem("service_number", "cannot be changed; it names the closing, in the query"))
    taken: dict[str, Any] = {name: None for name, value in raw.items() if value is None and name in _CONTENT}
    if "closed_at" in taken:
        problems.append(Problem("closed_at", "cannot be taken away"))
    if "lang" in taken:
        taken["lang"] = _DEFAULT_LANG
    if problems:
        raise CaseRefused(*_in_order(problems))
    number = values.get("phone")
    if number is None and "phone" in raw:
        number = Number(NumberKind.ANONYMOUS, None)
    return CasePatch({**taken, **{name: values[name] for name in _CONTENT if name in values}}, number)


def _read(raw: object, now: datetime) -> tuple[dict[str, Any], list[Problem]]:
    if not isinstance(raw, Mapping):
        raise CaseRefused(Problem("", "a case is an object with named fields"))
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in raw.items():
        reader = _READERS.get(name) if isinstance(name, str) else None
        if reader is None:
            problems.append(Problem(field_shown(name), "is no field of a case"))
            continue
        if value is None:
            continue
        try:
            read = reader(value)
        except _Unfit as error:
            problems.append(Problem(name, str(error)))
            continue
        if read is not None:
            values[name] = read
    closed_at = values.get("closed_at")
    if closed_at is not None and closed_at > now + AHEAD:
        problems.append(Problem("closed_at", "is more than five minutes ahead; a case is posted when it is closed"))
    return values, problems


def _disagreements(content: CaseContent) -> list[Problem]:
    if content.group_size is not None and content.group_key is None:
        return [Problem("group_size", "stands alone; name the batch_id or theme_id that it counts")]
    return []


def _named(problems: list[Problem], name: str) -> bool:
    return any(problem.field == name for problem in problems)


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda one: (*CASE_FIELDS, one.field).index(one.field))


def field_shown(name: object) -> str:
    """An unknown field's name, as it may stand in an answer: what looks like a number of somebody does not."""
    text = "".join(sign for sign in str(name)[:64] if category(sign) not in {"Cc", "Cs"})
    return re.sub(r"\d{5,}", "…", text)
