"""Samples of a denoiser."""

from collections.abc import Sequence
from time import monotonic
from typing import Unpack

from torch import Tensor

from scorefield.base import Cond, Watch, quiet
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Drawn, Plan, draw
from scorefield.process import check_begins_in_noise
from scorefield.use.plan import Settings, asked_of, plan_of


def generate(
    denoiser: Denoiser,
    n: int | None = None,
    *,
    labels: Sequence[int] | Tensor | None = None,
    cond: Cond | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 256,
    watch: Watch = quiet,
    **settings: Unpack[Settings],
) -> Tensor:
    """Samples x0 `(n, *shape)` on the CPU, pictures in [-1, 1], of a model on latents decoded:
    sample i is made from `seeds[i]` alone.

    `settings` are `steps`, `solver`, `grid`, `guidance` and `guide`, by default 20 of "arc". `grid`
    is a name or a fitted grid, which brings its own steps and solver. `seeds` defaults to 0..n-1
    and n to their count, or that of the rows of `cond`, or 16. `batch` bounds memory. It and n
    change nothing in a sample of up to 1,024 numbers, and only the rounding of a larger one: 1e-5
    of its size (in float32).

    `labels` are class indices and `cond` other conditions in the model's units (or all of them);
    the rows of either are repeated in turn up to n. Without both, samples are unconditional.
    `guidance` is the scale of classifier-free guidance; `guide` any other, around that.
    Solver, grid and guide are specs (`scorefield.catalogue.spec`), as "cfg:2+interval:.3,2", or
    objects.

    Raises BadInput for unknown names, conditions that do not fit the network, wrong counts, and
    samples that are not finite.
    """
    asked = asked_of(denoiser, n, seeds=seeds, labels=labels, cond=cond)
    plan = plan_of(denoiser, bool(asked.cond), **settings)
    check_begins_in_noise(
        denoiser.schedule,
        "what is generated",
        "Use scorefield sample, or draw with a start (docs/processes.md).",
    )
    return decoded(denoiser, plan, asked, batch, watch).x


def decoded(
    denoiser: Denoiser, plan: Plan, asked: Asked, batch: int = 256, watch: Watch = quiet
) -> Drawn:
    """`draw`, with samples of a model on latents decoded, which counts in the seconds."""
    drawn = draw(denoiser, plan, asked, denoiser.shape, batch=batch, watch=watch)
    began = monotonic()
    x0 = denoiser.decode(drawn.x)
    return drawn._replace(x=x0, seconds=drawn.seconds + monotonic() - began)
