"""Windows that overlap: one is the model itself, and their mean is what all of them know."""

import pytest
import torch

from scorefield.base import Level
from scorefield.denoise import Denoiser
from scorefield.guide import windows
from scorefield.nets import UNet
from tests.refusal import fails, refused

SIZE = (4, 6)


def net() -> Denoiser:
    torch.manual_seed(0)
    own = UNet((1, *SIZE), width=8, multipliers=(1,), blocks=1, classes=3)
    for p in own.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return Denoiser(own.double().requires_grad_(False), "v")


def window_law(guide):
    """One window is the model to the bit; a denoiser of each place by itself is itself whatever the
    windows; and a batch's rows keep their own levels and conditions."""
    D, guided = net(), guide(net())
    x, level = torch.randn(2, 1, *SIZE, dtype=torch.float64), Level.of(0.6, 0.8)
    cond = {"label": torch.tensor([0, 2])}
    assert torch.equal(guided(x, level, cond), D(x, level, cond))
    levels = Level.of(torch.tensor([0.6, 0.8]).double(), torch.tensor([0.8, 0.6]).double())
    wide = torch.randn(2, 1, 7, 9, dtype=torch.float64)
    alone = guide(lambda x, level, cond=None: level.like(x).alpha * x)(wide, levels)
    torch.testing.assert_close(alone, levels.like(wide).alpha * wide, rtol=0, atol=1e-12)
    both = guided(wide, levels, cond)
    one = guided(wide[1:], Level(levels.alpha[1:], levels.sigma[1:]), {"label": cond["label"][1:]})
    torch.testing.assert_close(both[1:], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_one_window_is_the_model_and_all_agree_where_they_must(stride):
    window_law(windows(SIZE, stride))


def test_a_sum_and_labels_in_the_wrong_order_are_found(monkeypatch):
    def summed(denoise):
        def guided(x, level, cond=None):
            ones = windows(SIZE, 2)(lambda x, level, cond=None: torch.ones_like(x))
            count = torch.nn.functional.fold(
                torch.ones(1, 24, ((x.shape[2] - 4) // 2 + 1) * ((x.shape[3] - 6) // 2 + 1)),
                x.shape[2:], SIZE, stride=2,
            )  # fmt: skip
            return windows(SIZE, 2)(denoise)(x, level, cond) * ones(x, level, None) * count

        return guided

    fails("", window_law, summed)
    real = torch.Tensor.repeat
    monkeypatch.setattr(torch.Tensor, "repeat", lambda x, n: real(x, n).sort().values)
    fails("", window_law, windows(SIZE, 2))


def test_windows_that_leave_gaps_or_do_not_fit_are_refused():
    refused("stride is 5", windows, SIZE, 5)
    small = torch.zeros(1, 1, 3, 6)
    refused("holds no window of 4", windows(SIZE, 2)(net()), small, Level.of(0.6, 0.8))
