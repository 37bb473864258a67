"""Fit a path to a density in a time that is given, and say what it then knows."""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Level, Seeded, Watch, quiet, unknown
from scorefield.base.noise import first_weights
from scorefield.density.adjoint import EVERY
from scorefield.density.learned import Learning
from scorefield.density.methods import METHODS, Approach, LearnedPath
from scorefield.density.parts import LearningParts
from scorefield.density.path import Draw, Paths
from scorefield.density.target import Target, check_target
from scorefield.density.tilted import TiltedModel
from scorefield.smc.annealed import Annealing, Reached
from scorefield.store import alone, exists, read_json, write_json
from scorefield.train import Progress, Training, finish
from scorefield.train import fit as train_steps

ROWS, RATE = 4, 6e-3
"""Rows of TOGETHER paths a step, and the largest learning rate."""
GROUPS = 4
"""Populations of a reference, whose spread is its error."""
AT_ONCE = 2000
"""Paths that are drawn together."""
BESIDE = Annealing(adaptive=0.9, particles=500, moves=5, spread=4.0)
"""What is run beside a learned path."""
ENOUGH = 10
"""Particles a coordinate from which a covariance is believed."""
MOST_BACK = 10_000
"""Paths of the upper bound."""
WARM = 3
clock = time.monotonic
"""What `seconds` are counted by."""


class Estimate(NamedTuple):
    """Of weights `w`: log of their mean with its error, the mean of log w with its own, and
    `(sum w)^2 / (n sum w^2)`."""

    log_z: float
    stderr: float
    mean: float
    mean_error: float
    ess: float
    n: int


def estimate(log_weight: Tensor) -> Estimate:
    """By the weights of n independent paths.

    The error of log Z is `sqrt((1/ESS - 1) / n)`, to first order: weights whose heavy tail was not
    met have a larger one, and a mode that was never met shows in neither.

    >>> estimate(torch.tensor([1.0, 1.0]))[:2]
    (1.0, 0.0)
    """
    w, n = log_weight.double(), len(log_weight)
    total = w.logsumexp(0)
    ess = float((2 * total - (2 * w).logsumexp(0)).exp()) / n
    error = math.sqrt(max(0.0, 1 / ess - 1) / n) if ess > 0 else math.inf
    spread = float(w.std()) / math.sqrt(n)
    return Estimate(float(total) - math.log(n), error, float(w.mean()), spread, ess, n)


class Weighted(NamedTuple):
    """Samples in the target's own units `(n, dim)` and their log weights `(n,)`."""

    x: Tensor
    log_weight: Tensor


