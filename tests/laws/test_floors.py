"""Imports only go down the floors; only the named places touch disk, print, or choose a device."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (
    ("base",),
    ("store", "process", "nets", "data"),
    ("denoise",),
    ("solve", "guide", "inverse", "smc", "likelihood", "objective"),
    ("draw", "train", "distill", "latent", "density", "measure", "tune"),
    ("catalogue", "run"),
    ("use",),
    ("report", "interop"),
    ("cli", "serve", "__main__"),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
SIBLINGS = {
    ("likelihood", "solve"),
    ("guide", "solve"),
    ("inverse", "guide"),
    ("inverse", "solve"),
    ("smc", "guide"),
    ("distill", "train"),
    ("latent", "train"),
    ("density", "train"),
    ("run", "catalogue"),
    ("__main__", "cli"),
}
"""The only imports along a floor; the reverse of each is refused, so there is no circle."""
NEVER = {(above, "process") for above in ("solve", "guide", "inverse", "likelihood")}
TALK = {"cli", "report", "serve", "__main__"}
DISK = {"store", "data", "cli", "report", "serve"}
DISK_CALLS = {"open", "imread", "imsave", "savez", "savez_compressed", "save_file", "load_file"}
DISK_PREFIXES = ("read_", "write_")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


def imports(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names of everything imported, also inside functions; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[str]:
    """The last name of everything called, and the dotted name where there is one dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            f = node.func
            if isinstance(f, ast.Name):
                yield f.id
            elif isinstance(f, ast.Attribute):
                yield f.attr
                if isinstance(f.value, ast.Name):
                    yield f"{f.value.id}.{f.attr}"


def violations(path: str, source: str) -> list[str]:
    """What a module at `path` (relative to the package's parent) does that it may not do."""
    *package, name = Path(path).with_suffix("").parts
    top = package[1] if len(package) > 1 else name
    found, tree = [], ast.parse(source)
    if name in VAGUE:
        found.append(f"a module named {name}")
    limit = 600 if top == "nets" else 500
    if source.count("\n") > limit:
        found.append(f"{source.count(chr(10))} lines, more than {limit}")
    imported = set(imports(tree, package))
    if any(module.split(".")[0] in {"pickle", "dill", "cloudpickle"} for module in imported):
        found.append("imports pickle")
    called = set(calls(tree))
    found += [f"calls {c}" for c in ("torch.load", "torch.save") if c in called]
    if top == "__init__":
        return found
    if top not in FLOOR:
        return [*found, f"{top} stands on no floor"]
    for module in sorted(imported):
        parts = module.split(".")
        if parts[0] != "scorefield" or len(parts) < 2 or parts[1] in (top, "__version__"):
            continue
        other = parts[1]
        if other not in FLOOR:
            found.append(f"imports {module}, which stands on no floor")
        elif (top, other) in NEVER:
            found.append(f"{top} imports {other}")
        elif FLOOR[other] >= FLOOR[top] and (top, other) not in SIBLINGS:
            found.append(f"{top} (floor {FLOOR[top]}) imports {other} (floor {FLOOR[other]})")
    if top not in DISK:
        named = {
            module.rpartition(".")[2] for module in imported if module.startswith("scorefield")
        }
        touched = {c for c in called - named if c in DISK_CALLS or c.startswith(DISK_PREFIXES)}
        found += [f"touches disk: {c}" for c in sorted(touched)]
    if top not in TALK and "print" in called:
        found.append("prints")
    if FLOOR[top] <= 3:
        found += [f"chooses a device: .{c}()" for c in ("cuda", "mps") if c in called]
        if any(module.split(".")[0] == "logging" for module in imported):
            found.append("logs")
        found += [f"reads {m}" for m in ("argparse", "socket") if m in imported]
    return found


MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "scorefield").rglob("*.py"))


@pytest.mark.parametrize("path", [str(path) for path in MODULES])
def test_a_module_stays_on_its_floor(path):
    assert not violations(path, (ROOT / path).read_text())


def test_there_are_modules():
    assert len(MODULES) > 20


@pytest.mark.parametrize(
    "path, source, complaint",
    [
        ("scorefield/solve/x.py", "from scorefield.process import VP", "solve imports process"),
        ("scorefield/guide/x.py", "import scorefield.process.grids", "guide imports process"),
        ("scorefield/base/x.py", "from scorefield import solve", "imports solve"),
        ("scorefield/nets/x.py", "from scorefield.data import Scaling", "imports data"),
        (
            "scorefield/nets/x.py",
            "def f():\n    from scorefield.denoise import x",
            "imports denoise",
        ),
        ("scorefield/solve/x.py", "from ..process import VP", "solve imports process"),
        ("scorefield/solve/x.py", "from .. import guide", "imports guide"),
        ("scorefield/train/x.py", "from scorefield.measure import Judge", "imports measure"),
        ("scorefield/run/recipes.py", "from scorefield.cli import main", "imports cli"),
        ("scorefield/catalogue/x.py", "from scorefield.run.config import x", "imports run"),
        ("scorefield/run/open.py", "from scorefield.use import x", "imports use"),
        ("scorefield/report/x.py", "from scorefield.cli import main", "imports cli"),
        ("scorefield/solve/x.py", "from scorefield.extra import y", "no floor"),
        ("scorefield/extra/x.py", "x = 1", "no floor"),
        ("scorefield/solve/x.py", "print(1)", "prints"),
        ("scorefield/train/x.py", "print(1)", "prints"),
        ("scorefield/solve/x.py", "open('a')", "touches disk"),
        ("scorefield/measure/x.py", "path.read_text()", "touches disk"),
        ("scorefield/train/loop.py", "save_file(x, 'a')", "touches disk"),
        ("scorefield/data/x.py", "torch.load('a')", "torch.load"),
        ("scorefield/store/files.py", "torch.save(x, 'a')", "torch.save"),
        ("scorefield/data/x.py", "import pickle", "pickle"),
        ("scorefield/data/x.py", "from pickle import loads", "pickle"),
        ("scorefield/nets/x.py", "net.cuda()", "device"),
        ("scorefield/solve/x.py", "import logging", "logs"),
        ("scorefield/solve/x.py", "x = 1\n" * 501, "lines"),
        ("scorefield/nets/x.py", "x = 1\n" * 601, "lines"),
        ("scorefield/solve/utils.py", "x = 1", "named utils"),
    ],
)
def test_a_planted_trespass(path, source, complaint):
    assert any(complaint in found for found in violations(path, source))


@pytest.mark.parametrize(
    "path, source",
    [
        ("scorefield/objective/x.py", "from scorefield.process import VP"),
        ("scorefield/distill/x.py", "from scorefield.train import step"),
        ("scorefield/store/x.py", "save_file(x, 'a')"),
        ("scorefield/run/open.py", "from scorefield.store import read_json\nread_json(1)"),
        ("scorefield/data/x.py", "open('a')"),
        ("scorefield/cli/x.py", "print(1)"),
        ("scorefield/nets/x.py", "x = 1\n" * 599),
        ("scorefield/__init__.py", "from scorefield.cli import main"),
        ("scorefield/solve/x.py", "from scorefield.solve.loop import State"),
    ],
)
def test_what_is_allowed(path, source):
    assert not violations(path, source)
