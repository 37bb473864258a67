"""What a command pays before its work: processor seconds of fresh processes, in turn."""

import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.wait.ledger import ROOT, Row, build, in_turn

TOLD = ("explain solver arc", "catalogue", "sample --help", "train digits --help")
LIMIT = ".3 s without torch"
NETWORK = """
import torch
from scorefield.nets import UNet
net = UNet((1, 8, 8), width=24, multipliers=(1, 2), blocks=2, classes=10).eval()
x, noise, cond = torch.zeros(1, 1, 8, 8), torch.zeros(1), {"label": torch.tensor([3])}
with torch.no_grad():
    for _ in range(10):
        net(x, noise, cond)
"""
"""The import of torch and the ten calls that one picture of the digits recipe takes."""
SPARED = "import atexit, gc; gc.set_threshold(10_000); atexit.register(gc.freeze)"
"""As the command has it: of what is imported nothing is garbage."""


def rows(options: Namespace) -> Iterator[Row]:
    roots = {"now": ROOT} | ({"before": options.before} if options.before else {})

    def turn(words: str, **others: str) -> dict[str, list[float]]:
        args = "-m", "scorefield", *words.split()
        commands = {name: partial(build, root, *args) for name, root in roots.items()}
        commands |= {name: partial(build, ROOT, "-c", code) for name, code in others.items()}
        return in_turn(commands, options.repeats, lambda command: command())

    for words in TOLD:
        yield Row(words, "s", turn(words), LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        trained_anew(ROOT, run)
        alone = {"import torch and the network": NETWORK, "the same, spared": SPARED + NETWORK}
        found = turn(f"sample {run} --n 1 --out {folder}/one.png", **alone)
        yield Row("one picture, cold", "s", found, "at most 1.15 of torch and the network")
        trained = {
            name: partial(trained_anew, root, Path(folder) / "other")
            for name, root in roots.items()
        }
        found = in_turn(trained, options.repeats, lambda command: command())
        yield Row("two steps of training, cold", "s", found, "1.2 s less: no compiler imported")


def trained_anew(root: Path, out: Path) -> float:
    """Two steps of the digits recipe, in a folder that nothing is in."""
    shutil.rmtree(out, ignore_errors=True)
    return build(root, *f"-m scorefield train digits --images 512 --out {out}".split())
