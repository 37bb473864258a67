"""Sounds as pictures of their log-mel spectra, and back.

    m(b, t) = sum_k W(b, k) |STFT of x|(k, t),    u = 20 log10 m    dB, from LOW to HIGH        (1)

W has a band a row, the highest first, so that a picture shows low notes at the bottom; of every
HOP moments there is a column. The way back is librosa's: the least squares |STFT| >= 0 of m, and a
phase that agrees with it (Perraudin et al. 2013, the fast algorithm of Griffin and Lim), from the
same chance each time. McFee et al. 2015, "librosa: audio and music signal analysis in Python".
"""

from typing import Any

import numpy as np

from scorefield.base.extras import library

WINDOW, HOP = 1024, 128
LOW, HIGH = -60.0, 20.0
"""Decibels that are black and white; a sound has its peak at 1."""


def log_mel(x: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """u (..., bands, L / HOP) in dB of sounds (..., L) by eq. 1."""
    mel = _librosa().feature.melspectrogram(
        y=x, sr=rate, n_fft=WINDOW, hop_length=HOP, n_mels=bands, power=1.0
    )
    u = 20 * np.log10(np.maximum(mel, 10 ** (LOW / 20)))
    return np.minimum(u, HIGH)[..., ::-1, :-1].astype(np.float32)


def from_log_mel(u: np.ndarray, rate: int) -> np.ndarray:
    """Sounds (..., L) of u (..., bands, L / HOP), cut to LOW and HIGH; black is silence."""
    librosa = _librosa()
    loud = 10 ** (np.clip(u, LOW, HIGH).astype(np.float64) / 20)
    mel = np.where(u > LOW, loud, 0.0)[..., ::-1, :]
    mel = np.concatenate([mel, mel[..., -1:]], -1)
    size = librosa.feature.inverse.mel_to_stft(mel, sr=rate, n_fft=WINDOW, power=1.0)
    x = librosa.griffinlim(
        size, n_fft=WINDOW, hop_length=HOP, length=HOP * u.shape[-1], random_state=0
    )
    return x.astype(np.float32)


def _librosa() -> Any:
    use, instead = "log-mel pictures are made and heard", "; or leave `data.mel` out"
    return library("librosa", "mel", use, instead)
