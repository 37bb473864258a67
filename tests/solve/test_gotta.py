"""Gotta Go Fast: the path is one whatever is refused, each sample pays its own calls, every law."""

import math

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import gotta, laws, sample, trajectory
from scorefield.solve.gotta import GottaGoFast, Path, level
from scorefield.solve.laws import EIGHT, GAUSSIAN, check_dtype, logsnr_levels
from scorefield.solve.laws import begun as start
from tests.laws.moments import check_marginals, check_weak_order
from tests.laws.steps import check_pure_noise
from tests.laws.walks import Counted
from tests.refusal import fails, refused
from tests.solve.test_sa import LAWS_OF_A_STEP

SOLVER = GottaGoFast()


@pytest.fixture
def plant(monkeypatch):
    """Puts a defective path in the place of the path."""
    return lambda twin: monkeypatch.setattr(gotta, "Path", twin)


class Redrawn(Path):
    """Draws anew where a step was refused."""

    def halve(self, chosen, noise, x):
        super().halve(chosen, noise, x)
        start, end = level(self.at(0)), level(self.at(1))
        who = chosen.nonzero().flatten()
        self.z[who] = noise(x, start, end).to(self.z)[who]
        self.second[self.depth[who], who] = noise(x, end, start).to(self.z)[who]


class HalfAndHalf(Path):
    """The bridge of a clock in which both halves of a node are of one length."""

    def halve(self, chosen, noise, x):
        z = self.z
        w = noise(x, level(self.at(0)), level(self.at(0.5)))
        super().halve(chosen, noise, x)
        who = chosen.nonzero().flatten()
        self.z[who] = ((z + w) / math.sqrt(2))[who]
        self.second[self.depth[who], who] = ((z - w) / math.sqrt(2))[who]


class WholeNodes(Path):
    """The key of a node's draw is the node, as that of the root is."""

    def halve(self, chosen, noise, x):
        node = level(self.at(0)), level(self.at(1))
        super().halve(chosen, lambda x, here, there: noise(x, *node), x)


# --- the path -------------------------------------------------------------------------------------


def check_halves(path):
    """Down to first halves and on over second ones, at random: increments add up to the whole."""
    n, rng = 40, torch.Generator().manual_seed(0)
    noise, x = Seeded(range(n)), torch.zeros(n, 2, dtype=torch.float64)
    whole, start = noise(x, Level.of(0.0, 1.0), Level.of(1.0, 0.1)), torch.full_like(x[:, 0], 1.5)
    path = path(start, start / 15, whole)
    total, arrived = torch.zeros_like(x), torch.zeros(n, dtype=torch.bool)
    while not arrived.all():
        descend = torch.rand(n, generator=rng) < 0.4
        path.halve(descend & (path.depth < 6) & ~arrived, noise, x)
        variance = path.at(1).tan() ** -2 - path.at(0).tan() ** -2
        total = total + torch.where(arrived, 0.0, variance.sqrt())[:, None] * path.z
        arrived = arrived | path.move(~arrived)
    span = math.tan(0.1) ** -2 - math.tan(1.5) ** -2
    assert laws.close(total / math.sqrt(span), whole, 1e-10)


def test_halves_add_up_to_the_whole():
    check_halves(Path)
    for twin in (Redrawn, HalfAndHalf):
        fails("", check_halves, twin)


class Recorded:
    """A noise that keeps its keys: the pairs of float32 ratios of sample 0."""

    def __init__(self):
        self.keys = []

    def __call__(self, x, here, there):
        pair = (level.ratio.expand(len(x))[0].float() for level in (here, there))
        self.keys.append(tuple(map(float, pair)))
        return Seeded([5])(x, here, there)


def check_keys():
    """No two draws of a run have the same key, nor one of another solver on the same grid."""
    noise = Recorded()
    levels = grids.uniform_logsnr(VP(), 8)
    sample(SOLVER, EIGHT.denoise, start([5], levels), levels, noise)
    assert len(noise.keys) > 50
    assert len(set(noise.keys)) == len(noise.keys)


def test_every_draw_is_its_own(plant):
    check_keys()
    plant(WholeNodes)
    fails("", check_keys)


# --- the tolerance --------------------------------------------------------------------------------

SEEDS = list(range(40))


def ends(schedule, tolerance, denoise=GAUSSIAN.denoise):
    """Where 40 seeds end at a tolerance, in units of the last level's scale."""
    levels = logsnr_levels(schedule, 1)
    x = Seeded(SEEDS).start((3,), levels, dtype=torch.float64)
    solver = GottaGoFast(tolerance, tolerance)
    return sample(solver, denoise, x, levels, Seeded(SEEDS)) / torch.hypot(*levels.at(1))


def check_one_path(schedule):
    """One seed, one end: over 40 seeds within twice the tolerance, in the mean square, of where
    the same path ends at a fifth of it, and no sample beyond ten times."""
    for tolerance in (0.2, 0.05):
        off = (ends(schedule, tolerance) - ends(schedule, tolerance / 5)).square().mean(1).sqrt()
        assert off.square().mean().sqrt() < 2 * tolerance, f"{off.square().mean().sqrt():.3f}"
        assert off.max() < 10 * tolerance, f"{off.max():.3f}"


def test_the_same_path_at_any_tolerance(plant):
    for schedule in (VP(), EDM()):
        check_one_path(schedule)
    plant(Redrawn)
    fails("", check_one_path, VP())


