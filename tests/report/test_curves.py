"""The pictures of a comparison: every solver, every sample in its place, failures named."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from scorefield.measure.agreement import wilson
from scorefield.measure.compare import Distance, Quality
from scorefield.report.curves import COLUMNS, SIDE, curves, strips
from scorefield.use.compare import Cell, Comparison, Reference

pytestmark = pytest.mark.slow

module = importlib.import_module("scorefield.report.curves")
"""The package exports a function of that name."""

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
        real=quality, reference=Reference(8, 16.0, 1.0, 1e-3, quality, flow), cells=tuple(cells),
        labels=torch.arange(n) % 10 if labels else None,
    )  # fmt: skip


def texts(monkeypatch, draw, found) -> list[str]:
    """All that a picture says."""
    from matplotlib.text import Text

    said = []

    def spy(figure):
        figure.draw_without_rendering()
        said.extend(text.get_text() for text in figure.findobj(Text) if text.get_visible())

    monkeypatch.setattr(module, "_drawn", spy)
    draw(found)
    return [text for text in said if text]


def test_curves_name_every_solver_and_both_floors(monkeypatch):
    said = texts(monkeypatch, curves, compared())
    for name in (*SOLVERS, "real data", "the flow itself"):
        assert name in said
    for word in ("Distance", "Frechet distance, 10 samples", "Class agreement", "known to 1e-03"):
        assert any(word in text for text in said)
    assert {"4", "8"} <= set(said)  # the axis shows the calls that were measured
    assert any("two for each guided step" in text for text in said)


def test_panels_without_figures_are_left_out(monkeypatch):
    said = texts(monkeypatch, curves, compared(labels=False))
    assert not any("agreement" in text for text in said)
    bare = compared()
    bare = replace(
        bare, real=None, reference=replace(bare.reference, quality=None),
        cells=tuple(replace(c, quality=None) for c in bare.cells),
    )  # fmt: skip
    said = texts(monkeypatch, curves, bare)
    assert not any("Frechet" in text for text in said)


def test_a_stochastic_solver_has_no_distance_but_a_dashed_line(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "_drawn", drawn.append)
    curves(compared())
    distances, frechet, _ = drawn[0].axes
    labels = [axes.get_legend_handles_labels()[1] for axes in (distances, frechet)]
    assert "ddpm" not in labels[0]
    assert "ddpm" in labels[1]
    styles = {box.get_label(): box.lines[0].get_linestyle() for box in frechet.containers}
    assert styles == {"ddim": "-", "dpmpp2m@karras": "-", "ddpm": "--"}


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


def test_a_failure_and_a_count_that_was_not_asked_for(monkeypatch):
    found = compared()
    first, *rest = found.cells
    failed = replace(first, samples=None, distance=None, quality=None, failure="it did.")
    found = replace(found, cells=(failed, *rest[:-1]))  # and ddpm at 2 steps only
    said = texts(monkeypatch, strips, found)
    assert said.count("failed") == 1
    assert {"2 steps", "4 steps", "the flow itself", "@karras"} <= set(said)
    assert texts(monkeypatch, curves, found)


def test_all_failed(monkeypatch):
    found = compared()
    cells = (Cell(c.name, c.grid, c.steps, c.stochastic, failure="it did.") for c in found.cells)
    found = replace(found, cells=tuple(cells))
    assert texts(monkeypatch, curves, found)
    assert texts(monkeypatch, strips, found).count("failed") == 6


def test_a_distance_of_zero_is_drawn():
    found = compared()
    cells = tuple(replace(c, distance=Distance(0.0, 0.0)) for c in found.cells)
    assert curves(replace(found, cells=cells)).width > 100
