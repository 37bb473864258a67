"""Several classifiers of latents as one: the energies of controllable generation.

With attributes c_i that are independent given z, the log probability of a sentence about them is

    c_1 and c_2      sum_i w_i log p(c_i | z)                                          (eq. 11)
    c_1 or c_2       log(1 - prod_i (1 - p(c_i | z)))
    not c            log(1 - p(c | z))

and `E(z) = -log p(z) - log p(sentence | z)` the energy whose law is the answer (Nie, Vahdat and
Anandkumar 2021, "Controllable and compositional generation with latent-space energy-based models",
sec. 3.2). A sentence is a `LogProb`: `guide.classifier(sentence)` makes of the prior's score that
of E, for Langevin dynamics or a walk from noise; `rejected` draws from it exactly.
"""

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level
from scorefield.guide.classifier import LogProb


def all_of(*log_probs: LogProb, weights: tuple[float, ...] | None = None) -> LogProb:
    """This and that. A weight above 1 asks for more of one attribute; the result is then no
    probability of a sentence, but still an energy.

    >>> half = lambda z, level=None, cond=None: z.new_full((len(z),), 0.5).log()
    >>> all_of(half, half)(torch.zeros(1, 1), None, None).exp()
    tensor([0.2500])
    """
    weights = weights or (1.0,) * len(log_probs)
    if not log_probs or len(weights) != len(log_probs):
        raise BadInput(
            f"there are {len(log_probs)} classifiers and {len(weights)} weights.",
            "Give at least one classifier, and as many weights.",
        )

    def log_prob(z: Tensor, level: Level | None = None, cond: Cond | None = None) -> Tensor:
        return sum(w * one(z, level, cond) for w, one in zip(weights, log_probs))  # type: ignore

    return log_prob


def not_of(one: LogProb) -> LogProb:
    """Not this: `log(1 - p)`, accurate for p near 0 and near 1."""

    def log_prob(z: Tensor, level: Level | None = None, cond: Cond | None = None) -> Tensor:
        log_p = one(z, level, cond)  # type: ignore[arg-type] of clean latents, no level
        small = log_p > -0.5  # log(1 - e^a) by the form that keeps its digits
        return torch.where(
            small,
            (-torch.expm1(torch.where(small, log_p, -1.0))).log(),
            torch.log1p(-torch.where(small, -1.0, log_p).exp()),
        )

    return log_prob


def any_of(*log_probs: LogProb) -> LogProb:
    """This or that, or both.

    >>> half = lambda z, level=None, cond=None: z.new_full((len(z),), 0.5).log()
    >>> any_of(half, half)(torch.zeros(1, 1), None, None).exp()
    tensor([0.7500])
    """
    return not_of(all_of(*(not_of(one) for one in log_probs)))
