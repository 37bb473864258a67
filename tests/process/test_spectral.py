"""Processes with a level per coordinate, on the Gaussian field of spectrum 1/(.02 + lambda), K =
32, whose denoiser and flow are known: the numbers of the comparisons, with planted twins."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import Level, Seeded, Zero, like
from scorefield.likelihood import flow_log_prob
from scorefield.process import (
    Blurring,
    Diagonal,
    Heat,
    Soft,
    Varying,
    Wavelet,
    dropping_cost,
    grid_of,
    grids,
)
from scorefield.process.spectral import OnCourse
from scorefield.solve import DDIM, DDPM, Arc, DPMSolverPP2S, parallel, sample, trajectory
from scorefield.solve.between import at_fraction
from scorefield.solve.loop import State
from scorefield.solve.soft import HeatDelta, SoftMomentum
from scorefield.solve.transfer import affine, transfer
from scorefield.spaces import DCT, Haar
from scorefield.tune import fit_grid
from tests.refusal import fails, refused

K = 32
LAMBDA = (math.pi * torch.arange(K).double() / K) ** 2
FIELD = 1 / (0.02 + LAMBDA)
FIELD = FIELD / FIELD.mean()
ONE = torch.ones(1, K).double()
BLUR = Blurring(20.0)


class Gauss:
    """D of data with independent coordinates of these variances."""

    def __init__(self, variance: Tensor = FIELD) -> None:
        self.variance = variance

    def __call__(self, x, level, cond=None):
        alpha, sigma = level.like(x)
        variance = self.variance.to(x).reshape(
            *(1,) * (x.ndim - self.variance.ndim), *self.variance.shape
        )
        return alpha * variance * x / (alpha**2 * variance + sigma**2)


def even(course, steps: int, first: float = 1.0, last: float = 0.0) -> Level:
    return OnCourse.of_time(course, torch.linspace(first, last, steps + 1).double()[:, None], (K,))


class AllOnes:
    def __call__(self, x, here, there):
        return torch.ones_like(x)


def variance_ratio(solver, levels: Level, denoise=None) -> Tensor:
    """What a one-step solver makes of each coordinate's variance, over what it should be."""
    first, last = levels.at(0), levels.at(-1)
    denoise = denoise or Gauss()
    v = first.alpha**2 * FIELD + first.sigma**2
    for k in range(len(levels.sigma) - 1):
        pair = levels.at(k), levels.at(k + 1)
        gain = solver.step(denoise, State(ONE), *pair, Zero())[0].x
        noise = solver.step(denoise, State(0 * ONE), *pair, AllOnes())[0].x
        v = gain**2 * v + noise**2
    return (v / (last.alpha**2 * FIELD + last.sigma**2))[0]


def worst(solver, levels: Level) -> float:
    """The largest relative error of a variance of the flow's end, from its quantile."""
    first, last = levels.at(0), levels.at(-1)
    begin, end = ((v.alpha**2 * FIELD + v.sigma**2).sqrt() for v in (first, last))
    found = sample(solver, Gauss(), begin, levels, Zero())
    return float(((found / end) ** 2 - 1).abs().max())


def check_values(course) -> None:
    level = replace(course, shape=(K,))(torch.tensor(0.5))
    found = level.alpha[0, [0, 1, 4, 31]].tolist()
    assert found == pytest.approx([0.7071068, 0.43698, 0.0010236, 0.0007071], rel=1e-4)
    logsnr = level.logsnr[0, [0, 1, 4, 31]].tolist()
    assert logsnr == pytest.approx([0, -0.963, -13.08, -13.82], abs=5e-3)


def test_alpha_of_frequencies():
    check_values(BLUR)

    class Clipped(Blurring):
        def spread(self, t, level, coords):
            blur = self.max * (math.pi / 2 * t).sin() ** 2
            kept = (-DCT().rates(coords) * blur**2 / 2).exp().clamp(min=self.least)
            return Level(level.alpha * kept, level.sigma)

    fails("", check_values, Clipped(20.0))


def test_first_order_and_worst_at_the_top_frequency():
    ddim = [worst(DDIM(), even(BLUR, n)) for n in (25, 50, 100, 200, 400)]
    ddpm = [float((variance_ratio(DDPM(), even(BLUR, n)) - 1).abs().max()) for n in (25, 50, 100)]
    assert ddim == pytest.approx([0.551, 0.329, 0.181, 0.095, 0.049], abs=1.5e-3)
    assert ddpm == pytest.approx([0.649, 0.454, 0.276], abs=1.5e-3)
    ratio = variance_ratio(DDIM(), even(BLUR, 100))
    assert int((ratio - 1).abs().argmax()) == K - 1


