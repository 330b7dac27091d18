"""状态报告 delivery receipts: what an SMSC says became of a message, read from whatever form it says it in.

Rules kept here, all pure:

* Text form (SMPP 3.4 appendix B: `id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…`) in any order and
  case, with fields missing, with other names, with or without blanks, values with colons and of any length; TLV form
  (receipted_message_id, message_state, network_error_code); both at once; the text in UCS2.
* Nothing raises. A message marked as a receipt (esm_class) is one, however little it says.
* A message that is not marked but reads like a receipt, as some SMSCs send them (esm_class 0, or the acknowledgement
  types 0x08, 0x10, 0x18), is `marked=False`. With an id, a state and a date or a count, or with the TLVs, it is `sure`
  all the same: nobody types that. With less a citizen could have written it: the caller keeps it as words, too, unless
  it names a message of ours.
* What the code means stands in the table (config/receipts.toml), never here. A vendor's code says more than an error
  number, an error number more than a state.
* A message id is stored in one form (`stored_id`) and looked for in several (`id_forms`), best first: SMSCs answer in
  hex and report in decimal, add zeros, change case. Two messages can have ids that are each other's other form; the
  caller takes the first that went to the receipt's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from config.receipts import ReceiptClass, ReceiptTable
from config.wire import IdForm
from sms.coding import ESM_UDHI, read_udh

__all__ = [
    "SHANGHAI",
    "TLV_MESSAGE_STATE",
    "TLV_NETWORK_ERROR_CODE",
    "TLV_RECEIPTED_MESSAGE_ID",
    "TLV_USER_MESSAGE_REFERENCE",
    "IdForm",
    "Receipt",
    "ReceiptClass",
    "ReceiptReader",
    "id_forms",
    "read_date",
    "stored_id",
]

TLV_RECEIPTED_MESSAGE_ID = 0x001E
TLV_USER_MESSAGE_REFERENCE = 0x0204
TLV_NETWORK_ERROR_CODE = 0x0423
TLV_MESSAGE_STATE = 0x0427

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
"""No summer time since 1991; a fixed offset is read much faster than the zone."""

_TYPE = 0x3C
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
_MESSAGE_STATES = {
    0: "SCHEDULED", 1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN",
    8: "REJECTD", 9: "SKIPPED",
}  # fmt: skip
"""message_state (SMPP 3.4 5.2.28; 0 and 9 are 5.0's) in the words of the text form."""
_STATES = frozenset(_MESSAGE_STATES.values())
_SPELLINGS = {
    "DELIVERED": "DELIVRD", "UNDELIVERED": "UNDELIV", "UNDELIVERABLE": "UNDELIV", "UNDELIVRD": "UNDELIV",
    "REJECTED": "REJECTD", "ACCEPTED": "ACCEPTD",
}  # fmt: skip
_MOBILE = {"EXPIRED": "MI", "DELETED": "MJ", "UNDELIV": "MK", "ACCEPTD": "ML", "UNKNOWN": "MM", "REJECTD": "MN"}
"""What China Mobile's gateways make of an SMSC's state and error number."""
_LONGEST = 64
"""Characters of an id, a state or an error that are kept."""
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message.

    `message_ids`: as the SMSC wrote them, the TLV's first; empty: it named none. `state`, `error`: as written, "" where
    missing. `code` is what `class_` and `reason` (Chinese, for supervisors) rest on. Times: aware, UTC. `marked`: the
    esm_class says that it is a receipt; `sure`: it is one, marked or not.
    """

    message_ids: tuple[str, ...]
    state: str
    error: str
    class_: ReceiptClass
    code: str
    reason: str
    submit_at: datetime | None
    done_at: datetime | None
    user_message_reference: int | None
    marked: bool
    sure: bool = True


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_EPOCHS = range(1_420_070_400, 2_100_000_000)
"""Unix seconds from 2015 to 2036."""
_SMPP_TIME = re.compile(r"(\d{12})\d(\d\d)([+-])")


@lru_cache(maxsize=1024)  # a thousand receipts of one second name few dates
def read_date(text: str, zone: tzinfo = SHANGHAI) -> datetime | None:
    """A receipt's date: 10 digits (YYMMDDhhmm), 12 (YYMMDDhhmmss or YYYYMMDDhhmm), 14 (YYYYMMDDhhmmss), SMPP's
    absolute time, ISO, Unix seconds or milliseconds.

    Args:
        zone: of a date that names none.

    Returns:
        aware, UTC; None: it is no date.
    """
    length = len(text)
    try:
        if text.isascii() and text.isdigit():
            if length == 10 or length == 12:
                try:
                    return datetime(
                        2000 + int(text[:2]), int(text[2:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]),
                        int(text[10:] or 0), tzinfo=zone,
                    ).astimezone(UTC)  # fmt: skip
                except ValueError:
                    if length == 12:
                        return datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=zone).astimezone(UTC)
                    return datetime.fromtimestamp(int(text), UTC) if int(text) in _EPOCHS else None
            if length == 14:
                return datetime(
                    int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:]),
                    tzinfo=zone,
                ).astimezone(UTC)  # fmt: skip
            if length == 13 and int(text[:10]) in _EPOCHS:
                return datetime.fromtimestamp(int(text[:10]), UTC)
            return None
        if match := _SMPP_TIME.fullmatch(text):
            offset = timedelta(minutes=15 * int(match[2]))
            own = timezone(offset if match[3] == "+" else -offset)
            return datetime.strptime("20" + match[1], "%Y%m%d%H%M%S").replace(tzinfo=own).astimezone(UTC)
        when = datetime.fromisoformat(text.strip().replace("/", "-"))
        return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ── message ids ───────────────────────────────────────────────────────────────────────────────────────────────────────


_HEX = re.compile(r"[0-9A-Fa-f-]+")


def stored_id(message_id: str) -> str:
    """The form in which a submit response's id is stored: no blanks, no leading zeros, hex in small letters.

    An id of other letters keeps its case, for two of them may differ in nothing else.
    """
    text = message_id.strip(" \t\r\n\0")
    if _HEX.fullmatch(text):
        text = text.lower()
        if text[0] == "0" and "-" not in text:
            text = text.lstrip("0") or "0"
    return text


def id_forms(message_id: str, form: IdForm = IdForm.AUTO) -> tuple[str, ...]:
    """The stored forms under which a receipt's message may be found, the most certain first; empty: no id."""
    same = stored_id(message_id)
    if not same:
        return ()
    if form is IdForm.SAME or not same.isascii() or not same.isalnum() or len(same) > _LONGEST:
        return (same,)
    as_hex = f"{int(same):x}" if same.isdigit() else None
    as_decimal = str(int(same, 16)) if _HEX.fullmatch(same) else None
    if form is IdForm.HEX_RESPONSE_DECIMAL_RECEIPT:
        return (same,) if as_hex is None else (as_hex,)
    if form is IdForm.DECIMAL_RESPONSE_HEX_RECEIPT:
        return (same,) if as_decimal is None else (as_decimal,)
    # Hex in the response and decimal in the receipt is by far the commoner of the two.
    return tuple(dict.fromkeys(each for each in (same, as_hex, as_decimal) if each is not None))


# ── the receipt ───────────────────────────────────────────────────────────────────────────────────────────────────────

_ORDINARY = re.compile(
    r"id:(\S+) sub:\S* dlvrd:\S* submit date:(\d*) done date:(\d*) stat:(\S+) err:(\S*?)\s*(?:text:|$)",
    re.IGNORECASE,
)

_KEY = re.compile(
    r"(message[ _]?id|msg[ _]?id|id|sub|dlvrd|submit[ _]?date|submit[ _]?time|done[ _]?date|done[ _]?time"
    r"|stat(?:us|e)?|err(?:or)?(?:[ _]?code)?|te?xt)\s?[:=]",
    re.IGNORECASE,
)
_NAMES = {"message": "id", "msg": "id", "id": "id", "sub": "sub", "dlv": "dlvrd", "don": "done", "sta": "stat",
          "err": "err", "tex": "text", "txt": "text"}  # fmt: skip
_IN_STATE = re.compile(r"\s?[0-9]{3,5}")


def _begins(text: str, place: int) -> bool:
    """A key begins a word, or stands right behind a state where the blanks are missing. `CMPPERR:8` holds none."""
    return place == 0 or not (text[place - 1].isalpha() or text[place - 1] == "_") or text[:place].endswith(_ENDS)


_ENDS = tuple(_STATES) + tuple(state.lower() for state in _STATES)


def _name(key: str) -> str:
    key = key.lower()
    if key.startswith("submit"):
        return "submit"
    if key.startswith("m"):
        return "id"
    return _NAMES[key[:3]]


def _fields(text: str) -> dict[str, str]:
    """The fields of a text form. The first of two of one name counts: behind `text:` anything may stand."""
    found: dict[str, str] = {}
    name, start = "", 0
    for match in _KEY.finditer(text):
        next_name = _name(match[1])
        if next_name in found or next_name == name or not _begins(text, match.start()):
            continue
        value = text[start : match.start()]
        if name in ("stat", "err") and next_name == "id" and not value.strip() and _IN_STATE.match(text, match.end()):
            continue
        if name:
            found[name] = value
        name, start = next_name, match.end()
    if name:
        found[name] = text[start:]
    for key, value in found.items():
        value = value.strip(" \t\r\n\0,;|")
        if key not in ("submit", "done", "text"):
            value = next(iter(value.split(None, 1)), "")
        found[key] = value
    return found


def _plain(body: bytes) -> str:
    """A receipt's text. Only its ASCII means anything; a receipt in UCS2 is read as such."""
    if b"\0" in body:
        body = body.rstrip(b"\0") if body[:1] != b"\0" else body
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return body.decode("utf-16", "replace")
        if body[:1] == b"\0":
            return body.decode("utf-16-be", "replace")
        if body[1:2] == b"\0":
            return body.decode("utf-16-le", "replace")
    return body.decode("latin-1")


def _number(value: bytes | None, longest: int) -> int | None:
    return int.from_bytes(value, "big") if value and len(value) <= longest else None


class ReceiptReader:
    """Reads the receipts of one link.

    Args:
        table: what codes mean.
        carrier: the one carrier of the link (`mobile`, `unicom`, `telecom`), whose error numbers then mean something;
            "": several.
        zone: of the dates.
    """

    def __init__(self, table: ReceiptTable, *, carrier: str = "", zone: tzinfo = SHANGHAI) -> None:
        self._table = table
        self._carrier = carrier
        self._zone = zone
        # A carrier uses a few dozen codes: each is looked up once.
        self._known: dict[tuple[str, str, str, str], tuple[ReceiptClass, str, str]] = {}

    def read(self, esm_class: int, body: bytes, tlvs: Mapping[int, bytes]) -> Receipt | None:
        """A deliver_sm or data_sm as a receipt; None: it is a message, not a receipt."""
        kind = esm_class & _TYPE
        marked = kind in (_RECEIPT, _INTERMEDIATE)
        sure = marked or _speaks_of_one(tlvs)
        if not sure and not _looks_like_one(body):
            return None
        if esm_class & ESM_UDHI:
            _, body, _ = read_udh(body)
        text = _plain(body)
        match = _ORDINARY.match(text)
        if match is not None:
            own_id, submit, done, state, error = match.groups()
            sure = True
        else:
            fields = _fields(text)
            own_id, state, error = fields.get("id", ""), fields.get("stat", ""), fields.get("err", "")
            submit, done = fields.get("submit", ""), fields.get("done", "")
            if not sure:
                if not (own_id and state and len(fields) >= 3):
                    return None
                sure = not _DATES_AND_COUNTS.isdisjoint(fields)
        ids = (own_id[:_LONGEST],) if own_id else ()
        reference: int | None = None
        network = tlv_state = ""
        if tlvs:
            if (raw := tlvs.get(TLV_RECEIPTED_MESSAGE_ID)) and (tlv_id := raw.rstrip(b"\0").decode("latin-1").strip()):
                ids = tuple(dict.fromkeys((tlv_id[:_LONGEST], *ids)))
            reference = _number(tlvs.get(TLV_USER_MESSAGE_REFERENCE), 4)
            number = _number(tlvs.get(TLV_MESSAGE_STATE), 4)
            tlv_state = "" if number is None else _MESSAGE_STATES.get(number, f"STATE:{number}")
            if (raw := tlvs.get(TLV_NETWORK_ERROR_CODE)) and len(raw) == 3:
                network = f"NET:{raw[0]}:{raw[1] << 8 | raw[2]}"
        state, error = state[:_LONGEST], error[:_LONGEST]
        class_, code, reason = self._class(state, error, network, tlv_state)
        if kind == _INTERMEDIATE and class_ is not ReceiptClass.DELIVERED:
            class_ = ReceiptClass.INTERMEDIATE
        zone = self._zone
        return Receipt(
            ids,
            state or tlv_state,
            error or network,
            class_,
            code,
            reason,
            read_date(submit, zone) if submit else None,
            read_date(done, zone) if done else None,
            reference,
            marked,
            sure,
        )

    def _class(self, state: str, error: str, network: str, tlv_state: str) -> tuple[ReceiptClass, str, str]:
        key = (state, error, network, tlv_state)
        known = self._known.get(key)
        if known is None:
            known = self._look_up(*key)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known

    def _look_up(self, state: str, error: str, network: str, tlv_state: str) -> tuple[ReceiptClass, str, str]:
        for code in self._codes(state.upper(), error, network, tlv_state):
            if rule := self._table.find(code):
                return rule.class_, code, rule.reason
        code = state or tlv_state or error or network
        return ReceiptClass.UNKNOWN, code, "状态报告代码未收录" if code else "状态报告无内容"

    def _codes(self, state: str, error: str, network: str, tlv_state: str) -> list[str]:
        """Everything the receipt says, the most telling first."""
        state = _SPELLINGS.get(state, state)
        plain = state if state in _STATES else "" if state else tlv_state
        found = self._table.find(state or tlv_state)
        if found is not None and found.class_ in (ReceiptClass.DELIVERED, ReceiptClass.INTERMEDIATE):
            return [state or tlv_state]  # whatever error number stands beside it
        codes = []
        if state and not plain:
            codes.append(state)
            head, _, number = state.partition("_")
            if head in _STATES and number.isdigit():  # UNDELIV_601: a state with its error number
                plain, error = head, error if error.strip("0") else number
                codes = [f"SMGP:{number}"] if self._carrier in ("", "telecom") else []
        if error.isdigit():
            number = error.lstrip("0")
            if number and self._carrier == "mobile":
                codes += [f"{_MOBILE[plain]}:{number}"] if plain in _MOBILE else []
            elif number and self._carrier in _LETTERS:
                codes.append(f"{_LETTERS[self._carrier]}:{number}")
        elif error:
            codes.append(error)
        codes += [code for code in (network, plain, tlv_state) if code]
        return codes


_LETTERS = {"unicom": "SGIP", "telecom": "SMGP"}


_DATES_AND_COUNTS = frozenset({"sub", "dlvrd", "submit", "done"})


def _looks_like_one(body: bytes) -> bool:
    return body[:3].lower() == b"id:" or body[:6].lower() in (b"\0i\0d\0:", b"i\0d\0:\0")


def _speaks_of_one(tlvs: Mapping[int, bytes]) -> bool:
    return TLV_RECEIPTED_MESSAGE_ID in tlvs and TLV_MESSAGE_STATE in tlvs
