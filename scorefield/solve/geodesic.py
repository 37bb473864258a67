"""Down the noise of a manifold, and of letters: the steps where x + dx is not a step.

On a manifold the denoiser says the pull u = E[log_x x0 | x], which D - x is in R^n; along a heat
kernel u = t score, t = sigma^2.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from scorefield.base import Cond, Denoise, Level, Noise, like, quotient
from scorefield.solve.loop import Info, Plain, State
from scorefield.spaces import Discrete, Manifold


@dataclass(frozen=True)
class GeodesicFlow(Plain):
    """`x -> exp_x((1 - sigma_s/sigma_t) u)`: DDIM on a manifold.

    By a heat kernel it follows the probability flow, dx/d log sigma = -u, to first order; by
    Riemannian flow matching (Chen and Lipman 2024, arXiv:2302.03660) the geodesics to the data.
    """

    space: Manifold = field(kw_only=True)

    def init(self, x: Tensor) -> State:
        return State(self.space.start(x))

    def step(
        self, denoise: Denoise, state: State, here: Level, there: Level, noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:  # fmt: skip
        x = state.x
        pull = denoise(x, here, cond)
        fraction = like(1 - quotient(there.sigma, here.sigma), x)
        return State(self.space.exp(x, fraction * pull)), Info(self.space.exp(x, pull))


@dataclass(frozen=True)
class GeodesicWalk(GeodesicFlow):
    """The reverse of Brownian motion by steps along geodesics:

        x -> exp_x((t - s) score + sqrt(t - s) z),   t = sigma^2,   z ~ N(0, I) tangent at x

    and to clean data without z. Of first order in law (De Bortoli et al. 2022, arXiv:2202.02763,
    alg. 1). For heat kernels, whose levels have alpha = 1.
    """

    stochastic = True

    def step(
        self, denoise: Denoise, state: State, here: Level, there: Level, noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:  # fmt: skip
        x = state.x
        pull = denoise(x, here, cond)
        t, s = here.sigma.square(), there.sigma.square()
        z = self.space.noise(x, noise(x, here, there))
        spread = like(torch.where(s > 0, t - s, 0.0).sqrt(), x)
        move = like((t - s) / t, x) * pull + spread * z
        return State(self.space.exp(x, move)), Info(self.space.exp(x, pull))


@dataclass(frozen=True)
class StateWalk(Plain):
    """Letters drawn place by place from `p(x_s | x_t)` (`Discrete.step`), by float64 Gumbel noise.

    A draw is the `earliest` of K exponential clocks of rates p: the argmax of log p + Gumbel.
    Their times are `-log Phi(z)` of float64 normals z: float32 uniforms end at 1 - 6e-8, which
    cuts the noise short and lowers the temperature (Zheng et al. 2024, arXiv:2409.02908).
    """

    stochastic = True
    space: Discrete = field(kw_only=True)

    def init(self, x: Tensor) -> State:
        return State(self.space.start(x))

    def step(
        self, denoise: Denoise, state: State, here: Level, there: Level, noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:  # fmt: skip
        x = state.x
        log_p = log_softmax(denoise(x, here, cond).double(), -1)
        law = self.space.step(log_p, x, here, there)
        z = noise(torch.empty_like(law), here, there)
        return State(earliest(law, z).to(x)), Info(log_p.argmax(-1).to(x))


def earliest(law: Tensor, z: Tensor) -> Tensor:
    """Which of K clocks of rates `law` (.., K) rings first, by normal numbers z (.., K), float64.

    >>> earliest(torch.tensor([0.5, 0.5]), torch.tensor([6.5, 7.0]).double())
    tensor(1)
    """
    return (-torch.special.log_ndtr(z) / law).argmin(-1)
