"""Every cell of the course and of the how-to pages runs, in the order of its page."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p for part in ("course", "howto") for p in (DOCS / part).glob("[!i]*.md"))
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.S | re.M)


def cells(page: Path) -> list[str]:
    """The code of a page's cells, without the options at their top."""
    found = CELL.findall(page.read_text())
    return [re.sub(r"\A(:[^\n]*\n)+", "", code) for code in found]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_cell_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": page.stem}
    for code in cells(page):
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.parent.name == "course"], ids=lambda p: p.stem
)
def test_a_chapter_has_its_box_and_exercises_that_check(page):
    text = page.read_text()
    assert "What is often written" in text
    assert re.search(r"^## Exercises", text, re.M)
    assert any("assert" in code for code in cells(page)[-3:])


def test_a_planted_cell():
    page = DOCS / "course" / "01-noise.md"
    assert len(cells(page)) == len(re.findall(r"\{code-cell\}", page.read_text()))
