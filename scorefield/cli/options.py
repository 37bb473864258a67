"""What several commands share: reading flags, lists of numbers, and saying results."""

import sys
from pathlib import Path
from typing import Any

from scorefield.cli.flags import Switch  # noqa: F401
from scorefield.cli.frame import note, parse, say  # noqa: F401
from scorefield.run.open import device  # noqa: F401 until every verb has its frame
from scorefield.store import claim_folder
from scorefield.use import asked
from scorefield.use.asked import FEW, check_guided, labels_of, out_file, seeds_of  # noqa: F401

note_absent, note_depth, note_guidance = asked.warn_absent, asked.warn_depth, asked.warn_guidance


def _of_flags(function: Any) -> Any:
    """The function of a field, for who names it by its flag."""

    def named(word: Any) -> Any:
        is_flag = isinstance(word, str) and word.startswith("--")
        return word[2:].replace("-", "_") if is_flag else word

    return lambda *words: function(*map(named, words))


numbers, at_least, idle = map(_of_flags, (asked.numbers, asked.at_least, asked.idle))


def settings_for(run: Any, options: Any) -> dict[str, Any]:
    """How to sample: what the flags --steps, --solver, --grid and --guidance say, else the run."""
    from scorefield.use.plan import settings_of

    names = ("steps", "solver", "grid", "guidance")
    return settings_of(run, **{name: getattr(options, name) for name in names})


def out_folder(out: Path, *names: str) -> Path:
    """Where a folder goes, tried with the names of its files before any work is done.

    Raises BadInput if it is a file, or if they cannot be written.
    """
    claim_folder(out, *names)
    return out


def epochs(steps: Any) -> Any:
    """Steps of a judge's training with a bar."""
    from tqdm.auto import tqdm

    return tqdm(steps, desc="judge", unit="epoch", disable=not sys.stderr.isatty())
