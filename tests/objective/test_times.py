"""Time laws: their distributions, their variance, their ends."""

import math

import pytest
import torch

from scorefield import catalogue
from scorefield import objective as objectives
from scorefield.base import Level
from scorefield.catalogue.spec import build, parsed
from scorefield.denoise import Denoiser
from scorefield.denoise.precondition import EVEN_RANGE, NOISE_RANGE
from scorefield.nets import MLP
from scorefield.objective import Antithetic, Covering, Fixed, Geometric, LogNormal, Stratified
from scorefield.objective.times import EARLIEST
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP
from scorefield.run.config import build_schedule
from scorefield.run.recipes import recipes
from tests.objective.quadrature import rng
from tests.refusal import fails, refused

SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), DiscreteVP()]
LAWS = [*(objectives.Uniform(), Stratified(), Antithetic(), LogNormal(), Covering(), Fixed())]
LAWS += [objectives.LogitNormal(), Geometric(0.02, 40.0, 7), objectives.Adaptive()]


def kolmogorov(values: torch.Tensor, cdf) -> float:
    values = values.sort().values
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    p = cdf(values)
    return math.sqrt(len(values)) * float(
        torch.maximum((p - steps[1:]).abs(), (p - steps[:-1]).abs()).max()
    )


@pytest.mark.parametrize("law", [LAWS[0], Stratified(), Antithetic(), LAWS[-1]])
def test_uniform_laws_are_uniform(law):
    t = law(VP(), 50_000, rng())
    assert kolmogorov(t, lambda t: t) < 2
    many = torch.cat([law(VP(), 7, rng(seed)) for seed in range(3000)])
    assert kolmogorov(many, lambda t: t) < 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_lognormal_law_is_normal_in_log_ratio(schedule):
    """Away from the schedule's ends, where it is clamped."""
    t = LogNormal(-1.2, 0.6)(schedule, 20_000, rng())
    log_ratio = schedule(t).ratio.log()
    assert kolmogorov((log_ratio + 1.2) / 0.6, torch.special.ndtr) < 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("law", [*LAWS, LogNormal(0.0, 20.0)])
def test_times_stay_inside(law, schedule):
    t = law(schedule, 10_000, rng())
    assert (t.dtype, t.shape) == (torch.float64, (10_000,))
    assert float(t.min()) >= EARLIEST
    assert float(t.max()) <= 1.0


def check_covers(law, schedule, grid: str = "vp-root", most: float = NOISE_RANGE) -> None:
    """Every level that runs of 1 to 50 steps visit is taught: one draw in 1,000 or more is within
    1/2 of it in what the network is told. The first, of every sample, is drawn itself by one in
    200, unless t is uniform and its density is even up to there. A network is told log(sigma/alpha)
    in [-most, most]."""

    def heard(levels):
        return levels.ratio.log().clamp(-most, most)

    with torch.no_grad():
        told = heard(schedule(law(schedule, 100_000, rng()))).sort().values
        for steps in (1, 2, 3, 5, 10, 20, 50):
            levels = build("grids", grid, schedule=schedule, steps=steps)
            there = heard(levels.at(levels.sigma > 0))
            ends = torch.stack([there - 0.5, there + 0.5])
            near = torch.searchsorted(told, ends).diff(dim=0) / len(told)
            # sigma/alpha under exp(-4.8): D is x/alpha to within a hundredth of the data's scale
            assert float(near[:, there > -4.8].min()) > 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_default_law_covers_what_samplers_visit(schedule):
    check_covers(Covering(), schedule)


def test_planted_laws_of_the_literature_do_not_cover_pure_noise():
    for law in (LogNormal(), objectives.LogitNormal()):
        for schedule in (Cosine(), VP()):
            fails("", check_covers, law, schedule)


def test_one_in_a_hundred_and_more_begin_where_samples_do():
    t = Covering(fraction=0.06)(Cosine(), 100_000, rng())
    first = float((t == 1).double().mean())
    assert first == pytest.approx(0.01, abs=0.001)  # 0.06 of 2/12; 3 standard deviations
    assert kolmogorov_of_the_rest(t) < 2


def kolmogorov_of_the_rest(t: torch.Tensor) -> float:
    """Below the share's start at log(sigma/alpha) = 0, where LogNormal is alone."""
    log_ratio = Cosine()(t).ratio.log()
    cut = torch.special.ndtr(torch.tensor(1.2 / 1.2, dtype=torch.float64))
    return kolmogorov(log_ratio[log_ratio < 0], lambda v: torch.special.ndtr((v + 1.2) / 1.2) / cut)


