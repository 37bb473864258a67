"""What the laws ask of every entry: a check raises AssertionError, and on its twins it must."""

import copy
import dataclasses
import hashlib
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scorefield import catalogue
from scorefield.base import Denoise, Level, Noise, Seeded, Zero
from scorefield.denoise import Gaussian, Mixture
from scorefield.process import VP, DiscreteVP, Schedule, grids, linear_betas, zero_terminal_snr
from scorefield.solve import Solver, sample, trajectory

OPTIONS = {
    "eta": (0.5, 1.0),
    "order": (1,),
    "k": (2,),
    "form": ("x0",),
    "p": (1, 4),
    "corrector": (False,),
    "gamma": (1.5,),
    "tableau": (),  # each is in the catalogue
    "variance": (0.5, 1.0),
    "mu": (0.0,),
    "tau": (0.0, 0.5),
    "churn": (0.5,),
    "s_min": (),  # these three do nothing without churn: test_limits.py
    "s_max": (),
    "s_noise": (),
    "atol": (),  # what these three do: test_adaptive.py
    "rtol": (),
    "limit": (),
    "predictor": (),  # what these seven do: test_langevin.py
    "steps": (),
    "snr": (),
    "solver": (),
    "times": (),
    "low": (),
    "high": (),
}
"""Values to try, besides the default, for every option that a solver has. A new option without an
entry here stops the laws: it would go untested."""


def variants(default: Solver) -> dict[str, Solver]:
    """A catalogue entry under its default and under every other value of its options."""
    found = {"": default}
    for option in dataclasses.fields(default):  # type: ignore[arg-type]
        if option.init:
            for value in OPTIONS[option.name]:
                changed = dataclasses.replace(default, **{option.name: value})  # type: ignore
                found[f"({option.name}={value})"] = changed
    return found


_every = {
    name + suffix: solver
    for name, factory in catalogue.solvers.items()
    for suffix, solver in variants(factory()).items()
}
_first = {solver: name for name, solver in reversed(_every.items())}
SOLVERS: dict[str, Solver] = {
    name: solver for name, solver in _every.items() if _first[solver] == name
}
"""Each once: what one entry is under an option, another may be by default."""


def formula(solver: Solver) -> Solver:
    """A solver as a fixed rule: an adaptive one with nothing to meet, which tries no step twice."""
    return dataclasses.replace(solver, atol=math.inf) if solver.adaptive else solver  # type: ignore


DETERMINISTIC = {name: formula(s) for name, s in SOLVERS.items() if not s.stochastic}
MEASURED_BY_MOMENTS = {
    name: solver for name, solver in SOLVERS.items() if solver.stochastic or solver.order <= 2
}
"""At 40 to 80 steps the error of a method of higher order is not yet all leading term; the law of
its order on the Gaussian flow says the same at more."""
SCHEDULES: dict[str, Schedule] = {
    **{name: factory() for name, factory in catalogue.schedules.items()},
    "ddpm(zero terminal)": DiscreteVP(zero_terminal_snr(linear_betas())),
}
FROM_PURE_NOISE = {
    name: schedule
    for name, schedule in SCHEDULES.items()
    if float(schedule(torch.tensor(1.0, dtype=torch.float64)).alpha) == 0
}

# --- truths ---------------------------------------------------------------------------------------

MEAN = torch.tensor([0.7, -0.4, 0.2], dtype=torch.float64)
COV = torch.tensor([[1.3, 0.5, -0.2], [0.5, 0.6, 0.1], [-0.2, 0.1, 0.15]], dtype=torch.float64)
GAUSSIAN = Gaussian(MEAN, COV)


