"""Other people's models in: a folder of diffusers as a denoiser, or as a run folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings
from scorefield.catalogue.spec import build
from scorefield.data.codec import Latents
from scorefield.data.info import DataInfo
from scorefield.data.readers.pipeline import named_now
from scorefield.interop.adm import read_adm
from scorefield.interop.edm import read_edm
from scorefield.interop.folder import Foreign, read_folder, say_warned
from scorefield.interop.graph import read_graph
from scorefield.interop.hub import HEAD, copied, is_run, pull
from scorefield.interop.kdiff import is_kdiff, read_kdiff
from scorefield.interop.plans import their_plan
from scorefield.run.autoencoder import keep_codec
from scorefield.run.config import build_denoiser
from scorefield.run.settings import Config, DataConfig, ObjectiveConfig, SampleConfig
from scorefield.run.stored import to_json
from scorefield.store import Folder, fitted
from scorefield.store.inert import Inert, read_checkpoint


def load_foreign(source: str | Path, levels: str | None = None) -> Any:
    """The denoiser of another program's folder or file, with its schedule, shape, scaling and
    classes, for `generate` and everything else. `levels` are those that a graph knows: ".002,80".

    Raises BadInput for what cannot be honoured, as `scorefield import` does.
    """
    path = pull(source) if isinstance(source, str) and source.startswith(HEAD) else Path(source)
    foreign = read_foreign(path, levels)
    say_warned(foreign)
    return _opened(configured(foreign), foreign)


def read_foreign(source: Path, levels: str | None = None) -> Foreign:
    """A folder of diffusers, an ONNX graph, or a checkpoint of EDM, ADM or k-diffusion."""
    if source.suffix == ".onnx":
        return read_graph(source, levels)
    if levels is not None:
        raise BadInput(f"`levels` {levels} is of an ONNX graph.", "Leave it out.", "levels")
    if source.suffix == ".safetensors":
        return read_kdiff(source)
    if source.suffix in (".pt", ".pth", ".pkl", ".ckpt"):
        found = read_checkpoint(source)
        if is_kdiff(found):
            return read_kdiff(source, found)
        inert = isinstance(found, dict) and any(isinstance(v, Inert) for v in found.values())
        return read_edm(source, found) if inert else read_adm(source, found)
    return read_folder(source)


def _opened(config: Config, foreign: Foreign) -> Any:
    denoiser = build_denoiser(config, foreign.info)
    wanted, given = denoiser.state_dict(), {}
    for part, weights in foreign.weights.items():
        head = f"net.{part}{'.' * bool(part)}"
        own = {k.removeprefix(head): v for k, v in wanted.items() if k.startswith(head)}
        if not part:
            own = {name: own[name] for name in weights}
        if part == "text":
            weights = named_now(weights, own)
        fit = fitted(own, weights, f"the {part or 'null'} of {foreign.info.name}")
        given |= {f"{head}{name}": tensor for name, tensor in fit.items()}
    denoiser.load_state_dict(given)
    denoiser.codec = codec_of(foreign)
    return denoiser.eval().requires_grad_(False)


def codec_of(foreign: Foreign) -> Latents | None:
    """The decoder of a latent model, as the codec of its run."""
    said, weights = foreign.info.codec, foreign.codec
    if said is None or weights is None:
        return None
    module = build("networks", said.net, shape=foreign.info.shape)
    module.load_state_dict(weights)
    return Latents(module.eval().requires_grad_(False), said.scale)


def configured(foreign: Foreign, trained_on: str = "") -> Config:
    """The settings of a run of it: its own source, our default of sampling."""
    scheduler = foreign.source.scheduler
    view = {"v_prediction": "v", "sample": "x0"}.get(scheduler.get("prediction_type", ""), "eps")
    steps, grid, solver = SampleConfig.steps, SampleConfig.grid, SampleConfig.solver
    return Config(
        data=DataConfig(trained_on),
        net=str(foreign.source.network["_class_name"]),
        objective=ObjectiveConfig(schedule="imported", view=view),
        sample=SampleConfig(solver, steps, grid),
        source=foreign.source,
    )


def taken_in(source: Path, out: Path, trained_on: str = "", levels: str | None = None) -> Findings:
    """A run folder of another program's, and how it is sampled as there.

    `trained_on` names the data, as `data.name` does; they must have its shape and classes.
    """
    if str(source).startswith(HEAD):
        source = pull(str(source))
        if is_run(source):
            return copied(source, out)
    place = Folder(out)
    place.check_new()
    if place.has_config:
        raise BadInput(f"{out} already holds a run.", "Give another `out`.", "out")
    foreign = read_foreign(source, levels)
    say_warned(foreign)
    config = configured(foreign, trained_on)
    info = info_with(foreign.info, config) if trained_on else foreign.info
    denoiser = _opened(config, foreign._replace(info=info))
    place.keep_config(to_json(config, info))
    if denoiser.codec:
        keep_codec(out, denoiser.codec)
    place.commit({"ema": denoiser.state_dict()}, 0, place.meaning())
    count = sum(tensor.numel() for tensor in denoiser.parameters())
    side = info.inner[-1] if config.net.startswith("Flux") else None
    plan = their_plan(foreign.source.scheduler, side and (side // 2) ** 2)
    shape = "x".join(map(str, info.shape))
    record = {
        "out": str(out),
        "network": config.net,
        "scheduler": foreign.source.scheduler["_class_name"],
        "dtype": foreign.source.dtype,
        "shape": list(info.shape),
        "classes": len(info.classes),
        "plan": plan,
        "warnings": list(foreign.warned),
    }
    how = f"{config.net}, {shape}, {foreign.source.dtype}; as sampled there: {plan or 'not ours'}"
    items = (Figure("parameters", float(count), key="parameters"),)
    next_ = f"next: scorefield sample {out} `n` 16"
    return Findings("import", str(out), how, items, record, next=next_)


def info_with(info: DataInfo, config: Config) -> DataInfo:
    """The info, with what the data say of themselves: deviation, names of classes, units."""
    own = DataInfo.of(config.load_data())
    same = (own.shape, len(own.classes)), (info.shape, len(info.classes))
    if same[0] != same[1]:
        raise BadInput(
            f"the data have shape {own.shape} and {len(own.classes)} classes, the model "
            f"{info.shape} and {len(info.classes)}.",
            "Name the data that it was trained on.",
            "trained-on",
        )
    return replace(own, codec=info.codec, sigma_data=1.0) if info.codec else own