def check_knows_the_mean(law) -> None:
    """A small network, 150 steps: D at pure noise is the mean of each class, 1 from 0 in every
    coordinate, to within .3 (measured .17 with Covering, .63 with LogNormal)."""
    torch.manual_seed(0)
    means, draws = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), rng()
    denoiser = Denoiser(MLP((2,), width=64, blocks=2, classes=2), "edm", 1.0)
    objective = objectives.Objective(Cosine(), law, objectives.EDMWeight(1.0), dropout=0.1)
    adam = torch.optim.Adam(denoiser.parameters(), 3e-3, (0.9, 0.99))
    for step in range(150):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / 150)
        label = torch.randint(2, (256,), generator=draws)
        x0 = means[label] + 0.3 * torch.randn(256, 2, generator=draws)
        adam.zero_grad()
        objective(denoiser, x0, {"label": label}, draws).per_sample.mean().backward()
        adam.step()
    x, label = torch.randn(500, 2, generator=draws), torch.arange(500) % 2
    with torch.no_grad():
        found = denoiser.eval()(x, Level.of(0.0, 1.0), {"label": label})
    assert float((found - means[label]).square().mean().sqrt()) < 0.3


def test_a_network_that_is_taught_pure_noise_knows_the_mean():
    check_knows_the_mean(Covering())
    with pytest.raises(AssertionError):  # planted: the law of the literature
        check_knows_the_mean(LogNormal())


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, math.nan])
def test_a_share_is_a_part(fraction):
    refused("fraction is", Covering, fraction=fraction)


@pytest.mark.parametrize("name", list(recipes))
def test_every_recipe_covers_what_its_samples_visit(name):
    o, law = recipes[name]().objective, build("times", recipes[name]().objective.law)
    even = parsed(o.kind).name in ("bridge", *catalogue.matchings)
    grid, most = recipes[name]().sample.grid, EVEN_RANGE if even else NOISE_RANGE
    check_covers(law, build_schedule(o), grid, most)


def test_a_planted_range_that_uniform_times_hardly_reach():
    check_covers(objectives.Uniform(), Flow(), "uniform-t", EVEN_RANGE)
    fails("", check_covers, objectives.Uniform(), Flow(), "uniform-t", NOISE_RANGE)


def check_stratified(law) -> None:
    """The mean of f over a batch keeps its expectation and varies at least ten times less than
    with independent times."""
    means = {}
    for name, one in (("independent", objectives.Uniform()), ("stratified", law)):
        values = [
            float(VP()(one(VP(), 64, rng(seed))).alpha.square().mean()) for seed in range(400)
        ]
        means[name] = torch.tensor(values, dtype=torch.float64)
    free, tied = means["independent"], means["stratified"]
    error = 5 * math.sqrt(float(free.var() + tied.var()) / 400)
    assert abs(float(free.mean() - tied.mean())) < error
    assert float(tied.var()) < float(free.var()) / 10


@pytest.mark.parametrize("law", [Stratified(), Antithetic(), objectives.Adaptive()])
def test_ties_lower_the_variance_and_keep_the_mean(law):
    check_stratified(law)


def test_planted_strata():
    """Cells of the wrong width, and one shared draw at their left ends only."""

    def doubled(schedule, n, rng):
        return ((torch.arange(n).double() + 2 * torch.rand(n, generator=rng)) / (n + 1)) ** 1.2

    for law in (objectives.Uniform(), doubled):
        fails("", check_stratified, law)


def test_one_time_in_each_cell():
    t = Stratified()(VP(), 100, rng())
    assert (t * 100).floor().clamp(max=99).tolist() == list(range(100))


@pytest.mark.parametrize("law", LAWS)
def test_times_follow_their_generator(law):
    assert torch.equal(law(VP(), 9, rng(3)), law(VP(), 9, rng(3)))
    if not isinstance(law, Fixed):
        assert not torch.equal(law(VP(), 9, rng(3)), law(VP(), 9, rng(4)))


# --- the other laws -------------------------------------------------------------------------------


def test_antithetic_times_lie_evenly():
    t = Antithetic()(VP(), 10, rng()).sort().values
    assert torch.allclose(t.diff(), torch.full((9,), 0.1).double())


def test_the_logit_normal_law_on_the_straight_path_is_its_papers():
    """t = sigmoid(z) on Flow; on others the same levels, by sigma/alpha."""
    law = objectives.LogitNormal(0.3, 0.8)
    t = law(Flow(), 20_000, rng())
    assert kolmogorov((t.logit() - 0.3) / 0.8, torch.special.ndtr) < 2
    for schedule in (VP(), Cosine(), EDM()):
        other = schedule(law(schedule, 100, rng())).ratio
        assert torch.allclose(other, Flow()(law(Flow(), 100, rng())).ratio, rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_fixed_is_one_level(schedule):
    level = schedule(Fixed(0.7)(schedule, 5, rng()))
    assert level.ratio.tolist() == pytest.approx([0.7] * 5, rel=1e-9)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Fixed(200.0)(VP(), 3, rng()),  # VP ends at 152
        lambda: Fixed(0.0)(Flow(), 3, rng()),
        lambda: Fixed(-1.0)(Flow(), 3, rng()),
        lambda: Fixed(math.nan)(Flow(), 3, rng()),
        lambda: Geometric(0.001, 50.0, 9)(VE(), 3, rng()),
        lambda: LogNormal(0.0, 0.0),
        lambda: objectives.MinSNR(0.0),
        lambda: objectives.EDMWeight(-1.0),
        lambda: Geometric(1.0, 0.1),
        lambda: Geometric(count=1),
    ],
)
def test_levels_that_are_not_there(bad):
    refused("", bad)
