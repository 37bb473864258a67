"""Fitted grids: nearer to the flow on starts that no fit has seen, and honest about it."""

import dataclasses
from typing import Any

import pytest
import torch

from scorefield import solve
from scorefield.base import BadInput, Level, Seeded, Zero
from scorefield.denoise import Mixture
from scorefield.process import EDM, VP, Cosine, DiscreteVP, Flow, grids
from scorefield.solve import DDIM, DDPM, Arc, DPMSolverPP, GradientEstimation, Heun, sample
from scorefield.tune import FittedGrid, Stretched, fit_grid
from scorefield.tune import fit as fitting
from tests.refusal import fails, refused

torch.set_num_threads(1)
MODES = Mixture(
    torch.tensor([[-1.0, 0.5], [1.0, 0.8], [0.2, -1.2]]).double(),
    (0.3 * torch.eye(2).double()).repeat(3, 1, 1),
    torch.tensor([0.5, 0.3, 0.2]).double(),
)


def fit(solver=None, steps=6, **options) -> FittedGrid:
    settings: dict[str, Any] = {"starts": 64, "rounds": 12, "reference": 100} | options
    schedule = settings.pop("schedule", VP())
    return fit_grid(MODES.denoise, schedule, solver or Arc(3), steps, (2,), **settings)


@pytest.fixture(scope="module")
def fitted() -> FittedGrid:
    return fit()


def measured(grid: FittedGrid, solver, seed: int = 77, schedule=None) -> tuple[float, float]:
    """RMS errors of the fitted grid and of the best of seven unfitted ones on starts of our own,
    against a reference of our own: Heun's method in 600 steps."""
    schedule = schedule or VP()
    x = Seeded(range(seed, seed + 400)).start((2,), grid.levels, dtype=torch.float64)
    fine = schedule(torch.linspace(1, 0, 601, dtype=torch.float64) ** 2)
    truth = sample(Heun(), MODES.denoise, x, fine, Zero())

    def error(method, levels: Level) -> float:
        return (
            float((sample(method, MODES.denoise, x, levels, Zero()) - truth).square().mean()) ** 0.5
        )

    t = torch.linspace(1, 0, grid.steps + 1, dtype=torch.float64)
    others = [g(schedule, grid.steps) for g in (grids.uniform_logsnr, grids.karras, grids.beta)]
    others += [schedule(t**power) for power in (1.0, 1.5, 2.0, 3.0)]
    unfitted = min(error(solver, levels) for levels in others)
    return error(grid.method(solver), grid.levels), unfitted


def check_fit(make) -> FittedGrid:
    """On fresh starts, measured here: at least twice nearer than any unfitted grid, and as near as
    it says. Its own figure is of 64 starts and ours of 400: they agree to a factor of 2."""
    grid = make()
    after, before = measured(grid, Arc(3))
    assert after < before / 2, f"{before:.3g} -> {after:.3g}"
    assert after / 2 < grid.error < after * 2, f"says {grid.error:.3g}, is {after:.3g}"
    assert grid.error < grid.error_before / 2
    return grid


def test_a_fit_is_nearer_on_fresh_starts(fitted):
    check_fit(lambda: fitted)


def test_planted_a_fitter_that_returns_its_start(monkeypatch):
    monkeypatch.setattr(fitting, "_descend", lambda fit, check, p, free, rounds, best: best)
    fails("->", check_fit, fit)


def test_planted_the_training_error_as_fresh(monkeypatch):
    """Two starts of two numbers, fifteen parameters: the error of the fit says nothing."""
    few = {"starts": 2, "steps": 8, "rounds": 60}

    def says(grid: FittedGrid) -> None:
        after, _ = measured(grid, Arc(3))
        assert grid.error > after / 10, f"says {grid.error:.3g}, is {after:.3g}"

    says(fit(**few))
    seen = Seeded(torch.arange(2).repeat(3))
    monkeypatch.setattr(fitting, "Seeded", lambda seeds: seen)  # the three sets are one
    fails("says", says, fit(**few))


def test_the_three_sets_share_no_start(monkeypatch):
    drawn = []
    monkeypatch.setattr(fitting, "Seeded", lambda seeds: drawn.append(seeds) or Seeded(seeds))
    fit(rounds=1, steps=2, reference=10)
    assert len(drawn[0].unique()) == 3 * 64


def check_levels(grid: FittedGrid, schedule, stop: float | None) -> None:
    levels = grid.levels
    assert (levels.ratio.diff() < 0).all()
    ends = schedule(torch.tensor([1.0, stop or 0.0], dtype=torch.float64))
    last = ends.at(1) if stop else Level.of(1.0, 0.0)
    for found, first, end in zip(levels, ends.at(0), last):
        assert (float(found[0]), float(found[-1])) == (float(first), float(end))


