"""Every deterministic solver integrates the log density at its own order, in the mirror."""

import math

import pytest
import torch

from scorefield.base import like
from scorefield.catalogue import solvers
from scorefield.likelihood import flow_log_prob
from scorefield.process import VP
from scorefield.solve import DormandPrince
from tests.likelihood.truths import mixture

torch.set_num_threads(1)
DATA, SCHEDULE = mixture(2), VP()
X = DATA.sample(8, 1)
ALL = {name: build() for name, build in solvers.items()}
FIXED = [k for k, v in ALL.items() if not (v.stochastic or v.adaptive) and k != "genie"]
ADAPTIVE = [k for k, v in ALL.items() if v.adaptive and not v.stochastic]
ENDS = SCHEDULE(torch.tensor([0.7, 0.02], dtype=torch.float64)).logsnr
LOGSNR = float(ENDS[0]), float(ENDS[1])
"""Between two noisy levels, so that what is measured is the walk alone."""


def error(solver, steps: int) -> float:
    levels = SCHEDULE(SCHEDULE.inverse(torch.linspace(*LOGSNR, steps + 1)))
    found = flow_log_prob(
        DATA.denoise, X, SCHEDULE, solver=solver, levels=levels, t=0.02, prior=DATA.log_prob
    )
    truth = DATA.log_prob(X, levels.at(-1))
    return float((found.log_prob - truth).square().mean().sqrt())


@pytest.mark.parametrize("name", FIXED)
def test_order(name):
    solver = ALL[name]
    coarse, fine = error(solver, 50), error(solver, 100)
    # 0.6: the third-order starts of some, and their slopes at fifty steps (3.6 for unipc3)
    assert math.log2(coarse / fine) > min(solver.order, 4) - 0.6
    assert fine < 0.1


def test_a_slope_that_ignores_the_level_has_no_order():
    """The twin: the divergence of u taken for that of x, off by a term that no step removes."""

    def wrong(x, level, cond):
        denoised = DATA.denoise(x, level)
        return denoised.detach() + (denoised - denoised.detach()) * like(level.alpha, x)

    levels = [SCHEDULE(SCHEDULE.inverse(torch.linspace(*LOGSNR, k + 1))) for k in (40, 80)]
    truth = DATA.log_prob(X, levels[0].at(-1))
    options = {"t": 0.02, "prior": DATA.log_prob}
    gaps = [flow_log_prob(wrong, X, SCHEDULE, levels=v, **options).log_prob - truth for v in levels]
    coarse, fine = (float(gap.abs().mean()) for gap in gaps)
    assert fine > 0.1
    assert abs(math.log2(coarse / fine)) < 0.1


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_by_tolerance(name):
    kind = type(ALL[name])
    loose, tight = (error(kind(atol, 0.0), 2) for atol in (1e-3, 1e-5))
    assert tight < 1e-3
    assert tight < loose / 5 or tight < 1e-6


def test_adaptive_samples_choose_their_own_steps():
    rows = []

    def counting(x, level, cond):
        rows.append(len(x))
        return DATA.denoise(x, level)

    flow_log_prob(counting, X, SCHEDULE, solver=DormandPrince(1e-5, 0.0))
    assert min(rows) < len(X)
