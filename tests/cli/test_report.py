"""`scorefield report`: one file, from whatever the run folder holds."""

import json
import re
from functools import partial

import pytest

import scorefield.use.plane as planes
from scorefield.base import BadInput
from scorefield.cli import frame
from scorefield.data import load
from scorefield.report import overview as reading
from scorefield.report.overview import overview, settings
from scorefield.run.open import open_run
from scorefield.run.settings import Config
from scorefield.store import write_json
from scorefield.use import judge as judging


@pytest.fixture
def report(capfd):
    """`report(run, ...)` -> stdout and stderr of a report that was written."""

    def call(*words: object) -> tuple[str, str]:
        capfd.readouterr()
        assert frame.run("report", [str(word) for word in words]) == 0
        return tuple(capfd.readouterr())  # type: ignore[return-value] two texts

    return call


def test_a_report_of_a_trained_run(report, run):
    out, err = report(run)
    html = (run / "report.html").read_text()
    assert str(run / "report.html") in out
    assert "scorefield eval" in err
    assert html.startswith("<!DOCTYPE html>")
    assert "Trained on 128 images" in html
    assert html.count('src="data:image/png;base64,') == len(list(run.glob("samples/0*.png"))) > 0
    assert f"scorefield eval {run}" in html  # not measured yet
    assert "5 settings differ from those of the recipe digits." in html
    for _, rows in settings(Config(), Config()):
        assert all(words and name in html for name, _, _, words in rows)
    assert not list(run.glob(".*.tmp"))


def test_the_same_folder_gives_the_same_bytes(report, run, tmp_path):
    report(run, "--out", tmp_path / "a.html")
    report(run)
    report(run, "--out", tmp_path / "b.html")  # a report in the folder changes nothing
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").stat().st_size < 300_000
    assert (tmp_path / "a.html").read_bytes() == (run / "report.html").read_bytes()


def test_json_says_what_is_missing(report, run, tmp_path):
    out, err = report(run, "--out", tmp_path / "x.html", "--json")
    said = json.loads(out)
    assert said["out"] == str(tmp_path / "x.html")
    assert said["bytes"] == (tmp_path / "x.html").stat().st_size
    assert (said["images_seen"], err) == (128, "")
    assert said["next"] == [f"scorefield {c} {run}" for c in ("eval", "compare", "fit-grid")]


def test_a_run_that_has_only_begun_has_a_report(report, run):
    for file in run.iterdir():
        if file.is_file() and file.name != "config.json":
            file.unlink()
    for picture in run.glob("samples/*"):
        picture.unlink()
    report(run)
    html = (run / "report.html").read_text()
    assert "At 0 of 128 images" in html
    assert f"scorefield train digits --out {run} --resume" in html
    assert "The log is empty" in html


def test_a_log_that_is_being_written_counts(report, run):
    (run / "state.json").unlink()
    with open(run / "log.jsonl", "a") as file:
        file.write('{"images": 1')
    report(run)
    assert "Trained on 128 images" in (run / "report.html").read_text()


def test_a_hostile_folder_is_text(report, run):
    hostile = run.rename(run.with_name("<img src=x onerror=alert(1)>"))
    report(hostile)
    html = (hostile / "report.html").read_text()
    assert "<img src=x" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 2


def test_of_many_pictures_some_are_shown_with_the_first_and_the_last(report, run, monkeypatch):
    first = next(run.glob("samples/0*.png")).read_bytes()
    for i in range(1, 100):
        (run / "samples" / f"{i:09d}.png").write_bytes(first)
    film = overview(run).sections[0].film
    assert len(film) == reading.PICTURES
    assert (film[0].images, film[-1].images) == (1, 128)
    monkeypatch.setattr(reading, "ROOM", 5 * len(first))
    assert 2 <= len(overview(run).sections[0].film) <= 5


def written(run, name, text):
    """The run with a file of that text, or a folder of the name, in the place of what was there."""
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir() if text is None else (run / name).write_text(text)
    return run


