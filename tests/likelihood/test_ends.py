"""Both ends of the flow: right to 1e-4 nats or known not to be, for posterior means and velocities.

Truths: Gaussians with deviations from .01 to 10 and means up to 20, far modes, on every schedule;
and flows that are no posterior means, whose densities are those of the maps they integrate to."""

import math
import warnings
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Seeded
from scorefield.denoise import Gaussian, Mixture
from scorefield.likelihood import Rough, ends, flow_log_prob, path, start_log_prob
from scorefield.likelihood.trace import exact_trace
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Learned, SubVP, grids
from scorefield.process.discrete import cosine_betas, linear_betas, zero_terminal_snr
from scorefield.solve import RK, Arc, DormandPrince
from tests.laws.walks import Counted
from tests.likelihood.truths import mixture

torch.set_num_threads(1)
NEAR = 1e-4
"""nats: what `flow_log_prob` promises where it does not warn."""


def normal(mean: float, std: float, dims: int = 1) -> Gaussian:
    eye = torch.eye(dims, dtype=torch.float64)
    return Gaussian(torch.full((dims,), mean, dtype=torch.float64), std**2 * eye)


def modes(low: float, high: float, share: float, std: float = 0.5) -> Mixture:
    means = torch.tensor([[low], [high]], dtype=torch.float64)
    weights = torch.tensor([share, 1 - share], dtype=torch.float64)
    return Mixture(means, std**2 * torch.ones(2, 1, 1, dtype=torch.float64), weights)


LAWS = {
    "narrow": normal(1, 0.01), "lean": normal(-2, 0.05), "wide": normal(0, 10),
    "far": normal(20, 1), "far and wide": normal(20, 10), "a far mode": modes(0, 12, 0.7),
    "two far modes": modes(-10, 10, 0.3, 1.0), "R^16": mixture(16),
}  # fmt: skip
SCHEDULES = {
    "vp": VP(), "subvp": SubVP(), "ve": VE(), "edm": EDM(), "cosine": Cosine(), "flow": Flow(),
    "linear betas": DiscreteVP(), "hundred betas": DiscreteVP(linear_betas(100, 1e-3, 0.2)),
    "cosine betas": DiscreteVP(cosine_betas()),
    "no signal left": DiscreteVP(zero_terminal_snr(linear_betas())), "learned": Learned(),
}  # fmt: skip


PAIRS = [
    (schedule, law) for schedule in SCHEDULES for law in LAWS
    if schedule in ("vp", "flow", "learned") or law in ("narrow", "a far mode", "R^16")
]  # fmt: skip
"""Every law on three schedules, and three laws on every schedule."""


def off(law, schedule, denoise=None, n: int = 4, **options) -> tuple[float, float]:
    """The largest error and the largest estimate of it."""
    x = law.sample(n, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Rough)
        found = flow_log_prob(denoise or law.denoise, x, schedule, **options)
    return float((found.log_prob - law.log_prob(x)).abs().max()), float(found.ends.max())


class TestPosteriorMeans:
    @pytest.mark.parametrize("schedule, law", PAIRS)
    def test_right_or_known_not_to_be(self, schedule, law):
        schedule, law = SCHEDULES[schedule], LAWS[law]
        error, known = off(law, schedule)
        # twice: of N(1, .01^2) in R the 64 steps of the walk take 2e-4
        assert error < max(2 * NEAR, 3 * known)
        if not isinstance(schedule, Learned) and law is not LAWS["narrow"]:
            assert known < NEAR or float(path(schedule, 1).ratio[-1]) > 0.19 * 0.05

    @pytest.mark.parametrize("name", ["learned", "ve"])
    def test_the_prior_of_pure_noise_is_its_twin(self, name):
        """With signal left N(0, sigma^2) is off by .003 on VE, and eq. 8 by nothing."""
        law, schedule = modes(-2, 3, 0.6), SCHEDULES[name]
        assert off(law, schedule)[0] < NEAR
        assert off(law, schedule, prior=start_log_prob)[0] > 1e-3

    @pytest.mark.parametrize("law", [LAWS["a far mode"], LAWS["R^16"]], ids=["R", "R^16"])
    def test_the_learned_schedule_as_it_begins(self, law):
        """It was .06 to .5 off, extrapolated in rho from alpha/sigma = .08 to .33."""
        error, known = off(law, Learned())
        assert error < 1e-3
        assert error < 3 * known or error < NEAR

    def test_ve_with_a_far_mode(self):
        assert off(LAWS["two far modes"], VE())[0] < NEAR  # it was .012 off


def field(u):
    """The denoiser of the velocity dx/ds = u(x, s) from noise to data, on alpha = s."""

    def denoise(x: Tensor, level: Level, cond=None) -> Tensor:
        alpha, sigma = level.like(x)
        t, x = sigma / (alpha + sigma), x / (alpha + sigma)
        return x + t * u(x, 1 - t)

    return denoise


def straight(scale: float, shift: float):
    """Of the map `scale z + shift`, along straight lines."""
    return lambda x, s: (scale - 1) * (x - s * shift) / (1 - (1 - scale) * s) + shift


