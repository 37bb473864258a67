"""Data sets by name."""

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from scorefield.base.entries import Entries
from scorefield.base.errors import BadInput, unknown

if TYPE_CHECKING:
    from scorefield.data.readers.decoded import CachePlace
    from scorefield.data.sets import Data

datasets = Entries(
    {
        "digits": "data.readers.digits:digits",
        "captioned-digits": "data.readers.digits:captioned_digits",
        "swiss-roll": "data.toys:swiss_roll",
        "moons": "data.toys:moons",
        "8-gaussians": "data.toys:eight_gaussians",
        "checkerboard": "data.toys:checkerboard",
        "tetrahedra": "data.toys:tetrahedra",
        "phantoms": "data.toys:phantoms",
        "mnist": "data.readers.idx:mnist",
        "fashion-mnist": "data.readers.idx:fashion_mnist",
        "cifar10": "data.readers.cifar:cifar10",
        "folder": "data.readers.folder:folder",
        "npz": "data.readers.arrays:npz",
        "huggingface": "data.readers.hub:huggingface",
        "points": "data.readers.points:points",
        "letters": "data.readers.letters:letters",
        "smiles": "data.readers.molecules:smiles",
        "conformers": "data.readers.molecules:conformers",
        "table": "data.readers.table:table",
        "sounds": "data.readers.sounds:sounds",
        "series": "data.readers.series:series",
        "moving-digits": "data.moving:moving_digits",
    }
)


def load_data(
    name_or_path: str,
    *,
    path: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    kind: str | None = None,
    cache: "CachePlace | None" = None,
    seed: int = 0,
    **own: str | int | None,
) -> "Data":
    """The data set of that name (a key of `datasets`), or the folder of pictures or .npz file at
    that path.

    `path`, `size`, `channels` and `kind` mean what the set's own function says, and so does what
    few sets have of their `own`: alphabet, properties, rate, mel. One that it does not take is an
    error; so is a `cache` that is asked for. `seed` draws the toys and films; every other set, and
    its held-out split, is the same for any seed.

    >>> data = load_data("digits")
    >>> data.shape, len(data.train), len(data.test)
    ((1, 8, 8), 1415, 382)
    """
    from scorefield.data.readers.given import kind_of

    name = name_or_path
    if name not in datasets:
        if path is not None:
            raise unknown("data set", name, datasets)
        name, path = kind_of(name, datasets), name
    said = {"path": path, "size": size, "channels": channels, "kind": kind, **own}
    given: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    takes = inspect.signature(datasets[name]).parameters
    if cache and ("cache" in takes or (cache.asked and not cache.latents)):
        given["cache"] = cache
    for key, value in given.items():
        if key not in takes:
            raise BadInput(
                f"the data set '{name}' takes no `data.{key}` (given {value}).",
                "Leave it out.",
            )
    for key, parameter in takes.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise BadInput(
                f"the data set '{name}' needs to know where it is.", f"Give `data.{key}`."
            )
    data = datasets[name](**given, **({"seed": seed} if "seed" in takes else {}))
    if absent := data.absent:
        some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        warnings.warn(
            f"'{name}' has no training example of {len(absent)} of its {len(data.classes)} "
            f"classes: {some}. Samples are of the others unless asked for.",
            stacklevel=2,
        )
    return data
