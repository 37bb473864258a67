"""`scorefield explain` and `scorefield catalogue`: every entry, in text and JSON."""

import json
import re

import pytest

from scorefield import catalogue
from scorefield.catalogue.spec import KINDS

ENTRIES = [(KINDS[kind], name) for kind in catalogue.__all__ for name in getattr(catalogue, kind)]


def test_every_kind_has_a_singular():
    assert set(KINDS) == set(catalogue.__all__)


@pytest.mark.parametrize("kind, name", ENTRIES)
def test_every_entry_is_explained(cli, kind, name):
    code, out, err = cli("explain", kind, name, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["kind"], said["name"]) == (kind, name)
    assert len(said["text"]) > 20
    exec(said["python"], {})  # the line of import that it gives is true
    code, out, _ = cli("explain", kind, name)
    assert code == 0
    assert out.startswith(f"{kind} {name}\n")
    assert said["text"].split(">>>")[0].strip() in out
    assert ">>>" not in out
    assert "Options" not in out


@pytest.mark.parametrize("name", catalogue.solvers)
def test_a_solver_shows_equation_order_calls_and_paper(cli, name):
    said = json.loads(cli("explain", "solver", name, "--json").out)
    solver = catalogue.solvers[name]()
    assert said["order"] == solver.order
    assert said["calls_per_step"] == solver.evals
    assert said["papers"]
    assert all(re.search(r"^[A-Z].*\b(19|20)\d\d\b", paper) for paper in said["papers"])
    assert re.search(r" = ", said["text"])
    assert re.fullmatch(r"Use it\b.{10,}\.", said["use"])
    out = cli("explain", "solver", name).out
    assert f"order {solver.order}, {solver.evals} network call" in out
    assert all(f"paper: {paper}\n" in out for paper in said["papers"])


def test_options_are_told_as_a_spec_writes_them(cli):
    said = json.loads(cli("explain", "solver", "heun", "--json").out)
    assert said["options"][0] == {"name": "churn", "type": "a number", "default": "0"}
    assert "\n  times=1: a whole number\n" in cli("explain", "solver", "restart").out
    assert "\n  order=3: a whole number\n" in cli("explain", "solver", "dpm3").out  # its own


def test_the_paper_of_ddim(cli):
    said = json.loads(cli("explain", "solver", "ddim", "--json").out)
    assert said["papers"] == ['Song, Meng and Ermon 2021, "Denoising diffusion implicit models"']
    assert (said["order"], said["calls_per_step"]) == (1, 1)


def test_the_catalogue_lists_every_entry(cli):
    code, out, _ = cli("catalogue")
    assert code == 0
    for kind in catalogue.__all__:
        assert f"{kind}\n" in out
        assert all(f"  {name} " in out for name in getattr(catalogue, kind))
    listed = json.loads(cli("catalogue", "--json").out)
    assert {kind: list(entries) for kind, entries in listed.items()} == {
        kind: list(getattr(catalogue, kind)) for kind in catalogue.__all__
    }
    assert all(text for entries in listed.values() for text in entries.values())


def test_one_kind(cli):
    code, out, _ = cli("catalogue", "solvers", "--json")
    assert code == 0
    assert list(json.loads(out)) == ["solvers"]


def test_a_spec_is_explained_as_it_says(cli):
    said = json.loads(cli("explain", "solver", "heun:churn=.3", "--json").out)
    assert (said["order"], said["stochastic"]) == (1, True)
    assert said["options"][0]["default"] == "0.3"
    assert cli("explain", "solver", "heun:chrun=.3").code == 2
    assert cli("explain", "solver", "heun:churn=-1").code == 2


def test_the_network_that_suits_the_data(cli):
    said = json.loads(cli("explain", "network", "auto:width=8", "--json").out)
    told = {option["name"]: option["default"] for option in said["options"]}
    assert (told["width"], told["blocks"]) == ("8", "2|4")  # of a unet, and of an mlp
    exec(said["python"], {})
    assert "Did you mean 'width'" in cli("explain", "network", "auto:widht=8").err
