"""What every verb is put into: its flags are read, its work is watched, its findings are said.

A verb is a dataclass of options and a function from them, and a bar, to findings. It is imported
when it is asked for, and imports what it works with when it works.
"""

import contextlib
import inspect
import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from scorefield.base.errors import BadInput
from scorefield.base.memory import keep_freed_memory
from scorefield.cli.bar import Bar, above
from scorefield.cli.ending import flagged

if TYPE_CHECKING:
    from scorefield.base.finding import Findings

T = TypeVar("T")
Found: TypeAlias = "Findings | int"
"""What a verb gives: one that has said what there is to say, the exit code."""
RANKS = {"LOCAL_RANK", "MV2_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "WORLD_SIZE"}


def run(name: str, argv: list[str]) -> int:
    """A verb by its name, to its exit code: its module has `Options` and `work`; and a `main` if
    its settings are chosen before its flags are read."""
    module = import_module(f"scorefield.cli.{name.replace('-', '_')}")
    if main := getattr(module, "main", None):
        return main(argv)
    return verb(name, argv, module.Options, module.work)


def verb(
    name: str, argv: list[str], kind: type[T], work: Callable[[T, Bar], Found],
    default: T | None = None,
) -> int:  # fmt: skip
    """Flags -> findings -> text or JSON -> exit code. A verb that has said what there is to say
    returns the code itself."""
    options = parse(kind, name, argv, default)
    as_json = getattr(options, "json", False)
    keep_freed_memory()
    with closing(Bar(sys.stderr.isatty() or not as_json)) as bar:
        found = work(options, bar)
    if isinstance(found, int):
        return found
    show(found, as_json)
    if found.next and not as_json:
        note(flagged(found.next))
    return 0


def parse(kind: type[T], name: str, argv: list[str], default: T | None = None) -> T:
    """Flags as a dataclass; its docstring is the help text. Wrong flags raise BadInput."""
    import tyro

    keywords: dict[str, Any] = {} if default is None else {"default": default}
    prog, complaint = f"scorefield {name}", io.StringIO()
    about = inspect.cleandoc(kind.__doc__ or "")
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, prog=prog, args=argv, description=about, **keywords)
    except SystemExit as end:
        if not end.code:
            raise
        raise _one_sentence(complaint.getvalue(), prog) from None


def _one_sentence(boxed: str, prog: str) -> BadInput:
    """The error in the box that the parser draws: a title, what is wrong, rule, hints."""
    rows = [line.strip("│ ") for line in boxed.splitlines()[1:]]
    below = itertools.dropwhile(lambda row: not row.strip("─-"), rows)  # a rule, in ASCII
    fact = " ".join(itertools.takewhile(lambda row: row.strip("─-"), below))
    fact = re.sub(r"no type matching {None}\|(.+?) could be instantiated from", r"no \1 in", fact)
    fact = re.sub(r"(--\S+) \S+ (.+?)\.? \(required\)", r"\1 (\2)", fact).replace(" (required)", "")
    closest = re.search(r"Perhaps you meant.*?(--[\w.-]+)", " ".join(rows))
    hint = f"Did you mean {closest[1]}? " if closest else ""
    return BadInput(f"{fact.rstrip('.')}.", f"{hint}See {prog} --help.")


def launched() -> bool:
    """Whether `torchrun`, `accelerate launch` or MPI started this process, as Accelerate reads it
    off the environment."""
    return any(word in RANKS or word.startswith("ACCELERATE_") for word in os.environ)


def show(found: "Findings", as_json: bool) -> int:
    """Print findings."""
    from scorefield.report.text import render

    return say(found.to_json(), "" if as_json else render(found), as_json)


def say(record: Mapping[str, Any], text: str, as_json: bool) -> int:
    """Print a text for a person, or one JSON object for a machine; done."""
    print(json.dumps(record, allow_nan=False) if as_json else text)
    return 0


def filed(found: "Findings") -> "Findings":
    """Findings, once they are written to the place that they say."""
    from scorefield.report.files import keep_findings

    return keep_findings(found, Path(found.record["out"]))


def note(text: str) -> None:
    """A line for a person, out of the way of what a machine reads."""
    with contextlib.suppress(OSError):  # one that nobody can read is no reason to stop
        above(text)
