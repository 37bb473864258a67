"""The house: one loop, a name once, a thin surface, short functions; each with its trespasses.

What other parts of the house have still to mend is listed to the entry: an entry that is mended
must leave its list.
"""

import re
import subprocess
import sys
import tomllib

import pytest

from tests.laws.house import ROOT, by_package, callers, code_lines, sources, surface, twice, unfit
from tests.refusal import fails

WALKERS = {"solve", "draw", "likelihood", "distill"}
SURFACE_MOST = 0.40
TESTS_MOST = 1.1  # for each line of code
LONG_LEFT: set[str] = set()
VERBS = {"Options", "main", "work", "findings"}
"""Each verb's own; it is known by its module."""
RECIPES = {
    *("checkerboard", "cifar10", "digits", "eight_gaussians", "fashion_mnist", "folder"),
    *("huggingface", "mnist", "moons", "npz", "swiss_roll", "points", "letters"),
    *("smiles", "table", "tetrahedra", "conformers", "phantoms"),
    *("sounds", "series", "moving_digits"),
}
"""A recipe has the name of its data."""


@pytest.fixture(scope="module")
def house() -> dict[str, str]:
    return sources()


@pytest.fixture(scope="module")
def counts(house) -> dict[str, int]:
    return by_package(house)


def walkers(house: dict[str, str]) -> set[str]:
    """Modules that walk a grid without a place to."""
    short = {
        path.removeprefix("scorefield/").removesuffix(".py")
        for path in callers("trajectory", house)
    }
    return {path for path in short if path.split("/")[0] not in WALKERS}


def test_one_loop(house):
    assert not walkers(house)


def test_a_planted_walker():
    trespass = "from scorefield import solve\nlist(solve.trajectory(a, b, x, levels, noise))"
    assert walkers({"scorefield/measure/x.py": trespass}) == {"measure/x"}
    assert not walkers({"scorefield/draw/x.py": trespass, "scorefield/use/x.py": "trajectory"})


def steppers(house: dict[str, str]) -> list[str]:
    """Where weights are stepped, by any name that ends in `optimizer`."""
    return [path for path, text in house.items() for _ in re.findall(r"optimi[sz]er\.step\(", text)]


def test_one_trainer(house):
    assert steppers(house) == ["scorefield/train/step.py"]


def test_a_planted_trainer(house):
    trespass = {"scorefield/measure/x.py": "for x in data:\n    optimizer.step()"}
    assert len(steppers({**house, **trespass})) == 2


def test_a_name_once(house):
    assert set(twice(house)) == VERBS | RECIPES


@pytest.mark.parametrize("again", ["def noisy():\n    1", "class noisy: ...", "noisy = list[int]"])
def test_a_planted_namesake(again):
    first = {"scorefield/solve/x.py": "def noisy():\n    1", "scorefield/data/x.py": "_noisy = 1"}
    assert not twice(first)
    paths = ["scorefield/solve/x.py", "scorefield/guide/x.py"]
    assert twice({**first, "scorefield/guide/x.py": again}) == {"noisy": paths}


def not_used() -> set[str]:
    """The words that docs/notation.md leaves to the texts."""
    page = (ROOT / "docs/notation.md").read_text()
    listed = re.search(r"(?m)^No name in the code has one of these words: (.+?)\.$", page, re.S)
    assert listed
    return set(re.findall(r"`(\w+)`", listed[1]))


def test_names_are_of_the_fields_words(house):
    assert not_used() >= {"told", "share", "facts", "near", "look"}
    assert not unfit(house, not_used())


@pytest.mark.parametrize(
    "trespass, name",
    [
        ("def f(*, share=1): 1", "share"), ("x.told = 1", "told"), ("f(near=2)", "near"),
        ("class DataFacts: 1", "DataFacts"), ("import a.facts as b", "facts"),
        ("from a import b as SHARES", "SHARES"), ("def _told_of(): 1", "_told_of"),
        ("[at for look in x]", "look"), ("f = lambda near_0: 1", "near_0"),
        ("def f():\n    global TOLDOnce", "TOLDOnce"), ("match x:\n    case [*look]: 1", "look"),
    ],
)  # fmt: skip
def test_a_planted_word(trespass, name):
    kind = {"told", "share", "shares", "facts", "near", "look"}
    fits = "# told\nshared, nearest, untold, looked, fact = 'share', f(\"near\")"
    assert unfit({"a/x.py": trespass, "a/y.py": fits}, kind) == {"a/x.py": {name}}
    assert unfit({"a/facts.py": fits}, kind) == {"a/facts.py": {"facts"}}


def check_surface(counts: dict[str, int]) -> None:
    ratio = surface(counts)
    for package, lines in counts.items():
        print(f"{lines:6} {package}")
    print(f"{sum(counts.values()):6} code lines, surface / rest {ratio:.3f}")
    assert ratio <= SURFACE_MOST


def check_tests(tests: int, code: int) -> None:
    print(f"{tests} code lines of tests for {code} of code: {tests / code:.3f}")
    assert tests <= TESTS_MOST * code


def test_the_surface_is_thin_and_so_are_the_tests(counts):
    check_surface(counts)
    check_tests(sum(by_package(sources("tests")).values()), sum(counts.values()))


def test_a_planted_surface_and_planted_tests(counts):
    fails("", check_surface, {**counts, "serve": 3 * counts["serve"]})
    fails("", check_tests, 11_001, 10_000)


SOURCE = '''"""Module.

Three lines."""

import os  # a comment


class A:
    """One line."""

    x = 1
    """Of a field: a docstring too."""

    def f(self):
        """Not code."""
        # nor this
        return """code,
        though a string"""
'''


def test_code_lines_are_those_with_code():
    assert code_lines(SOURCE) == 6  # import, class, x, def, and two of return
    assert code_lines("x = [\n\n    1,\n    # no\n]\n") == 3
    assert code_lines("") == code_lines('"""Only this."""') == 0


def ruff(path: str, source: str) -> list[str]:
    """Codes of what ruff finds in a module at that path."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "-"]
    found = subprocess.run(
        [*command, "--stdin-filename", path], input=source, cwd=ROOT, capture_output=True, text=True
    )
    return [line.split()[1] for line in found.stdout.splitlines() if f"{path}:" in line]


NINE = "def f(a, b, c, d, *, e=1, f=2, g=3, h=4, i=5):\n    return a\n"
BRANCHES = "def f(a):\n" + "".join(f"    if a == {i}:\n        a = 0\n" for i in range(15))


@pytest.mark.parametrize("source, code", [(NINE, "PLR0913"), (BRANCHES, "C901")])
def test_functions_are_short_and_a_long_one_is_found(source, code):
    assert ruff("scorefield/guide/x.py", source) == [code]
    shorter = {NINE: source.replace(", i=5", ""), BRANCHES: source.replace("    if a == 14:", "")}
    assert code not in ruff("scorefield/guide/x.py", shorter[source])


def test_no_other_module_is_let_off():
    ignores = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    let_off = {names for names, codes in ignores["per-file-ignores"].items() if codes != ["F401"]}
    found = {name for names in let_off for name in files(names)}
    assert found == LONG_LEFT | {"nets/*"}
    assert not any("noqa: C901" in t or "noqa: PLR0913" in t for t in sources().values())


def files(pattern: str) -> list[str]:
    """The modules of one line of per-file-ignores, with its braces opened."""
    stem = pattern.removeprefix("scorefield/").removesuffix(".py")
    return stem.strip("{}").split(",")
