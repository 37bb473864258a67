"""Data larger than memory: a cache is the same data, made in parallel, gone on with, and refused
where it is not whole."""

import io
import mmap
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data import Data, Split, load, sets
from scorefield.data.readers import arrays, decode, decoded, maps, sources
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.sets import EIGHT_BIT
from tests.refusal import refused

N = 60


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(decoded, "CHUNK", 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # here, where CHUNK is 16


def pictures(root: Path, mode: str = "RGB", deep: tuple[int, ...] = ()) -> Path:
    rng = np.random.default_rng(0)
    for i in range(N):
        file = root / f"c{i % 3}" / f"{i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        levels = rng.integers(0, 256, (6, 5, 3), np.uint8)
        picture = Image.fromarray(levels).convert(mode)
        if i in deep:
            picture = Image.fromarray(levels[..., 0].astype(np.uint16) * 16)
        picture.save(file)
    return root


def cached(root: Path, cache: Path, say: Callable[[str], object] = str, **options) -> Data:
    return load("folder", path=str(root), cache=CachePlace(cache, say, True), **options)


def same(a: Data, b: Data) -> None:
    assert (a.classes, a.scaling, a.done, a.shape) == (b.classes, b.scaling, b.done, b.shape)
    for one, two in ((a.train, b.train), (a.test, b.test)):
        index = torch.arange(len(one))
        (x, cond), (y, told) = a.batch(one, index), b.batch(two, index)
        assert torch.equal(x, y)
        assert cond.keys() == told.keys()
        assert all(torch.equal(cond[key], told[key]) for key in cond)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("deep", [(), (0,), (40, 41)])
def test_a_cache_is_the_data(tmp_path, mode, deep):
    root = pictures(tmp_path / "in", mode, deep)
    (root / "c1" / "100.png").write_bytes(b"no picture")
    made = cached(root, tmp_path / "cache")
    same(made, load("folder", path=str(root)))
    assert made.train.rows is not None
    names = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert names == {"about.json", "decoded.safetensors"}
    same(cached(root, tmp_path / "cache"), made)


def test_it_is_used_of_itself_where_memory_is_small(tmp_path, monkeypatch):
    root, place = pictures(tmp_path / "in"), CachePlace(tmp_path / "cache")
    assert load("folder", path=str(root), cache=place).train.rows is None
    monkeypatch.setattr(decoded, "memory_bytes", lambda: 1000)
    assert load("folder", path=str(root), cache=place).train.rows is not None


def test_two_processes_make_what_one_makes(tmp_path, monkeypatch):
    root, said = pictures(tmp_path / "in"), []
    one = cached(root, tmp_path / "one")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    same(cached(root, tmp_path / "two", said.append), one)
    (line,) = said
    assert line.startswith("cache: 60 pictures as 3 x 6 x 5 take 9.5e-06 GB in ")


def test_a_stopped_cache_goes_on(tmp_path, monkeypatch):
    root, read = pictures(tmp_path / "in"), decode.try_picture
    seen = []

    def stops(sources, number, *how):
        seen.append(number)
        if len(seen) == 40:  # in the third of four chunks
            raise KeyboardInterrupt
        return read(sources, number, *how)

    monkeypatch.setattr(decode, "try_picture", stops)
    with pytest.raises(KeyboardInterrupt):
        cached(root, tmp_path / "cache")
    seen.clear()
    same(cached(root, tmp_path / "cache"), load("folder", path=str(root)))
    assert min(seen) == 32


def test_changed_files_are_another_cache(tmp_path):
    root = pictures(tmp_path / "in")
    before = cached(root, tmp_path / "cache")
    Image.new("RGB", (5, 6), "red").save(root / "c0" / "000.png")
    after = cached(root, tmp_path / "cache")
    same(after, load("folder", path=str(root)))
    assert not torch.equal(before.train.x, after.train.x)
    assert len(list((tmp_path / "cache").glob("*/about.json"))) == 2


def test_what_is_not_whole_is_refused(tmp_path, monkeypatch):
    root = pictures(tmp_path / "in")
    cached(root, tmp_path / "cache")
    (whole,) = (tmp_path / "cache").glob("*/decoded.safetensors")
    os.truncate(whole, whole.stat().st_size - 1)
    refused("decoded.safetensors is missing or not of its .* bytes", cached, root, whole.parents[1])
    about = whole.with_name("about.json")
    about.write_text(about.read_text().replace('"full": 255', '"full": 511'))
    refused("about.json does not hold what it was written with", cached, root, whole.parents[1])
    monkeypatch.setattr(maps.MappedRows, "free", lambda self: 1000)
    refused("takes 9.5e-06 GB, and .* has room for 1e-06", cached, root, tmp_path / "full")


@pytest.mark.parametrize("what", ["gone", "changed", "larger"])
def test_files_that_change_meanwhile(tmp_path, monkeypatch, what):
    root, keep = pictures(tmp_path / "in"), decoded.keep_sources
    file = root / "c2" / "020.png"

    def changes(*given):
        keep(*given)
        if what == "gone":
            file.unlink()
        else:
            Image.new("RGB", (5, 6) if what == "changed" else (6, 6), "red").save(file)

    monkeypatch.setattr(decoded, "keep_sources", changes)
    if what == "gone":
        with pytest.warns(UserWarning, match="1 of the 60 pictures.*020.png"):
            assert len(cached(root, tmp_path / "cache").train) == 53
    else:
        refused("020.png was changed since it was listed", cached, root, tmp_path / "cache")


def test_pictures_of_unlike_sizes_are_refused(tmp_path):
    root = pictures(tmp_path / "in")
    Image.new("RGB", (6, 6)).save(root / "c1" / "099.png")
    refused("differ in size.*099.png is 6x6", cached, root, tmp_path / "cache")
    assert cached(root, tmp_path / "cache", size=4).shape == (3, 4, 4)


@pytest.mark.parametrize("kind", ["zip", "tar", "shards"])
def test_archives_are_the_folder(tmp_path, kind):
    root, shards = pictures(tmp_path / "in"), tmp_path / "shards"
    shards.mkdir()
    files = sorted(root.rglob("*.png"))
    if kind == "zip":
        with zipfile.ZipFile(shards / "all.zip", "w") as opened:
            for file in files:
                opened.write(file, file.relative_to(root))
    for k in range({"zip": 0, "tar": 1, "shards": 2}[kind]):
        with tarfile.open(shards / f"{k}.tar", "w") as opened:
            for file in files[k * 30 : (k + 1) * 30] if kind == "shards" else files:
                opened.add(file, file.relative_to(root))
    place = shards if kind == "shards" else next(shards.iterdir())
    same(load("folder", path=str(place)), load("folder", path=str(root)))
    same(load(str(place), cache=CachePlace(tmp_path / "cache", asked=True)), load(str(root)))


def test_shards_that_say_their_classes(tmp_path):
    def add(shard, name, content):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        shard.addfile(info, io.BytesIO(content))

    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "png")
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for i in range(20):
            add(shard, f"{i:03}.png", file.getvalue())
            add(shard, f"{i:03}.cls", str(i % 4).encode())
    data = load(str(tmp_path))
    assert data.classes == ("0", "1", "2", "3")
    assert data.train.cond["label"].bincount().sort().values.tolist() == [4, 4, 5, 5]
    with tarfile.open(tmp_path / "1.tar", "w") as shard:
        add(shard, "0.png", file.getvalue())
    refused("0.png has no 0.cls", load, str(tmp_path))


