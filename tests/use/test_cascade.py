"""The second stage of a cascade: how far the first's picture is noised, once, and told so.

x ~ N(0, 1) is seen as y = x + tau n. What the exact model draws given sqrt(1 - s^2) y + s e has
the variance 1 + g^2 tau^2 and covariance g with x, g = 1 - s^2 = 1/(1 + (s/alpha)^2).
"""

from typing import Any

import pytest
import torch

from scorefield.base import CLEAN, Level, Seeded
from scorefield.data.lower import augmented, downward, lowered, upward, with_itself_lower
from scorefield.data.named import load_data
from scorefield.draw import Asked, Plan, draw
from scorefield.process import Cosine
from scorefield.run.config import build_levels
from scorefield.run.recipes import digits
from scorefield.run.train import fit_run
from scorefield.solve import DDIM
from scorefield.train import Training
from scorefield.train.epochs import order_of
from scorefield.train.step import draw_batch, gathering
from scorefield.use.cascade import open_cascade
from tests.refusal import fails, refused

N = 20_000


def exact(x, level, cond):
    """E[x0 | x, y~] for the model that was told y~ and s: x0 | y~ ~ N(alpha y~, s^2)."""
    alpha_s, s = cond["vector"][:, :1], cond["vector"][:, 1:]
    alpha, sigma = level.like(x)
    mean, var = alpha_s * cond["image"][:, 0, 0], s * s
    return mean + alpha * var / (alpha**2 * var + sigma**2) * (x - alpha * mean)


def stage(y, s, noised=augmented, guide=lambda denoise: denoise):
    """What the second stage draws of y (N, 1)."""
    seeds = torch.arange(len(y))
    e = Seeded(seeds + 5)(y, CLEAN, Level.of(0.0, 1.0))[:, :, None, None]
    cond = noised(y[:, :, None, None], torch.full((len(y),), s), e)
    levels = build_levels("vp-root", Cosine(), 60)
    return draw(guide(exact), Plan(DDIM(), levels), Asked(seeds, cond), (1,), batch=N).x


def augmentation_law(noised=augmented, guide=lambda denoise: denoise):
    """Within 4 standard errors of a variance, and 1% for 60 steps."""
    x = torch.randn(N, 1, generator=torch.Generator().manual_seed(1))
    error = torch.randn(N, 1, generator=torch.Generator().manual_seed(2))
    for ve, tau in ((1.0, 0.0), (1.0, 0.5), (0.3, 0.5), (3.0, 0.5)):
        g = 1 / (1 + ve * ve)
        made = stage(x + tau * error, (1 - g) ** 0.5, noised, guide)
        assert abs(float(made.var()) - (1 + g * g * tau * tau)) < 0.05, (ve, tau, float(made.var()))
        assert abs(float((made * x).mean()) - g) < 0.04, (ve, tau)


def test_augmentation_hides_the_base_error_by_g_squared():
    augmentation_law()


def test_a_level_that_is_told_and_not_added_is_found():
    """Variance 1 - g^2 s^2 / alpha^2: .750 for s^2 = 1/2."""

    def silent(y, s, e):
        return augmented(y, s, 0 * e)

    fails(r"\(1.0, 0.0, 0.7", augmentation_law, silent)


def test_noise_drawn_anew_at_every_step_is_found():
    """It averages out: the same under-dispersion."""

    def restless(denoise):
        rng = torch.Generator().manual_seed(3)

        def guided(x, level, cond):
            own, s = cond["vector"][:, :1, None, None], cond["vector"][:, 1:, None, None]
            e = torch.randn(cond["image"].shape, generator=rng)
            return denoise(x, level, {**cond, "image": own * cond["plain"] + s * e})

        return guided

    def plainly(y, s, e):
        return {**augmented(y, s, e), "plain": y}

    fails(r"\(1.0, 0.0, 0.7", augmentation_law, plainly, restless)


def test_a_forgotten_alpha_is_found():
    def forgetful(y, s, e):
        cond = augmented(y, s, e)
        return {**cond, "image": y + s[:, None, None, None] * e}

    fails("", augmentation_law, forgetful)


def test_a_picture_and_itself_made_smaller():
    x = torch.randn(2, 3, 8, 4)
    torch.testing.assert_close(downward(upward(x, 3), 3), x)
    cond = with_itself_lower(torch.randn(2, 1, 8, 8), 4)
    torch.testing.assert_close(upward(downward(cond["image"], 2), 2), cond["image"])
    assert cond["vector"].tolist() == [[1, 0]] * 2
    refused("`data.low` is 3", lowered, load_data("digits"), 3)
    refused("`data.low` is of pictures", lowered, load_data("moons"), 1)


