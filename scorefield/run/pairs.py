"""Runs that were trained on pairs: their data, and how a picture is led to the other end."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from scorefield.base import BadInput, Seeded
from scorefield.bridge import BridgeStep
from scorefield.catalogue.spec import build, parsed
from scorefield.data import Conditions, Data, Scaling, Split
from scorefield.data.info import DataInfo
from scorefield.data.kind import PICTURE
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Plan, draw
from scorefield.guide.known import known_image
from scorefield.inverse import lifted, measure
from scorefield.inverse.operators import Mask
from scorefield.objective import Bridged, PairResidual
from scorefield.process import Schedule
from scorefield.run.config import build_levels, build_objective, build_schedule
from scorefield.run.open import build_solver, device
from scorefield.run.settings import Config
from scorefield.solve import DDIM

HELD_OUT = 2**30
"""Of the seeds of the noise of pairs: those of held-out ones begin here."""


def paired(read: Data, corruption: str, noise: float = 0.0) -> Data:
    """Data whose condition image is what an operator measured of each example, in its shape, with
    noise of that deviation, the same each time. What time hides (`future`, `gap`) is 0 there."""
    if read.conditions.keys:
        raise BadInput(
            f"'{read.name}' comes with {', '.join(read.conditions.keys)} already.",
            "Give `data.corruption` None: an image is the other end of its pair.",
        )
    if not read.kind.spatial:
        PICTURE.check(read.shape, "`data.corruption` is")
    if not 0 <= noise < math.inf:
        raise BadInput(f"`data.noise` is {noise:g}.", "Give a deviation, 0 or more.", "data.noise")
    operator = build("operators", corruption, shape=read.shape)

    def beside(split: Split, first: int) -> Split:
        parts = []
        for i, rows in enumerate(torch.arange(len(split)).split(1024)):
            x = split.taken(rows)
            x0 = read.scaling.encode(x)
            seeds = range(first + 1024 * i, first + 1024 * i + len(x0))
            parts.append(lifted(operator, x0, measure(operator, x0, noise, Seeded(seeds))))
        return replace(split, cond={"image": torch.cat(parts)})

    said = Conditions(image=read.shape[0], image_scaling=Scaling((0.0,), (1.0,)))
    return replace(
        read, train=beside(read.train, 0), test=beside(read.test, HELD_OUT), conditions=said
    )


def is_paired(config: Config, info: DataInfo) -> bool:
    """Whether a run leads from one end of a pair to the other."""
    kind = parsed(config.objective.kind).name
    return kind == "residual" or (kind == "bridge" and info.conditions.image is not None)


def is_led(config: Config, info: DataInfo) -> bool:
    """Whether a run makes one side of a pair of the other: from it, or from noise, told it."""
    return is_paired(config, info) or config.data.corruption is not None


def has_own_pairs(config: Config, info: DataInfo) -> bool:
    """Whether a run's pairs came with both ends: no operator says one of the other."""
    return is_paired(config, info) and config.data.corruption is None


def check_paired(config: Config, info: DataInfo) -> None:
    """Raise BadInput for an objective of pairs and data that have one side only, or ends that no
    bridge can join."""
    o, said = config.objective, info.conditions
    kind = parsed(o.kind).name
    alone = said.image is None
    if kind == "residual" and alone:
        raise BadInput(
            f"`objective.kind` {o.kind} is of pairs, and the data have one side only.",
            "Give `data.corruption`, or a file with x and image.",
        )
    spread = kind == "bridge" and build("objectives", o.kind, schedule=build_schedule(o)).spread
    if spread and alone:
        raise BadInput(
            f"`objective.kind` {o.kind} has a spread, and the data have one side only.",
            "Give `data.corruption`, a file with x and image, or bridge with spread=0, from noise.",
        )
    if is_paired(config, info) and said.image != info.shape[0]:
        raise BadInput(
            f"the pairs have {info.shape[0]} and {said.image} channels.",
            "Bring both ends to one shape first.",
        )


class Led(NamedTuple):
    """Restorations `x (n, *shape)` on the CPU, calls of the network for each, seconds."""

    x: Tensor
    calls: float
    seconds: float


class Leading(NamedTuple):
    """How, for whom, and what makes a restoration of the x at the end."""

    plan: Plan
    asked: Asked
    finish: Callable[[Tensor], Tensor]


