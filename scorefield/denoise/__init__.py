"""Floor 2: denoisers and the views of their one prediction.

A denoiser is the posterior mean `D(x, level) = E[x0 | x]` of `x = alpha x0 + sigma eps`. Every
other quantity of the field is an affine view of it (`convert`), exact at every level:

    eps      = (x - alpha D) / sigma                                                 (eq. 1)
    score    = (alpha D - x) / sigma^2 = -eps / sigma                                (eq. 2)
    v        = alpha eps - sigma D                                                   (eq. 3)
    flow     = eps - D                                                               (eq. 4)
    velocity = alpha' D + sigma' eps    (dx/dt of the probability flow)              (eq. 5)

Eq. 2 is Tweedie's formula, `E[x0 | x] = (x + sigma^2 score) / alpha`, about the score of the
*marginal* density of x; the like-looking identity with the conditional score of x given x0 holds
for each pair (x, x0) but is not Tweedie's. A network predicts one affine view through a
preconditioning pair, `D = c_skip x + c_out F` (`precondition`).
"""

from scorefield.denoise import convert, exact
from scorefield.denoise.exact import DataSet, Gaussian, Mixture
from scorefield.denoise.precondition import Denoiser, Manner, Parameterisation, Precision, views
from scorefield.denoise.spaced import Spaced
from scorefield.denoise.timed import Timed, convention_of

__all__ = [
    "DataSet", "Denoiser", "Gaussian", "Manner", "Mixture", "Parameterisation", "Precision",
    "Spaced", "Timed", "convention_of", "convert", "exact", "views",
]  # fmt: skip
