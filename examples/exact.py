"""Any solver on an exact denoiser.

Two modes at -1 and +1, whose denoiser is known in closed form: how near does each solver come to
them with twelve calls of it?
"""

import torch

from scorefield.base import Seeded
from scorefield.denoise import Mixture
from scorefield.measure.apart import sliced_w2
from scorefield.process import VP, grids
from scorefield.solve import DDIM, DDPM, Arc, Heun, sample

truth = Mixture(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1, 1), 0.01), torch.ones(2))
noise, real = Seeded(range(4000)), truth.sample(4000, seed=0)

# %% A step of Heun's costs two calls, so it gets half of the steps.
for solver in (DDPM(), DDIM(), Heun(), Arc()):
    levels = grids.karras(VP(), steps=12 // solver.evals)
    x0 = sample(solver, truth.denoise, noise.start((1,), levels), levels, noise)
    print(f"{type(solver).__name__:5} {sliced_w2(x0, real):.3f} from the data")
