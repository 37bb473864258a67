"""What a request comes to: a job, and the answer that is made of its samples.

Nothing is decided here: settings, classes, guides, edits and restorations are those of the command
line, by the same functions.
"""

import base64
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Seeded
from scorefield.base.errors import exclusive
from scorefield.catalogue.spec import build
from scorefield.data.info import DataInfo
from scorefield.data.kind import PICTURE
from scorefield.data.letters import spelled
from scorefield.data.readers.given import input_picture
from scorefield.data.readers.masks import input_mask
from scorefield.data.readers.sounds import end_to_end
from scorefield.data.table import row_cells
from scorefield.draw import Asked, Job, Plan
from scorefield.guide import View
from scorefield.inverse import lifted, measure
from scorefield.likelihood import slerp
from scorefield.measure.quality import psnr
from scorefield.report.picture import picture
from scorefield.run.open import Run, check_flat
from scorefield.run.pairs import has_own_pairs, is_led, leading
from scorefield.serve.body import Common, EditBody, RestoreBody, SamplesBody, picture_bytes
from scorefield.serve.network import Network
from scorefield.store import tagged, to_png, to_wav
from scorefield.use.again import tag_of
from scorefield.use.anagram import views_guide
from scorefield.use.asked import idle
from scorefield.use.bulk import about
from scorefield.use.cascade import Cascade, cascade_of
from scorefield.use.edit import MASKED, edit_settings, edit_walk
from scorefield.use.plan import asked_of, plan_of
from scorefield.use.restore import MEASURING, Observation, check_measured, restore_walk
from scorefield.use.sample import labels_wanted, settle

Answer = dict[str, Any]
_one_at_a_time = threading.Lock()
"""What is warned of is caught for the whole process."""


class Stage(NamedTuple):
    """What comes after a job: a walk of another network, the rows of its calls, and its job, of the
    x at the end of the first."""

    network: Network
    plan: Plan
    rows: int
    begun: Callable[[Tensor], Job]


class Work(NamedTuple):
    """A job, the rows of its calls, what makes an answer of its x at the end, or of that of the
    stage after it, and warnings."""

    job: Job
    rows: int
    answer: Callable[[Tensor], Answer]
    after: Stage | None = None
    said: tuple[str, ...] = ()


Find = Callable[[str], Network]
"""Another run in service, by its name."""


def work(network: Network, body: Common, find: Find) -> Work:
    """What is asked of a run, prepared; or BadInput."""
    with _one_at_a_time, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if isinstance(body, SamplesBody):
            found = _samples(network, body, find)
        else:
            check_flat(network.name, network.run.info)
            found = {EditBody: _edit, RestoreBody: _restore}[type(body)](network, body)
    said = (str(w.message) for w in caught if issubclass(w.category, UserWarning))
    return found._replace(said=tuple(dict.fromkeys(said)))


def _job(network: Network, plan: Plan, asked: Asked, guidance: Any) -> tuple[Job, int]:
    job = Job.of(plan, asked, network.run.denoiser.shape, network.like)
    twice = bool(asked.cond) and guidance not in (None, 1)
    return job, len(asked.seeds) * (1 + twice)


def _samples(network: Network, body: SamplesBody, find: Find) -> Work:
    run = network.run
    if body.views is not None:
        return _anagram(network, body, body.views)
    texts = () if body.prompt is None or not run.info.text else (body.prompt,)
    exclusive("prompts", body.prompts, prompt=body.prompt)
    request = body.request(
        run, conditions=body.conditions, unconditional=body.unconditional, guide=body.guide,
        prompt=body.prompts or texts, negative=body.negative, fill=_fill(run, body),
    )  # fmt: skip
    seeds, labels = request.chosen_seeds(), labels_wanted(request)
    asked, plan, settings, _, by = settle(request, seeds, labels)
    words = tag_of(request, about(run, asked, settings, request.batch, labels, by),
                   bool(asked.cond))  # fmt: skip
    own: dict[str, Any] | None = {**words, "run": network.name}  # not where that lies
    if body.between is not None:
        check_flat(network.name, run.info)
        asked, own = _between(network, plan, asked, body.between), None
    job, rows = _job(network, plan, asked, settings["guidance"] if by is None else 2)
    how = {**words["order"], "guide": by or "cfg"}
    after, form = _enlarged(network, body, find, job), _form(run, body)
    if after and own:
        own["order"] = how = {**how, "cascade": body.cascade, "augment": after.second.augment}
        own["job"] = {**own["job"], "cascade": after.second.about}
    last = after.stage.network.run if after else run

    def answer(x: Tensor) -> Answer:
        x0 = last.denoiser.decode(x)
        return {"how": how, "samples": _shown(last, x0, job.asked, form, own, request.rows)}

    return Work(job, rows, answer, after and after.stage)


