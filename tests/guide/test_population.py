"""Populations: resampling, and twisted Monte Carlo against chains whose evidence is known."""

import math

import pytest
import torch

from scorefield.base import Level, Seeded, Zero, join
from scorefield.denoise import Gaussian
from scorefield.guide import Particles, Twisted, population
from scorefield.process import VP, grids
from scorefield.solve import DDPM, sample, trajectory
from scorefield.solve.laws import cat, close
from tests.laws.walks import Counted
from tests.refusal import fails, refused

MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COV = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
DATA = Gaussian(MEAN, COV)
LOOK = torch.tensor([1.0, 0.5], dtype=torch.float64)
SEEN, ERROR = 1.2, 0.3
LEVELS = grids.karras(VP(), 16)
EYE = torch.eye(2, dtype=torch.float64)


def normal(v, var):
    return -(v.square() / var + (2 * math.pi * var).log()) / 2


def log_psi(x, denoised, level, cond):
    """log p(y|x) of y = LOOK x0 + noise, as if x0 given x had variance .7 of its noise."""
    guess = 0.7 * level.sigma**2 / (level.alpha**2 + level.sigma**2)
    return normal(SEEN - denoised @ LOOK.to(x), (ERROR**2 + guess).to(x))


def vague(x, denoised, level, cond):
    """The same likelihood on clean data, and elsewhere hardly a guess."""
    return log_psi(x, denoised, level, cond) * (1.0 if (level.sigma == 0).all() else 0.2)


def chain_of(solver):
    """Mean and covariance of the x0 that the Gaussian steps draw without a twist."""
    mean, cov = 0 * MEAN, LEVELS.sigma[0] ** 2 * EYE
    for k in range(len(LEVELS.sigma) - 1):
        here, there = LEVELS.at(k), LEVELS.at(k + 1)
        keep, gain, spread = solver.kernel(here, there)
        alpha, sigma = here
        to_data = alpha * COV @ torch.linalg.inv(alpha**2 * COV + sigma**2 * EYE)
        step = keep * EYE + gain * to_data
        mean = step @ mean + gain * (MEAN - alpha * to_data @ MEAN)
        cov = step @ cov @ step.T + spread**2 * EYE
    return mean, cov


def posterior(solver):
    """Of the chain: evidence, mean and covariance."""
    mean, cov = chain_of(solver)
    var = LOOK @ cov @ LOOK + ERROR**2
    pull = cov @ LOOK / var
    left = SEEN - LOOK @ mean
    return normal(left, var).exp(), mean + pull * left, cov - torch.outer(pull, LOOK @ cov)


def runs(solver, count=200):
    noise = Seeded(range(solver.particles * count))
    x = noise.start((2,), LEVELS, dtype=torch.float64)
    *_, (state, _) = trajectory(solver, DATA.denoise, x, LEVELS, noise)
    return state


def errors(solver) -> float:
    """Of the mean of 200 evidence estimates, in standard errors."""
    found = runs(solver).log_evidence[:: solver.particles].exp()
    return float((found.mean() - posterior(solver)[0]) / (found.std() / math.sqrt(len(found))))


@pytest.mark.parametrize("psi", [log_psi, vague])
@pytest.mark.parametrize("variance", [0.0, 1.0])
@pytest.mark.parametrize("threshold", [0.5, 1.0], ids=["rarely", "always"])
def test_the_evidence_is_unbiased(psi, variance, threshold):
    assert abs(errors(Twisted(psi, particles=32, variance=variance, threshold=threshold))) < 3


def other_way(drift, z):
    return -(-drift * (z - drift / 2)).sum(1)


@pytest.mark.parametrize("slip", [lambda drift, z: 0 * z[:, 0], other_way])
def test_a_slipped_weight_is_seen(slip, monkeypatch):
    monkeypatch.setattr(population, "log_ratio", slip)
    assert abs(errors(Twisted(log_psi, particles=32))) > 3


class KeepsWeights:
    """Resampled particles keep the weights they were resampled by."""

    def select(self, log_weight, here, there, noise):
        who, _, *seen = super().select(log_weight, here, there, noise)  # type: ignore[misc]
        return who, log_weight[who], *seen


class NotReset(KeepsWeights, Twisted): ...


class Forgetful(Twisted):
    """Resampled particles begin again with weight 1."""

    def select(self, log_weight, here, there, noise):
        who, after, *seen = super().select(log_weight, here, there, noise)
        return who, torch.where(after == log_weight, after, 0.0), *seen


