"""A folder of sounds: clips of one rate and length.

A file is a sound by its first bytes, whatever its name ends in. Each is read by libsndfile, its
channels joined, brought to one rate by a band-limited resampler (soxr), begun where it is first
heard, divided by its largest value, and cut or followed by silence to one length:

    x = c(t0 + 0, ..., t0 + L - 1) / max |c|,   t0 = the first t with |c(t)| > max |c| / 100   (1)
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.extras import library
from scorefield.data.readers.folder import class_in_name, classes_of_names
from scorefield.data.readers.mel import HIGH, HOP, LOW, from_log_mel, log_mel
from scorefield.data.sets import Data, Scaling, split_files

HEADS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"caff", b".snd")
MPEG = (0xFFE0, 0xF9)
"""An MPEG frame: eleven bits of one; and ADTS (AAC), which has them too and cannot be read."""
HEARD, FLAT, LEAST, FADE = 0.01, 3, 16, 0.005
"""Share of the largest value from which a clip is heard; equal values in a row at the full scale
that are a clipped peak; moments that a clip has at least; seconds in which a cut one ends."""
CUT, CLIPPED = "longer, of which the beginning is read", "clipped at the full scale"
PEAK = 0.891
"""1 dB below the full scale."""
MIXED, RESAMPLED = "of several channels, joined", "resampled"


class Clip(NamedTuple):
    """A sound `x (C, L)` as float32, and what was done to it."""

    x: np.ndarray
    done: tuple[str, ...] = ()


class Unheard(ValueError):
    """A file that holds no sound to learn from."""


def sounds(
    path: str, size: int = 8192, channels: int = 1, rate: int = 16_000, mel: int | None = None
) -> Data:
    """The sounds under the folder `path`, (channels, size), at `rate` moments a second (eq. 1).

    The class of a sound is the name of its sub-folder, and `train` and `test` are splits, as of
    pictures (`folder`); otherwise a tenth is held out. x0 is x over its deviation, so that silence
    is 0. With `mel` each is a picture (channels, mel, size / 128) of its log-mel spectra
    (`mel.log_mel`), in [-1, 1]. Files that cannot be read, are silent or have fewer than `LEAST`
    moments are left out with a warning that names the first; how many were resampled, joined, cut
    or clipped is told.
    """
    for name, value, least in (("size", size, LEAST), ("rate", rate, 100), ("mel", mel, 2)):
        if value is not None and value < least:
            raise BadInput(f"`data.{name}` is {value}.", f"Give at least {least}.")
    if mel and size % HOP:
        raise BadInput(f"`data.size` is {size}.", f"Give a multiple of {HOP} with `data.mel`.")
    if channels not in (1, 2):
        raise BadInput(f"sounds cannot be read with {channels} channels.", "Give 1 or 2.")
    root = Path(path)
    if not root.is_dir():
        raise BadInput(f"there is no folder '{path}'.", "Give `data.path` a folder of sounds.")
    tops = _splits(root)
    parts = [[name for name in _names(root, top) if is_sound(root / name)] for top in tops]
    names = [name for part in parts for name in part]
    clips, kept, counts, broken = [], [], Counter(), []
    for k, name in enumerate(names):
        try:
            clip = read_clip(root / name, size, channels, rate)
        except (Unheard, RuntimeError, OSError) as error:  # libsndfile's are RuntimeErrors
            broken.append(f"{name}: {reason_unheard(error)}")
            continue
        clips.append(clip.x)
        kept.append(k)
        counts.update(clip.done)
    if not clips:
        why = f" ({broken[0]})" if broken else ""
        raise BadInput(
            f"none of the {len(names)} sounds in '{path}' can be heard{why}.",
            "Give `data.path` a folder of WAV, AIFF, FLAC, OGG or MP3 files.",
        )
    if broken:
        warnings.warn(
            f"{len(broken)} of the {len(names)} sounds in '{path}' are left out (the first, "
            f"{broken[0]}).",
            stacklevel=3,
        )
    inner = [class_in_name(name, top) for part, top in zip(parts, tops) for name in part]
    label, classes = classes_of_names([inner[k] for k in kept], names, np.array(kept), "sound")
    train, test = split_files(
        np.stack(clips), label, np.array(kept), len(parts[0]), whole=len(parts) == 1
    )
    lead = f"{len(clips):,} sounds of {size / rate:.2f} s, from where they are heard, peak at 1"
    done = (lead, *(f"{n:,} {words}" for words, n in counts.items()))
    if mel:
        train, test = (replace(part, x=_mel(part.x, rate, mel)) for part in (train, test))
        scaling = Scaling.range(LOW, HIGH)
    else:
        scaling = Scaling((0.0,), (float(train.x.std(correction=0)),))
    return Data("sounds", train, test, classes, scaling, done=done, rate=rate)


def _splits(root: Path) -> list[str]:
    """The folders of the splits, "" being all; a lone `train` beside others is a class."""
    there = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")}
    held = [name for name in ("test", "val") if name in there]
    return ["train", held[0]] if "train" in there and held else [""]


def _names(root: Path, top: str) -> list[str]:
    """Paths of the files below root/top, relative to the root and sorted, but hidden ones."""
    files = (p.relative_to(root) for p in (root / top).rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in files if not any(x.startswith(".") for x in p.parts))


def is_sound(file: Path) -> bool:
    """Whether a file begins as a sound does: RIFF, AIFF, FLAC, Ogg, MP3, CAF or AU."""
    with file.open("rb") as opened:
        head = opened.read(12)
    if head[:4] == b"RIFF":
        return head[8:] == b"WAVE"
    if head[:4] == b"FORM":
        return head[8:11] == b"AIF"
    first = int.from_bytes(head[:2], "big")
    mpeg = first & MPEG[0] == MPEG[0] and first & 0x6 != 0 and len(head) == 12
    return head.startswith(HEADS) or mpeg


def read_clip(file: Path, size: int, channels: int, rate: int) -> Clip:
    """One clip by eq. 1. Raises `Unheard` for what has no sound, and whatever libsndfile does for
    what it cannot read."""
    soundfile = library("soundfile", "audio", "sounds are read")
    # By its content: a name alone would make RAW of one that ends so.
    with file.open("rb") as opened:
        c, own = soundfile.read(opened, dtype="float32", always_2d=True)
    if len(c) < LEAST:
        raise Unheard(f"it has {len(c)} moment{'s' * (len(c) != 1)}, of at least {LEAST}")
    if not np.isfinite(c).all():
        raise Unheard("it has values that are not finite")
    done = [CLIPPED] * is_clipped(c)
    if c.shape[1] > channels:
        done.append(MIXED)
        c = c.mean(1, keepdims=True)
    if own != rate:
        import soxr

        done.append(RESAMPLED)
        c = soxr.resample(c, own, rate)
    c = np.repeat(c, channels // c.shape[1], 1) if c.shape[1] < channels else c
    peak = float(np.abs(c).max(initial=0))
    if peak < 1e-5:
        raise Unheard("it is silent")
    c = c[np.flatnonzero(np.abs(c).max(1) > HEARD * peak)[0] :] / peak
    if len(c) > size:
        done.append(CUT)
        c, n = c[:size].copy(), min(size, round(FADE * rate))
        c[-n:] *= np.linspace(1, 0, n, dtype=np.float32)[:, None]
    x = np.zeros((channels, size), np.float32)
    x[:, : len(c)] = c.T
    return Clip(x, tuple(done))


def _mel(x: Tensor, rate: int, bands: int) -> Tensor:
    return torch.from_numpy(log_mel(x.numpy(), rate, bands))


def audible(x: Tensor, rate: int) -> Tensor:
    """Sounds (N, C, L) of examples in the data's units: themselves, or of log-mel pictures."""
    return x if x.ndim == 3 else torch.from_numpy(from_log_mel(x.float().numpy(), rate))


