"""What a run's log says: its curves, and its losses by noise level over the training."""

import math
from itertools import pairwise

import numpy as np

from scorefield.base.finding import Findings, Heatmap, Line, Mark, Series
from scorefield.report.charts import smooth
from scorefield.store import RunLog

BUCKET = 1.0
"""Half the width of a bucket of logsnr in the log."""
COLUMNS = 48
"""Of the map of losses over noise levels."""
QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "last quarter")
"""Of the images seen so far: their losses are drawn over noise levels."""
CURVES = (
    ("loss", "Loss", "mean of the objective", True, False),
    ("lr", "Learning rate", "AdamW", False, True),
    ("grad_norm", "Gradient norm", "before clipping", True, False),
    ("images_per_second", "Speed", "images a second", True, True),
    ("memory_mb", "Memory", "MB", False, True),
)
"""(column, name, words, whether it is smoothed, whether its axis begins at 0)."""


def training(log: RunLog, run: str, clip: float) -> Findings:
    """The curves of a log, as far as they were logged."""
    items, absent = [], []
    for column, name, words, raw, zero in CURVES:
        values: tuple[float, ...] = getattr(log, column)
        known = [v for v in values if math.isfinite(v)]
        if not known:
            absent.append(name.lower())
            continue
        drawn = tuple(smooth(values) if raw else values)
        lines = (Line("smoothed" if raw else name.lower(), log.images, drawn, shade=1.0),)
        if raw:
            lines = (Line("", log.images, values, shade=0.32), *lines)
        clips = column == "grad_norm" and min(known) < clip < max(known)
        marks = (Mark(clip, "clip"),) if clips else ()
        scale = (False, False if zero else None)
        items.append(Series(name, "images seen", name.lower(), lines, marks, scale, words, zero))
    how = "The thin line is as logged, the strong one smoothed."
    how += f" Not logged: {', '.join(absent)}." if absent else ""
    return Findings("train", run, how, tuple(items))


def noise(log: RunLog, run: str) -> Findings | None:
    """The losses by noise level, None if they were not logged."""
    if not log.by_logsnr:
        return None
    images = np.array(log.images)
    losses = np.array([values for _, values in log.by_logsnr])
    middles = tuple(middle for middle, _ in log.by_logsnr)
    how = (
        "The loss of each noise level, from pure noise (left, below) to nearly clean data. Levels "
        "are told apart by the logarithm of their signal-to-noise ratio, log(α²/σ²)."
    )
    return Findings("train", run, how, (_profiles(images, losses, middles),
                                        _map(images, losses, middles)))  # fmt: skip


def _profiles(images: np.ndarray, losses: np.ndarray, middles: tuple[float, ...]) -> Series:
    edges = np.linspace(0, images[-1], len(QUARTERS) + 1)
    lines = []
    for part, (start, end) in enumerate(pairwise(edges.tolist())):
        means = _means(losses[:, (images > start) & (images <= end)])
        if np.isfinite(means).any():
            lines.append(Line(QUARTERS[part], middles, tuple(means.tolist()), shade=(part + 1) / 4))
    return Series("Loss at each noise level", "log signal-to-noise ratio", "loss", tuple(lines),
                  log=(False, None))  # fmt: skip


def _map(images: np.ndarray, losses: np.ndarray, middles: tuple[float, ...]) -> Heatmap:
    columns = np.array_split(np.arange(len(images)), min(COLUMNS, len(images)))
    edges = [0.0, *(float(images[some[-1]]) for some in columns)]  # of rows, so that none is empty
    means = np.stack([_means(losses[:, some]) for some in columns], axis=1).tolist()
    values = tuple(tuple(v if math.isfinite(v) else None for v in row) for row in means)
    rows = tuple(m - BUCKET for m in middles) + (middles[-1] + BUCKET,)
    return Heatmap("Loss over training", "images seen", "log SNR", tuple(edges), rows, values,
               "log signal-to-noise ratio, upwards cleaner")  # fmt: skip


def _means(losses: np.ndarray) -> np.ndarray:
    """Of each row, over what is known of it; NaN where nothing is."""
    known = np.isfinite(losses)
    with np.errstate(invalid="ignore"):
        return np.where(known, losses, 0.0).sum(1) / known.sum(1)
