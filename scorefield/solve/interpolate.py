"""Weights of exponential multistep methods: exact integrals of an interpolated D or eps.

With `l = log(alpha/sigma)` the probability flow is solved by either of two integrals,

    x_there/sigma_there = x/sigma + int e^l D dl                  (x0 form)               (eq. 3)
    x_there/alpha_there = x/alpha - int e^-l eps dl               (eps form)              (eq. 4)

from here to there. A multistep method puts the polynomial through the last values of D (or eps)
in the place of D, in some clock s(l):

    x_there = held + sum_j w_j (f_j - f_0),
    w_j = alpha_there int e^(l - l_there) L_j(s(l)) dl   or  -sigma_there int e^(l_there - l) L_j,

where `held` is the step with f_0 held (eq. 1) and L_j are Lagrange's polynomials. The integrals
are taken by eight Gauss-Legendre points in l: relative error under 1e-12 where a step changes
sigma/alpha by a factor e, and no cancellation in short ones, which closed forms suffer
(`(e^h - 1 - h)/h^2` at h = 1e-3 keeps one digit of float32's seven).

An absent value is a node FAR away. There its polynomial is 0 and its factor in the others is 1 to
the last bit, so that samples with pasts of different lengths share one formula.

Deep in noise l runs off to -inf, and eps says nothing of D. There every method follows D in the
angle, with y = alpha/sigma for the measure:

    x_there/sigma_there = x/sigma + int D dy,   D a polynomial in atan(1/y)               (eq. 3a)

which is finite from pure noise (y = 0) on, where D is a value like any other. As long as all values
since a run's start are at hand, a new one corrects the whole way since then.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from scorefield.solve.transfer import DEEP, positive

Form = Literal["x0", "eps"]
Clock = Callable[[Tensor], Tensor]

FAR = 1e100
NOISY, EVEN, UNEVEN = 10.0, 1.2, 5 / 2
"""Eq. 3a holds from pure noise on; from DEEP where a step in alpha/sigma is at most UNEVEN times
the last one, from NOISY where EVEN times: steps that grow want the method's own clock."""
_nodes, _weights = np.polynomial.legendre.leggauss(8)
POINTS, WEIGHTS = torch.from_numpy(_nodes / 2 + 0.5), torch.from_numpy(_weights / 2)


def log_clock(lam: Tensor) -> Tensor:
    """lam itself: the clock of DPM-Solver."""
    return lam


def angle_clock(lam: Tensor) -> Tensor:
    """`atan(sigma/alpha)`: finite at both ends, and near either end D or eps is linear in it."""
    return (-lam).exp().atan()


def ratio_clock(lam: Tensor) -> Tensor:
    """`sigma/alpha`: the time of the variance-exploding process."""
    return (-lam).exp()


def vp_clock(lam: Tensor) -> Tensor:
    """`sqrt(log(1 + (sigma/alpha)^2))`, proportional to the time of VP with beta_min = 0."""
    return (-2 * lam).exp().log1p().sqrt()


def noisier(lam: Tensor) -> Tensor:
    """Which of the values at `lam (B, K)`, newest first, but the first were made in more noise
    than all after them: a repeated level was not, nor was a missing past, at +inf."""
    return lam[:, 1:] < lam[:, :-1].cummin(1).values


def present(lam: Tensor) -> Tensor:
    """Which of the values at `lam (B, K)`, newest first, have a place in a polynomial: the first,
    and those made in more noise than all after them."""
    return torch.cat((torch.ones_like(lam[:, :1], dtype=torch.bool), noisier(lam)), 1)


def are_noisy(lam: Tensor, there: Tensor, after: Tensor) -> Tensor:
    """Samples `(B,)` whose step from lam to after, with the values that are `there (B, K)`, lies in
    noise: they follow eq. 3a."""
    most = torch.where(there, lam, torch.inf).amin(1)
    y, y_there = lam.exp(), after.exp()
    step, last = y_there - y[:, 0], torch.where(there[:, 1], y[:, 0] - y[:, 1], 0.0)
    deep = (most < -math.log(DEEP)) & (step <= UNEVEN * last) | (most == -torch.inf)
    return deep | (most < -math.log(NOISY)) & (step <= EVEN * last)


def warmed(clock: Clock, there: Tensor) -> Clock:
    """`clock` for samples whose values are all `there (B, K)`, the angle for the others: runs start
    in noise, where D is linear in `alpha/sigma` and low degrees fit best in the angle."""
    full = there[:, -1:]
    if clock is angle_clock or full.all():
        return clock
    return lambda lam: torch.where(full, clock(lam), angle_clock(lam))


def place(clock: Clock, lam: Tensor, there: Tensor) -> Tensor:
    """Nodes `clock(lam) (B, K)`, with the absent ones FAR away, each at its own place."""
    far = FAR * torch.arange(lam.shape[1], dtype=lam.dtype)
    return torch.where(there, clock(lam), far)


def lagrange(nodes: Tensor, s: Tensor) -> Tensor:
    """`L_j(s)` `(B, Q, K)` at points `s (B, Q)` for `nodes (B, K)`.

    >>> nodes = torch.tensor([[0.0, 1.0]])
    >>> lagrange(nodes, torch.tensor([[0.25]]))
    tensor([[[0.7500, 0.2500]]])
    """
    count = nodes.shape[1]
    apart = nodes[:, None] - nodes[:, :, None] + torch.eye(count, dtype=nodes.dtype)
    basis = s.new_ones(*s.shape, count)
    for m, top in enumerate((s[..., None] - nodes[:, None]).split(1, -1)):
        factor = top / apart[:, m, None]
        factor[..., m] = 1.0
        basis = basis * factor
    return basis


