"""Views are orthogonal and come back; what they show adds up."""

from typing import Any

import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.catalogue import views as NAMES
from scorefield.catalogue.spec import build
from scorefield.denoise import Mixture
from scorefield.guide.anagram import anagram, hybrid
from scorefield.guide.views import Part, View
from scorefield.process import VP, grids
from scorefield.solve import DDIM, Arc, sample
from tests.refusal import refused

SHAPE = (3, 8, 8)


def view(text, shape):
    return build("views", text, shape=shape)


PARTS = ("low", "high", "grey", "colour")
VIEWS = [view("patches:2" if n == "patches" else n, SHAPE) for n in NAMES if n not in PARTS]
VIEWS = [v for v in VIEWS if isinstance(v, View)]
HALF = Level.of(0.6, 0.8)


@pytest.mark.parametrize("v", VIEWS, ids=lambda v: v.name)
def test_a_view_is_orthogonal_and_comes_back(v):
    assert v.defect(SHAPE) < 1e-12
    x = torch.arange(2.0 * 3 * 64).view(2, *SHAPE)
    torch.testing.assert_close(v.backward(v.forward(x)), x, rtol=0, atol=0)
    assert v.name == "identity" or not torch.equal(v.forward(x), x)


@pytest.mark.parametrize("side", [8, 16, 20, 28])
def test_pieces_of_a_jigsaw_only_move(side):
    """Every kind of piece is turned as a whole: a picture's values are all there, and each is at
    a quarter turn of where it was."""
    for seed in range(4):
        v = view(f"jigsaw:{seed}", (1, side, side))
        assert isinstance(v, View)
        x = torch.arange(float(side * side)).view(1, 1, side, side)
        seen = v.forward(x)
        assert torch.equal(seen.flatten().sort().values, x.flatten())
        turned = torch.stack([x.rot90(k, (-2, -1)) for k in range(4)])
        assert (turned == seen).any(0).all()
        assert not any(torch.equal(seen, one) for one in turned)


def test_a_view_that_is_not_orthogonal_is_refused_with_its_defect():
    half = View("half", lambda x: x / 2, lambda x: 2 * x)
    assert half.defect(SHAPE) == pytest.approx(0.5)
    lossy = View("blur", lambda x: (x + x.roll(1, -1)) / 2, lambda x: x)
    shifted = View("lighter", lambda x: x + 1, lambda x: x - 1)
    one_way = View("flip", lambda x: x.flip(-1), lambda x: x.roll(1, -1))
    for bad in (half, lossy, shifted, one_way):
        says = "'half' is not orthogonal: its defect is 0.5" if bad is half else "defect"
        refused(says, anagram, [bad], SHAPE)


def test_parts_are_orthogonal_and_add_up():
    for pair in (("low:2", "high:2"), ("grey", "colour")):
        parts = [view(name, SHAPE) for name in pair]
        assert all(isinstance(p, Part) and p.defect(SHAPE) < 1e-12 for p in parts)
        plain = hybrid(parts, SHAPE)(lambda x, level, cond: 2 * x)  # type: ignore[arg-type]
        x = torch.randn(2, *SHAPE, dtype=torch.float64)
        torch.testing.assert_close(plain(x, HALF, None), 2 * x)


def test_parts_that_do_not_are_refused():
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)
    oblique = Part("luma", lambda x: (x * luma).sum(-3, keepdim=True).expand_as(x))
    pair: Any = [view("low:2", SHAPE), view("grey", SHAPE)]
    for says, parts, *conds in (
        ("'luma' is not an orthogonal projection", [oblique]),
        ("do not add up", pair),
        ("2 views and 1 conditions", pair, [None]),
    ):
        refused(says, hybrid, parts, SHAPE, *conds)


def test_each_view_has_its_condition():
    """With D = c, the mean over views is the mean of the brought-back conditions."""

    def says(x, level, cond):
        return torch.zeros_like(x) + torch.linspace(0, 1, 8) * cond["vector"].view(-1, 1, 1, 1)

    views = [view("identity", SHAPE), view("flip", SHAPE)]
    conds = [{"vector": torch.tensor([[1.0]])}, {"vector": torch.tensor([[2.0]])}]
    seen = anagram(views, SHAPE, conds)(says)(torch.zeros(1, *SHAPE), HALF, None)  # type: ignore[arg-type]
    ramp = torch.linspace(0, 1, 8)
    torch.testing.assert_close(seen[0, 0, 0], (ramp + 2 * ramp.flip(0)) / 2)


def test_one_view_is_the_plain_denoiser_seen_through_it():
    """Data that a view leaves as they are: an anagram of it changes nothing."""
    means = torch.tensor([[1.0, -1.0, -1.0, 1.0], [-1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    data = Mixture(means, 0.1 * torch.eye(4).expand(2, 4, 4), torch.ones(2) / 2)

    def denoise(x, level, cond=None):
        return data.denoise(x.flatten(1), level).view_as(x)

    shape = (1, 2, 2)
    turned = anagram([view("rot180", shape), view("identity", shape)], shape)  # type: ignore[list-item]
    levels = grids.uniform_logsnr(VP(), 10)
    noise = Seeded(range(4))
    x = noise.start(shape, levels, dtype=torch.float64)
    for solver in (DDIM(), Arc(), DDIM(eta=1.0)):
        chance = noise if solver.stochastic else Zero()
        a = sample(solver, denoise, x, levels, chance)
        b = sample(solver, turned(denoise), x, levels, chance)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("text", ["rot45", "patches", "patches:x", "low", "identity:3", "grey:1"])
def test_unknown_names_teach(text):
    refused("", view, text, SHAPE)


def test_shapes_that_do_not_fit_are_refused():
    for says, text, shape in (
        ("fall into 3 x 3", "patches:3", SHAPE),
        ("square", "jigsaw", (1, 8, 6)),
    ):
        refused(says, view, text, shape)
    refused("does not take|makes", anagram, [view("rot90", (1, 8, 6))], (1, 8, 6))
