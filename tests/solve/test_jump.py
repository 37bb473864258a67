"""Steps by a map: one call however long, and fresh noise that keeps the law."""

import pytest
import torch
from torch import Tensor

from scorefield.base import CLEAN, Level, Seeded, Zero
from scorefield.base.level import join
from scorefield.process import VP, grids
from scorefield.solve import DDIM, Info, Jump, State, jumped, map_of, sample
from scorefield.solve.transfer import transfer
from tests.refusal import fails, refused

SPREAD = 0.5  # of the data, N(0, .25)


def deviation(level: Level) -> Tensor:
    return (level.alpha**2 * SPREAD**2 + level.sigma**2).sqrt()


def learned(x: Tensor, level: Level, cond) -> Tensor:
    """The map of N(0, .25): the D with which eq. 1 ends on `x dev(there) / dev(here)`. What it is
    told of there is a ratio; on VP that is all of a level."""
    angle = cond["there"].double().exp().atan()
    there = Level(angle.cos(), angle.sin())
    keep, gain = transfer(level, there)
    end = deviation(there) / deviation(level)
    return (x * (end - keep)[:, None].to(x)) / gain[:, None].to(x)


def start(n: int, levels: Level) -> Tensor:
    return Seeded(range(n)).start((1,), levels).double()


def check_map(denoise, steps: int) -> None:
    """Where the flow leads, in any number of steps."""
    levels = grids.karras(VP(), steps)
    x = start(100, levels)
    truth = x * deviation(levels.at(-1)) / deviation(levels.at(0))
    found = sample(Jump(), denoise, x, levels, Zero())
    assert torch.allclose(found, truth, atol=2e-4)  # clean data is told as log ratio -10


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_map_is_the_flow_in_any_number_of_steps(steps):
    check_map(learned, steps)


def test_a_planted_map_that_is_told_another_end():
    def wrong(x, level, cond):
        return learned(x, level, {"there": cond["there"] - 0.1})

    fails("", check_map, wrong, 2)


def check_noun(denoise) -> None:
    """Map(x, here, there) is the flow, and by any level between the same."""
    leads = map_of(denoise)
    here, between, there = (VP()(torch.tensor(t).double()) for t in (0.9, 0.5, 0.1))
    x = start(100, join([here, there]))
    whole = leads(x, here, there, None)
    assert torch.allclose(whole, x * deviation(there) / deviation(here), atol=2e-4)
    assert torch.allclose(leads(leads(x, here, between, None), between, there, None), whole)


def test_the_noun_is_the_flow_between_any_two_levels():
    check_noun(learned)


def test_planted_map_that_always_leads_to_clean_data():
    end = torch.full((100,), -10.0)
    fails("", check_noun, lambda x, level, cond: learned(x, level, {"there": end}))


def check_law(solver) -> None:
    """Two steps with all noise fresh draw from the data, where the map is that to clean data."""
    levels = join([VP()(torch.tensor(t).double()) for t in (1.0, 0.3)] + [CLEAN])
    x = sample(solver, learned, start(20_000, levels), levels, Seeded(range(20_000)))
    assert float(x.var()) == pytest.approx(SPREAD**2, rel=0.04)  # 4 standard errors


def test_fresh_noise_keeps_the_law():
    for fresh in (0.0, 0.6, 1.0):
        check_law(Jump(fresh))


def test_planted_noise_that_is_added_and_not_exchanged():
    class Added(Jump):
        def step(self, denoise, state, here, there, noise, cond=None):
            x, denoised = jumped(denoise, state.x, here, there, cond)
            return State(x + self.fresh * there.sigma * noise(x, here, there)), Info(denoised)

    fails("", check_law, Added(0.6))


def test_a_denoiser_that_does_not_ask_is_walked_by_ddim():
    levels = grids.karras(VP(), 5)

    def unit(x, level, cond):
        return level.like(x).alpha * x

    x = start(8, levels)
    assert torch.equal(
        sample(Jump(), unit, x, levels, Zero()), sample(DDIM(), unit, x, levels, Zero())
    )


def test_a_share_outside_0_to_1_is_refused():
    refused("fresh is 1.5", Jump, 1.5)
