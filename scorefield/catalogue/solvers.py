"""Solvers: (denoiser, state, level here, level there, chance) -> the next state."""

from scorefield import solve
from scorefield.catalogue.preset import preset
from scorefield.solve.rk import MIDPOINT

solvers = {
    "ddpm": solve.DDPM,
    "ddim": solve.DDIM,
    "heun": solve.Heun,
    "dpmpp2m": solve.DPMSolverPP,
    "dpmpp2s": solve.DPMSolverPP2S,
    "dpmpp3m": solve.DPMSolverPP3M,
    "dpm2": solve.DPMSolver,
    "dpm3": preset(solve.DPMSolver, order=3),
    "deis1": preset(solve.DEIS, k=1),
    "deis2": preset(solve.DEIS, k=2),
    "deis3": solve.DEIS,
    "unipc2": solve.UniPC,
    "unipc3": preset(solve.UniPC, p=3),
    "unipc4": preset(solve.UniPC, p=4),
    "lms4": solve.LMS,
    "arc": solve.Arc,
    "exp-arc": solve.ExpArc,
    "ipndm4": solve.IPNDM,
    "pndm": solve.PNDM,
    "ge": solve.GradientEstimation,
    "midpoint": preset(solve.RK, tableau=MIDPOINT),
    "rk4": solve.RK,
    "mu": solve.MuDDIM,
    "euler-maruyama": solve.EulerMaruyama,
    "stochastic-heun": solve.StochasticHeun,
    "sde-dpmpp2m": solve.SDEDPMSolverPP,
    "sa": solve.SASolver,
    "predictor-corrector": solve.PredictorCorrector,
    "restart": solve.Restart,
    "bogacki-shampine": solve.BogackiShampine,
    "dormand-prince": solve.DormandPrince,
    "gotta-go-fast": solve.GottaGoFast,
}
