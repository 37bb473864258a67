"""What a trained run thinks of examples.

Bits a dimension of held-out digits and of noise, by the bound in continuous time.
"""

from pathlib import Path

import torch

import scorefield as sf
from scorefield.likelihood import bits_per_dim, vlb

run = Path("runs/digits")  # of the quickstart; where there is none, a model of seconds
model = sf.load(run) if run.exists() else sf.fit("digits", images=20_000, progress=False)
data = sf.load_data("digits")
x0, cond = data.batch(data.test, torch.arange(16))

# %% Digits have 17 levels, 2/16 apart in [-1, 1].
for name, x in {"digits": x0, "noise": torch.rand(x0.shape) * 2 - 1}.items():
    bound = vlb(model, x, model.schedule, cells=16, cond=cond).log_prob.mean()
    print(f"{name}: {bits_per_dim(bound, 64, 2 / 16):.2f} bits a dimension")
