"""Samples on their way from noise."""

import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Watch, quiet
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Job, Plan, tick

MOMENTS = 48
"""Of a film, at most, besides the samples at its end."""
PICTURES, POINTS = 64, 2000
"""Samples of a film, at most."""


def most(shape: tuple[int, ...]) -> int:
    """How many samples a film can show."""
    return POINTS if len(shape) == 1 else PICTURES


@torch.no_grad()
def film(denoiser: Denoiser, plan: Plan, asked: Asked, watch: Watch = quiet) -> list[Tensor]:
    """The samples `(n, *shape)` at moments of their walk, on the CPU, those of `generate` last.

    Of pictures the noise, then the denoised estimate D after each step; of points x itself,
    as wide as data at every level: x / sqrt(alpha^2 + sigma^2 / sigma_data^2).

    Raises BadInput for more samples than can be shown.
    """
    n, pictures = len(asked.seeds), len(denoiser.shape) > 1
    if n > most(denoiser.shape):
        raise BadInput(
            f"a .gif shows at most {most(denoiser.shape)} samples, and `n` is {n}.",
            "Ask for fewer, or for a .png.",
        )
    job = Job.of(plan, asked, denoiser.shape, next(denoiser.parameters()))
    shown, every = [_wide(job.x, plan.levels.at(0), denoiser.sigma_data)], -(-plan.steps // MOMENTS)
    while not job.done:
        watch(job.k, plan.steps, "step")
        (event,) = tick([job], denoiser)
        if event.failure:
            raise event.failure
        job = event.job
        if event.info and not job.done and job.k % every == 0:
            here = plan.levels.at(job.k)
            seen = event.info.denoised if pictures else _wide(job.x, here, denoiser.sigma_data)
            shown.append(seen.cpu())
    return [*shown, job.x.cpu()]


def _wide(x: Tensor, level: Level, sigma_data: float) -> Tensor:
    """x in the size of data."""
    a, s = level.like(x)
    return (x / (a.square() + (s / sigma_data).square()).sqrt()).cpu()
