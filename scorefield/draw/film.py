"""Samples on their way from noise."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scorefield.base import Level, Watch, quiet
from scorefield.data.kind import VECTOR, Kind
from scorefield.denoise import Denoiser
from scorefield.draw.jobs import Job, walk
from scorefield.draw.plan import Asked, Plan

MOMENTS = 48
"""Of a film, at most, besides the samples at its end."""


@torch.no_grad()
def film(denoiser: Denoiser, plan: Plan, asked: Asked, watch: Watch = quiet) -> Iterator[Tensor]:
    """The samples `(n, *shape)` at moments of their walk, on the CPU, those of `draw` last.

    Of what has places the noise, then the denoised estimate D after each step; of points x itself,
    as wide as data at every level: x / sqrt(alpha^2 + sigma^2 / sigma_data^2).
    """
    points, every = Kind.of(denoiser.shape) is VECTOR, -(-plan.steps // MOMENTS)
    job = Job.of(plan, asked, denoiser.shape, next(denoiser.parameters()))
    yield _wide(job.x, plan.levels.at(0), denoiser.sigma_data)
    watch(job.k, plan.steps, "step")
    for event in walk(job, denoiser):
        job = event.job
        watch(job.k, plan.steps, "step")
        if event.info and not job.done and job.k % every == 0:
            here = plan.levels.at(job.k)
            x = _wide(job.x, here, denoiser.sigma_data) if points else event.info.denoised.cpu()
            yield x
    yield job.x.cpu()


def _wide(x: Tensor, level: Level, sigma_data: float) -> Tensor:
    """x in the size of data."""
    a, s = level.like(x)
    return (x / (a.square() + (s / sigma_data).square()).sqrt()).cpu()
