"""Findings: read back as they were written, and every figure shown by every renderer."""

import io
import json
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from scorefield.base import BadInput
from scorefield.base.finding import (
    Figure,
    Findings,
    Heatmap,
    Line,
    Mark,
    Series,
    Strip,
    Table,
    to_findings,
)
from scorefield.report import html, pixels, text
from scorefield.report.picture import png_of
from scorefield.report.wording import aligned as rows_told
from scorefield.report.wording import worded

numbers = st.integers(-(10**6), 10**6).map(lambda n: n / 10**3)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=30)
spreads = (
    st.none() | st.floats(0, 1e6) | st.tuples(numbers, numbers).map(lambda p: (min(p), max(p)))
)
figures = st.builds(
    Figure, texts, numbers, spreads, st.none() | numbers, st.none() | st.floats(0, 9),
    st.sampled_from(["", "%", "dB"]), st.sampled_from(["", "low", "high", "real"]), texts,
)  # fmt: skip
cells = texts | st.integers(-(10**9), 10**9) | numbers | st.none()
tables = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        Table, texts, st.tuples(*[texts] * n),
        st.lists(st.tuples(*[cells] * n), min_size=1, max_size=4).map(tuple), texts,
    )
)  # fmt: skip
lines = st.lists(st.tuples(numbers, numbers, spreads), min_size=1, max_size=30).flatmap(
    lambda rows: st.builds(
        Line, texts, *(st.just(tuple(column)) for column in zip(*sorted(rows, key=lambda r: r[0]))),
        st.booleans(), st.none() | st.floats(0.1, 1),
    )
)  # fmt: skip
logs = st.tuples(*[st.none() | st.booleans()] * 2)
series = st.builds(
    Series, texts, texts, texts, st.lists(lines, min_size=1, max_size=3).map(tuple),
    st.lists(st.builds(Mark, numbers, texts), max_size=2).map(tuple), logs, texts, st.booleans(),
)  # fmt: skip
strips = st.builds(Strip, texts, words=texts, captions=st.lists(texts, max_size=2).map(tuple))
maps = st.builds(
    Heatmap, texts, texts, texts, st.just((0.0, 1.0, 3.0)), st.just((-1.0, 1.0)),
    st.tuples(st.tuples(st.none() | st.floats(1e-6, 1e6), st.none() | st.floats(1e-6, 1e6))), texts,
)  # fmt: skip
found = st.builds(
    Findings, texts, texts, texts,
    st.lists(figures | tables | series | strips | maps, min_size=1, max_size=5).map(tuple),
    st.just({"n": 3, "deep": {"a": [1, None]}}),
)  # fmt: skip


def settings(examples: int):
    """Without shrinking, which takes minutes here."""
    phases = (Phase.explicit, Phase.generate)
    return hypothesis_settings(max_examples=examples, deadline=None, phases=phases)


