"""Samples of a 28 x 28 model in its own precision, beside the build before and diffusers.

A run of the recipe of Fashion-MNIST after one step, as how long a call takes does not depend on
what was learned. diffusers' UNet2DModel has the same arithmetic (.371 GFLOP a picture, ours .370);
it walks DDIM over as many calls, as its pipelines do, in float32. All is counted of every process,
from its first import to its last sample; ours writes its samples too.
"""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.wait.ledger import ROOT, Row, build, in_turn

N, STEPS = 512, 10
PEER = """
import sys, torch
from diffusers import DDIMScheduler, UNet2DModel
torch.set_num_threads(1)
n, steps = int(sys.argv[1]), int(sys.argv[2])
blocks = ("DownBlock2D",) * 3, ("UpBlock2D",) * 3
net = UNet2DModel(28, 1, 1, layers_per_block=1, block_out_channels=(32, 64, 64), norm_num_groups=16,
                  down_block_types=blocks[0], up_block_types=blocks[1], add_attention=False,
                  num_class_embeds=11).eval()
walker, label = DDIMScheduler(), torch.arange(n) % 10
walker.set_timesteps(steps)
with torch.no_grad():
    for rows in torch.arange(n).split(256):
        x = torch.randn(len(rows), 1, 28, 28)
        for t in walker.timesteps:
            told, bare = (net(x, t, class_labels=c).sample
                          for c in (label[rows], torch.full_like(label[rows], 10)))
            x = walker.step(bare + 1.5 * (told - bare), t, x).prev_sample
"""


def rows(options: Namespace) -> Iterator[Row]:
    """Guided samples, 2 calls a step, by the command, start included; and one guided picture."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        cli = ("-m", "scorefield")
        build(ROOT, *cli, "train", "fashion-mnist", "--data.path", str(options.path), "--images",
              "128", "--out", str(run))  # fmt: skip

        def sampled(root: Path, n: int, *more: str) -> float:
            words = (*cli, "sample", str(run), "--n", str(n), "--steps", str(STEPS), "--guidance",
                     "1.5", "--out", f"{folder}/x.npz")  # fmt: skip
            return build(root, *words, *more)

        for n in (N // 8 if options.short else N, 1):
            commands = {"now": partial(sampled, ROOT, n)}
            for precision in ("fp32", "bf16"):
                commands[precision] = partial(sampled, ROOT, n, "--precision", precision)
            if options.before:
                commands["before"] = partial(sampled, options.before, n)
            if options.peer:
                words = ("-c", PEER, str(n), str(STEPS))
                commands["diffusers"] = partial(build, ROOT, *words, python=options.peer)
            found = in_turn(commands, options.repeats, lambda command: command())
            what = f"{n} guided samples of 28 x 28, {STEPS} steps"
            asked = "before >= 1.8, diffusers >= 2.1, where bf16 is the faster" if n > 1 else ""
            yield Row(what, "processor s", found, asked)
