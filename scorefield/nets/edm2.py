"""The U-Net of EDM2 (Karras et al. 2024, "Analyzing and improving the training dynamics of
diffusion models", arXiv:2312.02696, app. B and fig. 21): no part changes the size of what it gets.

    unit(x) = x / (rms(x) + 1e-4)                                                     (eq. 1)
    W x: rows of W brought to unit size, divided by sqrt(numbers of a row)           (eq. 2)
    a +_t b = ((1-t) a + t b) / sqrt((1-t)^2 + t^2)                                  (eq. 3)
    [a, b]: sqrt((n_a + n_b) / ((1-t)^2 + t^2)) [(1-t) a / sqrt(n_a), t b / sqrt(n_b)]   (eq. 4)
    silu(x) / .596,  sqrt(2) cos(f told + phase)                                     (eq. 5)

A block, with e of level and class, and unit over channels:

    x <- unit(S R x) in the encoder,  R x in the decoder, where S comes after y
    y = W1 silu((1 + g A e) W0 silu(x))
    x <- x +_.3 y;   x <- x +_.3 P attention(unit q, k, v);   clipped to 256

Weights have the names that the files give them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.nets.labelled import net_settings

EPS, SILU = 1e-4, 0.596


@dataclass(frozen=True, kw_only=True)
class Edm2Settings:
    """What a file says of its network, under the names that it has there."""

    img_resolution: int
    img_channels: int
    label_dim: int
    model_channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    channel_mult_noise: int | None = None
    channel_mult_emb: int | None = None
    num_blocks: int = 3
    attn_resolutions: tuple[int, ...] = (16, 8)
    label_balance: float = 0.5
    concat_balance: float = 0.5
    resample_filter: tuple[int, ...] = (1, 1)
    channels_per_head: int = 64
    dropout: float = 0.0
    res_balance: float = 0.3
    attn_balance: float = 0.3
    clip_act: float = 256.0


def _unit(x: Tensor, *axes: int) -> Tensor:
    """Eq. 1, over some axes.

    >>> _unit(torch.tensor([[3.0, 4.0]]), 1).square().mean().round(decimals=3)
    tensor(1.)
    """
    return x / (x.square().mean(axes, keepdim=True).sqrt() + EPS)


def _added(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Eq. 3."""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def _beside(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Eq. 4, along channels."""
    whole = math.sqrt(a.shape[1] + b.shape[1]) / math.hypot(1 - t, t)
    ways = (1 - t) / math.sqrt(a.shape[1]), t / math.sqrt(b.shape[1])
    return torch.cat([whole * ways[0] * a, whole * ways[1] * b], 1)


def _bent(x: Tensor) -> Tensor:
    """Eq. 5."""
    return F.silu(x) / SILU


class MagnitudeConv(nn.Module):
    """Eq. 2: a matrix (no `size`), or a convolution of that size."""

    def __init__(self, inner: int, outer: int, size: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outer, inner, *(size,) * (2 if size else 0)))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        rows = self.weight.float()
        scale = gain / math.sqrt(rows[0].numel())
        rows = (_unit(rows, *range(1, rows.ndim)) * scale).to(x.dtype)
        if rows.ndim == 2:
            return x @ rows.T
        return F.conv2d(x, rows, padding=rows.shape[-1] // 2)


class Cosines(nn.Module):
    """Eq. 5 of a level, at frequencies and phases that the file gives."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.zeros(count))
        self.register_buffer("phases", torch.zeros(count))

    def forward(self, c_noise: Tensor) -> Tensor:
        phase = c_noise.float()[:, None] * self.freqs.float() + self.phases.float()
        return (math.sqrt(2) * phase.cos()).to(c_noise.dtype)


class Edm2Block(nn.Module):
    """The block of the module's docstring; `way`: up, down or none."""

    projections = ("attn_qkv", "attn_proj")

    def __init__(
        self, inner: int, outer: int, emb: int, said: Edm2Settings, *, encodes: bool,
        way: str = "", attends: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.said, self.encodes, self.way, self.outer = said, encodes, way, outer
        self.heads = outer // said.channels_per_head if attends else 0
        self.emb_gain = nn.Parameter(torch.zeros([]))
        self.conv_res0 = MagnitudeConv(outer if encodes else inner, outer, 3)
        self.emb_linear = MagnitudeConv(emb, outer)
        self.conv_res1 = MagnitudeConv(outer, outer, 3)
        self.conv_skip = MagnitudeConv(inner, outer, 1) if inner != outer else None
        if self.heads:
            self.attn_qkv = MagnitudeConv(outer, 3 * outer, 1)
            self.attn_proj = MagnitudeConv(outer, outer, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self._resampled(x)
        if self.encodes:
            x = _unit(x if self.conv_skip is None else self.conv_skip(x), 1)
        gain = self.emb_linear(emb, self.emb_gain)[:, :, None, None] + 1
        y = _bent(self.conv_res0(_bent(x)) * gain)
        y = self.conv_res1(F.dropout(y, self.said.dropout, self.training))
        if not self.encodes and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = _added(x, y, self.said.res_balance)
        if self.heads:
            x = _added(x, self.attn_proj(self._attended(x)), self.said.attn_balance)
        return x.clamp(-self.said.clip_act, self.said.clip_act)

    def _resampled(self, x: Tensor) -> Tensor:
        """Halved or doubled by a filter that is a mean."""
        if not self.way:
            return x
        taps = x.new_tensor(self.said.resample_filter)
        taps, margin, count = taps / taps.sum(), (len(taps) - 1) // 2, x.shape[1]
        square = (taps[:, None] * taps).expand(count, 1, -1, -1)
        if self.way == "down":
            return F.conv2d(x, square, stride=2, padding=margin, groups=count)
        return F.conv_transpose2d(x, 4 * square, stride=2, padding=margin, groups=count)

    def _attended(self, x: Tensor) -> Tensor:
        """Rows of qkv are, head by head, channel by channel, q then k then v; each of unit size."""
        rows = self.attn_qkv(x).view(len(x), self.heads, self.outer // self.heads, 3, -1)
        q, k, v = (part.transpose(-1, -2) for part in _unit(rows, 2).unbind(3))
        return F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)


class Edm2UNet(nn.Module):
    """The network itself; `label` is as `nets.labelled` says."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind, self.said = kind, net_settings(Edm2Settings, kind, settings)
        s = self.said
        self.classes, self.knows_none = s.label_dim, False
        widths = [s.model_channels * mult for mult in s.channel_mult]
        width = (s.model_channels * s.channel_mult_noise) if s.channel_mult_noise else widths[0]
        self.emb = (s.model_channels * s.channel_mult_emb) if s.channel_mult_emb else max(widths)
        self.out_gain = nn.Parameter(torch.zeros([]))
        self.emb_fourier, self.emb_noise = Cosines(width), MagnitudeConv(width, self.emb)
        self.emb_label = MagnitudeConv(s.label_dim, self.emb) if s.label_dim else None
        self.enc = nn.ModuleDict(dict(self._encoder(widths)))
        outs = [getattr(b, "outer", widths[0]) for b in self.enc.values()]
        self.dec = nn.ModuleDict(dict(self._decoder(widths, outs)))
        self.out_conv = MagnitudeConv(widths[0], s.img_channels, 3)

    def _block(self, inner: int, outer: int, **how: Any) -> Edm2Block:
        return Edm2Block(inner, outer, self.emb, self.said, **how)

    def _encoder(self, widths: list[int]) -> Iterator[tuple[str, nn.Module]]:
        s, inner = self.said, widths[0]
        for level, outer in enumerate(widths):
            side = s.img_resolution >> level
            at, attends = f"{side}x{side}", side in s.attn_resolutions
            if level == 0:
                yield f"{at}_conv", MagnitudeConv(s.img_channels + 1, outer, 3)
            else:
                yield f"{at}_down", self._block(inner, inner, encodes=True, way="down")
            for k in range(s.num_blocks):
                yield f"{at}_block{k}", self._block(inner, outer, encodes=True, attends=attends)
                inner = outer

    def _decoder(self, widths: list[int], skips: list[int]) -> Iterator[tuple[str, nn.Module]]:
        s, inner = self.said, widths[-1]
        for level, outer in reversed([*enumerate(widths)]):
            side = s.img_resolution >> level
            at, attends = f"{side}x{side}", side in s.attn_resolutions
            if level == len(widths) - 1:
                yield f"{at}_in0", self._block(inner, inner, encodes=False, attends=True)
                yield f"{at}_in1", self._block(inner, inner, encodes=False)
            else:
                yield f"{at}_up", self._block(inner, inner, encodes=False, way="up")
            for k in range(s.num_blocks + 1):
                both = inner + skips.pop()
                yield f"{at}_block{k}", self._block(both, outer, encodes=False, attends=attends)
                inner = outer

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        emb = self.emb_noise(self.emb_fourier(c_noise.to(x.dtype)))
        if self.emb_label is not None:
            label = x.new_zeros(1, self.classes) if label is None else label
            own = self.emb_label(label * math.sqrt(self.classes))
            emb = _added(emb, own.expand_as(emb), self.said.label_balance)
        emb = _bent(emb)
        x, skips = torch.cat([x, torch.ones_like(x[:, :1])], 1), list[Tensor]()
        for block in self.enc.values():
            x = block(x, emb) if isinstance(block, Edm2Block) else block(x)
            skips.append(x)
        for name, block in self.dec.items():
            if "block" in name:
                x = _beside(x, skips.pop(), self.said.concat_balance)
            x = block(x, emb)
        return self.out_conv(x, self.out_gain)
