"""Any solver on an exact denoiser: two modes, and how well each solver finds them."""

import torch

from scorefield.base import Seeded
from scorefield.denoise import Mixture
from scorefield.measure.apart import sliced_w2
from scorefield.process import VP, grids
from scorefield.solve import DDIM, DDPM, Arc, Heun, sample

truth = Mixture(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1, 1), 0.01), torch.ones(2))
noise, real = Seeded(range(4000)), truth.sample(4000, seed=0)
for solver in (DDPM(), DDIM(), Heun(), Arc()):
    levels = grids.karras(VP(), steps=12 // solver.evals)  # twelve calls for each
    x0 = sample(solver, truth.denoise, noise.start((1,), levels), levels, noise)
    print(f"{type(solver).__name__:5} {sliced_w2(x0, real):.3f} from the data")
