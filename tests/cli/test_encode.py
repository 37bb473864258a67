"""`scorefield encode`: latents, and the way back."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from scorefield.base import BadInput
from scorefield.cli import frame
from scorefield.data import load

main = partial(frame.run, "encode")


@pytest.fixture
def digits(tmp_path):
    test = load("digits").test
    file = tmp_path / "x.npz"
    np.savez(file, x=test.x[:5].numpy(), y=test.cond["label"][:5].numpy())
    return file


def arrays(file) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_there_and_back(run, digits, tmp_path, capfd):
    z, back = tmp_path / "z.npz", tmp_path / "back.npz"
    assert main([str(run), "--input", str(digits), "--out", str(z), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["n"], said["calls"]) == (5, 48)
    assert said["round_trip_rms"] < 1e-3  # what the issue asks of 50 calls
    latents = arrays(z)
    assert latents["z"].shape == (5, 1, 8, 8)
    assert latents["y"].tolist() == arrays(digits)["y"].tolist()
    assert main([str(run), "--decode", str(z), "--out", str(back), "--json"]) == 0
    found = arrays(back)
    error = (found["x"] - arrays(digits)["x"]) / 8  # in [-1, 1]
    assert float(np.sqrt((error**2).mean())) == pytest.approx(said["round_trip_rms"], rel=0.05)
    assert found["y"].tolist() == latents["y"].tolist()


def test_few_steps_come_back_worse(run, digits, tmp_path, capfd):
    rms = []
    for steps in (2, 12):
        words = ["--input", str(digits), "--out", str(tmp_path / "z.npz"), "--steps", str(steps)]
        assert main([str(run), *words, "--json"]) == 0
        rms.append(json.loads(capfd.readouterr().out)["round_trip_rms"])
    assert rms[0] > 5 * rms[1]


def test_a_picture_and_its_class(run, tmp_path, capfd):
    file, out = tmp_path / "a.png", tmp_path / "z.npz"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(file)
    assert main([str(run), "--input", str(file), "--label", "3", "--out", str(out)]) == 0
    text = capfd.readouterr().out
    assert "1 latent, 48 network calls each" in text
    assert "there and back" in text
    with_class = arrays(out)
    assert with_class["y"].tolist() == [3]
    with pytest.warns(UserWarning, match="without one"):
        assert main([str(run), "--input", str(file), "--out", str(out)]) == 0
    assert "y" not in arrays(out)
    assert not np.array_equal(arrays(out)["z"], with_class["z"])


def test_pictures_of_another_size_are_refused(run, tmp_path):
    for name, size in (("a.png", (9, 8)), ("b.png", (28, 28))):
        Image.new("L", size).save(tmp_path / name)
        with pytest.raises(BadInput, match="pixels, not 8 x 8"):
            main([str(run), "--input", str(tmp_path / name)])
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="cannot be read as a picture"):
        main([str(run), "--input", str(tmp_path / "c.png")])
    (tmp_path / "d.txt").write_text("text")
    with pytest.raises(BadInput, match="ends in '.txt'"):
        main([str(run), "--input", str(tmp_path / "d.txt")])


def test_latents_of_another_process_are_refused(run, tmp_path):
    np.savez(tmp_path / "z.npz", z=np.zeros((1, 1, 8, 8), np.float32), logsnr=np.array([-3.0]))
    with pytest.raises(BadInput, match="encoded to logsnr -3"):
        main([str(run), "--decode", str(tmp_path / "z.npz"), "--out", str(tmp_path / "x.npz")])
