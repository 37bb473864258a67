"""`scorefield encode RUN`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from scorefield.base import BadInput
from scorefield.cli.bar import bar
from scorefield.cli.options import Switch, at_least, device, note, out_file, parse, say
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples, shaped
from scorefield.run.open import Run, open_run
from scorefield.store import write_npz
from scorefield.use.asked import label_for
from scorefield.use.encode import Way, round_trip

SOLVER, STEPS = "rk4", 12
"""48 calls: on the digits model a round trip is within 3e-4 RMS, of pictures in [-1, 1]."""


@dataclass(frozen=True)
class Options:
    """Take examples up the model's probability flow, to the noise that the flow would make them
    of, and back again; says how far from themselves they come back. The latents, with the labels
    and levels that lead back, go to an .npz; --decode makes examples of it.

    examples:
      scorefield encode runs/digits --input three.png --label 3 --out three.npz
      scorefield encode runs/digits --input test.npz --out latents.npz
      scorefield encode runs/digits --decode latents.npz --out decoded.npz
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    input: Path | None = None
    """A picture, or an .npz with x in the data's own units and, if you like, classes y."""
    decode: Path | None = None
    """Latents to decode, an .npz that encode wrote."""
    out: Path = Path("latents.npz")
    """The .npz to write: latents z, or with --decode examples x in the data's own units."""
    label: str | None = None
    """Class of the examples, where the file has none: 3 or a name (default: without class)."""
    steps: int = STEPS
    """Solver steps."""
    solver: str = SOLVER
    """Deterministic one-step solver: rk4, heun, midpoint, ddim ..."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    batch: int = 256
    """Examples at a time; bounds memory."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "encode", argv)
    for flag in ("steps", "batch"):
        at_least(f"--{flag}", getattr(options, flag))
    if (options.input is None) == (options.decode is None):
        raise BadInput("encode needs one of --input and --decode.", "Give one of them.")
    out_file(options.out, ".npz")
    run = open_run(options.run, options.average)
    way = Way.of(run.denoiser.to(device()), options.solver, options.steps, options.batch)
    return (_encode if options.decode is None else _decode)(run, way, options)


def _encode(run: Run, way: Way, options: Options) -> int:
    assert options.input is not None
    x0, label = read_examples(options.input, run.facts.shape, run.facts.scaling)
    label = label_for(options.label, label, len(x0), run.facts.classes)
    began = time.monotonic()
    with bar(not options.json) as watch:
        z = way.up(x0, label, watch)
    seconds = time.monotonic() - began
    with bar(not options.json) as watch:
        rms = round_trip(way.down(z, label, watch), x0)
    arrays = {"z": z, **({} if label is None else {"y": label})}
    write_npz({**arrays, "logsnr": way.plan.levels.logsnr}, options.out)
    result = {
        "out": str(options.out),
        "n": len(x0),
        "calls": way.calls,
        "round_trip_rms": float(rms.square().mean().sqrt()),
        "worst": float(rms.max()),
        "latent_deviation": float(z.square().mean().sqrt() / way.plan.levels.sigma[0]),
        "seconds": round(seconds, 3),
    }
    text = (
        f"{options.out}: {len(x0)} latents, {way.calls} network calls each, {seconds:.1f} s\n"
        f"there and back: {result['round_trip_rms']:.1e} RMS, at worst {result['worst']:.1e}, "
        f"of {'pictures in [-1, 1]' if len(run.facts.shape) == 3 else 'standardised data'}"
    )
    say(result, text, options.json)
    if run.facts.classes and label is None and not options.json:
        note("no class given, so without one: with --label latents lie nearer to noise")
    return 0


def _decode(run: Run, way: Way, options: Options) -> int:
    assert options.decode is not None
    arrays = read_npz(options.decode, "decode")
    if "z" not in arrays or "logsnr" not in arrays:
        raise BadInput(
            f"--decode {options.decode} holds {', '.join(arrays) or 'nothing'}, and no latents z "
            "with their logsnr.",
            "Give a file that scorefield encode wrote.",
        )
    z = shaped(arrays["z"], run.facts.shape, f"z in {options.decode}").float()
    own = arrays.get("y")
    label = None if own is None else torch.from_numpy(own.astype(np.int64))
    label = label_for(options.label, label, len(z), run.facts.classes)
    if abs(float(arrays["logsnr"].ravel()[0]) - float(way.plan.levels.logsnr[0])) > 1e-6:
        raise BadInput(
            f"--decode {options.decode} was encoded to logsnr {arrays['logsnr'].ravel()[0]:.3g}, "
            f"this run goes to {float(way.plan.levels.logsnr[0]):.3g}.",
            "Decode with the run that encoded.",
        )
    began = time.monotonic()
    with bar(not options.json) as watch:
        x0 = way.down(z, label, watch)
    seconds = time.monotonic() - began
    found = {"x": run.facts.scaling.decode(x0), **({} if label is None else {"y": label})}
    write_npz(found, options.out)
    result = {"out": str(options.out), "n": len(z), "calls": way.calls,
              "seconds": round(seconds, 3)}  # fmt: skip
    say(result, f"{options.out}: {len(z)} examples decoded, {seconds:.1f} s", options.json)
    return 0
