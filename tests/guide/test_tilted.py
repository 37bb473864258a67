"""Classes N(+-1, 1) under guidance: where the flow goes, and the density that a population hits."""

import math
from pathlib import Path

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded, Zero, join
from scorefield.denoise import Gaussian, Mixture
from scorefield.guide import Tilted, cfg
from scorefield.process import VP, grids
from scorefield.solve import DDPM, Heun, sample, trajectory
from tests.laws.walks import Counted, cat, close

pytestmark = pytest.mark.slow

ONE = torch.ones(1, 1, dtype=torch.float64)
PLUS = Gaussian(ONE[0], ONE)
BOTH = Mixture(torch.cat((ONE, -ONE)), ONE.expand(2, 1, 1), torch.ones(2).double())
FLOW = {1.0: (1.000, 0.997), 2.0: (1.608, 0.577), 4.0: (2.337, 0.350), 8.0: (3.238, 0.246)}
TILT = {2.0: (1.290, 0.744), 4.0: (1.540, 0.589), 8.0: (1.770, 0.489)}
LEVELS = grids.vp_root(VP(), 120)
FEW = grids.vp_root(VP(), 12)


def denoise(x, level, cond=None):
    return (BOTH if cond is None else PLUS).denoise(x, level)


def quadrature(scale):
    """log of the integral, mean and variance of `p(x)^(1 - scale) p(x|+)^scale`."""
    t = torch.linspace(-12, 14, 50_001, dtype=torch.float64)[:, None]
    log_p = (1 - scale) * BOTH.log_prob(t) + scale * PLUS.log_prob(t)
    share, t = log_p.softmax(0), t[:, 0]
    mean = (share * t).sum()
    log_integral = log_p.logsumexp(0) + (t[1] - t[0]).log()
    return float(log_integral), float(mean), float((share * (t - mean) ** 2).sum())


@pytest.mark.parametrize("scale", TILT)
def test_the_tilted_density(scale):
    assert quadrature(scale)[1:] == pytest.approx(TILT[scale], abs=6e-4)


# --- the flow -------------------------------------------------------------------------------------


def follows(guided, scale) -> bool:
    """The guided flow of 4001 equally likely starts has the mean and variance of the table."""
    levels = grids.vp_root(VP(), 60)
    share = (torch.arange(4001, dtype=torch.float64) + 0.5) / 4001
    x = levels.sigma[0] * torch.special.ndtri(share)[:, None]
    x = sample(Heun(), guided, x, levels, Zero(), {"label": torch.ones(4001)})
    return (float(x.mean()), float(x.var())) == pytest.approx(FLOW[scale], abs=0.02)


@pytest.mark.parametrize("scale", FLOW)
def test_where_the_guided_flow_goes(scale):
    assert follows(cfg(scale)(denoise), scale)


@pytest.mark.parametrize("scale", FLOW)
def test_one_more_than_scale_is_seen(scale):
    assert not follows(cfg(scale + 1)(denoise), scale)


# --- the population -------------------------------------------------------------------------------


def populate(solver, count=1, levels=LEVELS, dtype=torch.float64):
    noise = Seeded(range(solver.particles * count))
    x = noise.start((1,), levels, dtype=dtype)
    cond = {"label": torch.ones(len(x))}
    return list(trajectory(solver, denoise, x, levels, noise, cond))


def hits(kind, scale, threshold=0.5) -> bool:
    """8,000 particles on 120 levels: their mean scatters by .01 and the steps err by .01."""
    state, _ = populate(kind(scale, particles=8000, variance=1.0, threshold=threshold))[-1]
    found = float(state.x.mean()), float(state.x.var())
    return found == pytest.approx(TILT[scale], abs=0.03)


@pytest.mark.parametrize("scale", TILT)
def test_the_population_hits_the_tilted_density(scale):
    assert hits(Tilted, scale)


@pytest.mark.parametrize("scale", TILT)
def test_its_evidence_is_the_integral(scale):
    """8 groups of 1,000; the steps' error grows with scale."""
    state, _ = populate(Tilted(scale, particles=1000, variance=1.0), 8)[-1]
    found = float(state.log_evidence[::1000].exp().mean().log())
    assert found == pytest.approx(quadrature(scale)[0], abs=0.03 * scale)


class Weightless(Tilted):
    """Guidance along the share of eq. 8, uncorrected."""

    def select(self, log_weight, here, there, noise):
        return super().select(0 * log_weight, here, there, noise)


class OtherSign(Tilted):
    """Prefers what it should not."""

    def select(self, log_weight, here, there, noise):
        who, after, *seen = super().select(-log_weight, here, there, noise)
        return who, -after, *seen


class OneMore(Tilted):
    """The papers' 1 + w, for what is called scale here."""

    def share(self, level):
        return Tilted(self.scale + 1, particles=1).share(level)