FIELDS = {
    "3 s^2 x": (lambda x, s: 3 * s**2 * x, normal(0, math.e)),
    "-3 t^2 x": (lambda x, s: -3 * (1 - s) ** 2 * x, normal(0, 1 / math.e)),
    "z + 5": (straight(1.0, 5.0), normal(5, 1)),
    "z/5 + 3": (straight(0.2, 3.0), normal(3, 0.2)),
    "10 z - 20": (straight(10.0, -20.0), normal(-20, 10)),
    "z/5 + 3 in R^8": (straight(0.2, 3.0), normal(3, 0.2, 8)),
}
SOLVERS = {"rk4": (RK(), 64), "dopri": (DormandPrince(1e-6, 0.0), 4), "arc": (Arc(), 400)}


class TestVelocities:
    """Flows that are no posterior means: what is exact for them is eqs. 6 and 7 only."""

    @pytest.mark.parametrize("name", FIELDS)
    def test_truth(self, name):
        u, law = FIELDS[name]
        error, known = off(law, Flow(), field(u))
        assert error < NEAR
        # in many dimensions a few of them might be narrow, which a trace does not tell
        assert known < (NEAR if len(law.mean) == 1 else 30 * NEAR)

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_other_solvers(self, solver):
        u, law = FIELDS["z/5 + 3"]
        how, steps = SOLVERS[solver]
        assert off(law, Flow(), field(u), solver=how, levels=path(Flow(), steps))[0] < NEAR

    def test_one_that_turns(self):
        """Rotation about the origin and a pull to it: no gradient, N(0, exp(-2)) in the plane."""
        turn = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]], dtype=torch.float64)
        error, _ = off(normal(0, 1 / math.e, 2), Flow(), field(lambda x, s: x @ turn.mT))
        assert error < NEAR

    @pytest.mark.parametrize("name", ["3 s^2 x", "z + 5", "z/5 + 3"])
    def test_the_form_of_posterior_means_is_its_twin(self, name, monkeypatch):
        monkeypatch.setattr(ends, "CLEAN", ends.ODD)
        u, law = FIELDS[name]
        assert off(law, Flow(), field(u))[0] > 1e-3

    def test_a_map_to_a_narrow_law_is_known_to_be_rough(self):
        error, known = off(normal(3, 0.01), Flow(), field(straight(0.01, 3.0)))
        assert NEAR < error < 3 * known


class TestFloor:
    """What the last level knows: the density of data with its noise."""

    @pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
    def test_exact_however_narrow_the_data(self, schedule):
        law = LAWS["narrow"]
        first = schedule(torch.tensor(schedule.floor, dtype=torch.float64))
        x = law.sample(4, 1)
        with torch.no_grad():
            alpha = first.alpha
            truth = law.log_prob(alpha * x, Level(alpha, first.sigma)) + alpha.log()
        levels = path(schedule, 96)  # data of deviation .01: the walk's own error falls below 1e-4
        with warnings.catch_warnings():
            warnings.simplefilter("error", Rough)
            found = flow_log_prob(law.denoise, x, schedule, levels=levels, floor=True)
        torch.testing.assert_close(found.log_prob, truth, atol=NEAR, rtol=0)

    def test_it_is_not_the_density_of_clean_data(self):
        law = normal(0, 0.01)
        error, _ = off(law, VP(), floor=True)
        assert error > 0.1  # the twin: VP's last level doubles this variance


