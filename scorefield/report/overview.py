"""The page of a run folder: whatever findings lie in it, and what the run itself has to say.

A file that cannot be read costs its own part only; the page says which, and why.
"""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scorefield.base.finding import Figure, Findings, Strip, Table, to_findings
from scorefield.data.info import DataInfo
from scorefield.nets.describe import Summary, describe
from scorefield.report.charts import smooth
from scorefield.report.html import Page, Section, Shot, fragment
from scorefield.report.log import noise, training
from scorefield.report.plane import findings as of_plane
from scorefield.report.wording import compact, duration, number, setting, worded
from scorefield.run.autoencoder import build_autoencoder, coder_network, learns_codes
from scorefield.run.config import build_denoiser, network
from scorefield.run.open import open_run
from scorefield.run.pairs import is_paired
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config
from scorefield.run.stored import stored_settings
from scorefield.store import (
    Folder,
    Reader,
    RunLog,
    exists,
    read_json,
    read_log,
    read_png,
    read_text,
    size_of,
)
from scorefield.store.typed import json_schema
from scorefield.tune import FittedGrid
from scorefield.use.classify import findings as of_classifier
from scorefield.use.classify import open_classifier
from scorefield.use.plane import plane_of
from scorefield.use.reconstruct import latent_space
from scorefield.use.tune import findings as of_grids
from scorefield.use.words import of_words

PICTURES, ROOM = 24, 2_000_000
"""Most pictures of progress on a page, and most bytes of them."""
HEADLINES = ("Frechet distance", "Class agreement")
"""Figures that stand at the top of the page."""
PLACES = (
    ("measures", "Measures", "eval.json", "eval", "Not measured yet."),
    ("spaces", "Measured in other features", "eval-SPACE.json", "eval", ""),
    ("solvers", "Solvers", "compare/compare.json", "compare", "No solvers were compared yet."),
    ("grids", "Fitted grids", "grids/NAME.json", "fit-grid", "No grid was fitted to it yet."),
    ("likelihood", "Likelihood", "likelihood/NAME.json", "likelihood", ""),
    ("restorations", "Restorations", "restore/restore.json", "restore", ""),
    ("classifier", "Classifier of noisy samples", "classifier.json", "train-classifier", ""),
)  # fmt: skip
"""(anchor, title, files, the command that writes them, what is said where there are none)."""


class Known(NamedTuple):
    """What the page says of a run's own files."""

    path: str
    config: Config
    usual: Config
    info: DataInfo
    size: Summary
    images_seen: int
    checkpoint: bool
    log: RunLog

    def missing(self, key: str, title: str, fact: str, command: str) -> Section:
        """A section that says what to run."""
        if not self.checkpoint:
            return Section(key, title, note=f"{fact} The first checkpoint must come before.")
        next = f"scorefield {command} {shlex.quote(self.path)}"
        return Section(key, title, note=f"{fact} Next:", next=next)


def overview(path: Path, resume: tuple[str, str] = ("", ""), sampled: bool = False) -> Page:
    """What a page says of the run at `path`, as far as the run has come.

    `resume`: the command by which training goes on, with `{recipe}` and `{path}` in it, and that of
    a student, with `{teacher}` and `{method}`. `sampled`: show the plane of a model of its points
    too, which takes seconds.
    """
    folder, reader = Folder(path), Reader(path)
    config, info = stored_settings(folder)
    recipe = config.data.name
    log = reader.one("log.jsonl", lambda file: read_log(read_text(file))) or RunLog()
    seen = folder.images_seen() if folder.has_checkpoint else int(max(log.images, default=0))
    about = _size(config, info)
    usual = recipes[recipe]() if recipe in recipes else Config()
    run = Known(str(path), config, usual, info, about, seen, folder.has_checkpoint, log)
    paired = is_paired(config, info)
    unasked = ("eval",) * paired + ("compare", "fit-grid") * (paired or bool(info.space))
    places = [
        (*place[:4], "" if place[3] in unasked else place[4])
        for place in (PLACES[:1] if learns_codes(config) else PLACES)
    ]
    found = [(place, _found(reader, place[2])) for place in places]
    own = [_film(run, _shots(reader)), *(_section(run, *place) for place in found)]
    own[2:2] = _logged(run)
    if sampled and tuple(info.shape) == info.inner == (2,) and run.checkpoint:
        shown = reader.read(path, lambda path: of_plane(plane_of(open_run(path)), str(path)))
        own[1:1] = [Section("plane", "The plane", (shown,))] if shown else []
    if sampled and learns_codes(config) and run.checkpoint:
        shown = reader.read(path, latent_space)
        own[1:1] = [Section("latents", "Latents", (shown,))] if shown else []
    if sampled and info.conditions.keys == ["tokens"] and info.text and run.checkpoint:
        shown = reader.read(path, lambda path: of_words(open_run(path)))
        own[1:1] = [Section("words", "Words", (shown,))] if shown else []
    sections = [s for s in own if s] + [_settings(run)]
    total, quoted = config.training.images, shlex.quote(str(path))
    state, next = f"Trained on {seen:,} images", ""
    if seen < total:
        state = f"At {seen:,} of {total:,} images."
        whose = {"teacher": s.teacher, "method": s.method} if (s := config.student) else {}
        words = {key: shlex.quote(text) for key, text in {"recipe": recipe, **whose}.items()}
        next = resume[bool(whose)].format(path=quoted, **words)
    return Page(
        path.resolve().name, seen, state, next, _headline(run),
        f"scorefield report {quoted}", tuple(_summary(run, found[0][1])),
        tuple(sections), tuple(reader.left_out),
    )  # fmt: skip


