"""One call for every method: from a measurement to restorations."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from scorefield.base import BadInput, Denoise, Guide, Level, Seeded, unknown
from scorefield.guide import chain
from scorefield.inverse.linear import diffpir, dps, mmps, pigdm, replacement, tmpd
from scorefield.inverse.operators import Operator
from scorefield.inverse.solvers import DDRM, DPS, Renewed, RePaint
from scorefield.inverse.twisted import twisted
from scorefield.solve import DDIM, Solver, sample

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
    **options: Any,
) -> Tensor:
    """One restoration of `y (1, ...)` or `(n, ...)` for each of n seeds: `(n, *shape)`.

    `options` are `cond` and `progress` of `sample`, and those of `restorer`. x has the dtype and
    device of y.

    >>> import torch
    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.inverse.operators import Mask
    >>> unit = Gaussian(torch.zeros(2), torch.eye(2))
    >>> levels = Level(torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 0.0]).double())
    >>> seen, y = Mask(torch.tensor([True, False])), torch.ones(1, 1)
    >>> restore(unit.denoise, seen, y, 0.0, "replacement", levels, [7])
    tensor([[1., 0.]])
    """
    walk = {name: options.pop(name) for name in ("cond", "progress") if name in options}
    solver, guide = restorer(method, operator, y, noise_std, len(seeds), **options)
    noise = Seeded(seeds)
    x = noise.start(operator.shape, levels, dtype=y.dtype, device=y.device)
    return sample(solver, guide(denoise), x, levels, noise, **walk)


def restorer(
    method: str | Callable[..., Any],
    operator: Operator,
    y: Tensor,
    noise_std: float,
    n: int,
    *,
    solver: Solver | None = None,
    **options: Any,
) -> tuple[Solver, Guide]:
    """The solver and the guide that restore y by a method, in n samples.

    A method that has no name here is its factory `(operator, y, noise_std, **options)`, which
    makes a guide or a solver.

    `solver` runs the guides (default DDIM(eta=1), for diffpir Renewed()); the methods that are
    solvers take it as their own option if they wrap one. `mmps` makes 3 conjugate gradients, as
    networks want; steps=None makes them all. The particles of `twisted` are the n samples unless
    said otherwise. `options` are the method's.
    """
    if not isinstance(method, str):
        made = method(operator, y, noise_std, **options)
        if not hasattr(made, "step"):
            return solver or DDIM(1.0), made
        if solver is None:
            return made, chain()
        raise BadInput("the method is a solver itself.", "Leave the solver out.")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if method in GUIDES:
        walker = solver or (Renewed() if method == "diffpir" else DDIM(1.0))
        return walker, GUIDES[method](operator, y, noise_std, **options)
    if solver is not None and method in ("ddrm", "twisted"):
        raise BadInput(f"the method {method} is a solver itself.", "Leave the solver out.")
    if solver is not None:
        options["solver"] = solver
    if method == "twisted":
        options.setdefault("particles", n)
    return SOLVERS[method](operator, y, noise_std, **options), chain()
