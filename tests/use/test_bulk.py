"""Bulk jobs: whoever makes a shard, and after whatever pause, the samples are the same bits."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import scorefield.use.bulk
from scorefield.base import BadInput, quiet
from scorefield.base.errors import Elsewhere
from scorefield.data.info import DataInfo
from scorefield.draw.shards import Shards
from scorefield.run.config import build_denoiser
from scorefield.run.open import Run
from scorefield.run.stored import to_json
from scorefield.run.train import recipe
from scorefield.store import Folder
from scorefield.train import Team
from scorefield.use.asked import numbers
from scorefield.use.bulk import about, fill, spans
from scorefield.use.generate import generate
from scorefield.use.plan import asked_of, plan_of
from tests.refusal import refused

SETTINGS = {"steps": 2, "solver": "dpmpp2m", "grid": "vp-root", "guidance": 1.5}
N, BATCH, SHARDS = 17, 4, 5


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run on the digits whose weights are random, and so tell classes apart."""
    config = recipe("digits")
    config = dataclasses.replace(config, net="unet:width=8,blocks=1,multipliers=1")
    info = DataInfo.of(config.load_data())
    denoiser = build_denoiser(config, info).eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for weight in denoiser.parameters():
        weight += 0.05 * torch.randn(weight.shape, generator=rng)
    folder = Folder(tmp_path_factory.mktemp("run"))
    folder.keep_config(to_json(config, info))
    return Run(folder.path, config, info, denoiser, 128)


@pytest.fixture
def job(run, tmp_path):
    """`job(batch=3)`: the shards of these tests, with changes."""

    def make(
        run=run,
        folder=tmp_path / "x.npz.parts",
        seeds=range(N),
        labels=(3, 7, 1),
        settings=SETTINGS,
        batch=BATCH,
    ) -> Shards:
        asked = asked_of(run.denoiser, seeds=seeds, labels=labels)
        plan = plan_of(run.denoiser, labels is not None, **settings)
        said = about(run, asked, settings, batch, labels)
        return Shards(folder, run.denoiser, plan, asked, batch, said)

    return make


@pytest.fixture
def whole(run) -> Tensor:
    """What one call without shards on disk makes."""
    return generate(run.denoiser, N, **SETTINGS, labels=[3, 7, 1], batch=BATCH)


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """The shards that were made, in order."""
    shards, make = [], Shards.make

    def counted(self: Shards, shard: int, watch=quiet) -> Tensor:
        shards.append(shard)
        return make(self, shard, watch)

    monkeypatch.setattr(Shards, "make", counted)
    return shards


def joined(job: Shards) -> Tensor:
    return torch.cat(list(job.pieces()))


def test_shards_are_the_batches_of_one_call(job, whole):
    some = job()
    assert (fill(some, Team()), some.count) == (0, SHARDS)
    assert torch.equal(joined(some), whole)


def test_labels_that_begin_anew_in_each_shard_are_other_samples(run, job, whole):
    """The twin of the test above: it would see labels that do not run on across shards."""
    wrong = [
        generate(run.denoiser, labels=[3, 7, 1], seeds=range(a, min(a + BATCH, N)), **SETTINGS)
        for a in range(0, N, BATCH)
    ]
    assert torch.equal(wrong[0], whole[:BATCH])
    assert not torch.allclose(wrong[1], whole[BATCH : 2 * BATCH], atol=1e-3)


def test_a_stopped_job_goes_on_at_the_first_missing_shard(job, whole, made, monkeypatch):
    make = Shards.make

    def stopped(self: Shards, shard: int, watch=quiet) -> Tensor:
        if shard == 3:
            raise KeyboardInterrupt
        return make(self, shard, watch)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "make", stopped)
        with pytest.raises(KeyboardInterrupt):
            fill(job(), Team())
    made.clear()
    told = []
    assert (fill(job(), Team(), begin=told.append), told, made) == (3, [3], [3, 4])
    assert torch.equal(joined(job()), whole)


def damage(kind: str, part: Path) -> None:
    content = part.read_bytes()
    other = (part.parent / "000004.safetensors").read_bytes()
    part.unlink()
    if kind == "half-written":
        part.with_name(f".{part.name}.1234.tmp").write_bytes(content[:100])
    elif kind != "gone":
        few = {"cut short": content[:-1], "empty": b"", "a pickle": b"\x80\x04}."}
        part.write_bytes(few.get(kind, other))


@pytest.mark.parametrize(
    "kind", ["gone", "half-written", "cut short", "empty", "a pickle", "of another length"]
)
def test_a_part_that_is_not_whole_is_made_anew(job, whole, made, kind):
    fill(job(), Team())
    damage(kind, job().folder / "000001.safetensors")
    refused("000001.safetensors is missing or damaged", joined, job())
    made.clear()
    assert (fill(job(), Team()), made) == (SHARDS - 1, [1])
    assert torch.equal(joined(job()), whole)