def check_law():
    """Mean and covariance of 4,000 samples: each entry within five standard errors."""
    n, levels = 4000, logsnr_levels(VP(), 1, -6.0, 4.0)
    (mean, cov), (truth, spread) = (laws.marginal(levels.at(k)) for k in (0, 1))
    z = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = mean + z @ torch.linalg.cholesky(cov).T
    found = sample(GottaGoFast(0.1, 0.1), GAUSSIAN.denoise, x, levels, Seeded(range(n)))
    assert ((found.mean(0) - truth).abs() < 5 * (spread.diag() / n).sqrt()).all()
    error = (spread.diag()[:, None] * spread.diag() + spread**2).div(n).sqrt()
    off = ((found.T.cov() - spread).abs() / error).max()
    assert off < 5, f"{off:.1f} standard errors"


def test_drawing_anew_is_biased(plant):
    """The law is out by 18 standard errors, though every draw is a good one."""
    check_law()
    plant(Redrawn)
    fails("", check_law)


def test_the_estimate_bounds_the_error():
    levels = logsnr_levels(VP(), 1)
    x = Seeded(SEEDS).start((3,), levels, dtype=torch.float64)
    ((state, info),) = trajectory(SOLVER, GAUSSIAN.denoise, x, levels, Seeded(SEEDS))
    off = (state.x - ends(VP(), 0.01)).square().mean(1).sqrt()
    assert info.error is not None
    assert (info.error > 0).all()
    assert (off < 2 * info.error).all()


# --- calls ----------------------------------------------------------------------------------------

WHOLE = grids.uniform_logsnr(VP(), 1, stop=1e-3)


class Tally:
    """Unit Gaussian data for even samples, the eight Gaussians for odd ones; calls by sample."""

    def __init__(self, n):
        self.calls = torch.zeros(n, dtype=torch.int64)

    def __call__(self, x, level, cond=None):
        assert cond
        who = cond["label"]
        self.calls[who] += 1
        alpha, sigma = level.like(x)
        easy = 0.1 * alpha * x / (0.1 * alpha**2 + sigma**2)
        return torch.where((who % 2 == 0)[:, None], easy, EIGHT.denoise(x, level))


def check_own_calls():
    """In a batch of easy and hard samples each is called as often as alone."""
    n, tallies = 10, []
    x, who = start(list(range(n)), WHOLE), torch.arange(n)
    for groups in ([who], who.split(1)):
        tallies.append(Tally(n))
        for at in groups:
            cond = {"label": at}
            sample(SOLVER, tallies[-1], x[at], WHOLE, Seeded(at), cond)
    together, alone = (tally.calls for tally in tallies)
    assert torch.equal(together, alone), f"{together} {alone}"
    assert together[::2].max() < together[1::2].min(), f"{together}"


def test_each_sample_pays_its_own_calls(monkeypatch):
    """Planted, control by the mean over the batch: the easy samples pay for the hard ones."""
    check_own_calls()
    alone = gotta.rms
    monkeypatch.setattr(gotta, "rms", lambda v: alone(v).mean().expand(len(v)))
    fails("", check_own_calls)


def test_tighter_tolerances_cost_more():
    calls = []
    for atol, rtol in ((0.2, 0.2), (0.2, 0.0), (0.02, 0.0), (0.02, 0.2)):
        tally = Tally(4)
        x, cond = start([1, 2, 3, 4], WHOLE), {"label": torch.arange(4)}
        sample(GottaGoFast(atol, rtol), tally, x, WHOLE, Seeded([1, 2, 3, 4]), cond)
        calls.append(int(tally.calls.sum()))
    assert calls[0] <= calls[1] < calls[2]
    assert calls[3] < calls[2]


def test_a_step_kept_costs_two_calls():
    """With nothing to meet no step is refused: two calls each, of .5 in log(phi) at most."""
    counted = Counted(EIGHT.denoise)
    way = math.log(float(torch.atan2(*WHOLE.at(0)[::-1]) / torch.atan2(*WHOLE.at(1)[::-1])))
    steps = 2 ** math.ceil(math.log2(way / 0.5))
    solver = GottaGoFast(math.inf)
    sample(solver, counted, start([1, 2], WHOLE), WHOLE, Seeded([1, 2]))
    assert counted.calls == 2 * steps


def test_a_sample_that_cannot_is_named():
    x, cond = start([1, 2, 3], WHOLE), {"label": torch.tensor([0, 2, 1])}
    tight = GottaGoFast(0.02, 0.02, limit=30)
    with pytest.raises(BadInput, match="sample 2 did not meet .* 30 attempts"):
        sample(tight, Tally(3), x, WHOLE, Seeded([1, 2, 3]), cond)

    def broken(x, level, cond=None):
        return torch.cat((0.5 * x[:2], torch.nan * x[2:]))

    refused("sample 2", sample, SOLVER, broken, x, WHOLE, Seeded([1, 2, 3]))


@pytest.mark.parametrize("options", [{"atol": 0.0}, {"rtol": -1.0}, {"limit": 0}], ids=str)
def test_options_that_cannot_be_met(options):
    refused("is", GottaGoFast, **options)


# --- the laws of every solver ---------------------------------------------------------------------


@pytest.mark.parametrize("check", LAWS_OF_A_STEP)
def test_the_laws_of_a_step(check):
    check(SOLVER)


def test_dtype_in_is_dtype_out_and_a_sample_is_its_own():
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        check_dtype(SOLVER, dtype)
        if dtype != torch.bfloat16:
            laws.check_neighbours(SOLVER, dtype=dtype)
    laws.check_resume(SOLVER)


def test_moments_where_every_step_passes():
    check_weak_order(SOLVER, VP())
    check_marginals(SOLVER, VP())
    check_pure_noise(laws.formula(SOLVER), Flow())
