"""What each sample brings along: a guide's values travel with it, as conditions do."""

from collections.abc import Callable, Mapping

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level

Build = Callable[[Mapping[str, Tensor]], Guide]
"""Named leaves `(B, ...)` of the samples at hand -> their guide."""


def carried(build: Build, *names: str) -> Guide:
    """A guide whose options are leaves of the condition, taken out before the denoiser sees it.

    A scale `(B,)` given to a guide belongs to one batch; solvers that take part of a batch, or
    put batches together, split and join the condition only:

        guide = carried(lambda own: cfg(own["scale"]), "scale")
        sample(DormandPrince(), guide(denoise), x, levels, noise, {"label": c, "scale": s})

    >>> import torch
    >>> from scorefield.guide import cfg
    >>> guided = carried(lambda own: cfg(own["scale"]), "scale")(lambda x, level, cond=None: x)
    >>> guided(torch.ones(2), Level.of(1, 1), {"scale": torch.tensor([1.0, 3.0])})
    tensor([1., 1.])
    """

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            given = cond or {}
            missing = [name for name in names if name not in given]
            if missing:
                raise BadInput(
                    f"the condition has no '{missing[0]}', which a guide takes from it.",
                    f"Give '{missing[0]}', one row for each sample.",
                )
            rest = {name: leaf for name, leaf in given.items() if name not in names}
            own = build({name: given[name] for name in names})
            return own(denoise)(x, level, rest or None)

        return guided

    return guide
