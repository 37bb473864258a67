"""diffusers: schedulers for a network of x and a timestep, here the exact one.

Run as its users run them: `set_timesteps(n)`, then model and `step` for each timestep. On VP the
chain of 1000 has its level k at t = k/1000 of the continuous process, so that it begins and ends
with it. The network takes real timesteps too, with log r linear between the chain's; a scheduler
that rounds its timesteps pays for it. A run is cut as soon as its sample stands at r_end. Sigmas
are float32: errors below 1e-6 are not resolved.

Left out: "leading" spacing, which begins below t = 1; DEIS on flow, which repeats its last sigma
and never ends; IPNDM, whose process is its own and begins at alpha = 0.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import diffusers.schedulers as schedulers  # type: ignore[import-not-found]
import numpy as np
from torch import Tensor

from benchmarks.peers.driver import Candidate, Package, serve
from benchmarks.problems import EDM, FLOW, VP, Counted, Process, vp_level

Options = dict[str, Any]
LEVELS = np.array([vp_level(k / 1000) for k in range(1, 1001)])
LOG_R = np.log(LEVELS[:, 1] / LEVELS[:, 0])
BETAS = 1 - LEVELS[:, 0] ** 2 / np.append(1.0, LEVELS[:-1, 0] ** 2)

SPACED: list[Options] = [{"timestep_spacing": spacing} for spacing in ("linspace", "trailing")]
SIGMAS: list[Options] = [{f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta")]
LU: Options = {"use_lu_lambdas": True}
VELOCITY: Options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
TO_END: Options = {"final_sigmas_type": "sigma_min"}
FULL: Options = {"lower_order_final": False}


def each(*tables: list[Options]) -> list[Options]:
    """One of every table, joined."""
    return [{k: v for part in parts for k, v in part.items()} for parts in product(*tables)]


def orders(low: int, high: int, name: str = "solver_order") -> list[Options]:
    return [{name: order} for order in range(low, high + 1)]


ENDS = [*SPACED, SPACED[0] | FULL]
SA_ORDERS = [{"predictor_order": p, "corrector_order": p} for p in (1, 2, 3)]
KINDS: list[Options] = [
    {"solver_order": 1},
    {"solver_order": 2},
    {"solver_order": 2, "solver_type": "heun"},
    {"solver_order": 3},
]
DPM = each(KINDS, [{"algorithm_type": "dpmsolver++"}, {"algorithm_type": "dpmsolver"}])
UNIPC = each(orders(1, 3), [{}, {"solver_type": "bh1"}, {"predict_x0": False}])
FLOW_UNIPC = each(orders(1, 3), [{}, {"solver_type": "bh1"}])
EDM_DPM = each([{"sigma_schedule": "karras"}, {"sigma_schedule": "exponential"}], KINDS, [TO_END])
SOLVERS: dict[str, dict[str, list[Options]]] = {
    "vp": {
        "DDIM": each(SPACED, [{"set_alpha_to_one": False, "clip_sample": False}]),
        "PNDM": each(SPACED, [{}, {"skip_prk_steps": True}]),
        "EulerDiscrete": SPACED + SIGMAS,
        "HeunDiscrete": SPACED + SIGMAS,
        "KDPM2Discrete": SPACED + SIGMAS,
        "LMSDiscrete": SPACED + SIGMAS,
        "DPMSolverMultistep": each(DPM, ENDS + SIGMAS + [LU], [TO_END]),
        "DPMSolverSinglestep": each(DPM[2:], [TO_END], [{}, *SIGMAS]),
        "DEISMultistep": each(orders(1, 3), ENDS + SIGMAS),
        "UniPCMultistep": each(UNIPC, ENDS + SIGMAS, [TO_END]),
        "SASolver": each(SA_ORDERS, SPACED + SIGMAS, [{"tau_func": lambda t: 0}]),
    },
    "edm": {
        "EDMEuler": each([{"sigma_schedule": "karras"}, {"sigma_schedule": "exponential"}]),
        "EDMDPMSolverMultistep": EDM_DPM + each(EDM_DPM, [FULL]),
    },
    "flow": {
        "FlowMatchEulerDiscrete": [{}, *SIGMAS],
        "FlowMatchHeunDiscrete": [{}],
        "DPMSolverMultistep": each(KINDS, [{}, FULL, TO_END, FULL | TO_END], [VELOCITY]),
        "UniPCMultistep": each(FLOW_UNIPC, [{}, TO_END, FULL | TO_END], [VELOCITY]),
        "SASolver": each(SA_ORDERS, [VELOCITY | {"tau_func": lambda t: 0}]),
    },
}
SAMPLERS: dict[str, list[Options]] = {
    "DDPM": each(
        SPACED,
        [{"variance_type": "fixed_small"}, {"variance_type": "fixed_large"}],
        [{"clip_sample": False}],
    ),
    "DDIM": each(SPACED, [{"eta": 0.5}, {"eta": 1.0}], [{"clip_sample": False}]),
    "EulerAncestralDiscrete": SPACED,
    "KDPM2AncestralDiscrete": SPACED + SIGMAS,
    "DPMSolverMultistep": each(
        [{"algorithm_type": "sde-dpmsolver++"}],
        KINDS,
        SPACED + SIGMAS + [LU],
    ),
    "DPMSolverSDE": SPACED + SIGMAS,
    "SASolver": each(SA_ORDERS, SPACED + SIGMAS),
}


def level_at(t: float, process: Process) -> tuple[float, float]:
    """What a timestep means to the network."""
    if process is FLOW:
        return 1 - t / 1000, t / 1000
    if process is EDM:
        return 1.0, math.exp(4 * t)
    r = math.exp(np.interp(t, np.arange(1000), LOG_R))
    return 1 / math.hypot(1, r), r / math.hypot(1, r)


def output(scheduler: Any, denoise: Counted, x: Tensor, t: Tensor, process: Process) -> Tensor:
    """What the exact network would say at timestep t: eps, the flow's velocity or EDM's F."""
    alpha, sigma = level_at(float(t), process)
    if process is EDM:  # x is y times c_in
        s = scheduler.config.sigma_data
        n = math.hypot(sigma, s)
        y = x * n
        return (denoise(y, sigma) - (s / n) ** 2 * y) * n / (sigma * s)
    denoised = denoise(x / alpha, sigma / alpha)
    eps = (x - alpha * denoised) / sigma
    return eps - denoised if process is FLOW else eps


def ratio_after(scheduler: Any, i: int, process: Process) -> float:
    """r where the sample stands after step i; nan in the middle of a step of several calls."""
    if not getattr(scheduler, "state_in_first_order", True) or hasattr(scheduler, "order_list"):
        return math.nan
    if hasattr(scheduler, "sigmas"):
        s = float(scheduler.sigmas[scheduler.step_index])
        return s / (1 - s) if process is FLOW else s
    if i + 1 == len(scheduler.timesteps):
        return math.nan
    alpha, sigma = level_at(float(scheduler.timesteps[i + 1]), process)
    return sigma / alpha


def set_timesteps(scheduler: Any, n: int, process: Process) -> None:
    name = type(scheduler).__name__
    if process is FLOW and name.startswith(("FlowMatchEuler", "UniPC")):
        to_zero = scheduler.config.get("final_sigmas_type") == "zero"
        scheduler.set_timesteps(sigmas=np.linspace(0.999, 0.001, n + to_zero)[:n])
    else:
        if name.startswith("FlowMatchHeun"):
            scheduler.sigma_max = 0.999  # it has no option for it
        scheduler.set_timesteps(n)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)


def on(name: str, options: Options, process: Process, cut: bool) -> Callable:
    own = {k: v for k, v in options.items() if k != "eta"}
    stepped = {"eta": options["eta"]} if "eta" in options else {}
    if process is VP:
        own["trained_betas"] = BETAS
    elif "use_flow_sigmas" in own:  # of its chain only the last level is used, as the last sigma
        own["trained_betas"] = np.full(1000, 1e-6)
    # these keep x = alpha y; Euler's kin and EDM's keep y itself
    keeps_y = process is EDM or name.startswith(("Euler", "Heun", "KDPM2", "LMS", "DPMSolverSDE"))

    def run(denoise: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
        scheduler = getattr(schedulers, f"{name}Scheduler")(**own)
        set_timesteps(scheduler, n, process)
        last = float(scheduler.sigmas[-1]) if hasattr(scheduler, "sigmas") else process.r_end
        assert last == 0 or near(last, process.r_end), f"it ends at {last}"
        x = y if keeps_y else y * process.first[0]
        r = process.r_end if last else 0.0
        for i, t in enumerate(scheduler.timesteps):
            scaled = (
                scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            )
            said = output(scheduler, denoise, scaled, t, process)
            x = scheduler.step(said, t, x, **stepped).prev_sample
            if cut and near(ratio_after(scheduler, i, process), process.r_end):
                r = process.r_end
                break
        if keeps_y or r == 0:
            return x, r
        return x / process.last[0], r

    return run


def near(r: float, r_end: float) -> bool:
    """1 - alpha^2 of a clean level, in float32, has two or three digits."""
    return abs(r / r_end - 1) < 1e-2


def label(options: Options) -> str:
    same = {"clip_sample", "set_alpha_to_one", "prediction_type", "tau_func", "use_flow_sigmas"}
    if "use_flow_sigmas" not in options:
        same.add("final_sigmas_type")  # elsewhere each is sigma_min where there is a choice
    return ", ".join(
        k.removeprefix("use_") if v is True else f"{k}={v}"
        for k, v in options.items()
        if k not in same
    )


def candidates(samplers: bool, process: Process) -> list[Candidate]:
    table = SAMPLERS if samplers else SOLVERS[process.name]
    return [
        Candidate(method, label(options), on(method, options, process, not samplers))
        for method, choices in table.items()
        for options in choices
    ]


if __name__ == "__main__":
    serve(Package("diffusers", partial(candidates, False), partial(candidates, True)))
