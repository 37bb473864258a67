"""Molecules of a file of SMILES."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scorefield.base import BadInput
from scorefield.data.letters import END, letter_data
from scorefield.data.molecules import laws_of, of_molecules, placed, tokens_of
from scorefield.data.readers.letters import read_lines
from scorefield.data.sets import Data, Scaling, split_off
from scorefield.data.table import Column


def smiles(path: str, size: int | None = None, properties: str | None = None) -> Data:
    """Molecules of a file: a .csv or .csv.gz with a column SMILES, or lines that begin with one.

    `size`: how many of them, evenly spread over the file. `properties`: those that samples may be
    asked for, joined by +: logP, QED, weight. Raises BadInput for a file with molecules that do not
    parse, are charged, several at once, or of other elements.
    """
    texts = read_smiles(Path(path))
    if size is not None:
        if size < 1:
            raise BadInput(f"`data.size` is {size}.", "Give at least 1.", "data.size")
        texts = [
            texts[i] for i in np.linspace(0, len(texts) - 1, min(size, len(texts))).astype(int)
        ]
    names = properties.split("+") if properties else []
    laws = laws_of(names)

    def measured(_: int, molecule: Any) -> np.ndarray:
        return np.array([law(molecule) for law in laws], np.float32)

    rows = of_molecules(texts, f"'{path}'", measured if names else None)
    more = {"vector": np.array(rows)} if names else {}
    data = letter_data("smiles", map(tokens_of, texts), more=more)
    columns = tuple(Column(name, number=True) for name in names)
    return replace(data, space="smiles", columns=columns)


def conformers(path: str, size: int | None = None) -> Data:
    """Molecules of a file of SMILES, as `smiles` reads it, in space: x (N, 3 + kinds, atoms), where
    heavy atoms are, in Angstrom about their mean, and 1 in the row of each one's kind. Where
    molecules have unlike numbers of atoms, the first row of kinds is that of no atom: the smaller
    ones end in such, in the middle.

    Each is embedded by RDKit (ETKDG, then MMFF94) from its canonical order of atoms, its number in
    the file the seed. Those that RDKit cannot embed are left out; how many is said.
    """
    texts = read_smiles(Path(path))[:size]
    there = of_molecules(texts, f"'{path}'", lambda k, molecule: placed(molecule, k))
    found = [pair for pair in there if pair]
    if not found:
        raise BadInput(f"'{path}' has no molecule that can be embedded.", "Give another.")
    most = max(len(at) for _, at in found)
    unlike = min(len(at) for _, at in found) < most
    kinds = [END][: int(unlike)] + sorted({kind for symbols, _ in found for kind in symbols})
    x = np.zeros((len(found), 3 + len(kinds), most), np.float32)
    for row, (symbols, at) in zip(x, found):
        row[:3, : len(at)] = at.T
        padded = [*symbols, *[END] * (most - len(at))]
        row[[3 + kinds.index(kind) for kind in padded], range(most)] = 1
    train, test = split_off(x, None)
    spread = round(float(train.x[:, :3].std()), 6)
    scaling = Scaling((0.0,) * (3 + len(kinds)), (spread,) * 3 + (1.0,) * len(kinds))
    left = len(texts) - len(found)
    done = (f"{left:,} of {len(texts):,} molecules cannot be embedded",) if left else ()
    return Data("conformers", train, test, (), scaling, alphabet=tuple(kinds), done=done)


def read_smiles(path: Path) -> list[str]:
    """The SMILES of a file, in order."""
    if not path.name.endswith((".csv", ".csv.gz")):
        return [line.split()[0] for line in read_lines(path, "data.path")]
    if not path.is_file():
        raise BadInput(f"`data.path` {path}: there is no such file.", "Give one.", "data.path")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        names = [name.strip().lower() for name in next(rows, [])]
        if "smiles" not in names:
            raise BadInput(
                f"'{path}' has the columns {', '.join(names) or 'of nothing'}.",
                "Call one SMILES.",
                "data.path",
            )
        return [row[names.index("smiles")].strip() for row in rows if row]
