"""`scorefield train-classifier`, and what its classifier is to a guide."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.base import BadInput, Level, quiet
from scorefield.cli import frame
from scorefield.guide.classifier import classifier
from scorefield.nets.classifier import Classifier
from scorefield.run.open import data_of, open_run
from scorefield.train.noisy import NoisyClassifier, train_classifier
from scorefield.use.classify import keep_classifier, open_classifier
from scorefield.use.generate import generate

command = partial(frame.run, "train-classifier")
SHORT = ["--images", "512", "--width", "8", "--blocks", "1"]


@pytest.fixture
def guided(run, capfd) -> Path:
    """A copy of the tiny run with a classifier, briefly trained."""
    assert command([str(run), *SHORT, "--json"]) == 0
    return run


def test_it_writes_two_files_and_says_its_accuracy_by_level(run, capfd):
    assert command([str(run), *SHORT, "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["images"] == 512
    assert said["chance"] == pytest.approx(0.1, abs=0.02)
    shares = said["accuracy_by_logsnr"]
    assert list(map(int, shares)) == list(range(-10, 9, 2))  # what the cosine schedule reaches
    assert all(0 <= share <= 1 for share in shares.values())
    kept = json.loads((run / "classifier.json").read_text())
    assert kept["accuracy_by_logsnr"] == shares
    assert not list(run.glob(".*.tmp"))


def test_it_is_opened_as_it_was(guided):
    noisy = open_classifier(guided)
    x, level = torch.randn(3, 1, 8, 8), Level.of(0.6, 0.8)
    found = noisy(x, level)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3))
    label = torch.tensor([0, 4, 9])
    chosen = noisy.log_prob(x, level, {"label": label})
    assert torch.equal(chosen, found[torch.arange(3), label])
    assert torch.equal(open_classifier(guided)(x, level), found)


def test_a_sample_without_a_class_pulls_nowhere(guided):
    noisy = open_classifier(guided)
    x, level = torch.randn(2, 1, 8, 8, requires_grad=True), Level.of(0.6, 0.8)
    cond = {"label": torch.tensor([3, -1]), "null": torch.tensor([False, True])}
    found = noisy.log_prob(x, level, cond)
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert found[1] == 0
    assert (grad[1] == 0).all()
    assert grad[0].any()
    assert (noisy.log_prob(x, level, None) == 0).all()


def first_order_law(noisy, mean):
    """Where alpha -> 0, Bayes gives grad log p(c|x) = alpha (m_c - m) / sigma^2; the next order is
    smaller by alpha/sigma = 1e-4 times some units, and float32 keeps 1e-7 of terms of order one."""
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    level, label = Level.of(1e-4, 1.0), torch.tensor([0, 1, 2])
    (grad,) = torch.autograd.grad(noisy.log_prob(x, level, {"label": label}).sum(), x)
    torch.testing.assert_close(grad / 1e-4, mean[label] - mean.mean(0), rtol=0.01, atol=0.01)


def fresh(spread: float = 0.0):
    """A classifier of 3 classes of points as it is before training, its network moved by spread."""
    torch.manual_seed(0)
    mean = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -2.0]]).double()
    noisy = NoisyClassifier(Classifier((2,), 3, width=8, blocks=1), 0.5, {}).double()
    with torch.no_grad():
        noisy.means.copy_(mean / 0.5)
        noisy.net.out.weight.normal_(std=spread)
    return noisy, mean


def test_before_training_it_is_bayes_to_first_order_in_the_signal():
    """A network that knows nothing yet is not."""
    first_order_law(*fresh())
    with pytest.raises(AssertionError):
        first_order_law(*fresh(spread=1.0))


def test_the_pull_is_bounded_at_every_level():
    """(sigma^2/alpha) |grad log p| over alpha from 1e-8: free logits would pull 1e8 times more."""
    noisy, _ = fresh(spread=1.0)
    x, label = torch.randn(3, 2).double(), torch.tensor([0, 1, 2])
    pulls = []
    for alpha in (1e-8, 1e-4, 0.1, 0.9):
        level = Level.of(alpha, (1 - alpha**2) ** 0.5)
        guide = classifier(noisy.log_prob)(lambda x, level, cond: 0 * x)
        pulls.append(float(guide(x, level, {"label": label}).abs().max()))
    assert max(pulls) < 20


def test_guided_samples_reach_their_class_more_often(run):
    """The tiny run's denoiser knows nothing of digits: its classifier alone pulls to the class.
    log p is -2.33 without it and -2.01 at scale 4."""
    opened = open_run(run)
    noisy = train_classifier(opened.denoiser, data_of(opened), 4096, width=8, blocks=1)
    label, level = torch.arange(40) % 10, Level.of(0.9, 0.1)

    def found(scale: float) -> float:
        guide = classifier(noisy.log_prob, scale)
        alone = lambda denoise: guide(lambda x, level, cond: denoise(x, level, None))  # noqa: E731
        x0 = generate(opened.denoiser, 40, labels=label, guide=alone, steps=8)
        return float(noisy.log_prob(0.9 * x0, level, {"label": label}).mean())

    assert found(4.0) > found(0.0) + 0.2


def test_it_is_deterministic(run):
    opened = open_run(run)
    one, two = (
        train_classifier(opened.denoiser, data_of(opened), 256, width=8, blocks=1, seed=3)
        for _ in range(2)
    )
    assert one.digest == two.digest


def test_sampling_with_it(guided, cli, tmp_path):
    words = ["--n", 4, "--steps", 2, "--guide", "classifier", "--labels", "0-9"]
    for more in ([], ["--unconditional"], ["--guidance", 3]):
        out = tmp_path / f"{len(more)}{more}.npz"
        code, _, err = cli("sample", guided, *words, *more, "--out", out)
        assert code == 0, err
    made = [np.load(path)["x"] for path in sorted(tmp_path.glob("*.npz"))]
    assert len(made) == 3
    assert not np.allclose(made[0], made[1])
    assert not np.allclose(made[1], made[2])


def test_a_bulk_job_remembers_its_guide(guided, cli, refused, tmp_path, monkeypatch):
    from scorefield.draw.shards import Shards

    make = Shards.make

    def stopping(self, shard, watch=quiet):
        if shard:
            raise KeyboardInterrupt
        return make(self, shard, watch)

    words = [
        "--n", 4, "--steps", 1, "--batch", 2, "--guide", "classifier", "--out", tmp_path / "x.npz",
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "make", stopping)
        assert cli("sample", guided, *words).code == 130
    assert "--guide" in refused("sample", guided, *words, "--guidance", 2)
    assert cli("sample", guided, *words).code == 0


def test_what_cannot_be_done_is_refused(run, refused, tmp_path):
    assert "no classifier" in refused("sample", run, "--guide", "classifier")
    assert "--images is 0" in refused("train-classifier", run, "--images", 0)
    assert "does not exist" in refused("train-classifier", tmp_path / "none")


def _of_another(run):
    keep_classifier(fresh()[0].float(), run)
    meta = {"config": fresh()[0].net.config, "sigma_data": 0.5, "weights": "x"}
    (run / "classifier.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    "damage, fact",
    [
        (lambda run: (run / "classifier.json").write_text("{}"), "does not describe a classifier"),
        (lambda run: (run / "classifier.json").write_text("{"), "cannot be read as JSON"),
        (lambda run: (run / "classifier.safetensors").write_bytes(b"x"), "truncated"),
        (_of_another, "do not belong together"),
    ],
)
def test_a_damaged_classifier_is_named(guided, damage, fact):
    damage(guided)
    with pytest.raises(BadInput, match=fact):
        open_classifier(guided)


@pytest.mark.parametrize("shape, side", [((1, 8, 8), 4), ((3, 28, 20), 5), ((1, 3, 3), 3)])
def test_pictures_of_any_size_are_classified(shape, side):
    net = Classifier(shape, 4, width=8, blocks=1)
    with torch.no_grad():
        net.out.weight.normal_()
    x, noise = torch.randn(2, *shape), torch.zeros(2)
    found = net(x, noise)
    assert found.shape == (2, 4)
    torch.testing.assert_close(net(x[:1], noise[:1]), found[:1])
    again = Classifier(**json.loads(json.dumps(net.config)))
    assert again.state_dict().keys() == net.state_dict().keys()
