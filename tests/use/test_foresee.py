"""What is foreseen of a training, against what it takes."""

import json
import subprocess
import sys

import pytest
import torch

from scorefield.nets import DiT
from scorefield.nets.describe import held_bytes
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config
from scorefield.train import Training
from scorefield.use.foresee import foreseen, info_foreseen
from tests.refusal import refused

TAKES = """
import json, re, sys, threading, time
import torch
from torch.autograd.profiler import profile
from scorefield.base.memory import give_back_memory
from scorefield.data import Data, Split
from scorefield.run.config import build_denoiser, build_objective
from scorefield.run.settings import Config
from scorefield.train import Denoising, Training, fit
from scorefield.use.foresee import info_foreseen, needs
of_process = sys.argv[5] == "process" and give_back_memory()
net, precision, side, found = sys.argv[1], sys.argv[2], int(sys.argv[3]), []
x = torch.zeros(8, 3, side, side, dtype=torch.uint8)

def config_of(batch, micro):
    settings = Training(images=2 * batch, batch=batch, micro_batch=micro, precision=precision,
                        compile=False)
    return Config(settings, net=net)

def train(config):
    denoiser = build_denoiser(config, info)
    task = Denoising(denoiser, build_objective(config, info, denoiser.schedule))
    data = Data("given", Split(x), Split(x), (), info.scaling)
    list(fit(task, data, config.training))

def anonymous():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

def watch():
    while watched:
        most[0] = max(most[0], anonymous())
        time.sleep(0.005)

info = info_foreseen(config_of(1, 1), x.shape[1:], 0)
torch.nn.Linear(8, 8)(torch.zeros(2, 8)).sum().backward()
import accelerate, torch.distributed
for batch, micro in json.loads(sys.argv[4]):
    config, most, watched = config_of(batch, micro), [0], True
    if of_process:
        before, thread = anonymous(), threading.Thread(target=watch)
        thread.start()
        train(config)
        watched = False
        thread.join()
        peak = most[0] - before
    else:
        with profile(profile_memory=True) as took:
            train(config)
        events = [e for e in took.kineto_results.events() if e.name() == "[memory]"]
        held = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
        del took, events
    said = needs(config, build_denoiser(config, info).net, x.shape[1:])
    found.append([said.bytes(micro, 1, micro < batch), said.bytes(micro), peak])
print(json.dumps(found))
"""
DIT, UNET = "dit:patch=4,width=192,depth=6,heads=3", "unet:width=32,multipliers=1-2-2"


def taken(
    net: str, precision: str, side: int, cases: list[tuple[int, int]], of: str
) -> list[list[float]]:
    """Of each batch and micro-batch: what is foreseen, with and without the gradients of portions
    before, and what the allocator gave at most, or by how much the process grew."""
    words = [sys.executable, "-c", TAKES, net, precision, str(side), json.dumps(cases), of]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("net", [DIT, UNET])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_foreseen(net, precision):
    """What tensors hold at the peak of a step; the examples of the batch, up to 3%, aside."""
    cases = [(32, 32), (32, 4)]
    found = taken(net, precision, 32, cases, "tensors")
    for (batch, micro), (said, whole, took) in zip(cases, found):
        assert said == pytest.approx(took, rel=0.035)
        assert said <= took
        if micro < batch:  # the twin: gradients of the portions before are forgotten
            assert whole < 0.965 * took


@pytest.mark.parametrize("micro", [32, 8])
def test_memory_of_a_process_is_foreseen(micro):
    """Where the C library gives back what is freed: else holes between blocks come on top."""
    ((said, _, took),) = taken(DIT, "fp32", 64, [(32, micro)], "process")
    assert said == pytest.approx(took, rel=0.1)


BIG = "dit:size=s,patch=8"


def plan(devices=8, device="h100", **training):
    settings = Training(images=1000, batch=64, **training)
    config = Config(settings, net=BIG)
    return foreseen(config, info_foreseen(config, (4, 32, 32), 1000), devices, device).record


def test_a_plan_is_arithmetic():
    one, eight, muon = plan(1), plan(), plan(optimizer="muon")
    n = one["parameters"]
    assert n == pytest.approx(33e6, rel=0.01)
    assert one["flops_per_image"] == pytest.approx(6 * 0.36e9, rel=0.02)  # 3 passes of 2 each
    assert eight["images_per_second"] == pytest.approx(8 * one["images_per_second"])
    assert one["checkpoint_bytes"] == 16 * n  # weights, their average, two moments
    assert muon["checkpoint_bytes"] < 13 * n
    away = plan(1, ema_on="cpu")
    assert one["bytes"] - away["bytes"] == 4 * n
    assert away["checkpoint_bytes"] == one["checkpoint_bytes"]
    # weights, two moments, an average, and the gradients that are there at the peak
    assert 16 * n <= (eight["bytes"] - eight["bytes_in_shards"]) * 8 / 7 <= 20 * n


def test_a_micro_batch_is_what_is_held():
    whole, part = plan(1), plan(1, micro_batch=8)
    nets = [DiT((4, 32, 32), size="s", patch=8, checkpoint=again) for again in (False, True)]
    image, again = (max(m.image for m in held_bytes(net, (4, 32, 32))) for net in nets)
    assert 0 < whole["bytes"] - part["bytes"] <= 56 * image
    assert again < 0.25 * image


def test_counting_leaves_a_network_as_it_was():
    net, drawn = DiT((4, 32, 32), size="s", patch=8).eval(), torch.get_rng_state()
    held = held_bytes(net, (4, 32, 32))
    assert all(w.grad is None for w in net.parameters())
    assert not net.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert held[-1].learned == 4 * sum(w.numel() for w in net.parameters())


def test_what_cannot_be_planned():
    refused("unknown device 'h10'.*h100", plan, device="h10")
    refused("a batch of 64 does not divide among 7 devices", plan, 7)
    refused("latents of runs/digits-autoencoder", info_foreseen, recipe("digits-latent"), (), 0)
