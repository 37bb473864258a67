"""Source files, read and not run: what is known of a package before it, and torch, are imported."""

import ast
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field
from functools import cache, partial
from pkgutil import resolve_name
from types import FunctionType
from typing import Any, Literal, get_origin


@cache
def source(module: str) -> str:
    """The text of a module, or of a package's `__init__`, of ours."""
    package, _, rest = module.partition(".")
    path = rest.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        try:
            return (pkgutil.get_data(package, file) or b"").decode()
        except OSError:
            continue
    raise ModuleNotFoundError(f"no source of {module}", name=module)


@cache
def parsed_part(text: str) -> list[ast.stmt]:
    """Statements of a part of a source. Two empty lines divide parts, of which a list of methods
    needs few: the time to parse all is that of half an import of tyro."""
    return ast.parse(text).body


def parts(module: str) -> list[str]:
    """The head of a module, and each class and function with what follows it."""
    return source(module).split("\n\n\n")


@cache
def imported(module: str) -> dict[str, str]:
    """Where the names come from that a module imports at its top, or for its types: `module:name`.

    >>> imported("scorefield.solve.ddim")["dataclass"]
    'dataclasses:dataclass'
    """
    found = {}
    for node in _top(module):
        if isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}:{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.asname or a.name: a.name for a in node.names}
    return found


def _top(module: str) -> list[ast.stmt]:
    body = parsed_part(parts(module)[0])
    return body + [node for below in body if isinstance(below, ast.If) for node in below.body]


def lazy(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that imports for its types alone (`if TYPE_CHECKING:`): what
    is imported there is so when it is first used."""

    def get(name: str) -> Any:
        if name not in (homes := imported(package)):
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = vars(sys.modules[package])[name] = resolve_name(homes[name])
        return value

    return get


Defined = ast.ClassDef | ast.FunctionDef


def definition(module: str, name: str) -> tuple[str, Defined]:
    """The class or function that a module has under a name, and the module that defines it."""
    if home := imported(module).get(name):
        return definition(*home.split(":"))
    body = parsed_part(_defining(module)[name])
    return module, next(node for node in body if isinstance(node, Defined) and node.name == name)


@cache
def _defining(module: str) -> dict[str, str]:
    """The part of a module that defines a class or function, by name."""
    found = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)
    return {name: part for part in parts(module) for name in found.findall(part)}


def lineage(module: str, name: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """A class of ours and those that it is made of, the nearest first, each with its module."""
    module, node = definition(module, name)
    if isinstance(node, ast.ClassDef):
        yield module, node
        for base in node.bases:
            known = Names(module).value(base.value if isinstance(base, ast.Subscript) else base)
            if isinstance(known, Named) and known.place.startswith("scorefield."):
                yield from lineage(*known.place.split(":"))


class Named(type):
    """Stands for what has a name and is no plain value: `place` says where it is. As a class it may
    stand in a type, and be called."""

    place: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return named(f"{cls.place}.{name}")

    def __call__(cls, *args: Any, **options: Any) -> "Made":
        return Made(cls.place, args, options)


@dataclass
class Made:
    """What a call of something named makes. Of an object of a class of ours its constants are
    known, and those of its methods that are one expression."""

    place: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.args)

    def __getattr__(self, name: str) -> Any:
        if name in self.options:
            return self.options[name]
        for module, owner in lineage(*self.place.split(":")):
            if name in (known := members(owner)):
                value = settled(Names(module).value(known[name]))
                if isinstance(value, property) and value.fget:
                    return value.fget(self)
                return partial(value, self) if isinstance(value, FunctionType) else value
        raise AttributeError(name)


def members(owner: ast.ClassDef) -> dict[str, ast.expr]:
    """What the constants and the one-expression methods of a class are."""
    found: dict[str, ast.expr] = {}
    for node in owner.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
            case ast.Assign(targets=targets, value=value):
                found |= {ast.unparse(target): value for target in targets}
            case ast.FunctionDef(name=name, body=[*_, ast.Return(value=ast.expr() as value)]):
                found[name] = ast.Lambda(node.args, value)
                if node.decorator_list:
                    found[name] = ast.Call(ast.Name("property", ast.Load()), [found[name]], [])
    return found


def settled(value: Any) -> Any:
    """The default of a field."""
    if not isinstance(value, Field):
        return value
    return value.default if value.default_factory is MISSING else value.default_factory()


@cache
def named(place: str) -> Named:
    """What stands for `module:name`, the same for the same."""
    return Named(re.split("[:.]", place)[-1], (), {"place": place})


class Names(dict[str, Any]):
    """What the names of a module mean, as far as plain values, types and the standard library."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        if home := imported(self.module).get(name):
            where, _, attribute = home.partition(":")
            if where.split(".")[0] in sys.stdlib_module_names:
                return resolve_name(home)
            ours = attribute and where.startswith("scorefield.")
            return Names(where)[attribute] if ours else named(home)
        for node in parsed_part(source(self.module)):
            if isinstance(node, Defined) and node.name == name:
                return named(f"{self.module}:{name}")
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return self._assigned(node.value, named(f"{self.module}:{name}"))
        raise KeyError(name)

    def _assigned(self, node: ast.expr, name: Named) -> Any:
        try:
            value = self.value(node)
        except (AttributeError, NameError, TypeError):  # of what is named, and not run
            return name
        plain = isinstance(value, int | float | str | tuple | Made)
        return value if plain or get_origin(value) is Literal else name

    def value(self, node: ast.expr) -> Any:
        """What an expression means; only that of plain values and types is known."""
        whole = ast.fix_missing_locations(ast.Expression(node))
        return eval(compile(whole, self.module, "eval"), self)
