"""The pages of waiting work over real HTTP: what is seen, what is done, by whom; on both databases."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert, update

from config.keymap import KeyMap
from config.settings import Settings, SmsSection
from console.auditing import Action
from console.board_state import Sight, _told_minutes, read_work
from console.pages.shell import Console
from console.passwords import Passwords
from console.queues import queue_counts
from console.viewer import ConsoleRole, Viewer
from intake.conversation import Heard
from intake.decide import PushCalls
from intake.queue_work import WorkAction
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    audit,
    cases,
    evaluations,
    messages,
    meta,
    outbox,
    push_batches,
    ratings,
    remarks,
    work_owners,
)
from models.terms import InvitationState, MessageState, OutboxState, QueueReason, WorkKind
from server.queue_tools import queue_tools
from tests.console.browser import Browser, Page
from tests.console.site import QUICK, RULES, MakeBrowser
from tests.intake.replying import CITIZEN, UNREADABLE, Replying, level, words
from tests.moments import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STRANGER = "13900000009"
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
SUPERVISOR = ConsoleRole.SUPERVISOR
DEPARTMENT = ConsoleRole.DEPARTMENT


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def console(door: Door, keyring: Keyring, clock: TurnedClock, woken: list[str]) -> Console:
    link = {"name": "mobile", "host": "127.0.0.1", "system_id": "x", "password": "x"}
    section = {"service_number": "1069", "signature": "x", "links": [link]}
    tools = queue_tools(
        Settings(sms=SmsSection.model_validate(section)),
        keyring,
        PushCalls.WITHOUT_CASE,
        wake_push=lambda: woken.append("push"),
        wake_sms=lambda: woken.append("sms"),
    )
    return Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), queues=tools)


class Stand:
    """A record with replies that wait."""

    def __init__(self, door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> None:
        self.record = Replying(door, database, keyring, clock)

    def waits(self, heard: Heard, **how: Any) -> str:
        message = self.record.stored(heard.text or "", **{"raw": STRANGER, **how})
        assert self.record.take(message, heard).queue is not None
        return message

    def of_case(self, text: str = "收到", **case: Any) -> tuple[str, str]:
        """An unclear reply to a case's invitation, and the invitation. It was asked back once before."""
        invitation = self.record.invite(self.record.case(**case), clarified_at=START - DAY)
        return self.waits(words(text), raw=CITIZEN), invitation

    def letter(self, case_no: str = "GD-9", **case: Any) -> str:
        record = self.record
        subject = record.case(case_no, **case)
        record.rated(subject, 2)
        [evaluation] = record.rows(evaluations, subject_id=subject)
        record.change(evaluations, evaluation.id, dept_code=case.get("dept_code", "X"))
        record.write(
            insert(outbox).values(
                evaluation_id=evaluation.id, subject_id=subject, assess_number=1, state=OutboxState.DEAD.value,
                not_before=START, tries=3, reason="projectNo 不存在", created_at=START,
            )
        )  # fmt: skip
        return str(evaluation.id)

    def failure(self, reason: str = "dead_number", case_no: str = "GD-8", **case: Any) -> str:
        record = self.record
        invitation = record.invite(record.case(case_no, **case), code=None, undelivered=True)
        failed = new_id()
        record.write(
            insert(messages).values(
                id=failed, direction="out", kind="invitation", state=MessageState.FAILED.value, reason=reason,
                invitation_id=invitation, created_at=START, changed_at=START, **record.columns(),
            )
        )  # fmt: skip
        return failed

    def message(self, identity: str) -> Any:
        return self.record.one(messages, id=identity)

    def people(self) -> list[tuple[str, str, str | None]]:
        return [
            (row.actor, row.action, row.detail)
            for row in self.record.rows(audit)
            if row.actor.startswith("user:") and not row.action.startswith("login")
        ]


@pytest.fixture
def stand(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Stand:
    return Stand(door, database, keyring, clock)


def send(browser: Browser, path: str, page: str, *ids: str, **fields: str) -> Page:
    """A form of a page with several boxes ticked."""
    csrf = browser.get(page).hidden("csrf")
    pairs = [("csrf", csrf), *(("id", one) for one in ids), *fields.items()]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return browser.ask("POST", path, urlencode(pairs).encode(), kind)


def do(browser: Browser, reply: str, **fields: str) -> Page:
    return browser.send(f"/queues/replies/{reply}", f"/queues/replies/{reply}", **fields)


def alert(page: Page) -> str:
    """What the page says went wrong."""
    found = re.search(r'<(p|div)[^>]*role="alert">(.*?)</\1>', page.text, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[2]).split())


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

LISTS = ["/queues", "/queues/replies", "/queues/letters", "/queues/deadlines", "/queues/failures"]


@pytest.mark.parametrize("path", LISTS)
def test_supervisors_see_every_list_and_departments_replies_alone(browser: MakeBrowser, path: str) -> None:
    assert browser(SUPERVISOR).get(path).status == 200
    expected = 200 if path in ("/queues", "/queues/replies") else 403
    assert browser(DEPARTMENT, depts=("X",)).get(path).status == expected
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        assert browser(role).get(path).status == 403
    assert browser().get(path).to.startswith("/login")


