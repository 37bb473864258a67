"""A Schroedinger bridge by iterative proportional fitting: two walks that undo each other.

A walk of N steps of variance gamma = sig^2 / N, `x_{k+1} = m_k(x_k) + sqrt(gamma) z`, begins in one
end; the other walks back. Each half fits one of them to the paths of the other, drawn anew *from
the data of the end where that one begins* (De Bortoli et al. 2021, "Diffusion Schroedinger bridge",
alg. 1). Path measures then approach

    min_P KL(P | Brownian motion of variance sig^2),  P_0 = law of x0, P_1 = law of x1     (eq. 1)

and both ends are met in the limit only: what tells a bridge is its middle. Between Gaussians

    C = Cov(x0, x1) = (S0^1/2 (4 S0^1/2 S1 S0^1/2 + sig^4)^1/2 S0^-1/2 - sig^2) / 2        (eq. 2)
    Cov(x_t) = (1-t)^2 S0 + t^2 S1 + t (1-t) (C + C^T + sig^2)                             (eq. 3)

(Bunne et al. 2023, "The Schroedinger bridge between Gaussian measures has a closed form").
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Level, like
from scorefield.objective import Batch, Buckets, Loss, Task
from scorefield.train import Training, learn

Step = Callable[[Tensor, Tensor], Tensor]
"""`(x (B, ...), k (B,)) -> m_k(x)`, k counted from the walk's own beginning."""
HalfMatching = Literal["mean", "drift", "likelihood"]
EndDraws = Callable[[int, torch.Generator], Tensor]
"""So many examples of one end."""


def same_place(x: Tensor, k: Tensor) -> Tensor:
    """The step of Brownian motion: nowhere."""
    return x


def walk_paths(step: Step, x: Tensor, steps: int, spread: float, rng: torch.Generator) -> Tensor:
    """`(steps + 1, B, ...)`: a walk from x, in its own order."""
    made, deviation = [x], spread / math.sqrt(steps)
    for k in range(steps):
        at = torch.full((len(x),), k, device=x.device)
        z = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        made.append(step(made[-1], at) + deviation * z)
    return torch.stack(made)


def back_target(step: Step, x: Tensor, after: Tensor, k: Tensor) -> Tensor:
    """Whose mean given `after` is the step back from `after` to x, where `step` k led there:

        x_{k+1} + m_k(x_k) - m_k(x_{k+1})                         (De Bortoli et al., eq. 12)

    For Brownian motion that is x_k, and with a drift it is not.
    """
    return after + step(x, k) - step(after, k)


