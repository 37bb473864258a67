"""Solvers: (denoiser, state, level here, level there, chance) -> the next state."""

from scorefield.base.entries import Entries, site

solvers = Entries(
    {
        "ddpm": "solve.ddpm:DDPM",
        "ddim": "solve.ddim:DDIM",
        "heun": "solve.heun:Heun",
        "dpmpp2m": "solve.dpmpp:DPMSolverPP",
        "dpmpp2s": "solve.dpmpp:DPMSolverPP2S",
        "dpmpp3m": "solve.dpmpp:DPMSolverPP3M",
        "dpm2": "solve.dpm:DPMSolver",
        "dpm3": site("solve.dpm:DPMSolver", order=3),
        "deis1": site("solve.deis:DEIS", k=1),
        "deis2": site("solve.deis:DEIS", k=2),
        "deis3": "solve.deis:DEIS",
        "unipc2": "solve.unipc:UniPC",
        "unipc3": site("solve.unipc:UniPC", p=3),
        "unipc4": site("solve.unipc:UniPC", p=4),
        "lms4": "solve.lms:LMS",
        "arc": "solve.arc:Arc",
        "exp-arc": "solve.arc:ExpArc",
        "ipndm4": "solve.pndm:IPNDM",
        "pndm": "solve.pndm:PNDM",
        "ge": "solve.gradient:GradientEstimation",
        "genie": "solve.genie:Genie",
        "midpoint": site("solve.rk:RK", tableau=site("solve.rk:MIDPOINT")),
        "rk4": "solve.rk:RK",
        "mu": "solve.reverse:MuDDIM",
        "euler-maruyama": "solve.sde:EulerMaruyama",
        "stochastic-heun": "solve.sde:StochasticHeun",
        "sde-dpmpp2m": "solve.sdepp:SDEDPMSolverPP",
        "sa": "solve.sa:SASolver",
        "predictor-corrector": "solve.langevin:PredictorCorrector",
        "restart": "solve.restart:Restart",
        "jump": "solve.jump:Jump",
        "soft-momentum": "solve.soft:SoftMomentum",
        "heat-delta": "solve.soft:HeatDelta",
        "bogacki-shampine": "solve.adaptive:BogackiShampine",
        "dormand-prince": "solve.adaptive:DormandPrince",
        "gotta-go-fast": "solve.gotta:GottaGoFast",
    }
)
