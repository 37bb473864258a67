"""A network of point sets that turns as they turn, whatever the order of the points."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.contract import check_inputs, check_sizes, config_of
from scorefield.nets.embed import Embedding, Features
from scorefield.nets.init import preserve_variance, zero
from scorefield.nets.mlp import with_waves


class SetNet(nn.Module):
    """F(x, noise, cond) for N points x (B, C, N) of R^C, with F(R x) = R F(x) for every orthogonal
    R and F(x P) = F(x) P for every permutation P of the points:

        m_ij = silu(W silu(W (h_i, h_j, waves |x_i - x_j|, waves |q_i - q_j|) + A emb)),   q = x + v
        v_i  = v_i + 1/N sum_j (q_i - q_j) a(m_ij) + q_i b(h_i)
        h_i  = h_i + W' silu(W (h_i, 1/N sum_j m_ij))                             `blocks` times

    from h_i = W |x_i| and v = 0; F = v. A block reads how far apart points are where the blocks
    before it have moved them, without which angles of bonds stay wrong however long it learns
    (docs/molecules.md). With `coordinates`, x_i are the first so many channels alone; the others,
    such as kinds of atoms, do not turn: they are read into h_i, and F says Wout h_i of them.

    Only lengths are read, and only points and their differences are added up, so that neither law
    needs training. a, b, W' and Wout start at zero. The origin is told from other places: give sets
    that are centred (Satorras et al. 2021, arXiv:2102.09844, eq. 3 to 6, whose F moves with the set
    too). Work grows as N^2.

    classes, vector: sizes of the conditions.

    >>> net = SetNet((3, 5), width=8, blocks=1)
    >>> net(torch.zeros(2, 3, 5), torch.zeros(2)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 64,
        blocks: int = 3,
        coordinates: int | None = None,
        classes: int | None = None,
        vector: int | None = None,
        features: Features = "sinusoidal",
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 2:
            raise BadInput(f"shape is {tuple(shape)}.", "Point sets have the shape (C, N).")
        check_sizes(shape=shape, width=width, blocks=blocks, coordinates=coordinates)
        self.shape, self.coordinates = tuple(shape), min(coordinates or shape[0], shape[0])
        kinds = shape[0] - self.coordinates
        self.embedding = Embedding(width, classes, vector, features)
        self.enter = preserve_variance(nn.Linear(9 + kinds, width))
        self.out = zero(nn.Linear(width, kinds)) if kinds else None
        self.blocks = nn.ModuleList(SetLayer(width) for _ in range(blocks))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        emb = F.silu(self.embedding(noise, cond))
        points, kinds = (
            x.to(self.enter.weight.dtype).transpose(1, 2).tensor_split([self.coordinates], 2)
        )
        h = self.enter(torch.cat([waves_of(points), kinds], 2))
        first, v = waves_of(points[:, :, None] - points[:, None]), torch.zeros_like(points)
        for block in self.blocks:
            h, move = block(h, first, points + v, emb)
            v = v + move
        answer = v if self.out is None else torch.cat([v, self.out(h)], 2)
        return answer.transpose(1, 2).to(x.dtype)


def waves_of(x: Tensor) -> Tensor:
    """The lengths of vectors (.., C) as nine features (.., 9), smooth where a vector is 0."""
    length = (x.square().sum(-1) + 1e-6).sqrt()
    return with_waves(length.reshape(-1, 1)).view(*length.shape, 9)


class SetLayer(nn.Module):
    """The lines of `SetNet`: the new h and what is added to v."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = preserve_variance(nn.Linear(width, 2 * width), gain=0.5)
        self.pair = preserve_variance(nn.Linear(18, width))
        self.ends = preserve_variance(nn.Linear(width, 2 * width))
        self.deep = preserve_variance(nn.Linear(width, width))
        self.inner = preserve_variance(nn.Linear(2 * width, width))
        self.outer = zero(nn.Linear(width, width))
        self.along, self.out = zero(nn.Linear(width, 1)), zero(nn.Linear(width, 1))

    def forward(self, h: Tensor, first: Tensor, q: Tensor, emb: Tensor) -> tuple[Tensor, Tensor]:
        apart = q[:, :, None] - q[:, None]
        between = torch.cat([first, waves_of(apart)], -1)
        scale, shift = self.modulation(emb).chunk(2, dim=1)
        scaled = F.layer_norm(h, h.shape[-1:]) * (1 + scale[:, None]) + shift[:, None]
        one, other = self.ends(scaled).chunk(2, dim=-1)
        m = F.silu(one[:, :, None] + other[:, None] + self.pair(between))
        m = F.silu(self.deep(m))
        h = h + self.outer(F.silu(self.inner(torch.cat([scaled, m.mean(2)], -1))))
        return h, (apart * self.along(m)).mean(2) + q * self.out(h)