def eight(dtype: torch.dtype = torch.float64) -> Mixture:
    """Eight equal Gaussians on a circle of radius 2, standard deviation .3."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture(
        means.to(dtype),
        (0.09 * torch.eye(2, dtype=torch.float64)).expand(8, 2, 2).to(dtype),
        torch.full((8,), 1 / 8, dtype=dtype),
    )


EIGHT = eight()


def marginal(level: Level) -> tuple[Tensor, Tensor]:
    """Mean and covariance of `alpha x0 + sigma eps` for the Gaussian data."""
    return level.alpha * MEAN, level.alpha**2 * COV + level.sigma**2 * torch.eye(
        3, dtype=torch.float64
    )


def gaussian_flow(x: Tensor, here: Level, there: Level) -> Tensor:
    """The probability flow of the Gaussian data: each eigenmode keeps its quantile."""
    variance, basis = torch.linalg.eigh(COV)
    spread = [(level.alpha**2 * variance + level.sigma**2).sqrt() for level in (here, there)]
    modes = (x - here.alpha * MEAN) @ basis
    return there.alpha * MEAN + (modes * spread[1] / spread[0]) @ basis.T


@cache
def eight_flow() -> tuple[Tensor, Tensor]:
    """256 starts at t=1 of VP and where the flow of the eight Gaussians takes them at t=1e-3.

    Independent of the library: with y = x/alpha and lam = log(alpha/sigma) the flow is
    dy/dlam = E[x0 | y] - y, in numpy, by an eighth-order method at tolerance 1e-12.
    """
    from scipy.integrate import solve_ivp

    def level(t: float) -> tuple[float, float]:
        log_alpha = -(0.1 * t + 19.9 * t * t / 2) / 2
        return math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha))

    angle = np.arange(8) * math.pi / 4
    means = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)

    def slope(lam: float, flat: np.ndarray) -> np.ndarray:
        y, variance = flat.reshape(256, 2), math.exp(-2 * lam)
        square = ((y[:, None] - means) ** 2).sum(-1) / (0.09 + variance)
        share = np.exp(-0.5 * (square - square.min(1, keepdims=True)))
        share /= share.sum(1, keepdims=True)
        each = means + 0.09 / (0.09 + variance) * (y[:, None] - means)
        return ((share[..., None] * each).sum(1) - y).ravel()

    (alpha, sigma), (alpha1, sigma1) = level(1.0), level(1e-3)
    x = np.random.default_rng(0).standard_normal((256, 2))
    span = (math.log(alpha / sigma), math.log(alpha1 / sigma1))
    run = solve_ivp(slope, span, (x / alpha).ravel(), "DOP853", rtol=1e-12, atol=1e-12)
    end = run.y[:, -1].reshape(256, 2) * alpha1
    return torch.from_numpy(x), torch.from_numpy(end)


# --- chance ---------------------------------------------------------------------------------------


class NoChance:
    """A noise that must not be drawn."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        raise AssertionError("a deterministic step drew noise")


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoise: Denoise) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        self.calls += 1
        return self.denoise(x, level, cond)


class _Units:
    """Draw number c gives rows `first + c d ...` one unit vector each and every other row 0."""

    def __init__(self, first: int) -> None:
        self.first, self.draws = first, 0

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        d = x.shape[1]
        z, row = torch.zeros_like(x), self.first + self.draws * d
        z[row : row + d] = torch.eye(d).to(x)[: max(0, len(x) - row)]
        self.draws += 1
        return z


def moments(
    solver: Solver,
    levels: Level,
    start: tuple[Tensor, Tensor] | None = None,
    denoise: Denoise = GAUSSIAN.denoise,
) -> list[tuple[Tensor, Tensor]]:
    """Mean and covariance after each step on Gaussian data, without sampling. `start` is the mean
    and covariance at the first level, by default the exact marginal.

    A whole run is affine in (start, z_1, z_2, ...). A batch holds the mean, the mean moved along
    each axis, and the mean with each coordinate of each draw set to 1; differences are columns.
    """
    counter = _Units(0)
    sample(solver, denoise, torch.zeros(1, 3).double(), levels, counter)
    mean, cov = marginal(levels.at(0)) if start is None else start
    x = mean.repeat(4 + 3 * counter.draws, 1)
    x[1:4] += torch.eye(3)
    found = []
    for state, _ in trajectory(solver, denoise, x, levels, _Units(4)):
        base, moved = state[0][0], state[0][1:] - state[0][0]
        found.append((base, moved[:3].T @ cov @ moved[:3] + moved[3:].T @ moved[3:]))
    return found


