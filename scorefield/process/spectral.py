"""Processes with a level for each coordinate of an orthonormal basis.

    y = U^T x0:   x_k = alpha_k y_k + sigma_k eps_k,   eps ~ N(0, I)

A scalar schedule, the `clock`, says when: by it grids are spread, times of training drawn and
levels named. `spread` says what its level is to each coordinate. Called with no `shape` such a
schedule is its clock; with one it gives the levels of all coordinates.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Level
from scorefield.process.schedules import VE, Cosine, Flow, Schedule
from scorefield.spaces import DCT, Basis, Haar, Identity

FAINT = 1e-12
"""alpha/sigma of a coordinate below which it is pure noise, alpha = 0, to the last digit: of
e^-1900 no clock of a solver makes anything else."""


class OnCourse(Level):
    """A level per coordinate that knows its time t, leaves `(n,)`, on a schedule: between two of
    them the whole process has a middle, which no coordinate's clock alone could say."""

    t: Tensor
    course: "Spectral"
    coords: tuple[int, ...]

    @classmethod
    def of_time(cls, course: "Spectral", t: Tensor, coords: tuple[int, ...]) -> "OnCourse":
        """The level at t `(n,)`, or a grid at t `(steps+1, n)`, of coordinates of that shape."""
        found = cls(*course.leaves(t, coords))
        found.t, found.course, found.coords = t, course, coords
        return found

    def at(self, index: int | slice | Tensor) -> Level:
        found = OnCourse(self.alpha[index], self.sigma[index])
        found.t, found.course, found.coords = self.t[index], self.course, self.coords
        return found

    def between(self, there: Level, fraction: float) -> Level | None:
        if not isinstance(there, OnCourse) or there.course != self.course:
            return None
        found = OnCourse.of_time(self.course, torch.lerp(self.t, there.t, fraction), self.coords)
        return found.shaped(self.sigma.shape)

    def shaped(self, shape: tuple[int, ...]) -> "OnCourse":
        """The same with leaves of another shape."""
        found = OnCourse(self.alpha.reshape(shape), self.sigma.reshape(shape))
        found.t, found.course, found.coords = self.t, self.course, self.coords
        return found

    def of_copies(self) -> "OnCourse":
        """Of a grid `(steps+1, P, *shape)` for P copies of a whole set `(P, S, *shape)`."""
        steps, copies, *coords = self.sigma.shape
        return self.shaped((steps, copies, 1, *coords))


@dataclass(frozen=True)
class Spectral(ABC):
    """What such schedules share. `clock` is a scalar schedule; `shape` that of a sample (C, ...) or
    (D,); `deviations` those of the data in each band of the basis, coarsest first, where known.

    `schedule(t)` has leaves `(1, *shape)` for t `()` and `(n, *shape)` for t `(n,)`, in which axes
    may be 1; a grid `(steps+1, 1, *shape)`.
    """

    _: KW_ONLY
    clock: Schedule = Cosine()
    shape: tuple[int, ...] = ()
    deviations: tuple[float, ...] = ()

    begins_in_data = False
    """Whether the noisiest level is none that noise alone is at."""

    @property
    def floor(self) -> float:
        return self.clock.floor

    @property
    @abstractmethod
    def basis(self) -> Basis:
        """In whose coordinates x is."""

    @abstractmethod
    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        """alpha and sigma of each coordinate, where t and the clock's level there have the shape
        of t and an axis of 1 for each of a sample's."""

    def leaves(self, t: Tensor, coords: tuple[int, ...]) -> Level:
        """`spread` at t of any shape: leaves `(*t.shape, *coordinates)`."""
        wide = t.reshape(*t.shape, *(1,) * len(coords))
        level = self.clock(wide)
        alpha, sigma = torch.broadcast_tensors(*self.spread(wide, level, coords))
        return Level(torch.where(alpha < FAINT * sigma, 0.0, alpha), sigma)

    def __call__(self, t: Tensor) -> Level:
        t = torch.as_tensor(t, dtype=torch.float64)
        if not self.shape:
            return self.clock(t)
        return OnCourse.of_time(self, t.reshape(-1), self.basis.shape(self.shape))

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self.clock.inverse(logsnr)

    def lifted(self, level: Level, coords: tuple[int, ...], grid: bool = False) -> OnCourse:
        """The levels of all coordinates of coords of that shape, where the clock is at `level`:
        one, `(n,)` of so many samples, or a grid `(steps+1,)` or `(steps+1, n)`."""
        t = self.clock.inverse(level.logsnr.detach()).clamp(0, 1)
        t = t.reshape(-1) if not grid else t.reshape(len(t), -1)
        found = OnCourse.of_time(self, t, coords)
        clean = (level.sigma == 0).reshape(*t.shape, *(1,) * len(coords))
        if clean.any():  # whatever the schedule keeps at t = 0
            alpha, sigma = (torch.where(clean, end, leaf) for end, leaf in zip((1.0, 0.0), found))
            done = OnCourse(alpha, sigma)
            done.t, done.course, done.coords = t, self, coords
            return done
        return found

    def units(self, coords: tuple[int, ...]) -> Tensor | None:
        """The data's deviation in each coordinate, or None where it is not known."""
        if not self.deviations:
            return None
        bands = self.basis.bands(coords)
        if int(bands.max()) + 1 != len(self.deviations):
            raise BadInput(
                f"{len(self.deviations)} deviations are given and the basis has "
                f"{int(bands.max()) + 1} bands.",
                "Give one for each band.",
            )
        return torch.tensor(self.deviations, dtype=torch.float64)[bands]


