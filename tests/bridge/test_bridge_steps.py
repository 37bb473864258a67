"""Bridges, residuals and cold steps on Gaussians, by numbers that a wrong form misses."""

from dataclasses import dataclass, replace

import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.bridge import BridgeStep, ColdStep, blurring, fading
from scorefield.objective import Bridged, Degraded, Fixed, PairResidual
from scorefield.process import Cosine, Flow
from scorefield.solve import DDIM, DDPM, State, sample
from tests.refusal import fails, refused

ONES = torch.ones(1, 1, dtype=torch.float64)


def flow_levels(steps):
    t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return Level(1 - t, t)


class One:
    """Noise that is 1."""

    def __call__(self, x, here, there):
        return torch.ones_like(x)


def moments(solver, mean, levels, start, cross=None):
    """(variance at the end, covariance with x1) of a walk by an affine D from N(0, start): each
    step is known by what it does to 1 without chance and to 0 with it."""
    var, cov = start, start if cross is None else cross
    for k in range(len(levels.sigma) - 1):
        at = levels.at(k), levels.at(k + 1)
        keep = float(solver.step(mean, State(ONES), *at, Zero())[0].x)
        wide = float(solver.step(mean, State(0 * ONES), *at, One())[0].x)
        var, cov = keep**2 * var + wide**2, keep * cov
    return var, cov


def bridge_mean(c, spread):
    """E[x0 | x_t] of x0 ~ N(0, 1), x1 = x0 + c n."""

    def mean(x, level, cond=None):
        t = level.sigma
        return x / (1 + (t * c) ** 2 + spread**2 * t * (1 - t))

    return mean


HALF = 0.5**0.5
I2SB = [(0.5, 1, 0.80), (0.5, 10, 0.906), (0.5, 100, 0.984), (0.5, 1000, 0.998),
        (1.0, 1, 0.50), (1.0, 10, 0.877), (1.0, 100, 0.981)]  # fmt: skip


@pytest.mark.parametrize("c, steps, variance", I2SB)
def test_i2sb_keeps_the_marginal(c, steps, variance):
    var, _ = moments(BridgeStep(HALF), bridge_mean(c, HALF), flow_levels(steps), 1 + c**2)
    assert var == pytest.approx(variance, abs=5e-3)  # those numbers are of another grid


def check_pairs(c, spread, wanted):
    var, cov = moments(BridgeStep(spread), bridge_mean(c, spread), flow_levels(1000), 1 + c**2)
    assert var == pytest.approx(1, abs=4e-3)
    assert cov == pytest.approx(wanted, abs=2e-3)


def test_i2sb_untold_loses_the_pairs():
    check_pairs(0.5, HALF, 0.9016)
    check_pairs(1.0, HALF, 1.1764)
    fails("", check_pairs, 1.0, HALF, 1.0)  # what the pairs have


def test_i2sb_told_keeps_them():
    """Told x1, E[x0 | x_t, x1] leads to Cov(x0, x1) = 1: x1 enters as an input that stays."""
    spread = HALF
    x1 = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0)).double() * 2**0.5

    def told(x, level, cond):
        t = level.sigma  # prior N(x1/2, 1/2); the rest of x_t is (1-t) x0 + s z
        a, v = 1 - t, (spread**2 * t * (1 - t)).clamp(min=1e-12)
        return (x1 / 2 / 0.5 + a * (x - t * x1) / v) / (1 / 0.5 + a**2 / v)

    x = sample(BridgeStep(spread), told, x1, flow_levels(100), Seeded(range(len(x1))))
    assert float((x * x1).mean()) == pytest.approx(1.0, abs=0.05)
    assert float(x.var()) == pytest.approx(1.0, abs=0.05)


def test_the_switch_of_ot_ode_at_sampling_alone_is_too_narrow():
    for c, narrow in ((0.5, 0.650), (1.0, 0.692)):
        var, _ = moments(BridgeStep(0.0), bridge_mean(c, HALF), flow_levels(1000), 1 + c**2)
        assert var == pytest.approx(narrow, abs=2e-3)
    var, cov = moments(BridgeStep(0.0), bridge_mean(1.0, 0.0), flow_levels(1000), 2.0)
    assert var == pytest.approx(1, abs=1e-3)  # the limit, in training and sampling alike
    assert cov == pytest.approx(2**0.5, abs=1e-3)


