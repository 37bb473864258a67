"""What the documentation shows is run as it stands."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from scorefield.base import Zero
from scorefield.denoise import Gaussian
from scorefield.process import VP, grids
from scorefield.solve import DDIM, sample
from tests.cli.conftest import cli, trained  # noqa: F401 fixtures

ROOT = Path(__file__).parent.parent


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


def test_the_first_session_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = blocks("README.md")[0]
    assert len([line for line in first.splitlines() if line.strip()]) < 15
    exec(first.replace("20_000", "1_024"), {})
    assert (tmp_path / "digits.png").stat().st_size > 1000


SIZES = {
    "eval": "--n 20",
    "compare": "--n 20",
    "distill": "--images 64",
    "fit-grid": "--starts 16 --rounds 1",
    "likelihood": "--n 20",
    "restore": "--steps 10",
    "train": "--images 128",
    "train-classifier": "--images 64",
}
"""What is added to the README's lines: the size of the work, and nothing else."""


@pytest.mark.parametrize("page, block", [("README.md", 2), ("docs/command-line.md", 1)])
def test_every_line_runs(page, block, trained, cli, tmp_path, monkeypatch):  # noqa: F811
    """On a tiny run in the place of the trained one, with a judge that has seen less."""
    from scorefield.use import judge

    monkeypatch.setattr(judge, "SEEN", 10)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/digits")
    lines = (ROOT / page).read_text().split("```sh\n")[block].split("```")[0].splitlines()
    assert {"train", "sample", "compare", "restore"} <= {line.split()[1] for line in lines}
    for line in lines:
        program, verb, *words = shlex.split(line, comments=True)
        code, _, err = cli(verb, *words, *SIZES.get(verb, "").split())
        assert (program, code) == ("scorefield", 0), f"{line}: {err}"
    assert Path("runs/digits/compare/compare.csv").exists()


NUMBER = re.compile(r"\d*\.?\d+")


def untold(text: str) -> list[str]:
    """Rows of README's table of figures with a number that stands in no page of figures."""
    table = text.split("\n## Figures\n")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    found = []
    for row in rows:
        links = ["docs/figures.md", *re.findall(r"\]\(([^)#]+)\)", row)]
        told = {float(v) for page in links for v in NUMBER.findall((ROOT / page).read_text())}
        measured = re.sub(r"\([^)]*\)", "", row.split(" | ")[1])
        if not {float(v) for v in NUMBER.findall(measured.replace(",", ""))} <= told:
            found.append(row)
    return found


def test_the_readme_is_short_and_its_figures_are_those_of_the_pages_of_figures():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert (ROOT / "docs/images/digits.gif").stat().st_size < 400_000
    assert untold(text) == []
    assert len(untold(text.replace("RMS .9,", "RMS .9137,"))) == 1


def test_the_second_session_of_the_readme_finds_the_two_modes():
    names: dict = {}
    exec(blocks("README.md")[1], names)
    assert abs(float(names["x0"].abs().mean()) - 1) < 0.02


def test_the_worked_solver_of_the_guide_is_ddim():
    names: dict = {}
    exec(blocks("docs/adding-a-solver.md")[0], names)
    truth = Gaussian(torch.tensor([0.5]).double(), torch.tensor([[0.3]]).double())
    levels = grids.uniform_logsnr(VP(), 7)
    x = torch.tensor([[1.3], [-0.4]]).double()
    mine, theirs = (sample(s, truth.denoise, x, levels, Zero()) for s in (names["Euler"](), DDIM()))
    assert torch.equal(mine, theirs)


def test_the_restoration_of_the_page_on_inverse_problems_agrees_with_y():
    """Seen pixels of N(0, 1) data are known to .05, hidden ones are drawn anew."""
    names: dict = {}
    exec(blocks("docs/inverse.md")[0], names)
    found, y = names["found"], names["A"].picture(names["y"])
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[2:6, 2:6] = True
    assert found.shape == (16, 1, 8, 8)
    assert (found - y)[..., ~hidden].square().mean().sqrt() < 0.1
    assert 0.8 < found[..., hidden].std() < 1.2


@pytest.mark.parametrize(
    "path",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