def test_a_department_has_its_own_replies_and_nobody_elses(browser: MakeBrowser, stand: Stand) -> None:
    own, _ = stand.of_case("收到了", case_no="GD-1", dept_code="X")
    record = stand.record
    foreign_invitation = record.invite(
        record.case("GD-2", dept_code="Y", raw="13800000002"), code="08", raw="13800000002", clarified_at=START - DAY
    )
    foreign = stand.waits(words("不知道"), raw="13800000002", code="08")
    unmatched = stand.waits(words("你好"))
    them = browser(DEPARTMENT, depts=("X",))
    text = them.get("/queues/replies?kind=unclear").text
    assert ("收到了" in text, "不知道" in text) == (True, False)
    assert "你好" not in them.get("/queues/replies?kind=unmatched").text
    for hidden in (foreign, unmatched):
        assert them.get(f"/queues/replies/{hidden}").status == 404
        answer = send(
            them, "/queues/replies", f"/queues/replies/{own}", hidden, kind="unclear", what="dismiss", how="irrelevant"
        )
        assert (answer.status, stand.message(hidden).handled_at) == (409, None)
    page = them.get(f"/queues/replies/{own}?case=GD-2")
    assert foreign_invitation not in page.text
    refused = do(them, own, what="ask", invitation=foreign_invitation)
    assert refused.status == 409
    assert "没有这个邀请" in alert(refused)
    for path in LISTS[2:]:
        assert send(them, path, f"/queues/replies/{own}", own, what="take").status == 403
    assert do(them, own, what="take").status == 303


def test_what_a_reply_was_is_not_said_by_the_department_that_it_may_be_about(
    browser: MakeBrowser, stand: Stand
) -> None:
    own, invitation = stand.of_case("收到了", dept_code="X")
    them = browser(DEPARTMENT, depts=("X",))
    for path in (f"/queues/replies/{own}", "/queues/replies?kind=unclear"):
        page = them.get(path)
        assert "由班长归入邀请或办结" in page.text
        assert not re.search(r'value="(dismiss|assign)"', page.text)
    for what in ({"what": "assign", "invitation": invitation}, {"what": "dismiss", "how": "harassment"}):
        refused = do(them, own, **what)
        assert (refused.status, "由班长办结" in alert(refused)) == (409, True)
    assert (stand.message(own).handled_at, stand.record.rows(remarks)) == (None, [])
    assert do(them, own, what="take").status == 303
    ma = browser(SUPERVISOR)
    assert do(ma, own, what="take_over").status == 303
    assert do(ma, own, what="assign", invitation=invitation).status == 303
    assert stand.record.one(remarks).text == "收到了"


@pytest.mark.parametrize(("pressure", "status"), [(False, 303), (True, 409)])
def test_a_department_asks_once_more_but_not_whom_somebody_made_rate(
    browser: MakeBrowser, stand: Stand, pressure: bool, status: int
) -> None:
    own, invitation = stand.of_case("收到了", dept_code="X")
    if pressure:
        stand.record.write(messages.update().where(messages.c.id == own).values(queue=QueueReason.PRESSURE.value))
    them = browser(DEPARTMENT, depts=("X",))
    assert ('value="ask"' in them.get(f"/queues/replies/{own}").text) is not pressure
    assert do(them, own, what="ask", invitation=invitation).status == status


def test_a_level_that_counts_for_others_too_is_assigned_by_who_sees_them(browser: MakeBrowser, stand: Stand) -> None:
    record = stand.record
    invitation = record.invite(record.case("GD-1", dept_code="X"), record.case("GD-2", dept_code="Y"))
    message = stand.waits(level(1, text="5"))
    record.write(messages.update().where(messages.c.id == message).values(invitation_id=invitation))
    narrow, whole = browser(SUPERVISOR, "bai", depts=("X",)), browser(SUPERVISOR, "ma")
    refused = do(narrow, message, what="assign", invitation=invitation)
    assert (refused.status, "看不到的来电或工单" in alert(refused)) == (409, True)
    assert record.rows(evaluations) == []
    assert do(whole, message, what="assign", invitation=invitation).status == 303
    assert len(record.rows(evaluations)) == 2


def test_of_another_departments_rating_nothing_is_seen(browser: MakeBrowser, stand: Stand) -> None:
    """Even where case and evaluation should ever differ."""
    own, _ = stand.of_case("收到了", dept_code="X")
    [case] = stand.record.rows(cases)
    stand.record.rated(case.subject_id, 1)
    page = f"/queues/replies/{own}"
    for dept, seen in (("Y", False), ("X", True)):
        stand.record.write(evaluations.update().values(dept_code=dept))
        assert ("level-1" in browser(DEPARTMENT, f"d{dept}", depts=("X",)).get(page).text) is seen


