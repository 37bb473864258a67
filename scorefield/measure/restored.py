"""How well restorations agree with what was measured, with one another, and with the truth."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from scorefield.base.finding import Figure
from scorefield.data.kind import SERIES, Kind
from scorefield.measure.crps import crps
from scorefield.measure.quality import psnr, rms_all

FAR = 2.0
"""A restoration of what ends at 1 that has a number beyond this has failed."""
SURE = 1e-3
"""Deviation of a moment among restorations up to which it counts as known."""


def restored_figures(
    x: Tensor, misfit: Tensor, noise: float, truth: Tensor | None = None,
    sizes: Sequence[float] = (), log_evidence: float | None = None,
) -> Iterator[Figure]:  # fmt: skip
    """How well restorations x `(n, *shape)` agree with what was measured, of which they are off by
    the `misfit`, with one another and, if it is known, the truth `(1, *shape)`; of a population too
    its effective `sizes` step by step, and log p(y)."""
    spread = x.std(0) if len(x) > 1 else torch.zeros_like(x[0])
    words = f"Of A(x0) and y, RMS; the noise is {noise:g}."
    yield Figure("misfit", rms_all(misfit), words=words, key="misfit")
    words = "Of a place, RMS."
    yield Figure("deviation among them", rms_all(spread), words=words, key="deviation")
    if truth is not None:
        far, mean = rms_all(x - truth), psnr(x.mean(0, keepdim=True), truth)
        yield Figure("distance from the truth", far, best="low", words="RMS.", key="rms")
        decibels = partial(Figure, unit="dB", best="high")
        hidden = spread.amax(0) > SURE
        if Kind.of(x.shape[1:]) is SERIES and hidden.any():
            words = "Fair, in deviations of the data, over the moments that are not known."
            score = float(crps(x, truth[0])[:, hidden].mean())
            yield Figure("CRPS", score, best="low", words=words, key="crps")
        if Kind.of(x.shape[1:]).bounded:  # else there is no peak
            yield decibels("peak signal to noise, each", psnr(x, truth), key="psnr")
            yield decibels("of their mean", mean, key="psnr_of_mean")
    if sizes and log_evidence is not None:
        name = f"effective sample size of {len(x)}"
        yield Figure(name, sum(sizes) / len(sizes), best="high")
        yield Figure("at least", min(sizes), best="high")
        yield Figure("log p(y)", log_evidence, unit="nats", best="high", key="log_evidence")
    if bad := failed(x):
        yield Figure("failed", bad, best="low")


def failed(x0: Tensor) -> int:
    """How many restorations `(n, ...)` have a number beyond `FAR`, of what ends at 1."""
    if not Kind.of(x0.shape[1:]).bounded:
        return 0
    return int((x0.flatten(1).abs().amax(1) > FAR).sum())
