"""The transformers of k-diffusion's configs, `image_transformer_v1` and `_v2`, under the names that
its files give the weights.

With e = a mapping network of level and class, unit(x) = x / sqrt(mean x^2 + 1e-6):

    n(x) = unit(x) (1 + A e),   attention: x + P softmax(tau cos(R q, R k)) v of n(x)    (eq. 1)
    x + W1 (a gelu(b)),  (a, b) = W0 n(x)                                                (eq. 2)

R turns pairs of a head's numbers by angles in proportion to the row and the column of a token. In
v1 tau = min(exp(scale), 100), and all tokens are on one level. In v2 (Crowson et al. 2024,
"Scalable high-resolution pixel-space image synthesis with hourglass diffusion transformers",
arXiv:2401.11605) tokens are merged four to one from level to level and split again, and attention
is among all tokens of a level, those of a neighbourhood, those of a window, or none.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, unknown
from scorefield.nets.kdiff import AUGMENTS, HEAD, LevelWaves
from scorefield.nets.labelled import net_settings

EPS = 1e-6
AMONG = {"global": (), "neighborhood": ("kernel_size",), "shifted-window": ("window_size",),
         "none": ()}  # fmt: skip
"""Kinds of attention, and what else a config says of each."""


@dataclass(frozen=True, kw_only=True)
class TransformerV1Settings:
    """What a config says of its network; `num_classes` is that of its data."""

    input_channels: int
    input_size: tuple[int, ...]
    patch_size: tuple[int, ...]
    width: int
    depth: int
    d_ff: int = 0
    num_classes: int = 0
    cond_dropout_rate: float = 0.1
    dropout_rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TransformerV2Settings:
    """The same; of `self_attns` each has a `type` and its sizes."""

    input_channels: int
    input_size: tuple[int, ...]
    patch_size: tuple[int, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    d_ffs: tuple[int, ...] | None = None
    self_attns: tuple[Any, ...] | None = None
    mapping_width: int = 256
    mapping_depth: int = 2
    mapping_d_ff: int | None = None
    mapping_cond_dim: int = 0
    num_classes: int = 0
    cond_dropout_rate: float = 0.1
    dropout_rate: Any = None


class Gain(nn.Module):
    """x / rms(x), times a number for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return _unit(x) * self.scale


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


class AdaptedGain(nn.Module):
    """n of eq. 1."""

    def __init__(self, width: int, emb: int) -> None:
        super().__init__()
        self.linear = nn.Linear(emb, width, bias=False)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return _unit(x) * (1 + self.linear(emb)[:, None])


class Gated(nn.Module):
    """Eq. 2, after a norm that is told e, or none."""

    def __init__(self, width: int, inner: int, emb: int | None, dropout: float) -> None:
        super().__init__()
        self.norm = Gain(width) if emb is None else AdaptedGain(width, emb)
        self.up_proj = nn.Linear(width, 2 * inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor, *emb: Tensor) -> Tensor:
        a, b = self.up_proj(self.norm(x, *emb)).chunk(2, -1)
        return x + self.down_proj(F.dropout(a * F.gelu(b), self.dropout, self.training))


