"""Samples of a run, one or a million: what is asked for is read, what is missing is made."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Guide, quiet
from scorefield.base.errors import Elsewhere, exclusive
from scorefield.base.extras import library
from scorefield.base.finding import Findings
from scorefield.catalogue.plans import guide as build_guide
from scorefield.data.info import DataInfo
from scorefield.data.kind import PICTURE, VECTOR, Kind
from scorefield.data.letters import filling
from scorefield.data.molecules import tokens_of
from scorefield.data.sets import Scaling
from scorefield.draw import Asked, Plan
from scorefield.draw.film import film
from scorefield.draw.shards import Shards
from scorefield.draw.workers import fill_by_workers
from scorefield.guide import chain
from scorefield.guide.filled import filled, rows_filled
from scorefield.guide.prompts import composed, prompts
from scorefield.guide.tokens import regressor
from scorefield.run.open import data_of, device
from scorefield.spaces import Autoregressive
from scorefield.store import alone, claim, sweep_torn
from scorefield.train import Team
from scorefield.train.regressor import LetterRegressor
from scorefield.use.again import Like, again, check_like, tag_of
from scorefield.use.asked import check_guided, how_many, idle, warn_depth, warn_guidance
from scorefield.use.bulk import about, fill
from scorefield.use.cascade import Cascade, open_cascade
from scorefield.use.classify import Guiding, open_classifier
from scorefield.use.plan import asked_of, begun_in_data, check_places, plan_of
from scorefield.use.request import Request


class Samples(NamedTuple):
    """x0 in `pieces` (of a film: all of them, moment by moment), with the seeds and classes `(n,)`,
    how many stand in a row, and `words` of how they were made; `single` is the index of the only
    one of them that is meant, and of a table `given` are the rows to be filled in, in turn."""

    pieces: Iterable[Tensor]
    seeds: Tensor
    label: Tensor | None
    scaling: Scaling | None
    columns: int | None
    names: Sequence[str]
    words: dict[str, Any]
    captions: Sequence[str] = ()
    single: int | None = None
    info: DataInfo | None = None
    given: Sequence[Sequence[str]] = ()


class _Job(NamedTuple):
    request: Request
    shards: Shards
    classifier: Guiding | None
    out: Path
    made: Samples
    cascade: Cascade | None

    def larger(self, pieces: Iterable[Tensor]) -> Iterable[Tensor]:
        """Pieces as the data are, and of a cascade as its second stage makes them."""
        denoiser, shards = self.request.opened.denoiser, self.shards
        for k, piece in enumerate(pieces):
            x0 = denoiser.decode(piece)
            asked = shards.asked.rows(*shards.span(k)) if self.cascade else None
            yield self.cascade(x0, asked) if self.cascade and asked else x0


def sampled(
    request: Request,
    like: Path | None,
    keep: Callable[[Samples, Path], None],
    say: Callable[[str], None],
    launched: bool = True,
) -> Findings | int:
    """Samples, made in shards of `batch` by a team of processes, if some were `launched`, and kept
    at `out`; to which of these an earlier call made, which a stop left, it adds the others. With a
    picture that they are to be `like`, the same again.

    Returns the exit code in a process that has nothing to tell. Raises BadInput for what cannot be
    done, before any work is, and KeyboardInterrupt with what is there.
    """
    request = replace(request, spaces=True)
    request, then = again(request, like) if like else (request, None)
    team = Team() if launched else Team(alone=device())
    try:
        with ExitStack() as held:
            job = team.together(lambda: _read(request, then, held if team.is_main else None))
            return _done(job, team, keep, say)
    except Elsewhere:
        return 2


def _done(
    job: _Job, team: Team, keep: Callable[[Samples, Path], None], say: Callable[[str], None]
) -> Findings | int:
    run, shards, out = job.request.opened, job.shards, job.out
    watch = job.request.watch if team.is_main else quiet
    if team.is_main:
        warn_depth(run.info, out)
        if shards.count < team.size:
            few = f"{shards.count} shards for {team.size} processes"
            warnings.warn(f"{few}: a smaller `batch` shares the work", stacklevel=2)
    modules, workers = [m for m in (run.denoiser, job.classifier) if m], job.request.ray
    for module in modules if workers is None else ():
        module.to(team.device)
    if shards.count == 1 or team.size > 1:
        idle("ray", workers, "one process makes one shard, and torchrun's share them already")
    began, resumed = time.monotonic(), 0

    def begin(there: int) -> None:
        if there:
            say(f"resuming: {there} of {shards.count} shards are there")

    try:
        if out.suffix == ".gif":
            pieces = film(run.denoiser, shards.plan, shards.asked, watch)
        elif shards.count > 1:
            filling = partial(fill, shards, team)
            if workers is not None:
                filling = partial(fill_by_workers, shards, modules, workers, device())
            resumed = filling(watch, begin)
            pieces = shards.pieces()
        else:
            whole = partial(shards.make, 0, watch) if team.is_main else partial(torch.empty, 0)
            pieces = [team.together(whole)]
        if not team.is_main:
            return 0
        sweep_torn(out)
        keep(job.made._replace(pieces=job.larger(pieces)), out)
    except KeyboardInterrupt as stop:
        if shards.count == 1:
            raise
        if not team.is_main:
            return 130
        raise KeyboardInterrupt(_left(shards)) from stop
    shards.remove()
    seconds, steps = time.monotonic() - began, shards.plan.steps
    n = len(shards) if job.made.single is None else 1
    record = {
        "out": str(out), "n": n, "steps": steps, "seconds": round(seconds, 3),
        "shards": shards.count, "resumed": resumed,
    }  # fmt: skip
    how = f"{how_many(n, 'sample')}, {how_many(steps, 'step')}, {seconds:.1f} s: {out}"
    return Findings("sample", str(run.path), how, (), record)


def _left(shards: Shards) -> str:
    done = sum(shards.have())
    where = f" in {shards.folder}" if done else ""
    return f"{done} of {shards.count} shards are there{where}. The same command goes on."


def _read(request: Request, like: Like | None, held: ExitStack | None) -> _Job:
    """Read the words and the run, and refuse what cannot be done; hold the place of the result."""
    run, cond, single = request.opened, request.cond, like and like.index
    if like:
        check_like(like, {"checkpoint": run.checkpoint})  # first: what is wrong then is clear
    usual = run.info.kind.shown[1] if _is_film(request) else 100
    seeds = request.chosen_seeds(len(next(iter(cond.values()))) if cond else usual)
    n, labels = len(seeds), labels_wanted(request)
    second = open_cascade(request.cascade, run, request.augment) if request.cascade else None
    made_by = second.run if second else run
    out = _place(request, made_by.info, seeds, 1 if single is not None else len(seeds))
    if held:
        held.enter_context(alone(out.parent, out.name))
    asked, plan, settings, noisy, by = settle(request, seeds, labels)
    if held and labels and by is None:
        warn_guidance(settings["grid"], settings["guidance"])
    job = about(run, asked, settings, request.batch, labels, by)
    if second:
        job["cascade"] = second.about
    else:
        idle("augment", request.augment, "there is no `cascade`")
    check_like(like, job)
    said = tag_of(request, job, bool(asked.cond))
    if single is not None:  # with its batch, which decides its last bits
        said["index"], (at, single) = single, divmod(single, request.batch)
        asked = asked.rows(at * request.batch, min((at + 1) * request.batch, n))
    parts = out.with_name(f"{out.name}.parts")
    shards = Shards(parts, run.denoiser, plan, asked, request.batch, job)
    turns = len(request.texts) or len(labels or ())
    own = turns if 1 < turns <= min(n, 20) else None
    label = (asked.rows(0, len(shards)).cond or {}).get("label")
    made = Samples((), asked.seeds, label, made_by.info.scaling, request.columns or own,
                   run.info.classes, said, request.texts, single, made_by.info,
                   request.rows)  # fmt: skip
    return _Job(request, shards, noisy, out, made, second)


class Settled(NamedTuple):
    """What a request comes to: rows and plan, the settings of this, the classifier that guides if
    one does, and its guide in words if it is not classifier-free guidance."""

    asked: Asked
    plan: Plan
    settings: dict[str, Any]
    classifier: Guiding | None
    by: str | None


def settle(request: Request, seeds: list[int], labels: list[int] | None) -> Settled:
    """Rows of these seeds and `labels_wanted`, and their plan; or BadInput, before any work."""
    run, cond, settings = request.opened, request.cond, request.settings
    if not request.classifies:
        check_guided(request.guidance, bool(labels or cond))
    noisy = guide = by = None
    if composed(cond) and "prompts" not in request.guide:
        if request.guide != "cfg":
            raise BadInput(
                f"`guide` is {request.guide}, which does not read what is added to a prompt.",
                "Name the guide prompts in it, as in prompts:3+interval:.3,2.",
                "guide",
            )
        guide, by = prompts(settings["guidance"]), f"prompts at {settings['guidance']:g}"
        settings["guidance"] = 1.0
    elif request.guide != "cfg":
        noisy, guide, by = _guide(request, labels is not None or "label" in (cond or {}))
        settings["guidance"] = 1.0
    asked = asked_of(run.denoiser, seeds=seeds, labels=labels, cond=cond)
    if guide:
        check_places(request.guide, run.denoiser)
    plan = plan_of(run.denoiser, bool(asked.cond), guide=guide, **settings)
    if request.fill is not None:
        plan, by = _filled(request, plan), request.filling.replace("`", "")
    if getattr(run.schedule, "begins_in_data", False):
        asked = begun_in_data(run.denoiser, data_of(run, split=False), plan, asked)
    return Settled(asked, plan, settings, noisy, by)


def _filled(request: Request, plan: Plan) -> Plan:
    """The plan of texts that have the letters that are asked for."""
    denoiser, info = request.opened.denoiser, request.opened.info
    if info.space == "table":
        return plan._replace(guide=chain(plan.guide, rows_filled(denoiser.space, info.columns)))
    if not info.kind.lettered:
        raise BadInput(f"{request.filling} is of letters and tables.", "Leave it out.", "fill")
    if not isinstance(pattern := request.fill, str):
        fact = f"{request.filling}: the run makes {info.kind.plural}, which have none."
        raise BadInput(fact, "Give a text with _ for what is to be filled in.", "fill")
    if isinstance(denoiser.space, Autoregressive):
        raise BadInput(
            f"`fill` {pattern}: the run reads letters from the left, and knows none behind a gap.",
            "Train with `objective.kind` absorbing and `net.name` letters.",
            "fill",
        )
    if info.space == "smiles":
        pattern = tokens_of(pattern)
    letters, known = filling(pattern, info.alphabet, info.shape[0])
    return plan._replace(guide=chain(filled(denoiser.space, letters, known), plan.guide))


def _is_film(request: Request) -> bool:
    return request.out is not None and request.out.suffix == ".gif"


FILED = (".tar", ".parquet")
"""Endings of what has samples row by row."""
NO_PICTURES = "The run makes points: give a .png of all, or an .npz."


WRITTEN = {
    "letters": (".txt", ".npz"),
    "smiles": (".txt", ".smi", ".png", ".npz"),
    "table": (".csv", ".npz"),
}
"""Files that numbers of letters go into, the usual one first."""


def _place(request: Request, info: DataInfo, seeds: list[int], shown: int) -> Path:
    """Where samples of such data go, tried before any work is done."""
    shape = info.shape
    known = WRITTEN[info.space] if info.kind.lettered else (".png",)
    out = request.out or request.path / "samples" / f"{shown}-seeds{known[0]}"
    if info.kind.lettered:
        if out.suffix not in known:
            remedy = f"{info.kind.plural.capitalize()} go into a {' or '.join(known)}."
            raise BadInput(f"`out` is {out}.", remedy, "out")
        claim(out)
        return out
    if out.suffix == ".wav" and not info.rate:
        raise BadInput(f"`out` is {out}, and the run makes no sounds.", "Give a .png.", "out")
    if out.suffix in FILED:
        _check_filed(out, Kind.of(shape))
    elif out.suffix not in (".png", ".npz", ".gif", ".wav", "") or out.name in ("", ".."):
        remedy = "Use .png, .npz, .gif, .wav, .tar, .parquet, or a folder for single pictures."
        raise BadInput(f"`out` is {out}.", remedy, "out")
    if not out.suffix and Kind.of(shape) is VECTOR:
        raise BadInput(f"`out` is the folder {out}, for single pictures.", NO_PICTURES, "out")
    if _is_film(request):
        idle("cascade", request.cascade, "a film shows the way of one model")
        check_film(len(seeds), shape)
    claim(out if out.suffix else out / f"{seeds[0]:06d}.{'wav' if info.rate else 'png'}")
    if len(seeds) > request.batch and not _is_film(request):
        claim(out.with_name(f"{out.name}.parts") / "job.json")
    if out.suffix not in (".png", ".gif"):
        idle("columns", request.columns, f"{out} is no picture")
    return out


def check_film(n: int, shape: Sequence[int]) -> None:
    """Raise BadInput for more samples than can be shown."""
    most = Kind.of(shape).shown[2]
    if n > most:
        fact = f"a .gif shows at most {most} samples, and `n` is {n}."
        raise BadInput(fact, "Ask for fewer, or for a .png.", "n")


def _check_filed(out: Path, kind: Kind) -> None:
    """Raise BadInput for samples that do not go into rows, or without what writes them."""
    if kind is not PICTURE and (kind is not VECTOR or out.suffix == ".tar"):
        raise BadInput(f"`out` is {out}, and samples are {kind.plural}.", "Give an .npz.", "out")
    if out.suffix == ".parquet":
        library("pyarrow", "data", f"`out` {out} is written")


def _guide(request: Request, classes: bool) -> tuple[Guiding | None, Guide, str]:
    """The classifier, the guide, and its words; a denoiser inside the classifier's is told the
    classes too, or nothing."""
    scale, only = request.guidance, request.guide == "classifier"
    if not only:
        idle("guidance", scale, "the guide says its own")
    noisy = open_classifier(request.path) if request.classifies else None
    scale = 1.0 if scale is None else scale
    wanted = request.opened.info.kind.lettered and "vector" in (request.cond or {})
    if noisy and not (classes or wanted):
        remedy = "Give `labels`, or of letters `conditions`."
        raise BadInput(f"`guide` {request.guide} has nothing to guide to.", remedy)
    text = f"classifier:{scale!r}" if only else request.guide
    given = {"log_prob": noisy.log_prob} if noisy else {}
    if isinstance(noisy, LetterRegressor):
        guide = regressor(noisy.log_prob, request.opened.denoiser.space, scale)
    else:
        guide = build_guide(text, shape=request.opened.info.inner, **given)
    base = "unconditional" if request.unconditional else "conditional"
    at = f" at {scale:g}" if only else ""
    by = f"{request.guide}{at} on the {base} model" + (f", {noisy.digest}" if noisy else "")
    if not (noisy and request.unconditional):
        return noisy, guide, by
    return noisy, lambda denoise: guide(lambda x, level, cond: denoise(x, level, None)), by


def labels_wanted(request: Request) -> list[int] | None:
    """The classes that are asked for apart from the conditions, by default all that the data
    have."""
    info, cond = request.opened.info, request.cond
    others = info.conditions.keys
    if request.unconditional:
        if not (request.classifies and info.kind.lettered):
            exclusive("conditions", request.conditions, unconditional=True)
        if not request.classifies:
            return exclusive("labels", request.labels, unconditional=True)
    elif others and cond is None:
        if request.labels is not None:
            raise BadInput(
                f"`labels` alone: the model was trained with {', '.join(others)} too.",
                "Give `conditions` FILE.npz that holds them, or `unconditional`.",
            )
        missing = ", ".join([*["class"][: len(info.classes)], *others])
        warnings.warn(f"no `conditions`: samples without {missing}", stacklevel=2)
        return None
    own = cond is not None and "label" in cond
    if request.labels is None:
        return None if own else list(info.drawn) or None
    if own:
        raise BadInput(f"`labels` was given, and {request.conditions} holds classes.", "Give one.")
    return request.classes
