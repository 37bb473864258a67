"""The likelihood of the probability flow: Song et al. 2021, "Score-based generative modeling
through stochastic differential equations", section 4.3 and appendix D.2."""

import math
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, Seeded, Zero, like
from scorefield.likelihood.trace import Probe, Traced, draw_probes, exact_trace, probed_trace
from scorefield.solve import RK, Solver, trajectory
from scorefield.solve.loop import check

NOISIEST = -12.0
"""A path ends at this logsnr if its schedule goes on to less signal: eq. 7 takes the rest from
alpha/sigma = 1/400."""
NOISY_ENOUGH = -4.0
"""Eq. 7 is not used where there is more signal than this, alpha/sigma = 1/7."""

NEAR_NOISE = (55 / 24, -59 / 24, 37 / 24, -9 / 24)
"""Of the slopes at 1, 2, 3 and 4 times alpha/sigma in the integral from 0 to 1 times that."""

Prior = Callable[[Tensor, Level], Tensor]
"""`log p(x)` `(B,)` of x at a level: `start_log_prob`, or `log_prob` of an exact denoiser."""


class Schedule(Protocol):
    """t in [0, 1], data at 0 -> Level, and back from logsnr; `floor`, t of its last noisy level."""

    @property
    def floor(self) -> float: ...

    def __call__(self, t: Tensor) -> Level: ...

    def inverse(self, logsnr: Tensor) -> Tensor: ...


class FlowLogProb(NamedTuple):
    """`log_prob (B,)` in nats; its `stderr (B,)` over the probes, 0 for the exact trace and nan for
    one probe; and `latent`, like x: where the flow takes x, at the noisiest level of the path."""

    log_prob: Tensor
    stderr: Tensor
    latent: Tensor


def path(schedule: Schedule, steps: int, t: float = 0.0) -> Level:
    """Levels `(steps+1,)` of a flow between data and noise, noisiest first, all of them noisy.

    Equal steps of `atan(sqrt(sigma/alpha))` from t = 1, or NOISIEST if there is less signal yet, to
    t, or if that is 0 to the schedule's floor: dense where signal and noise are equal, and in both
    tails steps of equal shares of the root.

    >>> from scorefield.process import EDM
    >>> path(EDM(0.01, 100.0), 2).sigma
    tensor([1.0000e+02, 1.0000e+00, 1.0000e-02], dtype=torch.float64)
    """
    if steps < 1:
        raise BadInput(f"steps is {steps}.", "Give at least 1.")
    if not 0 <= t < 1:
        raise BadInput(f"t is {t:g}.", "Data is at t = 0 and noise at t = 1: use 0 <= t < 1.")
    ends = schedule(torch.tensor([1.0, t or schedule.floor], dtype=torch.float64))
    noisiest, first = (-ends.logsnr.detach().clamp(min=NOISIEST) / 4).exp().atan().tolist()
    angle = torch.linspace(noisiest, first, steps + 1, dtype=torch.float64)
    return schedule(schedule.inverse(-4 * angle.tan().log()))


def flow_log_prob(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    trace: Literal["exact"] | int = "exact",
    *,
    cond: Cond | None = None,
    solver: Solver | None = None,
    levels: Level | None = None,
    t: float = 0.0,
    probe: Probe = "rademacher",
    noise: Noise | None = None,
    prior: Prior | None = None,
    create_graph: bool = False,
) -> FlowLogProb:
    """`log p(x)` of x `(B, ...)` under the flow of a denoiser, in nats (eqs. 1 to 7).

    x is data, and `log_prob` the density of clean data. With t above 0, x is noisy and at that time
    of the schedule, and the density is that of noisy data there.

    trace: "exact" takes a vector-Jacobian product for each number of a sample at every call of the
    denoiser; an int is a count of random probes of the law `probe`, the same along the whole path
    and drawn by `noise` (default: `Seeded` with seeds 0, 1, ...), so that sample i is the same
    whatever its batch. With one probe a call costs about two.

    solver: any deterministic one, multistep and adaptive too: it walks up in the mirror (eq. 5).
    levels: noisiest first as for sampling, with noise at all of them. By default `RK()`, four calls
    a step, on `path` of 64 steps, or of 4 for an adaptive solver: right to 1e-4 nats on mixtures in
    up to 64 dimensions with deviations from .1 on. With t above 0, x is at the last level.

    prior: the log density at the noisiest level. By default what is left to pure noise is read
    off the denoiser there (eq. 7), and log_prob estimates the density of the data. With
    `start_log_prob`, the law that samplers start from, it is the density of what they draw.

    With `create_graph` log_prob can be differentiated, in x and in the denoiser's weights; memory
    then grows with the number of calls. Raises BadInput for a stochastic solver, a denoiser without
    a gradient, clean levels, and without a prior for a path that ends in too little noise.

    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.process import VP
    >>> unit = Gaussian(torch.zeros(2), torch.eye(2))
    >>> flow_log_prob(unit.denoise, torch.zeros(1, 2), VP()).log_prob  # -log(2 pi)
    tensor([-1.8379])
    """
    solver = RK() if solver is None else solver
    levels = path(schedule, 4 if solver.adaptive else 64, t) if levels is None else levels
    _check(solver, levels, len(x), prior)
    first, last = levels.at(-1), levels.at(0)
    traced = exact_trace(denoise, create_graph)
    if trace != "exact":
        noise = Seeded(range(len(x))) if noise is None else noise
        probes = draw_probes(x, trace, probe, noise, first, last)
        cond, traced = {**(cond or {}), "probe": probes}, probed_trace(denoise, create_graph)
    with torch.set_grad_enabled(create_graph):
        nats = x.new_zeros(len(x), 1 if trace == "exact" else trace)
        if t == 0:
            x, nats = _from_data(traced, x, first, cond)
        latent, gained = _ascend(solver, traced, x, levels, nats, cond)
        if prior is None:
            rest = _to_noise(traced, latent, last, cond)
        else:
            rest = prior(latent, last)[:, None]
        each = gained + rest
    return FlowLogProb(each.mean(1), _stderr(each, trace == "exact"), latent)


