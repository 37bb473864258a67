"""A second stage: the samples of a run made larger by another, which learned super-resolution; or
embeddings, the samples of a prior, made pictures by a decoder of them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Level, Seeded
from scorefield.data import Scaling
from scorefield.data.lower import augmented, upward
from scorefield.draw import Asked, Plan, draw
from scorefield.run.open import Run, open_run
from scorefield.use.asked import idle
from scorefield.use.plan import plan_of, settings_of

STAGE = 2**33
"""Added to a seed for the noise of the second stage, twice for that of its condition: neither
depends on the first stage's steps."""
USUAL_AUGMENT = 0.1


@dataclass(frozen=True)
class Cascade:
    """The run of the second stage, and s of `data.lower`, eq. 1: how far the picture that it is
    shown is noised. Of a decoder, what the first stage's x0 are as embeddings."""

    run: Run
    augment: float
    embedded: Scaling | None = None

    @property
    def about(self) -> str:
        """What decides its part of a sample."""
        return f"{self.run.checkpoint}, augment {self.augment:g}"

    @property
    def plan(self) -> Plan:
        """How this stage walks."""
        return plan_of(self.run.denoiser, True, **settings_of(self.run))

    def __call__(self, x0: Tensor, asked: Asked) -> Tensor:
        """Pictures x0 (n, C, h, w) of the first stage, made for `asked`, at the size of this."""
        denoiser = self.run.denoiser
        return draw(denoiser, self.plan, self.shown(x0, asked), denoiser.shape).x

    def conditions(self, asked: Asked) -> dict[str, Tensor]:
        """What of the first stage's conditions this is told too. Raises BadInput if some lack."""
        info = self.run.info
        said = ["label"] * bool(info.classes) + ["tokens", "mask"] * bool(info.text)
        given = asked.cond or {}
        if missing := [key for key in said if key not in given]:
            words = {"label": "`labels`"}.get(missing[0], "a `prompt`")
            raise BadInput(f"`cascade` {self.run.path} needs {words}.", "Give it.", "cascade")
        return {key: given[key] for key in said}

    @torch.no_grad()
    def shown(self, x0: Tensor, asked: Asked) -> Asked:
        """The rows of this stage, each of which is shown its picture of the first."""
        info = self.run.info
        if self.embedded and info.conditions.vector_scaling:
            vector = info.conditions.vector_scaling.encode(self.embedded.decode(x0))
            return Asked(asked.seeds + STAGE, {"vector": vector} | self.conditions(asked))
        y = upward(x0, info.shape[-1] // x0.shape[-1])
        e = Seeded(asked.seeds + 2 * STAGE)(y, CLEAN, Level.of(0.0, 1.0))
        cond = augmented(y, torch.full((len(y),), self.augment).to(y), e)
        return Asked(asked.seeds + STAGE, cond | self.conditions(asked))


def open_cascade(path: Path, base: Run, augment: float | None) -> Cascade:
    """The second stage at `path` to a base, or BadInput."""
    return cascade_of(open_run(path), base, augment)


def cascade_of(run: Run, base: Run, augment: float | None) -> Cascade:
    """A run as the second stage to a base, or BadInput."""
    path, s = run.path, USUAL_AUGMENT if augment is None else augment
    low, own = run.config.data.low, base.info
    if run.config.data.decoder:
        if base.config.data.prior is None or own.encoder != run.info.encoder:
            what = own.encoder if base.config.data.prior else "no embeddings"
            raise BadInput(
                f"`cascade` {path} makes pictures of embeddings by {run.info.encoder}, and "
                f"{base.path} makes {what}.",
                "Give a pair with one encoder: data.prior and data.decoder.",
                "cascade",
            )
        idle("augment", augment, "a decoder is shown no picture")
        return Cascade(run, 0.0, own.scaling)
    if not 0 <= s <= 1:
        raise BadInput(f"`augment` is {s:g}.", "Give 0 (none) to 1 (all noise).", "augment")
    if low is None:
        raise BadInput(
            f"`cascade` {path} did not learn super-resolution.", "Train it with `data.low`.",
            "cascade",
        )  # fmt: skip
    if own.shape != (run.info.shape[0], low, low):
        raise BadInput(
            f"`cascade` {path} enlarges pictures of {run.info.shape[0]} x {low} x {low}, and "
            f"those of {base.path} are {' x '.join(map(str, own.shape))}.",
            "Give a run of that size.",
            "cascade",
        )
    if run.info.text and (own.text is None or own.text.digest != run.info.text.digest):
        raise BadInput(
            f"`cascade` {path} reads words by another text encoder than {base.path}.",
            "Train both with the same `data.text`.",
            "cascade",
        )
    return Cascade(run, s)
