"""Checkpoints of guided-diffusion (ADM), read without pickles, as diffusers' UNet2DModel.

Both are the network of Dhariwal and Nichol 2021 under other names: residual blocks with a scale and
a shift of the time's embedding, attention of heads, resampling in residual blocks or convolutions.
The file holds numbers alone; its flags stand beside it in NAME.json, under the names that
guided-diffusion gives them:

    image_size (needed), num_head_channels (64), use_new_attention_order (false), noise_schedule
    (linear | cosine), diffusion_steps (1000), rescale_timesteps (false)
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput
from scorefield.denoise.guest import published
from scorefield.interop.folder import Foreign, info_of, warned
from scorefield.run.settings import SourceConfig
from scorefield.store import exists, read_json

_Weights = dict[str, Tensor]
RESIDUAL = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
            "out_layers.0": "norm2", "out_layers.3": "conv2",
            "skip_connection": "conv_shortcut"}  # fmt: skip
OUTER = {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
         "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
         "label_emb": "class_embedding"}  # fmt: skip
FLAGS = {
    "image_size": None, "num_head_channels": 64, "use_new_attention_order": False,
    "noise_schedule": "linear", "diffusion_steps": 1000, "rescale_timesteps": False,
}  # fmt: skip
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def read_adm(file: Path, found: Any) -> Foreign:
    """A checkpoint, as `read_checkpoint` found it, or BadInput that names what is missing or cannot
    be honoured."""
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise BadInput(f"{file} holds no plain weights by name.", "Give the model's state dict.")
    flags = _flags(file)
    settings, weights = as_unet2d(found, flags, file)
    steps = int(flags["diffusion_steps"])
    scheduler = {
        "_class_name": "DDPMScheduler", "num_train_timesteps": steps, "clip_sample": True,
        "beta_schedule": SCHEDULES[flags["noise_schedule"]], "prediction_type": "epsilon",
        "beta_start": 0.1 / steps, "beta_end": 20 / steps,
        "variance_type": "learned_range" if settings["out_channels"] > settings["in_channels"]
        else "fixed_large",
    }  # fmt: skip
    published(scheduler)
    info = info_of(settings, None, None, scheduler, {}, file.stem)
    source = SourceConfig(settings, scheduler, classes=len(info.classes))
    return Foreign(source, info, {"model": weights}, warned=tuple(warned(source)))


def _flags(file: Path) -> dict[str, Any]:
    beside = file.with_suffix(".json")
    said = read_json(beside) if exists(beside) else {}
    flags = {key: said.get(key, usual) for key, usual in FLAGS.items()}
    if not isinstance(flags["image_size"], int):
        raise BadInput(
            f"{file} does not say of which size its pictures are.",
            f'Write {beside} with {{"image_size": 64}}, and what else differs from the usual.',
        )
    if flags["noise_schedule"] not in SCHEDULES or flags["rescale_timesteps"]:
        raise BadInput(
            f"{beside} has noise_schedule {flags['noise_schedule']!r} and rescale_timesteps "
            f"{flags['rescale_timesteps']!r}.",
            "Only linear or cosine, and false, can be honoured.",
        )
    return flags


def as_unet2d(
    weights: Mapping[str, Tensor], flags: Mapping[str, Any], file: Path
) -> tuple[dict[str, Any], _Weights]:
    """Settings of a UNet2DModel and its weights, from those of ADM by name."""
    try:
        blocks, levels = _levels(weights)
        firsts = [f"input_blocks.{1 + k * (blocks + 1)}" for k in range(levels)]
        channels = [len(weights[f"{at}.0.out_layers.3.weight"]) for at in firsts]
        attends = [f"{at}.1.qkv.weight" in weights for at in firsts]
        moved = dict(_moved(weights, blocks, levels))
        stem, last = weights["input_blocks.0.0.weight"], weights["out.2.weight"]
    except (KeyError, IndexError, StopIteration, RuntimeError, ValueError) as error:
        raise BadInput(
            f"{file} has not the names of guided-diffusion: {error}.",
            "Give a model of guided-diffusion.",
        ) from None
    resampled = f"input_blocks.{blocks + 1}.0.in_layers.0.weight" in weights
    kind = "resnet" if resampled else "conv"
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resampled else (
        "DownBlock2D", "UpBlock2D")  # fmt: skip
    settings = {
        "_class_name": "UNet2DModel", "sample_size": flags["image_size"],
        "in_channels": int(stem.shape[1]), "out_channels": int(last.shape[0]),
        "layers_per_block": blocks, "block_out_channels": channels,
        "down_block_types": ["AttnDownBlock2D" if a else plain[0] for a in attends],
        "up_block_types": ["AttnUpBlock2D" if a else plain[1] for a in reversed(attends)],
        "downsample_type": kind, "upsample_type": kind, "resnet_time_scale_shift": "scale_shift",
        "attention_head_dim": flags["num_head_channels"], "norm_num_groups": 32,
        "attn_norm_num_groups": 32,
        "num_class_embeds": len(weights["label_emb.weight"]) if "label_emb.weight" in weights
        else None,
    }  # fmt: skip
    found: _Weights = {}
    for name, tensor in moved.items():
        if ".qkv." not in name:
            found[name] = tensor.flatten(1) if ".to_out." in name and tensor.ndim == 3 else tensor
            continue
        rows = _ordered(tensor.flatten(1) if tensor.ndim == 3 else tensor, flags)
        for key, part in zip(("to_q", "to_k", "to_v"), rows):
            found[name.replace(".qkv.", f".{key}.")] = part
    return settings, found


def _ordered(qkv: Tensor, flags: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """q, k, v of rows that are kept by head (q, k, v of each), or in the new order all q first."""
    if flags["use_new_attention_order"]:
        return qkv.chunk(3)
    each = flags["num_head_channels"]
    heads = qkv.shape[0] // (3 * each)
    if heads * 3 * each != qkv.shape[0]:
        raise BadInput(
            f"num_head_channels is {each}, and attention has {qkv.shape[0] // 3} channels.",
            "Correct the file beside the weights.",
        )
    by = qkv.view(heads, 3, each, *qkv.shape[1:])
    return tuple(by[:, k].reshape(heads * each, *qkv.shape[1:]) for k in range(3))


def _levels(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Residual blocks a level, and levels: an output block that doubles ends a level."""
    count = 1 + max(int(m[1]) for name in weights if (m := re.match(r"output_blocks\.(\d+)", name)))
    doubling = re.compile(r"output_blocks\.(\d+)\.[12]\.(conv\.weight|in_layers\.0\.weight)")
    ends = [int(m[1]) for name in weights if (m := doubling.fullmatch(name))]
    blocks = min(ends) if ends else count - 1
    return blocks, count // (blocks + 1)


