"""What the step around the network costs: 50 DDIM steps on (64, 3, 32, 32), identity network.

CPU time of one thread, each loop in turn, the ratio to a hand-written minimal loop taken round by
round (machines are noisy; the ratio is not). Peers are measured where they are installed:

    pip install diffusers azula     # in an environment of their own
    python benchmarks/step.py
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.base import Level, Seeded, Zero
from scorefield.process import DiscreteVP, grids
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, sample

SHAPE, STEPS = (64, 3, 32, 32), 50

chain = DiscreteVP()
levels = grids.timesteps(chain, STEPS)


def identity(x: Tensor, level: Level, cond=None) -> Tensor:
    return x


@torch.no_grad()
def minimal(x: Tensor) -> Tensor:
    """The loop that a person writes by hand: eps network, Python floats."""
    pairs = list(zip(levels.alpha.tolist(), levels.sigma.tolist()))
    for (a, s), (b, r) in pairwise(pairs):
        eps = x
        x0 = (x - s * eps) / a
        x = b * x0 + r * eps
    return x


def ours(solver, noise) -> Callable[[Tensor], Tensor]:
    return lambda x: sample(solver, identity, x, levels, noise)


def diffusers_loop() -> Callable[[Tensor], Tensor]:
    from diffusers import DDIMScheduler  # type: ignore[import-not-found]

    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")

    @torch.no_grad()
    def run(x: Tensor) -> Tensor:
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            x = scheduler.step(x, t, x).prev_sample
        return x

    return run


def azula_loop() -> Callable[[Tensor], Tensor]:
    from azula.denoise import Denoiser as AzulaDenoiser  # type: ignore[import-not-found]
    from azula.denoise import DiracPosterior  # type: ignore[import-not-found]
    from azula.noise import VPSchedule  # type: ignore[import-not-found]
    from azula.sample import DDIMSampler  # type: ignore[import-not-found]

    class Identity(AzulaDenoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = VPSchedule()

        def forward(self, x_t, t, **kwargs):
            return DiracPosterior(mean=x_t)

    sampler = DDIMSampler(Identity(), steps=STEPS, silent=True)
    return torch.no_grad()(lambda x: sampler(x))


def cpu_seconds(loop: Callable[[Tensor], Tensor], x: Tensor) -> float:
    began = time.process_time()
    loop(x)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    rounds, as_json = vars(parser.parse_args()).values()
    torch.set_num_threads(1)
    noise = Seeded(range(SHAPE[0]))
    loops = {
        "minimal DDIM": minimal,
        "scorefield DDIM": ours(DDIM(), Zero()),
        "scorefield DPM-Solver++(2M)": ours(DPMSolverPP(), Zero()),
        "scorefield Heun": ours(Heun(), Zero()),
        "scorefield DDPM, seeded noise": ours(DDPM(), noise),
    }
    for name, package, make in (
        ("diffusers DDIM", "diffusers", diffusers_loop),
        ("azula DDIM", "azula", azula_loop),
    ):
        try:
            importlib.import_module(package)
        except ImportError:
            continue
        loops[name] = make()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in loops}
    for k in range(rounds + 2):
        for name, loop in loops.items():
            seconds = cpu_seconds(loop, x)
            if k >= 2:  # the first two rounds warm up
                times[name].append(seconds)
    rows = {}
    for name, seconds in times.items():
        ratios = sorted(s / m for s, m in zip(seconds, times["minimal DDIM"]))
        rows[name] = {
            "ms": round(1e3 * statistics.median(seconds), 2),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min": round(ratios[0], 2),
            "ratio_max": round(ratios[-1], 2),
        }
    if as_json:
        print(json.dumps(rows))
        return
    cpu = torch.backends.cpu.get_cpu_capability()
    print(f"{platform.machine()}, {cpu}, {os.cpu_count()} cores, one thread, {rounds} rounds")
    print(f"{'50 steps, (64, 3, 32, 32)':<32}{'CPU ms':>9}{'ratio':>8}   min..max")
    for name, r in rows.items():
        spread = f"{r['ratio_min']:.2f}..{r['ratio_max']:.2f}"
        print(f"{name:<32}{r['ms']:>9.2f}{r['ratio']:>8.2f}   {spread}")


if __name__ == "__main__":
    main()