def test_one_level_for_all_frequencies_is_wrong():
    """A planted scalar level: that of the mean, for the denoiser of the blurred field."""
    levels = even(BLUR, 400)
    found = []
    for k in (0, 1, 8, 31):
        v = FIELD[k] * levels.at(0).alpha[0, k] ** 2 + 1
        for j in range(400):
            here, there = levels.at(j), levels.at(j + 1)
            d = Gauss()(ONE, here)[0, k]
            keep, gain = (c[0, 0] for c in transfer(here, there))  # the mean's
            v = (keep + gain * d) ** 2 * v
        found.append(float(v / FIELD[k]))
    assert found == pytest.approx([0.99, 0.84, 0.37, 0.53], abs=0.06)


ORDERED = {
    name: solver
    for name, make in catalogue.solvers.items()
    if not (solver := make()).stochastic and not solver.adaptive
}
STEPS = {1: (80, 160), 2: (80, 160), 3: (160, 320), 4: (160, 320), 5: (60, 120), 6: (60, 120)}


def check_order(solver, order: int) -> None:
    a, b = (worst(solver, even(BLUR, n, 0.6, 0.2)) for n in STEPS[order])
    assert order - 0.45 < math.log2(a / b) < order + 0.6, math.log2(a / b)


@pytest.mark.parametrize("name", ORDERED)
def test_each_coordinate_at_the_order_declared(name):
    check_order(ORDERED[name], ORDERED[name].order)


@dataclass(frozen=True)
class HalfForAll(DPMSolverPP2S):
    """The middle of the time, and r = 1/2 for all coordinates."""

    def step(self, denoise, state, here, there, noise, cond=None):
        (x,) = state
        middle = here.between(there, 0.5)
        assert middle
        keep, gain = transfer(here, middle)
        ahead = denoise(affine(x, keep, denoise(x, here, cond), gain), middle, cond)
        keep, gain = transfer(here, there)
        return State(affine(x, keep, ahead, gain)), None


def test_one_half_for_all_coordinates_is_of_the_same_order():
    """r is 1/2 but for O(h), so that the plain midpoint in time is of order 2 too, and no worse
    here; what a step of one stage leaves is seen."""
    check_order(HalfForAll(), 2)
    one, other = (worst(s, even(BLUR, 100, 0.9, 0.05)) for s in (DPMSolverPP2S(), HalfForAll()))
    assert 0.5 < other / one < 0.8
    fails("", check_order, DDIM(), 2)


def test_the_first_number_of_a_blur_is_its_largest():
    for course in (Blurring, Soft, Heat):
        assert course(7.0).max == 7.0


def test_two_stages_meet_at_one_time():
    seen = []

    def spy(x, level, cond=None):
        seen.append(level)
        return Gauss()(x, level)

    levels = even(BLUR, 10)
    for name in ("dpmpp2s", "dpm2", "midpoint"):
        sample(catalogue.solvers[name](), spy, ONE, levels.at(slice(4, 6)), Zero())
        middle, own = seen[1], BLUR.leaves(torch.tensor([0.55]).double(), (K,))
        assert torch.allclose(middle.alpha, own.alpha, atol=1e-12), name
        assert not torch.allclose(at_fraction(levels.at(4), levels.at(5), 0.5).alpha, own.alpha)
        seen.clear()


@pytest.mark.parametrize("course, shape", [
    (Heat(), (1, 16)), (Soft(), (1, 16)), (Blurring(least=0.0), (1, 16)),
    (Varying(2, deviations=(2.0, 0.5, 0.1)), (4, 4)),
    (Wavelet(2, deviations=(2.0, 0.5, 0.1)), (4, 4)),
])  # fmt: skip
def test_every_solver_is_finite_where_coordinates_stand_still_or_vanish(course, shape):
    levels = grid_of(course, grids.vp_closing(course, 12), shape)
    denoise = Gauss(torch.linspace(2, 0.1, 16).double().reshape(shape))
    x = Seeded(range(3)).start(shape, levels, dtype=torch.float64)
    for name, make in catalogue.solvers.items():
        if (solver := make()).adaptive:
            refused("one clock", sample, solver, denoise, x, levels, Zero())
            continue
        found = sample(solver, denoise, x, levels, Seeded(range(3)))
        assert found.isfinite().all(), name
        alone = sample(solver, denoise, x[1:2], levels, Seeded([1]))
        assert torch.allclose(alone, found[1:2], rtol=1e-10, atol=1e-12), name
    refused("one clock", parallel, DDIM(), denoise, x, levels, Zero())


