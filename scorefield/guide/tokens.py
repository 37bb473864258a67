"""Guidance of letters to what is wanted of them, by what foretells it of those that are seen."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.spaces import Discrete

StateLogProb = Callable[[Tensor, Level, Cond | None], Tensor]
"""`log p(y | x)` (B,) of states as one-hot rows (B, L, states)."""


def regressor(
    log_prob: StateLogProb, space: Discrete, scale: float = 1.0, exact: bool = True
) -> Guide:
    """Letters of the law given y:

        log p(x0_l = k | x, y) = log p(x0_l = k | x) + scale (log p(y | x, x_l = k) - log p(y | x))

    up to its sum over k, by Bayes' rule at each place that a step may show (`Discrete.next`); at
    scale 1 with exact laws, drawn a place a step, samples are of p(x0 | y). `log_prob` is asked for
    each letter of each such place: letters times places calls' worth. Not `exact`, it is
    differentiated once instead,

        log p(y | x, x_l = k) - log p(y | x) ~ (e_k - x_l) . d log p(y | x) / d x_l,

    which is right for a log_prob that is linear in the states. Schiff et al. 2024,
    arXiv:2412.10193, eq. 6; Nisonoff et al. 2024, arXiv:2406.01572, eq. 3 and 5; Vignac et al.
    2022, arXiv:2209.14734, alg. 3. What foretells y must know states that are partly hidden.
    """

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            log_p = denoise(x, level, cond)
            state, places = one_hot(x.long(), space.states).to(log_p), space.next(x)
            weigh = replaced if exact else sloped
            gain = weigh(log_prob, state, places, space.letters, level, cond)
            tilted = log_softmax(log_p + scale * gain, -1)
            return torch.where(places[..., None], tilted, log_p)

        return guided

    return guide


@torch.no_grad()
def replaced(
    log_prob: StateLogProb, state: Tensor, places: Tensor, letters: int, level: Level,
    cond: Cond | None,
) -> Tensor:  # fmt: skip
    """`log p(y | x, x_l = k)` (B, L, letters), 0 at other places."""
    row, place = places.nonzero(as_tuple=True)
    row, place = row.repeat_interleave(letters), place.repeat_interleave(letters)
    asked = state[row]
    asked[torch.arange(len(row)), place] = (
        torch.eye(state.shape[-1]).to(state)[:letters].repeat(len(row) // letters, 1)
    )
    level = Level(*(leaf[row] if leaf.ndim else leaf for leaf in level))
    found = log_prob(asked, level, cond and {key: value[row] for key, value in cond.items()})
    gain = state.new_zeros(*places.shape, letters)
    gain[places] = found.view(-1, letters).to(gain)
    return gain


def sloped(
    log_prob: StateLogProb, state: Tensor, places: Tensor, letters: int, level: Level,
    cond: Cond | None,
) -> Tensor:  # fmt: skip
    """The same to first order, less `log p(y | x)`."""
    with torch.enable_grad():
        state = state.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_prob(state, level, cond).sum(), state)
    gain = slope[..., :letters] - (slope * state.detach()).sum(-1, keepdim=True)
    return torch.where(places[..., None], gain, 0.0)
