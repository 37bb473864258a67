"""Between latents: the codes that the flow makes of data (`solve.encode`, `FlowLogProb.latent`)."""

import torch
from torch import Tensor

from scorefield.base import BadInput


def lerp(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """`(1 - w) start + w end` for latents `(B, ...)` and fractions w `(n,)`: `(n, B, ...)`.

    Halfway between independent latents the norm is short by sqrt(2), which no model has seen.
    """
    w = _column(start, end, fraction)
    return (1 - w) * start + w * end


def slerp(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """Along the arc: `(n, B, ...)` between latents `(B, ...)` at fractions w `(n,)` of their angle.

        z_w = |z_w| (sin((1 - w) a) start/|start| + sin(w a) end/|end|) / sin(a)

    with `a` the angle of each pair and the norm |z_w| going straight from one's to the other's
    (Shoemake 1985). Opposite latents have no one arc between them and give BadInput.

    >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([0.5]))
    tensor([[[1.4142, 1.4142]]])
    """
    w = _column(start, end, fraction)
    norms = [torch.linalg.vector_norm(z.flatten(1), dim=1) for z in (start, end)]
    if not bool((torch.stack(norms) > 0).all()):
        raise BadInput("a latent is 0 and has no direction.", "Use lerp.")
    wide = [norm.reshape(-1, *(1,) * (start.ndim - 1)) for norm in norms]
    a, b = start / wide[0], end / wide[1]
    apart, joint = (torch.linalg.vector_norm(v.flatten(1), dim=1) for v in (a - b, a + b))
    if not bool((joint > 1e-4).all()):
        raise BadInput("two latents are opposite: every great circle joins them.", "Use lerp.")
    angle = (2 * torch.atan2(apart, joint)).reshape(wide[0].shape)  # exact at small angles too
    parts = (torch.sinc((1 - w) * angle / torch.pi) * (1 - w), torch.sinc(w * angle / torch.pi) * w)
    arc = (parts[0] * a + parts[1] * b) / torch.sinc(angle / torch.pi)
    return ((1 - w) * wide[0] + w * wide[1]) * arc


def direction(latents: Tensor, has: Tensor) -> Tensor:
    """What an attribute adds: the mean latent that has it less the mean that has not, `(...)`.

    Add a multiple of it to a latent and decode. `has` is `(B,)` bool.

    >>> direction(torch.tensor([[1.0], [3.0], [0.0]]), torch.tensor([True, True, False]))
    tensor([2.])
    """
    if has.dtype != torch.bool or has.shape != latents.shape[:1]:
        raise BadInput(
            f"has is {has.dtype} of shape {tuple(has.shape)} for {len(latents)} latents.",
            "Give one bool per latent.",
        )
    if not 0 < int(has.sum()) < len(has):
        raise BadInput("all latents have the attribute, or none.", "Give some of each.")
    return latents[has].mean(0) - latents[~has].mean(0)


def _column(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """Shares `(n, 1, ..., 1)` against latents of one shape."""
    if start.shape != end.shape or fraction.ndim != 1:
        raise BadInput(
            f"latents {tuple(start.shape)} and {tuple(end.shape)}, fractions "
            f"{tuple(fraction.shape)}.",
            "Give two of one shape and fractions (n,).",
        )
    return fraction.to(start).reshape(-1, *(1,) * start.ndim)
