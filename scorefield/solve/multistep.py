"""What multistep methods share: a past that is returned, and one weighted sum a step."""

import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from scorefield.base import Cond, Denoise, Level, Noise, Pairs, like
from scorefield.solve.interpolate import (
    Clock,
    Form,
    are_noisy,
    corrected,
    in_noise,
    place,
    predicted,
    present,
    warmed,
)
from scorefield.solve.loop import Info, Plain
from scorefield.solve.pairs import advance_pairs
from scorefield.solve.transfer import transfer

PAST = [
    namedtuple(f"Past{k}", ("x", *(f"past{j}" for j in range(1, k + 1)), "lam")) for k in range(8)
]
"""`Past3(x, past1, past2, past3, lam)`: x, the last values of D, eps or a slope, newest first, and
`lam = log(alpha/sigma)` `(B, 3)` where each was made; +inf where a sample has no past. A method
that stores both D and eps has those of D first, at the same places."""


def no_past(x: Tensor, values: int, forms: int = 1, more: int = 0) -> Any:
    """The state of a run that has not begun, with room for so many past values of each form, and
    for so many `more` at the newest of their places."""
    lam, count = torch.full((len(x), values), math.inf, dtype=torch.float64), values * forms + more
    return PAST[count](x, *(torch.zeros_like(x) for _ in range(count)), lam)


@dataclass(frozen=True)
class Interval:
    """A step in `l = log(alpha/sigma)`: `lam (rows, K+1)` of the values, newest first, which are
    `present`, and the step's length `h (rows,)`; h is 0 where eq. 1 is all there is to do: from
    pure noise, to clean data, at equal levels."""

    lam: Tensor
    present: Tensor
    h: Tensor


