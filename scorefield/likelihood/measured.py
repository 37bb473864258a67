"""One likelihood of each example, by the method that is asked for, in nats and with its error.

Data with levels (uint8) have a probability. With u drawn from q, in the cell of one level around
the example,

    bits = -E [log p(u) - log q(u)] / (d log 2) >= -log2 P / d                           (eq. 1)

and the bounds `elbo` and `vlb` do without q: their decoder gives each level its own probability.
The flow begins where samplers do, at N(0, sigma^2 I), and its density is that of what they draw.
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Seeded, unknown
from scorefield.likelihood.bound import even_edges, sde_bound, vlb
from scorefield.likelihood.cells import Beyond, Later, begins, chain_levels
from scorefield.likelihood.decoder import Discretised, gaussian
from scorefield.likelihood.dequantise import truncated_normal, uniform
from scorefield.likelihood.elbo import elbo
from scorefield.likelihood.ends import start_log_prob
from scorefield.likelihood.estimate import Bound
from scorefield.likelihood.flow import FlowSchedule, Rough, flow_log_prob, path
from scorefield.likelihood.spaced import spaced_log_prob
from scorefield.solve import RK, Arc, Solver

Method = Literal["flow", "elbo", "vlb", "bound"]
Dequantise = Literal["uniform", "truncated"]

CELLS = 64
"""Of logsnr, in each of which every example meets one level (elbo, vlb, bound)."""
STEPS = 16
"""Of the flow's solver; of an adaptive one, which chooses its own, 4."""
SMALL = 16
"""Numbers of an example up to which the trace is exact unless asked otherwise."""


@dataclass(frozen=True)
class How:
    """What is measured, and how.

    `steps` and `solver` are of the flow: by default 16 steps of `Arc`, with probes of their own, or
    of `RK()` where the trace is exact. `trace`, of flow and bound: "exact",
    a count of probes, or None for exact in up to 16 dimensions and else one. `dequantise`: None
    takes data as they are. `draws`: how often each example is measured, with chance of its own.
    `floor`, of the flow of data as they are: their density with the noise of the schedule's last
    level, where nothing is extrapolated.
    """

    method: Method = "flow"
    trace: Literal["exact"] | int | None = None
    dequantise: Dequantise | None = None
    draws: int = 1
    solver: Solver | None = None
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

    def walk(self, dims: int) -> tuple[Solver, int]:
        """The flow's solver for examples of so many numbers, and its steps."""
        solver = self.solver or (RK() if self.traces(dims) == "exact" else Arc())
        return solver, self.steps or (4 if solver.adaptive else STEPS)

    def traces(self, dims: int) -> Literal["exact"] | int:
        """How the trace is taken for examples of so many numbers."""
        return self.trace or ("exact" if dims <= SMALL else 1)

    def calls(self, dims: int) -> int:
        """Network calls a draw, planned: an adaptive solver takes as many as it takes."""
        if self.method != "flow":
            return CELLS + 1
        solver, steps = self.walk(dims)
        return steps * solver.evals + 7


def usual(method: Method, cell: float | None) -> Dequantise | None:
    """The dequantisation of a method unless asked otherwise: the model's own noise for those that
    know densities only."""
    return "truncated" if cell and method in ("flow", "bound") else None


class Nats(NamedTuple):
    """`log_prob (B,)`; its `error (B,)`, nan where unknown; its `parts (B, P)`, of a flow log q
    alone; what the `ends` of a flow are off `(B,)`; and the `edges` of the parts, or None."""

    log_prob: Tensor
    error: Tensor
    parts: Tensor
    ends: Tensor
    edges: Tensor | None


@dataclass(frozen=True)
class Measured:
    """What is measured of a batch of examples; `edges`: of logsnr, the cells of a vlb."""

    denoise: Denoise
    schedule: FlowSchedule
    how: How
    cell: float | None
    edges: Tensor | None = None

    def even(self, x0: Tensor, seeds: Tensor, cond: Cond | None) -> "Measured":
        """This with the cells of a vlb even in what these examples, by chance of their own, pay."""
        noise = Seeded(seeds + (2 * self.how.draws << 32))
        return replace(self, edges=even_edges(self._steps(x0, cond, noise)))

    def often(self, x0: Tensor, seeds: Tensor, cond: Cond | None) -> Nats:
        """The mean of all draws, with its error over them, or over the probes of one."""
        drawn = (self(x0, seeds, k, cond) for k in range(self.how.draws))
        each, errors, parts, ends, edges = zip(*drawn)
        nats = torch.stack(each)
        error = errors[0]
        if self.how.draws > 1:
            error = nats.std(0) / math.sqrt(self.how.draws)
        parts, ends = (torch.stack(v).mean(0) for v in (parts, ends))
        return Nats(nats.mean(0), error, parts, ends, edges[0])

    def __call__(self, x0: Tensor, seeds: Tensor, draw: int, cond: Cond | None) -> Nats:
        """The draw of that number. Its place within the cell has a seed of its own: probes that
        are drawn like it would be the signs of where in the cell x lies."""
        place, noise = (Seeded(seeds + (2 * draw + k << 32)) for k in (1, 0))
        how, cell = self.how, self.cell
        if getattr(self.denoise, "space", None) is not None:
            given = self.denoise, x0, self.schedule, how.method, noise, cond
            nats, none = spaced_log_prob(*given), torch.zeros(len(x0), dtype=torch.float64)
            return Nats(nats, torch.full_like(nats, math.nan), none[:, None], none, None)
        x, log_q, t = x0, x0.new_zeros(len(x0)), 0.0
        if how.dequantise == "uniform" and cell:
            x, log_q = uniform(x0, cell, place)
        if how.dequantise == "truncated" and cell:
            t = begins(self.schedule, cell)
            level = self.schedule(torch.tensor(t, dtype=torch.float64))
            x, log_q = truncated_normal(x0, cell, level, place)
        trace = how.traces(x0[0].numel())
        if how.method == "flow":
            solver, steps = how.walk(x0[0].numel())
            basis = getattr(self.schedule, "basis", None)  # of a level for each coordinate
            x = basis.forward(x) if basis else x
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Rough)  # said once for all batches
                flow = flow_log_prob(
                    self.denoise, x, self.schedule, trace, cond=cond, noise=noise, t=t,
                    solver=solver,
                    floor=how.floor or how.dequantise == "uniform",
                    levels=path(self.schedule, steps, t), prior=start_log_prob,
                )  # fmt: skip
            known = how.dequantise is None  # else where in the cell x lies is chance too
            error = flow.stderr if known else torch.full_like(flow.stderr, math.nan)
            return Nats(flow.log_prob - log_q, error, log_q[:, None], flow.ends, None)
        if how.method == "bound":
            found = self._control(x, trace, cond, noise, t)
        else:
            found = self._steps(x, cond, noise)
        parts = torch.column_stack((-found.prior, -found.terms, -found.decoder, -log_q))
        off = torch.zeros_like(log_q)
        return Nats(found.log_prob - log_q, found.stderr, parts, off, found.edges)

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
            return vlb(
                self.denoise, x, Later(self.schedule, floor), cells=CELLS, edges=self.edges, **given
            )
        levels = chain_levels(self.schedule, floor)
        cells = min(CELLS, len(levels.sigma) - 1)
        return elbo(self.denoise, x, levels, variance=1.0, cells=cells, **given)
