"""Numbers on a link: the address an SMS of ours comes from, the one a reply goes to, the citizen's, and how long an SMS
is worth delivering.

Rules kept here, all pure:

* Our source address is the service number with the invitation's code, 20 digits at most.
* A reply's destination is read in every form carriers give it: whole, with +86, 86 or 0 before it, without the first
  digits of the service number, the code alone. What is no form of ours is None, never half a code.
* A citizen's number is E.164 with us; each link has its own form outside.

Sources: SMPP 3.4 5.2.5 and 5.2.6 (ton, npi), 7.1.1 (times).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from config.wire import CitizenForm, DestinationForm, ValidityForm
from intake.numbers import Number, normalise_number
from sms.receipts import SHANGHAI

__all__ = [
    "CitizenForm",
    "DestinationForm",
    "ValidityForm",
    "citizen_number",
    "link_number",
    "reply_code",
    "source_address",
    "ton_npi",
    "validity_period",
]

_LONGEST = 20


def source_address(service_number: str, code: str) -> str:
    """Where an SMS comes from, and so where its reply goes.

    Raises:
        ValueError: no digits, or more than 20; the configuration's check has both.
    """
    address = service_number + code
    if not (service_number and address.isascii() and address.isdigit() and len(address) <= _LONGEST):
        raise ValueError(f"service number and code are {len(address)} signs; they must be 1 to {_LONGEST} digits")
    return address


_COUNTRY = ("+86", "0086", "86", "0", "+")


def reply_code(
    destination: str, service_number: str, digits: int, form: DestinationForm = DestinationForm.AUTO
) -> str | None:
    """The code in a reply's destination.

    Args:
        digits: of the codes of this link.

    Returns:
        the code; "" for our number without one; None: it is no number of ours.
    """
    destination = destination.strip(" \0")
    if form in (DestinationForm.AUTO, DestinationForm.FULL):
        for prefix in ("", *_COUNTRY):
            if destination.startswith(prefix) and (code := _code(destination[len(prefix) :], service_number, digits)):
                return code
            if destination == prefix + service_number:
                return ""
    if not (destination.isascii() and destination.isdigit()):
        return None
    if form in (DestinationForm.AUTO, DestinationForm.CODE) and digits and len(destination) == digits:
        return destination
    if form in (DestinationForm.AUTO, DestinationForm.WITHOUT_PREFIX):
        rest = destination[: len(destination) - digits]
        if rest and digits and service_number.endswith(rest):
            return destination[-digits:]
        if len(destination) >= _LEAST_OF_OURS and service_number.endswith(destination):
            return ""
    return None


_LEAST_OF_OURS = 4
"""Digits of the service number's end that still name it where no code follows."""


def _code(destination: str, service_number: str, digits: int) -> str | None:
    code = destination.removeprefix(service_number)
    if len(destination) - len(code) != len(service_number) or len(code) != digits:
        return None
    return code if code.isascii() and code.isdigit() else None


_BEFORE = {CitizenForm.PLAIN: "", CitizenForm.COUNTRY: "86", CitizenForm.PLUS: "+86", CitizenForm.TRUNK: "0"}


def link_number(number: str, form: CitizenForm) -> str:
    """A citizen's number (E.164) as a link wants it.

    Raises:
        ValueError: no Chinese number; no SMS goes there.
    """
    if not number.startswith("+86"):
        raise ValueError("only +86 numbers have a form on a link; the invitation is impossible as foreign")
    return _BEFORE[form] + number[3:]


def citizen_number(address: str) -> Number:
    """A citizen's number as any link writes it, normalised."""
    return normalise_number(address.strip("\0"))


def ton_npi(form: CitizenForm) -> tuple[int, int]:
    """Type of number and numbering plan that fit a form, where the carrier has not named others."""
    return (1, 1) if form in (CitizenForm.COUNTRY, CitizenForm.PLUS) else (0, 1)


_LONGEST_VALIDITY = timedelta(days=30)


def validity_period(form: ValidityForm, now: datetime, until: datetime) -> str:
    """`validity_period` of a submit_sm: `000000020000000R`, `261122210000032+`, or "".

    Args:
        now, until: aware. More than 30 days are 30: the relative form counts months of no certain length.

    Raises:
        ValueError: `until` has passed; the message is not to be sent.
    """
    if until <= now:
        raise ValueError("the validity ends before it begins; send the message in the next sending hours")
    if form is ValidityForm.NONE:
        return ""
    left = min(until - now, _LONGEST_VALIDITY)
    if form is ValidityForm.ABSOLUTE:
        # Asia/Shanghai is 32 quarters of an hour ahead of UTC.
        return (now + left).astimezone(SHANGHAI).strftime("%y%m%d%H%M%S") + "032+"
    seconds = max(int(left.total_seconds()), 1)
    days, seconds = divmod(seconds, 86400)
    return f"0000{days:02}{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}000R"
