"""The reference of the site, made of the library itself: `written(folder)` writes every page.

Public names from the packages, verbs from their --help, methods from the catalogue, files from
the store, errors from the places that raise them.
"""

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from scorefield import catalogue
from scorefield.catalogue.describe import explained, first_lines, to_text
from scorefield.catalogue.spec import KINDS
from scorefield.cli import COMMANDS
from scorefield.run.recipes import recipes
from scorefield.run.stored import SCHEMA
from scorefield.store import ENTRIES

PACKAGE = Path(catalogue.__file__).parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "threads of one network call; two processes on one machine want 1 each",
    "OMP_WAIT_POLICY": "`passive` unless it is set: threads that spin while they wait fight over "
    "the cores",
    "CUDA_VISIBLE_DEVICES": "which GPUs there are",
    "SCOREFIELD_TOKEN": "the secret of `scorefield serve`, which `--host` needs",
    "SCOREFIELD_BROWSER": "a Chromium for the tests of pages",
}
EXITS = {
    0: "done",
    1: "a bug of ours: please report the lines above it",
    2: "a mistake that you can mend: one sentence of fact, one of remedy",
    130: "stopped by Ctrl-C or SIGTERM; what was done is kept",
}


def written(folder: Path) -> list[Path]:
    """Write all pages of the reference into a folder of their own; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    found = dict(pages())
    for old in folder.glob("*.md"):
        if old.stem not in found:
            old.unlink()
    for name, text in found.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:  # a page that is as it was stays read
            path.write_text(text)
    return [folder / f"{name}.md" for name in found]


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page."""
    packages, kinds = public_packages(), sorted(KINDS)
    yield "commands", commands()
    for kind in kinds:
        yield f"catalogue-{kind}", methods(kind)
    for package in packages:
        yield f"api-{package}", api(package)
    yield "files", files()
    yield "errors", errors()
    listed = [
        ("Commands, files, errors", ["commands", "files", "errors"]),
        ("Methods by name", [f"catalogue-{kind}" for kind in kinds]),
        ("Python", [f"api-{package}" for package in packages]),
    ]
    trees = (
        f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in listed
    )
    yield "index", "# Reference\n\nMade of the library itself.\n\n" + "\n".join(trees)


def public_packages() -> list[str]:
    """Packages that say what is public in them, from the ground up."""
    return [
        path.parent.name
        for path in sorted(PACKAGE.glob("*/__init__.py"))
        if getattr(import_module(f"scorefield.{path.parent.name}"), "__all__", None)
        and path.parent.name != "catalogue"
    ]


def api(package: str) -> str:
    return (
        f"# `scorefield.{package}`\n\n```{{eval-rst}}\n.. automodule:: scorefield.{package}\n"
        "   :imported-members:\n```\n"
    )


def commands() -> str:
    """Every verb, with its --help."""
    rows = "\n".join(
        f"| [`{name}`](#scorefield-{name}) | {text} |" for name, text in COMMANDS.items()
    )
    table = f"# Commands\n\n| command | what it is for |\n| --- | --- |\n{rows}\n"
    verbs = (
        f"(scorefield-{name})=\n\n## scorefield {name}\n\n```text\n{helped(name)}\n```\n"
        for name in COMMANDS
    )
    return "\n".join((table, *verbs))


def helped(name: str) -> str:
    """What `scorefield NAME --help` prints on a terminal of 100 columns."""
    out = io.StringIO()
    with (
        patch.dict(os.environ, {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        module = import_module(f"scorefield.cli.{name.replace('-', '_')}")
        module.main([*(["digits"] if name == "train" else []), "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip()


def methods(kind: str) -> str:
    """All entries of a kind: what `scorefield explain` tells of each."""
    parts = [f"# {kind.capitalize()}\n\nAs `scorefield explain {KINDS[kind]} NAME` tells them.\n"]
    for name in first_lines(kind):
        text = to_text(explained(KINDS[kind], name)).partition("\n")[2]
        parts.append(f"## {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def files() -> str:
    """A run folder, `config.json`, the environment, exit codes."""
    entries = "\n".join(f"| `{name}` | `{by}` | {what} |" for name, by, what in ENTRIES)
    config = json.dumps(dataclasses.asdict(recipes["digits"]()), indent=1)
    shown = (
        f"## config.json\n\nSchema {SCHEMA}; of the recipe `digits`:\n\n```json\n{config}\n```\n"
    )
    environment = "\n".join(f"| `{name}` | {text} |" for name, text in ENVIRONMENT.items())
    exits = "\n".join(f"| {code} | {text} |" for code, text in EXITS.items())
    return (
        f"# Files, environment, exit codes\n\n## A run folder\n\n| file | command | content |\n"
        f"| --- | --- | --- |\n{entries}\n{shown}\n## Environment\n\n| variable | what it does |\n"
        f"| --- | --- |\n{environment}\n\n## Exit codes\n\n| code | meaning |\n"
        f"| --- | --- |\n{exits}\n"
    )


def errors() -> str:
    """Every refusal, with its remedy, by the package that raises it; values are shown as {...}."""
    parts = ["# Errors and their remedies\n\nWhat is in braces is the value at hand.\n"]
    for package, found in sorted(refusals().items()):
        rows = "\n".join(f"| {fact} | {remedy} |" for fact, remedy in sorted(found))
        parts.append(f"## {package}\n\n| what is said | what to do |\n| --- | --- |\n{rows}\n")
    return "\n".join(parts)


def refusals() -> dict[str, set[tuple[str, str]]]:
    """Fact and remedy of each BadInput that is written out in the source, by package."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="BadInput"), args=[first, second, *_]):
                    fact, remedy = _cell(first), _cell(second)
                    if fact.strip("{}. "):
                        package = path.relative_to(PACKAGE).parts[0]
                        found.setdefault(package, set()).add((fact, remedy))
    return found


def _cell(node: ast.expr) -> str:
    """A text of the source in a cell of a table."""
    text = ast.unparse(node)
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{...}" for part in node.values
        )
    return re.sub(r"([|<>*_])", r"\\\1", " ".join(text.split()))
