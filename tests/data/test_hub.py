import json
import os
import sys
from pathlib import Path
from typing import Any

# Read once, when `datasets` is first imported: these tests never go online.
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets as hf
import numpy as np
import pytest
import torch
from datasets import config
from PIL import Image

from scorefield.base import BadInput
from scorefield.data import Data, load
from tests.refusal import refused

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet_private_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hf.disable_progress_bars()


def read(path: Path | str, **options: Any) -> Data:
    return load("huggingface", path=str(path), **options)


def picture(level: int, size: tuple[int, int] = (4, 4), mode: str = "L") -> Image.Image:
    return Image.new(mode, size, level if mode == "L" else (level, 0, 0))


def labelled(count: int = 20, mode: str = "L") -> hf.Dataset:
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["dark", "light"])})
    rows = {
        "image": [picture(100 * (i % 2) + i, mode=mode) for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }
    return hf.Dataset.from_dict(rows, features=features)


def check_labelled(data: Data, count: int = 20) -> None:
    assert (data.classes, data.train.x.dtype) == (("dark", "light"), torch.uint8)
    assert len(data.train) + len(data.test) == count
    for split in (data.train, data.test):
        assert torch.equal(split.cond["label"], (split.x[:, 0, 0, 0] >= 100).long())


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3)])
def test_a_data_set_saved_to_disk(tmp_path, mode, channels):
    labelled(mode=mode).save_to_disk(tmp_path / "saved")
    data = read(tmp_path / "saved")
    assert (data.shape, (len(data.train), len(data.test))) == ((channels, 4, 4), (18, 2))
    check_labelled(data)


def test_saved_formats_and_splits(tmp_path):
    parts = {"validation": labelled(4), "train": labelled(10).with_format("torch")}
    hf.DatasetDict(**parts).save_to_disk(tmp_path / "saved")
    data = read(tmp_path / "saved")
    assert (len(data.train), len(data.test)) == (10, 4)
    check_labelled(data, 14)


def test_a_parquet_file_of_pictures(tmp_path):
    labelled().to_parquet(tmp_path / "p.parquet")
    check_labelled(read(tmp_path / "p.parquet"))


