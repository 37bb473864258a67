"""Grids in closed form, and timesteps at every count."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from scorefield.base import Level
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP, grids
from tests.refusal import fails, refused

CONTINUOUS = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow()]
GRIDS = [grids.uniform_t, grids.uniform_logsnr, grids.karras, grids.lu, grids.beta]
each = pytest.mark.parametrize("schedule", CONTINUOUS, ids=lambda s: type(s).__name__)


def test_karras_formula():
    """(80^(1/7) + i/(n-1) (.002^(1/7) - 80^(1/7)))^7, then 0 (Karras et al. 2022, eq. 5)."""
    for n in (1, 2, 5, 18):
        levels = grids.karras(EDM(), n)
        a, b = 80 ** (1 / 7), 0.002 ** (1 / 7)
        expected = [(a + i / max(n - 1, 1) * (b - a)) ** 7 for i in range(n)] + [0.0]
        assert levels.sigma.tolist() == pytest.approx(expected, rel=1e-12)
        assert levels.alpha.tolist() == [1.0] * (n + 1)


def test_karras_rho_and_stop():
    levels = grids.karras(EDM(0.01, 50.0), 4, start=0.5, stop=0.1, rho=3.0)
    a, b = 25 ** (1 / 3), 5 ** (1 / 3)
    assert levels.sigma.tolist() == pytest.approx([(a + i / 4 * (b - a)) ** 3 for i in range(5)])


@each
def test_karras_spreads_the_ratio_of_any_schedule(schedule):
    levels = grids.karras(schedule, 9, start=0.99, stop=0.01)
    assert float((levels.ratio ** (1 / 7)).diff().diff().abs().max()) < 1e-9


@each
def test_uniform_logsnr_and_exponential(schedule):
    levels = grids.uniform_logsnr(schedule, 9, start=0.99, stop=0.01)
    assert float(levels.logsnr.diff().diff().abs().max()) < 1e-9
    factors = grids.exponential(schedule, 9, start=0.99, stop=0.01).ratio
    factors = factors[1:] / factors[:-1]
    assert float((factors / factors[0] - 1).abs().max()) < 1e-9


@each
def test_uniform_t(schedule):
    levels = grids.uniform_t(schedule, 4, start=0.8)
    expected = schedule(torch.tensor([0.8, 0.6, 0.4, 0.2, 0.0], dtype=torch.float64))
    for found, truth in zip(levels, expected):
        assert torch.allclose(found, truth, rtol=1e-12, atol=1e-15)


@each
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_ends_are_exact(schedule, grid, steps):
    levels = grid(schedule, steps, start=0.9, stop=0.1)
    ends = schedule(torch.tensor([0.9, 0.1], dtype=torch.float64))
    assert len(levels.sigma) == steps + 1
    for found, truth in zip(levels, ends):
        assert torch.equal(found[[0, -1]], truth)
    assert (levels.ratio.diff() < 0).all()


@pytest.mark.parametrize("grid", [grids.uniform_logsnr, grids.karras, grids.lu])
@pytest.mark.parametrize("stop", [None, 0.99, 0.999, 0.9999])
def test_a_grid_from_pure_noise_falls_within_deep_noise_too(grid, stop):
    """Flow at t=.999 has logsnr -13.8, below what is spread over: the levels must fall all the
    same."""
    levels = grid(Flow(), 6, stop=stop)
    assert float(levels.alpha[0]) == 0.0
    assert (levels.ratio.diff() < 0).all()


def check_angle(grid) -> None:
    """atan(sigma / (s alpha)) in equal steps from the start to clean data, or to where it stops."""
    for schedule in CONTINUOUS:
        for stop in (None, 0.3):
            levels = grid(schedule, 5, stop=stop, sigma_data=0.5)
            gaps = torch.atan2(levels.sigma, 0.5 * levels.alpha).diff()
            assert float((gaps / gaps.mean() - 1).abs().max()) < 1e-6
            assert torch.equal(levels.sigma[0], schedule(torch.ones(()).double()).sigma)


def test_angles_are_even():
    check_angle(grids.uniform_angle)
    fails("", check_angle, lambda *a, sigma_data, **more: grids.uniform_angle(*a, **more))
    fails("", check_angle, lambda *a, sigma_data, **more: grids.uniform_t(*a, **more))


# --- Lu and beta ----------------------------------------------------------------------------------


def check_lu(grid, rho: float) -> None:
    """sgn(l) |l|^(1/rho) in equal steps on both sides of l = 0, the ends the schedule's own."""
    for schedule in CONTINUOUS:
        levels = grid(schedule, 9, start=0.99, stop=0.01, rho=rho)
        lam = levels.logsnr / 2
        assert bool(lam.isfinite().all()), "a root of a negative number"
        steps = (lam.sign() * lam.abs() ** (1 / rho)).diff()
        assert float((steps / steps[0] - 1).abs().max()) < 1e-7  # the inverse's rounding, rooted
        ends = schedule(torch.tensor([0.99, 0.01], dtype=torch.float64))
        assert torch.allclose(levels.sigma[[0, -1]], ends.sigma, rtol=1e-9, atol=0)


