"""Bulk jobs as a person runs them: kills, Ctrl-C, two processes, one file in the end."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scorefield.report.files
import scorefield.store.rowed
from scorefield.base import BadInput, quiet
from scorefield.data.readers.sources import in_archives
from scorefield.draw.shards import Shards
from scorefield.store import alone

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@pytest.fixture
def stopped(cli, trained, monkeypatch):
    """Give a command that is stopped when it begins this shard."""

    def call(shard: int, *words):
        make = Shards.make

        def stop(self: Shards, k: int, watch=quiet):
            if k == shard:
                raise KeyboardInterrupt
            return make(self, k, watch)

        with monkeypatch.context() as patch:
            patch.setattr(Shards, "make", stop)
            return cli("sample", trained, *words)

    return call


@pytest.mark.parametrize("name", ["x.npz", "x.png", "x", "x.tar", "x.parquet"])
def test_a_stopped_job_goes_on_and_ends_the_same(cli, trained, stopped, tmp_path, name):
    words = ("--n", 10, "--batch", 4, "--labels", "3,7,1")
    assert cli("sample", trained, *words, "--out", tmp_path / "whole" / name).code == 0
    out = tmp_path / "some" / name
    code, said, err = stopped(2, *words, "--out", out)
    assert (code, said) == (130, "")
    assert f"stopped: 2 of 3 shards are there in {out}.parts. The same command goes on" in err
    assert [path.name for path in out.parent.iterdir()] == [f"{name}.parts"]
    code, said, err = cli("sample", trained, *words, "--out", out, "--json")
    assert code == 0
    assert "resuming: 2 of 3 shards are there" in err
    result = json.loads(said)
    assert (result["shards"], result["resumed"], result["n"]) == (3, 2, 10)
    files = [p for p in sorted((tmp_path / "whole").rglob("*")) if p.is_file()]
    assert len(files) == (10 if name == "x" else 1)
    for file in files:
        assert (tmp_path / "some" / file.relative_to(tmp_path / "whole")).read_bytes() == (
            file.read_bytes()
        )
    assert [path.name for path in out.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["rows-%06d.tar", "rows-%06d.parquet"])
def test_rows_are_read_back_by_what_trains_on_them(cli, trained, tmp_path, monkeypatch, name):
    """In files of 4, the pictures, classes and seeds of a folder of single ones."""
    words = ("--seeds", "5-9,2,11-14", "--labels", "3,7,1", "--batch", 3)
    monkeypatch.setattr(scorefield.store.rowed, "EACH", 4)
    (tmp_path / "some").mkdir()
    assert cli("sample", trained, *words, "--out", tmp_path / "some" / name).code == 0
    files = sorted((tmp_path / "some").iterdir())
    assert [path.name for path in files] == [name % k for k in range(3)]
    assert cli("sample", trained, *words, "--out", tmp_path / "x").code == 0
    single = {p.name[:6]: np.asarray(Image.open(p)) for p in (tmp_path / "x").iterdir()}
    wanted = [single[f"{seed:06d}"] for seed in (*range(5, 10), 2, *range(11, 15))]
    if name.endswith("tar"):
        sources = in_archives(tmp_path / "some", files)
        labels = sources.labels()
        assert labels is not None
        assert labels.tolist() == [3, 7, 1, 3, 7, 1, 3, 7, 1, 3]
        found = [bytes(content) for _, content in sources.each()]
    else:
        datasets = pytest.importorskip("datasets")
        rows = datasets.load_dataset("parquet", data_files=[str(f) for f in files])["train"]
        assert rows["seed"] == [*range(5, 10), 2, *range(11, 15)]
        assert rows["label"] == [3, 7, 1, 3, 7, 1, 3, 7, 1, 3]
        found = [
            row["bytes"] for row in rows.cast_column("image", datasets.Image(decode=False))["image"]
        ]
    for content, x in zip(found, wanted, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), x)


def test_two_jobs_to_one_place_do_not_mix(cli, trained, tmp_path):
    out = tmp_path / "x.npz"
    with alone(tmp_path, "x.npz"):  # as the first one holds it
        code, said, err = cli("sample", trained, "--n", 10, "--batch", 4, "--out", out)
    assert (code, said) == (2, "")
    assert f"another job is at work in {out}. Wait for its end" in err
    assert not list(tmp_path.iterdir())
    assert cli("sample", trained, "--n", 10, "--batch", 4, "--out", out).code == 0


def test_seeds_and_labels_run_on_across_shards(cli, trained, tmp_path):
    out = tmp_path / "x.npz"
    words = ("--seeds", "5-9,2", "--labels", "3,7,1,0", "--batch", 4)
    assert cli("sample", trained, *words, "--out", out).code == 0
    with np.load(out, allow_pickle=False) as found:
        assert found["seed"].tolist() == [5, 6, 7, 8, 9, 2]
        assert found["y"].tolist() == [3, 7, 1, 0, 3, 7]
        assert (found["x"].shape, found["x"].dtype) == ((6, 1, 8, 8), np.float32)


def test_pictures_of_single_seeds_are_named_by_them(cli, trained, tmp_path):
    words = ("--seeds", "5-9,2", "--batch", 4, "--out", tmp_path / "all")
    assert cli("sample", trained, *words).code == 0
    names = [f"{seed:06d}-{k}.png" for seed, k in ((2, 5), (5, 0), (6, 1), (7, 2), (8, 3), (9, 4))]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == names
    assert Image.open(tmp_path / "all" / "000009-4.png").size == (8, 8)


def test_another_job_in_the_same_place_is_refused(trained, stopped, refused, tmp_path):
    words = ("--n", 10, "--batch", 4, "--out", tmp_path / "x.npz")
    assert stopped(1, *words).code == 130
    said = refused("sample", trained, *words, "--steps", 3)
    assert "holds an unfinished job with --steps 2, now it is 3" in said
    assert "remove the folder" in said
    assert "--n 10, now it is 2" in refused("sample", trained, *words, "--n", 2)  # of one shard
    assert sorted(path.name for path in (tmp_path / "x.npz.parts").iterdir()) == [
        "000000.safetensors", "job.json",
    ]  # fmt: skip


def test_a_failure_at_the_join_loses_nothing(cli, trained, refused, tmp_path, monkeypatch):
    words = ("sample", trained, "--n", 10, "--batch", 4, "--out", tmp_path / "x.npz")

    def full(arrays, path):
        raise BadInput(f"cannot write {path}: No space left on device.", "Make room.")

    with monkeypatch.context() as patch:
        patch.setattr(scorefield.report.files, "write_npz", full)
        lines = cli(*words).err.splitlines()
        assert lines[-1] == f"error: cannot write {tmp_path / 'x.npz'}: No space left on device. " \
            "Make room."  # fmt: skip
    (tmp_path / ".x.npz.1234.tmp").write_text("of a join that was killed")
    code, _, err = cli(*words)
    assert code == 0
    assert "resuming: 3 of 3 shards are there" in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_a_job_of_one_shard_needs_no_parts(cli, trained, stopped, tmp_path):
    code, _, err = stopped(0, "--n", 4, "--out", tmp_path / "x.npz")
    assert (code, err.splitlines()[-1]) == (130, "stopped")
    assert not list(tmp_path.iterdir())
    said = cli("sample", trained, "--n", 4, "--out", tmp_path / "x.npz", "--json").out
    assert (json.loads(said)["shards"], json.loads(said)["resumed"]) == (1, 0)


def test_a_bulk_job_that_cannot_begin_leaves_nothing(trained, refused, tmp_path):
    words = ("--n", 10, "--batch", 4, "--out", tmp_path / "new" / "x.npz")
    assert "Did you mean 'heun'" in refused("sample", trained, *words, "--solver", "huen")
    said = refused("sample", trained, *words, "--guidance", "1e38")
    assert "4 of 4 samples are not finite" in said
    assert not list(tmp_path.iterdir())


def test_an_ended_session_is_a_stop(cli, trained, tmp_path, monkeypatch):
    """SIGTERM, which a machine sends that shuts down, is Ctrl-C."""
    before, make = signal.getsignal(signal.SIGTERM), Shards.make

    def end(self: Shards, shard: int, watch=quiet):
        if shard == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(self, shard, watch)

    monkeypatch.setattr(Shards, "make", end)
    code, _, err = cli("sample", trained, "--n", 8, "--batch", 4, "--out", tmp_path / "x.npz")
    assert code == 130
    assert "stopped: 1 of 2 shards are there" in err
    assert signal.getsignal(signal.SIGTERM) == before


# Real processes

LONG = ["--n", "40", "--batch", "1", "--steps", "16", "--solver", "ddpm"]


def start(*words: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**ENVIRONMENT, **environment},
    )  # fmt: skip


def wait_for_shards(process: subprocess.Popen, out: Path, more_than: int) -> None:
    deadline = time.monotonic() + 120
    while count(out) <= more_than:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.parts").glob("*.safetensors")))


@pytest.fixture(scope="module")
def uninterrupted(trained, tmp_path_factory) -> bytes:
    out = tmp_path_factory.mktemp("bulk") / "whole.npz"
    assert scorefield.cli.main(["sample", str(trained), *LONG, "--out", str(out)]) == 0
    return out.read_bytes()


def test_kill_9_twice_then_ctrl_c_then_the_same_file(cli, trained, uninterrupted, tmp_path):
    out, there = tmp_path / "x.npz", 0
    for stop in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
        process = start("scorefield", "sample", trained, *LONG, "--out", out)
        wait_for_shards(process, out, there)
        process.send_signal(stop)
        _, err = process.communicate(timeout=60)
        assert ("resuming" in err) == (there > 0)
        there = count(out)
        if stop == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130
            assert f"stopped: {there} of 40 shards are there" in err
            assert "Traceback" not in err
        assert 0 < there < 40
        assert not out.exists()
    code, said, err = cli("sample", trained, *LONG, "--out", out, "--json")
    assert code == 0
    assert json.loads(said)["resumed"] == there
    assert out.read_bytes() == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def free_port() -> str:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return str(some.getsockname()[1])


def test_two_processes_make_the_same_file(trained, uninterrupted, stopped, tmp_path):
    out = tmp_path / "x.npz"
    assert stopped(3, *LONG, "--out", out).code == 130  # one process began it
    words = "torch.distributed.run --nproc_per_node 2 --master_port {} -m -- scorefield"
    words = words.format(free_port()).split()
    process = start(*words, "sample", trained, *LONG, "--out", out, "--json")
    said, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    result = json.loads(said)  # the main process alone speaks
    assert (result["shards"], result["resumed"]) == (40, 3)
    assert err.count("resuming: 3 of 40 shards are there") == 1
    assert out.read_bytes() == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def pair(trained: Path, *words: object) -> list[subprocess.Popen]:
    """Two processes of a team without a launcher, which would end the one with the other."""
    port = free_port()
    return [
        start("scorefield", "sample", trained, *words, RANK=str(rank), LOCAL_RANK=str(rank),
              WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        for rank in range(2)
    ]  # fmt: skip


def test_a_process_whose_fellow_is_killed_says_so(cli, trained, uninterrupted, tmp_path):
    out = tmp_path / "x.npz"
    main, other = pair(trained, *LONG, "--out", out)
    wait_for_shards(main, out, 2)
    other.kill()
    said, err = main.communicate(timeout=60)
    other.communicate(timeout=60)
    assert (main.returncode, said) == (2, "")
    assert "error: another process of this job has ended. The same command goes on" in err
    assert "Traceback" not in err
    assert 0 < count(out) < 40
    assert cli("sample", trained, *LONG, "--out", out).code == 0
    assert out.read_bytes() == uninterrupted


def test_a_wrong_input_is_said_once_by_two_processes(trained, tmp_path):
    processes = pair(trained, "--n", 8, "--batch", 2, "--labels", "12", "--out", tmp_path / "x.npz")
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert [out for out, _ in said] == ["", ""]
    assert sum(err.count("--labels has 12") for _, err in said) == 1
    assert not list(tmp_path.iterdir())
