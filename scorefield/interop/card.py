"""A model card: what a run makes, how it was measured, of which data, by which command."""

from typing import Any

from scorefield import __version__
from scorefield.base import BadInput
from scorefield.run.open import Run
from scorefield.store import exists, read_json

HEAD = """---
license: {licence}
library_name: {library}
tags:
- diffusion
- scorefield
pipeline_tag: unconditional-image-generation
---
"""


def card(run: Run, use: str, licence: str = "other", library: str = "diffusers") -> str:
    """The text of README.md, with front matter. Figures are those of the run's own eval.json, each
    beside its floor: what real data get under the same rule."""
    info, config = run.info, run.config
    count = sum(p.numel() for p in run.denoiser.parameters())
    shape = " x ".join(map(str, info.shape))
    classes = f", {len(info.classes)} classes" if info.classes else ""
    origin = (
        f"Imported: `{config.net}` with `{config.source.scheduler.get('_class_name')}`."
        if config.source
        else f"Trained on {run.images_seen:,} images by `scorefield train {config.data.name}`."
    )
    return f"""{HEAD.format(licence=licence, library=library)}
# {run.path.resolve().name}

A diffusion model of {shape} data{classes}, {count:,} parameters. {origin}

## Use

{use}

With Scorefield {__version__}, any solver, guide, likelihood and restoration: `scorefield import`
this folder makes a run of it, which every command takes.

## Data

{config.data.name or "not said"}{f", as `{info.name}`" if info.name != config.data.name else ""}.

## Figures

{_figures(run)}
"""


def _figures(run: Run) -> str:
    at = run.path / "eval.json"
    if not exists(at):
        return "Not measured yet: `scorefield eval RUN`, then export again."
    try:
        items: list[Any] = read_json(at).get("items", [])
    except BadInput:
        return "eval.json cannot be read."
    rows = [item for item in items if isinstance(item, dict) and "floor" in item]
    lines = [f"| {r['name']} | {_number(r.get('value'))} | {_number(r.get('floor'))} |"
             for r in rows if r.get("floor") is not None]  # fmt: skip
    return "\n".join(["| measure | samples | real data (floor) |", "| --- | --- | --- |", *lines])


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"
