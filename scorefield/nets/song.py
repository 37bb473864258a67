"""The U-Nets of EDM's checkpoints (Karras et al. 2022, table 1 and app. F.2): DDPM++ and NCSN++ of
Song et al. 2021 as `SongUNet`, ADM of Dhariwal and Nichol 2021 as `DhariwalUNet`.

A block, with the embedding e of level and class, s = sqrt(1/2) for Song and 1 for Dhariwal:

    h = W0 R silu(norm x)
    h = silu(norm (h + A e))                        Song
    h = silu((1 + a) norm h + b), (a, b) = A e      Dhariwal
    y = s (W1 h + S R x),        y <- s (y + P attention(norm y))

R halves or doubles the picture by a fixed filter, or does nothing; S is 1x1 or nothing. NCSN++ has
the input itself, halved, added at each resolution of the encoder (`residual`, or `skip`).

Weights have the names that the files give them, so that a file fits or is refused by name.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.nets.labelled import net_settings

HALF = math.sqrt(0.5)
CHANNELS_PER_HEAD = 64


@dataclass(frozen=True, kw_only=True)
class EdmSettings:
    """What a file says of its network, under the names that it has there."""

    img_resolution: int
    in_channels: int
    out_channels: int
    label_dim: int = 0
    model_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    num_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    label_dropout: float = 0.0
    embedding_type: str = "positional"
    channel_mult_noise: int = 1
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: tuple[int, ...] = (1, 1)


USUAL: dict[str, dict[str, Any]] = {
    "SongUNet": {},
    "DhariwalUNet": {"model_channels": 192, "channel_mult": (1, 2, 3, 4), "num_blocks": 3,
                     "attn_resolutions": (32, 16, 8)},
}  # fmt: skip
"""What each has where its settings say nothing."""
CHOICES = {
    "embedding_type": ("positional", "fourier"),
    "encoder_type": ("standard", "skip", "residual"),
    "decoder_type": ("standard", "skip"),
}


class EdmConv(nn.Module):
    """A convolution of odd `size`, or none (0), after a picture was doubled or halved by a
    `filter`; `first`: the convolution comes before the halving."""

    resample_filter: Tensor

    def __init__(
        self, inner: int, outer: int, size: int, *, way: str = "", filter: Sequence[int] = (1, 1),
        first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.way, self.first = way, first
        if size:
            made = nn.Conv2d(inner, outer, size)
            self.weight, self.bias = made.weight, made.bias
        else:
            self.weight = self.bias = None
        taps = torch.tensor(filter, dtype=torch.float32)
        if way:
            self.register_buffer(
                "resample_filter", (taps[:, None] * taps / taps.sum() ** 2)[None, None]
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.first:  # convolved with the margin of the filter, it is halved without one
            x = self._halved(self._convolved(x, None, self._margin), 0)
            return x if self.bias is None else x + self.bias[:, None, None]
        if self.way == "up":
            taps = self._taps(x, 4)
            x = F.conv_transpose2d(x, taps, stride=2, padding=self._margin, groups=x.shape[1])
        elif self.way == "down":
            x = self._halved(x, self._margin)
        return self._convolved(x, self.bias)

    def _convolved(self, x: Tensor, bias: Tensor | None, margin: int = 0) -> Tensor:
        w = self.weight
        return x if w is None else F.conv2d(x, w, bias, padding=w.shape[-1] // 2 + margin)

    @property
    def _margin(self) -> int:
        return (self.resample_filter.shape[-1] - 1) // 2

    def _taps(self, x: Tensor, gain: float = 1) -> Tensor:
        return (gain * self.resample_filter.to(x)).expand(x.shape[1], -1, -1, -1)

    def _halved(self, x: Tensor, margin: int) -> Tensor:
        return F.conv2d(x, self._taps(x), stride=2, padding=margin, groups=x.shape[1])


def _norm(channels: int, eps: float) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels // 4), channels, eps)


class EdmBlock(nn.Module):
    """The block of the module's docstring. `song` says whose."""

    projections = ("qkv", "proj")

    def __init__(
        self, inner: int, outer: int, emb: int, *, song: bool, way: str = "", heads: int = 0,
        filter: Sequence[int] = (1, 1), dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        eps = 1e-6 if song else 1e-5
        self.song, self.heads, self.inner = song, heads, inner
        self.scale, self.dropout = HALF if song else 1.0, dropout
        self.norm0 = _norm(inner, eps)
        self.conv0 = EdmConv(inner, outer, 3, way=way, filter=filter)
        self.affine = nn.Linear(emb, outer * (1 if song else 2))
        self.norm1 = _norm(outer, eps)
        self.conv1 = EdmConv(outer, outer, 3)
        self.skip = None
        if outer != inner or way:
            size = 1 if song or outer != inner else 0
            self.skip = EdmConv(inner, outer, size, way=way, filter=filter)
        if heads:
            self.norm2 = _norm(outer, eps)
            self.qkv = EdmConv(outer, 3 * outer, 1)
            self.proj = EdmConv(outer, outer, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv0(F.silu(self.norm0(x)))
        affine = self.affine(emb)[:, :, None, None]
        if self.song:
            h = F.silu(self.norm1(h + affine))
        else:
            scale, shift = affine.chunk(2, 1)
            h = F.silu(self.norm1(h) * (1 + scale) + shift)
        h = self.conv1(F.dropout(h, self.dropout, self.training))
        x = self.scale * (h + (x if self.skip is None else self.skip(x)))
        return self.scale * (x + self.proj(self._attended(x))) if self.heads else x

    def _attended(self, x: Tensor) -> Tensor:
        """Rows of qkv are, head by head, channel by channel, q then k then v."""
        batch, channels, height, width = x.shape
        rows = self.qkv(self.norm2(x)).view(batch, self.heads, channels // self.heads, 3, -1)
        q, k, v = (part.transpose(-1, -2) for part in rows.unbind(3))
        found = F.scaled_dot_product_attention(q, k, v)
        return found.transpose(-1, -2).reshape(batch, channels, height, width)


class Waves(nn.Module):
    """The frequencies of NCSN++, which the file gives."""

    freqs: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.zeros(count))


class EdmUNet(nn.Module):
    """The network itself: `c_noise` (B,) is that of its preconditioning, `label` (B, label_dim) has
    a one at the class and no other, or none at all of a sample without class."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = kind
        self.said = s = net_settings(EdmSettings, kind, {**USUAL[kind], **settings}, CHOICES)
        self.classes, self.knows_none = s.label_dim, s.label_dropout > 0
        self.song = kind == "SongUNet"
        width, emb = s.model_channels * s.channel_mult_noise, s.model_channels * s.channel_mult_emb
        if s.embedding_type == "fourier":
            self.map_noise = Waves(width // 2)
        self.map_layer0, self.map_layer1 = nn.Linear(width, emb), nn.Linear(emb, emb)
        if s.label_dim:
            self.map_label = nn.Linear(s.label_dim, width if self.song else emb, bias=self.song)
        self.enc, widths = nn.ModuleDict(dict(self._encoder())), []
        for name, block in self.enc.items():
            if "aux" not in name:
                widths.append(_outer(block))
        self.dec = nn.ModuleDict(dict(self._decoder(widths)))
        if not self.song:
            last = _outer(list(self.dec.values())[-1])
            self.out_norm, self.out_conv = _norm(last, 1e-5), EdmConv(last, s.out_channels, 3)

    def _block(self, inner: int, outer: int, way: str = "", attends: bool = False) -> EdmBlock:
        s = self.said
        heads = (1 if self.song else outer // CHANNELS_PER_HEAD) if attends else 0
        return EdmBlock(
            inner, outer, s.model_channels * s.channel_mult_emb, song=self.song, way=way,
            heads=heads, filter=s.resample_filter if self.song else (1, 1), dropout=s.dropout,
        )  # fmt: skip

    def _resolutions(self) -> list[tuple[int, str, int, bool]]:
        """Level, name, channels, and whether there is attention, from the finest."""
        s = self.said
        found = []
        for level, mult in enumerate(s.channel_mult):
            side = s.img_resolution >> level
            attends = side in s.attn_resolutions
            found.append((level, f"{side}x{side}", s.model_channels * mult, attends))
        return found

    def _encoder(self) -> Iterator[tuple[str, nn.Module]]:
        s = self.said
        width = s.model_channels * (1 if self.song else s.channel_mult[0])
        aux = s.in_channels
        for level, at, outer, attends in self._resolutions():
            if level == 0:
                yield f"{at}_conv", EdmConv(s.in_channels, width, 3)
            else:
                yield f"{at}_down", self._block(width, width, "down")
                if s.encoder_type == "skip":
                    yield f"{at}_aux_down", self._halving(aux, aux, 0)
                    yield f"{at}_aux_skip", EdmConv(aux, width, 1)
                elif s.encoder_type == "residual":
                    yield f"{at}_aux_residual", self._halving(aux, width, 3)
                    aux = width
            for k in range(s.num_blocks):
                yield f"{at}_block{k}", self._block(width, outer, attends=attends)
                width = outer

    def _halving(self, inner: int, outer: int, size: int) -> EdmConv:
        filter = self.said.resample_filter
        return EdmConv(inner, outer, size, way="down", filter=filter, first=bool(size))

    def _decoder(self, skips: list[int]) -> Iterator[tuple[str, nn.Module]]:
        s, levels, width = self.said, self._resolutions(), skips[-1]
        for level, at, outer, attends in reversed(levels):
            last = level == len(levels) - 1
            if last:
                yield f"{at}_in0", self._block(width, width, attends=True)
                yield f"{at}_in1", self._block(width, width)
            else:
                yield f"{at}_up", self._block(width, width, "up")
            for k in range(s.num_blocks + 1):
                attended = attends and (k == s.num_blocks or not self.song)
                yield f"{at}_block{k}", self._block(width + skips.pop(), outer, attends=attended)
                width = outer
            if self.song and (s.decoder_type == "skip" or level == 0):
                if s.decoder_type == "skip" and not last:
                    filter, channels = s.resample_filter, s.out_channels
                    yield f"{at}_aux_up", EdmConv(channels, channels, 0, way="up", filter=filter)
                yield f"{at}_aux_norm", _norm(width, 1e-6)
                yield f"{at}_aux_conv", EdmConv(width, s.out_channels, 3)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        emb = self._embedded(c_noise.to(x.dtype), label)
        x, skips = self._down(x, emb)
        return self._up(x, emb, skips)

    def _embedded(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        s = self.said
        if s.embedding_type == "fourier":
            phase = c_noise[:, None] * (2 * math.pi * self.map_noise.freqs.to(c_noise))
        else:
            count = s.model_channels * s.channel_mult_noise // 2
            k = torch.arange(count, device=c_noise.device, dtype=torch.float32)
            phase = c_noise[:, None] * 1e-4 ** (k / (count - self.song)).to(c_noise)
        both = phase.sin(), phase.cos()
        emb = torch.cat(both if self.song else both[::-1], 1)
        if self.song:
            if label is not None:
                emb = emb + self.map_label(label * math.sqrt(s.label_dim))
            return F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))
        emb = self.map_layer1(F.silu(self.map_layer0(emb)))
        return F.silu(emb if label is None else emb + self.map_label(label))

    def _down(self, x: Tensor, emb: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips, aux = list[Tensor](), x
        for name, block in self.enc.items():
            if name.endswith("aux_down"):
                aux = block(aux)
            elif name.endswith("aux_skip"):
                x = skips[-1] = x + block(aux)
            elif name.endswith("aux_residual"):
                x = skips[-1] = aux = HALF * (x + block(aux))
            else:
                x = block(x, emb) if isinstance(block, EdmBlock) else block(x)
                skips.append(x)
        return x, skips

    def _up(self, x: Tensor, emb: Tensor, skips: list[Tensor]) -> Tensor:
        out: Tensor | None = None
        normed = x
        for name, block in self.dec.items():
            if isinstance(block, EdmBlock):
                x = x if x.shape[1] == block.inner else torch.cat([x, skips.pop()], 1)
                x = block(x, emb)
            elif name.endswith("aux_up"):
                out = block(out)
            elif name.endswith("aux_norm"):
                normed = block(x)
            else:
                made = block(F.silu(normed))
                out = made if out is None else out + made
        return self.out_conv(F.silu(self.out_norm(x))) if out is None else out


def _outer(block: Any) -> int:
    """Channels that come out of a block or a convolution."""
    return len(getattr(block, "conv1", block).weight)
