"""A setting that would do nothing is refused, and an error names what the command has."""

import warnings

import pytest
import torch

import scorefield.run.train
from scorefield.data.info import DataInfo
from scorefield.run.config import check_used
from scorefield.run.open import open_run
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config, DataConfig
from scorefield.use.generate import generate
from tests.cli.conftest import TINY


def test_no_guidance_may_be_said_of_what_is_not_guided(cli, trained, tmp_path):
    """A scale of 1 is none: it is what is done."""
    words = ("--unconditional", "--guidance", 1, "--n", 2, "--out", tmp_path / "x.png")
    assert cli("sample", trained, *words).code == 0


def test_the_defaults_of_what_the_data_do_not_read_are_no_fault():
    config = Config(data=DataConfig("moons"))
    check_used(config, recipe("moons"), DataInfo.of(config.load_data()))


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
def test_the_bar_moves_within_the_steps_of_an_adaptive_solver(trained, solver):
    """By the noise that is left, never back, and to the count of steps at the end."""
    places = []

    def watch(done, total, unit):
        places.append(done)
        assert (total, unit) == (4, "step")

    denoiser = open_run(trained).denoiser
    shown = generate(denoiser, 2, steps=2, solver=solver, batch=1, watch=watch)
    assert places == sorted(places)
    assert len({round(place, 1) for place in places}) > 6
    assert places[-1] == pytest.approx(4)
    assert torch.equal(shown, generate(denoiser, 2, steps=2, solver=solver, batch=1))
