"""The page of a run: all of it is there, escaped, needs nothing else, and opens in a browser."""

import base64
import dataclasses
import hashlib
import io
import math
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from scorefield.base import BadInput
from scorefield.data import Scaling
from scorefield.nets.describe import Summary
from scorefield.report import charts, content, page, style
from scorefield.report.content import Content, read_contest, read_evaluation, read_log, read_picture
from scorefield.report.likelihood import Counted, Levels, Likelihood, Outcome, Strangers
from scorefield.run.config import Config, DataFacts
from scorefield.run.recipes import recipes
from tests.report import chromium

HOSTILE = "</title><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "link", "img", "input", "br"}


def png(value: int = 0, width: int = 60) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, 40), value).save(buffer, "PNG")
    return buffer.getvalue()


def log_text(rows: int = 90, buckets: bool = True) -> str:
    lines = []
    for i in range(1, rows + 1):
        loss = 0.3 + math.exp(-i / 20)
        by = {str(b): loss * (1 + abs(b) / 5) for b in range(-9, 10, 2)} if buckets else {}
        more = f', "grad_norm": {2 * loss}, "memory_mb": 640.5, "by_logsnr": {by}'.replace("'", '"')
        lines.append(
            f'{{"images": {i * 512}, "loss": {loss}, "lr": 0.001, "images_per_second": {500 + i}, '
            f'"seconds": {i * 1.5}{more if buckets else ""}}}'
        )
    return "\n".join(lines) + "\n"


def evaluated(name: str = "0") -> dict:
    shares = {"hits": 9, "n": 10, "share": 0.9, "low": 0.6, "high": 0.98}
    measured = {"precision": 0.9, "recall": 0.7}
    return {
        "images_seen": 46080, "steps": 10, "solver": "arc", "grid": "vp-root", "guidance": 1.3,
        "network_calls": 20, "samples_per_second": 159.0, "judge": {"accuracy": 0.99},
        "data": "digits", "feature_space": "digits-judge v1 features (64)", "n_samples": 1000,
        "n_test": 359,
        "frechet": {"value": 0.56, "value_std": 0.07, "floor": 0.41, "floor_std": 0.05, "n": 359},
        "precision_recall": measured, "precision_recall_real": {"precision": 0.92, "recall": 0.88},
        "memorisation": {"ratio": 1.02, "near": 0.004},
        "agreement": {"total": shares, "per_class": {name: shares}},
        "agreement_real": {"total": {**shares, "share": 0.997}, "per_class": {}},
    }  # fmt: skip


def compared(*names: str) -> dict:
    cells = [
        {"name": name, "steps": steps, "stochastic": name == "sa", "calls": 2.0 * steps,
         "distance": None if name == "sa" else {"mean": 1 / steps, "stderr": 0.01},
         "quality": {"frechet": 1 + 3 / steps, "frechet_std": 0.0, "agreement": None},
         "failure": "3 samples < 5 are not finite" if name == "ddim" and steps == 5 else None}
        for name in names for steps in (5, 10, 20)
    ]  # fmt: skip
    return {
        "images_seen": 46080, "cells": cells, "real": {"frechet": 0.97, "frechet_std": 0.14},
        "reference": {"error": 6e-5, "quality": {"frechet": 1.2}}, "n": 100, "guidance": 1.4,
        "calls_per_eval": 2, "frechet_n": 100, "feature_space": "digits-judge v1 features (64)",
    }  # fmt: skip


def grid(name: str = "arc") -> SimpleNamespace:
    levels = SimpleNamespace(alpha=np.array([0.0, 0.6, 1.0]), sigma=np.array([1.0, 0.8, 0.0]))
    return SimpleNamespace(
        levels=levels, solver=name, steps=2, error=0.02, error_before=0.03, before=name
    )


def facts(*classes: str) -> DataFacts:
    return DataFacts("digits", (1, 8, 8), classes or ("0", "1"), Scaling((8.0,), (8.0,)), 0.75)


