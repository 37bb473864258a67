"""Draw the pictures of the documentation: `make docs` that of the quickstart's run, and
`python docs/pictures.py processes` that of docs/processes.md."""

import sys
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from scorefield import generate, plot
from scorefield.base import Seeded
from scorefield.data import load
from scorefield.guide import cfg
from scorefield.process import Blurring, Cosine, Heat, Varying, Wavelet, forward_places, grids
from scorefield.report.picture import picture
from scorefield.run.open import open_run
from scorefield.solve import Arc, trajectory
from scorefield.spaces import Haar, band_deviations
from scorefield.store import write_png

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


def processes() -> None:
    """A row for each process, with one noise: a three of the digits, enlarged to 32 pixels, on its
    way from data."""
    data = load("digits")
    x0 = interpolate(data.scaling.encode(data.train.x), scale_factor=4.0, mode="bicubic")
    deviations = tuple(band_deviations(Haar(3), x0))
    one = x0[(data.train.cond["label"] == 3).nonzero()[0]]
    eps = torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    rows = {
        "noise (cosine)": Cosine(),
        "blurring: max 10": Blurring(10.0),
        "heat: max 16": Heat(16.0),
        "wavelet: 3 levels": Wavelet(3, deviations=deviations),
        "varying: 3 levels, .03 nats": Varying(3, nats=0.03, deviations=deviations),
    }
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    ways = [forward_places(course, one, t, eps)[:, 0] for course in rows.values()]
    captions = [text for name in rows for text in (name, *[""] * (len(t) - 1))]
    image = picture(torch.cat(ways).clamp(-1, 1), len(t), captions=captions)
    write_png(image, HERE / "images" / "processes.png")


if __name__ == "__main__":
    processes() if sys.argv[1:] == ["processes"] else digits()
