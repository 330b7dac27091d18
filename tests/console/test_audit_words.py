"""Every action that the program writes into the audit, and every fault of the push, has its Chinese words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

import models
from centre.answers import Answer, Pause, Retry, Split, read_answer
from console.auditing import Action
from console.pages.audit_words import told_detail, told_fault
from console.pages.catalogue import Catalogue
from console.viewer import ConsoleRole
from intake.posted import CASE_FIELDS
from intake.queue_work import WorkAction
from models.database import Database
from models.ids import new_id
from models.push_faults import PushFault, read_fault
from models.tables import audit
from models.terms import AuditAction, CallOutcome, WorkKind
from tests.centre.rows import PLAIN
from tests.console.site import MakeBrowser
from tests.moments import START

TEXTS = Catalogue.load()
ROOT = Path(models.__file__).parents[1]
PACKAGES = ("models", "config", "intake", "ivr", "sms", "scheduler", "centre", "console", "server")
ACTIONS = {action.value for actions in (Action, WorkAction, AuditAction) for action in actions}
NO_ACTIONS = {
    "calendar.version", "calendar.applied", "calendar.progress",
    "directory.version", "push.probe", "push.reconciled",
}  # fmt: skip
"""Keys of `meta` that look like actions."""
ID = "0195c1d0a0007000800000000000000a"


# ── actions ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_action_has_its_word_and_no_word_is_left_over() -> None:
    assert set(TEXTS.table("action")) == set()  # its keys hold a dot
    words = {key.removeprefix("action.") for key in TEXTS.keys if key.startswith("action.")}
    assert words == ACTIONS


def test_every_outcome_of_a_call_is_an_action() -> None:
    for outcome in CallOutcome:
        assert AuditAction.of_call(outcome).value == f"call.{outcome.value}"


def sources() -> list[Path]:
    found = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if "migrations" not in file.parts]
    return [file for file in found if file.name not in ("terms.py", "auditing.py", "queue_work.py")]


def test_no_action_is_written_but_by_its_enum() -> None:
    """A literal would be an action that nobody has given a word."""
    begun = "|".join(sorted({re.escape(action.partition(".")[0]) for action in ACTIONS}))
    like_one = re.compile(rf"(?:{begun})\.[a-z_]+")
    files = sources()
    assert len(files) > 100
    found: list[str] = []
    for file in files:
        text = file.read_text("utf-8")
        if "audit" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Constant(value=str(value)) if like_one.fullmatch(value):
                    if value not in NO_ACTIONS and file.parent.name != "pages":
                        found.append(f"{file.name}:{node.lineno} {value}")
                case ast.keyword(arg="action", value=ast.Constant() | ast.JoinedStr() as value):
                    found.append(f"{file.name}:{node.value.lineno} {ast.unparse(value)}")
    assert found == []


# ── details ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("action", "detail", "told"),
    [
        ("login.failed", "192.168.100.200", "192.168.100.200"),
        ("user.added", "ma: supervisor dept=A dept=B area=6229", "ma：班长，部门 A、B，区划 6229"),
        ("user.added", "ma: admin", "ma：管理员"),
        ("user.disabled", "10012345", "10012345"),
        ("token.added", "desk: intake", "desk：提交工单"),
        ("token.added", "zj: read dept=A area=6229 area=6230", "zj：读取评价，部门 A，区划 6229、6230"),
        ("board.added", "大厅10012345", "大厅10012345"),
        ("board.added", "大厅 dept=A dept=B", "大厅，部门 A、B"),
        ("number.revealed", "case · 回访核实", "工单：回访核实"),
        ("number.revealed", "case", "工单"),
        ("words.revealed", "回访核实", "回访核实"),
        ("work.taken", "reply", "市民回复"),
        ("work.released", "failure", "短信未送达"),
        ("reply.assigned", "unclear rated", "看不出满意度：已计入评价"),
        ("reply.asked", f"unmatched {ID}", f"无法对应，邀请 {ID}"),
        ("reply.dismissed", "pressure work_order", "反映被要求评价：转工单"),
        ("failure.seen", "noted", "已核实"),
        ("push.retry", f'{{"evaluation": "{ID}"}}', f"评价编号 {ID}"),
        ("push.put_back", f'{{"evaluation": "{ID}"}}', f"评价编号 {ID}"),
        (
            "ratings.exported",
            "xlsx full · from=2026-11-01 to=2026-11-30 satisfaction=1 channel=sms sort=oldest · 回访",
            "Excel 文件，含完整号码，起始日期 2026-11-01，截止日期 2026-11-30，满意度 非常不满意，评价渠道 短信，回访",
        ),
        ("ratings.exported", "csv masked", "CSV 文件，号码已遮盖"),
        (
            "ratings.exported",
            "csv masked from=2026-11-01 to=2026-11-30",
            "CSV 文件，号码已遮盖，起始日期 2026-11-01，截止日期 2026-11-30",
        ),
        ("ratings.export_ended", "xlsx masked 5 rows", "Excel 文件，号码已遮盖，共 5 行"),
        ("ratings.export_ended", "csv full 9 rows, limit of time", "CSV 文件，含完整号码，共 9 行，达到时间上限"),
        ("ratings.export_ended", "csv full broken off", "CSV 文件，含完整号码，中断"),
        ("directory.imported", "1 added, 2 changed, 3 removed", "新增 1 项，修改 2 项，删除 3 项"),
        ("rating.stored", "late", "逾期评价"),
        ("case.posted", "landline", "不邀请：固定电话，收不到短信"),
        ("case.patched", "phone, dept_code, task_name", "修改了号码、部门编码、事项名称"),
        ("opt_out.stored", f"message {ID}", f"依据市民短信 {ID}"),
        ("opt_out.lifted", "carrier", "市民已向运营商恢复接收"),
        ("centre.word", "adoption not_adopted follow-up closed", "采纳情况：不予采纳，整改情况：已办结"),
        ("centre.word", "follow-up assigned", "整改情况：已交办"),
        (
            "calendar.imported",
            "version 3: 7 added, 1 changed, 0 taken back; from 2027-01-01 on",
            "第 3 版：新增 7 天，修改 1 天，撤销 0 天，自 2027-01-01 起",
        ),
        ("clock.jumped", "7200 s ahead; defaults are paused", "超前 7200 秒"),
        ("key.rotated", "1234567 rows now under key 2", "1234567 行改用第 2 号密钥"),
        (
            "person.forgotten",
            '{"invitations": 1, "calls": 2, "cases": 3, "messages": 4, "evaluations": 5, "waiting": 6, "others": 7}',
            "邀请 1，来电 2，工单 3，短信 4，评价 5，待中心答复 6，其他 7",
        ),
    ],
)
def test_a_detail_is_told_in_chinese(action: str, detail: str, told: str) -> None:
    assert action in ACTIONS
    assert told_detail(TEXTS, action, detail) == told


@pytest.mark.parametrize("action", ["push.retry", "person.forgotten", "clock.jumped", "reply.assigned", "of.later"])
def test_a_detail_that_nobody_knows_is_told_as_it_is_without_numbers(action: str) -> None:
    assert told_detail(TEXTS, action, "something of a later version, 13800138000") == (
        "something of a later version, 138****8000"
    )
    assert told_detail(TEXTS, action, None) == ""


@given(st.sampled_from(sorted(ACTIONS)), st.text() | st.sampled_from(["{}", "[]", '{"evaluation": 1}', "a b", ": "]))
def test_whatever_is_stored_can_be_told(action: str, detail: str) -> None:
    assert isinstance(told_detail(TEXTS, action, detail), str)
    assert isinstance(told_fault(TEXTS, detail), str)


def test_every_field_of_a_case_and_kind_of_work_has_its_word() -> None:
    assert set(CASE_FIELDS) <= set(TEXTS.table("case_field"))
    assert set(TEXTS.table("work_kind")) == {kind.value for kind in WorkKind}


def test_the_auditor_reads_chinese_alone(browser: MakeBrowser, database: Database) -> None:
    with database.write_engine.begin() as connection:
        for action, detail in (("call.no_input", None), ("case.patched", "dept_code"), ("clock.jumped", "later words")):
            connection.execute(insert(audit).values(id=new_id(), at=START, actor="ivr", action=action, detail=detail))
    page = browser(ConsoleRole.AUDITOR).get("/audit?machines=1").text
    assert "登记来电：未按键" in page
    assert "修改了部门编码" in page
    assert "later words" in page
    assert "call.no_input</td>" not in page


# ── the push ──────────────────────────────────────────────────────────────────────────────────────────────────────────

EXAMPLE = {"status": 503, "words": "projectNo 不存在", "most": 65536, "seconds": "10", "kind": "SSLError"}


@pytest.mark.parametrize("fault", PushFault)
def test_every_fault_is_read_back_and_told_in_chinese(fault: PushFault) -> None:
    stored = fault.told(**EXAMPLE)
    found = read_fault(stored)
    assert found is not None
    assert found[0] is fault
    assert found[0].told(**found[1]) == stored
    told = told_fault(TEXTS, stored)
    assert re.search(r"[\u4e00-\u9fff]", told)
    assert told != stored


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 408, 422, 429, 500, 503])
@pytest.mark.parametrize("members", [(ID,), (ID, ID[::-1])], ids=["one", "two"])
def test_what_the_centres_answers_give_as_a_reason_is_known(status: int, members: tuple[str, ...]) -> None:
    decision = read_answer(Answer(status, "缺少部门".encode()), members, PLAIN.answer, START)
    reason = decision.error if isinstance(decision, Retry | Split | Pause) else decision.words[ID].reason
    assert reason is not None
    assert read_fault(reason) is not None


@pytest.mark.parametrize("said", ["projectNo 不存在", "something else", "HTTP", ""])
def test_the_centres_own_words_are_told_as_they_are(said: str) -> None:
    assert read_fault(said) is None
    assert told_fault(TEXTS, said) == said
