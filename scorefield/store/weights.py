"""Weights of a module: loaded by name, and kept beside a run with what describes them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.store.digest import digest, digest_tensors, short
from scorefield.store.files import read_json, read_tensors, to_bytes, write_json, write_tensors
from scorefield.store.lock import alone

M = TypeVar("M", bound=nn.Module)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Load weights by name, or raise BadInput that says how they differ from the network."""
    mine = {name: tuple(v.shape) for name, v in module.state_dict().items()}
    theirs = {name: tuple(v.shape) for name, v in weights.items()}
    if mine != theirs:
        differ = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        name = differ[0]
        raise BadInput(
            f"{source} does not fit its configuration: {len(differ)} tensors differ, "
            f"first {name} with shape {theirs.get(name)} where the network has {mine.get(name)}.",
            "Use the config.json that the run was trained with.",
        )
    module.load_state_dict(weights)


def keep_model(folder: Path, name: str, module: nn.Module, meta: Mapping[str, Any]) -> None:
    """Write `NAME.safetensors`, and `NAME.json` of what describes it and of its digest."""
    weights = module.state_dict()
    with alone(folder, name, wait=True):
        write_tensors(folder / f"{name}.safetensors", weights)
        write_json(folder / f"{name}.json", {**meta, "weights": digest_tensors(weights)})


def open_model(
    folder: Path, name: str, build: Callable[[dict[str, Any]], M], remedy: str
) -> tuple[M, dict[str, Any]] | None:
    """The model that `build` makes of the content of `NAME.json`, with its weights, and that
    content; None where one of the two files is not there.

    Raises BadInput, with this remedy, if it describes none or other weights. A digest of earlier
    versions was that of the file's bytes.
    """
    source, described = folder / f"{name}.safetensors", folder / f"{name}.json"
    if not (source.exists() and described.exists()):
        return None
    meta, weights = read_json(described), read_tensors(source)
    try:
        model = build(meta)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{described} does not describe a {name}.", remedy) from error
    load_weights(model, weights, source)
    now = digest_tensors(weights)
    if meta.get("weights", now) not in (now, short(digest(to_bytes(weights)))):
        raise BadInput(f"{source} and {described} do not belong together.", remedy)
    return model.eval().requires_grad_(False), meta
