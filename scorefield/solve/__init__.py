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

from scorefield.solve.adaptive import BogackiShampine, DormandPrince
from scorefield.solve.arc import Arc, ExpArc
from scorefield.solve.ddim import DDIM
from scorefield.solve.ddpm import DDPM
from scorefield.solve.deis import DEIS
from scorefield.solve.dpm import DPMSolver
from scorefield.solve.dpmpp import DPMSolverPP, DPMSolverPP2S, DPMSolverPP3M
from scorefield.solve.genie import Genie, flow_slope
from scorefield.solve.gotta import GottaGoFast
from scorefield.solve.gradient import GradientEstimation
from scorefield.solve.heun import Heun
from scorefield.solve.inverse import encode
from scorefield.solve.jump import Jump, jumped, map_of
from scorefield.solve.langevin import PredictorCorrector, annealed_langevin, langevin
from scorefield.solve.lms import LMS
from scorefield.solve.loop import Info, Solver, State, sample, start_order, trajectory
from scorefield.solve.parallel import Parallel, parallel
from scorefield.solve.pndm import IPNDM, PNDM
from scorefield.solve.restart import Restart
from scorefield.solve.reverse import MuDDIM
from scorefield.solve.rk import RK
from scorefield.solve.sa import SASolver
from scorefield.solve.sde import EulerMaruyama, StochasticHeun
from scorefield.solve.sdepp import SDEDPMSolverPP
from scorefield.solve.unipc import UniPC

__all__ = [
    "Arc", "BogackiShampine", "DDIM", "DDPM", "DEIS", "DPMSolver", "DPMSolverPP", "DormandPrince",
    "DPMSolverPP2S", "DPMSolverPP3M", "EulerMaruyama", "ExpArc", "Genie", "GottaGoFast",
    "GradientEstimation", "Heun", "IPNDM", "Info", "Jump", "LMS", "MuDDIM", "PNDM", "Parallel",
    "PredictorCorrector", "RK", "Restart", "SASolver", "SDEDPMSolverPP", "Solver", "State",
    "StochasticHeun", "UniPC", "annealed_langevin", "encode", "jumped", "langevin", "map_of",
    "parallel", "sample", "flow_slope", "start_order", "trajectory",
]  # fmt: skip
