"""A package adds a solver, and the laws find what is wrong with one."""

import json
import sys
from pathlib import Path

import pytest

from scorefield.base import BadInput
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build
from tests.cli.conftest import cli  # noqa: F401 a fixture
from tests.refusal import refused

LAWS = ["order", "clean data", "batches", "pause", "seeds", "dtype"]


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    yield
    sys.modules.pop("example_solvers", None)


def test_an_entry_of_a_package_is_found_by_name(plugin):
    assert build("solvers", "example-euler:scale=2").scale == 2
    assert "example-euler" in names("solvers")
    refused("Did you mean 'example-euler'", build, "solvers", "example-eular")
    with pytest.raises(BadInput, match="of the package example-solvers cannot be imported: .*Lost"):
        build("solvers", "example-lost")
    refused("'example-number' .* cannot be imported: 3 is not a callable", build, "solvers",
            "example-number")  # fmt: skip
    refused("'example-torn' .* cannot be made: RuntimeError", build, "solvers", "example-torn")


def test_nothing_of_a_package_is_imported_before_it_is_asked_for(plugin):
    build("solvers", "heun")
    assert "example_solvers" not in sys.modules


def test_without_the_package_there_is_no_such_entry():
    refused("unknown solver 'example-euler'", build, "solvers", "example-euler")


def test_the_laws_over_a_plugin(plugin, cli):  # noqa: F811
    code, out, err = cli("check", "solver", "example-euler", "--json")
    said = json.loads(out)
    assert (code, err, said["holds"]) == (0, "", True)
    assert [law["law"] for law in said["laws"]] == LAWS


@pytest.mark.parametrize(
    "spec, broken",
    [
        ("example-clipped", {"batches", "order"}),
        ("example-euler:scale=1.1", {"clean data", "order"}),
        ("example-euler:scale=x", None),
    ],
)
def test_a_planted_defect_is_found(plugin, cli, spec, broken):  # noqa: F811
    code, out, _ = cli("check", "solver", spec, "--json")
    assert code == 2
    laws = json.loads(out)["laws"] if broken else []
    assert {law["law"] for law in laws if not law["holds"]} == (broken or set())


def test_a_package_that_cannot_be_imported_does_not_end_the_list(plugin, cli):  # noqa: F811
    listed = json.loads(cli("catalogue", "solvers", "--json").out)["solvers"]
    assert "cannot be imported" in listed["example-lost"]
    assert "Euler's method" in listed["example-euler"]


def test_ours_hold_and_are_told_in_words(cli):  # noqa: F811
    code, out, _ = cli("check", "solver", "ddim:eta=1")
    assert code == 0
    assert "holds   seeds       other seeds, other samples" in out
    assert "BROKEN" not in out
