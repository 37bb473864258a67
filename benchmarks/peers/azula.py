"""azula: a denoiser is called with x, t and a schedule that may be replaced, so that each of its
schedules is a grid for every process: uniform in t between the t where its r is r_start and r_end.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import azula.noise as schedules  # type: ignore[import-not-found]
import azula.sample as methods  # type: ignore[import-not-found]
import torch
from azula.denoise import Denoiser, DiracPosterior  # type: ignore[import-not-found]
from torch import Tensor

from benchmarks.peers.driver import Candidate, Package, serve
from benchmarks.problems import Counted, Process

GRIDS = {
    "VP": partial(schedules.VPSchedule, 1e-4, 1e-4),
    "cosine": partial(schedules.CosineSchedule, 1e-4, 1e-4),
    "rectified": partial(schedules.RectifiedSchedule, 1e-4, 1e-4),
    "decay": partial(schedules.DecaySchedule, 1e-4, 1e-4),
    "VE": partial(schedules.VESchedule, 1e-4, 1e4),
}
"""Their ends are wider than any process; a run covers r_start to r_end of them."""
SOLVERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "Euler": ("EulerSampler", [{}]),
    "Heun": ("HeunSampler", [{}]),
    **{
        name: (f"{name}Sampler", [{"order": order} for order in (1, 2, 3, 4)])
        for name in ("zAB", "vAB", "zEAB", "xEAB", "REAB")
    },
}
SAMPLERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "DDPM": ("DDPMSampler", [{}]),
    "DDIM": ("DDIMSampler", [{"eta": eta} for eta in (0.2, 0.5)]),
    "Ito": ("ItoSampler", [{"eta": eta} for eta in (0.2, 0.5, 1.0)]),
    "PC": ("PCSampler", [{"delta": delta} for delta in (0.01, 0.1)]),
}


class Exact(Denoiser):
    def __init__(self, denoise: Counted, schedule: Any) -> None:
        super().__init__()
        self.denoise, self.schedule = denoise, schedule

    def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> Any:
        alpha, sigma = self.schedule(t)
        return DiracPosterior(mean=self.denoise(x_t / alpha, sigma / alpha))


def time(schedule: Any, r: float) -> float:
    """t where sigma / alpha is r, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        t = torch.tensor((low + high) / 2)
        low, high = (
            (low, float(t))
            if float(schedule.sigma(t) / schedule.alpha(t)) > r
            else (float(t), high)
        )
    return (low + high) / 2


def on(method: Callable, make: Callable, options: dict[str, Any], process: Process, r: float):
    schedule = make()
    start, stop = time(schedule, process.r_start), time(schedule, process.r_end)

    def run(denoise: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
        sampler = method(
            Exact(denoise, schedule),
            start=start,
            stop=stop,
            steps=n,
            silent=True,
            dtype=torch.float64,
            **options,
        )
        first, last = sampler.timesteps[0], sampler.timesteps[-1]
        return sampler(y * schedule.alpha(first)) / schedule.alpha(last), r

    return run


def candidates(table: dict, process: Process) -> list[Candidate]:
    return [
        Candidate(
            name,
            ", ".join([*(f"{k}={v}" for k, v in options.items()), grid]),
            on(getattr(methods, method), make, options, process, process.r_end),
        )
        for name, (method, choices) in table.items()
        for options in choices
        for grid, make in GRIDS.items()
    ]


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    serve(Package("azula", partial(candidates, SOLVERS), partial(candidates, SAMPLERS)))
