"""The likelihood of the probability flow: Song et al. 2021, "Score-based generative modeling
through stochastic differential equations", section 4.3 and appendix D.2."""

import math
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Level, Noise, Seeded, Zero, like
from scorefield.likelihood.coordinates import ascend_by_coordinate
from scorefield.likelihood.ends import End, from_data, start_log_prob, to_noise, to_pure
from scorefield.likelihood.nodes import climb
from scorefield.likelihood.trace import Probe, Traced, draw_probes, exact_trace, probed_trace
from scorefield.solve import RK, Solver, trajectory
from scorefield.solve.loop import check_levels

NOISIEST = -12.0
"""A path ends at this logsnr, alpha/sigma = 1/400, if its schedule goes on to less signal: eq. 7 or
eq. 8 takes the rest."""
NOISY_ENOUGH = -4.0
"""Eq. 8 is not used where there is more signal than this, alpha/sigma = 1/7."""
ROUGH = 1e-4
"""nats: from here on an end's estimated error is worth a warning."""
HIDDEN = 8.0
"""Of `|x0 - b|^2 (alpha/sigma)^2` at the noisiest level. From here on a mode as far away as x0 may
lie where eq. 8 does not see it: at the centre its weight falls by exp(-4)."""

Prior = Callable[[Tensor, Level], Tensor]
"""`log p(x)` `(B,)` of x at a level: `start_log_prob`, or `log_prob` of an exact denoiser."""


class FlowSchedule(Protocol):
    """t in [0, 1], data at 0 -> Level, and back from logsnr; `floor`, t of its last noisy level."""

    @property
    def floor(self) -> float: ...

    def __call__(self, t: Tensor) -> Level: ...

    def inverse(self, logsnr: Tensor) -> Tensor: ...


class Rough(UserWarning):
    """An end of a flow is known roughly only."""


class FlowLogProb(NamedTuple):
    """`log_prob (B,)` in nats; its `stderr (B,)` over the probes, 0 for the exact trace and nan for
    one probe; `latent`, like x: where the flow takes x, at the noisiest level of the path; and
    `ends (B,)`, an estimate in nats of what log_prob is off for want of levels beyond the path's
    two ends. The steps between have an error of their own."""

    log_prob: Tensor
    stderr: Tensor
    latent: Tensor
    ends: Tensor


def path(schedule: FlowSchedule, steps: int, t: float = 0.0) -> Level:
    """Levels `(steps+1,)` of a flow between data and noise, noisiest first, all of them noisy.

    Equal steps of `atan(sqrt(sigma/alpha))` from t = 1, or NOISIEST if there is less signal yet, to
    t, or if that is 0 to the schedule's floor: dense where signal and noise are equal, and in both
    tails steps of equal fractions of the root.

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


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The keywords of `flow_log_prob` that say how the flow is walked, between which ends."""

    solver: Solver | None = None
    levels: Level | None = None
    t: float = 0.0
    floor: bool = False
    probe: Probe = "rademacher"
    noise: Noise | None = None
    prior: Prior | None = None
    create_graph: bool = False