class AffineWalk(NamedTuple):
    """`x_{k+1} = A_k x_k + b_k + R_k z`: `slopes (N, d, d)`, `shifts (N, d)`, `roots (N, d, d)`."""

    slopes: Tensor
    shifts: Tensor
    roots: Tensor

    @classmethod
    def brownian(cls, dim: int, steps: int, spread: float) -> "AffineWalk":
        """The reference: no drift."""
        one = torch.eye(dim, dtype=torch.float64).expand(steps, dim, dim)
        return cls(one, one.new_zeros(steps, dim), one * spread / math.sqrt(steps))

    @classmethod
    def fitted(cls, walked: Tensor) -> "AffineWalk":
        """The walk back, by least squares on paths `(N + 1, B, d)`, with what is left over: the
        reverse kernels themselves where all is Gaussian, so that no step is too long."""
        x, goal = walked.flip(0)[:-1], walked.flip(0)[1:]
        middle, aim = x.mean(1, keepdim=True), goal.mean(1, keepdim=True)
        x, goal = x - middle, goal - aim
        slopes = torch.linalg.solve(x.mT @ x, x.mT @ goal).mT
        left = goal - x @ slopes.mT
        roots = torch.linalg.cholesky(left.mT @ left / left.shape[1])
        return cls(slopes, (aim - middle @ slopes.mT).squeeze(1), roots)

    def walk(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Paths `(N + 1, B, d)` from x, whose noise has the covariance 1 and none with x: what of
        it is chance would add up from round to round."""
        made = [x]
        for slope, shift, root in zip(*self):
            now = made[-1]
            z = torch.randn(now.shape, generator=rng, dtype=now.dtype)
            seen = torch.cat([now, torch.ones_like(now[:, :1])], 1)
            z = z - seen @ torch.linalg.lstsq(seen, z).solution
            whiten = torch.linalg.cholesky(z.T @ z / len(z))
            z = torch.linalg.solve_triangular(whiten, z.T, upper=False).T
            made.append(now @ slope.T + shift + z @ root.T)
        return torch.stack(made)

    def cross(self, cov: Tensor) -> Tensor:
        """Cov(beginning, end) `(d, d)` of a walk that begins with covariance `cov`."""
        whole = torch.linalg.multi_dot([*self.slopes.flip(0), torch.eye(len(cov)).to(cov)])
        return cov @ whole.mT


def affine_bridge(
    x0: EndDraws, x1: EndDraws, spread: float = 1.0, *, steps: int = 10, rounds: int = 20,
    samples: int = 4096, seed: int = 0,
) -> tuple[AffineWalk, AffineWalk]:  # fmt: skip
    """(from x0 to x1, from x1 to x0) of ends `(n, d)` that are about Gaussian, by `rounds` of eq. 1
    whose regressions are affine and exact."""
    rng = torch.Generator().manual_seed(seed)
    there = AffineWalk.brownian(x0(1, rng).shape[1], steps, spread)
    back = there
    for _ in range(rounds):
        back = AffineWalk.fitted(there.walk(x0(samples, rng).double(), rng))
        there = AffineWalk.fitted(back.walk(x1(samples, rng).double(), rng))
    return there, back


HALF = Training(images=200_000)
"""Of one half of a round."""


class Walker(nn.Module):
    """A walk whose drift, over the unit of time, is a network: `m_k(x) = x + F(x, noise) / steps`,
    or, of `means`, the network's output itself. It is told log(t / (1-t)), t at the middle of the
    step."""

    def __init__(self, net: nn.Module, steps: int, means: bool = False) -> None:
        super().__init__()
        self.net, self.steps, self.means = net, steps, means

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        out = self.net(x, self.noise_of(k).to(x), None)
        return out if self.means else x + out / self.steps

    def noise_of(self, k: Tensor) -> Tensor:
        t = (k.double() + 0.5) / self.steps
        return (t / (1 - t)).log()


class HalfDraws(NamedTuple):
    """`at (B, 2)` uniform: which step, which path; `probe (B, ...)` signs for a divergence."""

    at: Tensor
    probe: Tensor


@dataclass(eq=False)
class HalfBridge(Task[Walker]):
    """The walk back, fitted to paths of the walk there, `other`, from draws of its own end.

        mean        |m(x_{k+1}) - y|^2 / gamma, y the `back_target`, of a walker of `means`
        drift       the same of one of drifts
        likelihood  |Zh|^2 / 2 + sig div Zh + Zh.Z                        (SB-FBSDE, eq. 18)

    with sig Zh the drift back and sig Z that there, both at x_{k+1} (Chen et al. 2022, "Likelihood
    training of Schroedinger bridge using forward-backward SDEs theory"): its minimum is the same
    drift back, sig^2 score - sig Z, and needs no difference along the path. `kept` paths are drawn
    anew every `fresh` steps.
    """

    module: Walker
    other: Step
    begin: EndDraws
    spread: float
    matching: HalfMatching = "drift"
    kept: int = 2048
    fresh: int = 200
    seed: int = 0
    buckets: Buckets = field(init=False, default=Buckets("t", 0.0, 0.1, 10))

    def __post_init__(self) -> None:
        self.drawn = 0
        self._walk()

    @torch.no_grad()
    def _walk(self) -> None:
        rng = torch.Generator().manual_seed(2**20 * self.seed + self.drawn)
        x = self.begin(self.kept, rng)
        self.paths = walk_paths(self.other, x, self.module.steps, self.spread, rng)

    def after(self, step: int) -> None:
        if step % self.fresh == 0:
            self.drawn = step
            self._walk()

    def memory(self) -> dict[str, Tensor]:
        return {"drawn": torch.tensor(self.drawn)}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.drawn = int(tensors["drawn"])
        self._walk()

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> HalfDraws:
        at = torch.rand(shape[0], 2, generator=rng, device=rng.device, dtype=torch.float64)
        probe = torch.rand(shape, generator=rng, device=rng.device)
        return HalfDraws(at, (probe > 0.5).float() * 2 - 1)

    def loss(self, batch: Batch, chance: HalfDraws) -> Loss:
        steps, at = self.module.steps, chance.at
        k, row = (at[:, 0] * steps).long(), (at[:, 1] * self.kept).long()
        x, after, i = self.paths[k, row], self.paths[k + 1, row], steps - 1 - k
        where = (i.double() + 0.5) / steps
        if self.matching == "likelihood":
            return Loss(self._likelihood(after, k, i, chance.probe.to(x)), where, {})
        with torch.no_grad():
            goal = back_target(self.other, x, after, k)
        error = (self.module(after, i) - goal).square().flatten(1).mean(1)
        return Loss(error * steps / self.spread**2, where, {})

    def _likelihood(self, x: Tensor, k: Tensor, i: Tensor, probe: Tensor) -> Tensor:
        steps, sig = self.module.steps, self.spread
        x = x.requires_grad_(True)
        zh = (self.module(x, i) - x) * (steps / sig)
        (moved,) = torch.autograd.grad((zh * probe).sum(), x, create_graph=True)
        with torch.no_grad():
            z = (self.other(x, k) - x) * (steps / sig)
        parts = zh.square() / 2 + sig * moved * probe + zh * z
        return parts.flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class SchroedingerBridge:
    """The two walks of a bridge, by networks."""

    there: Walker
    back: Walker
    spread: float

    def denoise(self, forward: bool = False) -> Callable[..., Tensor]:
        """A walk as a denoiser on the levels of `flow` towards its end: `D = x + t drift`, with t
        what is left of the way. Sample it by `BridgeStep(spread)` from the other end, its `start`.
        """
        walker = self.there if forward else self.back

        def mean(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            left = (level.sigma / (level.alpha + level.sigma)).to(x.device).expand(len(x))
            k = ((1 - left) * walker.steps).round().long().clamp(0, walker.steps - 1)
            return x + like(left * walker.steps, x) * (walker(x, k) - x)

        return mean


def fit_schroedinger(
    x0: EndDraws, x1: EndDraws, net: Callable[[], nn.Module], spread: float = 1.0, *,
    steps: int = 20, rounds: int = 6, training: Training = HALF,
    matching: HalfMatching = "drift",
) -> SchroedingerBridge:  # fmt: skip
    """A bridge by `rounds` of two halves, each a training (`HalfBridge`) that begins where the
    same walk's last one ended. `net()` is a network of the catalogue, on examples as they come."""
    if not 0 < spread < math.inf:
        raise BadInput(f"the spread of a Schroedinger bridge is {spread}.", "Give more than 0.")
    rng = torch.Generator().manual_seed(training.seed)
    shape = tuple(x0(1, rng).shape[1:])
    if shape != (other := tuple(x1(1, rng).shape[1:])):
        raise BadInput(f"the two ends have shapes {shape} and {other}.", "Give equal shapes.")
    walkers = [Walker(net(), steps, matching == "mean") for _ in range(2)]
    there: Step = same_place
    for r in range(rounds):
        for half, begin in ((0, x0), (1, x1)):  # 0 fits the walk back to paths from x0
            seed = 2 * r + half
            task = HalfBridge(walkers[half], there, begin, spread, matching, seed=seed)
            own = replace(training, seed=training.seed + seed)
            found = learn(task, shape, own)
            walkers[half].load_state_dict(found.state_dict())
            there = partial(_quiet, found)
    return SchroedingerBridge(walkers[1].eval(), walkers[0].eval(), spread)


@torch.no_grad()
def _quiet(step: Step, x: Tensor, k: Tensor) -> Tensor:
    return step(x, k)
