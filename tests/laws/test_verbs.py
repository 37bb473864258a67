"""The command line: a flag has one type and one text, and a verb is a short file without torch."""

import ast
import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from importlib import import_module
from inspect import get_annotations
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from scorefield.cli import COMMANDS
from tests.laws.house import ROOT, code_lines

LINES = 60
FRAME = ("bar", "flags", "frame", "ending", "completion")
LEFT: dict[str, set[str]] = {}
"""Verbs that are not in the frame yet."""

TWO = {"to"}
"""A flag of two meanings: the other end of a strip (interpolate), the other program (export)."""

Flags = dict[str, set[tuple[str, str]]]


def module_of(verb: str) -> str:
    return verb.replace("-", "_")


def faults(source: str, verbs: Iterable[str] = map(module_of, COMMANDS)) -> set[str]:
    """What is wrong with the file of a verb."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    others = tuple(f"scorefield.cli.{verb}." for verb in verbs)
    return {
        name
        for name, wrong in {
            "long": code_lines(source) > LINES,
            "torch": any(name.split(".")[0] == "torch" for name in names),
            "verb": any(f"{name}.".startswith(others) for name in names),
        }.items()
        if wrong
    }


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_verb_is_short_and_knows_no_torch_and_no_other(verb):
    source = (ROOT / "scorefield/cli" / f"{module_of(verb)}.py").read_text()
    assert faults(source) == LEFT.get(verb, set())


@pytest.mark.parametrize(
    "source, found",
    [
        ("import torch.nn", "torch"),
        ("def work():\n    from torch import Tensor", "torch"),
        ("from scorefield.cli.sample import Options", "verb"),
        ("from scorefield.cli import sample", "verb"),
        ("x = 1\n" * 61, "long"),
    ],
)
def test_a_planted_trespass_of_a_verb(source, found):
    assert faults(source, ["sample"]) == {found}
    assert not faults("from scorefield.cli.frame import verb\nimport torchlike", ["sample"])


def flags_of(options: type, into: Flags) -> None:
    """The types and texts of the flags of a dataclass, by name."""
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        hint, text = hints[field.name], said(options, field.name)
        marks = getattr(hint, "__metadata__", ())
        if "POSITIONAL" in str(marks).upper():
            continue
        named = [getattr(mark, "name", None) for mark in marks]
        name = next((name for name in named if name), field.name)
        into[name].add((str(getattr(hint, "__origin__", hint)), text or str(hint)))


def said(options: type, name: str) -> str:
    """The text below a field, in the class that declares it."""
    own = next(kind for kind in options.__mro__ if name in get_annotations(kind))
    tree = ast.parse(Path(import_module(own.__module__).__file__ or "").read_text())
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == own.__name__)
    for node, after in zip(body, [*body[1:], ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == name:
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            return str(after.value.value) if is_text else ""  # type: ignore[union-attr]
    return ""


def unlike(flags: Flags) -> set[str]:
    return {name for name, kinds in flags.items() if len(kinds) > 1}


def test_a_flag_has_one_type_and_one_text():
    flags: Flags = defaultdict(set)
    for verb in set(COMMANDS) - set(LEFT):
        module = import_module(f"scorefield.cli.{module_of(verb)}")
        if hasattr(module, "Options"):
            flags_of(module.Options, flags)
    assert len(flags) > 30
    assert unlike(flags) == TWO


@dataclasses.dataclass
class Verb:
    n: int = 1
    """How many."""


@dataclasses.dataclass
class Typed:
    n: str = "1"
    """How many."""


@dataclasses.dataclass
class Worded:
    n: int = 2
    """How much."""


@dataclasses.dataclass
class Heir(Verb):
    m: int = 1


@pytest.mark.parametrize("other, found", [(Typed, {"n"}), (Worded, {"n"}), (Heir, set[Any]())])
def test_a_planted_flag_of_two_meanings(other, found):
    flags: Flags = defaultdict(set)
    for options in (Verb, other):
        flags_of(options, flags)
    assert unlike(flags) == found
