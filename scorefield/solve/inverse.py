"""From data to noise: the inverse of DDIM and of every other deterministic one-step method.

The flow has no preferred direction, so that a solver may walk up the levels as well as down (Song,
Meng and Ermon 2021, "Denoising diffusion implicit models", section 4.3). What it makes of data is a
code, and the solver makes data of the code again, but for the errors of both walks.

The walk down can also be inverted exactly. DDIM's step and its slope are

    F(x) = keep x + gain D(x),   F' = keep + gain alpha_here Cov[x0 | x] / sigma_here^2,   (eq. 8)

keep > 0 and gain >= 0: symmetric and at least keep, so that F is the gradient of a strictly convex
function, and every y is F(x) of one x, however long the step. It is the minimum of a convex
function, of which y - F(x) is the slope. The fixed point of Pan et al. 2023 ("Effective real image
editing with accelerated iterative diffusion inversion"), `x <- (y - gain D(x)) / keep`, descends by
steps of 1/keep and diverges on long ones; the steps here have the length that the last one taught,

    x <- x + s (y - F(x)),   s = <dx, dF> / <dF, dF>  <= 1/keep,

(Barzilai and Borwein 1988, "Two-point step size gradient methods"), for each sample its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Zero, like, quotient
from scorefield.solve.loop import Solver, State, check_levels
from scorefield.solve.transfer import transfer


@torch.no_grad()
def encode(
    solver: Solver,
    denoise: Denoise,
    x0: Tensor,
    levels: Level,
    cond: Cond | None = None,
    refine: int = 0,
) -> Tensor:
    """The x at `levels.at(0)` that `sample(solver, ...)` takes to x0, the x at the last level.

    `levels` is the grid of the run down, noisiest first. With refine=0 the solver itself walks up:
    `sample` then returns x0 but for an error of the solver's order (one better if that is even, as
    the leading errors of the two walks cancel). Each round of `refine` costs one more step down per
    step and brings x nearer to the step's exact inverse. Ten steps of DDIM, uniform in t, return
    samples of mixtures to rounding after 20 rounds, where the fixed point diverges; twenty steps
    on the digits model to float32's rounding after 10. That there is one inverse holds for DDIM and
    an exact denoiser (eq. 8), and so nearly for a good one and for short steps of higher order.

    The last step to clean data returns D and forgets the rest: there the walk begins at the last
    noisy level, at x0 without noise, and `sample` returns `D(alpha x0)`, x0 up to `sigma^2 score`.
    A grid with a `stop` has no such step; its last x is `alpha x0` for data with no noise in it.

    Raises BadInput for a solver that is stochastic, adaptive or has a memory, or refine < 0.

    >>> from scorefield.base import Zero
    >>> from scorefield.solve import DDIM, sample
    >>> unit = lambda x, level, cond: level.like(x).alpha * x  # D for N(0, 1) data, VP levels
    >>> levels = Level.of(torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6]))
    >>> code = encode(DDIM(), unit, torch.tensor([[0.96]]), levels, refine=2)
    >>> round(float(code), 4)  # 0.96 = (0.75 + 0.35 * 0.6) x
    1.0
    >>> sample(DDIM(), unit, code, levels, Zero())
    tensor([[0.9600]])
    """
    if solver.stochastic or solver.adaptive or len(solver.init(x0)) > 1:
        raise BadInput(
            f"a step of {type(solver).__name__} is not a fixed function of x alone.",
            "Encode with DDIM, Heun, RK or another deterministic one-step method.",
        )
    if refine < 0:
        raise BadInput(f"refine is {refine}.", "Use 0 (one walk up) or more rounds.")
    check_levels(levels, len(x0))

    def step(x: Tensor, here: Level, there: Level) -> Tensor:
        return solver.step(denoise, State(x), here, there, Zero(), cond)[0].x

    x = x0
    for k in reversed(range(len(levels.sigma) - 1)):
        there, here = levels.at(k), levels.at(k + 1)
        clean = here.sigma == 0
        x = torch.where(like(clean, x) > 0, like(quotient(there.alpha, here.alpha), x) * x, x)
        if not clean.all():
            here = Level(*(torch.where(clean, up, low) for up, low in zip(there, here)))
            x = _invert(step, x, here, there, refine)
    return x


def _invert(
    step: Callable[[Tensor, Level, Level], Tensor],
    y: Tensor,
    here: Level,
    there: Level,
    rounds: int,
) -> Tensor:
    """The x there that the step down takes to y here: the step up, then `rounds` of descent.

    The first is of the mean slope of Gaussian data, between the least and the most variable.
    """
    x = step(y, here, there)
    least, most = transfer(there, here)[0], quotient(here.alpha, there.alpha)
    mean = torch.where(most.isfinite(), (least + most) / 2, least)
    size, longest = ((1 / slope).to(y).expand(len(y)) for slope in (mean, least))
    moved = last = torch.zeros_like(y)
    for _ in range(rounds):
        rest = y - step(x, there, here)
        change = last - rest
        taught = _dot(moved, change) / _dot(change, change)
        size = torch.where(taught > 0, torch.minimum(taught, longest), size)
        moved, last = like(size, y) * rest, rest
        x = x + moved
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each sample `(B,)`."""
    return (a * b).flatten(1).sum(1)
