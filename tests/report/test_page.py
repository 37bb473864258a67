"""The page of a run: all of it is there, escaped, needs nothing else, and opens in a browser."""

import base64
import hashlib
import io
import math
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings, Heatmap, Line, Mark, Series, Strip, Table
from scorefield.report import charts, html, ink
from scorefield.report.html import Page, Section, Shot
from scorefield.report.log import noise, training
from scorefield.store import png_size, read_log
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


def evaluated(name: str) -> Findings:
    figures = (
        Figure("Frechet distance", 0.56, 0.07, 0.41, 0.05, best="low", words=name),
        Figure("Recall", 0.7, None, 0.88, unit="%", best="real", words=name),
        Figure("Class agreement", 0.9, (0.6, 0.98), 0.997, unit="%", best="high", words=name),
        Figure("Judge's accuracy", 0.99, unit="%", words=name),
    )
    return Findings("eval", "x", name, figures)


def empty() -> Page:
    missing = Section(
        "measures", "Measures", note="Not measured yet. Next:", next="scorefield eval x"
    )
    info = (("Images seen", "0", "batches of 9"),)
    return Page("digits", 0, "At 0 of 9.", "train", "A unet.", "report", info, (missing,))


def full(text: str = "digits", rows: int = 90) -> Page:
    """Every kind of finding; `text` wherever a run may bring its own."""
    log = read_log(log_text(rows))
    curve = Line(text, (5.0, 10.0), (1.0, 2.0), (0.1, (1.5, 2.5)), dashed=True)
    levels = noise(log, text)
    assert levels
    others = Findings("compare", text, text, (
        Series(text, text, text, (curve, curve), (Mark(1.5, text, 1.0, 2.0),), (True, True), text),
        Strip(text, torch.zeros(2, 1, 4, 4), captions=(text,), words=text),
        Strip(text, file=text, png=png(9, 900)),
        Table(text, (text, "steps"), ((text, 5), ("b" * 40, None)), text),
        Figure(text, 2.0, unit=text, words=text),
    ))  # fmt: skip
    sections = (
        Section("samples", text, note=text, film=tuple(Shot(n, png(n % 255)) for n in (9, 20000))),
        Section("measures", text, (evaluated(text),)),
        Section("training", text, (training(log, text, 0.7),)),
        Section("noise", text, (levels,)),
        Section("solvers", text, (others,), text, text),
    )
    info = ((text, text, text),) * 6
    return Page(text, 46080, text, text, text, text, info, sections, (text,))


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
    assert (needs(html.html(full())), needs(html.html(empty()))) == ([], [])


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
    assert needs(html.html(full()).replace("</main>", planted + "</main>"))


def test_what_a_run_brings_is_text_and_nothing_else():
    page = html.html(full(HOSTILE))
    assert needs(page.replace("'taken'", "")) == []
    assert len(Tree(page).found) == len(Tree(html.html(full("x"))).found)
    assert page.count(escape(HOSTILE).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")) > 8


def test_a_text_that_is_not_escaped_is_found(monkeypatch):
    monkeypatch.setattr(html._templates(), "autoescape", False)
    html._templates().cache.clear()  # type: ignore[union-attr] it has one
    try:
        with pytest.raises(AssertionError):
            assert needs(html.html(full("<script>1</script>"))) == []
    finally:
        html._templates().cache.clear()  # type: ignore[union-attr] it has one


def test_the_policy_admits_this_script_and_no_other():
    page = html.html(empty())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for a in Tree(page).all("meta") if "http-equiv" in a)
    assert policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_same_content_gives_the_same_characters_and_few_of_them():
    assert html.html(full()) == html.html(full())
    assert len(html.html(full())) < 400_000
    assert len(html.html(full(rows=20_000))) < 600_000


def test_the_facts_are_there():
    text = Tree(html.html(full())).text
    for fact in (
        "0.56 ± 0.07", "1.37 × real data", "real data 0.41 ± 0.05", "18.0 points below real data",
        "90.0% (60.0% to 98.0%)",
    ):  # fmt: skip
        assert fact in text, fact


def test_a_page_is_sound_html():
    tree = Tree(html.html(full()))
    ids = [a["id"] for _, a in tree.found if "id" in a]
    assert len(ids) == len(set(ids))
    anchors = [a["href"] for a in tree.all("a")]
    assert anchors == [f"#{s.key}" for s in full().sections]
    assert {str(a)[1:] for a in anchors} <= set(ids)
    assert all(a.get("scope") in ("row", "col") for a in tree.all("th"))
    assert all(a.get("alt") for a in tree.all("img"))
    assert [tag for tag, _ in tree.found].count("h1") == 1
    assert {"header", "nav", "main", "section", "figure", "figcaption", "footer"} <= {
        tag for tag, _ in tree.found
    }


def test_the_two_inks_have_the_same_colours():
    style = html._file("page.css")
    for colour in (*ink.LINES, ink.REAL, ink.RULE, ink.INK, ink.MUTED):
        assert colour in style, colour


def test_a_log_that_is_still_written_is_read():
    text = log_text(3) + '{"images": 2048, "lo'
    log = read_log(text + "\n[]\n" + '{"images": 3000, "loss": NaN, "seconds": 0.5}')
    assert log.images == (512, 1024, 1536, 3000)
    assert math.isnan(log.loss[-1])
    assert log.seconds == 5.0  # 4.5 s, then a resumed run that counts from 0
    assert [middle for middle, _ in log.by_logsnr] == list(range(-9, 10, 2))
    assert len({len(column) for column in (log.images, log.lr, log.by_logsnr[0][1])}) == 1
    assert html.fragment(training(log, "x", 1.0))


