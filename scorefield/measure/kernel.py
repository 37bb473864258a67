"""Are two sets of one law? Distances that a kernel makes, unbiased, with their standard error.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)                                           (1)

each mean over pairs of different examples, so that two sets of one law are at 0 on average, at any
size (Gretton et al. 2012, "A kernel two-sample test", eq. 3). With k = (x.y/D + 1)^3 it is the KID
(Binkowski et al. 2018); with k = -|x - y| the energy distance (Szekely and Rizzo 2013); with a
Gaussian kernel every two laws are apart, whereas KID sees three moments alone.

To first order the statistic is a mean over examples, of h_i = 2 (mean_j k(x_i, x_j) - mean_j
k(x_i, y_j)) and of g_j alike, and so

    stderr^2 = var(h) / n + var(g) / m                                                      (2)

which for two sets of one law, where the first order is 0, is sqrt(2) too large. The plain mean
over all pairs, those of an example with itself too, is never below 0 and is not unbiased.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.base.blocks import blocks
from scorefield.base.checks import check_rows, check_same_shape
from scorefield.base.finding import Figure
from scorefield.measure.reference import Outcome, Reference, Seen, as_json

KernelName = Literal["cubic", "gaussian", "distance"]
BESIDE = 8
"""Blocks that would fit where one is made: a kernel's stay in the processor's cache."""
SOME = 500
"""Examples whose distances say how wide a Gaussian kernel is."""


class Discrepancy(NamedTuple):
    """An unbiased MMD^2 and its standard error (eq. 2)."""

    value: float
    stderr: float


def mmd2(a: Tensor, b: Tensor, kernel: KernelName = "cubic") -> Discrepancy:
    """Eq. 1 between features (n, D) and (m, D); D as many numbers as a row has. The Gaussian kernel
    is as wide as the median distance within the first of b. Kernels of distances are in float64;
    cubes have the dtype of the features, whose rounding averages out.

    >>> a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [6.0]])
    >>> mmd2(a, b, "distance").value  # 2 * 5 - 1 - 1
    8.0
    >>> mmd2(a, b).value  # cubes of xy + 1: 1 within a, 31^3 within b; across 1, 1, 6^3, 7^3
    29511.5
    """
    check_rows("first features", a)
    check_rows("second features", b)
    check_same_shape("first features", a, "second features", b)
    x, y = (z.flatten(1) if kernel == "cubic" else z.flatten(1).double() for z in (a, b))
    width = torch.pdist(y[:SOME]).median().item() or 1.0 if kernel == "gaussian" else 1.0
    r, s = (_rows(z, z, kernel, width, own=True)[0] for z in (x, y))
    c, d = _rows(x, y, kernel, width)
    h, g = 2 * (r - c), 2 * (s - d)
    value = (r.mean() + s.mean() - 2 * c.mean()).item()
    return Discrepancy(value, (h.var() / len(h) + g.var() / len(g)).sqrt().item())


def _rows(
    a: Tensor, b: Tensor, kernel: KernelName, width: float, own: bool = False
) -> tuple[Tensor, Tensor]:
    """Means of k(a_i, b_j) over j `(n,)` and over i `(m,)`; within a set, its `own`, over others
    alone, and the first only."""
    over, under = (z.new_zeros(len(z), dtype=torch.float64) for z in (a, b))
    for rows in blocks(len(a), BESIDE * len(b)):
        rest = slice(rows.start if own else 0, None)
        k = _kernel(a[rows], b[rest], kernel, width)
        if own:  # each pair once, of which both have it
            k[:, : len(k)].triu_(1)
        over[rows] += k.sum(1)
        (over if own else under)[rest] += k.sum(0)
    return over / (len(b) - own), under / len(a)


def _kernel(a: Tensor, b: Tensor, kernel: KernelName, width: float) -> Tensor:
    if kernel == "cubic":
        k = torch.addmm(a.new_ones(()), a, b.T, alpha=1 / a.shape[1])
        return (k * k).mul_(k)
    apart = torch.cdist(a, b)
    return -apart if kernel == "distance" else (-(apart**2) / (2 * width**2)).exp_()


def _figure(name: str, key: str, kernel: KernelName, trio: tuple[Seen, Seen, Seen]) -> Outcome:
    some, train, test = (seen.features for seen in trio)
    found, floor = mmd2(some, test, kernel), mmd2(train, test, kernel)
    words = f"Unbiased, between {len(some):,} samples and {len(test):,} held-out examples."
    figure = Figure(name, *found, *floor, best="low", words=words)
    record = {**found._asdict(), "floor": floor.value, "floor_stderr": floor.stderr}
    return Outcome({key: as_json({**record, "n": len(some)})}, (figure,))


def kid_figure(samples: Seen, reference: Reference, kernel: KernelName = "cubic") -> Outcome:
    """Kernel distance (KID; another kernel: MMD^2) of samples to held-out data beside that of as
    many training examples: are they of one law?"""
    name = "Kernel distance (KID)" if kernel == "cubic" else f"MMD², {kernel} kernel"
    return _figure(name, "kid", kernel, reference.trio(samples))


def energy_figure(samples: Seen, reference: Reference) -> Outcome:
    """Energy distance of samples to held-out data beside that of as many training examples: it is 0
    for equal laws alone."""
    return _figure("Energy distance", "energy", "distance", reference.trio(samples))
