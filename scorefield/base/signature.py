"""What a place of ours takes and says of itself: read off its source, before it is imported."""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from inspect import Parameter
from typing import Any, NamedTuple

from scorefield.base.entries import Site
from scorefield.base.source import (
    Made,
    Named,
    Names,
    definition,
    imported,
    lineage,
    parsed_part,
    parts,
    settled,
)


class Said(NamedTuple):
    """What an entry's module says, its call, and the line that imports it."""

    about: str
    call: str
    python: str


def docstring_at(place: Site) -> str:
    """What is written below its head."""
    return ast.get_docstring(definition(*place.parts)[1]) or ""


def said_at(place: Site) -> Said:
    """What else it says of itself."""
    module, node = definition(*place.parts)
    takes = map(_as_text, _taken(module, node.name, text=True).values())
    returns = Verbatim(ast.unparse(getattr(node, "returns", None) or ast.Constant(None)))
    return Said(
        ast.get_docstring(ast.Module(parsed_part(parts(module)[0]), [])) or "",
        f"{node.name}{inspect.Signature([*takes], return_annotation=returns)}",
        f"from {_home(module, node.name)} import {node.name}",
    )


def by_default(place: Site) -> Any:
    """What a place holds, or of a class what it makes under its defaults, as far as its source
    tells."""
    module, name = place.parts
    thing = Names(module)[name]
    own = {key: by_default(v) if isinstance(v, Site) else v for key, v in place.defaults}
    return Made(thing.place, (), own) if isinstance(thing, Named) and not place.ready else thing


@cache
def taken_by(place: Site) -> Mapping[str, Parameter]:
    """What a place takes, by name."""
    if place.ready:
        return {}
    own = by_default(place).options
    return {
        key: p.replace(default=own.get(key, settled(p.default)))
        for key, p in _taken(*place.parts).items()
    }


class Verbatim(str):
    """What a signature shows as it is written."""

    __repr__ = str.__str__


def _taken(module: str, name: str, text: bool = False) -> dict[str, Parameter]:
    """What a function, or a class by its `__init__` or its fields, takes: types and defaults as
    they are written, or what they mean."""
    home, node = definition(module, name)
    if isinstance(node, ast.FunctionDef):
        return _parameters(home, node.args, text)
    found: dict[str, Parameter] = {}
    for where, owner in reversed([*lineage(module, name)]):
        init = [n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        own = _parameters(where, init[0].args if init else _fields(owner), text)
        found = {key: own[key] for key in list(own)[1:]} if init else found | own
    return dict(sorted(found.items(), key=lambda item: item[1].kind))  # by keyword alone: last


def _fields(owner: ast.ClassDef) -> ast.arguments:
    """The fields of a dataclass as arguments; another class has none."""
    decorators = " ".join(map(ast.unparse, owner.decorator_list))
    taken, apart = ast.arguments([], [], None, [], [], None, []), "kw_only=True" in decorators
    for node in owner.body if "dataclass" in decorators else ():
        if not isinstance(node, ast.AnnAssign):
            continue
        name, hint, said = ast.unparse(node.target), ast.unparse(node.annotation), _field(node)
        apart |= hint.endswith("KW_ONLY")
        if name.startswith("_") or hint.startswith("ClassVar") or said.get("init") == "False":
            continue
        value = node.value if said.keys() & {"", "default", "default_factory"} else None
        if said.get("kw_only", str(apart)) == "True":
            taken.kwonlyargs.append(ast.arg(name, node.annotation))
            taken.kw_defaults.append(value)
        else:
            taken.args.append(ast.arg(name, node.annotation))
            taken.defaults += [value] if value else []
    return taken


def _field(node: ast.AnnAssign) -> dict[str, str]:
    """What the `field(...)` of a dataclass says, by keyword; of a plain default, nothing but it."""
    if not node.value:
        return {}
    match node.value:
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            return {word.arg or "": ast.unparse(word.value) for word in keywords}
    return {"": ast.unparse(node.value)}


def _parameters(module: str, args: ast.arguments, text: bool) -> dict[str, Parameter]:
    """Arguments, read off a function that takes them and does nothing."""
    stub = ast.parse(f"def taken({ast.unparse(args)}): ...")
    if text:
        for node in ast.walk(stub):
            if isinstance(node, ast.arg) and node.annotation:
                node.annotation = _constant(node.annotation)
            elif isinstance(node, ast.arguments):
                node.defaults = [_constant(default) for default in node.defaults]
                node.kw_defaults = [default and _constant(default) for default in node.kw_defaults]
        ast.fix_missing_locations(stub)
    names = Names(module)
    exec(compile(stub, module, "exec"), names)
    return dict(inspect.signature(names["taken"]).parameters)


def _constant(node: ast.expr) -> ast.expr:
    return ast.Constant(ast.unparse(node))


def _as_text(p: Parameter) -> Parameter:
    words = (value if value is p.empty else Verbatim(value) for value in (p.annotation, p.default))
    return p.replace(**dict(zip(("annotation", "default"), words)))


def _home(module: str, name: str) -> str:
    """The highest package from which a name can be imported."""
    parts = module.split(".")
    above = (".".join(parts[: k + 1]) for k in range(len(parts) - 1))
    return next(
        (p for p in above if name in imported(p) and definition(p, name)[0] == module), module
    )
