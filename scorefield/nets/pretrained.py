"""Networks of others, of which only the shape is ours: weights come from packages.

`EfficientNetLite` is EfficientNet-Lite0 (Tan and Le 2019; without squeeze and swish), `ResNet50`
that of He et al. 2016 as Keras has it: a block's stride in its first 1x1 convolution. Each maps
pictures as it was trained to see them (B, 3, H, W), any H and W from 32 on, to the mean over places
of its last activations, `(B, size)`; `head` maps those to 1,000 classes of ImageNet.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LITE0 = ((32, 16, 1, 3, 1, 1), (16, 24, 6, 3, 2, 2), (24, 40, 6, 5, 2, 2), (40, 80, 6, 3, 2, 3),
         (80, 112, 6, 5, 1, 3), (112, 192, 6, 5, 2, 4), (192, 320, 6, 3, 1, 1))  # fmt: skip
"""Channels in and out, expansion, side of the kernel, stride, blocks (Tan and Le 2019, table 1)."""
RESNET50 = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels inside a block, blocks (He et al. 2016, table 1)."""


class Same(nn.Sequential):
    """A convolution padded as TensorFlow does, the odd one below and right; batch norm; ReLU up to
    6 unless it is `bare`."""

    def __init__(
        self, into: int, out: int, side: int = 1, stride: int = 1, groups: int = 1,
        bare: bool = False,
    ) -> None:  # fmt: skip
        conv = nn.Conv2d(into, out, side, stride, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out, eps=1e-3), *() if bare else (nn.ReLU6(),))
        self.side, self.stride = side, stride

    def forward(self, x: Tensor) -> Tensor:
        both = [max((-(-n // self.stride) - 1) * self.stride + self.side - n, 0)
                for n in reversed(x.shape[2:])]  # fmt: skip
        return super().forward(F.pad(x, [k for n in both for k in (n // 2, n - n // 2)]))


class Inverted(nn.Sequential):
    """Wider, over places, narrower; plus x where that fits."""

    def __init__(self, into: int, out: int, wider: int, side: int, stride: int) -> None:
        mid = into * wider
        first = [Same(into, mid)] if wider > 1 else []
        super().__init__(*first, Same(mid, mid, side, stride, mid), Same(mid, out, bare=True))
        self.adds = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x) if self.adds else super().forward(x)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: 4.7 million weights.

    >>> import torch
    >>> EfficientNetLite()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 1280])
    """

    size = 1280

    def __init__(self) -> None:
        super().__init__()
        blocks = [
            Inverted(out if k else into, out, wider, side, 1 if k else stride)
            for into, out, wider, side, stride, count in LITE0
            for k in range(count)
        ]
        self.body = nn.Sequential(Same(3, 32, 3, 2), *blocks, Same(320, self.size))
        self.head = nn.Linear(self.size, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


class Bottleneck(nn.Module):
    """Three convolutions around a way past them, which is a fourth where shapes differ."""

    def __init__(self, into: int, mid: int, stride: int, turns: bool) -> None:
        super().__init__()
        out = 4 * mid
        sides = ((into, mid, 1, stride), (mid, mid, 3, 1), (mid, out, 1, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, k // 2) for i, o, k, s in sides)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o, eps=1e-3) for _, o, _, _ in sides)
        self.past = nn.Sequential(
            nn.Conv2d(into, out, 1, stride), nn.BatchNorm2d(out, eps=1e-3)
        ) if turns else nn.Identity()  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        past = self.past(x)
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = norm(conv(x)) if k == 2 else norm(conv(x)).relu_()
        return (x + past).relu_()


class ResNet50(nn.Module):
    """ResNet-50: 25.6 million weights.

    >>> import torch
    >>> ResNet50()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 2048])
    """

    size = 2048

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64, eps=1e-3), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        widths = [64, *(4 * mid for mid, _ in RESNET50)]
        self.stages = nn.ModuleList(
            nn.Sequential(*(
                Bottleneck(4 * mid if k else into, mid, 1 if k or not n else 2, k == 0)
                for k in range(RESNET50[n][1])
            ))
            for n, (into, mid) in enumerate(zip(widths, (mid for mid, _ in RESNET50)))
        )  # fmt: skip
        self.head = nn.Linear(self.size, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))
