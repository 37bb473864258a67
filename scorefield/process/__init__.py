"""Floor 1: forward processes, where time lives.

A forward process is a pair of functions of t in [0, 1], data at 0 and noise at 1,

    x_t = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I),                               (eq. 1)

with logsnr = 2 log(alpha/sigma) strictly decreasing. Any such pair is the marginal of the SDE
(Song et al. 2021, "Score-based generative modeling through SDEs", eq. 5)

    dx = f(t) x dt + g(t) dW,   f = alpha'/alpha,                                    (eq. 2)
    g^2 = 2 sigma sigma' - 2 (alpha'/alpha) sigma^2,                                 (eq. 3)

because d Var/dt = 2 f Var + g^2 must give sigma^2. Its time reversal and its probability flow,
both run with dt < 0, are

    dx = [f x - g^2 score] dt + g dW,                                                (eq. 4)
    dx = [f x - g^2 score / 2] dt.                                                   (eq. 5)

The derivatives are taken by automatic differentiation of the pair, never typed by hand.
Nothing above this floor but training draws sees t: the rest of the house sees levels.
"""

from scorefield.process import grids
from scorefield.process.discrete import (
    DiscreteVP,
    constant_betas,
    cosine_betas,
    linear_betas,
    sigmoid_betas,
    zero_terminal_snr,
)
from scorefield.process.learned import Learned
from scorefield.process.momentum import Momentum
from scorefield.process.published import published_chain
from scorefield.process.schedules import EDM, VE, VP, Cosine, Flow, Pair, Schedule, SubVP
from scorefield.process.sde import Rates, flow_drift, rates, reverse_drift
from scorefield.process.spectral import (
    Blurring,
    Diagonal,
    Heat,
    Soft,
    Spectral,
    Varying,
    Wavelet,
    basis_of,
    check_begins_in_noise,
    check_one_level,
    dropping_cost,
    forward_places,
    grid_of,
    level_of,
)

__all__ = [
    "EDM", "VE", "VP", "Blurring", "Cosine", "Diagonal", "DiscreteVP", "Flow", "Heat", "Learned",
    "Momentum", "Pair", "Rates", "Schedule", "Soft", "Spectral", "SubVP", "Varying", "Wavelet",
    "basis_of", "check_begins_in_noise", "check_one_level", "constant_betas", "cosine_betas",
    "dropping_cost", "flow_drift", "forward_places", "grid_of", "grids", "level_of",
    "linear_betas", "published_chain", "rates", "reverse_drift", "sigmoid_betas",
    "zero_terminal_snr",
]  # fmt: skip
