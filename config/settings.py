"""The settings of one installation, as frozen sections.

Rules kept here:

* Every key has a default that works, so an empty file is a valid configuration: an embedded database, loopback only, no
  SMSC, no centre. `config/huiyin.example.toml` documents each key with that default (a test compares them).
* Unknown keys are errors, and so is a value that cannot be right. `config.loading.load` reports all of them at once.
* A section validates itself; what two sections must agree on stands in `disagreements`.
* Secrets are `SecretStr` and show themselves nowhere.
"""

from __future__ import annotations

import hashlib
import re
import socket
import string
from collections.abc import Mapping
from datetime import time, timedelta
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url

from config.keymap import KeyMap, key_map_problems
from config.values import Address, DayTime, Duration, Listen, Network, Seconds, between
from config.wire import Alphabet, Bind, CitizenForm, DestinationForm, IdForm, SignatureAt, SignedBy, Split, ValidityForm
from models.database import parse_url
from models.terms import RetentionKind, Satisfaction

__all__ = [
    "LINK_FIELDS",
    "SHIPPED_PROMPTS",
    "AlarmSection",
    "CentreSection",
    "ConsoleSection",
    "DatabaseSection",
    "HealthSection",
    "HotlineSection",
    "IvrSection",
    "LogSection",
    "NameOrPath",
    "PrivacySection",
    "PushCalls",
    "RatingSection",
    "Reminders",
    "ScheduleSection",
    "Section",
    "Settings",
    "SmsLink",
    "SmsSection",
    "disagreements",
]

SHIPPED_PROMPTS = Path(__file__).resolve().parent.parent / "dialplans" / "prompts" / "huiyin"
"""The prompts that come with Huiyin, laid out as under Asterisk's sounds: `<lang>/<name>.wav`."""

_SIGNS = "0123456789*#"


class NameOrPath:
    """Marks a text that is a shipped thing's name, or the path of a TOML file (relative to the configuration file)."""


class PushCalls(StrEnum):
    """Which evaluations of a call go to the centre beside those of its case."""

    WITHOUT_CASE = "without_case"
    ALWAYS = "always"
    NEVER = "never"


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class DatabaseSection(Section):
    url: Annotated[str, Field(repr=False)] = "sqlite:///var/huiyin.db"
    password: SecretStr | None = None

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        parse_url(url, Path())
        return url

    @property
    def connection_url(self) -> str:
        """The URL to connect with: a password that was given apart is put in. Never print it."""
        if self.password is None:
            return self.url
        url = make_url(self.url).set(password=self.password.get_secret_value())
        return url.render_as_string(hide_password=False)


class HotlineSection(Section):
    name: Annotated[str, Field(min_length=1, max_length=100)] = "临夏州12345政务服务便民热线"
    area_code: Annotated[str, Field(pattern=r"^\d{6}(\d{6})?$")] = "622900"
    data_source: Annotated[str, Field(max_length=64)] = ""
    service_name: Annotated[str, Field(max_length=200)] = ""

    @property
    def service(self) -> str:
        """The service that a call's evaluation rates."""
        return self.service_name or self.name


def _language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}([_-][A-Za-z0-9]{2,8})?", value):
        raise ValueError(f'{value!r} is no language; write a folder name of the prompts such as "zh"')
    return value


_NODE_LENGTH = 80
"""Characters; the column that holds it has as many."""


