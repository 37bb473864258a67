"""Texts of a file."""

from pathlib import Path

from scorefield.base import BadInput
from scorefield.data.letters import letter_data
from scorefield.data.sets import Data


def letters(path: str, size: int | None = None, alphabet: str | None = None) -> Data:
    """The lines of a text file (UTF-8), one text each; or, with `size`, the whole text in pieces of
    so many letters. The `alphabet` is by default that of the file."""
    text = read_lines(Path(path), "data.path")
    if size is not None:
        if size < 1:
            raise BadInput(f"`data.size` is {size}.", "Give at least 1.", "data.size")
        whole = "\n".join(text)
        text = [whole[i : i + size] for i in range(0, len(whole) - size + 1, size)]
    if not text:
        piece = "letter" if size is None else f"piece of {size} letters"
        raise BadInput(f"`data.path` {path} has not one {piece}.", "Give more text.", "data.path")
    return letter_data("letters", text, alphabet)


def read_lines(path: Path, field: str) -> list[str]:
    """The lines of a text file that are not empty."""
    if not path.is_file():
        raise BadInput(f"`{field}` {path}: there is no such file.", "Give a text file.", field)
    try:
        found = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"`{field}` {path} is no UTF-8 text.", "Give one.", field) from error
    return [line for line in found.splitlines() if line.strip()]
