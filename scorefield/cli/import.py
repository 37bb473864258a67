"""`scorefield import FOLDER`."""

from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli.flags import OutPath, Spoken
from scorefield.cli.frame import Bar, Found, verb


class Options(Spoken):
    """Make a run of another program's model: a folder that diffusers' save_pretrained wrote. Every
    command takes it like a run that was trained here. Settings and safetensors are read, nothing is
    executed, and what cannot be honoured is refused by name.

    examples:
      scorefield import ddpm-cat-256 --out runs/cat       (by default runs/NAME)
      scorefield sample runs/cat --n 16 --steps 10
      scorefield import my-digits --trained-on digits --out runs/theirs
      scorefield compare runs/theirs --solvers arc,ddim
      scorefield import hub:owner/name --out runs/pulled
      scorefield import denoiser.onnx --levels .002,80 --out runs/graph

    An ONNX graph says D of x and sigma (and alpha, label, null, or one vector). --levels are the
    least and the most sigma/alpha that it knows. It has no derivatives.

    A .pt of guided-diffusion (ADM) is read without running what it names; its flags stand beside it
    in NAME.json, such as {"image_size": 64}.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A folder of diffusers, an .onnx file, a .pt of guided-diffusion, or hub:OWNER/NAME."""
    out: OutPath = None
    levels: str | None = None
    """Of an ONNX graph: the least and the most sigma/alpha that it knows (default: .002,80)."""
    trained_on: str = ""
    """The data that it was trained on, to be measured against: a set, a folder or an .npz, such as
    digits or folder:path=photos,size=32."""


def work(o: Options, bar: Bar) -> Found:
    from scorefield.interop.incoming import taken_in

    out = o.out or Path("runs") / o.source.resolve().stem
    return taken_in(o.source, out, o.trained_on, o.levels)


main = verb("import", Options, work)
