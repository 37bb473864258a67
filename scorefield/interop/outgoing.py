"""Our models out: as a folder of diffusers, an ONNX file or a torch program."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield import __version__
from scorefield.base import BadInput
from scorefield.base.finding import Findings
from scorefield.data.kind import PICTURE
from scorefield.denoise import Timed
from scorefield.interop.card import card
from scorefield.process import EDM, DiscreteVP, Flow
from scorefield.run.open import Run
from scorefield.run.stored import to_json
from scorefield.run.words import encoder_of
from scorefield.store import claim_folder, read_bytes, write_bytes, write_json, write_tensors
from scorefield.store.digest import digest_tensors, short

PREDICTION = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
COMPONENT = ("scorefield.interop.component", "ScorefieldModel")


def check_whole(run: Run) -> None:
    """Raise BadInput for a student whose D is no mean: their samplers cannot walk by it."""
    manner = run.denoiser.manner
    if manner and manner.learned != "maps":
        raise BadInput(
            f"{run.path} is a student made for {manner.plan}, and no sampler of theirs does that.",
            "Export its teacher, or the whole sampler: `to` onnx with `loop`.",
            "run",
        )


def to_diffusers(run: Run, out: Path, fold: int | None = None) -> Findings:
    """A folder of diffusers: of a network of theirs its plain weights, that load without any code
    of ours; of another the component class, which needs scorefield there. A class to `fold` is told
    to every sample by the weights themselves."""
    claim_folder(out, "model_index.json")
    check_whole(run)
    net = run.denoiser.net
    native = isinstance(run.denoiser, Timed) and hasattr(net, "model")
    parts = _native(run, fold) if native else _component(run)
    name, settings, weights, scheduler = parts["network"]
    index = parts["index"]
    for part, content, tensors in parts["others"]:
        file = "diffusion_pytorch_model" if part == "vae" else "model"
        write_json(out / part / "config.json", content, seal=False)
        write_tensors(out / part / f"{file}.safetensors", tensors)
    for file in parts.get("files", ()):
        write_bytes(out / file.parent.name / file.name, read_bytes(file))
    write_tensors(out / name / "diffusion_pytorch_model.safetensors", weights)
    write_json(out / name / "config.json", settings, seal=False)
    write_json(out / "scheduler" / "scheduler_config.json", scheduler, seal=False)
    write_bytes(out / "README.md", card(run, parts["use"]).encode())
    write_json(out / "model_index.json", index, seal=False)  # last: it says that all is there
    record = {
        "out": str(out), "to": "diffusers", "native": native, "pipeline": index["_class_name"],
        "scheduler": scheduler["_class_name"], "weights": short(digest_tensors(weights)),
    }  # fmt: skip
    what = "weights of diffusers' own network" if native else "needs scorefield where it is read"
    return Findings("export", str(run.path), f"{out}: {index['_class_name']}, {what}", (), record)


def _native(run: Run, fold: int | None) -> dict[str, Any]:
    net: Any = run.denoiser.net
    name = "unet" if "UNet" in net.kind else "transformer"
    source = run.config.source
    if source:
        settings, scheduler = dict(source.network), dict(source.scheduler)
        there = source.others.get("index", {})
        index = {k: v for k, v in there.items() if k.startswith("_") or v == [None, None]}
    else:
        settings = {**net.settings, "_class_name": net.kind, "_null_class": net.null}
        scheduler, index, there = scheduler_of(run), {}, {}
    usual = "DiTPipeline" if net.kind.startswith("DiT") else "DDPMPipeline"
    said = {"_class_name": usual, "_diffusers_version": "0.42.1", **index}
    index = {**said, name: ["diffusers", net.kind],
             "scheduler": ["diffusers", scheduler["_class_name"]]}  # fmt: skip
    others = []
    if net.text is not None and source:
        kind = source.text["architectures"][0] if source.text else ""
        others.append(("text_encoder", source.text, _copies(net.text.state_dict())))
        index["text_encoder"] = ["transformers", kind]
    codec: Any = run.denoiser.codec
    if codec and source and "vae" in source.others:
        others.append(("vae", source.others["vae"], _copies(codec.module.vae.state_dict())))
        index["vae"] = ["diffusers", "AutoencoderKL"]
    words: Any = run.info.text and encoder_of(run.info.text)
    index |= {part: there[part] for part in (words.parts if words else ())}
    weights = _copies(net.model.state_dict())
    if fold is not None:
        settings, weights = label_by_bias(settings, weights, fold)
    return {"network": (name, settings, weights, scheduler), "index": index, "others": others,
            "files": words.files if words else (),
            "use": _use(said["_class_name"], scheduler["_class_name"])}  # fmt: skip


def label_by_bias(
    settings: dict[str, Any], weights: dict[str, Tensor], label: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A UNet2DModel without classes that is told one: its embedding is added to a bias.

    emb = W2 silu(..) + b2 + class_embedding[label]
    """
    embedded = weights["class_embedding.weight"][label]
    rest = {k: v for k, v in weights.items() if not k.startswith("class_embedding")}
    bias = "time_embedding.linear_2.bias"
    return {**settings, "num_class_embeds": None, "_null_class": None}, {
        **rest, bias: rest[bias] + embedded
    }  # fmt: skip


