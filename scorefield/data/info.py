"""What a run must know of its data, and of its codec, to be used without them."""

from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.data import Conditions, Data, Scaling
from scorefield.data.kind import Kind
from scorefield.data.table import Column
from scorefield.data.text import TextInfo


@dataclass(frozen=True)
class CodecInfo:
    """What a run on latents must know of its codec, beside the weights that it has a copy of: the
    network and what it learned, the shape of a latent, the `scale` that all are multiplied by, the
    digest of the weights, and the fraction of a latent's numbers that say nothing (`dead`)."""

    net: str
    learned: str
    shape: tuple[int, ...]
    scale: float
    digest: str
    dead: float


@dataclass(frozen=True)
class DataInfo:
    """What a trained run must know of its data to be used without it."""

    name: str
    """Of the set."""
    shape: tuple[int, ...]
    """Of an example."""
    classes: tuple[str, ...]
    """Their names, in the order of the labels."""
    scaling: Scaling
    """x0 = (u - offset) / scale of what the file holds."""
    sigma_data: float
    """Deviation of x0."""
    conditions: Conditions = Conditions()
    """Sizes and scalings of what else the model is told."""
    edition: int = 1
    """Of a set that is embedded: which of its versions."""
    present: tuple[int, ...] | None = None
    """The classes that have a training example; None in runs of versions that did not say."""
    codec: CodecInfo | None = None
    """Of a run on latents; `sigma_data` is then theirs."""
    space: str = ""
    """Where examples lie, if not in R^n: a manifold, letters, a table."""
    alphabet: tuple[str, ...] = ()
    """Of letters, in the order of their numbers."""
    columns: tuple[Column, ...] = ()
    """Of a table, how each is told in digits; of molecules, their properties."""
    text: TextInfo | None = None
    """Of a run whose captions are told."""
    rate: int = 0
    """Moments a second of what is heard."""
    deviations: tuple[float, ...] = ()
    """Of x0 in each band of the schedule's basis, if it has a level for each coordinate."""
    encoder: str = ""
    """Of embeddings, or pictures that come with theirs, by what they were embedded."""
    base: str = ""
    """Of an adapter, the digest of the weights that it is added to."""

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of x0: that of an example, or of its latent."""
        return tuple(self.codec.shape if self.codec else self.shape)

    @property
    def kind(self) -> Kind:
        """What an example is."""
        return Kind.of(self.shape, self.space)

    @property
    def drawn(self) -> tuple[int, ...]:
        """The classes that are sampled unless asked otherwise."""
        return tuple(range(len(self.classes))) if self.present is None else self.present

    def in_turn(self, n: int) -> Tensor | None:
        """The classes of n samples of which nothing is asked `(n,)`, if there are any."""
        return repeat_labels(self.drawn, n, len(self.classes)) if self.classes else None

    @property
    def classes_alone(self) -> tuple[str, ...]:
        """The classes, where a class is all that a sample can be told."""
        return () if self.conditions.keys else tuple(self.classes)

    def same(self, data: Data, split: bool = True) -> Data:
        """The data that a run of this info was trained on, or another draw of them, in the run's
        own units; with `split`, held out as they were. Or BadInput."""
        self.check_same(data, split)
        if (data.scaling, data.conditions) == (self.scaling, self.conditions):
            return data
        return replace(data, scaling=self.scaling, conditions=self.conditions)

    def check_same(self, now: Data, split: bool) -> None:
        """Raise BadInput if data are not those that a run was trained on, by their info."""
        remedy = "Give the data that the run was trained on, or train anew."
        other = partial(BadInput, remedy=remedy)
        if (now.shape, len(now.classes)) != (self.shape, len(self.classes)):
            raise other(
                f"the data have shape {now.shape} and {len(now.classes)} classes, those that the "
                f"run was trained on {self.shape} and {len(self.classes)}."
            )
        if (now.space, now.alphabet, now.columns) != (self.space, self.alphabet, self.columns):
            raise other(
                f"the data are of {now.space or 'R^n'} and {len(now.alphabet)} letters, those that "
                f"the run was trained on of {self.space or 'R^n'} and {len(self.alphabet)}."
            )
        if now.classes != self.classes:
            new, old = next(pair for pair in zip(now.classes, self.classes) if pair[0] != pair[1])
            raise other(f"the data have a class '{new}' where the run has '{old}'.")
        if now.conditions.sizes != self.conditions.sizes:
            raise other(
                f"the data come with {_in_words(now.conditions)}, those that the run was trained "
                f"on with {_in_words(self.conditions)}."
            )
        if now.text != self.text:
            raise other(
                "the data's captions are told otherwise than those that the run was trained on: "
                f"{now.text and now.text.encoder} of {(now.text and now.text.digest) or 'words'}."
            )
        if now.encoder != self.encoder:
            raise other(
                f"pictures are embedded by {now.encoder}, and by {self.encoder} where the run was "
                "trained."
            )
        if split and now.edition != self.edition:
            raise BadInput(
                f"the run was trained on edition {self.edition} of '{self.name}', and edition "
                f"{now.edition} holds out other examples, which the run has seen.",
                "Train anew in another `out` to measure or to go on; it can be sampled as it is.",
            )
        for what, own, new in (
            ("data", self.scaling, now.scaling),
            ("data's vectors", self.conditions.vector_scaling, now.conditions.vector_scaling),
            ("data's images", self.conditions.image_scaling, now.conditions.image_scaling),
        ):
            if own and new and (k := own.apart(new)) is not None:
                raise other(
                    f"the {what} lie about {new.offset[k]:.12g} with the scale {new.scale[k]:.6g}, "
                    f"those that the run was trained on about {own.offset[k]:.12g} with "
                    f"{own.scale[k]:.6g}."
                )

    @classmethod
    def of(cls, data: Data) -> "DataInfo":
        """Read off the data; sigma_data is the deviation of `Data.some` training examples, in the
        coordinates that are not constant."""
        x0 = data.some()
        if constant := set(data.scaling.constant):
            x0 = x0[:, [i for i in range(x0.shape[1]) if i not in constant]]
        deviation = float(x0.std(correction=0)) if x0.numel() else 0.0
        sigma_data = round(deviation, 6) or deviation
        if not sigma_data > 0:
            raise BadInput(
                f"the {len(data.train)} training examples of '{data.name}' are all one value.",
                "Give data that vary.",
            )
        own = (data.name, data.shape, data.classes, data.scaling)
        more = data.conditions, data.edition, data.present or None, None, data.space, data.alphabet
        last = data.columns, data.text, data.rate
        return cls(*own, sigma_data, *more, *last, encoder=data.encoder)


def _in_words(conditions: Conditions) -> str:
    sizes = [f"{name} {size}" for name, size in conditions.sizes.items()]
    return ", ".join(sizes) or "no conditions"
