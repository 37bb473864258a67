"""Pictures that show one class or another as one looks at them."""

import re
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Watch, quiet
from scorefield.base.finding import Findings, Strip
from scorefield.catalogue.spec import build, specs
from scorefield.draw import guided
from scorefield.guide import Part, View, anagram, hybrid
from scorefield.run.open import device, open_run
from scorefield.use.asked import FEW, Who, check_guided, out_file, seeds_of
from scorefield.use.generate import generate
from scorefield.use.plan import Given, settings_of


def anagrams(
    path: Path,
    views: str,
    who: Who,
    *,
    out: Path | None = None,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> Findings:
    """Pictures by the run at `path` whose views each show a class, or which add up of parts: a row
    of the sheet for each view; for the whole and each part.

    Raises BadInput for views of what is no picture, and for classes of another count.
    """
    run = open_run(path, precision=given.get("precision"))
    shape, classes = tuple(run.facts.shape), run.facts.classes
    seeds = seeds_of(who.n, who.seeds, FEW)
    if len(shape) != 3:
        raise BadInput(f"{path} makes points of {shape[0]} numbers.", "Views are of pictures.")
    texts = specs(re.sub(r"\b(patches:\d+):", r"\1,", views))  # as it was written once
    seen: list[View | Part] = [build("views", text, shape=shape) for text in texts]
    labels: list[int] | list[None] = who.classes(run) or [None] * len(seen)
    if len(labels) != len(seen):
        fact = f"`labels` names {len(labels)} and `views` {len(seen)}."
        raise BadInput(fact, "Give one class for each view.", "labels")
    check_guided(given.get("guidance"), who.labels is not None)
    conds: list[Cond | None] = [
        None if k is None else {"label": torch.full((len(seeds),), k, device=device())}
        for k in labels
    ]
    whole = [v for v in seen if isinstance(v, View)]
    parts = [v for v in seen if isinstance(v, Part)]
    if whole and parts:
        raise BadInput(
            f"`views` mixes {whole[0].name}, a view of all, and {parts[0].name}, a part.",
            "Give views only, or parts that add up, such as low:2,high:2.",
        )
    guide = hybrid(parts, shape, conds) if parts else anagram(whole, shape, conds)
    out = out_file(out or path / "samples" / "anagram.png", ".png")
    settings = settings_of(run, **given)
    settings["guide"] = guided(settings["guidance"], who.labels is not None, guide)
    denoiser = run.denoiser.to(device())
    x0 = generate(denoiser, seeds=seeds, batch=len(seeds), watch=watch, **settings)
    rows: list[Tensor] = [v.forward(x0) for v in whole] or [x0, *(p.project(x0) for p in parts)]

    named = [v.name + ("" if k is None else f" as {classes[k]}") for v, k in zip(seen, labels)]
    heads = ["the whole"] * bool(parts) + named
    captions = tuple(text for head in heads for text in (head, *[""] * (len(seeds) - 1)))
    record: dict[str, Any] = {"out": str(out), "n": len(seeds), "views": [v.name for v in seen],
                              "labels": labels}  # fmt: skip
    how = f"{len(seeds)} pictures; rows: {', '.join(named)}: {out}"
    sheet = Strip("Views", torch.cat(rows), len(seeds), captions=captions)
    return Findings("anagram", str(path), how, (sheet,), record)
