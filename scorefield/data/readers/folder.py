"""A folder of pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from scorefield.base import BadInput
from scorefield.data.readers.captions import LICENCES, captions_of, text_in
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.pictures import stack_pictures
from scorefield.data.readers.sources import ARCHIVES, TABLE, Sources, in_archives, in_folder
from scorefield.data.readers.streamed import off_memory
from scorefield.data.sets import Data, Scaling, hold_out_groups, is_map, split_at, split_files

MOST = 100_000
"""Classes that a table of labels may have."""


def folder(
    path: str, size: int | None = None, channels: int | None = None,
    cache: CachePlace | None = None, stream: int | None = None,
) -> Data:  # fmt: skip
    """The pictures under the folder `path`, (1 or 3, H, W): uint8, or int32 if some have more bits.
    Or those in an uncompressed .zip or .tar, or in all of a folder of such shards.

    The class of a picture is the name of its sub-folder (the first, if nested); a folder without
    sub-folders is unlabelled. A `dataset.json` (of EDM's and StyleGAN's tools: {"labels": [[name,
    3], ...]}, or null) says the classes instead, 0 to the largest; so do the `.cls` of WebDataset's
    shards. Sub-folders `train` and `test` (or `val`) are the two splits, each with its own class
    folders; otherwise a tenth is held out, the same one every time. Files whose name starts with a
    dot or does not end like a picture's are ignored. How a file becomes pixels, and what `size` and
    `channels` do: `pictures.read_picture`. With a `cache` pixels may lie in a file (`decoded`);
    with `stream` they are read as they are trained on, in a shuffle buffer (`streamed`).
    With captions (`captions.captions_of`) what is held out is a tenth of the captions, so that no
    picture of what it says was seen: split by concept, not by file.

    Errors: no such folder; nothing readable in it; fewer than 2 pictures; sizes differ and `size`
    is None; some pictures are in a sub-folder and some are not; dataset.json lacks a picture.
    """
    root, kept = Path(path), cache.folder if cache and cache.asked else None
    if root.suffix.lower() in ARCHIVES and root.is_file():
        every = in_archives(root.parent, [root], kept)
    elif root.is_dir():
        every = in_folder(root, kept)
    else:
        raise BadInput(f"there is no folder '{path}'.", "Give `data.path` a folder of pictures.")
    tops = _split_folders(every)
    parts = [every.within(top) if top else every for top in tops]
    sources = parts[0] if len(parts) == 1 else parts[0].then(parts[1])
    names, said = sources.names, sources.labels()
    stack = off_memory(sources, size, channels, f"'{path}'", cache, stream)
    if stack is None:
        stack = stack_pictures(sources.each(), len(sources), size, channels, f"'{path}'")
    x, kept, full, done = stack

    if said is not None:
        label = said[kept]
        classes = tuple(str(k) for k in range(int(label.max()) + 1))
    elif (table := every.beside(TABLE)) is not None:
        label, classes = _table(table, root / TABLE, [names[i] for i in kept])
    else:
        inner = [class_in_name(name, top) for part, top in zip(parts, tops) for name in part.names]
        label, classes = classes_of_names([inner[i] for i in kept], names, kept)
    first, whole = len(parts[0]), len(parts) == 1
    spoken = None if every.archives else captions_of(root, [names[i] for i in kept])
    if spoken is None:
        train, test = split_files(x, label, kept, first, whole)
        return Data("folder", train, test, classes, Scaling.range(0, full), done=done)
    captions = tuple(sorted(set(spoken.texts)))
    number = {text: k for k, text in enumerate(captions)}
    about = {"caption": np.array([number[text] for text in spoken.texts])}
    groups = np.flatnonzero(kept < first), np.flatnonzero(kept >= first)
    if whole:
        apart = about["caption"] if len(captions) > 1 else np.arange(len(kept))
        groups = hold_out_groups(apart, 0.1)
    rows = kept if is_map(x) else None
    train, test = (split_at(x, label, group, about, rows) for group in groups)
    words = f"{len(captions):,} captions in {spoken.source}, read with `data.text`"
    rights = [text_in(root / LICENCES).strip()] if (root / LICENCES).is_file() else []
    return Data("folder", train, test, classes, Scaling.range(0, full),
                done=(*done, words, *rights), captions=captions)  # fmt: skip


def _table(read: bytes, file: Path, names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The class index of each picture by a table of [name, index], and the classes by number."""
    try:
        content = json.loads(read)
    except (ValueError, RecursionError) as error:
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


def _split_folders(sources: Sources) -> list[str]:
    """The folders of the splits, "" being all. A lone `train` beside other names is a class:
    railways."""
    folders = {name.partition("/")[0] for name in sources.names if "/" in name}
    if not sources.archives:  # a folder without a picture counts too
        folders = {p.name for p in Path(sources.root).iterdir() if p.is_dir()}
        folders = {name for name in folders if not name.startswith(".")}
    if "train" in folders:
        for name in ("test", "val"):
            if name in folders:
                return ["train", name]
        if folders == {"train"}:
            return ["train"]
    return [""]


def class_in_name(name: str, top: str) -> str | None:
    """The first folder within `top` of a relative path, if there is one."""
    inner = name.removeprefix(f"{top}/") if top else name
    return inner.partition("/")[0] if "/" in inner else None


def classes_of_names(
    tops: list[str | None], names: list[str], kept: np.ndarray, what: str = "picture"
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The class index of each picture that is `kept`, and the class names in alphabetical order."""
    classes = sorted({top for top in tops if top is not None})
    if not classes:
        return None, ()
    if None in tops:
        within = next(i for i, top in enumerate(tops) if top is not None)
        raise BadInput(
            f"the {what} {names[kept[tops.index(None)]]} is in no class folder, but "
            f"{names[kept[within]]} is.",
            f"Put every {what} in a class folder, or none.",
        )
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[top] for top in tops if top is not None]), tuple(classes)