def _size(config: Config, info: DataInfo) -> Summary:
    if learns_codes(config):
        return describe(build_autoencoder(config, info), info.shape)
    denoiser = build_denoiser(config, info)
    return describe(denoiser.net, denoiser.net_shape)  # type: ignore[arg-type]


def summary(path: Path) -> str:
    """A run as a notebook shows it: what it is and what was measured of it."""
    page = overview(path)
    first = Findings("run", str(path), page.lead, (Table("", ("", "", ""), page.summary),))
    measured = next(s.findings for s in page.sections if s.key == "measures")
    return "".join(fragment(found) for found in (first, *measured))


def _found(reader: Reader, entry: str) -> tuple[Findings, ...]:
    """What lies in the files of an entry, with the pictures beside them."""
    if entry.startswith("grids"):
        grids = reader.every(entry, lambda f: FittedGrid.from_json(read_json(f), str(f)))
        return (of_grids(grids, str(reader.folder.path)),) if grids else ()
    return tuple(reader.every(entry, _read).values())


def _read(file: Path) -> Findings:
    if file.name == "classifier.json":
        return of_classifier(open_classifier(file.parent).about, str(file.parent))
    found = to_findings(read_json(file), str(file))
    items = list(found.items)
    for k, item in enumerate(items):
        if isinstance(item, Strip) and item.file and exists(file.parent / item.file):
            items[k] = dataclasses.replace(item, png=read_png(file.parent / item.file))
    return dataclasses.replace(found, items=tuple(items))


def _shots(reader: Reader) -> tuple[Shot, ...]:
    """Pictures of progress, by images seen: as many as have room, first and last among them."""
    files = sorted(reader.folder.find("samples/IMAGES.png"), key=lambda file: int(file.stem))
    sizes = {file: size_of(file) for file in files}
    for most in range(PICTURES, 1, -1):
        files = spread_evenly(files, most)
        if sum(sizes[file] for file in files) <= ROOM:
            break
    found = ((int(f.stem), reader.read(f, read_png)) for f in files)
    return tuple(Shot(images, png) for images, png in found if png)


def _film(run: Known, shots: tuple[Shot, ...]) -> Section:
    if not shots:
        fact = "No pictures of progress yet: training leaves one at each checkpoint."
        return run.missing("samples", "Samples", fact, "sample")
    s, many = run.config.sample, len(shots) > 1
    if learns_codes(run.config):
        note = "Held-out examples, each row above what the averaged weights make of it."
        return Section("samples", "Reconstructions", note=note, film=shots)
    note = "The same seeds at each checkpoint" if many else "Samples at the first checkpoint"
    note += f", drawn with the averaged weights: {s.solver}, {s.steps} steps, "
    note += f"guidance {s.guidance:g}."
    return Section("samples", "Samples", note=note, film=shots)


def _section(run: Known, place: tuple[str, ...], found: tuple[Findings, ...]) -> Section | None:
    key, title, _, command, missing = place
    if not found:
        return run.missing(key, title, missing, command) if missing else None
    old = sorted({f.record.get("images_seen", run.images_seen) for f in found} - {run.images_seen})
    if not old:
        return Section(key, title, found)
    at = ", ".join(f"{images:,}" for images in old)
    note = f"Measured at {at} images; the run is at {run.images_seen:,}. Again:"
    return Section(key, title, found, note, f"scorefield {command} {shlex.quote(run.path)}")


