"""`scorefield compare`: true distances, counted calls, figures as in eval, files, bad input."""

import json
import math
import os
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from scorefield import generate
from scorefield.base import BadInput, Level, Seeded
from scorefield.data import Split, load
from scorefield.denoise import Gaussian
from scorefield.draw import Asked
from scorefield.measure import Judge, Reference, as_json, distance, quality, real_quality
from scorefield.process import EDM, Cosine, Flow, Schedule
from scorefield.process.grids import karras
from scorefield.solve import DDIM, DPMSolverPP
from scorefield.store import write_json
from scorefield.tune import FittedGrid, flow, flow_levels
from scorefield.use import compare as comparison
from scorefield.use.compare import Comparison, Contestant, compare, methods_of
from scorefield.use.evaluate import measures_of
from tests.cli.conftest import refused_by

# The command


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """The flow in a few steps: quick, and fine enough to compare two steps with."""
    monkeypatch.setattr(comparison, "compare", partial(compare, fine=8))


QUICK = ("--n", 12, "--steps", "2,4")


def test_files_and_their_content(cli, judged):
    solvers = "ddim,heun@karras,ddpm"
    words = (*QUICK, "--solvers", solvers, "--guidance", 2, "--json")
    code, out, err = cli("compare", judged, *words)
    assert code == 0, err
    said = json.loads(out)
    folder = judged / "compare"
    assert said == json.loads((folder / "compare.json").read_text())
    assert {p.name for p in folder.iterdir()} == {
        "compare.json", "compare.csv", "curves.png", "strips.png",
    }  # fmt: skip
    for name in ("curves.png", "strips.png"):
        Image.open(folder / name).verify()
    assert {
        "run", "images_seen", "seeds", "labels", "judge", "versions", "n", "guidance",
        "calls_per_eval", "precision", "feature_space", "frechet_n", "real", "reference", "cells",
        "digest", "verb", "how", "items",
    } == said.keys()  # fmt: skip
    assert (said["n"], said["guidance"], said["calls_per_eval"]) == (12, 2.0, 2)
    assert said["seeds"] == list(range(12))
    assert said["frechet_n"] == 12
    assert said["feature_space"].startswith("digits-judge v1")
    cells = said["cells"]
    assert [(c["name"], c["grid"], c["steps"]) for c in cells] == [
        ("ddim", "vp-closing", 2), ("ddim", "vp-closing", 4),
        ("heun@karras", "karras", 2), ("heun@karras", "karras", 4),
        ("ddpm", "vp-closing", 2), ("ddpm", "vp-closing", 4),
    ]  # fmt: skip
    # guided: two calls of the network for each of the denoiser; heun's second call a step falls
    # away on clean data
    assert [c["calls"] for c in cells] == [4, 8, 6, 14, 4, 8]
    assert said["reference"]["calls"] == 16
    for cell in cells:
        assert cell.keys() == {
            "name", "grid", "steps", "stochastic", "calls", "seconds", "distance", "quality",
            "failure",
        }  # fmt: skip
        assert cell["failure"] is None
        assert cell["quality"]["frechet"] > 0
        assert cell["quality"]["agreement"]["n"] == 12
        assert cell["stochastic"] == (cell["name"] == "ddpm")
        if cell["stochastic"]:
            assert cell["distance"] is None
        else:
            assert cell["distance"]["mean"] > 0
            assert cell["distance"]["stderr"] > 0


def test_a_table_for_people(cli, judged, tmp_path):
    words = (*QUICK, "--solvers", "ddim,ddpm", "--guidance", 1, "--out", tmp_path / "new" / "a")
    code, out, err = cli("compare", judged, *words)
    assert code == 0, err
    first, *lines = out.splitlines()
    assert "each call of the denoiser is 1 of the network" in first
    lines = lines[lines.index("All solvers") :]
    assert lines[1].split()[:3] == ["solver", "steps", "calls"]
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["ddim", "2", "2"], ["ddim", "4", "4"], ["ddpm", "2", "2"], ["ddpm", "4", "4"],
    ]  # fmt: skip
    assert "±" in lines[2]
    assert "stochastic" in lines[4]
    assert "the flow itself" in lines[6]
    assert "real data" in lines[7]
    assert len({line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in lines[1:7]}) == 1
    assert "strips.png" in err
    assert (tmp_path / "new" / "a" / "compare.json").exists()
    assert not (judged / "compare").exists()


