"""What the laws of the house count: code lines, callers, and names said twice."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURFACE = {"catalogue", "run", "use", "report", "cli", "serve"}


def sources(package: str = "scorefield") -> dict[str, str]:
    """Every module's text by its path below the package's parent."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def code_lines(source: str) -> int:
    """Lines with code on them: comments, blank lines and docstrings apart, those of fields too."""
    stripped = (line.strip() for line in source.splitlines())
    lines = {k for k, line in enumerate(stripped, 1) if line and not line.startswith("#")}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def by_package(sources: dict[str, str]) -> dict[str, int]:
    """Code lines of each folder below the package; modules at its top count as themselves."""
    counts: dict[str, int] = defaultdict(int)
    for path, source in sources.items():
        counts[Path(path).parts[1]] += code_lines(source)
    return dict(counts)


def surface(counts: dict[str, int]) -> float:
    """Code lines of the surface for each of the rest."""
    above = sum(lines for package, lines in counts.items() if package in SURFACE)
    return above / (sum(counts.values()) - above)


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name that code defines, takes or reads: of things, attributes, parameters, imports."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module", "names", "rest"):
            value = getattr(node, field, None)
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str):
                    yield from name.split(".")


def words(name: str) -> list[str]:
    """The words of a name, small: of `DataInfo` data and info, of `at_fraction` at and fraction."""
    return [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def unfit(sources: dict[str, str], banned: set[str]) -> dict[str, set[str]]:
    """Names with a word that is not used for what it would mean, by their modules; of a module
    too."""
    found = {}
    for path, source in sources.items():
        names = {*identifiers(ast.parse(source)), Path(path).stem}
        if some := {name for name in names if banned & set(words(name))}:
            found[path] = some
    return found


def callers(name: str, sources: dict[str, str]) -> set[str]:
    """Modules that call `name(`, bare or as an attribute."""
    near = {path: source for path, source in sources.items() if name in source}
    return {path for path, source in near.items() if name in set(_called(ast.parse(source)))}


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Public functions, classes and aliases that several modules define; constants are a module's
    own."""
    found = defaultdict(list)
    for path, source in sources.items():
        for name in _defined(ast.parse(source)):
            if not name.startswith("_") and not name.isupper():
                found[name].append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
