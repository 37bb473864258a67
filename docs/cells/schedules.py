"""How those of one level go from data to noise, each in its own time. Of those with a level for
each coordinate there are [pictures](../processes.md)."""

import torch

from scorefield.catalogue import schedules
from scorefield.process.spectral import Spectral
from scorefield.report import line_chart

t, made = torch.linspace(0.01, 0.99, 99), {name: make() for name, make in schedules.items()}
scalar = {name: s for name, s in made.items() if not isinstance(s, Spectral)}
curves = {name: (t, s(t).logsnr.detach()) for name, s in scalar.items()}
assert all((y.diff() <= 0).all() for _, y in curves.values())  # none falls in noise
line_chart("log alpha^2 / sigma^2", "t", "logsnr", curves)