@pytest.mark.parametrize(
    "steps, var", [(1, 0.5), (2, 0.72), (4, 0.851), (10, 0.938), (100, 0.9936)]
)
def test_indi_is_ddim_on_pairs(steps, var):
    for solver in (DDIM(), BridgeStep()):
        found = moments(solver, bridge_mean(1.0, 0.0), flow_levels(steps), 2.0)[0]
        assert found == pytest.approx(var, abs=6e-4)


def test_where_x1_says_all_there_is_to_know_many_steps_are_one():
    """Two numbers whose mean alone was measured: x_t says it too, and D is the same all the way."""
    x1 = torch.tensor([[0.7, 0.7]], dtype=torch.float64)

    def mean(x, level, cond):
        return x.mean(1, keepdim=True).expand_as(x)

    ends = [sample(BridgeStep(), mean, x1, flow_levels(n), Zero()) for n in (1, 7, 50)]
    assert all(torch.allclose(x, x1, atol=1e-12) for x in ends)


def around(lam, tb):
    alpha = (-torch.as_tensor(tb, dtype=torch.float64)).exp()
    return Level(alpha, lam * (1 - alpha**2).sqrt())


def test_ir_sde_is_ddpm_around_mu():
    here, there = around(0.3, 1.3), around(0.3, 0.9)
    zero, one = (lambda x, level, cond: 0 * x), (lambda x, level, cond: 0 * x + 1)
    step = DDPM().step
    keep = float(step(zero, State(ONES), here, there, Zero())[0].x)
    gain = float(step(one, State(0 * ONES), here, there, Zero())[0].x)
    wide = float(step(zero, State(0 * ONES), here, there, One())[0].x)
    assert (keep, gain) == (pytest.approx(0.604408, abs=1e-6), pytest.approx(0.241849, abs=1e-6))
    assert wide**2 == pytest.approx(0.044687, abs=1e-6)


def ir_variance(steps, solver, chance=True):
    levels = around(0.3, torch.linspace(3, 0, steps + 1, dtype=torch.float64))

    def mean(x, level, cond=None):
        return level.alpha * 0.25 * x / (0.25 * level.alpha**2 + level.sigma**2)

    if chance:
        return moments(solver, mean, levels, 0.09)[0]
    return float(sample(solver, mean, 0.3 * ONES, levels, Zero())) ** 2


def test_the_optimal_path_of_ir_sde_is_no_sampler():
    found = [ir_variance(n, DDPM()) for n in (10, 100)]
    assert found == pytest.approx([0.141, 0.227], abs=1.5e-3)
    for n in (10, 300):  # one number, whatever the steps: the posterior's mean given x_T
        assert ir_variance(n, DDPM(), chance=False) == pytest.approx(0.00171, abs=1e-5)


def cold_error(wrong, improved, steps=10):
    """Of a line in s, x0 + s e, whose restoration is off by `wrong(s)`."""
    x0, e = ONES, 0.5 * ONES
    degrade = fading(lambda x: x + e)

    def restored(x, level, cond):
        return x - level.sigma * e + wrong(level.sigma)

    x = sample(ColdStep(degrade, improved), restored, x0 + e, flow_levels(steps), Zero())
    return abs(float(x - x0))


def check_cold(improved, constant, growing, tolerance=1e-12):
    assert cold_error(lambda s: 0.1, improved) == pytest.approx(constant, abs=tolerance)
    assert cold_error(lambda s: 1.0 * s, improved) == pytest.approx(growing, abs=tolerance)


def test_cold_diffusion_improved_forgives_and_naive_sums():
    check_cold(True, 0.0, 0.0)
    check_cold(False, 1.0, 5.5)
    fails("", check_cold, False, 0.0, 0.0)


def test_improved_cold_is_ddim_for_gaussian_noise():
    """eps read off the restoration: x_s = (x - (1-s) R) / s e."""
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    here, there = Level.of(0.3, 0.7), Level.of(0.6, 0.4)

    def mean(x, level, cond=None):
        return 0.4 * x + 0.1 * x**2

    eps = (x - 0.3 * mean(x, here)) / 0.7
    straight = ColdStep(lambda x0, s: (1 - s.view(-1, 1)) * x0 + s.view(-1, 1) * eps)
    ddim = DDIM().step(mean, State(x), here, there, Zero())[0].x
    assert torch.allclose(straight.step(mean, State(x), here, there, Zero())[0].x, ddim, atol=1e-12)
    naive = replace(straight, improved=False).step(mean, State(x), here, there, Zero())[0].x
    assert torch.allclose(naive, ddim, atol=1e-12)  # exact only because eps was read off R
    fixed = torch.ones_like(x)
    line = ColdStep(lambda x0, s: (1 - s.view(-1, 1)) * x0 + s.view(-1, 1) * fixed)
    assert not torch.allclose(line.step(mean, State(x), here, there, Zero())[0].x, ddim, atol=1e-3)


