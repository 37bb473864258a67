"""The laws of a batch: a sample is its own, whatever is beside it, whenever it paused, anywhere."""

import hashlib
from collections.abc import Sequence

from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.solve import DDIM, sample
from scorefield.solve.laws import DOWN, EIGHT, MakeNoise
from scorefield.solve.laws import begun as start
from tests.laws.entries import SOLVERS
from tests.laws.twin import Twin


def digests(make_noise: MakeNoise = Seeded) -> dict[str, str]:
    """The sha256 of every solver's samples: one string to compare across processes."""
    return {
        name: hashlib.sha256(
            sample(solver, EIGHT.denoise, start([1, 2, 3]), DOWN, make_noise([1, 2, 3]))
            .numpy()
            .tobytes()
        ).hexdigest()
        for name, solver in SOLVERS.items()
    }


# --- what they must find --------------------------------------------------------------------------


class BatchNormed(Twin):
    """Clips D at a number taken over the whole batch."""

    def step(self, denoise, state, here, there, noise, cond=None):
        def clipped(x, level, cond=None):
            denoised = denoise(x, level, cond)
            return denoised.clamp(max=float(denoised.abs().mean()) * 2)

        return DDIM().step(clipped, state, here, there, noise, cond)


class FirstLevelOnly(Twin):
    """One level for the whole batch: the first sample's."""

    def step(self, denoise, state, here, there, noise, cond=None):
        here, there = (Level(*(leaf.flatten()[0] for leaf in level)) for level in (here, there))
        return DDIM().step(denoise, state, here, there, noise, cond)


class IndexNoise:
    """Keyed by the place in the batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        pass

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return Seeded(range(len(x)))(x, here, there)


class CounterNoise:
    """Keyed by how many draws there have been."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds, self.calls = seeds, 0

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        self.calls += 1
        level = Level.of(1.0, float(self.calls))
        return Seeded(self.seeds)(x, level, level)


class SaltedNoise:
    """Keyed through Python's salted `hash`: right until the process ends."""

    def __init__(self, seeds: Sequence[int]) -> None:
        digest = hashlib.sha256(str(hash("salt")).encode()).digest()[:4]
        self.noise = Seeded([seed + int.from_bytes(digest, "little") for seed in seeds])

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return self.noise(x, here, there)
