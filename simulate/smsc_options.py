"""What kind of SMSC the stand-in is, and what it does wrong when told: plain data, also as JSON. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sms.pdu import Status

__all__ = ["DateForm", "Fault", "FaultKind", "IdForm", "Moment", "ReceiptForm", "SmscOptions", "Timing"]

_SYSTEM_ERROR = int(Status.ESME_RSYSERR)


# ── how it behaves ────────────────────────────────────────────────────────────────────────────────────────────────────


class IdForm(StrEnum):
    """How a message id is written."""

    DECIMAL = "decimal"
    HEX = "hex"
    HEX_UPPER = "hex_upper"
    PADDED = "padded"  # ten decimal digits
    PADDED_HEX = "padded_hex"  # eight hexadecimal digits
    UUID = "uuid"
    NONE = "none"  # empty

    def write(self, number: int) -> str:
        return _ID_WRITERS[self](number)


_ID_WRITERS: Mapping[IdForm, Callable[[int], str]] = {
    IdForm.DECIMAL: str,
    IdForm.HEX: "{:x}".format,
    IdForm.HEX_UPPER: "{:X}".format,
    IdForm.PADDED: "{:010}".format,
    IdForm.PADDED_HEX: "{:08X}".format,
    IdForm.UUID: lambda number: str(uuid.UUID(int=number, version=4)),
    IdForm.NONE: lambda number: "",
}


class ReceiptForm(StrEnum):
    """Where a receipt says what it says."""

    TEXT = "text"
    TLV = "tlv"
    BOTH = "both"
    NONE = "none"  # no receipts at all


class DateForm(StrEnum):
    """The dates of a receipt's text, Asia/Shanghai."""

    MINUTES = "%y%m%d%H%M"
    SECONDS = "%y%m%d%H%M%S"
    LONG = "%Y%m%d%H%M%S"
    NONE = ""


