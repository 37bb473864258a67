"""Samples of a denoiser."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Denoise, Guide, Level, Seeded
from scorefield.base.rows import repeat_labels, rows_of
from scorefield.catalogue.plans import guide as build_guide
from scorefield.denoise import Denoiser
from scorefield.run.bar import progress_bar
from scorefield.run.config import SampleConfig
from scorefield.run.open import build_grid, build_solver
from scorefield.solve import Solver, trajectory
from scorefield.tune import FittedGrid

if TYPE_CHECKING:
    from tqdm import tqdm

DEFAULT = SampleConfig()
"""How `generate` samples unless it is told, or given a fitted grid."""


@torch.no_grad()
def generate(
    denoiser: Denoiser,
    n: int | None = None,
    *,
    steps: int | None = None,
    solver: str | Solver | None = None,
    grid: str | FittedGrid = DEFAULT.grid,
    labels: Sequence[int] | Tensor | None = None,
    cond: Cond | None = None,
    guidance: float = 1.0,
    guide: str | Guide | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 256,
    progress: bool = False,
) -> Tensor:
    """Samples x0 `(n, *shape)` on the CPU, pictures in [-1, 1]: sample i is made from `seeds[i]`
    alone.

    `grid` is a name or a fitted grid, which brings its own `steps` and `solver`; with a name they
    default to 20 of "arc". `seeds` defaults to 0..n-1 and n to their count, or that of the rows of
    `cond`, or 16. `batch` bounds memory. It and n change nothing in a sample of up
    to 1,024 numbers, and only the rounding of a larger one: 1e-5 of its size (in float32).

    `labels` are class indices and `cond` other conditions in the model's units (or all of them);
    the rows of either are repeated in turn up to n. Without both, samples are unconditional.
    `guidance` is the scale of classifier-free guidance; `guide` any other, around that.
    Solver, grid and guide are specs (`scorefield.catalogue.spec`), as "cfg:2+interval:.3,2", or
    objects.

    Raises BadInput for unknown names, conditions that do not fit the network, wrong counts, and
    samples that are not finite.
    """
    if denoiser.schedule is None or not denoiser.shape:
        raise BadInput(
            "the denoiser has no schedule or shape.", "Give Denoiser(schedule=..., shape=...)."
        )
    if n is None:
        rows = 16 if not cond else len(next(iter(cond.values())))
        n = rows if seeds is None else len(seeds)
    for name, value in (("n", n), ("batch", batch)):
        if value < 1:
            raise BadInput(f"{name} is {value}.", "Give at least 1.")
    noise_seeds = Seeded(range(n) if seeds is None else seeds).seeds
    if len(noise_seeds) != n:
        raise BadInput(f"{len(noise_seeds)} seeds for {n} samples.", "Give one seed per sample.")
    fitted = isinstance(grid, FittedGrid)
    if steps is None:
        steps = grid.steps if fitted else DEFAULT.steps
    method = build_solver(solver or (grid.solver if fitted else DEFAULT.solver))
    levels, method = build_grid(grid, denoiser.schedule, steps, method)
    told = told_of(labels, cond, len(denoiser.classes))
    conditional = catalogue.guides["cfg"](guidance)
    guided = conditional(denoiser) if told else denoiser
    guided = build_guide(guide, shape=tuple(denoiser.shape))(guided) if guide else guided
    where = next(denoiser.parameters(), torch.empty(0))
    done = []
    with progress_bar(-(-n // batch) * (len(levels.sigma) - 1), progress, "step") as bar:
        for i in range(0, n, batch):
            noise = Seeded(noise_seeds[i : i + batch])
            x = noise.start(denoiser.shape, levels, dtype=where.dtype, device=where.device)
            some = rows_of(told, i, i + len(noise), where.device) if told else None
            walk = _watched(guided, levels, bar) if method.adaptive and progress else guided
            before = bar.n
            for k, (state, _) in enumerate(trajectory(method, walk, x, levels, noise, some), 1):
                x = state[0]
                bar.update(before + k - bar.n)
            done.append(x.cpu())
    x0 = torch.cat(done)
    bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise BadInput(
            f"{len(bad)} of {n} samples are not finite, the first of seed "
            f"{int(noise_seeds[first])}.",
            "Take more steps, a smaller guidance or another solver; else the training diverged.",
        )
    return x0


def _watched(denoise: Denoise, levels: Level, bar: "tqdm") -> Denoise:
    """The denoiser, which moves a bar of steps by the level that it is called at: within the steps
    of a solver that takes as many of its own as it needs. The slowest sample counts."""
    edges = torch.atan2(levels.sigma, levels.alpha).tolist()
    before = bar.n

    def call(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        angle = float(torch.atan2(level.sigma, level.alpha).max())
        k = sum(edge > angle for edge in edges) - 1  # between edges k and k + 1
        if 0 <= k < len(edges) - 1:
            done = k + (edges[k] - angle) / (edges[k] - edges[k + 1])
            bar.update(max(0.0, round(before + done, 2) - bar.n))
        return denoise(x, level, cond)

    return call


def told_of(
    labels: Sequence[int] | Tensor | None, cond: Cond | None, classes: int
) -> dict[str, Tensor] | None:
    """Labels and other conditions as one, or None; their rows are yet to be repeated."""
    told = dict(cond or {})
    if labels is not None and "label" in told:
        raise BadInput("classes come both as labels and in cond.", "Give them once.")
    rows = {key: len(value) for key, value in told.items()}
    if len(set(rows.values())) > 1 or 0 in rows.values():
        raise BadInput(
            f"the conditions have these numbers of rows: {rows}.", "Give as many of each."
        )
    if labels is not None or "label" in told:
        chosen = told["label"] if labels is None else labels
        told["label"] = repeat_labels(chosen, len(chosen), classes)
    return told or None
