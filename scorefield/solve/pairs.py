"""Multistep methods on pairs: exact integrals of an interpolated eps or D with 2x2 weights.

With eq. 1 of `base.pairs`, Psi the process's own transition and R its root, the probability flow is
solved by either of

    z_there = Psi z + int (push/2) Psi(b_there - b)_v (R^-1)_v^T eps db            (eps form)
    z_there = R_there [R^-1 z - int (push/2) (R^-1)_v (S^-1 A)_v D db]             (x0 form)

(Zhang, Tao and Chen 2023, "gDDIM"), `_v` the column or entry of the velocity. As of one
level, `w_j (f_j - f_0)` is added for each past value to the step that holds f_0 (transfer), with
Lagrange's polynomials in the clock of the method: that of what is seen.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Pairs
from scorefield.base.pairs import Pairing, Pairwise, inverse_of
from scorefield.solve.interpolate import lagrange, place, present
from scorefield.solve.loop import Info

_nodes, _parts = np.polynomial.legendre.leggauss(16)
PLACES, PARTS = torch.from_numpy(_nodes / 2 + 0.5), torch.from_numpy(_parts / 2)


def advance_pairs(
    weigh: Any, denoise: Denoise, state: Any, here: Pairs, there: Pairs, cond: Cond | None
) -> tuple[Any, Info]:
    """The step of `multistep.advance` on pairs, where `weigh` is an `Interpolated`."""
    z, *past, ages = state
    denoised = denoise(z, here, cond)
    count = ages.shape[1]
    own = weigh.forms.index(weigh.form) * count
    keep, gain = here.transfer(there)
    moved = keep(z) + gain(denoised)
    lam = torch.cat(((here.logsnr / 2).to(ages).expand(len(ages))[:, None], ages), 1)
    if weigh.form == "eps":
        away = z - Pairwise(here.mean[..., None])(denoised)
        now = Pairwise(inverse_of(here.pairing.root(here.time)))(away)
    else:
        now = denoised.unsqueeze(1).expand_as(z)
    for old, weights in zip(past[own : own + count], _weights(weigh, lam, here, there)):
        change = old - now
        moved = moved + Pairwise(weights)(change if weigh.form == "eps" else change[:, 0])
    past[own : own + count] = [now, *past[own : own + count - 1]]
    return type(state)(moved, *past, lam[:, :-1].contiguous()), Info(denoised)


def _weights(weigh: Any, lam: Tensor, here: Pairs, there: Pairs) -> list[Tensor]:
    """`(2, k)` or `(B, 2, k)` of each past value."""
    if here.time.ndim or there.time.ndim or not bool((lam == lam[:1]).all()):
        return _integrals(weigh, lam, here, there)
    times = float(here.time), float(there.time)
    return _known(weigh, tuple(lam[0].tolist()), times, here.pairing)


@lru_cache(maxsize=4096)
def _known(
    weigh: Any, lam: tuple[float, ...], times: tuple[float, float], pairing: Pairing
) -> list[Tensor]:
    here, there = (Pairs(torch.tensor(b, dtype=torch.float64), pairing) for b in times)
    found = _integrals(weigh, torch.tensor([lam], dtype=torch.float64), here, there)
    return [weights[0] for weights in found]


def _integrals(weigh: Any, lam: Tensor, here: Pairs, there: Pairs) -> list[Tensor]:
    pairing = here.pairing
    start, end = (v.time.reshape(-1, 1).sqrt() for v in (here, there))
    u = start + (end - start) * PLACES  # of which all is smooth down to clean data
    weight = (end - start) * 2 * u * PARTS * pairing.push / 2
    within, last = Pairs(u**2, pairing), there.time.reshape(-1, 1)
    back = inverse_of(pairing.root(u**2))
    if weigh.form == "eps":
        psi = pairing.transition(last - u**2)
        rate = psi[..., :, 1:] @ back[..., :, 1:].mT
    else:
        rate = -within.toward[..., None, None] * (pairing.root(last) @ back)[..., :, 1:]
    nodes = place(weigh.clock, lam, present(lam))[:, : weigh.degree + 1]
    basis = lagrange(nodes, weigh.clock(within.logsnr / 2).expand(len(lam), -1))
    still = (here.time == there.time).reshape(-1, 1, 1)
    found = torch.einsum(
        "bq,bqij,bqk->kbij", weight.expand(len(lam), -1), rate.expand(len(lam), -1, -1, -1), basis
    )
    return [torch.where(still, 0.0, weights) for weights in found[1:]]
