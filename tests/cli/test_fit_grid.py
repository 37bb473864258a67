"""`scorefield fit-grid`: a grid beside the run, fitted to its model."""

import json

import pytest
import torch

from scorefield.base import BadInput
from scorefield.cli import fit_grid
from scorefield.tune import FittedGrid

FEW = ("--starts", "16", "--rounds", "2", "--steps", "3")


def test_writes_a_grid_that_can_be_read(run, capsys):
    words = [str(run), *FEW, "--name", "few", "--guidance", "1.5", "--labels", "3,5", "--json"]
    assert fit_grid.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    content = json.loads((run / "grids" / "few.json").read_text())
    grid = FittedGrid.from_json(content, "few.json")
    assert said["out"] == str(run / "grids" / "few.json")
    assert (grid.steps, grid.solver, grid.guidance) == (3, "dpmpp2m", 1.5)
    assert said["error"] == grid.error
    assert (grid.levels.ratio.diff() < 0).all()
    assert float(grid.levels.sigma[-1]) == 0.0


def test_default_name_and_text(run, capsys):
    assert fit_grid.main([str(run), *FEW, "--solver", "heun", "--unconditional"]) == 0
    said = capsys.readouterr()
    grid = FittedGrid.from_json(json.loads((run / "grids" / "heun-3.json").read_text()), "")
    assert grid.guidance is None
    assert "heun, 3 steps" in said.out
    assert f"{grid.error:.3g}" in said.out
    assert "--grid heun-3" in said.err


@pytest.mark.parametrize(
    "words, fact",
    [
        (("--solver", "ddpm"), "stochastic"),
        (("--solver", "hein"), "hein"),
        (("--name", "../up"), "--name is '../up'"),
        (("--name", "karras"), "--name is 'karras'"),
        (("--steps", "0"), "--steps is 0"),
        (("--starts", "0"), "--starts is 0"),
        (("--rounds", "0"), "--rounds is 0"),
        (("--labels", "77"), "--labels has 77"),
        (("--labels", "3", "--unconditional"), "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(run, words, fact):
    with pytest.raises(BadInput, match=fact):
        fit_grid.main([str(run), *words])
    assert not (run / "grids").exists()


def test_the_default_grid_is_as_good_as_unfitted(run):
    """A barely trained model: nothing promised, but chosen by validation it cannot be far worse."""
    assert fit_grid.main([str(run), *FEW, "--name", "x"]) == 0
    grid = FittedGrid.from_json(json.loads((run / "grids" / "x.json").read_text()), "x")
    assert grid.error < 1.1 * grid.error_before
    assert torch.isfinite(grid.levels.sigma).all()
