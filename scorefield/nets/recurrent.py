"""A recurrent network that reads letters from the left."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scorefield.nets.causal import FromLeft
from scorefield.nets.contract import config_of
from scorefield.nets.init import preserve_variance, zero

ENTRY = 64
"""Numbers that a letter enters as."""
KEPT = 2
"""Evaluations that are gone on from: guided steps make one with the condition and one without."""


class Evaluation(NamedTuple):
    """One of the letters `before` (B, n) and conditions `emb` by weights in a `state`:
    its `out` F (B, n, letters) and what the memories `hold` at its end."""

    state: tuple[object, ...]
    before: Tensor
    emb: Tensor
    out: Tensor
    hold: tuple[Tensor, Tensor]

    def begins(self, state: tuple[object, ...], before: Tensor, emb: Tensor) -> bool:
        """Whether another evaluation begins as this one."""
        return (
            self.state == state
            and self.before.device == before.device
            and torch.equal(self.before, before[:, : self.before.shape[1]])
            and torch.equal(self.emb, emb)
        )


class RecurrentNet(FromLeft):
    """Long short-term memories that read letters from the left, F_l (letters) of x_1 .. x_(l-1):

        y_l = E[x_(l-1)] + emb(cond)
        i, f, o, g = W y_l + U h_(l-1) + b
        c_l = sig(f) c_(l-1) + sig(i) tanh(g),   h_l = sig(o) tanh(c_l),   y of the next
        F_l = Wout h_l

    `depth` of them, each of `width` states (Hochreiter and Schmidhuber 1997). A pass costs O(L).
    Evaluations without gradients go letter by letter, from where one of the last two ended if what
    it read is how this one begins: a walk from left to right costs a pass in all. What comes out is
    the same to the bit, for its operations are.

    >>> net = RecurrentNet((5,), letters=3, width=8, depth=1)
    >>> net(torch.zeros(2, 5), torch.zeros(2)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        letters: int,
        width: int = 384,
        depth: int = 2,
        classes: int | None = None,
        vector: int | None = None,
        out_channels: int | None = None,
    ) -> None:
        super().__init__(shape, letters, ENTRY, classes, vector, width=width, depth=depth)
        self.config = config_of(locals())
        self.memory = nn.LSTM(ENTRY, width, depth, batch_first=True)
        self.out = zero(preserve_variance(nn.Linear(width, out_channels or letters)))

        self.kept: tuple[Evaluation, ...] = ()

    def read(self, before: Tensor, emb: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.out(self.memory(self.enter(before) + emb[:, None])[0])
        state = (torch.is_autocast_enabled(emb.device.type), self.training)
        state += tuple((w.data_ptr(), w._version) for w in self.parameters())
        last = next((known for known in self.kept if known.begins(state, before, emb)), None)
        pieces, hold = ([last.out], last.hold) if last else ([], None)
        for letter in before[:, last.before.shape[1] if last else 0 :].unbind(1):
            h, hold = self.memory(self.enter(letter)[:, None] + emb[:, None], hold)
            pieces.append(self.out(h))
        assert hold is not None
        found = Evaluation(state, before, emb, torch.cat(pieces, 1), hold)
        self.kept = (found, *(known for known in self.kept if known is not last))[:KEPT]
        return found.out
