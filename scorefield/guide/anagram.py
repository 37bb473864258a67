"""Pictures that show one thing or another, as one looks at them.

Anagrams (Geng, Park and Owens 2024, "Visual anagrams"): the mean over views of what the denoiser
says of the picture as each sees it, brought back,

    D_bar(x) = mean_i v_i^-1 D(v_i x, c_i).                                              (eq. 1)

The paper's mean of eps is the same, for v_i is linear: x = mean_i v_i^-1 v_i x.

Hybrids (Geng, Park and Owens 2024, "Factorized diffusion"): each part of the picture from the
denoiser that was told what to see in it,

    D_bar(x) = sum_i P_i D(x, c_i),   sum_i P_i = 1.                                     (eq. 2)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level
from scorefield.guide.views import TOLERANCE, Part, View


def anagram(
    views: Sequence[View], shape: Sequence[int], conds: Sequence[Cond | None] | None = None
) -> Guide:
    """The mean over orthogonal views of pictures of `shape` (eq. 1); a call for each.

    `conds` says what each view shows; None leaves the condition that the solver hands on, the same
    in every view.

    Raises BadInput for a view that is not orthogonal, with its measured defect.
    """
    _check_count(views, conds)
    for v in views:
        _check(v.name, "orthogonal", v.defect(shape))

    def guide(denoise: Denoise) -> Denoise:
        def seen(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            own = [cond] * len(views) if conds is None else conds
            back = [v.backward(denoise(v.forward(x), level, c)) for v, c in zip(views, own)]
            return torch.stack(back).mean(0)

        return seen

    return guide


def hybrid(
    parts: Sequence[Part], shape: Sequence[int], conds: Sequence[Cond | None] | None = None
) -> Guide:
    """Each part of the picture by its own condition (eq. 2); a call for each.

    Raises BadInput for a part that is no orthogonal projection, and for parts that do not add up
    to the picture, with the measured defect.
    """
    _check_count(parts, conds)
    for part in parts:
        _check(part.name, "an orthogonal projection", part.defect(shape))
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = torch.stack([part.project(x) for part in parts]).sum(0)
    missing = float((whole - x).norm() / x.norm())
    if missing > TOLERANCE:
        raise BadInput(
            f"the parts {', '.join(part.name for part in parts)} do not add up to the picture: "
            f"{missing:.2g} of its length is missing.",
            "Give parts that do, such as low:2 and high:2, or grey and colour.",
        )

    def guide(denoise: Denoise) -> Denoise:
        def parted(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            own = [cond] * len(parts) if conds is None else conds
            of = [part.project(denoise(x, level, c)) for part, c in zip(parts, own)]
            return torch.stack(of).sum(0)

        return parted

    return guide


def _check_count(views: Sequence[View] | Sequence[Part], conds: Sequence | None) -> None:
    if not views:
        raise BadInput("there are no views.", "Give one or more.")
    if conds is not None and len(conds) != len(views):
        raise BadInput(
            f"there are {len(views)} views and {len(conds)} conditions.", "Give one for each view."
        )


def _check(name: str, what: str, defect: float) -> None:
    if not defect <= TOLERANCE:
        raise BadInput(
            f"the view '{name}' is not {what}: its defect is {defect:.2g}.",
            "Noise seen through it is no noise that the denoiser knows: use an orthogonal one.",
        )
