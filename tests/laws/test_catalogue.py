"""The catalogue holds every public method, and every entry can be built."""

import inspect

import pytest

import scorefield.guide
import scorefield.process
import scorefield.solve
from scorefield import catalogue
from scorefield.base import Guide
from scorefield.process import Diagonal, Pair, Schedule

OWN = (Pair, Diagonal)
"""Schedules made from the user's own functions: there is no default to build."""


def missing(package, entries, wanted, exempt=()):
    """Public classes of a package that satisfy `wanted` and are not in the catalogue."""
    public = [getattr(package, name) for name in package.__all__]
    return [
        item.__name__
        for item in public
        if isinstance(item, type)
        and wanted(item)
        and item not in exempt
        and item not in entries.values()
    ]


def is_solver(item):
    return hasattr(item, "step") and not getattr(item, "_is_protocol", False)


def is_schedule(item):
    whole = not inspect.isabstract(item) and not getattr(item, "_is_protocol", False)
    return hasattr(item, "inverse") and whole


def test_every_public_solver_is_in_the_catalogue():
    assert not missing(scorefield.solve, catalogue.solvers, is_solver)


def test_every_public_schedule_is_in_the_catalogue():
    assert not missing(scorefield.process, catalogue.schedules, is_schedule, exempt=OWN)


def test_a_planted_omission():
    fewer = {k: v for k, v in catalogue.solvers.items() if k != "heun"}
    assert missing(scorefield.solve, fewer, is_solver) == ["Heun"]
    fewer = {k: v for k, v in catalogue.schedules.items() if k != "edm"}
    assert missing(scorefield.process, fewer, is_schedule, exempt=OWN) == ["EDM"]


def test_every_guide_is_in_the_catalogue():
    public = [getattr(scorefield.guide, name) for name in scorefield.guide.__all__]
    guides = [f for f in public if inspect.signature(f).return_annotation == Guide]
    assert set(guides) <= set(catalogue.guides.values())


@pytest.mark.parametrize("name", catalogue.solvers)
def test_every_solver_declares_itself(name):
    solver = catalogue.solvers[name]()
    assert solver.order >= 1
    assert solver.evals >= 1
    assert isinstance(solver.stochastic, bool)
    assert isinstance(solver.adaptive, bool)
    with pytest.raises(AttributeError):  # frozen
        solver.order = 3


@pytest.mark.parametrize("name", catalogue.schedules)
def test_every_schedule_is_one(name):
    assert isinstance(catalogue.schedules[name](), Schedule)


@pytest.mark.parametrize("table", ["solvers", "schedules", "grids", "guides", "weights", "times"])
def test_names_are_plain(table):
    for name in getattr(catalogue, table):
        assert name == name.lower()
        assert " " not in name
        assert "_" not in name