@pytest.mark.parametrize("rho", [0.5, 1.0, 2.0, 3.0])
def test_lu_formula(rho):
    check_lu(grids.lu, rho)


def test_planted_lu():
    """The published form: a real root of l, which is negative in noise."""

    def root(schedule, steps, start, stop, rho):
        ends = schedule(torch.tensor([start, stop], dtype=torch.float64))
        a, b = (ends.logsnr / 2) ** (1 / rho)
        lam = (a + torch.linspace(0, 1, steps + 1, dtype=torch.float64) * (b - a)) ** rho
        return schedule(schedule.inverse(2 * lam))

    check_lu(root, 1.0)
    fails("", check_lu, root, 2.0)


def test_lu_with_rho_1_is_uniform_logsnr():
    for found, truth in zip(grids.lu(VP(), 8), grids.uniform_logsnr(VP(), 8)):
        assert torch.allclose(found, truth, rtol=1e-12, atol=0)


def probabilities(t: torch.Tensor, a: float, b: float) -> list[float]:
    """Shares of Beta(a, b) below each t, by quadrature in s = x^a and (1-x)^b, where it is tame."""

    def part(x: float, a: float, b: float) -> float:  # int_0^x, x <= 1/2
        nodes, weights = np.polynomial.legendre.leggauss(200)
        u = (nodes + 1) / 2  # s = x^a u^4 flattens s^(1/a) at 0 to any order that matters
        s = x**a * u**4
        return float(weights @ (x**a * 4 * u**3 * (1 - s ** (1 / a)) ** (b - 1))) / (2 * a)

    half, other = part(0.5, a, b), part(0.5, b, a)
    total = half + other
    below = [part(v, a, b) if v <= 0.5 else total - part(1 - v, b, a) for v in t.tolist()]
    return [v / total for v in below]


def check_beta(grid, a: float, b: float) -> None:
    """Between neighbours lies the same probability, to the 1e-10 that the quantiles promise."""
    levels = grid(VP(), 12, start=0.9, stop=0.2, a=a, b=b)
    t = (VP().inverse(levels.logsnr) - 0.2) / 0.7
    expected = torch.linspace(1, 0, 13, dtype=torch.float64)
    # the inverse's 1e-15 in t is up to 1e-9 in probability, where the density has its pole
    assert probabilities(t, a, b)[1:-1] == pytest.approx(expected[1:-1].tolist(), abs=1e-8)
    assert (levels.ratio.diff() < 0).all()


@pytest.mark.parametrize("a, b", [(0.6, 0.6), (0.5, 2.0), (3.0, 0.4), (1.0, 1.0)])
def test_beta_quantiles(a, b):
    check_beta(grids.beta, a, b)


def test_planted_beta():
    """a and b exchanged: the right law from the wrong end."""
    fails("", check_beta, lambda *args, a, b, **ends: grids.beta(*args, a=b, b=a, **ends), 0.5, 2.0)


def test_beta_in_closed_form():
    """Beta(1/2, 1/2) is the arcsine law, Beta(a, 1) a power of t, Beta(1, 1) uniform."""
    p = torch.linspace(1, 0, 41, dtype=torch.float64)
    for a, b, expected in (
        (0.5, 0.5, (math.pi / 2 * p).sin() ** 2),
        (2.5, 1.0, p**0.4),
        (0.4, 1.0, p**2.5),
        (1.0, 3.0, 1 - (1 - p) ** (1 / 3)),
        (1.0, 1.0, p),
    ):
        found = grids.beta(Flow(), 40, a=a, b=b).sigma
        assert float((found - expected).abs().max()) < 1e-10


def check_falls(grid) -> None:
    for schedule in [*CONTINUOUS, DiscreteVP()]:
        for steps in (1, 2, 3, 15, 50, 1001):
            levels = grid(schedule, steps)
            assert len(levels.sigma) == steps + 1
            assert (levels.ratio.diff() < 0).all(), f"{schedule} {steps}: two equal levels"


@pytest.mark.parametrize("grid", [grids.lu, grids.beta])
def test_no_two_levels_are_equal_at_any_count(grid):
    check_falls(grid)


