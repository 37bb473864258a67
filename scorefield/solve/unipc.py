"""UniPC: Zhao et al. 2023, "UniPC: a unified predictor-corrector framework"."""

from dataclasses import dataclass

from scorefield.base import BadInput
from scorefield.solve.interpolate import log_clock
from scorefield.solve.multistep import Interpolated, Multistep, Weigh


@dataclass(frozen=True)
class UniPC(Multistep):
    """D interpolated in `lam = log(alpha/sigma)`; the call at a new point first corrects it.

        here:   x <- x + alpha_here c (D - P(lam_here)),  P through the p values before D  (UniC-p)
        there:  x_there = (sigma_there/sigma_here) x + sigma_there int e^l Q dl,     (UniP-p, eq. 3)
                Q through the last p values, D among them

    c is the integral that turns the step by P into the step by P and D. A corrected point is never
    evaluated again: one call a step, order p+1; without the corrector, order p. The paper's B(h)
    cancels once its linear system is solved, as here, for every p; it would matter only with the
    shortcut of 1/2 for p=2. The last x of a run is not corrected: no call is made there.

    Use it with 20 calls or more; with 10 or fewer it overshoots where x is mostly noise.
    """

    p: int = 2
    corrector: bool = True

    def __post_init__(self) -> None:
        if self.p not in (1, 2, 3, 4):
            raise BadInput(f"p is {self.p}.", "Use 1, 2, 3 or 4.")

    @property
    def order(self) -> int:
        return self.p + self.corrector

    def method(self) -> tuple[Weigh, int]:
        correct = "always" if self.corrector else "start"
        return Interpolated("x0", log_clock, self.p - 1, correct), self.p
