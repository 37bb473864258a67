"""What a fit found, as figures: log Z by each way, its bounds, and what was missed."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scorefield.base.finding import Figure, Table
from scorefield.density.fit import Estimate, FittedDensity, between
from scorefield.density.target import Modes

FAR = 3.0
"""Errors by which a reference must exceed an estimate before modes count as missed."""
OFF = 0.1
"""And nats."""


def bounds(fitted: FittedDensity) -> Iterator[Figure]:
    """log Z and its bounds, each beside the true one if that is known; and the weights."""
    found, true = fitted.found, fitted.target.log_z
    words = "by importance weights; beside it the true one, where it is known"
    yield Figure("log Z", found.log_z, found.stderr, true, key="log_z", words=words)
    words = "the mean of log w over the paths"
    yield Figure("lower bound", found.mean, found.mean_error, true, best="high", key="elbo",
                 words=words)  # fmt: skip
    if upper := fitted.upper:
        words = "the mean of log w over exact samples' paths"
        yield Figure("upper bound", upper.mean, upper.mean_error, true, best="low", key="eubo",
                     words=words)  # fmt: skip
    words = f"of {found.n:,}: (sum w)^2 / sum w^2"
    yield Figure("effective samples", found.ess, unit="%", best="high", key="ess", words=words)


def missed(fitted: FittedDensity) -> list[str]:
    """That a population found more than the paths did, if it did."""
    if fitted.reference is None:
        return []
    other, found = between(fitted.reference), fitted.found
    error = math.hypot(other.stderr, found.stderr)
    if other.log_z - found.log_z > max(FAR * error, OFF):
        return [
            f"a population finds log Z {other.log_z:.3f} and the paths {found.log_z:.3f}: they may "
            "miss modes, whatever their effective samples. Train longer, or on a wider scale."
        ]
    if found.ess < 0.01:
        return [f"{found.ess:.2%} of the paths carry the weight: log Z may be off by more than its "
                "error."]  # fmt: skip
    return []


def estimates(fitted: FittedDensity) -> Table:
    """The estimates of log Z in a row each."""
    rows: list[tuple[Any, ...]] = []

    def row(name: str, e: Estimate, calls: int | None) -> None:
        error = e.stderr if math.isfinite(e.stderr) else None
        true = fitted.target.log_z
        rows.append((name, e.log_z, error, None if true is None else e.log_z - true, calls))

    row("paths" if fitted.reached is None else "populations", fitted.found, fitted.calls)
    if fitted.resampled is not None:
        row("paths, resampled", between(fitted.resampled), fitted.resampled.calls)
    if fitted.reference is not None:
        row("SMC reference", between(fitted.reference), fitted.reference.calls)
    return Table("log Z", ("by", "log Z", "error", "off by", "calls"), tuple(rows))


def mode_figures(modes: Modes, x: Tensor) -> Iterator[Figure]:
    """How far the fractions f_k of samples `(n, dim)` in the K modes are from the true p_k, over
     R ways of sorting: the largest, and the chi-square over its degrees of freedom,

        sum_rk n (f_rk - p_k)^2 / p_k / (R (K - 1)),

    whose mean is 1 for exact independent samples."""
    which, fractions = modes.which(x), modes.fractions.to(x)
    seen = torch.stack([(which == k).double().mean(0) for k in range(len(fractions))], 1)
    ways, apart = seen.shape[0], seen - fractions
    chi = float((len(x) * apart.square() / fractions).sum()) / (ways * (len(fractions) - 1))
    words = "over its degrees of freedom"
    yield Figure("modes, chi-square", chi, None, 1.0, best="low", words=words)
    words = f"of a fraction; {len(fractions)} modes, {ways} ways"
    yield Figure("modes, largest miss", float(apart.abs().max()), unit="%", best="low", words=words)
