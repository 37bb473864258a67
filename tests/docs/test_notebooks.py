"""The examples as notebooks: made of the scripts, current, and each runs cell by cell."""

import shutil
from pathlib import Path

import nbformat
import pytest

from docs.notebooks import EXAMPLES, notebook, notebooks, pages
from tests.cli.conftest import trained  # noqa: F401 a fixture

SCRIPT = '"""Two.\n\nAnd two."""\n\nx = 2\n\n# %% Four\nprint(x + x)\n'


def cells(path: Path) -> list[str]:
    """The code of a notebook that is valid and holds no output."""
    read = nbformat.read(path, as_version=4)
    nbformat.validate(read)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert all(cell.source and not cell.outputs for cell in code)
    return [cell.source for cell in code]


def test_a_script_is_cut_at_its_signs():
    found = [(cell.cell_type, cell.source) for cell in notebook(SCRIPT).cells]
    told = [("markdown", "# Two\n\nAnd two."), ("code", "x = 2"), ("markdown", "Four")]
    assert found == [*told, ("code", "print(x + x)")]
    assert notebook(SCRIPT) == notebook(SCRIPT) != notebook(SCRIPT.replace("2", "3"))


def test_the_notebooks_are_what_would_be_written_now():
    kept = {path.stem: path.read_text() for path in EXAMPLES.glob("*.ipynb")}
    assert kept == notebooks(), "run `python -m docs.notebooks`"


def test_every_example_is_on_its_page_and_on_the_site():
    table, site = (EXAMPLES / "README.md").read_text(), pages()
    for name in notebooks():
        assert f"[{name}.py]({name}.py) | [{name}.ipynb]({name}.ipynb) |" in table
        assert f"\n{name}\n" in site["index.md"]
        assert f"{name}.ipynb" in site


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda p: p.stem)
def test_an_example_runs(path, trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/digits")
    names: dict = {"__name__": "__main__"}
    for code in cells(path):
        exec(compile(code.replace("20_000", "512").replace(": 5", ": 1"), str(path), "exec"), names)
    assert capsys.readouterr().out.strip()
