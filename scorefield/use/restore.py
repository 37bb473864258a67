"""Restorations of what was measured, and how good they are."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Watch, quiet
from scorefield.base.finding import Figure, Findings, Strip
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Job, Plan, walk
from scorefield.guide.population import Particles
from scorefield.inverse.operators import Operator

RENEWED = ("dps", "mmps", "pigdm", "tmpd")
"""The guides that are best with a constant share of fresh noise."""
FAR = 2.0
"""A restoration with a number beyond this has failed; data end at 1."""


class Restored(NamedTuple):
    """Restorations `x (n, *shape)` on the CPU, seconds, and of a population its effective sizes
    after each step and its log evidence."""

    x: Tensor
    seconds: float
    sizes: list[float]
    log_evidence: float | None


def restore_rows(
    denoiser: Denoiser, plan: Plan, asked: Asked, y: Tensor, watch: Watch = quiet
) -> Restored:
    """Walk down a plan whose solver and guide are those of `restorer`, all samples at once. x has
    the dtype and device of y. Raises BadInput for restorations that are not finite."""
    began, sizes = time.monotonic(), []
    job = Job.of(plan, asked, denoiser.shape, y)
    watch(0, plan.steps, "step")
    for after in walk(job, denoiser):
        job = after
        watch(job.k, plan.steps, "step")
        if isinstance(job.state, Particles):
            sizes.append(float(job.state.ess[0]))
    x, seconds = job.x.cpu(), time.monotonic() - began
    if not x.isfinite().all():
        raise BadInput(
            "the restorations have values that are not finite.",
            "Take more `steps` or another `method`.",
        )
    return Restored(x, seconds, sizes, float(job.state.log_evidence[0]) if sizes else None)


def figures(found: Restored, a: Operator, y: Tensor, truth: Tensor | None) -> dict[str, Any]:
    """How well the restorations agree with y, with one another and, if it is known, the truth."""
    x, sizes = found.x, found.sizes
    spread = x.std(0) if len(x) > 1 else torch.zeros_like(x[0])
    record: dict[str, Any] = {
        "n": len(x),
        "misfit": float((a(x) - y).square().mean().sqrt()),
        "deviation": float(spread.square().mean().sqrt()),
    }
    if truth is not None:
        record["rms"] = float((x - truth).square().mean().sqrt())
        record["psnr"] = psnr(x, truth)
        record["psnr_of_mean"] = psnr(x.mean(0, keepdim=True), truth)
    record["failed"] = failed(x)
    if sizes:
        record["effective"] = {"least": min(sizes), "mean": sum(sizes) / len(sizes)}
        record["log_evidence"] = found.log_evidence
    return record


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
