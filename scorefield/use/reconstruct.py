"""What an autoencoder keeps of examples, and how its latents lie."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings, Item, Strip, over_rows
from scorefield.data.codec import Latents
from scorefield.data.kind import VECTOR, Kind
from scorefield.latent.figures import dead_figure, map_strip, rate_series, said_figure, walk_strip
from scorefield.measure.quality import psnr, rms_all
from scorefield.run.autoencoder import Coded, learns_codes, open_autoencoder
from scorefield.run.open import Run, data_of, open_run
from scorefield.run.stored import run_settings
from scorefield.use.asked import FEW, given_examples, how_many
from scorefield.use.request import Request

LOOKED_AT = 2000
"""Held-out examples that figures of the latents are of, at most."""


def reconstruct(request: Request, text: str | None) -> Findings:
    """What the autoencoder at `run`, or the one that a run on latents has a copy of, makes of
    examples, by default the first held-out ones: each above its reconstruction and the error."""
    own, codec = coder_of(request.path)
    stem = "held-out" if text is None else Path(text).stem.replace(":", "-")
    out = request.place(request.path / f"samples/reconstruct-{stem}.png", ".png", ".npz")
    data = data_of(own, split=False) if text is None else None
    if data is None:
        x0 = given_examples(own, str(text), fit=True)[0]
    else:
        x0 = data.batch(data.test, torch.arange(min(FEW, len(data.test))))[0]
    with torch.no_grad():
        mean, std = codec.spread(x0)
        back = codec.decode(mean)
    found = _figures(x0, back, mean / codec.scale, std / codec.scale)
    numbers = math.prod(codec.shape), x0[0].numel()
    record = {"out": str(out), "n": len(x0), "numbers": numbers[0], "of": numbers[1]}
    decode = own.info.scaling.decode
    arrays = {"x": decode(x0), "reconstruction": decode(back), "z": mean, "z_std": std}
    how = f"{how_many(len(x0), 'example')}, {numbers[1]} numbers through {numbers[0]}: {out}"
    items = (*found, _sheet(x0, back))
    return Findings("reconstruct", str(request.run), how, items, record, arrays)


def coder_of(path: Path) -> tuple[Run | Coded, Latents]:
    """The run, and its autoencoder or the copy that it has of one."""
    if learns_codes(run_settings(path)[1]):
        coded = open_autoencoder(path)
        return coded, Latents(coded.module)
    run = open_run(path)
    if run.denoiser.codec is None:
        raise BadInput(
            f"{path} is no autoencoder and works on no latents of one.",
            "Train one: scorefield train digits-autoencoder.",
            "run",
        )
    return run, cast(Latents, run.denoiser.codec)


def _figures(x0: Tensor, back: Tensor, mean: Tensor, std: Tensor) -> Iterator[Figure]:
    words = "Of a number of an example, RMS, in the model's units."
    yield Figure("error", rms_all(back - x0), best="low", words=words,
                 key="error_rms")  # fmt: skip
    if Kind.of(x0.shape[1:]).bounded:
        yield Figure("peak signal to noise", psnr(back, x0), unit="dB", best="high", key="psnr")
    if std.any():
        yield said_figure(mean, std)


def _sheet(x0: Tensor, back: Tensor) -> Strip:
    """The first few, what is made of them and the error; of points no more than both."""
    x0, back, n = x0[:FEW], back[:FEW], min(len(x0), FEW)
    if Kind.of(x0.shape[1:]) is VECTOR:
        labels = torch.arange(2).repeat_interleave(n)
        return Strip("Input and reconstruction", torch.cat([x0, back]), labels=labels)
    names = over_rows(("input", "reconstruction", "error (grey is none)"), n)
    sheet = torch.cat([x0, back, back - x0])
    return Strip("Input, reconstruction, error", sheet, n, captions=names)


@torch.no_grad()
def latent_space(path: Path) -> Findings:
    """How the latents of an autoencoder lie, over held-out examples: reconstructions, what each
    number says, walks along those that say most, and a map."""
    coded = open_autoencoder(path)
    data, codec = data_of(coded, split=False), Latents(coded.module)
    some = torch.arange(min(LOOKED_AT, len(data.test)))
    x0, cond = data.batch(data.test, some)
    mean, std = codec.spread(x0)
    back = codec.decode(mean)
    items: list[Item] = [*_figures(x0, back, mean, std), dead_figure(mean, std), _sheet(x0, back)]
    if bool(std.any()):
        items.append(rate_series(mean, std))
    if data.kind is not VECTOR:
        items.append(walk_strip(codec, mean, std))
    items.append(map_strip(mean, cond.get("label")))
    how = (
        f"{data.kind.plural.capitalize()} of {x0[0].numel()} numbers through "
        f"{math.prod(codec.shape)}, over {how_many(len(x0), 'held-out example')}."
    )
    return Findings("reconstruct", str(path), how, tuple(items))
