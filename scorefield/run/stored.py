"""A run's `config.json`: how it is written, read back, and compared with the settings of now."""

import dataclasses
import types
import typing
from dataclasses import MISSING
from typing import Any, Literal

from scorefield.base import BadInput
from scorefield.run.config import Config, DataFacts
from scorefield.store import Folder

SCHEMA = 2
"""Version of `config.json`; a higher one was written by a newer Scorefield. 2: the data's edition,
classes that are present, constant coordinates."""


def to_json(config: Config, facts: DataFacts) -> dict[str, Any]:
    """The content of `config.json`."""
    return {
        "schema": SCHEMA,
        "config": dataclasses.asdict(config),
        "data": dataclasses.asdict(facts),
    }


def resumed_json(stored: dict[str, Any], config: Config) -> dict[str, Any]:
    """The content of `config.json` of a run that goes on under `config`: what gives the weights
    their meaning stays as it was written, to the letter."""
    now = dataclasses.asdict(config)
    free = {group: now[group] for group in ("training", "sample")}
    return {**stored, "config": {**stored["config"], **free}}


def from_json(content: dict[str, Any], source: str) -> tuple[Config, DataFacts]:
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
    config = _read(Config, content.get("config"), f"{source}: config")
    return config, _read(DataFacts, content.get("data"), f"{source}: data")


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` from JSON as the type `kind`, checked."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise BadInput(f"{where} is not an object.", "Restore the file.")
        hints = typing.get_type_hints(kind)
        if strange := sorted(value.keys() - hints.keys()):
            raise BadInput(f"{where} has an unknown field '{strange[0]}'.", "Remove it.")
        given = {k: _read(hints[k], v, f"{where}.{k}") for k, v in value.items()}
        for f in dataclasses.fields(kind):
            optional = f.default is not MISSING or f.default_factory is not MISSING
            if f.name not in given and not optional:
                raise BadInput(f"{where} has no field '{f.name}'.", "Restore the file.")
        try:
            return kind(**given)  # type: ignore[operator]
        except BadInput as error:
            raise BadInput(f"{where}: {error.fact}", error.remedy) from None
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_read(args[0], v, where) for v in value)
    elif origin is Literal:
        if value in args:
            return value
    elif origin is dict:
        if isinstance(value, dict):
            return value
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif type(value) is kind:
        return value
    raise BadInput(f"{where} is {value!r}.", f"It must be {getattr(kind, '__name__', kind)}.")


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
        return
    stored, _ = stored_settings(folder)
    if not folder.has_checkpoint:
        return
    if not resume:
        raise BadInput(
            f"{folder.path} already holds a run.", "Go on with `resume`, or give another `out`."
        )
    now = config.training
    free = ("images", "checkpoint_every", "log_every", "trackers", "compile")
    training = dataclasses.replace(stored.training, **{name: getattr(now, name) for name in free})
    before = dataclasses.replace(stored, sample=config.sample, training=training)
    if before != config:
        name, old, new = _difference(before, config)
        raise BadInput(
            f"{folder.path} was started with `{name.removeprefix('training.')}` {old}, "
            f"now it is {new}.",
            "Resume with the same settings, or start anew in another `out`.",
        )


def stored_settings(folder: Folder) -> tuple[Config, DataFacts]:
    """The configuration that a run folder was started with, and the facts of its data."""
    return from_json(folder.config(), str(folder.config_path))


def _difference(a: object, b: object, prefix: str = "") -> tuple[str, object, object]:
    """The first field in which two configurations differ, and its two values."""
    for name in (f.name for f in dataclasses.fields(a)):  # type: ignore[arg-type]
        x, y = getattr(a, name), getattr(b, name)
        if x != y:
            if dataclasses.is_dataclass(x):
                return _difference(x, y, f"{prefix}{name}.")
            return prefix + name, x, y
    raise ValueError("equal configurations do not differ")