class Words(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.text += " " + " ".join(str(value) for _, value in attrs)


def shown(findings: Findings) -> list[str]:
    """All that a rendering must hold."""
    told = []
    for item in findings.items:
        told.append(item.name)
        if isinstance(item, Figure):
            told.append(worded(item.value, item.spread, item.unit))
            if item.floor is not None:
                told.append(worded(item.floor, item.floor_spread, item.unit))
        elif isinstance(item, Table):
            told += [cell for row in rows_told(item.rows) for cell in row]
        elif isinstance(item, Strip):
            told += item.captions
    return told


def missing(findings: Findings, rendered: str) -> list[str]:
    return [word for word in shown(findings) if word not in rendered]


@settings(40)
@given(found)
def test_findings_are_read_back_as_they_were(findings):
    content = json.loads(json.dumps(findings.to_json(), allow_nan=False))
    assert to_findings(content, "x.json") == findings
    assert (content["n"], content["verb"]) == (3, findings.verb)


@settings(40)
@given(found)
def test_text_and_html_show_every_figure(findings):
    tabled = any(isinstance(item, Table) for item in findings.items)
    untold = (Heatmap, Series) if tabled else Heatmap
    told = [item for item in findings.items if not isinstance(item, untold)]
    assert not missing(Findings("", "", "", tuple(told)), text.render(findings))
    page = Words(html.fragment(findings))
    assert not missing(findings, page.text)


@settings(15)
@given(found)
def test_a_picture_says_every_figure(findings):
    from PIL import ImageDraw

    told, usual = [], ImageDraw.ImageDraw.text

    def spy(self, place, words, *rest):
        told.append(words)
        return usual(self, place, words, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", spy)
        image = pixels.sheet(findings)
    named = [item for item in findings.items if not isinstance(item, Strip) or not item.captions]
    assert not missing(Findings("", "", "", tuple(named)), "\n".join(told))
    assert image.width >= pixels.WIDTH


PLAIN = Findings("eval", "runs/x", "how", (Figure("distance", 1.5, 0.1, 0.5, best="low"),), {})


@pytest.mark.parametrize("gone", ["1.50 ± 0.1", "1.5 ± 0.1"])
def test_a_planted_omission_is_found(gone):
    assert (
        missing(PLAIN, text.render(PLAIN).replace(gone, "")) == ["1.5 ± 0.1"][: gone == "1.5 ± 0.1"]
    )


HOSTILE = "</title><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"


def hostile(text: str) -> Findings:
    curve = Line(text, (1.0, 2.0), (1.0, 3.0))
    items = (
        Figure(text, 1.0, 0.1, 2.0, unit=text, words=text), Table(text, (text,), ((text,),), text),
        Series(text, text, text, (curve, curve), (Mark(2.0, text),), words=text),
        Heatmap(text, text, text, (0.0, 1.0), (0.0, 1.0), ((1.0,),), text),
        Strip(text, torch.zeros(1, 1, 2, 2), captions=(text,), words=text),
    )  # fmt: skip
    return Findings(text, text, text, items)


def test_hostile_names_are_text_and_nothing_else():
    tags = Words(html.fragment(hostile(HOSTILE))).tags
    assert tags == Words(html.fragment(hostile("x"))).tags
    assert "script" not in tags


def test_a_text_that_is_not_escaped_is_found(monkeypatch):
    templates = html._templates()
    monkeypatch.setattr(templates, "autoescape", False)
    templates.cache.clear()  # type: ignore[union-attr] it has one
    one, other = (Words(html.fragment(hostile(text))).tags for text in (HOSTILE, "x"))
    templates.cache.clear()  # type: ignore[union-attr] it has one
    assert one != other


@pytest.mark.parametrize(
    "damage",
    [
        {"items": None}, {"items": [{"kind": "script"}]}, {"verb": 3}, {"items": ["figure"]},
        {"items": [{"kind": "figure", "name": "a", "value": "1.0"}]},
        {"items": [{"kind": "series", "name": "a", "x": "x", "y": "y", "lines": [{"x": [1]}]}]},
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(damage):
    with pytest.raises(BadInput, match=r"^here/eval.json does not hold .* Measure again"):
        to_findings(PLAIN.to_json() | damage, "here/eval.json")


def test_a_file_of_an_earlier_version_is_named():
    with pytest.raises(BadInput, match="Measure again"):
        to_findings({"images_seen": 3, "frechet": {"value": 1.0}}, "eval.json")


def test_what_is_not_finite_is_not_written():
    with pytest.raises(BadInput, match="holds nan"):
        Findings("", "", "", (Figure("a", float("nan")),)).to_json()
    with pytest.raises(BadInput, match="holds inf"):
        Findings("", "", "", (), {"a": [{"b": float("inf")}]}).to_json()


def test_samples_are_shown_and_not_written():
    strip = Strip("samples", torch.zeros(4, 1, 8, 8), file="sheet.png")
    findings = Findings("edit", "x", "", (strip,))
    assert findings.to_json()["items"][0].keys() & {"x0", "labels", "png"} == set()
    assert "data:image/png;base64," in html.fragment(findings)
    assert Image.open(io.BytesIO(png_of(strip))).size[0] > 8
