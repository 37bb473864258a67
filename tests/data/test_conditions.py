"""Conditions in an .npz: read, scaled, split with their examples, or refused in a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scorefield.base import BadInput
from scorefield.data import Conditions, Data, Scaling, Split, load
from scorefield.data.conditions import read_conditions
from scorefield.data.info import DataInfo
from scorefield.data.readers.arrays import read_npz
from scorefield.run.config import build_denoiser
from scorefield.run.settings import Config
from scorefield.run.stored import from_json, to_json
from tests.refusal import refused

N = 20
RNG = np.random.RandomState(0)
X = RNG.rand(N, 4, 6).astype(np.float32)
GIVEN: dict[str, np.ndarray] = {
    "y": np.arange(N) % 3,
    "vector": 5 + 2 * RNG.randn(N, 2),
    "image": RNG.randint(0, 256, (N, 4, 6, 3)).astype(np.uint8),
    "tokens": RNG.randint(0, 9, (N, 5)),
}


def write(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "made.npz", **arrays)
    return str(folder / "made.npz")


def read(folder: Path, **arrays: Any) -> Data:
    return load("npz", path=write(folder, **arrays))


def test_conditions_come_with_their_examples_in_model_units(tmp_path):
    data = read(tmp_path, x=X, **GIVEN)
    said = data.conditions
    assert (said.vector, said.image, said.tokens) == (2, 3, None)
    assert (said.vocabulary, said.length) == (GIVEN["tokens"].max() + 1, 5)
    assert (said.keys, len(data.train) + len(data.test)) == (["vector", "image", "tokens"], N)
    for split in (data.train, data.test):
        x0, cond = data.batch(split, torch.arange(len(split)))
        for i in range(len(split)):
            (k,) = np.flatnonzero((X[:, None] == split.x[i].numpy()).all((1, 2, 3)))
            assert cond["label"][i] == GIVEN["y"][k]
            assert cond["tokens"][i].tolist() == GIVEN["tokens"][k].tolist()
            pixels = (cond["image"][i].permute(1, 2, 0) * 127.5 + 127.5).round().numpy()
            assert (pixels == GIVEN["image"][k]).all()
        assert x0.shape == (len(split), 1, 4, 6)
    _, cond = data.batch(data.train, torch.arange(len(data.train)))
    torch.testing.assert_close(cond["vector"].mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(cond["vector"].std(0, correction=0), torch.ones(2))


def test_a_test_split_of_its_own_is_scaled_as_the_training_one(tmp_path):
    vector = np.array([[0.0], [2.0]])
    data = read(tmp_path, x=X[:2], x_test=X[2:3], vector=vector, vector_test=np.array([[3.0]]))
    assert data.batch(data.test, torch.tensor([0]))[1]["vector"].tolist() == [[2.0]]


def test_pictures_of_any_layout_and_type(tmp_path):
    colour = GIVEN["image"]
    for image in (colour, colour.transpose(0, 3, 1, 2), colour[..., 0], colour / 7.0):
        data = read(tmp_path, x=X, image=image)
        assert data.conditions.image == (3 if image.ndim == 4 else 1)
        seen = data.batch(data.train, torch.arange(3))[1]["image"]
        assert seen.shape[2:] == (4, 6)
        assert -1 <= seen.min() < 0 < seen.max() <= 1


def test_features_of_tokens_stay_as_they_are(tmp_path):
    features = RNG.randn(N, 3, 7).astype(np.float32)
    data = read(tmp_path, x=X, tokens=features)
    assert (data.conditions.tokens, data.conditions.vocabulary) == (7, None)
    assert data.batch(data.train, torch.arange(2))[1]["tokens"].shape == (2, 3, 7)


@pytest.mark.parametrize(
    "arrays, fact",
    [
        ({"vector": np.zeros((N, 2, 2))}, r"'vector' in .* shape \(20, 2, 2\)"),
        ({"vector": np.zeros((N - 1, 2))}, "vector"),
        ({"vector": np.full((N, 1), np.nan)}, "20 of 20 values are NaN"),
        ({"image": np.zeros((N, 5, 6))}, r"'image' .* examples are of \(1, 4, 6\)"),
        ({"image": np.zeros((N, 4, 6, 2), complex)}, "complex"),
        ({"tokens": np.full((N, 2), -1)}, "ids .* run from -1 to -1"),
        ({"tokens": np.full((N, 2), 10**7)}, "10000000"),
        ({"tokens": np.zeros((N, 2))}, "float64"),
        ({"tokens": np.zeros((N, 0), int)}, "tokens"),
        ({"vector_test": np.zeros((2, 2))}, "do not pair up"),
        ({"vector": np.zeros((N, 2)), "x_test": X[:2]}, "do not pair up"),
        ({"vector": np.ones((N, 1)), "x_test": X[:2], "vector_test": np.ones((2, 3))}, "vector"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(tmp_path, arrays, fact):
    refused(fact, read, tmp_path, x=X, **arrays)


def test_a_picture_cannot_condition_a_vector(tmp_path):
    refused("'image'", read, tmp_path, x=np.zeros((N, 2)), image=X)


def test_a_lone_array_may_have_any_name(tmp_path):
    assert read(tmp_path, image=X).shape == (1, 4, 6)


def test_data_made_by_hand_must_say_what_its_conditions_are():
    split = Split(torch.zeros(3, 2), {"vector": torch.zeros(3, 1)})
    with pytest.raises(BadInput, match="'vector', of which its conditions say nothing"):
        Data("d", split, split, (), Scaling((0.0,), (1.0,)))


def test_facts_go_through_json_and_old_runs_have_none(tmp_path):
    data = read(tmp_path, x=X, **GIVEN)
    info = DataInfo.of(data)
    content = to_json(Config(), info)
    import json

    assert from_json(json.loads(json.dumps(content)), "f")[1] == info
    del content["data"]["conditions"]
    assert from_json(json.loads(json.dumps(content)), "f")[1].conditions == Conditions()


def test_the_network_is_built_for_the_conditions_of_the_data(tmp_path):
    data = read(tmp_path, x=X, **GIVEN)
    denoiser = build_denoiser(Config(), DataInfo.of(data))
    config: dict = denoiser.net.config  # type: ignore[assignment] of a network
    sizes = {key: config[key] for key in ("classes", "vector", "image", "vocabulary", "length")}
    assert sizes == {"classes": 3, "vector": 2, "image": 3, "vocabulary": 9, "length": 5}


def test_a_perceptron_reads_tokens(tmp_path):
    data = read(tmp_path, x=np.random.randn(N, 2), tokens=GIVEN["tokens"])
    config: dict = build_denoiser(Config(), DataInfo.of(data)).net.config  # type: ignore[assignment]
    assert (config["vocabulary"], config["length"]) == (9, 5)


# -- conditions to sample with


SAID = Conditions(vector=1, vocabulary=4, length=2, vector_scaling=Scaling((10.0,), (5.0,)))


def wanted(folder: Path, **arrays: Any) -> dict[str, torch.Tensor]:
    path = Path(write(folder, **arrays))
    return read_conditions(path, read_npz(path, "conditions"), SAID, (1, 4, 6), 3)


def test_a_file_to_sample_with_is_read_in_the_model_s_units(tmp_path):
    cond = wanted(tmp_path, vector=np.array([20.0, 5.0]), tokens=np.array([[1], [3]]))
    assert (cond["vector"].tolist(), cond["tokens"].tolist()) == ([[2.0], [-1.0]], [[1], [3]])
    named = wanted(tmp_path, label=[2], vector=[[1.0]], tokens=[[0, 0]])
    assert named["label"].tolist() == [2]


@pytest.mark.parametrize(
    "arrays, fact",
    [
        ({"vector": [1.0]}, "has no tokens, with which"),
        ({"vector": [1.0], "tokens": [[1]], "mood": [1]}, "holds mood, and the model takes label"),
        ({"vector": [1.0, 2.0], "tokens": [[1]]}, "2 of vector, 1 of tokens"),
        ({"vector": [[1.0, 2.0]], "tokens": [[1]]}, "Give 1 entries"),
        ({"vector": [1.0], "tokens": [[4]]}, r"of 0\.\.3"),
        ({"vector": [1.0], "tokens": [[1, 2, 3]]}, "up to 2 a row"),
        ({"vector": [1.0], "tokens": [[[0.5]]]}, "Give integer ids"),
        ({"vector": [1.0], "tokens": [[1]], "y": [3]}, r"holds 3. Use classes 0\.\.2"),
        ({"vector": [1.0], "tokens": [[1]], "y": [1], "label": [1]}, "both y and label"),
        ({"vector": np.zeros(0), "tokens": np.zeros((0, 1), int)}, "0 of vector"),
    ],
)
def test_a_file_that_does_not_fit_the_model_is_refused(tmp_path, arrays, fact):
    refused(fact, wanted, tmp_path, **{key: np.asarray(value) for key, value in arrays.items()})


def test_no_file_is_named_by_its_setting(tmp_path):
    with pytest.raises(BadInput, match="`conditions` .*none.npz: there is no such file"):
        read_npz(tmp_path / "none.npz", "conditions")
