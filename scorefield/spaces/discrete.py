"""Letters that noise takes away: absorbing and uniform (multinomial) diffusion of finite states.

A sample is x (B, L), numbers of letters 0 .. K - 1 that are kept as floats, so that all that walks,
batches and saves tensors takes it as it is. The level's alpha is the probability that a letter is
still the clean one; sigma = 1 - alpha. So the schedule `flow` and its grids serve as they stand.

A network says `log p(x0 | x_t)` (B, L, K) of each place: guidance is a sum of logarithms.
Laws of places are independent given x0 and x_t, and a step's law is the mixture

    p(x_s | x_t) = sum_k q(x_s | x_t, x0 = k) p(x0 = k | x_t)                              (eq. 1)

of the exact posteriors. (Multiplying q(x_t | x_s) by the mean of q(x_s | x0) and normalising
once, as published code does, is another law: 1.23905 nats in place of 1.14288 in
`tests/spaces/test_discrete.py`.)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from scorefield.base import BadInput, Level, like

NEVER = -1e4
"""Log of a probability that is 0: its exponential is, and differences of it are numbers."""


@dataclass(frozen=True)
class Discrete(ABC):
    """A noise on `letters` letters (Austin et al. 2021, arXiv:2107.03006)."""

    letters: int

    def __post_init__(self) -> None:
        if self.letters < 2:
            raise BadInput(f"letters is {self.letters}.", "Give an alphabet of at least 2.")

    @property
    @abstractmethod
    def states(self) -> int:
        """How many states a place may be in."""

    @abstractmethod
    def start(self, eps: Tensor) -> Tensor:
        """Draws of pure noise (B, L), of standard normal numbers."""

    @abstractmethod
    def corrupt(self, x0: Tensor, level: Level, u: Tensor) -> Tensor:
        """x_t of x0 (B, L) at a level, by uniform numbers u (B, L) in [0, 1), float64."""

    @abstractmethod
    def answer(self, out: Tensor, x: Tensor, level: Level) -> Tensor:
        """`log p(x0 | x)` (B, L, K) of a network's output (B, L, K)."""

    @abstractmethod
    def step(self, log_p: Tensor, x: Tensor, here: Level, there: Level) -> Tensor:
        """The law (B, L, states) of the state at `there` (eq. 1); alpha at `here` is below 1."""

    @abstractmethod
    def rate(self, log_p: Tensor, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """Nats (B, L) of each place for each unit of alpha: their mean over alpha uniform in
        (0, 1) and x ~ q(x | x0) is minus the bound on log p(x0)."""

    def next(self, x: Tensor) -> Tensor:
        """Places (B, L) whose letter a step may change."""
        return torch.ones_like(x, dtype=torch.bool)

    def known(self, x0: Tensor) -> Tensor:
        """`log p` of letters that are known (B, L, K)."""
        return torch.where(one_hot(x0.long(), self.letters).bool(), 0.0, NEVER)

    def check(self, x0: Tensor, where: str) -> Tensor:
        """Letters as they are; BadInput for numbers that are none."""
        bad = (x0 < 0) | (x0 >= self.letters) | (x0 != x0.floor())
        if x0.ndim != 2 or bool(bad.any()):
            said = f"{float(x0[bad][0]):g}" if x0.ndim == 2 else f"shape {tuple(x0.shape)}"
            raise BadInput(
                f"{where} holds {said}.", f"Give letters (N, L) of 0..{self.letters - 1}."
            )
        return x0


@dataclass(frozen=True)
class Absorbing(Discrete):
    """A letter is kept with probability alpha, else it is hidden, state K (masked diffusion).

        q(x_s = k | x_t hidden) = (alpha_s - alpha_t) / (1 - alpha_t) p(x0 = k | x_t)
        -log p(x0) <= int_0^1 1/(1 - alpha) E sum_hidden -log p(x0 | x) d alpha

    with equality, down to the entropy, for exact conditionals p. What is seen is certain. Lou et
    al. 2024; Sahoo et al. 2024 (arXiv:2406.07524), eq. 11; Shi et al. 2024.

    >>> u = torch.tensor([[0.4, 0.6]])
    >>> Absorbing(2).corrupt(torch.tensor([[0.0, 1.0]]), Level.of(0.5, 0.5), u)
    tensor([[0., 2.]])
    """

    @property
    def states(self) -> int:
        return self.letters + 1

    def start(self, eps: Tensor) -> Tensor:
        return torch.full_like(eps, self.letters)

    def corrupt(self, x0: Tensor, level: Level, u: Tensor) -> Tensor:
        return torch.where(u < like(level.alpha, u), x0, self.letters)

    def next(self, x: Tensor) -> Tensor:
        return x >= self.letters

    def answer(self, out: Tensor, x: Tensor, level: Level) -> Tensor:
        seen = x < self.letters
        certain = self.known(torch.where(seen, x, 0)).to(out)
        return torch.where(seen[..., None], certain, log_softmax(out, -1))

    def step(self, log_p: Tensor, x: Tensor, here: Level, there: Level) -> Tensor:
        shown = like((there.alpha - here.alpha) / (1 - here.alpha), log_p)
        hidden = (x >= self.letters)[..., None]
        p = torch.cat([shown * log_p.exp(), (1 - shown).expand(*x.shape, 1)], -1)
        return torch.where(hidden, p, one_hot(x.long(), self.states).to(p))

    def rate(self, log_p: Tensor, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        nats = -log_p.gather(-1, x0.long()[..., None])[..., 0]
        return torch.where(x >= self.letters, nats, 0.0) / like(1 - level.alpha, nats)


@dataclass(frozen=True)
class Autoregressive(Absorbing):
    """Letters are hidden from the last place to the first: at a level the first `floor(alpha L)`
    are seen. An autoregressive model is this diffusion (Austin et al. 2021, sec. 3.3): each place
    is shown once, by what is left of it, so that the bound is the likelihood itself,

        -log p(x0) = sum_l -log p(x0_l | x0_1 .. x0_(l-1))

    A step shows one place: steps are at least L. With `ends`, letter 0 is the end of a text, and
    what is behind it is certain.

    >>> Autoregressive(2).corrupt(torch.tensor([[0.0, 1.0]]), Level.of(0.5, 0.5), torch.zeros(1, 2))
    tensor([[0., 2.]])
    """

    ends: bool = False

    def seen(self, x: Tensor, level: Level) -> Tensor:
        """Which places of x (B, L) are seen at a level; a level of 1 - 1e-9 is one of 1."""
        length = x.shape[1]
        count = (like(level.alpha, x.double()) * length + 1e-6).floor()
        return torch.arange(length, device=x.device) < count

    def corrupt(self, x0: Tensor, level: Level, u: Tensor) -> Tensor:
        return torch.where(self.seen(x0, level), x0, self.letters)

    def next(self, x: Tensor) -> Tensor:
        hidden = x >= self.letters
        return hidden & (hidden.cumsum(1) == 1)

    def answer(self, out: Tensor, x: Tensor, level: Level) -> Tensor:
        log_p = super().answer(out, x, level)
        if not self.ends:
            return log_p
        over = torch.nn.functional.pad((x == 0).cumsum(1)[:, :-1] > 0, (1, 0))
        return torch.where(over[..., None], self.known(torch.zeros_like(x)).to(log_p), log_p)

    def step(self, log_p: Tensor, x: Tensor, here: Level, there: Level) -> Tensor:
        shown = (self.seen(x, there) & ~self.seen(x, here)).expand(x.shape)
        if (most := int(shown.sum(1).max())) > 1:
            raise BadInput(
                f"a step shows {most} of {x.shape[1]} letters at once, and each is read from the "
                "ones before it.",
                f"Give `steps` of at least {x.shape[1]}.",
                "steps",
            )
        p = torch.nn.functional.pad(log_p.exp(), (0, 1))
        drawn = (shown & (x >= self.letters))[..., None]
        return torch.where(drawn, p, one_hot(x.long(), self.states).to(p))

    def rate(self, log_p: Tensor, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """L times the nats of the first hidden place: at alpha uniform, it is each alike."""
        nats = -log_p.gather(-1, x0.long()[..., None])[..., 0]
        return torch.where(self.next(x), x.shape[1] * nats, 0.0)


@dataclass(frozen=True)
class Multinomial(Discrete):
    """A letter is kept with probability alpha, else it is any of the K, alike.

        q(x_t | x0) = alpha [x_t = x0] + (1 - alpha) / K
        p(x_s | x_t) = q(x_t | x_s) (alpha_s w(x_s) + (1 - alpha_s)/K sum_k w(k)),
        w(k) = p(x0 = k | x_t) / q(x_t | x0 = k)                                           (eq. 2)

    which is eq. 1 in K operations a place. Hoogeboom et al. 2021 (arXiv:2102.05379).

    >>> p = torch.tensor([[[0.8, 0.2]]]).log()
    >>> Multinomial(2).step(p, torch.tensor([[0.0]]), Level.of(0.5, 0.5), Level.of(1.0, 0.0))
    tensor([[[0.8000, 0.2000]]])
    """

    @property
    def states(self) -> int:
        return self.letters

    def start(self, eps: Tensor) -> Tensor:
        u = torch.special.ndtr(eps.double())
        return (u * self.letters).floor().clamp(max=self.letters - 1).to(eps)

    def corrupt(self, x0: Tensor, level: Level, u: Tensor) -> Tensor:
        alpha = like(level.alpha, u)
        other = ((u - alpha) / (1 - alpha) * self.letters).floor().clamp(0, self.letters - 1)
        return torch.where(u < alpha, x0, other.to(x0))

    def given(self, x: Tensor, level: Level, dtype: torch.dtype) -> Tensor:
        """q(x | x0 = k) (B, L, K), of each k."""
        alpha = like(level.alpha, x.to(dtype))[..., None]
        return alpha * one_hot(x.long(), self.letters) + (1 - alpha) / self.letters

    def answer(self, out: Tensor, x: Tensor, level: Level) -> Tensor:
        return log_softmax(out + self.given(x, level, out.dtype).log().clamp(min=NEVER), -1)

    def step(self, log_p: Tensor, x: Tensor, here: Level, there: Level) -> Tensor:
        kept = Level(here.alpha / there.alpha, here.sigma)
        return self.given(x, kept, log_p.dtype) * self.mixed(log_p, x, here, there)

    def mixed(self, log_p: Tensor, x: Tensor, here: Level, there: Level) -> Tensor:
        """`sum_k q(z | x0 = k) w(k)` (B, L, K) of states z at `there`, by w at `here`."""
        w = log_p.exp() / self.given(x, here, log_p.dtype)
        alpha = like(there.alpha, log_p)
        return alpha * w + (1 - alpha) / self.letters * w.sum(-1, keepdim=True)

    def rate(self, log_p: Tensor, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """Of the jump process: with rates r(z) = q(z | x0)/q(x | x0), and r' by the model,

            1/(alpha K) sum_{z != x} r' - r + r log(r / r')

        (Campbell et al. 2022, arXiv:2205.14987, prop. 2)."""
        model = self.mixed(log_p, x, level, level)
        true = self.mixed(self.known(x0).to(log_p), x, level, level)
        terms = model - true + true * (true / model).log()
        terms = terms.scatter(-1, x.long()[..., None], 0.0)
        return terms.sum(-1) / (like(level.alpha, x.to(terms)) * self.letters)
