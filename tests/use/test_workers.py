"""A bulk job by workers of Ray: the same file, bit for bit, as by one process."""

import sys

import numpy as np
import pytest

from scorefield.cli import main
from tests.serve import runs

WORDS = ["--n", "22", "--batch", "4", "--steps", "3", "--guidance", "2", "--solver", "ddim:eta=1"]


def sampled(run, out, *more) -> int:
    return main(["sample", str(run), *WORDS, "--out", str(out), *more])


def test_two_workers_make_the_same_file(tmp_path, capfd, monkeypatch):
    """Of shards in whatever order; and they go on where a job was stopped."""
    ray = pytest.importorskip("ray", reason="pip install 'scorefield[ray]'")
    from scorefield.draw.shards import Shards

    run = runs.digits(tmp_path / "run")
    assert sampled(run, tmp_path / "one.npz") == 0
    try:
        keep, kept = Shards.keep, []

        def stopped(shards, shard, x0):
            if len(kept) == 2:
                raise KeyboardInterrupt
            kept.append(shard)
            keep(shards, shard, x0)

        monkeypatch.setattr(Shards, "keep", stopped)
        assert sampled(run, tmp_path / "two.npz", "--ray", "2") == 130
        monkeypatch.undo()
        assert sampled(run, tmp_path / "two.npz", "--ray", "2") == 0
        assert "2 of 6 shards are there" in capfd.readouterr().err
    finally:
        ray.shutdown()
    one, two = (np.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert set(one) == set(two)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not (tmp_path / "two.npz.parts").exists()


def test_what_workers_cannot_share(tmp_path, capfd, monkeypatch):
    run = runs.digits(tmp_path / "run")
    assert sampled(run, tmp_path / "one.npz", "--ray", "0") == 2
    assert sampled(run, tmp_path / "one.npz", "--ray", "2", "--batch", "32") == 2
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sampled(run, tmp_path / "one.npz", "--ray", "2") == 2
    said = capfd.readouterr().err
    for words in ("--ray is 0", "one process makes one shard", "pip install 'scorefield[ray]'"):
        assert words in said
    assert not list(tmp_path.glob("one.npz*"))