OTHER = {
    "n": ({"seeds": range(18)}, "`n` 17, now it is 18"),
    "seeds": ({"seeds": [*range(16), 99]}, "`seeds` 0-16, now it is 0-15,99"),
    "labels": ({"labels": [3, 7]}, "`labels` 3,7,1, now it is 3,7"),
    "no labels": ({"labels": None}, "`labels` 3,7,1, now it is none"),
    "steps": ({"settings": {**SETTINGS, "steps": 3}}, "`steps` 2, now it is 3"),
    "solver": ({"settings": {**SETTINGS, "solver": "ddim"}}, "`solver` dpmpp2m, now it is ddim"),
    "grid": ({"settings": {**SETTINGS, "grid": "karras"}}, "`grid` vp-root, now it is karras"),
    "guidance": ({"settings": {**SETTINGS, "guidance": 1.0}}, "`guidance` 1.5, now it is 1.0"),
    "batch": ({"batch": 5}, "`batch` 4, now it is 5"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_another_job_is_refused(job, made, kind):
    changes, says = OTHER[kind]
    fill(job(), Team())
    refused(f"holds an unfinished job with {says}", job, **changes)
    assert fill(job(), Team()) == SHARDS


def test_another_checkpoint_is_refused(job, run):
    fill(job(), Team())
    later = dataclasses.replace(run, images_seen=256)
    refused(" checkpoint 128 images, sha256 .* now it is 256 images", job, run=later)
    weight = next(run.denoiser.parameters())
    weight += 1e-6
    try:
        refused(" checkpoint 128 images", job, run=dataclasses.replace(run))
    finally:
        weight -= 1e-6


def test_what_decides_no_sample_is_no_other_job(job, run):
    fill(job(), Team())
    longer = dataclasses.replace(run.config.training, images=10**6)
    longer = dataclasses.replace(run.config, training=longer)
    Folder(run.path).keep_config(to_json(longer, run.info))
    job()


def test_another_version_is_refused(job, monkeypatch):
    fill(job(), Team())
    monkeypatch.setattr(scorefield.use.bulk, "__version__", "99")
    refused(" version .* now it is 99", job)


def test_a_job_that_began_meanwhile_is_not_mixed_with_another(job, made):
    mine, other = job(), job(settings={**SETTINGS, "steps": 3})
    mine.keep(0, mine.make(0))
    refused("`steps` 2, now it is 3", other.keep, 1, other.make(1))
    assert mine.have() == [True, False, False, False, False]


def test_shards_of_an_unknown_job_are_refused(job):
    fill(job(), Team())
    (job().folder / "job.json").unlink()
    refused("has shards but no job.json", job)


def test_removal_spares_what_is_not_the_jobs(job):
    some = job()
    fill(some, Team())
    (some.folder / ".000001.safetensors.12.tmp").write_text("half")
    (some.folder / "notes.txt").write_text("mine")
    some.remove()
    assert [path.name for path in some.folder.iterdir()] == ["notes.txt"]
    (some.folder / "notes.txt").unlink()
    some.remove()
    assert not some.folder.exists()


def test_samples_that_are_not_finite_lose_nothing(job, monkeypatch):
    make = Shards.make

    def diverging(self: Shards, shard: int, watch=quiet) -> Tensor:
        if shard == 2:
            raise BadInput("1 of 4 samples are not finite.", "Take more steps.")
        return make(self, shard, watch)

    monkeypatch.setattr(Shards, "make", diverging)
    refused("not finite. Take more steps. 2 of 5 shards are kept", fill, job(), Team())
    assert job().have() == [True, True, False, False, False]


def test_a_full_disk_loses_nothing(job, monkeypatch):
    some = job()
    some.keep(0, some.make(0))

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refused(r"No space left.*1 of 5 shards are kept", fill, some, Team())
    assert sorted(path.name for path in some.folder.iterdir()) == ["000000.safetensors", "job.json"]


def test_nothing_is_left_of_a_job_that_cannot_begin(job):
    refused("unknown solver", job, settings={**SETTINGS, "solver": "hun"})
    assert not job().folder.exists()
    for batch in (0, -1):
        refused(f"`batch` is {batch}", job, batch=batch)


class Member(Team):
    """One process of a team whose others do and see the same, but for those that are to fail."""

    def __init__(self, rank: int, size: int, failed: tuple[int, ...] | None = None) -> None:
        self.rank, self.size, self.device = rank, size, torch.device("cpu")
        self.failed = failed

    def gather(self, value: Tensor) -> Tensor:
        told = value[None].repeat(self.size, *[1] * value.ndim)
        if self.failed is not None:
            told = torch.tensor([rank in self.failed for rank in range(self.size)])
        return told


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_team_takes_the_missing_shards_in_turn(job, made, tmp_path, size):
    turns = []
    for rank in range(size):
        own = job(folder=tmp_path / str(rank))
        own.keep(2, own.make(2))
        made.clear()
        assert fill(own, Member(rank, size)) == 1
        turns.append(made.copy())
    missing = [0, 1, 3, 4]
    assert turns == [missing[rank::size] for rank in range(size)]


def test_of_a_team_that_fails_one_says_why():
    def wrong():
        raise BadInput("mine.", "Mend it.")

    assert Member(0, 3).together(lambda: 5) == 5
    with pytest.raises(Elsewhere):
        Member(0, 3, failed=(1,)).together(lambda: 5)
    refused("mine", Member(1, 3, failed=(1, 2)).together, wrong)
    with pytest.raises(Elsewhere):
        Member(2, 3, failed=(1, 2)).together(wrong)
    refused("mine", Team().together, wrong)


@given(st.lists(st.integers(0, 20)))
def test_spans_read_back(seeds):
    assert (numbers(spans(seeds), "seeds") if seeds else []) == seeds