class _Enlarged(NamedTuple):
    second: Cascade
    stage: Stage


def _enlarged(network: Network, body: SamplesBody, find: Find, job: Job) -> _Enlarged | None:
    """The second stage, if one is named."""
    if body.cascade is None:
        return idle("augment", body.augment, "there is no `cascade`")
    other = find(body.cascade)
    check_flat(other.name, other.run.info)
    second, decode = cascade_of(other.run, network.run, body.augment), network.run.denoiser.decode
    plan = second.plan
    second.conditions(job.asked)

    def begun(x: Tensor) -> Job:
        asked = second.shown(decode(x), job.asked)
        return Job.of(plan, asked, other.run.denoiser.shape, other.like)

    rows = len(job.asked.seeds) * (1 + (other.run.config.sample.guidance != 1))
    return _Enlarged(second, Stage(other, plan, rows, begun))


def _fill(run: Run, body: SamplesBody) -> Any:
    """What is to be filled in; the rows of a table come with the request, never from a file."""
    if isinstance(body.fill, str) and run.info.space == "table":
        fact = "`fill` is a text, and the run makes rows of a table."
        raise BadInput(fact, 'Give rows, such as [{"COLUMN": 3}].', "fill")
    return body.fill


def _between(network: Network, plan: Plan, asked: Asked, count: int) -> Asked:
    """So many samples between those of two seeds, whose noises they begin on the arc between."""
    if len(asked.seeds) != 2:
        fact = f"`between` is given with {len(asked.seeds)} seeds."
        raise BadInput(fact, "Give two.", "seeds")
    first, last = asked.noise(network.run.denoiser.shape, plan.levels, network.like).split(1)
    start = slerp(first, last, torch.linspace(0, 1, count + 2)).flatten(0, 1)
    seeds = asked.seeds.repeat_interleave(torch.tensor([count + 1, 1]))
    return asked._replace(seeds=seeds, start=start)


def _anagram(network: Network, body: SamplesBody, views: str) -> Work:
    """Pictures that show one class or another as one looks at them."""
    run = network.run
    check_flat(network.name, run.info)
    for field in ("between", "conditions", "cascade", "augment", "fill", "prompts", "negative"):
        idle(field, getattr(body, field), "the samples are an anagram")
    idle("unconditional", body.unconditional, "the samples are an anagram", False)
    idle("guide", body.guide, "the samples are an anagram", "cfg")
    request, form = body.request(run), _form(run, body)
    seen, guide = views_guide(request, views, n := body.n or len(body.seeds or [0]))
    settings = {**request.settings, "guidance": 1.0, "guide": guide}
    request.mean  # noqa: B018 of a student that has none it is refused
    plan = plan_of(run.denoiser, False, **settings)
    seeds = Seeded(request.chosen_seeds()).seeds[:n]
    job, _ = _job(network, plan, Asked(seeds), None)
    how = {**request.settings, "views": [view.name for view in seen]}

    def answer(x: Tensor) -> Answer:
        shown = [v.forward(x) if isinstance(v, View) else v.project(x) for v in seen]
        return {
            "how": how,
            "samples": _shown(run, x, job.asked, form),
            "views": [[png(one) for one in each.split(1)] for each in shown],
        }

    return Work(job, 2 * n * len(seen), answer)


def _edit(network: Network, body: EditBody) -> Work:
    run, denoiser = network.run, network.run.denoiser
    shape, form = tuple(run.info.shape), _form(run, body)
    request = body.request(run)
    strength = body.strength or (0.6 if body.mask is None else 1.0)
    x0 = input_picture(picture_bytes(body.image, "image"), shape, "image", True, run.info.scaling)
    mask = None
    if body.mask is not None:
        mask = input_mask(picture_bytes(body.mask, "mask"), shape)
        if not mask.any():
            raise BadInput("`mask` is black everywhere.", "Make it white where it may change.")
    settings = edit_settings(request, mask is not None)
    asked = asked_of(denoiser, seeds=request.chosen_seeds(), labels=request.classes)
    plan, asked, finish = edit_walk(denoiser, x0, strength, asked, mask=mask, **settings)
    job, rows = _job(network, plan, asked, settings["guidance"])
    how = {**settings, "solver": settings["solver"] or repr(MASKED), "strength": strength}

    def answer(x: Tensor) -> Answer:
        return {"how": how, "samples": _shown(run, finish(x), job.asked, form)}

    return Work(job, rows, answer)


LED = {"label": None, "labels": None, "prompt": None, "solver": None, "grid": None,
       "guidance": None, "method": "dps"}  # fmt: skip
