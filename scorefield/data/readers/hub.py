"""Hugging Face data sets: the `datasets` library reads, our rules make pictures and vectors."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from scorefield.base import BadInput
from scorefield.base.extras import library
from scorefield.data.readers.arrays import classes_of, examples, scaling_of
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.pictures import stack_pictures
from scorefield.data.readers.streamed import off_memory
from scorefield.data.sets import Conditions, Data, Scaling, split_files

if TYPE_CHECKING:
    from datasets import Dataset

BUILDERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
LABELS = ("label", "labels")
UNLABELLED = "Labels are class names or indices, one in each row; fill them in or drop the column."


def huggingface(
    path: str, size: int | None = None, channels: int | None = None,
    cache: CachePlace | None = None, stream: int | None = None,
) -> Data:  # fmt: skip
    """A Hugging Face data set: a name on the hub, a .csv, .json, .jsonl or .parquet file, a folder
    of such files or of pictures, or a folder written by `save_to_disk`.

    - The split `train` (or the only one) is trained on; `test` or else `validation` is held out,
      or a tenth of `train`.
    - An image column makes pictures, by the rules of `pictures.read_picture`. Without one, a
      single column of equally long lists of numbers, or else all columns of numbers together,
      make vectors, standardised.
    - A column named `label` or `labels`, or the only ClassLabel column, is the class; text labels
      are numbered in alphabetical order.
    - With a `cache` decoded pictures may lie in a file (`decoded`), and rows are then read from
      Arrow's own map one by one; so too with `stream`, as they are trained on (`streamed`).
    """
    parts = _parts(_splits(path), path)
    label_column = _label_column(parts[0])
    image_column = _image_column(parts[0], path)
    count, full, done = sum(map(len, parts)), None, ()
    if image_column is not None:
        files = FileColumn(parts, image_column)
        stack = off_memory(files, size, channels, f"'{path}'", cache, stream)
        if stack is None:
            sources = _files(parts, image_column)
            stack = stack_pictures(sources, count, size, channels, f"'{path}'")
        x, kept, full, done = stack
    else:
        x, kept = _vectors(parts, label_column, size, channels, path), np.arange(count)

    label, classes = None, ()
    if label_column is not None:
        label, classes = _labels(parts, label_column, path)
        label = label[kept]
    splits = split_files(x, label, kept, len(parts[0]), len(parts) == 1)
    scaling = scaling_of(splits[0].x) if full is None else Scaling.range(0, full)
    train, test = (split.kept(scaling, Conditions()) for split in splits)
    return Data("huggingface", train, test, classes, scaling, done=done)


def _splits(path: str) -> "dict[str, Dataset]":
    datasets = library("datasets", "data", "Hugging Face data sets are read")
    place = Path(path)
    if place.suffix in BUILDERS and not place.exists():
        raise BadInput(f"there is no file '{path}'.", "Check `data.path`.")
    try:
        if place.is_file():
            if place.suffix not in BUILDERS:
                raise BadInput(
                    f"'{path}' is none of {', '.join(BUILDERS)}.",
                    "Give `data.path` such a file, a folder, or a name on the hub.",
                )
            found = datasets.load_dataset(BUILDERS[place.suffix], data_files=path)
        elif (place / "state.json").is_file() or (place / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path)
    except BadInput:
        raise
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        own, first = (
            set(getattr(error.__cause__, f"{whose}_column_names", None) or ())
            for whose in ("table", "requested")
        )
        if own != first:
            raise BadInput(
                f"the files of '{path}' have different columns: one has "
                f"{', '.join(sorted(own))}, and the first {', '.join(sorted(first))}.",
                "Save all with the same ones.",
                "data.path",
            ) from None
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise BadInput(
            f"the Hugging Face data set '{path}' cannot be loaded: {reason[0].rstrip('.')}.",
            "Check `data.path`: a name on the hub (and the network), or a local file or folder.",
        ) from None
    if isinstance(found, datasets.Dataset):
        return {"train": found}
    return {str(name): part for name, part in found.items()}


def _parts(splits: "dict[str, Dataset]", path: str) -> "list[Dataset]":
    """[train, held-out], or [train] alone."""
    if len(splits) == 1:
        return list(splits.values())
    if "train" not in splits:
        raise BadInput(
            f"'{path}' has the splits {', '.join(splits)} and none is called train.",
            "Save the one to train on by itself.",
        )
    train, *held = (splits[name] for name in ("train", "test", "validation") if name in splits)
    for part in held[:1]:
        if part.features != train.features:
            raise BadInput(
                f"the splits of '{path}' have different columns: {', '.join(train.features)} "
                f"and {', '.join(part.features)}, or different types.",
                "Save both with the same ones.",
            )
    return [train, *held[:1]]


def _label_column(part: "Dataset") -> str | None:
    from datasets import ClassLabel

    if named := [name for name in LABELS if name in part.features]:
        return named[0]
    found = _columns(part, ClassLabel)
    return found[0] if len(found) == 1 else None


def _image_column(part: "Dataset", path: str) -> str | None:
    from datasets import Image

    found = _columns(part, Image)
    if len(found) > 1:
        raise BadInput(
            f"'{path}' has several image columns: {', '.join(found)}.", "Save it with one of them."
        )
    return found[0] if found else None


def _columns(part: "Dataset", kind: type) -> list[str]:
    return [name for name, feature in part.features.items() if isinstance(feature, kind)]


class FileColumn:
    """The undecoded files of an image column, all parts after one another, by number."""

    def __init__(self, parts: "list[Dataset]", column: str) -> None:
        from datasets import Image, concatenate_datasets

        plain = [part.with_format(None).select_columns([column]) for part in parts]
        undecoded = [part.cast_column(column, Image(decode=False)) for part in plain]
        self.rows, self.column = concatenate_datasets(undecoded), column
        self.digest = "-".join(part._fingerprint for part in parts)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        return self._names

    @cached_property
    def _names(self) -> list[str]:
        return [f"row {i}" for i in range(len(self))]

    def content(self, number: int) -> bytes | Path:
        cell = self.rows[number][self.column] or {"bytes": b"", "path": None}
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])


def _files(parts: "list[Dataset]", column: str) -> Iterator[tuple[str, Path | bytes]]:
    """Name and undecoded file of every picture."""
    from datasets import Image

    for part in parts:
        images = part.with_format(None).select_columns([column])
        undecoded = images.cast_column(column, Image(decode=False))
        for row, example in enumerate(cast("Iterable[dict[str, Any]]", undecoded)):
            # An empty cell counts as an unreadable file.
            cell = example[column] or {"bytes": b"", "path": None}
            file = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])
            yield cell["path"] or f"row {row}", file


def _vectors(
    parts: "list[Dataset]",
    label_column: str | None,
    size: int | None,
    channels: int | None,
    path: str,
) -> np.ndarray:
    """The examples of data without images, all splits after one another."""
    for option, value in (("size", size), ("channels", channels)):
        if value is not None:
            raise BadInput(
                f"'{path}' has no image column, so `data.{option}` {value} cannot be obeyed.",
                "Leave it out.",
            )
    features = {name: kind for name, kind in parts[0].features.items() if name != label_column}
    lists = [name for name, kind in features.items() if _is_number(getattr(kind, "feature", None))]
    columns = [name for name, kind in features.items() if _is_number(kind)]
    if len(lists) > 1 or not (lists or columns):
        raise BadInput(
            f"'{path}' has the columns {', '.join(features)}: none of images, not just one of "
            "lists of numbers, and none of numbers.",
            "Save an image column, one column of lists, or columns of numbers.",
        )
    # by itself the format makes float32 of float64
    tables = [
        part.select_columns(lists or columns).with_format("numpy", dtype=np.float64)[:]
        for part in parts
    ]
    if lists:
        where = f"the column '{lists[0]}' of '{path}'"
        cells = [table[lists[0]] for table in tables]
        if any(cell.ndim != 2 for cell in cells):
            raise BadInput(f"{where} holds lists of different lengths.", "Make them equally long.")
    else:
        where = f"the columns {', '.join(columns)} of '{path}'"
        cells = [np.stack([table[name] for name in columns], axis=1) for table in tables]
    return examples(np.concatenate(cells), where)


def _is_number(kind: object) -> bool:
    from datasets import Value

    return isinstance(kind, Value) and kind.dtype.startswith(("int", "uint", "float", "bool"))


def _labels(parts: "list[Dataset]", column: str, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class index of every row of all parts, and the class names."""
    from datasets import ClassLabel

    label = np.concatenate(
        [part.select_columns([column]).with_format("numpy")[:][column] for part in parts]
    )
    where = f"the column '{column}' of '{path}'"
    kind = parts[0].features[column]
    if isinstance(kind, ClassLabel):
        if (label < 0).any():
            raise BadInput(
                f"{where} has {int((label < 0).sum())} rows without a label.", UNLABELLED
            )
        return label, tuple(kind.names)
    if label.dtype.kind in "US":
        names, label = np.unique(label, return_inverse=True)
        return label, tuple(names.tolist())
    if label.dtype.kind not in "iub" or label.ndim != 1:
        raise BadInput(f"{where} has shape {label.shape} and type {label.dtype}.", UNLABELLED)
    return label, classes_of(label, len(label), where)
