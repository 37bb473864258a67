import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data import Data, load
from scorefield.data.remark import remarks
from tests.refusal import refused


def save(file: Path, colour: int | tuple[int, ...] = 0, size: tuple[int, int] = (4, 4)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(file)


def levels(data: Data) -> list[int]:
    return sorted(torch.cat([data.train.x, data.test.x])[:, 0, 0, 0].tolist())


def read(root: Path, **options: Any) -> Data:
    return load("folder", path=str(root), **options)


def test_sub_folders_are_classes(tmp_path):
    for i in range(20):
        save(tmp_path / "dog" / f"{i}.png", 100 + i)
        save(tmp_path / "cat" / "deep" / f"{i}.png", i)
    data = read(tmp_path)
    assert (data.classes, data.shape) == (("cat", "dog"), (1, 4, 4))
    assert (len(data.train), len(data.test)) == (36, 4)
    assert data.test.cond["label"].bincount().tolist() == [2, 2]
    for split in (data.train, data.test):
        assert torch.equal(split.cond["label"], (split.x[:, 0, 0, 0] >= 100).long())
    assert levels(data) == [*range(20), *range(100, 120)]


def test_a_flat_folder_is_unlabelled(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", i)
    data = read(tmp_path)
    assert (data.classes, data.train.cond, (len(data.train), len(data.test))) == ((), {}, (2, 1))


def test_the_split_depends_on_relative_paths_alone(tmp_path):
    for name, order in (("one", range(30)), ("two", reversed(range(30)))):
        for i in order:
            save(tmp_path / name / "k" / f"{i:02}.png", i)
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert torch.equal(one.train.x, two.train.x)
    assert torch.equal(one.test.x, two.test.x)


@pytest.mark.parametrize("held", ["test", "val"])
def test_train_and_test_folders_are_the_splits(tmp_path, held):
    for i in range(3):
        save(tmp_path / "train" / "a" / f"{i}.png", i)
    save(tmp_path / "train" / "b" / "0.png", 9)
    save(tmp_path / held / "b" / "0.png", 50)
    data = read(tmp_path)
    assert (data.classes, data.train.cond["label"].tolist()) == (("a", "b"), [0, 0, 0, 1])
    assert (data.test.cond["label"].tolist(), data.test.x.unique().tolist()) == ([1], [50])


def test_a_lone_train_folder_is_split(tmp_path):
    for i in range(10):
        save(tmp_path / "train" / "a" / f"{i}.png", i)
    data = read(tmp_path)
    assert (data.classes, (len(data.train), len(data.test))) == (("a",), (9, 1))


def test_trains_beside_cars_are_a_class(tmp_path):
    for kind in ("train", "car"):
        for i in range(3):
            save(tmp_path / kind / f"{i}.png", i)
    assert read(tmp_path).classes == ("car", "train")


def test_an_empty_test_folder_is_an_error(tmp_path):
    save(tmp_path / "train" / "0.png")
    (tmp_path / "test").mkdir()
    refused("test split of 'folder' is empty", read, tmp_path)


def test_hidden_and_other_files_are_ignored(tmp_path):
    save(tmp_path / "0.png", 1)
    save(tmp_path / "1.PNG", 2)
    save(tmp_path / ".hidden.png", 3)
    save(tmp_path / ".thumbs" / "0.png", 4)
    (tmp_path / "notes.txt").write_text("not a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert levels(read(tmp_path)) == [1, 2]


def test_a_common_size_is_kept_as_it_is(tmp_path):
    for i in range(2):
        save(tmp_path / f"{i}.png", (1, 2, 3), size=(7, 5))
    data = read(tmp_path)
    assert (data.shape, data.train.x[0, :, 0, 0].tolist()) == ((3, 5, 7), [1, 2, 3])


def test_differing_sizes_ask_for_a_size_and_name_two(tmp_path):
    save(tmp_path / "a.png", size=(4, 4))
    save(tmp_path / "b.png", size=(4, 4))
    save(tmp_path / "c.png", size=(6, 4))
    refused("a.png is 4x4 and c.png is 6x4.*`data.size`", read, tmp_path)
    assert read(tmp_path, size=3).shape == (1, 3, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_obeyed(tmp_path, channels):
    save(tmp_path / "a.png", 5)
    save(tmp_path / "b.png", (5, 5, 5))
    data = read(tmp_path, channels=channels)
    assert data.shape == (channels, 4, 4)
    assert data.train.x.is_contiguous()
    assert set(levels(data)) == {5}


def break_files(root: Path, count: int) -> None:
    save(root / "whole.png", 3, size=(40, 40))
    whole = (root / "whole.png").read_bytes()
    for i in range(count):
        (root / f"broken{i}.png").write_bytes(whole[:50] if i % 2 else b"no picture")


def test_unreadable_files_are_left_out_and_named(tmp_path):
    break_files(tmp_path, 7)
    save(tmp_path / "z.png", 4, size=(40, 40))
    with pytest.warns(UserWarning, match="7 of the 9 pictures") as caught:
        data = read(tmp_path)
    assert levels(data) == [3, 4]
    message = str(caught[0].message)
    assert all(f"broken{i}.png" in message for i in range(5))
    assert "broken5.png" not in message
    assert caught[0].filename == __file__  # points at the caller of load


def test_labels_stay_with_their_pictures_when_some_are_unreadable(tmp_path):
    for i in range(10):
        save(tmp_path / "a" / f"{i}.png", i)
        save(tmp_path / "b" / f"{i}.png", 100 + i)
    (tmp_path / "a" / "0.png").write_bytes(b"")
    (tmp_path / "ghost").mkdir()
    (tmp_path / "ghost" / "0.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="a/0.png, ghost/0.png"):
        data = read(tmp_path)
    assert data.classes == ("a", "b")
    for split in (data.train, data.test):
        assert torch.equal(split.cond["label"], (split.x[:, 0, 0, 0] >= 100).long())


def test_a_folder_of_broken_files_is_an_error_that_names_it(tmp_path):
    break_files(tmp_path, 3)
    (tmp_path / "whole.png").unlink()
    refused(f"none of the 3 pictures in '{tmp_path}'", read, tmp_path)


@pytest.mark.parametrize("create", [True, False])
def test_an_empty_or_missing_folder_is_named(tmp_path, create):
    place = tmp_path / "pics"
    if create:
        place.mkdir()
    refused(f"{place}.*`data.path`", read, place)


def test_one_picture_is_not_a_data_set(tmp_path):
    save(tmp_path / "a.png")
    refused("one-image data", read, tmp_path)


def test_pictures_in_and_out_of_class_folders_do_not_mix(tmp_path):
    save(tmp_path / "stray.png")
    save(tmp_path / "a" / "0.png")
    refused("stray.png is in no class folder, but a/0.png is", read, tmp_path)


def test_a_decompression_bomb_is_skipped(tmp_path, monkeypatch):
    for i in range(2):
        save(tmp_path / f"{i}.png", i)
    save(tmp_path / "bomb.png", size=(50, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    with pytest.warns(UserWarning, match=r"bomb.png .*decompression bomb"):
        data = read(tmp_path)
    assert levels(data) == [0, 1]


def test_a_folder_is_uint8_scaled_to_minus_1_to_1(tmp_path):
    for i, level in enumerate((0, 255)):
        save(tmp_path / f"{i}.png", level)
    data = read(tmp_path)
    assert data.train.x.dtype == torch.uint8
    ends = [
        float(data.batch(split, torch.tensor([0]))[0].max()) for split in (data.train, data.test)
    ]
    assert sorted(ends) == [-1, 1]


def test_animations_give_their_first_frame(tmp_path):
    for name in ("a", "b"):
        frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 200)]
        frames[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=frames[1:])
    assert levels(read(tmp_path)) == [10, 10]


def test_what_was_found_is_told(tmp_path: Path):
    for i in range(9):
        save(tmp_path / "dog" / f"{i}.png", i, (8, 6))
    see_through = Image.new("RGBA", (4, 4), (9, 9, 9, 128))
    see_through.save(tmp_path / "dog" / "see.png")
    (tmp_path / "cat").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (20, 30)).save(tmp_path / "cat" / "turned.jpg", exif=turned)
    Image.new("CMYK", (4, 4)).save(tmp_path / "cat" / "print.jpg")
    (told,) = remarks(read(tmp_path, size=4))
    assert told == (
        "folder: 11 to train on and 1 held out; 3 x 4 x 4; 2 classes: cat 2, dog 10; files of "
        "4 x 4 to 20 x 30 pixels; 1 of CMYK, made RGB; 1 turned as their EXIF says; 1 with an "
        "alpha channel, laid on white"
    )
    Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(tmp_path / "cat" / "deep.png")
    told, deep = remarks(read(tmp_path, size=4))
    assert "1 of more than 8 bits" in told
    assert "white 65535" in deep
    assert not list(remarks(load("digits")))


@pytest.mark.parametrize("labels, classes", [([2, 0, 2, 0], ("0", "1", "2")), (None, ())])
def test_labels_of_a_table_beside_the_pictures(labels, classes, tmp_path):
    """As EDM's and StyleGAN's tools write them: folders are then no classes."""
    names = [f"00000/img{k}.png" for k in range(4)]
    (tmp_path / "00000").mkdir()
    for k, name in enumerate(names):
        Image.new("L", (4, 4), 50 * k).save(tmp_path / name)
    rows = labels and [[name, label] for name, label in zip(names, labels)]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": rows}))
    data = read(tmp_path)
    assert data.classes == classes
    for split in (data.train, data.test):
        own = [int(x.max()) // 50 for x in split.x]
        assert split.cond.get("label", torch.zeros(0)).tolist() == [
            labels[k] for k in own if labels
        ]


@pytest.mark.parametrize("rows", [[["a.png", 0]], [[1, 2]], "all", [["00000/img0.png", "cat"]]])
def test_a_table_that_does_not_fit(rows, tmp_path):
    for k in range(2):
        Image.new("L", (4, 4), k).save(tmp_path / f"{k}.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": rows}))
    refused("dataset.json", read, tmp_path)
