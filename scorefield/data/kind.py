"""What a sample is: a picture, a vector, a series, a volume, a point of a manifold or a text.

The one home of "is it a picture?". A kind decides the network that is taken unless one is named,
whether x0 ends at -1 and 1, how many samples are shown, and whether a judge's features measure
them. It is read off the shape of one sample, so that nothing else must be kept: another kind is
another row.

>>> Kind.of((1, 8, 8)).name, Kind.of((2,)).network, Kind.of((3, 128)).places((3, 128))
('picture', 'mlp', (128,))
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scorefield.base.errors import BadInput


@dataclass(frozen=True)
class Kind:
    """A kind of sample; `axes` are those of one, a letter each, channels C first where it has
    places.

    networks: those that read it, the first unless one is named. bounded: x0 lies in [-1, 1], and
    samples are cut to that where they are shown and measured; else x0 is standardised. place: what
    one of its places is called. shown: samples of a picture of training, of a film, and of a film
    at most.
    """

    name: str
    plural: str
    axes: str
    networks: tuple[str, ...]
    bounded: bool
    place: str
    shown: tuple[int, int, int]

    @classmethod
    def of(cls, shape: Sequence[int], space: str = "") -> "Kind":
        """That of samples of `shape`, or BadInput if there is none; of those that have a `space` of
        their own it is that."""
        if space:
            return LETTERED.get(space, POINTS)
        for kind in KINDS:
            if len(kind.axes) == len(shape):
                return kind
        known = ", ".join(f"{kind.plural} {kind.words}" for kind in KINDS)
        raise BadInput(f"samples of shape {tuple(shape)} are of no kind.", f"Give {known}.")

    @property
    def network(self) -> str:
        return self.networks[0]

    @property
    def lettered(self) -> bool:
        """Whether samples are numbers of letters, for `spaces.discrete`."""
        return self.networks[0] in ("letters", "cells")

    @property
    def words(self) -> str:
        """The axes as they are written: (C, H, W)."""
        return f"({', '.join(self.axes)}{',' * (len(self.axes) == 1)})"

    @property
    def unit(self) -> str:
        """What x0 is measured in."""
        return f"{self.plural} in [-1, 1]" if self.bounded else "standardised data"

    @property
    def spatial(self) -> int:
        """How many axes of places it has besides the channels; 0 of a vector."""
        return len(self.axes) - 1

    def places(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of a sample, where something may be hidden: pixels whatever their channels, moments, or
        the numbers of a vector."""
        return tuple(shape[1:] if self.spatial else shape)

    def check(self, shape: Sequence[int], what: str) -> None:
        """Raise BadInput unless samples of `shape` are of this kind, for `what` needs it."""
        if len(shape) != len(self.axes):
            own = Kind.of(shape)
            raise BadInput(
                f"{what} of {self.plural} {self.words}, and samples of shape {tuple(shape)} are "
                f"{own.plural}.",
                f"Give {self.plural}.",
            )


VECTOR = Kind("vector", "vectors", "D", ("mlp",), False, "number", (2000, 1000, 2000))
SERIES = Kind("series", "series", "CL", ("unet", "dit", "sets"), False, "moment", (20, 20, 64))
PICTURE = Kind("picture", "pictures", "CHW", ("unet", "dit"), True, "pixel", (80, 50, 64))
VOLUME = Kind("volume", "volumes", "CDHW", ("unet", "dit"), True, "voxel", (20, 20, 64))
POINTS = Kind("point", "points", "D", ("mlp",), False, "number", (2000, 1000, 2000))
FROM_LEFT = ("causal", "recurrent")
"""Networks that read letters from the left, and no other way."""
LETTERS = Kind("text", "texts", "L", ("letters", *FROM_LEFT), False, "letter", (20, 20, 64))
"""Of a manifold and of an alphabet: their data say it, for their shapes are a vector's."""
MOLECULES = Kind(
    "molecule", "molecules", "L", ("letters", *FROM_LEFT), False, "token", (20, 20, 64)
)
TABLE = Kind("row", "rows", "L", ("cells", "letters"), False, "digit", (100, 20, 64))
LETTERED = {"letters": LETTERS, "smiles": MOLECULES, "table": TABLE}
KINDS = (VECTOR, SERIES, PICTURE, VOLUME)
