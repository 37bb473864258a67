"""Open a run: what was trained, and what a name stands for there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, unknown
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build, parsed
from scorefield.data import Data
from scorefield.data.conditions import from_lists, read_conditions
from scorefield.data.info import DataInfo
from scorefield.data.readers.arrays import indices, read_npz
from scorefield.denoise import Denoiser, Precision
from scorefield.nets.adapter import merge
from scorefield.process import Schedule
from scorefield.run.adapter import adapter_of, base_place
from scorefield.run.autoencoder import (
    Coded,
    as_prior,
    learns_codes,
    open_autoencoder,
    open_codec,
    without_conditions,
)
from scorefield.run.config import build_denoiser, quicker
from scorefield.run.settings import Config
from scorefield.run.stored import run_settings
from scorefield.run.words import prompt_cond
from scorefield.solve import Solver
from scorefield.store import (
    Folder,
    digest_tensors,
    exists,
    load_weights,
    read_json,
    read_tensors,
    short,
)
from scorefield.store.digest import digest
from scorefield.store.files import to_bytes
from scorefield.tune import FittedGrid


@dataclass(frozen=True)
class Run:
    """A run folder that has been read: settings, info of its data, averaged denoiser, and the
    length of the average where it is not that of training."""

    path: Path
    config: Config
    info: DataInfo
    denoiser: Denoiser
    images_seen: int
    average: float | None = None

    @property
    def schedule(self) -> Schedule:
        """The denoiser's, trained with it where it is a learned one."""
        return cast(Schedule, self.denoiser.schedule)

    def cond(self, texts: Sequence[str], less: str | None = None) -> dict[str, Tensor]:
        """Prompts, and what none of them shall show, as conditions for `generate(cond=...)`."""
        return prompt_cond(self.info.text, self.path, texts, less)

    def seen(self, x0: Tensor) -> dict[str, Tensor]:
        """Pictures as conditions of a decoder of embeddings, which makes variations of them."""
        scaling = self.info.conditions.vector_scaling
        if self.config.data.decoder is None or scaling is None:
            raise BadInput(f"{self.path} is no decoder.", "Train one with `data.decoder`.")
        encoder = build("extractors", self.config.data.decoder)
        if encoder.space != self.info.encoder:
            raise BadInput(
                f"the encoder is {encoder.space}, and that of {self.path} was {self.info.encoder}.",
                "Put the one that it was trained with in its place.",
            )
        return {"vector": scaling.encode(encoder(x0))}

    @cached_property
    def checkpoint(self) -> str:
        """Its images, and a digest of its weights and of what of the settings says how to read
        them, as they were written: by an earlier version too."""
        content = Folder(self.path).config()
        meaning = {**content["config"], "training": None, "sample": None, "data": content["data"]}
        read = json.dumps(meaning, sort_keys=True).encode()
        if self.info.codec and "codec" not in content["data"]:  # a prior that is not learned
            read += self.info.codec.digest.encode()
        weights = to_bytes(self.denoiser.state_dict())
        return f"{self.images_seen:,} images, {short(digest(read + weights))}"


def check_flat(path: str | Path, info: DataInfo) -> None:
    """Raise BadInput of a run that is not on R^n."""
    if info.space:
        raise BadInput(
            f"{path} is a run on {info.kind.plural}, whose steps are not those of R^n.",
            "What there is for it: train, sample, serve, eval, likelihood, report; of letters read "
            "from the left train-classifier.",
            "run",
        )


EXACT: Precision = "fp32"
"""For what walks the flow there and back or sums its divergence: the roundings of a network in
bf16 (1% of what it says) are no smooth function of x, and their error there is not measured."""


def open_run(
    path: str | Path, average: float | None = None, precision: Precision | None = None,
    spaces: bool = False, adapters: str | None = None,
) -> Run:  # fmt: skip
    """Read a run folder whole, or raise BadInput that says what is wrong with it.

    The weights are those averaged in training, or the `average` of that length which
    `scorefield ema` made. The network computes in the `precision`, by default that of training
    where it is the `quicker`. Runs that are not on R^n are for those who know `spaces`. To the
    weights those `adapters` are added that were learned on them, as in "runs/a+runs/b:.5".
    """
    folder, config, info = run_settings(path)
    if not spaces:
        check_flat(path, info)
    if learns_codes(config):
        coded = open_autoencoder(path)
        denoiser, info = as_prior(coded)
        denoiser.eval().requires_grad_(False)
        return Run(folder.path, config, info, denoiser, coded.images_seen)
    (weights,), images_seen = folder.load("ema")
    source = folder.path / "ema.safetensors"
    if average is not None:
        source = folder.path / "averages" / f"{average}.safetensors"
        if not exists(source):
            raise BadInput(
                f"{folder.path} has no average of length {average:g}.",
                f"Make it: scorefield ema {folder.path} `length` {average:g}.",
            )
        weights = read_tensors(source)
    if config.adapter:
        denoiser = open_base(config, info, folder.path)
        added = adapter_of(config.adapter).adapted(denoiser)
        load_weights(added, weights, source)
        merge(added, denoiser)
    else:
        denoiser = build_denoiser(config, info)
        load_weights(denoiser, weights, source)
    folder.check_meaning(source)
    denoiser.eval().requires_grad_(False)
    denoiser.codec = open_codec(folder.path, info)
    denoiser.precision = precision or denoiser.precision
    if adapters:
        add_adapters(denoiser, adapters)
    return Run(folder.path, config, info, denoiser, images_seen, average)