@pytest.mark.parametrize("path", ["/queues/replies", "/queues/letters", "/queues/deadlines", "/queues/failures"])
def test_a_form_without_its_secret_is_refused(browser: MakeBrowser, stand: Stand, path: str) -> None:
    message = stand.waits(words("你好"))
    ma = browser(SUPERVISOR)
    for fields in ({}, {"csrf": "x" * 43}):
        sent = {"id": message, "kind": "unmatched", "what": "dismiss", "how": "irrelevant", **fields}
        assert ma.post(path, sent).status == 403
        assert ma.post(f"/queues/replies/{message}", sent).status == 403
    assert stand.message(message).handled_at is None


# ── what is seen ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_words_are_words_everywhere(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words(XSS))
    undecodable = stand.waits(UNREADABLE)
    stand.record.write(
        messages.update().where(messages.c.id == undecodable).values(text=None),
    )
    ma = browser(SUPERVISOR)
    for path in ("/queues/replies", f"/queues/replies/{message}", f"/queues/replies/{message}?case={XSS[:8]}%22%3E"):
        text = ma.get(path).text
        assert "<script>alert" not in text
        assert "<img" not in text.replace('<img src="/static/', "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ma.get(f"/queues/replies/{message}").text


def test_numbers_are_masked_in_columns_and_words(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words("打我13800138000"))
    ma = browser(SUPERVISOR)
    for path in ("/queues/replies", f"/queues/replies/{message}"):
        text = ma.get(path).text
        assert "139****0009" in text
        assert "13900000009" not in text
        assert "13800138000" not in text


UNDECODED = "打我13800138000"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(UNDECODED.encode("gb18030"), id="GB18030"),
        pytest.param(UNDECODED.encode("utf-8"), id="UTF-8"),
        pytest.param(UNDECODED.encode("utf-16-be"), id="UCS2"),
        pytest.param("打我１３８００１３８０００".encode("gb18030"), id="full width"),
        pytest.param("打我１３８００１３８０００".encode("gb18030") + b"\xff", id="full width, damaged"),
        pytest.param(b"\x00" + UNDECODED.encode("utf-16-le"), id="UCS2, out of step"),
    ],
)
def test_numbers_are_masked_in_what_cannot_be_decoded_until_somebody_says_why(
    browser: MakeBrowser, stand: Stand, body: bytes
) -> None:
    message = stand.record.stored(raw=STRANGER, body=body, data_coding=8)
    stand.record.take(message, UNREADABLE)
    ma = browser(SUPERVISOR)
    page = ma.get(f"/queues/replies/{message}").text
    digits = "13800138000"
    assert digits not in unicodedata.normalize("NFKC", page)
    assert digits not in re.sub("[^0-9]", "", "".join(re.findall("<dd>([^<]*)</dd>", page)))
    assert body.hex(" ")[-30:] not in page
    assert "原文要填写理由后查看" in page
    assert not [one for one in stand.people() if one[1] == "words.revealed"]
    short = ma.send("/reveal", f"/queues/replies/{message}", kind="words", id=message, reason="看")
    assert (short.status, body.hex(" ") in short.text) == (422, False)
    shown = ma.send("/reveal", f"/queues/replies/{message}", kind="words", id=message, reason="回访 13900001111 核实")
    assert (shown.status, body.hex(" ") in shown.text) == (200, True)
    assert [one[1:] for one in stand.people() if one[1] == "words.revealed"] == [
        ("words.revealed", "回访 139****1111 核实")
    ]


def test_the_words_of_a_reply_are_for_supervisors_who_see_it(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words("打我13800138000"))
    ma = browser(SUPERVISOR)
    shown = ma.send("/reveal", f"/queues/replies/{message}", kind="words", id=message, reason="回访核实")
    assert "打我13800138000" in shown.text
    narrow = browser(SUPERVISOR, "bai", depts=["X"])
    department = browser(DEPARTMENT, depts=["X"])
    for someone in (narrow, department):
        refused = someone.send(
            "/reveal", f"/reveal?kind=words&id={message}", kind="words", id=message, reason="回访核实"
        )
        assert (refused.status, "13800138000" in refused.text) == (404, False)