@dataclass(frozen=True, eq=False)
class FittedDensity:
    """A learned path at a target, or a population that has reached it, and `n` paths of it.

    `reference` is an SMC run's log Z and its error: what a path that misses modes is told by.
    """

    target: Target
    method: Approach
    n: int
    seed: int
    calls: int
    seconds: float
    said: tuple[str, ...]
    losses: tuple[tuple[int, float], ...] = ()
    task: Learning | None = None
    reached: Reached | None = None
    reference: Reached | None = None

    @cached_property
    def drawn(self) -> Weighted:
        """The n paths that the figures are of, of seeds from `n seed` on."""
        return self.draw(range(self.seed * self.n, (self.seed + 1) * self.n))

    @cached_property
    def samples(self) -> Tensor:
        """n samples as they come, `(n, dim)`: ends of the paths, or of a population by weight."""
        return self.drawn.x if self.reached is None else self.sample(self.n, self.seed)

    @property
    def found(self) -> Estimate:
        """Lower bound, log Z and ESS; of populations the spread is that between them."""
        if self.reached is None:
            return self._estimated
        return between(self.reached)

    @cached_property
    def _estimated(self) -> Estimate:
        return estimate(self.drawn.log_weight)

    @property
    def log_z(self) -> float:
        """The importance-weighted log Z."""
        return self.found.log_z

    @property
    def stderr(self) -> float:
        """Its error."""
        return self.found.stderr

    @property
    def ess(self) -> float:
        """Effective part of the paths."""
        return self.found.ess

    @cached_property
    def upper(self) -> Estimate | None:
        """Mean and error of log w over paths that q draws back from exact samples, at most
        MOST_BACK: the upper bound, which sees modes that are missed. None where no exact samples
        are known."""
        if self.task is None or self.target.draw is None or self._tilted:
            return None
        rng = torch.Generator().manual_seed(self.seed + 1)
        x = self.task.target.exact(min(self.n, MOST_BACK), rng).float()
        weights = [self._retraced(rows, rng) for rows in x.split(AT_ONCE)]
        return estimate(torch.cat(weights))

    @torch.no_grad()
    def _retraced(self, x: Tensor, rng: torch.Generator) -> Tensor:
        task = self._learned

        def draw(k: int, x: Tensor) -> Tensor:
            return torch.randn(x.shape, generator=rng, dtype=x.dtype)

        return task.route.retrace(task.module, task.target, x, draw).log_weight

    @cached_property
    def resampled(self) -> Reached | None:
        """Populations of a path that is learned in parts, as many particles as paths in all."""
        if not isinstance(self.task, LearningParts):
            return None
        rng = torch.Generator().manual_seed(self.seed + 2)
        return self.task.population(GROUPS, max(2, self.n // GROUPS), rng)

    @property
    def _learned(self) -> Learning:
        if self.task is None:
            raise BadInput("a population has no paths to draw.", "Draw its samples.")
        return self.task

    @property
    def _tilted(self) -> bool:
        return self.task is not None and isinstance(self.task.route, TiltedModel)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n samples `(n, dim)`: path i is the same whatever n is; of a population, n of it by their
        weights. They are those of the path's end, not weighted."""
        if n < 1:
            raise BadInput(f"n is {n}.", "Give at least 1.", "n")
        if self.reached is not None:
            rng = torch.Generator().manual_seed(seed)
            who = torch.multinomial(self.reached.log_weight.softmax(0), n, True, generator=rng)
            return self._own(self.reached.x[who])
        return self.draw(range(seed, seed + n)).x

    def draw(self, seeds: Sequence[int]) -> Weighted:
        """Samples of these seeds with their weights."""
        if self.reached is not None:
            return Weighted(self._own(self.reached.x), self.reached.log_weight)
        parts = [self._some(seeds[i : i + AT_ONCE]) for i in range(0, len(seeds), AT_ONCE)]
        x, log_weight = map(torch.cat, zip(*parts))
        return Weighted(self._own(x), log_weight)

    @torch.no_grad()
    def _some(self, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        task = self._learned
        blank = task.route.blank(len(seeds), self.target.dim)
        paths: Paths = task.route.walk(task.module, task.target, seeded(seeds), blank)
        return task.route.position(paths.x[-1]), paths.log_weight

    def _own(self, u: Tensor) -> Tensor:
        return self.target.out_of(u.double())


def seeded(seeds: Sequence[int]) -> Draw:
    """The normals of paths of these seeds: those of step k belong to the seed and k alone."""
    noise = Seeded(seeds)
    return lambda k, x: noise(x, Level.of(1.0, float(k)), Level.of(1.0, float(k + 1)))


def between(reached: Reached) -> Estimate:
    """What populations found, each one draw of Z."""
    found, groups = reached.log_z, len(reached.log_z)
    log_z = float(found.logsumexp(0)) - math.log(groups)
    ratios = (found - log_z).exp()
    error = float(ratios.std()) / math.sqrt(groups) if groups > 1 else math.inf
    spread = float(found.std()) / math.sqrt(groups) if groups > 1 else math.inf
    ess = float(reached.ess.mean())
    return Estimate(log_z, error, float(found.mean()), spread, ess, groups)


def fit_density(
    target: Target,
    method: Approach | str = "dds",
    steps: int = 64,
    seconds: float = 180.0,
    seed: int = 0,
    n: int = 10_000,
    folder: Path | None = None,
    watch: Watch = quiet,
) -> FittedDensity:
    """Look at a target, let a population find where its mass lies, learn a path in `seconds`, and
    draw n of it.

    With a `folder` the training's checkpoints lie there, and the same call goes on from what a kill
    left. Raises BadInput for a target that cannot be sampled (`check_target`).
    """
    way = approach_of(method) if isinstance(method, str) else method
    if not 0 < seconds < math.inf or n < 2:
        raise BadInput(f"seconds is {seconds:g} and n {n}.", "Give more than 0, and 2 or more.")
    began, counted = clock(), Tally(target)
    prior = way.prior if isinstance(way, LearnedPath) else None
    if prior is not None:
        target = replace(target, centre=0.0, scale=1.0)  # the model's own units
    said = check_target(target, seed, whole=prior is None)
    rng = torch.Generator().manual_seed(seed)
    target = replace(target, log_prob=counted)
    reference = None
    if prior is None and (target.scale is None or isinstance(way, LearnedPath)):
        reference = populated(BESIDE, target, rng, watch)
    if target.scale is None and reference is not None:
        target, reference = located(target, reference)
    if not isinstance(way, LearnedPath):
        own = replace(way, steps=steps) if isinstance(way, Annealing) else way
        reached = populated(own, target, rng, watch)
        spent = clock() - began
        return FittedDensity(target, way, n, seed, counted.calls, spent, tuple(said),
                             reached=reached)  # fmt: skip
    with first_weights(seed):
        task = way.task(target.standard(), steps)
    if reference is not None:
        who = torch.multinomial(
            reference.log_weight.softmax(0), len(reference.x), True, generator=rng
        )
        task.ends = reference.x[who].float()
    left = seconds - (clock() - began)
    average, losses = learned_in(task, left, seed, folder, watch)
    task = replace(task, module=average.cpu().eval())
    spent = clock() - began
    return FittedDensity(target, way, n, seed, counted.calls, spent, tuple(said),
                         tuple(losses), task, None, reference)  # fmt: skip


def approach_of(name: str) -> Approach:
    """A method with its defaults."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]()


def populated(method: Any, target: Target, rng: torch.Generator, watch: Watch = quiet) -> Reached:
    """A population at a target, in the units of `Target.standard`."""
    return method(target.standard(), target.dim, GROUPS, rng, watch)


def located(target: Target, reached: Reached) -> tuple[Target, Reached]:
    """The target with the centre and scale that a population found, and the population in these:
    a root of its covariance, or where that is of too few particles, deviations."""
    x, weight = target.out_of(reached.x), reached.log_weight.softmax(0)[:, None]
    middle = (weight * x).sum(0)
    away = weight.sqrt() * (x - middle)
    scale = away.square().sum(0).sqrt().clamp(min=1e-6)
    if len(x) > ENOUGH * target.dim:
        root, failed = torch.linalg.cholesky_ex(away.T @ away)
        scale = scale if failed else root
    found = replace(target, centre=middle, scale=scale)
    return found, reached._replace(x=found.units(x))


class Tally:
    """A target's log density that counts the points it is asked of."""

    def __init__(self, target: Target) -> None:
        self.log_prob, self.calls = target.log_prob, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += len(x)
        return self.log_prob(x)


def learned_in(
    task: Learning, seconds: float, seed: int, folder: Path | None, watch: Watch
) -> tuple[nn.Module, list[tuple[int, float]]]:
    """The averaged control after a training as long as `seconds` allow, and the losses by step.

    How many steps those are is judged by the first few; if it was too many, training stops at the
    time. A folder keeps the count, so that what goes on there ends where it would have ended.
    """
    deadline, losses = clock() + seconds, list[tuple[int, float]]()
    kept = None if folder is None else folder / "length.json"
    images = read_json(kept)["images"] if kept and exists(kept) else rows_for(task, seconds, seed)
    training = Training(
        images=images, batch=ROWS, lr=RATE, warmup=min(20 * ROWS, images // 4), ema=0.99,
        checkpoint_every=max(images // 4, ROWS), seed=seed, compile=False,
    )  # fmt: skip
    late = False

    def stop() -> bool:
        return late

    def see(progress: Progress) -> None:
        nonlocal late
        losses.append((progress.images // ROWS, progress.loss))
        watch(progress.images // ROWS, images // ROWS, "step")
        late = clock() > deadline

    with contextlib.ExitStack() as held:
        if kept and folder is not None:
            held.enter_context(alone(folder))
            write_json(kept, {"images": images})
        steps = train_steps(task, (task.target.dim,), training, folder, folder is not None, stop)
        average = finish(steps, see)
        if kept and losses:
            write_json(kept, {"images": losses[-1][0] * ROWS})
    return average, losses


def rows_for(task: Learning, seconds: float, seed: int) -> int:
    """Rows that can be learned from in so many seconds."""
    from scorefield.objective import Batch

    rng = torch.Generator().manual_seed(seed)
    blank = Batch(torch.zeros(ROWS, task.target.dim), None)
    for turn in range(WARM + 1):
        if turn == 1:
            began = clock()
        loss = task.loss(blank, task.draw((ROWS, task.target.dim), rng))
        loss.per_sample.mean().backward()
        task.module.zero_grad()
    each = (clock() - began) / WARM * 1.1
    began = clock()
    task.after(0)
    each += (clock() - began) / EVERY
    return ROWS * max(20, int(seconds / each))
