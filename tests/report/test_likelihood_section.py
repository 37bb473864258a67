"""The section on likelihoods: what it reads, what it says, and that it is absent without files."""

import dataclasses
import json

import numpy as np
import pytest

from scorefield.base import BadInput
from scorefield.report import page
from scorefield.report.likelihood import drawn, histogram, read_likelihood, section
from tests.report.test_page import Tree, empty, full, likelihood


def outcome(method: str, parts: bool) -> dict:
    told = {"prior": 0.01, "decoder": 0.3, "units": 0.0, "cells": [0.5, 1.0], "edges": [-4, 0, 4]}
    return {
        "method": method, "images_seen": 512, "data": "test", "n": 9, "mean": 1.81, "error": 0.02,
        "chance": None, "calls": 70.0, "how": "1 probe", "parts": told if parts else None,
    }  # fmt: skip


STRANGE = {
    "method": "vlb", "images_seen": 512, "edges": [1.0, 2.0, 3.0],
    "sets": [{"name": "test", "n": 3, "mean": 1.4, "error": 0.1, "counts": [3, 0], "below": None},
             {"name": "noise", "n": 2, "mean": 2.5, "error": 0.1, "counts": [0, 2], "below": 1.0}],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for method in ("flow", "vlb"):
        (tmp_path / f"{method}.json").write_text(json.dumps(outcome(method, method == "vlb")))
    (tmp_path / "against.json").write_text(json.dumps(STRANGE))
    return tmp_path


def test_what_lies_in_the_folder_is_read(folder):
    found = read_likelihood(folder)
    assert found
    assert [o.method for o in found.outcomes] == ["flow", "vlb"]
    assert found.levels[0].density == (0.125, 0.25)  # bits of a cell over its width
    assert found.strangers
    assert [s.below for s in found.strangers.sets] == [None, 1.0]
    assert read_likelihood(folder / "gone") is None


@pytest.mark.parametrize("key", sorted(outcome("vlb", True)))
def test_a_damaged_file_is_named(folder, key):
    broken = {k: v for k, v in outcome("vlb", True).items() if k != key}
    (folder / "vlb.json").write_text(json.dumps(broken))
    with pytest.raises(BadInput, match="vlb.json does not hold"):
        read_likelihood(folder)


@pytest.mark.parametrize(
    "change", [{"sets": []}, {"edges": [1.0]}, {"method": "exact"}, {"sets": None}]
)
def test_a_damaged_histogram_is_named(folder, change):
    (folder / "against.json").write_text(json.dumps(STRANGE | change))
    with pytest.raises(BadInput, match="against.json does not hold"):
        read_likelihood(folder)


def test_the_section_is_there_only_with_something_to_say():
    html = page.page(empty())
    assert 'id="likelihood"' not in html
    assert "#likelihood" not in html
    assert '<a href="#likelihood">' in page.page(full())


def test_its_figures_are_told():
    text = Tree(page.page(full("noise"))).text
    for fact in ("1.8 ± 0.02", "1.95 ± 0.02", "not known", "bound of control",
                 "above test in 98.0% of pairs", "359 noise"):  # fmt: skip
        assert fact in text, fact
    html = page.page(full())
    assert html.count("Bits a dimension: flow 1.8 ± 0.02, elbo 1.85 ± 0.02") == 1
    assert "0.003 at pure noise and 0.33 at the data" in html


def test_old_figures_say_so():
    assert "Some were measured at 46,080 images." in section(likelihood(), 99_999)
    assert "Some were measured" not in section(likelihood(), 46080)


def test_one_method_without_levels_or_strangers_is_enough():
    alone = dataclasses.replace(
        likelihood(), outcomes=likelihood().outcomes[:1], levels=(), strangers=None
    )
    html = page.page(dataclasses.replace(full(), likelihood=alone))
    assert "Data that the model never saw" not in html
    assert "noise level by noise level" not in html
    assert Tree(html).all("section")


def test_a_histogram_counts_everything():
    rng = np.random.default_rng(0)
    sets = {"a": rng.normal(0, 1, 1000), "b": np.append(rng.normal(3, 1, 500), 1e6)}
    edges, counts = histogram(sets)
    assert {name: int(c.sum()) for name, c in counts.items()} == {"a": 1000, "b": 501}
    assert edges[-1] < 100  # one outlier does not stretch the picture
    assert counts["b"][-1] >= 1
    same, _ = histogram({"a": np.ones(5)})
    assert (np.diff(same) > 0).all()


@pytest.mark.slow
def test_the_picture_shows_every_set():
    found = likelihood("noise").strangers
    assert found
    image = np.asarray(drawn(found, "bits a dimension"))
    assert image.shape[1] > image.shape[0] > 300
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):
        assert (np.abs(image.astype(int) - colour).max(2) < 8).any(), colour
