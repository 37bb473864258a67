"""How latents `(N, ...)` of mean and deviation lie, as figures and pictures."""

import torch
from torch import Tensor

from scorefield.base.finding import Figure, Line, Mark, Series, Strip, over_rows
from scorefield.data.codec import Latents
from scorefield.latent.posterior import DEAD, rate_of, silent

WALKED, PLACES, REACH = 6, 9, 3.0
"""Numbers of the latent that are walked along, places of each walk, and how far in deviations."""


def said_figure(mean: Tensor, std: Tensor) -> Figure:
    """Nats that a latent says of its example."""
    words = "KL of its posterior from N(0, I), on average."
    rate = float(rate_of(mean, std).sum())
    return Figure("what a latent says", rate, unit="nats", key="kl", words=words)


def dead_figure(mean: Tensor, std: Tensor) -> Figure:
    """Which fraction of its numbers says nothing."""
    fraction = float(silent(mean, std).double().mean())
    words = f"Numbers of a latent that say nothing (under {DEAD:g} nats)."
    return Figure("dead", fraction, unit="%", best="low", words=words, key="dead")


def rate_series(mean: Tensor, std: Tensor) -> Series:
    """Nats that each of its numbers says, the most first."""
    each = rate_of(mean, std).flatten().sort(descending=True).values
    lines = (Line.of("KL", range(1, len(each) + 1), each),)
    marks, words = (Mark(DEAD, "dead below"),), "KL of its posterior from N(0, 1)"
    name = "What each number of a latent says"
    return Series(name, "number, by rank", "nats", lines, marks, words=words)


def walk_strip(codec: Latents, mean: Tensor, std: Tensor) -> Strip:
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


def map_strip(mean: Tensor, label: Tensor | None) -> Strip:
    """The plane in which latents differ most: their two principal axes."""
    flat = mean.flatten(1)
    flat = flat - flat.mean(0)
    if flat.shape[1] > 2:
        axes = torch.linalg.svd(flat, full_matrices=False).Vh[:2]
        flat = flat @ axes.T
    words = "the two principal axes of the latents" + ", coloured by class" * (label is not None)
    return Strip("A map of the latents", flat, words=words, labels=label)
