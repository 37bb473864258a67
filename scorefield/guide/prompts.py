"""Several texts for one sample, and one that it shall not show: guidance from and to each."""

from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.guide.scales import checked, each

LESS = "less"


def composed(cond: Cond | None) -> bool:
    """Whether a condition has leaves that `prompts` reads."""
    return any(name.partition(".")[1] or name == "weight" for name in cond or {})


def prompts(scale: float | Tensor = 1.0) -> Guide:
    """`D = D_less + scale sum_k w_k (D_k - D_less)`: texts with weights, away from one.

    The leaves of a condition say them, a row each: those of the first text have no prefix, and its
    weight, 1 by default, is "weight"; "also1.tokens", "also1.mask" and "also1.weight" are of the
    next, and so on; "less.tokens" and "less.mask" of what is not to be shown, by default of no
    condition. Leaves without a prefix that a text does not have, such as a class, are all texts'.
    With one text of weight 1 this is `cfg`, with the negative prompt as its null. As many calls as
    there are texts, and one more. Negative weights lead away, too. Samples do not follow the
    density p(x) prod_k (p(x|k)/p(x))^(scale w_k).

    Liu et al. 2022 (arXiv:2206.01714), eq. 11.

    >>> import torch
    >>> known = lambda x, level, cond: x * 0 + (0.0 if cond is None else cond["vector"])
    >>> one = {"vector": torch.tensor([[2.0]]), "less.vector": torch.tensor([[1.0]])}
    >>> prompts(3.0)(known)(torch.zeros(1, 1), Level.of(1, 1), one)  # 1 + 3 (2 - 1)
    tensor([[4.]])
    """
    strength = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            first, others = _parted(cond or {})
            weight = first.pop("weight", None)
            less = others.pop(LESS, None)
            base = denoise(x, level, None if less is None else {**first, **less})
            by = each(strength, x)
            total = base + by * _times(weight, denoise(x, level, first or None) - base)
            for own in others.values():
                weight = own.pop("weight")
                total = total + by * _times(weight, denoise(x, level, {**first, **own}) - base)
            return total

        return guided

    return guide


def _times(weight: Tensor | None, x: Tensor) -> Tensor:
    return x if weight is None else each(weight, x) * x


def _parted(cond: Cond) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Leaves without a prefix, and the others by theirs."""
    first: dict[str, Tensor] = {}
    others: dict[str, dict[str, Tensor]] = {}
    for name, leaf in cond.items():
        prefix, dot, key = name.partition(".")
        if dot:
            others.setdefault(prefix, {})[key] = leaf
        else:
            first[name] = leaf
    return first, others
