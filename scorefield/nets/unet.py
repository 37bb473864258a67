"""U-Net in 1 to 3 dimensions: residual blocks at several resolutions, joined by skips."""

from collections.abc import Mapping, Sequence
from math import gcd, prod
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.utils.checkpoint import checkpoint

from scorefield.base import BadInput, unknown
from scorefield.nets.attention import attention
from scorefield.nets.contract import (
    check_dropout,
    check_inputs,
    check_sizes,
    config_of,
    spatial_of,
)
from scorefield.nets.embed import Embedding, Features, as_null, positions, with_image
from scorefield.nets.init import CONVOLUTIONS, preserve_variance, zero
from scorefield.nets.tokens import Context, CrossAttention, Tokens

Norm = Literal["group", "layer", "rms"]
NORMS = get_args(Norm)
Norms = Literal[1, 2]


class UNet(nn.Module):
    """F(x, noise, cond) for x of shape (B, C, *sizes): series (B, C, L), pictures (B, C, H, W) or
    volumes (B, C, D, H, W), any size >= 1.

    Level l has width * multipliers[l] channels and ceil(size / 2^l) pixels a side. Going down, each
    level runs `blocks` residual blocks and keeps every result; going up, each level runs `blocks`
    more, each reading one of them. Attention runs after each block of the levels named in
    `attention` (0 is full size, None is the deepest level only) and in the middle if the deepest
    level is named. Every residual branch and the output start at zero: F = 0.

    width: channels at level 0, a multiple of 8. head_dim: channels of an attention head.
    norm: "group" (over groups of 16 or 8 channels and all pixels), "layer" or "rms" (over the
    channels of each pixel); none of them looks across samples. On processors "rms" is quick only
    when compiled. norms: how many of them a residual block has (`Block`); a step of training is
    about 5% shorter with 1. out_channels: channels of F, those of x by default. features: how the
    noise is told (see Embedding). checkpoint: in training, compute each block again in the backward
    pass instead of keeping its activations. fold: blocks of fold pixels a side enter and leave as
    channels of one (space to depth; sizes are multiples), so that level 0 has size / fold pixels;
    or a fold for each axis, of which one folded whole is no axis of the network: 8-1-1 makes
    films of 8 moments pictures of 8 channels.
    places: tell each pixel of level 0 where it is, by sines as a DiT's patches are: convolutions
    know the border alone, where all of a sound begins at the first moment.

    Sizes of the conditions, None for none: classes of "label", entries of "vector", channels of
    "image" (B, C', *sizes), which enters beside x, and of "tokens", which every attending block
    reads (`Tokens`), their features, or their vocabulary and largest length. pooled: the mean of
    the tokens is added to what tells the noise, too (Podell et al. 2023, SDXL, arXiv:2307.01952).

    F has the dtype of x; the work is done in the dtype of the weights (or of autocast)
    and channels-last, which the processor convolves faster.

    Ronneberger et al. 2015 (U-Net); Dhariwal & Nichol 2021 (arXiv:2105.05233), section 3, for the
    adaptive normalisation.

    >>> net = UNet((1, 8, 8), width=16, multipliers=(1, 2), classes=10)
    >>> x, noise = torch.randn(2, 1, 8, 8), torch.zeros(2)
    >>> net(x, noise, {"label": torch.tensor([3, 7])}).shape
    torch.Size([2, 1, 8, 8])
    """

    where: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] | None = None,
        head_dim: int = 32,
        norm: Norm = "group",
        norms: Norms = 2,
        classes: int | None = None,
        vector: int | None = None,
        image: int | None = None,
        tokens: int | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
        out_channels: int | None = None,
        features: Features = "sinusoidal",
        dropout: float = 0.0,
        checkpoint: bool = False,
        fold: int | Sequence[int] = 1,
        places: bool = False,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        axes = spatial_of(shape, "A UNet")
        check_sizes(shape=shape, width=width, multipliers=tuple(multipliers), blocks=blocks)
        check_sizes(head_dim=head_dim, out_channels=out_channels, image=image, fold=fold)
        check_dropout(dropout)
        if width % 8:
            raise BadInput(f"width is {width}.", "Give a multiple of 8.")
        if norm not in NORMS:
            raise unknown("norm", norm, NORMS)
        if norms not in get_args(Norms):
            raise BadInput(f"norms is {norms}.", "A residual block has 1 or 2.")
        folds = (fold,) * axes if isinstance(fold, int) else tuple(fold)
        if len(folds) != axes or any(size % by for size, by in zip(shape[1:], folds)):
            raise BadInput(
                f"sides of {' x '.join(map(str, shape[1:]))} do not fold by {fold}.",
                "Give a fold that divides each side, or one for each.",
            )
        self.shape, self.checkpoint, self.folds = tuple(shape), checkpoint, folds
        self.folded = [size // by for size, by in zip(shape[1:], folds)]
        whole = not isinstance(fold, int)  # then axes of one place are none
        self.sides = [side for side in self.folded if side > 1] if whole else self.folded
        if not self.sides:
            raise BadInput(f"a fold of {fold} leaves no axis.", "Leave one of 2 places or more.")
        spatial, pixels = len(self.sides), prod(folds)
        conv = CONVOLUTIONS[spatial]
        channels = [width * m for m in multipliers]
        deepest = len(channels) - 1
        attending = {deepest} if attention is None else set(attention)
        if not attending <= set(range(len(channels))):
            raise BadInput(
                f"attention is {tuple(attention or ())}, but the levels are 0..{deepest}.",
                "Name levels the network has; 0 is full size.",
            )
        reading = any(size is not None for size in (tokens, vocabulary, length))
        if reading and not attending:
            raise BadInput(
                "attention is () and the network is to read tokens.",
                "Name the levels whose pixels attend to them.",
            )
        context = 4 * width if reading else None

        def block(level: int, c_in: int) -> Block:
            dim = head_dim if level in attending else None
            return Block(
                c_in, channels[level], 4 * width, dim, norm, norms, dropout, context, spatial
            )

        def encoder(level: int) -> nn.ModuleList:
            return nn.ModuleList(block(level, channels[level]) for _ in range(blocks))

        def decoder(level: int) -> nn.ModuleList:
            return nn.ModuleList(block(level, 2 * channels[level]) for _ in range(blocks))

        seen = None if image is None else (image, *shape[1:])
        self.embedding = Embedding(
            4 * width, classes, vector, features, image=seen, tokens=tokens, length=length
        )
        self.image = image
        self.tokens = Tokens(context, tokens, vocabulary, length) if context else None
        self.pooled = None
        if pooled and context is None:
            raise BadInput("pooled is True and there are no tokens.", "Leave it out, or give them.")
        if pooled:
            self.pooled = preserve_variance(nn.Linear(4 * width, 4 * width))
        entering, leaving = shape[0] + (image or 0), out_channels or shape[0]
        self.stem = preserve_variance(conv(entering * pixels, channels[0], 3, padding=1))
        self.places = None
        if places:
            self.places = zero(nn.Linear(channels[0], channels[0], bias=False))
            where = positions(self.sides, channels[0])
            self.register_buffer("where", where, persistent=False)
        self.encoders = nn.ModuleList(encoder(level) for level in range(len(channels)))
        self.downs = nn.ModuleList(
            preserve_variance(conv(channels[level], channels[level + 1], 3, 2, padding=1))
            for level in range(deepest)
        )
        self.middle = block(deepest, channels[deepest])
        self.decoders = nn.ModuleList(decoder(level) for level in range(len(channels)))
        self.ups = nn.ModuleList(
            preserve_variance(conv(channels[level + 1], channels[level], 3, padding=1))
            for level in range(deepest)
        )
        self.last_norm = channel_norm(norm, channels[0], spatial=spatial)
        self.out = zero(conv(channels[0], leaving * pixels, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        cond = as_null(cond)
        emb = self.embedding(noise, cond)
        context = None if self.tokens is None else self.tokens(cond, x.shape[0])
        if self.pooled is not None and context is not None:
            emb = emb + self.pooled(context.mean)
        emb = F.silu(emb)
        seen = with_image(x.to(self.stem.weight.dtype), cond, self.image)
        h = space_to_depth(seen, self.folds)
        h = self.stem(as_picture(h.view(*h.shape[:2], *self.sides)))
        if self.places is not None:
            h = h + self.places(self.where).mT.unflatten(1, h.shape[2:])
        if unpack_dual(h).tangent is None:  # torch has no group norm of both in that format
            h = channels_last(h)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            h = self.downs[level - 1](h) if level > 0 else h
            for block in encoder.children():
                h = self._run(block, h, emb, context)
                skips.append(h)
        h = self._run(self.middle, h, emb, context)
        for level in reversed(range(len(self.decoders))):
            for block in self.decoders[level].children():
                h = self._run(block, h, emb, context, skips.pop())
            h = doubled(self.ups[level - 1](h), like=skips[-1]) if level > 0 else h
        h = self.out(F.silu(self.last_norm(h)))
        h = h.reshape(*h.shape[:2], *self.folded)
        out = depth_to_space(h.contiguous() if x.ndim == 3 else h, self.folds)
        return out.to(x.dtype, memory_format=torch.contiguous_format)

    def _run(self, block: nn.Module, *inputs: Tensor | Context | None) -> Tensor:
        again = self.checkpoint and self.training
        return checkpoint(block, *inputs, use_reentrant=False) if again else block(*inputs)


class Block(nn.Module):
    """Residual block told the embedding by an adaptive normalisation, then maybe attention, between
    the pixels and, with a context, to its tokens.

    h' = W x + conv0( silu( told( norm( conv( silu( norm(x) ) ) ) ) ) )    two norms
    h' = W x + conv0( silu( conv( told( norm(x) ) ) ) )                    one
    told(n) = n (1 + scale) + shift,   (scale, shift) = A emb

    W = 1 if the channels stay; conv0 starts at zero.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        emb: int,
        head_dim: int | None,
        norm: Norm,
        norms: Norms,
        dropout: float,
        context: int | None = None,
        spatial: int = 2,
    ) -> None:
        super().__init__()
        conv = CONVOLUTIONS[spatial]
        modulated = c_in if norms == 1 else c_out
        self.norm1 = channel_norm(norm, c_in, norms == 2, spatial)
        self.conv1 = preserve_variance(conv(c_in, c_out, 3, padding=1))
        self.modulation = preserve_variance(nn.Linear(emb, 2 * modulated), gain=0.5)
        self.norm2 = channel_norm(norm, c_out, False, spatial) if norms == 2 else None
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero(conv(c_out, c_out, 3, padding=1))
        self.skip = nn.Identity() if c_in == c_out else preserve_variance(conv(c_in, c_out, 1))
        self.attention = nn.Identity()
        if head_dim is not None:
            self.attention = Attention(c_out, head_dim, norm, spatial)
        self.reading = None
        if head_dim is not None and context is not None:
            self.reading = Reading(c_out, context, head_dim, norm, spatial)

    def forward(
        self, x: Tensor, emb: Tensor, context: Context | None = None, skip: Tensor | None = None
    ) -> Tensor:
        x = x if skip is None else torch.cat([x, skip], dim=1)
        modulated = self.modulation(emb)
        scale, shift = modulated.view(*modulated.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        if self.norm2 is None:
            h = self.conv1(torch.addcmul(shift, self.norm1(x), 1 + scale))
        else:
            h = self.norm2(self.conv1(F.silu(self.norm1(x))))
            h = torch.addcmul(shift, h, 1 + scale)
        h = self.attention(self.skip(x) + self.conv2(self.dropout(F.silu(h))))
        return h if self.reading is None or context is None else self.reading(h, context)


class Attention(nn.Module):
    """Self-attention between the pixels of a sample: x + W0 attention(W norm(x))."""

    projections = ("qkv", "out")

    def __init__(self, channels: int, head_dim: int, norm: Norm, spatial: int = 2) -> None:
        super().__init__()
        self.heads = heads_of(channels, head_dim)
        self.norm = channel_norm(norm, channels, spatial=spatial)
        self.qkv = preserve_variance(nn.Linear(channels, 3 * channels))
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).mT  # (B, H W, C)
        h = self.out(attention(self.qkv(pixels), self.heads))
        return x + h.mT.unflatten(-1, x.shape[2:])


class Reading(nn.Module):
    """What the pixels read in the tokens: x + CrossAttention(norm(x), tokens)."""

    def __init__(
        self, channels: int, context: int, head_dim: int, norm: Norm, spatial: int = 2
    ) -> None:
        super().__init__()
        self.norm = channel_norm(norm, channels, spatial=spatial)
        self.cross = CrossAttention(channels, context, heads_of(channels, head_dim))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h = self.cross(self.norm(x).flatten(2).mT, context)
        return x + h.mT.unflatten(-1, x.shape[2:])


def heads_of(channels: int, head_dim: int) -> int:
    """How many heads of about head_dim channels there are, at least one."""
    heads = max(1, channels // head_dim)
    if channels % heads:
        raise BadInput(
            f"{channels} channels do not split into {heads} heads.",
            f"Give a head_dim that divides {channels}.",
        )
    return heads


class PixelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class PixelRMSNorm(nn.Module):
    """gain * x / sqrt(mean(x^2) + 1e-5), the mean over the channels of each pixel."""

    def __init__(self, channels: int, affine: bool, spatial: int = 2) -> None:
        super().__init__()
        ones = torch.ones(channels, *[1] * spatial)
        self.weight = nn.Parameter(ones) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        h = (x * torch.rsqrt(wide.square().mean(1, keepdim=True) + 1e-5)).to(x.dtype)
        return h if self.weight is None else h * self.weight.view(-1, *[1] * (x.ndim - 2))


def channel_norm(kind: Norm, channels: int, affine: bool = True, spatial: int = 2) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(channels // gcd(channels, 16), channels, affine=affine)
    if kind == "layer":
        return PixelLayerNorm(channels, elementwise_affine=affine)
    return PixelRMSNorm(channels, affine, spatial)


def doubled(x: Tensor, like: Tensor) -> Tensor:
    """Each pixel repeated twice along each side, cut to the size of `like`: undoes a stride-2
    ceil(size / 2).

    >>> doubled(torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 1, 1, 3))
    tensor([[[[1., 1., 2.]]]])
    """
    # Not F.interpolate, whose backward pass scatters pixel by pixel when it is compiled; nor
    # expand, whose backward pass is slow when it is not.
    pixels = x.movedim(1, -1)
    for side in reversed(range(1, x.ndim - 1)):
        if x.shape[side + 1] < like.shape[side + 1]:
            pixels = torch.stack([pixels, pixels], dim=side + 1).flatten(side, side + 1)
    return pixels.movedim(-1, 1)[:, :, *map(slice, like.shape[2:])]


def space_to_depth(x: Tensor, folds: Sequence[int]) -> Tensor:
    """(B, C, *sizes) -> (B, C prod(folds), *sizes / folds): blocks of those sides as channels.

    >>> space_to_depth(torch.arange(4.0).view(1, 1, 4), [2])
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    n = len(folds)
    if n == 2 and folds[0] == folds[1]:
        return F.pixel_unshuffle(x, folds[0])
    for side in reversed(range(n)):
        x = x.unflatten(2 + side, (-1, folds[side]))  # (B, C, rows, fold, columns, fold, ...)
    x = x.permute(0, 1, *range(3, 3 + 2 * n, 2), *range(2, 2 + 2 * n, 2))
    return x.flatten(1, 1 + n)


def depth_to_space(x: Tensor, folds: Sequence[int]) -> Tensor:
    """The inverse of `space_to_depth`."""
    n = len(folds)
    if n == 2 and folds[0] == folds[1]:
        return F.pixel_shuffle(x, folds[0])
    x = x.unflatten(1, (-1, *folds))  # (B, C, fold, fold, ..., rows, columns, ...)
    order = [axis for side in range(n) for axis in (2 + n + side, 2 + side)]
    x = x.permute(0, 1, *order)
    for side in range(n):
        x = x.flatten(2 + side, 3 + side)
    return x


def as_picture(x: Tensor) -> Tensor:
    """Series (B, C, L) one pixel high (B, C, 1, L), since torch lays out pictures and volumes
    channels-last but no series; others as they are."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def channels_last(x: Tensor) -> Tensor:
    """x in the layout that is convolved faster, where torch has one."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats.get(x.ndim, torch.contiguous_format))