@pytest.mark.parametrize(
    "schedule", [VP(), EDM(), Cosine(), Flow(), DiscreteVP()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("stop", [None, 0.01])
def test_levels_fall_and_the_ends_are_kept(schedule, stop):
    for steps in (1, 2, 5):
        grid = fit(DPMSolverPP(), steps, schedule=schedule, stop=stop, rounds=2, reference=20)
        assert grid.steps == steps
        check_levels(grid, schedule, stop)


def test_planted_ends(fitted):
    moved = Level(fitted.levels.alpha, fitted.levels.sigma * 0.999)
    fails(
        "",
        check_levels,
        dataclasses.replace(
            fitted, alpha=tuple(moved.alpha.tolist()), sigma=tuple(moved.sigma.tolist())
        ),
        VP(),
        None,
    )


def test_the_seed_decides(fitted):
    again, other = fit(), fit(seed=1)
    assert torch.equal(again.levels.sigma, fitted.levels.sigma)
    assert again.stretch == fitted.stretch
    assert (again.error, again.error_before) == (fitted.error, fitted.error_before)
    assert other.error != fitted.error


def test_levels_alone(fitted):
    alone = fit(stretch=False)
    assert (alone.stretch, alone.method(Arc(3))) == ((1.0,) * 6, Arc(3))
    assert fitted.error < alone.error < alone.error_before


def test_solvers_that_hold_d_have_nothing_to_stretch():
    assert fit(DDIM(), 4, rounds=4).stretch == (1.0,) * 4


def test_conditions_reach_the_denoiser_in_place():
    """Two conditions that move the mean: a run whose conditions were mixed up ends elsewhere."""

    def moved(x, level, cond):
        shift = (2.0 * cond["label"].double() - 1)[:, None]
        alpha = level.like(x).alpha
        return MODES.denoise(x - alpha * shift, level) + shift

    label = torch.arange(64) % 2
    grid = fit_grid(
        moved, VP(), Arc(3), 6, (2,), cond={"label": label}, starts=64, rounds=12, reference=100,
        batch=100,
    )  # fmt: skip
    assert grid.error < grid.error_before / 2
    with pytest.raises(BadInput, match="3 rows for 64 starts"):
        fit_grid(moved, VP(), Arc(3), 6, (2,), cond={"label": label[:3]}, starts=64)


def test_progress_goes_up_to_its_total():
    seen = []
    fit(rounds=6, watch=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] <= seen[-1].total
    errors = [p.error for p in seen if p.error < float("inf")]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize(
    "solver, fact",
    [(DDPM(), "DDPM is stochastic"), (solve.DormandPrince(), "DormandPrince is adaptive")],
)
def test_solvers_that_cannot_be_fitted(solver, fact):
    refused(fact, fit, solver)


def test_what_cannot_be_fitted():
    refused("steps is 0", fit, steps=0)
    refused("starts is 0", fit, starts=0)
    with pytest.raises(BadInput, match="is finite"):
        fit_grid(lambda x, level, cond: x / 0, VP(), DDIM(), 3, (2,), starts=4, reference=4)


# --- Stretched ------------------------------------------------------------------------------------


def check_gamma(wrap) -> None:
    """Gradient estimation with gamma 2, its steps c times as long, has gamma 1 + c."""
    levels = grids.uniform_t(VP(), 5)
    x = Seeded(range(8)).start((2,), levels, dtype=torch.float64)
    stretched = wrap(
        GradientEstimation(2.0), levels.at(slice(0, -1)), torch.full((5,), 0.5).double()
    )
    found = sample(stretched, MODES.denoise, x, levels, Zero())
    expected = sample(GradientEstimation(1.5), MODES.denoise, x, levels, Zero())
    # a past eps is found from x, so the two are the same run to rounding
    assert float((found - expected).abs().max()) < 1e-12


def test_a_stretch_is_a_gamma_per_step():
    check_gamma(Stretched)


def test_planted_stretch_of_the_whole_step():
    class Whole(Stretched):
        def step(self, denoise, state, here, there, noise, cond=None):
            x = state[0]
            state, info = self.solver.step(denoise, state, here, there, noise, cond)
            return type(state)(x + self._at(here) * (state[0] - x), *state[1:]), info

    fails("", check_gamma, Whole)


def test_a_stretch_of_1_is_the_solver():
    levels = grids.uniform_t(VP(), 5)
    x = Seeded(range(8)).start((2,), levels, dtype=torch.float64)
    for solver in (Arc(), DPMSolverPP(), Heun()):
        ones = Stretched(solver, levels.at(slice(0, -1)), torch.ones(5).double())
        assert (ones.order, ones.evals) == (solver.order, solver.evals)
        assert not ones.stochastic
        assert not ones.adaptive
        a, b = (sample(s, MODES.denoise, x, levels, Zero()) for s in (ones, solver))
        assert torch.equal(a, b)


def test_samples_at_different_levels_share_a_batch(fitted):
    """A step finds each sample's stretch by its level: joined or apart, the step is the same."""
    method, levels = fitted.method(Arc(3)), fitted.levels
    x = Seeded(range(4)).start((2,), levels, dtype=torch.float64)
    parts = []
    for i in (1, 3):
        state = method.init(x)
        parts.append((state, levels.at(i), levels.at(i + 1)))
    apart = [method.step(MODES.denoise, s, a, b, Zero())[0] for s, a, b in parts]
    state = type(parts[0][0])(*(torch.cat(leaves) for leaves in zip(parts[0][0], parts[1][0])))
    here, there = (
        Level(*(torch.stack(v).repeat_interleave(4) for v in zip(parts[0][k], parts[1][k])))
        for k in (1, 2)
    )
    together = method.step(MODES.denoise, state, here, there, Zero())[0]
    assert torch.allclose(together[0], torch.cat([s[0] for s in apart]), rtol=0, atol=1e-14)


def test_another_grid_is_refused(fitted):
    levels = grids.uniform_t(VP(), fitted.steps)
    x = Seeded(range(4)).start((2,), levels, dtype=torch.float64)
    refused("not fitted to", sample, fitted.method(Arc(3)), MODES.denoise, x, levels, Zero())