def _component(run: Run) -> dict[str, Any]:
    if run.info.kind is not PICTURE:
        raise BadInput(
            f"the run makes {run.info.kind.plural}, and pipelines make pictures.",
            "Export it `to` onnx or torch.",
            "to",
        )
    channels, *sides = run.info.shape
    settings = {
        "_class_name": COMPONENT[1], "_diffusers_version": "0.42.1", "in_channels": channels,
        "sample_size": sides[0] if sides[0] == sides[1] else sides,
        "run": json.loads(json.dumps(to_json(run.config, run.info))),
    }  # fmt: skip
    weights = {f"denoiser.{k}": v for k, v in _copies(run.denoiser.state_dict()).items()}
    index = {"_class_name": "DDIMPipeline", "_diffusers_version": "0.42.1",
             "unet": list(COMPONENT), "scheduler": ["diffusers", "DDIMScheduler"]}  # fmt: skip
    return {"network": ("unet", settings, weights, chain_scheduler()), "index": index, "others": [],
            "use": _use("DDIMPipeline", "DDIMScheduler")}  # fmt: skip


def _copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, which a safetensors file cannot say."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def chain_scheduler() -> dict[str, Any]:
    """DDIM on the cosine chain of zero terminal SNR, which every prediction v fits."""
    from scorefield.interop.component import CHAIN

    return {
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1",
        "num_train_timesteps": CHAIN.steps, "trained_betas": CHAIN.betas.tolist(),
        "prediction_type": "v_prediction", "timestep_spacing": "trailing", "clip_sample": False,
        "set_alpha_to_one": True,
    }  # fmt: skip


def scheduler_of(run: Run) -> dict[str, Any]:
    """The settings of a scheduler for what a network of theirs was trained on here."""
    schedule, view = run.denoiser.schedule, run.denoiser.view
    own = {"_diffusers_version": "0.42.1"}
    if isinstance(schedule, DiscreteVP):
        return {
            **own, "_class_name": "DDPMScheduler", "num_train_timesteps": schedule.steps,
            "trained_betas": schedule.betas.tolist(), "prediction_type": PREDICTION[view],
            "clip_sample": False, "variance_type": "fixed_small", "timestep_spacing": "trailing",
        }  # fmt: skip
    if isinstance(schedule, Flow):
        return {**own, "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0}
    assert isinstance(schedule, EDM)  # `convention_of` knows no other
    return {
        **own, "_class_name": "EDMEulerScheduler", "sigma_min": schedule.sigma_min,
        "sigma_max": schedule.sigma_max, "sigma_data": run.denoiser.sigma_data,
    }  # fmt: skip


def _use(pipeline: str, scheduler: str) -> str:
    """Which pipeline, in words for the card: two of theirs do not do as they are told."""
    if scheduler.startswith("EDM"):
        return (
            "No pipeline of diffusers scales the input of an EDM network for UNet2DModel: walk "
            "by hand, `scheduler.scale_model_input` before the network and `scheduler.step` after."
        )
    more = " (it turns any scheduler into DDIM)" if pipeline == "DDIMPipeline" else ""
    more = " (it applies no input scaling: not for Euler or EDM)" if "DDPM" in pipeline else more
    return f"`diffusers.{pipeline}.from_pretrained(folder)`{more}."


def origin_of(run: Run) -> dict[str, str]:
    """What an exported file says of itself."""
    said = {"scorefield": __version__, "images_seen": str(run.images_seen)}
    return said | {"classes": str(len(run.info.classes))} if run.info.classes else said
