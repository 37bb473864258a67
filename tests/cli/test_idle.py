"""A setting that would do nothing is refused, and an error names what the command has."""

import warnings

import numpy as np
import pytest
import torch

import scorefield.run.train
import scorefield.use.generate
from scorefield.run.open import open_run
from scorefield.use.generate import generate
from tests.cli.conftest import TINY


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A run on points of the plane that nothing is told of."""
    from scorefield.cli import main

    home = tmp_path_factory.mktemp("points")
    np.savez(home / "x.npz", x=np.random.default_rng(0).normal(size=(64, 2)))
    words = ["npz", "--data.path", str(home / "x.npz"), "--out", str(home / "run")]
    short = ["--batch", "32", "--images", "64", "--net.width", "8", "--sample.steps", "2"]
    assert main(["train", *words, *short]) == 0
    return home / "run"


GUIDED = [
    "sample RUN --unconditional --guidance 3",
    "sample POINTS --guidance 3",
    "eval POINTS --guidance 3",
    "compare POINTS --guidance 3",
    "edit RUN --input THREE --guidance 3",
    "edit RUN --input THREE --encode --guidance 3",
    "anagram RUN --guidance 3",
    "restore RUN --operator pool:2 --input THREE --guidance 3",
    "fit-grid RUN --unconditional --guidance 3",
    "fit-grid POINTS --guidance 3",
    "likelihood RUN --unconditional --guidance 3",
    "likelihood POINTS --guidance 3",
]
OTHERS = [
    ("sample RUN --columns 3 --out x.npz", "--columns 3 does nothing: x.npz is no picture"),
    ("interpolate RUN --from THREE --to THREE --strength 2", "--strength 2 does nothing"),
    ("interpolate RUN --from THREE --attribute 3,5 --mode lerp", "--mode lerp does nothing"),
    ("compare RUN --grid karras --solvers ddim@vp-root", "--grid karras does nothing"),
    ("likelihood RUN --method elbo --solver rk4", "--solver is of the flow"),
    ("train digits --net.heads 2", "--net.heads 2 does nothing: it is of dit"),
    ("train digits --net.patch 4", "--net.patch 4 does nothing: it is of dit"),
    ("train digits --net.name dit --net.norms 1", "--net.norms 1 does nothing: it is of unet"),
    ("train moons --net.checkpoint", "--net.checkpoint yes does nothing: it is of unet and dit"),
    (
        "train digits-likelihood --objective.weight snr",
        "--objective.weight snr does nothing: the variational objective",
    ),
    ("train npz --data.path FILE --sample.guidance 3", "--sample.guidance 3.0 does nothing"),
    ("train npz --data.path FILE --objective.dropout .3", "--objective.dropout 0.3 does nothing"),
]


@pytest.fixture
def said(refused, trained, points, tmp_path, monkeypatch):
    """Call in an empty folder, and expect a sentence that leaves nothing behind."""
    from PIL import Image

    Image.new("L", (8, 8), 100).save(tmp_path / "three.png")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    stand_for = {
        "RUN": trained, "POINTS": points, "THREE": tmp_path / "three.png",
        "FILE": points.parent / "x.npz",
    }  # fmt: skip

    def call(words: str) -> str:
        sentence = refused(*(stand_for.get(word, word) for word in words.split()))
        assert not list((tmp_path / "here").iterdir())
        return sentence

    return call


@pytest.mark.parametrize("words", GUIDED)
def test_guidance_without_a_condition(said, words):
    assert "--guidance 3 does nothing: samples are told no class or other" in said(words)


@pytest.mark.parametrize("words, says", OTHERS, ids=[words for words, _ in OTHERS])
def test_other_settings_that_do_nothing(said, words, says):
    assert says in said(words)


def test_no_guidance_may_be_said_of_what_is_not_guided(cli, trained, tmp_path):
    """A scale of 1 is none: it is what is done."""
    words = ("--unconditional", "--guidance", 1, "--n", 2, "--out", tmp_path / "x.png")
    assert cli("sample", trained, *words).code == 0


def test_an_older_run_with_an_idle_setting_goes_on(cli, run, monkeypatch, tmp_path, tiny):
    """What is refused to a new run was taken once."""
    out = tmp_path / "old"
    with monkeypatch.context() as patch:
        patch.setattr(scorefield.run.train, "check_used", lambda *_: None)
        assert cli("train", "digits", "--out", out, *TINY, "--net.heads", 2).code == 0
    assert cli("train", "digits", "--out", out, "--resume", "--images", 160).code == 0
    assert cli("sample", out, "--n", 2).code == 0


def test_a_strength_and_a_mask_are_named_as_the_command_has_them(said, tmp_path):
    from PIL import Image

    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")
    edit = "edit RUN --input THREE"
    few = said(f"{edit} --strength .001")
    assert "strength is 0.001, and the last noisy level is at 0.005. Give more, or 0" in few
    black = said(f"{edit} --mask {tmp_path / 'black.png'}")
    assert "black.png is black everywhere. Make it white where the picture may change." in black
    assert "--net.name mlp does not read data of the shape" in said("train digits --net.name mlp")


def test_points_without_labels_are_drawn_without_a_warning(cli, points, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cli("sample", points, "--n", 4, "--out", tmp_path / "x.png").code == 0


@pytest.mark.parametrize("solver", ["dormand-prince", "gotta-go-fast"])
def test_the_bar_moves_within_the_steps_of_an_adaptive_solver(trained, monkeypatch, solver):
    """By the noise that is left, never back, and to the count of steps at the end."""
    places = []

    class Bar:
        n = 0.0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, more: float = 1) -> None:
            self.n += more
            places.append(self.n)

    monkeypatch.setattr(scorefield.use.generate, "progress_bar", lambda *_: Bar())
    denoiser = open_run(trained).denoiser
    shown = generate(denoiser, 2, steps=2, solver=solver, batch=1, progress=True)
    assert places == sorted(places)
    assert len({round(place, 1) for place in places}) > 6
    assert places[-1] == pytest.approx(4)
    places.clear()
    hidden = generate(denoiser, 2, steps=2, solver=solver, batch=1)
    assert torch.equal(shown, hidden)
    assert places == [1, 2, 3, 4]