def likelihood(text: str = "test") -> Likelihood:
    """Four methods, the levels of two bounds and three histograms; `text` as a set's name."""
    methods = ("flow", "elbo", "vlb", "bound")
    outcomes = [
        Outcome(m, 46080, text, 359, 1.8 + i / 20, 0.02, None if i == 1 else 0.01, 130.0, text)
        for i, m in enumerate(methods)
    ]
    edges = tuple(float(v) for v in range(-8, 9))
    levels = [Levels(m, edges, tuple(0.02 * k for k in range(16)), 0.003, 0.33)
              for m in ("elbo", "vlb")]  # fmt: skip
    counts = [(0, 3, 9, 2), (1, 4, 8, 1), (0, 0, 1, 13)]
    sets = [Counted(name, 14, 1.8, 0.01, c, None if name != text else 0.98)
            for name, c in zip(("train", "test ", text), counts)]  # fmt: skip
    strangers = Strangers("vlb", 46080, (1.5, 1.7, 1.9, 2.1, 2.3), tuple(sets))
    return Likelihood(tuple(outcomes), tuple(levels), strangers)


def empty(**changes) -> Content:
    usual = recipes["digits"]()
    return Content(
        "digits", "runs/digits", "digits", usual, usual, facts(), Summary(464_593, 18_800_000), 0,
        **changes,
    )  # fmt: skip


def full(text: str = "digits") -> Content:
    """Everything that a run may have; `text` wherever a run may bring its own."""
    usual = recipes["digits"]()
    training = dataclasses.replace(usual.training, lr=0.002, images=46080)
    changed = dataclasses.replace(
        usual, training=training, data=dataclasses.replace(usual.data, path=text)
    )
    solvers = compared("arc", "ddim", "sa", text)
    return Content(
        name=text, path=f"runs/{text}", recipe=text, config=changed, usual=usual,
        facts=dataclasses.replace(facts(text), name=text), size=Summary(464_593, 18_800_000),
        images_seen=46080, log=read_log(log_text()),
        pictures=tuple(read_picture(n, png(n % 255), "x") for n in (20000, 40000)),
        evaluation=read_evaluation(evaluated(text), "eval.json"),
        contest=read_contest(solvers, "compare.json", read_picture(0, png(9, 900), "x")),
        grids=((text, grid(text)),),  # type: ignore[arg-type] a light stand-in
        likelihood=likelihood(text),
    )  # fmt: skip


