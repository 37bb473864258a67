"""Which runs compile: a rule on settings and network, told in one line."""

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from scorefield.denoise import Denoiser
from scorefield.nets import MLP, UNet, describe
from scorefield.train import Training, compiled

NET = MLP((2,), width=64, blocks=2)
COST = 3.0 * describe(NET, (2,)).flops_per_sample
HOUR = int(compiled.HOUR["cpu"] / COST)


@pytest.fixture
def everywhere(monkeypatch):
    """A machine on which compiled networks are the quicker ones."""
    monkeypatch.setattr(compiled, "pays", lambda training, kind: kind in compiled.HOUR)


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_on_a_processor_it_pays_in_bf16_with_matrix_units(monkeypatch, units, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": units}, raising=False)
    training = Training(images=2 * HOUR, precision=precision)
    found = compiled.long_run(training, NET, (2,), "cpu")
    assert (found is not None) == (units and precision == "bf16")


def test_it_pays_on_no_processor_that_an_older_torch_does_not_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    training = Training(images=2 * HOUR, precision="bf16")
    assert compiled.long_run(training, NET, (2,), "cpu") is None


@pytest.mark.usefixtures("everywhere")
def test_runs_of_an_hour_compile_and_shorter_ones_do_not():
    assert compiled.long_run(Training(images=HOUR // 2), NET, (2,), "cpu") is None
    flops = compiled.long_run(Training(images=2 * HOUR), NET, (2,), "cpu")
    assert flops == pytest.approx(2 * compiled.HOUR["cpu"], rel=1e-6)
    assert compiled.long_run(Training(images=2 * HOUR), NET, (2,), "cuda") is None
    assert compiled.long_run(Training(images=2 * HOUR), NET, (2,), "mps") is None


@pytest.mark.usefixtures("everywhere")
def test_the_rule_asks_no_clock(monkeypatch):
    here = threading.current_thread()

    def asked(clock: Any) -> float:
        return pytest.fail("looked at a clock") if threading.current_thread() is here else clock()

    for name in ("time", "monotonic", "perf_counter", "process_time"):
        monkeypatch.setattr(time, name, partial(asked, getattr(time, name)))
    answers = {compiled.long_run(Training(images=2 * HOUR), NET, (2,), "cpu") for _ in range(3)}
    assert len(answers) == 1


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(
    "compile, images, calls, lines",
    [(None, 2 * HOUR, 1, 1), (None, 100, 0, 0), (True, 100, 1, 0), (False, 2 * HOUR, 0, 0)],
)
def test_what_is_asked_for_is_done_and_long_runs_say_so(monkeypatch, compile, images, calls, lines):
    done, said = [], []
    monkeypatch.setattr(torch, "compile", lambda call: done.append(call) or call)
    training = replace(Training(images=images), compile=compile)
    net = MLP((2,), width=64, blocks=2)
    assert compiled.start(net, training, (2,), "cpu", said.append) == bool(calls)
    assert (len(done), len(said)) == (calls, lines)
    assert not lines or "compiling the network" in said[0]
    compiled.end(net)
    assert net._compiled_call_impl is None


@pytest.mark.usefixtures("everywhere")
def test_a_network_that_cannot_be_counted_stays_as_it_is():
    class Asks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, noise, cond=None):
            return x * self.weight if noise.sum().item() else x

    training = Training(images=10**15)
    assert compiled.long_run(training, Asks(), (2,), "cpu") is None
    assert not compiled.start(lambda x, noise, cond: x, training, (2,), "cpu", print)


@pytest.mark.usefixtures("everywhere")
def test_quickstart_stays_eager():
    net = UNet((1, 8, 8), width=24, multipliers=(1, 2), blocks=2, classes=10)
    assert compiled.long_run(Training(images=100_000), net, (1, 8, 8), "cpu") is None


def test_a_compiled_network_has_the_same_weights_by_name():
    net = MLP((2,), width=8, blocks=1)
    names, x = list(net.state_dict()), torch.randn(4, 2)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1)
        plain = net(x, torch.zeros(4))
        said: list[str] = []
        assert compiled.start(net, Training(compile=True), (2,), "cpu", said.append)
        torch.testing.assert_close(net(x, torch.zeros(4)), plain)
    assert list(Denoiser(net).state_dict()) == [f"net.{name}" for name in names]
    compiled.end(net)
