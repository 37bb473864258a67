"""How many bits a trained model needs for data: log likelihoods of examples, with their errors.

A mean over data has two errors: another draw of the data, and chance (probes, noise levels, places
within a cell). Both are in the spread of what single examples pay, so that the standard error of
the mean is `std / sqrt(N)` whatever the chance; its part from chance alone is known if every
example was measured more than once.

Data with levels (uint8) have a probability, and the unit is bits a number of it. With u drawn from
q, in the cell of one level around the example,

    bits = -E [log p(u) - log q(u)] / (d log 2) >= -log2 P / d                           (eq. 1)

and the bounds `elbo` and `vlb` do without q: their decoder gives each level its own probability. A
cell is `1 / scale` wide in the units of the model (`Scaling`). Continuous data have a density, here
that of u in the data's own units: scaling data by 2 costs one bit a number.

The flow begins where samplers do, at N(0, sigma^2 I), and its density is that of what they draw.
The model is asked from the first level of noise on that leaves the cells apart, half a cell being
`SHARP` deviations: below it the data have no more to say, and a model that was never trained there
would have the word. Uniform dequantisation has to go below, to the floor of the schedule: the flow
gives the density there, of the model that samples down to the floor and no further.
"""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Denoise, Level, Seeded, like, unknown
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.likelihood import (
    Bound,
    Discretised,
    Rough,
    elbo,
    flow_log_prob,
    gaussian,
    path,
    sde_bound,
    start_log_prob,
    truncated_normal,
    uniform,
    vlb,
)
from scorefield.process import DiscreteVP, Schedule
from scorefield.process.grids import timesteps
from scorefield.run.bar import progress_bar
from scorefield.run.open import build_solver

Method = Literal["flow", "elbo", "vlb", "bound"]
Dequantise = Literal["uniform", "truncated"]

SHARP = 1.5
"""Deviations of noise in half a cell at the level where data with levels begin."""
NOISIEST = -12.0
"""The chain of `elbo` begins at this logsnr if its schedule goes on to less signal."""
CHAIN = 1000
"""Its steps, on a schedule that has none of its own."""
CELLS = 64
"""Of logsnr, in each of which every example meets one level (elbo, vlb, bound)."""
STEPS = 16
"""Of the flow's solver; of an adaptive one, which chooses its own, 4."""
ROUGH = 1e-3
"""Bits a number: from here on what the end of a flow is off on average is worth a warning."""
SMALL = 16
"""Numbers of an example up to which the trace is exact unless asked otherwise."""


@dataclass(frozen=True)
class How:
    """What is measured, and how.

    `steps` and `solver` are of the flow, None for 16 of "rk4". `trace`, of flow and bound: "exact",
    a count of probes, or None for exact in up to 16 dimensions and else one. `dequantise`: None
    takes data as they are. `draws`: how often each example is measured, with chance of its own.
    `floor`, of the flow of data as they are: their density with the noise of the schedule's last
    level, where nothing is extrapolated.
    """

    method: Method = "flow"
    trace: Literal["exact"] | int | None = None
    dequantise: Dequantise | None = None
    draws: int = 1
    solver: str = "rk4"
    steps: int | None = None
    guidance: float = 1.0
    floor: bool = False

    def __post_init__(self) -> None:
        for kind, name, names in (
            ("method", self.method, get_args(Method)),
            ("dequantisation", self.dequantise or "uniform", get_args(Dequantise)),
        ):
            if name not in names:
                raise unknown(kind, name, names)
        for name, value in (
            ("draws", self.draws),
            ("steps", 1 if self.steps is None else self.steps),
        ):
            if value < 1:
                raise BadInput(f"{name} is {value}.", "Give at least 1.")
        if self.dequantise == "truncated" and self.method in ("elbo", "vlb"):
            raise BadInput(
                f"the {self.method} has no truncated dequantisation.",
                "Use none, as its decoder gives each level a probability, or uniform.",
            )
        if self.floor and (self.method != "flow" or self.dequantise):
            raise BadInput(
                f"the {self.method}, {self.dequantise or 'not'} dequantised, has no clean end.",
                "Leave the floor out: it is of the flow of data as they are.",
            )

    @property
    def flow_steps(self) -> int:
        """Steps of the flow's solver."""
        return self.steps or (4 if build_solver(self.solver).adaptive else STEPS)

    def traces(self, dims: int) -> Literal["exact"] | int:
        """How the trace is taken for examples of so many numbers."""
        return self.trace or ("exact" if dims <= SMALL else 1)


