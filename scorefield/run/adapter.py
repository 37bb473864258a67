"""Runs of adapters: a few numbers that are learned on top of another run, which stays as it is and
where it is."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from scorefield.base import BadInput
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build, parsed
from scorefield.data.info import DataInfo
from scorefield.data.text import spoken
from scorefield.nets.adapter import LowRank
from scorefield.run.settings import Config
from scorefield.run.stored import run_settings
from scorefield.run.words import KeptTexts, encoder_of
from scorefield.store import Folder

if TYPE_CHECKING:
    from scorefield.data import Data


def adapter_of(text: str) -> LowRank:
    """The adapter of a spec, or of its options alone, as rank=4."""
    spec = parsed(text)
    if spec.name not in names("adapters") and "=" in spec.name:
        spec = parsed(f"low-rank:{text}")
    return build("adapters", spec)


def base_place(config: Config, beside: Path | None) -> Path:
    """Where the run is that an adapter is added to: at its `init`, or `beside` the adapter's own
    folder under the same name, when both were moved."""
    at = Path(cast(str, config.init))
    sibling = at if beside is None else beside.parent / at.name
    found = next((path for path in (at, sibling) if Folder(path).has_config), None)
    if found is None:
        raise BadInput(
            f"the run {at} that an adapter is added to is not there, nor is {sibling}.",
            "Put it back, or give another `init`.",
            "init",
        )
    return found


def on_base(config: Config, usual: Config, beside: Path | None) -> Config:
    """The settings of an adapter's run: network, process and sampling are those of its base.

    Raises BadInput without a base, for one that no adapter can be added to, and for settings that
    the base decides.
    """
    if config.init is None:
        raise BadInput("an `adapter` is added to a run.", "Give `init` RUN.", "adapter")
    adapter_of(cast(str, config.adapter))
    base = run_settings(base_place(config, beside))[1]
    if base.student or base.net.partition(":")[0].endswith("autoencoder"):
        what = "a student's" if base.student else "an autoencoder's"
        raise BadInput(f"`init` {config.init} is {what} run.", "Give a diffusion run.", "init")
    for name in ("net", "objective", "sample", "codec"):
        value = getattr(config, name)
        if value not in (getattr(c, name) for c in (usual, Config(), base)):
            raise BadInput(
                f"`{name}` does nothing: an adapter has that of {config.init}.",
                "Leave it out.",
                name,
            )
    data = replace(config.data, text=base.data.text)
    return replace(
        base, training=config.training, data=data, init=config.init, adapter=config.adapter
    )


def as_base_reads(data: "Data", config: Config, folder: Path | None) -> "Data":
    """Data in the units and words of the base: classes by their names, captions by its encoder."""
    info = run_settings(base_place(config, folder))[2]
    if info.text and data.captions:
        encoder = encoder_of(info.text)
        data = spoken(data, info.text, KeptTexts(encoder, folder)(data.captions))
    if data.classes and set(data.classes) <= set(info.classes):
        number = torch.tensor([info.classes.index(name) for name in data.classes])
        parts = (data.train, data.test)
        train, test = (replace(s, cond={**s.cond, "label": number[s.cond["label"]]}) for s in parts)
        data = replace(data, train=train, test=test, classes=info.classes)
    scaling = data.scaling if data.kind.bounded else info.scaling
    return replace(data, scaling=scaling)


def adapter_info(data: "Data", base: DataInfo, digest: str) -> DataInfo:
    """What a run must know: what its base does, of the adapter's own data. Or BadInput."""
    info = replace(
        base, name=data.name, scaling=data.scaling, edition=data.edition, text=data.text,
        base=digest,
    )  # fmt: skip
    info.check_same(data, split=False)
    return info
