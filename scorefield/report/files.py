"""What was made, written for other programs to read."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from scorefield.base.finding import Findings, Strip
from scorefield.data.info import DataInfo
from scorefield.data.kind import PICTURE, Kind
from scorefield.data.letters import spelled
from scorefield.data.readers.sounds import end_to_end
from scorefield.data.readers.table import csv_of
from scorefield.data.table import row_cells
from scorefield.report.globe import globes, in_degrees
from scorefield.report.molecules import molecules_drawn
from scorefield.report.picture import frames, picture, picture_of
from scorefield.store import (
    Pieces,
    alone,
    from_png,
    tagged,
    to_png,
    write_bytes,
    write_findings,
    write_gif,
    write_npz,
    write_pictures,
    write_png,
    write_wavs,
)
from scorefield.store.rowed import FiledRow, write_rows
from scorefield.use.sample import FILED, Samples


def keep_findings(found: Findings, out: Path) -> Findings:
    """An .npz has the arrays of findings, a .png their first strip; else it is a folder. They come
    back as they were written."""
    if out.suffix == ".npz":
        write_npz(found.arrays, out)
    elif out.suffix == ".png":
        write_png(next(_drawn(found))[1], out)
    else:
        return keep_folder(found, out)
    return found


def keep_folder(found: Findings, out: Path) -> Findings:
    """A folder has every strip by the name of its file, further pictures by theirs, the arrays as
    VERB.npz and the findings as VERB.json."""
    with alone(out, wait=True):
        write_pictures((out / file, image) for file, image in _drawn(found))
        write_pictures((out / name, picture(x0)) for name, x0 in found.pictures.items())
        if rate := found.record.get("rate"):
            clips = torch.from_numpy(np.asarray(found.arrays["x"])).split(1)
            names = (out / f"restoration-{k + 1}.wav" for k in range(len(clips)))
            write_wavs(zip(names, (end_to_end([x], rate) for x in clips)), rate)
        if found.arrays:
            write_npz(found.arrays, out / f"{found.verb}.npz")
        return write_findings(out / f"{found.verb}.json", found)


def _drawn(found: Findings) -> Iterator[tuple[str, Image]]:
    """The strips that have samples, by the names of their files."""
    for item in found.items:
        if isinstance(item, Strip) and item.png and item.x0 is None:
            yield item.file, from_png(item.png)
        elif isinstance(item, Strip) and (image := picture_of(item)):
            yield item.file, image


def keep_samples(made: Samples, out: Path) -> None:
    """An .npz has them in the data's units, a .tar or .parquet by rows, a .txt in letters, a .png
    on one sheet, a .gif on their way, a .wav as sound, a folder each by its seed and class. A .png
    says how it was made."""
    scaling, label, pieces = made.scaling, made.label, made.pieces
    rate = made.info.rate if made.info else 0
    if made.single is not None:
        one = slice(made.single, made.single + 1)
        label, pieces = None if label is None else label[one], (x0[one] for x0 in pieces)
        made = made._replace(seeds=made.seeds[one])
    decoded = (scaling.decode(x0) if scaling else x0 for x0 in pieces)
    if out.suffix == ".npz":
        arrays = {"x": Pieces(len(made.seeds), decoded), "seed": made.seeds}
        write_npz(arrays if label is None else {**arrays, "y": label}, out)
    elif out.suffix in (".txt", ".smi", ".csv") and made.info:
        write_bytes(out, in_letters(torch.cat(list(pieces)), made.info, made.given))
    elif out.suffix in FILED:
        write_rows(_filed(made._replace(pieces=pieces, label=label)), out, made.names)
    elif out.suffix == ".gif":
        write_gif(frames(pieces, made.columns, label), out)
    elif out.suffix == ".wav":
        write_wavs([(out, end_to_end(decoded, rate))], rate)
    elif rate and not out.suffix:
        names = file_names(made.seeds, label, made.names, ".wav")
        clips = (end_to_end([x], rate) for x in _rows(decoded))
        write_wavs(zip((out / name for name in names), clips), rate)
    elif out.suffix == ".png":
        x0 = torch.cat(list(pieces))
        turns = len(made.captions)
        texts = [made.captions[i % turns] for i in range(len(x0))] if turns else ()
        space = made.info.space if made.info else ""
        if made.info and space == "smiles":
            sheet = molecules_drawn(spelled(x0, made.info.alphabet))
        elif space == "sphere:2":
            sheet = globes([("samples", x0)])
        else:
            shown = in_degrees(x0, space)
            sheet = picture(shown, made.columns, label, made.single is None, texts)
        write_png(tagged(sheet, made.words), out)
    else:
        names = file_names(made.seeds, label, made.names)
        words = ({**made.words, "index": made.words.get("index", i)} for i in range(len(names)))
        write_pictures(
            (out / name, tagged(picture(x, magnify=False), said))
            for name, x, said in zip(names, _rows(pieces), words)
        )


def in_letters(x0: Tensor, info: DataInfo, given: Sequence[Sequence[str]] = ()) -> bytes:
    """What numbers of letters (N, L) stand for, as the content of a file: lines, or of a table a
    .csv in its own columns."""
    if info.space == "table":
        names = [column.name for column in info.columns]
        return csv_of(names, row_cells(x0, info.columns, given))
    return "".join(f"{text}\n" for text in spelled(x0, info.alphabet)).encode()


def _filed(made: Samples) -> Iterator[FiledRow]:
    """Pictures as PNG; vectors in the data's units."""
    labels = itertools.repeat(None) if made.label is None else made.label.tolist()
    for x0, seed, label in zip(_rows(made.pieces), made.seeds.tolist(), labels):
        if Kind.of(x0.shape[1:]) is PICTURE:
            yield FiledRow(to_png(picture(x0, magnify=False)), seed, label)
        else:
            x = made.scaling.decode(x0) if made.scaling else x0
            yield FiledRow(x[0].tolist(), seed, label)


def _rows(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    for x0 in pieces:
        yield from x0.split(1)


def file_names(
    seeds: Tensor, label: Tensor | None, classes: Sequence[str], suffix: str = ".png"
) -> list[str]:
    """Of single pictures or sounds: the seed, and the class as far as a file can be called so.

    >>> file_names(torch.tensor([7]), torch.tensor([1]), ("a", "../T-shirt/top"))
    ['000007-T-shirt-top.png']
    """
    if label is None:
        return [f"{seed:06d}{suffix}" for seed in seeds.tolist()]
    safe = [re.sub(r"\W+", "-", str(name)).strip("-")[:40] for name in classes]
    words = [
        name if name and safe.count(name) == 1 else f"{name}{k}" for k, name in enumerate(safe)
    ]
    return [f"{seed:06d}-{words[k]}{suffix}" for seed, k in zip(seeds.tolist(), label.tolist())]
