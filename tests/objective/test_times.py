"""Time laws: their distributions, their variance, their ends."""

import math

import pytest
import torch

from scorefield.base import BadInput
from scorefield.objective import (
    Adaptive,
    Antithetic,
    EDMWeight,
    Fixed,
    Geometric,
    LogitNormal,
    LogNormal,
    MinSNR,
    Stratified,
    Uniform,
)
from scorefield.objective.times import EARLIEST
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP

SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), DiscreteVP()]
LAWS = [
    Uniform(),
    Stratified(),
    Antithetic(),
    LogNormal(),
    LogitNormal(),
    Fixed(),
    Geometric(0.02, 40.0, 7),
    Adaptive(),
]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kolmogorov(values: torch.Tensor, cdf) -> float:
    values = values.sort().values
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    p = cdf(values)
    return math.sqrt(len(values)) * float(
        torch.maximum((p - steps[1:]).abs(), (p - steps[:-1]).abs()).max()
    )


@pytest.mark.parametrize("law", [Uniform(), Stratified(), Antithetic(), Adaptive()])
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
@pytest.mark.parametrize("law", LAWS)
def test_times_stay_inside(law, schedule):
    t = law(schedule, 10_000, rng())
    assert t.dtype == torch.float64
    assert t.shape == (10_000,)
    assert float(t.min()) >= EARLIEST
    assert float(t.max()) <= 1.0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_wide_lognormal_law_is_clamped_to_the_schedule(schedule):
    t = LogNormal(0.0, 20.0)(schedule, 10_000, rng())
    assert float(t.min()) >= EARLIEST
    assert float(t.max()) <= 1.0


def check_stratified(law) -> None:
    """The mean of f over a batch keeps its expectation and varies at least ten times less than
    with independent times."""
    means = {}
    for name, one in (("independent", Uniform()), ("stratified", law)):
        values = [
            float(VP()(one(VP(), 64, rng(seed))).alpha.square().mean()) for seed in range(400)
        ]
        means[name] = torch.tensor(values, dtype=torch.float64)
    free, tied = means["independent"], means["stratified"]
    error = 5 * math.sqrt(float(free.var() + tied.var()) / 400)
    assert abs(float(free.mean() - tied.mean())) < error
    assert float(tied.var()) < float(free.var()) / 10


@pytest.mark.parametrize("law", [Stratified(), Antithetic(), Adaptive()])
def test_ties_lower_the_variance_and_keep_the_mean(law):
    check_stratified(law)


def test_planted_strata():
    """Cells of the wrong width, and one shared draw at their left ends only."""

    def doubled(schedule, n, rng):
        return ((torch.arange(n).double() + 2 * torch.rand(n, generator=rng)) / (n + 1)) ** 1.2

    for law in (Uniform(), doubled):
        with pytest.raises(AssertionError):
            check_stratified(law)


def test_one_time_in_each_cell():
    t = Stratified()(VP(), 100, rng())
    assert (t * 100).floor().clamp(max=99).tolist() == list(range(100))


@pytest.mark.parametrize("law", LAWS)
def test_times_follow_their_generator(law):
    assert torch.equal(law(VP(), 9, rng(3)), law(VP(), 9, rng(3)))
    if not isinstance(law, Fixed):
        assert not torch.equal(law(VP(), 9, rng(3)), law(VP(), 9, rng(4)))


@pytest.mark.parametrize(
    "build", [lambda: LogNormal(0.0, 0.0), lambda: MinSNR(0.0), lambda: EDMWeight(-1.0)]
)
def test_options_out_of_range_are_refused(build):
    with pytest.raises(BadInput):
        build()


# --- the other laws -------------------------------------------------------------------------------


def test_antithetic_times_lie_evenly():
    t = Antithetic()(VP(), 10, rng()).sort().values
    assert torch.allclose(t.diff(), torch.full((9,), 0.1).double())


def test_the_logit_normal_law_on_the_straight_path_is_its_papers():
    """t = sigmoid(z) on Flow; on others the same levels, by sigma/alpha."""
    law = LogitNormal(0.3, 0.8)
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
        lambda: Geometric(1.0, 0.1),
        lambda: Geometric(count=1),
    ],
)
def test_levels_that_are_not_there(bad):
    with pytest.raises(BadInput):
        bad()
