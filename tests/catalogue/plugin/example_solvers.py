"""A package of its own, as anyone may write: two solvers, of which one is wrong."""

from dataclasses import dataclass

from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Noise, like
from scorefield.solve import Info, State


@dataclass(frozen=True)
class Euler:
    """Euler's method for `dx/dr = eps` in r = sigma/alpha; `scale` 1 is right.

    Use it as an example."""

    scale: float = 1.0
    order = 1
    evals = 1
    stochastic = False
    adaptive = False

    def init(self, x: Tensor) -> State:
        return State(x)

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        denoised = denoise(state.x, here, cond)
        keep = there.sigma / here.sigma.where(here.sigma > 0, 1)
        moved = like(keep, denoised) * state.x
        gain = like(there.alpha - keep * here.alpha, denoised)
        x = moved + self.scale * gain * denoised
        return State(x.where(like(here.sigma, x) > 0, state.x)), Info(denoised)


@dataclass(frozen=True)
class Clipped(Euler):
    """The same, but D is clipped at the mean of the whole batch: a sample depends on the others."""

    def step(self, denoise, state, here, there, noise, cond=None):
        def clipped(x, level, cond=None):
            denoised = denoise(x, level, cond)
            return denoised.clamp(max=float(denoised.abs().mean()) * 2)

        return super().step(clipped, state, here, there, noise, cond)


NUMBER = 3


def torn() -> Euler:
    """It raises."""
    raise RuntimeError("torn")