def flow_log_prob(
    denoise: Denoise,
    x: Tensor,
    schedule: FlowSchedule,
    trace: Literal["exact"] | int = "exact",
    *,
    cond: Cond | None = None,
    **walk: Any,
) -> FlowLogProb:
    """`log p(x)` of x `(B, ...)` under the flow of a denoiser, in nats (eqs. 1 to 8); further
    keywords are those of `Walk`.

    x is data, and `log_prob` the density of clean data, extrapolated from the last level. With
    `floor` it is that of data with this level's noise, `x0 + (sigma/alpha) eps`, at x: nothing is
    extrapolated there. With t above 0, x is noisy and at that time of the schedule, and the density
    is that of noisy data there.

    trace: "exact" takes a vector-Jacobian product for each number of a sample at every call of the
    denoiser; an int is a count of random probes of the law `probe`, drawn by `noise` (default:
    `Seeded` with seeds 0, 1, ...), so that sample i is the same whatever its batch. With one probe
    a call costs about two. A solver of one call a step has probes of its own at every level
    (eq. 3a), and by as much less of an error as they are many; with another the probes are the same
    along the whole path.

    solver: any deterministic one, multistep and adaptive too: it walks up in the mirror (eq. 5).
    levels: noisiest first as for sampling, with noise at all of them. By default `RK()`, four calls
    a step, on `path` of 64 steps, or of 4 for an adaptive solver: right to 1e-4 nats, where it
    does not warn, on mixtures in up to 64 dimensions with deviations from .1 to 10, in one from .03
    on. With t above 0, x is at the last level.

    prior: the log density at the noisiest level. By default a schedule that ends in pure noise has
    that of pure noise, for any velocity; else what is left to it is read off the denoiser (eq. 8),
    a posterior mean, and log_prob estimates the density of the data. It is read in the middle of
    the noise, where in many dimensions a trained network has seen nothing. With `start_log_prob`,
    the law that samplers start from, log_prob is the density of what they draw.

    A schedule with a level for each coordinate has x in its basis, levels those of its clock, and
    no clean end: log_prob is then as with `floor`, from the law that samplers start from.

    With `create_graph` log_prob can be differentiated, in x and in the denoiser's weights; memory
    then grows with the number of calls. Warns (`Rough`) where an end is off by more than 1e-4 nats
    by its own estimate, `ends`: data with deviations under about ten times the last level's
    sigma/alpha, or whose spread times the noisiest level's alpha/sigma is not small. Raises
    BadInput for a stochastic solver, a denoiser without a gradient, clean levels, and without a
    prior for a path that ends in too little noise.

    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.process import VP
    >>> unit = Gaussian(torch.zeros(2), torch.eye(2))
    >>> flow_log_prob(unit.denoise, torch.zeros(1, 2), VP()).log_prob  # -log(2 pi)
    tensor([-1.8379])
    """
    how = Walk(**walk)
    if hasattr(schedule, "lifted"):
        return _by_coordinate(denoise, x, schedule, trace, cond, how)
    solver = how.solver or RK()
    levels = how.levels or path(schedule, 4 if solver.adaptive else 64, how.t)
    t, prior, create_graph = how.t, how.prior, how.create_graph
    ends_pure = bool((levels.alpha[0] == 0).all())
    levels = levels.at(slice(int(ends_pure), None))  # the step to pure noise is eq. 7's
    _check(solver, levels, len(x), prior is None and not ends_pure)
    pure = _beyond(schedule, levels.at(0), prior is None, ends_pure)
    first, last = levels.at(-1), levels.at(0)
    given, traced = cond, exact_trace(denoise, create_graph)
    if trace != "exact":
        noise = Seeded(range(len(x))) if how.noise is None else how.noise
        probes = draw_probes(x, trace, how.probe, noise, first, last)
        given, traced = {**(cond or {}), "probe": probes}, probed_trace(denoise, create_graph)
    with torch.set_grad_enabled(create_graph):
        nats = x.new_zeros(len(x), 1 if trace == "exact" else trace)
        clean = far = End(x, nats, nats[:, 0])
        if t == 0 and how.floor:
            wider = x[0].numel() * like(first.alpha.log(), nats)
            clean = clean._replace(x=like(first.alpha, x) * x, nats=nats + wider)
        elif t == 0:
            clean = from_data(traced, x, first, given)
        if trace != "exact" and _by_nodes(solver, levels):

            def probed(level: Level) -> Cond:
                probes = draw_probes(x, trace, how.probe, noise, level, CLEAN)
                return {**(cond or {}), "probe": probes}

            latent, gained = climb(solver, traced, clean.x, levels, probed)
            gained = gained + clean.nats
        else:
            latent, gained = _ascend(solver, traced, clean.x, levels, clean.nats, given)
        if pure is not None:
            far = to_pure(traced, latent, last, pure, given)
            latent = far.x if ends_pure else latent
            known = start_log_prob if prior is None else prior
            far = far._replace(nats=far.nats + known(far.x, pure)[:, None])
        elif prior is not None:
            far = far._replace(nats=prior(latent, last)[:, None])
        else:
            far = to_noise(denoise, traced, latent, last, given)
            x0 = x / like(first.alpha, x) if t else x
            far = far._replace(error=far.error + _hidden(x0.detach(), far.x.detach(), last))
        each = gained + far.nats
    _warn_rough(clean.error, far.error, first, last)
    ends = clean.error + far.error
    return FlowLogProb(each.mean(1), _stderr(each, trace == "exact"), latent, ends)


