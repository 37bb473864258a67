"""Log-mel pictures: what is heard of them is what they were made of."""

import numpy as np
import pytest
import torch

from scorefield.data import load
from scorefield.data.readers.mel import HOP, LOW, from_log_mel, log_mel
from scorefield.data.readers.sounds import audible, given_sound
from tests.refusal import refused

pytest.importorskip("librosa")
RATE, SIZE = 16_000, 4096


def tone(hertz: float) -> np.ndarray:
    t = np.arange(SIZE) / RATE
    return (np.sin(2 * np.pi * hertz * t) * np.exp(-12 * t))[None].astype(np.float32)


def loudest(x: np.ndarray) -> float:
    """Hertz."""
    return float(np.abs(np.fft.rfft(x[0])).argmax() * RATE / SIZE)


def test_what_is_heard_of_a_picture_is_the_sound():
    """A tone comes back at its height, to a band's width, and its own picture is that which it was
    made of, to 3 dB where that is loud; silence comes back as none. A picture upside down, the
    planted defect, is another tone."""
    x = tone(440)
    u = log_mel(x, RATE, 64)
    assert u.shape == (1, 64, SIZE // HOP)
    assert u[0, :, 4].argmax() > 50  # low notes are at the bottom
    back = from_log_mel(u, RATE)
    assert abs(loudest(back) - 440) < 30
    loud = u > u.max() - 30
    assert np.abs(log_mel(back, RATE, 64) - u)[loud].mean() < 3
    assert np.array_equal(back, from_log_mel(u, RATE))  # the same phase each time
    assert abs(loudest(from_log_mel(u[:, ::-1], RATE)) - 440) > 1000
    assert np.array_equal(from_log_mel(np.where(u <= LOW, -999, u), RATE), back)
    assert not from_log_mel(np.full((1, 8, 4), LOW, np.float32), RATE).any()


def test_a_folder_is_read_as_pictures(tmp_path):
    """Beside the reader's waves, with a clip that a person gives; sizes that are no columns, and
    too few bands, are refused."""
    soundfile = pytest.importorskip("soundfile")
    for k in range(4):
        soundfile.write(tmp_path / f"{k}.wav", tone(300 + 100 * k)[0], RATE)
    data = load("sounds", path=str(tmp_path), size=SIZE, mel=32)
    assert (data.shape, data.rate) == ((1, 32, SIZE // HOP), RATE)
    x0 = data.scaling.encode(data.train.x)
    assert -1.001 < float(x0.min()) < float(x0.max()) < 1
    assert audible(data.train.x, RATE).shape == (len(data.train), 1, SIZE)
    given = given_sound(tmp_path / "0.wav", data.shape, RATE, "input")
    assert given is not None
    waves = load("sounds", path=str(tmp_path), size=SIZE)
    both = torch.cat([waves.train.x, waves.test.x]).numpy()
    assert any(np.allclose(given[0], log_mel(x, RATE, 32), atol=0.1) for x in both)
    refused("multiple of 128", load, "sounds", path=str(tmp_path), size=1000, mel=32)
    refused("data.mel` is 1", load, "sounds", path=str(tmp_path), mel=1)
