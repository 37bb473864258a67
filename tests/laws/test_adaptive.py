"""Adaptive solvers: every sample meets its tolerance, and pays its own calls only."""

from dataclasses import replace

import pytest
import torch

from scorefield.base import BadInput, Zero
from scorefield.process import VP, grids
from scorefield.solve import BogackiShampine, DormandPrince, adaptive, sample, trajectory
from scorefield.solve.laws import EIGHT, GAUSSIAN, gaussian_flow, logsnr_levels, side_by_side
from scorefield.solve.laws import (
    begun as start,
)
from tests.laws.entries import SCHEDULES
from tests.laws.truths import eight_flow
from tests.refusal import fails, refused

both = pytest.mark.parametrize("solver", [BogackiShampine(), DormandPrince()], ids=["bs", "dp"])
WHOLE = grids.uniform_logsnr(VP(), 1, stop=1e-3)


def check_tolerance(solver, *schedules):
    """On the Gaussian flow the root mean square error of every sample, in units of the marginal's
    scale, is at most atol + rtol times the sample."""
    draw = start(list(range(40)))[:, :1] + torch.tensor([0.3, 0.0, -0.8]).double()
    for steps in (1, 5):
        levels = side_by_side([logsnr_levels(schedule, steps) for schedule in schedules], 40)
        here, there = levels.at(0), levels.at(-1)
        unit = draw.repeat(len(schedules), 1)
        x = torch.hypot(*here)[:, None] * unit
        truth = gaussian_flow(x, here, there)
        for tol in (1e-2, 1e-4, 1e-6):
            tight = replace(solver, atol=tol, rtol=tol)
            wrong = sample(tight, GAUSSIAN.denoise, x, levels, Zero()) - truth
            error = (wrong / torch.hypot(*there)[:, None]).square().mean(1).sqrt()
            worst = (error / (tol + tol * unit.abs().amax(1))).max()
            assert worst <= steps, f"{worst:.2f} of the tolerance {tol:g} in {steps} intervals"


@both
def test_the_tolerance_is_met_on_every_sample(solver):
    check_tolerance(solver, *SCHEDULES.values())


def check_hard_tolerance(solver):
    """On eight Gaussians, whose flow pulls neighbours apart by factors up to 17, no sample is
    beyond four tolerances of the truth."""
    x, truth = eight_flow()
    for tol in (1e-2, 1e-3, 1e-5):
        found = sample(replace(solver, atol=tol, rtol=tol), EIGHT.denoise, x, WHOLE, Zero())
        worst = float((found - truth).square().mean(1).sqrt().max())
        assert worst <= 4 * tol, f"{worst / tol:.2f} times {tol:g}"


@both
def test_the_tolerance_is_met_where_modes_part(solver):
    check_hard_tolerance(solver)


class Optimist(BogackiShampine):
    """Takes a hundredth of its error estimate for the whole."""

    tableau = BogackiShampine.tableau._replace(
        error=tuple(weight / 100 for weight in BogackiShampine.tableau.error)
    )


@pytest.mark.parametrize("check", [lambda s: check_tolerance(s, VP()), check_hard_tolerance])
def test_a_planted_optimist(check):
    fails("", check, Optimist())


def test_a_planted_batch_average(monkeypatch):
    """Control by the mean over the batch: the easy samples pay for the hard ones."""
    alone = adaptive.rms
    monkeypatch.setattr(adaptive, "rms", lambda v: alone(v).mean().expand(len(v)))
    fails("", check_own_calls, BogackiShampine())


class Tally:
    """Unit Gaussian data for even samples, the eight Gaussians for odd ones; calls by sample."""

    def __init__(self, n):
        self.calls = torch.zeros(n, dtype=torch.int64)

    def __call__(self, x, level, cond=None):
        assert cond
        who = cond["label"]
        self.calls[who] += 1
        alpha, sigma = level.like(x)
        easy = alpha * x / (alpha**2 + sigma**2)
        return torch.where((who % 2 == 0)[:, None], easy, EIGHT.denoise(x, level))


def check_own_calls(solver):
    """In a batch of easy and hard samples each is called as often as alone."""
    n = 12
    x, who = start(list(range(n)), WHOLE), torch.arange(n)
    together = Tally(n)
    sample(solver, together, x, WHOLE, Zero(), {"label": who})
    alone = Tally(n)
    for k in range(n):
        sample(solver, alone, x[k : k + 1], WHOLE, Zero(), {"label": who[k : k + 1]})
    assert torch.equal(together.calls, alone.calls), f"{together.calls} {alone.calls}"
    easy, hard = together.calls[::2], together.calls[1::2]
    assert easy.max() < hard.min(), f"easy {easy.tolist()}, hard {hard.tolist()}"


@both
def test_each_sample_pays_its_own_calls(solver):
    check_own_calls(replace(solver, atol=1e-5, rtol=1e-5))


@both
def test_tighter_tolerances_cost_more(solver):
    calls = []
    for atol, rtol in ((1e-3, 1e-3), (1e-3, 0.0), (1e-6, 0.0), (1e-6, 1e-3)):
        tally = Tally(4)
        x, who = start([1, 2, 3, 4], WHOLE), torch.arange(4)
        sample(replace(solver, atol=atol, rtol=rtol), tally, x, WHOLE, Zero(), {"label": who})
        calls.append(int(tally.calls.sum()))
    assert calls[0] <= calls[1] < calls[2]
    assert calls[3] < calls[2]


@both
def test_the_estimate_bounds_the_error(solver):
    """The estimate is the lower method's: more than the error of the result that is kept."""
    levels = logsnr_levels(VP(), 1)
    x = start(list(range(20)))[:, :1] * torch.ones(3).double()
    ((state, info),) = trajectory(solver, GAUSSIAN.denoise, x, levels, Zero())
    error = (state.x - gaussian_flow(x, levels.at(0), levels.at(1))).square().mean(1).sqrt()
    assert info.error is not None
    assert (info.error > 0).all()
    assert (error < 2 * info.error).all()


@both
def test_a_sample_that_cannot_is_named(solver):
    x, who = start([1, 2, 3], WHOLE), torch.tensor([0, 1, 2])
    tight = replace(solver, atol=1e-6, rtol=1e-6, limit=20)
    with pytest.raises(BadInput, match="sample 1 did not meet .* 20 attempts"):
        sample(tight, Tally(3), x, WHOLE, Zero(), {"label": who})

    def broken(x, level, cond=None):
        denoised = 0.5 * x
        denoised[2:] = float("nan")
        return denoised

    refused("sample 2", sample, solver, broken, x, WHOLE, Zero())


@pytest.mark.parametrize("options", [{"atol": 0.0}, {"rtol": -1.0}, {"limit": 0}], ids=str)
def test_options_that_cannot_be_met(options):
    refused("is", BogackiShampine, **options)
