"""The site, but for its cells: every page has a place, every picture and formula can be drawn."""

import re
from pathlib import Path

import pytest

from docs.reference import helped

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "reference" not in p.parts)
TREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.S | re.M)
CODE = re.compile(r"^```.*?^```|`[^`]*`", re.S | re.M)
MATH = re.compile(r"\$\$(.*?)\$\$|\$([^$]+)\$", re.S)


def placed(index: Path) -> set[Path]:
    """The pages that the contents of a page name, and that links of a list of pages lead to."""
    text = index.read_text()
    listed = [line for tree in TREE.findall(text) for line in tree.splitlines()]
    listed += re.findall(r"\]\(([^)#]+)\.md\)", text)
    names = {name.strip() for name in listed if name.strip() and not name.startswith(":")}
    return {page.resolve() for name in names for page in index.parent.glob(f"{name}.md")}


def test_every_page_has_a_place_in_the_contents():
    found = {page for index in PAGES for page in placed(index)} | {DOCS / "index.md"}
    assert [str(p.relative_to(DOCS)) for p in PAGES if p.resolve() not in found] == []


def test_a_page_without_a_place_is_seen(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.md").touch()
    (tmp_path / "index.md").write_text("```{toctree}\n:maxdepth: 1\n\none\n```\n[two](two.md)\n")
    assert {p.name for p in placed(tmp_path / "index.md")} == {"one.md", "two.md"}


@pytest.mark.parametrize("page", sorted((DOCS / "course").glob("[0-9]*.md")), ids=lambda p: p.stem)
def test_every_formula_is_drawn(page):
    convert = pytest.importorskip("latex2mathml.converter").convert
    whole = re.sub(
        r"^```\{admonition\}.*?^```",
        lambda box: box[0].strip("`"),
        page.read_text(),
        flags=re.S | re.M,
    )
    text = CODE.sub("", whole)
    assert text.count("$") % 2 == 0
    for both in MATH.findall(text):
        drawn = convert("".join(both))
        assert drawn.startswith("<math")
        assert "\\" not in drawn


@pytest.mark.parametrize("verb", ["sample", "train", "fit-grid"])
def test_the_reference_has_the_help_of_a_verb(verb):
    assert helped(verb).startswith(f"usage: scorefield {verb}")
