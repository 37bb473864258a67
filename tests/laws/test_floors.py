"""Imports only go down the floors; only the named places touch disk, print, or choose a device."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (
    "base / store spaces process nets data / denoise / solve guide inverse smc likelihood objective"
    " / draw train distill latent density bridge measure tune / catalogue run / use"
    " / report interop / serve / cli __main__"
)
FLOOR = {n: floor for floor, names in enumerate(FLOORS.split("/")) for n in names.split()}
SIBLINGS = {
    *(("likelihood", "solve"), ("guide", "solve"), ("inverse", "guide"), ("inverse", "solve")),
    *(("smc", "guide"), ("distill", "train"), ("latent", "train"), ("density", "train")),
    *(("data", "spaces"), ("data", "store"), ("process", "spaces"), ("bridge", "train")),
    *(("run", "catalogue"), ("__main__", "cli")),
}
"""The only imports along a floor; the reverse of each is refused, so there is no circle."""
NEVER = {(above, "process") for above in ("solve", "guide", "inverse", "likelihood")}
TALK = {"cli", "serve", "__main__", "__init__"}
TALKING = {"argparse", "http", "input", "print", "socket", "sys.argv", "sys.stderr", "sys.stdin"}
TALKING |= {"sys.stdout", "os.environ", "os.getenv", "tqdm", ".isatty"}
HARMLESS = {"os.cpu_count", "os.environ", "os.getenv", "os.getpid", "os.sep"}
STREAMS = {"scorefield/cli/__init__.py", "scorefield/cli/ending.py"}
"""Where the standard streams are opened and closed, which are files too."""
DISK = {"glob", "io.open", "open", "os", "safetensors", "shutil", "tempfile", "zipfile"}
DISK |= {f"numpy.{verb}{what}" for verb in ("load", "save") for what in ("", "txt")}
DISK |= {"numpy.fromfile", "numpy.genfromtxt", "numpy.memmap", "numpy.savez"}
DISK |= {"numpy.savez_compressed", "torch.from_file", "importlib.resources"}
METHODS = {
    *("chmod", "exists", "glob", "imread", "imsave", "is_dir", "is_file", "isdir", "isfile"),
    *("iterdir", "load_file", "lstat", "makedirs", "mkdir", "open", "rename", "rglob", "rmdir"),
    *("safe_open", "save", "save_file", "stat", "symlink_to", "tofile", "touch", "unlink"),
}
METHOD_PREFIXES = ("read_", "write_")
FLAG = re.compile(r"(^|[\s(])--([a-z]|$)")
BAR = "the bar goes to cli/frame, which hands down a `watch`"
LEFT = {"scorefield/solve/loop.py": BAR}
"""Modules that still touch the disk, talk or name a flag, and what mends them. It may shrink."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


Nodes = list[ast.AST]
"""Of a module's tree, all."""