def test_seeds_and_labels(cli, judged):
    words = ("--steps", "2", "--solvers", "ddim", "--seeds", "5,9,7", "--labels", "3,5", "--json")
    code, out, err = cli("compare", judged, *words)
    assert code == 0, err
    said = json.loads(out)
    assert (said["seeds"], said["labels"], said["n"]) == ([5, 9, 7], [3, 5, 3], 3)
    assert said["cells"][0]["quality"]["agreement"]["n"] == 3
    test = load("digits").test
    of_both = int(torch.isin(test.cond["label"], torch.tensor([3, 5])).sum())
    assert said["real"]["agreement"]["n"] == of_both  # real data of the same classes


def test_the_runs_own_solver_is_in_the_default_list(cli, judged, monkeypatch):
    asked = []

    def spy(solvers, *rest):
        asked.append(solvers)
        raise BadInput("enough.", "Stop.")

    monkeypatch.setattr(comparison, "methods_of", spy)
    cli("compare", judged)
    content = json.loads((judged / "config.json").read_text())
    content["config"]["sample"]["solver"] = "heun"
    (judged / "config.json").write_text(json.dumps(content))
    cli("compare", judged)
    assert asked == [comparison.SOLVERS, (*comparison.SOLVERS, "heun")]


@pytest.fixture
def fitted(run):
    """A grid of three steps beside the run."""
    levels = karras(Cosine(), 3)
    numbers = (0.1, 0.1, "karras", 0.2, 0.2)
    alpha, sigma = (tuple(v.tolist()) for v in levels)
    stretch = (1.0, 1.2, 1.0)
    grid = FittedGrid(alpha, sigma, stretch, "heun", "cosine", *numbers, 16, 0, guidance=1.5)
    write_json(run / "grids" / "own.json", grid.to_json())
    return run


