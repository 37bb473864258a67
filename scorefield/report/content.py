"""What a report says of a run, as plain values: read from what a run folder's files hold."""

import ast
import dataclasses
import inspect
import json
import math
import struct
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scorefield.base import BadInput
from scorefield.nets.describe import Summary
from scorefield.report.likelihood import Likelihood
from scorefield.report.wording import compact, number, plus_minus, share
from scorefield.run.config import Config, DataFacts, network
from scorefield.tune import FittedGrid

PNG = b"\x89PNG\r\n\x1a\n"
BUCKET = 1.0
"""Half the width of a bucket of logsnr in the log."""


@dataclass(frozen=True)
class Log:
    """The rows of `log.jsonl` as columns of equal length; NaN where a row lacks a figure."""

    images: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    lr: tuple[float, ...] = ()
    grad_norm: tuple[float, ...] = ()
    images_per_second: tuple[float, ...] = ()
    memory_mb: tuple[float, ...] = ()
    by_logsnr: tuple[tuple[float, tuple[float, ...]], ...] = ()
    """(middle of a bucket of logsnr, its mean losses), by rising logsnr."""
    seconds: float = 0.0
    """Spent on training, over all resumptions."""


class Picture(NamedTuple):
    """A PNG: the same seeds as its neighbours, after so many images."""

    images: int
    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Measure:
    """A figure of the samples beside what real data get. Spreads are (low, high)."""

    name: str
    value: float
    shown: str
    floor: float | None
    floor_shown: str
    most: float
    """End of its scale, which begins at 0."""
    verdict: str
    words: str
    spread: tuple[float, float] | None = None
    floor_spread: tuple[float, float] | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `scorefield eval` found, and how."""

    images_seen: int
    measures: tuple[Measure, ...]
    how: str
    weakest: str


class Point(NamedTuple):
    """A solver at a count of steps; figures that do not apply are None."""

    steps: int
    calls: float
    distance: tuple[float, float] | None
    frechet: tuple[float, float] | None
    agreement: float | None


class Contender(NamedTuple):
    """A solver in a comparison."""

    name: str
    stochastic: bool
    points: tuple[Point, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Contest:
    """What `scorefield compare` found, and how."""

    images_seen: int
    contenders: tuple[Contender, ...]
    floor: tuple[float, float] | None
    """Frechet distance of real data and its deviation."""
    flow: float | None
    """Frechet distance of the flow itself."""
    error: float
    """How exactly the flow is known."""
    how: str
    strips: Picture | None = None


@dataclass(frozen=True)
class Content:
    """All that a page says. `path` is how commands name the run."""

    name: str
    path: str
    recipe: str
    config: Config
    usual: Config
    """The recipe's own settings."""
    facts: DataFacts
    size: Summary
    images_seen: int
    checkpoint: bool = True
    """Whether there is one to sample from."""
    log: Log = Log()
    pictures: tuple[Picture, ...] = ()
    evaluation: Evaluation | None = None
    contest: Contest | None = None
    grids: tuple[tuple[str, FittedGrid], ...] = ()
    likelihood: Likelihood | None = None
    left_out: tuple[str, ...] = ()
    """What files of the folder could not be read, and why."""

    @property
    def finished(self) -> bool:
        return self.images_seen >= self.config.training.images


def read_log(text: str) -> Log:
    """The log of a run, which may still be growing: what is not a whole row is left out.

    >>> read_log('{"images": 10, "loss": 2.0, "seconds": 1.5}\\n{"images": 20, "lo').loss
    (2.0,)
    """
    rows = [row for line in text.splitlines() if (row := _row(line))]
    seconds = before = 0.0
    for row in rows:
        now = _figure(row.get("seconds"))
        if math.isfinite(now):
            seconds += now - before if now >= before else now  # a resumed run counts from 0 again
            before = now
    columns = {
        name: tuple(_figure(row.get(name)) for row in rows)
        for name in ("images", "loss", "lr", "grad_norm", "images_per_second", "memory_mb")
    }
    buckets = [row["by_logsnr"] if isinstance(row.get("by_logsnr"), dict) else {} for row in rows]
    names = {name for bucket in buckets for name in bucket if math.isfinite(_figure(name))}
    by_logsnr = tuple(
        (float(name), tuple(_figure(bucket.get(name)) for bucket in buckets))
        for name in sorted(names, key=float)
    )
    return Log(**columns, by_logsnr=by_logsnr, seconds=seconds)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and math.isfinite(_figure(row.get("images"))) else None