def test_training_draws_one_noise_a_sample_and_goes_on_the_same():
    from accelerate import Accelerator

    data, training = lowered(load_data("digits"), 4), Training(batch=64)

    class Nothing:
        pooled = False

        def draw(self, shape, rng):
            return None

    team: Any = Accelerator(cpu=True)
    order = order_of(data.train, training, 1)
    task: Any = Nothing()
    gathered = gathering(data, data.train, task, training, order, team)
    one, same, other = (draw_batch(gathered(k), task, training, k, team).batch for k in (3, 3, 4))
    assert one.cond
    assert same.cond
    assert other.cond
    assert torch.equal(one.cond["image"], same.cond["image"])
    assert not torch.equal(one.cond["vector"], other.cond["vector"])
    alpha, s = one.cond["vector"].T
    torch.testing.assert_close(alpha**2 + s**2, torch.ones(64))
    y = with_itself_lower(one.x0, 4)["image"]
    e = (one.cond["image"] - alpha[:, None, None, None] * y) / s[:, None, None, None]
    assert abs(float(e.std()) - 1) < 0.05
    assert abs(float((s > 0.5).float().mean()) - 0.5) < 0.2


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base of random samples at 4 x 4, and a stage to 8 x 8; hardly trained."""
    import dataclasses

    import numpy as np

    folder = tmp_path_factory.mktemp("cascade")
    whole = load_data("digits").train
    small = torch.nn.functional.avg_pool2d(whole.x.float() / 16, 2).numpy()
    np.savez(folder / "small.npz", x=small, y=whole.cond["label"].numpy())
    own = digits()
    tiny = {"net": "unet:width=8,multipliers=1,blocks=1",
            "training": Training(images=1280, batch=128, ema=0.9, lr=1e-2)}  # fmt: skip
    low = dataclasses.replace(own.data, low=4)
    fit_run(dataclasses.replace(own, data=low, **tiny), folder / "high")
    small = {"name": "npz", "path": str(folder / "small.npz"), "channels": 1}
    name = dataclasses.replace(own.data, **small)
    fit_run(dataclasses.replace(own, data=name, **tiny), folder / "base")
    return folder


def test_the_second_stage_does_not_hear_how_the_first_walked(runs):
    """Its noises are those of its own seeds: the same base picture becomes the same."""
    from scorefield.run.open import open_run

    second = open_cascade(runs / "high", open_run(runs / "base"), 0.3)
    x0 = torch.randn(3, 1, 4, 4)
    asked = Asked(torch.tensor([4, 5, 6]), {"label": torch.tensor([0, 1, 2])})
    whole = second(x0, asked)
    assert whole.shape == (3, 1, 8, 8)
    one = second(x0[1:2], Asked(asked.seeds[1:2], {"label": torch.tensor([1])}))
    torch.testing.assert_close(one, whole[1:2], rtol=0, atol=1e-4)
    again = second(x0[1:2], Asked(torch.tensor([9]), {"label": torch.tensor([1])}))
    assert float((again - one).abs().max()) > 1e-2


def test_sample_makes_a_picture_larger_and_again_to_the_bit(runs, tmp_path, capsys):
    from scorefield.cli import main

    run, high, out = str(runs / "base"), str(runs / "high"), tmp_path / "a.png"
    said = ["--cascade", high, "--augment", ".2", "--n", "2", "--labels", "3,4", "--steps", "3"]
    assert main(["sample", run, *said, "--out", str(out)]) == 0
    assert main(["sample", "--like", str(out), "--out", str(tmp_path / "b.png")]) == 0
    assert out.read_bytes() == (tmp_path / "b.png").read_bytes()
    assert main(["sample", run, *said, "--out", str(tmp_path / "c.npz")]) == 0
    import numpy as np

    assert np.load(tmp_path / "c.npz")["x"].shape == (2, 1, 8, 8)
    for words, says in (
        (["--cascade", run], "did not learn super-resolution"),
        (["--augment", ".2"], "there is no --cascade"),
        (["--cascade", high, "--augment", "2"], "--augment is 2"),
    ):
        assert main(["sample", run, "--n", "1", *words]) == 2
        assert says in " ".join(capsys.readouterr().err.split())
