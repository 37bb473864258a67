"""`scorefield interpolate RUN`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from scorefield.cli.flags import ByFlow, OutPath, Source, Strength
from scorefield.cli.frame import Bar, Found, filed


class Options(ByFlow):
    """Between two pictures along the flow's latents, as one strip; or from one picture along what
    tells a class from another: the mean latent of the one less that of the other. The solver is a
    deterministic one of one step: rk4, heun, midpoint, ddim ... Writes a .png, or an .npz of x in
    the data's own units. --strength says how often a direction is added in the last picture (once).

    examples:
      scorefield interpolate runs/digits --from three.png --to eight.png
      scorefield interpolate runs/digits --from test:3 --to test:8 --mode lerp
          --between 12 --out strip.png
      scorefield interpolate runs/digits --from three.png --attribute 8,3 --strength 1.5

    Latents are taken and decoded without a class, so that both ends have one flow; --label gives
    it the same class everywhere.
    """

    start: Annotated[Source, tyro.conf.arg(name="from")]
    end: Annotated[Source, tyro.conf.arg(name="to")] = None
    attribute: str | None = None
    """Two classes A,B: go along mean latent of A less mean latent of B (of training examples)."""
    strength: Strength = None
    between: int = 8
    """Pictures between the two ends."""
    mode: Literal["slerp", "lerp"] = "slerp"
    """Along the arc, which keeps a latent's length, or straight."""
    out: OutPath = Path("strip.png")


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.interpolate import Towards, interpolate

    course = Towards(o.end, o.attribute, o.strength, o.between, o.mode)
    return filed(interpolate(o.request(bar), str(o.start), course))