def _logged(run: Known) -> list[Section]:
    curves = training(run.log, run.path, run.config.training.clip) if run.log.images else None
    empty = "The log is empty: training writes to it as it goes."
    old = "This run did not log its loss by noise level: it was trained before that was done, or "
    old += "has no row yet."
    rows = ("training", "Training", curves, empty), (
        "noise", "Noise levels", noise(run.log, run.path), old
    )  # fmt: skip
    return [
        Section(key, title, (found,)) if found else Section(key, title, note=note)
        for key, title, found, note in rows[: 1 if learns_codes(run.config) else None]
    ]


def _settings(run: Known) -> Section:
    """Every setting beside the recipe's, those that differ with a dot."""
    tables, changed = [], 0
    for group, rows in settings(run.config, run.usual):
        changed += sum(bool(row[2]) for row in rows)
        head = ("setting", "value", "recipe", "what it is")
        tables.append(Table(group.capitalize(), head, tuple(rows)))
    which = {0: "All settings are", 1: "1 setting differs from"}
    differ = which.get(changed, f"{changed} settings differ from")
    how = f"{differ} those of the recipe {run.config.data.name}."
    found = Findings("train", run.path, how, tuple(tables))
    return Section("configuration", "Configuration", (found,))


def settings(config: Config, usual: Config) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The groups of a configuration, each with rows of (name, value, the recipe's if it differs,
    what it is)."""
    words = json_schema(Config)["$defs"]
    for group in dataclasses.fields(config):
        mine, theirs = getattr(config, group.name), getattr(usual, group.name)
        if mine is None:
            continue
        theirs = type(mine)() if theirs is None and not isinstance(mine, str) else theirs
        if isinstance(mine, str):  # a spec, a run
            yield group.name, [_setting(group.name, mine, theirs, words["Config"])]
            continue
        prefix = "" if group.name == "training" else f"{group.name}."
        own = words[type(mine).__name__]
        rows = [_setting(k, v, getattr(theirs, k), own, prefix) for k, v in vars(mine).items()]
        yield group.name, rows


def _setting(
    name: str, value: object, usual: object, words: Mapping[str, Any], prefix: str = ""
) -> tuple[str, ...]:
    text = " ".join(words["properties"][name]["description"].split())
    flag = f"{prefix}{name}".replace("_", "-")
    if value == usual:
        return flag, setting(value), "", text
    return f"● {flag}", setting(value), setting(usual), text


def spread_evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, first and last among them.

    >>> spread_evenly(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _headline(run: Known) -> str:
    """The run in one sentence."""
    info, config = run.info, run.config
    shape = "×".join(str(n) for n in info.shape)
    classes = f", {len(info.classes)} classes" if info.classes else ""
    on = f"of {compact(run.size.parameters)} parameters on {info.name} ({shape}{classes})"
    if learns_codes(config):
        return f"A {coder_network(config, info.shape).name} {on}: {config.objective.kind}."
    learned = f" A student of {s.teacher} by {s.method}." if (s := config.student) else ""
    inner = "×".join(map(str, info.inner))
    latents = f", on latents {inner} of {config.codec}" if info.codec else ""
    return (
        f"A {network(config.net, info).name} {on}{latents}, {config.objective.view} on the "
        f"{config.objective.schedule} schedule.{learned}"
    )


def _summary(run: Known, measured: tuple[Findings, ...]) -> Iterator[tuple[str, str, str]]:
    log, about = run.log, run.size
    yield "Images seen", compact(run.images_seen), f"batches of {run.config.training.batch:,}"
    if log.seconds:
        speed = compact(max(log.images, default=0) / log.seconds)
        yield "Training time", duration(log.seconds), f"{speed} images a second"
    if losses := [v for v in smooth(log.loss) if v == v]:
        first = f"from {number(losses[0])}, smoothed" if len(losses) > 1 else "smoothed"
        yield "Loss", number(losses[-1]), first
    yield "Parameters", compact(about.parameters), f"{about.parameters:,}"
    work = compact(3 * about.flops_per_sample * run.images_seen, "FLOP")
    words = f"training: about {work}" if run.images_seen else "for one sample"
    yield "Network call", compact(about.flops_per_sample, "FLOP"), words
    for f in (item for found in measured for item in found.items):
        if isinstance(f, Figure) and f.name in HEADLINES and f.floor is not None:
            real = worded(f.floor, None, f.unit)
            yield f.name, worded(f.value, None, f.unit), f"real data {real}"
