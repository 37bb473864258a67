"""Each method against its own textbook form, and against closed forms on N(0, 1) data."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scorefield.base import BadInput, Level, Seeded, Zero
from scorefield.process import EDM, VP, Cosine, DiscreteVP, Flow, constant_betas, grids
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, State, sample
from scorefield.solve.transfer import posterior, transfer
from tests.errata.affine import sampled
from tests.laws.walks import Counted


def unit(x, level, cond=None):
    """D for N(0, 1) data."""
    alpha, sigma = level.like(x)
    return alpha * x / (alpha**2 + sigma**2)


def curved(x, level, cond=None):
    """Some smooth D that depends on x and the level: methods are compared as formulas."""
    alpha, sigma = level.like(x)
    return (alpha * x).sin() + 0.3 * sigma


class Fixed:
    def __init__(self, z):
        self.z = z

    def __call__(self, x, here, there):
        return self.z


X = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4]], dtype=torch.float64)
Z = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.1, -2.0]], dtype=torch.float64)


# --- closed forms on N(0, 1) ----------------------------------------------------------------------


def test_ddim_on_the_normal_is_a_product_of_cosines():
    """With alpha = cos a, sigma = sin a the step is x -> cos(a - a') x."""
    levels = grids.uniform_t(Cosine(), 7, start=0.9)
    step = math.cos(math.pi / 2 * 0.9 / 7)
    found = sample(DDIM(), unit, X, levels, Zero())
    assert torch.allclose(found, step**7 * X, rtol=1e-12)


def test_heun_on_the_normal():
    """EDM levels: dx/dsigma = sigma x/(1 + sigma^2), the trapezoid of it by hand."""
    s, s1 = 3.0, 1.2
    slope = s / (1 + s * s)
    predictor = 1 + (s1 - s) * slope
    factor = 1 + (s1 - s) * (slope + predictor * s1 / (1 + s1 * s1)) / 2
    state, _ = Heun().step(unit, State(X), Level.of(1.0, s), Level.of(1.0, s1), Zero())
    assert torch.allclose(state.x, factor * X, rtol=1e-14)


def test_2m_on_the_normal():
    """Two steps of algorithm 2 by hand, at levels whose h differ."""
    levels = VP()(torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64))
    a, s = (leaf.tolist() for leaf in levels)
    lam = [math.log(u / v) for u, v in zip(a, s)]
    first = s[1] / s[0] + a[1] * (1 - math.exp(lam[0] - lam[1])) * a[0]
    r = (lam[1] - lam[0]) / (lam[2] - lam[1])
    ahead = (1 + 1 / (2 * r)) * a[1] * first - 1 / (2 * r) * a[0]
    second = s[2] / s[1] * first - a[2] * math.expm1(-(lam[2] - lam[1])) * ahead
    found = sample(DPMSolverPP(), unit, X, levels, Zero())
    assert torch.allclose(found, second * X, rtol=1e-12)


def variance_after(solver, schedule, steps: int) -> float:
    """Final variance on N(0, 1) from the prior's 1: the product of squares plus what each draw
    adds, probed one by one."""
    levels = grids.timesteps(schedule, steps)
    return sampled(solver, unit, levels)


def small_variance(betas: list[float]) -> float:
    """The same by the chain's own recursion, in betas: mean gain and posterior variance."""
    abar, variance = [1.0], 1.0
    for b in betas:
        abar.append(abar[-1] * (1 - b))
    for k in range(len(betas), 0, -1):
        b, now, before = betas[k - 1], abar[k], abar[k - 1]
        # eps = sqrt(1 - abar) x for the normal
        gain = (1 - b) ** 0.5
        variance = gain**2 * variance + b * (1 - before) / (1 - now)
    return variance


@pytest.mark.parametrize("beta", [0.02, 0.1, 0.4])
def test_ddpm_is_too_narrow_on_the_normal(beta):
    """The posterior's variance is right for a point and too small for N(0, 1)."""
    schedule = DiscreteVP(constant_betas(10, beta))
    found = variance_after(DDPM(), schedule, 10)
    assert found == pytest.approx(small_variance([beta] * 10), rel=1e-12)
    assert found < 1 - beta  # what beta for the variance gives: every step keeps 1 but the last


def test_ddpm_variance_approaches_one():
    found = [variance_after(DDPM(), DiscreteVP(), n) for n in (10, 30, 90)]
    assert found == sorted(found)
    assert (1 - found[2]) < (1 - found[0]) / 3


# --- textbook forms -------------------------------------------------------------------------------


def test_ddim_is_equation_12():
    """sqrt(abar') x0 + sqrt(1 - abar' - s^2) eps + s z with s = eta sqrt((1-abar')/(1-abar))
    sqrt(1 - abar/abar'), on a chain (Song, Meng and Ermon 2021, eqs. 12 and 16)."""
    now, before = 0.3, 0.8
    here, there = (Level.of(a**0.5, (1 - a) ** 0.5) for a in (now, before))
    x0 = curved(X, here)
    eps = (X - now**0.5 * x0) / (1 - now) ** 0.5
    for eta in (0.0, 0.3, 1.0):
        s = eta * ((1 - before) / (1 - now) * (1 - now / before)) ** 0.5
        expected = before**0.5 * x0 + (1 - before - s * s) ** 0.5 * eps + s * Z
        state, info = DDIM(eta).step(curved, State(X), here, there, Fixed(Z))
        assert torch.allclose(state.x, expected, rtol=1e-12, atol=1e-13)
        assert torch.equal(info.denoised, x0)


