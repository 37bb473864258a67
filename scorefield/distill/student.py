"""What all students share: the path that they learn on, their chance, and the teacher they ask.

A level fixes (x, sigma/alpha) only up to a scale of x, so that every process is one in disguise, an
arc on which x keeps the deviation s of the data (TrigFlow: Lu and Song 2025, eq. 6):

    x = cos(a) x0 + s sin(a) eps,   tan(a) = sigma / (s alpha)                              (eq. 1)
    dx/da = (cos(a) x - D) / sin(a)        along the flow                                   (eq. 2)

A student learns there, and is sampled on any schedule.
"""

import copy
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, like
from scorefield.denoise import DataSet, Denoiser, Manner
from scorefield.denoise.precondition import NOISE_RANGE
from scorefield.guide import cfg
from scorefield.nets.maps import MapEmbedding, as_map
from scorefield.objective import Batch, Task
from scorefield.objective.loss import kept

SMALLEST = 1e-3
"""The angle from which the flow is not followed: nearer to data x is x0."""


TOP = 0.1
"""The part of draws that is at the top of the path."""
SCATTER = 0.1
"""The error, RMS of a dimension, from which on a normalised loss is of the first degree."""


class StudentDraws(NamedTuple):
    """The chance of a step: `u (B, 4)` uniform in [0, 1), float64, from which a method makes its
    angles and its guidance; `eps (B, ...)`; `drop (B,)` True where the condition is taken away; and
    `z (B, n, ...)` for a method that makes samples of its own, in n steps."""

    u: Tensor
    eps: Tensor
    drop: Tensor
    z: Tensor | None = None


