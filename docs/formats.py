"""Files, environment and exit codes, as a page of the reference: made of the types they are of."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from scorefield.base.finding import KINDS, Line, Mark
from scorefield.data.info import DataInfo
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config
from scorefield.run.stored import SCHEMA
from scorefield.store import ENTRIES
from scorefield.store.typed import json_schema

ENVIRONMENT = {
    "OMP_NUM_THREADS": "threads of one network call; two processes on one machine want 1 each",
    "OMP_WAIT_POLICY": "`passive` unless it is set: threads that spin while they wait fight over "
    "the cores",
    "CUDA_VISIBLE_DEVICES": "which GPUs there are",
    "SCOREFIELD_TOKEN": "the secret of `scorefield serve`, which `--host` needs",
    "SCOREFIELD_BROWSER": "a Chromium for the tests of pages",
}
EXITS = {
    0: "done",
    1: "a bug of ours: please report the lines above it",
    2: "a mistake that you can mend: one sentence of fact, one of remedy",
    130: "stopped by Ctrl-C or SIGTERM; what was done is kept",
}
OTHERS = {
    "state.json": "`images_seen`, `sha256` of each part by its name, `digest`: a checkpoint is "
    "what this file says, and parts that do not agree with it are not read",
    "log.jsonl": "a JSON object a line: `images`, `loss`, `lr`, `grad_norm`, "
    "`images_per_second`, `seconds`, `memory_mb`, `by_logsnr` (losses by level)",
    "*.safetensors": "tensors by the names of the network's parameters",
    "*.npz of samples": "`x` (N, ...) in the data's own units, `seed` (N,), of classes `y` (N,)",
    "*.npz of data": "`x` (N, ...), and of each example what is known: `y`, `vector`, `image`, "
    "`tokens`; `x_test` and so on are held out ([conditions](../conditions.md))",
    "*.png of samples": "a text chunk, JSON of `run`, `order`, `job`: for `sample --like`",
}
"""What files hold that have no type."""
HIDDEN = ("x0", "labels", "png", "key")
"""Of findings, what JSON does not keep."""
PAGE = """# Files, environment, exit codes

## A run folder

{folder}

## config.json

`{{"schema": {schema}, "config": ..., "data": ...}}`. Under `config` are the settings, of which each
is a flag of `scorefield train` by the same name (`--data.path`; those of `training` without that
word: `--batch`). {{download}}`JSON Schema <config.schema.json>`.

{config}

Under `data` is what a run must know of its data to be used without them.
{{download}}`JSON Schema <data.schema.json>`.

{data}

## Findings

What a verb found, as `--json` prints it and `eval.json`, `compare/compare.json` and their like keep
it: `verb`, `run`, `how` and `items`, and beside these some figures under keys of their own. An item
says its `kind`. Numbers are finite or null.

{findings}

## Others

{others}

## Environment

{environment}

## Exit codes

{exits}
"""


def page() -> str:
    """Everything that stands in a file or an environment."""
    config = table(settings(recipes["digits"]()), "key", "type", "of `digits`", "what it is")
    known = json_schema(DataInfo)["properties"].items()
    data = ((name, named(field), field["description"]) for name, field in known)
    items = {**KINDS, "(line)": Line, "(mark)": Mark}.items()
    kinds = ((kind, ", ".join(kept(made)), first(made)) for kind, made in items)
    return PAGE.format(
        folder=table(ENTRIES, "file", "command", "content"),
        schema=SCHEMA,
        config=config,
        data=table(data, "key", "type", "what it is"),
        findings=table(kinds, "kind", "keys", "what it is"),
        others=table(OTHERS.items(), "file", "what it holds"),
        environment=table(ENVIRONMENT.items(), "variable", "what it does"),
        exits=table(EXITS.items(), "code", "meaning"),
    )


def kept(kind: type) -> Iterator[str]:
    """The keys of an item in JSON."""
    return (field.name for field in dataclasses.fields(kind) if field.name not in HIDDEN)


def schemas() -> dict[str, str]:
    """JSON Schemas by the names of their files."""
    kinds = {"config": Config, "data": DataInfo}
    return {f"{k}.schema.json": json.dumps(json_schema(v), indent=1) for k, v in kinds.items()}


def table(rows: Iterable[Iterable[object]], *head: str) -> str:
    """Markdown; what stands first in a row is code."""
    cells = ([" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in rows)
    lines = ([f"`{name}`", *more] for name, *more in cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines])


def settings(example: Any, above: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, type, value in an example and text of each setting, those of groups in their place."""
    for name, field in json_schema(type(example))["properties"].items():
        value = getattr(example, name)
        if dataclasses.is_dataclass(value):
            yield from settings(value, f"{above}{name}.")
        else:
            shown = f"`{json.dumps(value)}`"
            yield f"{above}{name}", named(field), shown, field.get("description", "")


def named(field: dict[str, Any]) -> str:
    """The type of a field in words."""
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " or ".join(named(one) for one in field["anyOf"])
    if field.get("type") == "array" and "items" in field:
        return f"list of {named(field['items'])}"
    return field.get("type", "any")


def first(kind: type) -> str:
    """The first paragraph of a docstring."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
