"""Data sets, in their own units, with the affine map to the units of the model.

    x0 = (u - offset) / scale        u = offset + scale x0                                  (1)

u is what the files hold: 8-bit pictures (N, C, H, W), float pictures, or vectors (N, D). x0 is
what a model sees: pictures in [-1, 1], vectors with mean 0 and standard deviation 1 in each
coordinate. A `Data` keeps u, compact, and applies (1) to one batch at a time:

>>> import torch
>>> data = load("digits")
>>> x0, cond = data.batch(data.train, torch.arange(4))
>>> x0.shape, x0.dtype, float(x0.min()), float(x0.max())
(torch.Size([4, 1, 8, 8]), torch.float32, -1.0, 1.0)
>>> cond["label"].shape
torch.Size([4])

Every set has a held-out test split that does not depend on any seed of a run.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.data.named import datasets
    from scorefield.data.named import load_data as load
    from scorefield.data.sets import Conditions, Data, Scaling, Split

__all__ = ["Conditions", "Data", "Scaling", "Split", "datasets", "load"]

__getattr__ = lazy(__name__)
