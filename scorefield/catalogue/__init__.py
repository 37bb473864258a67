"""Names -> objects: the one literal list that the command line, the docs and the laws read.

A value is a factory: call it, with its own options if any, to get the object.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from scorefield.data import datasets
from scorefield.guide import (
    anagram,
    autoguide,
    carried,
    cfg,
    chain,
    classifier,
    hybrid,
    interval,
    mixture,
    product,
    rescale,
    threshold,
)
from scorefield.inverse import (
    DDRM,
    DPS,
    RePaint,
    diffpir,
    dps,
    mmps,
    pigdm,
    replacement,
    tmpd,
    twisted,
)
from scorefield.inverse.operators import OPERATORS
from scorefield.measure import agreement, frechet_report, memorisation, precision_recall
from scorefield.nets import MLP, DiT, UNet
from scorefield.objective import (
    P2,
    VLB,
    Adaptive,
    Antithetic,
    Covering,
    EDMWeight,
    Fixed,
    Geometric,
    Hybrid,
    Likelihood,
    LogitNormal,
    LogNormal,
    MinSNR,
    Objective,
    Sigmoid,
    Sliced,
    Stratified,
    Uniform,
    Variational,
)
from scorefield.objective import weight as _weight
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Learned, SubVP
from scorefield.process import grids as _grids
from scorefield.solve import (
    DDIM,
    DDPM,
    DEIS,
    IPNDM,
    LMS,
    PNDM,
    RK,
    Arc,
    BogackiShampine,
    DormandPrince,
    DPMSolver,
    DPMSolverPP,
    DPMSolverPP2S,
    DPMSolverPP3M,
    EulerMaruyama,
    ExpArc,
    GottaGoFast,
    GradientEstimation,
    Heun,
    MuDDIM,
    PredictorCorrector,
    Restart,
    SASolver,
    SDEDPMSolverPP,
    StochasticHeun,
    UniPC,
)
from scorefield.solve.rk import MIDPOINT


def preset(method: type, **options: Any) -> Callable[..., Any]:
    """A method under other defaults; its name, text and options are still the method's."""

    @wraps(method, updated=())
    def build(**more: Any) -> Any:
        return method(**options | more)

    return build


schedules = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "cosine": Cosine,
    "flow": Flow,
    "ddpm": DiscreteVP,
    "learned": Learned,
}
grids = {
    "uniform-t": _grids.uniform_t,
    "uniform-logsnr": _grids.uniform_logsnr,
    "karras": _grids.karras,
    "exponential": _grids.exponential,
    "vp-root": _grids.vp_root,
    "lu": _grids.lu,
    "beta": _grids.beta,
    "timesteps": _grids.timesteps,
}
solvers = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": Heun,
    "dpmpp2m": DPMSolverPP,
    "dpmpp2s": DPMSolverPP2S,
    "dpmpp3m": DPMSolverPP3M,
    "dpm2": DPMSolver,
    "dpm3": preset(DPMSolver, order=3),
    "deis1": preset(DEIS, k=1),
    "deis2": preset(DEIS, k=2),
    "deis3": DEIS,
    "unipc2": UniPC,
    "unipc3": preset(UniPC, p=3),
    "unipc4": preset(UniPC, p=4),
    "lms4": LMS,
    "arc": Arc,
    "exp-arc": ExpArc,
    "ipndm4": IPNDM,
    "pndm": PNDM,
    "ge": GradientEstimation,
    "midpoint": preset(RK, tableau=MIDPOINT),
    "rk4": RK,
    "mu": MuDDIM,
    "euler-maruyama": EulerMaruyama,
    "stochastic-heun": StochasticHeun,
    "sde-dpmpp2m": SDEDPMSolverPP,
    "sa": SASolver,
    "predictor-corrector": PredictorCorrector,
    "restart": Restart,
    "bogacki-shampine": BogackiShampine,
    "dormand-prince": DormandPrince,
    "gotta-go-fast": GottaGoFast,
}
guides = {
    "cfg": cfg,
    "autoguide": autoguide,
    "classifier": classifier,
    "interval": interval,
    "rescale": rescale,
    "threshold": threshold,
    "product": product,
    "mixture": mixture,
    "anagram": anagram,
    "hybrid": hybrid,
    "chain": chain,
    "carried": carried,
}
operators = {name: entry.build for name, entry in OPERATORS.items()}
inverse = {
    "replacement": replacement,
    "dps": dps,
    "pigdm": pigdm,
    "mmps": mmps,
    "tmpd": tmpd,
    "diffpir": diffpir,
    "repaint": RePaint,
    "dps-published": DPS,
    "ddrm": DDRM,
    "twisted": twisted,
}
weights = {
    "simple": lambda: _weight.snr,
    "snr": lambda: _weight.snr,
    "truncated-snr": lambda: _weight.truncated_snr,
    "min-snr": MinSNR,
    "vlb": VLB,
    "likelihood": Likelihood,
    "edm": EDMWeight,
    "sigmoid": Sigmoid,
    "p2": P2,
    "x0": lambda: _weight.unit,
}
times = {
    "uniform": Uniform,
    "stratified": Stratified,
    "antithetic": Antithetic,
    "covering": Covering,
    "lognormal": LogNormal,
    "logit-normal": LogitNormal,
    "fixed": Fixed,
    "geometric": Geometric,
    "adaptive": Adaptive,
}
objectives = {
    "regression": Objective,
    "sliced": Sliced,
    "hybrid": Hybrid,
    "variational": Variational,
}
networks = {"unet": UNet, "dit": DiT, "mlp": MLP}
measures = {
    "frechet": frechet_report,
    "precision-recall": precision_recall,
    "agreement": agreement,
    "memorisation": memorisation,
}

__all__ = [
    "datasets",
    "grids",
    "guides",
    "inverse",
    "measures",
    "networks",
    "objectives",
    "operators",
    "schedules",
    "solvers",
    "times",
    "weights",
]
