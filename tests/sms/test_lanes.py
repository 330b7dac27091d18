"""What a link writes: addresses, validity, marks, the text of each kind, and what it refuses to write."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from config.texts import load_texts
from intake.claims import Claimed, ToSend, Unsendable
from models.privacy import Keyring
from models.terms import MessageKind
from sms.lanes import Writer, link_options, text_book
from sms.link import Submit
from sms.routing import SendingHours
from tests.intake.sending import DAY, HOUR, KEYS, MINUTE
from tests.moments import START

HOURS = SendingHours(time(8, 30), time(21, 0))
CLOSING = START.replace(hour=21)
ID = "01a20486e2c777f5b8661cde9f27db72"
CALL = {"keys": KEYS, "subject": "call", "count": "0", "day": "2026-11-17"}
CASE = {"keys": KEYS, "subject": "case", "count": "1", "day": "2026-11-17", "case_no": "GD-7"}
BATCH = {"keys": KEYS, "subject": "batch", "count": "3", "day": "2026-11-17", "case_no": "GD-7"}

Make = Callable[..., Writer]


def configured(**link: Any) -> Settings:
    section = {"name": "m", "host": "h", "system_id": "s", "password": "p", **link}
    return Settings.model_validate(
        {"sms": {"service_number": "106912345", "signature": "临夏12345", "links": [section]}}
    )


@pytest.fixture
def make(keyring: Keyring) -> Make:
    def writer(approved: Collection[str] | None = None, settings: Settings | None = None, **link: Any) -> Writer:
        settings = settings or configured(**link)
        filled = settings.sms.of_link(settings.sms.links[0])
        book = text_book(filled, settings, load_texts(settings.ivr.languages, None))
        return Writer(filled, book, keyring, HOURS, approved)

    return writer


@pytest.fixture
def message(keyring: Keyring) -> Callable[..., ToSend]:
    def of(kind: MessageKind = MessageKind.INVITATION, *, number: str = "+8613800000001", **values: Any) -> ToSend:
        fields = {
            "id": ID,
            "number_sealed": keyring.seal(number).sealed,
            "code": "07",
            "lang": "zh",
            "fields": CALL,
            "text": None,
            "reference": None,
            "not_after": None,
            **values,
        }
        return ToSend(kind=kind, **fields)

    return of


def submits(claimed: Claimed) -> list[Submit]:
    return [segment.wire for segment in claimed.segments if isinstance(segment.wire, Submit)]


def only(claimed: Claimed) -> Submit:
    [submit] = submits(claimed)
    return submit


# ── addresses ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("link", "source", "destination"),
    [
        ({}, "10691234507", "8613800000001"),
        ({"number_form": "plain"}, "10691234507", "13800000001"),
        ({"number_form": "+86"}, "10691234507", "+8613800000001"),
        ({"number_form": "0"}, "10691234507", "013800000001"),
        ({"service_number": "1069000"}, "106900007", "8613800000001"),
        ({"extension_digits": 0}, "106912345", "8613800000001"),
    ],
)
def test_addresses(make: Make, message: Any, link: dict[str, Any], source: str, destination: str) -> None:
    claimed = make(**link).write(message(), START)
    submit = only(claimed)
    assert (submit.source, claimed.our_number, submit.destination) == (source, source, destination)


def test_types_of_number_are_the_links(make: Make, message: Any) -> None:
    link = {"service_ton": 3, "service_npi": 8, "number_ton": 2, "number_npi": 9}
    submit = only(make(**link).write(message(), START))
    assert (submit.source_ton, submit.source_npi, submit.dest_ton, submit.dest_npi) == (3, 8, 2, 9)


@pytest.mark.parametrize(
    ("label", "values", "reason"),
    [
        ("a foreign number", {"number": "+85291234567"}, "no_address"),
        ("a code that makes the address too long", {"code": "1" * 12}, "no_address"),
        ("a damaged number", {"number_sealed": b"\0\1" + b"x" * 40}, "number_unreadable"),
        ("of an unknown key", {"number_sealed": b"\xff\xff" + b"x" * 40}, "number_unreadable"),
        ("no day", {"fields": {"keys": KEYS, "subject": "call"}}, "text_lacks_a_fact"),
        ("no date", {"fields": {**CALL, "day": "yesterday"}}, "text_lacks_a_fact"),
        ("no key map", {"fields": {**CALL, "keys": "1=9"}}, "text_lacks_a_fact"),
        ("no such subject", {"fields": {**CALL, "subject": "theme"}}, "text_lacks_a_fact"),
        ("over", {"not_after": START}, "too_late"),
        ("a text of a book's length", {"text": "长" * 20_000, "reference": 1}, "text_too_long"),
    ],
)
def test_what_can_never_be_sent_says_why(
    make: Make, message: Any, label: str, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unsendable) as refused:
        make().write(message(**values), START)
    assert refused.value.reason == reason, label


# ── validity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "kind", "now", "not_after", "until"),
    [
        ("until the hours end", MessageKind.INVITATION, START, START + DAY, CLOSING),
        ("or sooner, where it is too late then", MessageKind.INVITATION, START, START + HOUR, START + HOUR),
        ("a reminder that has no end", MessageKind.REMINDER, START, None, CLOSING),
        ("the last minute", MessageKind.INVITATION, CLOSING - MINUTE, None, CLOSING),
        ("an answer as long as it is one", MessageKind.CLARIFICATION, START, START + 10 * MINUTE, START + 10 * MINUTE),
        ("also at night", MessageKind.REASON, CLOSING + HOUR, CLOSING + HOUR + MINUTE, CLOSING + HOUR + MINUTE),
        ("an answer without an end", MessageKind.OPTED_OUT, START, None, CLOSING),
        ("at night", MessageKind.OPTED_OUT, CLOSING + HOUR, None, CLOSING + DAY),
    ],
)
@pytest.mark.parametrize("form", ["relative", "absolute", "none"])
def test_it_is_worth_delivering_until_the_hours_end_or_it_is_too_late(
    make: Make,
    message: Any,
    form: str,
    label: str,
    kind: MessageKind,
    now: datetime,
    not_after: datetime | None,
    until: datetime,
) -> None:
    fields = {**CALL, "level": "1"}
    validity = only(make(validity=form).write(message(kind, fields=fields, not_after=not_after), now)).validity
    left = until - now
    relative = f"0000{left.days:02}{left.seconds // 3600:02}{left.seconds // 60 % 60:02}{left.seconds % 60:02}000R"
    absolute = until.strftime("%y%m%d%H%M%S") + "032+"
    assert validity == {"relative": relative, "absolute": absolute, "none": ""}[form], label


def test_the_validity_is_that_of_each_moment(make: Make, message: Any) -> None:
    """What is remembered of one moment is not said of the next."""
    writer = make()
    for minutes in (0, 1, 0, 30):
        now = START + minutes * MINUTE
        hours, rest = divmod(660 - minutes, 60)
        assert only(writer.write(message(), now)).validity == f"000000{hours:02}{rest:02}00000R"


# ── receipts and marks ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("receipts", "wanted"), [(True, 1), (False, 0)])
def test_receipts_are_asked_for_where_the_link_has_them(make: Make, message: Any, receipts: bool, wanted: int) -> None:
    assert only(make(receipts=receipts).write(message(), START)).registered_delivery == wanted


def test_the_message_reference_is_the_messages_own(make: Make, message: Any) -> None:
    assert only(make(message_reference=True).write(message(), START)).tlvs == ((0x0204, bytes.fromhex("db72")),)
    assert only(make().write(message(), START)).tlvs == ()


@pytest.mark.parametrize("split", ["udh8", "udh16", "sar", "payload"])
def test_the_reference_stays_over_tries(make: Make, message: Any, split: str) -> None:
    writer = make(split=split, message_reference=True)
    text = "您好" * 60
    first = writer.write(message(text=text, reference=None), START)
    other = writer.write(message(text=text, reference=None, id=ID[:-4] + "1234"), START)
    again = writer.write(message(text=text, reference=first.reference, id=ID[:-4] + "1234"), START + HOUR)
    assert (first.reference, other.reference) == (0xDB72, 0x1234)
    assert len(first.segments) == (1 if split == "payload" else 2)
    same = [[(s.short_message, s.esm_class, s.data_coding, s.tlvs) for s in submits(each)] for each in (first, again)]
    assert same[0] == same[1]
    assert submits(other)[0].tlvs != submits(first)[0].tlvs
    assert [segment.number for segment in first.segments] == list(range(1, len(first.segments) + 1))


def test_a_text_that_was_sent_before_is_sent_word_for_word(make: Make, message: Any) -> None:
    """Whatever the templates, the facts and the approvals are by now."""
    claimed = make(approved=()).write(message(text="您好", reference=9, fields={}), START)
    assert (claimed.text, claimed.reference) == ("您好", 9)
    assert only(claimed).short_message.decode("utf-16-be") == "【临夏12345】您好"


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("label", "kind", "fields"),
    [
        ("call", MessageKind.INVITATION, CALL),
        ("case", MessageKind.INVITATION, CASE),
        ("batch", MessageKind.INVITATION, BATCH),
        ("reminder", MessageKind.REMINDER, CASE),
        ("clarification", MessageKind.CLARIFICATION, CALL),
        ("by hand", MessageKind.BY_HAND, CALL),
        ("reason of 1", MessageKind.REASON, {**CALL, "level": "1"}),
        ("reason of 2", MessageKind.REASON, {**CALL, "level": "2"}),
        ("opted out", MessageKind.OPTED_OUT, {}),
        ("opted in", MessageKind.OPTED_IN, {}),
        ("opted in at the carrier alone", MessageKind.OPTED_IN, {"carrier": "1"}),
    ],
)
@pytest.mark.parametrize("lang", ["zh", "nowhere"])
def test_each_kind_has_its_text(
    make: Make, message: Any, lang: str, label: str, kind: MessageKind, fields: dict[str, str]
) -> None:
    claimed = make().write(message(kind, fields=fields, lang=lang), START)
    assert "{" not in claimed.text
    assert len(claimed.text) > 10, label
    for submit in submits(claimed):
        assert submit.destination == "8613800000001"
    first = submits(claimed)[0].short_message
    body = first[6:] if len(claimed.segments) > 1 else first
    assert body.decode("utf-16-be").startswith("【临夏12345】")


def test_the_texts_of_the_kinds_differ(make: Make, message: Any) -> None:
    """Carriers drop what they take for a repeat."""
    writer = make()
    kinds = [
        (MessageKind.INVITATION, CALL),
        (MessageKind.INVITATION, CASE),
        (MessageKind.INVITATION, BATCH),
        (MessageKind.REMINDER, CASE),
        (MessageKind.CLARIFICATION, CASE),
        (MessageKind.REASON, {**CASE, "level": "1"}),
        (MessageKind.REASON, {**CASE, "level": "2"}),
        (MessageKind.OPTED_OUT, {}),
        (MessageKind.OPTED_IN, {}),
        (MessageKind.OPTED_IN, {"carrier": "1"}),
    ]
    texts = [writer.write(message(kind, fields=fields), START).text for kind, fields in kinds]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("change", "differs"),
    [({"day": "2026-11-16"}, True), ({"keys": "1=1,2=2,3=3,4=4,5=5"}, True), ({"subject": "case"}, False)],
)
def test_what_is_remembered_is_remembered_by_every_fact(
    make: Make, message: Any, change: dict[str, str], differs: bool
) -> None:
    writer = make()
    first = writer.write(message(fields=CASE), START).text
    other = writer.write(message(fields={**BATCH, **change}), START).text
    assert (first != other) is differs
    assert writer.write(message(fields=dict(CASE)), START).text == first


def test_what_is_remembered_is_bounded(make: Make, message: Any) -> None:
    writer = make()
    for n in range(3000):
        writer.write(message(fields={**CALL, "day": str((START + n * DAY).date())}), START + n * timedelta(seconds=1))
    for memory in (writer._texts, writer._short, writer._periods):
        assert 0 < len(memory) <= 1024


def test_an_invitations_own_key_map_is_offered(make: Make, message: Any) -> None:
    text = make().write(message(fields={**CALL, "keys": "0=5,9=1"}), START).text
    assert "0" in text
    assert "9" in text
    assert "3" not in text.replace("12345", "").replace("11月17日", "")


# ── approved texts ────────────────────────────────────────────────────────────────────────────────────────────────────


def digests(settings: Settings) -> set[str]:
    filled = settings.sms.of_link(settings.sms.links[0])
    book = text_book(filled, settings, load_texts(settings.ivr.languages, None))
    return {approval.digest for approval in book.approvals()}


def test_only_approved_texts_go(make: Make, message: Any) -> None:
    every = digests(configured())
    assert make(approved=every).write(message(), START).text
    with pytest.raises(Unsendable) as refused:
        make(approved=()).write(message(), START)
    assert refused.value.reason == "not_approved"
    with pytest.raises(Unsendable):
        make(approved=every, signature="又一个").write(message(), START)


def test_an_older_key_map_makes_a_text_that_nobody_approved(make: Make, message: Any) -> None:
    every = digests(configured())
    with pytest.raises(Unsendable) as refused:
        make(approved=every).write(message(fields={**CALL, "keys": "1=1,2=2,3=3,4=4,5=5"}), START)
    assert refused.value.reason == "not_approved"


# ── the session's options ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_links_options_are_the_configurations(tmp_path: Path) -> None:
    settings = configured(
        port=2776,
        tls=True,
        tls_ca="ca.pem",
        tls_name="smsc.example",
        window=20,
        segments_per_second=99.5,
        enquire_link="20s",
        response_timeout="7s",
        bind_timeout="5s",
        reconnect_first="2s",
        reconnect_most="90s",
        max_pdu=4096,
        system_type="VMA",
        bind="pair",
    )
    options = link_options(settings.sms.links[0], settings)
    assert (options.name, options.host, options.port, options.system_id, options.password) == ("m", "h", 2776, "s", "p")
    assert (options.bind, options.system_type, options.window, options.max_pdu) == ("pair", "VMA", 20, 4096)
    assert (options.tls, options.tls_ca, options.tls_name) == (True, settings.directory / "ca.pem", "smsc.example")
    assert (options.segments_per_second, options.enquire_link_seconds, options.response_seconds) == (99.5, 20.0, 7.0)
    assert (options.bind_seconds, options.reconnect_first, options.reconnect_most) == (5.0, 2.0, 90.0)
    assert "'p'" not in repr(options)
