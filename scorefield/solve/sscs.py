"""The symmetric splitting of the reverse SDE of pairs: Dockhorn, Vahdat and Kreis 2022."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import Block, Cond, Denoise, Level, Noise
from scorefield.base.block import Pairwise, lower
from scorefield.solve.loop import Info, Plain, State


@dataclass(frozen=True)
class SSCS(Plain):
    """Half a step of the process itself, a push by the score, and half a step again.

        z' = Psi' z + N'^(1/2) z_1         exact, over h/2
        v' += 2 Gamma h (s_v(z') + v'/M)   score and D at the middle of the step's time
        z_there = Psi' z' + N'^(1/2) z_2

    Psi' and N' are those of the forward process (eq. 2 of `process.momentum`) with the sign of x
    turned: in reversed time x runs the other way, and the damping does not. The score at the step's
    start, as it is often written, costs half as much again of error or more. A step to clean data
    is D.

    Use it on levels of momentum, with 50 calls or more.
    """

    stochastic = True
    scalar = False
    pairs = True
    eta = 1.0

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (z,) = state
        assert isinstance(here, Block) and isinstance(there, Block)  # as `walked` sees to
        middle, h = here.between(there, 0.5), here.time - there.time
        z = self._half(z, here, h / 2, noise(z, here, middle))
        denoised = denoise(z, middle, cond)
        down = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        push = Pairwise(here.pairing.push * h[..., None, None] * down)
        toward = middle.slope(z, denoised) + z[:, 1] * float(here.pairing.drift[0, 1])
        z = self._half(z + push(toward), here, h / 2, noise(z, middle, there))
        return State(ended(z, denoised, there)), Info(denoised)

    @staticmethod
    def _half(z: Tensor, level: Block, h: Tensor, fresh: Tensor) -> Tensor:
        turn = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        psi = turn[:, None] * level.pairing.transition(h) * turn
        root = turn[:, None] * lower(level.pairing.spread(h))
        return Pairwise(psi)(z) + Pairwise(root)(fresh)


def reverse_pairs(z: Tensor, denoised: Tensor, here: Block, there: Block, noise: Noise) -> Tensor:
    """A step of Euler-Maruyama: only v has a score and noise,

        z_there = z - h F z + (0, 2 Gamma h s_v + sqrt(2 Gamma h) z_v)
    """
    h, pairing = here.time - there.time, here.pairing
    down = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    pushed = Pairwise(pairing.push * h[..., None, None] * down)(here.slope(z, denoised))
    fresh = Pairwise((pairing.push * h).sqrt()[..., None, None] * down)
    moved = z - Pairwise(h[..., None, None] * pairing.drift)(z) + pushed
    return ended(moved + fresh(noise(z, here, there)[:, 1]), denoised, there)


def ended(z: Tensor, denoised: Tensor, there: Level) -> Tensor:
    """z, but D at rest where the level is clean data."""
    if not (there.sigma == 0).any():
        return z
    clean = (there.sigma == 0).reshape(-1, *(1,) * (z.ndim - 1)).to(z.device)
    return torch.where(clean, torch.stack([denoised, torch.zeros_like(denoised)], 1), z)
