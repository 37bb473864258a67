"""A digit of which the lower half is missing: seven samples of what it may have been."""

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
hole = box((1, 8, 8), 4, 0, 4, 8)  # or scorefield.catalogue.operators by name
y = measure(hole, truth, 0.1, Seeded([0]))
found = restore(DataSet(train).denoise, hole, y, 0.1, "mmps", grids.karras(EDM(), 30), range(7))
sf.plot(torch.cat([truth, hole.adjoint(y), found]), "restored.png", columns=9)
print(f"restored.png; spread of the answers {found.std(0).mean():.2f}")
