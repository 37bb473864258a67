"""What the twins share: each is a solver with one planted defect, beside the law that finds it."""

from torch import Tensor

from scorefield.base import Level
from scorefield.solve import State


class Twin:
    """One-step methods with the flags of a first-order deterministic solver."""

    order = 1
    evals = 1
    stochastic = False
    adaptive = False

    def init(self, x: Tensor) -> State:
        return State(x)


def eps_of(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    alpha, sigma = level.like(x)
    return (x - alpha * denoised) / sigma
