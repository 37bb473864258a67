"""Guided flows of the classes N(+-1, 1), and populations: the tilted density of any classes."""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded, Zero, join
from scorefield.denoise import Gaussian, Mixture
from scorefield.guide import Tilted, cfg
from scorefield.guide.information import Apart
from scorefield.process import VP, grids
from scorefield.solve import DDPM, Heun, sample, trajectory
from scorefield.solve.laws import cat, close
from tests.guide.test_population import KeepsWeights
from tests.laws.walks import Counted

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


def populate(solver, count=1, levels=LEVELS, dtype=torch.float64, denoise=denoise, size=1):
    noise = Seeded(range(solver.particles * count))
    x = noise.start((size,), levels, dtype=dtype)
    cond = {"label": torch.ones(len(x))}
    with torch.no_grad():
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


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_groups_that_are_resampled_on_the_way_hit_it_too(variance):
    """They are resampled to be the class, and reweighed from there; variance 0 errs by .05."""
    found = populate(Tilted(4.0, particles=8000, variance=variance, threshold=1.0))[-1][0]
    assert float(found.x.mean()) == pytest.approx(TILT[4.0][0], abs=0.06)
    assert float(found.x.var()) == pytest.approx(TILT[4.0][1], abs=0.06)


class Weightless(Tilted):
    """Some of each strength, unweighed."""

    def select(self, log_weight, here, there, noise):
        return super().select(0 * log_weight, here, there, noise)


class OtherSign(Tilted):
    """Prefers what it should not."""

    def select(self, log_weight, here, there, noise):
        who, after, *seen = super().select(-log_weight, here, there, noise)
        return who, -after, *seen


class OneMore(Tilted):
    """The papers' 1 + w, for what is called scale here."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "scale", self.scale + 1)


class Unbalanced(Tilted):
    """What the strengths drew is not weighed."""

    def log_drawn(self, log_paths):
        return 0 * log_paths[:, 0]


class NoNormal(Tilted):
    """Paths without their chance: k.z is left out of eq. 6."""

    def step(self, denoise, state, here, there, noise, cond=None):
        return super().step(denoise, state, here, there, Zero(), cond)


class NotReset(KeepsWeights, Tilted): ...


@pytest.mark.parametrize("slip", [Weightless, OtherSign, OneMore, Unbalanced, NoNormal, NotReset])
def test_a_slipped_population_is_seen(slip):
    assert not hits(slip, 4.0, threshold=1.0 if slip is NotReset else 0.0)


# --- classes of any share and width ---------------------------------------------------------------

SCALES = (1.0, 2.0, 4.0, 8.0)
HALF = grids.vp_root(VP(), 50)


class Classes(NamedTuple):
    """A class among others: the first `own` components of all."""

    all: Mixture
    own: int

    @property
    def share(self) -> float:
        return float(self.all.weights[: self.own].sum())

    @property
    def one(self) -> Mixture:
        leaves = self.all.means, self.all.covs, self.all.weights
        return Mixture(*(leaf[: self.own] for leaf in leaves))

    def denoise(self, x, level, cond=None):
        return (self.all if cond is None else self.one).denoise(x, level)


def line(own, other, share) -> Classes:
    """Components (mean, variance, weight in its class), in 1-D."""
    means, variances, weights = torch.tensor([*own, *other]).double().T
    shares = torch.tensor([share] * len(own) + [1 - share] * len(other)).double()
    return Classes(Mixture(means[:, None], variances[:, None, None], weights * shares), len(own))


NARROW, LEFT = [(2.0, 0.5, 1.0)], [(-1.0, 0.2, 1.0)]
PARTS = [(-1.0, 0.5, 0.6), (3.0, 0.5, 0.4)]
ON_A_LINE = {
    "apart, .3": line(NARROW, LEFT, 0.3),
    "apart, .05": line(NARROW, LEFT, 0.05),
    "apart, .95": line(NARROW, LEFT, 0.95),
    "inside": line([(0.0, 0.3, 1.0)], [(0.5, 2.0, 1.0)], 0.2),
    "around": line([(0.0, 2.0, 1.0)], [(0.5, 0.3, 1.0)], 0.3),
    "overlapping": line([(0.0, 1.0, 1.0)], [(-2.0, 1.0, 1.0)], 0.05),
    "in parts": line(PARTS, [(-1.3, 0.5, 0.75), (0.0, 0.3, 0.25)], 0.2),
}
IN_A_PLANE = Classes(
    Mixture(
        torch.tensor([[1.5, 0.5], [-0.5, 2.0], [-1.0, -1.0], [0.5, -0.5]]).double(),
        torch.tensor(
            [
                *([0.5, 0.2, 0.2, 0.3], [0.2, 0.0, 0.0, 0.4]),
                *([0.3, -0.1, -0.1, 0.6], [0.4, 0.1, 0.1, 0.2]),
            ]
        )
        .double()
        .view(4, 2, 2),
        torch.tensor([0.1, 0.1, 0.5, 0.3]).double(),
    ),
    own=2,
)


def tilted(classes, scale):
    """log of the integral, mean and variance of each coordinate, by quadrature."""
    size = classes.all.means.shape[1]
    t = torch.linspace(-12, 12, 20_001 if size == 1 else 401, dtype=torch.float64)
    points = torch.cartesian_prod(*[t] * size).view(-1, size)
    log_p = (1 - scale) * classes.all.log_prob(points) + scale * classes.one.log_prob(points)
    share = log_p.softmax(0)
    mean = share @ points
    log_integral = log_p.logsumexp(0) + size * (t[1] - t[0]).log()
    return float(log_integral), mean, share @ (points - mean) ** 2


def found(kind, classes, particles=2000, **options):
    """The state at the end, a group for each of the scales."""
    scale = torch.tensor(SCALES).repeat_interleave(particles)
    solver, size = kind(scale, particles=particles, **options), classes.all.means.shape[1]
    return populate(solver, 4, HALF, denoise=classes.denoise, size=size)[-1][0]


def is_tilted(kind, classes, **options) -> bool:
    """At every scale: means to .12 deviations, variances to .15, log of the integral to .08. A
    group of 2,000 that count for 600 errs by .04, .06 and .04, and 50 Gaussian steps by as much."""
    state = found(kind, classes, **options)
    right = []
    for i, scale in enumerate(SCALES):
        log_integral, mean, variance = tilted(classes, scale)
        x = state.x[2000 * i : 2000 * (i + 1)]
        right.append(((x.mean(0) - mean).abs() < 0.12 * variance.sqrt()).all())
        right.append(((x.var(0) / variance - 1).abs() < 0.15).all())
        right.append(abs(float(state.log_evidence[2000 * i]) - log_integral) < 0.08)
    return all(right)


@pytest.mark.parametrize("name", [*ON_A_LINE, "in a plane"])
def test_classes(name):
    assert is_tilted(Tilted, ON_A_LINE.get(name, IN_A_PLANE))


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_any_spread_of_the_steps(variance):
    """variance 0 on 50 steps: DDPM's own variances are 12% short."""
    state = found(Tilted, ON_A_LINE["apart, .3"], variance=variance)
    for i, scale in enumerate(SCALES):
        log_integral, mean, var = tilted(ON_A_LINE["apart, .3"], scale)
        x = state.x[2000 * i : 2000 * (i + 1)]
        assert (x.mean(0) - mean).abs() < 0.1 * var.sqrt()
        assert (x.var(0) / var - 1).abs() < 0.2
        assert float(state.log_evidence[2000 * i]) == pytest.approx(log_integral, abs=0.05)