def start_log_prob(x: Tensor, level: Level) -> Tensor:
    """`log N(x; 0, sigma^2 I)` `(B,)`: the law that `Seeded.start` draws from.

    >>> start_log_prob(torch.zeros(1, 2), Level.of(0.0, 1.0))  # -log(2 pi)
    tensor([-1.8379])
    """
    variance = level.sigma**2
    square = x.flatten(1).square().sum(1)
    return -(x[0].numel() * (2 * math.pi * variance).log().to(x) + square / variance.to(x)) / 2


def _from_data(
    traced: Traced, x0: Tensor, level: Level, cond: Cond | None
) -> tuple[Tensor, Tensor]:
    """x at the first noisy level, and `log p(x0) - log p(x)` `(B, S)` (eq. 6)."""
    size, s = x0[0].numel(), level.ratio**2

    def slopes(y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Of y and of log p(y), per unit of s."""
        noisy = Level(level.alpha, level.alpha * s.sqrt())
        alpha = like(level.alpha, y)
        denoised, trace = traced(alpha * y, noisy, cond)
        gain = (size - like(level.alpha, trace) * trace) / like(2 * s, trace)
        return (y - denoised) / like(2 * s, y), gain

    once, gain = slopes(x0, s)
    twice, more = slopes(x0 - like(s, x0) * once, 2 * s)
    y = x0 + like(s / 2, x0) * (3 * once - twice)
    gained = like(s / 2, gain) * (3 * gain - more) + size * like(level.alpha.log(), gain)
    return like(level.alpha, y) * y, gained


def _ascend(
    solver: Solver, traced: Traced, x: Tensor, levels: Level, nats: Tensor, cond: Cond | None
) -> tuple[Tensor, Tensor]:
    """x at the noisiest of the levels, and nats + log p(x_first) - log p(x_last) (eqs. 3-5)."""
    size, shape = x[0].numel(), x.shape[1:]
    first, last = (torch.hypot(*levels.at(k)) for k in (-1, 0))

    def lifted(y: Tensor, mirrored: Level, cond: Cond | None) -> Tensor:
        """The mirror's denoiser: of x it is eps, of the nats what makes their slope div v."""
        level = Level(mirrored.sigma, mirrored.alpha)
        x, scaled = y[:, :size].unflatten(1, shape), y[:, size:]
        denoised, trace = traced(x, level, cond)
        alpha, sigma = level.like(x)
        eps = (x - alpha * denoised) / sigma
        n = torch.hypot(*level)
        cos, sin = (like(v / n, y) for v in level)
        slope = (size * cos - like(n, y) * trace) / sin
        return torch.cat((eps.flatten(1), like(1 / n, y) * sin * scaled + cos * slope), 1)

    y = torch.cat((x.flatten(1), like(first, nats) * nats), 1)
    mirror = Level(levels.sigma.flip(0), levels.alpha.flip(0))
    ((state, _),) = deque(trajectory(solver, lifted, y, mirror, Zero(), cond), maxlen=1)
    latent, scaled = state[0][:, :size].unflatten(1, shape), state[0][:, size:]
    return latent, scaled / like(last, nats) + size * like((last / first).log(), nats)


def _to_noise(traced: Traced, x: Tensor, level: Level, cond: Cond | None) -> Tensor:
    """`log p(x)` `(B, S)` at a level with little signal left (eq. 7)."""
    rho = level.alpha / level.sigma
    w = x / like(level.sigma, x)
    total: Tensor | float = 0.0
    for k, weight in enumerate(NEAR_NOISE, 1):
        denoised, trace = traced(x, Level(k * level.alpha, level.sigma), cond)
        pull = (denoised * (w - like(k * rho, x) * denoised)).flatten(1).sum(1, keepdim=True)
        total = total + weight * (pull - like(level.sigma, trace) * trace)
    return start_log_prob(x, level)[:, None] + like(rho, x.flatten(1)) * total


def _stderr(each: Tensor, exact: bool) -> Tensor:
    """Of the mean of the columns `(B, S)`."""
    count = each.shape[1]
    if exact:
        return torch.zeros_like(each[:, 0])
    if count == 1:
        return torch.full_like(each[:, 0], math.nan)
    return each.std(1) / math.sqrt(count)


def _check(solver: Solver, levels: Level, batch: int, prior: Prior | None) -> None:
    """Raise BadInput unless a deterministic solver can walk up the levels to a known density."""
    if solver.stochastic:
        name = type(solver).__name__
        raise BadInput(f"{name} is stochastic.", "A flow has no noise: use RK, Heun or DDIM.")
    check(levels, batch)
    if not bool((levels.sigma > 0).all()):
        raise BadInput(
            "the last level is clean data, where the flow begins at no noise.",
            "Give a grid with a stop, or none: path(schedule, steps).",
        )
    noisiest = float(levels.at(0).logsnr.max())
    if prior is None and noisiest > NOISY_ENOUGH:
        raise BadInput(
            f"the noisiest level has logsnr {noisiest:.3g}: x is not nearly noise there.",
            f"Start from logsnr {NOISY_ENOUGH:g} or less, or give the prior of that level.",
        )
