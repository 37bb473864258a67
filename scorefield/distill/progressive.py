"""Progressive distillation: Salimans and Ho 2022."""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Zero, like
from scorefield.denoise import Denoiser
from scorefield.distill.student import Student, StudentDraws, of
from scorefield.objective import Batch, Loss
from scorefield.solve import DDIM, Solver
from scorefield.solve.transfer import aimed


@dataclass(eq=False)
class Progressive(Student):
    """Each stage halves the steps of the one before (Salimans and Ho 2022, alg. 2).

        L = |D(x, a) - D*|^2 / (s sin(a))^2

    D* is what leads in one step of DDIM from x, a = top j/n, to where two steps of half the length
    by the teacher end. The first stage has `first` / 2 steps, the given teacher and its `solver`,
    whose history begins at x; a later one the student of the stage before, in trailing weights,
    whose steps are DDIM's. A stage inherits the error of the first,
    which therefore has half of the run; the others share the rest. In each the learning rate rises
    and falls anew.
    """

    first: int = 64
    last: int = 1
    solver: Solver = field(default_factory=DDIM)
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
        self.target, self.past, self.stage = self.trailing(), self.trailing(), 0

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
            self.stage += 1
            self.past.load_state_dict(self.target.state_dict())  # type: ignore[union-attr]

    def memory(self) -> dict[str, Tensor]:
        past = {f"past.{name}": leaf for name, leaf in self.past.state_dict().items()}
        return {**super().memory(), "stage": torch.tensor(self.stage), **past}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.past.load_state_dict(of("past", tensors))
        self.stage = int(tensors["stage"])
        super().recall(tensors)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        n = self.first // 2 ** (self.stage + 1)
        angle = self.top / n * (1 + (chance.u[:, 0] * n).floor())
        x, here = self.noisy(batch.x0, chance.eps, angle), self.level(angle)
        with torch.no_grad():
            goal = self.halved(x, angle, self.top / n, cond, scale)
        error = self.module(x, here, self.conditioned(cond, scale)) - goal
        error = error / like(here.sigma, x)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})

    def halved(
        self, x: Tensor, angle: Tensor, length: float, cond: Cond | None, scale: Tensor
    ) -> Tensor:
        """D* of two steps of half the length."""
        denoise, heard, solver = (
            (self.past, self.conditioned(cond, scale), DDIM())
            if self.stage
            else (partial(self.teach, scale=scale), cond, self.solver)
        )
        angles = (angle, angle - length / 2, (angle - length).clamp(min=0))
        here, middle, end = map(self.level, angles)
        state = solver.init(x)
        for a, b in ((here, middle), (middle, end)):
            state, _ = solver.step(denoise, state, a, b, Zero(), heard)
        return aimed(x, state.x, here, end)
