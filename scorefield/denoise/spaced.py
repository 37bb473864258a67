"""A network on a manifold or on letters: `D = space.answer(F(x, noise, cond), x, level)`."""

from typing import Any

from torch import Tensor

from scorefield.base import Cond, Level
from scorefield.denoise.precondition import EVEN_RANGE, Denoiser, noise_number
from scorefield.spaces import Discrete, Manifold


class Spaced(Denoiser):
    """D is the pull u on a manifold, and log p(x0 | x) of letters; all else is a `Denoiser`'s.

    Its solvers are those of `catalogue.walks`. `alphabet` are the letters in words.
    """

    def __init__(
        self, net: Any, space: Manifold | Discrete, alphabet: tuple[str, ...] = (), **about: Any
    ) -> None:
        super().__init__(net, "x0", 1.0, **about)
        self.space, self.alphabet = space, alphabet

    def c_noise(self, x: Tensor, level: Level) -> Tensor:
        return noise_number(level, x, EVEN_RANGE)

    def _both(self, x: Tensor, level: Level, cond: Cond | None) -> tuple[Tensor, Tensor | None]:
        out = self.evaluated(x, self.c_noise(x, level), cond)
        return self.space.answer(out, x, level), None
