"""What latents say of the known factors of data, and whether each factor has one of its own."""

import math

import torch
from torch import Tensor

from scorefield.base import BadInput, Seeded
from scorefield.base.level import CLEAN, Level

BLOCK = 256


def mutual_information(mean: Tensor, log_var: Tensor, factors: Tensor) -> Tensor:
    """`I(z_j; v_k)` in nats `(d, K)` of latents with posteriors N(mean, exp(log_var)) `(N, d)` and
    discrete factors `(N, K)` of the same examples (Chen et al. 2018, "Isolating sources of
    disentanglement in VAEs", eq. 6):

        I = mean_n [log q(z_nj | v_nk) - log q(z_nj)],   z_nj ~ q(z_j | x_n),
        q(z_j) = mean_n q(z_j | x_n),   q(z_j | v_k) the mean over the examples of that value

    The aggregated posteriors are exact mixtures over the examples, and each example draws by its
    number. From N examples I is too large by about (values - 1) times what latents are spread over
    (effective cells) / 2N: tell it from 0 by factors that are shuffled.
    """
    if mean.ndim != 2 or mean.shape != log_var.shape or factors.shape[:1] != mean.shape[:1]:
        raise BadInput(
            f"means {tuple(mean.shape)}, log variances {tuple(log_var.shape)} and factors "
            f"{tuple(factors.shape)} do not fit.",
            "Give (N, d), (N, d) and (N, K).",
        )
    if factors.is_floating_point() or factors.ndim != 2:
        raise BadInput(f"factors are {factors.dtype}.", "Give integers (N, K), a column a factor.")
    mean, log_var = mean.double(), log_var.double()
    draws = Seeded(range(len(mean)))(mean, CLEAN, Level.of(0.0, 1.0))
    z = mean + (log_var / 2).exp() * draws
    total = torch.zeros(mean.shape[1], factors.shape[1], dtype=torch.float64)
    for rows in torch.arange(len(mean)).split(BLOCK):
        apart = z[rows, None] - mean
        each = -(apart.square() * (-log_var).exp() + log_var) / 2  # (rows, N, d)
        whole = each.logsumexp(1) - math.log(len(mean))
        for k, value in enumerate(factors.T):
            same = value[rows, None] == value
            own = each.masked_fill(~same[..., None], -math.inf).logsumexp(1)
            total[:, k] += (own - same.sum(1, keepdim=True).log() - whole).sum(0)
    return total / len(mean)


def entropies(factors: Tensor) -> Tensor:
    """`H(v_k)` in nats `(K,)` of discrete factors `(N, K)`.

    >>> entropies(torch.tensor([[0, 5], [1, 5]]))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    found = []
    for value in factors.T:
        p = value.unique(return_counts=True)[1].double() / len(value)
        found.append(-(p * p.log()).sum())
    return torch.stack(found) + 0.0


def information_gap(information: Tensor, entropy: Tensor) -> Tensor:
    """The mutual information gap of each factor, `(K,)`, from 0 to 1: what its best latent says
    beyond the next best, as a part of what there is to say.

        (I(z_first; v_k) - I(z_second; v_k)) / H(v_k)

    The information alone is as high where every latent says a little of everything, or two say the
    same: a rotation of the latents keeps what they say together, and the gap it closes. Factors of
    one value have none. Raises BadInput for fewer than two latents.

    >>> information_gap(torch.tensor([[0.6, 0.1], [0.2, 0.1]]), torch.tensor([0.8, 0.8]))
    tensor([0.5000, 0.0000])
    """
    if len(information) < 2 or not bool((entropy > 0).all()):
        raise BadInput(
            f"there are {len(information)} latents, and the least entropy of a factor is "
            f"{float(entropy.min()):.3g}.",
            "Give at least two latents, and factors of more than one value.",
        )
    first, second = information.topk(2, 0).values
    return (first - second) / entropy
