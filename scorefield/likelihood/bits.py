"""What examples cost, and how well that is known.

A mean over data has two errors: another draw of the data, and chance (probes, noise levels, places
within a cell). Both are in the spread of what single examples pay, so that the standard error of
the mean is `std / sqrt(N)` whatever the chance; its part from chance alone is known if every
example was measured more than once. The unit of data with levels is bits a number of their
probability. Continuous data have a density, here that in the data's own units: scaling data by 2
costs one bit a number.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Parts(NamedTuple):
    """Means over the examples, in bits a number, that add up to `Bits.mean`: each cell between the
    logsnr `edges`, from noise to data; both ends; and what the change of units or q adds."""

    prior: float
    cells: tuple[float, ...]
    decoder: float
    units: float
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Bits:
    """What N examples of `dims` numbers cost. `nats (N,)`: log probability or density, of data in
    their own units; `stderr (N,)`: its standard error over draws or probes, nan where unknown.
    `calls`: network calls an example, without those of vector-Jacobian products."""

    nats: Tensor
    stderr: Tensor
    dims: int
    parts: Parts | None
    calls: float
    seconds: float

    def __len__(self) -> int:
        return len(self.nats)

    @property
    def each(self) -> Tensor:
        """Bits a number of each example `(N,)`."""
        return -self.nats / self._unit

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def error(self) -> float | None:
        """Standard error of the mean, over data and chance; None for one example."""
        return float(self.each.std()) / math.sqrt(len(self)) if len(self) > 1 else None

    @property
    def chance(self) -> float | None:
        """The part of it from chance alone, for these examples; None if it is not known."""
        value = float(self.stderr.square().sum().sqrt()) / (len(self) * self._unit)
        return value if math.isfinite(value) else None

    @property
    def _unit(self) -> float:
        return self.dims * math.log(2)
