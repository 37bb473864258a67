"""The grammar: what is written is read back, and every option of every entry can be written."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scorefield import catalogue
from scorefield.base import Level
from scorefield.catalogue.plans import guide, plan
from scorefield.catalogue.spec import (
    GIVEN,
    KINDS,
    RENAMED,
    Option,
    build,
    canonical,
    options,
    parsed,
    renamed,
    specs,
    wraps,
)
from scorefield.guide import chain, interval
from scorefield.solve import DDIM, Heun, PredictorCorrector, Restart
from tests.refusal import refused

ENTRIES = [(kind, name) for kind in KINDS for name in getattr(catalogue, kind)]
PATHS = ("dds", "dis", "pis", "cmcd", "dbs", "uds", "scld")
OBJECTS = {
    "autoguide": ("weak",), "bridge": ("ends",), "anagram": ("conds",), "carried": ("build",),
    "cfg": ("null",),
    "classifier": ("log_prob",), "hybrid": ("conds",), "mixture": ("log_prob",),
    "product": ("null",), **dict.fromkeys(PATHS, ("prior",)),
}  # fmt: skip
"""Options that no text says: networks, conditions and functions."""
every_entry = pytest.mark.parametrize("kind, name", ENTRIES)


def test_the_kinds_are_those_of_the_catalogue():
    assert list(KINDS) == catalogue.__all__


def unreachable(kind: str, name: str) -> set[str]:
    """Options of an entry that neither a spec nor the place where it is used says."""
    taken = inspect.signature(getattr(catalogue, kind)[name]).parameters.values()
    said = {option.name for option in options(kind, name)} | {*GIVEN.get(kind, ())}
    several = {p.name for p in taken if p.kind is p.VAR_POSITIONAL}
    wrapped = {"guide"} if kind == "guides" and wraps(name) else set()
    known = said | several | wrapped | {*OBJECTS.get(name, ())}
    return set() if kind == "measures" else {p.name for p in taken} - known


@every_entry
def test_every_option_is_reached_by_a_spec(kind, name):
    assert not unreachable(kind, name)


def test_a_planted_option_that_no_text_says(monkeypatch):
    def odd(eta: float = 0.0, network: torch.nn.Module | None = None) -> DDIM:
        return DDIM(eta)

    monkeypatch.setitem(catalogue.solvers, "odd", odd)
    assert unreachable("solvers", "odd") == {"network"}
    assert options("solvers", "odd") == [Option("eta", "a number", "0")]


@every_entry
def test_defaults_are_written_as_they_are_read(kind, name):
    """A spec that says a default is the spec without it, by name and in its place."""
    for option in options(kind, name):
        if option.default is not None:
            text = f"{name}:{option.name}={option.default}"
            assert canonical(kind, text) == name
            assert kind != "solvers" or build(kind, text) == build(kind, name)


def test_a_planted_default_of_another_entry():
    assert canonical("solvers", "dpm3:order=2") == "dpm3:order=2"  # the default of dpm2


words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
numbers = st.floats(allow_nan=False).map(repr) | st.integers(0, 99).map(str)


@given(words, st.lists(numbers, max_size=3), st.dictionaries(words, numbers | words, max_size=3))
def test_a_spec_is_read_back(name, values, said):
    spec = parsed(f"{name}{':' * bool(values or said)}" + ",".join(
        [*values, *(f"{key}={value}" for key, value in said.items())]
    ))  # fmt: skip
    assert (spec.name, list(spec.values), dict(spec.options)) == (name, values, said)
    assert parsed(str(spec)) == spec


@given(st.floats(0, 1), st.floats(0, 10), st.floats(10, 1e9))
def test_a_number_comes_back_to_the_last_bit(churn, low, high):
    text = canonical("solvers", f"heun:{churn!r},s_max={high!r},s_min={low!r}")
    assert build("solvers", text) == Heun(churn, low, high)


def test_nested_specs_and_constants():
    assert build("solvers", "restart:solver=ddim,times=2") == Restart(DDIM(), 2)
    nested = "predictor-corrector:predictor=(heun:churn=.3,s_max=2),snr=.2"
    assert build("solvers", nested) == PredictorCorrector(Heun(0.3, s_max=2.0), snr=0.2)
    assert canonical("solvers", nested) == nested.replace(".", "0.")
    assert build("solvers", "rk4:tableau=midpoint") == build("solvers", "midpoint")
    assert build("times", "covering:law=logit-normal:1").law.mean == 1
    assert build("schedules", "ddpm:betas=(.1,.2)").betas.shape == (2,)


def test_an_object_is_passed_through():
    heun = Heun()
    assert build("solvers", heun) is heun


ROWS = Path(__file__).with_name("refused.txt").read_text().splitlines()


@pytest.mark.parametrize("words, says", [row.split(" => ") for row in ROWS])
def test_what_is_refused(words, says):
    refused(re.escape(says), build, *words.split(maxsplit=1), shape=(1, 8, 8))


def test_guides_are_put_together_from_the_network_out():
    def double(denoise):
        return lambda x, level, cond=None: 2 * denoise(x, level, cond)

    def told(x, level, cond=None):
        return x + (0 if cond is None else cond["vector"])

    x, cond = torch.ones(1, 1), {"vector": torch.ones(1, 1)}
    text, made = guide("cfg:3+interval:.3,2+threshold:limit=2"), chain(
        interval(catalogue.guides["cfg"](3.0), 0.3, 2.0), catalogue.guides["threshold"](limit=2.0)
    )  # fmt: skip
    for ratio in (0.1, 1.0, 3.0):
        level = Level.of(1.0, ratio)
        assert torch.equal(text(told)(x, level, cond), made(told)(x, level, cond))
    assert guide(double) is double
    refused(r"interval acts on the guide on its left, and 'interval", guide, "interval:.3,2+cfg:2")
    refused("Did you mean 'threshold'", guide, "cfg:2+treshold")


@pytest.mark.parametrize("entry, option", RENAMED)
def test_an_option_is_read_by_its_earlier_name(entry, option):
    now, value = RENAMED[entry, option], "no" if option == "told" else ".3"
    (kind,) = (kind for kind in KINDS if entry in getattr(catalogue, kind))
    has = {one.name for one in options(kind, entry)}
    assert (option in has, now in has) == (False, True)
    old, new = (canonical(kind, f"{entry}:{key}={value}") for key in (option, now))
    assert old == new != canonical(kind, entry)


def test_earlier_names_are_read_wherever_specs_are():
    base = [lambda x, level, cond=None: x * (3 if cond else 1)] * 2
    x, at = torch.randn(2, 5), Level.of(1.0, 1.0)
    both = (guide(f"cfg:2+rescale:{key}=.5") for key in ("share", "fraction"))
    assert torch.equal(*(g(d)(x, at, {"label": x}) for g, d in zip(both, base)))
    assert renamed("lazy:share=.9") == "lazy:share=.9"  # of a package, which has its own names
    assert renamed("(threshold:share=1),share=2") == "(threshold:fraction=1),share=2"
    refused("fraction.* where a value", guide, "cfg:2+rescale:share=.5,fraction=.7")
    refused("Did you mean 'fraction'", build, "times", "covering:fractoin=.5")


def test_plans_and_lists():
    assert plan("arc@vp-root/10") == ("arc", "vp-root", 10)
    assert plan("heun:churn=.3@runs/x/grids/a.json") == (
        "heun:churn=.3",
        "runs/x/grids/a.json",
        None,
    )
    assert plan("ddim/5") == ("ddim", None, 5)
    refused("names no grid", plan, "ddim@")
    assert specs("heun:churn=.3,s_max=2,ddim@karras:5,low:2") == [
        "heun:churn=.3,s_max=2", "ddim@karras:5", "low:2"
    ]  # fmt: skip
