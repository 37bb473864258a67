"""The only loop: a solver walks down a grid of levels."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, Pairs


class State(NamedTuple):
    """The memory of a one-step solver: where x is. All leaves are batch-first."""

    x: Tensor


class Info(NamedTuple):
    """What a step saw: the denoised estimate, and a per-sample error estimate if it has one."""

    denoised: Tensor
    error: Tensor | None = None


class Solver(Protocol):
    """A method: frozen constants, `init(x) -> state`, `step(...) -> (state, info)`.

    `order` is the slope of its error in the step (a stochastic solver's: of the mean) in a run with
    short first steps (`start_order`: in any), `evals` its denoiser calls a step; a step to clean
    data may need fewer. `step` is a pure function: the state is a NamedTuple of batch-first tensors
    with x first, so states can be saved, joined by `cat` and split by index.
    """

    @property
    def order(self) -> int: ...
    @property
    def evals(self) -> int: ...
    @property
    def stochastic(self) -> bool: ...
    @property
    def adaptive(self) -> bool: ...

    def init(self, x: Tensor) -> Any: ...

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]: ...


class Plain:
    """What a method is unless it says otherwise: of first order, one call, no chance, no memory; a
    step to clean data is D, and it `carries` D on by no past or slope; not `one_clock`, so that a
    coordinate may have levels of its own; one step is no less than the `fewest`, below which DDIM
    is better with as many calls. It walks levels that are `scalar`, and no `pairs` of position and
    velocity."""

    order = evals = fewest = 1
    stochastic = adaptive = carries = one_clock = pairs = False
    scalar = True

    def init(self, x: Tensor) -> Any:
        return State(x)


class Around:
    """What a method around `solver` is unless it says otherwise: what that solver is."""

    solver: Any
    order: Any = property(lambda self: self.solver.order)
    evals: Any = property(lambda self: self.solver.evals)
    stochastic: Any = property(lambda self: self.solver.stochastic)
    adaptive: Any = property(lambda self: self.solver.adaptive)
    carries: Any = property(lambda self: self.solver.carries)
    one_clock: Any = property(lambda self: self.solver.one_clock)
    fewest: Any = property(lambda self: self.solver.fewest)

    def init(self, x: Tensor) -> Any:
        return self.solver.init(x)


def trajectory(
    solver: Solver,
    denoise: Denoise,
    x: Tensor | tuple,
    levels: Level,
    noise: Noise,
    cond: Cond | None = None,
) -> Iterator[tuple[Any, Info]]:
    """Yield (state, info) after each step down `levels`, leaves `(steps+1,)` or `(steps+1, B)`, or
    `(steps+1, B or 1, *shape)` where every coordinate of x has levels of its own.

    `x` is a tensor at `levels.at(0)`, of `Pairs` `(B, 2, ...)`, or a state that an earlier step
    returned: saving a state and going on with `levels.at(slice(k, None))` is the same as never
    having stopped. Gradients flow as the caller's mode says.

    Raises BadInput if the levels, of a coordinate even, rise in noise, are not finite, or are fewer
    than two.
    """
    state = solver.init(x) if isinstance(x, Tensor) else x
    check_kind(solver, levels)
    check_levels(levels, len(state[0]))
    denoise = showing(denoise, levels)
    for k in range(len(levels.sigma) - 1):
        state, info = solver.step(denoise, state, levels.at(k), levels.at(k + 1), noise, cond)
        yield state, info


def check_kind(solver: Solver, levels: Level) -> None:
    """Raise BadInput for a solver of pairs alone on levels that are none, and the reverse."""
    pairs = isinstance(levels, Pairs)
    if getattr(solver, "pairs", False) if pairs else getattr(solver, "scalar", True):
        return
    walks = "levels of one number" if pairs else "pairs of position and velocity"
    raise BadInput(
        f"{solver!r} walks {walks}, and the levels are not such.",
        "Use `euler-maruyama` or another solver; pairs are of the schedule momentum.",
    )


def showing(denoise: Denoise, levels: Level) -> Denoise:
    """The denoiser as it is asked on the levels: of pairs it is shown what they say of x0."""
    if not isinstance(levels, Pairs):
        return denoise

    def shown(z: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return denoise(*cast(Pairs, level).seen(z), cond)

    return shown


def sample(
    solver: Solver,
    denoise: Denoise,
    x: Tensor | tuple,
    levels: Level,
    noise: Noise,
    cond: Cond | None = None,
    progress: bool = False,
) -> Tensor:
    """The last x of a `trajectory`, without gradients.

    >>> from scorefield.base import Zero
    >>> from scorefield.solve import DDIM
    >>> unit = lambda x, level, cond: level.like(x).alpha * x  # D for N(0, 1) data, VP levels
    >>> levels = Level(torch.tensor([0.6, 1.0]).double(), torch.tensor([0.8, 0.0]).double())
    >>> sample(DDIM(), unit, torch.tensor([[2.0]]), levels, Zero())
    tensor([[1.2000]])
    """
    steps = trajectory(solver, denoise, x, levels, noise, cond)
    return last(steps, len(levels.sigma) - 1, progress)


@torch.no_grad()
def last(steps: Iterable[tuple[Any, Info]], count: int, progress: bool) -> Tensor:
    """The last x of `count` steps, without gradients."""
    if progress:
        from tqdm.auto import tqdm

        steps = tqdm(steps, total=count, unit="step")
    ((state, _),) = deque(steps, maxlen=1)
    return state[0]


def start_order(solver: Solver) -> int:
    """The order of a run whose first steps are as long as its others: at most 3 with a memory.

    Until its past is full such a method walks by fewer values, made at points of second order. A
    run down one of the grids in ratio begins with steps so short that nothing is seen of it; one
    that begins in the middle (an edit), or in pure noise on levels even in t, is of this order.

    >>> from scorefield.solve import RK, Arc
    >>> start_order(Arc()), start_order(RK())
    (3, 4)
    """
    memory = len(solver.init(torch.zeros(1, 1))) > 1 and not solver.adaptive
    return min(solver.order, 3) if memory else solver.order


def check_levels(levels: Level, batch: int) -> None:
    """Raise BadInput unless `levels` is a grid that a batch of this size can walk down."""
    alpha, sigma = levels
    if not sigma.ndim or alpha.shape != sigma.shape or len(sigma) < 2:
        raise BadInput(
            f"levels have shapes {tuple(alpha.shape)} and {tuple(sigma.shape)}.",
            "Give a grid with leaves (steps+1,), (steps+1, B) or (steps+1, B or 1, *shape) and at "
            "least one step.",
        )
    if sigma.ndim > 1 and sigma.shape[1] not in (batch, 1 if sigma.ndim > 2 else batch):
        raise BadInput(
            f"levels are for {sigma.shape[1]} samples and x has {batch}.",
            "Give one column of levels per sample.",
        )
    bad = ~(alpha.isfinite() & sigma.isfinite() & (alpha >= 0) & (sigma >= 0) & (alpha + sigma > 0))
    if bad.any():
        at = bad.nonzero()[0].tolist()
        raise BadInput(
            f"the level at index {at[0]} has alpha {float(alpha[tuple(at)])} and "
            f"sigma {float(sigma[tuple(at)])}.",
            "Both must be finite, >= 0, and not both 0.",
        )
    ratio = levels.ratio
    rises = ratio[1:] > ratio[:-1]  # of every coordinate, if each has a level
    if rises.any():
        at = rises.nonzero()[0].tolist()
        before, after = float(ratio[tuple(at)]), float(ratio[(at[0] + 1, *at[1:])])
        raise BadInput(
            f"levels must decrease in noise: ratio rises from {before:.4g} to {after:.4g} "
            f"at index {at[0] + 1}.",
            "Flip a grid that runs from data to noise.",
        )


def check_one_clock(solver: object, level: Level) -> None:
    """Raise BadInput from a solver that chooses a sample's steps, if its coordinates differ."""
    if level.per_coordinate:
        raise BadInput(
            f"{type(solver).__name__} chooses the steps of a sample by one clock, and these levels "
            "have one for each coordinate.",
            "Use a solver of given steps, such as arc or ddim.",
        )


def rms(v: Tensor) -> Tensor:
    """Root mean square over each sample `(B,)`."""
    return v.flatten(1).square().mean(1).sqrt()
