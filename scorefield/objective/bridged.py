"""From data to data: regression between two ends, on what is left of one, and on what is degraded.

Two ends x0 and x1 and Brownian motion of variance sig^2 over unit time, pinned at both:

    x_t = (1-t) x0 + t x1 + sig sqrt(t (1-t)) z,     z ~ N(0, I)                           (eq. 1)

at the level (1-t, t) of the schedule `flow`. With sig = 0 it is flow matching of the pairs
(rectified flow), InDI and I2SB's limit; with sig > 0 and given pairs I2SB, whose clock is t =
s_t^2 / (s_t^2 + sb_t^2) and whose beta integrates to sig^2; with pairs of the entropic plan of eps
= sig^2 the Schroedinger bridge (Tong et al. 2024, SB-CFM).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, like
from scorefield.denoise.timed import Between
from scorefield.objective.couplings import Coupling, Independent
from scorefield.objective.loss import Chance, Criterion, Loss, Objective, by_importance, kept, noisy
from scorefield.objective.times import Times, Uniform
from scorefield.process import Flow, Schedule

PAIR = "image"
"""The condition that holds the other end of given pairs."""


@dataclass(frozen=True, eq=False)
class Bridged(Criterion):
    """`weight mean_d (y - D(x_t))^2`, x_t of eq. 1, y what D is learned to be (`Between`):

        mean   y = x0                               D = E[x0 | x_t]: the drift (D - x_t)/t to x0
        flow   y = x0 + sig/2 sqrt(t/(1-t)) z       D = x_t - t v, v the flow of the marginals

    Both are the same at sig = 0. Walk the mean by `BridgeStep` of the same `spread`, the flow by
    any deterministic solver. x1 is the condition "image" of given pairs, which the network sees if
    it is `conditional`; else a row of `ends` or, without any, noise, as the `coupling` has it.
    `jitter` is the deviation of noise on x1, which the sampler's start must have too (InDI's eps,
    for an x1 that leaves x0 open). What is told x1 keeps pairs; what is not told keeps the marginal
    only. (I2SB: Liu et al. 2023, "Image-to-image Schroedinger bridge".)

    `start(x1, z)` is what a sampler begins in.
    """

    schedule: Schedule = Flow()
    times: Times = Uniform()
    dropout: float = 0.0
    spread: float = 0.0
    conditional: bool = True
    learn: Literal["mean", "flow"] = "mean"
    jitter: float = 0.0
    coupling: Coupling = Independent()
    ends: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, Flow):
            raise BadInput(
                f"a bridge runs on the schedule flow, and it is {type(self.schedule).__name__}.",
                "Give `objective.schedule` flow.",
            )
        for name in ("spread", "jitter"):
            if not 0 <= getattr(self, name) < torch.inf:
                raise BadInput(f"{name} of a bridge is {getattr(self, name)}.", "Give 0 or more.")

    @property
    def convention(self) -> Between:
        """How its denoiser is scaled."""
        return Between(self.spread, self.learn)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Chance:
        chance, place = super().draw(shape, rng), {"generator": rng, "device": rng.device}
        u = torch.rand(shape[0], dtype=torch.float64, **place)
        if self.ends is None:
            return chance._replace(end=torch.randn(shape, **place), pick=u)
        rows = torch.randint(len(self.ends), shape[:1], **place)
        return chance._replace(end=self.ends[rows.to(self.ends.device)].to(rng.device), pick=u)

    def weight(self, level: Level) -> Tensor:
        """One over the square of about how far y is from x_t, so that every t has an equal say."""
        t, far = level.sigma, self.convention.coefficients(level)[1] ** 2
        if self.learn == "flow":  # v is about 1 + (sig (1-2t))^2 / (4 t (1-t)) in square
            far = far * (1 + (self.spread * (1 - 2 * t)) ** 2 / (4 * t * (1 - t)))
        return 1 / far.clamp(min=1e-8)

    def start(self, x1: Tensor, z: Tensor) -> Tensor:
        """x1 with its jitter."""
        return x1 + self.jitter * z.to(x1)

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        assert chance.end is not None
        assert chance.pick is not None
        level, end = self.schedule(chance.t), chance.end.to(x0)
        if cond and PAIR in cond:
            x1 = self.start(cond[PAIR].to(x0), end)
            _check_pairs(x0, x1)
            cond = cond if self.conditional else {k: v for k, v in cond.items() if k != PAIR}
        else:
            x1 = end[self.coupling.pick(x0, end, chance.pick)]
        z = chance.eps.to(x0)
        t = level.sigma
        wide = like(self.spread * (t * (1 - t)).sqrt(), x0)
        x = noisy(x0, level, chance._replace(eps=x1)) + wide * z
        goal = x0
        if self.learn == "flow" and self.spread:
            goal = x0 + like(self.spread / 2 * (t / (1 - t)).sqrt(), x0) * z
        error = goal - denoiser(x, level, kept(cond, chance.drop) or None)
        squares = error.square().flatten(1).mean(1)
        per_sample = like(self.weight(level), squares) * squares
        return Loss(by_importance(per_sample, chance), level.logsnr, {"x0": squares.detach()})


def _check_pairs(x0: Tensor, x1: Tensor) -> None:
    if x0.shape != x1.shape:
        raise BadInput(
            f"the pairs have shapes {tuple(x0.shape[1:])} and {tuple(x1.shape[1:])}.",
            "Bring both ends to one shape first: a smaller or grey picture to that of x0.",
        )


@dataclass(frozen=True)
class PairResidual(Objective):
    """Regression (`Objective`) on what is left of x0 beside its pair, told the pair:

        x = (x0 - mu) / unit,     mu = cond["image"]

    With a variance-preserving schedule this is IR-SDE (Luo et al. 2023), dx = theta (mu - x) dt +
    sigma dW with sigma^2 / theta = 2 unit^2: alpha = e^-tb and sigma = unit sqrt(1 - alpha^2)
    around mu, and every solver of the catalogue walks it, from noise. Its "optimal reverse path"
    (eq. 9 there) is the posterior's mean and no sampler: `DDPM` without chance.
    """

    unit: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.unit < torch.inf:
            raise BadInput(f"the unit of a residual is {self.unit}.", "Give a number above 0.")

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        if not cond or PAIR not in cond:
            raise BadInput(
                "a residual is of pairs, and the data have one side only.",
                "Give an .npz with x and image, or a `data.corruption`.",
            )
        _check_pairs(x0, cond[PAIR])
        return super().loss(denoiser, (x0 - cond[PAIR].to(x0)) / self.unit, cond, chance)


Degradation = Callable[[Tensor, Tensor], Tensor]
"""`(x0 (B, ...), s (B,)) -> x_s`, s from 0 (x0 itself) to 1; the same each time."""


@dataclass(frozen=True, eq=False)
class Degraded(Criterion):
    """`mean_d |x0 - R(degrade(x0, s))|` with s = t of the level (1-t, t) (Bansal et al. 2023, "Cold
    diffusion", eq. 2): restore what a deterministic degradation left. Walk by `ColdStep`."""

    degrade: Degradation
    schedule: Schedule = Flow()
    times: Times = Uniform()
    dropout: float = 0.0

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        level = self.schedule(chance.t)
        s = level.sigma.to(x0)
        x = degraded(self.degrade, x0, s)
        error = (x0 - denoiser(x, level, kept(cond, chance.drop))).abs().flatten(1).mean(1)
        return Loss(by_importance(error, chance), level.logsnr, {})


def degraded(degrade: Degradation, x0: Tensor, s: Tensor) -> Tensor:
    """x0 degraded twice alike, or BadInput: what draws chance of its own is no degradation."""
    x = degrade(x0, s)
    if x.shape != x0.shape or not torch.equal(x, degrade(x0, s)):
        raise BadInput(
            f"the degradation gives {tuple(x.shape)} of {tuple(x0.shape)}, or another x each time.",
            "Give a function (x0, s) -> x of x0's shape that draws no chance; draw it beforehand.",
        )
    return x