class TestWarnings:
    def test_of_a_last_level_as_noisy_as_the_data_and_of_a_noisiest_level_with_signal(self):
        for law, schedule, n, says in (
            (normal(0, 0.01), VP(), 2, r"the last level's noise, 0\.01, is not small"),
            (LAWS["two far modes"], Learned(), 4, r"noisiest level's signal, 0\.082, is not small"),
        ):
            with pytest.warns(Rough, match=says):
                flow_log_prob(law.denoise, law.sample(n, 1), schedule, levels=path(schedule, 24))

    def test_of_modes_that_do_not_see_each_other(self):
        """At the mode of .7 nothing tells of that of .3: log .7 is missing, and x there is told."""
        means = torch.stack([torch.zeros(16), torch.full((16,), 12.0)]).double()
        covs = 0.25 * torch.eye(16).double().expand(2, -1, -1)
        law = Mixture(means, covs, torch.tensor([0.7, 0.3]).double())
        assert min(off(law, Learned(), n=8, levels=path(Learned(), 24))) > 0.1

    @pytest.mark.parametrize("schedule", [VP(), EDM(), Flow()], ids=repr)
    def test_none_where_it_is_right(self, schedule):
        law = mixture(4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flow_log_prob(law.denoise, law.sample(8, 1), schedule, levels=path(schedule, 24))

    @pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
    def test_probes_do_not_look_like_ends(self, probe):
        law = mixture(4)
        options = {"levels": path(VP(), 24), "probe": probe}
        found = flow_log_prob(law.denoise, law.sample(8, 1), VP(), 2, **options)
        assert float(found.ends.max()) < NEAR


class TestPureNoise:
    """Schedules that lose all signal: N(0, sigma^2) is right there, and nowhere before."""

    def test_what_samplers_draw_is_the_data(self):
        """A path ends at alpha/sigma = 1/400, and a mean of 20 is .15 nats there; cosine betas go
        on to their last level, 5e-5, where it is 3e-3."""
        law, cosine = LAWS["far"], SCHEDULES["cosine betas"]
        for schedule, prior, within in (
            *((schedule, start_log_prob, NEAR) for schedule in (Flow(), Cosine())),
            (Flow(), law.log_prob, NEAR),
            (cosine, start_log_prob, 0.01),
        ):
            assert off(law, schedule, prior=prior)[0] < within

    def test_levels_that_begin_with_it(self):
        levels = grids.karras(Flow(), 64, stop=Flow().floor)
        assert float(levels.alpha[0]) == 0
        law = LAWS["a far mode"]
        assert off(law, Flow(), levels=levels, solver=DormandPrince(1e-6, 0.0))[0] < NEAR
        law = mixture(1)
        x = law.sample(2, 1)
        latent = flow_log_prob(law.denoise, x, Flow(), levels=levels).latent
        near = flow_log_prob(law.denoise, x, Flow()).latent
        torch.testing.assert_close(latent, near, atol=0.02, rtol=0)  # 2/400 apart
        assert float((latent - near).abs().max()) > 1e-4

    def test_a_path_that_stops_early_is_refused(self):
        x, levels = torch.ones(1, 1).double(), path(Flow(), 8).at(slice(5, None))
        with pytest.raises(BadInput, match="not nearly noise there"):
            flow_log_prob(LAWS["far"].denoise, x, Flow(), levels=levels)


class TestOrders:
    """Of eqs. 6, 7 and 8, on the ends alone: truth is the mixture at the level."""

    data = mixture(3)

    def slope(self, off, sizes):
        """The least of the mean error of `off(size)`."""
        with torch.no_grad():
            errors = [float(off(size).abs().mean()) for size in sizes]
        return min(math.log2(a / b) for a, b in pairwise(errors))

    def to_data(self):
        x0 = self.data.sample(16, 1)

        def off(r):
            level = Level.of(0.9, 0.9 * r)
            x, gained, _ = ends.from_data(exact_trace(self.data.denoise), x0, level, None)
            return gained[:, 0] + self.data.log_prob(x, level) - self.data.log_prob(x0)

        return self.slope(off, (0.16, 0.08, 0.04))

    def to_noise(self, pure=False):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).double()
        denoise, there = self.data.denoise, Level.of(0.0, 1.0)

        def off(rho):
            here, trace = Level.of(rho, 1.0), exact_trace(denoise)
            if pure:
                end = ends.to_pure(trace, x[:16], here, there, None)
                found = end.nats[:, 0] + start_log_prob(end.x, there)
            else:
                found = ends.to_noise(denoise, trace, x, here, None).nats[:, 0]
            return found - self.data.log_prob(x, here)[: len(found)]

        return self.slope(off, (0.2, 0.1, 0.05))

    def test_orders_and_a_weight_too_much_is_their_twin(self, monkeypatch):
        assert self.to_data() > 5.5  # the sixth power of r, with a small factor; then the eighth
        assert self.to_noise() > 8.5  # ninth power of rho
        assert self.to_noise(pure=True) > 3.5  # fourth power: a step of order 3
        monkeypatch.setattr(ends, "NOISY", ends.CLEAN)
        monkeypatch.setattr(ends, "CLEAN", ends.FEWER)
        assert self.to_data() < 5
        assert self.to_noise() < 6

    def test_conditions(self):
        """Of CLEAN and STAGES: f = a + b r + ..., and f = r g(y, r^2) to the second order."""
        c = torch.tensor(ends.NODES, dtype=torch.float64)
        b = torch.tensor(ends.CLEAN, dtype=torch.float64)
        a = torch.zeros(4, 4, dtype=torch.float64)
        for i, row in enumerate(ends.STAGES):
            a[i, :i] = torch.tensor(row, dtype=torch.float64)
        one = torch.ones(4, dtype=torch.float64)
        found = [(b * c**k).sum() for k in (0, 1, 3, 5)]
        found += [b @ a @ one, (b * c) @ a @ one, (b * c) @ a @ c]
        found += [(b * c**3) @ a @ c, (b * c) @ a @ c**3]
        right = [1, 1 / 2, 1 / 4, 1 / 6, 1 / 2, 1 / 3, 1 / 8, 1 / 12, 1 / 24]
        torch.testing.assert_close(torch.stack(found), torch.tensor(right, dtype=torch.float64))


def test_the_ends_cost_few_calls():
    """A walk of 64 steps of RK is 256 calls; the ends were 6 with a trace."""
    law = normal(0, 1)
    for schedule, most in ((Flow(), 7), (VP(), 16)):
        counted = Counted(law.denoise)
        flow_log_prob(counted, law.sample(1, 1), schedule, 1, noise=Seeded([0]))
        assert counted.calls == 256 + most