class Timing(StrEnum):
    """When the receipt of a message comes."""

    AFTER = "after"  # after `receipt_delay`
    BEFORE = "before"  # before the submit_sm_resp
    TWICE = "twice"
    INTERMEDIATE = "intermediate"  # an ENROUTE at once, the final one after the delay
    OTHER_LINK = "other_link"  # to another system_id that is bound, if there is one
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SmscOptions:
    """What kind of SMSC it is.

    Args:
        password: of every system_id; None: any.
        ids, receipt_ids: the id in the response and in the receipt (None: the same form).
        receipts: their form; a message that asks for none gets none unless `unasked_receipts`.
        outcomes: `stat` or `stat/err` and its weight. Only what is DELIVRD reaches a phone.
        timing: how often which.
        receipt_delay: seconds, least and most.
        echo_reference: user_message_reference of the submit stands in the receipt.
        latency: seconds from a submit_sm to its response.
        window: deliver_sm without an answer, a session.
        resend_after: seconds after which an unanswered deliver_sm goes again; None: only on the next session.
        error_resend: the same for one that was answered with an error.
        tries: how often one is delivered before it is given up.
        rate: submits a second and system_id, above which they are throttled (0x58); None: any.
        enquire_link: seconds between ours; the session is cut when one is still unanswered at the next. None: none.
        bind_within: seconds that a connection has for its bind.
        sessions: how many a system_id may have; None: any.
        max_pdu: octets of the longest PDU taken.
        number_prefix: before a citizen's number in what we deliver: "86", "+86", "0".
        strip: what is taken from the front of the service's number in what we deliver.
        keep: how many submits, messages and replies are remembered; 0: none, and no phone gets anything.
    """

    system_id: str = "SMSC"
    password: str | None = None
    ids: IdForm = IdForm.DECIMAL
    receipt_ids: IdForm | None = None
    receipts: ReceiptForm = ReceiptForm.TEXT
    unasked_receipts: bool = False
    outcomes: Mapping[str, float] = field(default_factory=lambda: {"DELIVRD": 1.0})
    timing: Mapping[Timing, float] = field(default_factory=lambda: {Timing.AFTER: 1.0})
    receipt_delay: tuple[float, float] = (0.0, 0.0)
    dates: DateForm = DateForm.MINUTES
    echo_reference: bool = True
    latency: float = 0.0
    window: int = 10
    resend_after: float | None = 10.0
    error_resend: float = 1.0
    tries: int = 1000
    rate: float | None = None
    enquire_link: float | None = None
    bind_within: float = 10.0
    sessions: int | None = None
    max_pdu: int = 64 * 1024
    number_prefix: str = ""
    strip: str = ""
    keep: int = 10_000

    def __post_init__(self) -> None:
        """Raises ValueError: weights that cannot be drawn by, a delay or a number that is none."""
        for name in ("outcomes", "timing"):
            weights = getattr(self, name).values()
            if not weights or min(weights) < 0 or not sum(weights):
                raise ValueError(f"{name} need weights from 0 on, one of them above 0")
        if not 0 <= self.receipt_delay[0] <= self.receipt_delay[1]:
            raise ValueError("receipt_delay is two numbers of seconds, the least and the most")
        for name in ("latency", "error_resend", "bind_within", "resend_after", "enquire_link", "rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and value >= 0):
                raise ValueError(f"{name} is a number from 0 on")
        for name in ("window", "tries", "max_pdu", "keep"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(f"{name} is a whole number from 0 on")

    @classmethod
    def changed(cls, before: SmscOptions, content: Any) -> SmscOptions:
        """Some options from JSON.

        Raises:
            ValueError: not options; says what is wrong.
        """
        if not isinstance(content, dict):
            raise ValueError("options are an object")  # noqa: TRY004 (the caller knows one error)
        read: dict[str, Any] = dict(content)
        try:
            kinds = {"ids": IdForm, "receipt_ids": IdForm, "receipts": ReceiptForm, "dates": DateForm}
            for name, kind in kinds.items():
                if read.get(name) is not None:
                    read[name] = kind(read[name])
            if "timing" in read:
                read["timing"] = {Timing(name): float(weight) for name, weight in dict(read["timing"]).items()}
            if "outcomes" in read:
                read["outcomes"] = {str(name): float(weight) for name, weight in dict(read["outcomes"]).items()}
            if "receipt_delay" in read:
                least, most = read["receipt_delay"]
                read["receipt_delay"] = (float(least), float(most))
            return replace(before, **read)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not options: {error}") from error


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


class Moment(StrEnum):
    """Which PDU of the client a fault answers."""

    BIND = "bind"
    SUBMIT = "submit"
    ENQUIRE = "enquire"
    UNBIND = "unbind"
    RESPONSE = "response"  # a deliver_sm_resp
    ANY = "any"


class FaultKind(StrEnum):
    """What can go wrong. Where a message is taken it is kept, shown and receipted, whatever its sender hears."""

    STATUS = "status"  # not taken; the response says `status`
    NACK = "nack"  # not taken; generic_nack with `status`
    DROP = "drop"  # as if it had never come
    CUT = "cut"  # as if it had never come, and the connection is cut
    SILENT = "silent"  # taken, never answered
    SLOW = "slow"  # taken, answered `seconds` late
    LOSE = "lose"  # taken, and the connection is cut instead of an answer
    HALF = "half"  # taken, half an answer, then the connection is cut
    WRONG = "wrong"  # taken, answered under a sequence number that nobody used
    GARBAGE = "garbage"  # taken and answered, then `data` (hexadecimal), or junk, comes
    STRANGE = "strange"  # taken and answered, then a PDU of an unknown command
    STALL = "stall"  # from now on for `seconds` (0: for ever) nothing is read from the connection

    @property
    def takes(self) -> bool:
        return self not in {FaultKind.STATUS, FaultKind.NACK, FaultKind.DROP, FaultKind.CUT}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do wrong.

    Attributes:
        times: how many PDUs; None: until the plan changes.
        skip: so many fitting PDUs pass first.
        chance: that it happens to a fitting PDU.
        number: only a submit to this number.
    """

    kind: FaultKind
    on: Moment = Moment.SUBMIT
    times: int | None = 1
    skip: int = 0
    chance: float = 1.0
    status: int = _SYSTEM_ERROR
    seconds: float = 0.0
    number: str | None = None
    data: str = ""

    @classmethod
    def read(cls, content: Any) -> Fault:
        """From the control path's JSON.

        Raises:
            ValueError: not a fault; says what is wrong.
        """
        if not isinstance(content, dict) or content.get("kind") not in set(FaultKind):
            raise ValueError(f"a fault is an object whose kind is one of {', '.join(FaultKind)}")
        try:
            bytes.fromhex(content.get("data", ""))
            moment = Moment(content.get("on", Moment.SUBMIT))
            return cls(**{**content, "kind": FaultKind(content["kind"]), "on": moment})
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a fault: {error}") from error
