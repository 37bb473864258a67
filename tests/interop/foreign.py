"""Tiny random networks of diffusers, saved as their pipelines save them."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

UNET = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1,
    "block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
TEXT_UNET = {
    **UNET, "in_channels": 4, "out_channels": 4, "cross_attention_dim": 16,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
DIT = {
    "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8,
    "num_layers": 2, "sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 10,
    "norm_num_groups": 8,
}  # fmt: skip
SD3 = {
    "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 1,
    "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 16,
    "caption_projection_dim": 16, "pooled_projection_dim": 12, "pos_embed_max_size": 8,
}  # fmt: skip
FLUX = {
    "patch_size": 1, "in_channels": 16, "num_layers": 1, "num_single_layers": 1,
    "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": 16,
    "pooled_projection_dim": 12, "axes_dims_rope": (4, 4, 8),
}  # fmt: skip


def theirs(name: str = "diffusers") -> Any:
    """An installed package, whose types say little."""
    return import_module(name)


def network(kind: str = "UNet2DModel", **more: Any) -> Any:
    usual = {"UNet2DModel": UNET, "UNet2DConditionModel": TEXT_UNET, "SD3Transformer2DModel": SD3,
             "DiTTransformer2DModel": DIT, "FluxTransformer2DModel": FLUX}[kind]  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = getattr(theirs(), kind)(**{**usual, **more}).eval()
        for p in made.parameters():  # some layers start at zero, and would hide a fault
            if not p.any():
                torch.nn.init.normal_(p, std=0.1)
        return made


def scheduler(kind: str = "DDIM", **more: Any) -> Any:
    usual = {"clip_sample": False} if kind in ("DDIM", "DDPM") else {}
    return getattr(theirs(), f"{kind}Scheduler")(**{**usual, **more})


def keep(folder: Path, net: Any, plan: Any, **parts: Any) -> Path:
    """A pipeline's folder."""
    name = "unet" if "UNet" in type(net).__name__ else "transformer"
    index: dict[str, Any] = {"_class_name": "DDIMPipeline", "_diffusers_version": "0.42.1"}
    for part, thing in {name: net, "scheduler": plan, **parts}.items():
        thing.save_pretrained(folder / part, safe_serialization=True)
        library = type(thing).__module__.split(".")[0]
        index[part] = [library, type(thing).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
