"""What `scorefield train` starts from: a recipe, a file or the run's own settings, and the flags
that change them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from scorefield import catalogue
from scorefield.base.errors import BadInput
from scorefield.catalogue.spec import options as spec_options
from scorefield.cli.ending import flagged
from scorefield.cli.flags import Spoken, Switch
from scorefield.cli.frame import note
from scorefield.run.recipes import recipe, recipes
from scorefield.run.settings import Config, changed

USAGE = """usage: scorefield train RECIPE [--out DIR] [--images N] [--resume] [--seed S] ...
       scorefield train --config FILE [--out DIR] ...

recipes:
{recipes}

examples:
  scorefield train digits
  scorefield train digits --images 50000 --lr 1e-3 --out runs/quick
  scorefield train digits --out runs/quick --images 100000 --resume
  scorefield train folder --data.path photos --data.size 32 --out runs/photos
  scorefield train --config runs/quick/config.json --lr 2e-3 --out runs/other
  scorefield train folder --data.path cats --data.size 32 --init runs/photos --out runs/cats
  scorefield train folder --data.path mine --data.size 32 --init runs/photos --adapter rank=4
      --images 20000 --out runs/mine

scorefield train RECIPE --help lists every setting with the recipe's value."""


class Options(Spoken):
    """Train a model. The run folder gets config.json, checkpoints (safetensors), log.jsonl and
    pictures of progress in samples/. Ctrl-C stops after the current step with a checkpoint;
    --resume goes on, also after a crash.

    example: scorefield train digits --images 50000 --out runs/quick
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Annotated[Path, tyro.conf.arg(help="Run folder.")]
    resume: Switch = False
    """Go on from the run folder's last checkpoint."""


def usage() -> str:
    """What may be trained, a line for each recipe."""
    rows = (f"  {k:<26}{flagged((v.__doc__ or '').splitlines()[0])}" for k, v in recipes.items())
    return USAGE.format(recipes="\n".join(rows))


def starting(argv: list[str]) -> tuple[str, list[str], Options]:
    """The name of what is trained, the flags that are left to read, and the settings that they
    change."""
    name, *flags = argv
    word, equals, value = name.partition("=")
    if word == "--config":
        if not value and (equals or not flags):
            raise BadInput("`config` names no file.", "Give it one, such as RUN/config.json.")
        from scorefield.run.stored import read_settings

        file = Path(value if equals else flags.pop(0))
        config = read_settings(file)
        name = config.data.name
    elif name.startswith("-"):
        raise BadInput(
            f"the recipe comes first, before {name}.",
            "Try: scorefield train digits, or scorefield train --config FILE.",
        )
    else:
        config = recipe(name)
    out = Path("runs") / name
    if "--resume" in flags:
        out = Path(_value_of("--out", flags, str(out)))
        config = _resumed(name, config, out, flags)
    config, flags = _with_net(config, flags)
    return name, flags, Options(config=config, out=out)


def of_flag(error: BadInput) -> BadInput:
    """The error of a setting by the name of its flag: `lr is nan` is said of `--lr`."""
    word, _, rest = error.fact.partition(" is ")
    word = word.removeprefix("the ")
    if not rest or word not in (names := _flags()):
        return error
    return BadInput(f"`{names[word]}` is {rest}", error.remedy)


def _flags() -> Mapping[str, str]:
    nets = (o.name for n in catalogue.networks for o in spec_options("networks", n))
    named = {"condition dropout": "objective.dropout", "guidance scale": "sample.guidance"}
    named |= {name: f"net.{name}" for name in nets}
    for group in ("sample", "training"):
        before = "" if group == "training" else f"{group}."
        kind = type(getattr(Config(), group))
        named |= {field.name: f"{before}{field.name}" for field in fields(kind)}
    return named


def _with_net(config: Config, flags: list[str]) -> tuple[Config, list[str]]:
    """What `--net SPEC` and `--net.KEY VALUES` say, as one spec; and the other flags."""
    said: dict[str, str] = {}
    rest: list[str] = []
    words = list(flags)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word != "--net" and not word.startswith("--net."):
            rest.append(f"{word}{equals}{value}")
            continue
        values = [value] if equals else []
        while not equals and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        key = word.removeprefix("--net").removeprefix(".").replace("-", "_")
        switch = key.removeprefix("no_") == "checkpoint" and not values
        empty = {"checkpoint": "yes", "no_checkpoint": "no"}[key] if switch else "()"
        if not values and not switch and key not in ("attention", "multipliers"):
            raise BadInput(f"what follows {word} is empty.", "Give it a value, or leave it out.")
        said[key.removeprefix("no_") if switch else key] = "-".join(values) or empty
    net = said.pop("", config.net)
    for key in sorted(said, key=lambda key: key != "name"):
        net = changed(net, key, said[key])
    return replace(config, net=net), rest


def _resumed(name: str, started: Config, out: Path, flags: list[str]) -> Config:
    """The settings that the run in a folder was started with, or those of the recipe."""
    from scorefield.run.stored import stored_settings
    from scorefield.store import Folder

    folder = Folder(out)
    folder.check_kept()
    if not folder.has_checkpoint:
        note(f"{folder.path} has no checkpoint: a new run starts there.")
    if not folder.has_config:
        return started
    stored, _ = stored_settings(folder)
    asked = _value_of("--data.name", flags, started.data.name)
    if stored.data.name != asked:
        raise BadInput(
            f"{folder.path} is a run on {stored.data.name}, the recipe {name} is for {asked}.",
            "Name the recipe that the run was started with, or give another `out`.",
        )
    return stored


def _value_of(flag: str, flags: list[str], default: str) -> str:
    """The value of a flag that is needed before the flags are read."""
    for word, after in zip(flags, [*flags[1:], ""]):
        if word == flag and after:
            return after
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return default