@dataclass(frozen=True)
class Blurring(Spectral):
    """Blurring diffusion: Hoogeboom and Salimans 2023, "Blurring diffusion models".

        alpha_k = alpha d_k,   sigma_k = sigma,   d_k = (1 - least) e^(-lambda_k s^2/2) + least,
        s = max sin^2(pi t/2)

    alpha and sigma the clock's, s the blur's deviation in pixels, lambda_k of the cosine k
    (`spaces.DCT`). Without the floor `least` alpha_k is 0 to the last bit in high frequencies, and
    alpha_there/alpha_here 0/0 (which the solvers take as 1); with e^(-lambda s^2/2) clipped at it
    in its place frequencies stand still.

    >>> level = Blurring(20.0, shape=(32,))(torch.tensor(0.5))
    >>> [round(float(level.alpha[0, k]), 7) for k in (0, 1, 4, 31)]
    [0.7071068, 0.4369..., 0.0010..., 0.0007071]
    """

    max: float = 20.0
    least: float = 1e-3

    def __post_init__(self) -> None:
        if not (0 < self.max < math.inf and 0 <= self.least < 1):
            raise BadInput(
                f"max is {self.max} and least {self.least}.", "Use max > 0 and 0 <= least < 1."
            )

    @property
    def basis(self) -> Basis:
        return DCT()

    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        blur = self.max * (math.pi / 2 * t).sin() ** 2
        kept = (-DCT().rates(coords) * blur**2 / 2).exp()
        return Level(level.alpha * (kept + self.least * (1 - kept)), level.sigma)


@dataclass(frozen=True)
class Soft(Blurring):
    """Soft diffusion: Daras et al. 2023, "Soft diffusion: score matching with general
    corruptions": `x = C x0 + sigma eps`, C the blur of `Blurring` without a floor.

    >>> level = Soft(20.0, shape=(32,))(torch.tensor(1.0))
    >>> float(level.alpha[0, 0]), float(level.alpha[0, 31]), round(float(level.sigma[0, 31]), 9)
    (1.0, 0.0, 50.0)
    """

    least: float = 0.0
    clock: Schedule = field(default=VE(), kw_only=True)


