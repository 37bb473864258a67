"""What a condition tells of a sample: `l = log p(x|c)/p(x)`, from the two denoisers alone.

A sample x0 and a noise xi make a ray, `x = alpha x0 + sigma xi` at every level. In the variable
`a = asinh(alpha/sigma)`, with `alpha = tanh a` and `sigma = 1/cosh a`, it runs from pure noise at
a = 0, where a condition tells nothing. Along it, D0 without and D1 with the condition,

    dl/da = [(alpha/sigma) (|x0 - D0|^2 - |x0 - D1|^2) + xi.(D1 - D0)] / sigma
            - div_x (D1 - D0),                                                          (eq. 8)

since `grad log p = (alpha D - x)/sigma^2` and p is carried by its flow. For posterior means this
holds on each ray. On average over xi the last two terms cancel, whatever D1 and D0 are (Stein's
lemma), and the rest is the difference of two bounds of the likelihood: of a trained model, too, l
says how much better it explains x0 with the condition (Kong, Brekelmans and Ver Steeg 2023,
"Information-theoretic diffusion").
"""

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.population import wide_dtype


def information(
    apart: "Apart", x0: Tensor, xi: Tensor, level: Level, nodes: int, noise: Noise
) -> Tensor:
    """`l (B,)` in nats of `alpha x0 + sigma xi` at a level, by eq. 8 and Gauss-Legendre in a.

    One call of each denoiser at each of the nodes, with its gradient.

    >>> from scorefield.base import Zero
    >>> def unit(x, level, cond=None):  # N(0, 1); of the condition: N(1, 1)
    ...     mean = 0.0 if cond is None else 1.0
    ...     return mean + level.like(x).alpha * (x - level.like(x).alpha * mean)
    >>> x0, data = torch.tensor([[2.0]]).double(), Level.of(1.0, 1e-6)
    >>> information(Apart(unit, {}, None, 4), x0, 0 * x0, data, 64, Zero())  # 2 - 1/2
    tensor([1.5000], dtype=torch.float64)
    """
    ends = torch.asinh(level.alpha / level.sigma)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    total = torch.zeros(len(x0), dtype=wide_dtype(x0), device=x0.device)
    for point, weight in zip(points, weights):
        a = ends * (1 + point) / 2
        here = Level(a.tanh(), 1 / a.cosh())
        alpha, sigma = here.like(x0)
        d0, gap, div = apart(alpha * x0 + sigma * xi, here, noise)
        nearer = (alpha / sigma) * (2 * (x0 - d0) - gap) + xi
        slope = (gap * nearer / sigma).to(total).flatten(1).sum(1) - div.to(total)
        total = total + like(ends * weight / 2, total) * slope
    return total


class Apart:
    """`(D0, D1 - D0, div_x (D1 - D0))` of x: D0 under `null`, D1 under `cond`.

    The divergence is exact for samples of at most `probes` numbers; for larger ones it is the mean
    of `v . J v` over that many random signs v (Hutchinson 1990), without bias.
    """

    def __init__(self, denoise: Denoise, cond: Cond | None, null: Cond | None, probes: int) -> None:
        self.denoise, self.cond, self.null, self.probes = denoise, cond, null, probes

    def __call__(self, x: Tensor, level: Level, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            base = self.denoise(x, level, self.null)
            gap = self.denoise(x, level, self.cond) - base
        if not gap.requires_grad:
            raise BadInput(
                "the denoised estimate carries no gradient.",
                "What a condition tells is found by gradients: take torch.no_grad out of it.",
            )
        size = x[0].numel()
        if size <= self.probes:
            signs = torch.eye(size).to(x)[:, None].expand(-1, len(x), -1)
            factor = 1.0
        else:
            drawn = noise(x.new_empty(len(x), self.probes, size), level, level)
            signs = torch.where(drawn < 0, -1.0, 1.0).to(x).transpose(0, 1)
            factor = 1 / self.probes
        div = torch.stack([self._along(gap, x, v.reshape(x.shape)) for v in signs]).sum(0)
        return base.detach(), gap.detach(), factor * div

    @staticmethod
    def _along(gap: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """`v . J v` `(B,)`."""
        (found,) = torch.autograd.grad(gap, x, v, retain_graph=True)
        return (found * v).flatten(1).sum(1)
