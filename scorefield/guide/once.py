"""A denoiser that is asked nothing twice: guides around guides share their calls."""

from torch import Tensor

from scorefield.base import Cond, Denoise, Level


class Once:
    """Answers the very same question (the same objects x, level and condition) from memory.

    It keeps what it was asked, so make one for each call of a guide and let it go.

    >>> import torch
    >>> asked = []
    >>> once = Once(lambda x, level, cond=None: asked.append(cond) or 2 * x)
    >>> x, level = torch.ones(1), Level.of(1.0, 1.0)
    >>> float(once(x, level)), float(once(x, level)), asked
    (2.0, 2.0, [None])
    """

    def __init__(self, denoise: Denoise) -> None:
        self._denoise = denoise
        self._known: list[tuple[Tensor, Level, Cond | None, Tensor]] = []

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        for seen, at, under, answer in self._known:
            if seen is x and at is level and under is cond:
                return answer
        answer = self._denoise(x, level, cond)
        self._known.append((x, level, cond, answer))
        return answer