class IvrSection(Section):
    listen: Listen = Address("127.0.0.1", 4573)
    allow: tuple[Network, ...] = (IPv4Network("127.0.0.1/32"),)
    tries: Annotated[int, Field(ge=1, le=9)] = 2
    digit_timeout: Annotated[Seconds, Field(ge=1, le=60)] = 8.0
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = 6000
    call_limit: Annotated[Duration, between("10s", "1h")] = timedelta(minutes=5)
    store_timeout: Annotated[Seconds, Field(ge=0.1, le=10)] = 1.5
    languages: Annotated[tuple[Annotated[str, AfterValidator(_language)], ...], Field(min_length=1)] = ("zh",)
    prompts: str = "huiyin"
    prompt_dir: Path | None = None
    repeat_keys: tuple[str, ...] = ("0", "*")
    skip_key: str = "#"
    stop_grace: Annotated[Duration, between("0s", "1h")] = timedelta(seconds=60)
    node: Annotated[str, Field(max_length=_NODE_LENGTH)] = ""

    @field_validator("allow")
    @classmethod
    def _somebody(cls, allow: tuple[Any, ...]) -> tuple[Any, ...]:
        if not allow:
            raise ValueError('nobody could call; name the Asterisk hosts, such as ["127.0.0.1"]')
        return allow

    @field_validator("languages")
    @classmethod
    def _with_chinese(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if "zh" not in languages:
            raise ValueError('must hold "zh": a prompt missing in another language falls back to it')
        if len(set(languages)) < len(languages):
            raise ValueError("names a language twice")
        return languages

    @field_validator("prompts")
    @classmethod
    def _plain_prefix(cls, prompts: str) -> str:
        if not re.fullmatch(r"/?[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", prompts):
            raise ValueError('must be a folder under Asterisk\'s sounds, of letters, digits, "-", "_" and "/"')
        return prompts

    @field_validator("repeat_keys")
    @classmethod
    def _known_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if len(key) != 1 or key not in _SIGNS:
                raise ValueError(f"{key!r} is no key; use 0 to 9, * and #")
        return keys

    @field_validator("skip_key")
    @classmethod
    def _known_key(cls, key: str, info: ValidationInfo) -> str:
        if key and (len(key) != 1 or key not in _SIGNS):
            raise ValueError(f'{key!r} is no key; use one of 0 to 9, * and #, or "" for none')
        if key and key in info.data.get("repeat_keys", ()):
            raise ValueError(f"{key} already repeats the question (ivr.repeat_keys); choose another key")
        return key

    @property
    def node_name(self) -> str:
        """Which process of which host holds a reason open; the same after a restart."""
        name = self.node or f"{socket.gethostname()}:{self.listen}"
        if len(name) <= _NODE_LENGTH:
            return name
        # Cut alone, two processes of a host with a long name would lose the port that tells them apart.
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return f"{name[: _NODE_LENGTH - 17]}~{digest}"

    @property
    def prompt_directory(self) -> Path:
        """Where `huiyin check` looks for the prompts."""
        return self.prompt_dir or SHIPPED_PROMPTS


class RatingSection(Section):
    keys: dict[str, int] = Field(default={"1": 5, "2": 4, "3": 3, "4": 2, "5": 1})
    satisfied_from: Annotated[int, Field(ge=2, le=5)] = 3
    ask_reason: bool = True
    reasons: dict[str, tuple[str, ...]] = Field(default={"2": ("209", "213", "214"), "1": ("110", "115")})

    @field_validator("keys")
    @classmethod
    def _speakable(cls, keys: dict[str, int]) -> dict[str, int]:
        if problems := key_map_problems(keys):
            raise ValueError("\n".join(problems))
        return keys

    @field_validator("reasons")
    @classmethod
    def _for_bad_levels(cls, reasons: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        problems = []
        for level, codes in reasons.items():
            if level not in {"1", "2"}:
                problems.append(f"{level!r} is no bad level; reasons are asked after 2 (不满意) and 1 (非常不满意)")
            problems += [
                f"{code!r} is no reason code; use up to 16 letters and digits"
                for code in codes
                if not re.fullmatch(r"[0-9A-Za-z]{1,16}", code)
            ]
            if len(set(codes)) < len(codes):
                problems.append(f"level {level} has a code twice")
            if len(codes) > 8:
                problems.append(f"level {level} has {len(codes)} codes; a caller can be offered 8")
        if problems:
            raise ValueError("\n".join(problems))
        return reasons

    @cached_property
    def key_map(self) -> KeyMap:
        return KeyMap.of(self.keys)

    @cached_property
    def reason_codes(self) -> Mapping[Satisfaction, tuple[str, ...]]:
        """The reasons offered after a bad level, in the order of the keys 1, 2, 3…"""
        return MappingProxyType({Satisfaction(int(level)): codes for level, codes in self.reasons.items()})


def _digits(value: str) -> str:
    if value and not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise ValueError("must be digits, 20 at most")
    return value


ServiceNumber = Annotated[str, AfterValidator(_digits)]
Carrier = Literal["mobile", "unicom", "telecom", "broadcast"]


_Type = Annotated[int, Field(ge=0, le=255)]
_Signature = Annotated[str, Field(max_length=20)]


class SmsLink(Section):
    """One link to an SMSC (SMPP). What is None is taken from `[sms]` (`SmsSection.of_link`)."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")]
    carriers: Annotated[tuple[Carrier, ...], Field(min_length=1)] = ("mobile", "unicom", "telecom", "broadcast")
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 2775
    system_id: Annotated[str, Field(min_length=1, max_length=15)]
    password: SecretStr
    system_type: Annotated[str, Field(max_length=12)] = ""
    bind: Bind = Bind.TRANSCEIVER
    service_number: ServiceNumber | None = None
    extension_digits: Annotated[int, Field(ge=0, le=6)] | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_name: str | None = None
    window: Annotated[int, Field(ge=1, le=1000)] = 10
    segments_per_second: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    enquire_link: Annotated[Duration, between("1s", "1h")] = timedelta(seconds=30)
    response_timeout: Annotated[Duration, between("100ms", "10m")] = timedelta(seconds=30)
    bind_timeout: Annotated[Duration, between("100ms", "5m")] = timedelta(seconds=15)
    reconnect_first: Annotated[Duration, between("10ms", "1h")] = timedelta(seconds=1)
    reconnect_most: Annotated[Duration, between("10ms", "24h")] = timedelta(minutes=1)
    max_pdu: Annotated[int, Field(ge=1024, le=1_048_576)] = 65_536
    split: Split | None = None
    number_form: CitizenForm = CitizenForm.COUNTRY
    number_ton: _Type = 1
    number_npi: _Type = 1
    service_ton: _Type = 0
    service_npi: _Type = 1
    reply_destination: DestinationForm = DestinationForm.AUTO
    validity: ValidityForm = ValidityForm.RELATIVE
    receipts: bool = True
    message_reference: bool = False
    receipt_ids: IdForm = IdForm.AUTO
    default_coding: Alphabet = Alphabet.GSM
    signature: _Signature | None = None
    signature_by: SignedBy | None = None
    signature_at: SignatureAt | None = None
    approved: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")], ...] = ()

    @field_validator("system_id", "password", "system_type")
    @classmethod
    def _fits(cls, given: str | SecretStr) -> str | SecretStr:
        value = given if isinstance(given, str) else given.get_secret_value()
        if "\0" in value:
            raise ValueError("holds a NUL, which ends a text in SMPP")
        # A password that is not ASCII is a sample's "…", which `huiyin check` names.
        if isinstance(given, str) and not value.isascii():
            raise ValueError("has a sign that is not ASCII; no bind can hold it")
        return given


class SmsSection(Section):
    service_number: ServiceNumber = ""
    signature: _Signature = ""
    extension_digits: Annotated[int, Field(ge=0, le=6)] = 2
    signature_by: SignedBy = SignedBy.US
    signature_at: SignatureAt = SignatureAt.FRONT
    require_approved: bool = False
    texts: str = ""
    receipt_table: Path | None = None
    split: Split = Split.UDH8
    carriers_file: Path | None = None
    invitation_life: Annotated[Duration, between("1h", "90d")] = timedelta(days=7)
    unknown_after: Annotated[Duration, between("1s", "7d")] = timedelta(minutes=10)
    repeat_window: Annotated[Duration, between("0s", "1h")] = timedelta(seconds=180)
    assembly_wait: Annotated[Duration, between("1s", "24h")] = timedelta(minutes=5)
    answer_within: Annotated[Duration, between("1s", "24h")] = timedelta(minutes=10)
    conversation: Annotated[Duration, between("1m", "30d")] = timedelta(hours=24)
    blocked_pause: Annotated[Duration, between("1s", "24h")] = timedelta(minutes=30)
    rest_after: Annotated[int, Field(ge=2, le=10_000)] = 10
    stop_grace: Annotated[Duration, between("0s", "10m")] = timedelta(seconds=10)
    links: tuple[SmsLink, ...] = ()

    @field_validator("links")
    @classmethod
    def _usable(cls, links: tuple[SmsLink, ...], info: ValidationInfo) -> tuple[SmsLink, ...]:
        problems = []
        names = [link.name for link in links]
        problems += [f"two links are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
        for link in links:
            number = link.service_number or info.data.get("service_number")
            digits = link.extension_digits if link.extension_digits is not None else info.data.get("extension_digits")
            if number == "":
                problems.append(f"link {link.name!r} has no service_number, and sms.service_number is empty")
            elif number is not None and digits is not None and len(number) + digits > 20:
                problems.append(f"link {link.name!r}: service number and extension have more than 20 digits together")
            if (link.signature if link.signature is not None else info.data.get("signature")) == "":
                problems.append(
                    f"link {link.name!r} has no signature, and sms.signature is empty; carriers refuse an SMS without"
                )
            if link.reconnect_most < link.reconnect_first:
                problems.append(f"link {link.name!r}: reconnect_most must be at least reconnect_first")
        if problems:
            raise ValueError("\n".join(problems))
        return links

    def of_link(self, link: SmsLink) -> SmsLink:
        """The link with everything that it takes from this section filled in."""
        return link.model_copy(
            update={
                name: getattr(self, name)
                for name in (
                    "service_number",
                    "extension_digits",
                    "split",
                    "signature",
                    "signature_by",
                    "signature_at",
                )
                if getattr(link, name) is None
            }
        )

    @property
    def code_digits(self) -> int:
        """Digits of an extension code: what the shortest link that has any can carry. 0: no link has."""
        found = [self.of_link(link).extension_digits or 0 for link in self.links]
        return min((digits for digits in found if digits), default=0)


class Reminders(StrEnum):
    """Who reminds a citizen of an unrated case: this server, the province's centre, or nobody."""

    HUIYIN = "huiyin"
    CENTRE = "centre"
    NOBODY = "nobody"


class ScheduleSection(Section):
    invite_after: Duration = timedelta(minutes=1)
    reminder_after: Duration = timedelta(hours=24)
    default_after_working_days: Annotated[int, Field(ge=1, le=60)] = 5
    late_window: Duration = timedelta(days=30)
    max_age: Duration = timedelta(hours=24)
    group_wait: Duration = timedelta(minutes=30)
    sending_hours: tuple[DayTime, DayTime] = (time(8, 30), time(21, 0))
    daily_cap: Annotated[int, Field(ge=1, le=100)] = 3
    reminders: Reminders = Reminders.HUIYIN
    defaults: bool = True
    default_grace: Annotated[Duration, between("0s", "7d")] = timedelta(hours=2)
    default_backlog: bool = False
    longest_downtime: Annotated[Duration, between("0s", "1000d")] = timedelta(days=3)
    rows_per_second: Annotated[int, Field(ge=1, le=100_000)] = 500
    calendar_warning: Annotated[Duration, between("0s", "1000d")] = timedelta(days=60)

    @field_validator("sending_hours")
    @classmethod
    def _in_order(cls, hours: tuple[time, time]) -> tuple[time, time]:
        if hours[0] >= hours[1]:
            raise ValueError("the first time must be before the second")
        return hours


class CentreSection(Section):
    profile: Annotated[str, NameOrPath(), Field(min_length=1)] = "plain"
    url: Annotated[str, Field(max_length=2000)] = ""
    secret: SecretStr | None = None
    batch: Annotated[int, Field(ge=1, le=100)] = 100
    in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    timeout: Annotated[Duration, between("100ms", "10m")] = timedelta(seconds=30)
    keypad_reason_hold: Annotated[Duration, between("0s", "1h")] = timedelta(seconds=90)
    reason_hold: Annotated[Duration, between("0s", "24h")] = timedelta(minutes=10)
    retry_first: Annotated[Duration, between("10ms", "24h")] = timedelta(seconds=1)
    retry_most: Annotated[Duration, between("10ms", "24h")] = timedelta(minutes=5)
    pause: Annotated[Duration, between("10ms", "24h")] = timedelta(minutes=5)
    reconcile_at: DayTime = time(3, 30)
    push_calls: PushCalls | None = None

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or any(sign.isspace() for sign in url):
            raise ValueError('must be a web address such as "https://centre.example/api", or "" for none')
        if parts.username or parts.password:
            raise ValueError("must hold no user or password; the push signs with centre.secret")
        return url.rstrip("/")

    @field_validator("secret")
    @classmethod
    def _signs(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("url") and (secret is None or not secret.get_secret_value()):
            raise ValueError("is missing; the push to centre.url is signed with it (centre.secret or secret_file)")
        return secret

    @field_validator("retry_most")
    @classmethod
    def _grows(cls, most: timedelta, info: ValidationInfo) -> timedelta:
        first = info.data.get("retry_first")
        if first is not None and most < first:
            raise ValueError("must be at least centre.retry_first")
        return most


LINK_FIELDS = ("call", "call_start", "case_no", "service_number", "agent", "queue", "dept", "area", "date")
"""What a template of console.recording_url and console.case_url may name."""


def _link_template(template: str) -> str:
    if not template:
        return template
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("has a brace without its partner; write {{ or }} for a brace in the address") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in LINK_FIELDS or form or conversion):
            raise ValueError(f"{{{name}}} is no field; known are {', '.join(f'{{{known}}}' for known in LINK_FIELDS)}")
    start = parts[0][0]
    address = urlsplit(start)
    # A field comes behind the host alone: what a caller or a PBX sent must not choose where a click leads.
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ValueError("must begin with http:// or https:// and a host")
    if parts[0][1] is not None and not (address.path or address.query or address.fragment):
        raise ValueError("names a field in the host; begin with http(s)://host/")
    if any(ord(sign) <= 32 for sign in template):
        raise ValueError("holds a blank or a control character; write %20")
    return template


LinkTemplate = Annotated[str, Field(max_length=1000), AfterValidator(_link_template)]


class ConsoleSection(Section):
    listen: Listen = Address("127.0.0.1", 8345)
    proxies: tuple[Network, ...] = ()
    session_idle: Annotated[Duration, between("1m", "30d")] = timedelta(hours=2)
    session_life: Annotated[Duration, between("5m", "30d")] = timedelta(hours=12)
    recording_url: LinkTemplate = ""
    case_url: LinkTemplate = ""
    exports: Annotated[int, Field(ge=1, le=10)] = 2
    export_rows: Annotated[int, Field(ge=1, le=1_048_000)] = 1_000_000
    export_time: Annotated[Duration, between("10s", "6h")] = timedelta(minutes=30)


class AlarmSection(Section):
    silence: Annotated[Duration, between("1m", "7d")] = timedelta(minutes=30)


class HealthSection(Section):
    listen: Listen = Address("127.0.0.1", 8346)


_Days = Annotated[int, Field(ge=30, le=36500)]


class PrivacySection(Section):
    key_file: Path = Path("var/privacy.key")
    retention_days: _Days = 1095
    numbers_days: _Days | None = None
    comments_days: _Days | None = None
    messages_days: _Days | None = None

    @field_validator("numbers_days", "comments_days", "messages_days")
    @classmethod
    def _no_longer(cls, days: int | None, info: ValidationInfo) -> int | None:
        longest = info.data.get("retention_days")
        if days is not None and longest is not None and days > longest:
            raise ValueError(f"must not be longer than privacy.retention_days ({longest})")
        return days

    @property
    def retention(self) -> Mapping[RetentionKind, timedelta]:
        """How long each kind of data is kept."""
        own = {
            RetentionKind.NUMBERS: self.numbers_days,
            RetentionKind.COMMENTS: self.comments_days,
            RetentionKind.MESSAGES: self.messages_days,
        }
        return {kind: timedelta(days=own.get(kind) or self.retention_days) for kind in RetentionKind}


class LogSection(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


def disagreements(sections: Mapping[str, Section]) -> list[tuple[str, str]]:
    """What is wrong between sections: dotted keys and sentences. Sections that are not there are not looked at."""
    found: list[tuple[str, str]] = []
    ivr, rating = sections.get("ivr"), sections.get("rating")
    if isinstance(ivr, IvrSection) and isinstance(rating, RatingSection):
        taken = dict.fromkeys(ivr.repeat_keys, "ivr.repeat_keys")
        if ivr.skip_key:
            taken[ivr.skip_key] = "ivr.skip_key"
        found += [
            ("rating.keys", f"key {key} is also in {taken[key]}; a key can mean one thing")
            for key, _ in rating.key_map.items()
            if key in taken
        ]
        if rating.ask_reason:
            found += [
                (f"rating.reasons.{level}", f"key {place} offers {code} but is also in {taken[str(place)]}")
                for level, codes in rating.reasons.items()
                for place, code in enumerate(codes, 1)
                if str(place) in taken
            ]
    listening: dict[str, str] = {}
    for name in ("ivr", "console", "health"):
        address = getattr(sections.get(name), "listen", None)
        if address is None or address.port == 0:
            continue
        if str(address) in listening:
            found.append((f"{name}.listen", f"{address} is also {listening[str(address)]}; give each its own port"))
        listening.setdefault(str(address), f"{name}.listen")
    return found


class Settings(BaseSettings):
    """All sections. Made by `config.loading.load`; in tests `Settings()` is the empty file.

    Values come from the arguments alone: the file and the environment are read, merged and checked by the loader, so
    that every error has its key.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database: DatabaseSection = DatabaseSection()
    hotline: HotlineSection = HotlineSection()
    ivr: IvrSection = IvrSection()
    rating: RatingSection = RatingSection()
    sms: SmsSection = SmsSection()
    schedule: ScheduleSection = ScheduleSection()
    centre: CentreSection = CentreSection()
    console: ConsoleSection = ConsoleSection()
    alarm: AlarmSection = AlarmSection()
    health: HealthSection = HealthSection()
    privacy: PrivacySection = PrivacySection()
    log: LogSection = LogSection()

    _directory: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def directory(self) -> Path:
        """The configuration file's directory; relative paths (the database's too) start here."""
        return self._directory

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := disagreements({name: getattr(self, name) for name in type(self).model_fields}):
            raise ValueError("\n".join(f"{key}: {sentence}" for key, sentence in found))
        return self
