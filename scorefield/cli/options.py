"""What several commands share: reading flags, lists of numbers, and saying results."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from scorefield.base.errors import BadInput, unknown
from scorefield.cli.flags import Switch  # noqa: F401
from scorefield.cli.frame import note, parse  # noqa: F401
from scorefield.run.open import device  # noqa: F401 until every verb has its frame
from scorefield.store import claim, claim_folder

T = TypeVar("T")

LARGEST_LIST = 10_000_000
FEW = 8
"""Samples of the commands whose picture shows each of them large."""


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
        if len(found) > LARGEST_LIST:
            raise BadInput(f"{flag} lists more than ten million.", "Ask for fewer at a time.")
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


def seeds_of(n: int | None, text: str | None, default: int = 100) -> list[int]:
    """Seeds from --n and --seeds: one per sample; by default 0 to n-1, and `default` of them.

    >>> seeds_of(None, "3,5"), seeds_of(2, None)
    ([3, 5], [0, 1])
    """
    at_least("--n", n)
    seeds = list(range(default if n is None else n)) if text is None else numbers(text, "--seeds")
    if n is not None and len(seeds) != n:
        raise BadInput(
            f"--seeds has {len(seeds)} seeds and --n asks for {n} samples.",
            "Give as many seeds as samples, or only one of the two flags.",
        )
    return seeds


def at_least(flag: str, value: int | None, least: int = 1) -> None:
    """Raise BadInput, which names the flag, for a count that is too small."""
    if value is not None and value < least:
        raise BadInput(f"{flag} is {value}.", f"Give at least {least}.")


def settings_for(run: Any, options: Any) -> dict[str, Any]:
    """How to sample: what the flags --steps, --solver, --grid and --guidance say, else the run."""
    from scorefield.use.plan import settings_of

    names = ("steps", "solver", "grid", "guidance")
    return settings_of(run, **{name: getattr(options, name) for name in names})


def note_guidance(grid: Any, guidance: float) -> None:
    """Say so where a grid was fitted at another guidance than it is used with."""
    if hasattr(grid, "guidance") and grid.guidance != guidance:
        at = "without classes" if grid.guidance is None else f"at guidance {grid.guidance:g}"
        note(f"the grid was fitted {at}, guidance is {guidance:g}")


def note_absent(labels: Sequence[int] | None, facts: Any) -> None:
    """Say so where a class is asked for of which the model has seen no example."""
    absent = sorted(set(labels or ()) - set(facts.drawn))
    if absent:
        names = ", ".join(str(facts.classes[k]) for k in absent[:5]) + ", ..." * (len(absent) > 5)
        note(f"no training example was of class {names}: the model does not know what that is")


def note_depth(facts: Any, target: Path) -> None:
    """Say so where a picture is written with fewer levels than the data have."""
    white = facts.scaling.offset[0] + facts.scaling.scale[0]
    if target.suffix != ".npz" and len(facts.shape) == 3 and white > 255:
        note(f"a .png has 8 bits, the data levels up to {white:g}, which an .npz keeps")


def idle(flag: str, value: Any, why: str, usual: Any = None) -> None:
    """Raise BadInput for a flag that was given, other than as `usual`, and would do nothing."""
    if value is not None and value != usual:
        shown = f"{value:g}" if isinstance(value, float) else value
        raise BadInput(f"{flag} {shown} does nothing: {why}.", "Leave it out.")


def check_guided(guidance: float | None, told: bool) -> None:
    """Raise BadInput for a --guidance where no condition is told to be guided to."""
    if not told:
        idle("--guidance", guidance, "samples are told no class or other condition", 1.0)


def out_file(out: Path, *suffixes: str) -> Path:
    """Where a file of one of these kinds goes, tried before any work is done.

    Raises BadInput if it is of another kind, or cannot be written.
    """
    if out.suffix not in suffixes:
        raise BadInput(f"--out is {out}.", f"Give a name that ends in {' or '.join(suffixes)}.")
    claim(out)
    return out


def out_folder(out: Path, *names: str) -> Path:
    """Where a folder goes, tried with the names of its files before any work is done.

    Raises BadInput if it is a file, or if they cannot be written.
    """
    claim_folder(out, *names)
    return out


def say(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result for a person, or as one JSON object for a machine."""
    print(json.dumps(result, allow_nan=False) if as_json else text)


def epochs(steps: Any) -> Any:
    """Steps of a judge's training with a bar."""
    from tqdm.auto import tqdm

    return tqdm(steps, desc="judge", unit="epoch", disable=not sys.stderr.isatty())
