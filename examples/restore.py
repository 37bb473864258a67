"""A digit of which the lower half is missing.

Seven samples of what it may have been, all of them in agreement with what is seen.
"""

import torch

import scorefield as sf
from scorefield.base import Seeded
from scorefield.denoise import DataSet
from scorefield.inverse import measure, restore
from scorefield.inverse.operators import box
from scorefield.process import EDM, grids

data = sf.load_data("digits")
train, _ = data.batch(data.train, torch.arange(1000))
truth, _ = data.batch(data.test, torch.tensor([8]))

# %% What is measured: all but a box of the picture, with a little noise.
hole = box((1, 8, 8), 4, 0, 4, 8)  # or scorefield.catalogue.operators by name
y = measure(hole, truth, 0.1, Seeded([0]))

# %% The truth, what is seen of it, and seven answers.
found = restore(DataSet(train).denoise, hole, y, 0.1, "mmps", grids.karras(EDM(), 30), range(7))
print(f"restored.png; spread of the answers {found.std(0).mean():.2f}")
sf.plot(torch.cat([truth, hole.adjoint(y), found]), "restored.png", columns=9)
