"""`scorefield export`: which program, where to, and what it needs."""

from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.base.finding import Findings
from scorefield.interop.outgoing import to_diffusers
from scorefield.process import check_one_level
from scorefield.run.open import Run
from scorefield.run.pairs import is_paired
from scorefield.use.asked import idle, labels_of
from scorefield.use.request import Request

ENDINGS = {"diffusers": "", "onnx": ".onnx", "torch": ".pt2"}


def exported(request: Request, to: str, loop: int | None = None) -> Findings:
    """Write the run for another program; by default beside it."""
    run = request.exact().opened
    source = run.config.source
    theirs = to == "diffusers" and source and "vae" in source.others
    if run.info.codec and not theirs:
        raise BadInput(
            f"{run.path} works on latents, and their decoder has no place in what is exported.",
            "Sample it here, or export a run on pictures themselves.",
            "run",
        )
    check_one_level(run.schedule, "what is exported")
    usual = run.path.with_name(f"{run.path.resolve().name}-{to}{ENDINGS[to]}")
    if to == "diffusers":
        if is_paired(run.config, run.info):
            fact = f"{run.path} begins in one end of a pair, and their samplers in noise."
            raise BadInput(fact, "Export its network: `to` onnx or torch.", "to")
        idle("loop", loop, "a folder of diffusers has a sampler of theirs")
        return to_diffusers(run, request.out or usual, _folded(request, run))
    from scorefield.interop.programs import to_onnx, to_torch

    place = request.place(usual, ENDINGS[to])
    return (to_onnx if to == "onnx" else to_torch)(run, Path(place), loop)


def _folded(request: Request, run: Run) -> int | None:
    """The class that is to be folded into the weights, or the one that stands for none."""
    net: Any = run.denoiser.net
    if request.label is None and not request.unconditional:
        return None
    if getattr(net, "kind", "") != "UNet2DModel" or not run.info.classes:
        raise BadInput(
            f"only a UNet2DModel with classes has one to fold, and the network is "
            f"{getattr(net, 'kind', type(net).__name__)}.",
            "Leave `label` and `unconditional` out.",
        )
    if request.unconditional:
        if net.null is None:
            raise BadInput("the network knows no absence of a class.", "Give a `label`.")
        return net.null
    (label,) = labels_of(str(request.label), run.info.classes, "label")
    return label
