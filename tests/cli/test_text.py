"""Runs on captions: prompts in, pictures out, and what is refused."""

import json

import numpy as np
import pytest
import torch

from scorefield.base.finding import Strip
from scorefield.data.readers.digits import NAMES
from scorefield.report.overview import overview
from scorefield.run.open import data_of, open_run
from scorefield.run.recipes import recipe
from scorefield.run.train import fit_run


@pytest.fixture(scope="module")
def spoken_run(tmp_path_factory):
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("text") / "run"
    tiny = replace(recipe("digits-text"), net="unet:width=8,multipliers=1,blocks=1")
    fit_run(tiny, folder, images=2560, lr=1e-2, ema=0.5)
    return folder


FEW = ["--steps", "2", "--solver", "ddim"]


def test_what_a_run_must_know_of_its_words_is_kept(spoken_run):
    info = open_run(spoken_run).info
    assert info.text
    assert info.text.words == tuple(sorted({"a", "thin", "bold", *NAMES}))
    assert len(info.text.shown) == 8
    assert info.conditions.sizes == {"vocabulary": 14, "length": 16}


def test_prompts_are_taken_in_turn_and_a_picture_says_them(spoken_run, cli, tmp_path):
    out, run = tmp_path / "a.png", str(spoken_run)
    said = ["--prompt", "a seven", "--prompt", "a two AND bold:.5", "--negative", "a one"]
    code, _, err = cli("sample", run, *said, *FEW, "--n", "4", "--out", str(out))
    assert code == 0, err
    assert cli("sample", "--like", str(out), "--out", str(tmp_path / "b.png")).code == 0
    assert out.read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_file_of_prompts_and_what_each_becomes_does_not_hang_on_the_others(
    spoken_run, cli, tmp_path
):
    (tmp_path / "p.txt").write_text("a seven\n\na bold three\n")
    run, made = str(spoken_run), {}
    for name, words in {
        "both": ["--prompts", str(tmp_path / "p.txt")],
        "one": ["--prompt", "a bold three", "--seeds", "1"],
        "none": ["--unconditional", "--seeds", "1"],
        "empty": ["--prompt", "", "--seeds", "1"],
    }.items():
        code, _, err = cli("sample", run, *words, *FEW, "--out", str(tmp_path / f"{name}.npz"))
        assert code == 0, err
        made[name] = np.load(tmp_path / f"{name}.npz")["x"]
    np.testing.assert_allclose(made["both"][1], made["one"][0], atol=1e-3)
    np.testing.assert_allclose(made["empty"], made["none"], atol=1e-3)
    assert np.abs(made["one"] - made["none"]).max() > 1e-2


@pytest.mark.parametrize(
    "words, says",
    [
        (["--prompt", "a seven", "--unconditional"], "--prompt and --unconditional exclude"),
        (["--negative", "a seven"], "there is no --prompt"),
        (["--prompt", "a AND b", "--guide", "cfg:2"], "does not read what is added"),
        (["--prompt", "a seven AND "], "has nothing on one side of AND"),
        (["--prompts", "nothing.txt"], "nothing.txt cannot be read"),
        (["--prompt", "a seven", "--labels", "google"], "this model has no classes"),
    ],
)
def test_what_does_not_go_together_is_refused(spoken_run, cli, words, says):
    code, _, err = cli("sample", str(spoken_run), "--n", "1", *words)
    assert code == 2
    assert says in " ".join(err.split())


def test_held_out_data_are_measured_by_their_captions(spoken_run, cli):
    run, short = str(spoken_run), ["--n", "4", "--steps", "2", "--json"]
    told, untold = (cli("likelihood", run, *short, *more) for more in ([], ["--unconditional"]))
    assert "measured without" not in told.err
    assert json.loads(told.out)["mean"] != json.loads(untold.out)["mean"]


def test_a_run_without_captions_says_so(trained, cli):
    code, _, err = cli("sample", str(trained), "--prompt", "a seven", "--n", "1")
    assert code == 2
    assert "trained without captions" in err


def test_data_without_captions_say_how_to_write_some(cli, tmp_path):
    code, _, err = cli("train", "digits", "--data.text", "words", "--out", str(tmp_path / "r"))
    assert code == 2
    assert "write captions: name.txt beside name.png" in " ".join(err.split())


def test_packages_that_are_absent_or_of_another_digest_are_refused(cli, tmp_path):
    from scorefield.data.readers.emoji import PACKAGES

    out = ["--out", str(tmp_path / "out"), "--packages", str(tmp_path)]
    code, _, err = cli("data", "emoji", *out)
    assert code == 2
    assert "npm pack emoji-datasource-google@16.0.0" in " ".join(err.split())
    (tmp_path / PACKAGES["google"].archive).write_bytes(b"other")
    code, _, err = cli("data", "emoji", *out)
    assert code == 2
    assert "has the digest sha256 d9298a10d1b07358" in " ".join(err.split())


def test_the_page_has_words_that_were_held_out_beside_real_pictures(spoken_run):
    page = overview(spoken_run, sampled=True)
    (found,) = next(section for section in page.sections if section.key == "words").findings
    texts, sweep = (item for item in found.items if isinstance(item, Strip))
    data = data_of(open_run(spoken_run))
    own = data.captions.index(texts.captions[0])
    assert own in data.test.cond["caption"].tolist()
    assert texts.x0 is not None
    assert sweep.x0 is not None
    assert (len(texts.x0), texts.columns) == (36, 6)
    at = data.test.cond["caption"].tolist().index(own)
    real, _ = data.batch(data.test, torch.tensor([at]))
    assert torch.equal(texts.x0[0], real[0])
    assert sweep.captions[0] == "guidance 0"
    assert torch.allclose(sweep.x0[0], sweep.x0[1], atol=1e-5)
    assert not torch.allclose(sweep.x0[6], sweep.x0[7], atol=1e-2)
    assert "words" not in [section.key for section in overview(spoken_run).sections]
