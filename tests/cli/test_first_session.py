"""A newcomer's first session in Python, and the edges of its calls."""

import dataclasses

import pytest
import torch

import scorefield as sf
from scorefield.base import BadInput, Level, Seeded
from scorefield.denoise import Denoiser
from scorefield.run import recipes

SMALL = dataclasses.replace(recipes.digits(), net="unet:width=8,blocks=1,multipliers=1")
FEW = {"images": 64, "batch": 32, "progress": False}


@pytest.fixture(scope="module")
def model() -> Denoiser:
    return sf.fit(SMALL, **FEW)


def test_the_session(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = sf.load_data("digits")
    assert data.shape == model.shape
    assert model.classes == data.classes
    x0 = sf.generate(model, 100, labels=range(10), guidance=1.5, steps=2)
    assert x0.shape == (100, 1, 8, 8)
    assert x0.isfinite().all()
    image = sf.plot(x0, "digits.png")
    assert image.size == (91 * 8, 91 * 8)
    assert [p.name for p in tmp_path.iterdir()] == ["digits.png"]


def test_fit_takes_a_recipe_by_name_and_settings_by_keyword(tmp_path):
    seen = []
    sf.fit("8-gaussians", tmp_path / "run", images=128, batch=64, progress=False,
           watch=lambda step: seen.append(step.images))  # fmt: skip
    assert seen == [64, 128]
    denoiser = sf.load(tmp_path / "run")
    assert denoiser.shape == (2,)
    assert sf.generate(denoiser, 3, steps=2).shape == (3, 2)


def test_a_misspelt_setting_is_named():
    with pytest.raises(BadInput, match="unknown training setting 'image'. Did you mean 'images'"):
        sf.fit("digits", image=3)
    with pytest.raises(BadInput, match="batch is 0"):
        sf.fit("digits", batch=0)
    with pytest.raises(BadInput, match="Did you mean 'digits'"):
        sf.fit("digit")


def test_stop_ends_a_run_early_with_what_it_has(tmp_path):
    seen = []
    stop = iter([False, True])
    sf.fit(SMALL, tmp_path, images=640, batch=32, progress=False, stop=lambda: next(stop),
           watch=lambda step: seen.append(step.images))  # fmt: skip
    assert seen == [32, 64]
    assert (tmp_path / "state.json").exists()


def test_an_error_in_watch_keeps_a_checkpoint(tmp_path):
    def watch(step):
        if step.images == 96:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sf.fit(SMALL, tmp_path, images=640, batch=32, progress=False, watch=watch)
    from scorefield.store import load_checkpoint

    assert load_checkpoint(tmp_path, "ema")[1]["images_seen"] == 96


def test_a_returned_model_is_the_saved_one_and_what_a_resume_returns(tmp_path):
    model = sf.fit(SMALL, tmp_path, **FEW)
    again, loaded = sf.fit(SMALL, tmp_path, resume=True, **FEW), sf.load(tmp_path)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    a, b = (sf.generate(m, 4, labels=[3], steps=2) for m in (model, loaded))
    assert torch.equal(a, b)


def test_generate_leaves_the_solver_and_seeds_to_the_caller(model):
    from scorefield.solve import DDIM

    a = sf.generate(model, seeds=[7, 8], solver=DDIM(eta=1.0), steps=3, labels=torch.tensor([1]))
    b = sf.generate(model, seeds=torch.tensor([8]), solver=DDIM(eta=1.0), steps=3, labels=[1])
    torch.testing.assert_close(a[1:], b, atol=1e-5, rtol=0)
    assert len(sf.generate(model, steps=1)) == 16


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"n": 0}, "`n` is 0"), ({"batch": 0}, "`batch` is 0"), ({"steps": 0}, "steps is 0"),
        ({"labels": []}, r"the labels are \[\]"), ({"labels": [0.5]}, "whole numbers"),
        ({"labels": [10]}, "label 10"), ({"labels": [-1]}, "label -1"),
        ({"seeds": [1, 2]}, "2 seeds for 4 samples"), ({"guidance": float("nan")}, "nan"),
        ({"solver": "dim"}, "Did you mean 'ddim'"), ({"grid": "timesteps"}, "no timesteps"),
    ],
    ids=str,
)  # fmt: skip
def test_generate_refuses(model, wrong, says):
    with pytest.raises(BadInput, match=says):
        sf.generate(model, **{"n": 4, **wrong})


def test_a_model_that_makes_nan_is_named_by_its_first_bad_sample(model):
    bad = Seeded([12, 14]).start(model.shape, Level.of(0.0, 1.0)).flatten(1)

    class Broken(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x, noise, cond=None):
            alike = torch.cosine_similarity(x.flatten(1)[:, None], bad, dim=2).amax(1) > 0.99
            return self.net(x, noise, cond).masked_fill(alike[:, None, None, None], float("nan"))

    broken = Denoiser(Broken(model.net), schedule=model.schedule, shape=model.shape)
    with pytest.raises(BadInput, match="2 of 5 samples are not finite, the first of seed 12"):
        sf.generate(broken, seeds=range(10, 15), steps=2, batch=3)


def test_a_denoiser_without_schedule_is_refused(model):
    with pytest.raises(BadInput, match="no schedule or shape"):
        sf.generate(Denoiser(model.net), 2)


def test_names_are_lazy_and_listed():
    assert set(sf.__all__) <= set(dir(sf))
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        sf.fits  # noqa: B018
