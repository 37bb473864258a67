"""Adams-Bashforth on uneven grids: Crowson 2022, "k-diffusion" (LMS)."""

from dataclasses import dataclass

from scorefield.base import BadInput
from scorefield.solve.interpolate import ratio_clock
from scorefield.solve.multistep import Interpolated, Multistep, Weigh


@dataclass(frozen=True)
class LMS(Multistep):
    """The polynomial in `r = sigma/alpha` through the last k values of eps, integrated exactly.

        x_there = (alpha_there/alpha_here) x + alpha_there int_r^r' P(r) dr,  P(r_j) = eps_j (eq. 4)

    On levels alpha = 1 the Adams-Bashforth method of k-diffusion. A clock for steps that change r
    by small factors. Until k values are there, new values correct the steps that led to them.

    Use it to reproduce k-diffusion: DEIS, the same formula in another clock, is nearer.
    """

    k: int = 4

    def __post_init__(self) -> None:
        if self.k not in (2, 3, 4):
            raise BadInput(f"k is {self.k}.", "Use 2, 3 or 4 values; one value is DDIM.")

    @property
    def order(self) -> int:
        return self.k

    def method(self) -> tuple[Weigh, int]:
        return Interpolated("eps", ratio_clock, self.k - 1), self.k - 1
