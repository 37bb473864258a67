"""What training minimises: known minima, equal views, the condition's dropout, reproducibility."""

import math
from typing import Any

import pytest
import torch

from scorefield.base import BadInput, like
from scorefield.denoise import Denoiser, Gaussian, Mixture, convert, views
from scorefield.objective import EDMWeight, LogNormal, MinSNR, Objective, Stratified, snr, unit
from scorefield.process import EDM, VE, VP, Cosine, Flow, SubVP
from tests.objective.quadrature import UNIT, rng

SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow()]


def at(t: float):
    """The law that always says t."""
    return lambda schedule, n, rng: torch.full((n,), t, dtype=torch.float64)


class Spy:
    """A denoiser that keeps what it was given and answered."""

    def __init__(self, denoise):
        self.denoise = denoise
        self.cond: Any = None

    def __call__(self, x, level, cond=None):
        self.x, self.level, self.cond = x, level, cond
        self.out = self.denoise(x, level, cond)
        return self.out


def check_mean(values: torch.Tensor, truth: float) -> None:
    """Within five standard errors of a sample mean."""
    error = 5 * float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean()) - truth) < error, f"{float(values.mean()):.4f}, not {truth:.4f}"


@pytest.mark.parametrize("t", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("weight", [snr, unit, MinSNR(), EDMWeight()])
def test_the_exact_denoiser_has_the_analytic_minimum(t, weight):
    """w Var(x0 | x) = w c sigma^2/(alpha^2 c + sigma^2), and its mean over both coordinates."""
    data = Gaussian(
        torch.tensor([0.5, -1.0]).double(), torch.diag(torch.tensor([0.3, 2.0])).double()
    )
    objective = Objective(VP(), times=at(t), weight=weight)
    x0 = data.sample(100_000, seed=2)
    loss = objective(data.denoise, x0, None, rng(3))
    level = VP()(torch.tensor(t, dtype=torch.float64))
    a2, s2 = float(level.alpha) ** 2, float(level.sigma) ** 2
    remaining = sum(c * s2 / (a2 * c + s2) for c in (0.3, 2.0)) / 2
    check_mean(loss.per_sample, float(weight(level)) * remaining)
    check_mean(loss.parts["x0"], remaining)


def test_the_minimum_over_all_times_by_quadrature():
    """E_t snr Var(x0 | x_t) for N(0,1) on VP is the mean of alpha^2: by the midpoint rule."""
    t = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    truth = float(VP()(t).alpha.square().mean())
    x0 = torch.randn(200_000, 1, dtype=torch.float64, generator=rng())
    check_mean(Objective(VP())(UNIT.denoise, x0, None, rng(1)).per_sample, truth)


MIXTURE = Mixture(
    torch.tensor([[-1.5], [1.0]]).double(),
    torch.tensor([[[0.2]], [[0.5]]]).double(),
    torch.tensor([0.4, 0.6]).double(),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_no_other_denoiser_does_better(schedule):
    """The same draws, D shifted, stretched, or blind: each excess is positive beyond five standard
    errors and equals w E (D' - D)^2, because the posterior mean's error is orthogonal to it."""
    x0 = MIXTURE.sample(50_000, seed=1)
    objective = Objective(schedule, times=LogNormal(-0.5, 0.8))
    best = objective(MIXTURE.denoise, x0, None, rng(2)).per_sample
    spy = Spy(MIXTURE.denoise)
    objective(spy, x0, None, rng(2))
    changes = (lambda d: d + 0.1, lambda d: 1.1 * d, lambda d: spy.x / spy.level.like(spy.x).alpha)
    for change in changes:
        other = Spy(lambda x, level, cond, c=change: c(MIXTURE.denoise(x, level)))
        worse = objective(other, x0, None, rng(2)).per_sample
        gap = worse - best
        error = 5 * float(gap.std()) / math.sqrt(len(gap))
        assert float(gap.mean()) > 0
        expected = snr(spy.level) * (other.out - spy.out).square().mean(1)
        assert abs(float(gap.mean() - expected.mean())) < error


# --- one regression, every view -------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_weight_is_the_error_of_a_view(schedule):
    """snr: of eps. 1/r^2 + 1/s^2: of EDM's F. 1: of x0. In general 1/c_out^2: of that F."""
    x0 = torch.randn(64, 2, 3, dtype=torch.float64, generator=rng())
    spy = Spy(lambda x, level, cond: 0.3 * x.tanh())
    by_weight = {}
    for name, weight in (("eps", snr), ("edm", EDMWeight(0.7)), ("x0", unit)):
        objective = Objective(schedule, times=LogNormal(), weight=weight)
        by_weight[name] = objective(spy, x0, None, rng(1)).per_sample
    x, level, d = spy.x, spy.level, spy.out
    alpha, sigma = level.like(x)
    eps = (x - alpha * x0) / sigma
    eps_error = (eps - convert.eps(x, d, level)).square().flatten(1).mean(1)
    assert torch.allclose(by_weight["eps"], eps_error, rtol=1e-6)
    for name in by_weight:
        model = Denoiser(lambda x, noise, cond: x, view=name, sigma_data=0.7)
        error = (model.target(x, x0, level) - model.target(x, d, level)).square()
        assert torch.allclose(by_weight[name], error.flatten(1).mean(1), rtol=1e-6)
        c_out = views[name](level, 0.7)[1]
        truth = like(c_out**-2, x0) * (x0 - d) ** 2
        assert torch.allclose(by_weight[name], truth.flatten(1).mean(1), rtol=1e-9)


def test_a_planted_weight():
    """snr for the error of v, which on VP is snr + 1."""
    x0 = torch.randn(64, 3, dtype=torch.float64, generator=rng())
    spy = Spy(lambda x, level, cond: 0.3 * x.tanh())
    loss = Objective(VP(), times=LogNormal(), weight=snr)(spy, x0, None, rng(1)).per_sample
    v = convert.v(spy.x, x0, spy.level) - convert.v(spy.x, spy.out, spy.level)
    assert not torch.allclose(loss, v.square().mean(1), rtol=0.01)
    assert torch.allclose(loss + loss / snr(spy.level), v.square().mean(1), rtol=1e-6)


def test_weights_by_hand():
    level = VP()(torch.linspace(0.01, 1, 50, dtype=torch.float64))
    ratio = level.alpha**2 / level.sigma**2
    assert torch.allclose(snr(level), ratio, rtol=1e-12)
    assert torch.allclose(snr(level), level.logsnr.exp(), rtol=1e-12)
    assert torch.allclose(MinSNR(5.0)(level), ratio.clamp(max=5.0))
    assert torch.allclose(EDMWeight(0.5)(level), ratio + 4.0)
    assert torch.equal(unit(level), torch.ones(50).double())


# --- what is drawn --------------------------------------------------------------------------------


def test_x_is_the_forward_process():
    """alpha x0 + sigma eps with eps a standard normal, at the level reported."""
    x0 = torch.full((2000, 50), 2.0, dtype=torch.float64)
    spy = Spy(lambda x, level, cond: x)
    loss = Objective(Cosine())(spy, x0, None, rng(1))
    alpha, sigma = spy.level.like(x0)
    eps = (spy.x - alpha * x0) / sigma
    assert torch.equal(loss.at, spy.level.logsnr)
    assert abs(float(eps.mean())) < 5 / math.sqrt(eps.numel())
    assert abs(float(eps.var()) - 1) < 5 * math.sqrt(2 / eps.numel())
    assert spy.level.alpha.shape == (2000,)


def test_the_generator_makes_every_draw():
    x0, cond = torch.randn(16, 3, generator=rng()), {"label": torch.arange(16)}
    objective = Objective(VP(), dropout=0.5)
    spies = [Spy(lambda x, level, cond: 0.5 * x) for _ in range(3)]
    torch.manual_seed(0)
    a = objective(spies[0], x0, cond, rng(5))
    torch.manual_seed(99)
    b = objective(spies[1], x0, cond, rng(5))
    c = objective(spies[2], x0, cond, rng(6))
    assert torch.equal(a.per_sample, b.per_sample)
    assert torch.equal(spies[0].cond["null"], spies[1].cond["null"])
    assert not torch.equal(a.per_sample, c.per_sample)
    generator = rng(5)
    first = objective(spies[0], x0, cond, generator)
    second = objective(spies[0], x0, cond, generator)
    assert not torch.equal(first.per_sample, second.per_sample)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_follows_x0(dtype):
    x0 = torch.randn(4, 3, generator=rng()).to(dtype)
    spy = Spy(lambda x, level, cond: 0.5 * x)
    loss = Objective(VP())(spy, x0, None, rng(1))
    assert spy.x.dtype == loss.per_sample.dtype == dtype
    assert loss.at.dtype == torch.float64


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("times", [None, Stratified(), LogNormal()])
def test_every_schedule_trains_in_float32(schedule, times):
    """Finite losses and gradients from the smallest t to pure noise, in the v view."""
    x0 = torch.randn(512, 3, generator=rng())
    gain = torch.tensor(0.1, requires_grad=True)
    model = Denoiser(lambda x, noise, cond: gain * x, view="v")
    objective = Objective(schedule) if times is None else Objective(schedule, times)
    loss = objective(model, x0, None, rng(1)).per_sample
    loss.mean().backward()
    assert loss.isfinite().all()
    assert gain.grad is not None
    assert gain.grad.isfinite()


# --- dropout --------------------------------------------------------------------------------------


def test_the_share_of_conditions_dropped():
    n = 20_000
    spy = Spy(lambda x, level, cond: x)
    cond = {"label": torch.arange(n)}
    for share in (0.1, 0.5):
        Objective(VP(), dropout=share)(spy, torch.zeros(n, 1), cond, rng(1))
        null = spy.cond["null"]
        assert null.dtype == torch.bool
        assert abs(float(null.float().mean()) - share) < 5 * math.sqrt(share * (1 - share) / n)
        assert torch.equal(spy.cond["label"], cond["label"])
    assert set(cond) == {"label"}  # the caller's own mapping is left alone


def test_dropout_is_independent_of_the_level():
    n = 50_000
    spy = Spy(lambda x, level, cond: x)
    objective = Objective(VP(), dropout=0.5)
    loss = objective(spy, torch.zeros(n, 1), {"label": torch.arange(n)}, rng(1))
    pair = torch.stack([loss.at, spy.cond["null"].double()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / math.sqrt(n)


def test_no_dropout_and_no_condition():
    spy = Spy(lambda x, level, cond: x)
    cond = {"label": torch.arange(4)}
    Objective(VP())(spy, torch.zeros(4, 1), cond, rng(1))
    assert spy.cond == cond
    for nothing in (None, {}):
        Objective(VP(), dropout=0.5)(spy, torch.zeros(4, 1), nothing, rng(1))
        assert spy.cond is None


def test_a_sample_without_a_condition_stays_without():
    """Half of the data has no label: dropout may take conditions away, never give them back."""
    spy = Spy(lambda x, level, cond: x)
    null = torch.arange(1000) % 2 == 0
    cond = {"label": torch.zeros(1000, dtype=torch.int64), "null": null}
    Objective(VP(), dropout=0.1)(spy, torch.zeros(1000, 1), cond, rng(1))
    assert spy.cond["null"][null].all()
    assert 0 < int(spy.cond["null"][~null].sum()) < 100

    for share in (-0.1, 1.0):
        with pytest.raises(BadInput):
            Objective(VP(), dropout=share)
