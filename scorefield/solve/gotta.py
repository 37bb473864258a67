"""The reverse SDE with steps that every sample chooses, on a Brownian path that stays as it is.

With `s = alpha^2/sigma^2` and `y = (alpha/sigma^2) x` the reverse SDE of every process is

    dy = D ds + dB_s,

B a Brownian motion in the clock s; with D held from here to there it ends in eq. 2, where z is
`(B_there - B_here) / sqrt(s_there - s_here)`. A method that draws z anew when it refuses a step
keeps the draws that pass, and is biased. Here the path of an interval is a binary tree, cut into
equal parts in log(phi), phi = atan(sigma/alpha). By the Brownian bridge the halves of a node with
draw z have

    z_1 = sqrt(f) z + sqrt(1-f) w,   z_2 = sqrt(1-f) z - sqrt(f) w,
                                     f = (s_middle - s_here) / (s_there - s_here),

w the draw that belongs to the interval of the first half. A step that is refused goes on with its
first half, so that the same seed walks the same path at any tolerance.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.adaptive import Paced, Tolerant
from scorefield.solve.loop import Info, check_one_clock, rms
from scorefield.solve.transfer import affine, posterior

SHRINK, GROW = 0.2, 2.0
"""The next step is the last one times a factor between these."""
STEEPEST = 0.5
"""The longest step in log(phi): an estimate is blind to what lies between its two ends."""
DEEPEST = 20
"""The most halvings of an interval: shorter ones would share the float32 keys of their draws."""


class Path:
    """Where each sample is in the tree of its interval: at node `number` of the `2^depth` of its
    size, `(B,)`, with its draw z; `second[depth]` keeps the draws of second halves still ahead."""

    def __init__(self, phi: Tensor, end: Tensor, z: Tensor) -> None:
        self.ends, self.way = (phi, end), torch.where(phi > end, (phi / end).log(), 0.0)
        self.depth = torch.zeros(len(phi), dtype=torch.int64)
        self.number = torch.zeros_like(self.depth)
        self.z, self.second = z, z[None]

    @property
    def length(self) -> Tensor:
        """The node's, in log(phi)."""
        return self.way * 0.5**self.depth

    def at(self, part: float) -> Tensor:
        """phi at a part of the node, 0 its start and 1 its end."""
        fraction = (self.number + part) * 0.5**self.depth
        first, last = self.ends
        return torch.where(fraction < 1, first * (-fraction * self.way).exp(), last)

    def halve(self, chosen: Tensor, noise: Noise, x: Tensor) -> None:
        """The chosen samples go down to the first half of their node."""
        start, middle, end = self.at(0), self.at(0.5), self.at(1)
        w = noise(x, level(start), level(middle)).to(self.z)
        before, between, after = (phi.tan() ** -2 for phi in (start, middle, end))
        f = torch.where(chosen, (between - before) / (after - before), 1.0)
        one, two = like(f.sqrt(), w), like((1 - f).sqrt(), w)
        self.depth = self.depth + chosen
        if int(self.depth.max()) == len(self.second):
            self.second = torch.cat((self.second, torch.zeros_like(w)[None]))
        who = chosen.nonzero().flatten()
        self.second[self.depth[who], who] = (two * self.z - one * w)[who]
        self.z = one * self.z + two * w
        self.number = self.number << chosen.long()

    def move(self, passed: Tensor) -> Tensor:
        """On to the node after this one, the largest that begins there; who has none, arrives."""
        number = self.number + passed
        up = torch.where(passed, (number & -number).clamp(min=1).double().log2().long(), 0)
        self.depth, self.number = self.depth - up, number >> up
        waiting = self.second[self.depth, torch.arange(len(up))]
        self.z = torch.where(like(passed, self.z).bool(), waiting, self.z)
        return passed & (self.depth == 0)


