"""Runs beside one another: quality, coverage, seconds a sample and the cost of training.

No model is best at all of them (Xiao et al. 2022, "Tackling the generative learning trilemma"): a
VAE is quick and covers, a GAN is quick and sharp, diffusion is sharp and covers. Every run is
measured on the same seeds, against the same real data, by one judge, as it itself is sampled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Watch, quiet
from scorefield.base.finding import Figure, Findings, Line, Mark, Series, Strip, Table, Value, ends
from scorefield.base.rank import front, ranks, within_floor
from scorefield.catalogue.spec import parsed
from scorefield.data import Data
from scorefield.measure import Judge, Reference
from scorefield.measure.extractor import Extractor
from scorefield.run.autoencoder import learns_codes
from scorefield.run.open import Run, data_of
from scorefield.store import trained_seconds
from scorefield.use.evaluate import measures_of
from scorefield.use.generate import decoded
from scorefield.use.judge import extractor_of, judge_of
from scorefield.use.plan import asked_of, plan_of
from scorefield.use.request import Request, versions

QUALITY, COVERAGE = "Frechet distance", "Coverage"
SHOWN = 20
"""Samples of each that are seen."""


@dataclass(frozen=True)
class Rival:
    """What a run did, or the `failure` for which there is nothing else.

    `plan`: how it is sampled. `calls`: of the network a sample, of a VAE its
    decoder's. `seconds`: a sample. `training`:
    seconds, its teacher's and its codec's too. `samples`: the first few, of the classes `label`.
    `lost`: why a measure could not be taken, by its name.
    """

    name: str
    kind: str = ""
    plan: str = ""
    calls: float = 0.0
    seconds: float = 0.0
    images: int = 0
    training: float = 0.0
    figures: dict[str, Figure] = field(default_factory=dict)
    samples: Tensor | None = None
    label: Tensor | None = None
    failure: str = ""
    lost: dict[str, str] = field(default_factory=dict)


class Field:
    """The real data of all rivals and their one judge, opened with the first run that has them;
    `features`: the space that they are compared in, if it is not the judge's. `notes`: what they
    had to do without."""

    def __init__(
        self, seeds: Sequence[int], watch: Watch = quiet, features: str | None = None
    ) -> None:
        self.seeds, self.n, self.watch, self.features = seeds, len(seeds), watch, features
        self.first: Run | None = None
        self.data: Data | None = None
        self.judge: Judge | None = None
        self.extractor: Extractor | None = None
        self.notes: list[str] = []
        self._references: dict[bool, Reference] = {}

    def begin(self, runs: Sequence[Run]) -> None:
        """The data and the judge of the first run with classes, else of the first, whose data are
        there."""
        order = sorted(runs, key=lambda run: len(run.info.classes) < 2)
        found = [tried(lambda run=run: data_of(run)) for run in order]
        k = next((k for k, data in enumerate(found) if isinstance(data, Data)), 0)
        if isinstance(found[k], BadInput):
            raise found[k]
        self.first, self.data = order[k], cast(Data, found[k])
        self.extractor = extractor_of(self.features, self.data)
        if len(self.data.classes) < 2 or not self.data.kind.spatial:
            return
        try:
            self.judge, _ = judge_of(self.first.path, self.data, self.watch)
        except BadInput as error:  # the page shows the rest
            self.notes.append(f"No judge, so samples are compared as they are: {error}")

    def reference(self, labels: Tensor | None) -> Reference:
        """Real data in the fractions of the classes that are asked for."""
        known = labels is not None
        if known not in self._references:
            assert self.data
            self._references[known] = Reference(
                self.data, self.judge, self.n, labels, self.extractor
            )
        return self._references[known]

    def check(self, run: Run) -> None:
        """Raise BadInput for a run on other data."""
        assert self.first
        own, first = run.info, self.first.info
        if (own.name, own.shape, own.edition) != (first.name, first.shape, first.edition):
            raise BadInput(
                f"{run.path} is a run on {own.name} {own.shape}, edition {own.edition}, and "
                f"{self.first.path} one on {first.name} {first.shape}, edition {first.edition}.",
                "Compare runs on the same data.",
            )

    def measured(self, run: Run, request: Request) -> Rival:
        """A run, sampled as it itself says and measured."""
        self.check(run)
        settings, info = request.settings, run.info
        if info.conditions.keys:
            raise BadInput(
                f"{run.path} asks for {info.conditions.keys[0]} with each sample.",
                "Compare runs that need classes at most.",
            )
        labels, denoiser = info.in_turn(self.n), request.denoiser
        asked = asked_of(denoiser, seeds=self.seeds, labels=labels)
        plan = plan_of(denoiser, labels is not None, **settings)
        drawn = decoded(denoiser, plan, asked, watch=self.watch)
        found = measures_of(drawn.x, self.reference(labels))
        own, config = settings, run.config
        return Rival(
            run.path.resolve().name, way_learned(run),
            f"{own['solver']}@{request.grid or config.sample.grid}/{own['steps']}",
            1.0 if learns_codes(config) else drawn.calls, drawn.seconds / self.n,
            run.images_seen, cost_of(run),
            {figure.name: figure for figure in found.figures}, drawn.x[:SHOWN].cpu(),
            None if labels is None else labels[:SHOWN],
            lost=found.record.get("not_measured", {}),
        )  # fmt: skip


def way_learned(run: Run) -> str:
    """What a run is, in a word: the way that it learned."""
    learned = parsed(run.config.objective.kind).name
    if run.config.student:
        return f"student ({parsed(run.config.student.method).name})"
    if learned in catalogue.autoencoders or learned in catalogue.adversaries:
        return learned.upper()
    return "latent diffusion" if run.info.codec else "diffusion"


def cost_of(run: Run) -> float:
    """Seconds of training, as the logs say: with those of a teacher and of a codec, if they are
    still where they were."""
    student, codec = run.config.student, run.config.codec
    others = [student.teacher if student else None, codec]
    return sum(trained_seconds(path) for path in (run.path, *(Path(o) for o in others if o)))


def rivals(requests: Sequence[Request], seeds: Sequence[int], watch: Watch = quiet) -> Findings:
    """Samples of each run, from the same seeds, measured by the whole catalogue and set side by
    side. A run that cannot be says why, and the others are shown.

    Raises BadInput if none can be.
    """
    opened: list[Run | BadInput] = [tried(lambda r=r: r.opened) for r in requests]
    runs = [run for run in opened if isinstance(run, Run)]
    if not runs:
        raise next(one for one in opened if isinstance(one, BadInput))
    names = [request.path.resolve().name for request in requests]
    names = [str(r.path) if names.count(own) > 1 else own for r, own in zip(requests, names)]
    field = Field(seeds, watch, requests[0].features)
    field.begin(runs)
    found: list[Rival] = []
    for name, request, run in zip(names, requests, opened):
        done = run if isinstance(run, BadInput) else tried(
            lambda run=run, request=request: field.measured(run, request))  # fmt: skip
        failed = isinstance(done, BadInput)
        found.append(Rival(name, failure=str(done)) if failed else replace(done, name=name))
    if all(rival.failure for rival in found):
        raise BadInput(f"no run can be compared: {found[0].failure}", "Give others.")
    return replace(_findings(found, field), run=str(requests[0].path))


def tried(call: Callable[[], Any]) -> Any:
    """What the call gives, or the BadInput that it raises."""
    try:
        return call()
    except BadInput as error:
        return error


def _findings(found: Sequence[Rival], field: Field) -> Findings:
    there = [rival for rival in found if not rival.failure]
    space = field.reference(there[0].label).space if field.data else ""
    how = (
        f"{field.n:,} samples of each from the same seeds, as each run is sampled; measured in: "
        f"{space}. Real data get the floor at the same size; within it nothing is ranked."
    )
    notes = notes_of(found, field)
    charts = [
        _pareto(there, "seconds", QUALITY, "ms a sample"),
        _pareto(there, "seconds", COVERAGE, "ms a sample"),
        _pareto(there, COVERAGE, QUALITY, "coverage"),
        _pareto(there, "training", QUALITY, "seconds of training"),
    ]
    strips = (
        Strip(f"{r.name}: {r.kind}", r.samples, SHOWN // 2, r.label, words=r.plan) for r in there
    )
    items = (
        *(c for c in charts if c),
        *strips,
        corners(found, " ".join(notes)),
        _all_figures(there),
    )
    record = {
        "n": field.n, "seeds": list(field.seeds), "feature_space": space, "versions": versions(),
        "rivals": [_as_row(rival) for rival in found], "notes": notes,
    }  # fmt: skip
    return Findings("compare", "", how, items, record)


def notes_of(found: Sequence[Rival], field: Field) -> list[str]:
    """What is missing, and why: runs, and measures of all."""
    lost = dict.fromkeys(f"{name}: {why}" for rival in found for name, why in rival.lost.items())
    runs = (f"{rival.name}: {rival.failure}" for rival in found if rival.failure)
    return [*runs, *field.notes, *lost]


def _as_row(rival: Rival) -> dict[str, Any]:
    keys = ("name", "kind", "plan", "calls", "seconds", "images", "training", "failure")
    figures = {name: {"value": f.value, "floor": f.floor, "within_floor": within_floor(f)}
            for name, f in rival.figures.items()}  # fmt: skip
    return {**{key: getattr(rival, key) for key in keys}, "figures": figures}


def _at(rival: Rival, key: str) -> tuple[float, Any] | None:
    if key in ("seconds", "training"):
        return getattr(rival, key) * (1000 if key == "seconds" else 1), None
    figure = rival.figures.get(key)
    return figure and (figure.value, figure.spread)


def _pareto(rivals: Sequence[Rival], x: str, y: str, words: str) -> Series | None:
    """Each rival a point, and the front of those that none beats; None without two numbers."""
    lines, points = [], []
    better = -1 if y == COVERAGE else 1
    for rival in rivals:
        a, b = _at(rival, x), _at(rival, y)
        if a and b and (a[0] > 0 or x == COVERAGE):
            lines.append(Line(rival.name, (a[0],), (b[0],), (b[1],)))
            points.append((-a[0] if x == COVERAGE else a[0], better * b[0]))
    if not lines:
        return None
    best = [(abs(a), better * b) for a, b in front(points)]
    if len(best) > 1:
        across = tuple(tuple(v) for v in zip(*sorted(best)))  # first, so that it lies below
        lines.insert(0, Line("", *across, dashed=True, shade=0.5))
    real = next((r.figures[y] for r in rivals if y in r.figures), None)
    log = x != COVERAGE, y == QUALITY
    return Series(f"{y} by {words}", words, y.lower(), tuple(lines), Mark.floor(real), log,
                  "dashed: no run beats these at both")  # fmt: skip


CORNERS = (QUALITY, "Kernel distance (KID)", "Precision", COVERAGE, "Class chi-square",
           "Classification accuracy score", "Distance to training data")  # fmt: skip


def corners(found: Sequence[Rival], lost: str) -> Table:
    """The trilemma: a row for each run, with the place of each figure among those of all."""
    shown = [name for name in CORNERS if any(name in rival.figures for rival in found)]
    places = {name: ranks([r.figures.get(name) for r in found]) for name in shown}
    head = ("run", "kind", "calls", "ms a sample", "training s", *shown)

    def rows() -> Iterator[tuple[Value, ...]]:
        for i, r in enumerate(found):
            if r.failure:
                yield r.name, "failed", *[None] * (len(head) - 2)
                continue
            own = (_placed(r.figures.get(name), places[name][i]) for name in shown)
            yield (r.name, r.kind, round(r.calls, 1), round(1000 * r.seconds, 3),
                   round(r.training, 1), *own)  # fmt: skip

    words = "In brackets the place among the runs; ≈ within the floor of real data, not ranked."
    return Table("The trilemma", head, tuple(rows()), f"{words} {lost}".strip())


def _placed(figure: Figure | None, place: int | None) -> Value:
    if figure is None:
        return None
    value = f"{figure.value:.1%}" if figure.unit == "%" else f"{figure.value:.3g}"
    return f"{value} (≈)" if within_floor(figure) else f"{value} ({place})"


def _all_figures(there: Sequence[Rival]) -> Table:
    """Every figure of every run with its floor."""
    names = dict.fromkeys(name for r in there for name in r.figures)

    def shown(figure: Figure | None) -> Value:
        if figure is None:
            return None
        low, high = ends(figure.value, figure.spread)
        floor = "" if figure.floor is None else f"; {figure.floor:.3g}"
        return f"{figure.value:.3g} [{low:.3g}, {high:.3g}{floor}]"

    rows = tuple((name, *(shown(r.figures.get(name)) for r in there)) for name in names)
    words = "Value [what it may be; the floor: what real data get]."
    return Table("All measures", ("measure", *(r.name for r in there)), rows, words)
