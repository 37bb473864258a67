"""`scorefield interpolate`: strips between pictures, and along what tells classes apart."""

import json

import numpy as np
import pytest
from PIL import Image

import scorefield.use.interpolate
from scorefield.cli import frame
from scorefield.data import load


@pytest.fixture
def ends(tmp_path):
    """Two files of two digits each."""
    x = load("digits").test.x.numpy()
    for name, some in (("a", x[:2]), ("b", x[2:4])):
        np.savez(tmp_path / f"{name}.npz", x=some)
    return tmp_path / "a.npz", tmp_path / "b.npz"


def strip(run, tmp_path, *words) -> np.ndarray:
    out = tmp_path / "strip.npz"
    assert (
        frame.run("interpolate", [str(run), *(str(w) for w in words), "--out", str(out), "--json"])
        == 0
    )
    with np.load(out, allow_pickle=False) as archive:
        return archive["x"]


def test_the_ends_are_the_pictures(run, ends, tmp_path, capfd):
    x = strip(run, tmp_path, "--from", ends[0], "--to", ends[1], "--between", 3)
    said = json.loads(capfd.readouterr().out)
    assert (said["strips"], said["pictures"], said["mode"]) == (2, 5, "slerp")
    assert said["round_trip_rms"] < 1e-3
    rows = x.reshape(2, 5, 1, 8, 8)
    first, last = (np.load(file)["x"] for file in ends)
    assert np.abs(rows[:, 0] - first).max() < 0.05
    assert np.abs(rows[:, -1] - last).max() < 0.05


def test_an_arc_is_no_line(run, ends, tmp_path):
    words = ("--from", ends[0], "--to", ends[1], "--between", 1)
    arc, line = (strip(run, tmp_path, *words, "--mode", m) for m in ("slerp", "lerp"))
    middle = slice(1, None, 3)
    assert np.abs(arc[middle] - line[middle]).max() > 0.05
    assert np.abs(arc[::3] - line[::3]).max() < 1e-3


def test_a_strip_is_drawn(run, tmp_path, capfd):
    x = load("digits").test.x.numpy()
    for name, picture in (("a", x[0, 0]), ("b", x[1, 0])):
        Image.fromarray((picture * 15).astype(np.uint8)).save(tmp_path / f"{name}.png")
    words = ["--from", str(tmp_path / "a.png"), "--to", str(tmp_path / "b.png")]
    out = tmp_path / "new" / "strip.png"
    assert frame.run("interpolate", [str(run), *words, "--between", "4", "--out", str(out)]) == 0
    assert "1 x 6 pictures" in capfd.readouterr().out
    image = Image.open(out)
    assert image.size == (6 * 96 + 8, 124)


def test_along_an_attribute(run, ends, tmp_path, monkeypatch):
    monkeypatch.setattr(scorefield.use.interpolate, "ATTRIBUTE", 6)
    words = ("--from", ends[0], "--between", 1, "--attribute", "8,3")
    x = strip(run, tmp_path, *words, "--strength", 2).reshape(2, 3, 64)
    assert np.abs(x[:, 0] - np.load(ends[0])["x"].reshape(2, 64)).max() < 0.05
    assert np.abs(x[:, 2] - x[:, 0]).max() > 0.5
    still = strip(run, tmp_path, *words, "--strength", 0).reshape(2, 3, 64)
    assert np.abs(still[:, 2] - still[:, 0]).max() < 1e-4


def test_encodings_of_an_attribute_are_kept(run, ends, tmp_path, monkeypatch):
    """Read back to the bit, and found anew of another plan or where the file is torn."""
    module = scorefield.use.interpolate
    monkeypatch.setattr(module, "ATTRIBUTE", 6)
    words = ("--from", ends[0], "--between", 1, "--attribute", "8,3")
    counted = []
    up = module.Way.up
    monkeypatch.setattr(module.Way, "up", lambda self, *a: counted.append(1) or up(self, *a))
    file = run / "interpolate" / "8-3.safetensors"
    file.unlink(missing_ok=True)
    x = strip(run, tmp_path, *words)
    assert (len(counted), file.exists()) == (2, True)
    assert np.array_equal(strip(run, tmp_path, *words), x)
    assert len(counted) == 3
    strip(run, tmp_path, *words, "--steps", 3)
    assert len(counted) == 5
    file.write_bytes(file.read_bytes()[:-8])
    assert np.array_equal(strip(run, tmp_path, *words), x)
    assert len(counted) == 7
