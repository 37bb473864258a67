"""A comparison of solvers as two pictures: quality against calls, and the samples themselves."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scorefield.report.picture import picture
from scorefield.use.compare import Cell, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

SHOWN, COLUMNS, SIDE = 10, 5, 40
"""Pictures of each method in the strips, how many side by side, the least pixels of a side."""
POINTS, PANEL = 1000, 220
"""Points of each method in the strips, and the pixels of a side of their panel."""
WIDEST = 480
"""Pixels that a block of large pictures is shrunk to."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
"""Distinct for the colour-blind too (Okabe and Ito 2008)."""
MARKERS = "osD^vP*X"
INK, FAINT, GREEN, BAND = "#222222", "#8A8A8A", "#5A8F5A", "#E3EDE3"
REAL, FLOW = "real data", "the flow itself"
DPI = 120


def curves(found: Comparison) -> "Image":
    """Distance from the flow, Frechet distance and class agreement against network calls.

    Green is what real data get: Frechet distance with its deviation, agreement with its 95%
    interval. In the grey the flow itself is not known. Dashed lines are stochastic.
    """
    from matplotlib.figure import Figure

    panels = [_distances]
    if found.real is not None:
        panels.append(_frechet)
        if found.labels is not None and found.real.agreement is not None:
            panels.append(_agreement)
    figure = Figure(figsize=(4.6 * len(panels) + 0.4, 4.7), dpi=DPI, layout="constrained")
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        panel(axes, found)
        _calls(axes, found)
    names = {}
    for axes in reversed(figure.axes):  # the last panels have the stochastic solvers too
        names |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels())}
    order = [*dict.fromkeys(cell.name for cell in found.cells), REAL, FLOW]
    names = {name: names[name] for name in order if name in names}
    figure.legend(
        list(names.values()), list(names), loc="outside lower center",
        ncols=min(len(names), 3 * len(panels)), frameon=False, fontsize=9,
    )  # fmt: skip
    return _drawn(figure)


def _lines(found: Comparison) -> list[tuple[list[Cell], dict[str, Any]]]:
    """The cells of each solver that have figures, by rising calls, and how they are drawn."""
    lines = []
    for i, name in enumerate(dict.fromkeys(cell.name for cell in found.cells)):
        line = [c for c in found.cells if c.name == name and c.failure is None]
        style = {
            "label": name,
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
            "linestyle": "--" if any(c.stochastic for c in line) else "-",
            "markersize": 5,
            "linewidth": 1.6,
            "capsize": 2.5,
        }
        lines.append((sorted(line, key=lambda c: c.calls or 0), style))
    return lines


def _distances(axes: "Axes", found: Comparison) -> None:
    for line, style in _lines(found):
        some = [
            (c.calls, c.distance.mean, c.distance.stderr)
            for c in line
            if c.distance and c.distance.mean > 0
        ]
        if some:
            calls, mean, stderr = zip(*some)
            axes.errorbar(calls, mean, stderr, **style)
    axes.set_yscale("log")
    axes.set_ylim(*axes.get_ylim())
    axes.axhspan(0, found.reference.error, color="#EDEDED", zorder=0)
    known = f"the flow is known to {found.reference.error:.0e}"
    axes.text(0.02, 0.02, known, transform=axes.transAxes, fontsize=8, color=FAINT)
    axes.set_title("Distance from the model's own flow", loc="left", fontsize=11)
    axes.set_ylabel("RMS over a sample, mean ± standard error")


def _frechet(axes: "Axes", found: Comparison) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for line, style in _lines(found):
        some = [(c.calls, c.quality.frechet, c.quality.frechet_std) for c in line if c.quality]
        if some:
            calls, value, spread = zip(*some)
            axes.errorbar(calls, value, spread if any(spread) else None, **style)
    axes.set_yscale("log")
    if found.real:
        floor, std = found.real.frechet, found.real.frechet_std
        axes.axhspan(floor - std, floor + std, color=BAND, zorder=0)
        axes.axhline(floor, color=GREEN, linewidth=1, zorder=1, label=REAL)
    if found.reference.quality:
        flow = found.reference.quality.frechet
        axes.axhline(flow, color=INK, linewidth=1, linestyle=":", label=FLOW)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"Frechet distance, {found.frechet_n} samples", loc="left", fontsize=11)
    axes.set_ylabel(f"in {found.feature_space}")


def _agreement(axes: "Axes", found: Comparison) -> None:
    for line, style in _lines(found):
        some = [(c.calls, c.quality.agreement) for c in line if c.quality and c.quality.agreement]
        if some:
            calls, share = zip(*some)
            value = np.array([p.share for p in share])
            wide = np.array([[p.share - p.low for p in share], [p.high - p.share for p in share]])
            axes.errorbar(calls, 100 * value, 100 * wide.clip(0), elinewidth=0.8, **style)
    real = found.real and found.real.agreement
    if real:
        axes.axhspan(100 * real.low, 100 * real.high, color=BAND, zorder=0)
        axes.axhline(100 * real.share, color=GREEN, linewidth=1, zorder=1, label=REAL)
    flow = found.reference.quality and found.reference.quality.agreement
    if flow:
        axes.axhline(100 * flow.share, color=INK, linewidth=1, linestyle=":")
    axes.set_ylim(top=100.5)
    axes.set_title("Class agreement", loc="left", fontsize=11)
    axes.set_ylabel("% judged to be the class asked for, 95% interval")


