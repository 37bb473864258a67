"""Methods that are more than a guide: they choose a step's noise, or its moves."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, quotient
from scorefield.inverse.linear import replacement
from scorefield.inverse.measurement import Measurement, prior_variance, wide
from scorefield.inverse.operators import Operator
from scorefield.inverse.operators.linear import counted
from scorefield.solve import DDPM, Info, Solver, State
from scorefield.solve.langevin import below
from scorefield.solve.loop import Around, Plain
from scorefield.solve.transfer import affine, transfer

DRAWS = 6
"""Draws of a round of `RePaint`."""


@dataclass(frozen=True)
class Renewed(Plain):
    """DDIM with a constant fraction of fresh noise, however short the step.

        x_there = alpha D + sigma (sqrt(1 - fraction) eps + temperature sqrt(fraction) z),
        eps that of x

    No law of a diffusion but on a point: in many steps the noise is renewed again and again, the
    samples follow D and lose spread. What was measured and what was not come to agree sooner for
    it. fraction = 1 keeps nothing of x but D. DiffPIR's walk, with their zeta for it. With a
    temperature below 1 there is less noise in x than D is told, and more of what is not sure goes
    with it: samples nearer to their mean, of a better PSNR and less spread.

    Source: Zhu et al. 2023, "Denoising diffusion models for plug-and-play image restoration".
    """

    fraction: float = 0.6
    temperature: float = 1.0
    stochastic = True

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise BadInput(
                f"fraction is {self.fraction}.", "Use a number above 0, at most 1; or DDIM."
            )
        _check_temperature(self.temperature)

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        denoised = denoise(x, here, cond)
        kept = Level(there.alpha, (1 - self.fraction) ** 0.5 * there.sigma)
        keep, gain = transfer(here, kept)
        moved = affine(x, keep, denoised, gain)
        fresh = self.temperature * self.fraction**0.5 * like(there.sigma, x)
        return State(moved + fresh * noise(x, here, there)), Info(denoised)


@dataclass(frozen=True, eq=False)
class DPS(Around):
    """Diffusion posterior sampling as published: a solver's step, then a step of fixed length.

        x_there = step(x) - scale grad_x |y - A(D(x))|

    The gradient of the norm, not of a likelihood: its fraction of a step does not shrink with the
    step, so twice the steps pull twice as far; published for 1000 steps of DDPM, scale .3 to 1.
    Nor does it know the noise of y: however large that is, samples are pulled to y.
    For a pull that follows the noise use the guide `dps`. One call with its gradient.

    Source: Chung et al. 2023, "Diffusion posterior sampling for general noisy inverse problems",
    algorithm 1 with their step size.
    """

    operator: Operator
    y: Tensor
    scale: float = 1.0
    solver: Solver = field(default_factory=DDPM)
    order = 1

    def __post_init__(self) -> None:
        Measurement(self.operator, self.y)

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        slopes = []

        def seen(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            if slopes:
                return denoise(x, level, cond)
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                denoised = denoise(x, level, cond)
                away = self.y.to(wide(denoised)) - self.operator(wide(denoised))
                norm = torch.linalg.vector_norm(away.flatten(1), dim=1)
                slopes.append(torch.autograd.grad(norm.sum(), x)[0])
            return denoised.detach()

        state, info = self.solver.step(seen, state, here, there, noise, cond)
        return state._replace(x=state[0] - self.scale * slopes[0]), info


@dataclass(frozen=True, eq=False)
class DDRM(Plain):
    """Denoising diffusion restoration: in the singular coordinates each number has its own noise.

    With `c = V^T D`, `b = U^T y / s` of deviation `e = noise_std / s`, z fresh noise:

        told by y (e < sigma_data):  x = alpha (c + k (b - c)) + spread z,
                                     spread^2 = max(0, sigma^2 - (alpha k e)^2)
        else:                        x = alpha c + sigma (sqrt(1 - eta^2) eps + eta z)

    at the level reached; eps is that of x. What y tells does not depend on x but through D, so any
    start is forgotten, and y's own noise is part of the level's. The fraction of y is the most
    probable one if c is off by a deviation of r = sigma/alpha, the level's that D was told,

        k = r^2 / (r^2 + e^2).

    `mix` states another, as published (1): k = mix where the level reached has the noise for it,
    sigma >= alpha e; below, `x = alpha c + sigma (sqrt(1 - eta^2) (b - c) / e + eta z)`. No
    gradient; one call. A number with e above `sigma_data`, a bound of the data's deviation, is
    noise that would come again at every step, so it counts as untold. `temperature` is a factor of
    z, as in `Renewed`. Right in law only for point masses of data, at each level that hides the
    noise put in (sigma >= alpha k e): in steps that do not halve r.

    Source: Kawar et al. 2022, "Denoising diffusion restoration models": eta .85 and mix 1.
    """

    operator: Operator
    y: Tensor
    noise_std: float | Tensor = 0.0
    eta: float = 1.0
    mix: float | None = None
    sigma_data: float = 1.0
    temperature: float = 1.0
    stochastic = True

    def __post_init__(self) -> None:
        linear = Measurement(self.operator, self.y, self.noise_std).linear
        if not (0 <= self.eta <= 1 and 0 <= (self.mix or 0.0) <= 1):
            raise BadInput(f"eta is {self.eta} and mix {self.mix}.", "Use numbers from 0 to 1.")
        _check_temperature(self.temperature)
        spectrum = linear.spectrum or linear.dense().spectrum
        object.__setattr__(self, "_spectrum", spectrum)

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        denoised = denoise(x, here, cond)
        wider = wide(denoised)
        singular, forward, backward, lift, _ = self._spectrum  # type: ignore[attr-defined]
        s = counted(singular, wider).expand_as(wider)
        std = like(torch.as_tensor(self.noise_std, dtype=torch.float64), wider)
        above = self.sigma_data * s > std
        c = forward(wider)
        b = torch.where(above, lift(self.y.to(wider)) / torch.where(above, s, 1.0), c)
        e = std / torch.where(above, s, 1.0)
        a, sigma = there.like(wider)
        before = here.like(wider)
        kept = (forward(wide(x)) - before.alpha * c) / before.sigma
        if self.mix is None:
            r2, e2 = before.sigma**2, (before.alpha * e) ** 2
            fraction, fine = r2 / (r2 + e2), above
        else:
            fraction, fine = torch.full_like(c, self.mix), above & (sigma >= a * e)
            kept = torch.where(above & ~fine, (b - c) / torch.where(fine, 1.0, e), kept)
        rest = a * c + sigma * (1 - self.eta**2) ** 0.5 * kept
        mean = torch.where(fine, a * (c + fraction * (b - c)), rest)
        spread = (sigma**2 - (a * fraction * e) ** 2).clamp(min=0).sqrt()
        spread = self.temperature * torch.where(fine, spread, self.eta * sigma)
        z = forward(wide(noise(x, here, there)))
        return State(backward(mean + spread * z).to(x.dtype)), Info(denoised)


@dataclass(frozen=True, eq=False)
class RePaint(Around):
    """A step; then what was measured is drawn anew at the level reached; then up again, and down.

    The step's D is that of `replacement`, D_y with its covariance r^2 (I - K), where

        K = r^2 A^T (r^2 A A^T + noise_std^2 I)^-1 A,   r^2 of eq. 6,

    is the fraction of each direction that y tells. What it tells is drawn anew, and the rest kept:

        x0 ~ N(D_y, r^2 (I - K)),
        x_there <- (I - K) x_there + K alpha x0 + sigma (2 K - K^2)^(1/2) z.

    Without noise K is a projection and this `x_there <- (I - K) x_there + K (alpha y + sigma z)`,
    the published replacement of the known pixels; with ever more noise K is 0, and it is the
    solver alone. It leaves the law of x_there given y as it is if x0 given x and y is
    N(D_y, r^2 (I - K)): exact in small steps for N(0, sigma_data^2 I) data and any A.

    `times` rounds of it, each but the last followed by the forward process back up to `here`, so
    that the rest can agree with what was put in. times=1 is Song et al.'s replacement. Steps to
    clean data have one round. `times` calls a step for one-step solvers, stochastic or not; each
    draws anew.

    Source: Lugmayr et al. 2022, "RePaint: inpainting using denoising diffusion probabilistic
    models", algorithm 1 with jump length 1.
    """

    operator: Operator
    y: Tensor
    times: int = 5
    solver: Solver = field(default_factory=DDPM)
    noise_std: float | Tensor = 0.0
    sigma_data: float = 1.0
    stochastic = True
    order = 1

    def __post_init__(self) -> None:
        guide = replacement(self.operator, self.y, self.noise_std, self.sigma_data)
        object.__setattr__(self, "_seen", Measurement(self.operator, self.y, self.noise_std))
        object.__setattr__(self, "_guide", guide)
        if self.times < 1:
            raise BadInput(f"times is {self.times}.", "Make at least one round.")

    @property
    def evals(self) -> int:
        return self.times * self.solver.evals

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        a = quotient(here.alpha, there.alpha)
        climb = (here.sigma**2 - a**2 * there.sigma**2).clamp(min=0).sqrt()
        again = like(there.sigma > 0, state[0]).bool()
        guided = self._guide(denoise)  # type: ignore[attr-defined]
        after, info = self.solver.step(guided, state, here, there, noise, cond)
        after = self._drawn_anew(after, info.denoised, noise, there, 0)
        for k in range(DRAWS, DRAWS * self.times if again.any() else 1, DRAWS):
            up = affine(after[0], a, noise(after[0], below(there, k), here), climb)
            anew = _Anew(noise, k + 1)
            begun = state._replace(x=torch.where(again, up, state[0]))
            after, info = self.solver.step(guided, begun, here, there, anew, cond)
            after = self._drawn_anew(after, info.denoised, noise, there, k)
        return after, info

    def _drawn_anew(self, state: Any, denoised: Tensor, noise: Noise, there: Level, k: int) -> Any:
        x, seen = wide(state[0]), self._seen  # type: ignore[attr-defined]
        open_, error = prior_variance(there, self.sigma_data), seen.noise
        alpha, sigma = there.like(x)
        fresh = (noise(x, below(there, k + i), there) for i in (2, 3))
        inner, z = (wide(v) for v in fresh)
        rows = x.new_zeros(len(x), *seen.y.shape[1:])
        first, second = (noise(rows, below(there, k + i), there) for i in (4, 5))
        std = like(error.sqrt(), rows)
        inner = like(open_.sqrt(), x) * inner
        x0 = wide(denoised) + inner - seen.pull(seen.linear(inner) + std * first, open_, error)
        # sigma/r and the noise that K (alpha x0 + sigma z) lacks, of covariance 2 sigma^2 K (I - K)
        over = like((there.alpha**2 + (there.sigma / self.sigma_data) ** 2).sqrt(), rows)
        away = seen.linear(alpha * x0 + sigma * z - x) + 2**0.5 * over * std * second
        return state._replace(x=(x + seen.pull(away, open_, error)).to(state[0].dtype))


@dataclass(frozen=True)
class _Anew:
    """The noise of a repeated step: other draws for the same intervals."""

    noise: Noise
    k: int

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return self.noise(x, below(here, self.k), there)


def _check_temperature(temperature: float) -> None:
    if not 0 <= temperature <= 1:
        raise BadInput(f"temperature is {temperature}.", "Use a number from 0 to 1.")