def test_planted_equal_levels():
    """Quantiles rounded to a chain's timesteps, as published: at some counts two are equal."""

    def rounded(schedule, steps):
        t = schedule.inverse(grids.beta(schedule, steps).logsnr)
        return schedule((t * 1000).round() / 1000)

    fails("two equal levels", check_falls, rounded)


# --- timesteps ------------------------------------------------------------------------------------


def spaced(grid, chain: DiscreteVP, steps: int, spacing: str) -> list[int]:
    levels = grid(chain, steps, spacing=spacing)
    k = chain.inverse(levels.logsnr) * chain.steps
    assert float((k - k.round()).abs().max()) < 1e-6, "a level that is not a timestep"
    return k.round().int().tolist()


def check_timesteps(grid) -> None:
    """Any count from 1 to T: n timesteps in 1..T, no two equal, then 0; the last stride too."""
    chain = DiscreteVP()
    for spacing in ("leading", "trailing", "linspace"):
        for steps in range(1, 1001):
            k = spaced(grid, chain, steps, spacing)
            strides = [a - b for a, b in pairwise(k)]
            assert (len(k), (k[-1], max(k))) == (steps + 1, (0, k[0]))
            assert min(strides) >= 1, f"{spacing} {steps}: a timestep twice"
            assert k[0] <= 1000 if spacing == "leading" else k[0] == 1000
            assert k[-2] == 1 or spacing == "trailing" or steps == 1
            alike = strides if spacing == "trailing" else strides[:-1] or [1]
            assert max(alike) - min(alike) <= 1, f"{spacing} {steps}: uneven strides"


def test_timesteps_at_every_count():
    check_timesteps(grids.timesteps)


def test_planted_stride():
    def stride(chain, steps, spacing):
        k = [1000 - i * (1000 // steps) for i in range(steps)] + [0]
        return chain(torch.tensor(k, dtype=torch.float64) / 1000)

    fails("", check_timesteps, stride)


def test_spacings_by_hand():
    chain = DiscreteVP(torch.linspace(0.1, 0.3, 10, dtype=torch.float64))
    by_hand = {"leading": [[1], [7, 4, 1], range(10, 0, -1)], "trailing": [[10, 7, 3]]}
    for spacing, grids_of in (by_hand | {"linspace": [[10], [10, 7, 4, 1]]}).items():
        for k in grids_of:
            assert spaced(grids.timesteps, chain, len(k), spacing) == [*k, 0]


def test_timesteps_start_and_stop():
    chain = DiscreteVP()
    for steps, stop, last in ((5, None, 0), (4, 0.1, 100)):
        levels = grids.timesteps(chain, steps, start=0.5, stop=stop)
        k = (chain.inverse(levels.logsnr) * 1000).round().int().tolist()
        assert k == list(range(500, last - 1, -100))


def test_a_stop_at_0_is_clean_data():
    """ "With a `stop` the last level is the schedule at that t", and at t=0 that is sigma = 0."""
    for grid in (grids.uniform_t, grids.timesteps):
        assert float(grid(DiscreteVP(), 5, stop=0.0).sigma[-1]) == 0.0


@pytest.mark.parametrize(
    "grid, schedule, steps, options",
    [
        *((grids.uniform_t, VP(), steps, {}) for steps in (0, -3)),
        *((grids.karras, VP(), 5, {"start": start}) for start in (0.0, 1.5)),
        (grids.uniform_logsnr, VP(), 5, {"start": 0.5, "stop": 0.5}),
        *((grids.uniform_logsnr, VP(), 5, ends) for ends in ({"stop": 0.0}, {"start": 1e-4})),
        (grids.lu, VP(), 5, {"rho": 0.0}),
        (grids.beta, VP(), 0, {}),
        *((grids.beta, VP(), 5, laws) for laws in ({"a": 0.0}, {"b": 50.0})),
        (grids.beta, VP(), 1000, {"b": 0.05}),
        (grids.timesteps, VP(), 5, {}),
        (grids.timesteps, DiscreteVP(), 1001, {}),
        *(
            (grids.timesteps, DiscreteVP(), 5, {"spacing": "middle"} | s)
            for s in ({}, {"stop": 0.5})
        ),
    ],
)
def test_grids_that_cannot_be_are_refused(grid, schedule, steps, options):
    refused("", grid, schedule, steps, **options)


def test_levels_are_float64():
    for grid in (*GRIDS, grids.timesteps):
        level: Level = grid(DiscreteVP(), 3)
        assert level.alpha.dtype == level.sigma.dtype == torch.float64
    assert math.isinf(float(grids.karras(EDM(), 3).logsnr[-1]))