def transition(eta: float, x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x_there given x_here under the reverse process with `eta` of the
    SDE's noise, dx = [f x - (1 + eta^2)/2 g^2 score] dt + eta g dW, for the Gaussian data.

    In an eigenmode with variance c the drift beyond the flow's contracts by
    exp(-eta^2/2 int g^2/V dt) = ((c + r'^2)/(c + r^2))^(eta^2/2), because g^2 dt = alpha^2 d(r^2)
    and V = alpha^2 (c + r^2). eta=0 is the flow; eta=1 is Bayes: Cov(x', x)/Var(x). The marginals
    are kept, so what the mean lost of V' the noise gave.
    """
    c, basis = torch.linalg.eigh(COV)
    after, before = (c + level.ratio**2 for level in (there, here))
    factor = there.alpha / here.alpha * (after / before) ** ((1 + eta**2) / 2)
    spread = there.alpha**2 * after - factor**2 * here.alpha**2 * before
    mean = there.alpha * MEAN + ((x - here.alpha * MEAN) @ basis * factor) @ basis.T
    return mean, basis @ spread.diag() @ basis.T


# --- order ----------------------------------------------------------------------------------------


def logsnr_levels(
    schedule: Schedule, steps: int, lowest: float = -6.0, highest: float = 6.0
) -> Level:
    return schedule(schedule.inverse(torch.linspace(lowest, highest, steps + 1).double()))


def slope(coarse: float, fine: float) -> float:
    """The order that halving the step shows."""
    return math.log2(coarse / fine)


def measured_order(
    solver: Solver,
    denoise: Denoise,
    x: Tensor,
    truth: Tensor,
    levels: Callable[[int], Level],
    steps: int = 160,
) -> float:
    errors = [
        float((sample(solver, denoise, x, levels(n), Zero()) - truth).square().mean().sqrt())
        for n in (steps, 2 * steps)
    ]
    return slope(*errors)


def order_on_gaussian(solver: Solver, schedule: Schedule) -> float:
    ends = logsnr_levels(schedule, 1)
    start = torch.from_numpy(np.random.default_rng(1).standard_normal((16, 3)))
    x = start * (ends.at(0).alpha ** 2 + ends.at(0).sigma ** 2).sqrt()
    truth = gaussian_flow(x, ends.at(0), ends.at(1))
    return measured_order(
        solver, GAUSSIAN.denoise, x, truth, lambda n: logsnr_levels(schedule, n), steps=80
    )


def order_on_eight(solver: Solver) -> float:
    """From 160 to 320 steps; above order 3, whose next term is still large there, to 640."""
    x, truth = eight_flow()
    steps = 160 if solver.order <= 3 else 320
    return measured_order(
        solver, EIGHT.denoise, x, truth, lambda n: grids.uniform_logsnr(VP(), n, stop=1e-3), steps
    )


def check_order(solver: Solver, measure: Callable[[Solver], float], above: float = 0.0) -> None:
    """Measured = declared. .15, and .05 an order: what the next term of the error still shows at
    160 steps. `above`: how much more is let pass where the leading term may be small."""
    found, margin = measure(solver), max(0.15, 0.05 * solver.order)
    assert -margin < found - solver.order < margin + above, (
        f"measured {found:.3f}, declared {solver.order}"
    )


def check_weak_order(solver: Solver, schedule: Schedule) -> None:
    """Of mean and covariance of where a point goes, the slower converges at the declared order.

    .2: at 40 steps the second term of the error is still up to a tenth of the first.
    """
    solver = formula(solver)
    eta = getattr(solver, "eta", 1.0) if solver.stochastic else 0.0
    ends = logsnr_levels(schedule, 1)
    x = ends.at(0).sigma * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    truth = transition(eta, x, ends.at(0), ends.at(1))
    errors = []
    for steps in (40, 80):
        levels = logsnr_levels(schedule, steps)
        found = moments(solver, levels, (x, torch.zeros(3, 3).double()))[-1]
        errors.append([float((a - b).norm()) for a, b in zip(found, truth)])
    # exact moments have no slope: DDPM's mean, by the tower rule, and a point's spread in a flow
    inexact = [pair for pair in zip(*errors) if pair[1] > 1e-13 * float(x.norm())]
    shown = min(slope(*pair) for pair in inexact)
    assert abs(shown - solver.order) < 0.2, f"order {shown:.2f}, {errors}"


def worst_marginal(solver: Solver, schedule: Schedule, steps: int) -> float:
    """The largest error of mean or covariance at any level, begun in the exact marginal."""
    levels = logsnr_levels(schedule, steps)
    return max(
        float((a - b).norm())
        for k, found in enumerate(moments(solver, levels), start=1)
        for a, b in zip(found, marginal(levels.at(k)))
    )


def check_marginals(solver: Solver, schedule: Schedule) -> None:
    """At every level mean and covariance stay in the band `c / steps^order`.

    c is read off 40 steps, where a two-step method on the SDE first shows its order, with a margin
    of 1.3 for its higher terms, and must itself be sane: a band as wide as the law it holds would
    hold anything.
    """
    solver = formula(solver)
    band = 1.3 * worst_marginal(solver, schedule, 40)
    widest = float(marginal(logsnr_levels(schedule, 1).at(0))[1].norm())
    assert band < widest / 2, f"band {band:.2f} against a covariance of norm {widest:.2f}"
    worst, limit = worst_marginal(solver, schedule, 80), band / 2**solver.order
    assert worst <= limit, f"{worst:.2e} at 80 steps is outside the band {limit:.2e}"


# --- one step -------------------------------------------------------------------------------------

CLEAN = Level.of(1.0, 0.0)
PURE = Level.of(0.0, 1.0)
DOWN = grids.uniform_logsnr(VP(), 8)
"""A grid of nine levels, the last one clean, that the step laws walk down."""


def start(seeds: list[int], level: Level = DOWN, dtype: torch.dtype = torch.float64) -> Tensor:
    return Seeded(seeds).start((2,), level, dtype=dtype)


def aged(
    solver: Solver, seeds: list[int], age: int, first: int = 0, denoise: Denoise = EIGHT.denoise
) -> Any:
    """A state that has walked `age` steps of DOWN, beginning at its level `first`."""
    state = solver.init(start(seeds, DOWN.at(first)))
    for k in range(first, first + age):
        state, _ = solver.step(denoise, state, DOWN.at(k), DOWN.at(k + 1), Seeded(seeds), None)
    return state


def cat(states: list[Any]) -> Any:
    return type(states[0])(*map(torch.cat, zip(*states)))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


def check_terminal(solver: Solver) -> None:
    """A step to sigma = 0 returns D, whatever the history."""
    for age in (0, 1, 2, 3):
        state, here = aged(solver, [1, 2, 3], age), DOWN.at(age)
        after, info = solver.step(EIGHT.denoise, state, here, CLEAN, Seeded([1, 2, 3]), None)
        expected = EIGHT.denoise(state[0], here)
        assert close(after[0], expected), f"age {age}: not D"
        assert close(info.denoised, expected), f"age {age}: info is not D"


def check_equal_levels(solver: Solver) -> None:
    """Two equal levels in a row, also clean ones and pure noise, leave x where it is; the run goes
    on from there."""
    for level in (PURE, DOWN.at(0), DOWN.at(4), CLEAN):
        for age in (0, 2):
            before = aged(solver, [4, 5], age)
            once, _ = solver.step(EIGHT.denoise, before, level, level, Seeded([4, 5]), None)
            again, _ = solver.step(EIGHT.denoise, once, level, level, Seeded([4, 5]), None)
            assert close(once[0], before[0]), f"moved at {level}"
            assert close(again[0], before[0]), f"moved the second time at {level}"
            last, _ = solver.step(EIGHT.denoise, again, level, CLEAN, Seeded([4, 5]), None)
            assert last[0].isfinite().all(), f"not finite after {level}"


def check_pure_noise(solver: Solver, schedule: Schedule) -> None:
    """From alpha = 0 the Gaussian data's own mean and covariance are reached, at first order; below
    2e-3 what is left is the last step, from the schedule's floor to clean data (1.2e-3)."""
    for name, grid in catalogue.grids.items():
        if name == "timesteps" and not isinstance(schedule, DiscreteVP):
            continue
        errors = []
        for steps in (20, 80):
            mean, cov = moments(solver, grid(schedule, steps))[-1]
            assert mean.isfinite().all()
            assert cov.isfinite().all()
            errors.append(float((mean - MEAN).norm() + (cov - COV).norm()))
        assert errors[1] < 0.5 * errors[0] or errors[1] < 2e-3, f"{name}: {errors}"
        assert errors[1] < 0.3, f"{name}: {errors}"


def check_first_step(solver: Solver) -> None:
    """No schedule's own first level, however noisy, throws x out of scale: after ten steps each
    sample is within 12 of the origin, where the Gaussian data's largest deviation is 1.3."""
    for name, schedule in SCHEDULES.items():
        levels = grids.uniform_logsnr(schedule, 10)
        seeds = list(range(20))
        x = Seeded(seeds).start((3,), levels, dtype=torch.float64)
        largest = float(sample(solver, GAUSSIAN.denoise, x, levels, Seeded(seeds)).abs().max())
        assert largest < 12, f"{name}: {largest:.3g}"


def check_evals(solver: Solver) -> None:
    """Declared calls are made on an inner step, and no more at either end; an adaptive step makes
    them for its first attempt, and for another one call less."""
    solver = formula(solver)
    start_evals = getattr(solver, "start_evals", solver.evals)
    for k, expected in ((0, None), (3, solver.evals), (7, None)):
        counted = Counted(EIGHT.denoise)
        state = aged(solver, [1, 2], min(k, 3), k - min(k, 3))
        solver.step(counted, state, DOWN.at(k), DOWN.at(k + 1), Seeded([1, 2]), None)
        if solver.adaptive:
            assert (counted.calls - 1) % (solver.evals - 1) == 0
            assert expected is None or counted.calls >= expected
        elif expected is None:
            assert 1 <= counted.calls <= (solver.evals if k else start_evals)
        else:
            assert counted.calls == expected, f"{counted.calls} calls, declared {expected}"


def check_flags(solver: Solver) -> None:
    """`stochastic` says whether a step's outcome depends on chance."""
    if not solver.stochastic:
        sample(solver, EIGHT.denoise, start([1, 2]), DOWN, NoChance())
        return
    one, two = (
        sample(solver, EIGHT.denoise, start([1, 2]), DOWN, Seeded(seeds))
        for seeds in ([1, 2], [3, 4])
    )
    assert not torch.equal(one, two), "called stochastic but draws nothing"


LABELS = {"label": torch.tensor([0, 1, 5])}


def two_classes(x: Tensor, level: Level, cond: Any = None) -> Tensor:
    """The eight Gaussians, or of one label: the one with that number."""
    if cond is None:
        return EIGHT.denoise(x, level)
    alpha, sigma = level.like(x)
    gain = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2)
    mean = EIGHT.means[cond["label"]]
    return mean + gain * (x - alpha * mean)


# --- a batch --------------------------------------------------------------------------------------

MakeNoise = Callable[[list[int]], Noise]


def check_step_of_cat(solver: Solver, make_noise: MakeNoise = Seeded) -> None:
    """step(cat(a, b, ...)) = cat(step(a), step(b), ...): other levels, seeds and ages side by side.

    The parts: an aged one, a fresh one, one at pure noise, one whose step is the last, one that
    stands still on clean data.
    """
    solver = copy.deepcopy(solver)
    parts = [
        ([11, 12, 13], aged(solver, [11, 12, 13], 2), DOWN.at(2), DOWN.at(3)),
        ([21, 22], aged(solver, [21, 22], 0, 4), DOWN.at(4), DOWN.at(5)),
        ([31], aged(solver, [31], 0), PURE, DOWN.at(1)),
        ([41, 42], aged(solver, [41, 42], 3, 4), DOWN.at(7), DOWN.at(8)),
        ([51], aged(solver, [51], 3, 5), CLEAN, CLEAN),
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
    assert len(info.denoised) == len(seeds)
    for leaf, expected in zip(together, cat(alone)):
        same = (leaf == expected) | ((leaf - expected).abs() <= 1e-12 * (1 + expected.abs()))
        assert same.all(), "a sample depends on its batch"


def check_neighbours(
    solver: Solver, make_noise: MakeNoise = Seeded, dtype: torch.dtype = torch.float64
) -> None:
    """Sample i is the same alone, first of three, and inside a hundred in another order.

    1e-12 and 1e-5: matrix products of another size add in another order; nothing else may differ.
    """
    solver, denoise = copy.deepcopy(solver), eight(dtype).denoise
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5

    def run(seeds: list[int]) -> Tensor:
        x = start(seeds, dtype=dtype)
        return sample(solver, denoise, x, DOWN, make_noise(seeds))

    many = list(range(100))
    whole = run(many)
    for seeds in ([7], [7, 1, 2], [99, 50, 7, 7], many[::-1]):
        assert close(run(seeds), whole[seeds], tolerance), f"seeds {seeds[:4]} depend on the batch"


def check_resume(solver: Solver, folder: Path, make_noise: MakeNoise = Seeded) -> None:
    """Paused after k steps, written to a file, read back and gone on with: the same bits."""
    seeds = [3, 1, 4]
    steps = trajectory(copy.deepcopy(solver), EIGHT.denoise, start(seeds), DOWN, make_noise(seeds))
    whole = [state for state, _ in steps]
    for k in (1, 2, 5):
        steps = trajectory(
            copy.deepcopy(solver), EIGHT.denoise, start(seeds), DOWN, make_noise(seeds)
        )
        for _ in range(k):
            state, _ = next(steps)
        kind = type(state)
        save_file(state._asdict(), folder / "state.safetensors")
        state = kind(**load_file(folder / "state.safetensors"))
        rest = sample(
            copy.deepcopy(solver), EIGHT.denoise, state, DOWN.at(slice(k, None)), make_noise(seeds)
        )
        assert torch.equal(rest, whole[-1][0]), f"a pause after {k} steps changes the sample"


def check_pure(solver: Solver) -> None:
    """A step changes neither its state, nor its levels, nor the solver, and can be repeated."""
    solver = copy.deepcopy(solver)
    state, here, there = aged(solver, [1, 2], 2), DOWN.at(2), DOWN.at(3)
    before = [leaf.clone() for leaf in (*state, *here, *there)]
    one: Any = solver.step(EIGHT.denoise, state, here, there, Seeded([1, 2]), None)[0]
    two, _ = solver.step(EIGHT.denoise, state, here, there, Seeded([1, 2]), None)
    assert all(map(torch.equal, one, two)), "the same step twice gives two answers"
    assert all(map(torch.equal, before, (*state, *here, *there))), "a step wrote on its input"
    assert one._fields[0] == "x", "x is not the first leaf"
    assert all(len(leaf) == 2 for leaf in one), "a state leaf is not batch-first"


def digests(make_noise: MakeNoise = Seeded) -> dict[str, str]:
    """The sha256 of every solver's samples: one string to compare across processes."""
    return {
        name: hashlib.sha256(
            sample(solver, EIGHT.denoise, start([1, 2, 3]), DOWN, make_noise([1, 2, 3]))
            .numpy()
            .tobytes()
        ).hexdigest()
        for name, solver in SOLVERS.items()
    }


# --- dtypes and shapes of levels ------------------------------------------------------------------


def check_dtype(solver: Solver, dtype: torch.dtype) -> None:
    """dtype in = dtype out for x and D, on levels that stay float64; every leaf finite but lam."""
    denoise = eight(torch.float64 if dtype == torch.float64 else torch.float32).denoise
    x = start([1, 2, 3], dtype=dtype)
    for state, info in trajectory(solver, denoise, x, DOWN, Seeded([1, 2, 3])):
        assert state[0].dtype == dtype, f"{dtype} became {state[0].dtype}"
        assert info.denoised.dtype == dtype, f"D is {info.denoised.dtype}"
        assert state[0].isfinite().all()


def check_float32(solver: Solver) -> None:
    """float32 follows float64: 2e-5 is some hundred roundings of 1.2e-7, eight steps deep."""
    narrow, wide = (
        sample(solver, eight(dtype).denoise, start([1, 2, 3], dtype=dtype), DOWN, Seeded([1, 2, 3]))
        for dtype in (torch.float32, torch.float64)
    )
    assert close(narrow.double(), wide, 2e-5), float((narrow - wide).abs().max())


def check_level_shapes(solver: Solver) -> None:
    """Leaves () or (B,), grids (steps+1,) or (steps+1, B): the same numbers, the same samples."""
    seeds = [1, 2, 3]
    plain = sample(solver, EIGHT.denoise, start(seeds), DOWN, Seeded(seeds))
    grid = Level(*(leaf[:, None].expand(-1, 3) for leaf in DOWN))
    assert close(sample(solver, EIGHT.denoise, start(seeds, grid), grid, Seeded(seeds)), plain)
    state = aged(solver, seeds, 2)
    one, many = DOWN.at(2), DOWN.at(2).expand(3)
    ahead, each = DOWN.at(3), DOWN.at(3).expand(3)
    first = None
    for here, there in ((one, ahead), (many, each), (one, each), (many, ahead)):
        after, _ = solver.step(EIGHT.denoise, state, here, there, Seeded(seeds), None)
        first = after if first is None else first
        assert all(map(close, after[:2], first[:2])), "leaves () and (B,) disagree"
        assert [leaf.shape for leaf in after] == [leaf.shape for leaf in first]


# --- grids ----------------------------------------------------------------------------------------

Grid = Callable[..., Level]


def check_counts(grid: Grid, schedule: Schedule, counts: range = range(1, 51)) -> None:
    """Any count: finite, falling, steps + 1 levels, from the schedule's start to clean or floor."""
    ends = schedule(torch.tensor([1.0, 0.0], dtype=torch.float64))
    for steps in counts:
        levels = grid(schedule, steps)
        assert levels.sigma.shape == levels.alpha.shape == (steps + 1,), f"{steps} steps"
        assert levels.alpha.isfinite().all(), f"{steps} steps: not finite"
        assert levels.sigma.isfinite().all(), f"{steps} steps: not finite"
        assert (levels.ratio.diff() < 0).all(), f"{steps} steps: not falling"
        assert close(torch.stack(levels.at(0)), torch.stack(ends.at(0))), f"{steps}: wrong start"
        last = torch.stack(levels.at(-1))
        clean, floor = torch.stack(CLEAN), torch.stack(ends.at(1))
        assert torch.equal(last, clean) or torch.equal(last, floor), f"{steps}: wrong end"
