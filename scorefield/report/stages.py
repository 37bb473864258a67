"""Pictures of a run in training: the same seeds at every stage."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.data.codec import Latents
from scorefield.data.info import DataInfo
from scorefield.denoise import Denoiser
from scorefield.nets import Autoencoder
from scorefield.report.files import in_letters
from scorefield.report.globe import globes, in_degrees
from scorefield.report.picture import picture
from scorefield.run.autoencoder import learns_codes
from scorefield.run.pairs import is_led, lead
from scorefield.run.settings import Config
from scorefield.run.stored import stored_settings
from scorefield.run.words import prompt_cond
from scorefield.store import Folder, write_bytes, write_png
from scorefield.train import Progress
from scorefield.use.generate import generate
from scorefield.use.sample import WRITTEN

COLUMNS = 10
"""Most columns of a picture."""
FIRST = 60.0
"""Seconds after which there is a first picture, whether or not there is a checkpoint."""


class Stages:
    """Draws a picture into the run folder `out` with each checkpoint, and a first one within the
    first minutes. A call returns why one could not be drawn. None is of weights in pieces."""

    def __init__(self, config: Config, out: Path) -> None:
        self.config, self.out, self.began = config, out, time.monotonic()
        self.some = bool(Folder(out).find("samples/IMAGES.png"))

    def __call__(self, step: Progress) -> str | None:
        early = not self.some and time.monotonic() - self.began >= FIRST
        if step.average is None or not (step.saved or early):
            return None
        self.some = True
        try:
            draw_stage(step, self.config, self.out)
        except BadInput as error:  # the training itself may yet be well
            return f"no picture at {step.images:,} images: {error}"
        return None


def draw_stage(step: Progress, config: Config, out: Path) -> None:
    """Samples of the averaged denoiser, as the run samples; a column is one class where columns
    are as many as classes, or some times as many; or it is one of some captions. Of an autoencoder
    held-out examples, each above what it makes of it."""
    file = out / "samples" / f"{step.images:09d}.png"
    average: Any = step.average
    if learns_codes(config):
        write_png(picture(_pairs(average, config, out), COLUMNS), file)
        return
    config, info = stored_settings(Folder(out))  # what became of what was asked for
    denoiser, sample = average, config.sample
    about = getattr(denoiser.net, "config", {})
    more = any(about.get(key) for key in ("vector", "image", "tokens", "vocabulary"))
    if is_led(config, info):
        y, x = _led(denoiser, config, info)
        write_png(picture(_above(y, x), COLUMNS), file)
        return
    labels = None if more else info.drawn or None
    kinds = len(labels or ())
    columns = COLUMNS // kinds * kinds if 0 < kinds <= COLUMNS else COLUMNS
    cond, texts = None, info.text.shown if info.text else ()
    if texts and info.conditions.keys == ["tokens"]:
        cond, columns = prompt_cond(info.text, out, texts, None), len(texts)
        if info.classes:
            cond["label"] = torch.full((columns,), info.drawn[0])
    n = info.kind.shown[0] // COLUMNS * columns if info.kind.spatial else info.kind.shown[0]
    x0 = generate(
        denoiser,
        n,
        steps=sample.steps,
        solver=sample.solver,
        grid=sample.grid,
        guidance=sample.guidance,
        labels=labels,
        cond=cond,
    )
    if info.kind.lettered:
        write_bytes(file.with_suffix(WRITTEN[info.space][0]), in_letters(x0, info))
        return
    if info.space == "sphere:2":
        data = config.load_data()
        write_png(globes([("data", data.train.x[:n]), ("samples", x0)]), file)
        return
    many = None if labels is None else repeat_labels(labels, n, len(denoiser.classes))
    below = [""] * (n - columns) + list(texts) if cond else ()
    write_png(picture(in_degrees(x0, info.space), columns, many, captions=below), file)


def _pairs(module: Autoencoder, config: Config, out: Path) -> Tensor:
    """Rows of held-out examples, each row above that of what the autoencoder makes of them."""
    data = config.load_data(out)
    n = min(len(data.test), data.kind.shown[0] // 2) // COLUMNS * COLUMNS or len(data.test)
    x0 = data.batch(data.test, torch.arange(n))[0]
    codec = Latents(module.cpu())
    return _above(x0, codec.decode(codec.encode(x0)).detach())


def _led(denoiser: Denoiser, config: Config, info: DataInfo) -> tuple[Tensor, Tensor]:
    """The far ends of held-out pairs, and what is made of them."""
    data = info.same(config.load_data())
    n = min(len(data.test), 3 * COLUMNS) // COLUMNS * COLUMNS or len(data.test)
    y = data.batch(data.test, torch.arange(n))[1]["image"]
    return y, lead(denoiser, config, info, y, list(range(n))).x


def _above(x: Tensor, made: Tensor) -> Tensor:
    """Rows of one, each above the row of the other."""
    both = torch.stack([x, made])
    return both.unflatten(1, (-1, min(len(x), COLUMNS))).transpose(0, 1).flatten(0, 2)