def test_a_listing_of_archives_is_read_once(tmp_path, monkeypatch):
    """It lies with the cache, wherever the archives are moved, and another set of members is
    another listing: the twin."""

    def shard(k: int, count: int) -> None:
        with tarfile.open(tmp_path / f"in/{k}.tar", "w") as opened:
            for i in range(count):
                file = io.BytesIO()
                Image.new("RGB", (4, 4), (60 * k, i, 0)).save(file, "png")
                for name, content in (("png", file.getvalue()), ("cls", str(i % 3).encode())):
                    info = tarfile.TarInfo(f"{k}{i:03}.{name}")
                    info.size = len(content)
                    opened.addfile(info, io.BytesIO(content))

    (tmp_path / "in").mkdir()
    shard(0, 20)
    shard(1, 10)
    first, cache, read = cached(tmp_path / "in", tmp_path / "cache"), tmp_path / "cache", []
    same(first, load("folder", path=str(tmp_path / "in")))
    members = sources.archive_members
    monkeypatch.setattr(
        sources, "archive_members", lambda *given: read.append(given) or members(*given)
    )
    (tmp_path / "in").rename(tmp_path / "moved")
    same(cached(tmp_path / "moved", cache), first)
    assert not read
    (tmp_path / "moved").rename(tmp_path / "in")
    shard(1, 11)
    same(cached(tmp_path / "in", cache), load("folder", path=str(tmp_path / "in")))
    assert len(read) == 4
    for file in cache.glob("members-*"):
        file.write_bytes(file.read_bytes()[:-9])  # one that was cut short is made anew
    cached(tmp_path / "in", cache)
    assert len(read) == 6


