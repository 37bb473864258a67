"""A folder of pictures."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from scorefield.base import BadInput
from scorefield.data.readers.captions import LICENCES, captions_of, text_in
from scorefield.data.readers.pictures import stack_pictures, suffixes
from scorefield.data.sets import Data, Scaling, hold_out_groups, split_at, split_files

TABLE, MOST = "dataset.json", 100_000
"""The labels that EDM's and StyleGAN's tools write beside pictures, and the most classes of it."""


def folder(path: str, size: int | None = None, channels: int | None = None) -> Data:
    """The pictures under the folder `path`, (1 or 3, H, W): uint8, or int32 if some have more bits.

    The class of a picture is the name of its sub-folder (the first, if nested); a folder without
    sub-folders is unlabelled. A `dataset.json` (of EDM's and StyleGAN's tools: {"labels": [[name,
    3], ...]}, or null) says the classes instead, 0 to the largest. Sub-folders `train` and `test`
    (or `val`) are the two splits, each with its own class folders; otherwise a tenth is held out,
    the same one every time. Files whose name starts with a dot or does not end like a picture's
    are ignored. How a file becomes pixels, and what `size` and `channels` do:
    `pictures.read_picture`. With captions (`captions.captions_of`) what is held out is a tenth of
    the captions, so that no picture of what it says was seen: split by concept, not by file.

    Errors: no such folder; nothing readable in it; fewer than 2 pictures; sizes differ and `size`
    is None; some pictures are in a sub-folder and some are not; dataset.json lacks a picture.
    """
    root = Path(path)
    if not root.is_dir():
        raise BadInput(f"there is no folder '{path}'.", "Give `data.path` a folder of pictures.")
    train_root, test_root = split_folders(root)
    train_files = _picture_files(train_root)
    test_files = [] if test_root is None else _picture_files(test_root)
    files = train_files + test_files
    names = [file.relative_to(root).as_posix() for file in files]
    stack = stack_pictures(zip(names, files), len(files), size, channels, f"'{path}'")
    x, kept, full, done = stack

    if (root / TABLE).is_file():
        label, classes = _table(root / TABLE, [names[i] for i in kept])
        train, test = split_files(x, label, kept, len(train_files), test_root is None)
        return Data("folder", train, test, classes, Scaling.range(0, full), done=done)
    roots = [train_root] * len(train_files) + [test_root or root] * len(test_files)
    tops = [class_of_file(file, top) for file, top in zip(files, roots)]
    label, classes = classes_of_folders([tops[i] for i in kept], [names[i] for i in kept])
    said = captions_of(root, [names[i] for i in kept])
    if said is None:
        train, test = split_files(x, label, kept, len(train_files), test_root is None)
        return Data("folder", train, test, classes, Scaling.range(0, full), done=done)
    captions = tuple(sorted(set(said.texts)))
    number = {text: k for k, text in enumerate(captions)}
    about = {"caption": np.array([number[text] for text in said.texts])}
    first = len(train_files)
    parts = np.flatnonzero(kept < first), np.flatnonzero(kept >= first)
    if test_root is None:
        parts = hold_out_groups(about["caption"], 0.1)
    train, test = (split_at(x, label, part, about) for part in parts)
    told = f"{len(captions):,} captions in {said.source}, read with `data.text`"
    rights = [text_in(root / LICENCES).strip()] if (root / LICENCES).is_file() else []
    return Data("folder", train, test, classes, Scaling.range(0, full), done=(*done, told, *rights),
                captions=captions)  # fmt: skip


def _table(file: Path, names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The class index of each picture by a table of [name, index], and the classes by number."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {error}.", "Restore the file.") from error
    rows: Any = content.get("labels", ...) if isinstance(content, dict) else ...
    if rows is None:
        return None, ()
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise BadInput(
            f"the labels of {file} are no list of [name, index].",
            f"Write them as dataset_tool does, with indices from 0 to {MOST - 1}, or null.",
        )
    known = dict(rows)
    if missing := next((name for name in names if name not in known), None):
        raise BadInput(f"{file} has no label of {missing}.", "Add it, or take the file away.")
    return np.array([known[name] for name in names]), tuple(
        str(k) for k in range(1 + max(known[name] for name in names))
    )


def _is_row(row: Any) -> bool:
    """Whether it is [name, index]."""
    pair = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)
    return pair and type(row[1]) is int and 0 <= row[1] < MOST


def split_folders(root: Path) -> tuple[Path, Path | None]:
    """(training folder, test folder). A lone `train` beside other names is a class: railways."""
    folders = {entry.name for entry in root.iterdir() if entry.is_dir() and _visible(entry.name)}
    if "train" in folders:
        for name in ("test", "val"):
            if name in folders:
                return root / "train", root / name
        if folders == {"train"}:
            return root / "train", None
    return root, None


def _picture_files(root: Path) -> list[Path]:
    return [file for file in files_below(root) if file.suffix.lower() in suffixes()]


def files_below(root: Path) -> list[Path]:
    """In the order of their relative paths, which fixes the held-out split on every system; without
    those whose name, or whose folder's, starts with a dot."""
    files = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = filter(_visible, subfolders)
        files += [Path(folder, name) for name in names if _visible(name)]
    return sorted(files, key=lambda file: file.relative_to(root).as_posix())


def _visible(name: str) -> bool:
    return not name.startswith(".")


def class_of_file(file: Path, root: Path) -> str | None:
    """The first folder below the root, if there is one."""
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else None


def classes_of_folders(
    tops: list[str | None], names: list[str], what: str = "picture"
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The class index of each picture, and the class names in alphabetical order."""
    classes = sorted({top for top in tops if top is not None})
    if not classes:
        return None, ()
    if None in tops:
        raise BadInput(
            f"the {what} {names[tops.index(None)]} is in no class folder, but "
            f"{names[next(i for i, top in enumerate(tops) if top is not None)]} is.",
            f"Put every {what} in a class folder, or none.",
        )
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[top] for top in tops if top is not None]), tuple(classes)