@pytest.mark.parametrize("name", ON_A_LINE)
def test_the_ratio_keeps_its_bound(name):
    """`log p(x|c)/p(x) <= log 1/p(c)`, and is that of the level above clean data."""
    classes = ON_A_LINE[name]
    state = found(Tilted, classes, particles=500)
    assert float(state.log_ratio.max()) < -math.log(classes.share) + 0.02
    truth = classes.one.log_prob(state.x) - classes.all.log_prob(state.x)
    assert (state.log_ratio - truth).square().mean().sqrt() < 0.03


class Gathered(Tilted):
    """The ratio that steps gather, `sum k.z + (b - 1/2) |k|^2`, in place of that on clean data."""

    def init(self, x):
        object.__setattr__(self, "parts", [])
        return super().init(x)

    def step(self, denoise, state, here, there, noise, cond=None):
        if there.sigma > 0:
            _, gain, spread = self.kernel(here, there)
            gap = denoise(state.x, here, cond) - denoise(state.x, here, self.null)
            k, z = (gain / spread) * gap, noise(state.x, here, there)
            b = self.strengths(here).gather(1, self.own(len(k))[:, None])
            vars(self)["parts"].append((k * z + (b - 0.5) * k**2).sum(1))
        return super().step(denoise, state, here, there, noise, cond)

    def _found(self, apart, x0, xi, level, noise):
        return torch.stack(vars(self)["parts"]).sum(0)


class Capped(Gathered):
    """The same, cut at its bound."""

    def _found(self, *given):
        return super()._found(*given).clamp(max=-math.log(0.3))


class Flat(Apart):
    """Denoisers without divergence."""

    def __call__(self, x, level, noise):
        base, gap, div = super().__call__(x, level, noise)
        return base, gap, 0 * div


class Undiverging(Tilted):
    """The ratio without the divergence: what is left is noise of its ray."""

    def _found(self, apart, x0, xi, level, noise):
        flat = Flat(apart.denoise, apart.cond, apart.null, apart.probes)
        return super()._found(flat, x0, xi, level, noise)


