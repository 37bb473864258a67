"""A run's `config.json`: how it is written, read back, and compared with the settings of now."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.catalogue.spec import Spec, parsed, renamed, written
from scorefield.data.info import DataInfo
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config, changed
from scorefield.store import Folder, read_json
from scorefield.store.typed import read_typed

SCHEMA = 6
"""Version of `config.json`; a higher one was written by a newer Scorefield. 2: the data's edition,
classes that are present, constant coordinates. 3: the network and the rest are specs.
4: students. 5: autoencoders, and the codecs of runs on latents; models of other programs. 6: names
of options (`catalogue.spec.RENAMED`)."""
LATER = ("codec", "space", "alphabet", "columns", "text", "rate", "deviations", "encoder", "base")
"""Of the data's info, what is written where there is some."""
NAMED = {"objective", "sample"}
"""Settings with specs whose options had other names before schema 6."""
NET = {"name": "auto", "width": 32, "blocks": 2, "multipliers": [1, 2]}
"""The network where a file before schema 3 said nothing else."""
USUAL = {
    "attention": None,
    "norm": "group",
    "norms": 2,
    "patch": 2,
    "heads": 4,
    "features": "sinusoidal",
    "dropout": 0.0,
    "checkpoint": False,
}
"""Settings of a network that schemas before 3 wrote, and that each network has by default."""


def to_json(config: Config, info: DataInfo) -> dict[str, Any]:
    """The content of `config.json`."""
    return {
        "schema": SCHEMA,
        "config": _written(config),
        "data": {k: v for k, v in dataclasses.asdict(info).items() if v or k not in LATER},
    }


def _written(config: Config) -> dict[str, Any]:
    """The settings; of a student, a codec and another source only where there is one."""
    optional = {"codec": ("codec", "latents")}
    optional |= {name: (name,) for name in ("adapter", "student", "source")}
    left = {
        name for key, names in optional.items() if getattr(config, key) is None for name in names
    }
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in left}


def resumed_json(stored: dict[str, Any], config: Config) -> dict[str, Any]:
    """The content of `config.json` of a run that goes on under `config`: what gives the weights
    their meaning stays as it was written, to the letter."""
    now = _written(config)
    free = {group: now[group] for group in ("training", "sample")}
    return {**stored, "config": {**stored["config"], **free}}


def from_json(content: dict[str, Any], source: str) -> tuple[Config, DataInfo]:
    """Settings from the content of `config.json`, or BadInput that names the field at fault."""
    schema = content.get("schema")
    if type(schema) is not int or schema < 1:
        raise BadInput(
            f"{source} has schema {schema!r}.", "Give a folder that `scorefield train` wrote."
        )
    if schema > SCHEMA:
        raise BadInput(
            f"{source} has schema {schema}, this Scorefield reads up to {SCHEMA}.",
            "Upgrade Scorefield: pip install -U scorefield.",
        )
    config = content.get("config")
    if schema < 3 and isinstance(config, dict) and isinstance(old := config.get("net", {}), dict):
        config = {**config, "net": _spec(old)}
    if schema < 6 and isinstance(config, dict):
        config = config | {group: _renamed(config[group]) for group in NAMED & config.keys()}
    return (
        read_typed(Config, config, f"{source}: config"),
        read_typed(DataInfo, content.get("data"), f"{source}: data"),
    )


def _renamed(old: Any) -> Any:
    """Settings whose specs have the options' names of today."""
    if isinstance(old, dict):
        return {key: _renamed(value) for key, value in old.items()}
    return renamed(old) if isinstance(old, str) else old


def _spec(old: dict[str, Any]) -> str:
    """The spec of a network as schemas 1 and 2 wrote it: a field for each option of any."""
    said = NET | {key: value for key, value in old.items() if value != USUAL.get(key, ...)}
    name = str(said.pop("name"))
    net = str(Spec("auto", (), {key: written(value) for key, value in said.items()}))
    return changed(net, "name", name)


def check_folder(folder: Folder, config: Config, resume: bool) -> None:
    """Raise BadInput unless a run of `config` can begin, or go on, in the folder.

    A run without a checkpoint has nothing to lose, so another may begin in its place.
    """
    folder.check_kept()
    if not folder.has_config:
        if folder.has_checkpoint:
            raise BadInput(
                f"{folder.path} has a checkpoint but no config.json.", "Restore the file."
            )
        out = folder.path.resolve()
        if config.data.path and Path(config.data.path).resolve() in (out, *out.parents):
            raise BadInput(
                f"{folder.path} lies in the data {config.data.path}, where its pictures would be "
                "read as data.",
                "Give an `out` elsewhere.",
            )
        return
    stored, _ = stored_settings(folder)
    if not folder.has_checkpoint:
        return
    if not resume:
        raise BadInput(
            f"{folder.path} already holds a run.", "Go on with `resume`, or give another `out`."
        )
    now = config.training
    free = ("images", "checkpoint_every", "checkpoint_minutes", "log_every", "trackers", "compile",
            "micro_batch")  # fmt: skip
    training = dataclasses.replace(stored.training, **{name: getattr(now, name) for name in free})
    before = dataclasses.replace(stored, sample=config.sample, training=training)
    for name, old, new in _differences(before, config):
        raise BadInput(
            f"{folder.path} was started with `{name.removeprefix('training.')}` {old}, "
            f"now it is {new}.",
            "Resume with the same settings, or start anew in another `out`.",
        )


def read_settings(file: Path) -> Config:
    """Settings of a file: a `config.json`, or an object of those that are others than its data's
    recipe has."""
    content = read_json(file)
    if "schema" in content:
        return from_json(content, str(file))[0]
    usual = recipes.get(read_typed(Config, content, f"{file}: settings").data.name, Config)()
    groups = dataclasses.asdict(usual)
    for name, value in content.items():
        groups[name] = groups[name] | value if isinstance(value, dict) else value
    return read_typed(Config, groups, f"{file}: settings")


def stored_settings(folder: Folder) -> tuple[Config, DataInfo]:
    """The configuration that a run folder was started with, and the info of its data."""
    return from_json(folder.config(), str(folder.config_path))


def run_settings(path: str | Path) -> tuple[Folder, Config, DataInfo]:
    """A folder that is a run's, and what that was started with."""
    folder = Folder(Path(path))
    folder.check_run()
    return folder, *stored_settings(folder)


def _differences(a: object, b: object, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    """Fields, and options of the network, in which two configurations differ, with both values."""
    for name in (f.name for f in dataclasses.fields(a)):  # type: ignore[arg-type]
        x, y = getattr(a, name), getattr(b, name)
        if dataclasses.is_dataclass(x):
            yield from _differences(x, y, f"{prefix}{name}.")
        elif name == "net" and (one := parsed(x)) != (two := parsed(y)):
            same = (one.name, one.values) == (two.name, two.values)
            for key in dict.fromkeys((*one.options, *two.options)) if same else ():
                if one.options.get(key) != two.options.get(key):
                    yield f"net.{key}", one.options.get(key), two.options.get(key)
            yield name, x, y
        elif name != "net" and _renamed(x) != _renamed(y):
            yield f"{prefix}{name}", x, y
