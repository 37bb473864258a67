"""A folder of diffusers, read and judged: settings and safetensors alone, nothing of it is run."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.catalogue.spec import build
from scorefield.data import Conditions, Scaling
from scorefield.data.info import CodecInfo, DataInfo
from scorefield.data.readers.pipeline import PipelineText
from scorefield.data.sets import EIGHT_BIT
from scorefield.denoise.guest import FILED, published
from scorefield.nets.guests import GUESTS, cond_size, shape_of
from scorefield.nets.kl import spec_of
from scorefield.run.settings import SourceConfig
from scorefield.store import (
    check_published_sizes,
    digest_tensors,
    exists,
    fitted,
    read_json,
    read_weights,
)

NETWORKS = ("unet", "transformer")
IGNORED = ("safety_checker", "feature_extractor", "image_encoder", "tokenizer", "tokenizer_2",
           "tokenizer_3")  # fmt: skip
LIBRARIES = ("diffusers", "transformers")
DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16",
          torch.float64: "float64"}  # fmt: skip


class Foreign(NamedTuple):
    """What a folder holds: its settings, the info of what it makes, its weights by part."""

    source: SourceConfig
    info: DataInfo
    weights: dict[str, dict[str, Tensor]]
    codec: dict[str, Tensor] | None = None
    """The decoder's weights; `info.codec` says what it is."""
    warned: tuple[str, ...] = ()


def read_folder(folder: Path) -> Foreign:
    """Read a pipeline, or a network beside its scheduler, whole.

    Raises BadInput, in one sentence, for a component whose code is not that of diffusers or
    transformers, settings that cannot be honoured, weights that are pickles, missing, too many, of
    another shape or not finite.
    """
    parts = _components(folder)
    name = next((name for name in NETWORKS if name in parts), None)
    if name is None or "scheduler" not in parts:
        has = ", ".join(parts) or "nothing"
        raise BadInput(
            f"{folder} has {has}, and a network and a scheduler are needed.",
            "Give the folder of a whole pipeline, with model_index.json.",
        )
    network = _settings(parts[name], "config.json")
    scheduler = _settings(parts["scheduler"], "scheduler_config.json", "config.json")
    published(scheduler)
    _check_settings(network, parts[name])
    index = read_json(folder / "model_index.json") if exists(folder / "model_index.json") else {}
    kind = str(network["_class_name"])
    words = PipelineText(folder) if PipelineText.reads(folder, index, kind) else None
    text = _text(parts) if kind == "UNet2DConditionModel" else None
    weights = read_weights(parts[name])
    dtype = _dtype(weights, parts[name])
    null, empty, more = _none(network, text, weights, words)
    others = {key: _settings(at, "config.json") for key, at in parts.items() if key == "vae"}
    info = info_of(network, text, null, scheduler, {**index, **others}, folder.name)
    info = replace(info, text=words and words.info)
    source = SourceConfig(
        network, scheduler, dtype, len(info.classes), null, text, empty,
        {"index": index, **others},
    )  # fmt: skip
    parted = {"model": weights, "": more}
    if text:
        parted["text"] = read_weights(parts["text_encoder"])
    codec = None
    if "vae" in parts:
        codec, info = _codec(parts["vae"], others["vae"], info)
    return Foreign(source, info, parted, codec, tuple(warned(source)))


def _codec(
    folder: Path, settings: Mapping[str, Any], info: DataInfo
) -> tuple[dict[str, Tensor], DataInfo]:
    """The weights of an AutoencoderKL, and the info of the pictures that it makes of latents."""
    if (kind := settings.get("_class_name")) != "AutoencoderKL":
        raise unknown("vae", str(kind), ("AutoencoderKL",))
    spec, widths = spec_of(settings), settings.get("block_out_channels", (64,))
    fold = 2 ** (len(widths) - 1)
    shape = (settings.get("in_channels", 3), *(fold * size for size in info.shape[1:]))
    if settings.get("latent_channels", 4) != info.shape[0]:
        raise BadInput(
            f"the vae has {settings.get('latent_channels', 4)} channels of latents and the network "
            f"{info.shape[0]}.",
            "Restore the files.",
        )
    module = build("networks", spec, shape=shape)
    weights = fitted(module.vae.state_dict(), read_weights(folder), str(folder))
    named = {f"vae.{name}": tensor.float() for name, tensor in weights.items()}
    scale = float(settings.get("scaling_factor") or 1.0)
    said = CodecInfo(spec, "imported", info.shape, scale, digest_tensors(named), 0.0)
    return named, replace(info, shape=shape, scaling=EIGHT_BIT, codec=said)


def _components(folder: Path) -> dict[str, Path]:
    """The folders of the components, by name."""
    at = folder / "model_index.json"
    if not exists(at):
        if not exists(folder / "config.json"):
            raise BadInput(
                f"{folder} has neither model_index.json nor config.json.",
                "Give a folder that diffusers' save_pretrained wrote.",
            )
        beside = {"scheduler": folder} if exists(folder / "scheduler_config.json") else {}
        return {"unet": folder, **beside}
    found = {}
    for name, entry in read_json(at).items():
        if name.startswith("_") or not isinstance(entry, list) or entry == [None, None]:
            continue
        if len(entry) != 2 or not all(isinstance(word, str) for word in entry):
            raise BadInput(f"{at} says {name}: {entry!r}.", "It must be [library, class].")
        library, _ = entry
        if name in IGNORED:
            continue
        if library not in LIBRARIES:
            raise BadInput(
                f"{name} of {folder} is of '{library}', whose code is not run.",
                f"Only components of {' and '.join(LIBRARIES)} are read.",
            )
        if not name.isidentifier():
            raise BadInput(f"{at} names a component {name!r}.", "Restore the file.")
        found[name] = folder / name
    return found


