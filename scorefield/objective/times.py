"""Time laws: which t a batch of n samples trains at. `(schedule, n, rng) -> t (n,)`, float64.

Every law keeps t at or above EARLIEST: at t = 0 the signal-to-noise ratio is infinite.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.process import Schedule

EARLIEST = 1e-5

Times = Callable[[Schedule, int, torch.Generator], Tensor]


def _draw(law: Callable[..., Tensor], n: int, rng: torch.Generator) -> Tensor:
    return law(n, dtype=torch.float64, generator=rng, device=rng.device)


@dataclass(frozen=True)
class Uniform:
    """t ~ U(0, 1), independent."""

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        return _draw(torch.rand, n, rng).clamp(min=EARLIEST)


@dataclass(frozen=True)
class Stratified:
    """One t in each of n equal cells, `t_i = (i + u_i)/n`: the mean over a batch varies less.

    Each t alone is still uniform once the samples of a batch are in random order.
    """

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        cells = torch.arange(n, dtype=torch.float64, device=rng.device)
        return ((cells + _draw(torch.rand, n, rng)) / n).clamp(min=EARLIEST)


@dataclass(frozen=True)
class LogNormal:
    """`log(sigma/alpha) ~ N(mean, std^2)`, clamped to the schedule (Karras et al. 2022, tab. 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise BadInput(f"std is {self.std}.", "Give a number above 0.")

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        log_ratio = self.mean + self.std * _draw(torch.randn, n, rng)
        return schedule.inverse(-2 * log_ratio).clamp(EARLIEST, 1.0)