def _calls(axes: "Axes", found: Comparison) -> None:
    """The axis of calls: logarithmic, with the counts that were measured as its numbers."""
    from matplotlib.ticker import NullFormatter, NullLocator

    measured = sorted({c.calls for c in found.cells if c.calls})
    ticks = measured[:1]
    for calls in measured:
        if calls > ticks[-1] * (measured[-1] / measured[0]) ** 0.06:  # room for its number
            ticks.append(calls)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    guided = ", two for each guided step" if found.calls_per_eval == 2 else ""
    axes.set_xlabel(f"network calls a sample{guided}")
    axes.grid(True, color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def strips(found: Comparison) -> "Image":
    """A row for each solver, a column for each count of steps, the flow itself last.

    Each block shows the same seeds in the same places, so a row reads as the approach to the flow.
    Points are drawn over those of the flow, each tied to its twin.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(cell.name for cell in found.cells))
    steps = sorted({cell.steps for cell in found.cells})
    cells = {(c.name, c.steps): c for c in found.cells}
    flow = found.reference.samples
    block = _block(flow) if flow.ndim == 4 else None
    high, wide = (PANEL, PANEL) if block is None else block.shape[:2]
    left = 34 + 12 * max(len(part) for name in names for part in name.split("@"))
    top, gap, foot = 64, 18, 30
    width = left + (len(steps) + 1) * (wide + gap)
    height = top + len(names) * (high + foot) + 8
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, **{"fontsize": 9, "color": INK} | style)

    heads = [f"{count} step" + "s" * (count > 1) for count in steps] + [FLOW]
    title = f"same {len(flow)} seeds everywhere, guidance {found.guidance:g}"
    write(left, 22, title, color=FAINT, va="center")
    for column, head in enumerate(heads):
        write(left + column * (wide + gap), top - 8, head, fontsize=11, weight="bold")
    for row, name in enumerate(names):
        y = top + row * (high + foot)
        solver, _, grid = name.partition("@")
        write(12, y + high / 2, solver, fontsize=10, weight="bold", va="bottom")
        write(12, y + high / 2 + 2, f"@{grid}" if grid else "", color=FAINT, va="top")
        stochastic = any(c.stochastic for c in found.cells if c.name == name)
        for column, count in enumerate([*steps, None]):
            x = left + column * (wide + gap)
            cell = None if count is None else cells.get((name, count))
            if count is not None and cell is None:  # a grid for other counts
                continue
            drawn = flow if cell is None else cell.samples
            if cell is None and stochastic:
                write(x, y + high / 2, "stochastic: other samples\nof the same law", color=FAINT,
                      va="center")  # fmt: skip
                continue
            if drawn is None:
                write(x + wide / 2, y + high / 2, "failed", color=FAINT, ha="center", va="center")
            elif flow.ndim == 4:
                figure.figimage(_block(drawn), x, height - y - high)
            else:
                place = (x / width, 1 - (y + high) / height, wide / width, high / height)
                twins = None if cell is None else flow
                _scatter(figure.add_axes(place), drawn, twins, not stochastic, found.labels)
            write(x, y + high + 4, _caption(found, cell), fontsize=8, color=FAINT, va="top")
    return _drawn(figure)


def _caption(found: Comparison, cell: Cell | None) -> str:
    calls = found.reference.calls if cell is None else cell.calls
    words = [] if calls is None else [f"{calls:.0f} calls"]
    if cell is not None and cell.distance is not None:
        words.append(f"distance {cell.distance.mean:.2g}")
    return ", ".join(words)


def _block(x0: Tensor) -> np.ndarray:
    """A few pictures side by side, small ones magnified by a whole factor, large ones shrunk."""
    from PIL.Image import Resampling

    image = picture(x0, COLUMNS, magnify=False).convert("RGB")
    factor = math.ceil(SIDE / max(x0.shape[2:]))
    image = image.resize((image.width * factor, image.height * factor), Resampling.NEAREST)
    if image.width > WIDEST:
        image = image.resize((WIDEST, image.height * WIDEST // image.width), Resampling.LANCZOS)
    return np.asarray(image)


def _scatter(
    axes: "Axes", x0: Tensor, flow: Tensor | None, tied: bool, labels: Tensor | None
) -> None:
    """Points, over those of the flow; an error is a line from a point to its twin."""
    import matplotlib
    from matplotlib.collections import LineCollection

    points, twins = _plane(x0), None if flow is None else _plane(flow)
    if twins is not None and tied:
        axes.add_collection(
            LineCollection(list(np.stack([twins, points], 1)), colors=FAINT, linewidths=0.4)
        )
    elif twins is not None:
        axes.scatter(*twins.T, s=1.5, color="#D0D0D0", linewidths=0)
    colour = INK if labels is None else matplotlib.colormaps["tab10"](labels.numpy() % 10)
    axes.scatter(*points.T, s=3, color=colour, linewidths=0)
    frame = points if twins is None else twins  # that of the flow, so that all panels agree
    middle = (frame.max(0) + frame.min(0)) / 2
    half = 0.6 * max((frame.max(0) - frame.min(0)).max(), 1e-6)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#DDDDDD")


def _plane(x0: Tensor) -> np.ndarray:
    """The first two coordinates, `(N, 2)`; of one coordinate, the line."""
    points = x0.float().numpy()[:, :2]
    return points if points.shape[1] == 2 else np.concatenate([points, 0 * points], 1)


def _drawn(figure: "Figure") -> "Image":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