def lead(
    denoiser: Denoiser, config: Config, info: DataInfo, y: Tensor, seeds: list[int],
    steps: int | None = None,
) -> Led:  # fmt: skip
    """One x0 for each seed, by the way that `leading` says."""
    plan, asked, finish = leading(denoiser, config, info, y, seeds, steps)
    x, calls, seconds = draw(denoiser.to(device()), plan, asked, info.inner)
    return Led(finish(x), calls, seconds)


def leading(
    denoiser: Denoiser, config: Config, info: DataInfo, y: Tensor, seeds: list[int],
    steps: int | None = None,
) -> Leading:  # fmt: skip
    """The way from y `(1 or n, *shape)`, the other end, to one x0 for each seed: of a bridge by the
    step that it was trained for, else from noise by the run's own solver."""
    schedule = cast(Schedule, denoiser.schedule)
    objective = build_objective(config, info, schedule)
    steps = steps or config.sample.steps
    y = y.expand(len(seeds), *y.shape[1:]).to(device())
    cond: dict[str, Tensor] | None = {"image": y}
    start = None
    if isinstance(objective, Bridged):
        solver = BridgeStep(objective.spread) if objective.learn == "mean" else DDIM()
        levels = build_levels("uniform-t", schedule, steps)
        z = Seeded(seeds).start(y.shape[1:], levels, device=y.device) if objective.jitter else y
        start = objective.start(y, z)
        cond = cond if objective.conditional else None
    else:
        solver = build_solver(config.sample.solver, info.sigma_data)
        levels = build_levels(config.sample.grid, schedule, steps)
    asked = Asked(torch.tensor(seeds), cond, start)
    hidden = _hidden(config, info) if start is None else None
    guide = () if hidden is None else (known_image(hidden),)

    def finish(x: Tensor) -> Tensor:
        if hidden is not None:  # the last level may have some noise yet
            x = torch.where(hidden, x, y.cpu())
        return y.cpu() + objective.unit * x if isinstance(objective, PairResidual) else x

    return Leading(Plan(solver, levels, *guide), asked, finish)


def _hidden(config: Config, info: DataInfo) -> Tensor | None:
    """Where the other end does not say x0 itself, if it does elsewhere: a past without noise."""
    o = config.data
    if not o.corruption or o.noise or parsed(config.objective.kind).name == "residual":
        return None
    operator = build("operators", o.corruption, shape=tuple(info.shape))
    return ~operator.known if isinstance(operator, Mask) else None


def continued(
    denoiser: Denoiser, config: Config, info: DataInfo, y: Tensor, seeds: list[int],
    windows: int, steps: int | None = None,
) -> Tensor:  # fmt: skip
    """Series or films `(n, C, L + windows h, ...)` longer than those that the run was trained on,
    from the past in y `(1 or n, C, L, ...)`: by windows of L that overlap by the past of `future:h`

        x_k+1 = lead(last L - h moments of x_k),   of which the h new moments are kept         (1)

    Each window is told no more than its own past: what is not in it, such as a speed of which two
    frames must tell, is forgotten. With one step each is the mean of the forecast and no draw of
    it: where the law is nearly certain it is nearer the truth, and errors grow slower. Raises
    BadInput of a run that forecasts nothing.
    """
    h, length = horizon_of(config), y.shape[2]
    past = length - h
    made = [lead(denoiser, config, info, y, seeds, steps).x]
    for k in range(windows):
        y = torch.zeros_like(made[-1])
        y[:, :, :past] = made[-1][:, :, h:]
        chance = [seed + (k + 1) * HELD_OUT for seed in seeds]
        made.append(lead(denoiser, config, info, y, chance, steps).x)
    return torch.cat([made[0], *(x[:, :, past:] for x in made[1:])], 2)


def horizon_of(config: Config) -> int:
    """h of a run that was trained with `future:h`; BadInput of another."""
    name, values, said = parsed(config.data.corruption or "nothing")
    if name != "future":
        raise BadInput(
            f"the run was trained with `data.corruption` {config.data.corruption}.",
            "Give one of future:HORIZON, which can go on from what it made.",
        )
    return int(values[0] if values else said["horizon"])
