"""What a network is told besides x: the noise level and the conditions, as one vector a sample."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, unknown
from scorefield.nets.contract import check_indices, check_sizes
from scorefield.nets.init import SILU_GAIN, preserve_variance

Features = Literal["sinusoidal", "fourier"]
FEATURES = 64
LONGEST, SHORTEST = 40.0, 0.5  # periods; half of the longest spans the whole range [-10, 10]


def noise_features(noise: Tensor, frequencies: Tensor) -> Tensor:
    """Fourier features of a scalar.

        f_k(u) = sqrt(2) (cos w_k u, sin w_k u)

    The mean square is 1. The phase is taken in float32 at least, because in bfloat16 9.99 and 10
    are one number. noise: (B,), frequencies w: (K,). Returns (B, 2 K).

    >>> noise_features(torch.tensor([0.0]), torch.tensor([1.0, 2.0]))
    tensor([[1.4142, 1.4142, 0.0000, 0.0000]])
    """
    u = noise.to(torch.promote_types(noise.dtype, torch.float32))
    phase = u[:, None] * frequencies.to(u)
    return math.sqrt(2) * torch.cat([phase.cos(), phase.sin()], dim=1)


def sinusoidal(count: int) -> Tensor:
    """w_k = 2 pi / period_k, periods in geometric progression from 40 to 0.5.

    u in [-10, 10] stays one-to-one (half a wave of the longest), and a step of 0.01 turns the
    shortest by 0.13 rad.
    """
    return (2 * math.pi / LONGEST) * (LONGEST / SHORTEST) ** torch.linspace(0, 1, count)


def fourier(count: int) -> Tensor:
    """w_k ~ N(0, pi^2), the same draw in every network.

    Inner products of features then depend on the difference alone, by about exp(-pi^2 d^2 / 2):
    levels less than 0.1 apart look alike (Tancik et al. 2020, arXiv:2006.10739; Song et al. 2021).
    """
    return math.pi * torch.randn(count, generator=torch.Generator().manual_seed(0))


FREQUENCIES = {"sinusoidal": sinusoidal, "fourier": fourier}


class CondEmbedding(nn.Module):
    """Adds the conditions of each sample to its embedding, or a learned vector for "none".

        emb + null_embedding                            where cond["null"] is True
        emb + label_embedding[label] + W vector + b     elsewhere

    The label and vector of a null sample are not used: they may hold any value, nan included.
    cond=None makes every sample null. Built without any condition, it returns emb.

    The network itself reads the other two: "image" (`with_image`), built with its shape
    (C, *sizes), and "tokens" (`Tokens`), built with their features or a vocabulary and length. They
    are checked here, and a network that has them tells a null sample by null_embedding too.

    Raises BadInput for a key the network was not built for, a key it needs and does not get
    (unless every sample is null), a wrong shape, and a label outside 0..classes-1. Reading label
    values stalls an accelerator, so there the range is left to its indexing kernel, which stops
    the program.

    >>> conditions = CondEmbedding(8, classes=10)
    >>> conditions(torch.zeros(2, 8), {"label": torch.tensor([3, 12])})
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: label 12 is outside 0..9. ...
    """

    def __init__(
        self,
        width: int,
        classes: int | None = None,
        vector: int | None = None,
        *,
        image: tuple[int, ...] | None = None,
        tokens: int | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(classes=classes, vector=vector, image=image)
        self.classes, self.vector = classes, vector
        self.image, self.tokens, self.length = image, tokens, length
        self.label_embedding = None if classes is None else nn.Embedding(classes, width)
        self.vector_embedding = (
            None if vector is None else preserve_variance(nn.Linear(vector, width))
        )
        self.null_embedding = nn.Parameter(torch.randn(width)) if self._needed() else None

    def forward(self, emb: Tensor, cond: Mapping[str, Tensor] | None) -> Tensor:
        if cond is not None:
            self._check(cond, emb.shape[0])
        if self.null_embedding is None:
            return emb
        if cond is None or self._missing(cond):  # checked: then every sample is null
            return emb + self.null_embedding
        null = cond.get("null")
        total = emb
        if self.label_embedding is not None:
            label = cond["label"]
            label = label if null is None else label.masked_fill(null, 0)
            check_indices("label", label, self.label_embedding.num_embeddings)
            total = total + self.label_embedding(label)
        if self.vector_embedding is not None:
            # Masked before the product: 0 * nan would still reach the gradient of the weight.
            vector = cond["vector"].to(self.vector_embedding.weight.dtype)
            vector = vector if null is None else vector.masked_fill(null[:, None], 0)
            total = total + self.vector_embedding(vector)
        return (
            total if null is None else torch.where(null[:, None], emb + self.null_embedding, total)
        )

    def _needed(self) -> list[str]:
        sizes = {"label": self.classes, "vector": self.vector, "image": self.image}
        sizes["tokens"] = self.tokens or self.length
        return [key for key, size in sizes.items() if size is not None]

    def _missing(self, cond: Mapping[str, Tensor]) -> list[str]:
        return [key for key in self._needed() if key not in cond]

    def _check(self, cond: Mapping[str, Tensor], batch: int) -> None:
        if "mask" in cond and "tokens" in cond:
            self._check_mask(cond["mask"], tuple(cond["tokens"].shape[:2]))
        known = ["null", "mask"] if self.tokens or self.length else ["null"]
        for key, value in cond.items():
            if key not in (*known, *self._needed()):
                built = {"label": "classes", "vector": "vector"}.get(key, f"'{key}'")
                raise BadInput(
                    f"the condition has '{key}', but the network was built without {built}.",
                    f"Leave '{key}' out, or build the network for it.",
                )
            if key == "tokens":
                self._check_tokens(value, batch)
            if key in ("tokens", "mask"):
                continue
            own = {"vector": (self.vector,), "image": self.image}.get(key, ())
            if value.shape != (batch, *(own or ())):
                raise BadInput(
                    f"condition '{key}' has shape {tuple(value.shape)}, not {(batch, *own)}.",
                    "Conditions are batch-first: one row for each sample of x.",
                )
        missing = self._missing(cond)
        if missing and not ("null" in cond and bool(cond["null"].all())):
            raise BadInput(
                f"the condition lacks '{missing[0]}', which the network was built for.",
                f"Give '{missing[0]}', or cond=None for no condition.",
            )

    def _check_mask(self, mask: Tensor, places: tuple[int, ...]) -> None:
        if mask.shape != places or mask.dtype != torch.bool:
            raise BadInput(
                f"condition 'mask' has shape {tuple(mask.shape)} and type {mask.dtype}.",
                f"Give True or False for each token, {places}.",
            )

    def _check_tokens(self, value: Tensor, batch: int) -> None:
        given, rows = tuple(value.shape), value.shape[:1] == (batch,)
        if self.length is None:
            fits = rows and value.ndim == 3 and value.shape[1] > 0 and value.shape[2] == self.tokens
            wanted = f"features ({batch}, L, {self.tokens})"
        else:
            whole = not value.is_floating_point()
            fits = rows and value.ndim == 2 and 0 < value.shape[1] <= self.length and whole
            wanted = f"ids ({batch}, L), L up to {self.length}"
        if not fits:
            raise BadInput(
                f"condition 'tokens' has shape {given} and type {value.dtype}.", f"Give {wanted}."
            )


def as_null(cond: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
    """A condition in which a sample of which no token is read is null: an empty prompt and one that
    was taken away are the same.

    >>> as_null({"mask": torch.tensor([[True, False], [False, False]])})["null"]
    tensor([False,  True])
    """
    if cond is None or "mask" not in cond:
        return cond
    empty, null = ~cond["mask"].any(1), cond.get("null")
    return {**cond, "null": empty if null is None else null | empty}


def positions(counts: Sequence[int], width: int) -> Tensor:
    """(N, width) for a grid of `counts` places a side: of n sides each has an n-th of the channels,

        sin(w_k p), cos(w_k p),   w_k = 10000^(-2 n k / width),   k = 0, 1, ..,

    p its place there, and what is left over of them is 0.

    >>> positions((1, 2), 4).tolist()[0]
    [0.0, 1.0, 0.0, 1.0]
    """
    n = len(counts)
    w = 10_000 ** -torch.linspace(0, 1, width // (2 * n) + 1, dtype=torch.float64)[:-1]
    phases = [torch.arange(count)[:, None] * w for count in counts]
    waves = [torch.cat([phase.sin(), phase.cos()], dim=1).float() for phase in phases]
    at = torch.cartesian_prod(*(torch.arange(count) for count in counts)).view(-1, n)
    features = torch.cat([wave[at[:, side]] for side, wave in enumerate(waves)], dim=1)
    return F.pad(features, (0, width - features.shape[1]))


def with_image(x: Tensor, cond: Mapping[str, Tensor] | None, channels: int | None) -> Tensor:
    """x beside the picture of its condition, (B, C + channels, *sizes): 0 where a sample has none.

    >>> x, seen = torch.ones(2, 1, 1, 1), torch.full((2, 1, 1, 1), torch.nan)
    >>> null = torch.tensor([True, True])
    >>> with_image(x, {"image": seen, "null": null}, 1).flatten(1)
    tensor([[1., 0.],
            [1., 0.]])
    """
    if channels is None:
        return x
    image = None if cond is None else cond.get("image")
    if cond is None or image is None:
        image = x.new_zeros(x.shape[0], channels, *x.shape[2:])
    elif "null" in cond:
        null = cond["null"]
        image = image.masked_fill(null.view(-1, *[1] * (image.ndim - 1)), 0)
    return torch.cat([x, image.to(x)], dim=1)


class Embedding(nn.Module):
    """The one vector (B, width) that modulates every block: noise level plus conditions.

    emb = W2 silu(W1 f(noise) + b1) + b2 + conditions

    features names the frequencies of f: "sinusoidal", a geometric progression, or "fourier",
    Gaussian ones. They are not learned, and are kept with the weights.
    """

    frequencies: Tensor

    def __init__(
        self,
        width: int,
        classes: int | None = None,
        vector: int | None = None,
        features: Features = "sinusoidal",
        *,
        image: tuple[int, ...] | None = None,
        tokens: int | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        if features not in FREQUENCIES:
            raise unknown("kind of features", features, FREQUENCIES)
        # Rounded so that a network cast to bfloat16 still hears the frequencies it learned with.
        frequencies = FREQUENCIES[features](FEATURES // 2).bfloat16().float()
        self.register_buffer("frequencies", frequencies)
        self.enter = preserve_variance(nn.Linear(FEATURES, width))
        self.leave = preserve_variance(nn.Linear(width, width), gain=SILU_GAIN)
        self.conditions = CondEmbedding(
            width, classes, vector, image=image, tokens=tokens, length=length
        )

    def forward(self, noise: Tensor, cond: Mapping[str, Tensor] | None) -> Tensor:
        features = noise_features(noise, self.frequencies).to(self.enter.weight.dtype)
        emb = self.leave(nn.functional.silu(self.enter(features)))
        return self.conditions(emb, cond)