@pytest.mark.parametrize("slip", [NotReset, Forgetful])
def test_a_slipped_resampling_is_seen(slip):
    assert abs(errors(slip(log_psi, particles=32, threshold=1.0))) > 3


def test_the_population_is_the_posterior():
    """Of the chain's x0, 6,400 particles: the errors are those of 200 groups that agree little
    within, .02 for the mean and twice that for the covariance."""
    solver = Twisted(log_psi, particles=32, variance=1.0)
    x = runs(solver).x
    _, mean, cov = posterior(solver)
    assert (x.mean(0) - mean).abs().max() < 0.02
    assert (torch.cov(x.T) - cov).abs().max() < 0.02
    plain = sample(DDPM(1.0), DATA.denoise, x, LEVELS, Seeded(range(len(x))))
    assert (plain.mean(0) - mean).abs().max() > 0.3


def test_the_pull_is_what_narrow_steps_bear():
    """Evidence estimates of a full pull at variance 0 scatter twice as far."""

    class Full(Twisted):
        def _twist(self, denoise, x, here, there, cond):
            denoised, log_psi, pull = super()._twist(denoise, x, here, there, cond)
            return denoised, log_psi, pull * population.wider(here, there).to(x)

    def scatter(kind):
        return float(runs(kind(log_psi, particles=32), 600).log_evidence.exp().std())

    assert scatter(Full) > 1.5 * scatter(Twisted)


# --- resampling -----------------------------------------------------------------------------------


class Fixed:
    """The same normal for everyone."""

    def __init__(self, z):
        self.z = z

    def __call__(self, x, here, there):
        return torch.full_like(x, self.z)


WEIGHTS = torch.tensor([0.05, 0.4, 0.0, 0.25, 0.1, 0.15, 0.03, 0.02], dtype=torch.float64)
FLAT = Twisted(lambda x, denoised, level, cond: 0 * denoised[:, 0], particles=8, threshold=1.0)
HERE, THERE = Level.of(0.6, 0.8), Level.of(0.8, 0.6)


def test_resampling_is_systematic_and_unbiased():
    """Copies are the expected number rounded up or down; over the uniforms the mean is exact."""
    total = torch.zeros(8, dtype=torch.float64)
    for u in (torch.arange(1000).double() + 0.5) / 1000:
        who, *_ = FLAT.select(WEIGHTS.log(), HERE, THERE, Fixed(float(torch.special.ndtri(u))))
        copies = torch.bincount(who, minlength=8)
        assert ((copies - 8 * WEIGHTS).abs() < 1).all()
        total += copies
    assert (total / 1000 - 8 * WEIGHTS).abs().max() < 2e-3


def test_the_mean_weight_of_a_group_is_kept():
    log_weight = torch.cat((WEIGHTS, 5 * WEIGHTS.flip(0))).log()
    who, after, log_evidence, ess = FLAT.select(log_weight, HERE, THERE, Seeded(range(16)))
    assert ((who < 8) == (torch.arange(16) < 8)).all()
    assert close(after.exp(), torch.tensor([1 / 8, 5 / 8]).double().repeat_interleave(8))
    assert torch.equal(after, log_evidence)
    assert close(ess, (1 / WEIGHTS.square().sum()).expand(16))


def test_even_weights_stay():
    half = Twisted(log_psi, particles=8, threshold=0.4)  # the size is 3.8 of 8 here
    who, after, *_ = half.select(WEIGHTS.log(), HERE, THERE, Zero())
    assert torch.equal(who, torch.arange(8))
    assert torch.equal(after, WEIGHTS.log())
    who, after, *_ = half.select(WEIGHTS.log(), HERE, Level.of(1.0, 0.0), Zero())
    assert not torch.equal(who, torch.arange(8))


# --- laws of a solver -----------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [0.0, 0.5, 1.0])
def test_without_a_potential_it_is_ddpm(variance):
    noise = Seeded(range(8))
    x = noise.start((2,), LEVELS, dtype=torch.float64)
    flat = Twisted(FLAT.log_psi, particles=8, variance=variance)
    found = sample(flat, DATA.denoise, x, LEVELS, noise)
    assert close(found, sample(DDPM(variance), DATA.denoise, x, LEVELS, noise))


def test_one_call_a_step():
    counted, noise = Counted(DATA.denoise), Seeded(range(8))
    sample(Twisted(log_psi, particles=4), counted, noise.start((2,), LEVELS), LEVELS, noise)
    assert counted.calls == len(LEVELS.sigma) - 1


