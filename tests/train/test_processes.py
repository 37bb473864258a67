"""Two processes train the run of one: the same draws, the same losses, the same folder."""

import contextlib
import importlib.util
import io
import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from scorefield.store import load_checkpoint, snapshots

JOB = Path(__file__).with_name("job.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

FAR = 1e-3
"""Of the largest entry of a tensor. Two processes sum a gradient in another order, which is a
relative 1e-7; AdamW divides by the gradient's own size, so that entries near 0 keep a larger part
of it over the 10 steps. Measured: 7e-6. A process that drew its own noise is off by more than .1.
"""
LIFTED = 2e-2
"""The same of Muon, which lifts a direction that is rounding alone up to 485 times: 5e-3."""


def free_port() -> str:
    """One that no connection of another program takes meanwhile, as it may those above 32768."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as some, contextlib.suppress(OSError):
            some.bind(("127.0.0.1", port))
            return str(port)
    raise AssertionError("no port is free")


def launch(kind: str, out: Path, images: int = 320, dropout: float = 0.1, *more: str) -> str:
    port = free_port()
    words = [
        # --multi_gpu starts the processes, also without a GPU; with --cpu it would start only one.
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", port,
        str(JOB), kind, str(out), str(images), str(dropout), *more,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("2 processes") == 2
    return done.stdout


def job_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("job", JOB)
    assert spec
    assert spec.loader
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    return job


def in_one(out: Path, *words) -> Path:
    job_module().run(out, *words)
    return out


def everything(run: Path) -> dict[str, torch.Tensor]:
    files = json.loads((run / "state.json").read_text())["sha256"]
    names = sorted({re.sub(r"^shards/(.+)-\d+-of-\d+$", r"\1", name) for name in files})
    parts = dict(zip(names, load_checkpoint(run, *names)[0], strict=True))
    parts |= {s.path.name: s.tensors() for s in snapshots(run)}
    return {f"{part}/{k}": v.double() for part, some in parts.items() for k, v in some.items()}


def distance(a: Path, b: Path) -> float:
    x, y = everything(a), everything(b)
    assert x.keys() == y.keys()
    return float(torch.stack([apart(x[k], y[k]) for k in x]).max())


def apart(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of the largest entry; 0 where both are the same infinity, which is how no limit is stored."""
    gap = torch.where(x == y, 0, x - y).abs()
    return gap.max() / (x.abs().max() + 1e-9)


def test_twin_a_distance_sees_what_is_not_a_number():
    inf = torch.tensor([math.inf, 1.0])
    assert apart(inf, inf) == 0
    assert not apart(torch.ones(2), torch.tensor([1.0, math.nan])) < FAR
    assert not apart(torch.ones(2), inf) < FAR


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    return in_one(tmp_path_factory.mktemp("one") / "run")


def test_two_processes_give_the_result_of_one(one, tmp_path):
    assert "Tensor" in launch("ddp", tmp_path / "two")
    assert distance(one, tmp_path / "two") < FAR
    losses = [
        [json.loads(row)["loss"] for row in (run / "log.jsonl").read_text().splitlines()]
        for run in (one, tmp_path / "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["ddp-auto", "fsdp-6"])
def test_two_processes_in_portions_give_the_result_of_one(one, tmp_path, kind):
    launch(kind, tmp_path / "two")
    assert distance(one, tmp_path / "two") < FAR


def test_weights_that_no_sample_asks_for_do_not_stop_two_processes(tmp_path):
    """Without dropout of conditions the null embedding has no gradient."""
    launch("ddp", tmp_path / "two", 320, 0.0)
    assert distance(in_one(tmp_path / "one", 320, 0.0), tmp_path / "two") < FAR


@pytest.mark.parametrize(("optimizer", "far"), [("muon", LIFTED)])
def test_sharded_weights_train_save_in_shards_and_resume(tmp_path, optimizer, far):
    kind, one = f"fsdp-{optimizer}", in_one(tmp_path / "one", 320, 0.1, False, optimizer)
    said = launch(kind, tmp_path / "whole")
    assert "DTensor" in said
    assert "averages in {'pieces'}" in said
    assert distance(one, tmp_path / "whole") < far
    launch(kind, tmp_path / "cut", 160)
    shutil.copytree(tmp_path / "cut", tmp_path / "alone")
    launch(kind, tmp_path / "cut", 320, 0.1, "resume")
    assert distance(tmp_path / "whole", tmp_path / "cut") == 0.0
    assert distance(one, in_one(tmp_path / "alone", 320, 0.1, True, optimizer)) < far
    check_shards(tmp_path / "whole")
    assert not (tmp_path / "alone/shards").exists()  # one process needs none


def check_shards(run: Path) -> None:
    """Of weights and moments, about half of the bytes in each, and an index of them all."""
    for part in ("model", "optimizer"):
        index = json.loads((run / f"shards/{part}.safetensors.index.json").read_text())
        files = [run / f"shards/{part}-0000{k}-of-00002.safetensors" for k in (1, 2)]
        found = [load_file(file) for file in files]
        where = {name: file.name for file, some in zip(files, found) for name in some}
        assert index["weight_map"] == where
        size = sum(v.numel() * v.element_size() for some in found for v in some.values())
        assert index["metadata"]["total_size"] == size
        assert not (run / f"{part}.safetensors").exists()
    assert not list(run.rglob("*.next"))
    assert (run / "ema.safetensors").exists()  # what is sampled is one file


def reads(folder: Path, who: object) -> list[list[int]]:
    """The numbers of the pictures that a process decoded, batch by batch."""
    lines = (folder / f"{who}.seen").read_text().splitlines()
    return [[int(number) for number in line.split()] for line in lines]


def test_two_processes_stream_what_one_does(tmp_path):
    """Together they decode the pictures that one would, each its own rows; the run is that of one,
    and goes on from its checkpoint in two, to the bit, or in one."""
    one, two, shards = tmp_path / "one", tmp_path / "two", tmp_path / "one/in"
    shards.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(3):
        with zipfile.ZipFile(shards / f"{k}.zip", "w") as opened:
            for i in range(20):
                file = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).save(file, "png")
                opened.writestr(f"{k}/{i:02}.png", file.getvalue())
    shutil.copytree(one, two)
    job = job_module()
    job.run_stream(one / "run")
    launch("stream", two / "run")
    assert distance(one / "run", two / "run") < FAR
    whole, first, second = reads(one, "alone"), reads(two, 0), reads(two, 1)
    assert len(whole) > 10
    for every, even, odd in zip(whole, first, second):
        assert (every[::2], every[1::2]) == (even, odd)
    assert first != second  # the twin: they are not the same rows

    launch("stream", two / "cut", 160)
    shutil.copytree(two / "cut", two / "alone")
    launch("stream", two / "cut", 320, 0.1, "resume")
    assert distance(two / "run", two / "cut") == 0.0
    job.run_stream(two / "alone", 320, True)
    assert distance(one / "run", two / "alone") < FAR


def test_another_run_is_farther(one, tmp_path):
    """The twin: another law of chance, of the same size, is not within the tolerance."""
    assert distance(one, in_one(tmp_path / "other", 320, 0.3)) > 100 * FAR
