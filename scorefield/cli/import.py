"""`scorefield import FOLDER`."""

from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli.flags import OutPath, Spoken
from scorefield.cli.frame import Bar, Found


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
      scorefield import edm2.pkl --out runs/edm2
      scorefield import model_00100000.pth --out runs/k

    An ONNX graph says D of x and sigma (and alpha, label, null, or one vector). --levels are the
    least and the most sigma/alpha that it knows. It has no derivatives.

    Folders with text encoders (Stable Diffusion, SD3, Flux) are sampled by --prompt.
    Checkpoints of EDM, EDM2, guided-diffusion (ADM) and k-diffusion are read without running what
    they name. Flags of ADM stand beside it in NAME.json, such as {"image_size": 64}, and so does
    the config of k-diffusion where the file holds none.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A folder of diffusers, an .onnx file, a checkpoint, or hub:OWNER/NAME."""
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
