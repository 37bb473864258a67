"""A trained model as the prior, a likelihood as the tilt: the posterior by the same identity."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Denoise
from scorefield.density.path import Draw, Noised, Paths, log_normal, of_normal
from scorefield.density.target import Target


@dataclass(frozen=True, eq=False)
class TiltedModel(Noised):
    """Paths of a model's own sampler, tilted. `denoise` is any D of data x `(B, d)`, its chain
    DDPM's on the levels with C0 as the variance of x0:

        p_0(x_k+1 | x_k) = N(keep x + gain D, spread^2 + gain^2 C0).

    It takes the place of q in eq. 2, of which then

        log w = log psi(x_N) + sum_k [log p_0(x_k+1 | x_k) - log p(x_k+1 | x_k)],
        E_p[w] = E_{p_0}[psi(x_N)],

    the evidence of a likelihood psi, the `Target`'s log_prob, under the model as its chain samples
    it. Without control p = p_0. The control moves D by the gradient of log psi at D and by what the
    network learns; no gradient runs through the model. There is no way back from exact samples.
    """

    denoise: Denoise = field(kw_only=True)

    def log_start(self, x: Tensor) -> Tensor:
        """None: the two chains start alike."""
        return x.new_zeros(len(x), dtype=torch.float64)

    def slope(self, target: Target, x: Tensor, k: Tensor, graph: bool = False) -> Tensor:
        """`(B, d, 2)`: the model's D, and the gradient of log psi there."""
        with torch.no_grad():
            denoised = self.denoise(x, self.level(k), None)
        return torch.stack([denoised, target.gradient(denoised)], 2)

    def forth(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        here = self.level(k)
        base = slope[..., 0], of_normal(x, here)[1]
        return self.kernel(x, k, *control(x, here, slope[..., 1], base))

    def log_back(
        self, control: Any, k: Tensor, x: Tensor, there: Tensor, slopes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Of the model's own step forward."""
        variance = of_normal(x, self.level(k))[1]
        return log_normal(there, *self.kernel(x, k, slopes[0][..., 0], variance))

    def retrace(self, control: Any, target: Target, x: Tensor, draw: Draw) -> Paths:
        raise BadInput("a tilted model has no way back from samples.", "Leave out the upper bound.")
