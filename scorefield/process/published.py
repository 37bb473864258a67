"""The schedule that a published scheduler's settings describe, in diffusers' words."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.process.discrete import (
    DiscreteVP,
    cosine_betas,
    linear_betas,
    sigmoid_betas,
    zero_terminal_snr,
)


def scaled_linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """The square of numbers in equal steps (Rombach et al. 2022, latent diffusion).

    >>> scaled_linear_betas(3, 0.01, 0.09)
    tensor([0.0100, 0.0400, 0.0900], dtype=torch.float64)
    """
    return torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64) ** 2


def laplace_betas(steps: int = 1000, largest: float = 0.999) -> Tensor:
    """Of `abar(t) = sqrt(snr/(1+snr))` with log snr Laplace's quantile of t, as diffusers has it
    (Hang et al. 2024, "Improved noise schedule for diffusion training")."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    log = -0.5 * torch.where(t > 0.5, -1.0, 1.0) * (1 - 2 * (0.5 - t).abs() + 1e-6).log()
    abar = log.sigmoid().sqrt()
    return (1 - abar[1:] / abar[:-1]).clamp(max=largest)


BETAS: Mapping[str, Callable[..., Tensor]] = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "sigmoid": sigmoid_betas,
    "squaredcos_cap_v2": lambda steps, first, last: cosine_betas(steps),
    "laplace": lambda steps, first, last: laplace_betas(steps),
}


def published_chain(settings: Mapping[str, Any]) -> DiscreteVP:
    """The chain of `num_train_timesteps`, `beta_schedule`, `beta_start`, `beta_end`,
    `trained_betas` and `rescale_betas_zero_snr`, each by default what it is in diffusers.

    There abar is a product of float32: its relative error is 4e-7 (linear) to 4e-5.

    >>> chain = published_chain({"beta_schedule": "linear", "rescale_betas_zero_snr": True})
    >>> float(chain(torch.tensor(1.0)).alpha)
    0.0
    """
    name, trained = settings.get("beta_schedule", "linear"), settings.get("trained_betas")
    steps = settings.get("num_train_timesteps", 1000)
    if name not in BETAS and trained is None:
        raise unknown("beta_schedule", str(name), BETAS)
    if type(steps) is not int or not 2 <= steps <= 1_000_000:
        raise BadInput(f"num_train_timesteps is {steps!r}.", "A chain has 2 to a million steps.")
    first, last = settings.get("beta_start", 1e-4), settings.get("beta_end", 0.02)
    for key, value in (("beta_start", first), ("beta_end", last)):
        if not isinstance(value, int | float) or not 0 < value < 1:
            raise BadInput(f"{key} is {value!r}.", "It must lie between 0 and 1.")
    betas = BETAS[name](steps, first, last) if trained is None else _numbers(trained)
    return DiscreteVP(zero_terminal_snr(betas) if settings.get("rescale_betas_zero_snr") else betas)


def _numbers(trained: Any) -> Tensor:
    whole = isinstance(trained, list) and all(isinstance(b, int | float) for b in trained)
    if not whole or len(trained) < 2:
        raise BadInput("trained_betas is no list of two numbers or more.", "Restore the file.")
    return torch.tensor(trained, dtype=torch.float64)