def test_blur_keeps_means_and_waves_of_its_own():
    x = torch.randn(2, 1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    degrade = blurring(2.0)
    assert torch.allclose(degrade(x, torch.zeros(2)), x, atol=1e-12)
    found = degrade(x, torch.tensor([0.5, 1.0]))
    assert torch.allclose(found.mean((2, 3)), x.mean((2, 3)), atol=1e-12)
    wave = (torch.pi / 8 * (torch.arange(8) + 0.5)).cos().double().expand(1, 1, 6, 8)
    decay = torch.exp(torch.tensor(-((torch.pi / 8 * 2.0) ** 2) / 2))
    assert torch.allclose(degrade(wave, torch.ones(1)), decay * wave, atol=1e-7)


@dataclass(frozen=True)
class Affine:
    slope: float

    def __call__(self, x, level, cond=None):
        return self.slope * x


def learned_slope(objective, x0, cond, seed=0):
    """The a of D = a x that the loss is least at: a parabola through three losses."""
    chance = objective.draw(tuple(x0.shape), torch.Generator().manual_seed(seed))
    low, mid, high = (
        float(objective.loss(Affine(a), x0, cond, chance).per_sample.double().mean())
        for a in (0.0, 0.5, 1.0)
    )
    return 0.5 + (low - high) / (4 * (low + high - 2 * mid))


def pair_batch(c=1.0, n=400_000):
    rng = torch.Generator().manual_seed(3)
    x0, more = (torch.randn(n, 1, generator=rng).double() for _ in range(2))
    return x0, {"image": x0 + c * more}


def check_minimum(learn, wanted):
    x0, cond = pair_batch()
    objective = Bridged(times=Fixed(0.4 / 0.6), spread=HALF, conditional=False, learn=learn)
    assert learned_slope(objective, x0, cond) == pytest.approx(wanted, abs=4e-3)


def test_what_a_bridge_learns():
    """D of the mean, and of the flow: x - t v, v = d/dt sqrt(var) x / sqrt(var) on Gaussians."""
    t, v = 0.4, 0.5
    var, slope = 1 + t**2 + v * t * (1 - t), 2 * t + v * (1 - 2 * t)
    mean, flow = 1 / var, 1 - t * slope / (2 * var)
    check_minimum("mean", mean)
    check_minimum("flow", flow)
    fails("", check_minimum, "flow", mean)


def test_a_residual_is_learned_in_its_unit():
    x0, cond = pair_batch(0.5)
    objective = PairResidual(Flow(), times=Fixed(1.0), unit=0.5)
    # x0 - x1 = -c n, of variance 1 in the unit: at (.5, .5) E[x0 | x] = x
    assert learned_slope(objective, x0, cond) == pytest.approx(1.0, abs=5e-3)


def test_a_degraded_objective_asks_for_x0():
    x0 = torch.ones(4, 1)
    objective = Degraded(fading(lambda x: 0 * x), times=Fixed(3.0))
    chance = objective.draw((4, 1), torch.Generator().manual_seed(0))
    assert float(objective.loss(Affine(4.0), x0, None, chance).per_sample.max()) < 1e-6


def test_what_is_refused():
    x0, cond = torch.zeros(2, 1, 4, 4), {"image": torch.zeros(2, 3, 4, 4)}
    rng = torch.Generator()
    refused("pairs have shapes", Bridged(), Affine(1.0), x0, cond, rng)
    refused("schedule flow", Bridged, Cosine())
    refused("one side only", PairResidual(Cosine()), Affine(1.0), x0, None, rng)
    refused("spread", BridgeStep, -1.0)
    noisy = ColdStep(lambda x0, s: x0 + torch.randn_like(x0))
    refused("another x each time", sample, noisy, Affine(1.0), x0, flow_levels(2), Zero())
