"""A report of a run as one HTML page that needs nothing but itself.

`page` is a pure function: content to text. A section is a function of the content too, so that a
new one is a function and a line in `SECTIONS`. Every text that came from a run goes through
`escape`, and the page itself forbids whatever it does not hold: its policy admits no source but
data URIs, and no script but ours, by its digest.
"""

import base64
import hashlib
import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np

import scorefield
from scorefield.report import likelihood
from scorefield.report.charts import (
    Axis,
    Line,
    Mark,
    axis,
    bar,
    chart,
    figure,
    heat,
    ladder,
    smooth,
)
from scorefield.report.content import (
    BUCKET,
    Contender,
    Content,
    Log,
    Measure,
    Picture,
    Setting,
    headline,
    settings,
)
from scorefield.report.style import SCRIPT, STYLE
from scorefield.report.wording import compact, duration, number, plus_minus, setting, share

COLUMNS = 48
"""Of the map of losses over noise levels."""
QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "last quarter")
"""Of the images seen so far: their losses are drawn over noise levels."""
COLOURS = 8
NAME = 18
"""Characters of a solver's name at the end of its curve."""

Section = Callable[[Content], str]


def page(content: Content) -> str:
    """The report as HTML. The same content gives the same characters."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    name = escape(content.name)
    sections = [(key, title, section(content)) for key, title, section in SECTIONS]
    sections = [filled for filled in sections if filled[2]]
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>'
        f"{inside}</section>\n"
        for key, title, inside in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="scorefield {scorefield.__version__}">
<link rel="icon" href="data:,">
<title>{name} · Scorefield</title>
<style>
{STYLE}
</style>
</head>
<body>
<header>
{_state(content)}
<h1>{name}</h1>
<p class="lead">{escape(headline(content))}</p>
{_facts(content)}
{_left_out(content)}</header>
<nav aria-label="Sections"><ol>{links}</ol></nav>
<main>
{body}</main>
<footer>Written by scorefield {scorefield.__version__}: <code>{_command(content, "report")}</code>.
Nothing on this page is loaded from elsewhere.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _state(c: Content) -> str:
    total = c.config.training.images
    if c.finished:
        return f'<p class="state">Trained on {c.images_seen:,} images</p>'
    command = f"scorefield train {shlex.quote(c.recipe)} --out {shlex.quote(c.path)} --resume"
    return (
        f'<p class="state under next">At {c.images_seen:,} of {total:,} images. Go on: '
        f"<code>{escape(command)}</code></p>"
    )


def _facts(c: Content) -> str:
    log = c.log
    facts = [("Images seen", compact(c.images_seen), f"batches of {c.config.training.batch:,}")]
    if log.seconds:
        speed = max(log.images, default=0) / log.seconds
        facts.append(("Training time", duration(log.seconds), f"{compact(speed)} images a second"))
    if losses := [v for v in smooth(log.loss) if math.isfinite(v)]:
        first = f"from {number(losses[0])}, smoothed" if len(losses) > 1 else "smoothed"
        facts.append(("Loss", number(losses[-1]), first))
    facts.append(("Parameters", compact(c.size.parameters), f"{c.size.parameters:,}"))
    work = 3 * c.size.flops_per_sample * c.images_seen
    facts.append(
        ("Network call", compact(c.size.flops_per_sample, "FLOP"),
         f"training: about {compact(work, 'FLOP')}" if work else "for one sample")
    )  # fmt: skip
    facts += [
        (m.name, m.shown.partition(" ±")[0], f"real data {m.floor_shown}")
        for m in (c.evaluation.measures if c.evaluation else ())
        if m.name in ("Frechet distance", "Class agreement")
    ]
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd>{escape(about)}</dd></div>"
        for name, value, about in facts
    )
    return f'<dl class="facts">{items}</dl>'


def _left_out(c: Content) -> str:
    return "".join(f'<p class="about next">Left out: {escape(why)}</p>\n' for why in c.left_out)


def _samples(c: Content) -> str:
    if not c.pictures:
        return _missing(
            "No pictures of progress yet: training leaves one at each checkpoint.", c, "sample"
        )
    figures = "".join(
        f"<figure>{_image(p, f'samples after {p.images:,} images')}"
        f"<figcaption><b>{p.images:,}</b> <span>images seen</span></figcaption></figure>"
        for p in c.pictures
    )
    scrub, many = "", len(c.pictures) > 1
    if many:
        last = len(c.pictures) - 1
        scrub = (
            '<label class="scrub" hidden><span>Training</span><input type="range" min="0" '
            f'max="{last}" value="{last}" aria-label="Which checkpoint"></label>'
        )
    s = c.config.sample
    about = (
        f"{'The same seeds at each checkpoint' if many else 'Samples at the first checkpoint'}, "
        f"drawn with the averaged weights: {s.solver}, {s.steps} steps, guidance {s.guidance:g}."
    )
    return (
        f'<p class="about">{escape(about)}</p>'
        f'<div class="film"><div class="strip" tabindex="0" role="group" aria-label="Samples over '
        f'training">{figures}</div>{scrub}</div>'
    )


def _measures(c: Content) -> str:
    e = c.evaluation
    if e is None:
        return _missing("Not measured yet.", c, "eval")
    stale = ""
    if e.images_seen != c.images_seen:
        stale = (
            f'<p class="about next">Measured at {e.images_seen:,} images; the run is at '
            f"{c.images_seen:,}. Again: <code>{_command(c, 'eval')}</code></p>"
        )
    return (
        f'{stale}<p class="about">{escape(e.how)} Green is what real data get under the same '
        f'rule.</p><div class="measures">{"".join(map(_measure, e.measures))}</div>'
        f'<p class="about">{escape(e.weakest)}</p>'
    )


def _measure(m: Measure) -> str:
    label = f"real data {m.floor_shown}"
    drawn = bar(
        m.value, m.floor, m.most, label=label, spread=m.spread, floor_spread=m.floor_spread,
        told=f"{m.name} {m.shown}, {label}",
    )  # fmt: skip
    return (
        f'<article class="measure"><div><h3>{escape(m.name)}</h3><p class="value">'
        f'{escape(m.shown)}</p><p class="verdict">{escape(m.verdict)}</p></div>'
        f'{drawn}<p class="words">{escape(m.words)}</p></article>'
    )


def _training(c: Content) -> str:
    log = c.log
    if not log.images:
        return '<p class="about">The log is empty: training writes to it as it goes.</p>'
    x = axis("images seen", [0, *log.images], log=False, tight=True)
    clip = Mark(c.config.training.clip, "clip")
    charts = (
        _curve("Loss", "mean of the objective", log, log.loss, x, wide=True),
        _curve("Learning rate", "AdamW", log, log.lr, x, raw=False, zero=True),
        _curve("Gradient norm", "before clipping", log, log.grad_norm, x, mark=clip),
        _curve("Speed", "images a second", log, log.images_per_second, x, zero=True),
        _curve("Memory", "MB", log, log.memory_mb, x, zero=True, raw=False),
    )
    names = ("gradient norm", "memory")
    absent = [name for name, drawn in zip(names, (charts[2], charts[4])) if not drawn]
    note = f'<p class="about after">Not logged: {", ".join(absent)}.</p>' if absent else ""
    about = "The thin line is as logged, the strong one smoothed."
    return f'<p class="about">{about}</p><div class="charts">{"".join(charts)}</div>{note}'


def _curve(
    title: str,
    about: str,
    log: Log,
    values: Sequence[float],
    x: Axis,
    *,
    raw: bool = True,
    zero: bool = False,
    wide: bool = False,
    mark: Mark | None = None,
) -> str:
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return ""
    y = axis(title.lower(), known, zero=zero)
    drawn = smooth(values) if raw else list(values)
    last = next(v for v in reversed(drawn) if math.isfinite(v))
    lines = [Line(title.lower(), log.images, values, "raw")] if raw else []
    lines.append(Line("smoothed" if raw else title.lower(), log.images, drawn, label=number(last)))
    marks = [mark] if mark and y.low < mark.value < y.high else []
    told = f"{title} against images seen, from {number(known[0])} to {number(known[-1])}"
    height = 300 if wide else 220
    plot = chart(lines, x, y, told=told, marks=marks, height=height, right=72)
    if y.log:
        about += ", log scale"
    return figure(title, about, plot, wide)


def _noise(c: Content) -> str:
    log = c.log
    if not log.by_logsnr:
        return (
            '<p class="about">This run did not log its loss by noise level: it was trained before '
            "that was done, or has no row yet.</p>"
        )
    images = np.array(log.images)
    losses = np.array([values for _, values in log.by_logsnr])
    middles = [middle for middle, _ in log.by_logsnr]
    about = (
        "The loss of each noise level, from pure noise (left, below) to nearly clean data. Levels "
        "are told apart by the logarithm of their signal-to-noise ratio, log(α²/σ²)."
    )
    charts = _profiles(images, losses, middles) + _map(images, losses, middles)
    return f'<p class="about">{about}</p><div class="charts">{charts}</div>'


def _profiles(images: np.ndarray, losses: np.ndarray, middles: list[float]) -> str:
    edges = np.linspace(0, images[-1], len(QUARTERS) + 1)
    lines = []
    for part, (start, end) in enumerate(pairwise(edges.tolist())):
        means = _means(losses[:, (images > start) & (images <= end)])
        if np.isfinite(means).any():
            name = QUARTERS[part]
            lines.append(Line(name, middles, means.tolist(), f"pale{part}", label=name))
    x = axis("log signal-to-noise ratio", middles, log=False, tight=True, tell=number)
    y = axis("loss", [v for line in lines for v in line.y])
    about = "at each noise level" + (", log scale" if y.log else "")
    told = "Loss against the log signal-to-noise ratio, in each quarter of the training"
    return figure("Loss", about, chart(lines, x, y, told=told, height=280, right=96))


def _map(images: np.ndarray, losses: np.ndarray, middles: list[float]) -> str:
    columns = np.array_split(np.arange(len(images)), min(COLUMNS, len(images)))
    edges = [0.0, *(float(images[some[-1]]) for some in columns)]  # of rows, so that none is empty
    values = np.stack([_means(losses[:, some]) for some in columns], axis=1)
    rows = [(middle - BUCKET, middle + BUCKET) for middle in middles]
    x = axis("images seen", [0, images[-1]], log=False, tight=True)
    y = axis("log SNR", [rows[0][0], rows[-1][1]], log=False, tight=True, tell=number)
    told = "Loss of each noise level over the training"
    drawn = heat(edges, rows, values, x, y, told=told, height=280)
    return figure("Loss over training", "log signal-to-noise ratio, upwards cleaner", drawn)


def _means(losses: np.ndarray) -> np.ndarray:
    """Of each row, over what is known of it; NaN where nothing is."""
    known = np.isfinite(losses)
    with np.errstate(invalid="ignore"):
        return np.where(known, losses, 0.0).sum(1) / known.sum(1)


def _solvers(c: Content) -> str:
    contest = c.contest
    if contest is None:
        return _missing("Solvers have not been compared yet.", c, "compare")
    measured = [
        *_versus("Distance from the model's own flow", "RMS over a sample, log scale",
                 [(k, [(p.calls, p.distance) for p in k.points]) for k in contest.contenders], ()),
    ]  # fmt: skip
    marks = [Mark(contest.flow, "the flow")] if contest.flow is not None else []
    if contest.floor:
        value, std = contest.floor
        marks.append(Mark(value, "real data", max(value - std, 1e-12), value + std))
    measured += _versus("Frechet distance", "log scale; real data are the floor",
                        [(k, [(p.calls, p.frechet) for p in k.points])
                         for k in contest.contenders], marks)  # fmt: skip
    sheet = ""
    if contest.strips:
        sheet = (
            f'<figure class="sheet"><figcaption><b>The samples themselves</b></figcaption>'
            f"{_image(contest.strips, 'samples of each solver at each count of steps')}</figure>"
        )
    stochastic = [k.name for k in contest.contenders if k.stochastic]
    note = f"Dashed: {', '.join(stochastic)}, stochastic. " if stochastic else ""
    return (
        f'<p class="about">{escape(contest.how)} {escape(note)}</p>'
        f'<div class="charts">{"".join(measured)}</div>{sheet}'
        f"<details><summary>All figures</summary>{_contest_table(contest.contenders)}</details>"
    )


def _versus(
    title: str,
    about: str,
    curves: Sequence[tuple[Contender, list[tuple[float, tuple[float, float] | None]]]],
    marks: Sequence[Mark],
) -> list[str]:
    """A figure of each contender over its calls."""
    lines = []
    for i, (contender, points) in enumerate(curves):
        known = sorted((calls, *pair) for calls, pair in points if pair and pair[0] > 0)
        if known:
            calls, values, spread = zip(*known)
            role = f"c{i % COLOURS}"
            aside = f"{role} aside" if contender.stochastic else role
            name = contender.name
            label = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
            lines.append(Line(name, calls, values, aside, label, told=False))
            lines.append(Line(name, calls, values, role, spread=spread, dots=True))
    if not lines:
        return []
    calls = sorted({call for line in lines for call in line.x})
    x = axis("network calls a sample", calls, log=True, tell=number)
    x = Axis(x.name, x.low, x.high, _apart(x, calls), True, number)
    around = [v for m in marks for v in (m.value, m.low, m.high) if v]
    y = axis(title.lower(), [v for line in lines for v in line.y] + around, log=True, tell=number)
    names = [line.label for line in lines] + [m.label for m in marks]
    room = 16 + 8 * max(map(len, names))
    told = f"{title} against network calls for {', '.join(k.name for k, _ in curves)}"
    plot = chart(lines, x, y, told=told, marks=marks, height=320, right=room)
    return [figure(title, about, plot)]


def _apart(x: Axis, values: Iterable[float]) -> tuple[float, ...]:
    """Those values that have room for their number."""
    kept: list[float] = []
    for value in values:
        if not kept or x.place(value) - x.place(kept[-1]) > 0.08:
            kept.append(value)
    return tuple(kept)


def _contest_table(contenders: Sequence[Contender]) -> str:
    rows = []
    for k in contenders:
        for p in k.points:
            pairs = ("" if pair is None else plus_minus(*pair) for pair in (p.distance, p.frechet))
            agreement = "" if p.agreement is None else share(p.agreement)
            cells = (f"{p.steps}", number(p.calls), *pairs, agreement)
            figures = "".join(f'<td class="n">{cell}</td>' for cell in cells)
            rows.append(f'<tr><th scope="row">{escape(k.name)}</th>{figures}</tr>')
        rows += [
            f'<tr><th scope="row">{escape(k.name)}</th><td colspan="5">{escape(text)}</td></tr>'
            for text in k.failures
        ]
    head = "".join(
        f'<th scope="col" class="n">{name}</th>'
        for name in ("steps", "calls", "distance from flow", "Frechet", "agreement")
    )
    return (
        f'<div class="table" tabindex="0"><table><thead><tr><th scope="col">solver</th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _likelihood(c: Content) -> str:
    return likelihood.section(c.likelihood, c.images_seen) if c.likelihood else ""


def _grids(c: Content) -> str:
    if not c.grids:
        return _missing("No grid has been fitted to this model yet.", c, "fit-grid")
    rows = []
    for name, g in c.grids:
        pairs = zip(g.levels.alpha.tolist(), g.levels.sigma.tolist())
        shares = [1 - math.atan2(sigma, alpha) / (math.pi / 2) for alpha, sigma in pairs]
        levels = ladder(shares, f"the {len(shares)} levels of {name}")
        gain = f"{g.error_before / g.error:.1f}×" if g.error else ""
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(g.solver)}</td>'
            f'<td class="n">{g.steps}</td><td class="n">{number(g.error)}</td>'
            f'<td class="n">{number(g.error_before)} ({escape(g.before)})</td>'
            f'<td class="n">{gain}</td><td class="levels">{levels}</td></tr>'
        )
    head = "".join(
        f'<th scope="col"{cls}>{name}</th>'
        for name, cls in (
            ("grid", ""), ("solver", ""), ("steps", ' class="n"'), ("distance", ' class="n"'),
            ("best unfitted", ' class="n"'), ("gain", ' class="n"'), ("levels, noise to data", ""),
        )
    )  # fmt: skip
    return (
        '<p class="about">Levels and step lengths fitted to this model, a solver and a count of '
        "steps. The distance is that from the probability flow, on noises that were not fitted "
        "on. A level lies where atan(σ/α) puts it.</p>"
        f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _configuration(c: Content) -> str:
    groups = list(settings(c.config, c.usual))
    changed = sum(s.changed for _, group in groups for s in group)
    which = {0: "All settings are", 1: "1 setting differs from"}.get(
        changed, f"{changed} settings differ from"
    )
    about = f"{which} those of the recipe {escape(c.recipe)}."
    tables = "".join(
        f'<table class="settings"><caption>{escape(name.capitalize())}</caption>'
        '<thead><tr><th scope="col">setting</th><th scope="col">value</th>'
        '<th scope="col">what it is</th></tr></thead>'
        f"<tbody>{''.join(map(_setting, group))}</tbody></table>"
        for name, group in groups
    )
    return f'<p class="about">{about}</p>{tables}'


def _setting(s: Setting) -> str:
    usual = f"<small>recipe: {escape(setting(s.usual))}</small>" if s.changed else ""
    return (
        f'<tr{" class=changed" * s.changed}><th scope="row"><code>{escape(s.flag)}</code></th>'
        f'<td class="value"><b>{escape(setting(s.value))}</b>{usual}</td>'
        f'<td class="words">{escape(s.words)}</td></tr>'
    )


def _image(picture: Picture, about: str) -> str:
    content = base64.b64encode(picture.png).decode()
    return (
        f'<img src="data:image/png;base64,{content}" width="{picture.width}" '
        f'height="{picture.height}" alt="{escape(about)}">'
    )


def _missing(fact: str, c: Content, command: str) -> str:
    if not c.checkpoint:
        return f'<p class="about">{escape(fact)} The first checkpoint must come before.</p>'
    return f'<p class="about next">{escape(fact)} Next: <code>{_command(c, command)}</code></p>'


def _command(c: Content, command: str) -> str:
    return escape(f"scorefield {command} {shlex.quote(c.path)}")


SECTIONS: list[tuple[str, str, Section]] = [
    ("samples", "Samples", _samples),
    ("measures", "Measures", _measures),
    ("training", "Training", _training),
    ("noise", "Noise levels", _noise),
    ("solvers", "Solvers", _solvers),
    ("grids", "Fitted grids", _grids),
    ("likelihood", "Likelihood", _likelihood),
    ("configuration", "Configuration", _configuration),
]
"""(anchor, title, what fills it), in the order of the page; what has no words is left out."""
