"""Checkpoints of EDM (Karras et al. 2022, with its VP and VE ones), read without pickles.

A file holds the averaged network in its preconditioning: EDMPrecond around a SongUNet or a
DhariwalUNet, each with its settings. Nothing of the source that lies beside them is looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.data.sets import EIGHT_BIT
from scorefield.interop.folder import Foreign
from scorefield.nets.song import USUAL
from scorefield.run.facts import DataFacts
from scorefield.run.guest import PRECONDITIONED, published
from scorefield.run.settings import SourceConfig
from scorefield.store.inert import Inert, state_of

SIZES = ("sigma_min", "sigma_max", "sigma_data", "beta_d", "beta_min", "M", "epsilon_t")
UNTOLD = "map_augment"
"""What a training with augmentation has besides, and samples are not told."""


def read_edm(file: Path, found: Mapping[str, Any]) -> Foreign:
    """What a checkpoint holds, as `read_checkpoint` found it, or BadInput by name."""
    outer = found.get("ema")
    inner = (outer.state.get("_modules") or {}).get("model") if isinstance(outer, Inert) else None
    if not isinstance(outer, Inert) or not isinstance(inner, Inert):
        raise BadInput(f"{file} has no averaged network 'ema'.", "Give a snapshot of a training.")
    for part, known in ((outer, PRECONDITIONED), (inner, USUAL)):
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
    count, side = network.get("label_dim", 0), network["img_resolution"]
    classes = tuple(map(str, range(count)))
    shape = (network["in_channels"], side, side)
    deviation = float(scheduler.get("sigma_data", 0.5))
    facts = DataFacts(file.stem, shape, classes, EIGHT_BIT, deviation)
    source = SourceConfig({"_class_name": inner.kind, **network}, scheduler, classes=count)
    return Foreign(source, facts, {"model": weights}, warned=left)


def _settings(network: Inert, file: Path) -> dict[str, Any]:
    """What the network was made with, as JSON."""
    said = network.state.get("_init_kwargs")
    if not isinstance(said, dict) or network.state.get("_init_args"):
        raise BadInput(f"{file} does not say of what its network is made.", "Save it again.")
    return {key: value for key, value in said.items() if key != "augment_dim"}
