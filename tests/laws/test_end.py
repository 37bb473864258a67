"""The law of the end: arc's step to clean data misses the flow by the sixth power of the angles.

N(m, v) in the plane of x and theta: along the flow

    u = m cos(theta) + n z,   D = m + v cos(theta) z / n,   n = sqrt(v cos(theta)^2 + sin(theta)^2),

even in theta, so that a polynomial in sin(theta)^2 through three D leaves s_1 s_2 s_3, one through
two s_1 s_2, D held s_1; and one in sin(theta), whose cubic term is not there to be left, the
product of three angles and a fourth. The past is given exactly: what is measured is the end alone.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from scorefield.base import CLEAN, Level, Zero
from scorefield.solve import Arc, arc, multistep
from scorefield.solve.interpolate import angle_clock, lagrange
from scorefield.solve.laws import order_shown
from tests.refusal import fails

MEAN, VARIANCE = 2.0, 0.1
Z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
Weigh = Callable[[Tensor], Tensor]


def at(theta: float) -> tuple[Tensor, Tensor, Tensor]:
    """u, D and the slope v of the exact flow."""
    cos, sin = math.cos(theta), math.sin(theta)
    n = math.hypot(math.sqrt(VARIANCE) * cos, sin)
    u, denoised = MEAN * cos + n * Z, MEAN + VARIANCE * cos / n * Z
    return u, denoised, (cos * u - denoised) / sin


def denoise(x: Tensor, level: Level, cond: object = None) -> Tensor:
    gain = VARIANCE * level.alpha / (VARIANCE * level.alpha**2 + level.sigma**2)
    return MEAN + gain * (x - level.alpha * MEAN)


def miss(angle: float) -> float:
    """How far the last step ends from clean data, whose calls were at angle 2^j, j = 0 to 5."""
    angles = [angle * 2**j for j in range(6)]
    past = [at(theta) for theta in angles[1:]]
    ages = torch.tensor([[-math.log(math.tan(theta)) for theta in angles[1:]]], dtype=Z.dtype)
    state = Arc().init(at(angle)[0])
    slopes, seen = [v for _, _, v in past], [denoised for _, denoised, _ in past[:2]]
    state = type(state)(state.x, *slopes, *seen, ages.expand(len(Z), -1))
    here = Level.of(math.cos(angle), math.sin(angle))
    (end, *_), _ = Arc().step(denoise, state, here, CLEAN, Zero())
    return float((end - MEAN - math.sqrt(VARIANCE) * Z).abs().max())


def check_end() -> None:
    found = order_shown(miss(0.002), miss(0.001))
    assert abs(found - 6) < 0.2, f"the end misses by angle^{found:.2f}, not angle^6"


def test_the_end_is_of_order_six():
    check_end()


def in_the_angle(lam: Tensor) -> Tensor:
    """A polynomial in sin(theta): its square forgotten."""
    s = angle_clock(lam[:, :3]).sin()
    return lagrange(s, torch.zeros_like(s[:, :1]))[:, 0]


def through_two(lam: Tensor) -> Tensor:
    s = angle_clock(lam[:, :2]).sin() ** 2
    return pad(lagrange(s, torch.zeros_like(s[:, :1]))[:, 0], (0, 1))


def held(lam: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.0, 0.0]], dtype=lam.dtype).expand(len(lam), -1)


@pytest.mark.parametrize(("wrong", "power"), [(in_the_angle, 4), (through_two, 4), (held, 2)])
def test_a_planted_end(monkeypatch: pytest.MonkeyPatch, wrong: Weigh, power: int):
    monkeypatch.setattr(arc, "_to_data", wrong)
    multistep._known.cache_clear()
    try:
        fails(rf"angle\^({power}\.0|{power - 1}\.9)", check_end)
    finally:
        multistep._known.cache_clear()
