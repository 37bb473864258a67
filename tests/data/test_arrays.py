import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scorefield.data import Data, load
from scorefield.data.readers.arrays import examples
from tests.refusal import refused


def read(folder: Path, channels: int | None = None, **arrays: Any) -> Data:
    file = folder / "made.npz"
    np.savez(file, **arrays)
    return load("npz", path=str(file), channels=channels)


def counting(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_grey_pictures(tmp_path):
    x = counting(10, 5, 4)
    data = read(tmp_path, x=x)
    assert (data.shape, data.train.x.dtype) == ((1, 5, 4), torch.uint8)
    assert (len(data.train), len(data.test)) == (9, 1)
    assert data.scaling.encode(torch.tensor([[0.0, 255.0]])).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("last", [False, True])
def test_colour_pictures_in_either_layout(tmp_path, last):
    x = counting(6, 3, 5, 6)
    stored = x.transpose(0, 2, 3, 1) if last else x
    data = read(tmp_path, x=stored, x_test=stored)
    assert data.shape == (3, 5, 6)
    assert data.train.x.is_contiguous()
    assert np.array_equal(data.test.x.numpy(), x)


def test_an_ambiguous_layout_is_explained_and_settled_by_channels(tmp_path):
    for shape, channels, reason in (
        ((6, 3, 4, 4), None, "both"), ((6, 8, 8, 8), None, "neither"),
        ((6, 3, 9, 9), 4, "neither"), ((6, 3, 9, 3), 3, "both"),
    ):  # fmt: skip
        says = f"{reason} of the axes 1 and 3.*`data.channels`"
        refused(says, read, tmp_path, x=counting(*shape), channels=channels)
    assert read(tmp_path, x=counting(6, 3, 4, 4), channels=3).shape == (3, 4, 4)
    assert read(tmp_path, x=counting(6, 3, 4, 4), channels=4).shape == (4, 3, 4)
    assert read(tmp_path, x=np.zeros((6, 16, 8, 8)), channels=16).shape == (16, 8, 8)


def test_float_pictures_span_minus_1_to_1(tmp_path):
    x = np.linspace(-3, 5, 4 * 25).reshape(4, 5, 5)
    data = read(tmp_path, x=x, x_test=x)
    assert data.train.x.dtype == torch.float32
    x0, _ = data.batch(data.train, torch.arange(4))
    assert (float(x0.min()), float(x0.max())) == (-1, 1)
    assert data.pixels(x0).flatten()[[0, -1]].tolist() == [0, 255]


def test_the_test_split_does_not_set_the_scaling(tmp_path):
    data = read(tmp_path, x=np.array([[[0.0, 1.0]]] * 2), x_test=np.full((2, 1, 2), 100.0))
    assert data.scaling.offset == (0.5,)


def test_vectors_are_standardised_and_a_constant_coordinate_survives(tmp_path):
    draws = np.random.default_rng(0).normal(4, 9, (500, 3))
    draws[:, 1] = 7
    data = read(tmp_path, x=draws)
    x0, _ = data.batch(data.train, torch.arange(len(data.train)))
    assert torch.allclose(x0.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x0.std(0, correction=0), torch.tensor([1.0, 0, 1]), atol=1e-5)
    assert data.scaling.scale[1] == 1


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool", "float16", "float64"])
def test_vectors_of_any_real_type_become_float32(tmp_path, kind):
    data = read(tmp_path, x=np.eye(8).astype(kind))
    assert (data.train.x.dtype, torch.cat([data.train.x, data.test.x]).sum()) == (torch.float32, 8)


def test_the_only_array_is_the_examples(tmp_path):
    assert read(tmp_path, pictures=counting(4, 5, 5)).shape == (1, 5, 5)
    assert read(tmp_path, arr_0=counting(4, 5, 5), y=[0, 1, 0, 1]).classes == ("0", "1")


@pytest.mark.parametrize("key", ["y", "label"])
def test_labels_follow_their_examples(tmp_path, key):
    label = np.arange(40) % 4
    arrays: dict[str, Any] = {"x": label[:, None], key: label[:, None]}
    data = read(tmp_path, **arrays)
    assert data.classes == ("0", "1", "2", "3")
    for split in (data.train, data.test):
        assert split.cond["label"].dtype == torch.int64
        assert torch.equal(split.cond["label"].float(), split.x[:, 0])
    assert data.test.cond["label"].bincount().tolist() == [1, 1, 1, 1]


def test_labels_of_text_are_the_sorted_names(tmp_path):
    label = np.array(["owl", "cat", "cat", "owl", "ant"] * 4)
    x = (label[:, None] == ["ant", "cat", "owl"]).argmax(1)[:, None]
    data = read(tmp_path, x=x, y=label, x_test=x[:3], y_test=label[:3].astype(bytes))
    assert data.classes == ("ant", "cat", "owl")
    for split in (data.train, data.test):
        assert torch.equal(split.cond["label"].float(), split.x[:, 0])
    says = "unknown class of 'y_test' in .* 'ow'. Did you mean 'owl'"
    refused(says, read, tmp_path, x=x, y=label, x_test=x[:1], y_test=["ow"])


def test_an_npy_is_x_alone(tmp_path):
    np.save(tmp_path / "one.npy", counting(10, 5, 5))
    np.savez(tmp_path / "one.npz", x=counting(10, 5, 5))
    npy, npz = (load(str(tmp_path / f"one.{kind}")) for kind in ("npy", "npz"))
    assert torch.equal(npy.train.x, npz.train.x)
    np.save(tmp_path / "one.npy", np.array([{}]))
    refused("pickle", load, str(tmp_path / "one.npy"))


def test_given_test_arrays_are_the_test_split(tmp_path):
    data = read(
        tmp_path, x=np.zeros((5, 2)), y=[0, 1, 2, 3, 9], x_test=np.ones((2, 2)), y_test=[9, 0]
    )
    assert data.train.cond["label"].tolist() == [0, 1, 2, 3, 9]
    assert (data.test.cond["label"].tolist(), len(data.classes)) == ([9, 0], 10)
    assert (data.test.x == 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted_and_located(tmp_path, value):
    x = np.zeros((5, 4))
    x[3, 1] = x[4, 0] = value
    refused(r"2 of 20 values .* first at index \(3, 1\)", read, tmp_path, x=x)


@pytest.mark.parametrize(
    "arrays, fact",
    [
        ({"x": np.zeros(5)}, r"shape \(5,\)"),
        ({"x": np.zeros((5, 0))}, r"shape \(5, 0\)"),
        ({"x": np.zeros((2, 1, 2, 3, 4))}, "has shape"),
        ({"x": np.zeros((5, 2), dtype=complex)}, "type complex128"),
        ({"x": np.full((5, 2), "a")}, "type <U1"),
        ({"x": np.zeros((0, 2))}, "0 examples"),
        ({"x": np.zeros((1, 2))}, "one-image data"),
        ({"a": np.zeros((5, 2)), "b": np.zeros((5, 2))}, "no array named x but a, b"),
        ({"y": np.zeros(5)}, "no array named x but y"),
        ({}, "no array named x but nothing"),
        ({"x": np.zeros((5, 2)), "y": [0, 1]}, "2 labels for 5 examples"),
        ({"x": np.zeros((2, 2)), "y": [0.0, 1.0]}, "type float64"),
        ({"x": np.zeros((2, 2)), "y": [[0, 1], [1, 0]]}, r"shape \(2, 2\)"),
        ({"x": np.zeros((2, 2)), "y": [-1, 1]}, "run from -1 to 1"),
        ({"x": np.zeros((2, 2)), "y": [0, 987654321]}, "to 987654321"),
        ({"x": np.zeros((2, 2)), "y": [0, 1], "label": [0, 1]}, "both y and label"),
        ({"x": np.zeros((2, 2)), "y": [0, 1], "x_test": np.zeros((2, 2))}, "do not pair up"),
        ({"x": np.zeros((2, 2)), "x_test": np.zeros((2, 2)), "y_test": [0, 1]}, "do not pair up"),
        ({"x": np.zeros((2, 2)), "y": [0, 1], "y_test": [0, 1]}, "do not pair up"),
        (
            {"x": np.zeros((2, 2)), "y": [0, 1], "x_test": np.zeros((2, 2)), "y_test": [0, 2]},
            "run from 0 to 2 with 2 classes",
        ),
        ({"x": np.zeros((2, 2)), "x_test": np.zeros((2, 3))}, "test examples"),
        ({"x": np.zeros((5, 2)), "channels": 1}, "`data.channels`"),
        ({"x": np.zeros((2, 4, 4, 4)), "spacing": np.eye(2, 3) + 1}, "of unlike spacing"),
        ({"x": np.array([np.zeros((2, 4)), np.zeros((3, 5))], object)}, "Python objects"),
        ({"x": np.zeros((5, 2, 2)), "channels": 3}, "`data.channels`"),
        ({"x": np.zeros((0, 2)), "x_test": np.zeros((2, 2))}, "0 examples|empty|no training"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(tmp_path, arrays, fact):
    refused(fact, read, tmp_path, **arrays)


def test_other_arrays_are_ignored_aloud(tmp_path):
    with pytest.warns(UserWarning, match="ignored the arrays labels"):
        read(tmp_path, x=np.zeros((5, 2)), labels=np.zeros(5))


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_a_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"
    objects = np.empty(2, dtype=object)
    objects[0] = Bomb(mark)
    refused("Python objects", read, tmp_path, x=objects)
    assert not mark.exists()


def test_a_lying_header_is_an_error(tmp_path):
    file = tmp_path / "lie.npz"
    np.savez(file, x=np.zeros((10, 2)))
    with zipfile.ZipFile(file) as archive:
        member = archive.read("x.npy")
    lie = tmp_path / "lie2.npz"
    with zipfile.ZipFile(lie, "w") as archive:
        archive.writestr("x.npy", member.replace(b"(10, 2)", b"(99, 2)"))
    refused("cannot be read", load, str(lie))


@pytest.mark.parametrize("part", [0, 10, 0.5, 0.98, None])
def test_truncated_files_and_a_flipped_byte(tmp_path, part):
    file = tmp_path / "cut.npz"
    np.savez_compressed(file, x=np.random.default_rng(0).normal(size=(500, 4)))
    raw = bytearray(file.read_bytes())
    if part is None:
        raw[len(raw) // 2] ^= 255
    else:
        raw = raw[: int(part * len(raw)) if part < 1 else int(part)]
    file.write_bytes(raw)
    refused("cut.npz' cannot be read" if part is None else "cut.npz", load, str(file))


def test_other_files_and_no_file(tmp_path):
    (tmp_path / "one.npz").write_bytes(b"no archive")
    refused("not a whole .npz file", load, "npz", path=str(tmp_path / "one.npz"))
    refused("there is no such file", load, str(tmp_path / "none.npz"))
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("x.npy", "not an array")
    refused("", load, str(tmp_path / "text.npz"))


def test_pictures_are_not_copied_without_need():
    x = counting(4, 3, 8, 8)
    assert np.shares_memory(examples(x, "x"), x)
