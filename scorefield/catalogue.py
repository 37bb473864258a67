"""Names -> objects: the one literal list that the command line, the docs and the laws read.

A value is a factory: call it, with its own options if any, to get the object.
"""

from scorefield.data import datasets
from scorefield.guide import cfg
from scorefield.measure import agreement, frechet_report, memorisation, precision_recall
from scorefield.nets import MLP, UNet
from scorefield.objective import EDMWeight, LogNormal, MinSNR, Objective, Stratified, Uniform
from scorefield.objective import weight as _weight
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP
from scorefield.process import grids as _grids
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun

schedules = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "cosine": Cosine,
    "flow": Flow,
    "ddpm": DiscreteVP,
}
grids = {
    "uniform-t": _grids.uniform_t,
    "uniform-logsnr": _grids.uniform_logsnr,
    "karras": _grids.karras,
    "exponential": _grids.exponential,
    "timesteps": _grids.timesteps,
}
solvers = {"ddpm": DDPM, "ddim": DDIM, "heun": Heun, "dpmpp2m": DPMSolverPP}
guides = {"cfg": cfg}
weights = {
    "simple": lambda: _weight.snr,
    "snr": lambda: _weight.snr,
    "min-snr": MinSNR,
    "edm": EDMWeight,
    "x0": lambda: _weight.unit,
}
times = {"uniform": Uniform, "stratified": Stratified, "lognormal": LogNormal}
objectives = {"regression": Objective}
networks = {"unet": UNet, "mlp": MLP}
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
    "measures",
    "networks",
    "objectives",
    "schedules",
    "solvers",
    "times",
    "weights",
]
