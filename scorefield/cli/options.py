"""What several commands share: reading flags, lists of numbers, and saying results."""

import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from scorefield.base.errors import BadInput, unknown

T = TypeVar("T")

LARGEST_LIST = 10_000_000


def parse(kind: type[T], command: str, argv: list[str], default: T | None = None) -> T:
    """Flags as a dataclass; its docstring is the help text. Wrong flags exit with 2."""
    import tyro

    keywords: dict[str, Any] = {} if default is None else {"default": default}
    help_text = inspect.cleandoc(kind.__doc__ or "")
    return tyro.cli(
        kind, prog=f"scorefield {command}", args=argv, description=help_text, **keywords
    )


def numbers(text: str, flag: str) -> list[int]:
    """`"0-3,7"` -> [0, 1, 2, 3, 7].

    >>> numbers("0-3,7", "--seeds")
    [0, 1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise BadInput(
                f"{flag} has '{part.strip()}', which is no number or range.",
                f"Write it like {flag} 0-9 or {flag} 3,5,7.",
            ) from None
        if high < low or high - low > LARGEST_LIST:
            raise BadInput(
                f"{flag} has the range {part.strip()}, from {low} to {high}.",
                "Ranges go up, at most ten million long.",
            )
        found.extend(range(low, high + 1))
    return found


def labels_of(text: str, classes: Sequence[str]) -> list[int]:
    """`"0-9"`, `"3,5"` or class names `"cat,dog"` -> class indices."""
    if not classes:
        raise BadInput("--labels was given, but this model has no classes.", "Leave it out.")
    names = [part.strip() for part in text.split(",")]
    if all(name in classes for name in names):
        return [list(classes).index(name) for name in names]
    if any(part[:1].isalpha() for part in names):
        wrong = next(name for name in names if name not in classes)
        raise unknown("class", wrong, classes)
    found = numbers(text, "--labels")
    wrong = [label for label in found if label >= len(classes)]
    if wrong:
        raise BadInput(
            f"--labels has {wrong[0]}, but the model's classes are 0 to {len(classes) - 1}.",
            f"Write --labels 0-{len(classes) - 1}, or names such as {', '.join(classes[:3])}.",
        )
    return found


def say(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result for a person, or as one JSON object for a machine."""
    print(json.dumps(result) if as_json else text)


def note(text: str) -> None:
    """A line for a person, out of the way of what a machine reads."""
    print(text, file=sys.stderr)
