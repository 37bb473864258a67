"""Classifier guidance: Dhariwal and Nichol 2021, "Diffusion models beat GANs on image
synthesis"."""

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level, like
from scorefield.guide.scales import checked, each

LogProb = Callable[[Tensor, Level, Cond | None], Tensor]
"""`log p(c | x)` of noisy x: `(x, level, cond)` -> `(B,)`, differentiable in x."""


def classifier(log_prob: LogProb, scale: float | Tensor = 1.0) -> Guide:
    """`D' = D + scale (sigma^2/alpha) grad_x log p(c|x)`.

    At scale 1 with the exact log_prob this is the conditional denoiser. The classifier must know
    noisy x: one trained on clean pictures has no use here. `scale` may be `(B,)`: one per sample.
    At pure noise x says nothing of c, yet the term has a limit, `E[x0|c] - E[x0]`: the gradient
    falls like alpha. It is taken where alpha is sqrt(eps) sigma, so log_prob must be right to first
    order in alpha, as a mixture's and `scorefield.use.classify`'s are by construction; that of a
    network's free logits is multiplied by sigma/alpha without bound. On clean data the denoiser is
    left as it is. One call of the denoiser, one of log_prob with its gradient; the result can be
    differentiated in x.

    >>> unit = lambda x, level, cond: level.like(x).alpha * x  # N(0, 1) data, VP levels
    >>> log_prob = lambda x, level, cond: -((x - 1) ** 2).sum(1) / 2
    >>> classifier(log_prob)(unit)(torch.zeros(1, 1), Level.of(0.8, 0.6), None)  # .36 / .8
    tensor([[0.4500]])
    """
    strength = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            at = heard(level, x)
            pull = tilt(slope(log_prob, x, at, cond), at)
            return torch.addcmul(denoise(x, level, cond), each(strength, x), pull)

        return guided

    return guide


def slope(log_prob: LogProb, x: Tensor, level: Level, cond: Cond | None) -> Tensor:
    """`grad_x log p`, like x; itself differentiable if gradients are on and x asks for them."""
    create_graph = torch.is_grad_enabled() and x.requires_grad
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        (found,) = torch.autograd.grad(log_prob(x, level, cond).sum(), x, create_graph=create_graph)
    return found


def tilt(slope: Tensor, level: Level) -> Tensor:
    """What a likelihood adds to D: `(sigma^2/alpha) grad log p(y|x)`, for alpha > 0.

    >>> tilt(torch.ones(1, 1), Level.of(0.5, 1.0))
    tensor([[2.]])
    """
    return like(level.sigma**2 / level.alpha, slope) * slope


def heard(level: Level, x: Tensor) -> Level:
    """The level, with at least the signal that shows in x's dtype: `alpha >= sqrt(eps) sigma`.

    In pure noise `(sigma^2/alpha) grad` is 0/0. It tends to a limit with an error of order
    alpha/sigma, and rounding adds eps sigma/alpha: here both are alike, 1.5e-8 in float64 and
    3.5e-4 in float32 (and narrower, where a log_prob had better compute in float32).

    >>> heard(Level.of(0.0, 1.0), torch.zeros(1)).alpha
    tensor(0.0003, dtype=torch.float64)
    """
    least = torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps ** 0.5
    return Level(torch.maximum(level.alpha, least * level.sigma), level.sigma)
