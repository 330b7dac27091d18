"""Delivery receipts: every form they come in, every date, what a code means, whose id it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.receipts import ReceiptTableInvalid, canonical, load_receipt_table
from sms.receipts import (
    TLV_MESSAGE_STATE,
    TLV_NETWORK_ERROR_CODE,
    TLV_RECEIPTED_MESSAGE_ID,
    TLV_USER_MESSAGE_REFERENCE,
    IdForm,
    Receipt,
    ReceiptClass,
    ReceiptReader,
    id_forms,
    read_date,
    stored_id,
)

TABLE = load_receipt_table()
RECEIPT, INTERMEDIATE_NOTE = 0x04, 0x20
DONE = datetime(2026, 11, 22, 9, 31, tzinfo=UTC)
ORDINARY = b"id:0123456789 sub:001 dlvrd:001 submit date:2611221730 done date:2611221731 stat:DELIVRD err:000 text:abc"


def read(body: bytes | str, tlvs: dict[int, bytes] | None = None, *, esm: int = RECEIPT, carrier: str = "") -> Receipt:
    body = body.encode("latin-1") if isinstance(body, str) else body
    receipt = ReceiptReader(TABLE, carrier=carrier).read(esm, body, tlvs or {})
    assert receipt is not None
    return receipt


# ── forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ordinary_form() -> None:
    assert read(ORDINARY, {TLV_USER_MESSAGE_REFERENCE: b"\x12\x34"}) == Receipt(
        message_ids=("0123456789",),
        state="DELIVRD",
        error="000",
        class_=ReceiptClass.DELIVERED,
        code="DELIVRD",
        reason="已送达",
        submit_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        done_at=DONE,
        user_message_reference=0x1234,
        marked=True,
    )


@pytest.mark.parametrize(
    ("label", "text", "id_", "state", "error", "done"),
    [
        ("capitals", ORDINARY.decode().upper(), "0123456789", "DELIVRD", "000", True),
        ("title case", "Id:7 Sub:001 Dlvrd:001 Submit Date:2611221730 Done Date:2611221731 Stat:EXPIRED Err:001 Text:",
         "7", "EXPIRED", "001", True),
        ("another order", "stat:DELIVRD done date:2611221731 err:000 sub:001 id:7 dlvrd:001",
         "7", "DELIVRD", "000", True),
        ("blanks behind the colons", "id: 7 sub: 001 dlvrd: 001 submit date: 2611221730 done date: 2611221731 "
         "stat: DELIVRD err: 000 text: ", "7", "DELIVRD", "000", True),
        ("no blanks", "id:7sub:001dlvrd:001submit date:2611221730done date:2611221731stat:DELIVRDerr:000text:abc",
         "7", "DELIVRD", "000", True),
        ("no blanks at all", "id:7sub:001dlvrd:001submitdate:2611221730donedate:2611221731stat:UNDELIVerr:012text:",
         "7", "UNDELIV", "012", True),
        ("underscores", "message_id:7 submit_date:2611221730 done_date:2611221731 status:DELIVRD error_code:000",
         "7", "DELIVRD", "000", True),
        ("semicolons", "id:7;sub:001;dlvrd:001;done date:2611221731;stat:DELIVRD;err:000", "7", "DELIVRD", "000", True),
        ("line breaks", "id:7\r\nsub:001\r\ndone date:2611221731\r\nstat:DELIVRD\r\nerr:000\r\n",
         "7", "DELIVRD", "000", True),
        ("equals signs", "id=7 stat=DELIVRD err=000 done date=2611221731", "7", "DELIVRD", "000", True),
        ("no err", "id:7 sub:001 dlvrd:001 submit date:2611221730 done date:2611221731 stat:MK:0012 text:",
         "7", "MK:0012", "", True),
        ("no text", "id:7 sub:001 dlvrd:001 submit date:2611221730 done date:2611221731 stat:DELIVRD err:000",
         "7", "DELIVRD", "000", True),
        ("no dates", "id:7 stat:DELIVRD err:000", "7", "DELIVRD", "000", False),
        ("no state", "id:7 sub:001 done date:2611221731", "7", "", "", True),
        ("no id", "sub:001 done date:2611221731 stat:DELIVRD err:000", None, "DELIVRD", "000", True),
        ("empty values", "id:7 sub: dlvrd: submit date: done date: stat: err: text:", "7", "", "", False),
        ("a code with a colon", "id:7 sub:001 dlvrd:000 submit date:2611221730 done date:2611221731 stat:MK:0012 "
         "err:MK:0012 text:", "7", "MK:0012", "MK:0012", True),
        ("a code that looks like a key", "id:7 done date:2611221731 stat:ID:0076 err:000", "7", "ID:0076", "000", True),
        ("no blank before the text", "id:7 sub:001 dlvrd:001 submit date:2611221730 done date:2611221731 stat:DELIVRD "
         "err:000text:abc", "7", "DELIVRD", "000", True),
        ("such a code before the id", "done date:2611221731 stat:ID:0076 err:000 id:7", "7", "ID:0076", "000", True),
        ("an error that looks like a key", "id:7 done date:2611221731 stat:REJECTD err:ID:0076", "7", "REJECTD",
         "ID:0076", True),
        ("a code with err in it", "id:7 done date:2611221731 stat:CMPPERR:8 err:000", "7", "CMPPERR:8", "000", True),
        ("a long code", "id:7 done date:2611221731 stat:UNDELIVERABLE err:000", "7", "UNDELIVERABLE", "000", True),
        ("an ISO date", "id:7 submit date:2026-11-22 17:30:00 done date:2026-11-22 17:31:00 stat:DELIVRD err:000",
         "7", "DELIVRD", "000", True),
        ("keys in the text", "id:7 done date:2611221731 stat:DELIVRD err:000 text:id:8 stat:EXPIRED err:099",
         "7", "DELIVRD", "000", True),
        ("an unknown field", "id:7 foo:bar done date:2611221731 stat:DELIVRD err:000", "7", "DELIVRD", "000", True),
        ("nothing", "", None, "", "", False),
        ("no receipt's words", "hello", None, "", "", False),
        ("a NUL at the end", "id:7 done date:2611221731 stat:DELIVRD err:000\0", "7", "DELIVRD", "000", True),
    ],
    ids=lambda value: value if isinstance(value, str) and value.replace(" ", "").isalpha() else "",
)  # fmt: skip
def test_text_forms(label: str, text: str, id_: str | None, state: str, error: str, done: bool) -> None:
    receipt = read(text)
    assert receipt.message_ids == ((id_,) if id_ else ()), label
    assert (receipt.state, receipt.error) == (state, error)
    assert receipt.done_at == (DONE if done else None)


@pytest.mark.parametrize("codec", ["utf-16-be", "utf-16-le", "utf-16"])
def test_the_text_in_ucs2(codec: str) -> None:
    receipt = read(ORDINARY.decode().encode(codec))
    assert (receipt.message_ids, receipt.class_) == (("0123456789",), ReceiptClass.DELIVERED)


def test_our_own_words_behind_text_are_any_bytes() -> None:
    assert read(ORDINARY + "请评价".encode("gbk") + b"\xff\0").class_ is ReceiptClass.DELIVERED


def test_a_header_before_the_text() -> None:
    assert read(b"\x05\0\x03\x07\x02\x01" + ORDINARY, esm=RECEIPT | 0x40).message_ids == ("0123456789",)


@pytest.mark.parametrize(
    ("state", "class_"),
    [
        (1, ReceiptClass.INTERMEDIATE),
        (2, ReceiptClass.DELIVERED),
        (3, ReceiptClass.LATER),
        (4, ReceiptClass.FAILED),
        (5, ReceiptClass.FAILED),
        (6, ReceiptClass.INTERMEDIATE),
        (7, ReceiptClass.UNKNOWN),
        (8, ReceiptClass.FAILED),
        (77, ReceiptClass.UNKNOWN),
    ],
)
def test_the_tlv_form(state: int, class_: ReceiptClass) -> None:
    receipt = read(b"", {TLV_RECEIPTED_MESSAGE_ID: b"7F3A\0", TLV_MESSAGE_STATE: bytes((state,))})
    assert (receipt.message_ids, receipt.class_) == (("7F3A",), class_)


def test_the_network_says_more_than_the_state() -> None:
    tlvs = {TLV_RECEIPTED_MESSAGE_ID: b"7\0", TLV_MESSAGE_STATE: b"\x05", TLV_NETWORK_ERROR_CODE: b"\x03\0\x01"}
    receipt = read(b"", tlvs)
    assert (receipt.class_, receipt.code, receipt.error) == (ReceiptClass.DEAD_NUMBER, "NET:3:1", "NET:3:1")
    assert read(b"", tlvs | {TLV_NETWORK_ERROR_CODE: b"\x03\0\x1b"}).class_ is ReceiptClass.LATER
    assert read(b"", tlvs | {TLV_NETWORK_ERROR_CODE: b"\x03\0"}).class_ is ReceiptClass.FAILED  # cut: passed over


def test_both_forms_at_once() -> None:
    text = "id:123 sub:001 dlvrd:000 submit date:2611221730 done date:2611221731 stat:MK:0001 err:000 text:"
    receipt = read(text, {TLV_RECEIPTED_MESSAGE_ID: b"7B\0", TLV_MESSAGE_STATE: b"\x05"})
    assert receipt.message_ids == ("7B", "123")
    assert receipt.class_ is ReceiptClass.DEAD_NUMBER


@pytest.mark.parametrize(
    ("esm", "body", "tlvs"),
    [
        (0, "5，没人管".encode("utf-16-be"), {}),
        (0, b"1", {}),
        (0, b"id:1 is what my paper says", {}),
        (0, b"", {}),
        (0x08, b"1", {}),
        (0x10, "5，没人管".encode("utf-16-be"), {}),
        (0x08, b"", {}),
        (0, b"", {TLV_MESSAGE_STATE: b"\x02"}),
    ],
)
def test_what_is_no_receipt(esm: int, body: bytes, tlvs: dict[int, bytes]) -> None:
    assert ReceiptReader(TABLE).read(esm, body, tlvs) is None


@pytest.mark.parametrize("body", [ORDINARY, ORDINARY.decode().encode("utf-16-be"), ORDINARY.upper()])
def test_a_receipt_that_is_not_marked_says_so(body: bytes) -> None:
    receipt = read(body, esm=0)
    assert (receipt.marked, receipt.sure, receipt.message_ids) == (False, True, ("0123456789",))


@pytest.mark.parametrize("esm", [0x00, 0x08, 0x10, 0x18, 0x0C, 0x3C, 0x40])
@pytest.mark.parametrize(
    ("body", "sure"),
    [
        (ORDINARY, True),
        ("id:7 stat:DELIVRD err:000 done date:2611221731", True),
        ("id:7 sub:001 stat:DELIVRD", True),
        ("id:7 stat:DELIVRD err:000", False),
        ("id:7 stat:DELIVRD text:", False),
    ],
)
def test_without_a_mark_a_date_or_a_count_makes_it_sure(esm: int, body: bytes | str, sure: bool) -> None:
    receipt = read(body, esm=esm)
    assert (receipt.marked, receipt.sure, receipt.class_) == (False, sure, ReceiptClass.DELIVERED)


def test_what_is_marked_is_sure_however_little_it_says() -> None:
    assert read(b"").sure
    assert read(b"", {TLV_RECEIPTED_MESSAGE_ID: b"7\0", TLV_MESSAGE_STATE: b"\x02"}, esm=0).sure


def test_tlvs_without_a_mark_are_a_receipt() -> None:
    receipt = read(b"", {TLV_RECEIPTED_MESSAGE_ID: b"7\0", TLV_MESSAGE_STATE: b"\x02"}, esm=0)
    assert (receipt.marked, receipt.class_) == (False, ReceiptClass.DELIVERED)


def test_an_intermediate_note_is_not_the_end() -> None:
    text = "id:7 sub:001 done date:2611221731 stat:UNDELIV err:000"
    assert read(text, esm=INTERMEDIATE_NOTE).class_ is ReceiptClass.INTERMEDIATE
    assert read(ORDINARY, esm=INTERMEDIATE_NOTE).class_ is ReceiptClass.DELIVERED


@given(
    st.integers(0, 255),
    st.one_of(st.binary(max_size=300), st.text("idsubtaerdlvxomn :=0123456789;MK", max_size=200).map(str.encode)),
    st.dictionaries(
        st.sampled_from(
            [TLV_RECEIPTED_MESSAGE_ID, TLV_MESSAGE_STATE, TLV_NETWORK_ERROR_CODE, TLV_USER_MESSAGE_REFERENCE]
        ),
        st.binary(max_size=10),
    ),
    st.sampled_from(["", "mobile", "unicom", "telecom", "broadcast"]),
)
def test_nothing_raises_and_what_is_marked_is_one(esm: int, body: bytes, tlvs: dict[int, bytes], carrier: str) -> None:
    receipt = ReceiptReader(TABLE, carrier=carrier).read(esm, body, tlvs)
    if esm & 0x3C in (RECEIPT, INTERMEDIATE_NOTE):
        assert receipt is not None
    if receipt is not None:
        for each in receipt.message_ids:
            id_forms(each)


FIELDS = ("id:7", "sub:001", "dlvrd:001", "submit date:2611221730", "done date:2611221731", "stat:MK:0012", "err:000")


@given(st.permutations(FIELDS), st.sampled_from([" ", ";", "\n", "  ", ", "]))
def test_any_order_and_separator(fields: list[str], between: str) -> None:
    receipt = read(between.join(fields))
    assert (receipt.message_ids, receipt.state, receipt.error, receipt.done_at) == (("7",), "MK:0012", "000", DONE)


def test_memory_is_bounded() -> None:
    reader = ReceiptReader(TABLE)
    for number in range(10_000):
        reader.read(RECEIPT, f"id:7 sub:001 stat:X{number} err:000".encode(), {})
    assert len(reader._known) <= 4096


# ── classes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("state", "error", "carrier", "class_"),
    [
        ("DELIVRD", "000", "", "delivered"),
        ("DELIVRD", "MK:0012", "", "delivered"),  # whatever stands beside it
        ("delivrd", "", "", "delivered"),
        ("ACCEPTD", "000", "", "intermediate"),
        ("EXPIRED", "000", "", "later"),
        ("UNDELIV", "000", "", "failed"),
        ("REJECTD", "000", "", "failed"),
        ("DELETED", "000", "", "failed"),
        ("UNKNOWN", "000", "", "unknown"),
        ("UNDELIV", "MK:0001", "", "dead_number"),
        ("UNDELIVERED", "MK:0001", "", "dead_number"),
        ("MK:0000", "000", "", "dead_number"),
        ("MK0001", "000", "", "dead_number"),
        ("MK00001", "000", "", "dead_number"),
        ("mk:0012", "", "", "dead_number"),
        ("MK:0005", "", "", "later"),
        ("MI:0024", "", "", "later"),
        ("MI:9999", "", "", "later"),  # the family: the SMSC said EXPIRED
        ("MK:9999", "", "", "failed"),  # UNDELIV
        ("MN:9999", "", "", "failed"),  # REJECTD
        ("MB:1042", "", "", "later"),
        ("MX:0003", "", "", "later"),
        ("BEYONDN", "", "", "later"),
        ("MILIMIT", "", "", "later"),
        ("DB:0141", "", "", "blacklisted"),
        ("DB00144", "", "", "blacklisted"),
        ("MBBLACK", "", "", "blacklisted"),
        ("W-BLACK", "", "", "blacklisted"),
        ("BWLIST_006", "", "", "blacklisted"),
        ("REJECTD", "MBBLACK", "", "blacklisted"),
        ("BLACK_KEY_CONTROL", "", "", "blocked"),
        ("KEYWORD", "", "", "blocked"),
        ("DB:0119", "", "", "blocked"),
        ("ID:0076", "", "", "blocked"),
        ("CJ:0007", "", "", "blocked"),
        ("XA:0003", "", "", "blocked"),
        ("NOROUTE", "", "", "no_route"),
        ("NP:1243", "", "", "no_route"),
        ("MH:0007", "", "", "no_route"),
        ("SGIP:23", "", "", "no_route"),
        ("SGIP:1", "", "", "dead_number"),
        ("SGIPERR:69", "", "", "blacklisted"),
        ("UNDELIV", "001", "unicom", "dead_number"),
        ("UNDELIV", "069", "unicom", "blacklisted"),
        ("UNDELIV", "001", "mobile", "dead_number"),
        ("EXPIRED", "024", "mobile", "later"),
        ("UNDELIV", "069", "mobile", "failed"),
        ("UNDELIV", "069", "", "failed"),  # of which carrier? a number alone says nothing
        ("UNDELIV", "601", "telecom", "later"),
        ("UNDELIV_601", "", "", "later"),
        ("UNDELIV_601", "", "telecom", "later"),
        ("UNDELIV_999", "", "", "failed"),
        ("EXPIRED_660", "", "", "later"),
        ("WHATEVER", "000", "", "unknown"),
        ("", "", "", "unknown"),
        ("", "MK:0001", "", "dead_number"),
    ],
)
def test_classes(state: str, error: str, carrier: str, class_: str) -> None:
    assert read(f"id:7 sub:001 stat:{state} err:{error} text:", carrier=carrier).class_ == class_


def test_every_rule_of_the_shipped_table_has_its_reason_in_chinese() -> None:
    assert len(TABLE) > 150
    for code in ("MK:0001", "DB:0141", "NP:1", "KEYWORDS", "SGIP:9999"):
        rule = TABLE.find(code)
        assert rule is not None
        assert any("一" <= sign <= "鿿" for sign in rule.reason)


def test_what_nobody_knows_has_a_reason_too() -> None:
    assert read("id:7 stat:FOO").reason == "状态报告代码未收录"
    assert read("").reason == "状态报告无内容"


@pytest.mark.parametrize(
    ("spelled", "form"),
    [("mk:0012", "MK:12"), ("MK_0012", "MK:12"), ("MK00012", "MK:12"), ("MK：0012", "MK:12"), ("MK:0000", "MK:0"),
     ("CMPPERR:8", "CMPP:8"), ("W-BLACK", "W-BLACK"), ("DELIVRD", "DELIVRD"), ("12", "12")],
)  # fmt: skip
def test_one_form_of_a_code(spelled: str, form: str) -> None:
    assert canonical(spelled) == form


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_sites_rules_go_first(tmp_path: Path) -> None:
    extra = write(
        tmp_path / "own.toml",
        '[[rule]]\nclass = "blocked"\nreason = "本地屏蔽"\ncodes = ["MK:0012", "MI:*"]\n',
    )
    table = load_receipt_table(extra)
    for code, class_ in (
        ("MK:0012", "blocked"),
        ("MI:0024", "blocked"),
        ("MI:777", "blocked"),
        ("MK:0001", "dead_number"),
    ):
        rule = table.find(code)
        assert rule is not None
        assert rule.class_ == class_


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ('[[rule]]\nclass = "dead"\nreason = "x"\ncodes = ["A"]', "rule[0].class", "must be one of delivered"),
        ('[[rule]]\nclass = "later"\ncodes = ["A"]', "rule[0].reason", "few words"),
        ('[[rule]]\nclass = "later"\nreason = "x"\ncodes = []', "rule[0].codes", "list of codes"),
        ('[[rule]]\nclass = "later"\nreason = "x"\ncodes = [3]', "rule[0].codes", "list of codes"),
        (
            '[[rule]]\nclass = "later"\nreason = "x"\ncodes = ["MK:1", "mk0001"]',
            "rule[0].codes",
            "also stands in rule[0]",
        ),
        ('[[rule]]\nclass = "later"\nreason = "x"\ncodes = ["A"]\nnote = "y"', "rule[0].note", "unknown key"),
        ("[other]\nx = 1", "other", "unknown key"),
        ("rule = 3", "rule", "[[rule]] tables"),
        ("rule = [", "sms.receipt_table", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_key(tmp_path: Path, text: str, key: str, sentence: str) -> None:
    with pytest.raises(ReceiptTableInvalid) as caught:
        load_receipt_table(write(tmp_path / "own.toml", text))
    assert any(each == key and sentence in said for each, said in caught.value.errors), caught.value.errors


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReceiptTableInvalid, match="cannot be read"):
        load_receipt_table(tmp_path / "none.toml")


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2611221731", "2026-11-22T17:31:00+08:00"),
        ("261122173105", "2026-11-22T17:31:05+08:00"),
        ("202611221731", "2026-11-22T17:31:00+08:00"),
        ("20261122173105", "2026-11-22T17:31:05+08:00"),
        ("261122173105032+", "2026-11-22T17:31:05+08:00"),
        ("261122093105000+", "2026-11-22T09:31:05+00:00"),
        ("261122053105016-", "2026-11-22T09:31:05+00:00"),
        ("2026-11-22T17:31:05", "2026-11-22T17:31:05+08:00"),
        ("2026-11-22 17:31:05", "2026-11-22T17:31:05+08:00"),
        ("2026/11/22 17:31:05", "2026-11-22T17:31:05+08:00"),
        ("2026-11-22T09:31:05Z", "2026-11-22T09:31:05+00:00"),
        ("2026-11-22T17:31:05+08:00", "2026-11-22T17:31:05+08:00"),
        ("20261122T173105", "2026-11-22T17:31:05+08:00"),
        ("1795339865", "2026-11-22T09:31:05+00:00"),
        ("1795339865123", "2026-11-22T09:31:05+00:00"),
        ("2402291200", "2024-02-29T12:00:00+08:00"),
        ("", None),
        ("0000000000", None),
        ("000000000000", None),
        ("9999999999", None),
        ("2613221731", None),
        ("2602301731", None),
        ("2611222531", None),
        ("99999999999999", None),
        ("00010101000000", None),
        ("123", None),
        ("N/A", None),
        ("261122173105099+", None),
        ("２６１１２２１７３１", None),
        ("²²²²²²²²²²", None),
        ("2026-13-01", None),
    ],
)
def test_dates(text: str, when: str | None) -> None:
    read_at = read_date(text)
    assert read_at == (datetime.fromisoformat(when) if when else None)
    assert read_at is None or read_at.tzinfo is UTC


def test_another_zone() -> None:
    assert read_date("2611221731", ZoneInfo("Asia/Tokyo")) == datetime(2026, 11, 22, 8, 31, tzinfo=UTC)
    body = ORDINARY
    receipt = ReceiptReader(TABLE, zone=UTC).read(RECEIPT, body, {})
    assert receipt is not None
    assert receipt.done_at == datetime(2026, 11, 22, 17, 31, tzinfo=UTC)


@given(st.one_of(st.text(max_size=30), st.text("0123456789", min_size=8, max_size=16), st.datetimes().map(str)))
def test_no_date_raises(text: str) -> None:
    read_date(text)


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("response", "receipt", "form", "found"),
    [
        ("7F3A", "7F3A", IdForm.AUTO, 0),
        ("7F3A", "7f3a", IdForm.AUTO, 0),
        ("00007F3A", "7F3A", IdForm.AUTO, 0),
        ("123", "0000000123", IdForm.AUTO, 0),
        ("0000000123", "123", IdForm.AUTO, 0),
        ("000", "0", IdForm.AUTO, 0),
        ("7F3A", "32570", IdForm.AUTO, 1),  # hex in the response, decimal in the receipt
        ("7F3A", "0000032570", IdForm.AUTO, 1),
        ("0000007B", "123", IdForm.AUTO, 1),
        ("32570", "7F3A", IdForm.AUTO, 1),  # the other way round
        ("291", "123", IdForm.AUTO, 2),  # both digits alone: 0x123 = 291
        ("550E8400-E29B", "550e8400-e29b", IdForm.AUTO, 0),
        (" 123\0", "123", IdForm.AUTO, 0),
        ("7F3A", "32570", IdForm.SAME, None),
        ("7F3A", "7f3a", IdForm.SAME, 0),
        ("7F3A", "32570", IdForm.HEX_RESPONSE_DECIMAL_RECEIPT, 0),
        ("32570", "32570", IdForm.HEX_RESPONSE_DECIMAL_RECEIPT, None),
        ("32570", "7F3A", IdForm.DECIMAL_RESPONSE_HEX_RECEIPT, 0),
        ("msg-aB3", "msg-aB3", IdForm.AUTO, 0),
        ("msg-aB3", "msg-Ab3", IdForm.AUTO, None),  # letters that are no hex may differ in case alone
        ("1234567890abcdef1234", "85968058271978839380", IdForm.AUTO, None),
    ],
)
def test_ids_find_each_other(response: str, receipt: str, form: IdForm, found: int | None) -> None:
    forms = id_forms(receipt, form)
    stored = stored_id(response)
    assert (forms.index(stored) if stored in forms else None) == found


@pytest.mark.parametrize("missing", ["", "  ", "\0"])
def test_no_id_has_no_form(missing: str) -> None:
    assert id_forms(missing) == ()


@given(st.integers(0, 2**64 - 1), st.integers(0, 20), st.booleans())
def test_either_number_form_finds_the_other(number: int, width: int, capitals: bool) -> None:
    as_hex, as_decimal = f"{number:0{width}x}", f"{number:0{width}d}"
    as_hex = as_hex.upper() if capitals else as_hex
    assert stored_id(as_hex) in id_forms(as_decimal)
    assert stored_id(as_decimal) in id_forms(as_hex)
    assert id_forms(as_hex)[0] == stored_id(as_hex)
    assert id_forms(as_decimal)[0] == stored_id(as_decimal)
    assert id_forms(as_decimal, IdForm.HEX_RESPONSE_DECIMAL_RECEIPT) == (stored_id(as_hex),)


@given(st.text(max_size=80))
def test_no_id_raises(text: str) -> None:
    for form in IdForm:
        assert len(id_forms(text, form)) <= 3
