"""Checkpoints of EDM (Karras et al. 2022, with its VP and VE ones) and EDM2 (Karras et al. 2024),
read without pickles.

A file holds the averaged network in its preconditioning: EDMPrecond around a SongUNet or a
DhariwalUNet, Precond around a UNet, each with its settings. Nothing of the source that lies beside
them is looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.data import Scaling
from scorefield.data.info import DataInfo
from scorefield.data.sets import EIGHT_BIT
from scorefield.denoise.guest import FILED, PRECONDITIONED, published
from scorefield.interop.folder import Foreign, check_held
from scorefield.run.settings import SourceConfig
from scorefield.store.inert import Inert, state_of

SIZES = ("sigma_min", "sigma_max", "sigma_data", "beta_d", "beta_min", "M", "epsilon_t")
UNTOLD = "map_augment"
"""What a training with augmentation has besides, and samples are not told."""


def read_edm(file: Path, found: Mapping[str, Any]) -> Foreign:
    """What a checkpoint holds, as `read_checkpoint` found it, or BadInput by name."""
    outer = found.get("ema")
    parts = (outer.state.get("_modules") or {}) if isinstance(outer, Inert) else {}
    inner = parts.get("unet", parts.get("model"))
    if not isinstance(outer, Inert) or not isinstance(inner, Inert):
        raise BadInput(f"{file} has no averaged network 'ema'.", "Give a snapshot of a training.")
    for part, known in ((outer, PRECONDITIONED), (inner, FILED)):
        if part.kind not in known:
            raise BadInput(
                f"{file} holds a {part.kind}, which cannot be honoured here.",
                f"Known are {', '.join(known)}.",
            )
    network = _settings(inner, file)
    scheduler = {"_class_name": outer.kind}
    scheduler |= {k: v for k in SIZES if isinstance(v := outer.state.get(k), int | float) and v}
    if scheduler.get("sigma_max") == float("inf"):
        del scheduler["sigma_max"]
    published(scheduler)
    whole = state_of(inner)
    weights = {name: tensor.float() for name, tensor in whole.items() if UNTOLD not in name}
    left = (f"{UNTOLD} is left out: samples are not augmented",) * (len(weights) < len(whole))
    count, side = int(network.get("label_dim", 0)), network.get("img_resolution")
    classes = tuple(map(str, range(count)))
    channels = network.get("in_channels", network.get("img_channels"))
    if type(channels) is not int or type(side) is not int or min(channels, side) < 1:
        raise BadInput(f"{file} says {channels!r} channels of side {side!r}.", "Restore the file.")
    deviation = float(scheduler.get("sigma_data", 0.5))
    scaling = EIGHT_BIT if channels in (1, 3) else Scaling((0.0,), (1.0,))  # or latents
    info = DataInfo(file.stem, (channels, side, side), classes, scaling, deviation)
    said = {"_class_name": inner.kind, **network}
    check_held(said, weights, file)
    source = SourceConfig(said, scheduler, classes=count)
    return Foreign(source, info, {"model": weights}, warned=left)


def _settings(network: Inert, file: Path) -> dict[str, Any]:
    """What the network was made with, as JSON."""
    said = network.state.get("_init_kwargs")
    if not isinstance(said, dict) or network.state.get("_init_args"):
        raise BadInput(f"{file} does not say of what its network is made.", "Save it again.")
    return {key: value for key, value in said.items() if key != "augment_dim"}
