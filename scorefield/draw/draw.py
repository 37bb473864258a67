"""Samples from a plan, in batches."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Denoise, Level, Watch, quiet
from scorefield.base.rows import rows_of
from scorefield.denoise import Denoiser
from scorefield.draw.jobs import Job, walk
from scorefield.draw.plan import Asked, Plan
from scorefield.solve import encode


class Drawn(NamedTuple):
    """Samples `x (n, *shape)` on the CPU, calls of the denoiser for each of them, seconds."""

    x: Tensor
    calls: float
    seconds: float


def draw(
    denoise: Denoise,
    plan: Plan,
    asked: Asked,
    shape: Sequence[int],
    *,
    batch: int = 256,
    watch: Watch = quiet,
) -> Drawn:
    """`attempt`, whose samples must be finite: BadInput names the seed of the first that is not.

    >>> from scorefield.solve import DDIM
    >>> unit = lambda x, level, cond: level.like(x).alpha * x  # D for N(0, 1) data, VP levels
    >>> levels = Level.of(torch.tensor([0.6, 1.0]), torch.tensor([0.8, 0.0]))
    >>> asked = Asked(torch.tensor([7]), start=torch.tensor([[2.0]]))
    >>> draw(unit, Plan(DDIM(), levels), asked, (1,)).x
    tensor([[1.2000]])
    """
    drawn = attempt(denoise, plan, asked, shape, batch=batch, watch=watch)
    bad = (~drawn.x.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise BadInput(
            f"{len(bad)} of {len(drawn.x)} samples are not finite, the first of seed "
            f"{int(asked.seeds[int(bad[0])])}.",
            "Take more steps, a smaller guidance or another solver; else the training diverged.",
        )
    return drawn


@torch.no_grad()
def attempt(
    denoise: Denoise,
    plan: Plan,
    asked: Asked,
    shape: Sequence[int],
    *,
    batch: int = 256,
    watch: Watch = quiet,
) -> Drawn:
    """Walk all that are asked for down the plan, `batch` of them at a time.

    They are made where the denoiser's weights are, or in the dtype of the `start`. `watch` sees
    steps, those of an adaptive solver in parts. `batch` bounds memory, and changes a sample by
    rounding at most.
    """
    if batch < 1:
        raise BadInput(f"`batch` is {batch}.", "Give at least 1.")
    began, n = time.monotonic(), len(asked.seeds)
    done, total = 0.0, -(-n // batch) * plan.steps

    def reach(more: float) -> None:
        nonlocal seen
        seen = max(seen, done + more)
        watch(seen, total, "step")

    seen, parts = done, []
    within = plan.solver.adaptive and watch is not quiet
    counted = CountedRows(denoise, _within(plan.levels, reach) if within else None)
    like = _like(denoise, asked.start)
    reach(0)
    for i in range(0, n, batch):
        job = Job.of(plan, asked.rows(i, min(i + batch, n)), shape, like)
        for event in walk(job, counted):
            job = event.job
            reach(job.k)
        done += plan.steps
        parts.append(job.x.cpu())
    return Drawn(torch.cat(parts), counted.rows / n, time.monotonic() - began)


def encode_rows(
    denoiser: Denoiser,
    plan: Plan,
    x: Tensor,
    cond: Cond | None = None,
    *,
    refine: int = 0,
    batch: int = 256,
    watch: Watch = quiet,
) -> Tensor:
    """`encode` of x at the last level of a plan up to its first, on the CPU, in batches; the rows
    of `cond` are repeated in turn."""
    like, done = next(denoiser.parameters()), []
    total = len(x) * plan.steps * plan.solver.evals * (1 + refine)
    counted = CountedRows(denoiser, lambda rows, level: watch(rows, max(rows, total), "call"))
    for i in range(0, len(x), batch):
        some = x[i : i + batch].to(like)
        own = rows_of(cond, i, i + len(some), like.device) if cond else None
        done.append(encode(plan.solver, counted, some, plan.levels, own, refine).cpu())
    return torch.cat(done)


class CountedRows:
    """A denoiser that counts the rows it is asked for, and says at which level, if someone asks."""

    def __init__(self, denoise: Denoise, tell: Callable[[int, Level], None] | None = None) -> None:
        self.denoise, self.tell, self.rows = denoise, tell, 0

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        self.rows += x.shape[0]
        if self.tell:
            self.tell(self.rows, level)
        return self.denoise(x, level, cond)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


def _within(levels: Level, reach: Callable[[float], None]) -> Callable[[int, Level], None]:
    """Tells how many steps, in parts, lie behind the level of a call; the slowest sample counts."""
    edges = torch.atan2(levels.sigma, levels.alpha).tolist()

    def tell(rows: int, level: Level) -> None:
        angle = float(torch.atan2(level.sigma, level.alpha).max())
        k = sum(edge > angle for edge in edges) - 1  # between edges k and k + 1
        if 0 <= k < len(edges) - 1:
            reach(round(k + (edges[k] - angle) / (edges[k] - edges[k + 1]), 2))

    return tell


def _like(denoise: Denoise, start: Tensor | None) -> Tensor:
    if isinstance(denoise, nn.Module):
        own = next(denoise.parameters(), torch.empty(0))
        wide = torch.promote_types(own.dtype, torch.float32)  # weights of 16 bits: x is no weight
        return own.new_empty(0, dtype=wide)
    return torch.empty(0) if start is None else start
