"""Knowledge distillation: learn where a teacher's flow takes noise, its end or its whole way."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level, Seeded, Zero
from scorefield.distill.student import SMALLEST, Student, StudentDraws
from scorefield.objective import Batch, Loss
from scorefield.solve import Arc, map_of, trajectory

FIRST_SEED = 2**40
"""Of the noise of pairs: no sample is asked for by such a seed."""
FINE, AT_ONCE = 32, 1024
"""Steps in which the teacher is followed, and starts at once."""


class Ways(NamedTuple):
    """Noise `x (N, ...)`, where its flow is at each moment `ends (N, M, ...)`, class `(N,)` and
    scale of guidance `(N,)`."""

    x: Tensor
    ends: Tensor
    label: Tensor
    scale: Tensor


@dataclass(eq=False)
class Knowledge(Student):
    """Regress on the ends of the teacher's flow (Luhman and Luhman 2021, eq. 7).

        L = |D(x, top) - Phi(x)|^2 / s^2

    `pairs` of noise and end, classes drawn evenly, are made before the first step by the teacher
    in FINE steps of Arc, even in log tan(a); a run that goes on makes the same again.
    """

    pairs: int = 30_000
    shown = False

    @property
    def moments(self) -> tuple[int, ...]:
        """The steps after which the way is learned."""
        return (FINE,)

    @property
    def levels(self) -> Level:
        """Those along which the teacher is followed: from the top, by SMALLEST, to clean data."""
        ends = torch.tensor([self.top, SMALLEST], dtype=torch.float64).tan().clamp(max=1e3).log()
        angles = (
            torch.linspace(float(ends[0]), float(ends[1]), FINE, dtype=torch.float64).exp().atan()
        )
        angles[0] = self.top
        return self.level(torch.cat([angles, angles.new_zeros(1)]))

    def ways(self) -> Ways:
        """All pairs, made when they are first asked for."""
        if not hasattr(self, "_ways"):
            with torch.no_grad():
                parts = [self._followed(i) for i in range(0, self.pairs, AT_ONCE)]
            self._ways = Ways(*map(torch.cat, zip(*parts)))
        return self._ways

    def _followed(self, first: int) -> Ways:
        n, classes = min(AT_ONCE, self.pairs - first), len(self.module.classes)
        seeds = range(FIRST_SEED + first, FIRST_SEED + first + n)
        device = next(self.module.parameters()).device
        x = Seeded(seeds).start(self.module.shape, self.levels).to(device)
        rng = torch.Generator().manual_seed(first)
        label = torch.randint(max(classes, 1), (n,), generator=rng).to(device)
        scale = 1 + (self.guidance - 1) * torch.rand(n, dtype=torch.float64, generator=rng)
        scale, cond = scale.to(device), {"label": label} if classes else None
        teach = partial(self.teach, scale=scale)
        steps = trajectory(Arc(), teach, x, self.levels, Zero(), cond)
        ends = [state[0] for k, (state, _) in enumerate(steps, 1) if k in self.moments]
        return Ways(x, torch.stack(ends, 1), label, scale)

    def drawn(self, chance: StudentDraws) -> Ways:
        """Those of a step's chance."""
        index = (chance.u[:, 0] * self.pairs).long()
        return Ways(*(leaf[index] for leaf in self.ways()))

    def heard(self, ways: Ways) -> dict[str, Tensor]:
        """What the student is told of them."""
        return self.conditioned({"label": ways.label} if self.module.classes else None, ways.scale)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        ways, here = self.drawn(chance), self.level(self.top).expand(len(chance.u))
        found = self.module(ways.x, here, self.heard(ways))
        error = (found - ways.ends[:, -1]) / self.spread
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})


@dataclass(eq=False)
class FlowOperator(Knowledge):
    """One call from noise to any moment of the way (Zheng et al. 2023, DSNO, eq. 8).

        L = |J(x; top -> a_m) - Phi_m(x)|^2 / s^2,   m even among EIGHTHS of the way

    J is the jump of a map, told its end as a condition: moments are asked one by one, so that no
    mixing over time can depend on which are asked together.
    """

    @property
    def moments(self) -> tuple[int, ...]:
        return tuple(range(FINE // 8, FINE + 1, FINE // 8))

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        ways, here = self.drawn(chance), self.level(self.top).expand(len(chance.u))
        m = (chance.u[:, 1] * len(self.moments)).long()
        there = self.levels.at(torch.tensor(self.moments)[m].to(m.device))
        found = map_of(self.module)(ways.x, here, there, self.heard(ways))
        goal = ways.ends[torch.arange(len(m), device=m.device), m]
        return Loss(((found - goal) / self.spread).square().flatten(1).mean(1), there.logsnr, {})
