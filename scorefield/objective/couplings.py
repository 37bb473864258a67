"""Which data meet which other ends: couplings of a batch, and Sinkhorn's plan between two of them.

A coupling of two laws is a law of pairs with these marginals. The flow between the ends, and the
bridge, depend on it: independent pairs cross, and optimal transport's

    min_P  E_P |x0 - x1|^2 / 2 + eps KL(P | mu x nu)                                       (eq. 1)

do not (eps = 0), or cross as Brownian motion of variance eps over unit time makes them, which is
the Schroedinger bridge of that motion (Leonard 2014). Half the square stands in eq. 1: with the
whole square and eps = sig^2 one gets another bridge, of variance sig^2 / 2.
"""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.extras import library

FALL, AT_ONCE = 0.1, 20
"""Of eps from the largest cost down; and rounds as plain scalings after each in logarithms."""


class TransportPlan(NamedTuple):
    """`log_plan (n, m)`, log P of rows and columns of weight 1/n and 1/m, with the sum over rows
    and columns of how far its marginals are off, `error`, after so many `rounds`."""

    log_plan: Tensor
    error: float
    rounds: int


def half_squares(x: Tensor, y: Tensor) -> Tensor:
    """`|x_i - y_j|^2 / 2` of `x (n, ...)` and `y (m, ...)`, in float64.

    >>> half_squares(torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0]])).tolist()
    [[2.0], [0.0]]
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    middle = x.mean(0)  # of two near clouds far from 0 the squares would cancel
    x, y = x - middle, y - middle
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squares.clamp(min=0) / 2


def sinkhorn(
    cost: Tensor, eps: float, tolerance: float = 1e-3, rounds: int = 5000
) -> TransportPlan:
    """The entropic plan of a cost `(n, m)` between even weights (eq. 1), in the log domain.

        log P_ij = (f_i + g_j - c_ij) / eps - log(n m)
        f_i = -eps log mean_j exp((g_j - c_ij) / eps),  and g alike, in turn

    eps falls from the largest cost by tenths, each potential beginning where the last ended
    (Kosowsky and Yuille 1994), until the marginals are off by at most `tolerance` in sum; most
    rounds are plain scalings that the potentials take in (Schmitzer 2019). What is left of the
    error is in the plan, with a warning if it is more: a plan that did not converge looks like one
    that did. Cuturi 2013.

    >>> plan = sinkhorn(half_squares(torch.zeros(2, 1), torch.zeros(2, 1)), 1.0)
    >>> plan.log_plan.exp().tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    if not 0 < eps < math.inf:
        raise BadInput(f"eps of the entropic plan is {eps}.", "Give a number above 0; eps = sig^2.")
    n, m = cost.shape
    rows, columns = math.log(n), math.log(m)
    f, g = cost.new_zeros(n), cost.new_zeros(m)
    now, done, error = max(float(cost.max()), eps), 0, math.inf
    log_plan = cost
    while error > tolerance and done < rounds:
        now = max(now * FALL, eps)
        f = -now * ((g - cost) / now).logsumexp(1) + now * columns
        g = -now * ((f[:, None] - cost) / now).logsumexp(0) + now * rows
        plan = ((f[:, None] + g - cost) / now - rows - columns).exp()
        u, v = _scaled(plan, AT_ONCE)
        f, g, done = f + now * u.log(), g + now * v.log(), done + 1 + AT_ONCE
        if now > eps:
            continue
        log_plan = (f[:, None] + g - cost) / eps - rows - columns
        plan = log_plan.exp()
        error = float((plan.sum(1) - 1 / n).abs().sum() + (plan.sum(0) - 1 / m).abs().sum())
    if error > tolerance:
        warnings.warn(
            f"the entropic plan's marginals are off by {error:.3g} after {done} rounds at eps "
            f"{eps:g}: take a larger eps or more rounds.",
            stacklevel=2,
        )
    return TransportPlan(log_plan, error, done)


def _scaled(plan: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Scalings of rows and columns towards even marginals; 1 where the plan has no number left for
    a row or column, which another round in logarithms must find."""
    n, m = plan.shape
    u, v = plan.new_ones(n), plan.new_ones(m)
    for _ in range(rounds):
        u = 1 / (n * (plan @ v))
        v = 1 / (m * (u @ plan))
    if bool(u.isfinite().all() & v.isfinite().all() & (u > 0).all() & (v > 0).all()):
        return u, v
    return torch.ones_like(u), torch.ones_like(v)


def assignment(cost: Tensor) -> Tensor:
    """The column `(n,)` of each row in the cheapest one-to-one assignment of a square cost, by POT.

    Raises BadInput where POT is not installed.
    """
    use, instead = "exact optimal transport (POT) is found", "; or give an eps above 0"
    ot = library("ot", "transport", use, instead)
    even = torch.full((len(cost),), 1 / len(cost), dtype=torch.float64).numpy()
    plan = ot.emd(even, even, cost.detach().cpu().numpy(), numItermax=1_000_000)
    return torch.from_numpy(plan.argmax(1)).to(cost.device)


class Coupling(ABC):
    """How the two ends of a batch meet: `pick(x0, x1, u)` is the row of x1 `(B,)` that each row of
    x0 gets, `u (B,)` uniform in [0, 1). A batch is that of one process: P of them couple P parts.
    """

    @abstractmethod
    def pick(self, x0: Tensor, x1: Tensor, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Independent(Coupling):
    """As they come: by chance, or, of given pairs, as they were given.

    >>> Independent().pick(torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2)).tolist()
    [0, 1]
    """

    def pick(self, x0: Tensor, x1: Tensor, u: Tensor) -> Tensor:
        return torch.arange(len(x0), device=x0.device)


@dataclass(frozen=True)
class MinibatchTransport(Coupling):
    """By the optimal plan of the batch (eq. 1): exact at `eps` = 0 (Pooladian et al. 2023; Tong et
    al. 2024), else a draw of each row's entropic plan, as a bridge of variance eps asks for.

    The plan of a batch is not that of the laws: it is drawn to independence, the more so the
    smaller the batch and the more coordinates (docs/bridges.md has the figures). Exact pairs under
    a bridge's noise are no Schroedinger bridge.

    >>> x1 = torch.tensor([[1.1], [0.1]])
    >>> MinibatchTransport(eps=1e-3).pick(torch.tensor([[0.0], [1.0]]), x1, torch.rand(2)).tolist()
    [1, 0]
    """

    eps: float = 0.0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.eps < math.inf:
            raise BadInput(f"eps of a coupling is {self.eps}.", "Give 0 (exact) or more.")

    def pick(self, x0: Tensor, x1: Tensor, u: Tensor) -> Tensor:
        cost = half_squares(x0, x1)
        if self.eps == 0:
            return assignment(cost)
        log_plan = sinkhorn(cost, self.eps, self.tolerance).log_plan
        total = log_plan.softmax(1).cumsum(1)
        return torch.searchsorted(total, u.double()[:, None]).squeeze(1).clamp(max=len(x1) - 1)


@dataclass(frozen=True)
class Immiscible(Coupling):
    """Noise goes to the data that it is near, one to one, so that the ways mix late (Li et al.
    2024, "Immiscible diffusion", alg. 1): the exact plan in the distance, not its square, of 16
    bits as published. The pair's ends are no longer independent, and D is that of the pairs: it
    samples by deterministic solvers, as a flow."""

    def pick(self, x0: Tensor, x1: Tensor, u: Tensor) -> Tensor:
        return assignment(half_squares(x0, x1).sqrt().half().double())