def test_ddpm_is_algorithm_2():
    """(x - beta/sqrt(1-abar) eps)/sqrt(1-beta) + sqrt(beta~) z (Ho et al. 2020)."""
    now, before = 0.3, 0.35
    beta = 1 - now / before
    here, there = (Level.of(a**0.5, (1 - a) ** 0.5) for a in (now, before))
    eps = (X - now**0.5 * curved(X, here)) / (1 - now) ** 0.5
    mean = (X - beta / (1 - now) ** 0.5 * eps) / (1 - beta) ** 0.5
    deviation = (beta * (1 - before) / (1 - now)) ** 0.5
    state, _ = DDPM().step(curved, State(X), here, there, Fixed(Z))
    assert torch.allclose(state.x, mean + deviation * Z, rtol=1e-12)


def test_heun_is_algorithm_1():
    """d = (x - D)/sigma; x' = x + h d; x + h (d + d')/2, at alpha = 1 (Karras et al. 2022)."""
    s, s1 = 5.0, 2.0
    here, there = Level.of(1.0, s), Level.of(1.0, s1)
    d = (X - curved(X, here)) / s
    euler = X + (s1 - s) * d
    after = (euler - curved(euler, there)) / s1
    state, _ = Heun().step(curved, State(X), here, there, Zero())
    assert torch.allclose(state.x, X + (s1 - s) * (d + after) / 2, rtol=1e-12)


@pytest.mark.parametrize("solver", [DDIM(), DDIM(0.5), DDPM(), Heun(), DPMSolverPP()])
def test_the_scale_of_a_level_does_not_matter(solver):
    """alpha -> c alpha, sigma -> c sigma, x -> c x with one c per level: the same path. A solver
    that holds only for alpha^2 + sigma^2 = 1 would fail."""

    def plain(x, level, cond=None):
        return curved(x / level.like(x).alpha, Level.of(1.0, level.ratio))

    levels = VP()(torch.linspace(0.9, 0.05, 9, dtype=torch.float64))
    c = torch.linspace(3.0, 0.2, 9, dtype=torch.float64)
    scaled = Level(c * levels.alpha, c * levels.sigma)
    one = sample(solver, plain, X, levels, Seeded([1, 2, 3]))
    two = sample(solver, plain, c[0] * X, scaled, Seeded([1, 2, 3]))
    assert torch.allclose(two, c[-1] * one, rtol=1e-10)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    t=st.floats(0.02, 1.0),
    share=st.floats(0.0, 1.0),
    eta=st.floats(0.0, 1.0),
    schedule=st.sampled_from([VP(), EDM(), Flow(), Cosine()]),
)
def test_coefficients_keep_a_point_mass_marginal(t, share, eta, schedule):
    """For data at one point every eta keeps the marginal: the weights of D add up to alpha', and
    keep^2 sigma^2 + s^2 = sigma'^2, at any pair of levels."""
    here, there = (
        schedule(torch.tensor(t).double()),
        schedule(torch.tensor(max(t * share, 1e-3)).double()),
    )
    zero = lambda x, level, cond=None: 0 * x  # noqa: E731
    one = torch.ones(1, 1, dtype=torch.float64)
    keep = float(DDIM(eta).step(zero, State(one), here, there, Zero())[0].x)
    spread = float(DDIM(eta).step(zero, State(0 * one), here, there, Fixed(eta and one))[0].x)
    total = (keep * float(here.sigma)) ** 2 + spread**2
    assert total == pytest.approx(float(there.sigma) ** 2, rel=1e-9, abs=1e-15)
    gain = float(DDIM(eta).step(lambda x, *_: 0 * x + 1, State(0 * one), here, there, Zero())[0].x)
    assert gain == pytest.approx(float(there.alpha) - keep * float(here.alpha), abs=1e-9)


def test_coefficients_at_the_ends():
    pure, clean, inner = Level.of(0.0, 1.0), Level.of(1.0, 0.0), Level.of(0.6, 0.8)
    pairs = [(pure, inner), (inner, clean), (pure, clean), (pure, pure), (clean, clean)]
    for here, there in pairs:
        for value in (*transfer(here, there), *posterior(here, there)):
            assert value.isfinite()
    assert [float(v) for v in transfer(inner, clean)] == [0.0, 1.0]
    assert [float(v) for v in posterior(pure, inner)] == [0.0, 0.6, 0.8]
    assert [float(v) for v in posterior(inner, inner)] == [1.0, 0.0, 0.0]


def test_heun_makes_one_call_where_the_second_is_not_used():
    middle = Level.of(0.6, 0.8)
    pairs = (middle, Level.of(1.0, 0.0)), (Level.of(0.0, 1.0), middle), (middle, Level.of(0.8, 0.6))
    for pair, expected in zip(pairs, (1, 2, 2)):
        counted = Counted(curved)
        Heun().step(counted, State(X), *pair, Zero())
        assert counted.calls == expected


@pytest.mark.parametrize("build", [lambda: DDIM(-0.1), lambda: DDIM(1.1), lambda: DPMSolverPP(3)])
def test_options_out_of_range_are_refused(build):
    with pytest.raises(BadInput):
        build()
