"""A likelihood's term in pure noise: its limit is E[x0|c] - E[x0], and no order is lost to it."""

import math

import pytest
import torch

from scorefield import catalogue
from scorefield.base import Level, Seeded, Zero, join
from scorefield.denoise import Gaussian, Mixture
from scorefield.guide import classifier
from scorefield.guide.classifier import heard, slope, tilt
from scorefield.process import VE, Cosine, Flow, grids
from scorefield.solve import sample
from scorefield.solve.laws import agree

MEAN, VARIANCE = torch.tensor([2.0, 0.5]).double(), torch.tensor([0.5, 0.2]).double()
CLASS = Gaussian(MEAN, torch.diag(VARIANCE))
BOTH = Mixture(
    torch.stack((MEAN, torch.tensor([-1.0, 0.0]).double())),
    torch.stack((torch.diag(VARIANCE), 0.3 * torch.eye(2).double())),
    torch.tensor([0.3, 0.7]).double(),
)
APART = MEAN - BOTH.weights @ BOTH.means
X = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4]], dtype=torch.float64)


def log_prob(x, level, cond=None):
    """log p(c|x) of the class, up to a constant."""
    return CLASS.log_prob(x, level) - BOTH.log_prob(x, level)


def dropped(scale=1.0):
    """The twin: nothing is added in pure noise."""

    def guide(denoise):
        def guided(x, level, cond=None):
            if (level.alpha == 0).all():
                return denoise(x, level, cond)
            return classifier(log_prob, scale)(denoise)(x, level, cond)

        return guided

    return guide


# --- the limit ------------------------------------------------------------------------------------


def has_its_limit(guide, scale, sigma, dtype) -> bool:
    """1e-6 in float64 and 5e-3 in float32: first order in sqrt(eps), for moments of 10 or less."""
    level = Level.of(0.0, sigma)
    found = guide(lambda x, level, cond: 0 * x)((sigma * X).to(dtype), level, None)
    within = 1e-6 if dtype == torch.float64 else 5e-3
    return bool((found.double() - scale * APART).abs().max() < within)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("sigma", [1.0, 80.0, 5e3])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_limit_is_how_far_the_means_are_apart(scale, sigma, dtype):
    assert has_its_limit(classifier(log_prob, scale), scale, sigma, dtype)


def test_a_dropped_term_is_seen():
    assert not has_its_limit(dropped(), 1.0, 1.0, torch.float64)


def test_pure_noise_beside_other_levels():
    """A level per sample: each is what it is alone."""
    level = Level(torch.tensor([0.0, 0.6, 1.0]).double(), torch.tensor([1.0, 0.8, 0.0]).double())
    guided = classifier(log_prob, 2.0)(BOTH.denoise)
    alone = [guided(X[i : i + 1], level.at(i), None) for i in range(3)]
    assert (guided(X, level, None) - torch.cat(alone)).abs().max() < 1e-12
    assert torch.equal(alone[2], X[2:])


def pull_in_float32(at):
    """Of a classifier that subtracts densities in float32, where noise is 1e6 times the signal."""
    level, x = Level.of(1e-6, 1.0), X.float()
    rounded = lambda x, level, cond: _density(x, level, CLASS) - _density(x, level, BOTH)  # noqa: E731
    where = at(level, x)
    return float((tilt(slope(rounded, x, where, None), where) - APART).abs().max())


def _density(x, level, data):
    """log p of the data's first moment, in x's own dtype."""
    alpha, sigma = level.like(x)
    mean = MEAN if data is CLASS else MEAN - APART
    return -(((x - alpha * mean.to(x)) / sigma) ** 2).sum(1) / 2


def test_rounding_is_not_multiplied():
    """eps sigma/alpha is .1 there; sqrt(eps) is 3.5e-4."""
    assert pull_in_float32(heard) < 2e-3


def test_multiplied_rounding_is_seen():
    assert pull_in_float32(lambda level, x: level) > 5e-3


# --- the order ------------------------------------------------------------------------------------


def conditional_flow(x, here, there):
    """Of the class: each coordinate keeps its quantile."""
    ((a, s), (a1, s1)) = here, there
    stretch = ((a1**2 * VARIANCE + s1**2) / (a**2 * VARIANCE + s**2)).sqrt()
    return a1 * MEAN + (x - a * MEAN) * stretch


def order_from_noise(solver, guide, schedule, steps) -> float:
    """From the first level of `uniform_t` on to t = .05, where the flow is known."""
    errors = []
    for n in (steps, 2 * steps):
        levels = grids.uniform_t(schedule, n, stop=0.05)
        x = levels.sigma[0] * X
        truth = conditional_flow(x, levels.at(0), levels.at(-1))
        found = sample(solver, guide(BOTH.denoise), x, levels, Zero())
        errors.append(float((found - truth).square().mean().sqrt()))
    return math.log2(errors[0] / errors[1])


FROM_NOISE = [("rk4", 40), ("heun", 320)]


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=["flow", "cosine"])
@pytest.mark.parametrize("solver, steps", FROM_NOISE)
def test_a_guided_run_has_its_order_from_pure_noise(solver, steps, schedule):
    solver = catalogue.solvers[solver]()
    assert agree(order_from_noise(solver, classifier(log_prob), schedule, steps), solver.order)


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=["flow", "cosine"])
def test_a_dropped_term_costs_the_order(schedule):
    assert order_from_noise(catalogue.solvers["rk4"](), dropped(), schedule, 40) < 1.5


def off_by(guide, solver, schedule) -> float:
    """Of a guided run from the run of the class's own denoiser, which at scale 1 it is."""
    levels = grids.vp_root(schedule, 10)
    x, cond = levels.sigma[0] * X, {"label": torch.zeros(3)}
    guided, own = (
        sample(catalogue.solvers[solver](), denoise, x, levels, Seeded(range(3)), cond)
        for denoise in (guide(BOTH.denoise), CLASS.denoise)
    )
    return float((guided - own).abs().max())


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=["flow", "cosine"])
@pytest.mark.parametrize("solver", [name for name in catalogue.solvers if name != "genie"])
def test_every_solver_starts_as_with_the_conditional_denoiser(solver, schedule):
    assert off_by(classifier(log_prob), solver, schedule) < 1e-6


def test_every_solver_sees_a_dropped_term():
    assert off_by(dropped(), "heun", Flow()) > 1e-4


def test_float32_runs_are_those_of_float64():
    """VE's sigma of 50 after a first level of pure noise, 20 steps."""
    deep = join([Level.of(0.0, 50.0), grids.karras(VE(), 20).at(slice(1, None))])
    wide, narrow = (
        sample(
            catalogue.solvers["heun"](), classifier(log_prob)(BOTH.denoise), 50 * x, deep, Zero()
        )
        for x in (X, X.float())
    )
    assert (wide - narrow).abs().max() < 1e-3
