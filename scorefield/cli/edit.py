"""`scorefield edit RUN`."""

from pathlib import Path

from scorefield.cli.flags import CondFile, OnRun, OutPath, Rows, Sampling, Source, Strength, Switch
from scorefield.cli.frame import Bar, Found, filed


class Options(Rows, Sampling, OnRun):
    """Edit a picture with a model: noise hides part of it, and the model makes a picture of the
    rest. Writes a strip, a .png: the input, then the edits; or an .npz of the edits. There are 8,
    or as many as seeds, or with --encode as labels. --strength says how much is made anew: 0
    returns the picture, 1 samples without it (0.6, or 1 with --mask or --encode).

    examples:
      scorefield edit runs/digits --input seven.png --strength .6 --n 8
      scorefield edit runs/digits --input test:7 --strength .8 --labels 2 --guidance 2

    only inside a mask (white), the rest stays as it is to the bit; the solver is then DDIM with
    restarts:
      scorefield edit runs/digits --input seven.png --mask upper.png --labels 7 --n 8

    encode the picture as what it is, decode it as others, without chance:
      scorefield edit runs/digits --input seven.png --encode --source 7 --labels 0-9
    """

    input: Source
    strength: Strength = None
    mask: Path | None = None
    """A picture that is white where the other may change, black where it is kept; or one of 0 and
    1, strokes on a transparent layer, an .npy of bools."""
    conditions: CondFile = None
    encode: Switch = False
    """Instead of noise, take the code that the model's flow gives the picture."""
    source: str | None = None
    """With --encode: the class that the picture is of (default: without class)."""
    out: OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.edit import Wish, edit_picture

    wish = Wish(str(o.input), o.strength, o.mask, o.encode, o.source)
    return filed(edit_picture(o.request(bar), wish))
