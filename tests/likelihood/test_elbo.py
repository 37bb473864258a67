"""The discrete bound, term by term, against closed forms on Gaussian data."""

import math
from itertools import pairwise

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded, like
from scorefield.denoise import convert
from scorefield.likelihood import Discretised, elbo, gaussian
from scorefield.likelihood.elbo import divergence
from scorefield.process import EDM, DiscreteVP, grids
from tests.likelihood.truths import UNIT, TwoPoints, mixture, normal
from tests.refusal import refused

torch.set_num_threads(1)
CHAIN = DiscreteVP()
LEVELS = grids.timesteps(CHAIN, 1000)
ENTROPY = (1 + math.log(2 * math.pi)) / 2  # of N(0, 1)


def gaussian_bound(variance: float, levels: Level, share: float) -> tuple[float, list, float]:
    """(L_T, [L_{T-1}, ..., L_1], L_0) for N(0, c) data and its own denoiser, one number a sample,
    averaged over the data: E (x0 - D)^2 = c sigma^2 / V, V = alpha^2 c + sigma^2."""
    a2, s2 = levels.alpha**2, levels.sigma**2
    first = 0.5 * float(a2[0] * variance + s2[0] - 1 - s2[0].log())
    missed = variance * s2 / (a2 * variance + s2)
    terms, small = [], torch.ones(())
    for k, j in pairwise(range(len(a2))):
        beta = 1 - a2[k] / a2[j]
        small = beta * s2[j] / s2[k]
        gain = a2[j].sqrt() * beta / s2[k]
        s = (small.log() * (1 - share) + beta.log() * share).exp()
        terms.append(float((s / small).log() + (small + gain**2 * missed[k]) / s - 1) / 2)
    s = (small.log() * (1 - share) + s2[-1].log() * share).exp()
    last = 0.5 * float((2 * math.pi * s).log() + missed[-1] / s)
    return first, terms, last


