"""`scorefield fit-grid`: a grid beside the run, fitted to its model."""

import json
from functools import partial

import numpy as np
import pytest
import torch

import scorefield.use.evaluate as evaluation
from scorefield import generate
from scorefield.base import Seeded
from scorefield.cli import frame
from scorefield.guide import cfg
from scorefield.measure import Judge
from scorefield.process import Cosine
from scorefield.process.grids import karras
from scorefield.run.open import open_grid, open_run
from scorefield.solve import Heun, sample
from scorefield.store import write_json
from scorefield.tune import FittedGrid
from tests.cli.conftest import refused_by

fit_grid = partial(frame.run, "fit-grid")
FEW = ("--starts", "16", "--rounds", "2", "--steps", "3")


def test_writes_a_grid_that_can_be_read(run, capsys):
    words = [str(run), *FEW, "--name", "few", "--guidance", "1.5", "--labels", "3,5", "--json"]
    assert fit_grid(words) == 0
    said = json.loads(capsys.readouterr().out)
    content = json.loads((run / "grids" / "few.json").read_text())
    grid = FittedGrid.from_json(content, "few.json")
    assert said["out"] == str(run / "grids" / "few.json")
    assert (grid.steps, grid.solver, grid.guidance) == (3, "arc", 1.5)
    assert said["error"] == grid.error
    assert (grid.levels.ratio.diff() < 0).all()
    assert float(grid.levels.sigma[-1]) == 0.0


def test_default_name_and_text(run, capsys):
    assert fit_grid([str(run), *FEW, "--solver", "heun", "--unconditional"]) == 0
    said = capsys.readouterr()
    grid = FittedGrid.from_json(json.loads((run / "grids" / "heun-3.json").read_text()), "")
    assert grid.guidance is None
    assert said.out.splitlines()[-1].split()[:3] == ["heun-3", "heun", "3"]
    assert f"{grid.error:.3g}" in said.out
    assert "--grid heun-3" in said.err


def test_the_default_grid_is_as_good_as_unfitted(run):
    """A barely trained model: nothing promised, but chosen by validation it cannot be far worse."""
    assert fit_grid([str(run), *FEW, "--name", "x"]) == 0
    grid = FittedGrid.from_json(json.loads((run / "grids" / "x.json").read_text()), "x")
    assert grid.error < 1.1 * grid.error_before
    assert torch.isfinite(grid.levels.sigma).all()


# The grid in use


@pytest.fixture
def own(run):
    """A grid of three steps of heun beside the run, as if fitted; its second step is longer."""
    numbers = (0.1, 0.1, "karras", 0.2, 0.2)
    levels = karras(Cosine(), 3)
    alpha, sigma = (tuple(v.tolist()) for v in levels)
    stretch = (1.0, 1.2, 1.0)
    grid = FittedGrid(alpha, sigma, stretch, "heun", "cosine", *numbers, 16, 0, guidance=1.5)
    write_json(run / "grids" / "own.json", grid.to_json())
    return run


def arrays(cli, run, *words) -> np.ndarray:
    code, _, err = cli("sample", run, "--n", 4, *words, "--out", run / "x.npz")
    assert code == 0, err
    return np.load(run / "x.npz", allow_pickle=False)["x"]


def test_a_fitted_grid_brings_its_solver_steps_and_guidance(cli, own):
    by_name = arrays(cli, own, "--grid", "own")
    by_path = arrays(cli, own, "--grid", own / "grids" / "own.json", "--steps", 3)
    plain = ("--grid", "karras", "--solver", "heun", "--steps", 3, "--guidance", 1.5)
    assert np.array_equal(by_name, by_path)
    assert not np.allclose(by_name, arrays(cli, own, *plain))  # the same levels, no stretch


def test_it_can_be_evaluated(cli, own, monkeypatch):
    monkeypatch.setattr(evaluation, "judge_of", lambda *args, **more: (Judge((1, 8, 8), 10), 0.1))
    code, out, err = cli("eval", own, "--n", 20, "--grid", "own", "--json", "--guidance", 2)
    assert code == 0, err
    said = json.loads(out)
    found = [said[name] for name in ("solver", "steps", "grid", "guidance", "network_calls")]
    assert found == ["heun", 3, "own", 2.0, 2 * 5]  # no second call on clean data
    assert "fitted at guidance 1.5, guidance is 2" in err


def test_it_is_a_grid_in_python_too(own):
    opened = open_run(own)
    grid = open_grid(opened, "own")
    assert isinstance(grid, FittedGrid)
    options = {"labels": [3], "guidance": 1.5}
    found = generate(opened.denoiser, 4, grid=grid, **options)
    expected = sample_by_hand(opened.denoiser, grid)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)  # rounding of float32


def sample_by_hand(denoiser, grid: FittedGrid) -> torch.Tensor:
    noise = Seeded(range(4))
    x = noise.start(denoiser.shape, grid.levels)
    method, guided = grid.method(Heun()), cfg(1.5)(denoiser)
    with torch.no_grad():
        return sample(method, guided, x, grid.levels, noise, {"label": torch.full((4,), 3)})


@pytest.mark.parametrize("command", ["sample", "eval"])
@pytest.mark.parametrize("words, says", refused_by("fit_grid-2"))
def test_a_grid_that_does_not_fit_is_refused(refused, own, command, words, says):
    folder = own / "grids"
    (folder / "broken.json").write_text('{"schema": 1,')
    content = json.loads((folder / "own.json").read_text())
    write_json(folder / "other.json", {**content, "schedule": "vp"})
    assert says in refused(command, own, "--n", 4, *words.split())
