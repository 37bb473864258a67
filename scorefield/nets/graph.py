"""A network that is an ONNX graph: run by onnxruntime, kept as a tensor of its bytes."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from scorefield.base import BadInput, Cond
from scorefield.nets.maps import NUMBERS

NAMES = {
    "x": ("x", "sample", "input", "latent", "latents", "noisy"),
    "alpha": ("alpha",),
    "sigma": ("sigma", "noise_level", "noise_labels", "noise", "timestep", "t"),
    "label": ("label", "labels", "class_labels", "y"),
    "null": ("null",),
}
"""What inputs of a denoiser are called."""


class Graph(nn.Module):
    """A graph D(x, sigma, ...) or D(x, alpha, sigma, ...) of `size` bytes, of one sample `shape`.

    `noise` is log(sigma/alpha). The graph sees x / alpha and sigma / alpha, between the levels
    `least` and `most` that it knows: beyond them what it says at their ends, since of what lies
    there it says nothing true. It has no derivatives.
    """

    timed = True
    reads_null = False
    graph: Tensor

    def __init__(
        self, size: int, shape: tuple[int, ...], roles: Mapping[str, str], least: float,
        most: float, flat: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))
        self.shape, self.roles, self.least, self.most = shape, dict(roles), least, most
        self.flat = flat
        self.reads_null = "null" in roles
        self._session: Any = None

    def forward(self, x: Tensor, noise: Tensor, cond: Cond | None = None) -> Tensor:
        if x.requires_grad or unpack_dual(x).tangent is not None:
            raise BadInput(
                "the model is an ONNX graph, which has no derivatives.",
                "Use what needs D alone: samples, guides, restorations by steps.",
            )
        ratio = noise.double().exp().clamp(self.least, self.most)
        given = {k: v for k, v in (cond or {}).items() if k not in NUMBERS}
        values = {"x": x.float(), "sigma": ratio.float(), "alpha": torch.ones_like(ratio).float()}
        if "null" in self.roles:
            values["null"] = given.get("null", torch.full(x.shape[:1], not given))
        values |= {k: v for k, v in given.items() if k in self.roles}
        if "vector" in self.roles:
            if "vector" not in given:
                raise BadInput("the graph is told a vector of every sample.", "Give `conditions`.")
            vector = given["vector"].float()
            values["vector"] = vector[:, 0] if self.flat else vector
        if "label" in self.roles and "label" not in values:
            if "null" not in self.roles:
                raise BadInput("the graph is told a label of every sample.", "Give `labels`.")
            values["label"] = torch.zeros(x.shape[0], dtype=torch.int64)
        feed = {name: values[role].cpu().numpy() for role, name in self.roles.items()}
        try:
            out = self._run(feed)
        except Exception as error:  # whatever the runtime says of a batch or a type
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise BadInput(
                f"the ONNX graph does not take {len(x)} samples of {tuple(x.shape[1:])}: "
                f"{first[0][:160]}.",
                "Export it with a free batch axis.",
            ) from error
        return torch.from_numpy(out).to(x)

    def _run(self, feed: Mapping[str, Any]) -> Any:
        if self._session is None:
            ort = import_module("onnxruntime")
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 4
            content = bytes(self.graph.cpu().numpy().data)
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        return self._session.run(None, dict(feed))[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_session": None}  # a copy opens its own


def roles_of(inputs: Mapping[str, int]) -> dict[str, str]:
    """Which input is what, by its name; one more of numbers, of 1 or 2 axes, is a vector.

    >>> roles_of({"sample": 4, "noise_labels": 1, "age": 1})
    {'x': 'sample', 'sigma': 'noise_labels', 'vector': 'age'}

    Raises BadInput for one that is nothing known.
    """
    found: dict[str, str] = {}
    for name, axes in inputs.items():
        role = next((role for role, known in NAMES.items() if name.lower() in known), None)
        role = role or ("vector" if axes in (1, 2) else None)
        if role is None or role in found:
            raise BadInput(
                f"the graph has an input '{name}', which is nothing known.",
                f"Name inputs {', '.join(known[0] for known in NAMES.values())}, and one vector.",
            )
        found[role] = name
    if not {"x", "sigma"} <= found.keys():
        raise BadInput(
            f"the graph has the inputs {', '.join(inputs)}.", "A denoiser has x and sigma."
        )
    return found


def check_range(least: float, most: float) -> None:
    """Raise BadInput unless least and most are two levels."""
    if not 0 < least < most < math.inf:
        raise BadInput(
            f"the range is {least:g} to {most:g}.", "Give sigma's least and most, such as .002,80."
        )