def _no_settings(run):
    (run / "config.json").unlink()
    return run


def _altered_measures(run):
    """A digit that another hand, or a bit that flipped, turned into another."""
    write_json(run / "eval.json", {"n_samples": 1000})
    return written(run, "eval.json", (run / "eval.json").read_text().replace("1000", "1001"))


@pytest.mark.parametrize(
    "damage, word",
    [
        (lambda run: run / "nowhere", "does not exist"),
        (lambda run: run / "config.json", "is a file, not a run folder"),
        (_no_settings, "no config.json"),
        (lambda run: written(run, "config.json", "{"), "config.json"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(run, damage, word):
    with pytest.raises(BadInput, match=re.escape(word)) as told:
        frame.run("report", [str(damage(run))])
    assert "\n" not in str(told.value)
    assert not (run / "report.html").exists()


DAMAGED = [
    ("eval.json", '{"frechet": 1}', "eval.json does not hold"), ("eval.json", None, "eval.json"),
    ("log.jsonl", None, "log.jsonl"), ("samples/000000064.png", "no picture", "is not a PNG"),
    ("compare/compare.json", "{}", "compare.json does not hold"), ("grids/x.json", "{}", "x.json"),
    ("likelihood/vlb.json", "{", "vlb.json"),
]  # fmt: skip


def test_a_file_that_was_altered_is_left_out(report, run):
    assert "eval.json does not hold what it was written with" in report(_altered_measures(run))[1]


@pytest.mark.parametrize("name, text, word", DAMAGED)
def test_a_file_that_cannot_be_read_costs_its_own_part(report, run, name, text, word):
    _, err = report(written(run, name, text))
    html = (run / "report.html").read_text()
    assert err.count("left out: ") == 1 == html.count("Left out: ")
    assert word in err
    assert "Trained on 128 images" in html
    assert 'id="configuration"' in html


def test_a_measurement_of_few_samples_has_its_section(cli, run, report, monkeypatch):
    """Two samples of ten classes ask for two of them: the others have no share."""
    quick = partial(judging.train_judge, epochs=1)
    monkeypatch.setattr(judging, "train_judge", lambda data, folder, **settings: quick(data))
    assert cli("eval", run, "--n", 2).code == 0
    assert "left out" not in report(run)[1]
    assert "2 samples of arc" in (run / "report.html").read_text()


def test_the_output_must_be_a_file_that_can_be_written(run, tmp_path):
    with pytest.raises(BadInput, match="is a folder"):
        frame.run("report", [str(run), "--out", str(tmp_path)])
    with pytest.raises(BadInput, match="lies below"):
        frame.run("report", [str(run), "--out", str(run / "config.json" / "x.html")])


def test_a_notebook_shows_a_run_and_short_lines(run):
    opened = open_run(run)
    shown = opened._repr_html_()  # type: ignore[attr-defined] the report brings it
    assert "Images seen" in shown
    assert "<script" not in shown
    assert repr(opened.denoiser) == "Denoiser(UNet, edm, 10,433 parameters, 1x8x8, 10 classes)"
    assert repr(load("digits")) == "Data(digits, 1,415 + 382 held out, 1x8x8, 10 classes)"


def test_points_of_the_plane_have_their_densities_and_flow(cli, report, run, tmp_path, monkeypatch):
    words = "--net.width 8 --net.blocks 1 --batch 32 --images 64 --sample.steps 2"
    assert cli("train", "moons", "--out", tmp_path / "moons", *words.split()).code == 0
    monkeypatch.setattr(planes, "POINTS", 200)
    report(tmp_path / "moons")
    html = (tmp_path / "moons" / "report.html").read_text()
    assert 'id="plane"' in html
    assert 'alt="Density"' in html
    assert 'alt="Flow"' in html
    assert "plane" not in [s.key for s in overview(tmp_path / "moons").sections]  # of a notebook
    report(run)
    assert 'id="plane"' not in (run / "report.html").read_text()