class Turns(nn.Module):
    """R of eq. 1: of v1 learned frequencies turn neighbours of all numbers, of v2 given ones turn
    the first quarter of them with the second."""

    freqs: Tensor

    def __init__(self, head: int, heads: int, first: bool) -> None:
        super().__init__()
        self.first = first
        if first:
            self.freqs_h = nn.Parameter(torch.zeros(heads, head // 4))
            self.freqs_w = nn.Parameter(torch.zeros(heads, head // 4))
        else:
            self.register_buffer("freqs", torch.zeros(heads, head // 8))

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """x (B, heads, L, head), place (L, 2)."""
        down, along = (self.freqs_h.exp(), self.freqs_w.exp()) if self.first else (self.freqs,) * 2
        angle = torch.cat([place[:, :1] * down[:, None], place[:, 1:] * along[:, None]], -1)
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        if self.first:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
        a, b, rest = x.tensor_split([angle.shape[-1], 2 * angle.shape[-1]], -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


@lru_cache(maxsize=32)
def seen_tokens(kind: str, size: int, shift: int, height: int, width: int) -> Tensor | None:
    """Which tokens (L, L) each may see; None is all.

    neighborhood: the `size` x `size` nearest that lie within the picture. shifted-window: those
    whose window has the same number, windows beginning `shift` before the picture.

    >>> seen_tokens("neighborhood", 3, 0, 3, 5)[0].nonzero().flatten().tolist()  # the corner's
    [0, 1, 2, 5, 6, 7, 10, 11, 12]
    """
    if kind == "global":
        return None
    if kind == "neighborhood":
        masks = [_local(n, size) for n in (height, width)]
    else:
        numbers = [(torch.arange(n) + shift) // size for n in (height, width)]
        masks = [number[:, None] == number for number in numbers]
    down, along = masks
    whole = down[:, None, :, None] & along[None, :, None, :]
    return whole.reshape(height * width, height * width)


def _local(count: int, size: int) -> Tensor:
    """(count, count): those of a stretch of `size` about each, moved to lie within."""
    at = torch.arange(count)
    begin = (at - size // 2).clamp(0, count - size)[:, None]
    return (at >= begin) & (at < begin + size)


class CosineAttention(nn.Module):
    """Eq. 1 among the tokens that `seen` says."""

    projections = ("qkv_proj", "out_proj")

    def __init__(
        self, width: int, head: int, emb: int, first: bool, dropout: float, kind: str = "global",
        size: int = 0, shift: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.head, self.first, self.dropout = head, first, dropout
        self.kind = kind, size, shift
        self.norm = AdaptedGain(width, emb)
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        heads = width // head
        if first:
            self.qk_norm = Gain(heads)
        else:
            self.scale = nn.Parameter(torch.full((heads,), 10.0))
        self.pos_emb = Turns(head, heads, first)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, place: Tensor, sides: tuple[int, int], emb: Tensor) -> Tensor:
        rows = self.qkv_proj(self.norm(x, emb)).unflatten(-1, (3, -1, self.head))
        q, k, v = rows.permute(2, 0, 3, 1, 4)
        tau = self.qk_norm.scale.exp().clamp(max=100) if self.first else self.scale
        root = (tau / self.head).sqrt()[:, None, None]  # |unit(q)| is sqrt(head)
        q, k = (self.pos_emb(root * _unit(part), place) for part in (q, k))
        mask = seen_tokens(*self.kind, *sides)
        mask = None if mask is None else mask.to(x.device)
        found = F.scaled_dot_product_attention(q, k, v, mask, scale=1.0)
        found = found.transpose(1, 2).flatten(2)
        return x + self.out_proj(F.dropout(found, self.dropout, self.training))


class KLayer(nn.Module):
    """Attention, if there is any, and eq. 2."""

    def __init__(self, attention: nn.Module | None, gated: nn.Module) -> None:
        super().__init__()
        if attention is not None:
            self.self_attn = attention
        self.ff = gated

    def forward(self, x: Tensor, place: Tensor, sides: tuple[int, int], emb: Tensor) -> Tensor:
        if hasattr(self, "self_attn"):
            x = self.self_attn(x, place, sides, emb)
        return self.ff(x, emb)


class KMapping(nn.Module):
    """The mapping network: gated layers between two norms."""

    def __init__(self, width: int, inner: int, depth: int) -> None:
        super().__init__()
        self.in_norm, self.out_norm = Gain(width), Gain(width)
        self.blocks = nn.ModuleList([Gated(width, inner, None, 0.0) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_norm(x)
        for block in self.blocks:
            x = block(x)
        return self.out_norm(x)


class KFormer(nn.Module):
    """What both have: levels, classes and augmentation in, tokens of patches."""

    def __init__(self, kind: str, said: Any, emb: int, inner: int, depth: int) -> None:
        super().__init__()
        self.kind, self.said = kind, said
        self.classes, self.knows_none = said.num_classes, said.cond_dropout_rate > 0
        if len(said.patch_size) != 2 or said.patch_size[0] != said.patch_size[1]:
            raise BadInput(f"{kind} has patch_size {said.patch_size}.", "Only squares are known.")
        self.patch = said.patch_size[0]
        self.time_emb, self.aug_emb = LevelWaves(1, emb), LevelWaves(AUGMENTS, emb)
        self.time_in_proj = nn.Linear(emb, emb, bias=False)
        self.aug_in_proj = nn.Linear(emb, emb, bias=False)
        self.class_emb = nn.Embedding(self.classes + 1, emb) if self.classes else None
        self.mapping = KMapping(emb, inner, depth)

    def embedded(self, x: Tensor, c_noise: Tensor, label: Tensor | None) -> Tensor:
        """e (B, emb) of level, no augmentation, and class; the last class is none."""
        emb = self.time_in_proj(self.time_emb(c_noise.to(x.dtype)[:, None]))
        emb = emb + self.aug_in_proj(self.aug_emb(x.new_zeros(1, AUGMENTS)))
        if self.class_emb is not None:
            one = x.new_zeros(len(x), self.classes) if label is None else label
            emb = emb + torch.cat([one, 1 - one.sum(1, keepdim=True)], 1) @ self.class_emb.weight
        return self.mapping(emb)


def _places(sides: tuple[int, int], x: Tensor) -> Tensor:
    """(L, 2): rows and columns of tokens, the longer side from -1 to 1."""
    axes = [(torch.arange(n, device=x.device) + 0.5) * 2 - n for n in sides]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) / max(sides)
    return grid.flatten(0, 1).to(x.dtype)


class TransformerV1(KFormer):
    """`image_transformer_v1`; `label` is as `nets.labelled` says."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        said = net_settings(TransformerV1Settings, kind, settings)
        width, inner = said.width, said.d_ff or _rounded(said.width * 8 / 3)
        super().__init__(kind, said, width, inner, 2)
        numbers = said.input_channels * self.patch**2
        self.in_proj = nn.Linear(numbers, width, bias=False)
        self.blocks = nn.ModuleList(
            [KLayer(CosineAttention(width, HEAD, width, True, said.dropout_rate),
                    Gated(width, inner, width, said.dropout_rate)) for _ in range(said.depth)]
        )  # fmt: skip
        self.out_norm, self.out_proj = Gain(width), nn.Linear(width, numbers, bias=False)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        emb, x = self.embedded(x, c_noise, label), F.pixel_unshuffle(x, self.patch)
        sides = (x.shape[-2], x.shape[-1])
        place, x = _places(sides, x), self.in_proj(x.flatten(2).transpose(1, 2))
        for block in self.blocks:
            x = block(x, place, sides, emb)
        x = self.out_proj(self.out_norm(x)).transpose(1, 2).unflatten(-1, sides)
        return F.pixel_shuffle(x, self.patch)


def _rounded(number: float) -> int:
    """The multiple of the largest power of two that is within a twentieth."""
    rounded = [round(number / 2**i) * 2**i for i in range(math.ceil(math.log2(number)))]
    return next((n for n in reversed(rounded) if abs(n - number) <= 0.05 * number), rounded[0])


class Tiles(nn.Module):
    """Tokens of squares of `side` x `side` merged into one, or split; split ones go part of the way
    from what was merged, `fac`, if there is any."""

    def __init__(self, inner: int, outer: int, side: int, way: str) -> None:
        super().__init__()
        self.side, self.way = side, way
        sizes = (inner, outer * side**2) if way != "merge" else (inner * side**2, outer)
        self.proj = nn.Linear(*sizes, bias=False)
        if way == "split":
            self.fac = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        """(B, H, W, C) both ways."""
        if self.way == "merge":
            x = x.unflatten(2, (-1, self.side)).unflatten(1, (-1, self.side))
            return self.proj(x.permute(0, 1, 3, 2, 4, 5).flatten(3))
        x = self.proj(x).unflatten(-1, (self.side, self.side, -1))
        x = x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        return x if past is None else torch.lerp(past, x, self.fac)


class TransformerV2(KFormer):
    """`image_transformer_v2`; `label` is as `nets.labelled` says."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        s = net_settings(TransformerV2Settings, kind, settings)
        emb = s.mapping_width
        super().__init__(kind, s, emb, s.mapping_d_ff or 3 * emb, s.mapping_depth)
        if s.mapping_cond_dim:
            raise BadInput(f"{kind} has mapping_cond_dim {s.mapping_cond_dim}.", "Only 0 is known.")
        count = len(s.widths)
        usual = [{"type": "neighborhood", "d_head": HEAD, "kernel_size": 7}] * (count - 1)
        self.attentions = s.self_attns or (*usual, {"type": "global", "d_head": HEAD})
        self.inner = s.d_ffs or tuple(3 * width for width in s.widths)
        if not len(s.depths) == len(self.attentions) == len(self.inner) == count:
            raise BadInput(
                f"{kind} has {count} widths, {len(s.depths)} depths, {len(self.inner)} d_ffs and "
                f"{len(self.attentions)} self_attns.",
                "Restore the file.",
            )
        rate = s.dropout_rate or 0.0
        self.rates = list(rate) if isinstance(rate, tuple) else [rate] * count
        self.patch_in = Tiles(s.input_channels, s.widths[0], self.patch, "merge")
        self.down_levels, self.up_levels = nn.ModuleList(), nn.ModuleList()
        self.merges, self.splits = nn.ModuleList(), nn.ModuleList()
        for level in range(count - 1):
            self.down_levels.append(self._level(level, 0))
            self.up_levels.append(self._level(level, s.depths[level]))
            fine, coarse = s.widths[level], s.widths[level + 1]
            self.merges.append(Tiles(fine, coarse, 2, "merge"))
            self.splits.append(Tiles(coarse, fine, 2, "split"))
        self.mid_level = self._level(count - 1, 0)
        self.out_norm = Gain(s.widths[0])
        self.patch_out = Tiles(s.widths[0], s.input_channels, self.patch, "last")

    def _level(self, level: int, first: int) -> nn.ModuleList:
        """Layers of a level; every second window begins half its size before the others."""
        width, emb = self.said.widths[level], self.said.mapping_width
        said: Any = self.attentions[level]
        kind = said.get("type") if isinstance(said, dict) else None
        if kind not in AMONG:
            raise unknown("self_attns type", str(kind), AMONG)
        keys = ("d_head", *AMONG[kind]) if kind != "none" else ()
        sizes = [said[key] for key in keys if type(said.get(key)) is int and said[key] > 0]
        if len(sizes) < len(keys) or (sizes and width % sizes[0]):
            raise BadInput(f"{self.kind} has self_attns {said!r}.", "Restore the file.")
        head, size, *_ = (*sizes, 0, 0)
        layers, inner, rate = [], self.inner[level], self.rates[level]
        for k in range(first, first + self.said.depths[level]):
            shift = size // 2 if kind == "shifted-window" and k % 2 else 0
            attention = None if kind == "none" else CosineAttention(
                width, head, emb, False, rate, kind, size, shift
            )  # fmt: skip
            layers.append(KLayer(attention, Gated(width, inner, emb, rate)))
        return nn.ModuleList(layers)

    def _walked(self, layers: Any, x: Tensor, emb: Tensor) -> Tensor:
        sides = (x.shape[1], x.shape[2])
        place, x = _places(sides, x), x.flatten(1, 2)
        for layer in layers:
            x = layer(x, place, sides, emb)
        return x.unflatten(1, sides)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        emb, x, past = self.embedded(x, c_noise, label), self.patch_in(x.movedim(1, -1)), []
        for layers, merge in zip(self.down_levels, self.merges):
            past.append(self._walked(layers, x, emb))
            x = merge(past[-1])
        x = self._walked(self.mid_level, x, emb)
        for layers, split in reversed([*zip(self.up_levels, self.splits)]):
            x = self._walked(layers, split(x, past.pop()), emb)
        return self.patch_out(self.out_norm(x)).movedim(-1, 1)
