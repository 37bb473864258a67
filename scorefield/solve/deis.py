"""DEIS: Zhang and Chen 2023, "Fast sampling of diffusion models with exponential integrator"."""

from dataclasses import dataclass

from scorefield.base import BadInput
from scorefield.solve.interpolate import vp_clock
from scorefield.solve.multistep import Interpolated, Multistep, Weigh


@dataclass(frozen=True)
class DEIS(Multistep):
    """eps extrapolated by the polynomial of degree k through its last k+1 values (tAB-k).

        x_there = (alpha_there/alpha_here) x + alpha_there int_r^r' P(t(r)) dr,
        P(t(r_j)) = eps_j,   t(r) = sqrt(log(1 + r^2)),   r = sigma/alpha          (eq. 4)

    The paper interpolates in the time t of VP. A solver knows levels only, and with beta_min = 0
    VP's time is this t(r), up to a factor. k=0 is DDIM. While the past is short, each new value
    also corrects the step that led to it, so that the order is k+1 from noise on, and 3 at most of
    a run begun in the middle. For a process with one scalar level, gDDIM (Zhang et al. 2023) is
    this method.

    Use it with k=3, with any number of calls: of the methods published for diffusion it is the
    nearest or not far from it.
    """

    k: int = 3

    def __post_init__(self) -> None:
        if self.k not in (1, 2, 3):
            raise BadInput(f"k is {self.k}.", "Use degree 1, 2 or 3; degree 0 is DDIM.")

    @property
    def order(self) -> int:
        return self.k + 1

    def method(self) -> tuple[Weigh, int]:
        return Interpolated("eps", vp_clock, self.k), self.k