@dataclass(frozen=True)
class Heat(Spectral):
    """Inverse heat dissipation: Rissanen et al. 2023, "Generative modelling with inverse heat
    dissipation": blur of deviation `least^(1-t) max^t` pixels, with a little noise at all levels.

        alpha_k = e^(-lambda_k s^2/2),   sigma_k = sigma,   s = least^(1-t) max^t

    The mean, k = 0, stands still: such a process does not end in noise, and samples begin in
    blurred data with noise of deviation sigma added. The authors' program leaves that noise out.
    The clock only counts.

    >>> level = Heat(20.0, shape=(8,))(torch.tensor(1.0))
    >>> float(level.alpha[0, 0]), float(level.sigma[0, 0])
    (1.0, 0.01)
    """

    max: float = 20.0
    least: float = 0.5
    sigma: float = 0.01
    clock: Schedule = field(default=Flow(), kw_only=True)
    begins_in_data = True

    def __post_init__(self) -> None:
        if not (0 < self.least < self.max < math.inf and 0 < self.sigma < math.inf):
            raise BadInput(
                f"max is {self.max}, least {self.least} and sigma {self.sigma}.",
                "Use 0 < least < max and sigma > 0.",
            )

    @property
    def basis(self) -> Basis:
        return DCT()

    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        blur = self.least * (self.max / self.least) ** t
        alpha = (-DCT().rates(coords) * blur**2 / 2).exp()
        return Level(alpha, torch.full_like(alpha, self.sigma))


@dataclass(frozen=True)
class Wavelet(Spectral):
    """Diffusion in Haar's wavelets, each band with noise in units of its own data.

        alpha_b = alpha,   sigma_b = sigma s_b / s_0

    s_b the data's `deviations`, s_0 that of the coarsest band; without them, or with `even`, all
    bands have the clock's level, and as the basis is orthonormal this is diffusion of the pixels,
    exactly. A network reads the coordinates, 4^levels times the channels on 2^levels times smaller
    pictures (Phung et al. 2023, "Wavelet diffusion models are fast and scalable image generators").

    >>> level = Wavelet(shape=(1, 4, 4), deviations=(2.0, 0.5))(torch.tensor(0.5))
    >>> [round(float(v), 4) for v in level.sigma.flatten()]
    [0.7071, 0.1768, 0.1768, 0.1768]
    """

    levels: int = 1
    even: bool = False

    @property
    def basis(self) -> Basis:
        return Haar(self.levels)

    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        units = None if self.even else self.units(coords)
        if units is None:
            units = torch.ones_like(self.basis.bands(coords), dtype=torch.float64)
        return Level(level.alpha, level.sigma * (units / units.flatten()[0]))


@dataclass(frozen=True)
class Varying(Spectral):
    """Dimensionality-varying diffusion: Zhang et al. 2023, "Dimensionality-varying diffusion
    process": a band of Haar's wavelets is dropped where it is all but noise.

        alpha_b = alpha while KL(N(0, alpha^2 s_b^2 + sigma^2) || N(0, sigma^2)) > nats, then 0

    s_b the data's `deviations`. `nats` is what a coordinate may cost; the coarsest band stays. A
    coordinate that is dropped goes on as N(0, sigma^2), and is that where it comes back.

    >>> level = Varying(shape=(1, 4, 4), deviations=(2.0, 0.1))(torch.tensor([0.1, 0.9]))
    >>> (level.alpha[:, :2, 0, 0] > 0).tolist()
    [[True, True], [True, False]]
    """

    levels: int = 1
    nats: float = 2.5e-5

    def __post_init__(self) -> None:
        if not self.nats > 0:
            raise BadInput(f"nats is {self.nats}.", "Give what a coordinate may cost, > 0.")

    @property
    def basis(self) -> Basis:
        return Haar(self.levels)

    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        units = self.units(coords)
        bands = self.basis.bands(coords)
        if units is None:
            units = torch.ones_like(bands, dtype=torch.float64)
        cost = dropping_cost((level.alpha * units / level.sigma.clamp(min=1e-300)) ** 2)
        kept = (cost > self.nats) | (bands == 0)
        return Level(torch.where(kept, level.alpha, 0.0), level.sigma)


def dropping_cost(snr: Tensor) -> Tensor:
    """Nats of a coordinate taken as pure noise: `KL(N(0, 1 + snr) || N(0, 1))`, which is
    `(snr - log(1 + snr)) / 2`; snr its variance over that of the noise.

    >>> round(float(dropping_cost(torch.tensor(0.01))), 7)
    2.48e-05
    """
    return (snr - snr.log1p()) / 2


