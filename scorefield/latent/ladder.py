"""What an autoencoder's draws are worth: its bound, level by level.

For z_t ~ q(z_t | z_{t-1}) up the levels t = 1..T of a hierarchy, with z_0 = x and one level in an
autoencoder alone,

    log p(x) >= E[log p(x | z_1)] - sum_t kl_t                                              (eq. 3)
    kl_t = E[-H(q(z_t | z_{t-1})) - log p(z_t | z_{t+1})],   kl_T = KL(q(z_T | z_{T-1}) || N(0, I))
    log w = log p(x | z_1) + sum_t [log p(z_t | z_{t+1}) - log q(z_t | z_{t-1})]            (eq. 4)

Each kl_t is in closed form but for the mean over z_{t+1}, so that it varies less than the logarithm
of one draw does; log w holds what was drawn, and has no variance where q is the posterior.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor

from scorefield.base import CLEAN, Level, Noise, Seeded
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.likelihood.estimate import Bound
from scorefield.nets.autoencoder import Autoencoder, Hierarchy, Posterior

NORMAL = Level.of(0.0, 1.0)


class Ladder(NamedTuple):
    """For L draws of each example: the decoded `mean (B L, *shape)`, `log_p (B, L)` of x under it,
    `kl (B, L, T)` of the levels and `log_w (B, L)`, all in nats."""

    mean: Tensor
    log_p: Tensor
    kl: Tensor
    log_w: Tensor

    @property
    def bound(self) -> Tensor:
        """eq. 3 of each draw, `(B, L)`."""
        return self.log_p - self.kl.sum(2)


def levels_of(module: Autoencoder | Hierarchy) -> list[Autoencoder]:
    """From x up."""
    return list(cast(Iterable[Autoencoder], module.levels))


def latent_size(module: Autoencoder | Hierarchy) -> int:
    """Numbers of all latents."""
    return sum(math.prod(level.latent_shape) for level in levels_of(module))


def ascend(module: Autoencoder | Hierarchy, decoder: Decoder, x0: Tensor, eps: Tensor) -> Ladder:
    """Up the levels with the draws `eps (B, L, n)`, n the numbers of all latents, and down again.

    `decoder` is that of x; above it all is Gaussian.
    """
    levels, count = levels_of(module), eps.shape[1]
    q = Posterior(*(leaf.repeat_interleave(count, 0) for leaf in levels[0].encode(x0)))
    below = x0.repeat_interleave(count, 0)
    parts = eps.flatten(0, 1).to(x0).split([math.prod(v.latent_shape) for v in levels], 1)
    log_p, own, log_w, mean = [], [], [], below
    for t, (level, draw) in enumerate(zip(levels, parts)):
        q = q if t == 0 else level.encode(below)
        z = q.sample(draw.view_as(q.mean))
        there = level.decode(z)
        mean = there if t == 0 else mean
        log_p.append((gaussian if t else decoder)(below, there, level.variance))
        log_w.append(log_p[-1] - q.log_prob(z))
        own.append(-q.entropy() if level is not levels[-1] else q.kl().flatten(1).sum(1))
        below = z
    top = gaussian(below, torch.zeros_like(below), torch.ones_like(below[:1]))
    kl = [each - above for each, above in zip(own, [*log_p[1:], torch.zeros_like(top)])]
    size = len(x0), count
    kls = torch.stack(kl, 1).unflatten(0, size)
    total = torch.stack([*log_w, top]).sum(0).unflatten(0, size)
    return Ladder(mean, log_p[0].unflatten(0, size), kls, total)


def log_mean_exp(log_w: Tensor) -> Tensor:
    """`log 1/L sum_l w_l` of `(B, L)`: the importance-weighted bound (Burda et al. 2016, eq. 8)."""
    return log_w.logsumexp(1) - math.log(log_w.shape[1])


@torch.no_grad()
def encoder_bound(
    module: Autoencoder | Hierarchy,
    x0: Tensor,
    decoder: Decoder = gaussian,
    *,
    draws: int = 16,
    weighted: bool = False,
    noise: Noise | None = None,
) -> Bound:
    """A lower bound of log p(x) in nats `(B,)`: eq. 3, with its standard error over the draws; or
    the importance-weighted bound, which is never below it.

    The same whatever the batch: draws are those of each sample's seed. Of a discretised decoder it
    bounds a probability: `bits_per_dim(bound.log_prob, D)` are bits a dimension. `terms` are what
    the levels cost, from the top down; the rest, `decoder`, makes up the bound. There is no prior
    term and there are no edges.
    """
    noise = Seeded(range(len(x0))) if noise is None else noise
    eps = noise(x0.new_empty(len(x0), draws, latent_size(module)), CLEAN, NORMAL)
    ladder = ascend(module, decoder, x0, eps)
    each = ladder.log_w if weighted else ladder.bound
    total = log_mean_exp(each) if weighted else each.mean(1)
    # weighted: of the logarithm of a mean, by the relative spread of the weights
    spread = (each - total[:, None]).exp() if weighted else each
    stderr = spread.std(1) / math.sqrt(draws)
    terms = ladder.kl.mean(1).flip(1)
    none, edges = torch.zeros_like(total), torch.empty(0)
    return Bound(total, stderr, none, terms, -(total + terms.sum(1)), edges)
