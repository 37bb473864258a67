"""Editing: what stays, what is drawn anew, and `scorefield edit`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base import BadInput, Level
from scorefield.cli import frame
from scorefield.data.readers.given import input_picture
from scorefield.denoise import Denoiser
from scorefield.denoise.exact import Gaussian
from scorefield.guide.known import known
from scorefield.process import Cosine, Flow
from scorefield.run.config import build_levels
from scorefield.run.open import open_run
from scorefield.solve import DDIM, Restart, trajectory
from scorefield.use import edit as use
from scorefield.use.edit import reencode
from scorefield.use.generate import generate
from scorefield.use.plan import asked_of

SETTINGS = {"steps": 4, "solver": "dpmpp2m", "grid": "vp-root"}


@pytest.fixture(scope="module")
def run_(trained):
    return open_run(trained)


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.RandomState(0).randint(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "input.png")
    return tmp_path / "input.png"


@pytest.fixture
def x0() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 1, 8, 8, generator=generator) * 2 - 1


def edit(denoiser, x0, strength, *, seeds: Any = (0,), labels=None, cond=None, **settings):
    asked = asked_of(denoiser, seeds=seeds, labels=labels, cond=cond)
    return use.edit(denoiser, x0, strength, asked, **settings)


HALF = torch.arange(8)[:, None].expand(8, 8) < 4


# -- laws


def test_strength_0_returns_the_input(run_, x0):
    assert torch.equal(edit(run_.denoiser, x0, 0.0, seeds=[5, 6]), x0.expand(2, -1, -1, -1))
    assert torch.equal(edit(run_.denoiser, x0, 0.0, mask=HALF), x0)
    assert torch.equal(reencode(run_.denoiser, x0, 0.0), x0)


def anew_law(strength, denoiser, x0):
    plain = generate(denoiser, seeds=[5, 6], labels=[3], guidance=1.5, **SETTINGS)
    found = edit(denoiser, x0, strength, seeds=[5, 6], labels=[3], guidance=1.5, **SETTINGS)
    assert torch.equal(found, plain)


def test_strength_1_is_a_plain_sample_of_the_same_seed(run_, x0):
    anew_law(1.0, run_.denoiser, x0)


def test_twin_almost_1_fails(run_, x0):
    with pytest.raises(AssertionError):
        anew_law(0.99, run_.denoiser, x0)


@pytest.mark.parametrize("solver", ["dpmpp2m", "heun", "ddpm", "sde-dpmpp2m"])
def test_outside_the_mask_not_a_bit_changes(run_, x0, solver):
    found = edit(run_.denoiser, x0, 1.0, mask=HALF, seeds=range(3), steps=3, solver=solver)
    assert torch.equal(found[:, :, ~HALF], x0.expand(3, -1, -1, -1)[:, :, ~HALF])
    assert (found[:, :, HALF] != x0[:, :, HALF]).all()
    assert not torch.equal(found[0], found[1])


def test_outside_the_mask_x_is_the_noisy_input_at_every_level(x0):
    """As D' is constant there, DDIM keeps x = alpha x0 + sigma eps; float64 rounding."""
    x0, levels = x0.double(), build_levels("vp-root", Cosine(), 6)
    eps = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    x = levels.at(0).like(x0).alpha * x0 + levels.at(0).like(x0).sigma * eps
    denoise = known(x0, HALF)(lambda x, level, cond: 0.3 * x)
    for k, (state, _) in enumerate(trajectory(DDIM(), denoise, x, levels, None, None), 1):  # type: ignore[arg-type] no chance in DDIM
        alpha, sigma = levels.at(k).like(x0)
        wanted = alpha * x0 + sigma * eps
        torch.testing.assert_close(state.x[:, :, ~HALF], wanted[:, :, ~HALF], rtol=0, atol=1e-12)


class Exact(torch.nn.Module):
    """N(0, cov) data in the plane, as a denoiser with a schedule."""

    codec = None
    encode = decode = staticmethod(lambda x0: x0)

    def __init__(self, cov: torch.Tensor) -> None:
        super().__init__()
        self.truth, self.schedule, self.shape, self.classes = (
            Gaussian(cov[0] * 0, cov),
            Flow(),
            (2,),
            (),
        )
        self.place = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, level, cond=None):
        return self.truth.denoise(x.double(), level).to(x)


def exact(correlation: float) -> Denoiser:
    cov = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    return Exact(cov)  # type: ignore[return-value] all that editing asks of one


def consistency_law(denoiser, solver, mean, std):
    """The drawn one of two correlated coordinates against the figures of the module's page; 500
    samples' mean and deviation are off by a tenth of a unit at most."""
    x0 = torch.tensor([[2.0, -5.0]])
    mask = torch.tensor([False, True])
    found = edit(denoiser, x0, 1.0, mask=mask, seeds=range(500), steps=30, solver=solver)
    assert (found[:, 0] == 2).all()
    assert abs(float(found[:, 1].mean()) - mean) < 0.1
    assert abs(float(found[:, 1].std()) - std) < 0.1


@pytest.mark.parametrize(
    "solver, mean, std",
    [("ddim", 0.86, 0.70), (None, 1.56, 0.46), (Restart(DDIM(), 10), 1.71, 0.41)],
)
def test_the_inside_is_drawn_to_fit_the_outside(solver, mean, std):
    consistency_law(exact(0.9), solver, mean, std)


def test_twin_an_inside_that_does_not_see_the_outside_fails():
    with pytest.raises(AssertionError):
        consistency_law(exact(0.0), None, 1.56, 0.46)


