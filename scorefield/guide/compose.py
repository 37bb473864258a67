"""Several conditions, several guides: Liu et al. 2022, "Compositional visual generation with
composable diffusion models"; Du et al. 2023, "Reduce, reuse, recycle"."""

from functools import reduce

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level
from scorefield.guide.classifier import LogProb
from scorefield.guide.scales import checked, each

Term = tuple[Cond, float | Tensor]
"""A condition, batch-first, and its weight: a number, or `(B,)`."""


def chain(*guides: Guide) -> Guide:
    """One guide around the other: `chain(a, b)(D) = b(a(D))`, the first next to the denoiser.

    >>> add = lambda denoise: lambda x, level, cond=None: denoise(x, level, cond) + 1
    >>> double = lambda denoise: lambda x, level, cond=None: 2 * denoise(x, level, cond)
    >>> float(chain(add, double)(lambda x, level, cond=None: x)(torch.ones(1), Level.of(1, 1)))
    4.0
    """
    return lambda denoise: reduce(lambda inner, guide: guide(inner), guides, denoise)


def product(*terms: Term, scale: float | Tensor = 1.0, null: Cond | None = None) -> Guide:
    """This and that, and not those: scores added, each with its weight.

        D' = D_null + scale (D_cond - D_null) + sum_i w_i (D_i - D_null)

    It aims at `p(x) prod_i (p(x|c_i)/p(x))^w_i`, the product of what the conditions say; a negative
    weight steers away. The condition of the call counts with `scale`, and not at all if there is
    none; without terms this is `cfg(scale)`. As there, samples do not follow that density.
    `1 + len(terms)` calls, and one more for the condition of the call.

    >>> known = lambda x, level, cond: x * 0 + (0.0 if cond is None else cond["vector"])
    >>> one, two = ({"vector": torch.tensor([[v]])} for v in (1.0, 2.0))
    >>> product((two, -1.0), scale=3.0)(known)(torch.zeros(1, 1), Level.of(1, 1), one)  # 3 - 2
    tensor([[1.]])
    """
    weighted = [(cond, checked(weight, "weight")) for cond, weight in terms]
    own = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            base = total = denoise(x, level, null)
            for given, weight in [*weighted, *_asked(cond, own)]:
                apart = denoise(x, level, given) - base
                total = torch.addcmul(total, each(weight, x), apart)
            return total

        return guided

    return guide


def mixture(log_prob: LogProb, *terms: Term, weight: float | Tensor = 1.0) -> Guide:
    """One or another: the denoiser of `sum_i w_i p(x|c_i)`, exactly.

        D' = sum_i softmax_i(log w_i + log p(x|c_i)) D_i

    `log_prob(x, level, cond) -> (B,)` is of noisy x, up to what all conditions share: the log
    density, or what a classifier of noisy x says less the log of its prior. The condition of the
    call counts with `weight`, and not at all if there is none. A call of the denoiser and one of
    log_prob for each condition.

    >>> known = lambda x, level, cond: x * 0 + cond["vector"]
    >>> even = lambda x, level, cond: x.sum(1) * 0
    >>> one, two = ({"vector": torch.tensor([[v]])} for v in (1.0, 2.0))
    >>> mixture(even, (one, 1.0), (two, 3.0))(known)(torch.zeros(1, 1), Level.of(1, 1), None)
    tensor([[1.7500]])
    """
    weighted = [(cond, checked(weight, "weight")) for cond, weight in terms]
    own = checked(weight, "weight")
    if any((weight < 0).any() for _, weight in [*weighted, (None, own)]):
        raise BadInput("a weight of a mixture is negative.", "Give weights of 0 or more.")

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            parts = [*weighted, *_asked(cond, own)]
            if not parts:
                raise BadInput("a mixture of no conditions was asked.", "Give terms, or a label.")
            densities = torch.stack([log_prob(x, level, c) for c, _ in parts])
            weights = torch.stack([each(w, densities[0]).expand(len(x)) for _, w in parts])
            posterior = (densities + weights.log()).softmax(0).to(x)
            return torch.einsum(
                "kb,kb...->b...", posterior, torch.stack([denoise(x, level, c) for c, _ in parts])
            )

        return guided

    return guide


def _asked(cond: Cond | None, weight: Tensor) -> list[tuple[Cond, Tensor]]:
    """The condition of the call as one more term."""
    return [] if cond is None else [(cond, weight)]