def test_archives_that_cannot_be_read_where_they_lie(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.png", b"1" * 99)
    refused("holds a.png compressed", load, str(tmp_path / "a.zip"))
    (tmp_path / "a.tar").write_bytes(b"no archive" * 99)
    refused("cannot be read as an archive", load, str(tmp_path / "a.tar"))


@pytest.mark.parametrize("kind", ["x.npy", "x.npz", "small.npz"])
def test_arrays_are_mapped_where_they_lie(tmp_path, kind):
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)
    given = {
        "x": x,
        "y": np.arange(40) % 4,
        "vector": np.random.default_rng(1).normal(size=(40, 2)),
    }
    if kind == "x.npy":
        np.save(tmp_path / kind, x)
    else:
        (np.savez_compressed if kind == "small.npz" else np.savez)(tmp_path / kind, **given)
    mapped = load(str(tmp_path / kind), cache=CachePlace(tmp_path / "cache", asked=True))
    same(mapped, load(str(tmp_path / kind)))
    assert (mapped.train.rows is not None) == (kind != "small.npz")


class Advised:
    """In the place of a map: what of it is asked for."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def madvise(self, advice, begin, size):
        assert begin % mmap.PAGESIZE == 0
        self.spans.append((begin, begin + size))


def asked_for(x: Any, rows: list[int], shift: int = 0) -> bool:
    """Whether the spans that are asked for begin in the pages of those rows' first numbers and end
    with their last, of a map of 0, 1, ... in int32."""
    x._mmap, x.origin = Advised(), x.origin + shift
    x.expect(rows)
    ends = [(4 * int(x[row].min()), 4 + 4 * int(x[row].max())) for row in rows]
    whole = [(begin - begin % mmap.PAGESIZE, end) for begin, end in ends]
    return x._mmap.spans == whole


def test_rows_are_asked_for_before_they_are_looked_at(tmp_path):
    rows = maps.MappedRows(tmp_path / "x", (50, 8, 16, 24), deep=True)
    rows.create()
    rows.write(0, np.arange(50 * 8 * 16 * 24).reshape(rows.shape))
    x, some = rows.mapped(), [7, 3, 49]
    assert asked_for(x[:], some)
    assert asked_for(x[10:, :1], [7, 3, 39])
    assert asked_for(np.moveaxis(x, 1, -1), some)
    assert not asked_for(x[:], some, shift=mmap.PAGESIZE)  # the twin: a map that begins elsewhere
    across: Any = x.reshape(50, -1).T[:]
    assert asked_for(across, [])
    across.expect(some)
    assert not across._mmap.spans  # of numbers that lie all over the file


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("what", ["same", "gone", "written", "cut"])
def test_a_map_whose_file_changes_while_it_is_trained_on(tmp_path, monkeypatch, cache, what):
    monkeypatch.setattr(arrays, "LARGE", 1000)
    if cache:
        made = cached(pictures(tmp_path / "in"), tmp_path / "cache")
        (file,) = (tmp_path / "cache").glob("*/decoded.safetensors")
    else:
        file = tmp_path / "x.npy"
        np.save(file, np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8))
        made = load(str(file))
    assert made.train.rows is not None  # large files are not copied, asked or not
    before, index = made.train.taken(torch.arange(9)), torch.arange(9)
    if what == "gone":
        file.unlink()
    elif what != "same":
        os.utime(file, ns=(0, 0))
        os.truncate(file, 3000 if what == "cut" else file.stat().st_size)
    if what in ("same", "gone"):
        assert torch.equal(made.train.taken(index), before)
    else:
        refused("was changed while it was mapped", made.train.taken, index)


def test_facts_of_large_examples_are_read_off_fewer(monkeypatch):
    whole = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8)
    data = Data("x", Split(whole), Split(whole), (), EIGHT_BIT)
    assert torch.equal(data.some(), data.batch(data.train, torch.arange(6))[0])
    monkeypatch.setattr(sets, "SOME", 40)
    assert torch.equal(data.some(), data.batch(data.train, torch.tensor([0, 2, 5]))[0])


def test_a_column_of_parquet_is_decoded_once(tmp_path):
    datasets = pytest.importorskip("datasets")
    root = pictures(tmp_path / "in")
    files = sorted(map(str, root.rglob("*.png")))
    table = datasets.Dataset.from_dict({"image": files, "label": [i % 3 for i in range(N)]})
    table.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "saved"))
    path = str(tmp_path / "saved")
    mapped = load("huggingface", path=path, cache=CachePlace(tmp_path / "cache", asked=True))
    same(mapped, load("huggingface", path=path))
    assert mapped.train.rows is not None
