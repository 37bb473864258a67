"""Rows and running means: buckets of logsnr, speed, memory."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scorefield.objective import LOGSNR
from scorefield.train import meter
from scorefield.train.meter import Meter

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """One second between two looks."""
    times = iter(range(10_000))
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: next(times)))


def add(m: Meter, images: int, losses, logsnr, norm: float = 1.0) -> None:
    plain = torch.tensor(losses, dtype=torch.float64)
    at = torch.tensor(logsnr, dtype=torch.float64)
    m.add(images, {"loss": float(plain.mean())}, 0.1, norm, plain, at)


def test_buckets_are_two_wide_and_the_outer_ones_take_the_rest():
    m = Meter(0)
    logsnr = [-math.inf, -50.0, -10.0, -8.001, -8.0, 0.0, 1.999, 2.0, 9.999, 10.0, math.inf]
    add(m, 11, [float(2**i) for i in range(11)], logsnr)
    row = m.row(CPU)
    assert row
    assert row["by_logsnr"] == {
        "-9": (1 + 2 + 4 + 8) / 4, "-7": 16.0, "1": (32 + 64) / 2, "3": 128.0,
        "9": (256 + 512 + 1024) / 3,
    }  # fmt: skip
    assert LOGSNR.middles == ("-9", "-7", "-5", "-3", "-1", "1", "3", "5", "7", "9")


def test_a_row_is_the_mean_since_the_last(clock):
    m = Meter(100)
    for i, loss in enumerate([1.0, 2.0, 6.0]):
        add(m, 110 + 10 * i, [loss] * 10, [0.0] * 10, norm=loss)
    row = m.row(CPU)
    assert row
    assert (row["images"], row["loss"], row["grad_norm"], row["lr"]) == (130, 3.0, 3.0, 0.1)
    assert row["images_per_second"] == 30 / 4  # looked at by each step and by the row
    assert row["memory_mb"] > 10
    assert m.row(CPU) is None
    add(m, 140, [5.0], [0.0])
    row = m.row(CPU)
    assert row
    assert (row["images"], row["loss"], row["by_logsnr"]) == (140, 5.0, {"1": 5.0})


def test_running_means_fade_and_rows_do_not_touch_them(clock):
    m = Meter(0)
    add(m, 2, [0.0, 0.0], [0.0, 0.0])
    m.row(CPU)
    add(m, 4, [1.0, 3.0], [0.0, 5.0])
    assert m.by == {"1": pytest.approx(1 / (1 + 2 * meter.FADE)), "5": 3.0}


def test_the_speed_is_images_a_second(clock):
    m = Meter(0)
    for i in range(1, 9):
        add(m, 32 * i, [1.0] * 32, [0.0] * 32)
    assert m.images_per_second == 32.0


def test_a_row_is_due_every_second_or_every_so_many_images(clock):
    m = Meter(0, every=64)
    due = []
    for i in range(1, 7):
        add(m, 32 * i, [1.0], [0.0])
        due.append(m.due)
        if m.due:
            m.row(CPU)
    assert due == [False, True] * 3
    m = Meter(0)
    add(m, 1, [1.0], [0.0])
    assert m.due


def test_the_memory_is_the_most_that_this_process_held():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc")
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert meter.memory_mb(CPU) == pytest.approx(int(peak.split()[1]) / 1024, rel=0.05)
