"""Errata of samplers: variances, conventions, orders."""

import math

import torch
from torch import Tensor

from scorefield.base import Level, Zero
from scorefield.denoise import Gaussian
from scorefield.process import VP, DiscreteVP, grids
from scorefield.solve import DDIM, DDPM, EulerMaruyama, GradientEstimation, Solver, langevin, sample
from tests.errata.affine import Units, sampled, variance
from tests.errata.table import erratum

UNIT = Gaussian(torch.zeros(1).double(), torch.eye(1).double())
POINT = Gaussian(torch.zeros(1).double(), torch.zeros(1, 1).double())
TEN = DiscreteVP(torch.linspace(0.01**0.5, 0.03**0.5, 10).double() ** 2)
"""Ten steps, sqrt(beta) in equal steps from .1 to .173."""
LEVELS = grids.timesteps(TEN, 10)


@erratum
def test_variance_of_the_reverse_step() -> tuple[float, float]:
    """printed: the posterior's variance is the reverse step's
    right: for data in one point; for N(0, I) data beta is, and only its last step, without noise,
        lacks beta_1 = .01
    of: final variance, N(0, 1) data, exact eps, T = 10, beta from .01 to .03 (its root evenly)
    numbers: .990, .951
    """
    return sampled(DDPM(1.0), UNIT.denoise, LEVELS), sampled(DDPM(0.0), UNIT.denoise, LEVELS)


@erratum
def test_variance_of_the_reverse_step_for_a_point() -> tuple[float, float]:
    """printed: beta is the reverse step's variance
    right: for N(0, I) data; for data in one point the posterior's is
    of: variance at the last noisy level of the same chain, all data at 0: 1 - abar_1
    numbers: .0100, .0181
    """
    noisy, start = LEVELS.at(slice(0, -1)), float(LEVELS.sigma[0]) ** 2
    small, large = (sampled(DDPM(v), POINT.denoise, noisy, start) for v in (0.0, 1.0))
    return small, large


@erratum
def test_no_noise_at_the_end() -> tuple[float, float]:
    """printed: every step of DDPM adds noise
    right: the step to clean data adds none: x there is D
    of: final variance of the same chain, all data at 0, by `s^2` = beta at every step
    numbers: .0000, .0100
    """
    start = float(LEVELS.sigma[0]) ** 2
    found = sampled(DDPM(1.0), POINT.denoise, LEVELS, start)
    return found, found + float(TEN.betas[0])


@erratum
def test_eta_is_of_a_deviation() -> tuple[float, float]:
    """printed: DDIM's eta is a share of the variance
    right: it multiplies the standard deviation: s = eta s_DDPM
    of: variance of the noise of a step at eta = .5 over that at eta = 1
    numbers: .25, .50
    """

    def drawn(eta: float) -> float:
        solver, x = DDIM(eta), torch.zeros(2, 1).double()
        pair = LEVELS.at(3), LEVELS.at(4)
        x = solver.step(UNIT.denoise, solver.init(x), *pair, Units(first=1))[0].x
        return float(x[1]) ** 2

    return drawn(0.5) / drawn(1.0), 0.5


@erratum
def test_step_below_and_back_up() -> tuple[float, float]:
    """printed: (mu, gamma) family: step to `sigma_{t-1}` and add `sqrt(sigma_{t-1}^2 - sigma'^2) z`
    right: step *below* it, to `sigma' = (sigma_{t-1}/sigma_t^mu)^(1/(1-mu))`; the noise brings x
        back up. mu = 1/2 is DDPM, mu = 0 DDIM
    of: variance reached, one step from sigma = 2 to 1, mu = 1/2, all data at 0
    numbers: 1.00, 1.75

    DDPM beside the family's own step; then the step that stops too early.
    """
    levels = Level.of(1.0, torch.tensor([2.0, 1.0]))
    below = 1.0**2 / 2.0

    def family(x: Tensor, noise, to: float = below) -> Tensor:
        z = noise(x, levels.at(0), levels.at(1))
        return x + (to - 2.0) * (x / 2.0) + math.sqrt(1.0 - below**2) * z

    found = sampled(DDPM(), POINT.denoise, levels, start=4.0)
    assert abs(found - variance(family, 4.0, 1)) < 1e-12
    return found, variance(lambda x, noise: family(x, noise, to=1.0), 4.0, 1)


