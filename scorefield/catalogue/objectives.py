"""What is learned: losses, the weight of each level, and how often each is trained."""

from scorefield import objective
from scorefield.objective import weight

objectives = {
    "regression": objective.Objective,
    "sliced": objective.Sliced,
    "hybrid": objective.Hybrid,
    "variational": objective.Variational,
}
weights = {
    "simple": lambda: weight.snr,
    "snr": lambda: weight.snr,
    "truncated-snr": lambda: weight.truncated_snr,
    "min-snr": objective.MinSNR,
    "vlb": objective.VLB,
    "likelihood": objective.Likelihood,
    "edm": objective.EDMWeight,
    "sigmoid": objective.Sigmoid,
    "p2": objective.P2,
    "x0": lambda: weight.unit,
}
times = {
    "uniform": objective.Uniform,
    "stratified": objective.Stratified,
    "antithetic": objective.Antithetic,
    "covering": objective.Covering,
    "lognormal": objective.LogNormal,
    "logit-normal": objective.LogitNormal,
    "fixed": objective.Fixed,
    "geometric": objective.Geometric,
    "adaptive": objective.Adaptive,
}
