"""The optimisers: AdamW, and Muon, momentum whose matrices are made orthogonal.

For the weight W (rows x columns; a convolution's rows are its outputs) with the gradient G,

    M <- mu M + (1 - mu) G,    U = mu M + (1 - mu) G,                               (Nesterov)
    W <- (1 - lr decay) W - lr sqrt(max(1, rows/columns)) orthogonal(U),

where orthogonal(A S B^T) = A S' B^T has the singular vectors of U and singular values S' near 1:
every direction that the gradients agree on is walked alike, where AdamW walks the few that are
large. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
(kellerjordan.github.io/posts/muon), whose coefficients are COEFFICIENTS. `torch.optim.Muon` takes
matrices only, one by one: here convolutions are matrices too, those of one shape go together, and
pieces of FSDP are joined first.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from scorefield.nets.adamw import AdamW
from scorefield.train.settings import Training
from scorefield.train.sharded import cut_like, unsharded

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95


class Muon(AdamW):
    """Two groups: `matrices`, whose rate is `lr` times `relative`, and the `rest`, AdamW's."""

    def __init__(
        self, matrices: Iterable[Tensor], rest: Iterable[Tensor], lr: float, relative: float,
        **adamw: Any,
    ) -> None:  # fmt: skip
        first = {"params": list(matrices), "lr": lr * relative, "relative": relative}
        groups = [first, {"params": list(rest)}]
        super().__init__(groups, lr, **adamw)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As of any optimiser: AdamW's looks for a count of steps in the state of every weight."""
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; the gradients of matrices are used up."""
        group = self.param_groups[0]
        moved = [w for w in group["params"] if w.grad is not None]
        grads = [w.grad for w in moved]
        for w in moved:
            w.grad = None  # AdamW passes over them
            if not self.state[w]:
                self.state[w]["momentum"] = torch.zeros_like(w)
        moments = [self.state[w]["momentum"] for w in moved]
        torch._foreach_lerp_(moments, grads, 1 - MOMENTUM)  # type: ignore[attr-defined]
        torch._foreach_lerp_(grads, moments, MOMENTUM)  # type: ignore[attr-defined]
        by_shape: dict[torch.Size, tuple[list[Tensor], list[Tensor]]] = {}
        for w, grad in zip(moved, grads, strict=True):
            u = unsharded(grad).flatten(1)
            weights, matrices = by_shape.setdefault(u.shape, ([], []))
            weights.append(w)
            matrices.append(u)
        for (rows, columns), (weights, matrices) in by_shape.items():
            found = orthogonal(torch.stack(matrices))
            update = [cut_like(u.view(w.shape), w) for u, w in zip(found, weights, strict=True)]
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])  # type: ignore[attr-defined]
            size = group["lr"] * max(1.0, rows / columns) ** 0.5
            torch._foreach_add_(weights, update, alpha=-size)  # type: ignore[attr-defined]
        return super().step(closure)


def orthogonal(u: Tensor) -> Tensor:
    """A S' B^T of each U = A S B^T of a stack `(n, rows, columns)`, by Newton and Schulz.

    With X_0 = U/|U|, each of five iterations is X <- (a + b X X^T + c (X X^T)^2) X. All of them
    are polynomials of X_0 X_0^T, so that only these small square matrices are multiplied. S' is
    within .68 and 1.21 for singular values of U from 1/500 of its norm on, and tends to 0 with
    those below.
    """
    if u.shape[-2] > u.shape[-1]:
        return orthogonal(u.mT).mT
    a, b, c = COEFFICIENTS
    x = u / u.flatten(-2).norm(dim=-1)[:, None, None].clamp(min=1e-12)
    square = x @ x.mT
    product = torch.eye(len(square[0]), dtype=x.dtype, device=x.device).expand_as(square)
    for _ in range(ITERATIONS):
        factor = torch.baddbmm(square, square, square, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product, square = factor @ product, factor @ square @ factor
    return product @ x


def optimizer_of(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimiser of a turn's weights that the settings name; rates are set at each step.

    Muon's matrices are the weights of linear layers and convolutions that mix channels; the rest
    are tables of embeddings, vectors, and what has one row, as the last layer for grey pictures.
    """
    adamw: dict[str, Any] = {
        "betas": (0.9, 0.99), "weight_decay": training.weight_decay, "fused": True,
    }  # fmt: skip
    if training.optimizer == "adamw":
        return AdamW(module.parameters(), training.lr, **adamw)
    tables = {w for m in module.modules() if isinstance(m, nn.Embedding) for w in m.parameters()}
    groups: tuple[list[Tensor], list[Tensor]] = ([], [])
    for w in module.parameters():
        is_matrix = w.ndim > 1 and min(w.flatten(1).shape) > 1 and w not in tables
        groups[not is_matrix].append(w)
    return Muon(*groups, training.lr, training.matrix_lr / training.lr, **adamw)
