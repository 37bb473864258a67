"""The reference of the site, made of the library itself: `written(folder, dict(pages()))`.

Public names from the packages, verbs from their --help, methods from the catalogue, files from
the store, errors from the places that raise them.
"""

import ast
import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from docs import formats
from scorefield import catalogue
from scorefield.catalogue.describe import explained, first_lines, to_text
from scorefield.catalogue.spec import KINDS
from scorefield.cli import COMMANDS, frame

PACKAGE = Path(catalogue.__file__).parents[1]
CELLS = Path(__file__).with_name("cells")
"""Of some kinds, a script that draws or prints a figure of all its entries."""
HEADER = """---
file_format: mystnb
kernelspec: {name: python3, language: python}
---
"""
MORE = {
    "solvers": "[All of them, measured](../solvers.md): order, and error at each count of calls."
}
"""Where the figures of other kinds are."""


def written(folder: Path, found: Mapping[str, str]) -> None:
    """Write pages into a folder of their own, by the names of their files."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in found:
            old.unlink()
    for name, text in found.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # a page that is as it was stays read
            path.write_text(text)


def pages() -> Iterator[tuple[str, str]]:
    """File and Markdown of each page."""
    packages, kinds = public_packages(), sorted(KINDS)
    yield "commands.md", commands()
    for kind in kinds:
        yield f"catalogue-{kind}.md", methods(kind)
    for package in packages:
        yield f"api-{package}.md", api(package)
    yield "files.md", formats.page()
    yield from formats.schemas().items()
    yield "errors.md", errors()
    listed = [
        ("Commands, files, errors", ["commands", "files", "errors"]),
        ("Methods by name", [f"catalogue-{kind}" for kind in kinds]),
        ("Python", [f"api-{package}" for package in packages]),
    ]
    trees = (
        f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in listed
    )
    yield "index.md", "# Reference\n\nMade of the library itself.\n\n" + "\n".join(trees)


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
        frame.run(name, [*(["digits"] if name == "train" else []), "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip()


def methods(kind: str) -> str:
    """All entries of a kind: what `scorefield explain` tells of each, below a figure of them."""
    text = f"# {kind.capitalize()}\n\nAs `scorefield explain {KINDS[kind]} NAME` tells them."
    parts = [f"{text} {MORE.get(kind, '')}".rstrip() + "\n"]
    if (cell := CELLS / f"{kind}.py").exists():
        tree = ast.parse(code := cell.read_text())
        lines = code.splitlines()[tree.body[0].end_lineno :]
        told, ran = ast.get_docstring(tree), "\n".join(lines).strip()
        parts = [HEADER, *parts, f"## Side by side\n\n{told}\n\n```{{code-cell}}\n{ran}\n```\n"]
    for name in first_lines(kind):
        text = to_text(explained(KINDS[kind], name)).partition("\n")[2]
        parts.append(f"## {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


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
