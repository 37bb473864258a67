"""Averages of any length after the run, from snapshots of a few (Karras et al. 2024, sec. 3.2).

A power-function average at time t weighs the weights of each moment s before it by its profile

    p(s) = (gamma + 1) s^gamma / t^(gamma + 1),   0 <= s <= t.                            (eq. 1)

An average is linear in its profile. So the profile of any length that lies near the span of the
snapshots' profiles gives its average as the same combination of snapshots:

    p = sum_i x_i p_i + r,   x = argmin int r(s)^2 ds.                                    (eq. 2)

The normal equations hold only inner products, which are known:

    int p_a p_b ds = (gamma_a + 1)(gamma_b + 1) / (gamma_a + gamma_b + 1)
                     (m/t_a)^gamma_a (m/t_b)^gamma_b / max(t_a, t_b),   m = min(t_a, t_b)  (eq. 3)

The error in the weights is `int r(s) theta(s) ds`. Over weights that move as white noise its mean
square is `int r^2` exactly, and for every path of weights it is at most
`sqrt(int r^2) sqrt(int theta^2)`.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.store import Snapshot
from scorefield.train.ema import Power

Profile = tuple[float, float]
"""A time, in any unit, and the relative length of the average that is taken then."""


def coefficients(have: Sequence[Profile], want: Profile) -> tuple[np.ndarray, float]:
    """x of (eq. 2) and the error that is left, `sqrt(int r^2 / int p^2)`.

    Snapshots later than the wanted time must be left out by the caller. An error under 1e-7 is the
    rounding of float64.

    >>> x, error = coefficients([(50, 0.05), (100, 0.05), (100, 0.1)], (100, 0.05))
    >>> abs(x).round(6).tolist(), error < 1e-7
    ([0.0, 1.0, 0.0], True)
    """
    t, gamma = _columns(have)
    to, power = _columns([want])
    gram, onto = inner(t, gamma, t, gamma), inner(t, gamma, to, power)[:, 0]
    square = float(inner(to, power, to, power)[0, 0])
    scale = np.sqrt(np.diag(gram))  # unit profiles: their products are cosines
    y = np.linalg.lstsq(gram / np.outer(scale, scale), onto / scale, rcond=1e-14)[0]
    x = y / scale
    left = square - 2 * x @ onto + x @ gram @ x
    return x, float(np.sqrt(max(left, 0.0) / square))


def inner(t_a: np.ndarray, a: np.ndarray, t_b: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`int p_a p_b ds` of (eq. 3), for all pairs of profiles (time, gamma): `(A, B)`."""
    t_a, a = t_a[:, None], a[:, None]
    m = np.minimum(t_a, t_b)
    first = (a + 1) * (b + 1) / (a + b + 1)
    return first * (m / t_a) ** a * (m / t_b) ** b / np.maximum(t_a, t_b)


def _columns(profiles: Sequence[Profile]) -> tuple[np.ndarray, np.ndarray]:
    times, lengths = zip(*profiles, strict=True)
    gammas = [Power(length).gamma for length in lengths]
    return np.array(times, np.float64), np.array(gammas, np.float64)


def combine(
    snapshots: Sequence[Snapshot],
    x: np.ndarray,
    averaged: Iterable[str],
    watch: Callable[[], object] = lambda: None,
) -> dict[str, Tensor]:
    """`sum_i x_i theta_i` of the tensors named in `averaged`, summed in float64; of all others
    those of the last snapshot. One snapshot at a time is in memory; `watch` is called after each.

    Raises BadInput if the snapshots are not of one network.
    """
    names = set(averaged)
    total: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    for snapshot, weight in zip(snapshots, x.tolist(), strict=True):
        before, last = last, snapshot.tensors()
        if (before and _shapes(before) != _shapes(last)) or not names <= last.keys():
            raise BadInput(
                f"{snapshot.path} is not a snapshot of the run's network.",
                "Restore the folder snapshots, or remove the file.",
            )
        for name in names:
            theta = last[name].double()
            total[name] = total[name].add_(theta, alpha=weight) if name in total else weight * theta
        watch()
    return {name: total[name].to(v) if name in names else v for name, v in last.items()}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
