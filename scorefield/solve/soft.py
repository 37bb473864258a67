"""The samplers that were published with processes of a level per coordinate, beside which DDPM is
the exact diagonal posterior: of soft diffusion, and of inverse heat dissipation."""

from dataclasses import dataclass

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, quotient
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine


@dataclass(frozen=True)
class SoftMomentum(Plain):
    """The momentum sampler of soft diffusion, `x = C x0 + sigma eps` (Daras et al. 2023, "Soft
    diffusion: score matching with general corruptions", alg. 2).

        x_there = C_there D + rho^2 (x - C_here D) + sigma_there sqrt(1 - rho^2) z,
        rho = sigma_there / sigma_here

    C is alpha of each coordinate. It keeps every marginal where D is x0, as rho^4 sigma_here^2 +
    sigma_there^2 (1 - rho^2) is sigma_there^2; where sigma stands still it draws no noise. The
    step without momentum, `C_there D + sigma_there z`, forgets x.

    Use it to reproduce soft diffusion, on its schedule; with few calls arc or ddim is nearer.
    """

    stochastic = True

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
        rho = quotient(there.sigma, here.sigma)
        keep, spread = rho**2, there.sigma * (1 - rho**2).clamp(min=0).sqrt()
        moved = affine(x, keep, denoised, there.alpha - here.alpha * keep)
        return State(moved.addcmul(like(spread, x), noise(x, here, there))), Info(denoised)


@dataclass(frozen=True)
class HeatDelta(Plain):
    """The sampler of inverse heat dissipation (Rissanen et al. 2023, "Generative modelling with
    inverse heat dissipation", alg. 2), on levels whose sigma stands still.

        x_there = alpha_there D + delta z;   a step to clean data is D

    The deviation `delta` stands in for the posterior's, and it is a knob: on a Gaussian field with
    200 steps delta = .01 leaves .48 of the variance, .0125 (the authors' 1.25 sigma) .75 and .02
    makes 1.9 times as much. Its best value changes with the count of steps. DDPM on the same levels
    is the posterior and needs no knob.

    Use it to reproduce inverse heat dissipation; for samples use ddpm.
    """

    delta: float = 0.0125
    stochastic = True

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise BadInput(f"delta is {self.delta}.", "Use a deviation > 0, such as .0125.")

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
        spread = self.delta * (there.sigma > 0).to(there.sigma)
        moved = like(there.alpha, x) * denoised
        return State(moved.addcmul(like(spread, x), noise(x, here, there))), Info(denoised)