def test_a_folder_of_pictures(tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        for i in range(count):
            for name, base in (("dark", 0), ("light", 100)):
                file = tmp_path / "pics" / split / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture(base + i).save(file)
    data = read(tmp_path / "pics")
    assert (len(data.train), len(data.test)) == (12, 4)
    check_labelled(data, 16)


def test_the_picture_rules_are_those_of_a_folder(tmp_path):
    def png(name: str, made: Image.Image) -> dict:
        made.save(tmp_path / name)
        return {"bytes": (tmp_path / name).read_bytes(), "path": name}

    deep = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    gone = str(tmp_path / "gone.png")
    Path(gone).touch()
    cells = [png("a.png", deep), png("b.png", picture(255, size=(8, 4)))]
    cells += [{"bytes": b"broken", "path": "c.png"}, {"bytes": None, "path": gone}, None]
    rows = hf.Dataset.from_dict({"picture": cells}).cast_column("picture", hf.Image(decode=False))
    rows.save_to_disk(tmp_path / "saved")
    Path(gone).unlink()
    with pytest.warns(UserWarning, match="3 of the 5 .*c.png, .*gone.png, row 4"):
        data = read(tmp_path / "saved", size=2)
    assert data.shape == (1, 2, 2)
    assert torch.cat([data.train.x, data.test.x]).unique().tolist() == [65535]
    refused("a.png is 4x4 and b.png is 8x4", read, tmp_path / "saved")


def test_csv_columns_are_vectors(tmp_path):
    lines = [f"{i},{10 - i}.5,text,{'odd' if i % 2 else 'even'}" for i in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,note,label", *lines]))
    data = read(tmp_path / "t.csv")
    assert (data.shape, data.classes) == ((2,), ("even", "odd"))
    for split in (data.train, data.test):
        assert torch.equal(split.x[:, 0].long() % 2, split.cond["label"])
        assert torch.equal(split.x.sum(1), torch.full((len(split),), 10.5))


def test_json_lists_are_vectors(tmp_path):
    lines = [json.dumps({"x": [i, 2 * i, 0.5], "label": i % 3}) for i in range(9)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    data = read(tmp_path / "t.jsonl")
    assert (data.shape, data.classes) == ((3,), ("0", "1", "2"))
    assert torch.equal(data.train.x[:, 1], 2 * data.train.x[:, 0])
    assert torch.equal(data.train.x[:, 0].long() % 3, data.train.cond["label"])


def write_jsonl(file: Path, rows: list[dict]) -> Path:
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.mark.parametrize(
    "rows, fact",
    [
        ([{"x": [1, 2]}, {"x": [3]}], "different lengths"),
        ([{"x": [1.0]}, {"x": [None]}], "NaN"),
        ([{"a": 1.0}, {"a": None}], "NaN"),
        ([{"a": "text"}, {"a": "more"}], "none of numbers"),
        ([{"x": [1], "z": [2]}, {"x": [1], "z": [2]}], "not just one"),
        ([{"a": 1, "label": 0.5}, {"a": 1, "label": 1.5}], "type float"),
        ([{"a": 1, "label": -1}, {"a": 1, "label": 1}], "run from -1 to 1"),
        ([{"a": 1}], "1 example"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, rows, fact):
    refused(fact, read, write_jsonl(tmp_path / "t.jsonl", rows))


def test_vectors_have_no_size(tmp_path):
    file = write_jsonl(tmp_path / "t.jsonl", [{"a": 1}, {"a": 2}])
    refused("`data.size` 8 cannot be obeyed", read, file, size=8)


def test_missing_class_labels_are_counted(tmp_path):
    features = hf.Features({"a": hf.Value("float32"), "label": hf.ClassLabel(names=["k"])})
    rows = hf.Dataset.from_dict({"a": [1.0, 2.0, 3.0], "label": [0, -1, -1]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    refused("2 rows without a label", read, tmp_path / "saved")


def test_splits_must_have_the_same_columns(tmp_path):
    parts = {"train": labelled(4), "test": labelled(4).remove_columns("label")}
    for name, part in parts.items():
        part.save_to_disk(tmp_path / "saved" / name)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    refused("different columns", read, tmp_path / "saved")


def test_shards_must_have_the_same_columns(tmp_path):
    for file, name in (("a", "y"), ("b", "z")):
        rows = hf.Dataset.from_dict({"x": [1.0, 2.0], name: [0.0, 1.0]})
        rows.to_parquet(tmp_path / "shards" / f"{file}.parquet")
    refused("different columns: one has x, z, and the first x, y", read, tmp_path / "shards")


def test_without_a_train_split_there_must_be_one_split(tmp_path):
    hf.DatasetDict({"a": labelled(4), "b": labelled(4)}).save_to_disk(tmp_path / "saved")
    refused("splits a, b and none is called train", read, tmp_path / "saved")


def test_two_image_columns_are_refused(tmp_path):
    features = hf.Features({"image": hf.Image(), "mask": hf.Image()})
    rows = {"image": [picture(1)] * 2, "mask": [picture(2)] * 2}
    hf.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    refused("several image columns: image, mask", read, tmp_path / "saved")


def test_a_name_that_cannot_be_found_is_one_sentence():
    with pytest.raises(BadInput, match="'nobody/nothing' cannot be loaded.*`data.path`") as caught:
        read("nobody/nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.json", "t.parquet", "t.csv", "t.txt"])
def test_damaged_and_foreign_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b'{"a": \x00\xff')
    refused(name, read, tmp_path / name)


def test_a_missing_file_is_not_sought_on_the_hub(tmp_path):
    refused("there is no file .*gone.csv", read, tmp_path / "gone.csv")


def test_a_missing_extra_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(r"pip install 'scorefield\[data\]'", read, "anything")
