"""A guide of your own.

A guide is a function of a denoiser, and so it goes together with every solver. This one keeps a
picture's mean where it is asked.
"""

import torch

import scorefield as sf
from scorefield.base import Seeded
from scorefield.denoise import DataSet
from scorefield.process import EDM, grids
from scorefield.solve import Heun, sample


def lighter(mean: float):
    """`D' = D + (mean - mean(D))`, pixel by pixel where the picture is neither black nor white."""

    def guide(denoise):
        def guided(x, level, cond=None):
            D = denoise(x, level, cond)
            grey = 1 - D.abs()
            missing = (mean - D.mean((1, 2, 3))) / grey.mean((1, 2, 3)).clamp(min=1e-3)
            return D + grey * missing[:, None, None, None].clamp(-1, 1)

        return guided

    return guide


# %% The exact denoiser of a thousand digits; eight samples at each mean, from the same seeds.
data = sf.load_data("digits")
x0, _ = data.batch(data.train, torch.arange(1000))
denoise, levels, noise = DataSet(x0).denoise, grids.karras(EDM(), 20), Seeded(range(8))
rows = []
for mean in (-0.5, -0.2):
    x = sample(Heun(), lighter(mean)(denoise), noise.start((1, 8, 8), levels), levels, noise)
    print(f"asked for a mean of {mean}, found {x.mean():.2f}")
    rows.append(x)
sf.plot(torch.cat(rows), columns=8)