def open_base(config: Config, info: DataInfo, beside: Path | None) -> Denoiser:
    """The denoiser that an adapter is added to, or BadInput if it is another by now."""
    place = base_place(config, beside)
    denoiser = open_run(place, spaces=True).denoiser
    if (now := digest_tensors(denoiser.state_dict())) != info.base:
        raise BadInput(
            f"the weights of {place} are {short(now)}, and the adapter was learned on those of "
            f"{short(info.base)}.",
            "Put the run that it was learned on there.",
            "init",
        )
    denoiser.scaling = None if info.codec else info.scaling
    denoiser.precision = quicker(config.training.precision)
    return denoiser


def add_adapters(denoiser: Denoiser, adapters: str) -> None:
    """Add adapters to the weights that they were learned on, RUN:WEIGHT each and a + between."""
    own = digest_tensors(denoiser.state_dict())
    for text in adapters.split("+"):
        name, _, number = text.strip().partition(":")
        folder, config, info = run_settings(name)
        if config.adapter is None or info.base != own:
            what = "no adapter" if config.adapter is None else "an adapter of another run"
            raise BadInput(f"{name} is {what}.", "Give adapters of this run alone.", "adapters")
        try:
            weight = float(number or 1)
        except ValueError:
            fact = f"`adapters` gives {name} the weight {number}."
            raise BadInput(fact, "Write it like runs/mine:.5.", "adapters") from None
        added = adapter_of(config.adapter).adapted(denoiser, weight)
        load_weights(added, folder.load("ema")[0][0], folder.path / "ema.safetensors")
        merge(added, denoiser)


def load(path: str | Path) -> Denoiser:
    """The averaged denoiser of a run folder, with its `schedule`, `shape` and `classes`."""
    return open_run(path, spaces=True).denoiser


def build_solver(solver: str | Solver, sigma_data: float = 1.0) -> Solver:
    """A solver by its spec, for data of that deviation, or the solver itself."""
    return build("solvers", solver, sigma_data=sigma_data)


def data_of(run: Run | Coded, split: bool = True) -> Data:
    """The data that the run was trained on, or BadInput if they are other data by now; with
    `split`, also if other examples are held out, which then measure nothing."""
    data = run.config.load_data(run.path)
    bare = learns_codes(run.config) and not run.info.classes
    return run.info.same(without_conditions(data) if bare else data, split)


def open_conditions(
    run: Run, given: Path | Mapping[str, Any], field: str = "conditions"
) -> dict[str, Tensor]:
    """The conditions that an .npz file holds, in the model's units, for `generate(cond=...)`:
    `y` (or `label`), `vector`, `image`, `tokens`, as in the file that the run was trained on. Or
    of what such a file would hold, arrays or lists.

    Raises BadInput for a file that cannot be read or does not fit the run.
    """
    info = run.info
    path, arrays = Path(field), {}
    if isinstance(given, Path):
        path, arrays = given, read_npz(given, field)
    else:
        arrays = {key: from_lists(value, key) for key, value in given.items()}
    for key in ("y", "label"):
        if key in arrays and arrays[key].dtype.kind in "US":
            arrays[key] = indices(arrays[key], info.classes, f"'{key}' in '{path}'")
    return read_conditions(path, arrays, info.conditions, info.shape, len(info.classes))


def open_grid(run: Run, name: str) -> str | FittedGrid:
    """A grid by its spec, or one fitted to the run: `NAME` of RUN/grids/NAME.json,
    or a path to such a file.

    Raises BadInput for unknown names, and for a grid that was fitted to another schedule.
    """
    if parsed(name).name in catalogue.grids:
        return name
    file = Path(name) if name.endswith(".json") else run.path / "grids" / f"{name}.json"
    if not exists(file) and parsed(name).name in (known := names("grids")):
        return name
    if not exists(file):
        own = [found.stem for found in Folder(run.path).find("grids/NAME.json")]
        raise unknown("grid", name, [*known, *own])
    grid = FittedGrid.from_json(read_json(file), str(file))
    schedule = run.config.objective.schedule
    if parsed(grid.schedule) != parsed(schedule):
        raise BadInput(
            f"{file} was fitted to the schedule {grid.schedule} and the run's is {schedule}.",
            "Fit one to this run: scorefield fit-grid RUN.",
        )
    return grid


def device() -> str:
    """Where a model computes: the accelerator, if there is one."""
    accelerator = torch.accelerator.current_accelerator()
    return accelerator.type if accelerator and torch.accelerator.is_available() else "cpu"