def test_a_fitted_grid_brings_its_solver_steps_and_guidance(cli, judged, fitted):
    code, out, err = cli("compare", judged, "--n", 4, "--grid", "own", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert [(c["name"], c["grid"], c["steps"]) for c in said["cells"]] == [("heun", "own", 3)]
    assert said["guidance"] == 1.5
    words = ("--solvers", "heun@own,heun@karras,ddim", "--steps", 3, "--guidance", 2)
    code, out, err = cli("compare", judged, "--n", 4, *words, "--json")
    assert code == 0, err
    own, plain, _ = json.loads(out)["cells"]
    assert own["calls"] == plain["calls"]
    assert own["distance"] != plain["distance"]  # the same levels; its second step is longer


@pytest.mark.parametrize(
    "words, says",
    [
        ("--grid own --steps 3,5", "fitted to 3 steps and steps is 5"),
        ("--solvers ddim@own --steps 3", "fitted to the solver heun and the solver is DDIM"),
        ("--solvers heun@owm --steps 3", "Did you mean 'own'"),
    ],
)
def test_a_fitted_grid_that_does_not_fit_is_refused(refused, fitted, monkeypatch, words, says):
    monkeypatch.setattr(comparison, "data_of", lambda run: pytest.fail("work began"))
    assert says in refused("compare", fitted, *words.split())


def test_points(cli, tmp_path):
    words = ("--net.width", 16, "--batch", 64, "--images", 128, "--sample.steps", 2,
             "--checkpoint-every", 128)  # fmt: skip
    assert cli("train", "8-gaussians", "--out", tmp_path / "run", *words).code == 0
    code, out, err = cli("compare", tmp_path / "run", *QUICK, "--solvers", "ddim,ddpm")
    assert code == 0, err
    assert "data (2)" in out
    assert "agreement" not in out
    Image.open(tmp_path / "run" / "compare" / "strips.png").verify()


REFUSED = refused_by("compare")


@pytest.mark.parametrize("words, says", REFUSED, ids=[words for words, _ in REFUSED])
def test_refused_before_any_work(refused, trained, tmp_path, monkeypatch, words, says):
    def work(*args, **kwargs):
        raise AssertionError("work began")

    for name in ("data_of", "judge_of", "compare"):
        monkeypatch.setattr(comparison, name, work)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    assert says in refused("compare", trained, *words.split())
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert not (trained / "compare").exists()


def test_a_folder_in_the_place_of_a_file(refused, trained, tmp_path):
    (tmp_path / "strips.png").mkdir()
    assert "strips.png is a folder" in refused("compare", trained, "--out", tmp_path)


def test_a_flow_that_is_not_finite(refused, judged):
    said = refused("compare", judged, *QUICK, "--guidance", "1e38")
    assert "the model's own flow, in 8 steps, is not finite" in said
    assert not (judged / "compare").exists()


def test_a_full_disk_leaves_nothing_half_written(refused, judged, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in refused("compare", judged, *QUICK, "--solvers", "ddim")
    assert not list((judged / "compare").glob("*"))


# What it measures


class Known(nn.Module):
    """An exact denoiser with what a trained one knows of itself."""

    def __init__(self, schedule: Schedule, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.schedule, self.shape, self.classes = schedule, (len(mean),), ()
        self.mean, self.spread = mean, spread
        self.exact = Gaussian(mean, torch.diag(spread**2))
        self.like = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        return self.exact.denoise(x, level, cond)

    def decode(self, x0: Tensor) -> Tensor:
        return x0

    def flow(self, x: Tensor, start: Level, floor: Level) -> Tensor:
        """The flow of N(m, diag c^2) moves each coordinate with its own deviation
        s = sqrt(alpha^2 c^2 + sigma^2); from the floor on, the last step is D."""
        m, s, c = self.mean, self.deviation(start), self.spread
        here = floor.alpha * m + self.deviation(floor) / s * (x - start.alpha * m)
        gain = floor.alpha * c**2 / self.deviation(floor) ** 2
        return m + gain * (here - floor.alpha * m)

    def deviation(self, level: Level) -> Tensor:
        return torch.hypot(level.alpha * self.spread, level.sigma)


@pytest.fixture(params=[EDM(), Flow()], ids=["edm", "flow"])
def known(request) -> Any:
    mean, spread = torch.tensor([0.3, -0.5, 1.0]), torch.tensor([0.2, 0.5, 1.0])
    return Known(request.param, mean.double(), spread.double())


def closed_form(known: Known, n: int) -> Tensor:
    t = torch.tensor([1.0, known.schedule.floor], dtype=torch.float64)
    start, floor = (known.schedule(t).at(i) for i in (0, 1))
    x = Seeded(range(n)).start(known.shape, start, dtype=torch.float64)
    return known.flow(x, start, floor)


def compared(known: Any, methods: list[Contestant], n: int = 32, **more: Any) -> Comparison:
    options: Any = {"keep": n, "fine": 300} | more
    return compare(known, methods, Asked(torch.arange(n)), **options)


def test_the_flow_is_the_closed_form_and_known_to_its_error(known):
    truth = closed_form(known, 16)
    for fine in (50, 200):
        flow = compared(known, [], 16, fine=fine).reference
        off = distance(flow.samples, truth).mean
        # third order: half the steps are 8 times as far off, 7 of which the check can see
        assert 0 < off < flow.error < 20 * off
    assert off < 1e-5


def test_a_flow_begun_too_late_is_not_the_closed_form(monkeypatch):
    """The planted defect: levels from logsnr -8 on, as grids for few steps have them."""
    known: Any = Known(Flow(), torch.tensor([1.0]).double(), torch.tensor([1.0]).double())
    truth = closed_form(known, 16)
    good = distance(compared(known, [], 16).reference.samples, truth).mean
    monkeypatch.setattr(flow, "PURE", -4.0)
    late = compared(known, [], 16).reference
    assert distance(late.samples, truth).mean > 100 * good
    assert late.error < distance(late.samples, truth).mean  # more steps cannot tell


def slope(known: Any, solver: Any) -> float:
    """Of the distance from the flow, between 40 and 80 steps from logsnr -12 on."""
    methods = [Contestant("s", "deep", k, solver, flow_levels(known.schedule, k)) for k in (40, 80)]
    coarse, fine = (c.distance.mean for c in compared(known, methods).cells if c.distance)
    return math.log2(coarse / fine)


class Forgetful(DPMSolverPP):
    """The planted defect: a second-order method that loses its history at every step."""

    def step(self, denoise, state, here, there, noise, cond=None):
        return super().step(denoise, self.init(state[0]), here, there, noise, cond)


@pytest.mark.parametrize("solver", [DDIM(), DPMSolverPP()], ids=lambda s: type(s).__name__)
def test_the_distance_falls_at_the_declared_order(known, solver):
    # 0.3: at 40 to 80 steps the next order still shows
    assert slope(known, solver) == pytest.approx(solver.order, abs=0.3)


def test_a_method_that_forgets_is_found_out(known):
    assert slope(known, Forgetful()) != pytest.approx(Forgetful().order, abs=0.3)


def test_a_shift_of_every_number_is_its_distance():
    x = torch.randn(5, 3, 4, 4)
    found = distance(x - 0.25, x)
    assert found.mean == pytest.approx(0.25, abs=1e-6)
    assert found.stderr == pytest.approx(0, abs=1e-6)
    assert distance(x[:1] + 1, x[:1]).stderr == 0


def test_calls_are_counted_and_adaptive_ones_are_averaged(known):
    methods = methods_of(["ddim", "heun", "dormand-prince"], [3], "uniform-logsnr", known.schedule)
    found = compared(known, methods, fine=10)
    ddim, heun, adaptive = (c.calls or 0 for c in found.cells)
    assert (ddim, heun) == (3, 5)  # no second call on clean data
    assert (found.reference.calls, found.calls_per_eval) == (10, 1)
    assert adaptive > 2 * 7


def test_a_method_that_fails_says_so_and_the_others_go_on(known):
    class Explodes(DDIM):
        def step(self, denoise, state, here, there, noise, cond=None):
            state, info = super().step(denoise, state, here, there, noise, cond)
            return state._replace(x=state.x / torch.arange(len(state.x))[:, None]), info

    class GivesUp(DDIM):
        def step(self, *args):
            raise BadInput("no step passes.", "Raise the tolerance.")

    levels = flow_levels(known.schedule, 3)
    solvers = {"bad": Explodes(), "weak": GivesUp(), "good": DDIM()}
    methods = [Contestant(name, "deep", 3, solver, levels) for name, solver in solvers.items()]
    bad, weak, good = compared(known, methods, 4, fine=2).cells
    assert bad.failure == "1 of 4 samples are not finite."
    assert (bad.calls, bad.distance, bad.samples) == (3, None, None)
    assert weak.failure == "no step passes. Raise the tolerance."
    assert weak.calls is None
    found = [c.keys() for c in as_json(compared(known, methods, 4, fine=2))["cells"]]
    assert found == [found[0]] * 3  # the same fields, whatever happened
    assert good.failure is None
    assert good.distance is not None


def test_samples_are_those_that_generate_makes(known):
    (method,) = methods_of(["dpmpp2m@karras"], [4], "uniform-t", known.schedule)
    (cell,) = compared(known, [method], 6, fine=2).cells
    made = generate(known, 6, solver="dpmpp2m", grid="karras", steps=4)
    torch.testing.assert_close(cell.samples, made, atol=1e-12, rtol=0)


def test_a_grid_that_begins_elsewhere_is_refused(known, monkeypatch):
    late = known.schedule(torch.tensor([0.5, 0.0], dtype=torch.float64))
    monkeypatch.setattr(comparison, "build_grid", lambda *args, **more: (late, DDIM()))
    with pytest.raises(BadInput, match="the grid late begins at sigma/alpha"):
        methods_of(["ddim@late"], [1], "uniform-t", known.schedule)


@pytest.mark.parametrize("n", [40, 400])
def test_figures_without_classes_are_those_of_eval(n):
    data, x0 = load("digits"), torch.randn(n, 1, 8, 8)
    reference = Reference(data, None, n)
    found, real = quality(x0, reference), real_quality(reference)
    frechet = measures_of(x0, reference).record["frechet"]
    assert int(reference.counts.sum()) == frechet["n"]
    # the same rows in another order: rounding of float64
    pairs = (found.frechet, found.frechet_std, real.frechet, real.frechet_std)
    expected = [frechet[key] for key in ("value", "value_std", "floor", "floor_std")]
    assert pairs == pytest.approx(expected)
    assert found.agreement is None


def test_figures_of_a_judge_are_those_of_eval():
    torch.manual_seed(0)
    data, judge = load("digits"), Judge((1, 8, 8), 10).eval()
    x0, labels = torch.randn(100, 1, 8, 8), torch.arange(100) % 10
    reference = Reference(data, judge, len(x0), labels)
    found, expected = quality(x0, reference), measures_of(x0, reference).record
    assert found.frechet == pytest.approx(expected["frechet"]["value"])
    assert as_json(found.agreement) == expected["agreement"]["total"]
    assert as_json(real_quality(reference).agreement) == expected["agreement_real"]["total"]


def test_too_few_real_examples_of_a_class_are_refused():
    data = load("digits")
    with pytest.raises(BadInput, match="1 samples"):
        Reference(data, None, 1)
    few = replace(data, test=Split(data.test.x[:9], {"label": data.test.cond["label"][:9] * 0}))
    with pytest.raises(BadInput, match="0 test examples of what was asked for"):
        Reference(few, None, 4, torch.full((4,), 9))
