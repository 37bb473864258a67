"""The U-Net of k-diffusion's configs, `image_v1`, under the names that its files give the weights.

With e = two layers of gelu on Fourier features of the level, norms of groups of 32 channels:

    n(x) = norm(x) (1 + a) + b,  (a, b) = A e                                        (eq. 1)
    block: y = S x + W1 gelu(n W0 gelu(n x));   attention: y = x + P softmax(q k) v of n(x)

Halving is the filter (1, 3, 3, 1)/8 along each axis with a mirrored margin, doubling twice that.
Nothing is trained by classes. Karras et al. 2022; Crowson, k-diffusion (MIT licence).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.labelled import net_settings

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
HEAD, GROUP, AUGMENTS = 64, 32, 9
"""Channels of a head and of a group of norms; numbers that say how a sample was augmented."""


@dataclass(frozen=True, kw_only=True)
class ImageV1Settings:
    """What a config says of its network."""

    input_channels: int
    input_size: tuple[int, ...]
    mapping_out: int
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    self_attn_depths: tuple[bool, ...]
    patch_size: int = 1
    skip_stages: int = 0
    has_variance: bool = False
    augment_wrapper: bool = True
    mapping_cond_dim: int = 0
    unet_cond_dim: int = 0
    cross_cond_dim: int = 0
    dropout_rate: float = 0.0


class LevelWaves(nn.Module):
    """cos and sin of 2 pi W v, at the W that a file gives."""

    weight: Tensor

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outer // 2, inner))

    def forward(self, v: Tensor) -> Tensor:
        phase = 2 * math.pi * v @ self.weight.T
        return torch.cat([phase.cos(), phase.sin()], -1)


class AdaptedNorm(nn.Module):
    """Eq. 1."""

    def __init__(self, emb: int, channels: int, wide: int) -> None:
        super().__init__()
        self.groups = max(1, wide // GROUP)
        self.mapper = nn.Linear(emb, 2 * channels)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        gain, shift = self.mapper(emb)[:, :, None, None].chunk(2, 1)
        return F.group_norm(x, self.groups) * (1 + gain) + shift


class KBlock(nn.Module):
    """A residual block; parts have the numbers that they have in files."""

    def __init__(self, emb: int, inner: int, middle: int, outer: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.main = nn.ModuleDict({
            "0": AdaptedNorm(emb, inner, inner), "2": nn.Conv2d(inner, middle, 3, padding=1),
            "4": AdaptedNorm(emb, middle, middle), "6": nn.Conv2d(middle, outer, 3, padding=1),
        })  # fmt: skip
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1, bias=False)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = x
        for norm, conv in (("0", "2"), ("4", "6")):
            h = self.main[conv](F.gelu(self.main[norm](h, emb)))
            h = F.dropout2d(h, self.dropout, self.training)
        return h + self.skip(x)


class KAttention(nn.Module):
    """Rows of qkv are q of every head, then k, then v."""

    projections = ("qkv_proj", "out_proj")

    def __init__(self, emb: int, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norm_in = AdaptedNorm(emb, channels, channels)
        self.qkv_proj = nn.Conv2d(channels, 3 * channels, 1)
        self.out_proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        rows = self.qkv_proj(self.norm_in(x, emb)).view(len(x), 3 * self.heads, -1, x[0, 0].numel())
        q, k, v = rows.transpose(2, 3).chunk(3, 1)
        found = F.scaled_dot_product_attention(q, k, v)
        return x + self.out_proj(found.transpose(2, 3).reshape(x.shape))


class KResample(nn.Module):
    """Halved or doubled by the filter."""

    kernel: Tensor

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        taps = torch.tensor(TAPS) * (2 if up else 1)
        self.register_buffer("kernel", taps[:, None] * taps)

    def forward(self, x: Tensor) -> Tensor:
        taps = self.kernel.to(x).expand(x.shape[1], 1, -1, -1)
        x = F.pad(x, (1,) * 4, "reflect")
        if self.up:
            return F.conv_transpose2d(x, taps, stride=2, padding=3, groups=x.shape[1])
        return F.conv2d(x, taps, stride=2, groups=x.shape[1])


class ImageV1(nn.Module):
    """The network itself; `label` is not read.

    Raises BadInput for what a config has besides pictures and levels, by name.
    """

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind, self.said = kind, net_settings(ImageV1Settings, kind, settings)
        self.classes, self.knows_none, s = 0, True, self.said
        for key in ("mapping_cond_dim", "unet_cond_dim", "cross_cond_dim"):
            if getattr(s, key):
                raise BadInput(f"{kind} has {key} {getattr(s, key)}.", "Only 0 can be honoured.")
        if not len(s.depths) == len(s.channels) == len(s.self_attn_depths) > s.skip_stages:
            raise BadInput(
                f"{kind} has {len(s.depths)} depths, {len(s.channels)} channels, "
                f"{len(s.self_attn_depths)} self_attn_depths and skip_stages {s.skip_stages}.",
                "Restore the file.",
            )
        emb, first = s.mapping_out, s.channels[max(0, s.skip_stages - 1)]
        numbers = s.input_channels * s.patch_size**2
        self.timestep_embed = LevelWaves(1, emb)
        self.mapping_cond = nn.Linear(AUGMENTS, emb, bias=False) if s.augment_wrapper else None
        self.mapping = nn.ModuleDict({"0": nn.Linear(emb, emb), "2": nn.Linear(emb, emb)})
        self.proj_in = nn.Conv2d(numbers, first, 1)
        self.proj_out = nn.Conv2d(first, numbers + s.has_variance, 1)
        downs, ups = nn.ModuleList(), nn.ModuleList()
        for level, outer in enumerate(s.channels):
            above = s.channels[max(0, level - 1)]
            both = outer if level == len(s.channels) - 1 else 2 * outer
            downs.append(self._stage(level, (above, outer, outer), False))
            ups.insert(0, self._stage(level, (both, outer, above), True))
        self.u_net: Any = nn.ModuleDict({"d_blocks": downs, "u_blocks": ups})

    def _stage(self, level: int, widths: tuple[int, int, int], up: bool) -> nn.ModuleList:
        """Blocks of a level with what halves before them, or doubles behind them."""
        s, parts = self.said, list[nn.Module]()
        inner, middle, outer = widths
        for k in range(s.depths[level]):
            last = outer if k == s.depths[level] - 1 else middle
            first = inner if k == 0 else middle
            parts.append(KBlock(s.mapping_out, first, middle, last, s.dropout_rate))
            if s.self_attn_depths[level]:
                parts.append(KAttention(s.mapping_out, last))
        resample = KResample(up) if level > s.skip_stages else nn.Identity()
        return nn.ModuleList([*parts, resample] if up else [resample, *parts])

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        s, emb = self.said, self.timestep_embed(c_noise.to(x.dtype)[:, None])
        for k in ("0", "2"):  # of no augmentation nothing is added
            emb = F.gelu(self.mapping[k](emb))
        x = self.proj_in(F.pixel_unshuffle(x, s.patch_size))
        skips = list[Tensor]()
        for stage in self.u_net["d_blocks"][s.skip_stages :]:
            x = _through(stage, x, emb)
            skips.append(x)
        for k, (stage, skip) in enumerate(zip(self.u_net["u_blocks"], reversed(skips))):
            x = _through(stage, torch.cat([x, skip], 1) if k else x, emb)
        out = self.proj_out(x)
        return F.pixel_shuffle(out[:, : out.shape[1] - s.has_variance], s.patch_size)


def _through(stage: Any, x: Tensor, emb: Tensor) -> Tensor:
    for part in stage:
        x = part(x) if isinstance(part, KResample | nn.Identity) else part(x, emb)
    return x
