"""What is foreseen of a training, against what it takes."""

import json
import subprocess
import sys

import pytest

from scorefield.nets import DiT
from scorefield.nets.describe import kept_bytes
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config
from scorefield.train import Training
from scorefield.use.foresee import facts_foreseen, foreseen
from tests.refusal import refused

TAKES = """
import json, re, sys
from scorefield.run.config import build_denoiser, build_objective
from scorefield.run.settings import Config
from scorefield.train import Denoising, Training, fit
from scorefield.use.foresee import facts_foreseen, foreseen, needs
from scorefield.data import Data, Scaling, Split
import torch
net, batch, micro = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = Config(Training(images=2 * batch, batch=batch, micro_batch=micro), net=net)
facts = facts_foreseen(config, (3, 64, 64), 0)
x = torch.zeros(8, 3, 64, 64, dtype=torch.uint8)
data = Data("given", Split(x), Split(x), (), facts.scaling)
def anonymous():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
torch.nn.Linear(8, 8)(torch.zeros(2, 8)).sum().backward()
import accelerate, torch.distributed
before, most = anonymous(), [0]
denoiser = build_denoiser(config, facts)
block = denoiser.net.modulation
block.register_forward_hook(lambda *_: most.append(anonymous()))
task = Denoising(denoiser, build_objective(config, facts, denoiser.schedule))
list(fit(task, data, config.training))
need = needs(config, build_denoiser(config, facts).net, (3, 64, 64))
print(json.dumps([need.bytes(micro), max(most) - before]))
"""


def test_memory_is_foreseen():
    """At its peak, in the last layer of a pass: anonymous memory above an idle trainer's. Some
    .18 GB of libraries and of the allocator's come on top, whatever the batch."""
    words = [sys.executable, "-c", TAKES, "dit:patch=4,width=384,depth=8,heads=6", "32", "32"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    said, took = json.loads(done.stdout)
    assert said == pytest.approx(took, rel=0.1)


BIG = "dit:size=s,patch=8"


def plan(devices=8, device="h100", **training):
    settings = Training(images=1000, batch=64, **training)
    config = Config(settings, net=BIG)
    return foreseen(config, facts_foreseen(config, (4, 32, 32), 1000), devices, device).record


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
    # weights, gradients, two moments, an average
    assert eight["bytes"] - eight["bytes_in_shards"] == pytest.approx(20 * n * 7 / 8)


def test_activations_of_a_micro_batch_are_what_is_held():
    whole, part = plan(1), plan(1, micro_batch=8)
    net = DiT((4, 32, 32), size="s", patch=8)
    each = kept_bytes(net, (4, 32, 32), 2) - kept_bytes(net, (4, 32, 32), 1)
    assert whole["bytes"] - part["bytes"] == pytest.approx(56 * each, rel=0.01)
    again = DiT((4, 32, 32), size="s", patch=8, checkpoint=True)
    assert kept_bytes(again, (4, 32, 32), 4) < 0.2 * kept_bytes(net, (4, 32, 32), 4)


def test_what_cannot_be_planned():
    refused("unknown device 'h10'.*h100", plan, device="h10")
    refused("a batch of 64 does not divide among 7 devices", plan, 7)
    refused("latents of runs/digits-autoencoder", facts_foreseen, recipe("digits-latent"), (), 0)
