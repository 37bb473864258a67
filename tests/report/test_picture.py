"""Pictures: layout and levels of a grid, points, atomic files."""

import os
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base import BadInput
from scorefield.report import picture, plot
from scorefield.report.picture import GREY, frames
from scorefield.store import (
    Pieces,
    read_tag,
    tagged,
    write_gif,
    write_npz,
    write_pictures,
    write_png,
)
from tests.refusal import refused


@pytest.mark.parametrize("channels, mode", [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_channels(channels, mode):
    image = picture(torch.zeros(4, channels, 5, 3), magnify=False)
    assert (image.mode, image.size) == (mode, (2 * (3 + 1) + 1, 2 * (5 + 1) + 1))


def test_every_sample_is_in_its_place_and_lines_between():
    x0 = torch.linspace(-1, 1, 7 * 3 * 2 * 2).view(7, 3, 2, 2)
    drawn = np.asarray(picture(x0, columns=3, magnify=False))
    assert drawn.shape == (3 * 3 + 1, 3 * 3 + 1, 3)
    expected = np.full_like(drawn, GREY)
    for i in range(7):
        top, left = i // 3 * 3 + 1, i % 3 * 3 + 1
        pixels = ((x0[i] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        expected[top : top + 2, left : left + 2] = pixels
    assert np.array_equal(drawn, expected)


def test_levels_are_rounded_and_cut():
    x0 = torch.tensor([-5.0, -1.0, 0.0, 1.0, 5.0]).view(1, 1, 1, 5)
    assert np.asarray(picture(x0, magnify=False)).tolist() == [[0, 0, 128, 255, 255]]


def test_small_pictures_are_magnified_without_smoothing_and_columns():
    drawn = np.asarray(picture(torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)))
    assert (drawn.shape, set(drawn[:, :32].flat), set(drawn[:, 32:].flat)) == ((32, 64), {0}, {255})
    assert picture(torch.zeros(1, 1, 100, 20)).size == (20, 100)
    x0 = torch.zeros(10, 1, 4, 4)
    assert picture(x0, magnify=False).size == (4 * 5 + 1, 3 * 5 + 1)  # 4 x 3: nearly square
    for columns in (10, 99):
        assert picture(x0, columns=columns, magnify=False).size == (51, 6)


def test_captions_stand_under_their_own_pictures_and_are_cut_where_the_next_begins():
    x0, side, wide = torch.ones(4, 1, 7, 7), 84, 92
    bare = np.asarray(picture(x0, 2, captions=("", "", "", "")))
    assert bare.shape[:2] == (2 * 112 + 8, 2 * wide + 8)
    for captions, cell in ((("a", "", "", ""), 0), (("", "", "", "mean"), 3)):
        ink = (np.asarray(picture(x0, 2, captions=captions)) != bare).any(2)
        y, x = cell // 2 * 112 + 8 + side, cell % 2 * wide + 8
        inside = ink[y : y + 20, x : x + side]
        assert ink.sum() == inside.sum() > 0
    long = "a caption much too long for it"
    alone, beside = (
        (np.asarray(picture(x0, 2, captions=(long, next))) != bare).any(2)[:112].nonzero()[1]
        for next in ("", "x")
    )
    assert alone.max() > wide + 20
    assert 8 + side - 12 < beside[beside < wide].max() < 8 + side


def test_twin_captions_of_other_pictures_are_seen():
    x0 = torch.ones(4, 1, 7, 7)
    one, other = (
        np.asarray(picture(x0, 2, captions=c)) for c in (("a", "b", "", ""), ("b", "a", "", ""))
    )
    assert (one != other).any()


def test_a_film_of_points_has_one_frame_and_that_of_pictures_one_size():
    cloud = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    _, middle, last = (np.asarray(f) for f in frames([9 * cloud, cloud, cloud], None, None))
    assert np.array_equal(middle, last)
    assert not np.array_equal(np.asarray(frames([cloud], None, None)[0]), last)  # its own axes
    sheets = frames([torch.rand(6, 4, 40, 400), torch.rand(6, 4, 40, 400)], 3, None)
    assert {(s.mode, s.size) for s in sheets} == {("RGB", (800, 55))}


def test_a_gif_holds_every_frame_and_the_last_for_longer(tmp_path):
    inks = [Image.new("L", (5, 4), k) for k in (0, 90, 180)]
    write_gif(inks, tmp_path / "a.gif")
    found, seen, times = Image.open(tmp_path / "a.gif"), [], []
    for k in range(3):
        found.seek(k)
        seen.append(np.asarray(found.convert("L"))[0, 0])
        times.append(found.info["duration"])
    with pytest.raises(EOFError):
        found.seek(3)
    assert (seen, found.info["loop"]) == ([0, 90, 180], 0)
    assert times[-1] > times[0] == times[1]


def test_a_png_carries_what_it_is_given_and_nothing_else_does(tmp_path):
    about, path = {"run": "räder", "seeds": "0-3", "x": [1.5, None]}, tmp_path / "a.png"
    write_png(tagged(picture(torch.zeros(1, 1, 2, 2)), about), path)
    assert read_tag(path) == about
    bare = tmp_path / "b.png"
    write_png(picture(torch.zeros(1, 1, 2, 2)), bare)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(bare)))
    (tmp_path / "c.png").write_bytes(path.read_bytes()[:40])
    for file in (bare, tmp_path / "c.png"):
        with pytest.raises(BadInput, match="does not say how it was made"):
            read_tag(file)
    with pytest.raises(BadInput, match="cannot be read"):
        read_tag(tmp_path / "none.png")


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_points(dimension):
    x0 = torch.randn(50, dimension)
    image = picture(x0, labels=torch.arange(50) % 3)
    assert image.mode == "RGB"
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (2, 5, 2, 2), (2, 1, 1, 1, 1, 1), (3,), (0, 2)])
def test_what_cannot_be_drawn(shape):
    refused("cannot be drawn", picture, torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 1, 2, 2), (4, 2)])
