"""What was made, written for other programs to read."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from scorefield.base.finding import Findings, Strip
from scorefield.report.picture import picture
from scorefield.store import Pieces, alone, write_findings, write_npz, write_pictures, write_png
from scorefield.use.sample import Samples


def keep_findings(found: Findings, out: Path) -> Findings:
    """An .npz has the arrays of findings, a .png their first strip; else it is a folder. They come
    back as they were written."""
    if out.suffix == ".npz":
        write_npz(found.arrays, out)
    elif out.suffix == ".png":
        write_png(_drawn(_strips(found)[0]), out)
    else:
        return keep_folder(found, out)
    return found


def keep_folder(found: Findings, out: Path, parts: Mapping[str, Tensor] = {}) -> Findings:
    """A folder has every strip by the name of its file, further pictures by theirs, the arrays as
    VERB.npz and the findings as VERB.json."""
    with alone(out, wait=True):
        write_pictures((out / strip.file, _drawn(strip)) for strip in _strips(found))
        write_pictures((out / name, picture(x0)) for name, x0 in parts.items())
        if found.arrays:
            write_npz(found.arrays, out / f"{found.verb}.npz")
        return write_findings(out / f"{found.verb}.json", found)


def _strips(found: Findings) -> list[Strip]:
    return [item for item in found.items if isinstance(item, Strip) and item.x0 is not None]


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