class Tree(HTMLParser):
    """Elements with their attributes; complains of what is closed wrongly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


def needs(html: str) -> list[str]:
    """What a page asks for that it does not hold, and what could run that is not ours."""
    tree, wants = Tree(html), []
    for tag, attrs in tree.found:
        for name, value in attrs.items():
            if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
                inside = (value or "").startswith(("data:", "#"))
                wants += [] if inside else [f"{tag} {name}={value}"]
            if name.startswith("on"):
                wants.append(f"{tag} {name}")
        if tag in ("iframe", "object", "embed", "base", "form"):
            wants.append(tag)
    wants += ["a second script"] * (len(tree.all("script")) != 1)
    wants += re.findall(r"url\(|@import|@font-face|fetch\(|https?://|//[\w-]+\.\w+", html)
    return wants


def test_a_page_needs_nothing_but_itself():
    assert needs(page.page(full())) == []
    assert needs(page.page(empty())) == []


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="https://example.org/x.png">',
        '<link rel="stylesheet" href="style.css">',
        "<script>1</script>",
        '<p onclick="x()"></p>',
        "<style>p { background: url(x.png) }</style>",
    ],
)
def test_a_planted_need_is_found(planted):
    assert needs(page.page(full()).replace("</main>", planted + "</main>"))


def test_what_a_run_brings_is_text_and_nothing_else():
    html = page.page(full(HOSTILE))
    assert needs(html.replace("'taken'", "")) == []
    assert len(Tree(html).found) == len(Tree(page.page(full("x"))).found)
    assert html.count(escape(HOSTILE)) > 8  # title, heading, settings, solvers, grid, ...


def test_a_text_that_is_not_escaped_is_found(monkeypatch):
    monkeypatch.setattr(page, "escape", lambda text: text)
    with pytest.raises(AssertionError):
        assert needs(page.page(full("<script>1</script>"))) == []


def test_the_policy_admits_this_script_and_no_other():
    html = page.page(empty())
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for a in Tree(html).all("meta") if "http-equiv" in a)
    assert policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_same_content_gives_the_same_characters_and_few_of_them():
    assert page.page(full()) == page.page(full())
    assert len(page.page(full())) < 400_000
    long = dataclasses.replace(full(), log=read_log(log_text(20_000)))
    assert len(page.page(long)) < 600_000


def test_the_facts_are_there():
    text = Tree(page.page(full())).text
    for fact in (
        "465k", "18.8\xa0MFLOP", "2 min 15 s", "Trained on 46,080 images",  # of the run
        "0.56 ± 0.07", "1.37 × the floor", "real data 0.41", "18.0 points below real data",
        "3 samples < 5 are not finite", "Dashed: sa, stochastic", "1.5×", "the flow",
        "Peak learning rate of AdamW.", "recipe: 0.003",
    ):  # fmt: skip
        assert fact in text, fact


def test_a_page_is_sound_html():
    tree = Tree(page.page(full()))
    ids = [a["id"] for _, a in tree.found if "id" in a]
    assert len(ids) == len(set(ids))
    anchors = [a["href"] for a in tree.all("a")]
    assert anchors == [f"#{key}" for key, _, _ in page.SECTIONS]
    assert {str(a)[1:] for a in anchors} <= set(ids)
    assert all(a.get("scope") in ("row", "col") for a in tree.all("th"))
    assert all(a.get("alt") for a in tree.all("img"))
    assert [tag for tag, _ in tree.found].count("h1") == 1
    assert {"header", "nav", "main", "section", "figure", "figcaption", "footer"} <= {
        tag for tag, _ in tree.found
    }


def test_what_differs_from_the_recipe_is_marked():
    html = page.page(full())
    rows = re.findall(r"<tr class=changed>.*?<code>(.*?)</code>", html)
    assert rows == ["--images", "--lr", "--data.path"]
    assert "3 settings differ from those of the recipe digits." in html
    assert "All settings are those of the recipe digits." in page.page(empty())


def test_every_setting_is_there_and_explained():
    html = page.page(empty())
    for name, group in content.settings(Config(), Config()):
        assert group, name
        for one in group:
            assert one.words, one.flag
            assert f"<code>{one.flag}</code>" in html


def test_a_run_that_has_only_begun_says_what_to_do_next():
    text = Tree(page.page(empty())).text
    for command in ("eval", "compare", "fit-grid", "sample"):
        assert f"scorefield {command} runs/digits" in text
    assert "Go on: scorefield train digits --out runs/digits --resume" in text
    assert "The log is empty" in text
    assert "did not log its loss by noise level" in text


def test_a_log_of_before_has_no_curves_of_what_it_lacks():
    html = page.page(empty(log=read_log(log_text(buckets=False))))
    assert "Not logged: gradient norm, memory." in html
    assert "did not log its loss by noise level" in html
    assert "<figcaption><b>Speed</b>" in html


def test_without_a_checkpoint_there_is_nothing_to_sample_yet():
    text = Tree(page.page(empty(checkpoint=False))).text
    assert "Not measured yet. The first checkpoint must come before." in text
    assert "scorefield eval" not in text


def test_measures_of_an_older_state_say_so():
    old = dataclasses.replace(full(), images_seen=99_999)
    assert "Measured at 46,080 images; the run is at 99,999." in Tree(page.page(old)).text


def test_a_log_that_is_still_written_is_read():
    text = log_text(3) + '{"images": 2048, "lo'
    log = read_log(text + "\n[]\n" + '{"images": 3000, "loss": NaN, "seconds": 0.5}')
    assert log.images == (512, 1024, 1536, 3000)
    assert math.isnan(log.loss[-1])
    assert log.seconds == 5.0  # 4.5 s, then a resumed run that counts from 0
    assert [middle for middle, _ in log.by_logsnr] == list(range(-9, 10, 2))
    assert len({len(column) for column in (log.images, log.lr, log.by_logsnr[0][1])}) == 1
    assert page.page(empty(log=log))


@pytest.mark.parametrize("rows", [1, 2, 3, 25])
def test_a_short_log_has_its_curves(rows):
    assert needs(page.page(empty(log=read_log(log_text(rows))))) == []


@pytest.mark.parametrize("key", sorted(evaluated()))
def test_a_damaged_eval_is_named(key):
    broken = {k: v for k, v in evaluated().items() if k != key}
    with pytest.raises(BadInput, match=r"^here/eval.json does not hold"):
        read_evaluation(broken, "here/eval.json")


@pytest.mark.parametrize("key", sorted(compared("arc")))
def test_a_damaged_comparison_is_named(key):
    broken = {k: v for k, v in compared("arc").items() if k != key}
    with pytest.raises(BadInput, match=r"^compare.json does not hold"):
        read_contest(broken, "compare.json", None)


def test_a_picture_that_is_none_is_refused():
    with pytest.raises(BadInput, match="not a PNG"):
        read_picture(1, b"GIF89a" + bytes(40), "x.png")
    assert read_picture(1, png(), "x.png")[2:] == (60, 40)


@pytest.mark.parametrize(
    "values", [[0.0], [1.0], [-3.0, 5.0], [1e-8, 2e-8], [1.0, 1e6], [0.3, 1.1], [7.0, 7.1], []]
)
@pytest.mark.parametrize("log", [None, False, True])
def test_an_axis_holds_its_values_and_ticks(values, log):
    found = charts.axis("x", values, log=log)
    inside = [found.place(v) for v in values if found.shows(v)]
    assert all(-1e-9 <= at <= 1 + 1e-9 for at in (*inside, *map(found.place, found.ticks)))
    assert list(found.ticks) == sorted(set(found.ticks))
    assert len(found.ticks) <= 8


def test_an_axis_is_logarithmic_where_that_is_sensible():
    assert charts.axis("loss", [1.0, 0.3]).log
    assert not charts.axis("loss", [1.0, 0.5]).log
    assert not charts.axis("loss", [1.0, 0.0]).log
    assert not charts.axis("speed", [900.0, 100.0], zero=True).log


def test_the_drawn_path_is_the_curve():
    x, y = charts.axis("x", [0, 10], log=False, tight=True), charts.axis("y", [0, 1], tight=True)
    html = charts.chart([charts.Line("f", [0, 5, 7, 10], [0, 1, math.nan, 0.5])], x, y, told="t")
    assert re.findall(r'd="(.*?)"', html) == ["M0 1000L500 0M1000 500"]
    assert html.count('class="hit"') == 4


def test_smoothing_neither_lags_nor_shifts():
    line = np.linspace(1, 5, 200)
    found = np.array(charts.smooth(line.tolist()))
    assert np.abs(found - line)[10:-10].max() < 1e-12
    holes = line.copy()
    holes[50:60] = np.nan
    assert np.abs(np.array(charts.smooth(holes.tolist())) - line)[80:-10].max() < 1e-12
    late = np.roll(line, 5)  # what an average of the past would give
    assert np.abs(late - line)[10:-10].max() > 0.05


def test_thinning_keeps_the_peaks():
    y = np.sin(np.arange(10_000) / 500)
    y[1234] = 9
    kept = charts.thin(range(10_000), y.tolist())
    assert len(kept) <= charts.POINTS + 2
    assert (1234, 9) in kept
    assert (kept[0][0], kept[-1][0]) == (0, 9999)


@pytest.mark.parametrize("seed", range(8))
def test_labels_stand_apart_and_in_order(seed):
    wanted = np.random.default_rng(seed).uniform(0, 200, 9)
    places = np.array(charts.apart(wanted.tolist(), 200))
    assert np.diff(np.sort(places)).min() >= charts.LINE - 1e-9
    assert (np.argsort(places, kind="stable") == np.argsort(wanted)).all()
    assert ((places >= -1e-9) & (places <= 200 + 1e-9)).all()


def test_the_map_tells_its_figures():
    x, y = charts.axis("images seen", [0, 2], log=False, tight=True), charts.axis(
        "log SNR", [-2, 2], log=False, tight=True
    )  # fmt: skip
    values = np.array([[0.1, 1.0], [math.nan, 0.3]])
    html = charts.heat([0, 1, 2], [(-2, 0), (0, 2)], values, x, y, told="t")
    assert re.findall(r"--cell:(\d+)%", html) == ["8", "100", "52"]  # 0.3 is half way in logs
    assert "log SNR −2 to 0, 1 to 2 images seen: 1" in html


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium found: put one on the path, or name it in $SCOREFIELD_BROWSER")
    with chromium.started(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("state", ["full", "hostile", "empty"])
def test_the_page_opens_in_a_browser(browser, tmp_path, state, width, scheme):
    told = {"full": full(), "hostile": full(HOSTILE), "empty": empty()}[state]
    file = tmp_path / "report.html"
    file.write_text(page.page(told))
    tab = browser.tab()
    tab.open(file.as_uri(), width, scheme=scheme)
    assert chromium.complaints(tab) == []
    assert tab.run("document.title") == f"{told.name} · Scorefield"
    paper = {"light": "#fdfdfc", "dark": "#131519"}[scheme]
    assert paper in style.STYLE
    rgb = ", ".join(str(int(paper[i : i + 2], 16)) for i in (1, 3, 5))
    assert tab.run("getComputedStyle(document.body).backgroundColor") == f"rgb({rgb})"
    shot = Image.open(io.BytesIO(tab.screenshot(tmp_path / "page.png"))).convert("L")
    assert shot.width == width
    assert shot.height > 900
    assert (np.asarray(shot).max() - np.asarray(shot).min()) > 150  # something is drawn


@pytest.mark.slow
def test_the_slider_shows_one_picture_at_a_time_and_without_script_all_are_there(browser, tmp_path):
    shown = "[...document.querySelectorAll('.film figure')].map(f => f.offsetWidth > 0)"
    file = tmp_path / "report.html"
    file.write_text(page.page(full()))
    tab = browser.tab()
    tab.open(file.as_uri())
    assert tab.run(shown) == [False, True]
    tab.run("(i => { i.value = 0; i.dispatchEvent(new Event('input')) })"
            "(document.querySelector('.scrub input'))")  # fmt: skip
    assert tab.run(shown) == [True, False]

    plain = browser.tab()
    plain.call("Emulation.setScriptExecutionDisabled", value=True)
    plain.open(file.as_uri())
    plain.call("Emulation.setScriptExecutionDisabled", value=False)  # so that it can be asked
    assert plain.run(shown) == [True, True]
    assert plain.run("document.querySelector('.scrub').offsetWidth") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "planted, complaint",
    [
        ('<img src="data:image/png;base64,AAAA" alt="x">', "is not decoded"),
        ('<div style="width:2000px;height:9px">x</div>', "too wide"),
        ('<img src="x.png" alt="x">', "Log.entryAdded"),  # the policy refuses it, and says so
        ("<script>alert(1)</script>", "Log.entryAdded"),
        ('<div class="chart"><svg height="0"></svg></div>', "a chart has no size"),
    ],
)
def test_a_planted_fault_is_seen_by_the_browser(browser, tmp_path, planted, complaint):
    file = tmp_path / "report.html"
    file.write_text(page.page(full()).replace("</main>", planted + "</main>"))
    tab = browser.tab()
    tab.open(file.as_uri(), 390)
    assert any(complaint in found for found in chromium.complaints(tab)), chromium.complaints(tab)


@pytest.mark.slow
def test_it_prints(browser, tmp_path):
    file = Path(tmp_path / "report.html")
    file.write_text(page.page(full()))
    tab = browser.tab()
    tab.open(file.as_uri(), scheme="dark")
    assert tab.run("getComputedStyle(document.querySelector('h1')).color") != "rgb(25, 27, 31)"
    tab.call("Emulation.setEmulatedMedia", media="print")
    ink = "getComputedStyle(document.querySelector('h1')).color"
    assert tab.run(ink) == "rgb(25, 27, 31)"  # dark on white, although the screen is dark
    pdf = base64.b64decode(tab.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
