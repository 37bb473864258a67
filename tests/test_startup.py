"""What a command pays before its first line of work."""

import inspect
import subprocess
import sys

import pytest

from scorefield import catalogue
from scorefield.base.signature import by_default
from scorefield.base.source import Made
from scorefield.catalogue.signatures import KINDS, parameters, place_of, text_of
from scorefield.cli import COMMANDS

SLOW = ("torch.distributed.tensor", "matplotlib", "sklearn", "datasets", "accelerate", "PIL")
HELP = [[name, "--help"] for name in COMMANDS]
TOLD = [["catalogue"], ["explain", "solver", "restart"], ["explain", "network", "auto:width=8"]]
LAST = "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules))"
RUN = "import sys; from scorefield.cli import main; main({})"
ENTRIES = [(kind, name) for kind in KINDS for name in getattr(catalogue, kind)]


def loaded(program: str, among: tuple[str, ...] = SLOW) -> set[str]:
    """Which of some modules a fresh interpreter holds after `program`."""
    told = subprocess.run(
        [sys.executable, "-c", f"{LAST}; {program}"], capture_output=True, text=True, check=True
    )
    return {name for name in told.stdout.splitlines()[-1].split() if name in among}


@pytest.mark.parametrize("module", ["scorefield", "scorefield.run.open", "scorefield.likelihood"])
def test_an_import_loads_no_slow_module(module):
    assert not loaded(f"import {module}")


def test_a_planted_slow_import():
    assert loaded("import scorefield, torch.distributed.tensor") == {"torch.distributed.tensor"}


@pytest.mark.parametrize("words", [*HELP, *TOLD, ["train", "digits", "--help"]], ids=" ".join)
def test_what_computes_nothing_imports_no_torch(words):
    assert not loaded(RUN.format(words), ("torch", "numpy"))


def test_a_planted_torch():
    assert loaded(f"import torch; {RUN.format(['catalogue'])}", ("torch",)) == {"torch"}


def test_training_imports_no_compiler(tmp_path):
    words = ["train", "digits", "--images", "256", "--out", str(tmp_path / "run")]
    assert not loaded(RUN.format(words), ("torch._dynamo", "torch.distributed.tensor", "sklearn"))


def apart(kind: str, name: str, entry) -> set[str]:
    """In what the source of an entry and the object itself differ."""
    real, place = inspect.signature(entry).parameters, place_of(kind, name)
    read = parameters(kind, name)
    assert place
    thing = entry() if place.ready else getattr(entry, "__wrapped__", entry)
    same_text = text_of(kind, name) == (inspect.getdoc(thing) or "")
    found = {
        part for part, same in (("text", same_text), ("names", [*read] == [*real])) if not same
    }
    for key, p in read.items() if not found else ():
        plain = not isinstance(p.default, Made | type) and "factory" not in repr(real[key].default)
        if p.kind is not real[key].kind or (plain and p.default != real[key].default):
            found.add(key)
    if kind == "solvers":
        solver, told = entry(), by_default(place)
        info = ("order", "evals", "stochastic", "adaptive")
        found |= {fact for fact in info if getattr(solver, fact) != getattr(told, fact)}
    return found


@pytest.mark.parametrize("kind, name", ENTRIES)
def test_a_source_says_what_its_object_is(kind, name):
    assert not apart(kind, name, getattr(catalogue, kind)[name])


def test_a_planted_difference():
    assert apart("solvers", "dpm2", catalogue.solvers["dpm3"]) == {"order", "evals"}
    assert apart("solvers", "ddim", catalogue.solvers["heun"]) >= {"text", "names"}
