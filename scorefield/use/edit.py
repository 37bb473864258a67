"""Edits of given samples by a model: noise that hides part of them, and a walk back to data.

    x = alpha x0 + sigma eps  at t = strength, then a solver down to data              (eq. 1)

keeps of x0 what noise of that level lets through (Meng et al. 2022, "SDEdit: guided image synthesis
and editing with stochastic differential equations"): its layout at a middle strength, nothing at 1,
all of it at 0. Other seeds make variations. With a mask only its inside is sampled: what is known
is put into the denoiser's estimate,

    D' = D inside, x0 outside,                                                          (eq. 2)

the projection onto the pictures that agree with x0 there (Wang, Yu and Zhang 2023, "Zero-shot image
restoration using denoising diffusion null-space model", eq. 8 for a mask). As D' is constant
outside, x is alpha x0 + sigma eps there at every level, as it was at the first. The inside is
drawn to fit the outside as D sees it at each level, which is not the conditional law; going back
and forth brings it nearer (Lugmayr et al. 2022, "RePaint"). Of two normals with correlation .9, the
first held at 2, the second is N(1.8, .44^2): a flow makes it .87 +- .71, DDPM 1.21 +- .58, and
Restart(DDIM(), times=4) 1.56 +- .46, times=10 1.71 +- .41.

Encode, edit, decode: the flow under one condition takes x0 up to a code, the flow under another
takes the code down (Su et al. 2023, "Dual diffusion implicit bridges for image-to-image
translation"), so that what the condition does not say stays.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Watch, quiet
from scorefield.base.finding import Findings, Strip
from scorefield.catalogue.plans import guide as build_guide
from scorefield.data.latents import coarser
from scorefield.data.readers.masks import input_mask
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Plan, draw, encode_rows
from scorefield.guide import carried, chain
from scorefield.guide.known import known
from scorefield.measure.quality import rms_all
from scorefield.solve import DDIM, Restart
from scorefield.use.asked import FEW, check_guided, given_examples, how_many, labels_of, warn_depth
from scorefield.use.plan import Settings, asked_of, plan_of
from scorefield.use.request import Request

MASKED = Restart(DDIM(), times=4)
"""What fills a mask, unless told."""

ROW = 12
"""Pictures in a row, at most."""

REFINE = 4
"""Rounds by which `reencode` inverts each step: on the digits model, in 10 steps, the code decodes
to x0 within .0023 rms on [-1, 1], where more rounds do not help; without any within .12."""


def edit(
    denoiser: Denoiser,
    x0: Tensor,
    strength: float,
    asked: Asked,
    *,
    mask: Tensor | None = None,
    batch: int = 256,
    watch: Watch = quiet,
    **settings: Unpack[Settings],
) -> Tensor:
    """Edits `(n, *shape)` of data x0, one per seed: SDEdit, or inpainting with a mask. A model on
    latents edits those.

    x0 `(rows, *shape)` is repeated in turn, as conditions are. `strength` is t of the level that x0
    is noised to: 0 returns it and 1 forgets it, and is what `generate` makes of the same seeds.
    `mask (*shape)` or `(H, W)` is True where the picture may change; elsewhere x0 is returned as it
    is. The `settings` are those of `plan_of`; the solver is MASKED where there is a mask.

    Raises BadInput for a strength outside [0, 1], a mask of another shape or that lets nothing
    change, and for what `generate` refuses.
    """
    if strength == 0:
        _checked(denoiser, x0, strength, mask)
        return _rows(x0, len(asked.seeds))
    plan, asked, finish = edit_walk(denoiser, x0, strength, asked, mask=mask, **settings)
    return finish(draw(denoiser, plan, asked, denoiser.shape, batch=batch, watch=watch).x)


def edit_walk(
    denoiser: Denoiser,
    x0: Tensor,
    strength: float,
    asked: Asked,
    *,
    mask: Tensor | None = None,
    **settings: Unpack[Settings],
) -> tuple[Plan, Asked, Callable[[Tensor], Tensor]]:
    """The plan and the rows that `edit` walks, from a strength above 0, and what makes edits of
    the samples."""
    data, outside = x0, None if mask is None else mask.logical_not()
    (x0, mask), cond = _checked(denoiser, x0, strength, mask), asked.cond
    x0 = x0.to(next(denoiser.parameters()).dtype)
    given = _rows(x0, len(asked.seeds))
    shown = given if strength < 1 else torch.zeros_like(given)
    if mask is not None:
        settings["solver"] = settings.get("solver") or MASKED
        inside = carried(lambda own: known(own["x0"], mask), "x0")
        outer = build_guide(settings.get("guide") or chain(), shape=tuple(denoiser.shape))
        settings["guide"] = chain(outer, inside)
        shown = torch.where(mask.to(given.device), shown, given)
        cond = {**(cond or {}), "x0": x0}
    plan = plan_of(denoiser, bool(asked.cond), start=strength, **settings)
    first = plan.levels.at(0).like(given)
    noise = asked.noise(denoiser.shape, plan.levels, given)
    asked = Asked(asked.seeds, cond, first.alpha * shown + noise)

    def finish(x: Tensor) -> Tensor:
        x = x if mask is None else torch.where(mask.cpu(), x, given.cpu())
        x = denoiser.decode(x)
        return x if outside is None else torch.where(outside, _rows(data, len(x)).to(x), x)

    return plan, asked, finish


def reencode(
    denoiser: Denoiser,
    x0: Tensor,
    strength: float = 1.0,
    cond: Cond | None = None,
    *,
    source: Cond | None = None,
    refine: int = REFINE,
    watch: Watch = quiet,
    **settings: Unpack[Settings],
) -> Tensor:
    """x0 `(n, *shape)` encoded along the flow of the condition `source` (None: of no condition) up
    to t = strength, and decoded along that of `cond`. Nothing in it is random.

    The walk is DDIM's both ways, each step up refined to the inverse of the step down (`encode`):
    `1 + refine` calls a step and one or, guided, two down. With the same condition on both ways it
    returns x0, but for the last step, which removes noise that data do not have. Guidance is the
    decoder's alone.
    """
    if denoiser.codec is None:
        _checked(denoiser, x0, strength, None)
    if strength == 0:
        return x0.clone()
    plan = plan_of(denoiser, bool(cond), start=strength, **{**settings, "solver": DDIM()})
    x0 = denoiser.encode(x0)
    code = encode_rows(denoiser, plan, x0, source, refine=refine)
    asked = Asked(torch.arange(len(x0)), cond, code)
    return denoiser.decode(draw(denoiser, plan, asked, denoiser.shape, watch=watch).x)


def _rows(x0: Tensor, n: int) -> Tensor:
    return x0[torch.arange(n) % len(x0)]


def _checked(
    denoiser: Denoiser, x0: Tensor, strength: float, mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """x0 and the mask `(*shape)` as they are to the denoiser, the mask on its device. BadInput for
    what cannot be edited."""
    if denoiser.codec is not None:
        mask = coarser(mask, x0.shape[1:], denoiser.shape)
    x0 = denoiser.encode(x0)
    if denoiser.schedule is None or tuple(x0.shape[1:]) != tuple(denoiser.shape) or not len(x0):
        raise BadInput(
            f"x0 has shape {tuple(x0.shape)} and the denoiser is for {tuple(denoiser.shape)}.",
            "Give one row or more of its shape, and a denoiser with a schedule.",
        )
    if not 0 <= strength <= 1:
        raise BadInput(f"strength is {strength:g}.", "Give 0 (the input) to 1 (sampling anew).")
    if mask is None:
        return x0, None
    if mask.dtype != torch.bool or mask.shape not in (x0.shape[1:], x0.shape[2:]):
        raise BadInput(
            f"the mask is {mask.dtype} of shape {tuple(mask.shape)}.",
            f"Give one bool for each number of {tuple(x0.shape[1:])}, or for each pixel.",
        )
    if not mask.any():
        raise BadInput("the mask is False everywhere.", "Make it True where x0 may change.")
    return x0, mask.expand(x0.shape[1:]).to(next(denoiser.parameters()).device)


def masked(x0: Tensor, mask: Tensor) -> Tensor:
    """x0 with middle grey where it may change, for pictures of the edit."""
    return torch.where(mask, torch.zeros_like(x0), x0)


class Wish(NamedTuple):
    """The edit that is asked for, in words; with `encode` the picture is of the class `source`."""

    picture: str
    strength: float | None = None
    mask: Path | None = None
    encode: bool = False
    source: str | None = None

    def check(self, request: Request) -> None:
        """Raise BadInput for words that say nothing together."""
        if self.strength is not None and not 0 <= self.strength <= 1:
            fact = f"`strength` is {self.strength:g}."
            raise BadInput(fact, "Give 0 (the input) to 1 (sampling anew).", "strength")
        if not self.encode and self.source is not None:
            raise BadInput("`source` is given without `encode`.", "Add `encode`.", "source")
        both = {"mask": self.mask, "solver": request.solver, "seeds": request.seeds}
        if self.encode and (given := [field for field, v in both.items() if v is not None]):
            raise BadInput(
                f"`encode` and `{given[0]}` exclude each other.",
                "The flow of the whole picture is walked by DDIM, without chance.",
            )


def edit_settings(request: Request, filled: bool) -> dict[str, Any]:
    """Those of `edit_walk`: with a mask that is `filled` its solver, unless it is said. BadInput
    for a fitted grid, and for guidance to nothing."""
    check_guided(request.guidance, bool(request.classes or request.cond))
    settings = request.settings
    if not isinstance(settings["grid"], str):
        fact = "`grid` is a fitted one, which begins at pure noise."
        raise BadInput(fact, "Give a grid of scorefield catalogue grids.", "grid")
    if filled and not request.opened.denoiser.manner:  # a student's own steps are all it knows
        settings["solver"] = request.solver
    return settings


def edit_picture(request: Request, wish: Wish) -> Findings:
    """Edits of the picture by the run, in the data's units, and as a strip behind it."""
    info = request.opened.info
    wish.check(request)
    strength = wish.strength
    if strength is None:
        strength = 1.0 if wish.mask or wish.encode else 0.6
    x0 = given_examples(request.opened, wish.picture, fit=True)[0][:1]
    mask = None if wish.mask is None else input_mask(wish.mask, tuple(info.shape))
    if mask is not None and not mask.any():
        fact = f"`mask` {wish.mask} is black everywhere."
        raise BadInput(fact, "Make it white where the picture may change.", "mask")
    labels = request.classes
    settings = edit_settings(request, mask is not None)
    seeds = request.chosen_seeds(len(labels or [0]) if wish.encode else FEW)
    stem = Path(wish.picture).stem.replace(":", "-")
    out = request.place(request.path / f"samples/edit-{stem}.png", ".png", ".npz")
    warn_depth(info, out)

    denoiser = request.mean if wish.encode else request.denoiser
    watch, began = request.watch, time.monotonic()
    asked = asked_of(denoiser, seeds=seeds, labels=labels, cond=request.cond)
    if wish.encode:
        settings["solver"], rows, own = "ddim", x0.expand(len(seeds), *x0.shape[1:]), None
        if wish.source:
            own = {"label": torch.tensor(labels_of(wish.source, info.classes, "source")[:1])}
        found = reencode(denoiser, rows, strength, asked.cond, source=own, watch=watch, **settings)
    else:
        found = edit(denoiser, x0, strength, asked, mask=mask, watch=watch, **settings)
        settings["solver"] = settings["solver"] or repr(MASKED)
    seconds = time.monotonic() - began
    names = [f"seed {seed}" for seed in seeds]
    if wish.encode and labels:  # without chance
        names = [f"as {info.classes[labels[i % len(labels)]]}" for i in range(len(seeds))]
    kept = {} if mask is None else {"kept": masked(x0, mask)}
    sheet = torch.cat([x0, *kept.values(), found])
    strip = Strip("Edits", sheet, min(len(sheet), ROW), captions=("input", *kept, *names))
    record = {
        "out": str(out), "n": len(found), "strength": strength, "labels": labels, **settings,
        "precision": denoiser.precision,
        "seconds": round(seconds, 3),
        "changed": round(rms_all(found - x0), 4),
    }  # fmt: skip
    how = (
        f"{how_many(len(found), 'edit')}, strength {strength:g}, {settings['steps']} steps, "
        f"{seconds:.1f} s: {out}"
    )
    arrays = {"x": info.scaling.decode(found), "seed": torch.tensor(seeds)}
    return Findings("edit", str(request.run), how, (strip,), record, arrays)
