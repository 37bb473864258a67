"""Chance is apart from the loss: rows of a whole batch, one result whichever way it is asked."""

import math

import pytest
import torch

from scorefield import objective as objectives
from scorefield.base import BadInput
from scorefield.denoise import Denoiser
from scorefield.objective import (
    Adaptive,
    Antithetic,
    Chance,
    Hybrid,
    Objective,
    Sliced,
    rows_of_chance,
)
from scorefield.process import VP, DiscreteVP, Learned
from tests.objective.quadrature import rng

CHAIN = DiscreteVP()


class Twice(torch.nn.Module):
    """A little network with room for a variance, that looks at noise and condition too."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x, noise, cond):
        shift = (cond["label"] * ~cond["null"]).double()
        h = (self.gain * x + noise[:, None] + shift[:, None]).tanh()
        return torch.cat([h, h.sin()], 1)


def ready(name):
    objective = {
        "regression": Objective(VP(), Antithetic(), dropout=0.3),
        "adaptive": Objective(VP(), filled(), dropout=0.3),
        "sliced": Sliced(VP(), dropout=0.3),
        "hybrid": Hybrid(CHAIN, filled(), dropout=0.3),
        "variational": objectives.Variational(Learned(), dropout=0.3),
    }[name]
    return objective, Denoiser(Twice(), "v", variance=True, schedule=objective.schedule).double()


def filled() -> Adaptive:
    law = Adaptive(bins=4, history=2)
    t = (torch.arange(8).double() + 0.5) / 8
    law.observe(t, 1 + t)
    return law


each = pytest.mark.parametrize(
    "name", ["regression", "adaptive", "sliced", "hybrid", "variational"]
)


def data() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return torch.randn(12, 4, dtype=torch.float64, generator=rng()), {"label": torch.arange(12)}


def check_same(a: torch.Tensor, b: torch.Tensor) -> None:
    # two sums of the same terms in another order
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


@each
def test_a_call_is_draw_and_loss(name):
    objective, model = ready(name)
    x0, cond = data()
    whole = objective(model, x0, cond, rng(3))
    again = objective.loss(model, x0, cond, objective.draw((12, 4), rng(3)))
    assert torch.equal(whole.per_sample, again.per_sample)
    assert torch.equal(whole.at, again.at)
    assert whole.parts.keys() == again.parts.keys()
    assert all(part.shape == (12,) and not part.requires_grad for part in whole.parts.values())


def pieces(objective, model, chance, ranks):
    x0, cond = data()
    some = [slice(r, None, ranks) for r in range(ranks)]
    found = [
        objective.loss(model, x0[rows], {"label": cond["label"][rows]}, chance(r, ranks)).per_sample
        for r, rows in enumerate(some)
    ]
    return torch.stack(found, 1).flatten()


@each
def test_processes_that_take_rows_make_the_whole_batch(name):
    """Losses, and the gradient of their mean; planted, each process with the first rows of the
    chance in place of its own."""
    objective, model = ready(name)
    x0, cond = data()
    chance = objective.draw((12, 4), rng(3))
    weights = list(model.parameters())
    whole = objective.loss(model, x0, cond, chance).per_sample
    parts = pieces(objective, model, lambda r, n: rows_of_chance(chance, slice(r, None, n)), 3)
    check_same(whole, parts)
    gradients = [torch.autograd.grad(v.mean(), weights) for v in (whole, parts)]
    for a, b in zip(*gradients):
        check_same(a, b)
    with pytest.raises(AssertionError):
        check_same(
            whole,
            pieces(objective, model, lambda r, n: rows_of_chance(chance, slice(0, 12 // n)), 3),
        )


def test_rows_keep_what_is_not_there():
    chance = Chance(torch.arange(4.0), torch.zeros(4, 2))
    some = rows_of_chance(chance, torch.tensor([2, 0]))
    assert (some.t.tolist(), some.eps.shape) == ([2.0, 0.0], (2, 2))
    assert some.drop is some.importance is some.probe is None


@each
def test_what_is_drawn(name):
    objective, _ = ready(name)
    chance = objective.draw((2000, 4), rng(1))
    assert (chance.t.dtype, chance.eps.dtype) == (torch.float64, torch.float32)
    assert chance.drop is not None
    assert abs(float(chance.drop.float().mean()) - 0.3) < 5 * math.sqrt(0.21 / 2000)
    assert (chance.importance is not None) == (name in ("adaptive", "hybrid"))
    assert (chance.probe is not None) == (name == "sliced")
    if chance.probe is not None:
        assert chance.probe.abs().unique().tolist() == [1.0]
        assert abs(float(chance.probe.mean())) < 5 / math.sqrt(8000)


@each
def test_memory_is_the_laws(name):
    objective, model = ready(name)
    x0, cond = data()
    chance = objective.draw((12, 4), rng(3))
    loss = objective.loss(model, x0, cond, chance)
    before = objective.memory()
    objective.observe(chance, loss.per_sample.detach())
    after = objective.memory()
    if name not in ("adaptive", "hybrid"):
        assert before == after == {}
        return
    assert not torch.equal(before["losses"], after["losses"])
    again, _ = ready(name)
    again.recall(after)
    same = [o.draw((12, 4), rng(4)) for o in (objective, again)]
    assert torch.equal(same[0].t, same[1].t)
    assert torch.equal(same[0].importance, same[1].importance)


def test_what_is_observed_is_the_loss_without_its_share():
    objective, model = ready("adaptive")
    x0, cond = data()
    chance = objective.draw((12, 4), rng(3))
    assert chance.importance is not None
    plain = objective.loss(model, x0, cond, chance._replace(importance=None)).per_sample.detach()
    twin = filled()
    twin.observe(chance.t, plain)
    objective.observe(chance, objective.loss(model, x0, cond, chance).per_sample.detach())
    check_same(objective.memory()["losses"], twin.memory()["losses"])


def test_a_sliced_loss_asks_for_its_probes():
    objective, model = ready("sliced")
    x0, cond = data()
    with pytest.raises(BadInput, match="no probes"):
        objective.loss(model, x0, cond, ready("regression")[0].draw((12, 4), rng()))
