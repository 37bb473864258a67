"""Classifier-free guidance asks for no row twice, and of a network for both answers at once."""

import pytest
import torch

from scorefield.base import Level
from scorefield.draw import CountedRows
from scorefield.guide import cfg
from tests.denoise.test_precision import denoiser
from tests.refusal import fails

SCALE = torch.tensor([1.0, 2.5, 1.0, 0.0, 4.0])
EACH = Level(torch.linspace(0.5, 0.9, 5).double(), torch.linspace(0.8, 0.3, 5).double())


class Plain:
    """A network that is asked as a function is: twice."""

    def __init__(self, model) -> None:
        self.model = model

    def __call__(self, x, level, cond=None):
        return self.model(x, level, cond)


def joint_law(joint, plain, scale, level) -> None:
    x, cond = torch.randn(5, 1, 8, 8), {"label": torch.arange(5) % 3}
    with torch.no_grad():
        found, asked = (cfg(scale)(one)(x, level, cond) for one in (joint, plain))
        assert torch.equal(found, asked), "other bits"
        whole = cfg(scale)(lambda *of: plain(*of))(x, level, cond)
        alone = plain(x, level, cond)
    assert torch.equal(whole, asked)
    still = (torch.as_tensor(scale) == 1).expand(5)
    assert torch.equal(found[still], alone[still])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("scale", [1.5, SCALE])
@pytest.mark.parametrize("level", [Level.of(0.8, 0.6), EACH])
def test_one_call_has_the_bits_of_two(precision, scale, level):
    model = denoiser("unet", precision)
    joint_law(model, Plain(model), scale, level)


def test_twin_a_null_that_is_not_read_is_seen():
    class Deaf(Plain):
        reads_null = True

        def __call__(self, x, level, cond=None):
            return self.model(x, level, cond and {"label": cond["label"]})

    model = denoiser("unet", "fp32")
    fails("other bits", joint_law, Deaf(model), Plain(model), 1.5, EACH)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("scale, rows", [(1.0, 5), (2.0, 10), (SCALE, 8), (torch.ones(5), 5)])
def test_rows_of_guidance_1_are_asked_for_once(reads, scale, rows):
    counted = CountedRows(lambda x, level, cond=None: x)
    counted.reads_null = reads  # type: ignore[attr-defined]
    cfg(scale)(counted)(torch.zeros(5, 2), EACH, {"label": torch.arange(5)})
    assert counted.rows == rows
