"""Floor 3: what training minimises.

    L = E_t E_{x0, eps} w(level) mean_d (x0 - D(alpha x0 + sigma eps, level))^2      (eq. 1)

Every objective of the field is this regression with some weight w and some law of t. In the
estimate's own units w = 1 is the x0 error and w = snr = alpha^2/sigma^2 the eps error, because
`eps - eps_hat = -(alpha/sigma)(x0 - D)`. The eps error is sigma^2 times the Fisher divergence
plus a constant, `E Var(eps | x)`: for N(0, 1) data at sigma = alpha = 1 its minimum is 1/2, not 0.
"""

from scorefield.objective.loss import Loss, Objective
from scorefield.objective.times import LogNormal, Stratified, Times, Uniform
from scorefield.objective.weight import EDMWeight, MinSNR, Weight, snr, unit

__all__ = [
    "EDMWeight",
    "LogNormal",
    "Loss",
    "MinSNR",
    "Objective",
    "Stratified",
    "Times",
    "Uniform",
    "Weight",
    "snr",
    "unit",
]
