"""Bounds in continuous time: of the variational diffusion model, and of stochastic control."""

from itertools import pairwise
from typing import Literal, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from scorefield.base import CLEAN, BadInput, Denoise, Level, like
from scorefield.denoise import convert
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.likelihood.estimate import Bound, Copies, Draws, kl_to_noise
from scorefield.likelihood.flow import FlowSchedule
from scorefield.likelihood.trace import Probe, draw_probes, exact_trace, probed_trace

PURE = -16.0
"""A bound begins at this logsnr if the schedule goes on to less signal: the term of the prior, of
alpha^2 = 1e-7, is all that is left there."""


@torch.no_grad()
def vlb(
    denoise: Denoise,
    x0: Tensor,
    schedule: FlowSchedule,
    *,
    decoder: Decoder = gaussian,
    cells: int = 64,
    edges: Tensor | None = None,
    **chance: Unpack[Copies],
) -> Bound:
    """The bound of infinitely many steps (Kingma et al. 2021, "Variational diffusion models",
    eqs. 11 and 15; here eq. 12).

        log p(x0) >= -KL(q(x_1 | x0) || N(0, n^2 I)) - 1/2 int E |eps - eps_hat|^2 dlam
                     + E log p(x0 | x_first)

    over lam = logsnr from t = 1 to the schedule's floor, and nothing else of the schedule: between
    its ends all have one bound. lam is stratified, one in each of K cells for every copy: equal
    ones, or those between `edges` of logsnr (`even_edges`), which change the spread and no mean.
    The decoder has mean D and variance `sigma^2 / (alpha^2 + sigma^2)`, the posterior's for
    N(0, I).
    """
    edges = _edges(schedule, cells) if edges is None else edges
    copies = Draws(x0, **chance)
    terms = []
    for low, high in pairwise(edges):
        level, eps = _drawn(schedule, copies, low, high)
        denoised = denoise(copies.noisy(level, eps), level, copies.cond)
        error = (copies.x0 - denoised) / like(level.ratio, denoised)  # eps_hat - eps
        terms.append(float(high - low) / 2 * error.flatten(1).square().sum(1))
    noisiest, first = (schedule(schedule.inverse(edges[k])) for k in (0, -1))
    denoised = denoise(copies.noisy(first, copies.normal(first, CLEAN)), first, copies.cond)
    variance = first.sigma**2 / (first.alpha**2 + first.sigma**2)
    decoded = decoder(copies.x0, denoised, like(variance, denoised))
    return copies.bound(kl_to_noise(copies.x0, noisiest), terms, -decoded, edges)


def even_edges(found: Bound) -> Tensor:
    """Edges of as many cells, in each of which samples like those of `found` pay about the same.

    lam is drawn by its importance, 9/10 by the density `pay_k / width_k` in the cells of `found`
    and 1/10 evenly, as some may pay where those few did not.

    >>> none, pays = torch.zeros(1), torch.tensor([[1.0, 3.0]])
    >>> found = Bound(none, none, none, pays, none, torch.tensor([0.0, 1.0, 2.0]).double())
    >>> even_edges(found)  # densities .275 and .725
    tensor([0.0000, 1.3103, 2.0000], dtype=torch.float64)
    """
    edges, pays = found.edges, found.terms.double().mean(0).cpu()
    even = edges.diff() / (edges[-1] - edges[0])
    until = pad((0.9 * pays / pays.sum() + 0.1 * even).cumsum(0), (1, 0))
    return torch.from_numpy(np.interp(np.linspace(0, float(until[-1]), len(edges)), until, edges))


@torch.no_grad()
def sde_bound(
    denoise: Denoise,
    x0: Tensor,
    schedule: FlowSchedule,
    trace: Literal["exact"] | int = 1,
    *,
    probe: Probe = "rademacher",
    cells: int = 64,
    **chance: Unpack[Copies],
) -> Bound:
    """The bound of stochastic control (Berner, Richter and Ullrich 2022, "An optimal control
    perspective on diffusion-based generative modeling"; Huang, Lim and Courville 2021; eq. 13).

        log p(x0) >= E [log N(x_1; 0, n^2 I) + int (d f - |u|^2 / 2 - g div u) dt],
                     u = g score = -g eps_hat / sigma,

    x walking up the forward process: with the exact score the controlled process is its reversal,
    and the bound is log p(x0) but for the prior's error. (The noise network itself, eps_hat, is no
    control: with it the bound is -9.91 for -.73 on N(0, 1/4) data and VP.) In lam = logsnr,
    `g^2 dt = -sigma^2 dlam`, so the integral of what the denoiser says is

        int E [(d - alpha tr J) - |eps_hat|^2 / 2] dlam,

    stratified as in `vlb`, to clean data: beyond the floor it falls as sigma^2/alpha^2, and
    `decoder` holds that rest. There is no decoder to choose; the price is the trace.
    """
    edges = _edges(schedule, cells)
    copies = Draws(x0, **chance)
    size = x0[0].numel()
    if trace == "exact":
        traced, given = exact_trace(denoise), copies.cond
    else:
        count = trace * copies.count
        probes = draw_probes(copies.samples, count, probe, copies.noise, CLEAN, CLEAN)
        traced = probed_trace(denoise)
        given = {**(copies.cond or {}), "probe": probes.reshape(len(copies.x0), trace, size)}

    def rate(level: Level, eps: Tensor) -> Tensor:
        x = copies.noisy(level, eps)
        denoised, traces = traced(x, level, given)
        half = convert.eps(x, denoised, level).flatten(1).square().sum(1) / 2
        mean = traces.mean(1)
        return half - (size - like(level.alpha, mean) * mean)

    terms = []
    for low, high in pairwise(edges):
        level, eps = _drawn(schedule, copies, low, high)
        terms.append(float(high - low) * rate(level, eps))
    noisiest, first = (schedule(schedule.inverse(edges[k])) for k in (0, -1))
    rest = rate(first, copies.normal(first, CLEAN))
    return copies.bound(_at_noise(copies.x0, noisiest), terms, rest, edges)


def _at_noise(x0: Tensor, level: Level) -> Tensor:
    """`-E log N(x; 0, n^2 I) - d log(alpha)`, the second part being int d f dt."""
    n2 = level.alpha**2 + level.sigma**2
    square = like(level.alpha**2 / n2, x0.flatten(1)[:, 0]) * x0.flatten(1).square().sum(1)
    rest = (2 * torch.pi * n2).log() + level.sigma**2 / n2 - 2 * level.alpha.log()
    return (square + x0[0].numel() * rest.to(square)) / 2


def _edges(schedule: FlowSchedule, cells: int) -> Tensor:
    """logsnr `(cells+1,)` in equal steps, from noise to the floor."""
    if cells < 1:
        raise BadInput(f"cells is {cells}.", "Give at least 1.")
    ends = schedule(torch.tensor([1.0, schedule.floor], dtype=torch.float64)).logsnr
    low, high = ends.clamp(min=PURE).tolist()
    return torch.linspace(low, high, cells + 1, dtype=torch.float64)


def _drawn(
    schedule: FlowSchedule, copies: Draws, low: Tensor, high: Tensor
) -> tuple[Level, Tensor]:
    """A level in the cell for every copy `(B draws,)`, and its eps."""
    here, there = (schedule(schedule.inverse(lam)) for lam in (low, high))
    lam = torch.lerp(low, high, copies.uniform(here, there))
    return schedule(schedule.inverse(lam)), copies.normal(here, there)
