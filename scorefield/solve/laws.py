"""The laws of a solver, each against data whose denoiser and flow are known: `scorefield check`.

A check raises `Broken`, which says what was found. The tests run the same ones over every solver of
the catalogue, each beside a planted defect that it must find.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Denoise, Level, Noise, Seeded, Zero, join
from scorefield.denoise import DataSet, Gaussian, Mixture
from scorefield.solve.loop import Solver, sample, trajectory


class Broken(AssertionError):
    """A law that a solver breaks."""


def _hold(held: object, says: str) -> None:
    if not held:
        raise Broken(says)


MEAN = torch.tensor([0.7, -0.4, 0.2], dtype=torch.float64)
COV = torch.tensor([[1.3, 0.5, -0.2], [0.5, 0.6, 0.1], [-0.2, 0.1, 0.15]], dtype=torch.float64)
VARIANCE, BASIS = torch.linalg.eigh(COV)


class Bell(Gaussian):
    """The Gaussian data. Its denoiser in eigenmodes: a law makes thousands of small calls, and the
    general mixture's takes four times as long."""

    def denoise(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        alpha, sigma = (leaf[..., None] for leaf in level)
        gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
        return (MEAN + ((x.double() - alpha * MEAN) @ BASIS * gain) @ BASIS.T).to(x)


GAUSSIAN = Bell(MEAN, COV)


def marginal(level: Level) -> tuple[Tensor, Tensor]:
    """Mean and covariance of `alpha x0 + sigma eps` for the Gaussian data; of each, at several."""
    alpha, sigma = level.alpha[..., None], level.sigma[..., None]
    eye = torch.eye(3, dtype=torch.float64)
    return alpha * MEAN, alpha[..., None] ** 2 * COV + sigma[..., None] ** 2 * eye


def gaussian_flow(x: Tensor, here: Level, there: Level) -> Tensor:
    """The probability flow of the Gaussian data: each eigenmode keeps its quantile."""
    (alpha, sigma), (alpha1, sigma1) = ([leaf[..., None] for leaf in v] for v in (here, there))
    spread = (alpha1**2 * VARIANCE + sigma1**2) / (alpha**2 * VARIANCE + sigma**2)
    return alpha1 * MEAN + ((x - alpha * MEAN) @ BASIS * spread.sqrt()) @ BASIS.T


class Ring(Mixture):
    """Equal Gaussians of deviation .3 with means of one length, at which the squares in their
    shares cancel:

        D = (alpha .09 x + sigma^2 sum_k p_k m_k) / V,   p = softmax(alpha x m_k / V),
        V = .09 alpha^2 + sigma^2
    """

    def denoise(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        wide, means = x.double(), self.means.double()
        alpha, sigma = (leaf[..., None] for leaf in level)
        total = 0.09 * alpha**2 + sigma**2
        posterior = (wide @ means.T * (alpha / total)).softmax(-1)
        return ((0.09 * alpha * wide + sigma**2 * (posterior @ means)) / total).to(x)


def eight(dtype: torch.dtype = torch.float64) -> Ring:
    """Eight equal Gaussians on a circle of radius 2, standard deviation .3."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    return Ring(
        means.to(dtype),
        (0.09 * torch.eye(2, dtype=torch.float64)).expand(8, 2, 2).to(dtype),
        torch.full((8,), 1 / 8, dtype=dtype),
    )


EIGHT = eight()
POINT = DataSet(torch.tensor([[0.7, -0.3]], dtype=torch.float64))
"""Data of one point, where D stands still."""
CARRIED = 0.02
"""What the corrections of a point's steps, with its D made of u and v, may leave of that."""


CLEAN = Level.of(1.0, 0.0)
PURE = Level.of(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Course:
    """Levels by logsnr, as a schedule has them: `alpha` of sigma/alpha, which is exp(-logsnr/2)."""

    alpha: Callable[[Tensor], Tensor]

    def inverse(self, logsnr: Tensor) -> Tensor:
        return logsnr

    def __call__(self, logsnr: Tensor) -> Level:
        ratio = (-logsnr / 2).exp()
        return Level(self.alpha(ratio), self.alpha(ratio) * ratio)


PRESERVING = Course(lambda ratio: (1 + ratio**2) ** -0.5)
EXPLODING = Course(torch.ones_like)
STRAIGHT = Course(lambda ratio: 1 / (1 + ratio))
DOWN = join(
    [
        PRESERVING(torch.linspace(-10, 9, 8).double()),
        Level(torch.ones(1).double(), torch.zeros(1).double()),
    ]
)
"""A grid of nine levels, the last one clean, that the step laws walk down."""


def logsnr_levels(schedule: Any, steps: int, lowest: float = -6.0, highest: float = 6.0) -> Level:
    return schedule(schedule.inverse(torch.linspace(lowest, highest, steps + 1).double()))


def side_by_side(several: Sequence[Level], each: int = 1) -> Level:
    """Grids of one length as one, `(steps+1, B)`, with `each` samples on the first, then on the
    second, ...: a sample is its own (batches.py), so one run measures all."""
    return Level(*(torch.stack(leaves, 1).repeat_interleave(each, 1) for leaves in zip(*several)))


def begun(seeds: list[int], level: Level = DOWN, dtype: torch.dtype = torch.float64) -> Tensor:
    return Seeded(seeds).start((2,), level, dtype=dtype)


def grown(
    solver: Solver, seeds: list[int], age: int, first: int = 0, denoise: Denoise = EIGHT.denoise
) -> Any:
    """A state that has walked `age` steps of DOWN, beginning at its level `first`."""
    state = solver.init(begun(seeds, DOWN.at(first)))
    for k in range(first, first + age):
        state, _ = solver.step(denoise, state, DOWN.at(k), DOWN.at(k + 1), Seeded(seeds), None)
    return state


def cat(states: list[Any]) -> Any:
    return type(states[0])(*map(torch.cat, zip(*states)))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


class NoChance:
    """A noise that must not be drawn."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        raise Broken("a deterministic step drew noise")


def order_shown(coarse: float, fine: float) -> float:
    """The order that halving the step shows."""
    return math.log2(coarse / fine)


def orders_on_gaussian(solver: Solver, *schedules: Any) -> list[float]:
    """From 80 to 160 steps, on each schedule, sixteen points a piece; at order 6 from 60 to 120,
    before the error of the start, of order 3, shows."""
    errors = []
    for steps in (80, 160) if solver.order < 6 else (60, 120):
        levels = side_by_side([logsnr_levels(schedule, steps) for schedule in schedules], 16)
        here, there = levels.at(0), levels.at(-1)
        draw = torch.from_numpy(np.random.default_rng(1).standard_normal((16, 3)))
        x = draw.repeat(len(schedules), 1) * torch.hypot(*here)[:, None]
        wrong = sample(solver, GAUSSIAN.denoise, x, levels, Zero()) - gaussian_flow(x, here, there)
        errors.append(wrong.view(len(schedules), -1).square().mean(1).sqrt().tolist())
    return [order_shown(*pair) for pair in zip(*errors)]


def agree(found: float, order: int, above: float = 0.0) -> bool:
    """Measured = declared. .15, and .05 an order: what the next term of the error still shows at
    160 steps. `above`: how much more is let pass where the leading term may be small."""
    margin = max(0.15, 0.05 * order)
    return -margin < found - order < margin + above


def check_gaussian_order(solver: Solver, *schedules: Any) -> None:
    """On every schedule. above: DPM-Solver++ 3M's leading term is so small here that at 160 steps
    it shows 3.5."""
    found = orders_on_gaussian(solver, *schedules)
    said = f"measured {[round(each, 3) for each in found]}, declared {solver.order}"
    _hold(all(agree(each, solver.order, above=0.5) for each in found), said)


MakeNoise = Callable[[list[int]], Noise]


def check_step_of_cat(solver: Solver, make_noise: MakeNoise = Seeded) -> None:
    """step(cat(a, b, ...)) = cat(step(a), step(b), ...): other levels, seeds and ages side by side.

    The parts: a young one, a fresh one, one at pure noise, an old one, one whose step is the last,
    one that stands still on clean data.
    """
    solver = copy.deepcopy(solver)
    parts = [
        ([11, 12, 13], grown(solver, [11, 12, 13], 2), DOWN.at(2), DOWN.at(3)),
        ([21, 22], grown(solver, [21, 22], 0, 4), DOWN.at(4), DOWN.at(5)),
        ([31], grown(solver, [31], 0), PURE, DOWN.at(1)),
        ([61, 62], grown(solver, [61, 62], 5), DOWN.at(5), DOWN.at(6)),
        ([41, 42], grown(solver, [41, 42], 3, 4), DOWN.at(7), DOWN.at(8)),
        ([51], grown(solver, [51], 3, 5), CLEAN, CLEAN),
    ]
    alone = [
        solver.step(EIGHT.denoise, state, here, there, make_noise(seeds), None)[0]
        for seeds, state, here, there in parts
    ]
    here, there = (
        Level(*map(torch.cat, zip(*(level.expand(len(seeds)) for seeds, level in levels))))
        for levels in ([(p[0], p[2]) for p in parts], [(p[0], p[3]) for p in parts])
    )
    seeds = [seed for part in parts for seed in part[0]]
    state = cat([part[1] for part in parts])
    together, info = solver.step(EIGHT.denoise, state, here, there, make_noise(seeds), None)
    _hold(len(info.denoised) == len(seeds), "D has not as many rows as x")
    for leaf, expected in zip(together, cat(alone)):
        same = (leaf == expected) | ((leaf - expected).abs() <= 1e-12 * (1 + expected.abs()))
        _hold(same.all(), "a sample depends on its batch")


def check_neighbours(
    solver: Solver, make_noise: MakeNoise = Seeded, dtype: torch.dtype = torch.float64
) -> None:
    """Sample i is the same alone, first of three, and inside a hundred in another order.

    1e-12 and 1e-5: matrix products of another size add in another order; nothing else may differ.
    """
    solver, denoise = copy.deepcopy(solver), eight(dtype).denoise
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5

    def run(seeds: list[int]) -> Tensor:
        x = begun(seeds, dtype=dtype)
        return sample(solver, denoise, x, DOWN, make_noise(seeds))

    many = list(range(100))
    whole = run(many)
    for seeds in ([7], [7, 1, 2], [99, 50, 7, 7], many[::-1]):
        _hold(close(run(seeds), whole[seeds], tolerance), f"seeds {seeds[:4]} depend on the batch")


def check_resume(
    solver: Solver,
    make_noise: MakeNoise = Seeded,
    kept: Callable[[dict[str, Tensor]], dict[str, Tensor]] = copy.deepcopy,
) -> None:
    """Paused after k steps, kept outside, and gone on with: the same bits."""
    seeds = [3, 1, 4]
    steps = trajectory(copy.deepcopy(solver), EIGHT.denoise, begun(seeds), DOWN, make_noise(seeds))
    whole = [state for state, _ in steps]
    for k in (1, 2, 5):
        steps = trajectory(
            copy.deepcopy(solver), EIGHT.denoise, begun(seeds), DOWN, make_noise(seeds)
        )
        for _ in range(k):
            state, _ = next(steps)
        kind = type(state)
        state = kind(**kept(state._asdict()))
        rest = sample(
            copy.deepcopy(solver), EIGHT.denoise, state, DOWN.at(slice(k, None)), make_noise(seeds)
        )
        _hold(torch.equal(rest, whole[-1][0]), f"a pause after {k} steps changes the sample")


def carries_at_once(solver: Solver) -> bool:
    """Whether it carries D on to clean data by no history, but a slope."""
    return getattr(solver, "carries", False) and len(solver.init(begun([1]))) == 1


def check_terminal(solver: Solver) -> None:
    """A step to sigma = 0 returns D, whatever the history; if it carries D on from there, where D
    stands still, and, if by a history, without one."""
    for age in (0, 1, 2, 3, 5):
        carried = (age and getattr(solver, "carries", False)) or carries_at_once(solver)
        exact = POINT if carried else EIGHT
        state, here = grown(solver, [1, 2, 3], age, denoise=exact.denoise), DOWN.at(age)
        after, info = solver.step(exact.denoise, state, here, CLEAN, Seeded([1, 2, 3]), None)
        expected = exact.denoise(state[0], here)
        _hold(close(after[0], expected, CARRIED if exact is POINT else 1e-12), f"age {age}: not D")
        _hold(close(info.denoised, expected), f"age {age}: info is not D")


def check_flags(solver: Solver) -> None:
    """`stochastic` says whether a step's outcome depends on chance."""
    if not solver.stochastic:
        sample(solver, EIGHT.denoise, begun([1, 2]), DOWN, NoChance())
        return
    one, two = (
        sample(solver, EIGHT.denoise, begun([1, 2]), DOWN, Seeded(seeds))
        for seeds in ([1, 2], [3, 4])
    )
    _hold(not torch.equal(one, two), "called stochastic but draws nothing")


def formula(solver: Solver) -> Solver:
    """A solver as a fixed rule: an adaptive one with nothing to meet, which tries no step twice."""
    return dataclasses.replace(solver, atol=math.inf) if solver.adaptive else solver  # type: ignore


def check_dtype(solver: Solver, dtype: torch.dtype) -> None:
    """dtype in = dtype out for x and D, on levels that stay float64; every leaf finite but lam."""
    denoise = eight(torch.float64 if dtype == torch.float64 else torch.float32).denoise
    x = begun([1, 2, 3], dtype=dtype)
    for state, info in trajectory(solver, denoise, x, DOWN, Seeded([1, 2, 3])):
        _hold(state[0].dtype == dtype, f"{dtype} became {state[0].dtype}")
        _hold(info.denoised.dtype == dtype, f"D is {info.denoised.dtype}")
        _hold(state[0].isfinite().all(), f"not finite in {dtype}")


def _order(solver: Solver) -> str:
    """Against the flow of Gaussian data on three schedules: `measured = declared`."""
    if solver.stochastic:
        return "not measured: it draws noise"
    solver = formula(solver)
    check_gaussian_order(solver, PRESERVING, EXPLODING, STRAIGHT)
    return f"order {solver.order} as declared"


def _terminal(solver: Solver) -> str:
    check_terminal(solver)
    return "a step to clean data is D, whatever came before"


def _batches(solver: Solver) -> str:
    check_step_of_cat(solver)
    check_neighbours(solver)
    return "a sample is its own, whatever is beside it"


def _pause(solver: Solver) -> str:
    check_resume(solver)
    return "a walk that pauses ends in the same bits"


def _seeds(solver: Solver) -> str:
    check_flags(solver)
    return "other seeds, other samples" if solver.stochastic else "draws no noise"


def _dtype(solver: Solver) -> str:
    for dtype in (torch.float32, torch.float64):
        check_dtype(solver, dtype)
    return "float32 and float64 stay what they are"


LAWS = {
    "order": _order,
    "clean data": _terminal,
    "batches": _batches,
    "pause": _pause,
    "seeds": _seeds,
    "dtype": _dtype,
}


class Verdict(NamedTuple):
    """Whether a law holds, and what was found."""

    law: str
    holds: bool
    found: str


def verdicts(solver: Solver) -> list[Verdict]:
    """Every law on a solver; a solver that raises breaks it."""
    found = []
    for name, law in LAWS.items():
        try:
            found.append(Verdict(name, True, law(solver)))
        except Broken as broken:
            found.append(Verdict(name, False, str(broken)))
        except Exception as error:
            found.append(Verdict(name, False, f"{type(error).__name__}: {error}"))
    return found
