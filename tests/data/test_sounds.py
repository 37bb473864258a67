"""Sounds: found by content, brought to one rate and length; what is no sound is named."""

import warnings
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.data import Data, load
from scorefield.data.readers.sounds import given_sound, is_sound
from scorefield.store import write_wavs
from tests.refusal import refused

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")
SIZE, RATE = 1024, 8000


def tone(n: int = 2000, hertz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)


def save(file: Path, x: np.ndarray, rate: int = RATE, kind: str = "WAV", code: str = "PCM_16"):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        soundfile.write(out, x, rate, format=kind, subtype=code)


def read(root: Path, **options) -> Data:
    return load("sounds", path=str(root), size=SIZE, rate=RATE, **options)


def test_files_are_known_by_their_content(tmp_path):
    """An AIFF named .wav, a FLAC named .bin, 8 bits, 24 bits, stereo, another rate: one clip each;
    a text named .wav is none, and lies there unread."""
    save(tmp_path / "kick" / "a.wav", tone(), kind="AIFF")
    save(tmp_path / "kick" / "b.bin", tone(), kind="FLAC", code="PCM_24")
    save(tmp_path / "hat" / "c.wav", tone(), code="PCM_U8")
    save(tmp_path / "hat" / "d.wav", np.stack([tone(), tone()], 1))
    save(tmp_path / "hat" / "e.wav", tone(4000, rate=2 * RATE), rate=2 * RATE)
    save(tmp_path / "hat" / "f.ogg", tone(), kind="OGG", code="VORBIS")
    (tmp_path / "hat" / "words.wav").write_text("RIFFraff, not a sound")
    data = read(tmp_path)
    assert (data.classes, data.shape, data.rate) == (("hat", "kick"), (1, SIZE), RATE)
    assert len(data.train) + len(data.test) == 6
    done = " ".join(data.done)
    assert "1 of several channels" in done
    assert "1 resampled" in done
    assert "6 longer" in done


def test_another_rate_is_the_same_tone(tmp_path):
    """440 Hz recorded at 8 and at 16 kHz: the same clip to 1%. Read without resampling it would be
    another tone, half as high, with an error of the order of 1."""
    for k, rate in enumerate((RATE, 2 * RATE)):
        save(tmp_path / f"{k}.wav", tone(2000 * rate // RATE, rate=rate), rate=rate)
    data = read(tmp_path)
    one, two = torch.cat([data.train.x, data.test.x])[:, 0, 100:900]
    lag = min(range(-3, 4), key=lambda k: float((one[8:-8] - two.roll(k)[8:-8]).norm()))
    assert (one[8:-8] - two.roll(lag)[8:-8]).norm() / one.norm() < 0.2  # up to half a moment off
    assert (one[:-8:2] - two[: len(two) // 2 - 4]).norm() / one[::2].norm() > 0.5


def test_a_clip_begins_where_it_is_heard_and_ends_in_silence(tmp_path):
    clip = np.concatenate([np.zeros(300), 0.25 * np.ones(100)])
    for k in range(2):
        save(tmp_path / f"{k}.wav", clip, code="FLOAT")
    x = read(tmp_path).train.x[0, 0]
    assert torch.equal(x, torch.cat([torch.ones(100), torch.zeros(SIZE - 100)]))


@pytest.mark.parametrize(
    "x, says",
    [
        (np.zeros(2000), "silent"),
        (np.ones(1), "1 moment"),
        (np.full(2000, np.nan), "not finite"),
    ],
)
def test_what_cannot_be_heard_is_left_out_and_named(tmp_path, x, says):
    for k in range(3):
        save(tmp_path / f"{k}.wav", tone())
    save(tmp_path / "bad.wav", x, code="FLOAT")
    with pytest.warns(UserWarning, match=f"1 of the 4 .*bad.wav: .*{says}"):
        data = read(tmp_path)
    assert len(data.train) + len(data.test) == 3
    for k in range(3):
        (tmp_path / f"{k}.wav").unlink()
    refused(says, read, tmp_path)


def test_a_damaged_file_is_left_out(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.wav", tone())
    (tmp_path / "cut.flac").write_bytes(b"fLaC\x00\x00")
    with pytest.warns(UserWarning, match="cut.flac"):
        assert len(read(tmp_path).train) == 2


def test_what_is_damaged_is_named_with_its_reason(tmp_path):
    """Not with the name of a buffer in memory, where the reason stood."""
    save(tmp_path / "whole.wav", tone())
    file = tmp_path / "cut.wav"
    file.write_bytes((tmp_path / "whole.wav").read_bytes()[:12])
    reason = "cannot be heard: Error in WAV file. No 'data' chunk marker"
    refused(reason, given_sound, file, (1, SIZE), RATE, "input")


def test_clipped_peaks_are_told(tmp_path):
    save(tmp_path / "a.wav", (4 * tone()).clip(-1, 1))
    save(tmp_path / "b.wav", tone())
    assert "1 clipped at the full scale" in read(tmp_path).done


def test_bad_settings_are_refused(tmp_path):
    save(tmp_path / "a.wav", tone())
    refused("no folder", read, tmp_path / "none")
    refused("3 channels", read, tmp_path, channels=3)
    refused("is 1", load, "sounds", path=str(tmp_path), size=1)
    (tmp_path / "a.wav").unlink()
    refused("none of the 0 sounds", read, tmp_path)


def test_what_is_written_is_heard_again(tmp_path):
    """16 bits: to half a step; more than the full scale is cut, not wrapped around."""
    x = np.stack([tone(200), 3 * tone(200)], 1)
    write_wavs([(tmp_path / "x.wav", x)], RATE)
    assert is_sound(tmp_path / "x.wav")
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, RATE, 200)
    back, rate = soundfile.read(tmp_path / "x.wav")
    assert rate == RATE
    assert np.abs(back * 32768 / 32767 - x.clip(-1, 1)).max() < 1.01 / 65534


def test_a_quiet_folder_says_nothing(tmp_path):
    for k in range(2):
        save(tmp_path / f"{k}.wav", tone())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path)
