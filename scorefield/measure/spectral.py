"""How far sounds are from sounds, by their spectra.

    P_x(t, k) = |sum_n w(n) x(h t + n) exp(-2 pi i k n / N)|^2 / sum_n w(n)^2                  (1)
    d(x, y) = mean_t sqrt( mean_k (10 log10 (P_x + e) / (P_y + e))^2 )    in dB                 (2)

w is a Hann window of N = 256 moments, h = 128. White noise of variance 1 has P = 1 on average, and
e, 50 dB below it, keeps silence from counting. Gray and Markel 1976, "Distance measures for speech
processing", eq. 4, by frames.

Of sets: a sample's distance is that from the nearest held-out sound of its class, and the floor is
the same of training examples. It is small for copies too: `memorisation` looks at those.
"""

import torch
from torch import Tensor

from scorefield.base.finding import Figure
from scorefield.data.kind import SERIES, Kind
from scorefield.measure.reference import Outcome, Reference, Seen

WINDOW, HOP, QUIET, MANY = 256, 128, 1e-5, 512
HEARD_FROM = 1024
"""Moments from which a series is looked at by its spectra."""


def is_heard(shape: tuple[int, ...]) -> bool:
    """Whether examples of a shape are looked at by their spectra.

    >>> is_heard((1, 8192)), is_heard((1, 96)), is_heard((1, 28, 28))
    (True, False, False)
    """
    return Kind.of(shape) is SERIES and shape[-1] >= HEARD_FROM


def log_spectra(x: Tensor, quiet: float = QUIET) -> Tensor:
    """`10 log10 (P + e)` in dB `(..., 129, frames)` of x `(..., L)` (eq. 1).

    >>> tone = 2**0.5 * torch.cos(torch.arange(2048) * torch.pi / 4)
    >>> log_spectra(tone)[32, 8].round()  # N / 3 times its power: the window's gain
    tensor(19.)
    """
    w = torch.hann_window(WINDOW, dtype=x.dtype, device=x.device)
    flat = x.reshape(-1, x.shape[-1])
    s = torch.stft(flat, WINDOW, HOP, window=w, center=True, return_complex=True)
    power = (s.real.square() + s.imag.square()) / w.square().sum()
    return (10 * (power + quiet).log10()).view(*x.shape[:-1], *power.shape[1:])


def log_spectral_distance(x: Tensor, y: Tensor) -> Tensor:
    """Eq. 2 in dB `(...)` of x and y `(..., L)`, broadcast.

    >>> x = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    >>> log_spectral_distance(2 * x, x).round(decimals=2)  # 20 log10 2, less what e takes
    tensor(6.0200)
    """
    return _apart(log_spectra(x), log_spectra(y))


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().mean(-2).sqrt().mean(-1)


def log_spectral_figure(samples: Seen, reference: Reference) -> Outcome:
    """The distance of samples from the nearest held-out sounds of their class, in dB; of what has
    no spectra, nothing."""
    if not is_heard(tuple(samples.x0.shape[1:])):
        return Outcome({})
    held = reference.like_test
    distance, floor = (nearest_sounds(rows, held) for rows in (samples, reference.like_train))
    record = {"log_spectral_distance": distance, "log_spectral_distance_real": floor}
    words = "From the nearest held-out sound of the class, on average."
    figure = Figure(
        "Log-spectral distance", distance, floor=floor, unit="dB", best="low", words=words
    )
    return Outcome(record, (figure,))


def nearest_sounds(rows: Seen, held: Seen) -> float:
    """The mean over at most `MANY` rows."""
    found = []
    spectra = log_spectra(held.x0)
    for x, label in zip(rows.x0[:MANY], rows.label[:MANY].tolist()):
        same = held.label == label
        there = spectra[same] if same.any() else spectra
        found.append(_apart(log_spectra(x), there).mean(-1).amin())
    return float(torch.stack(found).mean())
