"""`scorefield interpolate RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor

from scorefield.base import BadInput
from scorefield.cli.bar import bar
from scorefield.cli.encode import SOLVER, STEPS
from scorefield.cli.options import (
    Switch,
    at_least,
    device,
    idle,
    labels_of,
    note,
    out_file,
    parse,
    say,
)
from scorefield.data.readers.given import read_examples
from scorefield.likelihood import direction, lerp, slerp
from scorefield.report import picture
from scorefield.run.open import Run, data_of, open_run
from scorefield.store import write_npz, write_png
from scorefield.use.asked import label_for
from scorefield.use.encode import Way, round_trip

ATTRIBUTE = 200
"""Training examples of each class that a direction is the difference of, at most."""


@dataclass(frozen=True)
class Options:
    """Between two pictures along the flow's latents, as one strip; or from one picture along what
    tells a class from another: the mean latent of the one less that of the other.

    examples:
      scorefield interpolate runs/digits --from three.png --to eight.png
      scorefield interpolate runs/digits --from three.png --to eight.png --mode lerp
          --between 12 --out strip.png
      scorefield interpolate runs/digits --from three.png --attribute 8,3 --strength 1.5

    Latents are taken and decoded without a class, so that both ends have one flow; --label gives
    it the same class everywhere.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    start: Annotated[Path, tyro.conf.arg(name="from")]
    """A picture, or an .npz whose examples x each start a strip."""
    end: Annotated[Path | None, tyro.conf.arg(name="to")] = None
    """Where to: as many as --from has."""
    attribute: str | None = None
    """Two classes A,B: go along mean latent of A less mean latent of B (of training examples)."""
    strength: float = 1.0
    """How often that direction is added in the last picture."""
    between: int = 8
    """Pictures between the two ends."""
    mode: Literal["slerp", "lerp"] = "slerp"
    """Along the arc, which keeps a latent's length, or straight."""
    label: str | None = None
    """Class for the flow: 3 or a name (default: without class)."""
    steps: int = STEPS
    """Solver steps, each way."""
    solver: str = SOLVER
    """Deterministic one-step solver: rk4, heun, midpoint, ddim ..."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    out: Path = Path("strip.png")
    """A .png picture, or an .npz of x in the data's own units."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "interpolate", argv)
    at_least("--steps", options.steps)
    at_least("--between", options.between)
    if (options.end is None) == (options.attribute is None):
        raise BadInput("interpolate needs one of --to and --attribute.", "Give one of them.")
    if options.attribute is None:
        idle("--strength", options.strength, "it is of --attribute", 1.0)
    else:
        idle("--mode", options.mode, "a direction is added straight", "slerp")
    out_file(options.out, ".png", ".npz")
    run = open_run(options.run, options.average)
    way = Way.of(run.denoiser.to(device()), options.solver, options.steps)
    shape, scaling = run.facts.shape, run.facts.scaling
    start, _ = read_examples(options.start, shape, scaling, "from")
    label = label_for(options.label, None, len(start), run.facts.classes)
    share = torch.linspace(0, 1, options.between + 2)
    if options.end is not None:
        end, _ = read_examples(options.end, shape, scaling, "to")
        if len(end) != len(start):
            raise BadInput(
                f"--from has {len(start)} examples and --to {len(end)}.", "Give as many of each."
            )
        ends = torch.cat((start, end))
        both = None if label is None else label.repeat(2)
        with bar(not options.json) as watch:
            first, last = way.up(ends, both, watch).chunk(2)
        z = (slerp if options.mode == "slerp" else lerp)(first, last, share)
    else:
        ends, both = start, label
        first, towards = way.up(start, label), _direction(run, way, options)
        z = first + (options.strength * share).reshape(-1, *(1,) * first.ndim) * towards
    strips = z.transpose(0, 1).flatten(0, 1)  # strip by strip
    many = None if label is None else label.repeat_interleave(len(share))
    with bar(not options.json) as watch:
        x0 = way.down(strips, many, watch)
    known = x0.unflatten(0, (len(start), len(share)))
    known = torch.cat((known[:, 0], known[:, -1])) if options.end is not None else known[:, 0]
    rms = float(round_trip(known, ends).square().mean().sqrt())
    if options.out.suffix == ".npz":
        write_npz({"x": scaling.decode(x0), "share": share.repeat(len(start))}, options.out)
    else:
        write_png(picture(x0, len(share)), options.out)
    result = {
        "out": str(options.out),
        "strips": len(start),
        "pictures": len(share),
        "mode": options.mode if options.end is not None else "attribute",
        "calls": way.calls,
        "round_trip_rms": rms,
    }
    text = f"{options.out}: {len(start)} x {len(share)} pictures; the ends come back within "
    say(result, f"{text}{rms:.1e} RMS", options.json)
    if rms > 0.05 and not options.json:
        note("the ends do not come back as they went: take more --steps")
    return 0


def _direction(run: Run, way: Way, options: Options) -> Tensor:
    """Mean latent of class A less that of class B, over training examples."""
    assert options.attribute is not None
    pair = labels_of(options.attribute, run.facts.classes)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise BadInput(
            f"--attribute is {options.attribute}.", "Give two classes, such as --attribute 8,3."
        )
    data = data_of(run, split=False)
    label = data.train.cond["label"]
    index = torch.cat([(label == k).nonzero().flatten()[:ATTRIBUTE] for k in pair])
    has = label[index] == pair[0]
    if has.all() or not has.any():
        raise BadInput(
            f"the training data have no example of one of the classes {options.attribute}.",
            "Give two classes that they have.",
        )
    given = label_for(options.label, None, len(index), run.facts.classes)
    return direction(way.up(data.batch(data.train, index)[0], given), has)
