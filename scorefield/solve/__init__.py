"""Floor 3: solvers. One loop; a method is `init` and `step`; its memory is returned.

Every solver moves x between two levels, `here -> there`, with the denoised estimate D. In the
clock `ratio = sigma/alpha` the probability flow is `d(x/alpha)/d(ratio) = eps`; if D did not
change on the way, its solution would be

    x_there = rho x + (alpha_there - alpha_here rho) D,   rho = sigma_there/sigma_here   (eq. 1)

which holds at pure noise (alpha_here = 0) and on clean data (sigma_there = 0, then x = D). The
reverse SDE of the same process, with D held, ends in the posterior of the forward chain

    N(q rho x + alpha_there (1 - q^2) D,  sigma_there^2 (1 - q^2) I),
                                          q = ratio_there/ratio_here.                    (eq. 2)

Solvers receive levels, never times: they know no schedule. Level leaves may be `()` or `(B,)`, so
samples at different levels, seeds and ages can share a batch; a step never mixes samples.
"""

from scorefield.solve.ddim import DDIM
from scorefield.solve.ddpm import DDPM
from scorefield.solve.dpmpp import DPMSolverPP
from scorefield.solve.heun import Heun
from scorefield.solve.loop import Info, Solver, State, sample, trajectory

__all__ = [
    "DDIM",
    "DDPM",
    "DPMSolverPP",
    "Heun",
    "Info",
    "Solver",
    "State",
    "sample",
    "trajectory",
]