def _settings(folder: Path, *names: str) -> dict[str, Any]:
    for name in names:
        if exists(folder / name):
            return read_json(folder / name)
    raise BadInput(f"{folder} has no {names[0]}.", "Restore the file.")


def _check_settings(network: Mapping[str, Any], where: Path) -> None:
    if (kind := network.get("_class_name")) not in GUESTS:
        raise unknown("network", str(kind), GUESTS)
    if "auto_map" in network:
        raise BadInput(
            f"{where} brings code of its own (auto_map), which is not run.",
            "Give a model of a class of diffusers.",
        )
    check_published_sizes(network, str(where))


def _dtype(weights: Mapping[str, Tensor], where: Path) -> str:
    counts = Counter(tensor.dtype for tensor in weights.values() if tensor.is_floating_point())
    common = counts.most_common(1)[0][0] if counts else torch.float32
    if common not in DTYPES:
        raise BadInput(f"the weights of {where} are {common}.", f"Use one of {[*DTYPES.values()]}.")
    return DTYPES[common]


def _text(parts: Mapping[str, Path]) -> dict[str, Any] | None:
    """The settings of the text encoder, if there is one."""
    if "text_encoder" not in parts:
        return None
    return _settings(parts["text_encoder"], "config.json")


def _none(
    network: Mapping[str, Any], text: Mapping[str, Any] | None, weights: Mapping[str, Tensor],
    words: PipelineText | None,
) -> tuple[int | None, dict[str, list[int]], dict[str, Tensor]]:  # fmt: skip
    """What stands for no condition: a class, or what the empty prompt is told as."""
    if network.get("_class_name") == "DiTTransformer2DModel":
        classes = network.get("num_embeds_ada_norm") or 1000
        table = weights.get("transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight")
        return (classes if table is not None and len(table) > classes else None), {}, {}
    if words:
        leaves = {k: leaf[0] for k, leaf in words([""]).leaves.items() if k != "mask"}
    elif text:
        length, most = text.get("max_position_embeddings", 77), text.get("vocab_size", 0) - 1
        begin, end = (min(text.get(f"{which}_token_id", k), most)
                      for k, which in enumerate(("bos", "eos")))  # fmt: skip
        leaves = {"tokens": torch.tensor([begin, *[end] * (length - 1)])}
    else:
        return network.get("_null_class"), {}, {}
    shapes = {key: list(leaf.shape) for key, leaf in leaves.items()}
    return None, shapes, {f"null_{key}": leaf for key, leaf in leaves.items()}


def info_of(
    network: Mapping[str, Any], text: Mapping[str, Any] | None, null: int | None,
    scheduler: Mapping[str, Any], others: Mapping[str, Any], name: str,
) -> DataInfo:  # fmt: skip
    """What it makes: pictures in [-1, 1], or latents in the units of their decoder."""
    kind = network["_class_name"]
    sizes = {key: cond_size(kind, network, key) for key in ("label", "tokens", "vector")}
    shape, count = shape_of(network, kind), sizes["label"] or 0
    count -= null is not None and kind == "UNet2DModel"
    vae, said = others.get("vae"), others.get("id2label")
    names = said if isinstance(said, dict) and len(said) == count else {}
    classes = tuple(str(names.get(str(k), k)) for k in range(count))
    scaling, deviation = EIGHT_BIT, scheduler.get("sigma_data", 0.5)
    if vae is not None or shape[0] not in (1, 3):
        scaling = Scaling((0.0,), (1.0,))
        deviation = scheduler.get("sigma_data", 1.0)
    conditions = Conditions(vector=sizes["vector"], tokens=sizes["tokens"])
    if text:
        length = text.get("max_position_embeddings", 77)
        conditions = Conditions(vocabulary=text.get("vocab_size"), length=length)
    return DataInfo(name, shape, classes, scaling, float(deviation), conditions)


CLIPPED = ("clip_sample", "clip_denoised", "thresholding")


def warned(source: SourceConfig) -> list[str]:
    """What their sampler does besides, that is asked for here by name."""
    scheduler, found = source.scheduler, []
    name = scheduler.get("_class_name", "")
    usual = {"clip_sample": name in ("DDPMScheduler", "DDIMScheduler"),
             "clip_denoised": name == "CMStochasticIterativeScheduler"}  # fmt: skip
    for key in CLIPPED:
        if scheduler.get(key, usual.get(key, False)):
            guide = "threshold" if key == "thresholding" else "clip"
            found.append(
                f"{key} is true: their sampler changes x0, ours does with `guide` cfg:1+{guide}"
            )
    return found


def say_warned(foreign: Foreign) -> None:
    for line in foreign.warned:
        warnings.warn(line, stacklevel=3)


def check_held(network: Mapping[str, Any], weights: Mapping[str, Tensor], file: Path) -> None:
    """Raise BadInput for settings that cannot be built, and for a network far larger than the file
    that is to fill it, before memory is asked for."""
    kind, held = str(network["_class_name"]), sum(tensor.numel() for tensor in weights.values())
    with torch.device("meta"):
        wanted = sum(tensor.numel() for tensor in FILED[kind](kind, network).state_dict().values())
    if wanted > 10 * held + 1_000_000:
        raise BadInput(
            f"{file} describes a network of {wanted:,} numbers and holds {held:,}.",
            "Restore the file.",
        )
