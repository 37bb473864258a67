"""What is learned: the mean and variance of x0 that steer a path, the drift of an annealed one.

With `base` = (D0, C0), those of the prior N(0, I), and g the gradient of log rho / N(0, I) at D0,

    D = D0 + c gate(r) C0 g + sqrt(C0) m,     C = C0 exp(v),     gate(r) = 1 / (1 + (r / width)^2),

m, v, c outputs of a network that are 0, 0 and 1 at the start. All are held within bounds, and the
pull within 4 units of the prior: one path of thousands that flies off is all of the lower bound.
With little noise D is then Tweedie's formula to first order; with much, where the target's gradient
at one point says nothing of its mean, the gate shuts. One network of a coordinate serves all
coordinates: it hears its own x, D0 and sqrt(C0) g, the noise, which coordinate it is, and a summary
of the whole sample. A target that factorises has an optimal control of this kind; others hear of
their neighbours by the summary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from scorefield.base import Level, like
from scorefield.nets.init import zero

CLIP = 200.0
"""Of a gradient, softly: a double well's reach 60 where its mass is, so that a clip of 20 binds."""


class Shared(nn.Module):
    """The network of a coordinate: `(B, d, inputs)` and a noise `(B,)` to `(B, d, outputs)`."""

    def __init__(
        self, dim: int, inputs: int, outputs: int, width: int = 64, layers: int = 2, known: int = 16
    ) -> None:
        super().__init__()
        waves = torch.exp2(torch.arange(-3.0, 1.0))
        self.register_buffer("waves", waves)
        features = 1 + 2 * len(waves)
        self.enter = nn.Linear(inputs, width)
        self.noise = nn.Linear(features, width, bias=False)
        self.which = nn.Parameter(torch.zeros(dim, width))
        self.summary = nn.Sequential(
            nn.Linear(inputs * dim + features, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, known), nn.Tanh(),
        ) if dim > 1 else None  # fmt: skip
        # under the name that it has in weights that are kept
        self.add_module("told", nn.Linear(known, width, bias=False) if dim > 1 else None)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.leave = zero(nn.Linear(width, outputs))

    waves: Tensor

    def forward(self, seen: Tensor, noise: Tensor) -> Tensor:
        phase = noise[:, None] * self.waves
        heard = torch.cat([noise[:, None], phase.sin(), phase.cos()], 1)
        common = self.noise(heard)
        if self.summary is not None:
            known = self.summary(torch.cat([seen.flatten(1), heard], 1))
            common = common + self.get_submodule("told")(known)
        h = silu(self.enter(seen) + self.which + common[:, None])
        for layer in self.hidden:
            h = h + silu(layer(h))
        return self.leave(h)


class Control(nn.Module):
    """(D, C) at a level, shown the gradient g: the control of `Noised` paths."""

    def __init__(self, dim: int, finest: float, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.net = Shared(dim, 5, 4, width, layers)
        self.log_width = nn.Parameter(torch.tensor(math.log(finest)))
        self.log_z = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, here: Level, slope: Tensor, base: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        denoised, variance = base
        alpha, sigma = here.like(x)
        spread, slope = variance.sqrt(), softened(slope)
        ratio = like(here.ratio.clamp(max=1e4), x)
        gate = 1 / (1 + (ratio / self.log_width.exp()).square())
        scaled = x / (alpha.square() + sigma.square()).sqrt()
        push = spread * slope
        known = denoised / spread
        seen = [scaled, denoised, push.asinh(), (gate * push).asinh(), known.asinh()]
        noise = ratio.flatten().log().expand(len(x))
        mean, log_factor, more, log_wide = self.net(torch.stack(seen, 2), noise).unbind(2)
        # of x0 ~ N(0, s), which is 1 at the start: D0 and C0 times s / (C0 + (1 - C0) s)
        wide = bounded(log_wide, 12).exp()
        part = wide / (1 + (wide - 1) * (1 - variance))
        denoised, variance, spread = part * denoised, part * variance, part.sqrt() * spread
        pull = bounded((1 + bounded(more, 4)) * gate * variance * slope, 4)
        factor = torch.where(log_factor > 0, bounded(log_factor, 2), bounded(log_factor)).exp()
        return denoised + pull + spread * bounded(mean, 4), variance * factor


class Drift(nn.Module):
    """u of `Annealed` paths, with their temperatures and step lengths, which are learned too."""

    def __init__(
        self, dim: int, steps: int, finest: float, width: int = 64, layers: int = 2
    ) -> None:
        super().__init__()
        self.net = Shared(dim, 2, 1, width, layers)
        self.rise = nn.Parameter(torch.zeros(steps))
        self.log_length = nn.Parameter(torch.full((steps,), math.log(finest**2 / 4)))
        self.log_z = nn.Parameter(torch.zeros(()))

    def temper(self, k: Tensor) -> Tensor:
        """b_k, from 0 at k = 0 to 1 at the end."""
        grown = self.rise.softmax(0).cumsum(0)
        return torch.cat([grown.new_zeros(1), grown])[k].clamp(max=1.0)

    def length(self, k: Tensor) -> Tensor:
        """h of step k."""
        return self.log_length.exp()[k]

    def forward(self, x: Tensor, temper: Tensor, slope: Tensor) -> Tensor:
        seen = torch.stack([x, softened(slope).asinh()], 2)
        return self.net(seen, 4 * temper.flatten().expand(len(x)))[..., 0]


def bounded(output: Tensor, most: float = 8.0) -> Tensor:
    """An output of a network, held within +-most: where no path was seen it may say anything."""
    return most * torch.tanh(output / most)


def softened(slope: Tensor) -> Tensor:
    """A gradient, its coordinates held below CLIP smoothly.

    >>> softened(torch.tensor([1.0, 1e9])).round()
    tensor([  1., 200.])
    """
    return slope / (1 + (slope / CLIP).square()).sqrt()
