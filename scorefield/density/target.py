"""A density that is known up to a constant, `rho = Z p`, and what can be asked of it.

A target is looked at before anything is learned: a log density that is wrong in shape, at odds with
its own gradient, or without an integral makes every later figure a lie.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput

LogRho = Callable[[Tensor], Tensor]
"""`log rho(x)`: `(n, d)` to `(n,)`, differentiable, each row by itself."""
PROBES, OUTER, EMPTY = 64, 1e4, 1e9
"""Points at which a target is looked at, how many scales out its tail is, and the -log rho where
there is nothing whatever its rounding says."""


class Modes(NamedTuple):
    """How samples are sorted into modes: `which(x) -> (n, R)` integers, in R independent ways, and
    the true `fractions (K,)` of the modes, the same for each way."""

    which: Callable[[Tensor], Tensor]
    fractions: Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """`rho(x)` on R^dim by its logarithm.

    `centre` and `scale`, numbers or `(dim,)`, say where its mass lies: a normal law of that mean
    and deviation is to cover it (None: a reference run finds them). A scale `(dim, dim)` is a lower
    triangular root of that law's covariance. `width` is the finest length
    that it has, by default `scale`. `log_z` is the true `log Z`, where known, `draw(n, generator)`
    makes exact samples and `modes` sorts samples.

    >>> bell = Target(lambda x: -x.square().sum(1) / 2, dim=2)
    >>> bell(torch.ones(3, 2))
    tensor([-1., -1., -1.])
    """

    log_prob: LogRho
    dim: int
    log_z: float | None = None
    draw: Callable[[int, torch.Generator], Tensor] | None = None
    centre: Tensor | float = 0.0
    scale: Tensor | float | None = None
    width: float | None = None
    modes: Modes | None = None
    name: str = "target"

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise BadInput(f"the target's dim is {self.dim}.", "Give at least 1.")
        for key in ("scale", "width"):
            value = getattr(self, key)
            lengths = torch.as_tensor(1.0 if value is None else value)
            if not ((lengths.diagonal() if lengths.ndim == 2 else lengths) > 0).all():
                raise BadInput(f"the target's {key} is {value}.", "Give lengths above 0.")

    def __call__(self, x: Tensor) -> Tensor:
        """`log rho(x)`, `(n,)`; -inf where there is no density."""
        value = self.log_prob(x)
        if not isinstance(value, Tensor) or value.shape != x.shape[:1]:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise BadInput(
                f"log_prob of x {tuple(x.shape)} gave {shape}.",
                f"Return one number a row: ({len(x)},).",
            )
        return value

    def standard(self) -> "Target":
        """The same over u, x = centre + scale u: there a standard normal law covers it, and

            log rho_u(u) = log rho(centre + scale u) + log |det scale|                      (eq. 1)

        has the same integral."""
        _, scale = self.place()
        lengths = scale.diagonal() if scale.ndim == 2 else scale
        jacobian = float(lengths.log().sum())
        finest = min(self.width or math.inf, float(lengths.min()))
        across = float(lengths.log().mean().exp())
        modes = self.modes

        def log_prob(u: Tensor) -> Tensor:
            return self(self.out_of(u)) + jacobian

        def draw(n: int, rng: torch.Generator) -> Tensor:
            return self.units(self.exact(n, rng))

        def which(u: Tensor) -> Tensor:
            assert modes is not None
            return modes.which(self.out_of(u))

        return replace(
            self,
            log_prob=log_prob,
            draw=self.draw and draw,
            centre=0.0,
            scale=1.0,
            width=finest / across if self.width else 1.0,
            modes=modes and Modes(which, modes.fractions),
        )

    def place(self) -> tuple[Tensor, Tensor]:
        """centre `(dim,)` and scale, `(dim,)` or a root `(dim, dim)`, in float64."""
        own = (self.centre, 1.0 if self.scale is None else self.scale)
        centre, scale = (torch.as_tensor(v, dtype=torch.float64) for v in own)
        return centre.expand(self.dim), scale if scale.ndim == 2 else scale.expand(self.dim)

    def out_of(self, u: Tensor) -> Tensor:
        """x = centre + scale u."""
        centre, scale = (v.to(u) for v in self.place())
        return centre + (u @ scale.T if scale.ndim == 2 else scale * u)

    def units(self, x: Tensor) -> Tensor:
        """u of x."""
        centre, scale = (v.to(x) for v in self.place())
        away = x - centre
        if scale.ndim == 2:
            return torch.linalg.solve_triangular(scale, away.T, upper=False).T
        return away / scale

    def exact(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples, `(n, dim)` float64, or BadInput."""
        if self.draw is None:
            raise BadInput(f"no exact samples of {self.name} are known.", "Leave them out.")
        return self.draw(n, rng)

    def gradient(self, x: Tensor, graph: bool = False) -> Tensor:
        """`grad log rho` at x, `(n, dim)`, 0 where there is no density; `graph`: to be
        differentiated itself, also in x."""
        with torch.enable_grad():
            x = x if graph and x.requires_grad else x.detach().requires_grad_()
            value = self(x)
            if not value.requires_grad:
                raise BadInput(
                    "log_prob has no gradient: what it returns does not depend on x by torch.",
                    "Compute it with torch operations, without detach, numpy or no_grad.",
                )
            (slope,) = torch.autograd.grad(value.sum(), x, create_graph=graph)
        return torch.where(slope.isfinite(), slope, 0.0)


