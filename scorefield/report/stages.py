"""Pictures of a run in training: the same seeds at every stage."""

import time
from pathlib import Path

from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.data.kind import Kind
from scorefield.report.picture import picture
from scorefield.run.settings import Config
from scorefield.run.stored import stored_settings
from scorefield.store import Folder, write_png
from scorefield.train import Progress
from scorefield.use.generate import generate

COLUMNS = 10
"""Most columns of a picture."""
FIRST = 60.0
"""Seconds after which there is a first picture, whether or not there is a checkpoint."""


class Stages:
    """Draws a picture into the run folder `out` with each checkpoint, and a first one within the
    first minutes. A call returns why one could not be drawn."""

    def __init__(self, config: Config, out: Path) -> None:
        self.config, self.out, self.began = config, out, time.monotonic()
        self.some = bool(Folder(out).find("samples/IMAGES.png"))

    def __call__(self, step: Progress) -> str | None:
        early = not self.some and time.monotonic() - self.began >= FIRST
        if not (step.saved or early):
            return None
        self.some = True
        try:
            draw_stage(step, self.config, self.out)
        except BadInput as error:  # the training itself may yet be well
            return f"no picture at {step.images:,} images: {error}"
        return None


def draw_stage(step: Progress, config: Config, out: Path) -> None:
    """Samples of the averaged denoiser, as the run samples; a column is one class where columns
    are as many as classes, or some times as many."""
    denoiser, sample = step.average, config.sample
    about = getattr(denoiser.net, "config", {})
    more = any(about.get(key) for key in ("vector", "image", "tokens", "vocabulary"))
    labels = None if more else stored_settings(Folder(out))[1].drawn or None
    kinds = len(labels or ())
    columns = COLUMNS // kinds * kinds if 0 < kinds <= COLUMNS else COLUMNS
    n, kind = Kind.of(denoiser.shape).shown[0], Kind.of(denoiser.shape)
    n = n // COLUMNS * columns if kind.spatial else n
    x0 = generate(
        denoiser,
        n,
        steps=sample.steps,
        solver=sample.solver,
        grid=sample.grid,
        guidance=sample.guidance,
        labels=labels,
    )
    many = None if labels is None else repeat_labels(labels, n, len(denoiser.classes))
    write_png(picture(x0, columns, many), out / "samples" / f"{step.images:09d}.png")
