"""What is learned: losses, the weight of each level, and how often each is trained."""

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
    weight,
)

objectives = {
    "regression": Objective,
    "sliced": Sliced,
    "hybrid": Hybrid,
    "variational": Variational,
}
weights = {
    "simple": lambda: weight.snr,
    "snr": lambda: weight.snr,
    "truncated-snr": lambda: weight.truncated_snr,
    "min-snr": MinSNR,
    "vlb": VLB,
    "likelihood": Likelihood,
    "edm": EDMWeight,
    "sigmoid": Sigmoid,
    "p2": P2,
    "x0": lambda: weight.unit,
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
