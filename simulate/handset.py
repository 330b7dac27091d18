"""The phones behind the stand-in SMSC and the citizens who hold them: what they show, and what they answer. Pure.

Rules kept here:

* It shares no code with `sms/`: headers, segments and codings are read and written from the specifications a second
  time, so that a mistake there is seen here (3GPP TS 23.040 9.2.3.24, TS 23.038; SMPP 3.4 5.2.19, 5.3.2.22-24).
* A phone shows a long message once all of its parts are there, in whatever order they came, each counted once.
* A citizen is what their number and the seed make them: the same in every run, whatever the order of messages.
* Nobody answers a confirmation, and nobody but an automatic reply answers twice what needs one answer.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import TypeVar

from models.terms import Satisfaction

__all__ = [
    "SAR_NUMBER",
    "SAR_REFERENCE",
    "SAR_TOTAL",
    "UDHI",
    "Act",
    "Behaviour",
    "Citizen",
    "Handset",
    "PartOf",
    "Parts",
    "Split",
    "Written",
    "bare",
    "shown",
    "take_apart",
    "write",
]

UDHI = 0x40
"""esm_class: the text begins with a user data header (SMPP 3.4, 5.2.12)."""
SAR_REFERENCE, SAR_TOTAL, SAR_NUMBER = 0x020C, 0x020E, 0x020F
_PAYLOAD = 0x0424
_UCS2 = 8
_MOST_WAITING = 10_000
_MOST_CITIZENS = 100_000


_COUNTRY = re.compile(r"\+?86(?=1\d{10}$)")


def bare(number: str) -> str:
    """A mobile number as people say it: without the country."""
    return number if len(number) == 11 else _COUNTRY.sub("", number)


# ── what a phone shows ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PartOf:
    """Which part of a long message: `number` of `total`; `kind` is udh8, udh16 or sar."""

    kind: str
    reference: int
    total: int
    number: int


def take_apart(esm_class: int, text: bytes, tlvs: Mapping[int, bytes]) -> tuple[PartOf | None, bytes]:
    """A segment's place in its message (None: it is one by itself) and its text without the header.

    Raises:
        ValueError: a header that no phone could read; says what is wrong with it.
    """
    if esm_class & UDHI:
        if not text or len(text) <= text[0]:
            raise ValueError("the user data header is longer than the text")
        header, rest = text[1 : text[0] + 1], text[text[0] + 1 :]
        part: PartOf | None = None
        while header:
            if len(header) < 2 or len(header) < header[1] + 2:
                raise ValueError("an element of the user data header is cut short")
            element, value, header = header[0], header[2 : header[1] + 2], header[header[1] + 2 :]
            if element == 0x00 and len(value) == 3:
                part = PartOf("udh8", value[0], value[1], value[2])
            elif element == 0x08 and len(value) == 4:
                part = PartOf("udh16", value[0] << 8 | value[1], value[2], value[3])
            elif element in (0x00, 0x08):
                raise ValueError("an element for long messages has a wrong length")
    elif SAR_TOTAL in tlvs:
        numbers = [int.from_bytes(tlvs.get(tag, b""), "big") for tag in (SAR_REFERENCE, SAR_TOTAL, SAR_NUMBER)]
        part, rest = PartOf("sar", *numbers), text
    else:
        return None, text
    if part is not None and not 1 <= part.number <= part.total:
        raise ValueError(f"part {part.number} of {part.total} cannot be")
    return part, rest


def shown(text: bytes, data_coding: int) -> str:
    """The text as the screen has it; a sign that cannot be read is U+FFFD, as on a phone."""
    if data_coding == _UCS2:
        return text.decode("utf-16-be", "replace")
    if data_coding in (0, 1):
        return text.decode("ascii", "replace")
    return text.decode("latin-1")


class Parts:
    """Parts of long messages that wait for the others. Keeps at most 10,000 messages: the oldest falls out.

    A key is whatever tells one sender and receiver from another.
    """

    def __init__(self, most: int = _MOST_WAITING) -> None:
        self._waiting: OrderedDict[tuple[object, str, int, int], dict[int, bytes]] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: object, part: PartOf, text: bytes) -> bytes | None:
        """The whole text once this was its last missing part, else None."""
        name = (key, part.kind, part.reference, part.total)
        there = self._waiting.setdefault(name, {})
        there.setdefault(part.number, text)
        if len(there) == part.total:
            del self._waiting[name]
            return b"".join(there[number] for number in sorted(there))
        if len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
        return None


# ── what a phone sends ────────────────────────────────────────────────────────────────────────────────────────────────


class Split(StrEnum):
    """How a long text reaches the service."""

    UDH8 = "udh8"
    UDH16 = "udh16"
    SAR = "sar"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Written:
    """What of a message goes into one deliver_sm."""

    esm_class: int
    data_coding: int
    text: bytes
    tlvs: tuple[tuple[int, bytes], ...] = ()


def write(text: str, reference: int, split: Split = Split.UDH8, *, coding: int | None = None) -> tuple[Written, ...]:
    """The segments of a text in order, as a phone writes them: plain ASCII in the default alphabet, the rest in UCS2.

    Args:
        coding: 0 or 8, to have the one or the other in any case.
    """
    coding = coding if coding is not None else 0 if text.isascii() else _UCS2
    body = text.encode("utf-16-be") if coding == _UCS2 else text.encode("ascii", "replace")
    if len(body) <= (140 if coding == _UCS2 else 160):
        return (Written(0, coding, body),)
    if split is Split.PAYLOAD:
        return (Written(0, coding, b"", ((_PAYLOAD, body),)),)
    # 140 octets hold header and text; of seven-bit signs, header included, 153 fit (152 behind seven octets).
    room = (132 if split is Split.UDH16 else 134) if coding == _UCS2 else (152 if split is Split.UDH16 else 153)
    pieces = [body[at : at + room] for at in range(0, len(body), room)]
    total = len(pieces)
    if split is Split.SAR:
        return tuple(
            Written(
                0,
                coding,
                piece,
                (
                    (SAR_REFERENCE, (reference & 0xFFFF).to_bytes(2, "big")),
                    (SAR_TOTAL, bytes((total,))),
                    (SAR_NUMBER, bytes((number,))),
                ),
            )
            for number, piece in enumerate(pieces, 1)
        )
    if split is Split.UDH8:
        header = bytes((5, 0, 3, reference & 0xFF, total))
    else:
        header = bytes((6, 8, 4, reference >> 8 & 0xFF, reference & 0xFF, total))
    return tuple(Written(UDHI, coding, header + bytes((number,)) + piece) for number, piece in enumerate(pieces, 1))


# ── what a citizen does ───────────────────────────────────────────────────────────────────────────────────────────────


class Behaviour(StrEnum):
    """How somebody answers an invitation."""

    DIGIT = "digit"  # 5
    FULL_WIDTH = "full_width"  # ５
    WORDS = "words"  # 非常满意
    LONG = "long"  # the words and much more, in three segments out of order
    UNCLEAR = "unclear"  # nothing that is a level, and a digit when asked once more
    OPT_OUT = "opt_out"  # 退订
    REMINDED = "reminded"  # nothing to the first message, a digit to the next
    SILENT = "silent"  # nothing, ever
    AUTOMATIC = "automatic"  # the phone answers whatever comes


_USUAL: Mapping[Behaviour, float] = MappingProxyType(
    {
        Behaviour.DIGIT: 45,
        Behaviour.FULL_WIDTH: 4,
        Behaviour.WORDS: 16,
        Behaviour.LONG: 3,
        Behaviour.UNCLEAR: 5,
        Behaviour.OPT_OUT: 1,
        Behaviour.SILENT: 25,
        Behaviour.AUTOMATIC: 1,
    }
)
_LEVELS: Mapping[Satisfaction, float] = MappingProxyType(
    {
        Satisfaction.VERY_SATISFIED: 48,
        Satisfaction.SATISFIED: 26,
        Satisfaction.BASICALLY_SATISFIED: 12,
        Satisfaction.DISSATISFIED: 8,
        Satisfaction.VERY_DISSATISFIED: 6,
    }
)
_KEYS: Mapping[Satisfaction, str] = MappingProxyType(
    {level: str(6 - level) for level in Satisfaction}  # the default key map: 1 is the best
)
_WORDS: Mapping[Satisfaction, Sequence[str]] = MappingProxyType(
    {
        Satisfaction.VERY_SATISFIED: ("非常满意", "很满意", "非常满意！", "十分满意"),
        Satisfaction.SATISFIED: ("满意", "满意的", "满意。"),
        Satisfaction.BASICALLY_SATISFIED: ("一般", "基本满意"),
        Satisfaction.DISSATISFIED: ("不满意", "不太满意"),
        Satisfaction.VERY_DISSATISFIED: ("非常不满意", "很不满意"),
    }
)
_GOOD_STORY = (
    "工作人员很热情，处理得很及时，路灯修好了，服务态度也非常好，问题解决了，非常感谢政府，路灯亮了，办事效率很高，维修师傅很认真，"
    "态度特别好，垃圾清走了，维修很及时，处理得很好，效率真高，感谢工作人员，感谢社区，感谢领导，服务非常好，辛苦了，给你们点赞，"
    "噪音问题解决了，暖气热了，工资到了，谢谢你们"
)
_BAD_STORY = (
    "小区的下水道从上个月开始堵，污水流到楼道门口，夏天味道很大，我前后打了三次热线。工作人员登记了情况，"
    "物业来看过一回，说要等维修公司的人，后来就没有消息了，到今天污水还在那里，老人和孩子出门都要绕着走。"
    "登记的单子上写着有人来过，现场看不到有人动过手，请你们派人到现场看一看再写结果，楼里的住户都看得见。"
)
_UNCLEAR = ("你们是哪个单位的", "上次说的路灯到现在也没人来修", "知道了", "在外地，回去再看", "电话里已经说过了")
_CLARIFIED = ("{key}", "{words}", "我选{key}")
_AUTOMATIC = "您好，我现在不方便回复，稍后与您联系。【自动回复】"
_REASONS: Mapping[str, float] = MappingProxyType({"A": 35, "B": 20, "C": 10, "": 20, "等了很久没有人来": 15})
"""What is said to the question for a reason, a letter only where it is offered; "" is nothing."""
_REASON_LETTERS = re.compile(r"(?<![A-Za-z])[A-H](?![A-Za-z])")
_ASKS_REASON = re.compile(r"说明原因|(?<![A-Za-z])A(?![A-Za-z]).*(?<![A-Za-z])B(?![A-Za-z])", re.DOTALL)
_ASKS_NOTHING = re.compile("已退订|退订成功|不再(?:向您)?发送|已为您退订|已恢复|恢复成功")


@dataclass(frozen=True, slots=True)
class Act:
    """One reply of a citizen.

    Attributes:
        delay: seconds after the message arrived.
        out_of_order: its segments come in another order.
    """

    text: str
    delay: float
    out_of_order: bool = False


@dataclass(slots=True)
class Citizen:
    """Somebody with a phone. `level` is what they think; `asked` and `said`: how often they were asked and answered."""

    behaviour: Behaviour
    level: Satisfaction
    chance: Random
    asked: int = 0
    said: int = 0
    settled: bool = False
    gave_reason: bool = False


@dataclass(slots=True)
class Handset:
    """All phones: who holds them and what they answer.

    Args:
        seed: makes everybody; the same seed makes the same people.
        behaviours, levels: how often each occurs, as weights.
        delay: seconds in which somebody answers, least and most.
        speed: by which delays are divided: 60 makes a minute a second.
        keys: the digit of each level, as in `rating.keys`.
    """

    seed: int = 0
    behaviours: Mapping[Behaviour, float] = field(default_factory=lambda: _USUAL)
    levels: Mapping[Satisfaction, float] = field(default_factory=lambda: _LEVELS)
    delay: tuple[float, float] = (5.0, 60.0)
    speed: float = 1.0
    keys: Mapping[Satisfaction, str] = field(default_factory=lambda: _KEYS)
    _people: OrderedDict[str, Citizen] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        """Raises ValueError: weights that cannot be drawn by, or a delay that ends before it begins."""
        for weights in (self.behaviours, self.levels):
            if not weights or min(weights.values()) < 0 or not sum(weights.values()):
                raise ValueError("behaviours and levels need weights from 0 on, one of them above 0")
        if not 0 <= self.delay[0] <= self.delay[1]:
            raise ValueError("the delay is two numbers of seconds, the least and the most")

    def citizen(self, number: str) -> Citizen:
        """Who has this number. Remembers the last 100,000 people; one forgotten begins anew."""
        known = self._people.get(number)
        if known is None:
            chance = Random(f"{self.seed}:{number}")  # noqa: S311 (made-up people)
            known = Citizen(_drawn(chance, self.behaviours), _drawn(chance, self.levels), chance)
            self._people[number] = known
            if len(self._people) > _MOST_CITIZENS:
                self._people.popitem(last=False)
        return known

    def cast(self, number: str, behaviour: Behaviour, level: Satisfaction = Satisfaction.VERY_SATISFIED) -> None:
        """Says who has this number, from now on."""
        self._people[number] = Citizen(behaviour, level, Random(f"{self.seed}:{number}"))  # noqa: S311

    def react(self, number: str, text: str) -> Act | None:
        """What the citizen answers to a message that their phone now shows; None: nothing."""
        person = self.citizen(number)
        if _ASKS_NOTHING.search(text) and person.behaviour is not Behaviour.AUTOMATIC:
            return None
        person.asked += 1
        answer = self._answer(person, text)
        if not answer:
            return None
        person.said += 1
        delay = person.chance.uniform(*self.delay) / self.speed
        return Act(answer, delay, out_of_order=person.behaviour is Behaviour.LONG)

    def _answer(self, person: Citizen, text: str) -> str:
        match person.behaviour:
            case Behaviour.SILENT:
                return ""
            case Behaviour.REMINDED if person.asked == 1:
                return ""
            case Behaviour.AUTOMATIC:
                return _AUTOMATIC
            case Behaviour.OPT_OUT:
                first, person.settled = not person.settled, True
                return "退订" if first else ""
        if person.settled:
            first, person.gave_reason = not person.gave_reason, person.gave_reason or bool(_ASKS_REASON.search(text))
            if not (first and person.gave_reason):
                return ""
            offered = set(_REASON_LETTERS.findall(text))
            return _drawn(
                person.chance, {said: odds for said, odds in _REASONS.items() if len(said) != 1 or said in offered}
            )
        key, words = self.keys[person.level], person.chance.choice(_WORDS[person.level])
        if person.behaviour is Behaviour.UNCLEAR and person.said == 0:
            return person.chance.choice(_UNCLEAR)
        person.settled = True
        match person.behaviour:
            case Behaviour.UNCLEAR:
                return person.chance.choice(_CLARIFIED).format(key=key, words=words)
            case Behaviour.DIGIT | Behaviour.REMINDED:
                return key
            case Behaviour.FULL_WIDTH:
                return "".join(chr(ord(sign) + 0xFEE0) for sign in key)
            case Behaviour.LONG:
                story = _BAD_STORY if person.level.is_bad else _GOOD_STORY
                return f"{_WORDS[person.level][0]}，{story}"
        return words


_Drawn = TypeVar("_Drawn")


def _drawn(chance: Random, weights: Mapping[_Drawn, float]) -> _Drawn:
    return chance.choices(list(weights), list(weights.values()))[0]