def walked(seeds, levels, dtype=torch.float64, denoise=DATA.denoise):
    noise = Seeded(seeds)
    x = noise.start((2,), levels, dtype=dtype)
    return list(trajectory(Twisted(log_psi, particles=4), denoise, x, levels, noise))


def test_groups_do_not_know_each_other():
    """Two populations, on levels of their own, together and alone."""
    fine, coarse = (grids.karras(VP(), 6, start=start) for start in (1.0, 0.8))
    both = Level(*(torch.stack(pair, 1).repeat_interleave(4, 1) for pair in zip(fine, coarse)))
    together = walked(range(8), both)
    alone = walked(range(4), fine), walked(range(4, 8), coarse)
    for (state, info), (a, info_a), (b, info_b) in zip(together, *alone):
        assert all(close(u, v) for u, v in zip(state, cat([a, b])))
        assert close(info.denoised, torch.cat((info_a.denoised, info_b.denoised)))


def test_some_groups_may_arrive_first():
    clean = Level.of(1.0, 0.0)
    first, last = join([LEVELS.at(8), clean, clean]), join([LEVELS.at(8), LEVELS.at(9), clean])
    both = Level(*(torch.stack(pair, 1).repeat_interleave(4, 1) for pair in zip(first, last)))
    together = walked(range(8), both)
    assert close(together[0][0].x[:4], walked(range(4), first.at(slice(0, 2)))[0][0].x)
    assert close(together[1][0].x[4:], walked(range(4, 8), last)[1][0].x)
    assert all(leaf.isfinite().all() for leaf in together[1][0])


def test_pausing_changes_nothing():
    noise = Seeded(range(4))
    whole = walked(range(4), LEVELS)
    state = Particles(*(leaf.clone() for leaf in whole[6][0]))
    rest = LEVELS.at(slice(7, None))
    again = list(trajectory(Twisted(log_psi, particles=4), DATA.denoise, state, rest, noise))
    assert all(torch.equal(a, b) for a, b in zip(again[-1][0], whole[-1][0]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_follows_x(dtype):
    state, info = walked(range(4), LEVELS, dtype)[-1]
    assert state.x.dtype == info.denoised.dtype == dtype
    assert state.log_weight.dtype == torch.promote_types(dtype, torch.float32)
    assert state.x.isfinite().all()


def test_from_pure_noise():
    levels = join([Level.of(0.0, 1.0), LEVELS.at(slice(4, None))])
    state, _ = walked(range(4), levels)[-1]
    assert all(leaf.isfinite().all() for leaf in state)


def test_the_size_is_reported_for_each_group():
    sizes = torch.stack([state.ess for state, _ in walked(range(8), LEVELS)])
    assert torch.equal(sizes[:, :4], sizes[:, :1].expand(-1, 4))
    assert ((sizes >= 1) & (sizes <= 4 + 1e-9)).all()
    assert (sizes[-1, 0] - sizes[-1, 4]).abs() > 1e-3


@pytest.mark.parametrize("wrong", [{"particles": 0}, {"threshold": 2.0}, {"variance": -1}])
def test_wrong_options_are_refused(wrong):
    refused("", Twisted, log_psi, **{"particles": 4} | wrong)


def test_a_batch_of_broken_groups_is_refused():
    refused("6 samples are not groups of 4", Twisted(log_psi, particles=4).init, torch.zeros(6, 2))


# -- a population in parts


def parts_law(at_once):
    """To rounding: a part steps as the whole does, with its own levels and conditions."""
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).view(12, 2)
    some = LEVELS.at(slice(2, 5))
    less = torch.tensor([1.0] * 6 + [0.8] * 6).double()  # a group shares its levels
    levels = Level(some.alpha[:, None].expand(3, 12), some.sigma[:, None] * less)
    cond = {"shift": torch.linspace(0, 1, 12, dtype=torch.float64)}

    def shifted(x, level, cond):
        return DATA.denoise(x, level) + cond["shift"][:, None]

    found = [
        sample(Twisted(log_psi, size, particles=6), shifted, x, levels, Seeded(range(12)), cond)
        for size in (None, at_once)
    ]
    assert close(found[0], found[1])


@pytest.mark.parametrize("at_once", [1, 5, 6, 12, 99])
def test_a_population_in_parts_is_the_whole(at_once):
    parts_law(at_once)


def test_twin_parts_that_take_the_first_levels(monkeypatch):
    first = lambda self, rows, n: self.at(slice(0, len(range(n)[rows])))  # noqa: E731
    monkeypatch.setattr(Level, "some", first)
    fails("", parts_law, 5)