def test_a_log_of_before_has_no_curves_of_what_it_lacks():
    log = read_log(log_text(buckets=False))
    found = training(log, "x", 1.0)
    assert "Not logged: gradient norm, memory." in found.how
    assert "Speed" in [item.name for item in found.items]
    assert noise(log, "x") is None


@pytest.mark.parametrize("rows", [1, 2, 3, 25])
def test_a_short_log_has_its_curves(rows):
    assert needs(html.html(full(rows=rows))) == []


def test_a_picture_that_is_none_is_refused():
    with pytest.raises(BadInput, match="not a PNG"):
        png_size(b"GIF89a" + bytes(40))
    assert png_size(png()) == (60, 40)


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


@pytest.mark.parametrize(
    "values, zero, log",
    [([1.0, 0.3], False, True), ([1.0, 0.5], False, False), ([1.0, 0.0], False, False),
     ([900.0, 100.0], True, False)],
)  # fmt: skip
def test_an_axis_is_logarithmic_where_that_is_sensible(values, zero, log):
    assert charts.axis("x", values, zero=zero).log == log


def svg(item: Series | Heatmap) -> str:
    return html.fragment(Findings("", "", "", (item,)))


def test_the_drawn_path_is_the_curve():
    """Broken where a value is not known."""
    curve = Line("f", (0.0, 5.0, 7.0, 9.0, 10.0), (0.0, 1.0, math.nan, 0.5, 0.0))
    drawn = svg(Series("f", "x", "y", (curve,), zero=True))
    assert re.findall(r'd="(.*?)"', drawn) == ["M0 1000L500 74.07", "M900 537L1000 1000"]
    assert drawn.count("<circle") == 4


def test_a_long_curve_tells_its_figures_under_the_pointer():
    n = charts.DOTS + 1
    curve = Line("f", tuple(map(float, range(n))), tuple(map(float, range(n))))
    drawn = svg(Series("f", "x", "y", (curve,)))
    assert drawn.count('class="hit"') == n
    assert "<title>7 x: f 7</title>" in drawn


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
    assert np.diff(np.sort(places)).min() >= charts.GAP - 1e-9
    assert (np.argsort(places, kind="stable") == np.argsort(wanted)).all()
    assert ((places >= -1e-9) & (places <= 200 + 1e-9)).all()


def test_the_map_tells_its_figures():
    values = ((0.1, 1.0), (None, 0.3))
    found = Heatmap("Loss", "images seen", "log SNR", (0.0, 1.0, 2.0), (-2.0, 0.0, 2.0), values)
    drawn = svg(found)
    heights = [float(v) for v in re.findall(r"--cell:([\d.]+)%", drawn)]
    assert heights == pytest.approx([8, 100, 51.9])  # 0.3 is half way in logs
    assert "log SNR −2 to 0, 1 to 2 images seen: 1" in drawn


def opened(browser, folder: Path, page: str, width: int = 1280, scheme: str = "light"):
    file, tab = folder / "report.html", browser.tab()
    file.write_text(page)
    tab.open(file.as_uri(), width, scheme=scheme)
    return file, tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("state", ["full", "hostile", "empty"])
def test_the_page_opens_in_a_browser(browser, tmp_path, state, width, scheme):
    told = {"full": full(), "hostile": full(HOSTILE), "empty": empty()}[state]
    _, tab = opened(browser, tmp_path, html.html(told), width, scheme)
    assert chromium.complaints(tab) == []
    assert tab.run("document.title") == f"{told.name} · Scorefield"
    paper = {"light": "#fdfdfc", "dark": "#131519"}[scheme]
    assert paper in html._file("page.css")
    rgb = ", ".join(str(int(paper[i : i + 2], 16)) for i in (1, 3, 5))
    assert tab.run("getComputedStyle(document.body).backgroundColor") == f"rgb({rgb})"
    shot = Image.open(io.BytesIO(tab.screenshot(tmp_path / "page.png"))).convert("L")
    assert shot.width == width
    assert shot.height >= 900
    assert (np.asarray(shot).max() - np.asarray(shot).min()) > 150  # something is drawn


def test_the_slider_shows_one_picture_at_a_time_and_without_script_all_are_there(browser, tmp_path):
    shown = "[...document.querySelectorAll('.film figure')].map(f => f.offsetWidth > 0)"
    file, tab = opened(browser, tmp_path, html.html(full()))
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
    _, tab = opened(
        browser, tmp_path, html.html(full()).replace("</main>", planted + "</main>"), 390
    )
    assert any(complaint in found for found in chromium.complaints(tab)), chromium.complaints(tab)


def test_it_prints(browser, tmp_path):
    _, tab = opened(browser, tmp_path, html.html(full()), scheme="dark")
    assert tab.run("getComputedStyle(document.querySelector('h1')).color") != "rgb(25, 27, 31)"
    tab.call("Emulation.setEmulatedMedia", media="print")
    ink = "getComputedStyle(document.querySelector('h1')).color"
    assert tab.run(ink) == "rgb(25, 27, 31)"  # dark on white, although the screen is dark
    pdf = base64.b64decode(tab.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
