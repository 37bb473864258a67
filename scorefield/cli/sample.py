"""`scorefield sample RUN`."""

import os
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import UseAppendAction

from scorefield.cli.flags import Averaged, BatchSize, CondFile, NoCond, OutPath, Rows, Sampling
from scorefield.cli.frame import Bar, Found, launched, note


class Options(Rows, Sampling, Averaged):
    """Make samples from a run. Sample i depends on its seed alone: not on --n, --batch or order.

    examples:
      scorefield sample runs/digits
      scorefield sample runs/digits --n 100 --steps 20 --solver dpmpp2m --labels 0-9
          --guidance 1.5 --seeds 0-99 --out grid.png

    --out is a .png picture, an .npz of arrays, a .gif of the way from noise (of films: themselves),
    a .wav of sounds, or a folder of single .png or .wav; or rows for training, WebDataset's .tar or
    .parquet, in files of 10,000 if %06d is in the name. A .png carries how it was made; this makes
    it again, to the bit:
      scorefield sample --like grid.png

    what to make comes from a file, a row a sample: the arrays y, vector, image, tokens that the
    model was trained with
      scorefield sample runs/mine --conditions wanted.npz --guidance 2

    in words, of a run that was trained with captions: each --prompt, or line of --prompts FILE, in
    turn. AND adds another with a weight, which may be negative; --negative is what not to show
      scorefield sample runs/emoji --prompt "a red apple" --prompt "cat AND red:.5" --guidance 3
          --negative "person" --labels google --n 8

    made larger by a run that learned super-resolution (--data.low), shown them with some noise
      scorefield sample runs/emoji --prompt "a red apple" --cascade runs/emoji-64 --augment .1

    in two steps: what an encoder sees in pictures of these words, and pictures of that; and
    variations of a picture, of what it sees in that
      scorefield sample runs/digits-prior --prompt "a seven" --cascade runs/digits-decoder
      scorefield sample runs/digits-decoder --conditions seven.png --n 8

    a classifier of noisy samples as the guide (made by scorefield train-classifier); with
    --unconditional only the classifier is told the classes:
      scorefield sample runs/digits --unconditional --guide classifier --guidance 2 --labels 0-9

    a bulk job, which goes on where a kill or Ctrl-C stopped it if it is given again:
      scorefield sample runs/digits --n 50000 --out digits.npz

    the same shared by two processes, to the same file:
      torchrun --nproc_per_node 2 -m -- scorefield sample runs/digits --n 50000 --out digits.npz
      accelerate launch --multi_gpu --num_processes 2 -m scorefield sample runs/digits --n 50000
          --out digits.npz
      scorefield sample runs/digits --n 50000 --out digits.npz --ray 2

    Samples are made in shards of --batch. Finished shards wait in digits.npz.parts, and become
    digits.npz when all are there.
    """

    run: Annotated[Path | None, tyro.conf.Positional] = None  # type: ignore[assignment] or `like`
    """Run folder that `scorefield train` wrote."""
    like: Path | None = None
    """A .png of samples that this makes again, of the run that it names; but for what is said
    otherwise."""
    adapters: str | None = None
    """Runs of adapters that were learned on this one (train --init RUN --adapter rank=4), whose
    numbers are added to its weights: runs/mine, or with weights runs/mine+runs/other:.5."""
    conditions: CondFile = None
    prompt: UseAppendAction[tuple[str, ...]] = ()
    """What to show, in words; may be given several times."""
    prompts: Path | None = None
    """A file of such texts, one a line."""
    negative: str | None = None
    """What not to show: guidance leads away from it."""
    cascade: Path | None = None
    """A run that makes the samples larger."""
    augment: float | None = None
    """How far what it is shown is noised: 0 not at all, 1 beyond sight (default: .1)."""
    unconditional: NoCond = False
    guide: str = "cfg"
    """Classifier-free guidance, or classifier. With options: cfg:2+interval:.3,2 (scorefield
    catalogue guides), the first nearest the network."""
    out: OutPath = None
    fill: str | None = None
    """Of letters: a text with _ where the run is to fill in."""
    columns: int | None = None
    """Columns of the picture (default: one per label, or a square)."""
    batch: BatchSize = 256
    ray: int | None = None
    """Share a bulk job among so many workers of a cluster of Ray (scorefield[ray])."""


def work(o: Options, bar: Bar) -> Found:
    if o.ray is not None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of our use
    from scorefield.report.files import keep_samples
    from scorefield.use.sample import sampled

    return sampled(o.request(bar), o.like, keep_samples, note, launched())
