"""The first names of a session: training and sampling, with a bar if it is wanted."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import quiet
from scorefield.cli.bar import Bar
from scorefield.denoise import Denoiser
from scorefield.run import train
from scorefield.run.settings import Config
from scorefield.train import Progress
from scorefield.use import generate as _generate


def generate_with_bar(
    denoiser: Denoiser, n: int | None = None, *, progress: bool = False, **settings: Any
) -> Tensor:
    with closing(Bar()) as over:
        return _generate.generate(denoiser, n, watch=over if progress else quiet, **settings)


def fit_with_bar(
    config: Config | str,
    out: str | Path | None = None,
    *,
    progress: bool = True,
    watch: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    **more: Any,
) -> Denoiser:
    with closing(Bar(progress)) as over:

        def see(step: Progress) -> None:
            shown(over, step)
            if watch:
                watch(step)

        def tell(line: str) -> None:
            over.clear()
            say(line)

        return train.fit_run(config, out, watch=see, say=tell, **more)


generate_with_bar.__doc__ = f"{_generate.generate.__doc__}\n    With `progress` a bar is shown."
fit_with_bar.__doc__ = f"{train.fit_run.__doc__}\n    With `progress` a bar is shown."


def shown(over: Bar, step: Progress) -> None:
    """Show a step of training on a bar."""
    over.words = postfix(step)
    over(min(step.images, step.total), step.total, "img")


def postfix(step: Progress) -> str:
    """Behind the bar: the loss, then near data, between and near noise, and the memory in use."""
    thirds: dict[str, list[float]] = {"data": [], "middle": [], "noise": []}
    for centre, loss in step.by.items():
        at = float(centre)
        thirds["data" if at > 3 else "noise" if at < -3 else "middle"].append(loss)
    means = [f"{name} {sum(v) / len(v):.3f}" for name, v in thirds.items() if v]
    return ", ".join([f"loss {step.loss:.3f}", *means, f"{step.memory_mb / 1024:.1f} GB"])
