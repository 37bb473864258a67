"""`scorefield restore`: what it writes, that it agrees with y, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.measure.quality import psnr
from scorefield.measure.restored import failed
from scorefield.use.restore import FILES

BOX = ("--operator", "box:2,2,4,4")


@pytest.mark.parametrize(
    "operator, method",
    [("box:2,2,4,4", "pigdm"), ("pool:2", "diffpir"), ("blur:1", "ddrm"), ("radon:6", "dps")],
)
def test_it_writes_pictures_arrays_and_figures(cli, run, tmp_path, operator, method):
    out = tmp_path / "restored"
    words = ("--operator", operator, "--method", method, "--input", "test:3", "--n", 3)
    code, said, err = cli("restore", run, *words, "--steps", 4, "--out", out, "--json")
    assert code == 0, err
    told = json.loads(said)
    assert told == json.loads((out / "restore.json").read_text())
    assert told["n"] == 3
    assert {f.name for f in out.iterdir()} == {*FILES, "restore.npz", "restore.json"}
    arrays = np.load(out / "restore.npz", allow_pickle=False)
    x = torch.from_numpy(arrays["x"])
    truth = torch.from_numpy(arrays["truth"])
    assert x.shape == (3, 1, 8, 8)
    scale = 8  # digits run from 0 to 16
    assert told["rms"] == pytest.approx(float((x / scale - 1 - truth).square().mean().sqrt()), 1e-3)
    again = cli("restore", run, *words, "--steps", 4, "--out", tmp_path / "b", "--json")
    assert again.code == 0
    assert (np.load(tmp_path / "b" / "restore.npz")["x"] == arrays["x"]).all()  # the same seeds


def test_what_was_seen_stays(cli, run, tmp_path):
    """An exact measurement by a mask: every restoration has the seen pixels to the last bit."""
    out = tmp_path / "r"
    words = ("--input", "test:0", "--noise", 0, "--method", "replacement", "--n", 2, "--steps", 3)
    assert cli("restore", run, *BOX, *words, "--out", out).code == 0
    arrays = np.load(out / "restore.npz")
    seen = np.ones((8, 8), bool)
    seen[2:6, 2:6] = False
    x0 = arrays["x"] / 8 - 1
    assert np.abs(x0 - arrays["truth"])[:, :, seen].max() < 1e-5
    assert np.abs(x0 - arrays["truth"])[:, :, ~seen].max() > 0.1


def test_a_measurement_as_it_came(cli, run, tmp_path):
    np.savez(tmp_path / "y.npz", y=np.zeros((1, 4, 4), np.float32))
    Image.new("L", (4, 4), 127).save(tmp_path / "y.png")
    for name in ("y.npz", "y.png"):
        out = tmp_path / f"from-{name}"
        words = ("--measured", tmp_path / name, "--n", 2, "--steps", 2, "--out", out, "--json")
        code, said, err = cli("restore", run, "--operator", "pool:2", *words)
        assert code == 0, err
        assert "psnr" not in json.loads(said)
        assert "truth" not in np.load(out / "restore.npz")


def test_a_damaged_measurement_is_refused(refused, run, tmp_path):
    np.savez(tmp_path / "a.npz", y=np.zeros((1, 3, 3), np.float32))
    np.savez(tmp_path / "b.npz", x=np.zeros((1, 4, 4), np.float32))
    np.savez(tmp_path / "c.npz", y=np.full((1, 4, 4), np.nan, np.float32))
    for name, said in (("a", "shape"), ("b", "no array y"), ("c", "not finite")):
        words = ("--operator", "pool:2", "--measured", tmp_path / f"{name}.npz")
        assert said in refused("restore", run, *words)


def test_a_population_tells_its_size_and_the_evidence(cli, run, tmp_path):
    """Five particles: an effective size from 1 to 5, and less evidence for a y that none explains;
    the other methods have neither."""
    y = {"near": np.zeros((1, 4, 4), np.float32), "far": np.full((1, 4, 4), 9, np.float32)}
    said = {}
    for name, value in y.items():
        np.savez(tmp_path / f"{name}.npz", y=value)
        words = ("--operator", "pool:2", "--measured", tmp_path / f"{name}.npz", "--noise", 0.5)
        more = ("--n", 5, "--steps", 4, "--out", tmp_path / name, "--json")
        code, out, err = cli("restore", run, *words, "--method", "twisted", *more)
        assert code == 0, err
        said[name] = json.loads(out)
        assert 1 <= said[name]["effective"]["least"] <= said[name]["effective"]["mean"] <= 5
    assert said["far"]["log_evidence"] < said["near"]["log_evidence"] - 100
    code, out, _ = cli("restore", run, *words, "--method", "twisted", *more[:-1])
    assert "effective sample size" in out
    assert "log p(y)" in out
    assert "effective" not in json.loads(cli("restore", run, *words, *more).out)


def test_a_failed_restoration_is_told(cli, run, tmp_path):
    """DPS of an exact measurement in too few steps leaves the data's range by far and says so in
    one sentence; DDRM does not, and says nothing."""
    words = (*BOX, "--input", "test:0", "--noise", 0, "--n", 2, "--steps", 5, "--out", tmp_path)
    code, said, err = cli("restore", run, *words, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["failed"] == failed(
        torch.from_numpy(np.load(tmp_path / "restore.npz")["x"]) / 8 - 1
    )
    assert f"{told['failed']} of 2 restorations have a number beyond 2" in err
    assert told["failed"] > 0
    code, said, err = cli("restore", run, *words, "--method", "ddrm", "--json")
    assert json.loads(said)["failed"] == 0
    assert "restorations" not in err


def test_psnr():
    """A tenth of the range 2 everywhere is 20 dB; an exact picture is bounded."""
    truth = torch.zeros(1, 1, 4, 4)
    assert psnr(truth + 0.2, truth) == pytest.approx(20)
    assert psnr(truth, truth) > 100
