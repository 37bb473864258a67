"""Multistep predictor-correctors in the angle atan(sigma/alpha), a variable with no bad end.

With `u = x / sqrt(alpha^2 + sigma^2)` a level is an angle theta, 0 on data and pi/2 in pure noise:
`u = cos(theta) D + sin(theta) eps` turns D into eps, and the probability flow is

    du/dtheta = v = cos(theta) eps - sin(theta) D = (cos(theta) u - D) / sin(theta).       (eq. 5)

Towards noise theta moves like `alpha/sigma`, in which D becomes linear; towards data like
`sigma/alpha`, in which eps does. In the logarithm of the ratio, the clock of DPM-Solver, both
flatten out exponentially, and a polynomial through few values far apart overshoots.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.between import at_angle
from scorefield.solve.interpolate import FAR, POINTS, WEIGHTS, Form, angle_clock, lagrange, noisier
from scorefield.solve.loop import Info, Plain
from scorefield.solve.multistep import (
    Interpolated,
    Multistep,
    Weigh,
    Weights,
    no_past,
    planned,
    timeline,
    weighted_sum,
    widened,
)
from scorefield.solve.transfer import positive, transfer

MANY = 64
"""Rows from which it is quicker to take the polynomials of a fading slope one after another."""

LONGEST = 5 / 2
"""A slope fades out of the polynomials as a step grows to this many times the gaps up to it: longer
steps through nodes that lie together overshoot (docs/arc.md)."""

NARROW = 0.005
"""Variance of the data around a mode, as the corrector takes it: D then follows u as it does for
N(0, NARROW). With few steps better than 0 (D held) and 1 (v held); on fine grids all are one."""

SLIGHT = 1 / 20
"""Where `|w J|` is less, J is taken as 0: v is then a sum of two terms instead of k + 2."""

NEAREST = 1 / 10
"""The most alpha/sigma that a first call from noise is made at: of pictures D depends on x from
there on, and u held so far no longer gives it."""

APART = 4.0
"""How fast D at the last levels fades out of what is carried on to clean data, as the quotient of
their angles falls from 3/2: near each other they would make more of what is rough in a network."""


@dataclass(frozen=True)
class Arc(Plain):
    """Adams in the angle, its corrector implicit: the default, one call a step.

        there:  u' = u_P + int P dtheta,   P through the last k slopes v               (eq. 5)
        here:   u = u_P + lag + w v,       v = v_P + J (u - u_P),   both at once:
                v = (v_P + J lag) / (1 - w J)                                          (eq. 6)

    u_P is the prediction that the call was made at and v_P its slope. The corrector integrates the
    last step anew through the slope at its end too: w is that slope's weight, lag all the rest less
    what P gave. A common corrector moves u and keeps v_P, as if v did not change with u (J = 0).
    But in noise D hardly changes and v follows u. With

        J = (1 - c) cos(theta) sin(theta) / (c cos(theta)^2 + sin(theta)^2),   c = .005,

    dv/du of N(0, c) data, few steps are stable and exact, and no call is added. Short steps, where
    |w J| < 1/20, need no J: there v = v_P.

    Order k+1, with weights exact on uneven steps (Hairer, Nørsett and Wanner 1993, "Solving
    ordinary differential equations", III.5). The first steps have few slopes: what they leave is of
    third order in the first step in the middle of the way, of fourth from pure noise, as the
    corrector is of all the way since the start while that is at hand. A slope fades out of P and Q
    as the step grows from 3/2 to 5/2 of a gap up to it. Equal levels change nothing.

    Pure noise says nothing of x, so the first call of a run from there is made within its first
    step, where alpha/sigma is y = min(y_there^2, 1/10): u is held up to it, and the corrector
    is of that way. Along the flow D is even in sigma, so that clean data is

        x0 = sum_j w_j D_j,   w_j = prod_(i != j) s_i / (s_i - s_j),   s = sin(theta)^2    (eq. 7)

    through D at the last three calls, the last D made of the corrected u and v. One call alone
    gives D, and so do levels that lie near each other. Angles are of data of deviation 1, or of
    `sigma_data`. Theory and figures: docs/arc.md.

    Use it, on the grid `vp-closing`, unless there is a reason for another: it needs no choosing.
    """

    k: int = 5
    sigma_data: float = 1.0
    carries = True

    def __post_init__(self) -> None:
        if self.k not in (2, 3, 4, 5):
            raise BadInput(f"k is {self.k}.", "Use 2, 3, 4 or 5 slopes.")
        if not 0 < self.sigma_data < math.inf:
            raise BadInput(f"sigma_data is {self.sigma_data:g}.", "Use a deviation > 0.")

    @property
    def order(self) -> int:
        return self.k + 1

    def init(self, x: Tensor) -> Any:
        return no_past(x, self.k, more=2)

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        x, *past, ages = state
        slopes, seen = past[: self.k], past[self.k :]
        at = _asked(widened(ages, here), here, there, self.sigma_data)
        if at is not here:
            x = x * like(_size(at, self.sigma_data) / _size(here, self.sigma_data), x)
        denoised = denoise(x, at, cond)
        (value, move), ages = planned(_weights, ages, here, there, self.sigma_data)
        if at is not here:
            newest, batch = (at.logsnr / 2).to(ages), len(ages)
            ages = widened(ages, here)
            ages = ages.expand(max(len(ages), newest.shape[:1].numel()), *ages.shape[1:])
            ages = torch.cat((newest.expand_as(ages[:, 0])[:, None], ages[:, 1:]), 1)
            ages = ages.expand(batch, *ages.shape[1:])
        slope = weighted_sum((x, denoised, *slopes), value)
        moved = weighted_sum((x, denoised, slope, *slopes, *seen), move)
        state = type(state)(moved, slope, *slopes[:-1], denoised, seen[0], ages)
        return state, Info(denoised)


def _size(level: Level, unit: float) -> Tensor:
    """The deviation of x at a level, for data of deviation `unit`."""
    return torch.hypot(unit * level.alpha, level.sigma)


def _asked(ages: Tensor, here: Level, there: Level, unit: float) -> Level:
    """Where a step makes its call: here, but in a run's first step within it, if that is from
    deeper in noise than what lies there says anything of."""
    fresh = ages[:, 0] == math.inf
    if not fresh.any():
        return here
    now, after = (unit * level.alpha / positive(level.sigma) for level in (here, there))
    signal = (after**2).clamp(max=NEAREST)
    early = (signal > now) & (there.sigma > 0)
    early = early if fresh.all() else early & fresh.to(early.device)
    if not early.any():
        return here
    within = at_angle(here, there, (unit / positive(signal)).atan(), 0.0)
    return Level(*(torch.where(early, *leaves) for leaves in zip(within, here)))


def _weights(ages: Tensor, here: Level, there: Level, unit: float) -> Weights:
    """Of x, D and the past slopes in v (eq. 6); of x, D, v, the past slopes and two past D in
    x_there."""
    at = _asked(ages, here, there, unit)
    lam, after = (v + math.log(unit) for v in timeline(ages, at, there))
    here, at, there = (Level(unit * level.alpha, level.sigma) for level in (here, at, there))
    held = torch.atan2(here.sigma, here.alpha) - torch.atan2(at.sigma, at.alpha)
    w, lag, ahead = _adams(lam, angle_clock(after))
    w = w - held
    scale, scale_there = torch.hypot(*at), torch.hypot(*there)
    cos, sin = at.alpha / scale, at.sigma / scale
    turn = (1 - NARROW) * cos * sin / (NARROW * cos**2 + sin**2)
    turn = torch.where((w * turn).abs() < SLIGHT, 0.0, turn)
    damp = 1 / (1 - w * turn)
    per_sin = torch.where(sin > 0, damp / sin, 1.0)
    value = (cos / scale * per_sin, -per_sin / unit, *((turn * damp)[:, None] * lag).unbind(1))
    corrected = torch.column_stack((w, lag))
    late = torch.where(ahead[:, :1] != 0, corrected, 0.0)
    slopes = scale_there.expand_as(w)[:, None] * (late + pad(ahead, (0, 1)))
    last = torch.where((there.sigma == 0) & (at.sigma > 0), _to_data(lam).T, 0.0)
    ends = last[0] != 0
    first = scale_there * last[0]
    corrected = cos.expand_as(w)[:, None] * corrected
    corrected[:, 0] -= sin
    slopes = torch.where(ends[:, None], first[:, None] * corrected, slopes)
    kept = torch.where(ends, first * cos, scale_there) / scale
    still = (there.sigma == 0) & ~ends
    keep, gain = transfer(at, there)
    move = (
        torch.where(still, keep, kept),
        torch.where(still, gain / unit, 0.0),
        *(torch.where(still, 0.0, part) for part in slopes.unbind(1)),
        *(scale_there / unit * last[1:]),
    )
    return value, move


def _to_data(lam: Tensor) -> Tensor:
    """Weights `(rows, 3)` of the last three D, newest first, in clean data (eq. 7). The terms of
    those that are not APART, one from the next, fade out, from 3/2 to 5/4."""
    theta, older = angle_clock(lam[:, :3]), noisier(lam[:, :3])
    apart = torch.where(older, APART * theta[:, 1:] / theta[:, :-1] - APART - 1, 0.0)
    fraction = apart.clamp(0, 1).cummin(1).values
    far = FAR * torch.arange(1, 3, dtype=lam.dtype)
    square = theta.sin() ** 2
    s = torch.column_stack((square[:, 0], torch.where(older & (fraction > 0), square[:, 1:], far)))
    zero = torch.zeros_like(s[:, :1])
    one, two, three = (pad(lagrange(s[:, :n], zero)[:, 0], (0, 3 - n)) for n in (1, 2, 3))
    return one + fraction[:, :1] * (two - one) + fraction[:, 1:] * (three - two)


def _adams(lam: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For slopes at `lam (rows, k+1)`, newest first: w `(rows,)` of the one here in the step that
    led here; the lag's `(rows, k)` of those before it; and P's `(rows, k)` in the step there.

    While all slopes since the start are at hand, w and the lag are of the whole way since then, in
    the fraction that the oldest slope has in Q.
    """
    theta, older = angle_clock(lam), noisier(lam)
    here, gaps = theta[:, 0], theta.diff(dim=1)
    step, last = here - there, torch.where(older[:, 0], gaps[:, 0], 0.0)
    far = FAR * torch.arange(1, lam.shape[1] + 1, dtype=lam.dtype)
    before = torch.where(older, theta[:, 1:], far[1:])
    absent = far[0].expand_as(here)
    led = _fade(last, gaps[:, 1:], older[:, 1:])
    leads = _fade(step, gaps[:, :-1], older[:, :-1])
    start = torch.where(older, theta[:, 1:], here[:, None]).amax(1)
    young = older[:, 0] & ~older[:, -1]
    first = _fade(gaps.amax(1), gaps[:, :1], older[:, :1])[:, 0]
    oldest = (2 * torch.where(older[:, 1:], led, 1.0).amin(1) - 1).clamp(min=0) * first * young
    q, p = torch.column_stack((here, before)), torch.column_stack((absent, before))
    ahead = _integral(torch.column_stack((absent, here, before[:, :-1])), leads, here, there)
    both, fractions = torch.cat((q, p)), led.repeat(2, 1)

    def apart(since: Tensor) -> Tensor:
        q, p = _integral(both, fractions, since.repeat(2), here.repeat(2)).chunk(2)
        return q - p

    late = apart(here + last)
    if oldest.any():
        late = torch.lerp(late, apart(start), oldest[:, None])
    return late[:, 0], late[:, 1:], ahead[:, 1:]


def _fade(step: Tensor, gaps: Tensor, there: Tensor) -> Tensor:
    """The fraction `(rows, n)` of each Newton term: whole while the step is at most 3/2 of every
    gap `(rows, n)` up to its node, none from 5/2 on."""
    fraction = (LONGEST - step[:, None] / torch.where(there, gaps, 1.0)).clamp(0, 1)
    return torch.where(there, fraction, 0.0).cummin(1).values


def _integral(nodes: Tensor, fractions: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Weights `(rows, n+2)` of the values at `nodes` in the integral of their polynomial, in which
    the Newton terms of the last n nodes have `fractions (rows, n)`: a mean of the polynomials
    through the first 2, 3, ... of them."""
    count, length = nodes.shape[1], (end - start)[:, None]
    s = start[:, None] + length * POINTS
    if len(nodes) < MANY:  # all at once; a node that is FAR is as good as none
        used = torch.ones(count - 1, count, dtype=torch.bool).tril(1)
        far = FAR * torch.arange(1, count + 1, dtype=nodes.dtype)
        staged = torch.where(used, nodes[:, None], far).flatten(0, 1)
        each = WEIGHTS @ lagrange(staged, s.repeat_interleave(count - 1, 0))
        each = each.unflatten(0, (-1, count - 1))
    else:
        stages = (WEIGHTS @ lagrange(nodes[:, :m], s) for m in range(2, count + 1))
        each = torch.stack([pad(stage, (0, count - stage.shape[1])) for stage in stages], 1)
    mean = -pad(fractions, (1, 1)).index_fill(1, torch.tensor(0), 1.0).diff(dim=1)
    return length * (mean[:, None] @ each)[:, 0]


@dataclass(frozen=True)
class ExpArc(Multistep):
    """Exponential predictor-corrector: eps (or D) a parabola in the angle (eqs. 3, 4).

        x_there = (alpha_there/alpha_here) x + alpha_there int_r^r' P(atan r) dr,   r = sigma/alpha

    P goes through the last three values; each call first corrects the point that it is made at by
    the cubic through it too, so that the order is 4 (exponential Adams methods: Hochbruck and
    Ostermann 2010, "Exponential integrators"). With few calls eps is the better of the two. The
    weights are taken by Gauss-Legendre points in log r.

    Use it at about 10 calls, where it can be nearer than `Arc`.
    """

    form: Form = "eps"
    order = 4

    def __post_init__(self) -> None:
        if self.form not in ("eps", "x0"):
            raise BadInput(f"form is {self.form!r}.", 'Use "eps" or "x0".')

    def method(self) -> tuple[Weigh, int]:
        return Interpolated(self.form, angle_clock, 2, "always"), 3
