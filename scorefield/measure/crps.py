"""How well an ensemble foretells a number: the continuous ranked probability score, fair.

    CRPS(F, y) = E|X - y| - E|X - X'| / 2 = int (F(u) - 1[u >= y])^2 du                       (1)
    crps = mean_i |x_i - y| - sum_ij |x_i - x_j| / (2 m (m - 1))                              (2)

(2) is without bias for any number m >= 2 of draws (Ferro 2014, "Fair scores for ensemble
forecasts", eq. 3). Often m^2 stands for m (m - 1): that is the score of the ensemble's own step
function, which is too large by E|X - X'| / 2m, so that few draws look worse than many of the same
law: of N(0, 1) by .564 / m. In units of the data; 0 is the best, of a forecast that is certain and
right. Gneiting and Raftery 2007, eq. 20 and 21.
"""

import torch
from torch import Tensor

from scorefield.base import BadInput


def crps(x: Tensor, truth: Tensor) -> Tensor:
    """Eq. 2 for each number, `(...)` of draws x `(m, ...)` and the truth `(...)`, by sorting:
    `sum_ij |x_i - x_j| = 2 sum_k (2 k - m + 1) x_(k)`, k from 0.

    >>> crps(torch.tensor([0.0, 2.0]), torch.tensor(1.0))
    tensor(0.)
    >>> crps(torch.tensor([3.0, 3.0]), torch.tensor(1.0))
    tensor(2.)
    """
    m = len(x)
    if m < 2 or x.shape[1:] != truth.shape:
        raise BadInput(
            f"{m} draws of shape {tuple(x.shape[1:])} meet a truth of {tuple(truth.shape)}.",
            "Give at least 2 draws, each of the truth's shape.",
        )
    weights = 2.0 * torch.arange(m, dtype=x.dtype, device=x.device) - m + 1
    among = torch.tensordot(weights, x.sort(dim=0).values, dims=1) / (m * (m - 1))
    return (x - truth).abs().mean(0) - among
