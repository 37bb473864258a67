"""How many bits a trained model needs for data: log likelihoods of examples, with their errors."""

import math
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Seeded, Watch, quiet
from scorefield.denoise import Denoiser
from scorefield.draw import CountedRows, guided
from scorefield.likelihood.bits import Bits, Parts
from scorefield.likelihood.measured import How, Measured

ROUGH = 1e-3
"""Bits a number: from here on what the end of a flow is off on average is worth a warning."""


PILOT = 16
"""Examples by which a vlb draws its levels, if at least four times as many are to be measured."""


def measure_bits(
    denoiser: Denoiser,
    x0: Tensor,
    how: How,
    *,
    cell: float | None = None,
    cond: Cond | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 64,
    watch: Watch = quiet,
) -> Bits:
    """Log likelihoods of x0 `(N, *shape)`, in the units of the model, under a denoiser that brings
    its schedule. Example i depends on its own seed, by default i, and not on `batch`.

    Raises BadInput for settings that do not fit each other, a stochastic solver, and results that
    are not finite.
    """
    schedule = denoiser.schedule
    read = tuple(denoiser.basis.shape(tuple(x0.shape[1:])))
    if schedule is None or not denoiser.shape or read != tuple(denoiser.shape):
        raise BadInput(
            f"examples have shape {tuple(x0.shape[1:])} and the model "
            f"{tuple(denoiser.shape) or 'none'}.",
            "Give examples of the shape that the model was trained on.",
        )
    if denoiser.scaling and (constant := denoiser.scaling.constant):
        value = denoiser.scaling.offset[constant[0]]
        raise BadInput(
            f"coordinate {constant[0]} of the data is {value:.6g} in every example, so that their "
            "density is infinite.",
            "Train without the constant coordinates to measure likelihoods.",
        )
    seeds = Seeded(range(len(x0)) if seeds is None else seeds).seeds
    if len(seeds) != len(x0) or not len(x0):
        raise BadInput(f"{len(x0)} examples and {len(seeds)} seeds.", "Give one per example.")
    if how.dequantise and cell is None:
        raise BadInput("continuous data have no levels to dequantise.", "Leave `dequantise` out.")
    where = next(denoiser.parameters())
    total, began, found = len(x0) * how.draws * how.calls(x0[0].numel()), time.monotonic(), []
    guide = guided(how.guidance, cond is not None)
    counted = CountedRows(
        guide(denoiser), lambda rows, level: watch(rows, max(rows, total), "call")
    )
    one = Measured(counted, schedule, how, cell)
    space = denoiser.space
    if how.method == "vlb" and space is None and len(x0) * how.draws >= 4 * PILOT:
        few = seeds.argsort()[torch.arange(PILOT) * len(x0) // PILOT]
        given = cond and {key: leaf[few].to(where.device) for key, leaf in cond.items()}
        one = one.even(x0[few].to(where), seeds[few], given)
    for i in range(0, len(x0), batch):
        some = slice(i, i + batch)
        given = cond and {key: leaf[some].to(where.device) for key, leaf in cond.items()}
        found.append(one.often(x0[some].to(where), seeds[some], given))
    nats, stderr, parts, ends = (torch.cat(v) for v in zip(*(f[:4] for f in found)))
    units = 0.0
    if denoiser.scaling and cell is None:
        units = float(denoiser.scaling.log_det(x0[:1]))
    bad = int((~nats.isfinite()).sum())
    if bad:
        raise BadInput(
            f"the likelihoods of {bad} of {len(x0)} examples are not finite.",
            "Take more steps or another solver; else the training diverged.",
        )
    dims, edges = getattr(space, "dim", x0[0].numel()), found[0].edges
    _warn_rough(float(ends.mean()) / (dims * math.log(2)))
    bits, split = -1 / (dims * math.log(2)), None
    if edges is not None:
        prior, *cells, decoder, log_q = (bits * parts.mean(0)).tolist()
        split = Parts(prior, tuple(cells), decoder, log_q - bits * units, tuple(edges.tolist()))
    spent = time.monotonic() - began
    return Bits(nats - units, stderr, dims, split, counted.rows / len(x0), spent)


def _warn_rough(ends: float) -> None:
    """Where the end of the flow is known roughly only, so many bits a number."""
    if ends > ROUGH:
        warnings.warn(
            f"between the schedule's last level and clean data the flow is extrapolated, and about "
            f"{ends:.1g} bits a dimension rough. `floor` stops at that level; `method` vlb has a "
            "decoder.",
            stacklevel=3,
        )
