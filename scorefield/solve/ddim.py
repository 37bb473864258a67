"""DDIM: Song, Meng and Ermon 2021, "Denoising diffusion implicit models"."""

from dataclasses import dataclass

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, posterior, refreshed, transfer


@dataclass(frozen=True)
class DDIM(Plain):
    """Keep the noise direction, exchange a fraction eta for fresh noise (Song et al., eq. 12).

        x_there = alpha_there D + sqrt(sigma_there^2 - s^2) eps + s z,
        eps = (x - alpha_here D) / sigma_here,   s = eta sigma_there sqrt(1 - q^2)

    eta=0 is the first-order exponential integrator of the probability flow (DPM-Solver-1, Euler
    in ratio); eta=1 is the ancestral step of DDPM. eta multiplies a standard deviation.

    Use it as the baseline, under guidance of large scale, and to find the noise that leads to a
    sample (`encode`).
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise BadInput(f"eta is {self.eta}.", "Use 0 (no fresh noise) to 1 (DDPM).")

    @property
    def pairs(self) -> bool:  # type: ignore[override]
        return self.eta in (0, 1)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

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
        if not self.stochastic:
            keep, gain = transfer(here, there)
            return State(affine(x, keep, denoised, gain)), Info(denoised)
        if self.eta == 1:
            keep, gain, spread = posterior(here, there)
            mean = affine(x, keep, denoised, gain)
            return State(refreshed(mean, spread, noise(x, here, there))), Info(denoised)
        s = self.eta * posterior(here, there)[2]
        rest = Level(there.alpha, (there.sigma**2 - s**2).clamp(min=0).sqrt())
        keep, gain = transfer(here, rest)
        moved = affine(x, keep, denoised, gain)
        return State(moved + like(s, x) * noise(x, here, there)), Info(denoised)
