"""Learned annealed paths in parts, with resampling between them."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.density.learned import TOGETHER, Learning, held
from scorefield.density.path import Draw, Paths
from scorefield.guide.population import resampled
from scorefield.objective import Batch, Loss
from scorefield.smc.annealed import WANTED, Reached, leap, log_standard, spot


class PartDraws(NamedTuple):
    """The chance of a step: normals of whole paths `z (B, TOGETHER, N+1, d)`, and uniforms
    `u (B, parts)` for who goes on."""

    z: Tensor
    u: Tensor


@dataclass(eq=False)
class LearningParts(Learning):
    """`Annealed` paths in `parts`, a row being a population that is resampled between them where
    its ESS is below `threshold` (Chen, Richter, Berner, Blessing, Neumann and Anandkumar 2025,
    "Sequential controlled Langevin diffusions"). A part from k to m weighs

        log w = log pi_m(x_m) - log pi_k(x_k) + sum_k..m [log q - log p],                (eq. 9)

    and what is learned is the sum over parts of the loss of its log w, whose starts are where the
    population is. At the end `moves` Hamiltonian ones keep pi_m after each resampling.
    """

    parts: int = 4
    threshold: float = 0.3
    moves: int = 1

    @property
    def cuts(self) -> list[range]:
        """The steps of each part."""
        ends = [round(i * self.route.steps / self.parts) for i in range(self.parts + 1)]
        return [range(a, b) for a, b in pairwise(ends)]

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> PartDraws:
        size = (shape[0], TOGETHER, self.route.steps + 1, self.target.dim)
        z = torch.randn(size, generator=rng, device=rng.device)
        return PartDraws(z, torch.rand(shape[0], self.parts, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: PartDraws) -> Loss:
        z = chance.z.flatten(0, 1).unbind(1)
        legs = []
        with torch.no_grad():
            x, log_weight = z[0], z[0].new_zeros(len(z[0]), dtype=torch.float64)
            for i, steps in enumerate(self.cuts):
                leg = self.leg(lambda k, x: z[k], x, steps)
                legs.append(leg)
                log_weight = log_weight + self.gain(leg, steps, leg.log_weight)
                who, log_weight, _, _ = resampled(
                    log_weight, TOGETHER, chance.u[:, i : i + 1], self.threshold
                )
                x = leg.x[-1][who]
        ratio = self.route.ratios(self.module, legs)
        per_row, total = torch.zeros(()), torch.zeros(())
        for leg, steps in zip(legs, self.cuts):
            gain = self.gain(leg, steps, ratio[steps.start : steps.stop].sum(0))
            gain = gain.unflatten(0, (-1, TOGETHER))
            apart = held(gain - gain.detach().median(1, keepdim=True).values)
            per_row, total = per_row + apart.var(1), total + gain.detach().mean(1)
        return Loss(per_row.float(), total.float(), {})

    def leg(self, draw: Draw, x: Tensor, steps: range) -> Paths:
        """A part of paths, weighed by `sum log q - log p`."""
        none = x.new_zeros(len(x), dtype=torch.float64)
        return self.route.leg(self.module, self.target, draw, x, steps, none)

    def gain(self, leg: Paths, steps: range, ratio: Tensor) -> Tensor:
        """Eq. 9, of the sum of `log q - log p`."""
        there = self.bridged(steps.stop, leg.x[-1])
        return there - self.bridged(steps.start, leg.x[0]) + ratio

    def bridged(self, k: int, x: Tensor) -> Tensor:
        """`log pi_k`."""
        b = self.module.temper(torch.tensor([k]))  # type: ignore[operator]
        return b * self.target(x).double() + (1 - b) * log_standard(x).double()

    @torch.no_grad()
    def population(self, groups: int, particles: int, rng: torch.Generator) -> Reached:
        """`groups` populations of learned paths, resampled: the mean of exp(log_z) is Z."""
        x = torch.randn(groups * particles, self.target.dim, generator=rng)
        log_weight = x.new_zeros(len(x), dtype=torch.float64)
        least, length, calls = torch.ones(groups, dtype=torch.float64), 0.2, 0
        draw: Draw = lambda k, x: torch.randn(x.shape, generator=rng, dtype=x.dtype)  # noqa: E731
        for steps in self.cuts:
            leg = self.leg(draw, x, steps)
            log_weight = log_weight + self.gain(leg, steps, leg.log_weight)
            calls += len(x) * (len(steps) + 1)
            ess = log_weight.view(groups, -1).softmax(1).square().sum(1).reciprocal() / particles
            least = least.minimum(ess)
            if steps.stop == self.route.steps:
                x = leg.x[-1]
                break
            u = torch.rand(groups, 1, generator=rng, dtype=torch.float64)
            who, log_weight, _, _ = resampled(log_weight, particles, u, self.threshold)
            at = spot(self.target, leg.x[-1][who])
            b = float(self.module.temper(torch.tensor([steps.stop])))  # type: ignore[operator]
            for _ in range(self.moves):
                at, chance = leap(self.target, at, b, length, 5, rng)
                calls += 5 * len(x)
                length *= math.exp(float(chance.mean()) - WANTED["hmc"])
            x = at.x
        log_z = log_weight.view(groups, -1).logsumexp(1) - math.log(particles)
        return Reached(x, log_weight, log_z, least, torch.tensor([0.0, 1.0]), calls)
