"""Traces of the denoiser's Jacobian: exact, or by random probes (eq. 2)."""

from collections.abc import Callable
from functools import reduce
from typing import Literal, get_args

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, unknown

Probe = Literal["rademacher", "gaussian"]

AT_ONCE = 2**15
"""Numbers of x in one batched backward pass: enough to hide the cost of a call, few enough for a
processor's cache."""

Traced = Callable[[Tensor, Level, Cond | None], tuple[Tensor, Tensor]]
"""`(x, level, cond) -> D (B, ...), tr J (B, S)`: one column, or one for each probe."""


def exact_trace(denoise: Denoise, graph: bool = False, each: bool = False) -> Traced:
    """`tr J = sum_i e_i . J^T e_i`: a vector-Jacobian product for each number of a sample, many in
    one backward pass; D is computed once. With `graph` the trace can itself be differentiated; with
    `each` its terms are given, `(B, 1, D)`, in the place of their sum.

    >>> D, trace = exact_trace(lambda x, level, cond: x**3)(torch.ones(1, 4), Level.of(1, 1), None)
    >>> trace
    tensor([[12.]])
    """
    products = _Products(graph)

    def traced(x: Tensor, level: Level, cond: Cond | None) -> tuple[Tensor, Tensor]:
        x, denoised = _recorded(denoise, x, level, cond, graph)
        batch, size = len(x), x[0].numel()
        at_once = max(1, AT_ONCE // max(x.numel(), 1))
        terms = []
        for first in range(0, size, at_once):
            count = min(at_once, size - first)
            basis = x.new_zeros(count, 1, size)
            basis[:, 0, first : first + count].fill_diagonal_(1)
            basis = basis.expand(-1, batch, -1).reshape(count, *x.shape)
            rows_of_j = products(denoised, x, basis).flatten(2)[..., first : first + count]
            diagonal = rows_of_j.diagonal(dim1=0, dim2=2)
            terms.append(diagonal if each else diagonal.sum(1, keepdim=True))
        trace = torch.cat(terms, 1)[:, None] if each else reduce(torch.add, terms)
        return (denoised if graph else denoised.detach()), trace

    return traced


def probed_trace(denoise: Denoise, graph: bool = False, each: bool = False) -> Traced:
    """`v . J^T v` for each of the probes v in `cond["probe"]` `(B, S, D)` (eq. 2); with `each` its
    terms, `(B, S, D)`."""
    products = _Products(graph)

    def traced(x: Tensor, level: Level, cond: Cond | None) -> tuple[Tensor, Tensor]:
        rest = dict(cond or {})
        probes = rest.pop("probe").transpose(0, 1).reshape(-1, *x.shape)
        x, denoised = _recorded(denoise, x, level, rest or None, graph)
        terms = (probes * products(denoised, x, probes)).flatten(2).transpose(0, 1)
        dots = terms if each else terms.sum(2)
        return (denoised if graph else denoised.detach()), dots

    return traced


def draw_probes(x: Tensor, count: int, probe: Probe, noise: Noise, here: Level, there: Level):
    """`(B, S, D)` with `E v v^T = I`, so that `E v . J v = tr J`, and `|v|^2 = D`, so that the
    identity's trace is exact (eq. 2): signs, or a normal on its sphere."""
    if probe not in get_args(Probe):
        raise unknown("probe", probe, get_args(Probe))
    if not isinstance(count, int) or count < 1:
        raise BadInput(f"trace is {count!r}.", 'Use "exact", or a number of probes from 1 on.')
    z = noise(x.detach().new_empty(len(x), count, x[0].numel()), here, there)
    if probe == "rademacher":
        return torch.where(z < 0, -1.0, 1.0).to(x)
    return z * (z.shape[2] / z.square().sum(2, keepdim=True)).sqrt()


def _recorded(
    denoise: Denoise, x: Tensor, level: Level, cond: Cond | None, graph: bool
) -> tuple[Tensor, Tensor]:
    """x as a variable, and D of it with its graph."""
    with torch.enable_grad():
        x = x if graph and x.requires_grad else x.detach().requires_grad_()
        denoised = denoise(x, level, cond)
    if not denoised.requires_grad:
        raise BadInput(
            "the denoised estimate carries no gradient.",
            "A likelihood differentiates the denoiser: take torch.no_grad out of it.",
        )
    return x, denoised


class _Products:
    """`J^T v` for vectors v `(S, B, ...)`: in one backward pass or, for a network that torch cannot
    batch over (channels-last convolutions), in S."""

    def __init__(self, graph: bool) -> None:
        self.graph, self.batched = graph, True

    def __call__(self, denoised: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
        if self.batched and len(vectors) > 1:
            try:
                return self._backward(denoised, x, vectors, True)
            except RuntimeError:
                self.batched = False
        return torch.stack([self._backward(denoised, x, v, False) for v in vectors])

    def _backward(self, denoised: Tensor, x: Tensor, vectors: Tensor, batched: bool) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(
                denoised,
                x,
                vectors,
                retain_graph=True,
                create_graph=self.graph,
                is_grads_batched=batched,
            )[0]