@dataclass(eq=False)
class Student(Task[Denoiser]):
    """A denoiser or map that learns to need fewer calls.

    `teacher` is any `Denoise`, None where data alone teach. Its classifier-free guidance is learned
    with it: the scale of each example is drawn from 1 to `guidance`, and told to the student as the
    condition "guidance". `dropout` is the fraction of examples without their condition. `steps` are
    those of the whole run, of which the part `done` lies behind. A method that sets `target`, a
    copy of `module`, has it trail: theta^- <- d theta^- + (1 - d) theta with d = `decay`.
    """

    module: Denoiser
    teacher: Denoise | None = None
    guidance: float = 1.0
    dropout: float = 0.1
    steps: int = 1
    top: float = field(init=False)
    done: float = field(init=False, default=0.0)
    target: Denoiser | None = field(init=False, default=None)
    taught: ClassVar[bool | None] = True
    """Whether it needs a teacher; None: data teach it where it has none."""
    shown: ClassVar[bool] = True
    """Whether it needs data."""
    limit: ClassVar[float] = math.inf
    """Of what its network hears of the noise (`MapEmbedding`)."""
    floor: ClassVar[float] = -math.inf
    """Of what it hears of where a map leads."""
    sloped: ClassVar[bool] = False
    """Whether it learns from its own slopes, which take float32 whatever the run computes in."""
    plan: ClassVar[str] = "jump/1"
    """How its student is sampled unless it is said; {option} stands for the value of an option."""
    learned: ClassVar[Literal["plan", "ends", "maps", "mean"]] = "plan"
    """What its student can do (`Manner`)."""

    def __post_init__(self) -> None:
        if not self.guidance >= 1:
            raise BadInput(f"the largest guidance is {self.guidance}.", "Give 1 or more.")
        if self.taught and self.teacher is None:
            raise BadInput(f"{type(self).__name__} has no teacher.", "Give one.")
        if self.guidance > 1 and self.teacher is None:
            raise BadInput(f"a guidance of {self.guidance:g} has no teacher to guide.", "Give 1.")
        if self.module.schedule is None:
            raise BadInput("the student has no schedule.", "Give Denoiser(schedule=...).")
        for part in self.module.modules():
            if isinstance(part, MapEmbedding):
                part.limit.fill_(self.limit)
                part.floor.fill_(self.floor)
        if self.sloped:
            self.module.precision = "fp32"
        with torch.no_grad():
            first = self.module.schedule(torch.ones((), dtype=torch.float64))
        self.top = math.atan(min(float(first.ratio), math.exp(NOISE_RANGE)) / self.spread)
        plan = self.plan_of(self.spread, **vars(self))
        self.module.manner = Manner(plan, self.guidance, self.learned)

    @classmethod
    def plan_of(cls, spread: float, **options: Any) -> str:
        """The plan of a student, on the grid that is even in angles (eq. 1)."""
        solver, _, steps = cls.plan.format(**options).rpartition("/")
        return f"{solver}@angle:sigma_data={spread:g}/{steps}"

    @classmethod
    def network(cls, net: Any) -> Any:
        """The network of a student that begins as a copy of one of ours."""
        return as_map(net)

    @classmethod
    def equip(cls, module: Denoiser, **options: Any) -> None:
        """Give a student what it has besides a network, by the options of its method."""

    @property
    def decay(self) -> float:
        """d of the weights that trail."""
        return 0.99

    def trailing(self) -> Denoiser:
        """A copy of the student, to be its `target`."""
        return copy.deepcopy(self.module).requires_grad_(False)

    def after(self, step: int) -> None:
        self.done = min(1.0, step / self.steps)
        if self.target is not None:
            own, weights = self._both
            with torch.no_grad():
                torch._foreach_lerp_(own, weights, 1 - self.decay)  # type: ignore[attr-defined]

    @cached_property
    def _both(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights of target and student, listed: a walk over modules takes longer."""
        return [*cast(Denoiser, self.target).parameters()], [*self.module.parameters()]

    def memory(self) -> dict[str, Tensor]:
        kept = {} if self.target is None else self.target.state_dict()
        done = torch.tensor(self.done, dtype=torch.float64)
        return {"done": done, **{f"target.{name}": leaf for name, leaf in kept.items()}}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.done = float(tensors["done"])
        if self.target is not None:
            self.target.load_state_dict(of("target", tensors))

    @property
    def spread(self) -> float:
        """s of eq. 1."""
        return self.module.sigma_data

    def level(self, angle: Tensor | float) -> Level:
        """The level at an angle (eq. 1)."""
        a = torch.as_tensor(angle, dtype=torch.float64)
        return Level(a.cos(), self.spread * a.sin())

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> StudentDraws:
        u = torch.rand(shape[0], 4, dtype=torch.float64, generator=rng, device=rng.device)
        eps = torch.randn(shape, generator=rng, device=rng.device)
        drop = torch.rand(shape[0], generator=rng, device=rng.device) < self.dropout
        return StudentDraws(u, eps, drop)

    def asked(self, batch: Batch, chance: StudentDraws) -> tuple[Cond | None, Tensor]:
        """The conditions of a batch and the scale of guidance `(B,)` of each example."""
        cond = kept(batch.cond, chance.drop)
        scale = 1 + (self.guidance - 1) * chance.u[:, 3]
        return cond, scale if cond else torch.ones_like(scale)

    def conditioned(self, cond: Cond | None, scale: Tensor) -> dict[str, Tensor]:
        """The conditions with the guidance, if any is learned, as the student hears them."""
        heard = dict(cond or {})
        return {**heard, "guidance": scale.float()} if self.guidance > 1 else heard

    @property
    def pooled(self) -> bool:
        return self.shown and self.teacher is None

    @torch.no_grad()
    def mean(
        self, x: Tensor, level: Level, cond: Cond | None, scale: Tensor, batch: Batch
    ) -> Tensor:
        """What is known of D = E[x0 | x]: the teacher's, or without one E[x0 | x, the batch], x
        being made of one of the batch ("stable targets", Xu et al. 2023, eq. 7).

        To regress on that is to regress on x0, whose mean it is, with less scatter: before x is
        seen it may be made of any of them alike, and so the mean given x alone is D itself.
        """
        if self.teacher is not None:
            return self.teach(x, level, cond, scale)
        pool = batch.pool or batch
        return DataSet(pool.x0, pool.cond).denoise(x, level, cond)

    @torch.no_grad()
    def teach(self, x: Tensor, level: Level, cond: Cond | None, scale: Tensor) -> Tensor:
        """The teacher's D, guided."""
        return self.guided(cond, scale)(x, level, cond).to(x)

    def guided(self, cond: Cond | None, scale: Tensor) -> Denoise:
        """The teacher, guided where there are conditions."""
        teacher: Any = self.teacher
        return cfg(scale)(teacher) if cond and self.guidance > 1 else teacher

    def noisy(self, x0: Tensor, eps: Tensor, angle: Tensor) -> Tensor:
        """x at an angle (eq. 1)."""
        level = self.level(angle)
        return like(level.alpha, x0) * x0 + like(level.sigma, x0) * eps.to(x0)

    def velocity(self, x: Tensor, denoised: Tensor, angle: Tensor) -> Tensor:
        """dx/da (eq. 2)."""
        return (like(angle.cos(), x) * x - denoised) / like(angle.sin(), x)


def of(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a module that `memory` kept under `name.`"""
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def pseudo_huber(square: Tensor) -> Tensor:
    """L / sqrt(L + .1^2) of losses per dimension: its gradient, that of a pseudo-Huber loss, does
    not grow with the error.

    >>> pseudo_huber(torch.tensor([1e-6, 0.01, 4.0]))
    tensor([9.9995e-06, 7.0711e-02, 1.9975e+00])
    """
    return square / (square.detach() + SCATTER**2).sqrt()


def lognormal(u: Tensor, top: float, further: float = 0.0) -> Tensor:
    """Angles with log tan(a) ~ N(further - 0.4, 1.6^2), up to `top`, where a tenth of them is put:
    all samples start there, which few draws would see.

    >>> [round(float(a), 3) for a in lognormal(torch.tensor([0.05, 0.101, 0.55, 0.9999]), 1.5)]
    [1.5, 0.005, 0.591, 1.5]
    """
    normal = torch.special.ndtri(((u - TOP) / (1 - TOP)).clamp(1e-12, 1 - 1e-12))
    angle = (further - 0.4 + 1.6 * normal).exp().atan().clamp(SMALLEST, top)
    return torch.where(u < TOP, top, angle)
