"""Checkpoints of k-diffusion: a config and the averaged weights of the network that it describes.

A training's .pth holds both (`config`, `model_ema`), a file for inference is .safetensors with the
config in its metadata; otherwise NAME.json beside the weights is the config. Networks: `image_v1`,
`image_transformer_v1` and `image_transformer_v2`, in Karras' preconditioning with the config's
sigma_data. Weights are kept in float32, which is what k-diffusion loads them into.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.data.info import DataInfo
from scorefield.data.sets import EIGHT_BIT
from scorefield.denoise.guest import DENOISER, published
from scorefield.interop.folder import Foreign, check_held
from scorefield.nets.kdiff import ImageV1Settings
from scorefield.nets.kformer import TransformerV1Settings, TransformerV2Settings
from scorefield.run.settings import SourceConfig
from scorefield.store import exists, read_bytes, read_json, read_tensors
from scorefield.store.digest import header_of

KINDS: dict[str, Any] = {
    "image_v1": ImageV1Settings,
    "image_transformer_v1": TransformerV1Settings,
    "image_transformer_v2": TransformerV2Settings,
}
WRAPPED = "inner_model."


def is_kdiff(found: Any) -> bool:
    """Whether a checkpoint, as `read_checkpoint` found it, is of a training of k-diffusion."""
    return isinstance(found, dict) and isinstance(found.get("model_ema"), dict)


def read_kdiff(file: Path, found: Mapping[str, Any] | None = None) -> Foreign:
    """What a checkpoint holds, or BadInput by name."""
    if found is None:
        weights, config = read_tensors(file), header_of(read_bytes(file)).get("config")
        config = _parsed(config, file) if config is not None else None
    else:
        weights, config = found["model_ema"], found.get("config")
    beside = file.with_suffix(".json")
    if config is None and exists(beside):
        config = read_json(beside)
    whole: dict[str, Any] = config if isinstance(config, dict) else {}
    model = whole.get("model")
    if not isinstance(model, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise BadInput(
            f"{file} comes with no config that says its network.",
            f"Write its config beside it, as {beside.name}.",
        )
    return _foreign(file, whole, model, weights)


def _parsed(text: str, file: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"the config in {file} is no JSON: {error}.", "Restore it.") from error


def _foreign(
    file: Path, config: dict[str, Any], model: dict[str, Any], weights: Mapping[str, Tensor]
) -> Foreign:
    if (kind := str(model.get("type"))) not in KINDS:
        raise unknown("network", kind, KINDS)
    if model.get("loss_config", "karras") not in ("karras", "simple"):
        raise unknown("loss_config", str(model["loss_config"]), ("karras", "simple"))
    data = config.get("dataset")
    said = {**(data if isinstance(data, dict) else {}), **model}
    known = {field.name for field in fields(KINDS[kind])}
    network = {"_class_name": kind, **{k: v for k, v in said.items() if k in known}}
    sizes = {key: model[key] for key in ("sigma_min", "sigma_max") if key in model}
    scheduler = {"_class_name": DENOISER, **sizes, "sigma_data": model.get("sigma_data", 1.0)}
    published(scheduler)
    size, channels = model.get("input_size"), model.get("input_channels")
    shape: Any = (channels, *(size if isinstance(size, list | tuple) else ()))
    if len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        raise BadInput(
            f"{file} has input_channels {channels!r} and input_size {size!r}.", "Restore the file."
        )
    bare = {name.removeprefix(WRAPPED): tensor.float() for name, tensor in weights.items()}
    check_held(network, bare, file)
    count = network.get("num_classes", 0)
    classes = tuple(map(str, range(count if type(count) is int else 0)))
    info = DataInfo(file.stem, shape, classes, EIGHT_BIT, float(scheduler["sigma_data"]))
    source = SourceConfig(network, scheduler, classes=len(classes), others={"config": config})
    return Foreign(source, info, {"model": bare})
