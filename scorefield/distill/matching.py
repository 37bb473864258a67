"""Distribution matching: a student whose samples have the teacher's law, not its ends."""

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from scorefield.base import BadInput, like
from scorefield.distill.student import Student, StudentDraws
from scorefield.objective import Batch, Loss, Turn

ENDS = 0.02, 0.98
"""Of the way, between which samples are made noisy to compare their law."""


@dataclass(eq=False)
class Matching(Student):
    """Reverse KL of the noisy laws of the student's samples and the teacher's (Yin et al. 2024,
    "Improved distribution matching distillation", DMD2 without its adversary).

        dL/dx = w (D_fake(x_b, b) - D_teacher(x_b, b)),   x_b = cos(b) x + s sin(b) eps     (eq. 3)

    x is what the student makes of noise in its own `calls` steps, fresh noise between them, the
    last of a number drawn evenly with its gradient: it learns on what it meets when it samples.
    D_fake is a denoiser of those samples, in turn trained `fakes` times a step. w is 1 over
    the mean of |x - D_teacher|. Reverse KL seeks modes: look at their fractions.
    """

    calls: int = 1
    fakes: int = 5
    plan = "jump:fresh=1/{calls}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calls < 1 or self.fakes < 1:
            raise BadInput(f"calls is {self.calls}, fakes {self.fakes}.", "Give at least 1.")
        self.fake = copy.deepcopy(self.module)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (
            Turn("model", self.module, self.loss),
            Turn("fake", self.fake, self.denoising, self.fakes),
        )

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> StudentDraws:
        z = torch.randn(shape[0], self.calls, *shape[1:], generator=rng, device=rng.device)
        return super().draw(shape, rng)._replace(z=z)

    def sampled(self, chance: StudentDraws, heard: dict[str, Tensor]) -> Tensor:
        """The student's samples after 1 to `calls` steps, with the gradient of the last."""
        count = (chance.u[:, 1] * self.calls).long()
        angles = self.top * (1 - torch.arange(self.calls, dtype=torch.float64) / self.calls)
        angles, rows = angles.to(count.device), torch.arange(len(count), device=count.device)
        x, z, met = torch.zeros_like(chance.eps), cast(Tensor, chance.z), []
        with torch.no_grad():
            for k, angle in enumerate(angles):
                met.append(self.noisy(x, z[:, k], angle))
                if k + 1 < self.calls:
                    x = self.module(met[-1], self.level(angle), heard)
        return self.module(torch.stack(met, 1)[rows, count], self.level(angles[count]), heard)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        heard = self.conditioned(cond, scale)
        x = self.sampled(chance, heard)
        angle = self.between(chance)
        level, noisy = self.level(angle), self.noisy(x.detach(), chance.eps, angle)
        with torch.no_grad():
            real = self.teach(noisy, level, cond, scale)
            away = self.fake(noisy, level, heard) - real
            size = (x - real).abs().flatten(1).mean(1).clamp(min=1e-3)
        error = (x - (x - away / like(size, x)).detach()).square() / 2
        return Loss(error.flatten(1).mean(1), level.logsnr, {})

    def denoising(self, batch: Batch, chance: StudentDraws) -> Loss:
        """The loss of D_fake, on samples that have no gradient."""
        cond, scale = self.asked(batch, chance)
        heard = self.conditioned(cond, scale)
        with torch.no_grad():
            x = self.sampled(chance, heard)
        angle = self.between(chance)
        level = self.level(angle)
        error = (self.fake(self.noisy(x, chance.eps, angle), level, heard) - x) / like(
            level.sigma, x
        )
        return Loss(error.square().flatten(1).mean(1), level.logsnr, {})

    def between(self, chance: StudentDraws) -> Tensor:
        """Angles at which the laws are compared."""
        low, high = ENDS
        return self.top * (low + (high - low) * chance.u[:, 2])
