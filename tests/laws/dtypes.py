"""The laws of dtypes and of the shapes of levels."""

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Seeded
from scorefield.process import grids
from scorefield.solve import DDIM, Solver, State, sample
from scorefield.solve.laws import DOWN, EIGHT, close, formula, side_by_side
from scorefield.solve.laws import begun as start
from scorefield.solve.laws import grown as aged
from tests.laws.entries import SCHEDULES
from tests.laws.twin import Twin


def walked(solver: Solver, dtype: torch.dtype, denoise: Denoise = EIGHT.denoise) -> Tensor:
    """Three samples on eight steps of each schedule, pure noise included."""
    several = [grids.uniform_logsnr(schedule, 8) for schedule in SCHEDULES.values()]
    levels, noise = side_by_side(several, 3), Seeded([1, 2, 3] * len(several))
    x = noise.start((2,), levels, dtype=dtype)
    return sample(solver, denoise, x, levels, noise).double()


def check_float32(solver: Solver) -> None:
    """float32 follows float64: 2e-5 is some hundred roundings of 1.2e-7, eight steps deep."""
    narrow, wide = (walked(solver, dtype) for dtype in (torch.float32, torch.float64))
    assert close(narrow, wide, 2e-5), float((narrow - wide).abs().max())


def check_half_network(solver: Solver) -> None:
    """A network in bfloat16 under float32 samples: no method magnifies what it rounds. .15 is
    forty roundings of 4e-3: a polynomial through five values far apart (UniPC-4) shows .08.

    An adaptive solver is held to its formula: its tolerance is finer than the network.
    """

    def rounded(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return EIGHT.denoise(x, level).bfloat16().to(x)

    solver = formula(solver)
    half, whole = (walked(solver, torch.float32, d) for d in (rounded, EIGHT.denoise))
    assert close(half, whole, 0.15), float((half - whole).abs().max())


def check_level_shapes(solver: Solver) -> None:
    """Leaves () or (B,), grids (steps+1,) or (steps+1, B): the same numbers, the same samples."""
    seeds = [1, 2, 3]
    plain = sample(solver, EIGHT.denoise, start(seeds), DOWN, Seeded(seeds))
    grid = Level(*(leaf[:, None].expand(-1, 3) for leaf in DOWN))
    assert close(sample(solver, EIGHT.denoise, start(seeds, grid), grid, Seeded(seeds)), plain)
    state = aged(solver, seeds, 2)
    one, many = DOWN.at(2), DOWN.at(2).expand(3)
    ahead, each = DOWN.at(3), DOWN.at(3).expand(3)
    first = None
    for here, there in ((one, ahead), (many, each), (one, each), (many, ahead)):
        after, _ = solver.step(EIGHT.denoise, state, here, there, Seeded(seeds), None)
        first = after if first is None else first
        assert all(map(close, after[:2], first[:2])), "leaves () and (B,) disagree"
        assert [leaf.shape for leaf in after] == [leaf.shape for leaf in first]


# --- what they must find --------------------------------------------------------------------------


class Widening(Twin):
    """Multiplies x by float64 coefficients."""

    def step(self, denoise, state, here, there, noise, cond=None):
        (x,), info = DDIM().step(denoise, state, here, there, noise, cond)
        return State(x * torch.ones(len(x), 1, dtype=torch.float64)), info


class Coarse(Twin):
    """Rounds its coefficients to half precision on the way."""

    def step(self, denoise, state, here, there, noise, cond=None):
        if state.x.dtype == torch.float32:
            here, there = (Level(*(v.half().double() for v in level)) for level in (here, there))
        return DDIM().step(denoise, state, here, there, noise, cond)


class ByDifferences(Twin):
    """Extrapolates D by its difference over a thousandth of the step: 500 times its rounding."""

    def step(self, denoise, state, here, there, noise, cond=None):
        near = Level(*(a + (b - a) / 1000 for a, b in zip(here, there)))
        ahead, info = DDIM().step(denoise, state, here, near, noise, cond)
        slope = 1000 * (denoise(ahead.x, near, cond) - info.denoised)

        def middle(x, level, cond=None):
            return info.denoised + slope / 2

        return DDIM().step(middle, state, here, there, noise, cond)
