"""`scorefield export RUN`."""

from typing import Literal

from scorefield.cli.flags import NoCond, OneClass, OnRun, OutPath
from scorefield.cli.frame import Bar, Found


class Options(OnRun):
    """Write a run for another program.

    examples:
      scorefield export runs/digits --to diffusers --out digits-diffusers
      scorefield export runs/digits --to onnx --out digits.onnx
      scorefield export runs/digits-consistency --to onnx --loop 2 --out quick.onnx
      scorefield export runs/digits --to torch --out digits.pt2

    diffusers: a folder. Of a network of theirs (--net unet2d, or an imported run) its plain
    weights; of another a component that predicts v at zero terminal SNR, and needs scorefield
    where it is opened. README.md says by which pipeline. Their pipelines for UNet2DModel tell no
    class: --label folds one into the weights, --unconditional none.
    onnx: one file of D(x, alpha, sigma, conditions) in any batch, checked by onnxruntime; with
    --loop N the whole sampler of N steps, whose input is noise. torch: the same as an exported
    program.
    """

    to: Literal["diffusers", "onnx", "torch"] = "diffusers"
    """For which program."""
    loop: int | None = None
    """onnx, torch: a sampler of so many steps in one graph, in place of the denoiser."""
    label: OneClass = None
    unconditional: NoCond = False
    out: OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.interop.export import exported

    return exported(o.request(bar), o.to, o.loop)
