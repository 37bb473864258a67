"""The precision of a network: where it is chosen, what it rounds, and that no sample sees it."""

import pytest
import torch
from torch import nn

from scorefield.base import Level
from scorefield.denoise import Denoiser
from scorefield.denoise.precondition import quicker
from scorefield.draw import Job
from scorefield.draw.jobs import walk
from scorefield.nets import MLP, DiT, UNet
from scorefield.process import Cosine
from scorefield.use.generate import generate
from scorefield.use.plan import asked_of, plan_of
from tests.refusal import fails

NETS = {
    "unet": lambda: UNet((1, 8, 8), width=8, multipliers=(1, 2), blocks=1, classes=3),
    "28x28": lambda: UNet((1, 28, 28), width=8, multipliers=(1, 2), blocks=1, classes=3, norms=1),
    "dit": lambda: DiT((1, 8, 8), width=32, depth=1, classes=3),
    "mlp": lambda: MLP((2,), width=32, blocks=1, classes=3),
}
SETTINGS = {"steps": 3, "solver": "ddpm", "guidance": 1.5}


def denoiser(name: str, precision: str) -> Denoiser:
    torch.manual_seed(0)
    net = NETS[name]().eval().requires_grad_(False)
    for weight in net.parameters():
        weight += 0.1 * torch.randn_like(weight)
    made = Denoiser(net, schedule=Cosine(), shape=net.shape, classes=("a", "b", "c"))
    made.precision = precision  # type: ignore[assignment]
    return made


def company_law(model: Denoiser) -> None:
    """A sample has the same bits in any batch, in any order, and after a pause."""
    seeds, labels = torch.arange(11), torch.arange(11) % 3
    whole = generate(model, seeds=seeds, labels=labels, **SETTINGS)
    parts = generate(model, seeds=seeds, labels=labels, batch=4, **SETTINGS)
    turned = generate(model, seeds=seeds.flip(0), labels=labels.flip(0), **SETTINGS)
    assert torch.equal(whole, parts), "of its batch"
    assert torch.equal(whole, turned.flip(0)), "of the order"
    plan = plan_of(model, True, **SETTINGS)
    job = Job.of(plan, asked_of(model, seeds=seeds, labels=labels), model.shape, torch.empty(0))
    job = next(walk(job, model)).job
    *_, last = walk(Job(plan, job.asked, job.state, job.k), model)
    assert last.job.x.dtype == torch.float32
    assert torch.equal(whole, last.job.x), "of a pause"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETS)
def test_a_sample_sees_no_company(name, precision):
    company_law(denoiser(name, precision))


def test_twin_a_scale_of_the_batch_is_seen():
    class Scaled(nn.Module):
        shape = (1, 8, 8)

        def __init__(self) -> None:
            super().__init__()
            self.net = denoiser("unet", "bf16").net

        def forward(self, x, noise, cond):
            size = x.abs().amax()  # as a quantisation by batches has it
            return self.net(x / size, noise, cond)

    model = denoiser("unet", "bf16")
    model.net = Scaled()
    fails("of its batch", company_law, model)


@pytest.mark.parametrize("name", NETS)
def test_the_network_alone_rounds_and_d_by_a_part_of_c_out(name):
    """2% of the network's output, as tests/nets has it; c_skip x and the sum are float32."""
    exact, half = (denoiser(name, precision) for precision in ("fp32", "bf16"))
    x, level = torch.randn(16, *exact.shape), Level.of(0.8, 0.6)
    found, low = exact(x, level), half(x, level)
    assert low.dtype == torch.float32
    out = exact.target(x, found, level)
    error = (half.target(x, low, level) - out).square().mean() / out.square().mean()
    assert 0 < error.sqrt() < 0.02


def test_a_gradient_goes_through_bf16():
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    exact, half = (
        torch.autograd.grad(denoiser("unet", p)(x, Level.of(0.8, 0.6)).sum(), x)[0]
        for p in ("fp32", "bf16")
    )
    assert half.dtype == torch.float32
    assert 0 < (half - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    "told, own, found",
    [
        ({"avx512_bf16": True, "avx512_fp16": False}, "bf16", "bf16"),
        ({"avx512_bf16": True, "avx512_fp16": True}, "bf16", "fp32"),
        ({"avx512_bf16": True, "avx512_fp16": True, "amx_bf16": True}, "bf16", "bf16"),
        ({"avx512_bf16": True, "avx512_fp16": False}, "fp32", "fp32"),
        ({}, "bf16", "fp32"),
    ],
)
def test_the_model_s_own_where_the_processor_is_faster_in_it(monkeypatch, told, own, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert quicker(own) == found
