"""Floor 3: what training minimises.

    L = E_t E_{x0, eps} w(level) mean_d (x0 - D(alpha x0 + sigma eps, level))^2      (eq. 1)

Every regression of the field is this one with some weight w and some law of t. In the
estimate's own units w = 1 is the x0 error and w = snr = alpha^2/sigma^2 the eps error, because
`eps - eps_hat = -(alpha/sigma)(x0 - D)`. The eps error is sigma^2 times the Fisher divergence
plus a constant, `E Var(eps | x)`: for N(0, 1) data at sigma = alpha = 1 its minimum is 1/2, not 0.

`Bridged` leads from data to data, by one of the couplings, `PairResidual` from noise around a pair,
`Degraded` from what a deterministic degradation left. Three more share its chance, laws of t and
conditions: `Sliced` needs noisy data only, `Hybrid` teaches the reverse variance too, `Variational`
trains the schedule. A `Task` is what a trainer trains: a module with its loss, such as a denoiser
under one of these. The theory, with the equation numbers of this package: docs/training.md and
docs/bridges.md.
"""

from scorefield.objective.adaptive import Adaptive
from scorefield.objective.bridged import Bridged, Degradation, Degraded, PairResidual, degraded
from scorefield.objective.couplings import (
    Coupling,
    Immiscible,
    Independent,
    MinibatchTransport,
    TransportPlan,
    half_squares,
    sinkhorn,
)
from scorefield.objective.hybrid import Hybrid
from scorefield.objective.loss import Chance, Criterion, Loss, Objective, plain
from scorefield.objective.sliced import Sliced
from scorefield.objective.task import LOGSNR, Batch, Buckets, Denoising, Task, Turn, rows_of_chance
from scorefield.objective.times import (
    Antithetic,
    Covering,
    Fixed,
    Geometric,
    LogitNormal,
    LogNormal,
    Stratified,
    Times,
    Uniform,
)
from scorefield.objective.variational import Variational
from scorefield.objective.weight import (
    P2,
    VLB,
    EDMWeight,
    Likelihood,
    MinSNR,
    Sigmoid,
    Weight,
    snr,
    truncated_snr,
    unit,
)

__all__ = [
    "LOGSNR", "P2", "VLB", "Adaptive", "Antithetic", "Batch", "Bridged", "Buckets", "Chance",
    "Coupling", "Covering", "Criterion", "Degradation", "Degraded", "Denoising", "EDMWeight",
    "Fixed", "Geometric", "Hybrid", "Immiscible", "Independent", "Likelihood", "LogNormal",
    "LogitNormal", "Loss", "MinSNR", "MinibatchTransport", "Objective", "PairResidual", "Sigmoid",
    "Sliced", "Stratified", "Task", "Times", "TransportPlan", "Turn", "Uniform", "Variational",
    "Weight", "degraded", "half_squares", "plain", "rows_of_chance", "sinkhorn", "snr",
    "truncated_snr", "unit",
]  # fmt: skip
