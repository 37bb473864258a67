"""Solvers: (denoiser, state, level here, level there, chance) -> the next state."""

from scorefield.base.entries import Entries, place

solvers = Entries(
    {
        "ddpm": "solve.ddpm:DDPM",
        "ddim": "solve.ddim:DDIM",
        "heun": "solve.heun:Heun",
        "dpmpp2m": "solve.dpmpp:DPMSolverPP",
        "dpmpp2s": "solve.dpmpp:DPMSolverPP2S",
        "dpmpp3m": "solve.dpmpp:DPMSolverPP3M",
        "dpm2": "solve.dpm:DPMSolver",
        "dpm3": place("solve.dpm:DPMSolver", order=3),
        "deis1": place("solve.deis:DEIS", k=1),
        "deis2": place("solve.deis:DEIS", k=2),
        "deis3": "solve.deis:DEIS",
        "unipc2": "solve.unipc:UniPC",
        "unipc3": place("solve.unipc:UniPC", p=3),
        "unipc4": place("solve.unipc:UniPC", p=4),
        "lms4": "solve.lms:LMS",
        "arc": "solve.arc:Arc",
        "exp-arc": "solve.arc:ExpArc",
        "ipndm4": "solve.pndm:IPNDM",
        "pndm": "solve.pndm:PNDM",
        "ge": "solve.gradient:GradientEstimation",
        "midpoint": place("solve.rk:RK", tableau=place("solve.rk:MIDPOINT")),
        "rk4": "solve.rk:RK",
        "mu": "solve.reverse:MuDDIM",
        "euler-maruyama": "solve.sde:EulerMaruyama",
        "stochastic-heun": "solve.sde:StochasticHeun",
        "sde-dpmpp2m": "solve.sdepp:SDEDPMSolverPP",
        "sa": "solve.sa:SASolver",
        "predictor-corrector": "solve.langevin:PredictorCorrector",
        "restart": "solve.restart:Restart",
        "bogacki-shampine": "solve.adaptive:BogackiShampine",
        "dormand-prince": "solve.adaptive:DormandPrince",
        "gotta-go-fast": "solve.gotta:GottaGoFast",
    }
)
