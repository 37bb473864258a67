"""Pictures that are read as they are trained on: the same data, in an order that a checkpoint goes
on with to the bit, and refused by name where a file is not what it was."""

import os
import signal
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from scorefield.data import Data, load
from scorefield.data.readers.decoded import CachePlace
from scorefield.denoise import Denoiser
from scorefield.objective import LogNormal, Objective
from scorefield.process import Cosine
from scorefield.train import Denoising, Training, fit
from scorefield.train.epochs import Shuffle, in_shards
from tests.data.test_decoded import pictures, same
from tests.refusal import refused
from tests.train.test_trainer import same as same_run

RUNS = torch.tensor([30, 20, 50])


def streamed(root: Path, buffer: int = 16, **options) -> Data:
    return load("folder", path=str(root), stream=buffer, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "in")


@pytest.fixture(scope="module")
def shards(root, tmp_path_factory) -> Path:
    folder, files = tmp_path_factory.mktemp("shards"), sorted(root.rglob("*.png"))
    for k in range(3):
        with tarfile.open(folder / f"{k}.tar", "w") as opened:
            for file in files[k * 20 : (k + 1) * 20]:
                opened.add(file, file.relative_to(root))
    return folder


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_stream_is_the_data(root, shards, kind):
    data, whole = streamed(root if kind == "folder" else shards), load("folder", path=str(root))
    assert data.train.stream
    assert data.train.rows is not None
    assert data.train.x.untyped_storage().nbytes() == 1  # nothing was read
    same(data, replace(whole, done=data.done))
    assert data.train.stream.runs(data.train.rows).tolist() == (
        [54] if kind == "folder" else [18, 18, 18]
    )


def test_rows_of_arrow_are_streamed(root, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = sorted(map(str, root.rglob("*.png")))
    table = datasets.Dataset.from_dict({"image": files, "label": [i % 3 for i in range(60)]})
    table.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "saved"))
    data, whole = (load("huggingface", path=str(tmp_path / "saved"), stream=s) for s in (9, None))
    same(data, replace(whole, done=data.done))


@pytest.mark.parametrize("size", [1, 16, 1000])
def test_every_example_is_seen_once_an_epoch(size):
    shuffle = Shuffle(RUNS, size, seed=3, batch=8)
    seen = torch.cat([*(shuffle(k) for k in range(60)), shuffle.held(60)])
    assert torch.equal(seen.sort().values, in_shards(RUNS, 3, 0, len(seen)).sort().values)
    assert shuffle.size == min(size, 100)
    in_order = torch.equal(seen, in_shards(RUNS, 3, 0, len(seen)))
    assert in_order == (size == 1)
    assert not torch.equal(*(in_shards(RUNS, seed, 0, 100) for seed in (0, 1)))


def test_the_order_goes_on_from_the_buffer_alone():
    whole, later, other = (Shuffle(RUNS, 16, seed=3, batch=8) for _ in range(3))
    seen = [whole(k) for k in range(40)]
    again = Shuffle(RUNS, 16, seed=3, batch=8)
    for k in range(20):
        again(k)
    later(0)  # as the trainer does, to see a batch
    later.resume(20, again.held(20))
    other.resume(20, other.held(0))  # the twin: another buffer
    assert all(torch.equal(later(k), seen[k]) for k in range(20, 40))
    assert not torch.equal(other(20), seen[20])
    refused("holds 16 of the pictures.*say 9 of 100", Shuffle(RUNS, 9, 3, 8).resume, 1,
            again.held(20))  # fmt: skip
    refused("say 16 of 44", Shuffle(RUNS // 3 + 4, 16, 3, 8).resume, 1, torch.full((16,), 90))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, noise, cond=None):
        return self.mix(x)


def trained(place: Path, run: Path, resume: bool = False, kill: int = 0, batch: int = 8) -> None:
    denoiser = Denoiser(Net(), sigma_data=0.5, shape=(3, 6, 5))
    task = Denoising(denoiser, Objective(Cosine(), LogNormal()))
    settings = Training(images=20 * batch, batch=batch, checkpoint_every=4 * batch, log_every=batch)
    for step in fit(task, streamed(place), settings, run, resume):
        if step.images == kill:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_run_goes_on_bit_for_bit(shards, tmp_path):
    trained(shards, tmp_path / "whole")
    for images in (72, 120):
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            trained(shards, tmp_path / "killed", True, images)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    trained(shards, tmp_path / "killed", True)
    assert same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_lost_buffer_is_another_run(shards, tmp_path, monkeypatch):
    """The planted defect: a resumed run begins a new buffer."""
    trained(shards, tmp_path / "whole")
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        trained(shards, tmp_path / "killed", True, 120)
        os._exit(0)
    os.waitpid(child, 0)
    monkeypatch.setattr(
        Shuffle, "resume", lambda self, step, held: self._held.update({step: self._held[0]})
    )
    trained(shards, tmp_path / "killed", True)
    assert not same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("what", ["gone", "changed", "damaged", "deep"])
def test_files_that_are_not_what_they_were(tmp_path, what):
    root = pictures(tmp_path / "in", deep=(40,) if what == "deep" else ())
    file = sorted(root.rglob("*.png"))[30]
    if what == "damaged":
        file.write_bytes(b"no picture")
    data = streamed(root)
    if what == "gone":
        file.unlink()
    elif what == "changed":
        Image.new("RGB", (5, 6), "red").save(file)
    words = {"gone": "cannot be read.*No such file", "changed": "was changed since",
             "damaged": "cannot be read: no known picture", "deep": "more than 8 bits"}  # fmt: skip
    assert data.train.stream
    refused(words[what], data.train.stream.read, torch.arange(60))


def test_what_cannot_be_streamed(root, tmp_path):
    refused("data.stream is 0", streamed, root, 0)
    both = CachePlace(tmp_path, asked=True)
    refused("both streamed and decoded", streamed, root, cache=both)
    refused("takes no `data.stream`", load, "digits", stream=9)
    (tmp_path / "a.png").write_bytes(b"")
    refused("none of the first pictures", streamed, tmp_path)
