"""Every recipe whose data are at hand trains and samples from end to end, on tiny settings."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from scorefield.data import Scaling
from scorefield.data.info import DataInfo
from scorefield.run.autoencoder import check_autoencoder, learns_codes
from scorefield.run.config import check
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config
from scorefield.run.stored import from_json, to_json

POINTS = [
    "--net.width", "16", "--batch", "64", "--images", "128", "--sample.steps", "2",
    "--checkpoint-every", "128",
]  # fmt: skip
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["swiss-roll", "moons", "8-gaussians", "checkerboard"])
def test_a_toy(cli, tmp_path, name):
    out = tmp_path / "run"
    assert cli("train", name, "--out", out, *POINTS).code == 0
    code, _, err = cli("sample", out, "--n", 50, "--out", tmp_path / "a.npz")
    assert code == 0, err
    found = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert found["x"].shape == (50, 2)
    assert cli("sample", out, "--n", 50, "--out", tmp_path / "a.png").code == 0
    assert Image.open(tmp_path / "a.png").mode == "RGB"


def test_a_folder_of_classes(cli, tmp_path, tiny):
    photos = tmp_path / "photos"
    for kind, level in (("dark", 40), ("light", 200)):
        (photos / kind).mkdir(parents=True)
        for i in range(10):
            pixels = RNG.integers(level, level + 50, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / kind / f"{i}.png")
    words = ("--data.path", photos, "--data.size", 8, "--out", tmp_path / "run", *tiny)
    assert cli("train", "folder", *words).code == 0
    code, _, err = cli("sample", tmp_path / "run", "--labels", "light,dark", "--n", 4,
                       "--out", tmp_path / "a.npz")  # fmt: skip
    assert code == 0, err
    found = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert found["x"].shape == (4, 3, 8, 8)
    assert found["y"].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "arrays, shape",
    [
        ({"x": RNG.random((40, 3))}, (3,)),
        ({"x": RNG.random((40, 3)), "y": np.arange(40) % 4}, (3,)),
        (
            {"x": RNG.integers(0, 255, (40, 8, 8), dtype=np.uint8), "y": np.arange(40) % 2},
            (1, 8, 8),
        ),
    ],
    ids=["vectors", "labelled vectors", "pictures"],
)
def test_arrays(cli, tmp_path, tiny, arrays, shape):
    np.savez(tmp_path / "x.npz", **arrays)
    if len(shape) == 1:  # an mlp has no multipliers
        at = tiny.index("--net.multipliers")
        tiny = tiny[:at] + tiny[at + 2 :]
    words = ("--data.path", tmp_path / "x.npz", "--out", tmp_path / "run", *tiny)
    assert cli("train", "npz", *words).code == 0
    code, _, err = cli("sample", tmp_path / "run", "--n", 4, "--out", tmp_path / "a.npz")
    assert code == 0, err
    found = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert found["x"].shape == (4, *shape)
    assert ("y" in found) == ("y" in arrays)


@pytest.mark.parametrize("name", recipes)
def test_a_recipe_is_whole_and_survives_json(name):
    config = recipes[name]()
    (check_autoencoder if learns_codes(config) else check)(config)
    assert (recipes[name].__doc__ or "").strip()
    info = DataInfo("d", (1, 8, 8), ("a", "b"), Scaling((0.5,), (2.0,)), 0.5)
    back = from_json(json.loads(json.dumps(to_json(config, info))), "config.json")
    assert back == (config, info)


def test_fields_that_are_not_there_have_their_defaults():
    """So that a later version may add a setting and still read the runs of this one."""
    info = DataInfo("d", (2,), (), Scaling((0.0,), (1.0,)), 1.0)
    content = json.loads(json.dumps(to_json(Config(), info)))
    del content["config"]["training"]["clip"], content["config"]["sample"]
    assert from_json(content, "config.json") == (Config(), info)
    content["schema"] = 1
    del content["data"]["edition"], content["data"]["present"]
    del content["data"]["scaling"]["constant"]
    assert from_json(content, "config.json") == (Config(), info)


def test_a_recipe_is_a_value():
    a = recipes["digits"]()
    assert a == recipes["digits"]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.training = None  # type: ignore[misc]