def test_samples_that_are_not_finite_are_named_not_blackened(shape):
    x0 = torch.zeros(shape)
    x0[2] = float("nan")
    refused("1 of 4 samples are not finite, the first at index 2", picture, x0)
    refused("columns is 0", picture, torch.zeros(2, 1, 2, 2), columns=0)


def test_plot_writes_and_returns(tmp_path):
    x0 = torch.rand(4, 3, 8, 8) * 2 - 1
    image = plot(x0, tmp_path / "new" / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), np.asarray(image))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]
    plot(x0)


WRITERS = {
    "a.png": lambda file, value: write_png(picture(torch.full((1, 1, 2, 2), value)), file),
    "a.npz": lambda file, value: write_npz({"x": torch.full((2,), value)}, file),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, name):
    write, path = WRITERS[name], tmp_path / name
    write(path, 0.0)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused("No space left", write, path, 1.0)
    assert (path.read_bytes(), [p.name for p in tmp_path.iterdir()]) == (before, [name])


def test_arrays_need_no_pickle(tmp_path):
    arrays = {"x": torch.randn(3, 2), "y": torch.arange(3)}
    write_npz(arrays, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert sorted(found) == ["x", "y"]
        assert all(np.array_equal(found[k], v.numpy()) for k, v in arrays.items())


def test_pieces_make_the_same_file_as_the_whole(tmp_path):
    x, y = torch.randn(10, 3, 2), torch.arange(10)
    write_npz({"x": x, "y": y}, tmp_path / "whole.npz")
    write_npz({"x": Pieces(10, x.split(4)), "y": y}, tmp_path / "pieces.npz")
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "pieces.npz").read_bytes()
    with np.load(tmp_path / "pieces.npz", allow_pickle=False) as found:
        assert np.array_equal(found["x"], x.numpy())
        assert np.array_equal(found["y"], y.numpy())


@pytest.mark.parametrize("whole", [False, True])
def test_an_array_in_pieces_is_never_whole_in_memory(tmp_path, whole):
    size, count = 2**18, 40

    def pieces() -> Iterator[torch.Tensor]:
        for _ in range(count):
            yield torch.from_numpy(np.zeros((1, size), np.float32))

    tracemalloc.start()
    came = list(pieces()) if whole else pieces()
    write_npz({"x": Pieces(count, came)}, tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    few = 4 * size * 5  # the piece, the one before it, and buffers
    assert (peak > few) == whole


def test_pieces_that_fail_or_are_too_few_leave_no_file(tmp_path):
    def broken() -> Iterator[torch.Tensor]:
        yield torch.zeros(2, 3)
        raise BadInput("a part is missing.", "Make it.")

    refused("a part is missing", write_npz, {"x": Pieces(4, broken())}, tmp_path / "a.npz")
    with pytest.raises(BadInput, match="2 rows came where 4 were announced"):
        write_npz({"x": Pieces(4, [torch.zeros(2, 3)])}, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_single_pictures_are_those_of_write_png(tmp_path):
    x0 = torch.rand(3, 1, 4, 4) * 2 - 1
    images = {f"{name}.png": picture(x, magnify=False) for name, x in zip("abc", x0.split(1))}
    write_pictures((tmp_path / "all" / name, image) for name, image in images.items())
    for name in "abc":
        write_png(images[f"{name}.png"], tmp_path / f"{name}.png")
        one, many = tmp_path / f"{name}.png", tmp_path / "all" / f"{name}.png"
        assert one.read_bytes() == many.read_bytes()
    assert len(list((tmp_path / "all").iterdir())) == 3