def test_no_coordinate_rises():
    levels = even(BLUR, 4)
    upside = Level(levels.alpha.clone(), levels.sigma)
    upside.alpha[2, 0, 5] = upside.alpha[1, 0, 5] * 0.5
    refused("ratio rises", sample, DDIM(), Gauss(), ONE, upside, Zero())
    still = even(Heat(), 4)  # its mean stands still, which is allowed
    assert sample(DDIM(), Gauss(), ONE, still, Zero()).isfinite().all()
    rising = lambda t, level, coords: Level(level.alpha, (1 - level.sigma).expand(-1, *coords))  # noqa: E731
    refused("rises", Diagonal, rising, shape=(2,))
    user = Diagonal(lambda t, level, coords: Level(level.alpha, level.sigma * (1 + LAMBDA)), DCT())
    grid = grid_of(user, grids.vp_root(user, 40), (K,))
    assert sample(DDIM(), Gauss(), ONE, grid, Zero()).isfinite().all()


@pytest.mark.parametrize("name", ["arc", "deis3", "unipc3", "dpmpp2m", "ddpm", "lms4"])
def test_a_pause_changes_nothing(name):
    levels, solver = even(BLUR, 9), catalogue.solvers[name]()
    x = Seeded(range(3)).start((K,), levels, dtype=torch.float64)
    whole = sample(solver, Gauss(), x, levels, Seeded(range(3)))
    (*_, (state, _)) = trajectory(solver, Gauss(), x, levels.at(slice(0, 5)), Seeded(range(3)))
    kept = type(state)(*(leaf.clone() for leaf in state))
    rest = levels.at(slice(4, None))
    assert torch.equal(sample(solver, Gauss(), kept, rest, Seeded(range(3))), whole)
    some = type(state)(*(leaf[1:] for leaf in kept))  # a saved state can be split
    assert torch.allclose(sample(solver, Gauss(), some, rest, Seeded([1, 2])), whole[1:])
    if len(state) > 1:  # planted: a run that forgot its past
        fresh = sample(solver, Gauss(), state[0], rest, Seeded(range(3)))
        assert not torch.allclose(fresh, whole)


def check_pixels(basis: Haar) -> None:
    """Walked in the basis with a transported denoiser: the pixels' own walk, for every solver."""
    mean = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()

    def pixels(x, level, cond=None):
        alpha, sigma = level.overall.like(x)
        return (mean + alpha * x / (alpha**2 + sigma**2)).tanh()

    def coordinates(y, level, cond=None):
        return basis.forward(pixels(basis.inverse(y), level))

    course = Wavelet(basis.levels)
    clock = grids.vp_root(course, 6)
    levels = grid_of(course, clock, basis.shape((1, 4, 4)))
    x = Seeded([3]).start((1, 4, 4), clock, dtype=torch.float64)
    for name in ("ddim", "arc", "dpmpp2m", "rk4", "unipc3"):
        solver = catalogue.solvers[name]()
        own = sample(solver, pixels, x, clock, Zero())
        there = basis.inverse(sample(solver, coordinates, basis.forward(x), levels, Zero()))
        assert (own - there).abs().max() < 1e-12, name


@pytest.mark.parametrize("levels", [1, 2])
def test_wavelets_with_one_level_are_pixels(levels):
    check_pixels(Haar(levels))


def test_an_average_for_a_root_is_not_pixels():
    class Averages(Haar):
        def forward(self, x):
            return super().forward(x) / 2**0.5

    fails("", check_pixels, Averages())


def test_inverse_heat_dissipation_and_its_knob():
    heat = Heat()
    at = [4, 8, 16, 31]
    for delta, low, high in ((0.01, 0.46, 0.5), (0.0125, 0.72, 0.78), (0.02, 1.85, 1.99)):
        found = variance_ratio(HeatDelta(delta), even(heat, 200))[at]
        assert low < float(found.min()) < float(found.max()) < high
    for steps, low, high in ((200, 0.84, 0.93), (1000, 0.96, 0.985)):
        found = variance_ratio(DDPM(), even(heat, steps))[at]
        assert low < float(found.min()) < float(found.max()) < high
    refused("delta", HeatDelta, 0.0)


