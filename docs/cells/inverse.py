"""N(0, 1) data, seen as y = x0 + n with noise of deviation 1: at y = 1 the posterior is N(.5, .5).
Mean and variance of 400 answers in 100 steps, of which chance takes some variance. [The
page of inverse problems](../inverse.md) has pictures, [its benchmark](../benchmarks/restore.md)
figures beside another package."""

import torch

from scorefield.catalogue import inverse
from scorefield.denoise import Gaussian
from scorefield.inverse import restore
from scorefield.inverse.operators import Matrix
from scorefield.process import EDM, grids

unit, y = Gaussian(torch.zeros(1).double(), torch.eye(1).double()), torch.ones(1, 1).double()
itself, levels = Matrix(torch.eye(1).double(), (1,)), grids.karras(EDM(), 100)
for method in inverse:
    x = restore(unit.denoise, itself, y, 1.0, method, levels, range(400))
    print(f"{method:14} mean {x.mean():+.2f}, variance {x.var():.2f}")