def measured_order(solver: Solver) -> float:
    """From 320 to 640 steps, on N(0, 1/4) data from VP's t = 1 to logsnr 6."""
    data = Gaussian(torch.zeros(1).double(), torch.full((1, 1), 0.25).double())
    first = float(VP()(torch.tensor(1.0)).logsnr)
    errors = []
    for n in (320, 640):
        levels = VP()(VP().inverse(torch.linspace(first, 6, n + 1).double()))
        ends = (0.25 * levels.alpha**2 + levels.sigma**2).sqrt()
        found = sample(solver, data.denoise, ends[:1, None], levels, Zero())
        errors.append(abs(float(found - ends[-1])))
    return math.log2(errors[0] / errors[1])


@erratum
def test_order_of_gradient_estimation() -> tuple[float, float]:
    """printed: gradient estimation at gamma = 2 is of second order
    right: of first, with a small constant; gamma = 1.5 is of second
    of: measured order of gamma = 2, and of gamma = 1.5
    numbers: 1.0, 2.0
    """
    return measured_order(GradientEstimation(2.0)), measured_order(GradientEstimation(1.5))


# --- Langevin and Euler-Maruyama ------------------------------------------------------------------

STEPS, DELTA, SPREAD = 400, 0.1, 1.25
"""delta of a step, and the variance of N(0, 1) data at alpha = 1, sigma = 1/2."""
HALF = Level.of(1.0, 0.5)


def stationary(spread: float) -> float:
    """Of `x <- x + delta score + spread z`, after STEPS from SPREAD."""

    def walk(x: Tensor, noise) -> Tensor:
        for _ in range(STEPS):
            x = (1 - DELTA / SPREAD) * x + spread * noise(x, HALF, HALF)
        return x

    return variance(walk, SPREAD, STEPS)


def of_the_house() -> float:
    def walk(x: Tensor, noise) -> Tensor:
        return langevin(UNIT.denoise, x, HALF, noise, DELTA / 0.25, STEPS)

    found = variance(walk, SPREAD, STEPS)
    assert abs(found - SPREAD / (1 - DELTA / (2 * SPREAD))) < 1e-9
    return found


@erratum
def test_root_of_two() -> tuple[float, float]:
    """printed: Langevin: `dx = score dt + dW`
    right: `dx = score dt + sqrt(2) dW`: a step is `x + delta score + sqrt(2 delta) z`
    of: stationary variance, target 1.25, delta = .1; the step's bias makes it V/(1 - delta/2V)
    numbers: 1.302, .651
    """
    return of_the_house(), stationary(math.sqrt(DELTA))


@erratum
def test_delta_inside_the_root() -> tuple[float, float]:
    """printed: Langevin: `x + delta score + sqrt(2) delta z`
    right: delta is inside the root, `sqrt(2 delta) z`
    of: the same stationary variance
    numbers: 1.302, .130
    """
    return of_the_house(), stationary(math.sqrt(2) * DELTA)


@erratum
def test_root_of_a_step() -> tuple[float, float]:
    """printed: Euler-Maruyama: `x + drift dt + g dt z`
    right: dW of a step is `sqrt(dt) z`: `x + drift dt + g sqrt(dt) z`
    of: final variance, N(0, 1) data, 100 steps of the default chain to abar_10
    numbers: 1.0, .1
    """
    levels = grids.timesteps(DiscreteVP(), 100).at(slice(0, -1))

    class Outside:
        """sqrt(beta) in place of 1, so that the step adds beta z: g dt for dt = beta, g = 1."""

        def __init__(self) -> None:
            self.units = Units(first=1)

        def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
            beta = 1 - (here.alpha / there.alpha) ** 2
            return beta.sqrt() * self.units(x, here, there)

    x = torch.zeros(101, 1).double()
    x[0] = 1.0
    wrong = sample(EulerMaruyama(), UNIT.denoise, x, levels, Outside())
    return sampled(EulerMaruyama(), UNIT.denoise, levels), float(wrong.square().sum())