def test_perfect_model_of_unit_data():
    """-1.4189, the data's own mean log density: nothing is lost, with 1000 steps or with ten."""
    for levels in (LEVELS, grids.timesteps(CHAIN, 10)):
        found = elbo(normal(1.0).denoise, UNIT, levels, variance=1.0, noise=TwoPoints())
        assert float(found.log_prob.mean()) == pytest.approx(-ENTROPY, abs=1e-3)
        assert float(found.log_prob.mean()) == pytest.approx(-1.4189, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("variance", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_every_term_in_closed_form(share, variance, steps):
    levels = grids.timesteps(CHAIN, steps)
    x0 = UNIT * math.sqrt(variance)
    found = elbo(normal(variance).denoise, x0, levels, variance=share, noise=TwoPoints())
    noisy = levels.at(slice(0, -1))
    first, terms, last = gaussian_bound(variance, noisy, share)
    if steps == 1:  # no step before the last to take its small variance from
        last = gaussian_bound(variance, noisy, 1.0)[2]
    assert float(found.prior.mean()) == pytest.approx(first, abs=1e-9)
    assert found.terms.mean(0).tolist() == pytest.approx(terms, rel=1e-6, abs=1e-9)
    assert float(found.decoder.mean()) == pytest.approx(last, abs=1e-9)
    total = -(first + sum(terms) + last)
    assert float(found.log_prob.mean()) == pytest.approx(total, abs=1e-6)
    assert total <= -ENTROPY - math.log(variance) / 2 + 1e-9  # a lower bound
    assert len(found.edges) == len(terms) + 1


def test_kl_is_the_kl_of_the_two_normals():
    """`divergence` against torch's own KL of q(x_there | x_here, x0) and the model's step."""
    here, there = Level.of(0.5, 0.7), Level.of(0.8, 0.4)
    x0, denoised, x = (torch.randn(4, 3, dtype=torch.float64) for _ in range(3))
    share = torch.rand(4, 3, dtype=torch.float64)
    q2 = (there.ratio / here.ratio) ** 2
    small = there.sigma**2 * (1 - q2)
    n2 = [v.alpha**2 + v.sigma**2 for v in (here, there)]
    large = here.sigma**2 * (1 - q2) * n2[1] / n2[0]
    s2 = small ** (1 - share) * large**share
    laws = [
        torch.distributions.Normal(convert.posterior_mean(x, d, here, there), v.sqrt())
        for d, v in ((x0, small.expand_as(s2)), (denoised, s2))
    ]
    truth = torch.distributions.kl_divergence(*laws).sum(1)
    torch.testing.assert_close(divergence(x0 - denoised, share, here, there), truth)


def test_learned_variance():
    """A share for each number of x, from the denoiser's own moments, and the best one helps."""

    class Learned:
        share = 0.0

        def __call__(self, x, level, cond=None):
            return normal(0.25).denoise(x, level)

        def moments(self, x, level, cond=None):
            return self(x, level), torch.full_like(x, self.share)

    levels, model, x0 = grids.timesteps(CHAIN, 10), Learned(), UNIT / 2
    for share in (0.0, 0.3, 1.0):
        model.share = share
        found = elbo(model, x0, levels, variance="learned", noise=TwoPoints())
        fixed = elbo(model, x0, levels, variance=share, noise=TwoPoints())
        for a, b in zip(found, fixed):
            torch.testing.assert_close(a, b)
    refused("has none", elbo, normal(0.25).denoise, x0, levels, variance="learned")


class TestChance:
    data = mixture(3)

    def test_cells_estimate_the_whole_sum(self):
        x0, levels = self.data.sample(300, 1), grids.timesteps(CHAIN, 100)
        whole = elbo(self.data.denoise, x0, levels, draws=8)
        part = elbo(self.data.denoise, x0, levels, cells=7, draws=8)
        gap = part.log_prob - whole.log_prob
        error = (part.stderr**2 + whole.stderr**2).sum().sqrt() / 300
        assert abs(float(gap.mean())) < 3 * float(error)
        assert part.terms.shape == (300, 7)
        # the cells hold what their steps hold
        steps = [k * 99 // 7 for k in range(8)]
        sums = torch.stack([whole.terms[:, a:b].sum(1) for a, b in pairwise(steps)], 1)
        torch.testing.assert_close(part.terms.mean(0), sums.mean(0), rtol=0.2, atol=0.02)
        torch.testing.assert_close(part.edges, whole.edges[torch.tensor(steps)])

    def test_the_standard_error_is_honest_and_one_draw_has_none(self):
        x0 = self.data.sample(1, 1).expand(400, -1)
        found = elbo(self.data.denoise, x0, grids.timesteps(CHAIN, 20), draws=8)
        ratio = float(found.stderr.square().mean().sqrt() / found.log_prob.std())
        assert ratio == pytest.approx(1, abs=0.15)
        found = elbo(self.data.denoise, self.data.sample(2, 1), grids.timesteps(CHAIN, 5), draws=1)
        assert bool(found.stderr.isnan().all())
        assert bool(found.log_prob.isfinite().all())

    @pytest.mark.parametrize("cells", [None, 4])
    def test_a_sample_is_the_same_whatever_its_batch(self, cells):
        x0, levels = self.data.sample(4, 1), grids.timesteps(CHAIN, 12)
        options = {"cells": cells, "draws": 3}
        whole = elbo(self.data.denoise, x0, levels, noise=Seeded([7, 8, 9, 1]), **options)
        part = elbo(self.data.denoise, x0[2:3], levels, noise=Seeded([9]), **options)
        for a, b in zip(whole[:5], part[:5]):
            torch.testing.assert_close(a[2:3], b)


def test_below_the_truth_on_any_levels_and_with_an_imperfect_model():
    data = mixture(3)
    x0 = data.sample(400, 1)
    truth = data.log_prob(x0)

    def rough(x, level, cond):
        return data.denoise(x, level) + 0.05 * like(level.ratio / (1 + level.ratio), x) * x.sin()

    for levels in (grids.timesteps(CHAIN, 200), grids.karras(EDM(), 100)):
        for share in (0.0, 1.0):
            found = elbo(rough, x0, levels, variance=share)
            gap, error = (found.log_prob - truth).mean(), found.stderr.square().sum().sqrt() / 400
            assert float(gap) < 3 * float(error)


class TestDecoder:
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)

    @pytest.mark.parametrize("deviation", [1e-3, 0.05, 3.0])
    @pytest.mark.parametrize("mean", [-1.2, 0.1, 1.0])
    def test_probabilities_of_all_levels_add_up_to_one(self, mean, deviation):
        x0 = self.levels[:, None]
        log_p = Discretised()(x0, torch.full_like(x0, mean), torch.tensor(deviation**2))
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-6)

    def test_far_bins_keep_their_digits(self):
        """Both tails, a bin 30 deviations out: log p there is about -450, not log 0."""
        x0 = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
        mean = torch.tensor([[0.1], [-0.1]], dtype=torch.float64)
        log_p = Discretised()(x0, mean, torch.tensor(0.02**2).double())
        z = (0.6 - 1 / 255) / 0.02
        leading = -(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi))
        assert log_p.tolist() == pytest.approx([leading, leading], abs=0.01)

    def test_narrow_bins_are_the_density(self):
        x0, mean = torch.tensor([[0.3, -0.2]]).double(), torch.tensor([[0.1, 0.1]]).double()
        variance, width = torch.tensor(0.09).double(), 1e-5
        binned = Discretised(width)(x0, mean, variance)
        density = gaussian(x0, mean, variance) + 2 * math.log(width)
        torch.testing.assert_close(binned, density, atol=1e-5, rtol=0)

    def test_bits_of_fair_pictures(self):
        """A model that knows nothing but the range needs about 8 bits for one of 256 levels."""
        x0 = self.levels[torch.randint(256, (64, 3, 4, 4))]

        blank, level = (
            lambda x, level, cond: torch.zeros_like(x),
            Level.of(torch.tensor([0.8]), 0.6),
        )
        found = elbo(blank, x0, level, decoder=Discretised())
        bits = found.decoder.mean() / 48 / math.log(2)
        assert 8 < float(bits) < 9.5

    def test_bad_width(self):
        refused("", Discretised, 0.0)


WRONG = [{"variance": 2.0}, {"variance": "small"}, {"cells": 0}, {"cells": 9}, {"draws": 0}]


@pytest.mark.parametrize("options", [*WRONG, {"levels": CHAIN(torch.tensor([0.1, 0.5, 1.0]))}])
def test_bad_input(options):
    with pytest.raises(BadInput, match="must decrease" if "levels" in options else ""):
        elbo(normal(1.0).denoise, UNIT, **{"levels": grids.timesteps(CHAIN, 9)} | options)
