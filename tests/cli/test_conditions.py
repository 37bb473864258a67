"""Conditional models from an .npz, by the command line: trained, sampled, resumed, refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.base import quiet
from scorefield.draw.shards import Shards
from scorefield.run.open import open_conditions, open_run
from scorefield.run.train import fit_run, recipe
from scorefield.use.generate import generate
from scorefield.use.plan import settings_of

N = 64
RNG = np.random.RandomState(0)
GIVEN = {
    "y": np.arange(N) % 2,
    "vector": RNG.randn(N, 3) * 4 + 7,
    "image": RNG.randint(0, 256, (N, 4, 4)).astype(np.uint8),
    "tokens": RNG.randint(0, 5, (N, 3)),
}
ROWS = 3
WANTED = {key: value[:ROWS] for key, value in GIVEN.items()}
SEEN = ["--steps", "2", "--n", "7"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    from scorefield.cli import main

    folder = tmp_path_factory.mktemp("conditions")
    np.savez(folder / "data.npz", x=RNG.randint(0, 256, (N, 4, 4)).astype(np.uint8), **GIVEN)
    np.savez(folder / "wanted.npz", **WANTED)
    words = ["train", "npz", "--data.path", folder / "data.npz", "--out", folder / "run"]
    words += ["--net.width", "8", "--net.blocks", "1", "--net.multipliers", "1"]
    words += ["--batch", "16", "--images", "64", "--sample.steps", "2", "--lr", ".01"]
    assert main([str(word) for word in words]) == 0
    return folder / "run"


def npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_run_remembers_its_conditions(run):
    said = open_run(run).info.conditions
    assert (said.vector, said.image, said.vocabulary, said.length) == (3, 1, 5, 3)
    assert json.loads((run / "config.json").read_text())["data"]["conditions"]["vector"] == 3


def test_rows_are_repeated_in_turn_and_decide_the_samples(run, cli, tmp_path):
    wanted = run.parent / "wanted.npz"
    code, _, err = cli("sample", run, "--conditions", wanted, *SEEN, "--out", tmp_path / "a.npz")
    assert code == 0, err
    made = npz(tmp_path / "a.npz")
    assert made["y"].tolist() == [0, 1, 0, 0, 1, 0, 0]
    opened = open_run(run)
    cond = open_conditions(opened, wanted)
    x0 = generate(opened.denoiser, 7, cond=cond, **settings_of(opened, steps=2))
    decoded = opened.info.scaling.decode(x0).numpy()
    np.testing.assert_allclose(made["x"], decoded, atol=1e-3)  # of 255
    other = {**cond, "vector": cond["vector"].flip(0)}
    changed = generate(opened.denoiser, 7, cond=other, **settings_of(opened, steps=2))
    assert not torch.allclose(changed[0], x0[0], atol=1e-4)
    assert torch.allclose(changed[1], x0[1], atol=1e-5)  # the middle row of three stays


def test_as_many_samples_as_rows_unless_asked(run, cli, tmp_path):
    wanted = run.parent / "wanted.npz"
    words = ("--steps", 1, "--json", "--out", tmp_path / "a.npz")
    assert json.loads(cli("sample", run, "--conditions", wanted, *words).out)["n"] == ROWS
    seeds = ("--seeds", "4,9")
    assert json.loads(cli("sample", run, "--conditions", wanted, *words, *seeds).out)["n"] == 2


def test_shards_are_one_call_and_a_pause_changes_nothing(run, cli, tmp_path, monkeypatch):
    wanted = ("--conditions", run.parent / "wanted.npz", "--guidance", 2, *SEEN)
    assert cli("sample", run, *wanted, "--out", tmp_path / "whole.npz").code == 0
    make, made = Shards.make, []

    def stopping(self: Shards, shard: int, watch=quiet) -> torch.Tensor:
        if shard == 2 and len(made) == 2:
            raise KeyboardInterrupt
        made.append(shard)
        return make(self, shard, watch)

    monkeypatch.setattr(Shards, "make", stopping)
    bulk = (*wanted, "--batch", 2, "--out", tmp_path / "parts.npz")
    assert cli("sample", run, *bulk).code == 130
    made.clear()
    monkeypatch.setattr(Shards, "make", make)
    done = cli("sample", run, *bulk, "--json")
    assert json.loads(done.out)["resumed"] == 2, done.err
    whole, parts = npz(tmp_path / "whole.npz"), npz(tmp_path / "parts.npz")
    np.testing.assert_allclose(parts["x"], whole["x"], atol=1e-3)
    assert parts["y"].tolist() == whole["y"].tolist()


def test_an_unfinished_job_of_other_conditions_is_refused(run, cli, refused, tmp_path, monkeypatch):
    wanted, other = run.parent / "wanted.npz", tmp_path / "other.npz"
    np.savez(other, **{**WANTED, "vector": WANTED["vector"] + 1})
    make = Shards.make

    def stopping(self: Shards, shard: int, watch=quiet) -> torch.Tensor:
        if shard == 1:
            raise KeyboardInterrupt
        return make(self, shard, watch)

    words = (*SEEN, "--batch", 3, "--out", tmp_path / "a.npz")
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "make", stopping)
        assert cli("sample", run, "--conditions", wanted, *words).code == 130
    assert "--conditions" in refused("sample", run, "--conditions", other, *words)
    assert cli("sample", run, "--conditions", wanted, *words).code == 0


def test_a_model_with_conditions_but_none_given_samples_without(run, cli, tmp_path):
    code, _, err = cli("sample", run, *SEEN, "--out", tmp_path / "a.npz")
    assert code == 0
    assert "no --conditions: samples without class, vector, image, tokens" in err
    cli("sample", run, *SEEN, "--unconditional", "--out", tmp_path / "b.npz")
    assert (npz(tmp_path / "a.npz")["x"] == npz(tmp_path / "b.npz")["x"]).all()


@pytest.mark.parametrize(
    "words, fact",
    [
        (["--labels", "0"], "trained with vector, image, tokens too"),
        (["--conditions", "none.npz"], "none.npz: there is no such file"),
        (["--conditions", "{wanted}", "--unconditional"], "--conditions and --unconditional"),
        (["--conditions", "{wanted}", "--labels", "0"], "holds classes"),
        (["--conditions", "{data}"], "holds x, and the model takes"),
    ],
)
def test_what_cannot_be_sampled_is_refused(run, refused, words, fact):
    names = {"wanted": run.parent / "wanted.npz", "data": run.parent / "data.npz"}
    assert fact in refused("sample", run, *(word.format(**names) for word in words))


def test_generate_refuses_conditions_that_do_not_fit(run):
    opened = open_run(run)
    cond = open_conditions(opened, run.parent / "wanted.npz")
    wrong = [
        ({"cond": cond, "labels": [0]}, "both as labels and in cond"),
        ({"cond": {**cond, "vector": cond["vector"][:1]}}, "numbers of rows"),
        ({"cond": {**cond, "label": torch.tensor([0, 1, 2])}}, "label 2"),
        ({"cond": {"vector": cond["vector"]}}, "lacks 'label'"),
        ({"labels": [0]}, "lacks 'vector'"),
    ]
    for given, fact in wrong:
        with pytest.raises(ValueError, match=fact):
            generate(opened.denoiser, 3, steps=1, **given)


def test_a_resumed_training_needs_the_same_data(run, cli, tmp_path):
    assert cli("train", "npz", "--out", run, "--resume", "--images", 96).code == 0
    assert open_run(run).images_seen == 96


# -- a model follows what it is told


def trained(folder: Path, net: str, images: int, **arrays: np.ndarray):
    """A small model on arrays, trained for some seconds."""
    import dataclasses

    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type] arrays
    config = recipe("npz")
    own = {"unet": "unet:multipliers=1,blocks=1,", "dit": "dit:depth=1,", "mlp": "mlp:blocks=1,"}
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=str(folder / "data.npz")),
        net=f"{own[net]}width=32",
    )
    out = folder / "run"
    fit_run(config, out, images=images, batch=64, lr=5e-3, warmup=2000, ema=0.97)
    return open_run(out)


def test_points_follow_the_vector_that_is_their_mean(tmp_path):
    """x ~ N(v, .1^2): what is made has the mean asked for, within a tenth of the range of v."""
    rng = np.random.RandomState(0)
    v = rng.uniform(-3, 3, (4000, 2))
    run = trained(tmp_path, "mlp", 40_000, x=v + 0.1 * rng.randn(4000, 2), vector=v)
    asked = np.array([[-2.0, 1.0], [2.0, 2.0], [0.0, -2.5]])
    np.savez(tmp_path / "asked.npz", vector=asked)
    cond = open_conditions(run, tmp_path / "asked.npz")
    for guidance in (1.0, 1.5):
        x0 = generate(run.denoiser, 300, cond=cond, steps=20, guidance=guidance)
        x = run.info.scaling.decode(x0).reshape(100, 3, 2)
        assert (x.mean(0) - torch.tensor(asked)).abs().max() < 0.3
    plain = run.info.scaling.decode(generate(run.denoiser, 300, steps=20)).reshape(100, 3, 2)
    assert (plain.mean(0) - torch.tensor(asked)).abs().max() > 1  # the twin: not told, not followed


def test_pictures_follow_the_picture_that_they_negate(tmp_path):
    rng = np.random.RandomState(0)
    image = (255 * (rng.rand(2000, 4, 4) > 0.5)).astype(np.uint8)
    run = trained(tmp_path, "unet", 10_000, x=255 - image, image=image)
    np.savez(tmp_path / "asked.npz", image=image[:50])
    cond = open_conditions(run, tmp_path / "asked.npz")
    told = generate(run.denoiser, cond=cond, steps=10)
    assert ((told < 0) == (cond["image"] > 0)).float().mean() > 0.98
    plain = generate(run.denoiser, 50, steps=10)
    assert ((plain < 0) == (cond["image"] > 0)).float().mean() < 0.65


@pytest.mark.parametrize(
    "net, kind, images", [("unet", "ids", 16_000), ("dit", "features", 40_000)]
)
def test_pictures_follow_their_tokens(tmp_path, net, kind, images):
    """Token i has the shade of row i of two: an id by its place, features by what they hold."""
    rng = np.random.RandomState(0)
    shade = rng.randint(0, 2, (2000, 4))
    x = (255 * np.repeat(shade[:, :, None], 4, 2)).astype(np.uint8)
    place = np.broadcast_to(np.eye(4), (2000, 4, 4))
    features = np.concatenate([place, 2.0 * shade[:, :, None] - 1], 2)
    run = trained(tmp_path, net, images, x=x, tokens=shade if kind == "ids" else features)
    np.savez(tmp_path / "asked.npz", tokens=(shade if kind == "ids" else features)[:50])
    cond = open_conditions(run, tmp_path / "asked.npz")
    told = generate(run.denoiser, cond=cond, steps=10)
    wanted = torch.tensor(shade[:50, None, :, None] > 0)
    assert ((told > 0) == wanted).float().mean() > 0.95
    plain = generate(run.denoiser, 50, steps=10)
    assert ((plain > 0) == wanted).float().mean() < 0.65