def test_momentum_keeps_marginals_and_the_naive_step_forgets():
    """For data at a point every step keeps mean and variance."""
    soft = Soft()
    here, there = even(soft, 10).at(4), even(soft, 10).at(5)
    point = lambda x, level, cond=None: 0 * x + 0.7  # noqa: E731
    gain = lambda x, z: SoftMomentum().step(point, State(x), here, there, z)[0].x  # noqa: E731
    mean = gain(here.alpha * 0.7, Zero())
    keep = gain(here.alpha * 0.7 + 1, Zero()) - mean
    spread = gain(here.alpha * 0.7, AllOnes()) - mean
    assert torch.allclose(mean, there.alpha * 0.7)
    assert torch.allclose(keep**2 * here.sigma**2 + spread**2, there.sigma**2)
    assert float(keep.max()) == pytest.approx(float((there.sigma / here.sigma).max()) ** 2)
    wrong = variance_ratio(SoftMomentum(), even(soft, 400))
    assert float((wrong - 1).abs().max()) < 0.2


def test_when_to_drop_a_band():
    assert float(dropping_cost(torch.tensor(0.01).double())) == pytest.approx(2.5e-5, rel=0.01)
    course = Varying(1, deviations=(2.0, 0.1))
    t = torch.linspace(0.01, 1, 400).double()
    level = course.leaves(t, (4, 2, 2))
    assert (level.alpha[:, 0] > 0)[:-1].all()  # the coarsest stays
    dropped = level.alpha[:, 1, 0, 0] == 0
    snr = (course.clock(t).alpha * 0.1 / course.clock(t).sigma) ** 2
    assert torch.equal(dropped, dropping_cost(snr) <= 2.5e-5)
    assert float(snr[dropped].max()) == pytest.approx(0.01, rel=0.05)
    levels = grid_of(course, grids.uniform_t(course, 20), (4, 2, 2))
    y = Seeded(range(4000)).start((4, 2, 2), levels)
    unit = torch.tensor([4.0, 0.01, 0.01, 0.01]).reshape(4, 1, 1).expand(4, 2, 2)
    back = int((levels.alpha[:, 0, 1, 0, 0] > 0).nonzero()[0])
    y = sample(DDPM(), Gauss(unit), y, levels.at(slice(0, back + 1)), Seeded(range(4000)))
    at = levels.at(back)
    assert float(y[:, 1].var()) == pytest.approx(float(at.sigma.max()) ** 2, rel=0.05)


def test_likelihood_of_the_flow_by_coordinate():
    x = torch.randn(3, K, generator=torch.Generator().manual_seed(0)).double() * FIELD.sqrt()
    mild = Blurring(2.0)
    first = mild.leaves(torch.tensor([mild.floor]).double(), (K,))
    variance = FIELD + (first.sigma / first.alpha)[0] ** 2
    truth = -(x**2 / variance + (2 * math.pi * variance).log()).sum(1) / 2
    exact = flow_log_prob(Gauss(), x, mild).log_prob
    assert (exact - truth).abs().max() < 1e-3
    probed = flow_log_prob(Gauss(), x, mild, 8, probe="gaussian")
    assert ((probed.log_prob - truth).abs() < 5 * probed.stderr).all()
    assert (flow_log_prob(Gauss(FIELD * 1.1), x, mild).log_prob - truth).abs().max() > 0.1
    refused("noisy", flow_log_prob, Gauss(), x, mild, t=0.1)


def test_fitted_grids_and_their_two_stage_methods():
    refused("not end in noise", fit_grid, Gauss(), Heat(), DDIM(), 5, (K,))
    few = fit_grid(Gauss(), Blurring(4.0), Arc(), 2, (K,), starts=2, rounds=1, reference=4)
    assert math.isfinite(few.error)  # copies at levels of their own
    for solver in (DDIM(), DPMSolverPP2S()):
        grid = fit_grid(Gauss(), Blurring(4.0), solver, 5, (K,), starts=16, rounds=9, reference=64)
        assert grid.error < grid.error_before


def test_noise_and_seeds_by_coordinate():
    levels = even(BLUR, 5)
    noise = Seeded([1, 2, 3])
    draws = [noise(torch.zeros(3, K), levels.at(k), levels.at(k + 1)) for k in range(5)]
    assert len({float(z[0, 0]) for z in draws}) == 5
    assert torch.equal(draws[2][1:2], Seeded([2])(torch.zeros(1, K), levels.at(2), levels.at(3)))
    assert like(levels.at(0).alpha, torch.zeros(3, K)).shape == (1, K)
