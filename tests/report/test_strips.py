"""The pictures of a comparison: every solver, every sample in its place, failures named."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base.finding import Series
from scorefield.measure import Distance, Quality
from scorefield.measure.agreement import wilson
from scorefield.report.pixels import curves
from scorefield.report.strips import COLUMNS, SIDE, strips
from scorefield.use.compare import Cell, Comparison, Followed, comparison_csv, findings

SOLVERS = ("ddim", "dpmpp2m@karras", "ddpm")


def compared(shape=(1, 8, 8), n=10, labels=True, steps=(2, 4)) -> Comparison:
    rng = torch.Generator().manual_seed(0)
    flow = torch.rand(n, *shape, generator=rng) * 2 - 1
    quality = Quality(2.0, 0.2, wilson(n - 1, n) if labels else None)
    cells = [
        Cell(name, "karras", k, name == "ddpm", calls=2.0 * k, seconds=1.0,
             distance=None if name == "ddpm" else Distance(0.5 / k, 0.01), quality=quality,
             samples=(flow + 1 / k).clamp(-1, 1))
        for name in SOLVERS for k in steps
    ]  # fmt: skip
    return Comparison(
        n=n, guidance=1.5, calls_per_eval=2, feature_space="data (64)", frechet_n=n,
        real=quality, reference=Followed(8, 16.0, 1.0, 1e-3, quality, flow), cells=tuple(cells),
        labels=torch.arange(n) % 10 if labels else None,
    )  # fmt: skip


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What pictures drawn from here on say."""
    from PIL import ImageDraw

    told, text = [], ImageDraw.ImageDraw.text

    def spy(self, place, words, *rest, **more):
        told.append(words)
        return text(self, place, words, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    return told


def drawn(found: Comparison) -> Image.Image:
    return curves(findings(found, "runs/x", {}))


def test_curves_name_every_solver_and_both_floors(said):
    drawn(compared())
    for name in (*SOLVERS, "real data", "the flow itself"):
        assert name in said
    for word in ("Distance", "Frechet distance, 10 samples", "Class agreement", "known to 1e-03"):
        assert any(word in text for text in said)
    assert {"4", "8"} <= set(said)  # the axis shows the calls that were measured


def test_panels_without_figures_are_left_out():
    named = [item.name for item in findings(compared(labels=False), "x", {}).items]
    assert "Class agreement" not in named
    bare = compared()
    bare = replace(
        bare, real=None, reference=replace(bare.reference, quality=None),
        cells=tuple(replace(c, quality=None) for c in bare.cells),
    )  # fmt: skip
    assert not any("Frechet" in item.name for item in findings(bare, "x", {}).items)


def test_a_stochastic_solver_has_no_distance_but_a_dashed_line():
    distances, frechet, *_ = findings(compared(), "x", {}).items
    assert isinstance(distances, Series)
    assert isinstance(frechet, Series)
    assert "ddpm" not in [line.name for line in distances.lines]
    assert {line.name: line.dashed for line in frechet.lines} == {
        "ddim": False, "dpmpp2m@karras": False, "ddpm": True,
    }  # fmt: skip


def test_csv_has_every_figure():
    rows = list(csv.DictReader(comparison_csv(compared()).decode().splitlines()))
    assert len(rows) == 6
    assert [float(rows[0][k]) for k in ("calls", "distance", "frechet", "frechet_std")] == [
        4.0, 0.25, 2.0, 0.2,
    ]  # fmt: skip
    assert rows[-1]["distance"] == ""


def test_every_sample_of_the_strips_is_in_its_place():
    found = compared()
    sheet = np.asarray(strips(found))
    for x0 in (*(cell.samples for cell in found.cells), found.reference.samples):
        assert x0 is not None
        assert places(sheet, x0)
    assert len(places(sheet, found.reference.samples)) == 2  # beside both deterministic solvers
    assert not places(sheet, found.reference.samples.flip(0))


def places(sheet: np.ndarray, x0: torch.Tensor) -> list[tuple[int, int]]:
    """Where the block of pictures lies in the sheet, pixel for pixel."""
    gap, size = SIDE // 8, SIDE + SIDE // 8  # a line between pictures is magnified with them
    levels = ((x0[:, 0] + 1) * 127.5).round().to(torch.uint8)
    big = levels.repeat_interleave(gap, 1).repeat_interleave(gap, 2)
    rows = len(x0) // COLUMNS
    block = np.full((rows * size + gap, COLUMNS * size + gap), 40, np.uint8)
    for i, one in enumerate(big.numpy()):
        y, x = i // COLUMNS * size + gap, i % COLUMNS * size + gap
        block[y : y + SIDE, x : x + SIDE] = one
    h, w = block.shape
    grey = sheet[..., 0]
    tall, long = grey.shape[0] - h + 1, grey.shape[1] - w + 1
    fits = np.ones((tall, long), bool)
    for y in range(0, h, 7):  # some pixels first, which leaves few places
        fits &= grey[y : y + tall, y * 2 % w : y * 2 % w + long] == block[y, y * 2 % w]
    corners = zip(*np.nonzero(fits))
    return [(y, x) for y, x in corners if np.array_equal(grey[y : y + h, x : x + w], block)]


@pytest.mark.parametrize("shape", [(3, 32, 32), (4, 5, 9), (2, 200, 200)])
def test_pictures_of_any_size_and_channels(shape):
    sheet = strips(compared(shape))
    assert sheet.mode == "RGB"
    assert sheet.width < 3 * 500 + 200


@pytest.mark.parametrize("shape, labels", [((1,), False), ((2,), True), ((5,), True)])
def test_points(shape, labels):
    sheet = np.asarray(strips(compared(shape, n=50, labels=labels)))
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 20


def test_a_failure_and_a_count_that_was_not_asked_for(said):
    found = compared()
    first, *rest = found.cells
    failed = replace(first, samples=None, distance=None, quality=None, failure="it did.")
    found = replace(found, cells=(failed, *rest[:-1]))  # and ddpm at 2 steps only
    strips(found)
    assert said.count("failed") == 1
    assert {"2 steps", "4 steps", "the flow itself", "@karras"} <= set(said)
    assert drawn(found)


def test_all_failed(said):
    found = compared()
    cells = (Cell(c.name, c.grid, c.steps, c.stochastic, failure="it did.") for c in found.cells)
    found = replace(found, cells=tuple(cells))
    assert drawn(found)
    strips(found)
    assert said.count("failed") == 6


def test_a_distance_of_zero_is_drawn():
    found = compared()
    cells = tuple(replace(c, distance=Distance(0.0, 0.0)) for c in found.cells)
    assert drawn(replace(found, cells=cells)).width > 100