@dataclass(frozen=True)
class GottaGoFast(Tolerant):
    """Improved Euler on the reverse SDE, with steps that each sample chooses by Euler's error.

        x'      = keep x + gain D + spread z                                         (eq. 2)
        x_there = x' + gain (D' - D) / 2,   D' = D(x', there)

    Jolicoeur-Martineau et al. 2021, "Gotta go fast when generating data with score-based models",
    alg. 1, its linear part solved exactly. A step of length h in log(phi) passes where the root
    mean square over the sample of

        (x_there - x') / max(atol, rtol max(|x|, |x_there|)),    x at unit scale,

    is at most sqrt(h), and is made longer or shorter by what that leaves, as D' - D is of order
    sqrt(h) along a Brownian path. The paper has 1 for sqrt(h); but errors of steps are independent,
    they add in the square, and so the error of where a path ends keeps to the tolerance: within
    twice, in the mean over samples, where modes do not part. One call an attempt, and one more for
    each that passes; a sample leaves the denoiser's batch as soon as it has arrived. `order` is
    that of mean and covariance where every step passes.

    A step to clean data returns D. Raises BadInput if a sample needs more than `limit` attempts for
    one interval, or steps shorter than 2^-20 of it.

    Use it where stochastic samples should each take the steps that they need; where the calls are
    given, a grid is nearer.
    """

    atol: float = 0.05
    rtol: float = 0.05
    limit: int = 1000
    order = 2
    evals = 2
    stochastic = True
    eta = 1.0

    def init(self, x: Tensor) -> Paced:
        return Paced(x, torch.full((len(x),), STEEPEST, dtype=torch.float64))

    def step(
        self,
        denoise: Denoise,
        state: Paced,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Paced, Info]:
        check_one_clock(self, here)
        x, size = state
        denoised = denoise(x, here, cond)
        keep, gain, _ = posterior(here, there)
        moved = affine(x, keep, denoised, gain)  # for samples that stand still or end clean
        phi, end = (torch.atan2(v.sigma, v.alpha).to(size).expand(len(x)) for v in (here, there))
        n, n_next = (torch.hypot(*v).to(size).expand(len(x)) for v in (here, there))
        error = torch.zeros_like(size)
        going = inner = (phi > end) & (end > 0)
        if not inner.any():
            return Paced(moved, size), Info(denoised, error)

        def call(u: Tensor, phi: Tensor, who: Tensor, other: Tensor) -> Tensor:
            """D(u) at phi for the samples `who`, and `other` for the rest."""
            at = who.nonzero().flatten()
            if not len(at):
                return other
            conds = None if cond is None else {name: leaf[at] for name, leaf in cond.items()}
            found = denoise(u[at].to(x), level(phi[at]), conds)
            return other.index_copy(0, at.to(x.device), found.to(other))

        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        u, d = wide / like(n, wide), denoised.to(wide)
        rtol = max(self.rtol, torch.finfo(x.dtype).eps)
        path = Path(phi, torch.where(inner, end, phi), noise(x, here, there).to(wide))
        passed, attempts = torch.zeros_like(inner), 0
        while going.any():
            while (long := going & (path.length > size)).any():
                path.halve(long, noise, x)
            if attempts == self.limit or int(path.depth.max()) > DEEPEST:
                i = int(torch.where(going, path.depth, -1).argmax())
                ratio = float(path.at(0)[i].tan())
                raise BadInput(
                    f"sample {i} did not meet atol {self.atol:g} and rtol {self.rtol:g} "
                    f"in {attempts} attempts; it is at sigma/alpha {ratio:.3g}.",
                    "Raise the tolerance, or the limit if the denoiser is sound.",
                )
            attempts += 1
            start, stop = path.at(0), path.at(1)
            d = call(u, start, going & passed, d)
            keep, gain, spread = posterior(level(start), level(stop))
            euler = affine(u, keep, d, gain).addcmul(like(spread, u), path.z)
            change = like(gain / 2, u) * (call(euler, stop, going, d) - d)
            ahead = euler + change
            allowed = (rtol * torch.maximum(u.abs(), ahead.abs())).clamp(min=self.atol)
            ratio = rms(change / allowed).to(size) / path.length.sqrt()
            passed = going & (ratio <= 1)
            factor = (1 / ratio).nan_to_num(SHRINK).clamp(SHRINK, GROW)
            size = torch.where(going, (path.length * factor).clamp(max=STEEPEST), size)
            error = error + torch.where(passed, rms(change).to(size), 0.0)
            u = torch.where(like(passed, u).bool(), ahead, u)
            going = going & ~path.move(passed)
        there_x = (u * like(n_next, u)).to(x)
        return Paced(torch.where(like(inner, x).bool(), there_x, moved), size), Info(
            denoised, error
        )


def level(phi: Tensor) -> Level:
    """The level of unit scale at an angle."""
    return Level(phi.cos(), phi.sin())
