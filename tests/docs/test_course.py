"""Every cell of the course runs, and what it says of errata is what their tests measure."""

import re
from pathlib import Path

import pytest

from docs.errata import CHAPTERS, PROGRAMS, lines

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "course").glob("[0-9]*.md"))
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.S | re.M)


def cells(page: Path) -> list[str]:
    """The code of a page's cells, without the options at their top."""
    found = CELL.findall(page.read_text())
    return [re.sub(r"\A(:[^\n]*\n)+", "", code) for code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_cell_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": page.stem}
    for code in cells(page):
        exec(compile(code, str(page), "exec"), names)


ITEMS = [
    " ".join(item.split())
    for page in PAGES
    for item in re.split(r"^- ", page.read_text(), flags=re.M)[1:]
]


def told(name: str, right: str = "", printed: str = "", items: list[str] = ITEMS) -> bool:
    """Whether a line of some box names the test, with the right number in bold and the other."""
    own = [item for item in items if f"`{name}`" in item]
    number = rf"(?<![\w.]){re.escape(printed)}(?!\d)"
    return any((not right or f"**{right}**" in item) and re.search(number, item) for item in own)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_erratum_is_told_where_it_belongs_with_both_its_numbers(chapter):
    missing = [name for name, e in lines(chapter) if not told(name, *e.numbers)]
    assert not missing, f"no box tells {missing}"


def test_every_slip_of_programs_is_told():
    names = [test.split("::")[1] for _, _, test in PROGRAMS]
    assert [name for name in names if not told(name)] == []


def test_a_planted_box():
    item = "- beta is `test_x`: .40, not **.36**"
    assert told("test_x", ".36", ".40", [item])
    for other in (("test_y", ".36", ".40"), ("test_x", ".40", ".36"), ("test_x", ".36", "40")):
        assert not told(*other, [item])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_chapter_has_its_box_and_exercises_that_check(page):
    text = page.read_text()
    assert "What is often written" in text
    assert re.search(r"^## Exercises", text, re.M)
    assert any("assert" in code for code in cells(page)[-3:])


def test_a_planted_cell():
    page = DOCS / "course" / "01-noise.md"
    assert len(cells(page)) == len(re.findall(r"\{code-cell\}", page.read_text()))
