"""k-diffusion: samplers for `D(y, sigma)` with alpha = 1, which is every process in y and r.

Its package imports all of its training code; here only `sampling` is loaded. That wants
torchvision for a function that no sampler uses, and of which no CPU build may exist: a stub. So
for what solves other equations, where it is not installed.
"""

import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.driver import Candidate, Package, serve
from benchmarks.problems import VP, Counted, Process


@cache
def load() -> Any:
    spec = find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("k_diffusion is not installed here")
    package = ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    stub, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    transforms.functional = None  # type: ignore[attr-defined]
    sys.modules |= {"k_diffusion": package, "torchvision": stub, transforms.__name__: transforms}
    for name in ("torchdiffeq", "torchsde"):
        if find_spec(name) is None:  # of log-likelihoods and of noise, which are not measured
            sys.modules[name] = ModuleType(name)
            sys.modules[name].odeint = None  # type: ignore[attr-defined]
    from k_diffusion import sampling  # type: ignore[import-not-found]

    return sampling


Grid = Callable[[int], Tensor]


def grids(sampling: Any, process: Process) -> dict[str, Grid]:
    """n sigmas from r_start to r_end and a zero."""
    ends = (process.r_end, process.r_start)
    found: dict[str, Grid] = {
        f"karras rho={rho}": partial(
            sampling.get_sigmas_karras, sigma_min=ends[0], sigma_max=ends[1], rho=rho
        )
        for rho in (7.0, 3.0)
    }
    found["exponential"] = lambda n: sampling.get_sigmas_exponential(n, *ends)
    found["polyexponential rho=2"] = lambda n: sampling.get_sigmas_polyexponential(n, *ends, 2.0)
    if process is VP:
        found["vp"] = sampling.get_sigmas_vp
    return found


def on(sampler: Callable, grid: Grid, keep: int | None, r: float, options: dict) -> Callable:
    def run(denoise: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
        return sampler(denoise, y, grid(n + (keep is not None))[:keep], disable=True, **options), r

    return run


def nothing(sigma: Tensor, after: Tensor) -> float:
    return 0.0


def solvers(process: Process) -> list[Candidate]:
    sampling = load()
    still = {"eta": 0.0, "noise_sampler": nothing}
    methods: dict[str, tuple[str, list[dict[str, Any]]]] = {
        "Euler": ("sample_euler", [{}]),
        "Heun": ("sample_heun", [{}]),
        "DPM-2": ("sample_dpm_2", [{}]),
        "LMS": ("sample_lms", [{"order": order} for order in (2, 3, 4)]),
        "DPM++ 2S": ("sample_dpmpp_2s_ancestral", [still]),
        "DPM++ 2M": ("sample_dpmpp_2m", [{}]),
        "DPM++ SDE, eta 0": ("sample_dpmpp_sde", [still]),
        "DPM++ 2M SDE, eta 0": (
            "sample_dpmpp_2m_sde",
            [{**still, "solver_type": kind} for kind in ("midpoint", "heun")],
        ),
        "DPM++ 3M SDE, eta 0": ("sample_dpmpp_3m_sde", [still]),
    }
    found = [
        Candidate(
            name,
            label(options, grid),
            on(getattr(sampling, function), make, -1, process.r_end, options),
        )
        for name, (function, choices) in methods.items()
        for options in choices
        for grid, make in grids(sampling, process).items()
    ]
    ends = (process.r_end, process.r_start)

    def fast(denoise: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
        return sampling.sample_dpm_fast(denoise, y, *ends, n, disable=True), process.r_end

    def adaptive(order: int) -> Callable:
        def run(denoise: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
            rtol = 10 ** (1 - n / 8)
            end = sampling.sample_dpm_adaptive(
                denoise, y, *ends, order=order, rtol=rtol, atol=rtol / 6.4, disable=True
            )  # 6.4: the ratio of its defaults
            return end, process.r_end

        return run

    found.append(Candidate("DPM fast", "", fast))
    return found + [Candidate("DPM adaptive", f"order={k}", adaptive(k), True) for k in (2, 3)]


def samplers(process: Process) -> list[Candidate]:
    sampling = load()
    methods: dict[str, tuple[str, list[dict[str, Any]]]] = {
        "Euler ancestral": ("sample_euler_ancestral", [{}]),
        "DPM-2 ancestral": ("sample_dpm_2_ancestral", [{}]),
        "DPM++ 2S ancestral": ("sample_dpmpp_2s_ancestral", [{}]),
        "DPM++ SDE": ("sample_dpmpp_sde", [{}]),
        "DPM++ 2M SDE": (
            "sample_dpmpp_2m_sde",
            [{"solver_type": kind} for kind in ("midpoint", "heun")],
        ),
        "DPM++ 3M SDE": ("sample_dpmpp_3m_sde", [{}]),
        "Heun, churn": ("sample_heun", [{"s_churn": churn} for churn in (2.0, 10.0)]),
        "Euler, churn": ("sample_euler", [{"s_churn": churn} for churn in (2.0, 10.0)]),
    }
    return [
        Candidate(
            name, label(options, grid), on(getattr(sampling, function), make, None, 0.0, options)
        )
        for name, (function, choices) in methods.items()
        for options in choices
        for grid, make in grids(sampling, process).items()
    ]


def label(options: dict[str, Any], grid: str) -> str:
    shown = [f"{k}={v}" for k, v in options.items() if k not in ("eta", "noise_sampler")]
    return ", ".join([*shown, grid])


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)  # its grids are made in the default
    serve(Package("k-diffusion", solvers, samplers))
