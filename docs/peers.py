"""The figures of docs/peers.md, on data whose flow is known. It needs torch and diffusers alone,
and azula for the last.

    python docs/peers.py

Data are N(0, s^2), s = .5, one number each. On a variance-preserving level (a, b) the exact
prediction is eps = b x / (a^2 s^2 + b^2), and the flow takes x from (a, b) to clean data by the
factor s / sqrt(a^2 s^2 + b^2).
"""

import itertools
import math
import warnings
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch

diffusers: Any = import_module("diffusers")

warnings.simplefilter("ignore")
S = 0.5


def end_of(plan, steps: int) -> float:
    """Where the scheduler takes x = 1, beside the flow: the relative error."""
    plan.set_timesteps(steps)
    abar = plan.alphas_cumprod.double()
    first = float(abar[int(plan.timesteps[0])])
    x = torch.ones(1, 1, dtype=torch.float64)
    for t in plan.timesteps:
        k = float(t)
        low = min(int(k), len(abar) - 2)
        a2 = float(torch.lerp(abar[low], abar[low + 1], k - low))
        eps = math.sqrt(1 - a2) * x / (a2 * S**2 + 1 - a2)
        x = plan.step(eps, t, x).prev_sample
    true = S / math.sqrt(first * S**2 + 1 - first)
    return abs(float(x) / true - 1)


def spacings() -> None:
    print("DDIM, relative error of the end: steps, leading, linspace, trailing")
    for steps in (10, 20, 50, 100, 300):
        errors = [
            end_of(diffusers.DDIMScheduler(timestep_spacing=spacing, clip_sample=False), steps)
            for spacing in ("leading", "linspace", "trailing")
        ]
        print(f"  {steps:4}", *(f"{e:9.2e}" for e in errors))


def landing() -> None:
    plan = diffusers.DDIMScheduler(timestep_spacing="linspace")
    plan.set_timesteps(10)
    ratio = plan.config.num_train_timesteps // plan.num_inference_steps
    at = plan.timesteps.tolist()
    print(
        "DDIM linspace, 10 steps: evaluates at", at[:3], "and steps to", [t - ratio for t in at[:2]]
    )


def orders() -> None:
    print("measured order (log2 of the error at n by that at 2n), DPMSolverMultistep, lu_lambdas")
    for order in (1, 2, 3):
        errors = []
        for steps in (40, 80, 160):
            plan = diffusers.DPMSolverMultistepScheduler(
                solver_order=order, use_lu_lambdas=True, algorithm_type="dpmsolver++",
            )  # fmt: skip
            errors.append(to_last(plan, steps))
        slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
        print(f"  solver_order={order}: errors", *(f"{e:.2e}" for e in errors), "orders",
              *(f"{v:.2f}" for v in slopes))  # fmt: skip


def to_last(plan, steps: int) -> float:
    """The error at the last noisy level, by the levels that the scheduler says itself."""
    plan.set_timesteps(steps)
    sigmas = plan.sigmas.double()
    x = torch.ones(1, 1, dtype=torch.float64)
    for t, r in zip(plan.timesteps[:-1], sigmas):
        a2 = float(1 / (1 + r**2))
        eps = math.sqrt(1 - a2) * x / (a2 * S**2 + 1 - a2)
        x = plan.step(eps, t, x).prev_sample
    (u, v) = (1 / (1 + sigmas[0] ** 2), 1 / (1 + sigmas[-2] ** 2))
    true = math.sqrt((v * S**2 + 1 - v) / (u * S**2 + 1 - u))
    return abs(float(x) / true - 1)


def shifts() -> None:
    plan = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    plan.set_timesteps(10)
    once = 3 * 1e-3 / (1 + 2 * 1e-3)
    print(f"flow match, shift 3, 10 steps: last noisy sigma {float(plan.sigmas[-2]):.4f}; "
          f"1/1000 shifted once is {once:.4f}")  # fmt: skip


def repeats() -> None:
    """final_sigmas_type="sigma_min" ends with the same level twice."""
    for order in (1, 2, 3):
        plan = diffusers.DPMSolverMultistepScheduler(
            solver_order=order, use_lu_lambdas=True, final_sigmas_type="sigma_min"
        )
        plan.set_timesteps(40)
        x = torch.ones(1, 1)
        for t in plan.timesteps:
            x = plan.step(torch.zeros_like(x), t, x).prev_sample
        print(f"DPMSolverMultistep order {order}, sigma_min: last sigmas",
              [round(float(s), 6) for s in plan.sigmas[-2:]], "sample", float(x))  # fmt: skip


def clips() -> None:
    """Clamped x0 with the direction of the unclamped, beside both clamped."""
    plan = diffusers.DDIMScheduler(clip_sample=True)
    plan.set_timesteps(10)
    x, eps, t = torch.full((1, 1), 3.0), torch.zeros(1, 1), plan.timesteps[5]
    ends = [
        float(plan.step(eps, t, x, use_clipped_model_output=c).prev_sample) for c in (False, True)
    ]
    print(f"clip_sample, x = 3, eps = 0: {ends[0]:.3f} by default, {ends[1]:.3f} where the "
          "direction is that of the clamped x0")  # fmt: skip


def etas() -> None:
    """The deviation of a step's fresh noise, by eta, as a part of that at eta 1."""
    plan, x = diffusers.DDIMScheduler(clip_sample=False), torch.ones(1, 200_000)
    plan.set_timesteps(10)
    zero = torch.zeros_like(x)
    theirs = [
        float(plan.step(zero, plan.timesteps[4], x, eta=e).prev_sample.std()) for e in (1, 0.5)
    ]
    print(
        f"DDIM, eta .5: fresh noise of diffusers has {theirs[1] / theirs[0]:.3f} of its size",
        end="",
    )
    try:
        azula, noise = import_module("azula.sample"), import_module("azula.noise")
    except ImportError:
        print(" at eta 1 (azula is not installed)")
        return

    class Nothing(torch.nn.Module):
        schedule = noise.VPSchedule()

        def forward(self, x, t):
            return SimpleNamespace(mean=0 * x)

    sampled = [azula.DDIMSampler(Nothing(), eta=e).step(x, torch.tensor(0.5), torch.tensor(0.4))
               for e in (1.0, 0.5)]  # fmt: skip
    found = [float(drawn.std()) for drawn in sampled]
    print(f", of azula {found[1] / found[0]:.3f}, at eta 1")


if __name__ == "__main__":
    print("diffusers", diffusers.__version__, "torch", torch.__version__)
    for part in (landing, spacings, orders, shifts, repeats, clips, etas):
        part()
