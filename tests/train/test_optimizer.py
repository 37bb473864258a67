"""Muon: its update is orthogonal, the published one, of convolutions too; AdamW has the rest."""

import pytest
import torch
from torch import Tensor, nn

from scorefield.nets import UNet
from scorefield.train import Training, optimizer
from scorefield.train.optimizer import optimizer_of, orthogonal

BAND = (0.68, 1.21)
SETTINGS = Training(optimizer="muon", lr=1e-3, matrix_lr=0.02, weight_decay=0.1)


def turned(n: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64)).Q


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Singular values from 1 down to 1/100."""
    size = min(rows, columns)
    values = torch.logspace(0, -2, size, dtype=torch.float64)
    return turned(rows, seed)[:, :size] * values @ turned(columns, seed + 1)[:size]


def off(rows: int, columns: int) -> float:
    """How far an update is outside the band, or from turning with its gradient."""
    u, left, right = matrix(rows, columns), turned(rows, 5), turned(columns, 6)
    found = orthogonal(torch.stack([u, 3 * left @ u @ right]))
    values = torch.linalg.svdvals(found)
    outside = torch.maximum(BAND[0] - values, values - BAND[1]).amax().clamp(min=0)
    return float(outside + (left @ found[0] @ right - found[1]).abs().amax())


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16), (2, 50)])
def test_an_update_is_orthogonal_and_turns_with_its_gradient(shape):
    assert off(*shape) < 1e-9
    single = orthogonal(matrix(*shape).float()[None])[0]
    assert (single - orthogonal(matrix(*shape)[None])[0]).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("name", "planted"),
    [("COEFFICIENTS", (1.5, -0.5, 0.0)), ("COEFFICIENTS", (3.4445, 2.0315, -4.7750)),
     ("ITERATIONS", 3), ("orthogonal", torch.sign)],
)  # fmt: skip
def test_a_planted_iteration(monkeypatch, name, planted):
    """The twin: Newton's cubic, swapped coefficients, too few, and the sign of each number."""
    monkeypatch.setattr(optimizer, name, planted)
    monkeypatch.setitem(globals(), "orthogonal", optimizer.orthogonal)
    assert not off(8, 72) < 0.01


def moved(build, weight: Tensor, steps: int = 3, layer=None) -> Tensor:
    """How three steps of an optimiser move a weight by gradients that are drawn."""
    w = layer or nn.Linear(weight.shape[1], len(weight), bias=False)
    with torch.no_grad():
        w.weight.copy_(weight.view(w.weight.shape))
    made, rng = build(w), torch.Generator().manual_seed(2)
    for _ in range(steps):
        w.weight.grad = torch.randn(weight.shape, generator=rng).view(w.weight.shape)
        made.step()
    return w.weight.detach().flatten(1) - weight


def ours(module: nn.Module) -> torch.optim.Optimizer:
    return optimizer_of(module, SETTINGS)


def published(module: nn.Module, nesterov: bool = True) -> torch.optim.Optimizer:
    return torch.optim.Muon(module.parameters(), 0.02, 0.1, nesterov=nesterov)


def test_a_matrix_moves_as_the_published_one():
    """To the bfloat16 of PyTorch's; the twin has no Nesterov."""
    for shape in ((48, 16), (16, 48)):
        w = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        own, theirs = moved(ours, w), moved(published, w)
        plain = moved(lambda m: published(m, False), w)
        assert (own - theirs).norm() / theirs.norm() < 0.02
        assert (plain - theirs).norm() / theirs.norm() > 0.1


def test_a_convolution_is_the_matrix_of_its_outputs():
    w = torch.randn(6, 36, generator=torch.Generator().manual_seed(1))
    conv = moved(ours, w, layer=nn.Conv2d(4, 6, 3, bias=False))
    assert torch.equal(conv, moved(ours, w))


def test_what_is_no_matrix_is_adamws():
    net = UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1, classes=3)
    muon = optimizer_of(net, SETTINGS)
    matrices, rest = muon.param_groups
    names = {w: name for name, w in net.named_parameters()}
    assert len(matrices["params"]) + len(rest["params"]) == len(names)
    others = [names[w] for w in rest["params"] if w.ndim > 1]
    assert others == ["embedding.conditions.label_embedding.weight", "out.weight"]
    before = [w.detach().clone() for w in rest["params"]]
    for w in net.parameters():
        w.grad = torch.ones_like(w)
    muon.step()
    for w, old in zip(rest["params"], before, strict=True):  # the first step of AdamW is its rate
        decayed = old * (1 - SETTINGS.lr * SETTINGS.weight_decay)
        torch.testing.assert_close(decayed - w, torch.full_like(w, SETTINGS.lr))
