"""The average of weights against the formula written out by hand."""

import torch
from torch import nn

from scorefield.train import EMA, WarmUp


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.count: torch.Tensor
        self.register_buffer("count", torch.zeros(()))


def averaged(decay: float, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    module, rng = Module(), torch.Generator().manual_seed(0)
    ema, by_hand = EMA.of(module, WarmUp(decay)), module.weight.detach().clone()
    for k in range(steps):
        with torch.no_grad():
            module.weight.add_(torch.randn(3, generator=rng, dtype=torch.float64))
            module.count.fill_(k)
        ema.update(module, k)
        d = min(decay, (1 + k) / (10 + k))
        by_hand = d * by_hand + (1 - d) * module.weight.detach()
    assert ema.average.count == steps - 1
    return ema.average.weight, by_hand


def test_the_average_is_the_formula_and_a_wrong_decay_would_be_seen():
    for decay in (0.0, 0.5, 0.99):
        mine, by_hand = averaged(decay, 40)
        torch.testing.assert_close(mine, by_hand, rtol=1e-14, atol=1e-14)
    assert (averaged(0.5, 40)[0] - averaged(0.6, 40)[1]).abs().max() > 1e-3


def test_no_decay_is_the_weights():
    module = Module()
    ema = EMA.of(module, WarmUp(0.0))
    with torch.no_grad():
        module.weight.fill_(3.0)
    ema.update(module, 100)
    assert torch.equal(ema.average.weight, module.weight)


def test_the_average_is_apart_and_asks_for_no_gradient():
    module = Module().train()
    ema = EMA.of(module, WarmUp(0.9))
    with torch.no_grad():
        module.weight.fill_(3.0)
    assert float(ema.average.weight.detach().sum()) == 0
    assert not ema.average.weight.requires_grad
    assert not ema.average.training
    assert module.weight.requires_grad
    assert module.training
