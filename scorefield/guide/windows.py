"""Pictures larger than the network's, by windows that overlap."""

from collections.abc import Sequence
from itertools import product as each_of

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level


def windows(size: Sequence[int], stride: int) -> Guide:
    """D at each place is the mean of what the denoiser says there in all windows that hold it.

        D'(x)_p = 1/|W_p| sum_{w in W_p} D(x_w)_p

    of samples (B, C, *sides) of any sides from `size` on, windows of `size` every `stride` places
    and at the far ends. It is the picture that is nearest to all windows' in squared error, and
    D itself where there is one window. Where windows disagree it is no posterior mean: what two
    windows that do not overlap show agrees by what lies between them alone. Every window has the
    sample's condition. A call for all windows at once.

    Bar-Tal et al. 2023, "MultiDiffusion" (arXiv:2302.08113), eq. 5.

    >>> mean = lambda x, level, cond=None: x.mean((2, 3), keepdim=True).expand_as(x)
    >>> x = torch.tensor([[[[0.0, 2.0, 4.0]]]])
    >>> windows((1, 2), 1)(mean)(x, Level.of(1, 1)).tolist()
    [[[[1.0, 2.0, 3.0]]]]
    """
    if not 1 <= stride <= min(size):
        raise BadInput(f"stride is {stride} and size {tuple(size)}.", "Give 1 to the least side.")

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            places = list(each_of(*map(_starts, x.shape[2:], size, [stride] * len(size))))
            cuts = [(..., *(slice(a, a + n) for a, n in zip(at, size))) for at in places]
            rows = torch.arange(len(x), device=x.device).repeat(len(cuts))
            rows_of = None if cond is None else {k: v[rows.to(v.device)] for k, v in cond.items()}
            seen = torch.cat([x[cut] for cut in cuts])
            said = denoise(seen, level.some(rows, len(x)), rows_of).split(len(x))
            total, count = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
            for cut, own in zip(cuts, said):
                total[cut] += own
                count[cut] += 1
            return total / count

        return guided

    return guide


def _starts(side: int, size: int, stride: int) -> list[int]:
    if side < size:
        raise BadInput(f"a side of {side} holds no window of {size}.", "Give a larger picture.")
    return sorted({*range(0, side - size + 1, stride), side - size})
