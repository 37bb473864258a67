"""What a published scheduler does, as a plan of ours: the same solver on the same levels."""

import math
from collections.abc import Mapping
from typing import Any

SOLVERS = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "EulerDiscreteScheduler": "ddim",
    "EulerAncestralDiscreteScheduler": "ddim:1",
    "FlowMatchEulerDiscreteScheduler": "ddim",
    "EDMEulerScheduler": "ddim",
    "EDMPrecond": "heun",
    "VPPrecond": "heun",
    "VEPrecond": "heun",
    "Precond": "heun",
    "Denoiser": "ddim",
    "CMStochasticIterativeScheduler": "jump:fresh=1",
}
KARRAS = ("Denoiser", "EDMEulerScheduler", "CMStochasticIterativeScheduler")
"""Euler's step in sigma/alpha is that of DDIM."""
VARIANCES = {"fixed_small": "0", "fixed_small_log": "0", "fixed_large": "1",
             "fixed_large_log": "1", "learned_range": "learned"}  # fmt: skip


def their_plan(scheduler: Mapping[str, Any], tokens: int | None = None) -> str | None:
    """`solver@grid` of their sampler, to which a count of steps is added; None of one that is none
    of ours. `tokens` are those of a picture, where a pipeline moves the grid by their number.

    >>> their_plan({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"})
    'ddim@timesteps:trailing'
    """
    name = str(scheduler.get("_class_name"))
    solver = SOLVERS.get(name)
    if solver is None:
        return None
    if name == "DDPMScheduler":
        variance = VARIANCES.get(scheduler.get("variance_type", "fixed_small"))
        if variance is None:
            return None
        solver = "ddpm" if variance == "0" else f"ddpm:{variance}"
    return f"{solver}@{_grid(name, scheduler, tokens)}"


def _grid(name: str, scheduler: Mapping[str, Any], tokens: int | None) -> str:
    if name == "FlowMatchEulerDiscreteScheduler":
        return _shifted(scheduler) if tokens is None else _moved(scheduler, tokens)
    for key, grid in (("use_karras_sigmas", "karras"), ("use_exponential_sigmas", "exponential")):
        if scheduler.get(key):
            return grid
    if name.endswith("Precond") or name in KARRAS:
        kind, rho = scheduler.get("sigma_schedule", "karras"), scheduler.get("rho", 7.0)
        return "exponential" if kind == "exponential" else f"karras:rho={rho:g}"
    euler = name.startswith("Euler")
    spacing = scheduler.get("timestep_spacing", "linspace" if euler else "leading")
    offset = scheduler.get("steps_offset", 0)
    said = ["strided" if spacing == "leading" else str(spacing)]
    if offset and spacing == "leading":
        said.append(f"offset={offset}")
    if name == "DDIMScheduler" and not scheduler.get("set_alpha_to_one", True):
        said.append("clean=no")
    return f"timesteps:{','.join(said)}"


def _shifted(scheduler: Mapping[str, Any]) -> str:
    """Their shift acts on its own least sigma too, once when it is made and once on each grid."""
    shift, count = scheduler.get("shift", 1.0), scheduler.get("num_train_timesteps", 1000)
    if scheduler.get("use_dynamic_shifting"):
        return f"shifted:shift=1,last={1 / count:.9g}"
    last = shift / count / (1 + (shift - 1) / count)
    return f"shifted:shift={shift:g},last={last:.9g}"


def _moved(scheduler: Mapping[str, Any], tokens: int) -> str:
    """Even steps of the pipeline's own, moved by a shift or by e^mu, mu linear in the tokens."""
    shift = scheduler.get("shift", 1.0)
    if scheduler.get("use_dynamic_shifting"):
        low, high = (
            scheduler.get("base_image_seq_len", 256),
            scheduler.get("max_image_seq_len", 4096),
        )
        first, last = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)
        shift = math.exp(first + (last - first) * (tokens - low) / (high - low))
    return f"shifted:shift={shift:.9g}"
