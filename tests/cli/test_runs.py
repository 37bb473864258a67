"""Every verb on every kind of run: it works, or says in one sentence why not, and stops with 2."""

from pathlib import Path

import numpy as np
import pytest

from scorefield.cli import main
from tests.interop.foreign import keep, network, scheduler

SHORT = ["--images", "64", "--batch", "32", "--net.width", "8", "--sample.steps", "2"]
RUNS = {
    "wavelet": "digits --objective.schedule wavelet",
    "heat": "digits --objective.schedule heat",
    "momentum": "swiss-roll --objective.schedule momentum",
    "gan": "digits-gan --sample.steps 1",
    "pairs": "restore-pairs --data.corruption blur:2",
    "captions": "digits-text",
    "points": "points --data.path x.npz --data.kind torus --net.blocks 1",
    "letters": "letters --data.path x.txt --net.heads 2 --net.depth 1",
    "smiles": "smiles --data.path x.smi --net.heads 2 --net.depth 1 --sample.steps 9",
    "recurrent": "smiles --data.path x.smi --net.name recurrent --net.depth 1 --sample.steps 9",
    "table": "table --data.path x.csv --net.blocks 1",
    "conformers": "conformers --data.path x.smi --net.blocks 1",
    "phantoms": "phantoms --net.multipliers 1",
    "imported": "",  # of diffusers
}
VERBS = """
sample RUN --n 2 --out s.npz
eval RUN --n 20
compare RUN --solvers ddim --steps 2 --n 4 --out c
tune RUN --calls 0
fit-grid RUN --steps 2 --solver ddim --rounds 1 --starts 8
likelihood RUN --n 2
restore RUN --operator blur:2 --input test:0 --n 2 --steps 2 --out r
edit RUN --input test:0 --n 2 --steps 2 --out e.png
encode RUN --input test:0 --steps 2 --out z.npz
interpolate RUN --from test:0 --to test:1 --between 1 --steps 2 --out i.png
anagram RUN --views identity,flip --steps 2 --n 1 --out a.png
distill RUN --images 32
distill RUN --method reflow:pairs=8 --images 32
export RUN --to diffusers --out d
train-classifier RUN --images 64
reconstruct RUN
ema RUN --length .1
report RUN
"""
SPACED: dict[str, str] = dict.fromkeys(
    ("compare", "fit-grid", "restore", "edit", "encode", "interpolate", "anagram", "export",
     "reconstruct", "ema"), "What there is for it")  # fmt: skip
SPACED |= {"distill": "no flow from noise", "train-classifier": "reads letters from the left"}
UNLIKE = {"train-classifier": "0 classes", "anagram": "views are of pictures",
          "export": "pipelines make pictures"}  # fmt: skip
PLACES = {"encode": "for each coordinate", "interpolate": "for each coordinate",
          "restore": "for each coordinate", "anagram": "takes one level for all",
          "distill": "takes one level for all", "export": "takes one level for all",
          "train-classifier": "takes one level for all"}  # fmt: skip
ALL = {"tune": "calls is 0", "reconstruct": "no autoencoder", "ema": "no snapshots"}
CANNOT = {
    "wavelet": PLACES,
    "heat": {**PLACES, **dict.fromkeys(("compare", "likelihood", "fit-grid"), "begins in blurred")},
    "momentum": {"anagram": "views are of pictures", "train-classifier": "0 classes",
                 "restore": "is of pictures", "export": "pipelines make pictures"},
    "gan": dict.fromkeys(("compare", "fit-grid", "likelihood", "restore", "encode", "interpolate",
                          "anagram"), "only makes samples")
    | {"edit": "from pure noise", "distill": "no flow from noise", "export": "no sampler"},
    "pairs": dict.fromkeys(("sample", "eval", "compare", "fit-grid", "likelihood", "edit", "encode",
                            "interpolate", "anagram"), "trained on pairs")
    | {"distill": "no flow from noise", "export": "one end of a pair",
       "train-classifier": "0 classes"},
    "captions": {"distill reflow:pairs=8": "of classes alone", "train-classifier": "0 classes"},
    "points": SPACED,
    "letters": SPACED,
    "smiles": SPACED,
    "recurrent": SPACED,
    "table": SPACED,
    "conformers": UNLIKE | {"restore": "is of pictures"},
    "phantoms": UNLIKE | {"restore": "is of pictures"},
    "imported": {"train-classifier": "0 classes"},
}  # fmt: skip
"""What a run is refused, and why."""


def made(name: str) -> list[str]:
    """The command that makes the run."""
    if name == "imported":
        keep(Path("a"), network(), scheduler())
        return ["import", "a", "--out", "run", "--trained-on", "digits"]
    recipe, *flags = RUNS[name].split()
    short = SHORT[:-2] if "--sample.steps" in flags else SHORT
    return ["train", recipe, "--out", "run", *short, *flags]


@pytest.mark.parametrize("name", RUNS)
def test_every_verb_on_every_run(name, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scorefield.use.judge.SEEN", 100)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(40, 2)))
    Path("x.txt").write_text("\n".join(a + b for a in "abcdef" for b in "abcdef"))
    Path("x.csv").write_text("a,b\n" + "\n".join(f"{k % 7},{'pq'[k % 2]}" for k in range(60)))
    Path("x.smi").write_text("\n".join(["CCO", "CCN", "CC", "C1CC1", "CC(=O)O"] * 8))
    assert main(made(name)) == 0
    wrong = []
    for line in VERBS.strip().splitlines():
        words = line.replace("RUN", "run").split()
        own = {**ALL, **CANNOT[name]}
        says = own.get(f"{words[0]} {words[3]}" if len(words) > 3 else "", own.get(words[0]))
        code, _, err = cli(*words)
        if code != (0 if says is None else 2) or "Traceback" in err or (says or "") not in err:
            wrong.append((line, says, code, err[-300:]))
    assert not wrong
    if CANNOT[name] is SPACED:
        assert cli("serve", "run", "--check").code == 0
