"""A law of t that learns where the losses are large: Nichol and Dhariwal 2021, section 3.3."""

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.objective.times import EARLIEST, Stratified
from scorefield.process import Schedule


class Adaptive:
    """Importance sampling from past losses (Nichol and Dhariwal 2021, eq. 18; theory: eq. 9).

        p(t) ~ sqrt(E[L_t^2]),   importance(t) = 1/p(t)

    with p constant over each of `bins` equal cells of t and E the mean over the last `history`
    losses of the cell. A loss times its importance has the expectation of a uniform t, and among
    all laws that are constant over the cells this one's loss varies least. Until every cell has
    `history` losses the law is uniform; `uniform` of the draws stay so for ever, so that no cell
    is left unseen. Draws are stratified in the law's own quantiles.

    Mutable: `observe` changes later draws, and does not depend on the order of the samples.
    """

    def __init__(self, bins: int = 64, history: int = 10, uniform: float = 1e-3) -> None:
        if bins < 1 or history < 1:
            raise BadInput(f"bins is {bins} and history {history}.", "Give at least 1 of each.")
        if not 0 < uniform <= 1:
            raise BadInput(f"uniform is {uniform}.", "Use 0 < uniform <= 1.")
        self.bins, self.history, self.uniform = bins, history, uniform
        self._losses = torch.zeros(bins, history, dtype=torch.float64)
        self._counts = torch.zeros(bins, dtype=torch.int64)

    def __repr__(self) -> str:
        return f"Adaptive(bins={self.bins}, history={self.history}, uniform={self.uniform})"

    def probabilities(self) -> Tensor:
        """`(bins,)`: the chance of each cell."""
        flat = torch.full((self.bins,), 1 / self.bins, dtype=torch.float64)
        size = self._losses.square().mean(1).sqrt()
        if int(self._counts.min()) < self.history or not float(size.sum()) > 0:
            return flat
        return torch.lerp(size / size.sum(), flat, self.uniform)

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        p = self.probabilities().to(rng.device)
        edges = torch.cat([p.new_zeros(1), p.cumsum(0)])
        u = Stratified()(schedule, n, rng) * edges[-1]
        cell = (torch.searchsorted(edges, u, right=True) - 1).clamp(0, self.bins - 1)
        within = ((u - edges[cell]) / p[cell]).clamp(0, 1 - 1e-9)  # t stays in the cell drawn
        return ((cell + within) / self.bins).clamp(min=EARLIEST)

    def importance(self, t: Tensor) -> Tensor:
        """`1/p(t)`, p the density on [0, 1]: what makes the mean loss that of a uniform t."""
        return 1 / (self.bins * self.probabilities().to(t.device)[self._cell(t)])

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Put `losses (B,)`, without importance, into the cells of `t (B,)`, older ones out."""
        t, order = t.cpu().sort(stable=True)
        losses = losses.detach().to("cpu", torch.float64)[order]
        cell = self._cell(t)
        new = cell.bincount(minlength=self.bins)
        rank = torch.arange(len(t)) - (new.cumsum(0) - new)[cell]
        last = rank >= new[cell] - self.history
        slot = (self._counts[cell] + rank) % self.history
        self._losses[cell[last], slot[last]] = losses[last]
        self._counts += new

    def memory(self) -> dict[str, Tensor]:
        """The past losses and how many each cell has seen, as copies."""
        return {"losses": self._losses.clone(), "counts": self._counts.clone()}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Go on from an earlier `memory`."""
        shapes = {name: tuple(leaf.shape) for name, leaf in tensors.items()}
        wanted = {"losses": (self.bins, self.history), "counts": (self.bins,)}
        if shapes != wanted:
            raise BadInput(
                f"the memory of past losses has {shapes}, not {wanted}.",
                "Resume with the law of times that the run began with.",
            )
        self._losses = tensors["losses"].to(self._losses, copy=True)
        self._counts = tensors["counts"].to(self._counts, copy=True)

    def _cell(self, t: Tensor) -> Tensor:
        return (t * self.bins).long().clamp(0, self.bins - 1)
