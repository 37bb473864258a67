"""Draw the pictures of the documentation from the quickstart's run: `make docs`."""

from pathlib import Path

import torch

from scorefield import generate, plot
from scorefield.base import Seeded
from scorefield.guide import cfg
from scorefield.process import grids
from scorefield.run.open import open_run
from scorefield.solve import Arc, trajectory

HERE = Path(__file__).parent
STEPS, GUIDANCE, MORE = 10, 1.3, 10


@torch.no_grad()
def digits() -> None:
    """A row for each class: one sample on its way from noise, then ten more."""
    run = open_run(HERE.parent / "runs" / "digits")
    model, schedule = run.denoiser, run.schedule
    classes = torch.arange(len(model.classes))
    levels = grids.vp_root(schedule, STEPS)
    noise = Seeded(classes)
    x = noise.start(model.shape, levels)
    guided = cfg(GUIDANCE)(model)
    steps = trajectory(Arc(), guided, x, levels, noise, {"label": classes})
    way = [x, *(state.x for state, _ in steps)]
    blank = torch.full_like(x, 40 / 127.5 - 1)  # the colour between pictures
    labels = classes.repeat_interleave(MORE)
    seeds = range(len(classes), len(classes) + len(labels))
    more = generate(model, steps=STEPS, labels=labels, guidance=GUIDANCE, seeds=seeds)
    rows = torch.cat([torch.stack([*way, blank], 1), more.unflatten(0, (-1, MORE))], 1)
    plot(rows.flatten(0, 1), HERE / "images" / "digits.png", columns=rows.shape[1])


if __name__ == "__main__":
    digits()
