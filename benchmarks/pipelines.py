"""Our default in a pipeline of diffusers beside their schedulers, at 10 calls of the network.

The network is exact: eps of a random mixture (benchmarks/problems.py) at a timestep of the linear
chain, log(sigma/alpha) linear between its steps. Every scheduler is driven as DDPMPipeline and
StableDiffusionPipeline do it, from the same 64 starts; the error of a point is its distance from
the end of the exact flow, of a mixture the median of the points.

    python -m benchmarks.pipelines [--calls 10] [--mixtures 12]
"""

import argparse
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.problems import Mixture, problem
from scorefield.base import Level, Zero, like
from scorefield.interop import Scheduler
from scorefield.process import DiscreteVP, grids
from scorefield.solve import sample
from scorefield.solve.rk import RK

diffusers: Any = import_module("diffusers")
CHAIN = DiscreteVP()
NODES = CHAIN(torch.arange(1, 1001) / 1000).ratio.log()
POINTS = 64
SPACINGS = ("leading", "trailing", "linspace")
SIGMAS = ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True})
LU = ({"use_lu_lambdas": True},)


def settings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every deterministic scheduler of theirs for this process, at its settings."""
    spaced = [{"timestep_spacing": spacing} for spacing in SPACINGS]
    for more in spaced:
        yield "DDIM", {**more, "clip_sample": False}
        yield "PNDM", {**more, "skip_prk_steps": True}
    for more, sigmas in product(spaced, SIGMAS):
        both = {**more, **sigmas}
        for name in ("EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete"):
            yield name, both
        for order in (1, 2, 3):
            yield "UniPCMultistep", {**both, "solver_order": order}
            yield "DEISMultistep", {**both, "solver_order": order}
    for more, sigmas, order, kind in product(
        spaced, (*SIGMAS, *LU), (1, 2, 3), ("dpmsolver++", "dpmsolver")
    ):
        both = {**more, **sigmas, "solver_order": order, "algorithm_type": kind}
        kinds = ({}, {"solver_type": "heun"}) if order == 2 else ({},)
        for solver in kinds:
            yield "DPMSolverMultistep", {**both, **solver}
            if more == spaced[0] and "use_lu_lambdas" not in both:  # it knows neither
                rest = {k: v for k, v in both.items() if k != "timestep_spacing"}
                yield "DPMSolverSinglestep", {**rest, **solver}


class Exact:
    """eps of a mixture at a timestep, as UNet2DModel gives it; counts its calls."""

    def __init__(self, mixture: Mixture) -> None:
        self.denoise, self.calls = mixture.denoiser(), 0

    def __call__(self, x: Tensor, t: Tensor | float) -> Tensor:
        self.calls += 1
        k = float(t)
        below = min(max(int(k), 0), 998)
        r = float(torch.lerp(NODES[below], NODES[below + 1], k - below).exp())
        alpha = 1 / (1 + r * r) ** 0.5
        return (x.double() / alpha - self.denoise(x.double() / alpha, r)).to(x) / r


def walked(plan: Any, net: Exact, z: Tensor, calls: int) -> Tensor | None:
    """Where a scheduler ends with so many calls, or None where no count of steps has them."""
    for steps in (calls, calls // 2, calls // 2 + 1):
        plan.set_timesteps(steps)
        if len(plan.timesteps) == calls:
            break
    else:
        return None
    ve = "Euler" in type(plan).__name__ or type(plan).__name__ in (
        "HeunDiscreteScheduler", "LMSDiscreteScheduler", "KDPM2DiscreteScheduler"
    )  # fmt: skip
    x, net.calls = z * (float(plan.sigmas[0]) if ve else plan.init_noise_sigma), 0
    for t in plan.timesteps:
        seen = plan.scale_model_input(x, t)
        x = plan.step(net(seen, t), t, x).prev_sample
    assert net.calls == calls
    return x


def truth(mixture: Mixture, z: Tensor, steps: int) -> Tensor:
    """The end of the exact flow from pure noise of the chain."""
    own = mixture.denoiser()

    def denoise(x: Tensor, level: Level, cond: Any = None) -> Tensor:
        return own(x / like(level.alpha, x), level.ratio)

    levels = grids.karras(CHAIN, steps)
    return sample(RK(), denoise, z.double() * levels.sigma[0], levels, Zero())


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--calls", type=int, default=10)
    asked.add_argument("--mixtures", type=int, default=12)
    o = asked.parse_args()
    rows: dict[str, list[float]] = {}
    for seed in range(o.mixtures):
        mixture = problem(f"random-{seed}-1")
        z = torch.from_numpy(np.random.default_rng(seed).standard_normal((POINTS, mixture.dim)))
        end = truth(mixture, z, 400)
        off = (end - truth(mixture, z, 200)).square().mean(1).sqrt().median()
        net = Exact(mixture)

        def score(name: str, x: Tensor | None, end: Tensor = end) -> None:
            apart = torch.inf if x is None else (x.double() - end).square().mean(1).sqrt().median()
            rows.setdefault(name, []).append(float(apart))

        score("ours: arc", walked(Scheduler(sigma_data=mixture.deviation), net, z.float(), o.calls))
        score("ours: arc, untold", walked(Scheduler(), net, z.float(), o.calls))
        for name, more in settings():
            words = ", ".join(f"{k}={v}" for k, v in more.items())
            try:
                plan = getattr(diffusers, f"{name}Scheduler")(**more)
                x = walked(plan, net, z.float(), o.calls)
            except (ValueError, NotImplementedError, IndexError, RuntimeError, AssertionError):
                x = None  # a setting that it refuses, or that fails at this count
            score(f"{name} {words}", x if x is None or x.isfinite().all() else None)
        print(f"mixture {seed}: {mixture.dim} dimensions, truth to {off:.0e}", flush=True)
    theirs = {name: errors for name, errors in rows.items() if not name.startswith("ours")}
    best = min(theirs, key=lambda name: float(np.median(theirs[name])))
    least = np.min([*theirs.values()], axis=0)
    for name in ("ours: arc", "ours: arc, untold", *sorted(
        theirs, key=lambda n: float(np.median(theirs[n])))[:6]):  # fmt: skip
        ratio = np.array(rows[name]) / np.array(theirs[best])
        print(f"{np.median(rows[name]):9.2e}  ahead on {int((ratio < 1).sum()):2}  "
              f"median ratio {np.median(ratio):.3f}  {name}")  # fmt: skip
    for name in ("ours: arc", "ours: arc, untold"):
        ratio = np.array(rows[name]) / least
        print(f"{name} beside the best of each mixture: median ratio {np.median(ratio):.3f}, "
              f"ahead on {int((ratio < 1).sum())}")  # fmt: skip


if __name__ == "__main__":
    main()