def end_to_end(pieces: Iterable[Tensor], rate: int) -> np.ndarray:
    """Sounds `(N, C, L)` one after another `(T, C)`, a quarter of a second of silence between, each
    with its largest value at `PEAK`; of log-mel pictures in dB what is heard of them.

    >>> clips = torch.tensor([[[1.0, -2.0]]]), torch.tensor([[[0.0, 4.0]]])
    >>> end_to_end(clips, 4).ravel().tolist()
    [0.4..., -0.8..., 0.0, 0.0, 0.8...]
    """
    clips: list[np.ndarray] = []
    for one in (row for piece in pieces for row in piece.split(1)):
        x = audible(one, rate)
        silence = np.zeros((rate // 4, x.shape[1]), np.float32)
        peak = float(x.abs().max().clamp(min=1e-9))
        clips += [silence] * bool(clips) + [PEAK * x[0].T.float().numpy() / peak]
    return np.concatenate(clips)


def given_sound(file: Path, shape: Sequence[int], rate: int, field: str) -> Tensor | None:
    """One clip (1, *shape) that a person hands to a command, by eq. 1; None of what is no sound."""
    if not (file.is_file() and is_sound(file)):
        return None
    channels, *bands, size = shape
    try:
        x = torch.from_numpy(read_clip(file, size * (HOP if bands else 1), channels, rate).x)[None]
        return _mel(x, rate, *bands) if bands else x
    except (Unheard, RuntimeError, OSError) as error:
        fact = f"`{field}` {file} cannot be heard: {reason_unheard(error)}."
        raise BadInput(fact, "Give a whole sound.", field) from error


def is_clipped(c: np.ndarray) -> bool:
    """Whether `FLAT` values in a row `(T, C)` stand at the full scale.

    >>> is_clipped(np.array([[0.2], [1.0], [1.0], [1.0]])), is_clipped(np.array([[0.2], [1.0]]))
    (True, False)
    """
    full = np.abs(c) > 0.9999
    runs = np.logical_and.reduce([full[k : len(c) - FLAT + 1 + k] for k in range(FLAT)])
    return bool(runs.any())


def reason_unheard(error: Exception) -> str:
    """Why a sound could not be read: libsndfile's own words, without the name of a buffer."""
    return str(getattr(error, "error_string", error)).rstrip(".")