def check_target(target: Target, seed: int = 0, whole: bool = True) -> list[str]:
    """What a person should know of a target, in sentences; BadInput for what cannot be sampled.

    At points of its covering law: the shape, rows that do not know each other, numbers or -inf, a
    gradient that agrees with central differences, float32 beside float64; and far out, unless it is
    but a likelihood and not a `whole` density, an integral.
    """
    rng = torch.Generator().manual_seed(seed)
    u = torch.randn(PROBES, target.dim, generator=rng, dtype=torch.float64)
    over, said = target.standard(), list[str]()
    value = over(u).detach().double()
    if lost := int((value.isnan() | (value == math.inf)).sum()):
        raise BadInput(
            f"log_prob is NaN or infinite at {lost} of {PROBES} points around the centre.",
            "Return a finite number, or -inf where there is no density.",
        )
    inside = value.isfinite()
    if not inside.any():
        raise BadInput(
            f"log_prob is -inf at all of {PROBES} points around the centre.",
            "Give the target's `centre` and `scale`: where its mass lies.",
        )
    if not inside.all():
        said.append(
            f"log_prob is -inf at {PROBES - int(inside.sum())} of {PROBES} points: no gradient "
            "leads back from there, so the weights alone see that border."
        )
    u, value = u[inside], value[inside]
    if not torch.allclose(over(u[:1]).double(), value[:1], rtol=1e-4, atol=1e-4):
        raise BadInput(
            "log_prob of a row changes with the rows beside it.", "Compute each row by itself."
        )
    _check_gradient(over, u[:8], rng)
    off = float(((over(u.float()).double() - value).abs() / (1 + 1e-3 * value.abs())).max())
    if not off <= 0.05:
        said.append(f"log_prob in float32 is off by {off:.2g} from float64: figures may be too.")
    if whole:
        _check_integral(over, rng)
    return said


def _check_gradient(over: Target, u: Tensor, rng: torch.Generator) -> None:
    """Along random directions v: `v.grad` against `(f(u + h v) - f(u - h v)) / 2h`."""
    slope = over.gradient(u)
    v = torch.randn(u.shape, generator=rng, dtype=u.dtype)
    v = v / v.norm(dim=1, keepdim=True)
    h = 1e-5 * min(1.0, over.width or 1.0)
    steps = (over(u + h * v) - over(u - h * v)).detach().double() / (2 * h)
    along, known = (slope * v).sum(1), steps.isfinite()
    wrong = known & ((steps - along).abs() > 1e-2 * (1 + steps.abs()))
    if 2 * wrong.sum() > known.sum():
        i = int(wrong.nonzero()[0])
        raise BadInput(
            f"the gradient of log_prob is {float(along[i]):.4g} where differences give "
            f"{float(steps[i]):.4g}.",
            "Mend it: rounding to float32 inside, detach, or a step function would do this.",
        )


def _check_integral(over: Target, rng: torch.Generator) -> None:
    """Out along a ray, the weight `rho(s v) s^k` of its points must fall: k = d along a random
    direction, 1 along an axis and along (1, ..., 1)."""
    d = over.dim
    v = torch.randn(16, d, generator=rng, dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True)
    axes = torch.eye(d, dtype=torch.float64)[: min(d, 256)]
    ones = torch.full((1, d), d**-0.5, dtype=torch.float64)
    rays = torch.cat([v, axes, -axes, ones])
    power = torch.tensor([float(d)] * 16 + [1.0] * (len(rays) - 16), dtype=torch.float64)
    inner, outer = (
        over(s * rays).detach().double() + power * math.log(s) for s in (OUTER / 10, OUTER)
    )
    grows = outer.isfinite() & (outer >= inner) & (outer > -EMPTY)
    if (n := int(grows.sum())) > len(rays) // 20 or bool(grows[-1]):
        raise BadInput(
            f"the target's weight grows outwards along {n} of {len(rays)} directions: it has no "
            "finite integral.",
            "Add a prior, or take out what it does not depend on, such as a common translation.",
        )