@dataclass(frozen=True)
class Diagonal(Spectral):
    """Any corruption that is diagonal in a basis: `spread_by(t, level, coords)` gives alpha and
    sigma of each coordinate, where t and the clock's level have axes of 1 for a sample's.

    Checked once there is a shape: no coordinate may rise in noise as t falls.

    >>> halved = Diagonal(lambda t, level, shape: Level(level.alpha, level.sigma / 2), Identity())
    >>> float(halved.leaves(torch.tensor([1.0]), (2,)).sigma[0, 0])
    0.5
    """

    spread_by: Callable[[Tensor, Level, tuple[int, ...]], Level]
    space: Basis = Identity()

    def __post_init__(self) -> None:
        if not self.shape:
            return
        level = self(torch.linspace(1, 0, 65, dtype=torch.float64))
        ratio = level.sigma / level.alpha
        legal = all(bool((v.isfinite() & (v >= 0)).all()) for v in level)
        if not legal or bool((ratio[1:] > ratio[:-1]).any()):
            raise BadInput(
                "some coordinate's sigma/alpha rises as t falls, or is negative or not finite.",
                "Give levels in which no coordinate rises in noise on the way to data.",
            )

    @property
    def basis(self) -> Basis:
        return self.space

    def spread(self, t: Tensor, level: Level, coords: tuple[int, ...]) -> Level:
        return self.spread_by(t, level, coords)


def grid_of(schedule: Any, levels: Level, coords: tuple[int, ...]) -> Any:
    """A grid of the schedule's clock as one of all coordinates, `(steps+1, 1, *shape)`; of a scalar
    schedule, itself."""
    return schedule.lifted(levels, coords, True) if isinstance(schedule, Spectral) else levels


def level_of(schedule: Any, level: Level, coords: tuple[int, ...]) -> Level:
    """A level of the clock, or one for each sample, as those of all coordinates; of a scalar
    schedule, itself."""
    return schedule.lifted(level, coords) if isinstance(schedule, Spectral) else level


def check_one_level(schedule: Any, what: str) -> None:
    """Raise BadInput if a schedule has a level for each coordinate, from what knows one for all."""
    if isinstance(schedule, Spectral):
        raise BadInput(
            f"{what} takes one level for all coordinates, and the process "
            f"{type(schedule).__name__} has one for each.",
            "Use a run on another schedule.",
        )


def check_begins_in_noise(
    schedule: Any, what: str, remedy: str = "Use a run on another schedule."
) -> None:
    """Raise BadInput if the law of x at the noisiest level is not known, from what needs it."""
    if getattr(schedule, "begins_in_data", False):
        raise BadInput(
            f"the process {type(schedule).__name__} does not end in noise: it begins in blurred "
            f"data, and {what} in noise.",
            remedy,
        )


def basis_of(schedule: Any) -> Basis:
    """In whose coordinates a schedule's levels are."""
    return schedule.basis if isinstance(schedule, Spectral) else Identity()


def forward_places(schedule: Any, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """The forward process as it looks: x of samples x0 `(B, *shape)` at times t `(n,)` with one
    noise eps, like x0, as samples `(n, B, *shape)` again, each over sqrt(alpha^2 + sigma^2) of the
    clock, unless that only counts.

    >>> one = torch.ones(1, 1, 4, 4)
    >>> forward_places(Blurring(), one, torch.tensor([0.0, 0.5]), 0 * one)[:, 0, 0, 0, 0]
    tensor([1.0000, 0.7071])
    """
    basis, rows = basis_of(schedule), []
    y, z = basis.forward(x0), basis.forward(eps)
    for at in t:
        clock = (schedule.clock if isinstance(schedule, Spectral) else schedule)(at)
        alpha, sigma = level_of(schedule, clock, tuple(y.shape[1:])).like(y)
        counts = getattr(schedule, "begins_in_data", False)
        size = 1.0 if counts else float(torch.hypot(*clock))
        rows.append(basis.inverse(alpha * y + sigma * z) / size)
    return torch.stack(rows)
