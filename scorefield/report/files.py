"""What was made, written for other programs to read."""

from pathlib import Path

import torch

from scorefield.base.finding import Findings, Strip
from scorefield.report.picture import picture
from scorefield.store import Pieces, alone, write_json, write_npz, write_pictures, write_png
from scorefield.use.sample import Samples


def keep_findings(found: Findings, out: Path) -> None:
    """An .npz has the arrays of findings, a .png their first strip, a folder every strip that has a
    file, the arrays as VERB.npz and the findings as VERB.json."""
    strips = [item for item in found.items if isinstance(item, Strip) and item.x0 is not None]
    if out.suffix == ".npz":
        write_npz(found.arrays, out)
    elif out.suffix == ".png":
        write_png(_drawn(strips[0]), out)
    else:
        with alone(out, wait=True):
            write_pictures((out / strip.file, _drawn(strip)) for strip in strips)
            if found.arrays:
                write_npz(found.arrays, out / f"{found.verb}.npz")
            write_json(out / f"{found.verb}.json", found.to_json())


def _drawn(strip: Strip):
    assert strip.x0 is not None
    return picture(strip.x0, strip.columns, strip.labels)


def keep_samples(made: Samples, out: Path) -> None:
    """An .npz has them in the data's units, a .png on one sheet, a folder each by its seed."""
    scaling, label, pieces = made.scaling, made.label, made.pieces
    if out.suffix == ".npz":
        x = (scaling.decode(x0) if scaling else x0 for x0 in pieces)
        arrays = {"x": Pieces(len(made.seeds), x), "seed": made.seeds}
        write_npz(arrays if label is None else {**arrays, "y": label}, out)
    elif out.suffix == ".png":
        write_png(picture(torch.cat(list(pieces)), made.columns, label), out)
    else:
        names = iter(f"{seed:06d}.png" for seed in made.seeds.tolist())
        for x0 in pieces:
            write_pictures((out / next(names), picture(x, magnify=False)) for x in x0.split(1))
