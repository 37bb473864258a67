"""Linear inverse problems whose posterior is known: 25 Gaussians seen through a random matrix.

The prior has unit-covariance components at (-8i, -8j), i, j in -2..2, repeated d/2 times, with
weights proportional to the squares of normals; A is a normal matrix (dy, d) with its singular
values replaced by sorted uniforms, the noise a uniform share of the largest of them. So the
posterior is a mixture of 25 Gaussians too. Each method makes 1,000 samples in 100 steps (EDM
levels, even steps of asinh(log(sigma/12)/.6), float64), and the error is the sliced Wasserstein-1
distance to 1,000 draws of the posterior: the mean over 200 directions, then over the seeds of the
problem. "Draws" is that of 1,000 other draws, "posterior's D" that of Heun's method under the
posterior's own denoiser. The guides run under DDIM(eta=1); twisted
SMC is 8 or 24 independent populations of 125 particles and gives an equal share of each.

    python -m benchmarks.inverse           # writes docs/benchmarks/inverse.md
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from scorefield.base import Cond, Denoise, Level, Seeded
from scorefield.inverse import DDRM, DPS, diffpir, dps, mmps, pigdm, tmpd, twisted
from scorefield.inverse.operators import Matrix
from scorefield.solve import DDIM, Heun, Solver, sample

OUT = Path("docs/benchmarks/inverse.md")
SIZES = ((8, 1), (8, 2), (8, 4), (80, 1), (80, 4))
SAMPLES, STEPS, DIRECTIONS, SEEDS = 1000, 100, 200, 20


class Problem(NamedTuple):
    """Means (25, d), weights (25,), A, noise_std, y (1, dy)."""

    means: Tensor
    weights: Tensor
    matrix: Tensor
    noise_std: float
    y: Tensor


def problem(d: int, dy: int, seed: int) -> Problem:
    rng = torch.Generator().manual_seed(seed)
    grid = range(-2, 3)
    means = torch.tensor([[-8.0 * i, -8.0 * j] * (d // 2) for i in grid for j in grid]).double()
    weights = torch.randn(25, generator=rng).double() ** 2
    weights /= weights.sum()
    u, _, vh = torch.linalg.svd(torch.randn(dy, d, generator=rng).double(), full_matrices=False)
    s = torch.rand(dy, generator=rng).double().sort(descending=True).values
    noise_std = float(torch.rand(1, generator=rng)) * float(s[0])
    x0 = means[torch.multinomial(weights, 1, generator=rng)]
    x0 = x0 + torch.randn(1, d, generator=rng).double()
    matrix = u * s @ vh
    y = x0 @ matrix.T + noise_std * torch.randn(1, dy, generator=rng).double()
    return Problem(means, weights, matrix, noise_std, y)


class Posterior(NamedTuple):
    """A mixture of Gaussians of one covariance `basis diag(variances) basis^T`."""

    means: Tensor
    weights: Tensor
    variances: Tensor
    basis: Tensor

    def draw(self, n: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], generator=rng, dtype=torch.float64)
        return self.means[k] + (z * self.variances.sqrt()) @ self.basis.T

    def denoise(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        alpha, sigma = level.like(x)
        total = alpha**2 * self.variances + sigma**2
        y, m = x @ self.basis, self.means @ self.basis
        scaled = y / total
        log_n = alpha * scaled @ m.T - 0.5 * alpha**2 * (m**2 @ (1 / total))
        mean = (log_n + self.weights.log()).softmax(1) @ m
        return (mean + alpha * self.variances * (y - alpha * mean) / total) @ self.basis.T


def prior(p: Problem) -> Posterior:
    eye = torch.eye(p.means.shape[1], dtype=torch.float64)
    return Posterior(p.means, p.weights, torch.ones_like(eye[0]), eye)


def posterior(p: Problem) -> Posterior:
    """`weights N(y; A m_k, A A^T + s_y^2 I)`, precision `I + A^T A / s_y^2`."""
    seen = p.matrix.T @ p.matrix / p.noise_std**2
    precisions, basis = torch.linalg.eigh(seen + torch.eye(len(seen), dtype=torch.float64))
    told = p.means + p.y @ p.matrix / p.noise_std**2
    means = (told @ basis / precisions) @ basis.T
    cov = p.matrix @ p.matrix.T + p.noise_std**2 * torch.eye(len(p.matrix), dtype=torch.float64)
    away = p.y - p.means @ p.matrix.T
    log_w = p.weights.log() - 0.5 * (away @ torch.linalg.inv(cov) * away).sum(1)
    return Posterior(means, log_w.softmax(0), 1 / precisions, basis)


def grid(steps: int, low: float = 0.005, high: float = 1000.0) -> Level:
    """EDM levels, dense where the modes part: even steps of asinh(log(sigma/12)/.6), then 0."""
    top, end = (math.asinh(math.log(s / 12) / 0.6) for s in (high, low))
    sigma = 12 * (0.6 * torch.linspace(top, end, steps, dtype=torch.float64).sinh()).exp()
    sigma = torch.cat([sigma, sigma.new_zeros(1)])
    return Level(torch.ones_like(sigma), sigma)


def sliced(a: Tensor, b: Tensor, directions: int = DIRECTIONS) -> float:
    """Sliced Wasserstein-1 of two equally large samples, the mean over random directions."""
    rng = torch.Generator().manual_seed(0)
    u = torch.randn(a.shape[1], directions, generator=rng, dtype=a.dtype)
    u /= u.norm(dim=0)
    return float(((a @ u).sort(0).values - (b @ u).sort(0).values).abs().mean())


def run(solver: Solver, denoise: Denoise, d: int, seed: int, count: int = SAMPLES) -> Tensor:
    noise, levels = Seeded(range(seed * 10**6, seed * 10**6 + count)), grid(STEPS)
    x = noise.start((d,), levels, dtype=torch.float64)
    return sample(solver, denoise, x, levels, noise)


def guided(guide: Callable, eta: float = 1.0, **options: float) -> Callable[[Problem, int], Tensor]:
    def method(p: Problem, seed: int) -> Tensor:
        made = guide(Matrix(p.matrix, (p.matrix.shape[1],)), p.y, p.noise_std, **options)
        return run(DDIM(eta), made(prior(p).denoise), p.matrix.shape[1], seed)

    return method


def walked(build: Callable[[Matrix, Problem], Solver]) -> Callable[[Problem, int], Tensor]:
    def method(p: Problem, seed: int) -> Tensor:
        d = p.matrix.shape[1]
        return run(build(Matrix(p.matrix, (d,)), p), prior(p).denoise, d, seed)

    return method


def population(particles: int, groups: int) -> Callable[[Problem, int], Tensor]:
    """`groups` independent populations and an equal share of each in the samples returned."""

    def method(p: Problem, seed: int) -> Tensor:
        d = p.matrix.shape[1]
        solver = twisted(Matrix(p.matrix, (d,)), p.y, p.noise_std, particles)
        many = run(solver, prior(p).denoise, d, seed, groups * particles)
        return many[torch.arange(SAMPLES) * len(many) // SAMPLES]

    return method


def exact(p: Problem, seed: int) -> Tensor:
    return run(Heun(), posterior(p).denoise, p.matrix.shape[1], seed)


METHODS = {
    "draws": lambda p, seed: posterior(p).draw(SAMPLES, 10**6 + seed),
    "posterior's D": exact,
    "DiffPIR": guided(diffpir),
    "DDRM": walked(lambda a, p: DDRM(a, p.y, p.noise_std, sigma_data=11.0)),
    "DPS as published": walked(lambda a, p: DPS(a, p.y, solver=DDIM(1.0))),
    "DPS": guided(dps, sigma_data=11.0),
    "PiGDM": guided(pigdm, sigma_data=11.0),
    "TMPD, row sums": guided(tmpd),
    "MMPS": guided(mmps),
    "twisted, 8 x 125": population(125, 8),
    "twisted, 24 x 125": population(125, 24),
}
"""sigma_data 11: the standard deviation of a coordinate under even weights, 8 sqrt(2)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed; write no file")
    parser.add_argument("--only", help="one method; write no file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [options.only] if options.only else list(METHODS)
    lines = [
        "| method | " + " | ".join(f"({d}, {dy})" for d, dy in SIZES) + " | seconds |",
        "| --- |" + " ---: |" * (len(SIZES) + 1),
    ]
    for name in tqdm(names):
        cells, seconds = [], []
        for d, dy in SIZES:
            errors, begun = [], time.process_time()
            for seed in range(1 if options.quick else SEEDS):
                p = problem(d, dy, seed)
                errors.append(sliced(METHODS[name](p, seed), posterior(p).draw(SAMPLES, seed)))
            seconds.append(time.process_time() - begun)
            cells.append(f"{sum(errors) / len(errors):.3f}")
        lines.append(
            f"| {name} | " + " | ".join([*cells, "/".join(f"{s:.0f}" for s in seconds)]) + " |"
        )
        print(lines[-1], flush=True)
    if not (options.quick or options.only):
        cpu = torch.backends.cpu.get_cpu_capability()
        made = "Made by `python -m benchmarks.inverse`. "
        parts = [
            "# Inverse problems with a known posterior",
            made + "\n\n".join((__doc__ or "").split("\n\n")[1:2]),
            f"{SEEDS} problems for each (d, dy); processor time of all of them, size "
            f"by size. {platform.machine()}, {cpu}, torch {torch.__version__}, one thread of "
            f"{os.cpu_count()}.",
            "\n".join(lines),
        ]
        OUT.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