class Parts(NamedTuple):
    """Means over the examples, in bits a number, that add up to `Bits.mean`: each cell between the
    logsnr `edges`, from noise to data; both ends; and what the change of units or q adds."""

    prior: float
    cells: tuple[float, ...]
    decoder: float
    units: float
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Bits:
    """What N examples of `dims` numbers cost. `nats (N,)`: log probability or density, of data in
    their own units; `stderr (N,)`: its standard error over draws or probes, nan where unknown.
    `calls`: network calls an example, without those of vector-Jacobian products."""

    nats: Tensor
    stderr: Tensor
    dims: int
    parts: Parts | None
    calls: float
    seconds: float

    def __len__(self) -> int:
        return len(self.nats)

    @property
    def each(self) -> Tensor:
        """Bits a number of each example `(N,)`."""
        return -self.nats / self._unit

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def error(self) -> float | None:
        """Standard error of the mean, over data and chance; None for one example."""
        return float(self.each.std()) / math.sqrt(len(self)) if len(self) > 1 else None

    @property
    def chance(self) -> float | None:
        """The part of it from chance alone, for these examples; None if it is not known."""
        value = float(self.stderr.square().sum().sqrt()) / (len(self) * self._unit)
        return value if math.isfinite(value) else None

    @property
    def _unit(self) -> float:
        return self.dims * math.log(2)


def cell_of(data: Data) -> float | None:
    """The width of a level's cell in the units of the model, None for continuous data.

    >>> from scorefield.data import load
    >>> cell_of(load("digits"))  # levels 0..16 on [-1, 1]
    0.125
    """
    if data.train.x.dtype.is_floating_point:
        return None
    if len(set(data.scaling.scale)) > 1:
        raise BadInput(
            f"the channels of '{data.name}' have the scales {data.scaling.scale}.",
            "Levels need one scale for all channels.",
        )
    return 1 / data.scaling.scale[0]


def usual(method: Method, cell: float | None) -> Dequantise | None:
    """The dequantisation of a method unless asked otherwise: the model's own noise for those that
    know densities only."""
    return "truncated" if cell and method in ("flow", "bound") else None


def begins(schedule: Schedule, cell: float | None) -> float:
    """t of the first level that the data are seen at: the schedule's floor, or the later one at
    which half a cell is SHARP deviations of the noise."""
    if cell is None:
        return schedule.floor
    logsnr = torch.tensor(-2 * math.log(cell / 2 / SHARP), dtype=torch.float64)
    return max(schedule.floor, float(schedule.inverse(logsnr)))


@dataclass(frozen=True)
class Later:
    """A schedule with another floor."""

    schedule: Schedule
    floor: float

    def __call__(self, t: Tensor) -> Level:
        return self.schedule(t)

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self.schedule.inverse(logsnr)