def few(*given, **options):
    """Too few points on a ray."""
    return Tilted(*given, nodes=6, **options)


@pytest.mark.parametrize("slip", [Gathered, Capped, Undiverging, Unbalanced, NoNormal, few])
def test_a_slip_is_seen_where_classes_are_apart(slip):
    assert not is_tilted(slip, ON_A_LINE["apart, .3"])


def test_a_gathered_ratio_breaks_its_bound():
    state = found(Gathered, ON_A_LINE["apart, .3"], particles=500)
    assert float(state.log_ratio.max()) > -math.log(0.3) + 1


class OneStrength(Tilted):
    """The class alone, reweighed."""

    def strengths(self, level):
        return 0 * super().strengths(level) + self.plain.reshape(-1, 1)


class FullStrength(Tilted):
    """Guided paths alone."""

    def strengths(self, level):
        return super().strengths(level)[:, -1:].expand(-1, 4)


def test_all_strengths_together_suit_all_classes():
    """Effective sizes at scale 8, of 2,000: 1,480 and 1,120, where the guided alone have 250 and
    the class alone 280."""

    def size(kind, name):
        return float(found(kind, ON_A_LINE[name]).ess[-1])

    assert size(Tilted, "apart, .3") > 4 * size(FullStrength, "apart, .3")
    assert size(Tilted, "overlapping") > 2.5 * size(OneStrength, "overlapping")


# --- what is known of a model ---------------------------------------------------------------------


def boastful(x, level, cond=None):
    """A model that says more of its class than is true, the more the noise."""
    more = (level.sigma**2 / (level.alpha**2 + level.sigma**2)) ** 2
    return denoise(x, level, cond) - (0.5 * more * x if cond is None else 0.0)


def test_the_prior_cuts_a_boastful_ratio():
    solver = Tilted(4.0, particles=500, prior=0.5)
    ratio = populate(solver, levels=FEW, denoise=boastful)[-1][0].log_ratio
    free = populate(Tilted(4.0, particles=500), levels=FEW, denoise=boastful)[-1][0].log_ratio
    assert float(ratio.max()) == pytest.approx(math.log(2))
    assert float(free.max()) > math.log(2) + 0.3


def test_the_prior_changes_nothing_of_a_true_ratio():
    classes = ON_A_LINE["apart, .3"]
    plain, told = (found(Tilted, classes, particles=200, prior=p) for p in (None, 0.3))
    assert (plain.log_ratio - told.log_ratio).abs().max() < 5e-3


def test_groups_that_count_for_few_are_warned_of():
    far = line([(0.0, 1.0, 1.0)], [(-0.7, 1.0, 1.0)], 0.02)
    with pytest.warns(UserWarning, match="counts for"):
        found(Tilted, far, particles=100)


SCALES_THAT_ARE_NONE = [{"scale": scale} for scale in (-1.0, math.nan, torch.ones(2, 2))]
NO_OPTIONS = [{"prior": 0.0}, {"prior": 1.5}, {"nodes": 0}, {"probes": 0}, *SCALES_THAT_ARE_NONE]


@pytest.mark.parametrize("wrong", NO_OPTIONS)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(BadInput):
        Tilted(**{"scale": 2.0, "particles": 4} | wrong)


def test_a_denoiser_without_gradients_is_refused():
    with pytest.raises(BadInput, match="no gradient"):
        populate(Tilted(2.0, particles=4), levels=FEW, denoise=torch.no_grad()(denoise))


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


def test_two_calls_a_step_and_two_for_each_node():
    counted, noise = Counted(denoise), Seeded(range(8))
    solver = Tilted(3.0, particles=4, nodes=10)
    sample(solver, counted, noise.start((1,), FEW), FEW, noise, {})
    assert counted.calls == solver.evals * 12 + 2 * 10


def test_a_scale_for_each_group():
    scale = torch.tensor([2.0, 5.0]).repeat_interleave(16)
    noise = Seeded(range(32))
    x, cond = noise.start((1,), FEW, dtype=torch.float64), {"label": torch.ones(32)}
    together = list(trajectory(Tilted(scale, particles=16), denoise, x, FEW, noise, cond))
    alone = []
    for k in range(2):
        own = slice(16 * k, 16 * k + 16)
        solver, noise = Tilted(float(scale[16 * k]), particles=16), Seeded(range(32)[own])
        label = {"label": cond["label"][own]}
        alone.append(list(trajectory(solver, denoise, x[own], FEW, noise, label))[-1][0])
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


def test_the_page_does_what_it_says():
    page = (Path(__file__).parents[2] / "docs/guidance.md").read_text()
    names: dict = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert float(names["narrowed"].mean()) == pytest.approx(2.3, abs=0.06)
    assert float(names["tilted"].mean()) == pytest.approx(1.54, abs=0.05)