def test_what_cannot_be_decoded_is_shown_as_bytes_and_in_what_fits(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.record.stored(raw=STRANGER, body="满意".encode("gb18030"), data_coding=8)
    stand.record.take(message, UNREADABLE)
    page = browser(SUPERVISOR).get(f"/queues/replies/{message}")
    assert "满意".encode("gb18030").hex(" ") in page.text
    assert "<dt>GB18030</dt><dd>满意</dd>" in page.text
    assert 'value="assign"' not in page.text, "a level that nobody sent counts for nothing"


def test_candidates_by_code_are_shown_with_their_case_and_what_the_reply_would_be(
    browser: MakeBrowser, stand: Stand
) -> None:
    stand.record.invite(stand.record.case("GD-77", dept_name="住建局"))
    message = stand.waits(level(2))
    page = browser(SUPERVISOR).get(f"/queues/replies/{message}")
    assert "工单 GD-77 第 1 次办结" in page.text
    assert "其他号码" in page.text
    assert re.search(r"计为 <span class=\"level level-2\">", page.text)


def test_a_case_is_found_by_its_number(browser: MakeBrowser, stand: Stand) -> None:
    invitation = stand.record.invite(stand.record.case("GD-5"), code=None)
    message = stand.waits(words("你好"), code="99")
    ma = browser(SUPERVISOR)
    assert invitation not in ma.get(f"/queues/replies/{message}").text
    assert invitation in ma.get(f"/queues/replies/{message}?case=GD-5").text
    assert "没有找到此编号的邀请" in ma.get(f"/queues/replies/{message}?case=GD-6").text


def test_a_list_goes_on_behind_its_last_row(browser: MakeBrowser, stand: Stand) -> None:
    sent = [stand.waits(words(f"第{n}条")) for n in range(53)]
    ma = browser(SUPERVISOR)
    first = ma.get("/queues/replies")
    onward = re.search(r'<a rel="next" href="([^"]+)"', first.text)
    assert onward is not None
    second = ma.get(onward[1].replace("&amp;", "&"))
    shown = [re.findall(r'href="/queues/replies/([0-9a-f]{32})"', page.text) for page in (first, second)]
    assert (len(shown[0]), shown[0] + shown[1]) == (50, sent)
    assert 'rel="next"' not in second.text
    assert ("第一页" in first.text, "第一页" in second.text) == (False, True)


def test_counts_are_those_of_the_viewer(database: Database, stand: Stand) -> None:
    stand.of_case(case_no="GD-1", dept_code="X")
    stand.waits(words("你好"))
    stand.letter(dept_code="X")
    stand.failure(dept_code="Y")
    stand.record.case("GD-3", provisional=True, dept_code="Y")
    all_of_it = Viewer("ma", SUPERVISOR)
    narrow = Viewer("bai", SUPERVISOR, depts=("X",))
    department = Viewer("x", DEPARTMENT, depts=("X",))
    with database.read_engine.connect() as connection:
        found = [queue_counts(connection, viewer, START) for viewer in (all_of_it, narrow, department)]
    told = [(one.all_replies.n, one.letters.n, one.deadlines.n, one.failures.n, one.total.n) for one in found]
    assert told == [(2, 1, 1, 1, 4), (1, 1, 0, 0, 2), (1, 0, 0, 0, 1)]
    assert found[0].replies[QueueReason.UNMATCHED].oldest == START
    assert found[0].replies[QueueReason.TOO_LATE].oldest is None


def of_page(text: str) -> dict[str, str]:
    """The counts of the page of all queues, by where they lead."""
    return dict(re.findall(r'<p class="value"><a (?:class="muted" )?href="([^"]+)">([^<]+)<', text))


def of_board(text: str) -> dict[str, str]:
    part = text[text.index('<ul class="work">') :]
    lines = re.findall(r'<li><a href="([^"]+)">(.*?)</li>', part[: part.index("</ul>")])
    return {address: re.sub(r"<[^>]*>", " ", line).split()[-1] for address, line in lines}


def test_the_boards_queues_are_those_of_the_pages(
    browser: MakeBrowser, stand: Stand, database: Database, clock: TurnedClock
) -> None:
    """As many as where its link leads: what is handled, withdrawn or another's is not counted. Of each also the age of
    the oldest, and how many nobody has taken."""
    record = stand.record
    stand.of_case(case_no="GD-1", dept_code="X")
    theirs = stand.waits(words("你好"))
    stand.waits(words("谢谢"))
    stand.letter(dept_code="Y")
    handled = stand.failure(dept_code="Y")
    stand.failure(case_no="GD-7", dept_code="Y")
    record.change(messages, handled, handled_at=START)
    record.case("GD-3", provisional=True, dept_code="Y")
    withdrawn = record.case("GD-4", provisional=True, dept_code="Y")
    record.write(update(cases).where(cases.c.subject_id == withdrawn).values(withdrawn_at=START))
    record.write(insert(work_owners).values(kind="reply", item_id=theirs, owner="user:li", taken_at=START))
    clock.turn(DAY + timedelta(minutes=7))
    ma = browser(SUPERVISOR)
    board = of_board(ma.get("/").text)
    assert board == {address: n for address, n in of_page(ma.get("/queues").text).items() if n != "0"}
    assert board["/queues/failures"] == "1"
    page = ma.get("/").text
    assert "最早 24 小时前" in page
    assert "1 项无人领取" in page
    with database.read_engine.connect() as connection:
        work = read_work(connection, clock.now(), Sight(SUPERVISOR))
        own = read_work(connection, clock.now(), Sight(DEPARTMENT, ("X",)))
        nothing = read_work(connection, clock.now(), Sight(DEPARTMENT))
    a_day = 24 * 60
    assert [(one.reason or one.name, one.n, one.minutes, one.free) for one in work.queues] == [
        (QueueReason.UNMATCHED, 2, a_day, 1),
        (QueueReason.UNCLEAR, 1, a_day, 1),
        ("letters", 1, a_day, 1),
        ("failures", 1, a_day, 1),
        ("deadlines", 1, work.queues[-1].minutes, 1),
    ]
    assert [(one.reason, one.n) for one in own.queues] == [(QueueReason.UNCLEAR, 1)]
    assert [(one.name, one.n) for one in nothing.queues] == [("replies", 0)]


@pytest.mark.parametrize(
    ("age", "minutes"),
    [(-1, 0), (0, 0), (119, 119), (121, 120), (179, 120), (2879, 2820), (2880, 2880), (4319, 2880), (4320, 4320)],
)
def test_an_age_is_no_more_exact_than_it_is_told(age: int, minutes: int) -> None:
    assert _told_minutes(timedelta(minutes=age, seconds=59 if age >= 0 else 0)) == minutes


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clear_level_is_assigned_and_pushed(browser: MakeBrowser, stand: Stand, woken: list[str]) -> None:
    record = stand.record
    subject = record.case()
    invitation = record.invite(subject)
    message = stand.waits(level(5, text="1"))
    record.clock.turn(HOUR)
    ma = browser(SUPERVISOR, "ma")
    assert do(ma, message, what="assign", invitation=invitation).to == f"/queues/replies/{message}"
    evaluation = record.one(evaluations)
    assert (evaluation.satisfaction, evaluation.assess_time, evaluation.channel) == (5, START, "sms")
    assert record.one(outbox).evaluation_id == evaluation.id
    assert woken == ["push"]
    assert ("user:ma", "reply.assigned", "unmatched rated") in stand.people()
    assert "ma于2026-11-18 11:00:00处理：已归入邀请" in ma.get(f"/queues/replies/{message}").text


def test_a_level_cannot_be_typed_in(browser: MakeBrowser, stand: Stand) -> None:
    invitation = stand.record.invite(stand.record.case())
    message = stand.waits(words("收到"))
    ma = browser(SUPERVISOR)
    assert 'name="satisfaction"' not in ma.get(f"/queues/replies/{message}").text
    more = {"satisfaction": "5", "level": "5", "text": "非常满意"}
    assert do(ma, message, what="assign", invitation=invitation, **more).status == 303
    assert (stand.record.rows(ratings), stand.record.one(remarks).text) == ([], "收到")


def test_digits_are_read_by_the_invitations_keys_on_the_page_too(browser: MakeBrowser, stand: Stand) -> None:
    invitation = stand.record.invite(
        stand.record.case(), key_map=KeyMap.of({"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}).version
    )
    message = stand.waits(level(5, text="1"))
    assert do(browser(SUPERVISOR), message, what="assign", invitation=invitation).status == 303
    assert stand.record.one(ratings).satisfaction == 1


def test_the_second_of_two_is_told_by_whom_it_was_done(browser: MakeBrowser, stand: Stand) -> None:
    invitation = stand.record.invite(stand.record.case())
    message = stand.waits(level(5))
    ma, bai = browser(SUPERVISOR, "ma"), browser(SUPERVISOR, "bai")
    csrf = bai.get(f"/queues/replies/{message}").hidden("csrf")
    assert do(ma, message, what="assign", invitation=invitation).status == 303
    late = bai.post(f"/queues/replies/{message}", {"csrf": csrf, "what": "assign", "invitation": invitation})
    assert late.status == 409
    assert alert(late) == "已由ma处理"
    assert len(stand.record.rows(ratings)) == 1


def test_asking_once_more_is_audited_and_wakes_the_sender(browser: MakeBrowser, stand: Stand, woken: list[str]) -> None:
    message, invitation = stand.of_case()
    ma = browser(SUPERVISOR, "ma")
    assert do(ma, message, what="ask", invitation=invitation).status == 303
    assert [row.kind for row in stand.record.sent()] == ["by_hand"]
    assert woken == ["sms"]
    assert ("user:ma", "reply.asked", f"unclear {invitation}") in stand.people()
    stand.record.clock.turn(HOUR)
    second = stand.waits(words("啊"), raw=CITIZEN)
    again = do(ma, second, what="ask", invitation=invitation)
    assert (again.status, len(stand.record.sent())) == (409, 1)
    assert "只能" not in alert(again)
    assert "已人工追问过一次" in alert(again)


def test_who_has_taken_it_and_who_takes_it_over(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words("你好"))
    ma, bai = browser(SUPERVISOR, "ma"), browser(SUPERVISOR, "bai")
    assert do(ma, message, what="take").status == 303
    assert "我，0 分钟前" in ma.get("/queues/replies").text
    refused = do(bai, message, what="dismiss", how="irrelevant")
    assert (refused.status, alert(refused)) == (409, "已由ma领取")
    assert do(bai, message, what="take_over").status == 303
    assert stand.record.one(work_owners).owner == "user:bai"
    assert do(bai, message, what="dismiss", how="irrelevant").status == 303
    assert stand.message(message).handled_by == "user:bai"


def test_in_bulk_what_is_stale_is_told_and_the_rest_is_done(browser: MakeBrowser, stand: Stand) -> None:
    ids = [stand.waits(words(text)) for text in ("一", "二", "三", "四")]
    ma, bai = browser(SUPERVISOR, "ma"), browser(SUPERVISOR, "bai")
    do(bai, ids[1], what="dismiss", how="harassment")
    do(bai, ids[2], what="take")
    answer = send(ma, "/queues/replies", "/queues/replies", *ids, kind="unmatched", what="dismiss", how="automatic")
    assert answer.status == 409
    assert alert(answer) == "已处理 2 项，以下未处理： 1 项已由bai处理 1 项已由bai领取"
    assert [stand.message(one).handled_as for one in ids] == ["automatic", "harassment", None, "automatic"]
    done = send(bai, "/queues/replies", "/queues/replies", ids[2], kind="unmatched", what="dismiss", how="irrelevant")
    assert done.to == "/queues/replies?kind=unmatched&done=1&did=dismiss"
    assert "已办结 1 项。" in bai.get(done.to).text


def ticked(browser: Browser, reason: str, what: str, *ids: str) -> Page:
    """What a browser sends of a list with several boxes ticked: what it shows beside the replies, too."""
    page = f"/queues/replies?kind={reason}"
    shown = browser.get(page)
    meant = re.findall(r'name="meant" value="([^"]+)"', shown.text)
    pairs = [("csrf", shown.hidden("csrf")), ("kind", reason), ("what", what)]
    pairs += [("id", one) for one in ids] + [("meant", one) for one in meant]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return browser.ask("POST", "/queues/replies", urlencode(pairs).encode(), kind)


def of_several(stand: Stand, count: int, **case: Any) -> list[str]:
    """Unclear replies of several citizens, each to an invitation of its own."""
    record, found = stand.record, []
    for place in range(count):
        raw = f"1380000010{place}"
        record.invite(record.case(f"GD-{place}", **case), code=f"2{place}", raw=raw, clarified_at=START - DAY)
        found.append(stand.waits(words(f"第{place}条"), raw=raw, code=f"2{place}"))
    return found


def test_in_bulk_replies_are_tied_where_one_invitation_fits(browser: MakeBrowser, stand: Stand) -> None:
    record = stand.record
    fits = of_several(stand, 3)
    ma, bai = browser(SUPERVISOR, "ma"), browser(SUPERVISOR, "bai")
    page = ma.get("/queues/replies?kind=unclear").text
    assert page.count('name="meant"') == 3
    assert "工单 GD-1 第 1 次办结" in page
    do(bai, fits[1], what="take")
    answer = ticked(ma, "unclear", "assign", *fits)
    assert (answer.status, alert(answer)) == (409, "已处理 2 项，以下未处理： 1 项已由bai领取")
    assert {row.text for row in record.rows(remarks)} == {"第0条", "第2条"}
    assert [stand.message(one).handled_as for one in fits] == ["assigned", None, "assigned"]
    again = ticked(ma, "unclear", "assign", fits[0])
    assert (again.status, alert(again)) == (409, "以下未处理： 1 项已由ma处理")
    done = ticked(bai, "unclear", "assign", fits[1])
    assert "已归入 1 项" in bai.get(done.to).text
    assert len(record.rows(remarks)) == 3
    assert [line for line in stand.people() if line[1] == "reply.assigned"] == [
        ("user:ma", "reply.assigned", "unclear comment"),
        ("user:ma", "reply.assigned", "unclear comment"),
        ("user:bai", "reply.assigned", "unclear comment"),
    ]


def test_in_bulk_a_level_counts_as_it_does_alone(browser: MakeBrowser, stand: Stand, woken: list[str]) -> None:
    """A stranger's words to a code that one invitation has; whose code nobody has is told."""
    record = stand.record
    record.invite(record.case())
    fits, lost = stand.waits(level(2)), stand.waits(level(1), code="99", raw="13900000008")
    record.clock.turn(HOUR)
    answer = ticked(browser(SUPERVISOR), "unmatched", "assign", fits, lost)
    assert alert(answer) == "已处理 1 项，以下未处理： 1 项未处理：没有唯一对应的邀请，请打开查看后处理"
    rating = record.one(evaluations)
    assert (rating.satisfaction, rating.assess_time, woken) == (2, START, ["push"])
    assert stand.message(lost).handled_at is None


def test_in_bulk_each_invitation_is_asked_once_more(browser: MakeBrowser, stand: Stand) -> None:
    fits = of_several(stand, 2)
    record = stand.record
    record.clock.turn(HOUR)
    second = stand.waits(words("啊"), raw="13800000100", code="20")
    answer = ticked(browser(SUPERVISOR), "unclear", "ask", *fits, second)
    assert (answer.status, len(record.sent())) == (409, 2)
    assert "已处理 2 项" in alert(answer)
    assert "已人工追问过一次" in alert(answer)
    assert [stand.message(one).handled_as for one in (*fits, second)] == ["asked", "asked", None]


def test_in_bulk_nothing_is_done_that_was_not_shown(browser: MakeBrowser, stand: Stand) -> None:
    """Another invitation fits by the time the form comes, or none was shown: somebody looks again."""
    [message] = of_several(stand, 1)
    other = stand.record.invite(stand.record.case("GD-7"), code="77", raw="13800000002")
    ma = browser(SUPERVISOR)
    fields = {"kind": "unclear", "what": "assign"}
    for meant in ("", f"{message} {other}", f"{other} {message}"):
        answer = send(ma, "/queues/replies", "/queues/replies?kind=unclear", message, **fields, meant=meant)
        assert (answer.status, "没有唯一对应的邀请" in alert(answer)) == (409, True)
    assert stand.message(message).handled_at is None


def test_several_invitations_of_a_number_are_not_one(browser: MakeBrowser, stand: Stand) -> None:
    record = stand.record
    for place in range(2):
        record.invite(record.case(f"GD-{place}"), code=f"3{place}", raw=CITIZEN)
    message = stand.waits(words("好"), raw=CITIZEN, code="")
    assert stand.message(message).queue == QueueReason.AMBIGUOUS.value
    ma = browser(SUPERVISOR)
    assert "不唯一" in ma.get("/queues/replies?kind=ambiguous").text
    answer = ticked(ma, "ambiguous", "assign", message)
    assert (answer.status, record.rows(remarks)) == (409, [])


def test_in_bulk_a_department_ties_its_own_alone(browser: MakeBrowser, stand: Stand) -> None:
    [foreign] = of_several(stand, 1, dept_code="Y")
    [row] = stand.record.rows(messages, id=foreign)
    them = browser(DEPARTMENT, depts=("X",))
    own = stand.of_case(case_no="GD-X", dept_code="X")[0]
    answer = send(
        them, "/queues/replies", f"/queues/replies/{own}", foreign, kind="unclear", what="assign",
        meant=f"{foreign} {row.invitation_id}",
    )  # fmt: skip
    assert (answer.status, "没有唯一" in alert(answer)) == (409, False)
    assert stand.message(foreign).handled_at is None
    assert ticked(them, "unclear", "assign", own).status == 303


def test_a_mistaken_reply_cannot_be_tied_or_asked_about_in_bulk(browser: MakeBrowser, stand: Stand) -> None:
    record = stand.record
    invitation = record.invite(record.case())
    record.reply(level(1))
    record.clock.turn(timedelta(minutes=1))
    message = stand.waits(level(5), raw=CITIZEN)
    ma = browser(SUPERVISOR)
    page = ma.get("/queues/replies?kind=mistaken").text
    assert ('value="assign"' in page, 'value="ask"' in page) == (False, False)
    for what in ("assign", "ask"):
        answer = send(
            ma, "/queues/replies", "/queues/replies?kind=mistaken", message, kind="mistaken", what=what,
            meant=f"{message} {invitation}",
        )  # fmt: skip
        assert (answer.status, "这类待办不能这样处理" in alert(answer)) == (409, True)
    assert record.one(evaluations).satisfaction == 1


@pytest.mark.parametrize(
    ("how", "note", "said"),
    [
        ("work_order", "", "转工单须填写工单号"),
        ("work_order", "13800138000", "不能是电话号码"),
        ("work_order", "GD 1", "工单号只能含"),
        ("noted", "已核实", "这类待办不能这样处理"),
    ],
)
def test_what_a_dismissal_lacks_is_said(browser: MakeBrowser, stand: Stand, how: str, note: str, said: str) -> None:
    message = stand.waits(words("你好"))
    answer = do(browser(SUPERVISOR), message, what="dismiss", how=how, note=note)
    assert answer.status in (409, 422)
    assert said in alert(answer)
    assert stand.message(message).handled_at is None


def test_a_work_order_keeps_its_number_and_the_audit_has_none(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words("你好"))
    assert do(browser(SUPERVISOR, "ma"), message, what="dismiss", how="work_order", note="GD-20261118001").status == 303
    assert stand.message(message).handled_note == "GD-20261118001"
    assert stand.people() == [("user:ma", "reply.dismissed", "unmatched work_order")]


def test_nothing_chosen_and_nonsense(browser: MakeBrowser, stand: Stand) -> None:
    message = stand.waits(words("你好"))
    ma = browser(SUPERVISOR)
    assert send(ma, "/queues/replies", "/queues/replies", kind="unmatched", what="take").status == 422
    for ids, fields in (
        ((message,), {"kind": "nonsense", "what": "take"}),
        ((message,), {"kind": "unmatched", "what": "explode"}),
        ((message,), {"kind": "unmatched", "what": "dismiss", "how": "explode"}),
        (("'; DROP TABLE messages",), {"kind": "unmatched", "what": "take"}),
        (tuple(new_id() for _ in range(65)), {"kind": "unmatched", "what": "take"}),
    ):
        assert send(ma, "/queues/replies", "/queues/replies", *ids, **fields).status in (400, 404)
    assert ma.get("/queues/replies?kind=nonsense").status == 404
    assert ma.get("/queues/replies/nonsense").status == 404
    assert do(ma, message, what="assign", invitation="").status == 422


def test_a_mistaken_one_is_shown_with_the_rating_that_stands(browser: MakeBrowser, stand: Stand) -> None:
    record = stand.record
    invitation = record.invite(record.case())
    record.reply(level(1))
    record.clock.turn(timedelta(minutes=1))
    message = stand.waits(level(5), raw=CITIZEN)
    ma = browser(SUPERVISOR)
    page = ma.get(f"/queues/replies/{message}")
    assert "等级保持不变" in page.text
    assert '<span class="level level-1">' in page.text
    assert ('value="assign"' in page.text, 'value="ask"' in page.text) == (False, False)
    assert do(ma, message, what="assign", invitation=invitation).status == 409
    assert do(ma, message, what="dismiss", how="noted", note="").status == 422
    assert do(ma, message, what="dismiss", how="noted", note="已致电13800138000核实").status == 303
    row = stand.message(message)
    assert row.handled_as == "noted"
    assert "13800138000" not in row.handled_note
    assert record.one(evaluations).satisfaction == 1


# ── letters, deadlines, failures ──────────────────────────────────────────────────────────────────────────────────────


def test_dead_letters_go_again_as_they_are(browser: MakeBrowser, stand: Stand, woken: list[str]) -> None:
    first, second = stand.letter("GD-1"), stand.letter("GD-2")
    ma = browser(SUPERVISOR, "ma")
    page = ma.get("/queues/letters").text
    assert page.count("projectNo 不存在") == 2
    assert f'/cases/{stand.record.rows(outbox)[0].subject_id}"' in page
    before = stand.record.rows(evaluations)
    answer = send(ma, "/queues/letters", "/queues/letters", first, what="retry")
    assert answer.to == "/queues/letters?done=1&did=retry"
    states = {row.evaluation_id: (row.state, row.reason, row.tries) for row in stand.record.rows(outbox)}
    assert states == {first: ("waiting", None, 0), second: ("dead", "projectNo 不存在", 3)}
    assert stand.record.rows(evaluations) == before
    assert woken == ["push"]
    assert [line[:2] for line in stand.people()] == [("user:ma", "push.retry")]
    assert stand.record.rows(push_batches) == []
    assert [row.key for row in stand.record.rows(meta) if row.key == "push.probe"] == ["push.probe"]
    again = send(ma, "/queues/letters", "/queues/letters", first, second, what="retry")
    assert (again.status, stand.record.one(outbox, evaluation_id=second).state) == (409, "waiting")


def test_a_letter_that_somebody_else_has_taken_stays(browser: MakeBrowser, stand: Stand) -> None:
    letter = stand.letter()
    assert send(browser(SUPERVISOR, "bai"), "/queues/letters", "/queues/letters", letter, what="take").status == 303
    assert send(browser(SUPERVISOR, "ma"), "/queues/letters", "/queues/letters", letter, what="retry").status == 409
    assert stand.record.one(outbox).state == "dead"


def test_a_narrowed_supervisor_sends_only_what_they_see(browser: MakeBrowser, stand: Stand) -> None:
    own, foreign = stand.letter("GD-1", dept_code="X"), stand.letter("GD-2", dept_code="Y")
    narrow = browser(SUPERVISOR, depts=("X",))
    assert "GD-2" not in narrow.get("/queues/letters").text
    send(narrow, "/queues/letters", "/queues/letters", own, foreign, what="retry")
    assert {row.evaluation_id: row.state for row in stand.record.rows(outbox)} == {own: "waiting", foreign: "dead"}


def test_provisional_deadlines_say_which_days_nobody_has_decided(browser: MakeBrowser, stand: Stand) -> None:
    closed = START.replace(year=2031, month=12, day=29)
    stand.record.case("GD-31", provisional=True, closed_at=closed, deadline=closed + 7 * DAY)
    page = browser(SUPERVISOR).get("/queues/deadlines").text
    assert "GD-31" in page
    assert "2031、2032 年日历未公布：12-30、12-31、01-01" in page
    assert "huiyin calendar import" in page


def test_failed_sms_by_reason_lead_to_their_story(browser: MakeBrowser, stand: Stand) -> None:
    failed = stand.failure("dead_number", "GD-1")
    stand.failure("too_late", "GD-2")
    rated = stand.failure("dead_number", "GD-3")
    stand.record.write(messages.update().where(messages.c.id == rated).values(invitation_id=stand.record.invite(
        stand.record.case("GD-4"), state=InvitationState.RATED, ended=HOUR, code=None)))  # fmt: skip
    ma = browser(SUPERVISOR)
    page = ma.get("/queues/failures").text
    assert ("GD-1" in page, "GD-2" in page, "GD-4" in page) == (True, True, False)
    assert "空号或停机 1 条" in page
    subject = stand.record.rows(messages, id=failed)[0].invitation_id
    assert subject is not None
    one = ma.get("/queues/failures?reason=too_late").text
    assert ("GD-1" in one, "GD-2" in one) == (False, True)
    assert re.search(r'<a href="/cases/[0-9a-f]{32}">工单 GD-1', page)
    send(ma, "/queues/failures", "/queues/failures", failed, what="dismiss", how="noted")
    assert "GD-1" not in ma.get("/queues/failures").text


def test_the_audits_words_are_the_intakes() -> None:
    assert {one.value for one in WorkAction} <= {one.value for one in Action}
    assert {one.value for one in WorkKind} == {"reply", "letter", "deadline", "failure"}
