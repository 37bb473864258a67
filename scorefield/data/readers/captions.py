"""What is said of the pictures of a folder."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from scorefield.base import BadInput

LINES, TABLE = "metadata.jsonl", "captions.csv"
NAMES, TEXTS = ("file_name", "file", "image"), ("text", "caption", "prompt")
"""Keys of the columns, the first that is there."""
LICENCES = "LICENCES.txt"
"""What a folder's pictures may be used for: a line for each part, said when they are read."""


class Captions(NamedTuple):
    """A text for each picture, and where they came from."""

    texts: list[str]
    source: str


def captions_of(root: Path, names: Sequence[str]) -> Captions | None:
    """The captions of the pictures `names` (paths below `root`), if there are any: of
    `metadata.jsonl`, of `captions.csv`, or of a `name.txt` beside each `name.png`.

    Raises BadInput for pictures without a caption, captions without a picture, and empty ones.
    """
    for file, rows in ((LINES, _of_lines), (TABLE, _of_table)):
        if (root / file).is_file():
            return Captions(_each(rows, root / file, names), file)
    beside = [Path(root, name).with_suffix(".txt") for name in names]
    there = [file.is_file() for file in beside]
    if not any(there):
        return None
    if not all(there):
        name = names[there.index(False)]
        raise BadInput(
            f"{sum(there)} of {len(names)} pictures have a caption beside them, and {name} has "
            "none.",
            f"Write {Path(name).with_suffix('.txt')}, or take the others away.",
        )
    texts = [text_in(file).strip() for file in beside]
    _check(texts, names, "the .txt beside it")
    return Captions(texts, "name.txt")


def text_in(file: Path) -> str:
    """The text of a file, or BadInput that names it."""
    try:
        return file.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error


def _each(rows: Callable[[str], dict[str, str]], file: Path, names: Sequence[str]) -> list[str]:
    said = rows(text_in(file))
    if not said:
        raise BadInput(f"{file} holds no captions.", f"Give it columns {NAMES[0]} and {TEXTS[0]}.")
    if stray := sorted(said.keys() - set(names)):
        raise BadInput(
            f"{file} has {len(stray)} captions without a picture, the first of '{stray[0]}'.",
            "Name pictures by their paths below the folder, or take those lines away.",
        )
    if bare := [name for name in names if name not in said]:
        raise BadInput(
            f"{file} has no caption of {len(bare)} of {len(names)} pictures, the first {bare[0]}.",
            "Add them, or take the pictures away.",
        )
    texts = [said[name] for name in names]
    _check(texts, names, str(file))
    return texts


def _check(texts: Sequence[str], names: Sequence[str], where: str) -> None:
    if empty := next((name for name, text in zip(names, texts) if not text), None):
        raise BadInput(f"the caption of {empty} is empty.", f"Say what it shows in {where}.")


def _pick(row: dict[str, object], where: str) -> tuple[str, str]:
    name, text = (next((k for k in keys if k in row), None) for keys in (NAMES, TEXTS))
    if name is None or text is None:
        raise BadInput(
            f"{where} has the columns {', '.join(map(str, row)) or 'none'}.",
            f"One is called {NAMES[0]} and one {TEXTS[0]}.",
        )
    return str(row[name]), " ".join(str(row[text] or "").split())


def _of_lines(content: str) -> dict[str, str]:
    found = {}
    for k, line in enumerate(content.splitlines()):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"line {k + 1} of {LINES} is no JSON: {error}.", "Mend it.") from error
        where = f"line {k + 1} of {LINES}"
        name, text = _pick(row if isinstance(row, dict) else {}, where)
        found[name] = text
    return found


def _of_table(content: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(content))
    return dict(_pick({str(k): v for k, v in row.items()}, TABLE) for row in rows)
