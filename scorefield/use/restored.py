"""What restorations are worth: beside their measurement, one another and, if it is known, the
truth."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scorefield.base.finding import Figure, Findings, Strip
from scorefield.inverse.operators import Operator

FAR = 2.0
"""A restoration with a number beyond this has failed; data end at 1."""


def fidelity(found: Tensor, a: Operator, y: Tensor, truth: Tensor | None) -> dict[str, Any]:
    """How well the restorations agree with y, with one another and, if it is known, the truth."""
    spread = found.std(0) if len(found) > 1 else torch.zeros_like(found[0])
    figures: dict[str, Any] = {
        "n": len(found),
        "misfit": float((a(found) - y).square().mean().sqrt()),
        "deviation": float(spread.square().mean().sqrt()),
    }
    if truth is not None:
        figures["rms"] = float((found - truth).square().mean().sqrt())
        figures["psnr"] = psnr(found, truth)
        figures["psnr_of_mean"] = psnr(found.mean(0, keepdim=True), truth)
    return figures


def failed(x0: Tensor) -> int:
    """How many restorations `(n, ...)` have a number beyond `FAR`."""
    return int((x0.flatten(1).abs().amax(1) > FAR).sum())


def psnr(x0: Tensor, truth: Tensor) -> float:
    """Peak signal to noise, dB, of pictures in [-1, 1]: the mean over pictures."""
    mse = (x0 - truth).flatten(1).square().mean(1)
    return float((10 * (4 / mse.clamp(min=1e-12)).log10()).mean())


def findings(r: Mapping[str, Any]) -> Findings:
    """The figures of restorations, whose JSON is the record, and their sheet."""
    how = (
        f"{r['n']} restorations of {r['operator']} by {r['method']}, {r['steps']} steps, "
        f"{r['seconds']:.1f} s: {r['out']}"
    )
    noise = f"Of A(x0) and y, RMS; the noise is {r['noise']:g}."
    items: list[Figure | Strip] = [
        Figure("misfit", r["misfit"], words=noise),
        Figure("deviation among them", r["deviation"], words="Of a pixel, RMS."),
    ]
    if "psnr" in r:
        items.append(Figure("distance from the truth", r["rms"], best="low", words="RMS."))
        items.append(Figure("peak signal to noise, each", r["psnr"], unit="dB", best="high"))
        items.append(Figure("of their mean", r["psnr_of_mean"], unit="dB", best="high"))
    if "effective" in r:
        sizes = r["effective"]
        items.append(Figure(f"effective sample size of {r['n']}", sizes["mean"], best="high"))
        items.append(Figure("at least", sizes["least"], best="high"))
        items.append(Figure("log p(y)", r["log_evidence"], unit="nats", best="high"))
    if r["failed"]:
        items.append(Figure("failed", r["failed"], best="low"))
    words = "the truth if it is known, the measurement, mean, deviation, and each restoration"
    sheet = Strip("Restorations", words=words, file="sheet.png")
    return Findings("restore", r["run"], how, (*items, sheet), r)
