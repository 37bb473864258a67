"""Long Hamiltonian chains whose trajectories are as long as it takes them to turn back."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Watch, quiet
from scorefield.smc.annealed import LOG2PI, LogDensity, Reached, Spot, leap, spot


@dataclass(frozen=True)
class Hamiltonian:
    """`particles` chains of Hamiltonian moves at rho itself, `rounds` of them, the first half
    thrown away. In that half the counts of leapfrogs are seen after which a trajectory first comes
    nearer to its start, `(x - x_0) . p < 0`, which is where NUTS stops; a move then has one of
    these counts, drawn at random (Wu, Stoehr and Robert 2018, "Faster Hamiltonian Monte Carlo by
    learning leapfrog scale"), at most `longest`. The draw does not look at where a chain is.

    log Z is by a bridge (Meng and Wong 1996) between half of the chains and a normal law of the
    moments of the others (of the same points it would fit them too well), iterated from r = 1 with
    l = rho / N in equal counts:

        r <- mean_N [l / (l + r)] / mean_rho [1 / (l + r)]

    Chains do not change modes: theirs are those that they began in. Where there are several, this
    is not the reference to believe.
    """

    particles: int = 64
    rounds: int = 400
    longest: int = 64
    length: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("particles", 4), ("rounds", 8), ("longest", 1)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}.", f"Give at least {least}.")

    def __call__(
        self, log_rho: LogDensity, dim: int, groups: int, rng: torch.Generator,
        watch: Watch = quiet, dtype: torch.dtype = torch.float64,
    ) -> Reached:  # fmt: skip
        """`groups` sets of chains, which know nothing of one another but how to step."""
        x = torch.randn(groups * self.particles, dim, generator=rng, dtype=dtype)
        at, length, leaps, calls = spot(log_rho, x), self.length, 5, len(x)
        counts, kept = torch.tensor([leaps]), list[Spot]()
        half = self.rounds // 2
        for turn in range(self.rounds):
            if turn in (half // 2, 3 * half // 4):
                counts = self._turns(log_rho, at, length, rng)
                calls += int(counts.max()) * len(x)
            leaps = int(counts[torch.randint(len(counts), (1,), generator=rng)])
            at, chance = leap(log_rho, at, 1.0, length, leaps, rng)
            calls += leaps * len(x)
            if turn < half:
                length *= math.exp(float(chance.mean()) - 0.8)
            else:
                kept.append(at)
            watch(turn + 1, self.rounds, "step")
        x = torch.stack([s.x for s in kept], 1).unflatten(0, (groups, -1))
        log_z = torch.stack([
            bridge_log_z(log_rho, own[::2].flatten(0, 1), own[1::2].flatten(0, 1), rng) for own in x
        ])  # fmt: skip
        x = x.flatten(0, 2)
        calls += len(x)
        log_weight = log_z.repeat_interleave(len(x) // groups)
        return Reached(x, log_weight, log_z, torch.ones(groups), torch.ones(1), calls)

    def _turns(self, log_rho: LogDensity, at: Spot, length: float, rng: torch.Generator) -> Tensor:
        """The count of leapfrogs after which each chain turns back, at most `longest`."""
        there, slope = at, at.slope
        p = torch.randn(at.x.shape, generator=rng, dtype=at.x.dtype)
        counts = torch.full((len(p),), self.longest)
        for n in range(1, self.longest):
            p = p + length / 2 * slope
            there = spot(log_rho, there.x + length * p)
            slope = there.slope
            p = p + length / 2 * slope
            back = ((there.x - at.x) * p).sum(1) < 0
            counts = torch.where(back, counts.clamp(max=n), counts)
            if bool((counts <= n).all()):
                break
        return counts


def bridge_log_z(log_rho: LogDensity, fitted: Tensor, x: Tensor, rng: torch.Generator) -> Tensor:
    """log Z, `()`, of samples x `(n, d)` of rho, by a normal law of the moments of others."""
    fitted, x = fitted.double(), x.double()
    count, dim = x.shape
    middle, away = fitted.mean(0), fitted - fitted.mean(0)
    root = torch.linalg.cholesky(away.T @ away / len(fitted))

    def log_normal(x: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(root, (x - middle).T, upper=False)
        return -z.square().sum(0) / 2 - root.diagonal().log().sum() - dim * LOG2PI / 2

    drawn = middle + torch.randn(count, dim, generator=rng, dtype=torch.float64) @ root.T
    with torch.no_grad():
        there, here = (log_rho(y).double() - log_normal(y) for y in (drawn, x))
    log_z = torch.zeros((), dtype=torch.float64)
    for _ in range(100):
        up = (there - torch.logaddexp(there, log_z)).logsumexp(0)
        log_z = up - (-torch.logaddexp(here, log_z)).logsumexp(0)
    return log_z