def test_more_strength_keeps_less():
    denoiser, x0 = exact(0.0), torch.tensor([[3.0, 3.0]])
    means = [
        float(edit(denoiser, x0, s, seeds=range(200), steps=10).mean()) for s in (0.1, 0.4, 0.7, 1)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > 2.5
    assert abs(means[-1]) < 0.15  # 400 normals: 3 times 1/20


def test_an_edit_depends_on_its_own_seed_alone(run_, x0):
    many = edit(run_.denoiser, x0, 0.5, seeds=range(5), **SETTINGS)
    one = edit(run_.denoiser, x0, 0.5, seeds=[3], **SETTINGS)
    torch.testing.assert_close(many[3:4], one, rtol=0, atol=1e-5)
    split = edit(run_.denoiser, x0, 0.5, seeds=range(5), batch=2, **SETTINGS)
    torch.testing.assert_close(split, many, rtol=0, atol=1e-5)


def return_law(refine):
    """Encoded and decoded under one condition, data come back but for D of the last level, which
    moves them by the square of its noise."""
    denoiser, x0 = exact(0.5), torch.tensor([[1.0, -0.5], [0.2, 2.0]])
    found = reencode(denoiser, x0, steps=20, refine=refine)
    torch.testing.assert_close(found, x0, rtol=0, atol=2e-3)


def test_what_is_encoded_and_decoded_alike_comes_back():
    return_law(8)


def test_twin_one_coarse_walk_up_fails():
    with pytest.raises(AssertionError):
        return_law(0)


def test_decoding_as_another_class_makes_another_picture(run_, x0):
    with torch.no_grad():  # the tiny run has hardly learned: its classes are moved apart
        run_.denoiser.net.embedding.conditions.label_embedding.weight.mul_(3)
    cond = {"label": torch.tensor([3])}
    same, other = (
        reencode(run_.denoiser, x0, cond={"label": torch.tensor([k])}, source=cond, steps=6)
        for k in (3, 5)
    )
    assert (other - same).abs().max() > 1e-3


# -- what is refused


@pytest.mark.parametrize(
    "given, fact",
    [
        ({"strength": 1.2}, "strength is 1.2"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"mask": torch.ones(8, 8)}, "float32"),
        ({"mask": torch.ones(4, 4, dtype=torch.bool)}, r"shape \(4, 4\)"),
        ({"mask": torch.zeros(8, 8, dtype=torch.bool)}, "False everywhere"),
        ({"x0": torch.zeros(1, 1, 4, 4)}, r"x0 has shape \(1, 1, 4, 4\)"),
        ({"labels": [12]}, "label 12"),
        ({"solver": "huen"}, "Did you mean 'heun'"),
        ({"batch": 0}, "`batch` is 0"),
    ],
)
def test_edit_refuses(run_, x0, given, fact):
    with pytest.raises(BadInput, match=fact):
        edit(run_.denoiser, **{"x0": x0, "strength": 0.5, "steps": 2, **given})


# -- the command


def test_a_strip_of_the_input_and_its_edits(trained, picture, tmp_path, capfd):
    out = tmp_path / "strip.png"
    words = [str(trained), "--input", str(picture), "--steps", "2", "--n", "3", "--out", str(out)]
    assert frame.run("edit", [*words, "--strength", ".4", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["n"], said["strength"]) == (3, 0.4)
    with Image.open(out) as strip:
        assert strip.size == (4 * 96 + 8, 116 + 8)  # 88 + 8 pixels, and 20 of a caption
        first = np.asarray(strip.convert("L"))[8:96:11, 8:96:11]
    assert (first == np.asarray(Image.open(picture))).all()


def test_a_mask_from_a_file_keeps_the_rest(trained, picture, tmp_path, capfd):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.uint8(255 * HALF.numpy())).save(mask)
    out = tmp_path / "edits.npz"
    words = [str(trained), "--input", str(picture), "--mask", str(mask), "--steps", "2"]
    assert frame.run("edit", [*words, "--n", "2", "--labels", "3,4", "--out", str(out)]) == 0
    made = np.load(out)["x"]
    kept = np.asarray(Image.open(picture))[4:] / 255 * 16
    np.testing.assert_allclose(made[:, 0, 4:], np.broadcast_to(kept, (2, 4, 8)), atol=1e-5)


def test_encoding_needs_no_chance(trained, picture, tmp_path, capfd):
    words = [str(trained), "--input", str(picture), "--encode", "--source", "7", "--steps", "2"]
    for name in ("a", "b"):
        assert (
            frame.run("edit", [*words, "--labels", "0-9", "--out", str(tmp_path / f"{name}.npz")])
            == 0
        )
    assert "input, as 0, as 1, as 2" in capfd.readouterr().out  # and no seed
    a, b = (np.load(tmp_path / f"{name}.npz")["x"] for name in ("a", "b"))
    assert a.shape == (10, 1, 8, 8)
    assert (a == b).all()


def test_a_larger_picture_is_resized_and_an_oblong_model_is_not_guessed_at(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "red.png")
    assert input_picture(tmp_path / "red.png", (3, 8, 8))[0, :, 0, 0].tolist() == [1, -1, -1]
    assert input_picture(tmp_path / "red.png", (1, 20, 40)).shape == (1, 1, 20, 40)
    with pytest.raises(BadInput, match="40 x 20 pixels, not 10 x 8"):
        input_picture(tmp_path / "red.png", (3, 8, 10))
    with pytest.raises(BadInput, match=r"samples of shape \(2,\)"):
        input_picture(tmp_path / "red.png", (2,))


def test_known_is_a_guide_like_any_other():
    unit = known(torch.zeros(2, 2), torch.tensor([True, False]))(lambda x, level, cond: x + 1)
    assert unit(torch.zeros(2, 2), Level.of(0.6, 0.8), None).tolist() == [[1, 0], [1, 0]]