"""What a run that was trained on pairs has no use for, and its usual value."""


def _restore(network: Network, body: RestoreBody) -> Work:
    run, shape, form = network.run, tuple(network.run.info.shape), _form(network.run, body)
    if has_own_pairs(run.config, run.info):
        raise BadInput(
            "the run was trained on pairs of its own, and of `image` no operator says the other "
            "end.",
            "Restore by `scorefield restore RUN`, which takes the other end itself.",
            "image",
        )
    request = body.request(run)
    a, seeds = build("operators", body.operator, shape=shape), request.chosen_seeds()
    x0 = input_picture(picture_bytes(body.image, "image"), shape, "image", True, run.info.scaling)
    y = measure(a, x0, body.noise, Seeded([seeds[0] + MEASURING]))
    if is_led(run.config, run.info):
        why = "the run leads from what was measured"
        for field, usual in LED.items():
            idle(field, getattr(body, field), why, usual)
        check_measured(run, Observation(body.operator, body.noise))
        x1 = lifted(a, torch.zeros_like(x0), y)
        plan, asked, finish = leading(run.denoiser, run.config, run.info, x1, seeds, body.steps)
    else:
        (plan, asked), finish = restore_walk(request, a, y, body.noise, body.method), None
    job, rows = _job(network, plan, asked, request.guidance)
    how = {"operator": body.operator, "noise": body.noise, "method": body.method,
           "steps": plan.steps, "guidance": request.guidance}  # fmt: skip

    def answer(x: Tensor) -> Answer:
        x = (finish or run.denoiser.decode)(x)
        return {
            "how": how,
            "samples": _shown(run, x, job.asked, form),
            "measurement": png(a.picture(y, body.noise)),
            "psnr": round(psnr(x, x0), 2),
        }

    return Work(job, rows, answer)


def _form(run: Run, body: Common) -> str:
    """In which form samples are wanted."""
    kind = run.info.kind
    if body.format == "png" and kind is not PICTURE:
        fact = f"`format` png is of pictures, and samples are {kind.plural}."
        raise BadInput(fact, "Leave it out.", "format")
    if body.format == "text" and not kind.lettered:
        fact = f"`format` text is of letters, and samples are {kind.plural}."
        raise BadInput(fact, "Leave it out.", "format")
    if body.format == "wav" and not run.info.rate:
        raise BadInput("`format` is wav, and the run makes no sounds.", "Leave it out.", "format")
    return body.format or ("png" if kind is PICTURE else "text" if kind.lettered else "x")


def _shown(
    run: Run, x0: Tensor, asked: Asked, form: str, words: dict[str, Any] | None = None,
    given: Sequence[Sequence[str]] = (),
) -> list[Answer]:  # fmt: skip
    """Each sample with its seed and class; a picture carries how it was made, and the row of a
    table the cells that were `given` as they were."""
    texts = in_words(x0, run.info, given) if form == "text" else []
    label = (asked.cond or {}).get("label")
    rows = []
    for i, (seed, one) in enumerate(zip(asked.seeds.tolist(), x0.split(1))):
        row: Answer = {"seed": seed}
        if label is not None:
            row["label"] = str(run.info.classes[int(label[i])])
        if form == "text":
            row["text"] = texts[i]
        elif form == "x":
            row["x"] = run.info.scaling.decode(one)[0].tolist()
        elif form == "wav":
            clip = end_to_end([run.info.scaling.decode(one)], run.info.rate)
            sound = to_wav(clip, run.info.rate)
            row["wav"] = base64.b64encode(sound).decode()
        else:
            row["png"] = png(one, None if words is None else {**words, "index": i})
        rows.append(row)
    return rows


def in_words(x0: Tensor, info: DataInfo, given: Sequence[Sequence[str]] = ()) -> list[Any]:
    """Texts, or the rows of a table as cells by their columns."""
    if info.space != "table":
        return spelled(x0, info.alphabet)
    names = [column.name for column in info.columns]
    return [dict(zip(names, row)) for row in row_cells(x0, info.columns, given)]


def png(x0: Tensor, words: dict[str, Any] | None = None) -> str:
    """Pictures as one file, in base64."""
    image = picture(x0, magnify=False)
    return base64.b64encode(to_png(tagged(image, words) if words else image)).decode()


def shown_now(run: Run, x0: Tensor) -> Answer:
    """Samples on their way, one by one."""
    x0 = run.denoiser.decode(x0.cpu())
    if run.info.kind is PICTURE:
        return {"png": [png(one) for one in x0.split(1)]}
    if run.info.kind.lettered:
        return {"text": in_words(x0, run.info)}
    return {"x": run.info.scaling.decode(x0).tolist()}