def predicted(form: Form, clock: Clock, nodes: Tensor, lam: Tensor, h: Tensor) -> Tensor:
    """`int e^(l - l_there) L_j dl` or `-int e^(l_there - l) L_j dl` `(B, K)` from lam to lam + h.

    >>> lam, h = torch.zeros(1).double(), torch.ones(1).double()
    >>> w = predicted("x0", log_clock, torch.tensor([[0.0, -0.5]]).double(), lam, h)
    >>> w.sum().item(), w[0, 1].item()  # 1 - e^-h and -2 int e^(l - 1) l dl = -2/e
    (0.632..., -0.735...)
    """
    sign = 1.0 if form == "x0" else -1.0
    weight = (sign * h[:, None] * (POINTS - 1)).exp() * WEIGHTS
    basis = lagrange(nodes, clock(lam[:, None] + h[:, None] * POINTS))
    return sign * h[:, None] * (weight[:, None] @ basis)[:, 0]


def corrected(clock: Clock, nodes: Tensor, lam: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """How a value `f_0` that has come in at the end of a step corrects it: `(c (B,), L (B, K-1))`
    with a change of `c (f_0 - sum_j L_j f_j)`, per unit of alpha_here.

    The interpolant through K values differs from that through the K-1 older ones by
    `(f_0 - sum_j L_j(s_0) f_j) prod_j (s - s_j)/(s_0 - s_j)`; c integrates the product with
    `e^(l - l_here)` over the last step, from `lam - h` to lam.
    """
    product, foretold = newton(nodes, clock(lam[:, None] + h[:, None] * (POINTS - 1)))
    return h * ((h[:, None] * (POINTS - 1)).exp() * WEIGHTS * product).sum(1), foretold


def newton(nodes: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """`prod_j (s - s_j)/(s_0 - s_j)` over all nodes but the first, at `s (B, Q)`; and `L_j(s_0)`
    `(B, K-1)` of their polynomial at the first."""
    older = nodes[:, 1:]
    product = ((s[..., None] - older[:, None]) / (nodes[:, :1] - older)[:, None]).prod(-1)
    return product, lagrange(older, nodes[:, :1])[:, 0]


def in_noise(
    lam: Tensor, there: Tensor, after: Tensor, count: int, always: bool, m: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Weights `(B, K)` of D at `lam`, newest first, in eq. 3a with the measure `d(y^m)`: of the
    first `count` in the step from lam to `after (B,)`, per unit of alpha_there; and of all in the
    correction that the first brings, per unit of alpha_here. Each row sums to 0.

    A value has no part where the step, or the last one in the correction, is more than UNEVEN times
    some gap up to it: a polynomial through values near each other means nothing far from them. The
    first two always have. While a value is not `there` the correction is of all the way since the
    oldest, unless some gap is as much longer than the last; else, and once all are there if it is
    made `always`, of the last step.
    """
    y, y_after = (m * lam).exp(), (m * after).exp()
    gaps = torch.where(there[:, 1:], y[:, :-1] - y[:, 1:], 0.0)
    nodes = place(angle_clock, lam, there & evenly_spaced(gaps, y_after - y[:, 0]))
    points, measure = powers(y[:, 0], y_after)
    ahead = (measure[:, None] @ lagrange(nodes[:, :count], power_angle(points, m)))[:, 0]
    ahead = pad(ahead / positive(y_after)[:, None], (0, lam.shape[1] - count))
    ahead[:, 0] = -ahead[:, 1:].sum(1)
    full, used = there[:, -1], there & evenly_spaced(gaps, gaps[:, 0])
    whole = ~full & (gaps.amax(1) <= UNEVEN * gaps[:, 0]) & (used == there).all(1)
    start = torch.where(whole, torch.where(there, y, torch.inf).amin(1), y[:, :2].amin(1))
    points, measure = powers(start, y[:, 0])
    product, foretold = newton(place(angle_clock, lam, used), power_angle(points, m))
    late = there[:, 1] & (~full | always)
    c = torch.where(late, (measure * product).sum(1) / positive(y[:, 0]), 0.0)[:, None]
    return ahead, c * torch.cat((torch.ones_like(c), -foretold), 1)


def evenly_spaced(gaps: Tensor, step: Tensor) -> Tensor:
    """Which values `(B, K)`, newest first, have no gap `(B, K-1)` up to them that is less than the
    step `(B,)` / UNEVEN; the first two always."""
    good = step[:, None] <= UNEVEN * gaps
    first = torch.ones_like(good[:, :1])
    return torch.cat((first, first, good[:, 1:] & good[:, :1]), 1).cumprod(1).bool()


def powers(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Points `(B, Q)` from start to end `(B,)` and their weights in an integral: Gauss-Legendre's
    in log(1 + y), which is y towards noise and its logarithm towards data."""
    low, high = start.log1p()[:, None], end.log1p()[:, None]
    points = torch.expm1(low + (high - low) * POINTS)
    return points, (high - low) * (1 + points) * WEIGHTS


def power_angle(power: Tensor, m: float) -> Tensor:
    """`atan(1/y)` of `y^m`."""
    return (1 / power ** (1 / m)).atan()