def _moved(weights: Mapping[str, Tensor], blocks: int, levels: int) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its name there."""
    heads = _heads(weights, blocks, levels)
    for name, tensor in weights.items():
        stem, _, leaf = name.rpartition(".")
        if stem in OUTER:
            yield f"{OUTER[stem]}.{leaf}", tensor
            continue
        head = next(h for h in heads if name.startswith(f"{h}."))
        to, rest = heads[head], stem[len(head) + 1 :]
        if rest in RESIDUAL:
            yield f"{to}.{RESIDUAL[rest]}.{leaf}", tensor
        elif rest in ("op", "conv"):
            yield f"{to}.conv.{leaf}", tensor
        else:
            rest = {"norm": "group_norm", "qkv": "qkv", "proj_out": "to_out.0"}[rest]
            yield f"{to}.{rest}.{leaf}", tensor


def _heads(weights: Mapping[str, Tensor], blocks: int, levels: int) -> dict[str, str]:
    """The names of blocks, there from here."""
    found = {"middle_block.0": "mid_block.resnets.0", "middle_block.1": "mid_block.attentions.0",
             "middle_block.2": "mid_block.resnets.1"}  # fmt: skip
    for level in range(levels):
        for j in range(blocks + 1):
            down = f"input_blocks.{1 + level * (blocks + 1) + j}"
            up, at = f"output_blocks.{level * (blocks + 1) + j}", f"up_blocks.{level}"
            if j < blocks:
                found[f"{down}.0"] = f"down_blocks.{level}.resnets.{j}"
                found[f"{down}.1"] = f"down_blocks.{level}.attentions.{j}"
            else:
                found[f"{down}.0"] = f"down_blocks.{level}.downsamplers.0"
            found[f"{up}.0"] = f"{at}.resnets.{j}"
            second = f"{up}.1"
            attends = f"{second}.qkv.weight" in weights
            found[second] = f"{at}.attentions.{j}" if attends else f"{at}.upsamplers.0"
            found[f"{up}.2"] = f"{at}.upsamplers.0"
    return found
