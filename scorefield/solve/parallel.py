"""Parallel in time: Shih et al. 2023, "Parallel sampling of diffusion models" (ParaDiGMS).

A run x_0, ..., x_n of a solver with one call a step is fixed by its values D_k. Picard's iteration
takes a whole path at once,

    D_k = D(x_k, level_k) for all k, in one call;   x_1, ..., x_n = the run over these values.

The serial run is its only fixed point: x_k is right after k rounds, and mostly far sooner, as an
error of D_j reaches x_k only by its weight in the run. The paper sums up the increments of Euler's
method; here the solver itself walks over the values, its linear part, history and noise exact.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise
from scorefield.solve.loop import Solver, check_levels, check_one_clock, rms


class Parallel(NamedTuple):
    """The samples x; for each, `(B,)`, the calls that it waited for (`rounds`) and the rows that
    it had in them (`evals`), both `steps` in a serial run."""

    x: Tensor
    rounds: Tensor
    evals: Tensor


@torch.no_grad()
def parallel(
    solver: Solver,
    denoise: Denoise,
    x: Tensor | tuple,
    levels: Level,
    noise: Noise,
    cond: Cond | None = None,
    *,
    window: int | None = None,
    tolerance: float = 1e-3,
) -> Parallel:
    """`sample(solver, ...)` in fewer calls one after another, each of up to `window` rows a sample.

    Each sample has a window of its own, the `window` levels (default: all) from where it is known.
    A round finds D on the windows of all samples in one call and goes on, sample by sample, to the
    first level j of the window at which

        RMS(x_new - x_old) / sqrt(alpha_j^2 + sigma_j^2) <= tolerance j / steps

    fails: D was right up to there. So a sample goes on by a level or more a round, all its strides
    together let in errors of `tolerance`, in units of the data, and it leaves the denoiser's batch
    when it arrives. Where the flow pulls neighbours apart by a factor, so it does with the error.
    With tolerance=0 the result is the serial one. Levels of a new window are first guessed with
    the last D held; the first window with D = 0.

    For solvers that call the denoiser once a step, at its start: DDIM, DDPM and all multistep
    methods but PNDM, with their noise if it is a pure function of the interval, as `Seeded` is.
    A round's batch has window * B rows; the solver's own arithmetic is still serial. At 1e-3 a
    hundred steps of DDIM take 16 to 19 rounds on the digits model in windows of 25, with three
    times the rows of a serial run; a thousand steps on mixtures 22 at most, and 37 in windows of
    100.

    Raises BadInput for another solver, a window below 1 or a negative tolerance.

    >>> from scorefield.base import Zero
    >>> from scorefield.solve import DDIM
    >>> half = lambda x, level, cond: 0.5 * x
    >>> levels = Level.of(1.0, torch.linspace(1, 0, 101))
    >>> done = parallel(DDIM(), half, torch.ones(1, 1).double(), levels, Zero())
    >>> round(float(done.x), 3), done.rounds  # x = prod (1 - 1/2k) = .0563
    (0.056, tensor([9]))
    """
    if window is not None and window < 1:
        raise BadInput(f"window is {window}.", "Use at least one level, or None for all.")
    if not tolerance >= 0:
        raise BadInput(f"tolerance is {tolerance}.", "Use 0 (the serial result) or more.")
    state = solver.init(x) if isinstance(x, Tensor) else x
    batch, wide = len(state[0]), torch.promote_types(state[0].dtype, torch.float32)
    check_levels(levels, batch)
    check_one_clock(solver, levels.at(0))
    steps = len(levels.sigma) - 1
    window = min(window or steps, steps)
    grid = Level(*(leaf.reshape(steps + 1, -1).expand(-1, batch).flatten() for leaf in levels))
    ahead, each = torch.arange(window)[:, None], torch.arange(batch)
    at, rounds, evals = (torch.zeros(batch, dtype=torch.int64) for _ in range(3))
    values = torch.zeros((window, *state[0].shape)).to(state[0])

    def level(k: Tensor, row: Tensor = each) -> Level:
        return grid.at(k.clamp(max=steps) * batch + row)

    def walk(state: Any, span: range) -> Iterator[Any]:
        """The states after steps `span` of the windows, over `values`, the last held beyond."""
        way = level(at + torch.arange(span.start, span.stop + 1)[:, None])
        for k, j in enumerate(span):
            frozen = _Frozen(state[0], values[min(j, window - 1)])
            state, _ = solver.step(frozen, state, way.at(k), way.at(k + 1), noise, cond)
            yield state

    path = torch.stack([state[0], *(s[0] for s in walk(state, range(window - 1)))])
    while (moving := at < steps).any():
        inside = at + ahead < steps
        j, row = inside.nonzero(as_tuple=True)
        part = None if cond is None else {name: leaf[row] for name, leaf in cond.items()}
        values[inside] = denoise(path[inside], level(at[row] + j, row), part)
        rounds += moving
        evals += inside.sum(0)
        states = [state, *walk(state, range(window))]
        change = torch.stack([rms((s[0] - old).to(wide)) for s, old in zip(states, path)])
        change = change.cpu() / torch.hypot(*level(at + ahead)).cpu()
        stride = torch.minimum(_stride(change, tolerance * ahead / steps), steps - at)
        last = int(stride.max())
        states += walk(states[-1], range(window, window + last - 1))
        path = torch.stack([s[0] for s in states])[stride + ahead, each]
        known = zip(*states[: last + 1])
        state = type(state)(*(torch.stack(leaves)[stride, each] for leaves in known))
        at = at + stride
    return Parallel(state[0], rounds, evals)


class _Frozen:
    """A denoiser whose value is known at one point, where a step begins."""

    def __init__(self, x: Tensor, value: Tensor) -> None:
        self.x, self.value = x, value

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        if x is not self.x:
            raise BadInput(
                "the solver calls the denoiser within a step.",
                "In parallel use a solver with one call a step, such as DDIM or DPMSolverPP.",
            )
        return self.value


def _stride(change: Tensor, allowed: Tensor) -> Tensor:
    """How many levels each sample goes on `(B,)`: to the first that changed `(window, B)` by more
    than allowed, and by one at least."""
    return (change <= allowed).cumprod(0).sum(0).clamp(min=1)
