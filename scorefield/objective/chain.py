"""The steps of a discrete chain, as its bound sees them: from k down to k - 1."""

from typing import NamedTuple

from torch import Tensor

from scorefield.base import BadInput
from scorefield.process import DiscreteVP, Schedule


class Kernel(NamedTuple):
    """The posterior of a step: its gain on x0, and the two variances a model may have there."""

    gain: Tensor
    small: Tensor
    large: Tensor


def kernel(chain: DiscreteVP, k: Tensor) -> Kernel:
    """Of `q(x_{k-1} | x_k, x0)`, float64 leaves like `k`, integers from 1 to T (theory: eq. 5).

        gain = sqrt(abar_{k-1}) beta_k / (1 - abar_k)
        small = beta_k (1 - abar_{k-1}) / (1 - abar_k),   large = beta_k

    The last step, k = 1, has the small variance of k = 2 in place of 0 (Nichol and Dhariwal 2021).
    """
    beta = chain.betas.to(k.device)

    def at(j: Tensor) -> Tensor:
        return chain(j.double() / chain.steps).sigma ** 2

    gain = (1 - at(k - 1)).sqrt() * beta[k - 1] / at(k)
    j = k.clamp(min=2)
    return Kernel(gain, beta[j - 1] * at(j - 1) / at(j), beta[k - 1])


def steps_of(chain: DiscreteVP, t: Tensor) -> Tensor:
    """The step k = 1..T that t is in: `ceil(t T)`, forgiving t's last digits.

    >>> import torch
    >>> steps_of(DiscreteVP([0.1, 0.2, 0.3]), torch.tensor([0.0, 1 / 3, 0.5, 1.0])).tolist()
    [1, 1, 2, 3]
    """
    return (t * chain.steps - 1e-6).ceil().long().clamp(1, chain.steps)


def check_chain(schedule: Schedule, what: str) -> None:
    """Raise BadInput unless the schedule is a chain of steps."""
    if not isinstance(schedule, DiscreteVP):
        raise BadInput(
            f"{what} needs the steps of a chain, and {type(schedule).__name__} has none.",
            "Use the schedule DiscreteVP, named ddpm.",
        )
