"""One call for every method: from a measurement to restorations."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level, Seeded, unknown
from scorefield.inverse.linear import diffpir, dps, mmps, pigdm, replacement, tmpd
from scorefield.inverse.operators import Operator
from scorefield.inverse.solvers import DDRM, DPS, Renewed, RePaint
from scorefield.inverse.twisted import twisted
from scorefield.solve import DDIM, Info, Solver, trajectory
from scorefield.solve.loop import last

GUIDES: dict[str, Callable[..., Guide]] = {
    "replacement": replacement,
    "dps": dps,
    "pigdm": pigdm,
    "mmps": lambda operator, y, noise_std, steps=3: mmps(operator, y, noise_std, steps),
    "tmpd": tmpd,
    "diffpir": diffpir,
}
SOLVERS: dict[str, Callable[..., Solver]] = {
    "repaint": lambda operator, y, noise_std, **more: RePaint(
        operator, y, noise_std=noise_std, **more
    ),
    "dps-published": lambda operator, y, noise_std, **more: DPS(operator, y, **more),
    "ddrm": DDRM,
    "twisted": twisted,
}
METHODS = (*GUIDES, *SOLVERS)


def restore(
    denoise: Denoise,
    operator: Operator,
    y: Tensor,
    noise_std: float,
    method: str,
    levels: Level,
    seeds: Sequence[int],
    *,
    cond: Cond | None = None,
    solver: Solver | None = None,
    progress: bool = False,
    **options: Any,
) -> Tensor:
    """One restoration of `y (1, ...)` or `(n, ...)` for each of n seeds: `(n, *shape)`.

    `solver` runs the guides (default DDIM(eta=1), for diffpir Renewed()); the methods that are
    solvers take it as their own option if they wrap one. `mmps` makes 3 conjugate gradients, as
    networks want; steps=None makes them all. The particles of `twisted` are the seeds unless said
    otherwise.
    `options` are the method's. x has the dtype and device of y.

    >>> import torch
    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.inverse.operators import Mask
    >>> unit = Gaussian(torch.zeros(2), torch.eye(2))
    >>> levels = Level(torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 0.0]).double())
    >>> seen, y = Mask(torch.tensor([True, False])), torch.ones(1, 1)
    >>> restore(unit.denoise, seen, y, 0.0, "replacement", levels, [7])
    tensor([[1., 0.]])
    """
    steps = restoration(
        denoise, operator, y, noise_std, method, levels, seeds, cond=cond, solver=solver, **options
    )
    return last(steps, len(levels.sigma) - 1, progress)


def restoration(
    denoise: Denoise,
    operator: Operator,
    y: Tensor,
    noise_std: float,
    method: str,
    levels: Level,
    seeds: Sequence[int],
    *,
    cond: Cond | None = None,
    solver: Solver | None = None,
    **options: Any,
) -> Iterator[tuple[Any, Info]]:
    """The steps of `restore`, (state, info) after each; of `twisted` with weights and evidence.

    Gradients flow as the caller's mode says.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    walker = solver or (Renewed() if method == "diffpir" else DDIM(1.0))
    if method in GUIDES:
        denoise = GUIDES[method](operator, y, noise_std, **options)(denoise)
    else:
        if solver is not None and method in ("ddrm", "twisted"):
            raise BadInput(f"the method {method} is a solver itself.", "Leave the solver out.")
        if solver is not None:
            options["solver"] = solver
        if method == "twisted":
            options.setdefault("particles", len(seeds))
        walker = SOLVERS[method](operator, y, noise_std, **options)
    noise = Seeded(seeds)
    x = noise.start(operator.shape, levels, dtype=y.dtype, device=y.device)
    return trajectory(walker, denoise, x, levels, noise, cond)