@dataclass(frozen=True)
class Beyond:
    """A process from a level on: what it has made of data there is data to the rest of it.

    With r = sigma/alpha at t = `start`, y = x0 + r e, and at a noisier level

        x = alpha y + s e',  s^2 = sigma^2 - alpha^2 r^2,   E[y | x] = (x + s^2 score) / alpha
                                                           = D + (r alpha/sigma)^2 (x/alpha - D)
    """

    schedule: Schedule
    start: float

    @property
    def r2(self) -> Tensor:
        return self.schedule(torch.tensor(self.start, dtype=torch.float64)).ratio ** 2

    @property
    def floor(self) -> float:
        """Where the noise since `start` is a tenth of that before."""
        return float(self.inverse(-(self.r2 / 100).log()))

    def __call__(self, t: Tensor) -> Level:
        level = self.schedule(t)
        return Level(level.alpha, (level.sigma**2 - level.alpha**2 * self.r2).clamp(min=0).sqrt())

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self.schedule.inverse(-((-logsnr).exp() + self.r2).log())

    def denoise(self, denoise: Denoise) -> Denoise:
        """Of y, from that of x0."""

        def beyond(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            sigma = (level.sigma**2 + level.alpha**2 * self.r2).sqrt()
            denoised = denoise(x, Level(level.alpha, sigma), cond)
            share = like(self.r2 * (level.alpha / sigma) ** 2, x)
            return denoised + share * (x / like(level.alpha, x) - denoised)

        return beyond


def chain(schedule: Schedule, floor: float) -> Level:
    """Levels of the discrete bound: the steps of a chain that has them, else 1000 equal steps of
    logsnr; down to t = floor."""
    if isinstance(schedule, DiscreteVP):
        levels = timesteps(schedule, schedule.steps)
        last = float(schedule(torch.tensor(floor, dtype=torch.float64)).logsnr)
        return levels.at(levels.logsnr <= last + 1e-9)
    ends = schedule(torch.tensor([1.0, floor], dtype=torch.float64)).logsnr
    low, high = ends.clamp(min=NOISIEST).tolist()
    return schedule(schedule.inverse(torch.linspace(low, high, CHAIN + 1, dtype=torch.float64)))


def measure(
    denoiser: Denoiser,
    x0: Tensor,
    how: How,
    *,
    cell: float | None = None,
    cond: Cond | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Bits:
    """Log likelihoods of x0 `(N, *shape)`, in the units of the model, under a denoiser that brings
    its schedule. Example i depends on its own seed, by default i, and not on `batch`.

    Raises BadInput for settings that do not fit each other, a stochastic solver, and results that
    are not finite.
    """
    schedule = denoiser.schedule
    if schedule is None or not denoiser.shape or tuple(x0.shape[1:]) != tuple(denoiser.shape):
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
    guided = denoiser if cond is None else catalogue.guides["cfg"](how.guidance)(denoiser)
    rows, began, found = 0, time.monotonic(), []
    with progress_bar(len(x0) * how.draws * _calls(how), progress, "call") as bar:

        def counted(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            nonlocal rows
            rows += len(x)
            bar.update(len(x))
            return guided(x, level, cond)

        one = _One(counted, schedule, how, cell)
        for i in range(0, len(x0), batch):
            some = slice(i, i + batch)
            given = cond and {key: leaf[some].to(where.device) for key, leaf in cond.items()}
            found.append(one.often(x0[some].to(where), seeds[some], given))
        bar.total = rows
    nats, stderr, parts, ends = (torch.cat(v) for v in zip(*(f[:4] for f in found)))
    units = _scale(denoiser, x0) if cell is None else 0.0
    bad = int((~nats.isfinite()).sum())
    if bad:
        raise BadInput(
            f"the likelihoods of {bad} of {len(x0)} examples are not finite.",
            "Take more steps or another solver; else the training diverged.",
        )
    dims, edges = x0[0].numel(), found[0][4]
    _warn_rough(float(ends.mean()) / (dims * math.log(2)))
    share = -1 / (dims * math.log(2))
    told = None
    if edges is not None:
        prior, *cells, decoder, log_q = (share * parts.mean(0)).tolist()
        told = Parts(prior, tuple(cells), decoder, log_q - share * units, tuple(edges.tolist()))
    spent = time.monotonic() - began
    return Bits(nats - units, stderr, dims, told, rows / len(x0), spent)


@dataclass(frozen=True)
class _One:
    """Measures a batch."""

    denoise: Denoise
    schedule: Schedule
    how: How
    cell: float | None

    def often(
        self, x0: Tensor, seeds: Tensor, cond: Cond | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """log p `(B,)`, its error over the draws or probes, its parts `(B, P)`, what its ends are
        off `(B,)`, edges or None."""
        drawn = (self(x0, seeds, k, cond) for k in range(self.how.draws))
        each, errors, parts, ends, edges = zip(*drawn)
        nats = torch.stack(each)
        error = errors[0]
        if self.how.draws > 1:
            error = nats.std(0) / math.sqrt(self.how.draws)
        parts, ends = (torch.stack(v).mean(0) for v in (parts, ends))
        return nats.mean(0), error, parts, ends, edges[0]

    def __call__(
        self, x0: Tensor, seeds: Tensor, draw: int, cond: Cond | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """The draw of that number. Its place within the cell has a seed of its own: probes that
        are drawn like it would be the signs of where in the cell x lies."""
        place, noise = (Seeded(seeds + (2 * draw + k << 32)) for k in (1, 0))
        how, cell = self.how, self.cell
        x, log_q, t = x0, x0.new_zeros(len(x0)), 0.0
        if how.dequantise == "uniform" and cell:
            x, log_q = uniform(x0, cell, place)
        if how.dequantise == "truncated" and cell:
            t = begins(self.schedule, cell)
            level = self.schedule(torch.tensor(t, dtype=torch.float64))
            x, log_q = truncated_normal(x0, cell, level, place)
        trace = how.traces(x0[0].numel())
        if how.method == "flow":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Rough)  # said once for all batches
                flow = flow_log_prob(
                    self.denoise, x, self.schedule, trace, cond=cond, noise=noise, t=t,
                    solver=build_solver(how.solver),
                    floor=how.floor or how.dequantise == "uniform",
                    levels=path(self.schedule, how.flow_steps, t), prior=start_log_prob,
                )  # fmt: skip
            known = how.dequantise is None  # else where in the cell x lies is chance too
            error = flow.stderr if known else torch.full_like(flow.stderr, math.nan)
            return flow.log_prob - log_q, error, log_q[:, None], flow.ends, None
        if how.method == "bound":
            found = self._control(x, trace, cond, noise, t)
        else:
            found = self._steps(x, cond, noise)
        parts = torch.column_stack((-found.prior, -found.terms, -found.decoder, -log_q))
        return found.log_prob - log_q, found.stderr, parts, torch.zeros_like(log_q), found.edges

    def _control(
        self, x: Tensor, trace: Literal["exact"] | int, cond: Cond | None, noise: Seeded, t: float
    ) -> Bound:
        """The bound of control on log p(x), of x at time t."""
        given: dict[str, Any] = {"cond": cond, "cells": CELLS, "draws": 1, "noise": noise}
        if t == 0:
            return sde_bound(self.denoise, x, self.schedule, trace, **given)
        rest, level = Beyond(self.schedule, t), self.schedule(torch.tensor(t, dtype=torch.float64))
        alpha = float(level.alpha)
        found = sde_bound(rest.denoise(self.denoise), x / alpha, rest, trace, **given)
        wider = x[0].numel() * math.log(alpha)  # the density of x, not that of y = x/alpha
        return found._replace(log_prob=found.log_prob - wider, decoder=found.decoder + wider)

    def _steps(self, x: Tensor, cond: Cond | None, noise: Seeded) -> Bound:
        """The bound of the chain, or of infinitely many steps."""
        cell = None if self.how.dequantise else self.cell
        floor = begins(self.schedule, cell)
        decoder = Discretised(cell) if cell else gaussian
        given: dict[str, Any] = {"cond": cond, "decoder": decoder, "draws": 1, "noise": noise}
        if self.how.method == "vlb":
            return vlb(self.denoise, x, Later(self.schedule, floor), cells=CELLS, **given)
        levels = chain(self.schedule, floor)
        cells = min(CELLS, len(levels.sigma) - 1)
        return elbo(self.denoise, x, levels, variance=1.0, cells=cells, **given)


def _calls(how: How) -> int:
    """Network calls a draw, planned: an adaptive solver takes as many as it takes."""
    if how.method != "flow":
        return CELLS + 1
    return how.flow_steps * build_solver(how.solver).evals + 7


def _warn_rough(ends: float) -> None:
    """Where the end of the flow is known roughly only, so many bits a number."""
    if ends > ROUGH:
        warnings.warn(
            f"between the schedule's last level and clean data the flow is extrapolated, and about "
            f"{ends:.1g} bits a dimension rough. `floor` stops at that level; `method` vlb has a "
            "decoder.",
            stacklevel=3,
        )


def _scale(denoiser: Denoiser, x0: Tensor) -> float:
    """`log |du/dx0|`: the nats that the change to the data's own units takes."""
    if denoiser.scaling is None:
        return 0.0
    logs = [math.log(scale) for scale in denoiser.scaling.scale]
    return x0[0].numel() * sum(logs) / len(logs)
