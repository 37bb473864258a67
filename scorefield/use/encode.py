"""Between data and noise along the flow of a model, there and back."""

from typing import NamedTuple

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Watch, quiet
from scorefield.base.rows import rows_of
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, CountedRows, Plan, draw
from scorefield.likelihood import path
from scorefield.run.open import build_solver
from scorefield.solve import Solver, encode


class Way(NamedTuple):
    """`up` encodes and `down` decodes, both by the steps of one plan."""

    denoiser: Denoiser
    plan: Plan
    batch: int = 256

    @classmethod
    def of(cls, denoiser: Denoiser, solver: str, steps: int, batch: int = 256) -> "Way":
        """On the levels of `path`. Raises BadInput for a solver that has no way back."""
        method = build_solver(solver)
        if not _one_step(method):
            known = [name for name in catalogue.solvers if _one_step(build_solver(name))]
            raise BadInput(
                f"`solver` is {solver}: a step of it is not a fixed function of x alone.",
                f"Use one of {', '.join(known)}.",
            )
        return cls(denoiser, Plan(method, path(denoiser.schedule, steps)), batch)  # type: ignore

    @property
    def calls(self) -> int:
        """Network calls an example, each way."""
        return self.plan.steps * self.plan.solver.evals

    def up(self, x0: Tensor, label: Tensor | None = None, watch: Watch = quiet) -> Tensor:
        """Latents of x0: x at the first of the levels, about N(0, sigma^2 I)."""
        noiseless = self.plan.levels.at(-1).like(x0).alpha * x0
        cond = None if label is None else {"label": label}
        return encode_rows(self.denoiser, self.plan, noiseless, cond, batch=self.batch, watch=watch)

    def down(self, z: Tensor, label: Tensor | None = None, watch: Watch = quiet) -> Tensor:
        """What the flow makes of latents: x0."""
        asked = Asked(torch.arange(len(z)), None if label is None else {"label": label}, z)
        shape, batch = self.denoiser.shape, self.batch
        x = draw(self.denoiser, self.plan, asked, shape, batch=batch, watch=watch).x
        return x / self.plan.levels.at(-1).like(x).alpha


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


def _one_step(solver: Solver) -> bool:
    return not (solver.stochastic or solver.adaptive or len(solver.init(torch.zeros(1, 1))) > 1)


def round_trip(back: Tensor, x0: Tensor) -> Tensor:
    """RMS of each example's difference `(N,)`."""
    return (back - x0).flatten(1).square().mean(1).sqrt()
