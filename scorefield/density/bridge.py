"""Bridges: paths both of whose directions are learned."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Level, like
from scorefield.density.control import Control, Shared, bounded
from scorefield.density.path import Noised, of_normal


class BothWays(Control):
    """The control of `Noised` paths, and a shift and a variance of the noise's own kernel."""

    def __init__(self, dim: int, finest: float, width: int = 64, layers: int = 2) -> None:
        super().__init__(dim, finest, width, layers)
        self.behind = Shared(dim, 3, 2, width, layers)

    def back(
        self, x: Tensor, there: Level, slope: Tensor, base: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The shift of q in its deviations, and the factor of its variance."""
        denoised, variance = base
        seen = [x, denoised, (variance.sqrt() * slope).asinh()]
        noise = like(there.ratio.clamp(1e-3, 1e4), x).flatten().log().expand(len(x))
        shift, log_factor = self.behind(torch.stack(seen, 2), noise).unbind(2)
        return bounded(shift, 4), bounded(log_factor, 2).exp()


@dataclass(frozen=True, eq=False)
class BridgedPaths(Noised):
    """`Noised` paths that are looked back on by a kernel that is learned as well (Richter and
    Berner 2024, "Improved sampling via learned diffusions", sec. 3; Blessing et al. 2025,
    "Underdamped diffusion bridges"):

        q(x_k | x_k+1) = N(a x_k+1 + sqrt(V) u, V e^v),   V = sigma_k^2 - (a sigma_k+1)^2,

    u and v outputs of a network of x_k+1, 0 at the start. Many pairs p, q then make weights even.
    """

    def back(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = super().back(control, x, k, slope)
        there = self.level(k + 1)
        shift, factor = control.back(x, there, slope, of_normal(x, there))
        return mean + variance.sqrt() * shift, variance * factor
