"""The reverse SDE of pairs in one step of two kinds: Dockhorn, Vahdat and Kreis 2022.

    dz = [F z - (0, 2 Gamma s_v)] db + (0, sqrt(2 Gamma)) dW,   from noise to data: db < 0

Of the score only that of v drives it. A step to clean data, where the noise would stay in x, is D
at rest.
"""

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Noise, Pairs
from scorefield.base.pairs import Pairwise, lower

DOWN = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
"""A number as a change of v."""
TURN = torch.tensor([-1.0, 1.0], dtype=torch.float64)
"""In reversed time x runs the other way, and the damping does not."""

PairStep = tuple[Tensor, Tensor]
"""z there, and the D that it was made with."""


def reverse_pairs(
    denoise: Denoise, z: Tensor, here: Pairs, there: Pairs, noise: Noise, cond: Cond | None
) -> PairStep:
    """Euler-Maruyama: `z - h F z + (0, 2 Gamma h s_v + sqrt(2 Gamma h) z_v)`."""
    denoised, pairing = denoise(z, here, cond), here.pairing
    h = (here.time - there.time)[..., None, None]
    moved = z - Pairwise(h * pairing.drift)(z)
    moved = moved + Pairwise(pairing.push * h * DOWN)(here.slope(z, denoised))
    moved = moved + Pairwise((pairing.push * h).sqrt() * DOWN)(noise(z, here, there)[:, 1])
    return _ended(moved, denoised, there), denoised


def split_pairs(
    denoise: Denoise, z: Tensor, here: Pairs, there: Pairs, noise: Noise, cond: Cond | None
) -> PairStep:
    """SSCS: half a step of the process itself, a push by the score, and half a step again.

        z' = Psi' z + N'^(1/2) z_1          exact, over h/2, x turned
        v' += 2 Gamma h (s_v(z') + v'/M)    score and D at the middle of the step's time
        z_there = Psi' z' + N'^(1/2) z_2

    With the score of the step's start, as it is often written, the error is larger at every count.
    """
    middle, pairing, h = here.between(there, 0.5), here.pairing, here.time - there.time
    psi = Pairwise(TURN[:, None] * pairing.transition(h / 2) * TURN)
    fresh = Pairwise(TURN[:, None] * lower(pairing.spread(h / 2)))
    z = psi(z) + fresh(noise(z, here, middle))
    denoised = denoise(z, middle, cond)
    toward = middle.slope(z, denoised) + z[:, 1] * float(pairing.drift[0, 1])
    z = z + Pairwise(pairing.push * h[..., None, None] * DOWN)(toward)
    z = psi(z) + fresh(noise(z, middle, there))
    return _ended(z, denoised, there), denoised


def _ended(z: Tensor, denoised: Tensor, there: Pairs) -> Tensor:
    if not (there.sigma == 0).any():
        return z
    clean = (there.sigma == 0).reshape(-1, *(1,) * (z.ndim - 1)).to(z.device)
    return torch.where(clean, torch.stack([denoised, torch.zeros_like(denoised)], 1), z)
