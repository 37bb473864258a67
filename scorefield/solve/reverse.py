"""The reverse SDE with any strength of its noise, D held: coefficients and the one-step method.

The processes `dx = [f x - (1 + eta^2)/2 g^2 score] dt + eta g dW`, run from noise to data, have
the same marginals for every eta >= 0: 0 is the probability flow, 1 the reverse SDE. With D held
they are linear, and end in

    x_there = rho p x + (alpha_there - alpha_here rho p) D + sigma_there sqrt(1 - p^2) z,
    p = q^(eta^2),                                                                   (eq. 3)

rho and q of eqs. 1 and 2: eq. 1 at eta 0, eq. 2 at eta 1.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, ratios
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine


def reverse(here: Level, there: Level, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """(keep, gain, spread) of eq. 3, finite at every legal pair of levels."""
    rho, q = ratios(here, there)
    p = q**eta**2
    keep = rho * p
    return keep, there.alpha - here.alpha * keep, there.sigma * (1 - p**2).clamp(min=0).sqrt()


@dataclass(frozen=True)
class MuDDIM(Plain):
    """DDIM past the level aimed at, and back up to it by fresh noise (Permenter and Yuan 2023).

        ratio_there = ratio_here^mu ratio_low^(1-mu);  DDIM to ratio_low, then noise of deviation
        alpha_there sqrt(ratio_there^2 - ratio_low^2)

    which is eq. 3 with eta^2 = mu / (1 - mu): mu=0 is DDIM, mu=1/2 the ancestral step of DDPM, and
    mu nearer 1 forgets where it came from at every step. 0 <= mu < 1.

    Use it to set by one number how fast a path forgets where it came from.
    """

    mu: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.mu < 1:
            raise BadInput(f"mu is {self.mu}.", "Use 0 (DDIM), 1/2 (DDPM) or another below 1.")

    @property
    def eta(self) -> float:
        """The deviation of its noise in units of the reverse SDE's."""
        return math.sqrt(self.mu / (1 - self.mu))

    @property
    def stochastic(self) -> bool:
        return self.mu > 0

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        denoised = denoise(x, here, cond)
        keep, gain, spread = reverse(here, there, self.eta)
        moved = affine(x, keep, denoised, gain)
        if self.stochastic:
            moved = moved.addcmul(like(spread, x), noise(x, here, there))
        return State(moved), Info(denoised)
