"""docs/solvers.md is the catalogue's, and its figures are those of the solvers as they are."""

import copy
import json
import re
from typing import Any

import pytest

from docs import solvers as pages
from scorefield import catalogue
from scorefield.catalogue.describe import traits
from scorefield.solve import DDIM, GradientEstimation
from tests.refusal import fails, refused

FIGURES = json.loads(pages.FIGURES.read_text())
PAGE = pages.PAGE.read_text()
AGAIN, COUNTS = ("ddim", "arc", "ddpm"), (5, 10)
TOLERANCE = 0.01
"""Of an error. The figures have four digits, and what another machine's last bits change of the
most sensitive, a distance of 4,000 points to 4,000, is less than a tenth of this."""


def test_the_page_is_what_would_be_written_now():
    assert pages.page(FIGURES, catalogue.solvers) == PAGE, "run `make docs`"
    assert pages.stored(FIGURES) == pages.FIGURES.read_text()


def test_every_solver_has_its_row_and_its_section():
    errors, orders = PAGE.split("\n## Orders from the first level on\n")
    for name in catalogue.solvers:
        assert errors.count(f"\n| [`{name}`](#{name}) |") == 1
        assert orders.count(f"\n| [`{name}`](#{name}) |") <= 1
        assert PAGE.count(f"\n### `{name}`\n") == 1


def test_every_call_on_the_page_makes_the_solver_of_the_catalogue():
    sections = re.findall(r"### `([^`]+)`\n.*?```python\n(.*?)\n```", PAGE, re.S)
    assert [name for name, _ in sections] == list(catalogue.solvers)
    for name, code in sections:
        *imports, call = code.split("\n")
        names: dict[str, Any] = {}
        exec("\n".join(imports), names)
        assert eval(call, names) == catalogue.solvers[name]()


@pytest.mark.parametrize("gone, new", [((), ("new",)), (("ddim",), ()), (("ddim",), ("new",))])
def test_a_solver_without_figures_and_figures_without_a_solver_are_refused(gone, new):
    solvers = {name: make for name, make in catalogue.solvers.items() if name not in gone}
    solvers |= dict.fromkeys(new, GradientEstimation)
    refused(rf"catalogue: {', '.join(gone + new)}\. Run `make docs`", pages.page, FIGURES, solvers)


def test_a_changed_text_order_or_figure_changes_the_page(monkeypatch):
    figures = copy.deepcopy(FIGURES)
    figures["solvers"]["ddim"]["karras"][0] *= 1.1
    assert pages.page(figures, catalogue.solvers) != PAGE
    with monkeypatch.context() as at:
        at.setattr(pages, "traits", lambda *of: {**traits(*of), "use": "And so on."})
        assert pages.page(FIGURES, catalogue.solvers) != PAGE
    monkeypatch.setattr(DDIM, "order", 2)
    assert pages.page(FIGURES, catalogue.solvers) != PAGE


def test_every_solver_says_when_to_use_it(monkeypatch):
    assert PAGE.count("\n**Use it**") == len(catalogue.solvers)
    monkeypatch.setattr(pages, "traits", lambda *of: {**traits(*of), "use": ""})
    refused('ddim.* does not .* "Use it"', pages.page, FIGURES, catalogue.solvers)


NEARER = [
    ("ddim", "heun", (5, 10)), ("heun", "ddim", (50,)), ("midpoint", "dpmpp2s", (5, 10, 20, 50)),
    ("midpoint", "dpm2", (5, 10, 20, 50)), ("rk4", "dpm3", (5, 10, 20, 50)),
    ("midpoint", "rk4", (5,)), ("rk4", "midpoint", (20, 50)), ("dpmpp2m", "dpmpp3m", (5, 10)),
    ("dpmpp3m", "dpmpp2m", (50,)), ("dpmpp2m", "unipc2", (5, 10)), ("unipc2", "dpmpp2m", (20, 50)),
    ("deis3", "lms4", (5, 10, 20, 50)), ("deis3", "dpmpp2m", (5, 10, 20, 50)),
    ("exp-arc", "arc", (10,)), ("ge", "ddim", (5, 10)), ("sa", "sde-dpmpp2m", (5, 10)),
    ("sa", "euler-maruyama", (5, 10)),
]  # fmt: skip
"""What the sentences that begin with "Use it" say of one solver and another."""


@pytest.mark.parametrize("near, far, counts", NEARER)
def test_what_is_said_of_solvers_is_what_was_measured(near, far, counts):
    for count in counts:
        at = pages.COUNTS.index(count)
        one, other = (pages.least(FIGURES["solvers"][name], at)[0] for name in (near, far))
        assert one is not None
        assert other is not None
        assert one < other, f"{count} calls"


def check_figures(stored: pages.Figures, name: str) -> None:
    """What is stored of a solver is what it does now."""
    now = pages.measure(catalogue.solvers[name](), COUNTS)
    assert now.keys() == stored[name].keys()
    for grid, errors in now.items():
        assert errors == pytest.approx(stored[name][grid][: len(COUNTS)], rel=TOLERANCE), grid


@pytest.mark.parametrize("name", AGAIN)
def test_the_figures_are_what_is_measured_now(name):
    check_figures(FIGURES["solvers"], name)


def test_figures_of_another_solver_are_found_out():
    fails("", check_figures, {"ddim": FIGURES["solvers"]["ge"]}, "ddim")


def test_no_figure_where_not_one_step_fits():
    assert pages.within(catalogue.solvers["rk4"](), "karras", 3) is None
    assert pages.shown(None) == "-"
    assert [pages.shown(v) for v in (0.0219, 0.0001, 38.6, 53030.0)] == [
        "0.022", "1.0e-4", "39", "5.3e4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, escaped",
    [
        ("x_there and `a*b` of _it_", "x_there and `a*b` of \\_it\\_"),
        ("2 * 3 <= 6 <b>", "2 \\* 3 <= 6 \\<b>"),
        ("a vari-\nance\n\n    a =\n    b\nend", "a vari-ance\n\n```text\na =\nb\n```\n\nend"),
    ],
)
def test_a_docstring_in_markdown(text, escaped):
    assert pages.markdown(text) == escaped
