"""Classifier-free guidance: Ho and Salimans 2022."""

from functools import partial

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level
from scorefield.denoise import Manner
from scorefield.guide.scales import checked, each, line

FEW = 64
"""Rows up to which both answers come of one call: more fill a processor by themselves, and a call
of both would hold twice the memory."""


def cfg(scale: float | Tensor, null: Cond | None = None) -> Guide:
    """`D = D_null + scale (D_cond - D_null)`.

    scale 1 is the plain conditional denoiser (and costs one call), 0 the unconditional one; the
    papers' `1 + w` is scale. `scale` may be `(B,)`: one per sample. `null` is the condition that
    means "none", default `None`, which is not asked for where a sample's scale is 1. Two calls of
    the denoiser per call, or one of both for a few samples of a network (`reads_null`); one of a
    student, which is told the scale that it has distilled.

    Guided samples do not follow the tilted density `p(x) p(c|x)^scale`: for classes N(+-1, 1) at
    scale 4 the flow's mean is 2.34, the tilted density's 1.54.

    >>> import torch
    >>> from scorefield.base import Level
    >>> known = lambda x, level, cond: x * 0 + (0.0 if cond is None else 1.0)
    >>> cfg(3.0)(known)(torch.zeros(1), Level.of(0.6, 0.8), {"label": torch.tensor([0])})
    tensor([3.])
    """
    if null is not None:
        return line(scale, lambda denoise: lambda x, level, cond=None: denoise(x, level, null))
    strength = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        manner: Manner | None = getattr(denoise, "manner", None)
        if manner and getattr(denoise, "sampler", None) is None:
            return _hearing(denoise, manner, strength)
        if strength.ndim == 0 and float(strength) == 1:
            return denoise

        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            n, rows = x.shape[0], None  # a scale that all share is not 1
            if strength.ndim:
                rows = (strength != 1).expand(n).nonzero().flatten().to(x.device)
                rows = None if len(rows) == n else rows
            if rows is not None and not len(rows):
                return denoise(x, level, cond)
            if cond and n <= FEW and getattr(denoise, "reads_null", False):
                ask = getattr(denoise, "both", None) or partial(both, denoise)
                with_cond, without = ask(x, level, cond, rows)
            else:
                some, at = (x, level) if rows is None else (x[rows], level.some(rows, n))
                without = denoise(some, at, None)
                with_cond = denoise(x, level, cond)
            by = each(strength, with_cond).expand_as(with_cond)  # of letters D has an axis more
            if rows is None:
                return torch.lerp(without, with_cond, by)
            mixed = torch.lerp(without, with_cond[rows], by[rows])
            return with_cond.index_copy(0, rows, mixed)

        return guided

    return guide


def _hearing(denoise: Denoise, manner: Manner, strength: Tensor) -> Denoise:
    """A student that is told the scale of guidance, where it is told anything.

    Raises BadInput for a scale that it has not learned.
    """
    if not (strength >= 1).all() or not (strength <= manner.guidance).all():
        known = f"1 to {manner.guidance:g}" if manner.guidance > 1 else "no guidance"
        raise BadInput(
            f"guidance is {float(strength.flatten()[0]):g}, and the student has learned {known}.",
            "Give what it has learned, or distill one with this `guidance`.",
            "guidance",
        )

    if manner.guidance == 1:  # a 1 adds nothing, and a generator has no ear for it
        return denoise

    def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        more = {**cond, "guidance": strength.to(x).expand(len(x))} if cond else cond
        return denoise(x, level, more)

    return guided


def both(
    denoise: Denoise, x: Tensor, level: Level, cond: Cond, rows: Tensor | None
) -> tuple[Tensor, Tensor]:
    """D of x under its condition, and of the rows of it, or all, without any, by one call; what
    gathers the calls of many asks in a way of its own, `denoise.both`."""

    def more(leaf: Tensor) -> Tensor:
        return torch.cat([leaf, leaf if rows is None else leaf[rows]])

    n = x.shape[0]
    whole = {name: more(leaf) for name, leaf in cond.items()}
    m = next(iter(whole.values())).shape[0]
    null = torch.ones(m, dtype=torch.bool, device=x.device)
    null[:n] = cond.get("null", False)
    if level.sigma.ndim:
        level = level.some(more(torch.arange(n, device=x.device)), n)
    with_cond, without = denoise(more(x), level, whole | {"null": null}).split([n, m - n])
    return with_cond, without
