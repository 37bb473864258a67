"""The pictures of docs/bridges.md: `python docs/pictures_bridges.py [moons FILE | digits]`.

moons draws what `benchmarks/bridges.py METHOD --out FILE` wrote; digits trains the flow between the
ones and the sevens, about a minute of processor time, and walks it both ways.
"""

import json
import sys
from pathlib import Path

import torch

from scorefield.base import Level, Zero
from scorefield.bridge import BridgeStep
from scorefield.data import Data, Scaling, Split, load
from scorefield.denoise import Timed
from scorefield.nets import MLP
from scorefield.objective import Bridged, Denoising, MinibatchTransport, Uniform
from scorefield.process import Flow
from scorefield.report.picture import picture
from scorefield.solve import sample
from scorefield.store import write_png
from scorefield.train import Training, learn

HERE = Path(__file__).parent / "images"
SPREAD, SHOWN, STEPS = 0.5, 12, 20


def moons(file: Path) -> None:
    from matplotlib import pyplot as plt

    found = json.loads(file.read_text())
    begin, end = (torch.tensor(found[key])[:600] for key in ("moons", "ends"))
    figure, axes = plt.subplots(figsize=(5, 5))
    lines = torch.stack([begin, end], 1)[:200]
    for line in lines:
        axes.plot(line[:, 0], line[:, 1], color="0.8", lw=0.5, zorder=0)
    axes.scatter(*begin.T, s=5, label="two moons")
    axes.scatter(*end.T, s=5, label="where they end")
    axes.set_aspect("equal")
    axes.axis("off")
    axes.legend(loc="upper right", frameon=False)
    figure.savefig(HERE / "bridges-moons.png", dpi=110, bbox_inches="tight")


def digits() -> None:
    """Ones and sevens, that nobody paired: mini-batch entropic pairs, one flow, both ways."""
    data = load("digits")

    def of(split: Split, label: int) -> torch.Tensor:
        return data.scaling.encode(split.x[split.cond["label"] == label]).flatten(1)

    ones, sevens = of(data.train, 1), of(data.train, 7)
    objective = Bridged(
        Flow(), Uniform(), spread=SPREAD, learn="flow", ends=sevens,
        coupling=MinibatchTransport(SPREAD**2),
    )  # fmt: skip
    torch.manual_seed(0)
    model = Timed(MLP((64,), width=192, blocks=3), objective.convention, 1.0, "flow",
                  schedule=Flow(), shape=(64,))  # fmt: skip
    alone = Data("ones", Split(ones), Split(ones[:8]), (), Scaling((0.0,), (1.0,)))
    training = Training(images=100_000, batch=128, lr=2e-3, ema=0.998, warmup=5000)
    model = learn(Denoising(model, objective), alone, training).eval()
    t = torch.linspace(1, 0, STEPS + 1, dtype=torch.float64)
    held = of(data.test, 7)[:SHOWN], of(data.test, 1)[:SHOWN]
    with torch.no_grad():
        to_ones = sample(BridgeStep(), model, held[0], Level(1 - t, t), Zero())
        x = held[1]
        for now, then in zip(t.flip(0)[:-1], t.flip(0)[1:]):  # the same velocity, the other way
            at = max(float(now), 1e-3)
            x = x + float(then - now) * (x - model(x, Level.of(1 - at, at))) / at
    rows = torch.cat([held[0], to_ones, held[1], x]).view(-1, 1, 8, 8)
    HERE.mkdir(exist_ok=True)
    write_png(picture(rows, SHOWN), HERE / "bridges-digits.png")


if __name__ == "__main__":
    moons(Path(sys.argv[2])) if sys.argv[1:2] == ["moons"] else digits()