def _figure(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


def real(value: Any) -> float:
    """A finite number of JSON, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def read_picture(images: int, content: bytes, source: str) -> Picture:
    """A picture and its size, or BadInput if it is no PNG."""
    if content[:8] != PNG or len(content) < 24:
        raise BadInput(f"{source} is not a PNG picture.", "Delete it, or restore it.")
    return Picture(images, content, *struct.unpack(">II", content[16:24]))


def read_evaluation(content: Mapping[str, Any], source: str) -> Evaluation:
    """The content of `eval.json`, or BadInput if something is missing."""
    try:
        return _evaluation(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(
            f"{source} does not hold what `scorefield eval` writes.", "Measure again, or delete it."
        ) from error


def _evaluation(r: Mapping[str, Any]) -> Evaluation:
    near = r["memorisation"]
    names = ("value", "value_std", "floor", "floor_std")
    frechet = {**r["frechet"], **{name: real(r["frechet"][name]) for name in names}}
    spread, floor_spread = (
        (max(0.0, v - s), v + s)
        for v, s in (
            (frechet["value"], frechet["value_std"]),
            (frechet["floor"], frechet["floor_std"]),
        )
    )
    times = f"{number(frechet['value'] / frechet['floor'])} × the floor" if frechet["floor"] else ""
    measures = [
        Measure(
            "Frechet distance",
            frechet["value"],
            plus_minus(frechet["value"], frechet["value_std"]),
            frechet["floor"],
            number(frechet["floor"]),
            1.15 * max(spread[1], floor_spread[1]) or 1.0,
            times,
            f"Between {frechet['n']:,} samples and as many held-out examples, each taken as a "
            f"Gaussian in {r['feature_space']}. Lower is better. Training examples, which are "
            "real, get the floor.",
            spread,
            floor_spread,
        )
    ]
    for key, words in (
        ("precision", "Share of samples that lie among real examples: can they be believed?"),
        ("recall", "Share of real examples that lie among samples: is nothing left out?"),
    ):
        model, floor = real(r["precision_recall"][key]), real(r["precision_recall_real"][key])
        measures.append(
            Measure(key.capitalize(), model, share(model), floor, share(floor),
                    max(1.0, model, floor), _points(model - floor), words)
        )  # fmt: skip
    weakest = ""
    if r["agreement"]:
        total = {key: real(r["agreement"]["total"][key]) for key in ("share", "low", "high")}
        held_out = (r["agreement_real"] or {}).get("total")
        floor = None if held_out is None else real(held_out["share"])
        words = "Share of samples that a judge sees as the class that was asked for, with its 95% "
        words += "interval."
        if r["judge"]:
            words += f" The judge is right about {share(r['judge']['accuracy'])} of held-out data."
        measures.append(
            Measure("Class agreement", total["share"], share(total["share"]), floor,
                    "" if floor is None else share(floor), 1.0,
                    "" if floor is None else _points(total["share"] - floor), words,
                    (total["low"], total["high"]))
        )  # fmt: skip
        per_class = r["agreement"]["per_class"].items()
        asked = [(name, real(c["share"])) for name, c in per_class if c]  # few ask for few
        classes = sorted(asked, key=lambda c: c[1])
        named = [f"{name} ({share(right)})" for name, right in classes if right < 1]
        weakest = f"Weakest classes: {', '.join(named[:5])}." if named else ""
    if near["ratio"] is not None:
        nearest = share(real(near.get("near_real", 0.01)))  # 1%: files of before it was told
        ratio = real(near["ratio"])
        measures.append(
            Measure("Distance to training data", ratio, number(ratio), 1.0, "1",
                    max(1.25, 1.1 * ratio), "",
                    "Mean distance from a sample to the nearest training example, over that of "
                    "held-out data. Copies would bring it towards 0. As near as the nearest "
                    f"{nearest} of held-out examples: {share(real(near['near']))} of samples, "
                    f"where real data get {nearest}.")
        )  # fmt: skip
    how = (
        f"{r['n_samples']:,} samples of {r['solver']}, {r['steps']} steps on {_grid_name(r)}, "
        f"guidance {r['guidance']:g}: {r['network_calls']} network calls each, "
        f"{r['samples_per_second']:g} samples a second. Held out: {r['n_test']:,} examples of "
        f"{r['data']}."
    )
    return Evaluation(int(r["images_seen"]), tuple(measures), how, weakest)


def _grid_name(r: Mapping[str, Any]) -> str:
    return r["grid"] if isinstance(r["grid"], str) else "a fitted grid"


def _points(difference: float) -> str:
    """A difference of shares in words."""
    points = abs(100 * difference)
    if points < 0.05:
        return "as real data"
    return f"{points:.1f} points {'above' if difference > 0 else 'below'} real data"


def read_contest(content: Mapping[str, Any], source: str, strips: Picture | None) -> Contest:
    """The content of `compare.json`, or BadInput if something is missing."""
    try:
        return _contest(content, strips)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(
            f"{source} does not hold what `scorefield compare` writes.",
            "Compare again, or delete it.",
        ) from error


def _contest(r: Mapping[str, Any], strips: Picture | None) -> Contest:
    contenders = []
    for name in dict.fromkeys(cell["name"] for cell in r["cells"]):
        cells = sorted((c for c in r["cells"] if c["name"] == name), key=lambda c: c["steps"])
        points = tuple(_point(c) for c in cells if c["failure"] is None)
        failed = tuple(f"{c['steps']} steps: {c['failure']}" for c in cells if c["failure"])
        contenders.append(Contender(str(name), any(c["stochastic"] for c in cells), points, failed))
    flow = r["reference"]["quality"]
    guided = ", two for each guided step" if r["calls_per_eval"] == 2 else ""
    return Contest(
        int(r["images_seen"]),
        tuple(contenders),
        _frechet(r["real"]),
        None if flow is None else real(flow["frechet"]),
        real(r["reference"]["error"]),
        f"{r['n']:,} samples of each from the same seeds, guidance {r['guidance']:g}. Calls are "
        f"those of the network for a sample{guided}. Frechet distance of {r['frechet_n']:,} "
        f"samples in {r['feature_space']}.",
        strips,
    )


def _point(cell: Mapping[str, Any]) -> Point:
    distance, quality = cell["distance"], cell["quality"]
    agreement = None if quality is None else quality["agreement"]
    steps, calls = int(cell["steps"]), real(cell["calls"])
    if steps < 1 or calls <= 0:
        raise ValueError("no step, or no call")
    return Point(
        steps,
        calls,
        None if distance is None else (real(distance["mean"]), real(distance["stderr"])),
        _frechet(quality),
        None if agreement is None else real(agreement["share"]),
    )


def _frechet(quality: Mapping[str, Any] | None) -> tuple[float, float] | None:
    if quality is None:
        return None
    return real(quality["frechet"]), real(quality["frechet_std"])


class Setting(NamedTuple):
    """One setting: its flag, value, the recipe's value and what it is."""

    flag: str
    value: Any
    usual: Any
    words: str

    @property
    def changed(self) -> bool:
        return self.value != self.usual


def settings(config: Config, usual: Config) -> Iterator[tuple[str, list[Setting]]]:
    """The groups of a configuration, each with its settings, beside the recipe's."""
    for group in dataclasses.fields(config):
        mine, theirs = getattr(config, group.name), getattr(usual, group.name)
        if isinstance(mine, str):  # a spec
            words = field_words(type(config))[group.name]
            yield group.name, [Setting(f"--{group.name}", mine, theirs, words)]
            continue
        prefix = "" if group.name == "training" else f"{group.name}."
        words = field_words(type(mine))
        yield group.name, [
            Setting(f"--{prefix}{field.name}".replace("_", "-"), getattr(mine, field.name),
                    getattr(theirs, field.name), words.get(field.name, ""))
            for field in dataclasses.fields(mine)
        ]  # fmt: skip


def field_words(kind: type) -> dict[str, str]:
    """The strings that stand below the fields of a dataclass.

    >>> from scorefield.run.config import DataConfig
    >>> field_words(DataConfig)["name"]
    'A registered set, a folder of pictures, or an .npz file.'
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, words in zip(body.body, body.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(words, ast.Expr)
            and isinstance(words.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(words.value.value).split())
    return found


def spread_evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, first and last among them.

    >>> spread_evenly(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def headline(content: Content) -> str:
    """The run in one sentence."""
    c = content
    net = network(c.config.net, c.facts).name
    shape = "×".join(str(n) for n in c.facts.shape)
    classes = f", {len(c.facts.classes)} classes" if c.facts.classes else ""
    return (
        f"A {net} of {compact(c.size.parameters)} parameters on {c.facts.name} ({shape}{classes}), "
        f"{c.config.objective.view} on the {c.config.objective.schedule} schedule."
    )
