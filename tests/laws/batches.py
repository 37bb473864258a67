"""The laws of a batch: a sample is its own, whatever is beside it, whenever it paused, anywhere."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scorefield.base import Level, Noise, Seeded
from scorefield.solve import DDIM, Solver, sample, trajectory
from tests.laws.entries import SOLVERS
from tests.laws.truths import EIGHT, eight
from tests.laws.twin import Twin
from tests.laws.walks import CLEAN, DOWN, PURE, aged, cat, close, start

MakeNoise = Callable[[list[int]], Noise]


def check_step_of_cat(solver: Solver, make_noise: MakeNoise = Seeded) -> None:
    """step(cat(a, b, ...)) = cat(step(a), step(b), ...): other levels, seeds and ages side by side.

    The parts: a young one, a fresh one, one at pure noise, an old one, one whose step is the last,
    one that stands still on clean data.
    """
    solver = copy.deepcopy(solver)
    parts = [
        ([11, 12, 13], aged(solver, [11, 12, 13], 2), DOWN.at(2), DOWN.at(3)),
        ([21, 22], aged(solver, [21, 22], 0, 4), DOWN.at(4), DOWN.at(5)),
        ([31], aged(solver, [31], 0), PURE, DOWN.at(1)),
        ([61, 62], aged(solver, [61, 62], 5), DOWN.at(5), DOWN.at(6)),
        ([41, 42], aged(solver, [41, 42], 3, 4), DOWN.at(7), DOWN.at(8)),
        ([51], aged(solver, [51], 3, 5), CLEAN, CLEAN),
    ]
    alone = [
        solver.step(EIGHT.denoise, state, here, there, make_noise(seeds), None)[0]
        for seeds, state, here, there in parts
    ]
    here, there = (
        Level(*map(torch.cat, zip(*(level.expand(len(seeds)) for seeds, level in levels))))
        for levels in ([(p[0], p[2]) for p in parts], [(p[0], p[3]) for p in parts])
    )
    seeds = [seed for part in parts for seed in part[0]]
    state = cat([part[1] for part in parts])
    together, info = solver.step(EIGHT.denoise, state, here, there, make_noise(seeds), None)
    assert len(info.denoised) == len(seeds)
    for leaf, expected in zip(together, cat(alone)):
        same = (leaf == expected) | ((leaf - expected).abs() <= 1e-12 * (1 + expected.abs()))
        assert same.all(), "a sample depends on its batch"


def check_neighbours(
    solver: Solver, make_noise: MakeNoise = Seeded, dtype: torch.dtype = torch.float64
) -> None:
    """Sample i is the same alone, first of three, and inside a hundred in another order.

    1e-12 and 1e-5: matrix products of another size add in another order; nothing else may differ.
    """
    solver, denoise = copy.deepcopy(solver), eight(dtype).denoise
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5

    def run(seeds: list[int]) -> Tensor:
        x = start(seeds, dtype=dtype)
        return sample(solver, denoise, x, DOWN, make_noise(seeds))

    many = list(range(100))
    whole = run(many)
    for seeds in ([7], [7, 1, 2], [99, 50, 7, 7], many[::-1]):
        assert close(run(seeds), whole[seeds], tolerance), f"seeds {seeds[:4]} depend on the batch"


def check_resume(solver: Solver, folder: Path, make_noise: MakeNoise = Seeded) -> None:
    """Paused after k steps, written to a file, read back and gone on with: the same bits."""
    seeds = [3, 1, 4]
    steps = trajectory(copy.deepcopy(solver), EIGHT.denoise, start(seeds), DOWN, make_noise(seeds))
    whole = [state for state, _ in steps]
    for k in (1, 2, 5):
        steps = trajectory(
            copy.deepcopy(solver), EIGHT.denoise, start(seeds), DOWN, make_noise(seeds)
        )
        for _ in range(k):
            state, _ = next(steps)
        kind = type(state)
        save_file(state._asdict(), folder / "state.safetensors")
        state = kind(**load_file(folder / "state.safetensors"))
        rest = sample(
            copy.deepcopy(solver), EIGHT.denoise, state, DOWN.at(slice(k, None)), make_noise(seeds)
        )
        assert torch.equal(rest, whole[-1][0]), f"a pause after {k} steps changes the sample"


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