def _by_coordinate(
    denoise: Denoise,
    x: Tensor,
    schedule: Any,
    trace: Literal["exact"] | int,
    cond: Cond | None,
    how: Walk,
) -> FlowLogProb:
    """log p of `y + (sigma_k/alpha_k) eps` at y = x, at the first level of the clock."""
    if how.t:
        raise BadInput(
            f"t is {how.t:g}, where x is noisy, and {type(schedule).__name__} has a level for each "
            "coordinate.",
            "Give clean data in its basis and t = 0: dequantise them uniformly.",
        )
    solver, clock = how.solver or RK(), how.levels or path(schedule, 64)
    _check(solver, clock, len(x), False)
    coords = tuple(x.shape[1:])
    levels = Level(*(v.expand(-1, -1, *coords) for v in schedule.lifted(clock, coords, True)))
    first, last = levels.at(-1), levels.at(0)
    given, count, traced = cond, 1, exact_trace(denoise, how.create_graph, each=True)
    if trace != "exact":
        noise = Seeded(range(len(x))) if how.noise is None else how.noise
        probes = draw_probes(x, trace, how.probe, noise, first, last)
        given, count = {**(cond or {}), "probe": probes}, trace
        traced = probed_trace(denoise, how.create_graph, each=True)
    alpha = first.like(x).alpha
    with torch.set_grad_enabled(how.create_graph):
        latent, gained = ascend_by_coordinate(solver, traced, alpha * x, levels, count, given)
        prior = how.prior or start_log_prob
        each = gained + prior(latent, last)[:, None] + alpha.log().sum()
    return FlowLogProb(
        each.mean(1), _stderr(each, trace == "exact"), latent, torch.zeros_like(each[:, 0])
    )


def _beyond(schedule: FlowSchedule, last: Level, bare: bool, ends_pure: bool) -> Level | None:
    """The schedule's end if the path is taken on to it (eq. 7): pure noise without a prior, and
    whatever lies beyond NOISIEST with one."""
    end = schedule(torch.tensor(1.0, dtype=torch.float64))
    end = Level(end.alpha.detach(), end.sigma.detach())
    cut = float(last.logsnr.detach().max()) < NOISIEST + 1e-6
    wanted = ends_pure or (float(end.alpha) == 0 if bare else cut)
    noisier = bool((end.alpha * last.sigma < last.alpha * end.sigma).all())
    return end if noisier and wanted else None


def _warn_rough(clean: Tensor, noisy: Tensor, first: Level, last: Level) -> None:
    """Where an end's error is more than ROUGH."""
    worst = [float(v.max()) if len(v) else 0.0 for v in (clean, noisy)]
    noise, signal = (float(v.detach().max()) for v in (first.ratio, 1 / last.ratio))
    if worst[0] > ROUGH:
        warnings.warn(
            f"the last level's noise, {noise:.2g}, is not small beside the "
            f"data's spread: log_prob is off by about {worst[0]:.1g} nats. Set floor=True, or end "
            "the levels nearer to data.",
            Rough,
            stacklevel=3,
        )
    if worst[1] > ROUGH:
        warnings.warn(
            f"the noisiest level's signal, {signal:.2g}, is not small beside "
            f"1 over the data's spread: log_prob is off by about {worst[1]:.1g} nats. Give the "
            "prior of that level, or begin the levels with more noise.",
            Rough,
            stacklevel=3,
        )


def _hidden(x0: Tensor, centre: Tensor, last: Level) -> Tensor:
    """What half of the data would be, log 2, where x0 is so far from the centre as to hide them."""
    square = (x0 - centre).flatten(1).square().sum(1)
    return (square > HIDDEN * like(last.ratio**2, square)).to(x0) * math.log(2)


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


def _by_nodes(solver: Solver, levels: Level) -> bool:
    """Whether every call is a node of the walk, each at a level of its own for all samples."""
    apart = levels.sigma.ndim == 1 and bool((levels.logsnr.diff() > 0).all())
    return apart and solver.evals == 1 and not solver.adaptive


def _stderr(each: Tensor, exact: bool) -> Tensor:
    """Of the mean of the columns `(B, S)`."""
    count = each.shape[1]
    if exact:
        return torch.zeros_like(each[:, 0])
    if count == 1:
        return torch.full_like(each[:, 0], math.nan)
    return each.std(1) / math.sqrt(count)


def _check(solver: Solver, levels: Level, batch: int, bare: bool) -> None:
    """Raise BadInput unless a deterministic solver can walk up the levels to a known density."""
    if solver.stochastic:
        name = type(solver).__name__
        raise BadInput(f"{name} is stochastic.", "A flow has no noise: use RK, Heun or DDIM.")
    check_levels(levels, batch)
    if not bool((levels.sigma > 0).all()):
        raise BadInput(
            "the last level is clean data, where the flow begins at no noise.",
            "Give a grid with a stop, or none: path(schedule, steps).",
        )
    noisiest = float(levels.at(0).logsnr.detach().max())
    if bare and noisiest > NOISY_ENOUGH:
        raise BadInput(
            f"the noisiest level has logsnr {noisiest:.3g}: x is not nearly noise there.",
            f"Start from logsnr {NOISY_ENOUGH:g} or less, or give the prior of that level.",
        )
