"""Inverse problems: samples of x0 given `y = A(x0) + noise_std n`.

The denoiser of the posterior is that of the prior and a pull,

    D_y = E[x0 | x, y] = D + (sigma^2/alpha) grad_x log p(y | x),                        (eq. 1)
    C = Cov[x0 | x] = (sigma^2/alpha) (dD/dx)^T,                                         (eq. 2)

and with x0 given x taken for a Gaussian of mean D and covariance V,

    p(y | x) = N(y; A D, A V A^T + noise_std^2 I),                                       (eq. 3)
    D_y = D + C A^T (A V A^T + noise_std^2 I)^-1 (y - A D).                              (eq. 4)

The methods differ in V: C itself is `mmps`, its row sums `tmpd`, `r^2 I` is `pigdm`, and `dps` has
a multiple of I in place of all of `A V A^T`. `diffpir` has `(sigma/alpha)^2 I` for V and also for
C, which spares it the gradient, and so `replacement` with `r^2 I`:

    D_y = D + V A^T (A V A^T + noise_std^2 I)^-1 (y - A D).                              (eq. 5)

r^2 is the variance of x0 given x for N(0, s^2 I) data,

    r^2 = s^2 sigma^2 / (alpha^2 s^2 + sigma^2).                                         (eq. 6)

All are finite from pure noise to clean data, with or without noise. None is the posterior but on
Gaussian data; `twisted` weighs a population so that it is, whatever the data.
"""

from scorefield.inverse.linear import diffpir, dps, mmps, pigdm, replacement, tmpd
from scorefield.inverse.measurement import Measurement, Moments, lifted, measure, moments
from scorefield.inverse.restoring import METHODS, restore, restorer
from scorefield.inverse.solvers import DDRM, DPS, Renewed, RePaint
from scorefield.inverse.twisted import moment_twist, prior_twist, twisted

__all__ = [
    "DDRM", "DPS", "METHODS", "Measurement", "Moments", "RePaint", "Renewed", "diffpir", "dps",
    "lifted", "measure", "mmps", "moment_twist", "moments", "pigdm", "prior_twist", "replacement",
    "restore", "restorer", "tmpd", "twisted",
]  # fmt: skip
