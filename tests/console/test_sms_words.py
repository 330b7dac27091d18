"""Every reason that can be stored with an SMS or an invitation has its Chinese words, and no other one is told bare."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

import models
from config.receipts import ReceiptClass
from console.pages.catalogue import Catalogue
from console.pages.sms_words import told_why
from console.viewer import ConsoleRole
from intake import forgetting, inbound, keeping, receipts
from intake.conversation import Outcome
from intake.numbers import NumberKind
from models.database import Database
from models.ids import new_id
from models.tables import invitation_members, invitations, messages
from models.terms import InvitationState, MessageKind
from sms.pdu import Status, status_name
from tests.console.site import MakeBrowser, Record
from tests.moments import START

TEXTS = Catalogue.load()
ROOT = Path(models.__file__).parents[1]
BARE = re.compile(r"[A-Za-z]{2,}")
STATUSES = [status_name(int(status)) for status in Status]
VENDORS = [status_name(code) for code in (0x400, 0x4FF, 0xFFFFFFFF)]
OURS = {
    *(state.value for state in InvitationState),
    *(kind.value for kind in NumberKind if kind is not NumberKind.MOBILE),
    *(one.value for one in receipts._BAD),
    *(inbound.INCOMPLETE, receipts.SENT_AGAIN, receipts.GIVEN_UP, forgetting.REASON, keeping.REASON),
}
"""Reasons that are an enum's or a constant's."""
CALLED = ("Unsendable", "Ending", "end", "_leave")
"""What is called with a reason among its arguments."""
FUNCTIONS = ("_unwanted", "impossible_reason", "_why_not", "refusal")
"""Those in intake that return one."""


def literals(node: ast.AST) -> set[str]:
    """The texts that an expression can be: of a choice both of its sides, nothing of what it is chosen by."""
    match node:
        case ast.Constant(value=str(value)):
            return {value} if re.fullmatch(r"[a-z_]+", value) else set()
        case ast.IfExp(body=body, orelse=other):
            return literals(body) | literals(other)
        case ast.BoolOp(values=values):
            return set().union(*map(literals, values))
    return set()


def written() -> set[str]:
    """The reasons that the source writes as texts."""
    found: set[str] = set()
    for file in [*(ROOT / "intake").glob("*.py"), *(ROOT / "sms").glob("*.py")]:
        if file.name == "conversation.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords):
                    if name in CALLED:
                        found |= {one for given in args for one in literals(given)}
                    found |= {one for word in keywords if word.arg == "reason" for one in literals(word.value)}
                case ast.FunctionDef(name=name) if name in FUNCTIONS and file.parent.name == "intake":
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Return) and inner.value is not None:
                            found |= literals(inner.value)
                case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                    found |= literals(value)
    return found


def test_the_source_writes_reasons_where_this_test_looks_for_them() -> None:
    found = written()
    known = "no_pdu_holds_it generic_nack not_approved no_invitation opted_out changed skipped unsent anonymous"
    assert set(known.split()) <= found


def test_every_reason_of_ours_has_its_word_and_no_word_is_left_over() -> None:
    # `refused`: of a message whose SMSC gave no reason (intake/answers.py)
    assert set(TEXTS.table("why")) == OURS | written() | {"refused"}


@pytest.mark.parametrize("reason", sorted({*OURS, *written(), *(one.value for one in ReceiptClass)}))
def test_a_reason_of_ours_is_told_in_chinese(reason: str) -> None:
    told = told_why(TEXTS, reason)
    assert re.search(r"[\u4e00-\u9fff]", told)


def test_every_status_of_smpp_has_its_word_but_success_and_those_of_other_operations() -> None:
    """What can answer a submit_sm; the others (binds, queries, lists) are told by their code."""
    other = "ROK RALYBND RINVPRTFLG RINVREGDLVFLG RINVMSGID RBINDFAIL RINVPASWD RINVSYSID RCANCELFAIL RREPLACEFAIL"
    other += " RINVNUMDESTS RINVDLNAME RINVDESTFLAG RINVSUBREP RCNTSUBDL RINVSYSTYP RINVREPFLAG RINVNUMMSGS RQUERYFAIL"
    assert set(TEXTS.table("sms_status")) == set(STATUSES) - {f"ESME_{name}" for name in other.split()}


@pytest.mark.parametrize("reason", [*STATUSES, *VENDORS])
def test_what_the_smsc_answered_is_told_in_chinese_with_its_code(reason: str) -> None:
    told = told_why(TEXTS, reason)
    assert told.startswith("运营商拒收")
    assert told.endswith(f"（代码 {reason}）")


@given(st.text(min_size=1, max_size=64))
def test_whatever_is_stored_is_told_in_chinese(reason: str) -> None:
    told = told_why(TEXTS, reason)
    assert re.search(r"[\u4e00-\u9fff]", told)
    assert told == TEXTS.word("why", reason) or reason in told


def test_nothing_stored_is_nothing_told() -> None:
    assert told_why(TEXTS, None) == told_why(TEXTS, "") == ""


def test_whatever_became_of_a_reply_has_its_word() -> None:
    # one that was blanked before anybody read it has that as its outcome (intake/blanking.py)
    assert set(TEXTS.table("reply_outcome")) == {*Outcome, forgetting.REASON, keeping.REASON}


def failed(database: Database, subject: str, reason: str, state: str = "failed") -> None:
    """An SMS about a case that did not reach its citizen."""
    invitation = new_id()
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(invitations).values(
                id=invitation, kind="case", state="asked", key_map="v1", created_at=START, changed_at=START
            )
        )
        connection.execute(insert(invitation_members).values(invitation_id=invitation, subject_id=subject))
        connection.execute(
            insert(messages).values(
                id=new_id(),
                direction="out",
                kind=MessageKind.INVITATION.value,
                state=state,
                reason=reason,
                invitation_id=invitation,
                created_at=START,
                changed_at=START,
            )
        )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("no_route", "运营商无路由（号码可能已携号转网）"),
        ("later", "暂时无法送达（关机、停机或不在服务区）"),
        ("failed", "运营商未能送达"),
        ("unknown", "多次发送均无结果"),
        ("no_pdu_holds_it", "短信内容超出短信协议的限制"),
        ("ESME_RINVDSTADR", "运营商拒收：接收号码不被接受（代码 ESME_RINVDSTADR）"),
        ("0x000004ff", "运营商拒收（代码 0x000004ff）"),
        ("of_a_newer_version", "其他原因（代码 of_a_newer_version）"),
    ],
)
def test_the_story_and_the_queue_tell_why_in_the_same_words(
    browser: MakeBrowser, database: Database, record: Record, reason: str, words: str
) -> None:
    subject = record.case("A", 5)
    failed(database, subject, reason)
    someone = browser(ConsoleRole.SUPERVISOR)
    for path in (f"/cases/{subject}", "/queues/failures"):
        text = someone.get(path).text
        assert words in text, path
        assert not re.search(rf">\s*{reason}\s*<", text)


def test_a_value_of_the_record_without_a_word_is_told_as_a_code(
    browser: MakeBrowser, database: Database, record: Record
) -> None:
    subject = record.case("A", 5)
    failed(database, subject, "later", state="held_back")
    text = browser(ConsoleRole.SUPERVISOR).get(f"/cases/{subject}").text
    assert "其他（代码 held_back）" in text
