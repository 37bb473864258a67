"""Draw the pictures of docs/training.md: `python docs/pictures_training.py` (two minutes)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from torch import Tensor

from scorefield.base import Denoise, Level, Seeded
from scorefield.denoise import Denoiser, Mixture, convert
from scorefield.nets import MLP
from scorefield.objective import (
    P2,
    EDMWeight,
    Fixed,
    Geometric,
    MinSNR,
    Objective,
    Sigmoid,
    snr,
    truncated_snr,
    unit,
)
from scorefield.process import EDM
from scorefield.solve.langevin import langevin

PICTURES = Path(__file__).parent / "pictures"
DATA = Mixture(
    torch.tensor([[-2.0], [2.0]]).double(),
    torch.full((2, 1, 1), 0.2**2).double(),
    torch.tensor([0.25, 0.75]).double(),
)
SMALL, LARGE = 0.05, 1.5
SCHEDULE = EDM(sigma_min=0.01, sigma_max=10.0)
LADDER = Geometric(SMALL, 5.0, 12)
CHAINS, STEPS, STEP = 4000, 100, 0.1
INK, BLUE, RED, GREEN, GREY = "#222222", "#2563a8", "#c2452d", "#2d8a57", "#b8b8b8"


def trained(times: Any, steps: int = 2000) -> Denoiser:
    """A small network that has learned the score at the levels of `times`."""
    torch.manual_seed(0)
    model = Denoiser(MLP((1,), width=64, blocks=2), "eps", 2.0)
    objective, rng = Objective(SCHEDULE, times), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    x0 = DATA.sample(50_000, seed=0).float()
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        batch = x0[torch.randint(len(x0), (512,), generator=rng)]
        adam.zero_grad()
        objective(model, batch, None, rng).per_sample.mean().backward()
        adam.step()
    return model.eval()


@torch.no_grad()
def walk(denoise: Denoise, sigmas: list[float]) -> Tensor:
    """Chains of Langevin from a broad start, STEPS of them at each of `sigmas` in turn."""
    noise = Seeded(range(CHAINS))
    x = 4 * torch.randn(CHAINS, 1, generator=torch.Generator().manual_seed(1))
    for sigma in sigmas:
        level = Level.of(1.0, sigma)
        x = langevin(denoise, x, level, noise, STEP, STEPS)
    return x[:, 0]


def score(denoise: Denoise, x: Tensor, sigma: float) -> Tensor:
    """sigma times the score at x `(N,)`: minus the expected eps, of size 1 at every sigma."""
    with torch.no_grad():
        level = Level.of(1.0, sigma)
        return sigma * convert.score(x[:, None], denoise(x[:, None], level, None), level)[:, 0]


def density(x: Tensor, sigma: float) -> Tensor:
    return DATA.log_prob(x[:, None], Level.of(1.0, sigma)).exp()


def score_matching() -> None:
    """One small sigma, one large one, and many: learned scores above, where they lead below."""
    many = trained(LADDER)
    ladder = torch.linspace(math.log(5.0), math.log(SMALL), LADDER.count).exp()
    columns: list[tuple[str, Denoise, float, list[float]]] = [
        (f"sigma = {SMALL}", trained(Fixed(SMALL)), SMALL, [SMALL] * LADDER.count),
        (f"sigma = {LARGE}", trained(Fixed(LARGE)), LARGE, [LARGE] * LADDER.count),
        (f"{LADDER.count} sigmas, 5 to {SMALL}", many, SMALL, ladder.tolist()),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.4), sharex=True, layout="constrained")
    x = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    for k, (title, model, sigma, sigmas) in enumerate(columns):
        above, below = axes[:, k]
        above.axhline(0, color=GREY, linewidth=0.6)
        above.fill_between(
            x, -9, 9, where=(density(x, sigma) < 1e-3).numpy(), color=GREY, alpha=0.3, linewidth=0
        )
        levels = [sigma] if k < 2 else [sigma, 0.5, LARGE]
        for i, s in enumerate(levels):
            fade = 1 - 0.3 * i
            above.plot(x, score(DATA.denoise, x, s), color=INK, linewidth=2.2, alpha=0.35 * fade)
            above.plot(x, score(model, x.float(), s), color=RED, linewidth=1.2, alpha=fade)
        above.set(title=title, ylim=(-4.2, 4.2), xlim=(-6, 6))
        found = walk(model, sigmas)
        below.hist(found, bins=120, range=(-6, 6), density=True, color=BLUE, alpha=0.55)
        below.plot(x, density(x, 0.0), color=INK, linewidth=1.3)
        below.set(ylim=(0, 1.65), xlabel="x")
        right, inside = float((found > 0).float().mean()), float((found.abs() < 1).float().mean())
        below.text(
            0.03,
            0.93,
            f"right: {right:.2f}\n|x| < 1: {inside:.3f}",
            transform=below.transAxes,
            va="top",
        )
    axes[0, 0].set_ylabel("sigma x score")
    axes[1, 0].set_ylabel("density")
    axes[0, 0].plot([], [], color=INK, linewidth=2.2, alpha=0.35, label="of the noisy data")
    axes[0, 0].plot([], [], color=RED, linewidth=1.2, label="learned")
    axes[0, 0].fill_between([], [], [], color=GREY, alpha=0.3, label="hardly any data")
    axes[0, 0].legend(loc="lower left", fontsize=8, framealpha=0.9)
    axes[1, 1].plot([], [], color=INK, linewidth=1.3, label="data: 1/4 and 3/4")
    axes[1, 1].fill_between([], [], [], color=BLUE, alpha=0.55, label="Langevin")
    axes[1, 1].legend(loc="center left", fontsize=8)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURES / "score-matching.png", dpi=110)
    plt.close(figure)


def weights() -> None:
    """Each weight as what multiplies the error of eps, over logsnr, and the laws of t there."""
    shown: list[tuple[str, Callable[[Level], Tensor], str]] = [
        ("simple = snr", snr, INK),
        ("x0", unit, GREY),
        ("min-snr, 5", MinSNR(), BLUE),
        ("truncated snr", truncated_snr, GREEN),
        ("edm, sigma_data 1/2", EDMWeight(), RED),
        ("sigmoid, bias -2", Sigmoid(-2.0), "#7d4fa8"),
        ("p2, 1, 1 = sigmoid, bias 0", P2(), "#b8860b"),
    ]
    logsnr = torch.linspace(-10, 10, 401, dtype=torch.float64)
    level = Level.of(1.0, (-logsnr / 2).exp())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for name, weight, colour in shown:
        width = 4 if weight is snr else 1.6  # others run on top of it
        left.semilogy(logsnr, weight(level) / snr(level), color=colour, lw=width, label=name)
    left.set(
        ylim=(1e-3, 1e5), xlabel="logsnr (noise left, data right)", title="weight of the eps error"
    )
    left.legend(fontsize=8, loc="upper right", ncols=2)
    laws = {
        "cosine, uniform t": 1 / (2 * torch.pi * torch.cosh(logsnr / 2)),
        "lognormal -1.2, 1.2": torch.exp(-(((-logsnr / 2 + 1.2) / 1.2) ** 2) / 2)
        / (2 * 1.2 * (2 * torch.pi) ** 0.5),
        "logit-normal 0, 1": torch.exp(-((logsnr / 2) ** 2) / 2) / (2 * (2 * torch.pi) ** 0.5),
    }
    for (name, p), colour in zip(laws.items(), (INK, RED, BLUE)):
        right.plot(logsnr, p, color=colour, label=name)
    right.set(xlabel="logsnr", title="density of the level trained")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURES / "weights.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    torch.set_num_threads(1)
    PICTURES.mkdir(exist_ok=True)
    weights()
    score_matching()
