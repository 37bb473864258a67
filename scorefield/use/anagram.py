"""Pictures that show one class or another as one looks at them."""

import re

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Guide
from scorefield.base.finding import Findings, Strip, over_rows
from scorefield.catalogue.spec import build, specs
from scorefield.data.kind import PICTURE
from scorefield.draw import guided
from scorefield.guide import Part, View, anagram, hybrid
from scorefield.process import check_one_level
from scorefield.run.open import device
from scorefield.use.asked import FEW, check_guided
from scorefield.use.generate import generate
from scorefield.use.request import Request


def anagrams(request: Request, views: str) -> Findings:
    """Pictures whose views each show a class, or which add up of parts: a row of the sheet for each
    view; for the whole and each part.

    Raises BadInput for views of what is no picture, and for classes of another count.
    """
    classes, seeds = request.opened.info.classes, request.chosen_seeds(FEW)
    seen, guide = views_guide(request, views, len(seeds))
    out, settings = request.place(request.path / "samples/anagram.png", ".png"), request.settings
    settings["guide"] = guide
    denoiser, batch = request.mean, len(seeds)
    x0 = generate(denoiser, seeds=seeds, batch=batch, watch=request.watch, **settings)
    labels = request.classes or [None] * len(seen)
    whole = [v for v in seen if isinstance(v, View)]
    rows: list[Tensor] = [v.forward(x0) for v in whole]
    rows = rows or [x0, *(p.project(x0) for p in seen if isinstance(p, Part))]

    named = [v.name + ("" if k is None else f" as {classes[k]}") for v, k in zip(seen, labels)]
    heads = ["the whole"] * (not whole) + named
    captions = over_rows(heads, len(seeds))
    record = {"out": str(out), "n": len(seeds), "views": [v.name for v in seen], "labels": labels}
    how = f"{len(seeds)} pictures; rows: {', '.join(named)}: {out}"
    sheet = Strip("Views", torch.cat(rows), len(seeds), captions=captions)
    return Findings("anagram", str(request.run), how, (sheet,), record)


def views_guide(request: Request, views: str, n: int) -> tuple[list[View | Part], Guide]:
    """The views or parts that a text names, and the guide for n samples of which each view shows
    the class that is asked of it."""
    shape = tuple(request.opened.info.shape)
    PICTURE.check(shape, "views are")
    if request.opened.info.codec:
        raise BadInput(f"{request.run} works on latents, and views are of pictures.",
                       "Give a run on pictures themselves.", "run")  # fmt: skip
    check_one_level(request.opened.schedule, "a view")
    texts = specs(re.sub(r"\b(patches:\d+):", r"\1,", views))  # as it was written once
    seen: list[View | Part] = [build("views", text, shape=shape) for text in texts]
    labels: list[int] | list[None] = request.classes or [None] * len(seen)
    if len(labels) != len(seen):
        fact = f"`labels` names {len(labels)} and `views` {len(seen)}."
        raise BadInput(fact, "Give one class for each view.", "labels")
    check_guided(request.guidance, request.labels is not None)
    each = [None if k is None else torch.full((n,), k, device=device()) for k in labels]
    conds: list[Cond | None] = [None if label is None else {"label": label} for label in each]
    whole = [v for v in seen if isinstance(v, View)]
    parts = [v for v in seen if isinstance(v, Part)]
    if whole and parts:
        raise BadInput(
            f"`views` mixes {whole[0].name}, a view of all, and {parts[0].name}, a part.",
            "Give views only, or parts that add up, such as low:2,high:2.",
        )
    guide = hybrid(parts, shape, conds) if parts else anagram(whole, shape, conds)
    scale = request.settings["guidance"]
    return seen, guided(scale, request.labels is not None, guide)
