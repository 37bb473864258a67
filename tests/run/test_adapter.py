"""Runs of adapters: nothing else is learned or kept, and they belong to one base."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.run.open import open_run
from scorefield.run.recipes import recipe
from scorefield.run.settings import SampleConfig
from scorefield.run.train import fit_run
from scorefield.store import Folder, digest_tensors, read_tensors
from tests.refusal import refused

SMALL = "auto:width=8,multipliers=1-2,blocks=1"


def begun(name, net, out, **training):
    config = replace(recipe(name), net=net)
    return fit_run(config, out, batch=32, lr=1e-2, **training)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base that reads words, and eight crosses that have a word of their own."""
    root = tmp_path_factory.mktemp("runs")
    begun("digits-text", SMALL, root / "base", images=64)
    begun("digits-text", SMALL, root / "other", images=64, seed=1)
    begun("digits", f"{SMALL},attention=()", root / "blind", images=32)
    for name in ("crosses", "classes/3"):
        (root / name).mkdir(parents=True)
    for i in range(8):
        x = np.zeros((8, 8), np.uint8)
        x[3 + i % 2, :], x[:, 3 + i // 4] = 255, 200 + i
        for name in ("crosses", "classes/3"):
            Image.fromarray(x).save(root / name / f"{i}.png")
        (root / "crosses" / f"{i}.txt").write_text("a cross")
    return root


def mine(runs, base="base", adapter="rank=2", place="crosses"):
    config = recipe("folder")
    about = replace(config.data, path=str(runs / place), size=8, channels=1)
    return replace(config, data=about, init=str(runs / base), adapter=adapter)


def fitted(runs, out, images=96, **more):
    """Six steps: the training of the recipe, in little."""
    given = {"batch": 16, "lr": 1e-2, "warmup": 0, "checkpoint_every": 48, **more}
    return fit_run(mine(runs), out, images=images, precision="fp32", **given)


@pytest.fixture(scope="module")
def learned(runs):
    fitted(runs, runs / "mine")
    fitted(runs, runs / "yours", seed=1)
    return runs


def test_it_is_all_that_is_kept_and_the_base_stays(learned):
    before = open_run(learned / "base")
    for part in ("model", "ema"):
        kept = read_tensors(learned / "mine" / f"{part}.safetensors")
        assert {key.rpartition(".")[2] for key in kept} == {"A", "B"}
        assert any(bool(value.any()) for key, value in kept.items() if key.endswith("B"))
    run = open_run(learned / "mine")
    assert digest_tensors(before.denoiser.state_dict()) == run.info.base
    own, theirs = run.denoiser.state_dict(), before.denoiser.state_dict()
    moved = {key for key in own if not torch.equal(own[key], theirs[key])}
    assert own.keys() == theirs.keys()
    assert moved
    assert {key.split(".")[-2] for key in moved} <= {"qkv", "out", "query", "key_value"}
    assert (run.config.objective, run.config.net) == (before.config.objective, before.config.net)
    assert run.info.text
    assert before.info.text
    assert run.info.text.words == before.info.text.words
    assert run.info.text.shown == ("a cross",)


def test_it_goes_on_from_a_kill_to_the_bit(learned):
    steps = iter([False, False, True])
    fitted(learned, learned / "half", stop=lambda: next(steps))
    assert Folder(learned / "half").images_seen() == 48
    fitted(learned, learned / "half", resume=True)
    whole, half = (read_tensors(learned / name / "model.safetensors") for name in ("mine", "half"))
    assert all(torch.equal(whole[key], half[key]) for key in whole)


def test_what_is_trained_is_what_is_opened(learned):
    now = fitted(learned, None)
    then = open_run(learned / "mine").denoiser
    assert digest_tensors(now.state_dict()) == digest_tensors(then.state_dict())


def test_several_are_added_with_their_weights(learned):
    base, one, other = (open_run(learned / name).denoiser for name in ("base", "mine", "yours"))
    both = open_run(learned / "base", adapters=f"{learned}/mine+{learned}/yours:-.5").denoiser
    states = [d.state_dict() for d in (base, one, other, both)]
    for key in states[0]:
        b, m, y, now = (state[key] for state in states)
        torch.testing.assert_close(now, b + (m - b) - 0.5 * (y - b))
    alone = open_run(learned / "base", adapters=f"{learned}/mine").denoiser
    assert digest_tensors(alone.state_dict()) == digest_tensors(one.state_dict())
    none = open_run(learned / "base", adapters=f"{learned}/mine:0").denoiser
    assert digest_tensors(none.state_dict()) == digest_tensors(base.state_dict())


def test_it_is_found_where_both_were_moved_to(learned, tmp_path, monkeypatch):
    for name in ("mine", "base"):
        shutil.copytree(learned / name, tmp_path / name)
    monkeypatch.setattr("scorefield.run.adapter.Path", lambda place: tmp_path / "gone" / "base"
                        if "base" in str(place) else place)  # fmt: skip
    assert open_run(tmp_path / "mine").info.base == open_run(learned / "mine").info.base


def test_another_base_is_refused(learned, tmp_path):
    for name in ("mine", "base", "other"):
        shutil.copytree(learned / name, tmp_path / name)
    content = Folder(tmp_path / "mine").config()
    content["config"]["init"] = str(tmp_path / "other")
    Folder(tmp_path / "mine").keep_config(content)
    refused("and the adapter was learned on those of sha256", open_run, tmp_path / "mine")
    refused("mine is an adapter of another run", open_run, learned / "other",
            adapters=str(learned / "mine"))  # fmt: skip
    refused("base is no adapter", open_run, learned / "base", adapters=str(learned / "base"))
    refused("the weight heavy", open_run, learned / "base", adapters=f"{learned}/mine:heavy")


def test_what_does_not_fit_is_refused_before_anything_is_written(runs):
    out, data = runs / "none", mine(runs).data
    for says, config in (
        ("the network UNet has no attention", mine(runs, "blind", place="classes")),
        (r"the data have shape \(1, 8, 8\) and 0 classes", mine(runs, "blind")),
        ("runs/none that an adapter is added to is not there", mine(runs, "runs/none")),
        ("an `adapter` is added to a run. Give `init`", replace(mine(runs), init=None)),
        ("the rank of an adapter is 0", mine(runs, adapter="rank=0")),
        ("unknown adapter 'high-rank'", mine(runs, adapter="high-rank")),
        ("unknown option of low-rank 'rang'", mine(runs, adapter="rang=4")),
        ("`net` does nothing: an adapter has that of", replace(mine(runs), net="dit:width=64")),
        ("`sample` does nothing", replace(mine(runs), sample=SampleConfig(steps=3))),
        (r"the data have shape \(1, 4, 4\)", replace(mine(runs), data=replace(data, size=4))),
    ):
        refused(says, fit_run, config, out, images=16, batch=16)
    assert not (out / "config.json").exists()