def imports(nodes: Nodes, package: list[str]) -> Iterator[str]:
    """Dotted names of everything imported, also inside functions; relative ones made absolute."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def calls(nodes: Nodes) -> Iterator[str]:
    """The last name of everything called, and the dotted name where there is one dot."""
    for node in nodes:
        if isinstance(node, ast.Call):
            f = node.func
            if isinstance(f, ast.Name):
                yield f.id
            elif isinstance(f, ast.Attribute):
                yield f.attr
                if isinstance(f.value, ast.Name):
                    yield f"{f.value.id}.{f.attr}"


def bound(nodes: Nodes, package: list[str]) -> dict[str, str]:
    """What each imported name stands for, dotted."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {alias.asname or alias.name: f"{stem}.{alias.name}" for alias in node.names}
    return found


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """A name or attribute by what its root was imported as; one of a value begins with a dot."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, names)
        known = owner.split(".")[0] in {name.split(".")[0] for name in names.values()}
        return f"{owner}.{node.attr}" if known else f".{node.attr}"
    return ""


def touched(nodes: Nodes, package: list[str]) -> Iterator[str]:
    """What the disk and the outer world are reached by: functions, methods, also by getattr."""
    names = bound(nodes, package)
    yield from (full for full in names.values() if not full.startswith("scorefield"))
    for node in nodes:
        if isinstance(node, (ast.Name, ast.Attribute)):
            full = dotted(node, names)
            if not full.startswith(("scorefield.store", "scorefield.data.readers")):
                yield full
                yield f".{full.rpartition('.')[2]}" if isinstance(node, ast.Attribute) else ""
        elif isinstance(node, ast.Call):
            f, words = node.func, [a.value for a in node.args if isinstance(a, ast.Constant)]
            if isinstance(f, ast.Name) and f.id == "getattr":
                yield from (f".{word}" for word in words)
            whole = "dataclasses.replace", "copy.replace"
            if isinstance(f, ast.Attribute) and f.attr == "replace" and len(node.args) == 1:
                yield "" if dotted(f, names) in whole or node.keywords else ".rename"


def on_disk(full: str) -> bool:
    """Whether a name of `touched` is of the disk."""
    parts = full.split(".")
    heads = {".".join(parts[: k + 1]) for k in range(len(parts))}
    if not parts[0]:
        return parts[-1] in METHODS or parts[-1].startswith(METHOD_PREFIXES)
    return bool(heads & DISK) and not (heads & HARMLESS or full == "os")


def flags(nodes: Nodes) -> Iterator[str]:
    """Strings that name a flag, docstrings apart."""
    bodies = (getattr(node, "body", None) for node in nodes)
    docs = {id(line.value) for body in bodies if isinstance(body, list) for line in body
            if isinstance(line, ast.Expr)}  # fmt: skip
    for node in nodes:
        text = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
        if text and id(node) not in docs and FLAG.search(text):
            yield text[:40]


def violations(path: str, source: str) -> list[str]:
    """What a module at `path` (relative to the package's parent) does that it may not do."""
    *package, name = Path(path).with_suffix("").parts
    top = package[1] if len(package) > 1 else name
    found, nodes = [], list(ast.walk(ast.parse(source)))
    if name in VAGUE:
        found.append(f"a module named {name}")
    limit = 600 if top == "nets" else 500
    if source.count("\n") > limit:
        found.append(f"{source.count(chr(10))} lines, more than {limit}")
    imported = set(imports(nodes, package))
    if any(module.split(".")[0] in {"pickle", "dill", "cloudpickle"} for module in imported):
        found.append("imports pickle")
    called = set(calls(nodes))
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
    reached = set(touched(nodes, package))
    if top != "store" and package[1:3] != ["data", "readers"] and path not in STREAMS:
        found += [f"touches disk: {full}" for full in sorted(filter(on_disk, reached))]
    if top not in TALK:
        heads = {".".join(full.split(".")[:k]) for full in reached for k in (1, 2)}
        found += [f"talks: {name}" for name in sorted((heads | reached) & TALKING)]
        found += [f"names a flag: {text!r}" for text in flags(nodes)]
    if FLOOR[top] <= 3:
        found += [f"chooses a device: .{c}()" for c in ("cuda", "mps") if c in called]
        if any(module.split(".")[0] == "logging" for module in imported):
            found.append("logs")
    return found


MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "scorefield").rglob("*.py"))


@pytest.mark.parametrize("path", [str(path) for path in MODULES])
def test_a_module_stays_on_its_floor(path):
    found = violations(path, (ROOT / path).read_text())
    if path not in LEFT:
        assert not found
    else:
        assert found, f"{path} is mended: it leaves LEFT"
        assert all(why.startswith(("touches disk", "talks", "names a flag")) for why in found)


def test_what_is_left_is_there():
    assert set(LEFT) < {str(path) for path in MODULES}
    assert len(MODULES) > 20


ROWS = Path(__file__).with_name("trespasses.txt").read_text().splitlines()[1:]
TRESPASSES = [row.replace("\\n", "\n").split(" | ") for row in ROWS]
LONG = [("solve/x.py", 501, "lines"), ("nets/x.py", 601, "lines"), ("nets/x.py", 599, "nothing")]
TRESPASSES += [[path, "x = 1\n" * count, complaint] for path, count, complaint in LONG]


@pytest.mark.parametrize("path, source, complaint", TRESPASSES)
def test_a_planted_trespass(path, source, complaint):
    found = violations(f"scorefield/{path}", source)
    assert any(complaint in why for why in found) if complaint != "nothing" else not found


def test_there_are_trespasses_and_what_is_none():
    complaints = [complaint for *_, complaint in TRESPASSES]
    assert len(complaints) > 60
    assert complaints.count("nothing") > 10
