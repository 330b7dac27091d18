"""The reports on paper, as Chromium prints them: how many sheets, and that no line of them is cut.

Poppler reads the words and their places out of what was printed. The report of a large hotline is the hotline's own
with more lines in its tables, so that they go over the end of a sheet.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Page

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit

pytestmark = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="Poppler is missing (tools/test-programs.sh)")

LINES = 130
MARGIN, FOOT = 30, 40
"""Points that stay white at each edge of a sheet, and at its foot but for the sheet's number."""
LESS_THAN_FULL = 0.6
"""A sheet with another one behind it is full to here at the least."""
# Each table gets further lines of the longest name that a department has; `n` numbers them through the whole report.
MORE_LINES = """(lines) => {
  let n = 0;
  for (const body of document.querySelectorAll("table.sums tbody")) {
    const line = body.rows[0];
    for (let place = 0; place < lines; place++) {
      const copy = line.cloneNode(true);
      copy.cells[0].textContent = `行${++n}止 临夏州住房和城乡建设局某某管理服务中心`;
      body.append(copy);
    }
  }
  return n;
}"""


@dataclass(frozen=True)
class Word:
    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Sheet:
    width: float
    height: float
    words: tuple[Word, ...]
    foot: str
    """What stands below the words."""

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def filled(self) -> float:
        """How far down there are words."""
        return max(word.bottom for word in self.words) / self.height


def printed(page: Page, folder: Path) -> list[Sheet]:
    path = folder / "report.pdf"
    page.pdf(path=path, prefer_css_page_size=True)
    told = subprocess.run(["pdftotext", "-bbox", str(path), "-"], check=True, capture_output=True, timeout=60).stdout
    sheets = []
    for width, height, inside in re.findall(
        r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', told.decode(), re.S
    ):
        place = r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
        words = [Word(unescape(text), *map(float, four)) for *four, text in re.findall(place, inside)]
        end = float(height) - FOOT
        foot = " ".join(word.text for word in words if word.bottom > end)
        sheets.append(Sheet(float(width), float(height), tuple(word for word in words if word.bottom <= end), foot))
    return sheets


@pytest.mark.parametrize("path", ["/reports/day", "/reports/quarter"])
def test_a_report_of_a_small_hotline_is_a_few_full_sheets(desk_of: Sit, path: str, tmp_path: Path) -> None:
    page = desk_of(ConsoleRole.SUPERVISOR).page
    page.goto(path)
    sheets = printed(page, tmp_path)
    assert 1 <= len(sheets) <= 3
    for place, sheet in enumerate(sheets, 1):
        assert (round(sheet.width), round(sheet.height)) == (595, 842), "A4, upright"
        assert sheet.foot == f"{place} / {len(sheets)}"
        assert sheet.filled >= LESS_THAN_FULL or sheet is sheets[-1]
    whole = " ".join(sheet.text for sheet in sheets)
    for told in ("满意率", "差评原因", "生成于", "少于 5 条时不计算比率"):
        assert told.replace(" ", "") in whole.replace(" ", "")
    for screens in ("退出", "查看日报", "上一期"):
        assert screens not in whole, "what belongs to the screen"


@pytest.mark.parametrize("path", ["/reports/day", "/reports/quarter"])
def test_no_line_of_a_long_report_is_cut_and_headings_are_on_every_sheet(
    desk_of: Sit, path: str, tmp_path: Path
) -> None:
    page = desk_of(ConsoleRole.SUPERVISOR).page
    page.goto(path)
    total = int(page.evaluate(MORE_LINES, LINES))
    sheets = printed(page, tmp_path)
    found = [int(n) for sheet in sheets for n in re.findall(r"行(\d+)止", sheet.text)]
    assert found == list(range(1, total + 1)), "each line once, in order: one that a sheet's end cuts is on both"
    for place, sheet in enumerate(sheets, 1):
        assert sheet.foot == f"{place} / {len(sheets)}", "something goes over the end"
        right = sheet.width - MARGIN
        assert [word for word in sheet.words if word.left < MARGIN or word.top < MARGIN or word.right > right] == []
        assert sheet.filled >= LESS_THAN_FULL or sheet is sheets[-1]
        lines = [word for word in sheet.words if re.match(r"行\d+止", word.text)]
        if lines:
            # Real and default ratings stand apart on each; a table of reasons has its own two headings.
            above = "".join(word.text for word in sheet.words if word.top < lines[0].top)
            assert ("非常满意" in above and "默认评价" in above) or "次数" in above
    assert len(sheets) <= total / 15
