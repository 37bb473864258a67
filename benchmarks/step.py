"""What the step around the network costs, identity network: all solvers that walk a grid.

50 steps on (64, 3, 32, 32): CPU time of one thread, each loop in turn, and the ratio of a call to
one of a hand-written minimal loop, taken round by round (machines are noisy; the ratio is not).
Deterministic solvers meet the minimal DDIM loop, stochastic ones, with a seed for each sample, the
minimal DDPM loop with one torch.randn a step. Loops with more calls are counted per call.

On (4, 2) what is left is the fixed cost of a step, in microseconds: on a grid that was walked
before, and on one that was not, where multistep methods first find their weights.

Large tensors are allocated and freed beforehand, as any network does: a process that never did
gives memory back at every step, and measures its page faults. Peers where they are installed:

    pip install diffusers azula     # in an environment of their own
    python benchmarks/step.py
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.catalogue import solvers
from scorefield.process import DiscreteVP, grids
from scorefield.solve import Solver, sample

SHAPE, TINY, STEPS = (64, 3, 32, 32), (4, 2), 50
MINIMAL = {False: "minimal DDIM", True: "minimal DDPM"}
"""The loop that deterministic (False) and stochastic (True) solvers are compared with."""

chain = DiscreteVP()
levels = grids.timesteps(chain, STEPS)
walked = {name: make() for name, make in solvers.items() if not make().adaptive}


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


@torch.no_grad()
def minimal_ddpm(x: Tensor) -> Tensor:
    """The same for ancestral sampling, with one torch.randn a step."""
    pairs = list(zip(levels.alpha.tolist(), levels.sigma.tolist()))
    for (a, s), (b, r) in pairwise(pairs):
        x0 = (x - s * x) / a
        rho, share = r / s, 1 - (r * a / (s * b)) ** 2
        mean = rho * (r * a / (s * b)) * x + b * share * x0
        x = mean + r * share**0.5 * torch.randn(x.shape)
    return x


def ours(solver: Solver, grid: Level = levels) -> Callable[[Tensor], Tensor]:
    return lambda x: sample(solver, identity, x, grid, Seeded(range(len(x))))


def calls_of(solver: Solver, x: Tensor) -> int:
    """Calls of the network in a run, those of a start with more of them counted."""
    made = []
    sample(solver, lambda x, *_: made.append(1) or x, x, levels, Seeded(range(len(x))))
    return len(made)


def diffusers_loop(name: str, **options) -> Callable[[Tensor], Tensor]:
    import diffusers  # type: ignore[import-not-found]

    scheduler = getattr(diffusers, name)(timestep_spacing="trailing", **options)

    @torch.no_grad()
    def run(x: Tensor) -> Tensor:
        scheduler.set_timesteps(STEPS)
        x = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(scheduler.scale_model_input(x, t), t, x).prev_sample
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


PEERS = {
    "diffusers DDIM": ("diffusers", lambda: diffusers_loop("DDIMScheduler", clip_sample=False)),
    "diffusers DPM-Solver++(2M)": (
        "diffusers",
        lambda: diffusers_loop("DPMSolverMultistepScheduler"),
    ),
    "diffusers SDE-DPM-Solver++(2M)": (
        "diffusers",
        lambda: diffusers_loop("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
    ),
    "diffusers DPM-Solver SDE, Brownian tree": (
        "torchsde",
        lambda: diffusers_loop("DPMSolverSDEScheduler"),
    ),
    "azula DDIM": ("azula", azula_loop),
}
"""What each needs installed, and its loop."""


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def cpu_seconds(loop: Callable[[Tensor], Tensor], x: Tensor) -> float:
    began = time.process_time()
    loop(x)
    return time.process_time() - began


def loop_costs(rounds: int) -> dict[str, dict]:
    """Median CPU ms of each loop on SHAPE, and its ratio per call to the minimal loop."""
    loops = {MINIMAL[False]: minimal, MINIMAL[True]: minimal_ddpm}
    loops |= {name: ours(solver) for name, solver in walked.items()}
    loops |= {name: make() for name, (package, make) in PEERS.items() if installed(package)}
    torch.ones(7_900_000)  # just under the 32 MB from which the C library always gives memory back
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in loops}
    calls = {name: calls_of(walked[name], x) if name in walked else STEPS for name in loops}
    for k in range(rounds + 2):
        for name, loop in loops.items():
            seconds = cpu_seconds(loop, x)
            if k >= 2:  # the first two rounds warm up
                times[name].append(seconds)
    rows = {}
    for name, seconds in times.items():
        chance = (
            walked[name].stochastic if name in walked else name == MINIMAL[True] or "SDE" in name
        )
        per_call = calls[name] / STEPS
        ratios = sorted(s / m / per_call for s, m in zip(seconds, times[MINIMAL[chance]]))
        rows[name] = {
            "against": MINIMAL[chance],
            "calls": calls[name],
            "ms": round(1e3 * statistics.median(seconds), 2),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min": round(ratios[0], 2),
            "ratio_max": round(ratios[-1], 2),
        }
    return rows


def step_costs(rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU microseconds of a step on TINY, on a grid walked before and on a new one."""
    x = torch.randn(TINY, generator=torch.Generator().manual_seed(0))

    def micros(loops: list[Callable[[Tensor], Tensor]]) -> float:
        return round(1e6 * statistics.median(cpu_seconds(loop, x) for loop in loops) / STEPS, 1)

    rows = {}
    for name, solver in walked.items():
        fresh = [Level(levels.alpha, levels.sigma * (1 + 1e-9 * k)) for k in range(1, rounds + 1)]
        new = micros([ours(solver, grid) for grid in fresh])
        rows[name] = {"again_us": micros([ours(solver, fresh[-1])] * rounds), "new_us": new}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    rounds, as_json = vars(parser.parse_args()).values()
    torch.set_num_threads(1)
    rows, steps = loop_costs(rounds), step_costs(rounds)
    if as_json:
        print(json.dumps({"loops": rows, "steps": steps}))
        return
    cpu = torch.backends.cpu.get_cpu_capability()
    print(f"{platform.machine()}, {cpu}, {os.cpu_count()} cores, one thread, {rounds} rounds")
    for against in MINIMAL.values():
        print(
            f"\n{'50 steps, (64, 3, 32, 32)':<40}{'calls':>6}{'CPU ms':>9}{'ratio':>8}   min..max"
        )
        for name, r in rows.items():
            if r["against"] == against:
                spread = f"{r['ratio_min']:.2f}..{r['ratio_max']:.2f}"
                print(f"{name:<40}{r['calls']:>6}{r['ms']:>9.2f}{r['ratio']:>8.2f}   {spread}")
    print(f"\n{'microseconds a step, (4, 2)':<40}{'calls':>6}{'again':>9}{'new grid':>10}")
    for name, r in steps.items():
        print(f"{name:<40}{walked[name].evals:>6}{r['again_us']:>9.1f}{r['new_us']:>10.1f}")


if __name__ == "__main__":
    main()
