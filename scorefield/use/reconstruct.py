"""What an autoencoder keeps of examples, and how its latents lie."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings, Item, Line, Mark, Series, Strip, over_rows
from scorefield.data.codec import Latents
from scorefield.data.kind import VECTOR, Kind
from scorefield.latent.posterior import DEAD, rate_of, silent
from scorefield.measure.quality import psnr
from scorefield.run.autoencoder import Coded, learns_codes, open_autoencoder
from scorefield.run.open import Run, data_of, open_run
from scorefield.run.stored import run_settings
from scorefield.use.asked import FEW, given_examples, how_many
from scorefield.use.request import Request

LOOKED_AT = 2000
"""Held-out examples that figures of the latents are of, at most."""
WALKED, PLACES, REACH = 6, 9, 3.0
"""Numbers of the latent that are walked along, places of each walk, and how far in deviations."""


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
    error, few = back - x0, min(len(x0), FEW)
    sheet = torch.stack([x0[:few], back[:few], error[:few]])
    items: list[Figure | Strip] = [*_figures(x0, back, mean / codec.scale, std / codec.scale),
             _sheet(sheet, Kind.of(own.facts.shape) is VECTOR)]  # fmt: skip
    numbers = math.prod(codec.shape), x0[0].numel()
    record = {"out": str(out), "n": len(x0), "numbers": numbers[0], "of": numbers[1]}
    decode = own.facts.scaling.decode
    arrays = {"x": decode(x0), "reconstruction": decode(back), "z": mean, "z_std": std}
    how = f"{how_many(len(x0), 'example')}, {numbers[1]} numbers through {numbers[0]}: {out}"
    return Findings("reconstruct", str(request.run), how, tuple(items), record, arrays)


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
    yield Figure("error", float((back - x0).square().mean().sqrt()), best="low", words=words,
                 key="error_rms")  # fmt: skip
    if Kind.of(x0.shape[1:]).bounded:
        yield Figure("peak signal to noise", psnr(back, x0), unit="dB", best="high", key="psnr")
    if std.any():
        yield Figure("what a latent says", float(rate_of(mean, std).sum()), unit="nats", key="kl",
                     words="KL of its posterior from N(0, I), on average.")  # fmt: skip


def _sheet(sheet: Tensor, vectors: bool) -> Strip:
    n = sheet.shape[1]
    if vectors:
        labels = torch.arange(2).repeat_interleave(n)
        return Strip("Input and reconstruction", sheet[:2].flatten(0, 1), labels=labels)
    names = over_rows(("input", "reconstruction", "error (grey is none)"), n)
    return Strip("Input, reconstruction, error", sheet.flatten(0, 1), n, captions=names)


@torch.no_grad()
def latent_space(path: Path) -> Findings:
    """How the latents of an autoencoder lie, over held-out examples: reconstructions, what each
    number says, walks along those that say most, and a map."""
    coded = open_autoencoder(path)
    data, codec = data_of(coded, split=False), Latents(coded.module)
    some = torch.arange(min(LOOKED_AT, len(data.test)))
    x0, cond = data.batch(data.test, some)
    mean, std = codec.spread(x0)
    back, few = codec.decode(mean), min(FEW, len(x0))
    vectors = data.kind is VECTOR
    sheet = torch.stack([x0[:few], back[:few], back[:few] - x0[:few]])
    items: list[Item] = [*_figures(x0, back, mean, std), _dead(mean, std), _sheet(sheet, vectors)]
    if bool(std.any()):
        items.append(_rates(mean, std))
    if not vectors:
        items.append(_walks(codec, mean, std))
    items.append(_map(mean, cond.get("label")))
    how = (
        f"{data.kind.plural.capitalize()} of {x0[0].numel()} numbers through "
        f"{math.prod(codec.shape)}, over {how_many(len(x0), 'held-out example')}."
    )
    return Findings("reconstruct", str(path), how, tuple(items))


def _dead(mean: Tensor, std: Tensor) -> Figure:
    fraction = float(silent(mean, std).double().mean())
    words = f"Numbers of a latent that say nothing (under {DEAD:g} nats)."
    return Figure("dead", fraction, unit="%", best="low", words=words, key="dead")


def _rates(mean: Tensor, std: Tensor) -> Series:
    each = rate_of(mean, std).flatten().sort(descending=True).values
    lines = (Line.of("KL", range(1, len(each) + 1), each),)
    marks, words = (Mark(DEAD, "dead below"),), "KL of its posterior from N(0, 1)"
    name = "What each number of a latent says"
    return Series(name, "number, by rank", "nats", lines, marks, words=words)


def _walks(codec: Latents, mean: Tensor, std: Tensor) -> Strip:
    """From the latent of the first example along the numbers, or of latents with places the
    channels, that say most: what they are replaced by, or moved by."""
    places = mean[0].ndim > 1
    said = mean.var(0, correction=0) / std.square().mean(0).clamp(min=1e-12)
    most = (said.flatten(1).sum(1) if places else said).argsort(descending=True)[:WALKED]
    steps, rows = torch.linspace(-REACH, REACH, PLACES), []
    for k in most.tolist():
        z = mean[:1].repeat(PLACES, *[1] * (mean.ndim - 1))
        size = mean[:, k].std()
        z[:, k] = z[:, k] + steps.view(-1, *[1] * (z.ndim - 2)) * size if places else steps * size
        rows.append(codec.decode(z))
    names = over_rows((f"number {k + 1}" for k in most.tolist()), PLACES)
    words = f"from {-REACH:g} to {REACH:g} deviations of it over the data"
    return Strip("Walks along a latent", torch.cat(rows), PLACES, words=words, captions=names)


def _map(mean: Tensor, label: Tensor | None) -> Strip:
    """The plane in which latents differ most."""
    flat = mean.flatten(1)
    flat = flat - flat.mean(0)
    if flat.shape[1] > 2:
        axes = torch.linalg.svd(flat, full_matrices=False).Vh[:2]
        flat = flat @ axes.T
    words = "the two principal axes of the latents" + ", coloured by class" * (label is not None)
    return Strip("A map of the latents", flat, words=words, labels=label)
