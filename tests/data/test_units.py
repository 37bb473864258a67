"""Numbers keep their digits: a far mean is taken away before float32, constants come out exactly.

x0 of u = m + s z must be z whatever the mean m, up to what the file itself can hold (2^-53 m / s in
float64) and x0's own rounding (2^-24 of 4).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scorefield.base import BadInput, Level
from scorefield.data import Conditions, Data, Scaling, Split, load
from scorefield.data.conditions import read_conditions
from scorefield.data.info import DataInfo
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples
from scorefield.denoise import Denoiser
from scorefield.likelihood.measured import How
from scorefield.run.config import build_denoiser
from scorefield.run.settings import Config
from scorefield.run.stored import from_json, to_json
from scorefield.use.bits import measure_bits
from tests.refusal import fails, refused

Z = np.random.RandomState(0).randn(200, 2)
MEANS = [0.0, 1e3, 1e7, 1e8, -1e12]


def read(folder: Path, **arrays: Any) -> Data:
    np.savez(folder / "made.npz", **arrays)
    return load(str(folder / "made.npz"))


def standard(u: np.ndarray) -> np.ndarray:
    """In float64 from end to end, from the first row on."""
    apart = u - u[:1]
    apart = apart / np.abs(apart).max()
    return (apart - apart.mean(0)) / apart.std(0)


Encode = Callable[[Tensor], Tensor]


def digits_law(encode: Encode, u: np.ndarray) -> None:
    own = float((np.spacing(np.abs(u)).max(0) / u.std(0)).max())  # of the file, and of the mean
    found = encode(torch.from_numpy(u)).numpy()
    np.testing.assert_allclose(found, standard(u), atol=1e-6 + own, rtol=0)


@pytest.mark.parametrize("mean", MEANS)
def test_vectors_keep_their_digits_about_any_mean(tmp_path, mean):
    u = mean + Z
    data = read(tmp_path, x=u, x_test=u)
    digits_law(lambda u: data.batch(data.train, torch.arange(len(u)))[0], u)
    digits_law(data.scaling.encode, u)


@pytest.mark.parametrize("mean", [1e7, 1e8])
def test_twin_float32_first_fails(mean):
    scaling = Scaling.standardise(torch.from_numpy(mean + Z))
    fails("", digits_law, lambda u: scaling.encode(u.float()), mean + Z)


def test_twin_a_mean_in_float32_fails():
    """float32 data about a mean that float32 does not hold."""
    u = torch.from_numpy(np.float32(1e7 + 3 * Z))
    scaling = Scaling.standardise(u)
    digits_law(lambda u: scaling.encode(u.float()), u.double().numpy())
    offset, scale = torch.tensor(scaling.offset), torch.tensor(scaling.scale)
    fails("", digits_law, lambda u: (u.float() - offset) / scale, u.double().numpy())


def test_integers_keep_theirs(tmp_path):
    u = 10**9 + np.random.RandomState(0).randint(0, 50, (200, 1))
    digits_law(read(tmp_path, x=u, x_test=u).scaling.encode, u)
    u = u + 2 * 10**15
    data = read(tmp_path, x=u, x_test=u)
    digits_law(lambda x: data.batch(data.train, torch.arange(200))[0], u)


def test_integers_that_float64_takes_for_one_are_refused(tmp_path):
    u = 10**18 + np.random.RandomState(0).randint(0, 50, (200, 1))
    refused("steps that float64 cannot tell apart", read, tmp_path, x=u)
    spread = np.arange(10, dtype=np.int64)[:, None] * 10**17  # rounding is nothing to these
    assert read(tmp_path, x=spread).shape == (1,)


def test_huge_and_tiny_numbers_have_a_deviation(tmp_path):
    for unit in (1e90, 1e-150):
        u = unit * Z
        digits_law(read(tmp_path, x=u, x_test=u).scaling.encode, u)


def test_pictures_keep_theirs(tmp_path):
    u = 1e8 + np.random.RandomState(0).rand(20, 4, 4)
    data = read(tmp_path, x=u, x_test=u)
    x0, _ = data.batch(data.train, torch.arange(20))
    low, high = u.min(), u.max()
    wanted = 2 * ((u - low) / (high - low)) - 1
    np.testing.assert_allclose(x0[:, 0].numpy(), wanted, atol=1e-6, rtol=0)


def test_conditions_keep_theirs(tmp_path):
    u = 1e8 + Z
    data = read(tmp_path, x=Z, vector=u, x_test=Z, vector_test=u)
    digits_law(lambda u: data.batch(data.train, torch.arange(200))[1]["vector"], u)
    np.savez(tmp_path / "wanted.npz", vector=u)
    arrays = read_npz(tmp_path / "wanted.npz", "conditions")
    encoded = read_conditions(tmp_path / "wanted.npz", arrays, data.conditions, (2,), 0)
    digits_law(lambda _: encoded["vector"], u)


def test_a_csv_keeps_its_digits(tmp_path, monkeypatch):
    hf = pytest.importorskip("datasets")
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    u = 1e8 + Z
    rows = "\n".join(f"{a!r},{b!r}" for a, b in u.tolist())
    (tmp_path / "far.csv").write_text(f"a,b\n{rows}\n")
    data = load("huggingface", path=str(tmp_path / "far.csv"))
    both = torch.cat([data.train.x, data.test.x]).sort(0).values
    assert np.array_equal(both.numpy(), np.sort(u, 0))


def test_examples_that_are_given_keep_theirs(tmp_path):
    u = 1e8 + Z
    scaling = Scaling.standardise(torch.from_numpy(u))
    np.savez(tmp_path / "given.npz", x=u)
    digits_law(lambda _: read_examples(tmp_path / "given.npz", (2,), scaling)[0], u)


def test_pictures_that_are_given_are_in_the_data_s_units(tmp_path):
    u = np.random.RandomState(0).randint(0, 1024, (3, 1, 4, 4))
    np.savez(tmp_path / "given.npz", x=u)
    x0, _ = read_examples(tmp_path / "given.npz", (1, 4, 4), Scaling.range(0, 1023))
    np.testing.assert_allclose(x0.numpy(), u / 1023 * 2 - 1, atol=1e-6)


def written_law(decode: Encode, u: np.ndarray) -> None:
    """What is written differs from u by a millionth of a deviation, and what x0 itself rounds."""
    x0 = torch.from_numpy(standard(u)).float()
    np.testing.assert_allclose(decode(x0).double().numpy(), u, atol=2e-6, rtol=1e-15)


@pytest.mark.parametrize("mean", MEANS)
def test_samples_are_written_with_their_digits(mean):
    u = mean + Z
    written_law(Scaling.standardise(torch.from_numpy(u)).decode, u)


def test_twin_samples_in_float32_fail():
    u = 1e7 + Z
    scaling = Scaling.standardise(torch.from_numpy(u))
    fails("", written_law, lambda x0: scaling.decode(x0).float(), u)


def test_float32_is_enough_where_it_loses_nothing(tmp_path):
    assert read(tmp_path, x=Z).train.x.dtype == torch.float32
    assert read(tmp_path, x=Z + 1e3).train.x.dtype == torch.float64
    for mean, dtype in ((5.0, torch.float32), (-1e3, torch.float64)):
        scaling = Scaling((mean,), (1.0,))
        assert scaling.decode(torch.zeros(1, 1)).dtype == dtype


# -- constants


CONSTANT = 0.1


@pytest.fixture
def half_constant(tmp_path) -> Data:
    return read(tmp_path, x=np.column_stack([Z, np.full(len(Z), CONSTANT), np.full(len(Z), 1e8)]))


def exact_law(decode: Encode) -> None:
    """A model's errors do not reach what has one value."""
    u = decode(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
    assert (u[:, 2] == CONSTANT).all()
    assert (u[:, 3] == 1e8).all()
    assert (u[:, 0].diff() != 0).all()


def test_a_constant_coordinate_is_written_exactly(half_constant):
    assert half_constant.scaling.constant == (2, 3)
    exact_law(half_constant.scaling.decode)


def test_twin_a_scale_of_1_alone_fails(half_constant):
    plain = Scaling(half_constant.scaling.offset, half_constant.scaling.scale)
    fails("", exact_law, plain.decode)


def test_the_denoiser_knows_that_its_mean_is_0(half_constant):
    info = DataInfo.of(half_constant)
    denoiser = build_denoiser(Config(), info)
    x = torch.randn(3, 4)
    denoised = denoiser(x, Level.of(0.6, 0.8))
    assert (denoised[:, 2:] == 0).all()
    assert (denoised[:, :2] != 0).all()


def test_constants_are_no_part_of_the_deviation(half_constant):
    assert DataInfo.of(half_constant).sigma_data == pytest.approx(1, abs=0.05)


def test_facts_keep_them_and_old_runs_have_none(half_constant):
    info = DataInfo.of(half_constant)
    content = to_json(Config(), info)
    import json

    assert from_json(json.loads(json.dumps(content)), "f")[1] == info
    del content["data"]["scaling"]["constant"], content["data"]["present"]
    old = from_json(json.loads(json.dumps(content)), "f")[1]
    assert (old.scaling.constant, old.present) == ((), None)


def test_another_value_of_a_constant_is_refused(half_constant, tmp_path):
    scaling = half_constant.scaling
    near = np.array([[1, 2, CONSTANT, 1e8]], np.float32)  # to float32's rounding it is the same
    np.savez(tmp_path / "near.npz", x=near)
    assert read_examples(tmp_path / "near.npz", (4,), scaling)[0][0, 2:].tolist() == [0, 0]
    np.savez(tmp_path / "far.npz", x=[[1.0, 2.0, 0.2, 1e8]])
    with pytest.raises(BadInput, match=r"coordinate 2 of x in .* is 0.2, and in all .* 0.1"):
        read_examples(tmp_path / "far.npz", (4,), scaling)


def test_another_value_of_a_constant_condition_is_refused(tmp_path):
    said = Conditions(vector=1, vector_scaling=Scaling((7.0,), (1.0,), (0,)))
    np.savez(tmp_path / "c.npz", vector=[8.0])
    arrays = read_npz(tmp_path / "c.npz", "conditions")
    with pytest.raises(BadInput, match="coordinate 0 of 'vector' in .* is 8, and in all .* 7"):
        read_conditions(tmp_path / "c.npz", arrays, said, (2,), 0)


def test_a_density_on_a_constant_is_refused(half_constant):
    info = DataInfo.of(half_constant)
    denoiser = build_denoiser(Config(), info)
    with pytest.raises(BadInput, match="coordinate 2 of the data is 0.1 in every example"):
        measure_bits(denoiser, torch.zeros(1, 4), How())


def test_data_of_one_value_are_refused_and_data_about_1e8_are_not(tmp_path):
    refused("all one value", DataInfo.of, read(tmp_path, x=np.full((20, 2), 1e8)))
    assert DataInfo.of(read(tmp_path, x=1e8 + Z)).sigma_data == pytest.approx(1, abs=1e-6)


def test_a_faint_deviation_is_not_none():
    x = torch.zeros(2, 1, 100, 100)
    x[0, 0, 0, 0], x[1, 0, 0, 1:] = 1e8, 1.0
    split = Split(x)
    info = DataInfo.of(Data("spot", split, split, (), Scaling.range(0, 1e8)))
    assert 0 < info.sigma_data < 0.1
    assert isinstance(build_denoiser(Config(), info), Denoiser)


# -- classes without examples


def test_the_classes_that_have_examples_are_known_and_the_others_named(tmp_path):
    label = np.arange(200) % 2 + 1
    with pytest.warns(UserWarning, match="no training example of 1 of its 3 classes: 0"):
        data = read(tmp_path, x=Z, y=label)
    assert (len(data.classes), data.present) == (3, (1, 2))
    info = DataInfo.of(data)
    assert info.drawn == (1, 2)
    assert DataInfo(info.name, (2,), ("a", "b"), info.scaling, 1.0).drawn == (0, 1)


def test_classes_in_the_test_split_alone_are_not_drawn(tmp_path):
    with pytest.raises(BadInput, match="run from 0 to 2"):
        read(tmp_path, x=Z, y=np.arange(200) % 2, x_test=Z[:3], y_test=[0, 1, 2])
    with pytest.warns(UserWarning, match="classes: 1"):
        found = read(tmp_path, x=Z, y=np.arange(200) % 2 * 2, x_test=Z[:3], y_test=[0, 1, 2])
    assert found.present == (0, 2)


# -- a run's data, read again


def read_again_law(same: Callable[[DataInfo, Data], Data], was: Data) -> None:
    """Rounding of another version and another draw of the same data are no other data: they are
    read in the run's units. What lies elsewhere is."""
    info, vector = DataInfo.of(was), was.conditions.vector_scaling
    assert vector is not None
    assert vector.constant == (1,)
    rounded = Scaling(tuple(float(np.float32(v)) for v in vector.offset), vector.scale)
    old = replace(info, conditions=replace(info.conditions, vector_scaling=rounded))
    found = same(old, was)
    assert (found.scaling, found.conditions) == (old.scaling, old.conditions)
    moved = Scaling((vector.offset[0] + vector.scale[0], vector.offset[1]), vector.scale)
    moved = replace(info, conditions=replace(info.conditions, vector_scaling=moved))
    refused("the data's vectors lie about 300", same, moved, was)
    bare = replace(info, conditions=Conditions())
    refused("come with vector 2, those .* with no conditions", same, bare, was)


@pytest.fixture
def conditioned(tmp_path) -> Data:
    vector = np.column_stack([300.1 + Z[:, 0], np.full(len(Z), 7.3)])
    return read(tmp_path, x=Z, vector=vector)


def test_a_run_s_data_are_known_again(conditioned):
    read_again_law(DataInfo.same, conditioned)


def test_twin_scalings_to_the_last_bit_fail(conditioned):
    def same(info: DataInfo, data: Data) -> Data:
        if data.conditions != info.conditions:
            raise BadInput("the data's conditions are others.", "Give the same.")
        return info.same(data)

    refused("conditions are others", read_again_law, same, conditioned)


def test_another_value_of_a_constant_is_other_data():
    own = Scaling((0.0, 7.3), (1.0, 1.0), constant=(1,))
    assert own.apart(own) is None
    assert own.apart(Scaling((0.0, 7.31), (1.0, 1.0), constant=(1,))) == 1
    assert own.apart(Scaling((0.0, 7.3), (1.0, 1.0))) == 1
    assert Scaling((0.0, 7.3), (1.0, 1.0)).apart(own) is None  # of before constants were noted
    assert own.apart(Scaling((0.0,), (1.0,))) == 0


def test_the_held_out_split_must_be_that_of_the_run_only_where_it_measures(conditioned):
    info = replace(DataInfo.of(conditioned), edition=0)
    refused("edition 0 of 'npz', and edition 1 holds out other", info.same, conditioned)
    assert info.same(conditioned, split=False) is conditioned
