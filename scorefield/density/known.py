"""Targets with a known integral or exact samples, as the field's benchmarks define them."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from scorefield.base import BadInput
from scorefield.data.readers.arrays import read_npz
from scorefield.density.target import Modes, Target
from scorefield.smc.annealed import LOG2PI


def nearest_modes(centres: Tensor, fractions: Tensor) -> Modes:
    """Modes by the nearest of `centres (K, d)`."""

    def which(x: Tensor) -> Tensor:
        return torch.cdist(x.double(), centres).argmin(1, keepdim=True)

    return Modes(which, fractions)


def normal(dim: int = 2, mean: float = 0.0, std: float = 1.0) -> Target:
    """`N(mean, std^2 I)`, covered by N(0, 1): the control that hits it is known."""

    def log_prob(x: Tensor) -> Tensor:
        return (-((x - mean) / std).square() / 2 - LOG2PI / 2 - math.log(std)).sum(1)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        return mean + std * torch.randn(n, dim, generator=rng, dtype=torch.float64)

    cover = max(1.0, abs(mean) + std)
    return Target(log_prob, dim, 0.0, draw, 0.0, cover, std, name="normal")


def gaussians(means: Tensor, std: float, name: str) -> Target:
    """Equal Gaussians N(m_k, std^2 I), covered by a normal law of their own mean and deviation."""
    means = means.double()
    count, dim = means.shape

    def log_prob(x: Tensor) -> Tensor:
        apart = (x[:, None] - means.to(x)).square().sum(2)
        each = -apart / (2 * std**2) - dim * (LOG2PI / 2 + math.log(std))
        return each.logsumexp(1) - math.log(count)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        k = torch.randint(count, (n,), generator=rng)
        return means[k] + std * torch.randn(n, dim, generator=rng, dtype=torch.float64)

    scale = (means.var(0, correction=0) + std**2).sqrt()
    fractions = torch.full((count,), 1 / count, dtype=torch.float64)
    modes = nearest_modes(means, fractions)
    return Target(log_prob, dim, 0.0, draw, means.mean(0), scale, std, modes, name)


def _lattice(*places: float) -> Tensor:
    return torch.tensor(list(itertools.product(places, repeat=2)), dtype=torch.float64)


def gmm_9() -> Target:
    """Nine Gaussians of variance .3 on {-5, 0, 5}^2 (Zhang and Chen 2022, "Path integral
    sampler")."""
    return gaussians(_lattice(-5.0, 0.0, 5.0), math.sqrt(0.3), "gmm-9")


def gmm_25() -> Target:
    """Twenty-five Gaussians of variance .3 on {-10, -5, 0, 5, 10}^2."""
    return gaussians(_lattice(-10.0, -5.0, 0.0, 5.0, 10.0), math.sqrt(0.3), "gmm-25")


def gmm_40(seed: int = 0, std: float = 1.3132616875182228, dim: int = 2) -> Target:
    """Forty Gaussians with means uniform in [-40, 40]^dim, drawn by torch under `seed`. Four
    variants go by the name: std softplus(1) = 1.313 under seed 0 (Midgley et al. 2023, "Flow
    annealed importance sampling bootstrap") and under another seed, and std 1 in the plane and in
    50 dimensions, whose means other generators drew: those are like them, not the same."""
    rng = torch.Generator().manual_seed(seed)
    means = (torch.rand(40, dim, generator=rng) - 0.5) * 80
    return gaussians(means, std, f"gmm-40 (seed {seed}, std {std:.3g}, dim {dim})")


def funnel(dim: int = 10) -> Target:
    """Neal's funnel: x_1 ~ N(0, 9), x_i ~ N(0, exp(x_1)) (Neal 2003, "Slice sampling", sec. 8).

    No effective sample size exists for it in the limit: its weights have no variance."""

    def log_prob(x: Tensor) -> Tensor:
        head, rest = x[:, 0], x[:, 1:]
        neck = -head.square() / 18 - math.log(3.0) - LOG2PI / 2
        mouth = -rest.square() * (-head[:, None]).exp() / 2 - head[:, None] / 2 - LOG2PI / 2
        return neck + mouth.sum(1)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(n, dim, generator=rng, dtype=torch.float64)
        head = 3 * z[:, :1]
        return torch.cat([head, (head / 2).exp() * z[:, 1:]], 1)

    if dim < 2:
        raise BadInput(f"a funnel of dim {dim} has no mouth.", "Give 2 or more.")
    scale = torch.full((dim,), math.exp(9 / 4), dtype=torch.float64)  # E exp(x_1) = exp(9 / 2)
    scale[0] = 3.0
    return Target(log_prob, dim, 0.0, draw, 0.0, scale, 0.5, name="funnel")


class _Line:
    """A density of one coordinate on a fine grid: its integral, and samples by the inverse of its
    distribution function. exp(-f) smooth and 0 at both ends: the trapezoidal rule is exact there to
    rounding."""

    def __init__(self, log_rho: Callable[[Tensor], Tensor], reach: float, cells: int = 200_001):
        self.x = torch.linspace(-reach, reach, cells, dtype=torch.float64)
        value = log_rho(self.x)
        step = 2 * reach / (cells - 1)
        self.log_z = float(value.logsumexp(0)) + math.log(step)
        self.mass = (value - self.log_z).exp() * step

    def moment(self, f: Callable[[Tensor], Tensor]) -> float:
        """`E f(x)`."""
        return float((self.mass * f(self.x)).sum())

    def draw(self, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """Samples, linear between the points of the grid."""
        u = torch.rand(*shape, generator=rng, dtype=torch.float64)
        return torch.from_numpy(np.interp(u.numpy(), self.mass.cumsum(0).numpy(), self.x.numpy()))


def double_well(dim: int = 5, wells: int = 5, separation: float = 4.0) -> Target:
    """`sum_{i <= wells} -(x_i^2 - separation)^2 - sum_{i > wells} x_i^2 / 2`: 2^wells equal modes
    (Wu, Koehler and Noe 2020; as in Richter and Berner 2024, "Improved sampling via learned
    diffusions"). log Z by quadrature: (5, 5, 4) has -.541056, (50, 5, 2) has 42.817243."""
    if not 1 <= wells <= dim:
        raise BadInput(f"{wells} wells do not fit {dim} dimensions.", "Give from 1 to dim.")

    def one(x: Tensor) -> Tensor:
        return -(x.square() - separation).square()

    line = _Line(one, math.sqrt(separation) + 4)

    def log_prob(x: Tensor) -> Tensor:
        return one(x[:, :wells]).sum(1) - x[:, wells:].square().sum(1) / 2

    def draw(n: int, rng: torch.Generator) -> Tensor:
        rest = torch.randn(n, dim - wells, generator=rng, dtype=torch.float64)
        return torch.cat([line.draw((n, wells), rng), rest], 1)

    def which(x: Tensor) -> Tensor:
        bits = (x[:, :wells] > 0).long() * 2 ** torch.arange(wells, device=x.device)
        return bits.sum(1, keepdim=True)

    spread = math.sqrt(line.moment(torch.square))
    scale = torch.tensor([spread] * wells + [1.0] * (dim - wells), dtype=torch.float64)
    log_z = wells * line.log_z + (dim - wells) * LOG2PI / 2
    fractions = torch.full((2**wells,), 0.5**wells, dtype=torch.float64)
    width = min(1.0, 1 / math.sqrt(8 * separation))
    name = f"double-well ({dim}, {wells}, {separation:g})"
    return Target(log_prob, dim, log_z, draw, 0.0, scale, width, Modes(which, fractions), name)


def many_well(dim: int = 32) -> Target:
    """`sum over pairs of -x^4 + 6 x^2 + x/2 - y^2/2` (Noe et al. 2019; Midgley et al. 2023):
    2^(dim/2) modes, the right one of each pair with .844 of its mass. log Z of 32 is 164.695675."""
    if dim < 2 or dim % 2:
        raise BadInput(f"many wells of dim {dim} are no pairs.", "Give an even number.")

    def one(x: Tensor) -> Tensor:
        return -(x**4) + 6 * x.square() + x / 2

    line = _Line(one, 6.0)
    pairs = dim // 2

    def log_prob(x: Tensor) -> Tensor:
        return (one(x[:, ::2]) - x[:, 1::2].square() / 2).sum(1)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        wells = line.draw((n, pairs), rng)
        return torch.stack(
            [wells, torch.randn(n, pairs, generator=rng, dtype=torch.float64)], 2
        ).flatten(1)

    right = line.moment(lambda x: (x > 0).double())
    fractions = torch.tensor([1 - right, right], dtype=torch.float64)
    scale = torch.tensor([math.sqrt(line.moment(torch.square)), 1.0] * pairs, dtype=torch.float64)
    log_z = pairs * (line.log_z + LOG2PI / 2)
    modes = Modes(lambda x: (x[:, ::2] > 0).long(), fractions)
    return Target(log_prob, dim, log_z, draw, 0.0, scale, 0.2, modes, f"many-well-{dim}")


def quartic(a: float = 1.0, b: float = 2.0, c: float = 0.5) -> Target:
    """`-a x^4 + b x^2 + c x` on the line, log Z by quadrature."""
    if not a > 0:
        raise BadInput(f"a quartic with a = {a:g} has no integral.", "Give a > 0.")

    def one(x: Tensor) -> Tensor:
        return -a * x**4 + b * x.square() + c * x

    reach = 2 * (math.sqrt(abs(b) / a) + (abs(c) / a) ** (1 / 3) + 4 * a**-0.25)
    line = _Line(one, reach)
    mean = line.moment(lambda x: x)
    scale = math.sqrt(line.moment(lambda x: (x - mean).square()))
    width = min(scale, a**-0.25 / 2)
    return Target(
        lambda x: one(x[:, 0]), 1, line.log_z, lambda n, rng: line.draw((n, 1), rng),
        mean, scale, width, name="quartic",
    )  # fmt: skip


def ring(radius: float = 3.0, std: float = 0.2) -> Target:
    """`-(|x| - radius)^2 / 2 std^2` in the plane: one mode with a hole. log Z by quadrature."""
    reach = radius + 10 * std
    line = _Line(
        lambda r: torch.where(r > 0, -((r - radius) / std).square() / 2 + r.clamp(min=1e-300).log(),
                              -math.inf),
        reach,
    )  # fmt: skip

    def draw(n: int, rng: torch.Generator) -> Tensor:
        r, angle = line.draw((n,), rng), torch.rand(n, generator=rng, dtype=torch.float64)
        angle = 2 * math.pi * angle
        return torch.stack([r * angle.cos(), r * angle.sin()], 1)

    def log_prob(x: Tensor) -> Tensor:
        return -((x.square().sum(1) + 1e-12).sqrt() - radius).square() / (2 * std**2)

    scale = math.sqrt(line.moment(lambda r: r.square()) / 2)
    return Target(log_prob, 2, line.log_z + LOG2PI, draw, 0.0, scale, std, name="ring")


def rosenbrock() -> Target:
    """`-((1 - x)^2 + 100 (y - x^2)^2) / 20`: a bent valley. x ~ N(1, 10), y | x ~ N(x^2, .1), so
    Z = 2 pi."""

    def log_prob(x: Tensor) -> Tensor:
        return -((1 - x[:, 0]).square() + 100 * (x[:, 1] - x[:, 0].square()).square()) / 20

    def draw(n: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(n, 2, generator=rng, dtype=torch.float64)
        x = 1 + math.sqrt(10.0) * z[:, 0]
        return torch.stack([x, x.square() + math.sqrt(0.1) * z[:, 1]], 1)

    centre = torch.tensor([1.0, 11.0], dtype=torch.float64)
    scale = torch.tensor([3.2, 15.5], dtype=torch.float64)  # Var x^2 = 4 + 2 * 100 + ...
    return Target(log_prob, 2, LOG2PI, draw, centre, scale, 0.3, name="rosenbrock")


def logistic(data: str) -> Target:
    """The posterior of a logistic regression with prior N(0, I) on weights and bias.

    `data` is an .npz of features `x (n, d)`, which are standardised, and labels `y (n,)` of two
    values. Its log Z is the log evidence: about -111.6 on ionosphere, -108.4 on sonar."""
    arrays = {key: torch.from_numpy(v) for key, v in read_npz(Path(data), "target").items()}
    if not {"x", "y"} <= set(arrays):
        raise BadInput(f"{data} holds {', '.join(arrays)}.", "Give arrays x (n, d) and y (n,).")
    x, y = arrays["x"].double(), arrays["y"]
    values = y.unique()
    if x.ndim != 2 or y.shape != x.shape[:1] or len(values) != 2:
        raise BadInput(
            f"x has shape {tuple(x.shape)}, y {tuple(y.shape)} with {len(values)} values.",
            "Give x (n, d) and y (n,) of two values.",
        )
    std = x.std(0, correction=0)
    x = (x - x.mean(0)) / torch.where(std > 0, std, 1.0)
    design = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x], 1)
    sign = torch.where(y == values[1], 1.0, -1.0).double()
    signed = sign[:, None] * design

    def log_prob(w: Tensor) -> Tensor:
        prior = (-w.square() / 2 - LOG2PI / 2).sum(1)
        return prior + logsigmoid(w @ signed.to(w).T).sum(1)

    return Target(log_prob, design.shape[1], name="logistic")


def log_gaussian_cox(grid: int = 16, seed: int = 0) -> Target:
    """The posterior of a log-Gaussian Cox process on `grid`^2 cells of the unit square.

        log rho = log N(x; mu, K) + sum_i (x_i y_i - exp(x_i) / M),   M = grid^2,
        K_ij = 1.91 exp(-33 |s_i - s_j|),  mu = log 126 - 1.91 / 2

    s_i the cells' corners, constants of Moller, Syversveen and Waagepetersen (1998). The counts y
    are drawn from the model itself under `seed`: the paper's pines are not in it."""
    cells = grid**2
    place = torch.cartesian_prod(*[torch.arange(grid, dtype=torch.float64)] * 2) / grid
    covariance = 1.91 * (-torch.cdist(place, place) * 33).exp()
    mean, area = math.log(126.0) - 1.91 / 2, 1 / cells
    factor = torch.linalg.cholesky(covariance)
    rng = torch.Generator().manual_seed(seed)
    field = mean + factor @ torch.randn(cells, generator=rng, dtype=torch.float64)
    counts = torch.poisson(area * field.exp(), generator=rng)
    log_det = float(factor.diagonal().log().sum())

    def log_prob(x: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(factor.to(x), (x - mean).T, upper=False)
        prior = -z.square().sum(0) / 2 - log_det - cells * LOG2PI / 2
        return prior + (x * counts.to(x) - area * x.exp()).sum(1)

    return Target(log_prob, cells, None, None, mean, math.sqrt(1.91), 0.5, name="log-gaussian-cox")


def _free(particles: int, space: int) -> Tensor:
    """An orthonormal basis `(particles space, (particles - 1) space)` of what leaves the centre of
    mass where it is: without it a pair potential has no integral."""
    ones = torch.ones(particles, 1, dtype=torch.float64)
    whole = torch.linalg.qr(torch.cat([ones, torch.eye(particles, dtype=torch.float64)], 1))[0]
    return torch.kron(whole[:, 1:].contiguous(), torch.eye(space, dtype=torch.float64))


def _particles(energy: Callable[[Tensor], Tensor], particles: int, space: int, scale: float,
               width: float, name: str) -> Target:  # fmt: skip
    """A target of the distances of particles, over the coordinates that are free."""
    basis = _free(particles, space)
    upper = torch.triu_indices(particles, particles, 1)

    def log_prob(u: Tensor) -> Tensor:
        x = (u @ basis.to(u).T).unflatten(1, (particles, space))
        apart = (x[:, upper[0]] - x[:, upper[1]]).square().sum(2)
        return -energy(apart)

    return Target(log_prob, basis.shape[1], None, None, 0.0, scale, width, name=name)


def double_well_particles(particles: int = 4) -> Target:
    """`sum over pairs of -4 (d - 4)^2 + .9 (d - 4)^4`, halved, of particles in the plane (Koehler,
    Klein and Noe 2020, "Equivariant flows"), over the coordinates orthogonal to a translation. It
    does not change with turns, reflections and the particles' order."""

    def energy(apart: Tensor) -> Tensor:
        d = (apart + 1e-12).sqrt() - 4
        return (-4 * d.square() + 0.9 * d**4).sum(1) / 2

    return _particles(energy, particles, 2, 2.5, 0.3, f"dw-{particles}")


def lennard_jones(particles: int = 13) -> Target:
    """`sum over pairs of d^-12 - 2 d^-6` and half of `sum |x - centre|^2`, each pair once, in space
    (the convention of Koehler et al. 2020 counts pairs twice and halves), over the coordinates
    orthogonal to a translation."""

    def energy(apart: Tensor) -> Tensor:
        inverse = 1 / (apart + 1e-6) ** 3
        # the sum of squares about the centre is that of the distances over the count
        return (inverse.square() - 2 * inverse + apart / (2 * particles)).sum(1)

    return _particles(energy, particles, 3, 1.0, 0.1, f"lj-{particles}")