class NotReset(Tilted):
    """Resampled particles keep the weights they were resampled by."""

    def select(self, log_weight, here, there, noise):
        who, _, *seen = super().select(log_weight, here, there, noise)
        return who, log_weight[who], *seen


class NoNormal(Tilted):
    """The ratio of a path without its chance: k.z is left out of eqs. 6 and 7."""

    def step(self, denoise, state, here, there, noise, cond=None):
        return super().step(denoise, state, here, there, Zero(), cond)


@pytest.mark.parametrize("slip", [Weightless, OtherSign, OneMore, NotReset, NoNormal])
def test_a_slipped_population_is_seen(slip):
    assert not hits(slip, 4.0, threshold=1.0)


class Constant(Tilted):
    """The target `p^(1 - scale) p(.|c)^scale` of noisy x at every level."""

    def share(self, level):
        return torch.tensor(float(self.scale)).double()


def test_with_a_constant_share_it_is_the_feynman_kac_corrector():
    """log w gains scale (scale - 1) / 2 |D1 - D0|^2 (snr_there - snr_here), whatever the noise."""
    here, there, scale = Level.of(0.6, 0.8), Level.of(0.8, 0.6), 3.0
    x = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)
    solver = Constant(scale, particles=3, threshold=0.0)
    after, _ = solver.step(denoise, solver.init(x), here, there, Seeded(range(3)), {})
    apart = (PLUS.denoise(x, here) - BOTH.denoise(x, here)).square().sum(1)
    gained = (there.alpha / there.sigma) ** 2 - (here.alpha / here.sigma) ** 2
    assert close(after.log_weight, scale * (scale - 1) / 2 * apart * gained)


def test_the_share_on_the_way_keeps_groups_together():
    """At scale 8, groups of 250: the mean's error is .25 with a constant share and .06 with eq. 8,
    the scatter of the log evidence .44 and .05."""

    def errs(kind):
        found = populate(kind(8.0, particles=250, variance=1.0), 24, grids.vp_root(VP(), 60))[-1][0]
        miss = found.x.view(24, 250).mean(1) - TILT[8.0][0]
        return torch.stack((miss.square().mean().sqrt(), found.log_evidence[::250].std()))

    assert (errs(Constant) > 2.5 * errs(Tilted)).all()


# --- laws of a solver -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_at_0_and_1_it_is_ddpm(scale, variance):
    noise, cond = Seeded(range(8)), {"label": torch.ones(8)}
    x = noise.start((1,), FEW, dtype=torch.float64)
    found = populate(Tilted(scale, particles=8, variance=variance), levels=FEW)[-1][0]
    plain = sample(DDPM(variance), denoise, x, FEW, noise, cond if scale else None)
    assert close(found.x, plain)
    assert found.log_evidence.abs().max() < 1e-12


def test_two_calls_a_step():
    counted, noise = Counted(denoise), Seeded(range(8))
    sample(Tilted(3.0, particles=4), counted, noise.start((1,), FEW), FEW, noise, {})
    assert counted.calls == 2 * (len(FEW.sigma) - 1) == Tilted.evals * 12


def test_a_scale_for_each_group():
    scale = torch.tensor([2.0, 5.0]).repeat_interleave(16)
    noise = Seeded(range(32))
    x, cond = noise.start((1,), FEW, dtype=torch.float64), {"label": torch.ones(32)}
    together = list(trajectory(Tilted(scale, particles=16), denoise, x, FEW, noise, cond))
    alone = []
    for k in range(2):
        own = slice(16 * k, 16 * k + 16)
        solver, noise = (
            Tilted(float(scale[16 * k]), particles=16),
            Seeded(range(own.start, own.stop)),
        )
        *_, (state, _) = trajectory(
            solver, denoise, x[own], FEW, noise, {"label": cond["label"][own]}
        )
        alone.append(state)
    assert all(close(u, v) for u, v in zip(together[-1][0], cat(alone)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_follows_x(dtype):
    state, info = populate(Tilted(3.0, particles=4), levels=FEW, dtype=dtype)[-1]
    assert state.x.dtype == info.denoised.dtype == dtype
    assert state.log_ratio.dtype == torch.promote_types(dtype, torch.float32)


def test_from_pure_noise():
    levels = join([Level.of(0.0, 1.0), FEW.at(slice(4, None))])
    state, _ = populate(Tilted(3.0, particles=4), levels=levels)[-1]
    assert all(leaf.isfinite().all() for leaf in state)


@pytest.mark.parametrize("scale", [-1.0, math.nan, torch.ones(2, 2)])
def test_wrong_scales_are_refused(scale):
    with pytest.raises(BadInput):
        Tilted(scale, particles=4)


def test_the_page_does_what_it_says():
    page = (Path(__file__).parents[2] / "docs/guidance.md").read_text()
    names: dict = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert float(names["narrowed"].mean()) == pytest.approx(2.3, abs=0.06)
    assert float(names["tilted"].mean()) == pytest.approx(1.55, abs=0.05)