def timeline(ages: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
    """`lam (rows, K+1)` of the value here and the K past ones, newest first, and lam there."""
    lam, after = ((v.logsnr / 2).to(ages).expand(len(ages)) for v in (here, there))
    return torch.cat((lam[:, None], ages), 1), after


def widened(ages: Tensor, level: Level) -> Tensor:
    """The ages `(B, K)` of a run that begins, as `(1, K, *shape)` or `(B, K, *shape)` where each
    coordinate has a level; those that a step has left are so, and have one row if all samples
    share it."""
    shape = level.sigma.shape[1:]
    if not shape:
        return ages
    if ages.ndim < 3:
        ages = ages.reshape(*ages.shape, *(1,) * len(shape)).expand(*ages.shape, *shape)
    if not len(ages):
        return ages
    same = ages.stride(0) == 0 or bool((ages == ages[:1]).all())
    return ages[:1] if same else ages


def aged(lam: Tensor, batch: int) -> Tensor:
    """The `ages` `(B, K)` that a step leaves behind, from its timeline."""
    return lam[:, :-1].expand(batch, -1).contiguous()


Weights = tuple[tuple[Tensor | float, ...], ...]
"""Of each weighted sum that a step takes: numbers, `()` or `(rows,)`."""

Rule = Callable[..., Weights]
"""`rule(ages (rows, K), here, there, *options)`, a pure function."""


def planned(
    rule: Rule, ages: Tensor, here: Level, there: Level, *options: Any
) -> tuple[Weights, Tensor]:
    """The weights of a step and the `ages` `(B, K)` that it leaves behind.

    Where all samples are of the same age and at the same level the weights are numbers, found once
    for all batches that walk the same grid: they cost more than the sums of a small batch. Where
    each coordinate has a level they are `(1, *shape)`, once for all samples of one age.
    """
    leaves = (*here, *there)
    if here.per_coordinate:
        return _by_coordinate(rule, ages, here, there, options)
    numbers = len(ages) > 0 and not any(v.ndim or v.requires_grad for v in leaves)
    if not (numbers and bool((ages == ages[:1]).all())):
        lam, _ = timeline(ages, here, there)
        return rule(ages, here, there, *options), aged(lam, len(ages))
    row = tuple(ages[0].tolist())
    weights, lam = _known(rule, row, tuple(v.item() for v in leaves), options)
    return weights, aged(ages.new_tensor([lam]), len(ages))


@lru_cache(maxsize=4096)
def _known(
    rule: Rule, row: tuple[float, ...], leaves: tuple[float, ...], options: tuple[Any, ...]
) -> tuple[Weights, tuple[float, ...]]:
    ages = torch.tensor([row], dtype=torch.float64)
    here, there = Level.of(*leaves[:2]), Level.of(*leaves[2:])
    weights, (lam, _) = rule(ages, here, there, *options), timeline(ages, here, there)
    return tuple(tuple(float(w) for w in sums) for sums in weights), tuple(lam[0].tolist())


def _by_coordinate(
    rule: Rule, ages: Tensor, here: Level, there: Level, options: tuple[Any, ...]
) -> tuple[Weights, Tensor]:
    """A coordinate is a row of the rule."""
    batch, own = len(ages), widened(ages, here)
    rows = max(len(own), len(here.sigma), len(there.sigma))
    shape = (rows, *here.sigma.shape[1:])
    values = torch.stack([leaf.expand(shape).flatten() for leaf in (*here, *there)])
    table = own.movedim(1, -1).expand(*shape, -1).reshape(-1, own.shape[1])
    find = _found if rows > 1 or values.requires_grad else _tables
    weights, lam = find(rule, ByBits(values), ByBits(table), options)
    shaped = tuple(tuple(w.reshape(shape) for w in sums) for sums in weights)
    left = lam.reshape(*shape, -1).movedim(-1, 1)
    return shaped, left.expand(batch, *left.shape[1:])


class ByBits:
    """Numbers that are known by their bits: two of the same are one key."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers
        self.key = numbers.detach().cpu().numpy().tobytes()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByBits) and self.key == other.key


def _found(
    rule: Rule, values: ByBits, table: ByBits, options: tuple[Any, ...]
) -> tuple[tuple[tuple[Tensor, ...], ...], Tensor]:
    """Of coordinates that are at the same levels, such as cosines (k, l) and (l, k), once."""
    rows = torch.cat((values.numbers.T, table.numbers), 1)
    first, place = distinct(rows)
    alpha, sigma, alpha_there, sigma_there = rows[first, :4].unbind(1)
    here, there = Level(alpha, sigma), Level(alpha_there, sigma_there)
    ages = rows[first, 4:]
    weights, (lam, _) = rule(ages, here, there, *options), timeline(ages, here, there)
    own = tuple(torch.stack(torch.broadcast_tensors(*sums))[:, place].unbind() for sums in weights)
    return own, lam[place, :-1]


def distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of rows `(R, C)` of which no two have the same bits, and the place of each row among
    them; all of them where a gradient is asked of each.

    >>> first, place = distinct(torch.tensor([[2.0, 1.0], [3.0, 1.0], [2.0, 1.0]]))
    >>> first[place].tolist()
    [0, 1, 0]
    """
    if rows.requires_grad:
        every = torch.arange(len(rows), device=rows.device)
        return every, every
    table = np.ascontiguousarray(rows.cpu().numpy())
    bits = table.view(np.dtype((np.void, table.itemsize * table.shape[1])))[:, 0]
    _, first, place = np.unique(bits, return_index=True, return_inverse=True)
    return torch.from_numpy(first).to(rows.device), torch.from_numpy(place).to(rows.device)


_tables = lru_cache(maxsize=128)(_found)


class Weigh(Protocol):
    """What is particular to a method: the `forms` of its values, and `(rows, K+1)` weights of f_0
    (the value here) and the K past ones for each form, to be added to the step that holds f_0: each
    row sums to 0."""

    @property
    def forms(self) -> tuple[Form, ...]: ...

    def __call__(self, step: Interval, here: Level, there: Level) -> tuple[Tensor, ...]: ...


class Multistep(Plain):
    """A method of one call a step that is its weights and how many past values they are of."""

    def method(self) -> tuple[Weigh, int]:
        raise NotImplementedError

    @property
    def pairs(self) -> bool:  # type: ignore[override]
        """Of a polynomial that needs no corrector; orders then hold from noise on."""
        weigh = self.method()[0]
        return isinstance(weigh, Interpolated) and weigh.correct == "start"

    def init(self, x: Tensor) -> Any:
        weigh, values = self.method()
        return no_past(x, values, len(weigh.forms))

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        weigh = self.method()[0]
        if isinstance(here, Pairs) and isinstance(there, Pairs):
            return advance_pairs(weigh, denoise, state, here, there, cond)
        return advance(weigh, denoise, state, here, there, cond)


def advance(
    weigh: Weigh, denoise: Denoise, state: Any, here: Level, there: Level, cond: Cond | None
) -> tuple[Any, Info]:
    """`x_there = rho x + (alpha_there - alpha_here rho) D + sum_j w_j f_j`, f = D or eps."""
    x, *past, ages = state
    denoised = denoise(x, here, cond)
    (value, move), ages = planned(exponential_weights, ages, here, there, weigh)
    count, stored = ages.shape[1], []
    for k, form in enumerate(weigh.forms):
        now = denoised if form == "x0" else weighted_sum((x, denoised), value)
        stored += [now, *past[k * count : (k + 1) * count - 1]]
    moved = weighted_sum((x, denoised, *past), move)
    return type(state)(moved, *stored, ages), Info(denoised)


def exponential_weights(ages: Tensor, here: Level, there: Level, weigh: Weigh) -> Weights:
    """Of x and D in eps; and of x, D and the past values in x_there."""
    lam, after = timeline(ages, here, there)
    now = lam[:, 0]
    h = torch.where(now.isfinite() & after.isfinite(), after - now, 0.0)
    per_sigma = 1 / torch.where(here.sigma > 0, here.sigma, 1.0)
    eps = (per_sigma, -here.alpha * per_sigma)
    keep, gain = transfer(here, there)
    past = []
    for form, w in zip(weigh.forms, weigh(Interval(lam, present(lam), h), here, there)):
        w = torch.where(h[:, None] > 0, w, 0.0)
        value = (0.0, 1.0) if form == "x0" else eps
        keep, gain = keep + w[:, 0] * value[0], gain + w[:, 0] * value[1]
        past += w[:, 1:].unbind(1)
    return eps, (keep, gain, *past)


def weighted_sum(tensors: tuple[Tensor, ...], weights: tuple[Tensor | float, ...]) -> Tensor:
    """`sum_j w_j t_j`, in one pass over memory for each; none for the number 0."""
    x = tensors[0]
    numbers = [weight for weight in weights if isinstance(weight, float)]
    if len(numbers) == len(weights):
        total = x * numbers[0]
        for tensor, number in zip(tensors[1:], numbers[1:]):
            if number:
                total.add_(tensor, alpha=number)
        return total
    parts = torch.stack(torch.broadcast_tensors(*weights)).to(x).unbind()
    total = x * like(parts[0], x)
    for tensor, part in zip(tensors[1:], parts[1:]):
        total.addcmul_(tensor, like(part, x))
    return total


@dataclass(frozen=True)
class Interpolated:
    """Weights of the polynomial of degree `degree` through D or eps in a clock.

    `correct` adds, to the x that a step starts from, the correction that the value made there
    allows: "start" while the past is too short for the degree, which a start of lower order would
    otherwise cap at order 2; "always" at every step (a corrector, which raises the order by one).

    In noise it is a polynomial through D in the angle (eq. 3a), so that a method of eps keeps
    values of D beside it.
    """

    form: Form
    clock: Clock
    degree: int
    correct: Literal["start", "always"] = "start"

    @property
    def forms(self) -> tuple[Form, ...]:
        return ("x0",) if self.form == "x0" else ("x0", "eps")

    def __call__(self, step: Interval, here: Level, there: Level) -> tuple[Tensor, ...]:
        early = are_noisy(step.lam, step.present, step.lam[:, 0] + step.h)
        first = of_rows(early, self._in_noise, step, here, there)
        own = of_rows(~early, self._in_clock, step, here, there)
        return (first + own,) if self.form == "x0" else (first, own)

    def _in_noise(self, step: Interval, here: Level, there: Level) -> Tensor:
        always, kept = self.correct == "always", here.alpha * transfer(here, there)[0]
        after = step.lam[:, 0] + step.h
        ahead, late = in_noise(step.lam, step.present, after, self.degree + 1, always)
        return column(there.alpha) * ahead + column(kept) * late

    def _in_clock(self, step: Interval, here: Level, there: Level) -> Tensor:
        lam, h = step.lam[:, 0], step.h
        clock = warmed(self.clock, step.present)
        nodes = place(clock, step.lam, step.present)
        scale = there.alpha if self.form == "x0" else there.sigma
        count = self.degree + 1
        w = column(scale) * predicted(self.form, clock, nodes[:, :count], lam, h)
        w[:, 0] = -w[:, 1:].sum(1)
        w = pad(w, (0, nodes.shape[1] - count))
        behind = step.present[:, 1]
        if self.correct == "start":
            behind = behind & ~step.present[:, -1]
            if not behind.any():
                return w
        last = torch.where(behind, lam - step.lam[:, 1], 0.0)
        c, foretold = corrected(clock, nodes, lam, last)
        # D_0 - sum L_j D_j = -(sigma/alpha) (eps_0 - sum L_j eps_j), as x is the same in both
        unit = here.alpha if self.form == "x0" else -here.sigma
        c = torch.where(behind, c * unit * transfer(here, there)[0], 0.0)[:, None]
        return w + c * torch.cat((torch.ones_like(c), -foretold), 1)


def of_rows(
    rows: Tensor,
    weigh: Callable[[Interval, Level, Level], Tensor],
    step: Interval,
    here: Level,
    there: Level,
) -> Tensor:
    """Weights `(B, K)` of the `rows (B,)` that they are asked of; 0 for the others."""
    if rows.all():
        return weigh(step, here, there)
    found = torch.zeros_like(step.lam)
    if rows.any():
        levels = (Level(*(v.expand(len(rows))[rows] for v in level)) for level in (here, there))
        part = Interval(step.lam[rows], step.present[rows], step.h[rows])
        found[rows] = weigh(part, *levels)
    return found


def column(leaf: Tensor) -> Tensor:
    """A `()` or `(rows,)` leaf as `(1, 1)` or `(rows, 1)`."""
    return leaf.reshape(-1, 1)
