"""What stands beside an act in the audit is told in Chinese, and what nobody of ours wrote stays as it is."""

from __future__ import annotations

import pytest

from console.auditing import Action
from console.pages.audit_words import audit_words
from console.pages.catalogue import Catalogue

TEXTS = Catalogue.load()


@pytest.mark.parametrize(
    ("action", "detail", "told"),
    [
        (Action.USER_ADDED, "马班长: supervisor", "马班长：班长"),
        (Action.USER_ADDED, "住建局: department dept=11622900A area=6229", "住建局：部门，部门 11622900A，区划 6229"),
        (Action.TOKEN_ADDED, "case-system: intake", "case-system：提交工单"),
        (Action.DIRECTORY_IMPORTED, "7 added, 0 changed, 1 removed", "新增 7 条，修改 0 条，删除 1 条"),
        (Action.EXPORTED, "csv masked · from=2026-11-01 tail=****", "CSV 号码已遮盖 · from=2026-11-01 tail=****"),
        (Action.EXPORTED, "xlsx full · 季度回访", "XLSX 含完整号码 · 季度回访"),
        (Action.EXPORT_ENDED, "csv masked 1200 rows", "CSV 号码已遮盖，1200 行"),
        (Action.EXPORT_ENDED, "csv masked 20 rows, limit of time", "CSV 号码已遮盖，20 行，已达时间上限"),
        (Action.EXPORT_ENDED, "csv full busy", "CSV 含完整号码，正在进行的导出较多，未导出"),
        (Action.EXPORT_ENDED, "xlsx masked broken off", "XLSX 号码已遮盖，中途停止"),
        # Of another form, of another act, or nothing.
        (Action.USER_ADDED, "x: y: admin", "x: y: admin"),
        (Action.EXPORTED, "pdf masked", "pdf masked"),
        (Action.RATING_NOTED, "7 added, 0 changed, 1 removed", "7 added, 0 changed, 1 removed"),
        (Action.NUMBER_REVEALED, "case · 回访: admin", "case · 回访: admin"),
        (Action.LOGGED_OUT, None, ""),
    ],
)
def test_an_act_is_told_in_the_words_of_the_page(action: Action, detail: str | None, told: str) -> None:
    assert audit_words(TEXTS, action.value, detail) == told
