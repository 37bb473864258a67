"""Learned samplers: the levels and the coefficients of a few steps around a frozen teacher."""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Level, Noise, Zero, join, like
from scorefield.denoise import Denoiser
from scorefield.distill.student import Student, StudentDraws
from scorefield.objective import Batch, Loss
from scorefield.process import Schedule, grids
from scorefield.solve import Info, trajectory
from scorefield.solve.dpmpp import History
from scorefield.solve.loop import Plain
from scorefield.solve.transfer import affine, transfer


class Past(NamedTuple):
    """x, and D of all steps so far `(B, n, ...)`, newest first."""

    x: Tensor
    denoised: Tensor


@dataclass(frozen=True, eq=False)
class LinearMultistep(Plain):
    """The steps between `levels (n+1,)`, each with coefficients of its own: `weights (n, n)`.

    x_there = keep x + gain (D + sum_j w_kj (D - D_{k-j}))      (eq. 1 of `solve` with w = 0)

    Raises BadInput at a level that is none of them.
    """

    levels: Level
    weights: Tensor

    def init(self, x: Tensor) -> Past:
        return Past(x, x.new_zeros(len(x), len(self.weights), *x.shape[1:]))

    def step(
        self,
        denoise: Denoise,
        state: Past,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Past, Info]:
        (x, past), (alpha, sigma) = state, self.levels.at(slice(0, -1))
        denoised = denoise(x, here, cond)
        same = (alpha == here.alpha[..., None]) & (sigma == here.sigma[..., None])
        if not same.any(-1).all():
            raise BadInput(
                "a step begins at a level that the sampler has not learned.",
                "Use the sampler's own levels.",
            )
        w = self.weights[same.double().argmax(-1)].to(x)
        w = w.expand(len(x), -1).reshape(len(x), -1, *(1,) * (x.ndim - 1))
        ahead = denoised + (w * (denoised[:, None] - past)).sum(1)
        keep, gain = transfer(here, there)
        past = torch.cat([denoised[:, None], past[:, :-1]], 1)
        return Past(affine(x, keep, ahead, gain), past), Info(denoised)


class Steps(nn.Module):
    """What is learned of a sampler of `calls` steps: the fractions of the angle atan(sigma/alpha)
    that its steps have, in logarithm, and its coefficients. It begins as DPM-Solver++ 2M on
    `vp_root`."""

    top: Tensor

    def __init__(self, schedule: Schedule, calls: int) -> None:
        super().__init__()
        if calls < 1:
            raise BadInput(f"calls is {calls}.", "Give at least 1.")
        levels = grids.vp_root(schedule, calls)
        angles = torch.atan2(levels.sigma, levels.alpha)
        self.register_buffer("top", angles[0])
        first = nn.Parameter((-angles.diff()).log().float())
        self.register_parameter("shares", first)  # the name in weights that are kept
        past, weights = History.no_past(torch.zeros(1, 1)), torch.zeros(calls, calls)
        for k in range(calls):
            lam, weights[k, 0] = past.pace(levels.at(k), levels.at(k + 1))
            past = past._replace(lam=lam)
        self.coefficients = nn.Parameter(weights)

    @property
    def levels(self) -> Level:
        """Those of the unit circle: a level is known up to a scale of x."""
        passed = self.get_parameter("shares").double().softmax(0).cumsum(0)[:-1]
        angles = self.top * torch.cat([passed.new_ones(1), 1 - passed])
        return join([Level(angles.cos(), angles.sin()), Level(*(v.to(angles) for v in CLEAN))])

    @property
    def solver(self) -> LinearMultistep:
        return LinearMultistep(self.levels, self.coefficients.tril(-1))


class TeacherNetwork(nn.Module):
    """Any teacher as a network: what it says of x in unit variance at log(sigma/alpha)."""

    def __init__(self, teacher: Denoise, spread: float) -> None:
        super().__init__()
        self.teacher, self.spread = teacher, spread

    def forward(self, x: Tensor, noise: Tensor, cond: Cond | None = None) -> Tensor:
        ratio = noise.double().exp()
        alpha = torch.hypot(ratio, torch.full_like(ratio, self.spread)).reciprocal()
        return self.teacher(x, Level(alpha, ratio * alpha), cond)


@dataclass(eq=False)
class LearnedSampler(Student):
    """Differentiate a distance of samples to data through a sampler (Watson et al. 2022, "Learning
    fast samplers for diffusion models by differentiating through sample quality"), here the
    distance with the energy kernel -|x - y|, as a score of each example (Gneiting and Raftery 2007,
    eq. 21):

        L = mean_m |x_m - x0| - sum_{m != m'} |x_m - x_m'| / (2 M (M - 1)),   x_m of M noises

    whose mean is half the squared energy distance, and a constant of the data's. What learns is
    the student's `sampler` (`Steps`) of `calls` steps; its network is the teacher's, and is guided
    like it. An image costs M `calls` passes through the network there and back.
    """

    calls: int = 5
    particles: int = 2
    plan, learned = "dpmpp2m@vp-root/{calls}", "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.particles < 2:
            raise BadInput(f"particles is {self.particles}.", "Give at least 2.")
        self.equip(self.module.requires_grad_(False), calls=self.calls)

    @classmethod
    def plan_of(cls, spread: float, **options: Any) -> str:
        return cls.plan.format(**options)

    @classmethod
    def network(cls, net: Any) -> Any:
        return copy.deepcopy(net)

    @classmethod
    def equip(cls, module: Denoiser, **options: Any) -> None:
        module.sampler = Steps(cast(Schedule, module.schedule), options["calls"])

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> StudentDraws:
        z = torch.randn(shape[0], self.particles, *shape[1:], generator=rng, device=rng.device)
        return super().draw(shape, rng)._replace(z=z)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        z, M = cast(Tensor, chance.z), self.particles
        many = {k: v.repeat_interleave(M, 0) for k, v in cond.items()} if cond else None
        solver = cast(Steps, self.module.sampler).solver
        levels = solver.levels
        start = like(levels.sigma[0], z) * z.flatten(0, 1)
        teach = self.guided(many, scale.repeat_interleave(M, 0))
        *_, (end, _) = trajectory(solver, teach, start, levels, Zero(), many)
        error = energy_score(end.x.view_as(z), batch.x0)
        return Loss(error, levels.at(0).logsnr.expand(len(z)), {})


def energy_score(x: Tensor, x0: Tensor) -> Tensor:
    """The score `(B,)` of M samples x `(B, M, ...)` as a forecast of x0 `(B, ...)`, unbiased.

    >>> bool(energy_score(torch.tensor([[[0.0], [3.0]]]), torch.tensor([[1.0]])).abs() < 1e-6)
    True
    """
    x, x0, M = x.flatten(2), x0.flatten(1)[:, None], x.shape[1]
    apart = _length(x[:, :, None] - x[:, None]).sum((1, 2)) / (M * (M - 1))
    return _length(x - x0).mean(1) - apart / 2


def _length(v: Tensor) -> Tensor:
    """|v| over the last axis, with a gradient at 0."""
    return (v.square().sum(-1) + 1e-12).sqrt()
