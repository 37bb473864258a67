"""The second derivative along the flow: GENIE's table on eight Gaussians, and slopes gone wrong."""

import torch
from torch import Tensor

from scorefield.base import CLEAN, Level, Zero, like
from scorefield.process import VP, grids
from scorefield.solve import Genie, State, flow_slope, sample
from scorefield.solve.laws import EIGHT, GAUSSIAN, order_shown
from tests.laws.truths import eight_flow
from tests.refusal import fails

TABLE = {5: 2.6e-1, 10: 7.3e-2, 20: 2.1e-2, 40: 5.8e-3, 80: 1.5e-3, 160: 3.9e-4}
"""RMS over 256 points by the steps of a log grid, worked out apart from this code."""


class Sloped:
    """The exact denoiser with a slope of its own: that along `motion / alpha^lost`."""

    def __init__(self, lost: int) -> None:
        self.lost = lost

    def __call__(self, x: Tensor, level: Level, cond=None) -> Tensor:
        return EIGHT.denoise(x, level)

    def slope(self, x: Tensor, level: Level, cond=None) -> tuple[Tensor, Tensor]:
        denoised = self(x, level)
        motion = (x - like(level.alpha, x) * denoised) / like(level.alpha, x) ** self.lost
        along = torch.func.jvp(
            lambda x, sigma: self(x, Level(level.alpha, sigma)),
            (x, level.sigma), (motion, level.sigma),
        )  # fmt: skip
        return denoised, along[1]


def errors(denoise) -> dict[int, float]:
    x, truth = eight_flow()
    found = {}
    for steps in TABLE:
        levels = grids.uniform_logsnr(VP(), steps, stop=1e-3)
        off = sample(Genie(), denoise, x, levels, Zero()) - truth
        found[steps] = float(off.square().sum(1).mean().sqrt())
    return found


def check_table(denoise) -> None:
    found = errors(denoise)
    for steps, expected in TABLE.items():
        assert abs(found[steps] / expected - 1) < 0.1, f"{steps} steps: {found[steps]:.2e}"


def test_the_table():
    check_table(EIGHT.denoise)
    check_table(Sloped(0))


def test_a_planted_lost_factor_is_of_first_order():
    """Without 1/sqrt(1 + gamma^2) = alpha in dx/dgamma."""
    fails("steps", check_table, Sloped(1))
    found = errors(Sloped(1))
    assert order_shown(found[80], found[160]) < 1.1


def check_end(bend: float = 1.0) -> None:
    """The step to clean data on N(0, 1/4), whose end is x c / sqrt(c^2 + gamma^2): 16 times nearer
    from half as far."""
    found = []
    for gamma in (0.1, 0.05):
        x, level = torch.ones(1, 1).double(), Level.of(1.0, gamma)

        def denoise(x: Tensor, level: Level, cond=None) -> Tensor:
            return x * 0.25 / (0.25 + level.sigma**2)

        state, info = Genie().step(denoise, State(x), level, CLEAN, Zero())
        y = torch.lerp(info.denoised, state.x, bend)
        found.append(float((y - 0.5 / (0.25 + gamma**2) ** 0.5).abs()))
    assert 14 < found[0] / found[1] < 17, found


def test_the_step_to_clean_data():
    check_end()
    fails("", check_end, 0.0)  # D itself
    fails("", check_end, 2.0)


def test_at_either_end_nothing_bends():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    for level in (Level.of(0.0, 1.0), Level.of(1.0, 0.0)):
        assert float(flow_slope(GAUSSIAN.denoise, x, level)[1].abs().max()) < 1e-14
