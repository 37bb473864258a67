"""Progressive distillation: Salimans and Ho 2022."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, Zero, like, unknown
from scorefield.denoise import Denoiser
from scorefield.distill.student import Student, StudentDraws, of
from scorefield.objective import Batch, Loss
from scorefield.process import grids
from scorefield.solve import DDIM, Solver
from scorefield.solve.transfer import aimed

Halving = Literal["angle", "uniform-t", "beta", "shifted"]
HALVING: Mapping[str, Callable[..., Level]] = {
    "angle": grids.uniform_angle,
    "uniform-t": grids.uniform_t,
    "beta": grids.beta,
    "shifted": grids.shifted,
}
"""The grids that have every other level of the same with twice the steps."""


@dataclass(eq=False)
class Progressive(Student):
    """Each stage halves the steps of the one before (Salimans and Ho 2022, alg. 2).

        L = |D(x, a) - D*|^2 / (s sin(a))^2

    D* is what leads in one step of DDIM from x, at a level of the grid with n steps, to where two
    steps of the teacher on that with 2 n end. The `grid` must be of those that a grid of half the
    steps is part of: on others, as karras, a student would start where no stage before it was. The
    first stage has `first` / 2 steps, the given teacher and its `solver`,
    whose history begins at x; a later one the student of the stage before, in trailing weights,
    whose steps are DDIM's. A stage inherits the error of the first,
    which therefore has half of the run; the others share the rest. In each the learning rate rises
    and falls anew.
    """

    first: int = 64
    last: int = 1
    solver: Solver = field(default_factory=DDIM)
    grid: Halving = "angle"
    past: Denoiser = field(init=False)
    plan = "ddim/{last}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first & (self.first - 1) or self.last & (self.last - 1) or self.first <= self.last:
            raise BadInput(
                f"progressive distillation goes from {self.first} steps to {self.last}.",
                "Give powers of two, the first above the last.",
            )
        if self.solver.stochastic or self.solver.adaptive:
            name = type(self.solver).__name__
            raise BadInput(
                f"{name} draws noise or steps of its own.", "Give a solver such as heun."
            )
        if self.grid not in HALVING:
            raise unknown("grid of progressive distillation", self.grid, HALVING)
        self.target, self.past = self.trailing(), self.trailing()
        self.enter(0)

    @classmethod
    def plan_of(cls, spread: float, **options: Any) -> str:
        plan, grid = super().plan_of(spread, **options), options["grid"]
        return plan if grid == "angle" else f"ddim@{grid}/{options['last']}"

    @torch.no_grad()
    def angles(self, n: int) -> Tensor:
        """Those of the grid with n steps `(n + 1,)`."""
        scaled = {"sigma_data": self.spread} if self.grid == "angle" else {}
        levels = HALVING[self.grid](self.module.schedule, n, **scaled)
        return torch.atan2(levels.sigma, self.spread * levels.alpha).clamp(max=self.top)

    def enter(self, stage: int) -> None:
        """Begin a stage: of the grid with twice its n steps each second level is one of its own."""
        self.stage, self.fine = stage, self.angles(self.first // 2**stage)

    @property
    def stages(self) -> int:
        """How many halvings there are."""
        return (self.first // self.last).bit_length() - 1

    @property
    def part(self) -> tuple[float, float]:
        """Each stage is a training by itself: the first in half of the run, if it is not all."""
        if self.stages == 1:
            return 0.0, 1.0
        length = 0.5 / (self.stages - 1)
        first = 0.5 + length * (self.stage - 1) if self.stage else 0.0
        return first, 0.5 + length * self.stage

    def after(self, step: int) -> None:
        super().after(step)
        if self.done >= self.part[1] and self.stage < self.stages - 1:
            self.enter(self.stage + 1)
            self.past.load_state_dict(self.target.state_dict())  # type: ignore[union-attr]

    def memory(self) -> dict[str, Tensor]:
        past = {f"past.{name}": leaf for name, leaf in self.past.state_dict().items()}
        return {**super().memory(), "stage": torch.tensor(self.stage), **past}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.past.load_state_dict(of("past", tensors))
        self.enter(int(tensors["stage"]))
        super().recall(tensors)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        fine = self.fine.to(chance.u.device)
        n = len(fine) // 2
        k = 2 * (n - 1 - (chance.u[:, 0] * n).floor().long())
        angle, middle, end = fine[k], fine[k + 1], fine[k + 2]
        x, here = self.noisy(batch.x0, chance.eps, angle), self.level(angle)
        with torch.no_grad():
            goal = self.halved(x, (angle, middle, end), cond, scale)
        error = self.module(x, here, self.conditioned(cond, scale)) - goal
        error = error / like(here.sigma, x)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})

    def halved(
        self, x: Tensor, angles: tuple[Tensor, Tensor, Tensor], cond: Cond | None, scale: Tensor
    ) -> Tensor:
        """D* of two steps, from the first angle to the last."""
        denoise, heard, solver = (
            (self.past, self.conditioned(cond, scale), DDIM())
            if self.stage
            else (partial(self.teach, scale=scale), cond, self.solver)
        )
        here, middle, end = map(self.level, angles)
        state = solver.init(x)
        for a, b in ((here, middle), (middle, end)):
            state, _ = solver.step(denoise, state, a, b, Zero(), heard)
        return aimed(x, state.x, here, end)
