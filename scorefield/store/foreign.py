"""Weights that another program wrote: safetensors alone, and all that are wanted and no others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.files import exists, files, read_json, read_tensors

SIZES = ("max_position_embeddings", "vocab_size", "hidden_size", "d_model")
"""Settings of text encoders that are one whole number."""
LARGEST = 1_000_000


def check_published_sizes(settings: Mapping[str, Any], where: str) -> None:
    """Raise BadInput for whole numbers in the settings of a network that none has."""
    for key, value in settings.items():
        sizes = value if isinstance(value, list) else [value]
        whole = key in SIZES and type(value) is not int
        if whole or any(isinstance(size, int) and not -1 <= size <= LARGEST for size in sizes):
            raise BadInput(f"{where} has {key} {value!r}.", f"Sizes go up to {LARGEST:,}.")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a component: of one safetensors file or of the shards that an index names."""
    stem = "model" if folder.name.startswith("text") else "diffusion_pytorch_model"
    index = folder / f"{stem}.safetensors.index.json"
    if exists(index):
        names = _shards(index)
    else:
        found = [at.name for at in files(folder, "*.safetensors")]
        plain = [name for name in found if name in (f"{stem}.safetensors", "model.safetensors")]
        names = set(plain[:1] or found[:1])
        if not names:
            pickles = [at.name for end in ("bin", "pt", "ckpt") for at in files(folder, f"*.{end}")]
            has = f"only {pickles[0]}, a pickle, which is not opened" if pickles else "no weights"
            raise BadInput(
                f"{folder} has {has}.",
                "Save it with diffusers' save_pretrained(safe_serialization=True) where you trust "
                "it.",
            )
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        more = read_tensors(folder / name)
        if both := sorted(tensors.keys() & more.keys()):
            raise BadInput(f"two shards of {folder} hold {both[0]}.", "Restore the files.")
        tensors |= more
    return tensors


def _shards(index: Path) -> set[str]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise BadInput(f"{index} has no weight_map.", "Restore the file.")
    for name in table.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith("tensors"):
            raise BadInput(
                f"{index} names the shard {name!r}.", "Shards are .safetensors files beside it."
            )
    return set(table.values())


def fitted(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """The weights that a network wants; one that is another's twin may be left out.

    Raises BadInput that names what is missing, too many, of another shape, or not finite.
    """
    twins: dict[int, str] = {}
    for name, tensor in wanted.items():
        if name in found and tensor.numel():
            twins.setdefault(tensor.data_ptr(), name)
    whole = dict(found)
    for name, tensor in wanted.items():
        if name not in whole and tensor.data_ptr() in twins:
            whole[name] = found[twins[tensor.data_ptr()]]
    for names, has in (
        (wanted.keys() - whole.keys(), "lacks the weights"),
        (whole.keys() - wanted.keys(), "has weights that its network has not:"),
        ({k for k in wanted.keys() & whole.keys() if wanted[k].shape != whole[k].shape},
         "has weights of another shape:"),
        ({k for k, v in whole.items() if v.is_floating_point() and not v.isfinite().all()},
         "has weights that are not finite:"),
        ({k for k in wanted.keys() & whole.keys()
          if wanted[k].is_floating_point() != whole[k].is_floating_point()},
         "has weights of another type:"),
    ):  # fmt: skip
        if names:
            some = ", ".join(sorted(names)[:3]) + ", ..." * (len(names) > 3)
            raise BadInput(f"{where} {has} {some}.", "Restore the files, or save them again.")
    return {name: whole[name] for name in wanted}
